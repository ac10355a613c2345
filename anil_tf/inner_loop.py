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
from anil_tf.adaptation.losses import inner_loss
from anil_tf.adaptation.over_tasks import over_tasks
from anil_tf.adaptation.problem import InnerProblem, TapedProblem, Tensors
from anil_tf.config.heads import names_of
from anil_tf.models.heads.base import Head
from anil_tf.models.normalization import Source
from anil_tf.models.structure import draws_at_random, has_convolutions, is_linear

DIFFERENTIATIONS = ("explicit", "unrolled", "implicit", "first_order", "truncated")


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
        has_inner_loop: whether gradient descent follows its start.
        positions: which of its tensors move; the others stay where they start (BOIL).
        loss: of the support, "cross_entropy" or "squared_error".
        l2: lambda, weight of half the squared norm of the moving tensors.
        steps: N; "implicit" goes on to the minimum instead.
        differentiation: "unrolled" (tapes), "explicit" (Proposition 1), "implicit" (the minimum, by the implicit
            function theorem), "first_order" (steps count as constants) or "truncated" (all but the last ones do).
        truncated_to: for "truncated", how many steps are differentiated through.
        solver: for "implicit", "newton" or "gradient_descent".
        tolerance: for "implicit", the norm of the support gradient at which adaptation ends.
        differentiates_features: whether anything below the head learns; if not, no derivative by features is taken.
    """

    head: Head
    has_inner_loop: bool
    positions: tuple[int, ...]
    loss: str
    l2: float
    steps: int
    differentiation: str
    truncated_to: int | None
    solver: str
    tolerance: float
    differentiates_features: bool

    def __post_init__(self):
        """Refuses settings that contradict each other."""
        if self.differentiation == "implicit":
            self._check_that_a_minimum_exists()
        if self.differentiation != "first_order" and self.steps and self.has_inner_loop:
            _check_second_derivatives(self.head.model)
        if (self.differentiation == "truncated") != (self.truncated_to is not None):
            raise ValueError(
                "differentiation='truncated' and truncated_to, its number of steps, go together. Received: "
                f"differentiation={self.differentiation!r}, truncated_to={self.truncated_to}."
            )
        if self.truncated_to is not None and self.truncated_to < 1:
            raise ValueError(
                f"truncated_to must be 1 or more; first_order is 0. Received: {self.truncated_to}."
            )

    def _check_that_a_minimum_exists(self) -> None:
        if not self._has_closed_form:
            raise ValueError(
                "differentiation='implicit' needs a strongly convex inner problem, which takes a head of one linear "
                f"layer, adapted as a whole: adapted_layers=1 and a {names_of(has_inner_loop=True)} head. Use "
                "'explicit' here."
            )
        if self.l2 <= 0:
            raise ValueError(
                "differentiation='implicit' needs inner_l2 > 0: without it separable examples have no minimum. "
                f"Received: inner_l2={self.l2:g}."
            )

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
            source: where the batch normalisation of the head takes its statistics from.
            step_sizes: alpha for each moving tensor.
            dropout_seeds: int [B, 2]; dropout is on exactly when they are given.

        Returns:
            The tensors of the adapted heads, each [B, ...], those that do not move among them.
        """
        if not self.has_inner_loop:
            return self._start(features, labels, ways, source)
        posed = self.pose(features, labels, ways=ways, source=source, dropout_seeds=dropout_seeds)
        sizes = [_in_precision_of(features, size) for size in step_sizes]
        adapted = self._descend(posed.problem, posed.start, posed.shared, sizes)
        return self.whole(adapted, posed.fixed)

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
        if self._has_closed_form and self.differentiation != "unrolled":
            if self.loss == "cross_entropy":
                tf.debugging.assert_less(
                    tf.cast(labels, tf.int32),
                    ways,
                    "A support label is not below the number of ways.",
                )
            problem = LinearProblem.of_labels(
                labels, ways, dtype=features.dtype, loss=self.loss, l2=self.l2
            )
            return problem, [_flat(features)]

        seeds = () if dropout_seeds is None else dropout_seeds

        def loss(adapted: Tensors, shared: Tensors, constants: Any, step: int) -> tf.Tensor:
            features, labels, seed = constants
            if self.differentiates_features:
                *shared, features = shared
            seed = None if dropout_seeds is None else _fold(seed, step + 1)
            outputs, _ = self.head(self.whole(adapted, shared), features, source, seed)
            return inner_loss(outputs, labels, adapted, loss=self.loss, l2=self.l2)

        mode = self.mode(dropout_seeds is not None)
        if self.differentiates_features:
            return TapedProblem(loss, ((), labels, seeds), mode=mode), [*fixed, features]
        return TapedProblem(loss, (features, labels, seeds), mode=mode), fixed

    def _descend(
        self, problem: Any, start: Tensors, shared: Tensors, step_sizes: list[tf.Tensor | float]
    ) -> Tensors:
        if self.differentiation == "implicit":
            return minimum(
                problem,
                start,
                shared,
                solver=self.solver,
                tolerance=self.tolerance,
                step_sizes=step_sizes,
            )
        if self._stays_in_span(problem, shared, step_sizes):
            return span_problem.gradient_descent(
                problem,
                start,
                shared[0],
                steps=self.steps,
                step_size=step_sizes[0],
            )
        descent = unrolled if self.differentiation == "unrolled" else explicit
        reach = self.steps
        if self.differentiation == "first_order":
            reach = 0
        elif self.truncated_to is not None:
            reach = min(self.truncated_to, self.steps)
        return descent.gradient_descent(
            problem,
            start,
            shared,
            steps=self.steps,
            step_sizes=step_sizes,
            differentiated_steps=reach,
        )

    def _stays_in_span(
        self, problem: Any, shared: Tensors, step_sizes: list[tf.Tensor | float]
    ) -> bool:
        """Whether fewer numbers than the head has, one per example and class, describe where it goes."""
        if self.differentiation != "explicit" or not isinstance(problem, LinearProblem):
            return False
        rows, width = shared[0].shape[1:]
        numbers = {size for size in step_sizes if isinstance(size, float)}
        has_one_number = len(numbers) == 1 and all(isinstance(s, float) for s in step_sizes)
        return has_one_number and rows is not None and rows < width

    def whole(self, moving: Tensors, fixed: Tensors) -> Tensors:
        """All tensors of a head, in the head's order."""
        from_moving, from_fixed = iter(moving), iter(fixed)
        count = len(self.head.adapted_names)
        return [next(from_moving if i in self.positions else from_fixed) for i in range(count)]


def _check_second_derivatives(head: keras.Model) -> None:
    """Refuses layers of Keras whose second derivative is wrong: their variance holds the mean constant."""
    wrong = keras.layers.LayerNormalization | keras.layers.GroupNormalization
    for layer in head._flatten_layers():
        if isinstance(layer, wrong):
            raise ValueError(
                f"The adapted layers hold {layer.name}, a {type(layer).__name__}, whose second derivative is wrong in "
                "Keras (tf.nn.moments). Adapt fewer layers, use BatchNormalization, or differentiation='first_order'."
            )


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
