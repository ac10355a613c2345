"""A Keras model that fits `Tasks`, under any tf.distribute strategy, on several machines too.

Plain Keras 3 fails under MultiWorkerMirroredStrategy (keras issue 20585), and TensorFlow's automatic sharding deals
whole meta-batches out to the machines. Here each replica gets its share of the tasks of every meta-batch, so that R
replicas compute the meta-step of one. Keras' train step is kept: its optimizer sums the gradients of the replicas, and
its loss is already divided by their number.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class ReplicatedModel(keras.Model):
    """`keras.Model`, with the steps of fit and evaluate and the flow of data adapted to replicas.

    Make it under the scope of the strategy that it is to train with.
    """

    train_function: Any
    test_function: Any

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._is_distributed = tf.distribute.has_strategy()

    def make_train_function(self, force: bool = False) -> Any:
        """Compiles the train step, once; as in Keras where there is one replica in one process."""
        if not self._is_distributed:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self._replicated(self.train_step)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Compiles the test step, once; as in Keras where there is one replica in one process."""
        if not self._is_distributed:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = self._replicated(self.test_step)
        return self.test_function

    def symbolic_batch(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the shapes of the labels and of the outputs of a batch, None where it is not known beforehand."""
        raise NotImplementedError

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Makes the variables of optimizer, loss and metrics, without Keras' dry run of the network.

        That run fails on the batches of several workers; and variables made during the first step, instead of here,
        would cost a second trace of it. Keras has no public hook for either.
        """
        labels, outputs = self.symbolic_batch()
        with self.distribute_strategy.scope():
            for part in (self._compile_loss, self._compile_metrics):
                if part is not None and not part.built:
                    part.build(labels, outputs)
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)

    def _replicated(self, step: Callable) -> Callable:
        """A step on all replicas; its metrics are means over equal shares, hence means over the meta-batch."""
        strategy = self.distribute_strategy

        @tf.function(jit_compile=self.jit_compile is True)
        def compiled_step(batch: Any) -> Any:
            return step(batch)

        @tf.function(reduce_retracing=True)
        def all_steps(batch: Any) -> Any:
            metrics = strategy.run(compiled_step, args=(batch,))
            mean = tf.distribute.ReduceOp.MEAN
            return {
                name: strategy.reduce(mean, value, axis=None) for name, value in metrics.items()
            }

        def function(iterator: Any) -> Any:
            # Outside the compiled step: at the end of the data `next` fails, and inside, metrics whose weights are
            # known without the data could have been counted by then.
            try:
                batch = next(iterator)
            except tf.errors.OutOfRangeError as end:
                raise StopIteration from end
            return all_steps(batch)

        return function

    def fit(self, x: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any):
        """As `keras.Model.fit`; `x` and `validation_data` may be `Tasks` or a `tf.data.Dataset` of meta-batches."""
        validation = self._dataset(validation_data, "validation_steps", kwargs)
        options = {"shuffle": False, "validation_data": validation} | kwargs
        return super().fit(self._dataset(x, "steps_per_epoch", kwargs), *args, **options)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any):
        """As `keras.Model.evaluate`; `x` may be `Tasks`, with `steps` given."""
        return super().evaluate(self._dataset(x, "steps", kwargs), *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any):
        """As `keras.Model.predict`; `x` may be `Tasks`, with `steps` given."""
        return super().predict(self._dataset(x, "steps", kwargs), *args, **kwargs)

    def _dataset(self, x: Any, steps: str, options: dict[str, Any]) -> Any:
        """`Tasks` know how to become a data set; whatever else Keras accepts is left as it is."""
        if not hasattr(x, "as_dataset"):
            return self._shares(x)
        if options.get(steps) is None:
            raise ValueError(f"Tasks never end, so {steps} is needed. Received: none.")
        return self._shares(x.as_dataset())

    def _shares(self, dataset: Any) -> Any:
        """Returns the data set with every meta-batch dealt out to the replicas.

        Args:
            dataset: a `tf.data.Dataset` of meta-batches; anything else is returned as it is.

        Raises:
            ValueError: when the tasks of a meta-batch cannot be dealt out evenly.
        """
        strategy = self.distribute_strategy
        if not self._is_distributed or not isinstance(dataset, tf.data.Dataset):
            return dataset
        tasks = tf.nest.flatten(dataset.element_spec)[0].shape[0]
        replicas = strategy.num_replicas_in_sync
        if tasks is None or tasks % replicas:
            raise ValueError(
                f"Expected meta-batches of a fixed size that {replicas} replicas divide. Received: {tasks} tasks. "
                f"Set meta_batch_size to a multiple of {replicas}."
            )

        def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
            mine = tasks // context.num_input_pipelines
            first = context.input_pipeline_id * mine
            part = dataset.map(
                lambda *batch: tf.nest.map_structure(lambda t: t[first : first + mine], batch)
            )
            return part.rebatch(tasks // replicas, drop_remainder=True)

        return strategy.distribute_datasets_from_function(share)
