"""Small inner and outer losses of z = (w, phi) in float64 numpy, whose constants are known.

    Quadratic     1/2 z^T H z + b^T z          rho = tau = 0; all else off the eigenvalues
    Ripples       mean_k cos(a_k^T z + c_k)    nonconvex, and strongly convex with (l2/2)|w|^2 added; all constants
                                               in closed form
    SoftmaxTanh   softmax head on tanh features, as in a network; constants sampled, which bounds them from below

Every function takes points z [..., n], whose first `head_size` entries are w, and works on all of them at once. All are
analytic, so that a complex step differentiates them to the last digit: f'(x) = Im f(x + i h)/h + O(h^2), h = 1e-30.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from anil_tf.theory.bounds import Constants

COMPLEX_STEP = 1e-30


@dataclass(frozen=True)
class Problem:
    """One task: support and query loss, each with `value(z)` [...] and `gradient(z)` [..., n]."""

    support: Any
    query: Any
    head_size: int

    def trajectory(self, z, steps, step_size):
        """(w_0, phi) .. (w_N, phi)."""
        points = [z]
        for _ in range(steps):
            step = self.support.gradient(points[-1])
            points.append(points[-1] - step_size * self._head_only(step))
        return points

    def meta_loss(self, z, steps, step_size):
        return self.query.value(self.trajectory(z, steps, step_size)[-1])

    def meta_gradient(self, z, steps, step_size):
        """(d_w, d_phi) [..., n], by the reverse recursion of Proposition 1."""
        *points, end = self.trajectory(z, steps, step_size)
        meta_gradient = self.query.gradient(end)
        for point in reversed(points):
            v = self._head_only(meta_gradient)  # (H v, J v) in one derivative of the gradient
            meta_gradient = meta_gradient - step_size * derivative(self.support.gradient, point, v)
        return meta_gradient

    def norms(self, vectors):
        """|w part| and |phi part|."""
        n = self.head_size
        return np.linalg.norm(vectors[..., :n], axis=-1), np.linalg.norm(vectors[..., n:], axis=-1)

    def measured_blocks(self, z, steps, step_size):
        """Largest singular values of the meta-loss' second derivatives, in the order of `bounds.Blocks`, over z."""
        h, n = 1e-5, self.head_size
        ahead, back = (
            self.meta_gradient(z + sign * h * _directions(z), steps, step_size) for sign in (1, -1)
        )
        second = np.moveaxis(ahead - back, 0, -2) / (2 * h)  # [..., by, of]
        w, phi = slice(None, n), slice(n, None)
        of_by = [(w, w), (w, phi), (phi, w), (phi, phi)]
        return [np.linalg.norm(second[..., by, of], 2, axis=(-2, -1)).max() for of, by in of_by]

    def _head_only(self, vectors):
        return vectors * (np.arange(vectors.shape[-1]) < self.head_size)


def derivative(function, z, direction):
    """How function(z) changes along a direction."""
    return np.imag(function(z + 1j * COMPLEX_STEP * direction)) / COMPLEX_STEP


def hessian(loss, z):
    """[..., n, n]."""
    return np.moveaxis(derivative(loss.gradient, z, _directions(z)), 0, -2)


def _directions(z):
    """The unit vectors, along a new first axis: [n, 1, .., n]."""
    return np.eye(z.shape[-1]).reshape(-1, *[1] * (z.ndim - 1), z.shape[-1])


@dataclass(frozen=True)
class Quadratic:
    matrix: np.ndarray
    slope: np.ndarray

    def value(self, z):
        return 0.5 * np.sum(z * (z @ self.matrix), axis=-1) + z @ self.slope

    def gradient(self, z):
        return z @ self.matrix + self.slope


@dataclass(frozen=True)
class Ripples:
    waves: np.ndarray  # a, [K, n]
    phases: np.ndarray  # c, [K]
    head_size: int
    l2: float = 0.0

    @property
    def _penalties(self):
        return self.l2 * (np.arange(self.waves.shape[1]) < self.head_size)

    def value(self, z):
        ripples = np.cos(z @ self.waves.T + self.phases).mean(axis=-1)
        return ripples + 0.5 * np.sum(self._penalties * z**2, axis=-1)

    def gradient(self, z):
        slopes = -np.sin(z @ self.waves.T + self.phases) / len(self.waves)
        return slopes @ self.waves + self._penalties * z


@dataclass(frozen=True)
class SoftmaxTanh:
    """Mean cross-entropy + (l2/2)|w|^2. Data may have a leading axis of tasks, which z [..., n] broadcasts with."""

    inputs: np.ndarray  # [..., rows, inputs]
    targets: np.ndarray  # one-hot [..., rows, ways]
    width: int
    l2: float = 0.0

    def _parts(self, z):
        ways, width, depth = self.targets.shape[-1], self.width, self.inputs.shape[-1]
        cut = ways * (width + 1)
        head = z[..., :cut].reshape(*z.shape[:-1], ways, width + 1)
        body = z[..., cut:].reshape(*z.shape[:-1], width, depth)
        hidden = np.tanh(self.inputs @ np.swapaxes(body, -1, -2))
        features = np.concatenate([hidden, np.ones_like(hidden[..., :1])], axis=-1)
        logits = features @ np.swapaxes(head, -1, -2)
        powers = np.exp(logits)
        total = powers.sum(axis=-1, keepdims=True)
        return head, hidden, features, logits, powers / total, np.log(total[..., 0])

    def value(self, z):
        head, *_, logits, _, log_total = self._parts(z)
        losses = log_total - np.sum(self.targets * logits, axis=-1)
        return losses.mean(axis=-1) + 0.5 * self.l2 * np.sum(head**2, axis=(-2, -1))

    def gradient(self, z):
        head, hidden, features, _, probabilities, _ = self._parts(z)
        by_logits = (probabilities - self.targets) / self.targets.shape[-2]
        by_head = np.swapaxes(by_logits, -1, -2) @ features + self.l2 * head
        by_hidden = (by_logits @ head[..., :-1]) * (1 - hidden**2)
        by_body = np.swapaxes(by_hidden, -1, -2) @ self.inputs
        flat = [part.reshape(*part.shape[:-2], -1) for part in (by_head, by_body)]
        return np.concatenate(flat, axis=-1)


# ---- Problems, with their constants ---------------------------------------------------------------------------------


def random_quadratic(seed, head_size=4, body_size=3):
    """Coupled in (w, phi), strongly convex in w; M, which no quadratic has, is left for a test to fill in."""
    rng = np.random.default_rng(seed)
    n = head_size + body_size
    support, query = (m + m.T for m in rng.normal(size=[2, n, n]))
    head = support[:head_size, :head_size]
    head += np.eye(head_size) * (rng.uniform(0.3, 1) - np.linalg.eigvalsh(head)[0])
    constants = Constants(
        mu=np.linalg.eigvalsh(head)[0],
        smoothness=max(np.linalg.norm(support, 2), np.linalg.norm(query, 2)),
        hessian_lipschitz=0.0,
        mixed_lipschitz=0.0,
    )
    losses = Quadratic(support, rng.normal(size=n)), Quadratic(query, rng.normal(size=n))
    return Problem(*losses, head_size), constants


def saddle(mu, smoothness, query_slope, query_direction=(0.0, 0.0)):
    """The quadratic that meets the bounds: w and phi are numbers, and the support Hessian has eigenvalues +L and -L.

    It is [[mu, c], [c, -mu]], so that the coupling c = sqrt(L^2 - mu^2) is as strong as L allows. The query loss has
    a given slope, and curvature L along one given direction.
    """
    c = np.sqrt(smoothness**2 - mu**2)
    along = np.array(query_direction)
    support = Quadratic(np.array([[mu, c], [c, -mu]]), np.zeros(2))
    query = Quadratic(smoothness * np.outer(along, along), np.array(query_slope))
    slope = float(np.linalg.norm(query_slope))
    return Problem(support, query, 1), Constants(mu, smoothness, 0.0, 0.0, slope)


def random_ripples(seed, strongly_convex, head_size=3, body_size=3, count=6):
    """All constants in closed form: every derivative of cos is at most 1, and each brings out one factor of a_k."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=[2, count, head_size + body_size]) / 2
    phases = rng.uniform(0, 2 * np.pi, size=[2, count])
    whole = np.linalg.norm(waves, axis=-1)
    head = np.linalg.norm(waves[0, :, :head_size], axis=-1)
    body = np.linalg.norm(waves[0, :, head_size:], axis=-1)
    l2 = 1.5 * np.mean(head**2) if strongly_convex else 0.0
    constants = Constants(
        mu=l2 - np.mean(head**2),
        smoothness=max(l2 + np.mean(whole[0] ** 2), np.mean(whole[1] ** 2)),
        hessian_lipschitz=np.mean(head**2 * whole[0]),
        mixed_lipschitz=np.mean(head * body * whole[0]),
        gradient_bound=np.mean(whole[1]),
    )
    support = Ripples(waves[0], phases[0], head_size, l2)
    return Problem(support, Ripples(waves[1], phases[1], head_size), head_size), constants


def softmax_tanh(seed, tasks=(), l2=0.5, ways=3, width=3, inputs=3, rows=6):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=[2, *tasks, rows, inputs])
    targets = np.eye(ways)[rng.integers(0, ways, size=[2, *tasks, rows])]
    support = SoftmaxTanh(images[0], targets[0], width, l2)
    return Problem(support, SoftmaxTanh(images[1], targets[1], width), ways * (width + 1))


def sampled_constants(problem, l2, z, steps, step_size):
    """The largest L, M, rho and tau met on the trajectories from points z [P, n], and between neighbours there."""
    n = problem.head_size
    points = np.concatenate(problem.trajectory(z, steps, step_size))
    moves = np.random.default_rng(0).normal(size=points.shape)
    moves *= 1e-4 / np.linalg.norm(moves, axis=-1, keepdims=True)
    here, there = hessian(problem.support, points), hessian(problem.support, points + moves)
    change = (there - here) / 1e-4

    def largest(matrices):
        return np.linalg.norm(matrices, 2, axis=(-2, -1)).max()

    return Constants(
        mu=l2,
        smoothness=max(largest(here), largest(hessian(problem.query, points))),
        hessian_lipschitz=largest(change[..., :n, :n]),
        mixed_lipschitz=largest(change[..., n:, :n]),
        gradient_bound=np.linalg.norm(problem.query.gradient(points), axis=-1).max(),
    )
