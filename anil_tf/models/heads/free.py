"""The free head: one learned row per class, as in the published results and in the convergence study."""

import keras
import tensorflow as tf

from anil_tf.models import normalization
from anil_tf.models.heads.base import Head, MakeScalar, Result
from anil_tf.models.pure_call import pure_call
from anil_tf.models.structure import kernel_layers


class FreeHead(Head):
    """A Keras model whose trainable variables are where adaptation starts."""

    learned_model: keras.Model
    starts_alike = True

    def __init__(self, model: keras.Model, make_scalar: MakeScalar, *, l2: float = 0.0):
        """See `Head`."""
        super().__init__(model, make_scalar, l2=l2)
        self.learned_model = model
        self.rows = int(model.output_shape[-1])

    @property
    def adapted_names(self) -> list[str]:
        """See `Head`."""
        return [variable.path for variable in self.model.trainable_variables]

    @property
    def last_layer_tensors(self) -> int:
        """See `Head`; normalisation that follows the last kernel belongs to it."""
        variables = self.model.trainable_variables
        first = kernel_layers(self.model)[-1].trainable_variables[0]
        return len(variables) - [id(variable) for variable in variables].index(id(first))

    @property
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """See `Head`."""
        return [tuple(variable.shape) for variable in self.model.trainable_variables]

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        statistics: normalization.Source,
    ) -> list[tf.Tensor]:
        """See `Head`; the task's examples play no part."""
        return [tf.convert_to_tensor(variable) for variable in self.model.trainable_variables]

    def __call__(
        self,
        tensors: list[tf.Tensor],
        features: tf.Tensor,
        statistics: normalization.Source,
        dropout_seed: tf.Tensor | None = None,
    ) -> Result:
        """See `Head`."""
        return pure_call(
            self.model, tensors, features, statistics=statistics, dropout_seed=dropout_seed
        )
