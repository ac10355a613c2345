"""MetaLearner: a body, a head and the inner loop, as one Keras model.

A call is adaptation: embed the images of each task with the body, adapt the head on the support features, apply it to
the query features. Nothing but a forward pass as far as Keras is concerned, so fit, evaluate, predict, callbacks,
metrics and save serve unchanged, and the gradient that Keras takes through the call is the meta-gradient.

Shapes: B tasks; per task n_s = ways * shots support and n_q = ways * queries query images, n = n_s + n_q in all.
"""

from typing import Any

import keras
import tensorflow as tf

from anil_tf.adaptation.implicit import SOLVERS
from anil_tf.adaptation.losses import LOSSES
from anil_tf.adaptation.over_tasks import over_tasks
from anil_tf.adapted_classifier import (
    AdaptationFunctions,
    AdaptedClassifier,
    AdaptedRegressor,
    TaskState,
)
from anil_tf.config.heads import HEADS, names_of
from anil_tf.inner_loop import DIFFERENTIATIONS, InnerLoop, PosedProblem
from anil_tf.models.heads.base import Head
from anil_tf.models.normalization import (
    Batch,
    Given,
    Moving,
    Source,
    Statistics,
    batch_normalizations,
    update_moving_statistics,
)
from anil_tf.models.pure_call import pure_call
from anil_tf.models.structure import (
    count_parameters,
    draws_at_random,
    is_linear,
    pools_by_maximum,
)
from anil_tf.replicated_model import ReplicatedModel

NORMALIZATIONS = ("episode", "support", "running")
LEARNED_STEP_SIZES = ("none", "scalar", "per_variable")
FROZEN = ("none", "head")


@keras.saving.register_keras_serializable(package="anil_tf")
class MetaLearner(ReplicatedModel):
    """ANIL, and with other cuts BOIL and MAML, as a Keras model (arXiv:1909.09157, arXiv:2006.09486).

    Args:
        body: Keras model, images -> features; shared by all tasks. See `anil_tf.models.split`.
        head: Keras model, features -> logits; adapted to each task.
        inner_steps: N, steps of gradient descent on the support.
        inner_step_size: alpha, or where it starts when it is learned.
        learned_inner_step_size: "none" (fixed), "scalar" (one for all) or "per_variable" (one per entry of each adapted
            tensor: Meta-SGD, arXiv:1707.09835; the zero and prototype heads share it between classes).
        inner_l2: lambda, weight of half the squared norm of the adapted tensors in the inner loss.
        differentiation: how the meta-gradient passes through adaptation: "explicit" (Proposition 1; keeps the iterates
            and nothing else), "unrolled" (tapes), "implicit" (adapts to the minimum of a strongly convex problem),
            "first_order" (second-order terms dropped) or "truncated" (to the last steps). See `anil_tf.adaptation`.
        truncated_to: for "truncated", how many inner steps are differentiated through.
        inner_solver: for "implicit", "newton" or "gradient_descent".
        inner_tolerance: for "implicit", the norm of a task's support gradient at which its adaptation ends.
        normalization: "episode" (batch normalisation over support and query of a task together), "support" (over the
            support alone; a query's prediction does not depend on its neighbours) or "running" (trains as "episode",
            evaluates with moving statistics).
        head_initialization: "free", "zero", "prototype", "ridge" (closed form: R2D2) or "nil" (cosine to the class
            means); the last two have no inner loop. See `anil_tf.models.heads`.
        frozen_in_adaptation: "none", or "head" to adapt everything but the last layer (BOIL, arXiv:2008.08882).
        inner_loss: "cross_entropy" or "squared_error".
        ways: number of classes of a task, for all heads but free ones; None to read it off the labels at run time.
            Compiling with XLA needs the number.
        seed: seed of dropout, which draws from (seed, step, task, inner step).

    Input: `{"support_images": [B, n_s, ...], "support_labels": [B, n_s], "query_images": [B, n_q, ...]}`.

    Output: logits of the queries, [B, n_q, ways], float32 (float64 for a float64 head).

    Raises:
        ValueError: for an unknown option, negative inner_steps or inner_l2, an inner_step_size or inner_tolerance that
            is not above 0, or options that contradict each other.

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
        inner_steps: int = 5,
        inner_step_size: float = 0.1,
        learned_inner_step_size: str = "none",
        inner_l2: float = 0.0,
        differentiation: str = "explicit",
        truncated_to: int | None = None,
        inner_solver: str = "newton",
        inner_tolerance: float = 1e-5,
        normalization: str = "episode",
        head_initialization: str = "free",
        frozen_in_adaptation: str = "none",
        inner_loss: str = "cross_entropy",
        ways: int | None = None,
        seed: int = 0,
        name: str = "meta_learner",
        **kwargs: Any,
    ):
        """Joins body and head; see the class."""
        # Body and head compute in precisions of their own; what joins them is exact, also under a mixed policy.
        kwargs.setdefault("dtype", keras.config.dtype_policy().variable_dtype)
        super().__init__(name=name, **kwargs)
        _one_of("learned_inner_step_size", learned_inner_step_size, LEARNED_STEP_SIZES)
        _one_of("differentiation", differentiation, DIFFERENTIATIONS)
        _one_of("inner_solver", inner_solver, SOLVERS)
        _one_of("normalization", normalization, NORMALIZATIONS)
        _one_of("head_initialization", head_initialization, tuple(HEADS))
        _one_of("frozen_in_adaptation", frozen_in_adaptation, FROZEN)
        _one_of("inner_loss", inner_loss, tuple(LOSSES))
        _at_least_zero("inner_steps", inner_steps)
        _at_least_zero("inner_l2", inner_l2)
        _above_zero("inner_step_size", inner_step_size)
        _above_zero("inner_tolerance", inner_tolerance)
        _check_head(head_initialization, inner_loss, frozen_in_adaptation, learned_inner_step_size)
        if differentiation == "implicit" and learned_inner_step_size != "none":
            raise ValueError(
                "differentiation='implicit' adapts to the minimum, which no step size moves. Received: "
                f"learned_inner_step_size={learned_inner_step_size!r}. Use 'none', or another differentiation."
            )
        self.inner_steps = int(inner_steps)
        self.inner_step_size = float(inner_step_size)
        self.learned_inner_step_size = learned_inner_step_size
        self.inner_l2 = float(inner_l2)
        self.differentiation = differentiation
        self.truncated_to = truncated_to
        self.inner_solver = inner_solver
        self.inner_tolerance = float(inner_tolerance)
        self.normalization = normalization
        self.head_initialization = head_initialization
        self.frozen_in_adaptation = frozen_in_adaptation
        self.inner_loss = inner_loss
        self.ways = ways
        self.seed = int(seed)

        self.body = body
        self.start_variables: list[keras.Variable] = []
        self._kind = HEADS[head_initialization]
        self._head: Head = self._kind.load()(head, self._add_start_variable, l2=self.inner_l2)
        # Only what is learned is tracked: the last layer of a zero or prototype head has no weights of its own.
        self.learned_head = self._head.learned_model
        self._adapted = _adapted_positions(self._head, frozen_in_adaptation)
        self.inner_step_sizes = self._add_step_sizes()
        # XLA's second derivative of max pooling takes the wrong maximum among close ones (TensorFlow 2.21), so that
        # Keras is told to keep off it there.
        second_order = differentiation != "first_order" and self.inner_steps > 0
        self.supports_jit = not (
            second_order and pools_by_maximum(self._head.learned_model or head)
        )
        self._inner_loop()  # refuses settings that contradict each other
        # Filled by `adapt`, a compiled pair of steps per normalisation; a tuple hides it from Keras' tracking.
        self._held: tuple = ({},)
        self.built = True

    # ---- Parts -----------------------------------------------------------------------------------------------------

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
        """Whether adaptation is gradient descent; ridge and nil heads adapt in closed form."""
        return self._kind.has_inner_loop

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

    def _add_start_variable(self, name: str, value: float) -> keras.Variable:
        """Makes a learned scalar that says where the last layer of the head starts."""
        initial = keras.initializers.Constant(value)
        variable = self.add_weight(name=name, shape=(), initializer=initial)
        self.start_variables.append(variable)
        return variable

    def _inner_loop(self) -> InnerLoop:
        return InnerLoop(
            head=self._head,
            has_inner_loop=self.has_inner_loop,
            positions=tuple(self._adapted),
            loss=self.inner_loss,
            l2=self.inner_l2,
            steps=self.inner_steps,
            differentiation=self.differentiation,
            truncated_to=self.truncated_to,
            solver=self.inner_solver,
            tolerance=self.inner_tolerance,
            differentiates_features=bool(self.body.trainable_variables),
        )

    def _add_step_sizes(self) -> list[keras.Variable]:
        shapes: list[tuple[int, ...]] = []
        if self.learned_inner_step_size == "scalar":
            shapes = [()]
        elif self.learned_inner_step_size == "per_variable":
            shapes = [self._head.step_size_shapes[position] for position in self._adapted]
        initial = keras.initializers.Constant(self.inner_step_size)
        return [
            self.add_weight(name=f"inner_step_size_{i}", shape=shape, initializer=initial)
            for i, shape in enumerate(shapes)
        ]

    # ---- A call: adapt to each task, answer its queries -----------------------------------------------------------

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Adapts to each task and returns the logits of its queries; see the class for shapes."""
        labels = inputs["support_labels"]
        images = tf.concat([inputs["support_images"], inputs["query_images"]], axis=1)
        support = _length(inputs["support_images"], axis=1)
        source = self._source(support, training)
        features, body_statistics = self._embed(images, source, training)
        logits, head_statistics = self._adapt_and_answer(
            features, labels, support, source, training
        )
        if training:
            update_moving_statistics(self.body, body_statistics)
            update_moving_statistics(self._head.learned_model, head_statistics)
        return tf.cast(logits, self.head.variable_dtype)

    def _source(self, support: int | tf.Tensor, training: bool) -> Source:
        """Where batch normalisation takes its statistics from, for a task's support and query together."""
        if self.normalization == "support":
            return Batch(rows=support)
        return Moving() if self.normalization == "running" and not training else Batch()

    def _embed(
        self, images: tf.Tensor, source: Source, training: bool
    ) -> tuple[tf.Tensor, Statistics]:
        """Features [B, n, ...] of images [B, n, ...], and the statistics used, each [B, channels].

        The body runs once per task where its batch normalisation needs the task's own statistics, or its dropout the
        task's own seed, and otherwise once.
        """

        def embed_task(task: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, Statistics]:
            rows, index = task
            return self._features(rows, source, self._dropout_seed(training, index))

        count, rows = _length(images, 0), _length(images, 1)
        normalizes = batch_normalizations(self.body) and not isinstance(source, Moving)
        if normalizes or (training and draws_at_random(self.body)):
            return over_tasks(embed_task, (images, _task_numbers(count)), mode="unrolled")
        flat = tf.reshape(images, [count * rows, *images.shape[2:]])
        features, _ = embed_task((flat, tf.constant(0)))
        return tf.reshape(features, [count, rows, *features.shape[1:]]), {}

    def _features(
        self, images: tf.Tensor, source: Source, dropout_seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, Statistics]:
        """Features [rows, ...] of images [rows, ...], in the precision of the head."""
        images = tf.cast(images, self.body.variable_dtype)
        features, statistics = pure_call(
            self.body, None, images, statistics=source, dropout_seed=dropout_seed
        )
        return tf.cast(features, self.head.variable_dtype), statistics

    def _adapt_and_answer(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        support: int | tf.Tensor,
        source: Source,
        training: bool,
    ) -> tuple[tf.Tensor, Statistics]:
        """Logits [B, n_q, ways] of the queries among features [B, n, ...], whose first `support` rows have labels."""
        draws = training and draws_at_random(self.head)
        seeds = self._dropout_seeds(_length(labels, 0)) if draws else None
        inner_loop = self._inner_loop()
        tensors = inner_loop.adapt(
            features[:, :support],
            labels,
            ways=self._ways(labels),
            source=_inner(source),
            step_sizes=self._step_sizes(),
            dropout_seeds=seeds,
        )
        answers_together = bool(batch_normalizations(self._head.learned_model or self.head))

        def answer(task: tuple[list[tf.Tensor], tf.Tensor, Any]) -> tuple[tf.Tensor, Statistics]:
            tensors, rows, seed = task
            seed = None if seeds is None else seed
            if answers_together:
                logits, statistics = self._head(tensors, rows, source, seed)
                return logits[support:], statistics
            return self._head(tensors, rows[support:], source, seed)

        tasks = (tensors, features, () if seeds is None else seeds)
        return over_tasks(answer, tasks, mode=inner_loop.mode(draws))

    def _step_sizes(self) -> list:
        if self.learned_inner_step_size == "per_variable":
            return list(self.inner_step_sizes)
        one = self.inner_step_sizes[0] if self.inner_step_sizes else self.inner_step_size
        return [one] * len(self._adapted)

    def _ways(self, labels: tf.Tensor) -> int | tf.Tensor:
        if self._head.rows is not None:
            return self._head.rows
        if self.inner_loss == "squared_error":
            return labels.shape[-1]
        return self.ways if self.ways is not None else tf.cast(tf.reduce_max(labels), tf.int32) + 1

    def _dropout_seed(self, training: bool, task: tf.Tensor) -> tf.Tensor | None:
        """A seed from (seed, step, task) in training; None, which turns dropout off, elsewhere."""
        if not training:
            return None
        optimizer = getattr(self, "optimizer", None)  # Keras sets it in compile only
        step = tf.cast(optimizer.iterations, tf.int32) if optimizer else 0
        seed = tf.stack([tf.constant(self.seed), step])
        return tf.random.experimental.stateless_fold_in(seed, task)

    def _dropout_seeds(self, count: int | tf.Tensor) -> tf.Tensor:
        """The seeds of all tasks of this replica in training, int [count, 2]."""
        return tf.map_fn(
            lambda task: self._dropout_seed(True, task),
            _task_numbers(count),
            fn_output_signature=tf.TensorSpec([2], tf.int32),
        )

    # ---- The functions behind a call, for the theory ---------------------------------------------------------------

    def pose(self, inputs: dict[str, tf.Tensor]) -> PosedProblem:
        """States the inner problem of each task of a call, as evaluation poses it; see `InnerLoop.pose`."""
        labels = inputs["support_labels"]
        images = tf.concat([inputs["support_images"], inputs["query_images"]], axis=1)
        support = _length(inputs["support_images"], axis=1)
        source = self._source(support, training=False)
        features, _ = self._embed(images, source, training=False)
        return self._inner_loop().pose(
            features[:, :support], labels, ways=self._ways(labels), source=_inner(source)
        )

    def task_logits(
        self,
        body: list[tf.Tensor],
        moving: list[tf.Tensor],
        fixed: list[tf.Tensor],
        images: tf.Tensor,
        support: int,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the inner and the outer loss of a task see, as a function of all weights; nothing adapts.

        Args:
            body: phi, in place of `body_variables`.
            moving: w, the tensors of the head that adapt, as `pose` orders them.
            fixed: those that do not.
            images: of the support, then of the queries, [n_s + n_q, ...].
            support: n_s.

        Returns:
            Logits of the support, [n_s, ways], and of the queries, [n_q, ways].
        """
        source = self._source(support, training=False)
        images = tf.cast(images, self.body.variable_dtype)
        features, _ = pure_call(self.body, body, images, statistics=source)
        features = tf.cast(features, self.head.variable_dtype)
        head = self._inner_loop().whole(moving, fixed)
        of_support, _ = self._head(head, features[:support], _inner(source))
        of_all, _ = self._head(head, features, source)
        return of_support, of_all[support:]

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
        _one_of("normalization", normalization, ("support", "running"))
        if normalization not in self.adaptation_functions:
            self.adaptation_functions[normalization] = self._adaptation_functions(normalization)
        functions = self.adaptation_functions[normalization]
        return functions.adapt_to(support_images, support_labels)

    def _adaptation_functions(self, normalization: str) -> AdaptationFunctions:
        return AdaptationFunctions(
            lambda images, labels, ways: self.task_state(images, labels, ways, normalization),
            lambda images, state: self.answer(images, state, normalization),
            image_shape=tuple(self.body.input_shape[1:]),
            classifies=self.inner_loss == "cross_entropy",
            rows=self._head.rows,
        )

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
        adapted = self._inner_loop().adapt(
            features[None],
            labels[None],
            ways=ways,
            source=_inner(source),
            step_sizes=self._step_sizes(),
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

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Makes the variables of optimizer, loss and metrics, without Keras' dry run of the network.

        That run fails on the batches of several workers; and variables made during the first step, instead of here,
        would cost a second trace of it.
        """
        classes = self.inner_loss == "cross_entropy"
        ways = self._head.rows or self.ways
        labels = keras.KerasTensor((None, None) if classes else (None, None, ways))
        outputs = keras.KerasTensor((None, None, ways))
        with self.distribute_strategy.scope():
            for part in (self._compile_loss, self._compile_metrics):
                if part is not None and not part.built:
                    part.build(labels, outputs)
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)

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
        names = (
            "inner_steps inner_step_size learned_inner_step_size inner_l2 differentiation truncated_to inner_solver "
            "inner_tolerance normalization head_initialization frozen_in_adaptation inner_loss ways seed"
        )
        return {name: getattr(self, name) for name in names.split()}

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
        config = dict(config)
        if config.pop("first_order", False):  # saved before `differentiation` said so
            config["differentiation"] = "first_order"
        return cls(**(config | parts))

    def describe(self) -> dict[str, str]:
        """Returns in words what is adapted and in which geometry, for protocols and cards."""
        names = [self._head.adapted_names[position] for position in self._adapted]
        geometry = "nonconvex"
        if not self.has_inner_loop:
            geometry = "closed form, no inner loop"
        elif is_linear(self.head):
            geometry = "strongly convex" if self.inner_l2 else "convex, not strongly (inner_l2 = 0)"
        return {
            "adapted": ", ".join(names),
            "body": f"{self.body.name}, {count_parameters(self.body_variables):,} parameters",
            "head": f"{self.head_initialization}, {count_parameters(self.head_variables):,} parameters",
            "geometry": geometry,
            "normalization": self.normalization,
            "inner_steps": self._inner_steps_in_words(),
            "inner_step_size": f"{self.inner_step_size:g}"
            + ("" if self.learned_inner_step_size == "none" else ", learned")
            + {"none": "", "scalar": " as one scalar", "per_variable": " per entry"}[
                self.learned_inner_step_size
            ],
            "meta_gradient": self._meta_gradient_in_words(),
        }

    def _inner_steps_in_words(self) -> str:
        if not self.has_inner_loop:
            return "none: closed form"
        if self.differentiation == "implicit":
            return f"to the minimum ({self.inner_solver}, gradient below {self.inner_tolerance:g})"
        return str(self.inner_steps)

    def _meta_gradient_in_words(self) -> str:
        if not self.has_inner_loop:
            return "exact (closed form)"
        exact = f"exact ({self.differentiation})"
        if self.truncated_to is not None and self.truncated_to >= self.inner_steps:
            return "exact (truncated to no fewer than all inner steps)"
        return {
            "first_order": "first order",
            "truncated": f"truncated to the last {self.truncated_to} of {self.inner_steps} inner steps",
        }.get(self.differentiation, exact)


def _one_of(option: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ValueError(f"{option} must be one of {', '.join(accepted)}. Received: {value!r}.")


def _at_least_zero(option: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{option} must be 0 or more. Received: {value}.")


def _above_zero(option: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{option} must be above 0. Received: {value}.")


def _check_head(initialization: str, loss: str, frozen: str, learned_step_size: str) -> None:
    """Refuses what a head cannot do."""
    kind = HEADS[initialization]
    if loss == "squared_error" and kind.classifies_only:
        raise ValueError(
            f"A {initialization} head needs classes, and inner_loss='squared_error' has numbers. Use a "
            f"{names_of(classifies_only=False)} head."
        )
    if frozen == "head" and not kind.last_layer_is_learned:
        raise ValueError(
            f"frozen_in_adaptation='head' leaves a {initialization} head where it starts, for ever. Use a "
            f"{names_of(last_layer_is_learned=True)} head."
        )
    if learned_step_size != "none" and not kind.has_inner_loop:
        raise ValueError(
            f"A {initialization} head has no inner loop, hence no step size to learn. Received: "
            f"learned_inner_step_size={learned_step_size!r}. Use 'none'."
        )


def _adapted_positions(head: Head, frozen: str) -> list[int]:
    """Positions, among the tensors of the head, of those that the inner loop moves."""
    last = head.last_layer_tensors if frozen == "head" else 0
    positions = list(range(len(head.adapted_names) - last))
    if not head.adapted_names:
        raise ValueError(
            "The head has nothing to adapt: it has no trainable variables. Unfreeze it."
        )
    if not positions:
        raise ValueError(
            "frozen_in_adaptation='head' leaves nothing to adapt. Raise adapted_layers to 2 or more."
        )
    return positions


def _inner(source: Source) -> Source:
    """The source for a pass over the support alone, which the inner loop differentiates."""
    return source if isinstance(source, Moving) else Batch()


def _length(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    static = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static is None else static


def _task_numbers(count: int | tf.Tensor) -> tf.Tensor:
    """Numbers of this replica's tasks within the meta-batch, int32 [count]."""
    replica = tf.distribute.get_replica_context()
    first = 0 if replica is None else replica.replica_id_in_sync_group * count
    return first + tf.range(count)
