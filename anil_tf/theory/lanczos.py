"""The smallest and the largest eigenvalue of symmetric matrices that are known by their products alone.

Lanczos' method, for B matrices at once: from a random start x_1, an orthonormal basis x_1 .. x_k of the space that
x, A x, A^2 x, ... spans, in which A is a tridiagonal matrix T. The ends of the spectrum of T approach those of A from
inside, in far fewer than P products: an estimate of the largest curvature is a lower bound.

Every new vector is made orthogonal to all before it (twice), without which rounding brings old ones back.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg

# Products of B symmetric matrices with B vectors, [B, P] -> [B, P].
Product = Callable[[np.ndarray], np.ndarray]


def extreme_eigenvalues(
    product: Product,
    shape: tuple[int, ...],
    *,
    project: Product | None = None,
    iterations: int = 64,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest eigenvalue of each of B symmetric matrices.

    Args:
        product: multiplies each matrix by its vector.
        shape: (B, P), tasks and the size of a vector.
        project: projects vectors [B, P] on a subspace that the matrices map into itself; only eigenvalues with
            eigenvectors in there count.
        iterations: most products taken.
        tolerance: ends when A x = theta x holds up to this fraction of the largest |theta|, at both ends and for all
            tasks. The error of theta is of the order of its square where other eigenvalues keep their distance.
        seed: of the random start.

    Returns:
        Two arrays, float64 [B]; 0 where the subspace is empty.

    Example:
        >>> extreme_eigenvalues(lambda v: v * [1.0, 2.0, 5.0], (1, 3))
        (array([1.]), array([5.]))
    """
    tasks, size = shape
    project = project or (lambda vectors: vectors)
    limit = min(iterations, size)
    basis = np.empty([tasks, limit, size])  # memory is taken only as it is written
    diagonal, below = np.zeros([tasks, limit]), np.zeros([tasks, limit])
    length = np.zeros(tasks, int)  # of each task's basis
    start = project(np.random.default_rng(seed).normal(size=shape))
    vector, norm = _normalized(start, np.full(tasks, np.sqrt(size)))
    scale = np.zeros(tasks)  # the longest A x so far
    ends = [(0.0, 0.0, 0.0)] * tasks
    for k in range(limit):
        length += norm > 0  # a basis that has ended, ends for good: its later vectors are 0
        if not norm.any():
            break
        basis[:, k] = vector
        image = project(np.asarray(product(vector), np.float64))
        diagonal[:, k] = np.sum(image * vector, axis=1)
        scale = np.maximum(scale, np.linalg.norm(image, axis=1))
        for _ in range(2):
            shares = basis[:, : k + 1] @ image[:, :, None]
            image = project(image - (np.swapaxes(shares, 1, 2) @ basis[:, : k + 1])[:, 0])
        vector, norm = _normalized(image, scale)
        below[:, k] = norm
        ends = [_ends(*task) for task in zip(diagonal, below, length, strict=True)]
        if all(residual <= tolerance for _, _, residual in ends):
            break
    low, high, _ = np.transpose(ends)
    return low, high


def spectral_radius(product: Product, shape: tuple[int, ...], **options) -> np.ndarray:
    """Returns the largest |eigenvalue| of each of B symmetric matrices, float64 [B]; see `extreme_eigenvalues`."""
    low, high = extreme_eigenvalues(product, shape, **options)
    return np.maximum(np.abs(low), np.abs(high))


def spectral_norm(
    product: Product, transpose: Product, shape: tuple[int, int], **options
) -> np.ndarray:
    """Returns the largest singular value of each of B matrices J [Q, P], float64 [B].

    Args:
        product: J x, [B, P] -> [B, Q].
        transpose: J^T y, [B, Q] -> [B, P].
        shape: (B, P).
        **options: see `extreme_eigenvalues`.
    """
    _, largest = extreme_eigenvalues(lambda x: transpose(product(x)), shape, **options)
    return np.sqrt(np.maximum(largest, 0.0))


def _normalized(vectors: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of norm 1, and the norms; both 0 for what is but rounding error beside `scale`."""
    norm = np.linalg.norm(vectors, axis=1)
    norm = np.where(norm > 1e-10 * scale, norm, 0.0)
    return vectors / np.where(norm > 0, norm, np.inf)[:, None], norm


def _ends(diagonal: np.ndarray, below: np.ndarray, length: int) -> tuple[float, float, float]:
    """Smallest and largest eigenvalue of T, and the larger residual of the two, relative to the largest |theta|."""
    if length == 0:
        return 0.0, 0.0, 0.0
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal[:length], below[: length - 1])
    scale = max(abs(values[0]), abs(values[-1])) or 1.0
    residual = below[length - 1] * max(abs(vectors[-1, 0]), abs(vectors[-1, -1]))
    return float(values[0]), float(values[-1]), float(residual / scale)
