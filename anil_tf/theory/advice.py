"""Advice: which inner step size, and how many inner steps, a measured landscape suggests.

The step size. Gradient descent lowers a loss of curvature up to L at each step while alpha < 2/L, and a task that is
stepped over is not adapted. With alpha = 1/L and L no less than any curvature on the way, no direction is overshot; the
L here is the largest that was met in the tasks measured, so about none is, and it may still double during training
before a step can raise the loss. L differs between tasks where alpha does not, so the largest one measured decides.

The steps. The support loss falls less with each step. N is the fewest steps after which one more would lower it by less
than a `share` of what the steps before did, on average over tasks. As falls do not grow, that is never more than
1/share steps, and fewer where the curvatures of the loss lie close together. A step is CHEAP where the head is one
linear layer: the body runs once per meta-step however many steps there are, so that a step adds about 0.4 % to the
meta-step's time (0.1 to 0.7 %, prediction P6 of the study), and the meta-gradient contracts with them. It is taken
while it adds one per cent to the fall. Elsewhere it is DEAR: it runs the layers that adapt, forward and three times
back, and the smoothness of the meta-loss can grow like (1 + alpha L)^2N (`bounds.Nonconvex`).

Both are rules of thumb with a reason, not theorems: the landscape is that of the initial weights, and the theory says
what is stable and what a step costs, not what generalises.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.conjugate_gradients import dot
from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.adaptation.unrolled import descend
from anil_tf.theory.landscape import Landscape, concatenate, head_landscape

# The share that a further step must add to the fall of the support loss; at most 100 steps, and at most 5.
CHEAP, DEAR = 0.01, 0.2
# Of the way that the inner loop takes; neighbours on a way of many steps have much the same curvature.
_POINTS = 20
# Of the curvature; the step size is rounded to two digits.
_TOLERANCE = 1e-2


class Posed(Protocol):
    """The inner problem of some tasks, as `MetaLearner.pose` states it; read, never set."""

    @property
    def problem(self) -> InnerProblem:
        """The support losses of B tasks."""

    @property
    def start(self) -> Tensors:
        """w_0, tensors [B, ...]."""

    @property
    def shared(self) -> Tensors:
        """What the losses share with the outer loop, tensors [B, ...]."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the advice is drawn from.

    Attributes:
        landscape: of T tasks, along the inner loop.
        step_size: alpha, as given or as advised.
        falls: by how much each inner step lowers the support loss at that step size, float64 [steps, T]; None where
            the number of steps is given.
    """

    landscape: Landscape
    step_size: float
    falls: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Advice:
    """An inner loop, and why.

    Attributes:
        step_size: alpha.
        steps: N.
        reason: one sentence for each that was not given.
    """

    step_size: float
    steps: int
    reason: str


def advise(
    measurement: Measurement,
    *,
    step_size: float | None = None,
    steps: int | None = None,
    share: float = CHEAP,
) -> Advice:
    """Draws the advice from measurements; a pure function.

    Args:
        measurement: from `measure`, with the other arguments as here.
        step_size: alpha where it is given and no advice wanted.
        steps: N, likewise.
        share: of the fall of the support loss so far, that a further step must add.

    Returns:
        Step size and steps, those that were given unchanged.

    Raises:
        ValueError: when no curvature above 0 was measured.
    """
    smoothness = measurement.landscape.smoothness_head
    reasons = []
    if step_size is None:
        step_size = measurement.step_size
        reasons.append(
            f"inner_step_size={step_size:g} is 1/L, with L = {np.max(smoothness):.3g} the largest curvature of the "
            f"support loss met in {len(smoothness)} training tasks at the initial weights (median "
            f"{np.median(smoothness):.3g}, smallest {np.min(smoothness):.3g})"
        )
    if steps is None:
        assert measurement.falls is not None, "measured for a given number of steps"
        steps = advised_steps(measurement.falls, share)
        reasons.append(_reason_for_steps(steps, measurement.falls, share))
    return Advice(step_size, steps, "; ".join(reasons))


def measure(
    tasks: Sequence[Posed],
    *,
    step_size: float | None = None,
    steps: int | None = None,
    share: float = CHEAP,
) -> Measurement:
    """Measures what `advise` needs; see there for the arguments.

    Curvature is taken at the start, which gives a first step size, then all along the inner loop at that one, which may
    lower it.

    Args:
        tasks: inner problems of batches of tasks.
        step_size: alpha where it is given.
        steps: N where it is given.
        share: as for `advise`.

    Returns:
        The measurement, of all tasks together.

    Raises:
        ValueError: when no curvature above 0 was measured.
    """
    wanted = steps is None
    steps = most_steps(share) if steps is None else steps
    trial = step_size
    if trial is None:
        trial = advised_step_size(_landscape(tasks, 0, 1.0).smoothness_head)
    landscape = _landscape(tasks, steps, trial)
    if step_size is None:
        step_size = min(trial, advised_step_size(landscape.smoothness_head))
    if not wanted:
        return Measurement(landscape, step_size, None)
    falls = [support_falls(each, steps=steps, step_size=step_size) for each in tasks]
    return Measurement(landscape, step_size, np.concatenate(falls, axis=1))


def advised_step_size(smoothness: np.ndarray) -> float:
    """1/L of the task with the largest L, to two digits, so that machines that round differently agree.

    Args:
        smoothness: L, [tasks].

    Returns:
        alpha.

    Raises:
        ValueError: unless all curvatures are finite and one is above 0.
    """
    largest = float(np.max(smoothness))
    if not (math.isfinite(largest) and largest > 0):
        raise ValueError(
            f"no step size follows from the largest curvature of the support loss, which was measured as {largest:g}; "
            "expected a number above 0. Give a step size."
        )
    return float(f"{1 / largest:.2g}")


def advised_steps(falls: np.ndarray, share: float) -> int:
    """The fewest steps after which a further one would lower the loss by less than `share` of the fall so far.

    Args:
        falls: by how much each step lowers the loss, [steps, tasks]; all steps are advised if each of them adds more.
        share: above 0 and below 1.

    Returns:
        N, at least 1, whatever the first step does.
    """
    fall = np.mean(falls, axis=1)
    for taken in range(1, len(fall)):
        if not fall[taken] >= share * np.sum(fall[:taken]) > 0:  # nor if either is nan
            return taken
    return max(1, len(fall))


def most_steps(share: float) -> int:
    """The number of steps that `advised_steps` never exceeds where falls do not grow: 1/share, rounded."""
    return max(1, round(1 / share))


def support_falls(posed: Posed, *, steps: int, step_size: float) -> np.ndarray:
    """By how much each inner step lowers the support loss of each task.

    The trapezoidal rule on the way from w_m to w_{m+1} = w_m - alpha g_m,

        L(w_m) - L(w_{m+1}) = alpha (<g_m, g_m> + <g_m, g_{m+1}>) / 2,

    exact where the loss is quadratic, needs gradients alone, which is what inner problems offer.

    Args:
        posed: the inner problem of B tasks.
        steps: how many, 0 or more.
        step_size: alpha.

    Returns:
        float64 [steps, B].
    """
    problem, shared = posed.problem, posed.shared
    sizes = [step_size] * len(posed.start)

    def one_step(state: tuple, step: tf.Tensor) -> tuple:
        point, gradient, _ = state
        point = descend(point, gradient, sizes)
        following = problem.gradient(point, shared, step + 1)
        fall = 0.5 * step_size * (dot(gradient, gradient) + dot(gradient, following))
        return point, following, fall

    @tf.function(autograph=False)
    def falls() -> tf.Tensor:
        start = list(posed.start)
        gradient = problem.gradient(start, shared, 0)
        state = (start, gradient, tf.zeros_like(dot(gradient, gradient)))
        return tf.scan(one_step, tf.range(steps), state, parallel_iterations=1)[2]

    return falls.get_concrete_function()().numpy().astype(np.float64)


def _landscape(tasks: Sequence[Posed], steps: int, step_size: float) -> Landscape:
    how: dict[str, Any] = {
        "steps": steps,
        "step_size": step_size,
        "points": _POINTS,
        "tolerance": _TOLERANCE,
    }
    return concatenate(
        [head_landscape(each.problem, each.start, each.shared, **how) for each in tasks]
    )


def _reason_for_steps(steps: int, falls: np.ndarray, share: float) -> str:
    fall = np.mean(falls, axis=1)
    if not np.sum(fall[:steps]) > 0:
        return f"inner_steps={steps}: at this step size the support loss does not fall; lower it"
    if steps < len(fall):
        last = f"and a further one would add less than {100 * share:.0f} % to that"
    else:
        last = "the most steps that this advice gives"
    return f"inner_steps={steps}: they lower the support loss by about {np.sum(fall[:steps]):.2g}, {last}"
