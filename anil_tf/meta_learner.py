"""MetaLearner: a body, a head and the inner loop, as one Keras model.

A call is adaptation: embed the images of each task with the body, adapt the head on the support features, apply it to
the query features. Nothing but a forward pass as far as Keras is concerned, so fit, evaluate, predict, callbacks,
metrics and save serve unchanged, and the gradient that Keras takes through the call is the meta-gradient.

Shapes: B tasks; per task n_s = ways * shots support and n_q = ways * queries query images, n = n_s + n_q in all.
"""

import dataclasses
from operator import attrgetter
from typing import Any

import keras
import tensorflow as tf

from anil_tf.config.adaptation import AUTO, Adaptation
from anil_tf.config.heads import HEADS
from anil_tf.config.option import options as options_of
from anil_tf.learner.adapted_classifier import (
    AdaptationFunctions,
    AdaptedClassifier,
    AdaptedRegressor,
    TaskState,
)
from anil_tf.learner.description import describe
from anil_tf.learner.dropout_seeds import dropout_seed, dropout_seeds, task_numbers
from anil_tf.learner.embedding import embed, embed_tasks, length
from anil_tf.learner.inner_loop import InnerLoop, PosedProblem
from anil_tf.learner.replicated_model import ReplicatedModel
from anil_tf.models.heads.base import Head
from anil_tf.models.normalization import (
    Batch,
    Given,
    Moving,
    Source,
    Statistics,
    update_moving_statistics,
)
from anil_tf.models.structure import draws_at_random, pools_by_maximum


@keras.saving.register_keras_serializable(package="anil_tf")
class MetaLearner(ReplicatedModel):
    """ANIL, and with other cuts BOIL and MAML, as a Keras model (arXiv:1909.09157, arXiv:2006.09486).

    Args:
        body: Keras model, images -> features; shared by all tasks. See `anil_tf.models.split`.
        head: Keras model, features -> logits; adapted to each task.
        inner_loss: "cross_entropy" or "squared_error".
        ways: number of classes of a task, for all heads but free ones; None to read it off the labels at run time.
            Compiling with XLA needs the number.
        seed: seed of dropout, which draws from (seed, step, task, inner step).
        name: of the model.
        **options: the options of adaptation, by the names of `anil_tf.config.Adaptation`, which says what each does
            and what it accepts: inner_steps, inner_step_size, learned_inner_step_size, inner_l2, differentiation,
            first_order, truncated_to, inner_solver, inner_tolerance, normalization, head_initialization and
            frozen_in_adaptation. Those of `keras.Model` too.

    Attributes:
        adaptation: the options of adaptation; each is an attribute of the learner, too.

    Input: `{"support_images": [B, n_s, ...], "support_labels": [B, n_s], "query_images": [B, n_q, ...]}`.

    Output: logits of the queries, [B, n_q, ways], float32 (float64 for a float64 head).

    Raises:
        ValueError: for a value that an option does not accept, and options that contradict each other or the head.

    Example:
        >>> model = anil_tf.models.conv4(input_shape=(28, 28, 1), classes=5)
        >>> body, head = anil_tf.models.split(model, adapted_layers=1)
        >>> learner = anil_tf.MetaLearner(body, head, inner_steps=5, inner_step_size=0.1)
    """

    def __init__(
        self,
        body: keras.Model,
        head: keras.Model,
        *,
        inner_loss: str = "cross_entropy",
        ways: int | None = None,
        seed: int = 0,
        name: str = "meta_learner",
        **options: Any,
    ):
        """Joins body and head; see the class."""
        adaptation = _take_adaptation(options)
        # Body and head compute in precisions of their own; what joins them is exact, also under a mixed policy.
        options.setdefault("dtype", keras.config.dtype_policy().variable_dtype)
        super().__init__(name=name, **options)
        self.adaptation = adaptation
        self.inner_loss = inner_loss
        self.ways = ways
        self.seed = int(seed)

        self.body = body
        self.start_variables: list[keras.Variable] = []
        made = HEADS[adaptation.head_initialization].load()
        self._head: Head = made(head, self._add_start_variable, l2=adaptation.inner_l2)
        # Only what is learned is tracked: the last layer of a zero or prototype head has no weights of its own.
        self.learned_head = self._head.learned_model
        inner_loop = self.inner_loop
        initial = keras.initializers.Constant(adaptation.inner_step_size)
        self.inner_step_sizes = [
            self.add_weight(name=f"inner_step_size_{i}", shape=shape, initializer=initial)
            for i, shape in enumerate(inner_loop.step_size_shapes)
        ]
        # XLA's second derivative of max pooling takes the wrong maximum among close ones (TensorFlow 2.21), so that
        # Keras is told to keep off it there.
        self.supports_jit = not (
            inner_loop.takes_second_derivatives
            and pools_by_maximum(self._head.learned_model or head)
        )
        # Filled by `adapt`, a compiled pair of steps per normalisation; a tuple hides it from Keras' tracking.
        self._held: tuple = ({},)
        self.built = True

    # ---- Parts -----------------------------------------------------------------------------------------------------

    inner_steps = property(attrgetter("adaptation.inner_steps"))
    inner_step_size = property(attrgetter("adaptation.inner_step_size"))
    learned_inner_step_size = property(attrgetter("adaptation.learned_inner_step_size"))
    inner_l2 = property(attrgetter("adaptation.inner_l2"))
    differentiation = property(attrgetter("adaptation.engine"))
    truncated_to = property(attrgetter("adaptation.truncated_to"))
    inner_solver = property(attrgetter("adaptation.inner_solver"))
    inner_tolerance = property(attrgetter("adaptation.inner_tolerance"))
    normalization = property(attrgetter("adaptation.normalization"))
    head_initialization = property(attrgetter("adaptation.head_initialization"))
    frozen_in_adaptation = property(attrgetter("adaptation.frozen_in_adaptation"))

    @property
    def head(self) -> keras.Model:
        """The head as it was given."""
        return self._head.model

    @property
    def adapted_head(self) -> Head:
        """The head as the inner loop has it: the names and shapes of its tensors, and where they start."""
        return self._head

    @property
    def has_inner_loop(self) -> bool:
        """Whether adaptation is gradient descent; other heads adapt in closed form."""
        return HEADS[self.head_initialization].has_inner_loop

    @property
    def inner_loop(self) -> InnerLoop:
        """How the head adapts, as a function of features."""
        return InnerLoop(
            head=self._head,
            adaptation=self.adaptation,
            loss=self.inner_loss,
            differentiates_features=bool(self.body.trainable_variables),
        )

    @property
    def adaptation_functions(self) -> dict[str, AdaptationFunctions]:
        """The compiled steps of `adapt`, by normalisation."""
        return self._held[0]

    @property
    def body_variables(self) -> list[keras.Variable]:
        """Trainable variables that all tasks share: phi."""
        return self.body.trainable_variables

    @property
    def head_variables(self) -> list[keras.Variable]:
        """Trainable variables that adaptation starts from, w, and those that govern it: step sizes, prototype scale."""
        shared = {id(variable) for variable in self.body_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in shared]

    @property
    def step_sizes(self) -> list:
        """Alpha for each tensor that the inner loop moves, a number or a variable."""
        if self.learned_inner_step_size == "per_variable":
            return list(self.inner_step_sizes)
        one = self.inner_step_sizes[0] if self.inner_step_sizes else self.inner_step_size
        return [one] * len(self.inner_loop.positions)

    def _add_start_variable(self, name: str, value: float) -> keras.Variable:
        """Makes a learned scalar that says where the last layer of the head starts."""
        initial = keras.initializers.Constant(value)
        variable = self.add_weight(name=name, shape=(), initializer=initial)
        self.start_variables.append(variable)
        return variable

    # ---- A call: adapt to each task, answer its queries -----------------------------------------------------------

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Adapts to each task and returns the logits of its queries; see the class for shapes."""
        labels = inputs["support_labels"]
        support = length(inputs["support_images"], axis=1)
        source = self.source(support, training)
        features, body_statistics = self._embed(inputs, source, training)
        draws = training and draws_at_random(self.head)
        seeds = dropout_seeds(self, length(labels, 0)) if draws else None
        adapted = self.inner_loop.adapt(
            features[:, :support],
            labels,
            ways=self._ways(labels),
            source=source,
            step_sizes=self.step_sizes,
            dropout_seeds=seeds,
        )
        logits, head_statistics = self.inner_loop.answer(
            adapted, features, support, source=source, dropout_seeds=seeds
        )
        if training:
            update_moving_statistics(self.body, body_statistics)
            update_moving_statistics(self._head.learned_model, head_statistics)
        return tf.cast(logits, self.head.variable_dtype)

    def source(self, support: int | tf.Tensor, training: bool) -> Source:
        """Where batch normalisation takes its statistics from, for a task's support and query together."""
        if self.normalization == "support":
            return Batch(rows=support)
        return Moving() if self.normalization == "running" and not training else Batch()

    def _embed(
        self, inputs: dict[str, tf.Tensor], source: Source, training: bool
    ) -> tuple[tf.Tensor, Statistics]:
        """Features [B, n_s + n_q, ...] of support and queries, and the statistics used, each [B, channels]."""
        images = tf.concat([inputs["support_images"], inputs["query_images"]], axis=1)
        return embed_tasks(
            self.body,
            images,
            source,
            dtype=self.head.variable_dtype,
            seed_of_task=(lambda task: dropout_seed(self, task)) if training else None,
            tasks=task_numbers(length(images, axis=0)),
        )

    def _features(self, images: tf.Tensor, source: Source) -> tuple[tf.Tensor, Statistics]:
        """Features [rows, ...] of images [rows, ...], as evaluation has them, and the statistics used."""
        return embed(self.body, images, source, dtype=self.head.variable_dtype)

    def _ways(self, labels: tf.Tensor) -> int | tf.Tensor:
        if self._head.rows is not None:
            return self._head.rows
        if self.inner_loss == "squared_error":
            return labels.shape[-1]
        return self.ways if self.ways is not None else tf.cast(tf.reduce_max(labels), tf.int32) + 1

    def pose(self, inputs: dict[str, tf.Tensor]) -> PosedProblem:
        """States the inner problem of each task of a call, as evaluation poses it; see `InnerLoop.pose`."""
        labels = inputs["support_labels"]
        support = length(inputs["support_images"], axis=1)
        source = self.source(support, training=False)
        features, _ = self._embed(inputs, source, training=False)
        return self.inner_loop.pose(
            features[:, :support], labels, ways=self._ways(labels), source=source
        )

    # ---- One task at a time: adapt, then predict on whatever images come ------------------------------------------

    def adapt(
        self, support_images: Any, support_labels: Any, *, normalization: str = "support"
    ) -> AdaptedClassifier | AdaptedRegressor:
        """Learns a new task from a few examples.

        The answer for an image never depends on the images it is asked with, whatever the normalisation of the
        training. The two steps are compiled at the first call and kept: change settings by `replace`.

        Args:
            support_images: [examples, height, width, channels], pixels 0..255.
            support_labels: one label per image; any values that sort, such as integers or names (squared error: the
                target of each example, [examples, dimensions]).
            normalization: "support" (batch normalisation by the statistics of the examples) or "running" (by moving
                statistics, which the learner must have been trained for).

        Returns:
            An `AdaptedClassifier`; for squared error an `AdaptedRegressor`.

        Raises:
            ValueError: when images and labels do not match, or the head cannot take that many classes.

        Example:
            >>> classifier = learner.adapt(my_images, ["cat", "cat", "dog", "dog"])
            >>> classifier.predict(new_images)
        """
        if normalization not in ("support", "running"):
            raise ValueError(
                f"normalization={normalization}: expected support or running; the examples are adapted to alone."
            )
        if normalization not in self.adaptation_functions:
            self.adaptation_functions[normalization] = AdaptationFunctions(self, normalization)
        functions = self.adaptation_functions[normalization]
        return functions.adapt_to(support_images, support_labels)

    def task_state(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        normalization: str = "support",
    ) -> TaskState:
        """Adapts to one task, given as tensors.

        Args:
            images: support images, [n_s, ...].
            labels: support labels, int [n_s] in 0..ways-1 (regression: targets [n_s, dimensions]).
            ways: number of classes (regression: dimensions).
            normalization: "support" or "running".

        Returns:
            The adapted tensors, and the statistics that predictions are to use.
        """
        source: Source = Moving() if normalization == "running" else Batch()
        features, body_statistics = self._features(images, source)
        adapted = self.inner_loop.adapt(
            features[None],
            labels[None],
            ways=ways,
            source=source,
            step_sizes=self.step_sizes,
        )
        tensors = [tensor[0] for tensor in adapted]
        _, head_statistics = self._head(tensors, features, source)
        return TaskState(tensors, body_statistics, head_statistics)

    def answer(
        self, images: tf.Tensor, state: TaskState, normalization: str = "support"
    ) -> tf.Tensor:
        """Logits [rows, ways] of images [rows, ...] under the state that `task_state` returned."""
        is_running = normalization == "running"
        of_body: Source = Moving() if is_running else Given(state.body_statistics)
        of_head: Source = Moving() if is_running else Given(state.head_statistics)
        features, _ = self._features(images, of_body)
        logits, _ = self._head(state.tensors, features, of_head)
        return logits

    # ---- Keras: what fit and evaluate accept, configuration -------------------------------------------------------

    def symbolic_batch(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """See `ReplicatedModel`."""
        ways = self._head.rows or self.ways
        classes = self.inner_loss == "cross_entropy"
        labels = keras.KerasTensor((None, None) if classes else (None, None, ways))
        return labels, keras.KerasTensor((None, None, ways))

    def replace(self, **changes: Any) -> "MetaLearner":
        """Returns a learner with other settings on the same body and head.

        Learned inner step sizes, and what was learned of where heads start, are copied where both learners have them.

        Example:
            >>> learner.replace(ways=20, normalization="support").evaluate(tasks, steps=100)
        """
        settings = self.settings() | {"dtype": self.dtype_policy} | changes
        other = MetaLearner(self.body, self.head, **settings)
        pairs = list(zip(other.inner_step_sizes, self.inner_step_sizes, strict=False))
        if other.head_initialization == self.head_initialization:
            pairs += zip(other.start_variables, self.start_variables, strict=True)
        for new, old in pairs:
            if new.shape == old.shape:
                new.assign(old)
        return other

    def settings(self) -> dict[str, Any]:
        """Returns all options of the constructor but body and head."""
        options = self.adaptation.to_dict()
        del options["first_order"]  # said by `differentiation`
        return options | {"inner_loss": self.inner_loss, "ways": self.ways, "seed": self.seed}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, body and head serialised."""
        parts = {
            "body": keras.saving.serialize_keras_object(self.body),
            "head": keras.saving.serialize_keras_object(self.head),
        }
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        return parts | self.settings() | {"name": self.name, "dtype": dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MetaLearner":
        """Returns the learner that `get_config` describes."""
        parts = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("body", "head")
        }
        return cls(**(config | parts))

    def describe(self) -> dict[str, str]:
        """Returns in words what is adapted and in which geometry, for protocols and cards."""
        return describe(self)


def _take_adaptation(options: dict[str, Any]) -> Adaptation:
    """Takes the options of adaptation out of `options`; the engine is named by `differentiation` alone."""
    names = [name for name in options_of(Adaptation) if name in options]
    adaptation = Adaptation(**{name: options.pop(name) for name in names})
    undecided = [name for name in options_of(Adaptation) if getattr(adaptation, name) == AUTO]
    if undecided:
        raise adaptation.error("measured when training begins; expected a number.", *undecided)
    return dataclasses.replace(adaptation, differentiation=adaptation.engine, first_order=False)
