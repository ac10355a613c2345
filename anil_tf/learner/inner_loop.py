"""The inner loop of a head: from the support features of every task to its adapted head.

This is where a head (`models/heads/`) meets the derivatives of adaptation (`adaptation/`): it poses the inner problem
that the settings describe, in closed form where the head is linear, and hands it to the engine that
`differentiation` names.
"""

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from anil_tf.adaptation import explicit, span_problem, unrolled
from anil_tf.adaptation.implicit import minimum
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.losses import LOSSES, inner_loss
from anil_tf.adaptation.over_tasks import over_tasks
from anil_tf.adaptation.problem import InnerProblem, TapedProblem, Tensors
from anil_tf.config.adaptation import Adaptation
from anil_tf.config.heads import HEADS, names_of
from anil_tf.models.heads.base import Head
from anil_tf.models.keras_internals import flattened_layers
from anil_tf.models.normalization import Batch, Moving, Source, Statistics, batch_normalizations
from anil_tf.models.structure import draws_at_random, has_convolutions, is_linear


class PosedProblem(NamedTuple):
    """What the inner loop starts from.

    Attributes:
        problem: the support losses of B tasks.
        start: w_0, the tensors that move, each [B, ...].
        shared: s, the tensors by which the support losses are differentiated beside w, each [B, ...].
        fixed: the tensors of the head that stay where they start (BOIL), each [B, ...].
    """

    problem: InnerProblem
    start: Tensors
    shared: Tensors
    fixed: Tensors


@dataclasses.dataclass(frozen=True)
class InnerLoop:
    """How a head adapts, to B tasks at once.

    Attributes:
        head: what is adapted.
        adaptation: how.
        loss: of the support, "cross_entropy" or "squared_error".
        differentiates_features: whether anything below the head learns; if not, no derivative by features is taken.

    Raises:
        ValueError: for an adaptation that this head cannot have.
    """

    head: Head
    adaptation: Adaptation
    loss: str
    differentiates_features: bool

    def __post_init__(self):
        """Refuses what depends on the layers of the head; the rest is checked where `adaptation` is made."""
        if self.loss not in LOSSES:
            raise ValueError(f"inner_loss={self.loss}: expected one of {', '.join(LOSSES)}.")
        kind = self.adaptation.head_initialization
        if self.loss == "squared_error" and HEADS[kind].classifies_only:
            raise ValueError(
                f"A {kind} head needs classes, and inner_loss='squared_error' has numbers. Use a "
                f"{names_of(classifies_only=False)} head."
            )
        if not self.head.adapted_names:
            raise ValueError(
                "The head has nothing to adapt: it has no trainable variables. Unfreeze it."
            )
        if not self.positions:
            raise ValueError(
                "frozen_in_adaptation='head' leaves nothing to adapt. Raise adapted_layers to 2 or more."
            )
        if self.adaptation.engine == "implicit" and not self._has_closed_form:
            raise ValueError(
                "differentiation='implicit' needs a strongly convex inner problem, which takes a head of one linear "
                f"layer, adapted as a whole: adapted_layers=1 and a {names_of(has_inner_loop=True)} head. Use "
                "'explicit' here."
            )
        if self.takes_second_derivatives and self.has_inner_loop:
            _check_second_derivatives(self.head.model)

    @property
    def has_inner_loop(self) -> bool:
        """Whether gradient descent follows the start of the head."""
        return HEADS[self.adaptation.head_initialization].has_inner_loop

    @property
    def positions(self) -> list[int]:
        """Which of the head's tensors move; the others stay where they start (BOIL)."""
        frozen = self.adaptation.frozen_in_adaptation == "head"
        last = self.head.last_layer_tensors if frozen else 0
        return list(range(len(self.head.adapted_names) - last))

    @property
    def adapted_names(self) -> list[str]:
        """Names of the tensors that move."""
        return [self.head.adapted_names[position] for position in self.positions]

    @property
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the learned step sizes; empty where they are fixed."""
        if self.adaptation.learned_inner_step_size == "per_variable":
            return [self.head.step_size_shapes[position] for position in self.positions]
        return [()] if self.adaptation.learned_inner_step_size == "scalar" else []

    @property
    def steps(self) -> int:
        """N; "implicit" goes on to the minimum instead."""
        return int(self.adaptation.inner_steps)

    @property
    def takes_second_derivatives(self) -> bool:
        """Whether the meta-gradient differentiates through an inner step."""
        return self.adaptation.engine != "first_order" and self.steps > 0

    @property
    def _has_closed_form(self) -> bool:
        everything = len(self.positions) == len(self.head.adapted_names)
        return everything and self.has_inner_loop and is_linear(self.head.model)

    def mode(self, training: bool) -> str:
        """How to go over the tasks: a task's own filters, and masks from its own seed, cannot be vectorised."""
        draws = training and draws_at_random(self.head.model)
        return "loop" if draws or has_convolutions(self.head.model) else "vectorized"

    def adapt(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        *,
        ways: int | tf.Tensor,
        source: Source,
        step_sizes: list[tf.Tensor | float],
        dropout_seeds: tf.Tensor | None = None,
    ) -> Tensors:
        """Adapts the head to each task.

        Args:
            features: of the support, [B, n_s, ...].
            labels: of the support, int [B, n_s] (squared error: targets [B, n_s, dimensions]).
            ways: number of classes.
            source: where the batch normalisation of the head takes its statistics from: its own, or the support.
            step_sizes: alpha for each moving tensor.
            dropout_seeds: int [B, 2]; dropout is on exactly when they are given.

        Returns:
            The tensors of the adapted heads, each [B, ...], those that do not move among them.
        """
        if not self.has_inner_loop:
            return self._start(features, labels, ways, of_support(source))
        posed = self.pose(features, labels, ways=ways, source=source, dropout_seeds=dropout_seeds)
        sizes = [_in_precision_of(features, size) for size in step_sizes]
        adapted = self._descend(posed.problem, posed.start, posed.shared, sizes)
        return self.whole(adapted, posed.fixed)

    def answer(
        self,
        adapted: Tensors,
        features: tf.Tensor,
        support: int | tf.Tensor,
        *,
        source: Source,
        dropout_seeds: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, Statistics]:
        """Applies the adapted head of each task to its queries.

        Args:
            adapted: the tensors of the heads, each [B, ...].
            features: of support, then queries, [B, n_s + n_q, ...].
            support: n_s.
            source: where the batch normalisation of the head takes its statistics from.
            dropout_seeds: int [B, 2]; dropout is on exactly when they are given.

        Returns:
            Logits [B, n_q, ways], and the statistics used, each [B, channels].
        """
        answers_together = bool(batch_normalizations(self.head.learned_model or self.head.model))

        def of_one_task(task: tuple[Tensors, tf.Tensor, Any]) -> tuple[tf.Tensor, Statistics]:
            tensors, rows, seed = task
            seed = None if dropout_seeds is None else seed
            if answers_together:
                logits, statistics = self.head(tensors, rows, source, seed)
                return logits[support:], statistics
            return self.head(tensors, rows[support:], source, seed)

        tasks = (adapted, features, () if dropout_seeds is None else dropout_seeds)
        return over_tasks(of_one_task, tasks, mode=self.mode(dropout_seeds is not None))

    def pose(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        *,
        ways: int | tf.Tensor,
        source: Source,
        dropout_seeds: tf.Tensor | None = None,
    ) -> PosedProblem:
        """States the inner problem of each task, without solving it; see `adapt` for the arguments.

        Raises:
            ValueError: for a head that adapts in closed form, which poses no problem to gradient descent.
        """
        if not self.has_inner_loop:
            raise ValueError(
                "This head adapts in closed form and has no inner loop, hence no inner problem. Expected a "
                f"{names_of(has_inner_loop=True)} head."
            )
        source = of_support(source)
        start = self._start(features, labels, ways, source)
        moving = [start[position] for position in self.positions]
        fixed = [tensor for i, tensor in enumerate(start) if i not in self.positions]
        problem, shared = self._problem(features, labels, fixed, ways, source, dropout_seeds)
        return PosedProblem(problem, moving, shared, fixed)

    def _start(
        self, features: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor, source: Source
    ) -> Tensors:
        """The head of each task before the first step, tensors [B, ...]."""
        if self.head.starts_alike:
            tensors = self.head.start(features[0], labels[0], ways, source)
            tasks = features.shape[0] or tf.shape(features)[0]
            return [tf.broadcast_to(tensor, [tasks, *tensor.shape]) for tensor in tensors]
        return over_tasks(
            lambda task: self.head.start(task[0], task[1], ways, source),
            (features, labels),
            mode=self.mode(training=False),
        )

    def _problem(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        fixed: Tensors,
        ways: int | tf.Tensor,
        source: Source,
        dropout_seeds: tf.Tensor | None,
    ) -> tuple[Any, Tensors]:
        """The inner problem, and the tensors that it shares with the outer loop."""
        if self._has_closed_form and self.adaptation.engine != "unrolled":
            if self.loss == "cross_entropy":
                tf.debugging.assert_less(
                    tf.cast(labels, tf.int32),
                    ways,
                    "A support label is not below the number of ways.",
                )
            problem = LinearProblem.of_labels(
                labels, ways, dtype=features.dtype, loss=self.loss, l2=self.adaptation.inner_l2
            )
            return problem, [_flat(features)]

        seeds = () if dropout_seeds is None else dropout_seeds

        def loss(adapted: Tensors, shared: Tensors, constants: Any, step: int) -> tf.Tensor:
            features, labels, seed = constants
            if self.differentiates_features:
                *shared, features = shared
            seed = None if dropout_seeds is None else _fold(seed, step + 1)
            outputs, _ = self.head(self.whole(adapted, shared), features, source, seed)
            return inner_loss(outputs, labels, adapted, loss=self.loss, l2=self.adaptation.inner_l2)

        mode = self.mode(dropout_seeds is not None)
        if self.differentiates_features:
            return TapedProblem(loss, ((), labels, seeds), mode=mode), [*fixed, features]
        return TapedProblem(loss, (features, labels, seeds), mode=mode), fixed

    def _descend(
        self, problem: Any, start: Tensors, shared: Tensors, step_sizes: list[tf.Tensor | float]
    ) -> Tensors:
        engine, how = self.adaptation.engine, self.adaptation
        if engine == "implicit":
            return minimum(
                problem,
                start,
                shared,
                solver=how.inner_solver,
                tolerance=how.inner_tolerance,
                step_sizes=step_sizes,
            )
        if self._stays_in_span(problem, shared):
            return span_problem.gradient_descent(
                problem, start, shared[0], steps=self.steps, step_size=step_sizes[0]
            )
        reach = {"first_order": 0, "truncated": how.truncated_to or 0}.get(engine, self.steps)
        descent = unrolled if engine == "unrolled" else explicit
        return descent.gradient_descent(
            problem,
            start,
            shared,
            steps=self.steps,
            step_sizes=step_sizes,
            differentiated_steps=min(reach, self.steps),
        )

    def _stays_in_span(self, problem: Any, shared: Tensors) -> bool:
        """Whether fewer numbers than the head has, one per example and class, describe where it goes."""
        has_one_number = self.adaptation.learned_inner_step_size == "none"
        if self.adaptation.engine != "explicit" or not has_one_number:
            return False
        rows, width = shared[0].shape[1:] if isinstance(problem, LinearProblem) else (None, 0)
        return rows is not None and rows < width

    def whole(self, moving: Tensors, fixed: Tensors) -> Tensors:
        """All tensors of a head, in the head's order."""
        from_moving, from_fixed = iter(moving), iter(fixed)
        count = len(self.head.adapted_names)
        return [next(from_moving if i in self.positions else from_fixed) for i in range(count)]


def _check_second_derivatives(head: keras.Model) -> None:
    """Refuses layers of Keras whose second derivative is wrong: their variance holds the mean constant."""
    wrong = keras.layers.LayerNormalization | keras.layers.GroupNormalization
    for layer in flattened_layers(head):
        if isinstance(layer, wrong):
            raise ValueError(
                f"The adapted layers hold {layer.name}, a {type(layer).__name__}, whose second derivative is wrong in "
                "Keras (tf.nn.moments). Adapt fewer layers, use BatchNormalization, or differentiation='first_order'."
            )


def of_support(source: Source) -> Source:
    """The source for a pass over the support alone, which the inner loop differentiates."""
    return source if isinstance(source, Moving) else Batch()


def _flat(features: tf.Tensor) -> tf.Tensor:
    """Features [B, n, d] of features [B, n, ...], as the Flatten before a linear layer makes them."""
    if features.shape.rank == 3:
        return features
    width = features.shape[2:].num_elements()
    return tf.reshape(features, [tf.shape(features)[0], tf.shape(features)[1], width])


def _in_precision_of(features: tf.Tensor, size: tf.Tensor | float) -> tf.Tensor | float:
    """A step size as the head computes; a Python number takes its precision by itself, and no detour over float32."""
    return size if isinstance(size, float | int) else tf.cast(size, features.dtype)


def _fold(seed: tf.Tensor, data: int | tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, data)
