"""Second derivatives of one task's losses by head and body, block by block, and how fast they change.

Losses are functions of lists of tensors, loss(w, phi). Here a point is one flat vector z = (w, phi), [1, P] in float64,
of which w is the first part; the losses compute in the precision of their own tensors.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.problem import Tensors
from anil_tf.theory.flat import flatten, size_of, unflatten
from anil_tf.theory.lanczos import extreme_eigenvalues, spectral_norm, spectral_radius

# One task's loss of the head w and the body phi: loss(w, phi) -> scalar.
Loss = Callable[[Tensors, Tensors], tf.Tensor]
# The same of flat vectors w [1, n_w] and phi [1, n_phi].
FlatLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# A product with a Hessian is off by some roundings, relative to itself. Divided by the distance of two points, that
# looks like a change, the larger the nearer they are. So points count as apart from this many roundings on, relative
# to the longer of the two: in float32 from 1.2e-3, in float64 from 2.2e-12. There one rounding of H adds 1e-4 |H|/|z|.
TOO_NEAR = 1e4

_W, _PHI, _BOTH = slice(0, 1), slice(1, 2), slice(0, 2)  # of (w, phi)


class TaskDerivatives:
    """What `landscape.block_landscape` measures of one task; keyword options go to `extreme_eigenvalues`."""

    def __init__(self, support_loss: Loss, query_loss: Loss, head: Tensors, body: Tensors):
        """Takes the losses, and the point (w_0, phi) to begin at."""
        tensors = [tf.convert_to_tensor(part)[None] for part in [*head, *body]]
        self._dtype = tensors[0].dtype
        self._start = flatten(tensors).numpy().astype(np.float64)
        self._head = size_of(tensors[: len(head)])  # numbers in w
        self._body = size_of(tensors[len(head) :])

        def flat(loss: Loss) -> FlatLoss:
            def of_flat(w: tf.Tensor, phi: tf.Tensor) -> tf.Tensor:
                parts = [part[0] for part in unflatten(tf.concat([w, phi], axis=1), tensors)]
                return loss(parts[: len(head)], parts[len(head) :])

            return of_flat

        support, query = flat(support_loss), flat(query_loss)
        self._slope_by_head = self._compiled(_slope, support, _W)
        self._head_product = self._compiled(_product, support, _W, _W)
        self._mixed_product = self._compiled(_product, support, _W, _PHI)
        self._transposed_product = self._compiled(_product, support, _PHI, _W)
        self._body_product = self._compiled(_product, support, _PHI, _PHI)
        self._query_product = self._compiled(_product, query, _BOTH, _BOTH)
        self._query_slope = self._compiled(_slope, query, _BOTH)

    def _compiled(self, derivative: Callable, *arguments) -> Callable[..., np.ndarray]:
        """A derivative as a function of a point z and vectors, numpy to numpy."""
        compiled = tf.function(functools.partial(derivative, *arguments))

        def call(z: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
            arrays = (z[:, : self._head], z[:, self._head :], *vectors)
            return compiled(*(tf.constant(array, self._dtype) for array in arrays)).numpy()

        return call

    def trajectory(self, steps: int, step_size: float) -> list[np.ndarray]:
        """Returns (w_0, phi) .. (w_N, phi)."""
        points = [self._start]
        for _ in range(steps):
            moved = points[-1].copy()
            moved[:, : self._head] -= step_size * self._slope_by_head(points[-1])
            points.append(moved)
        return points

    def neighbours(self, z: np.ndarray, count: int, radius: float, seed: int) -> list[np.ndarray]:
        """Returns random points at `radius` times |w| in w, times |phi| in phi, or both, by turns."""
        random = np.random.default_rng(seed)
        blocks = (slice(0, self._head), slice(self._head, None))
        found = []
        for number in range(count):
            other = z.copy()
            for block in (blocks[:1], blocks[1:], blocks)[number % 3]:
                direction = random.normal(size=z[:, block].shape)
                distance = radius * (np.linalg.norm(z[:, block]) or 1.0)
                other[:, block] += distance * direction / np.linalg.norm(direction)
            found.append(other)
        return found

    def head_curvature(self, z: np.ndarray, **options) -> tuple[float, float]:
        """Returns the smallest and the largest eigenvalue of d2L_S/dw2."""
        product = functools.partial(self._head_product, z)
        low, high = extreme_eigenvalues(product, (1, self._head), **options)
        return low[0], high[0]

    def cross_curvature(self, z: np.ndarray, **options) -> float:
        """Returns |d2L_S/dw dphi|."""
        products = (self._mixed_product, self._transposed_product)
        mixed, transposed = (functools.partial(product, z) for product in products)
        return spectral_norm(mixed, transposed, (1, self._head), **options)[0]

    def body_curvature(self, z: np.ndarray, **options) -> float:
        """Returns |d2L_S/dphi2|."""
        product = functools.partial(self._body_product, z)
        return spectral_radius(product, (1, self._body), **options)[0]

    def query_curvature(self, z: np.ndarray, **options) -> float:
        """Returns |d2L_D/d(w, phi)2|."""
        product = functools.partial(self._query_product, z)
        return spectral_radius(product, (1, self._head + self._body), **options)[0]

    def query_slope(self, z: np.ndarray) -> float:
        """Returns |dL_D/d(w, phi)|."""
        return float(np.linalg.norm(self._query_slope(z)))

    def are_too_near(self, z: np.ndarray, other: np.ndarray) -> bool:
        """Returns whether `changes` of two points would be made of rounding; see TOO_NEAR."""
        size = max(np.linalg.norm(z), np.linalg.norm(other))
        rounding = float(np.finfo(self._dtype.as_numpy_dtype).eps) * size
        return bool(np.linalg.norm(z - other) <= TOO_NEAR * rounding)

    def changes(self, z: np.ndarray, other: np.ndarray, **options) -> tuple[float, float]:
        """Returns by how much d2L_S/dw2 and d2L_S/dw dphi differ at two points, per unit of the distance."""
        distance = float(np.linalg.norm(z - other))

        def difference(product: Callable) -> Callable:
            return lambda vector: product(z, vector) - product(other, vector)

        mixed, transposed = difference(self._mixed_product), difference(self._transposed_product)
        of_head = spectral_radius(difference(self._head_product), (1, self._head), **options)[0]
        of_mixed = spectral_norm(mixed, transposed, (1, self._head), **options)[0]
        return of_head / distance, of_mixed / distance


def _slope(loss: FlatLoss, by: slice, *point: tf.Tensor) -> tf.Tensor:
    """The gradient of the loss by w, by phi, or by both."""
    with tf.GradientTape() as tape:
        tape.watch(point[by])
        value = loss(*point)
    return tf.concat(tape.gradient(value, point[by], unconnected_gradients="zero"), axis=1)


def _product(
    loss: FlatLoss, first: slice, then: slice, w: tf.Tensor, phi: tf.Tensor, vector: tf.Tensor
) -> tf.Tensor:
    """How <gradient by `first`, vector> changes with `then`: a product with one block of the Hessian."""
    point = (w, phi)
    with tf.GradientTape() as tape:
        tape.watch(point[then])
        slope = _slope(loss, first, *point)
    parts = tape.gradient(slope, point[then], output_gradients=vector, unconnected_gradients="zero")
    return tf.concat(parts, axis=1)
