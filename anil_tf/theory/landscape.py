"""The landscape of the inner loss: the constants that the theory assumes, measured on real tasks.

w is the head, which adapts, phi the body; L_S and L_D are the support and the query loss of a task, and |.| of a matrix
its largest singular value. The symbols are believed to be those of Ji et al. 2020 (arXiv:2006.09486), whose text was
not at hand to check.

    mu       curvature d2L_S/dw2 is nowhere below
    L        and nowhere above; likewise |d2L_S/dw dphi|, |d2L_S/dphi2| and the second derivatives of L_D
    rho      |d2L_S/dw2| changes by no more per unit of (w, phi)
    tau      and |d2L_S/dw dphi| by no more
    M        |dL_D/d(w, phi)| is nowhere above

Exact: mu of a linear head, and the upper bound on its L. All else is met along the way, at the points that the inner
loop passes or at pairs drawn beside them, and is therefore a lower bound on L, rho, tau, M (an upper one on mu).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.theory import linear_curvature
from anil_tf.theory.bounds import Constants
from anil_tf.theory.flat import size_of
from anil_tf.theory.head_path import hessian_products, trajectory
from anil_tf.theory.lanczos import extreme_eigenvalues
from anil_tf.theory.task_derivatives import Loss, TaskDerivatives

SYMBOLS = {
    "strong_convexity": "mu",
    "smoothness_head": "L_w",
    "smoothness_bound": "L_w, bound",
    "smoothness_cross": "L_w,phi",
    "smoothness_body": "L_phi",
    "smoothness_query": "L_D",
    "hessian_lipschitz": "rho",
    "mixed_lipschitz": "tau",
    "gradient_bound": "M",
}


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Constants of B tasks, float64 [B] each, nan where not measured.

    Attributes:
        strong_convexity: mu. Exact for a linear head: lambda for softmax. For any other head the smallest curvature
            met, which is an upper bound; below 0 the problem is not convex.
        smoothness_head: the largest |d2L_S/dw2| met along the trajectory.
        smoothness_bound: for linear heads, a closed form that no point w exceeds: lambda + lambda_max(H^T H/n)/2 for
            softmax, the curvature itself for squared error.
        smoothness_cross: the largest |d2L_S/dw dphi| met.
        smoothness_body: the largest |d2L_S/dphi2| met.
        smoothness_query: the largest |d2L_D/d(w, phi)2| met; it covers all three blocks of the query loss.
        hessian_lipschitz: rho, the largest ratio among the pairs of points tried.
        mixed_lipschitz: tau, likewise.
        gradient_bound: M, the largest |dL_D/d(w, phi)| met.
    """

    strong_convexity: np.ndarray
    smoothness_head: np.ndarray
    smoothness_bound: np.ndarray
    smoothness_cross: np.ndarray
    smoothness_body: np.ndarray
    smoothness_query: np.ndarray
    hessian_lipschitz: np.ndarray
    mixed_lipschitz: np.ndarray
    gradient_bound: np.ndarray

    def table(self) -> list[dict[str, str | float]]:
        """Returns one row per measured constant: name, symbol, median, min and max over tasks."""
        reductions: dict[str, Callable] = {"median": np.median, "min": np.min, "max": np.max}
        return [
            {"name": name, "symbol": symbol}
            | {title: self._reduced(name, reduction) for title, reduction in reductions.items()}
            for name, symbol in SYMBOLS.items()
            if self._measured(name).size
        ]

    def constants(self, reduce: str = "max") -> Constants:
        """Returns one set of constants for the bounds.

        L is the largest of the head's and the mixed block of the support loss and of all blocks of the query loss; the
        body's block of the support loss, which the meta-gradient does not contain, is left out.

        Args:
            reduce: "max" takes the worst task for each (the smallest mu, the largest of all others), "median" the
                median one.

        Returns:
            The constants, nan where no task was measured.

        Raises:
            ValueError: for another `reduce`.
        """
        if reduce not in ("max", "median"):
            raise ValueError(f"reduce must be 'max' or 'median'. Received: {reduce!r}.")
        largest, smallest = (np.median,) * 2 if reduce == "median" else (np.max, np.min)
        blocks = [
            self._reduced(name, largest)
            for name in ("smoothness_head", "smoothness_cross", "smoothness_query")
        ]
        smoothness = float(np.nanmax(blocks))
        return Constants(
            # Equal where all curvatures are, up to rounding.
            mu=min(self._reduced("strong_convexity", smallest), smoothness),
            smoothness=smoothness,
            hessian_lipschitz=self._reduced("hessian_lipschitz", largest),
            mixed_lipschitz=self._reduced("mixed_lipschitz", largest),
            gradient_bound=self._reduced("gradient_bound", largest),
        )

    def _measured(self, name: str) -> np.ndarray:
        values = getattr(self, name)
        return values[~np.isnan(values)]

    def _reduced(self, name: str, reduction: Callable) -> float:
        values = self._measured(name)
        return float(reduction(values)) if values.size else float("nan")


def concatenate(landscapes: Sequence[Landscape]) -> Landscape:
    """Returns the landscape of all the tasks together."""
    return Landscape(
        **{name: np.concatenate([getattr(one, name) for one in landscapes]) for name in SYMBOLS}
    )


def head_landscape(
    problem: InnerProblem,
    start: Tensors,
    shared: Tensors,
    *,
    steps: int,
    step_size: float,
    points: int | None = None,
    iterations: int = 64,
    tolerance: float = 1e-3,
) -> Landscape:
    """Measures the curvature by the head, along the inner loop: mu, L and for linear heads its upper bound.

    For a linear head with softmax, the direction in which the logits of all classes move alike is left out of L: the
    loss does not see it, and its curvature is lambda everywhere.

    Args:
        problem: the support losses of B tasks.
        start: w_0, tensors [B, ...].
        shared: s, tensors [B, ...].
        steps: N, 0 or more; curvature is measured at w_0 .. w_N.
        step_size: alpha.
        points: at how many of them at most, evenly spread from w_0 to w_N; None is all.
        iterations: most Hessian-vector products per point.
        tolerance: relative error at which an eigenvalue counts as found; see `lanczos.py`.

    Returns:
        The landscape of the B tasks; what needs the body or the query is nan.
    """
    exact = (
        linear_curvature.closed_forms(problem, start, shared)
        if isinstance(problem, LinearProblem)
        else {}
    )
    if "smoothness_head" not in exact:
        product = hessian_products(problem, shared)
        project = linear_curvature.without_common_row(start) if exact else None
        shape = (int(start[0].shape[0]), size_of(start))
        path = trajectory(problem, start, shared, steps, step_size)
        ends = [
            extreme_eigenvalues(
                functools.partial(product, path[step], step),
                shape,
                project=project,
                iterations=iterations,
                tolerance=tolerance,
            )
            for step in _spread(steps, points or steps + 1)
        ]
        smallest = np.min([low for low, _ in ends], axis=0)
        largest = np.max([np.maximum(abs(low), abs(high)) for low, high in ends], axis=0)
        exact = {"strong_convexity": smallest, "smoothness_head": largest} | exact
    return _landscape(exact)


def _spread(steps: int, points: int) -> list[int]:
    """At most so many of the steps 0 .. N, evenly spread, both ends among them."""
    return sorted({round(step) for step in np.linspace(0, steps, points)})


def _landscape(measured: dict[str, np.ndarray]) -> Landscape:
    """The landscape with nan for what was not measured."""
    unknown = np.full_like(measured["strong_convexity"], np.nan)
    return Landscape(**(dict.fromkeys(SYMBOLS, unknown) | measured))


def block_landscape(
    support_loss: Loss,
    query_loss: Loss,
    head: Tensors,
    body: Tensors,
    *,
    steps: int,
    step_size: float,
    points: int = 3,
    pairs: int = 3,
    radius: float = 0.1,
    iterations: int = 64,
    tolerance: float = 1e-2,
    seed: int = 0,
) -> Landscape:
    """Measures all constants of one task, the body's blocks among them.

    rho and tau come from differences of products at two points, never from third derivatives. All values are met at
    some points and pairs of them: lower bounds on L, rho, tau and M (for mu, an upper bound).

    Args:
        support_loss: L_S(w, phi), scalar.
        query_loss: L_D(w, phi), scalar.
        head: w_0, tensors.
        body: phi, tensors; none where the head alone counts, and what needs a body is then 0.
        steps: N, inner steps.
        step_size: alpha.
        points: how many points of the trajectory, evenly spread from w_0 to w_N, the second derivatives are taken at.
        pairs: how many random neighbours of each of them rho and tau are sampled with, beside the pairs that follow
            each other on the trajectory. By turns they differ in w, in phi, and in both. Pairs that rounding could
            decide about are left out, see `task_derivatives.TOO_NEAR`.
        radius: how far neighbours are, relative to the norm of w and of phi. Much below 1e-2, float32 is too coarse.
        iterations: most products per point and block.
        tolerance: relative error at which an eigenvalue counts as found; see `lanczos.py`.
        seed: of the neighbours.

    Returns:
        The landscape of this one task, arrays [1]; see `concatenate`.
    """
    losses = TaskDerivatives(support_loss, query_loss, head, body)
    options = {"iterations": iterations, "tolerance": tolerance}
    path = losses.trajectory(steps, step_size)
    chosen = [path[step] for step in _spread(steps, points)]
    # Tighter for the head, whose products are cheap: its smallest curvature is small beside its largest.
    tight = options | {"tolerance": min(tolerance, 1e-4)}
    low, high = np.transpose([losses.head_curvature(z, **tight) for z in chosen])
    neighbours = list(zip(chosen, chosen[1:], strict=False))
    neighbours += [
        (z, other)
        for number, z in enumerate(chosen)
        for other in losses.neighbours(z, pairs, radius, seed + number)
    ]
    apart = [(z, other) for z, other in neighbours if not losses.are_too_near(z, other)]
    changes = [losses.changes(z, other, **options) for z, other in apart]
    measured = {
        "strong_convexity": low.min(),
        "smoothness_head": max(abs(low).max(), abs(high).max()),
        "smoothness_cross": max(losses.cross_curvature(z, **options) for z in chosen),
        "smoothness_body": max(losses.body_curvature(z, **options) for z in chosen),
        "smoothness_query": max(losses.query_curvature(z, **options) for z in chosen),
        "hessian_lipschitz": max((rho for rho, _ in changes), default=np.nan),
        "mixed_lipschitz": max((tau for _, tau in changes), default=np.nan),
        "gradient_bound": max(losses.query_slope(z) for z in path),
    }
    return _landscape({name: np.array([float(value)]) for name, value in measured.items()})
