"""The measured landscape against dense Hessians, closed forms and losses whose constants are known."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.theory import landscape, linear_curvature
from anil_tf.theory.flat import flatten, unflatten
from anil_tf.theory.head_path import hessian_products, trajectory
from anil_tf.theory.lanczos import extreme_eigenvalues
from anil_tf.theory.landscape import SYMBOLS, block_landscape, concatenate, head_landscape
from anil_tf.theory.task_derivatives import TOO_NEAR, TaskDerivatives
from tests.adaptation.problems import ROWS, TASKS, WAYS, linear_head, normal, two_layer_head

PATH = {"steps": 3, "step_size": 0.2}
EXACT = {"tolerance": 1e-12, "iterations": 500}


def dense_hessians(problem, point, shared, nudge=1e-5):
    """Hessians [B, P, P] by central differences of the gradient."""
    gradient = tf.function(
        lambda vectors: flatten(problem.gradient(unflatten(vectors, point), shared, 0))
    )

    def slope(vectors):
        return gradient(tf.constant(vectors)).numpy()

    at = flatten(point).numpy()
    rows = [
        (slope(at + nudge * unit) - slope(at - nudge * unit)) / (2 * nudge)
        for unit in np.eye(at.shape[1])
    ]
    return np.stack(rows, axis=1)


def dense_spectra(problem, start, shared):
    """Eigenvalues at w_0 .. w_N, ascending, [N + 1, B, P]."""
    points = trajectory(problem, start, shared, **PATH)
    return np.stack([np.linalg.eigvalsh(dense_hessians(problem, p, shared)) for p in points])


# ---- Linear heads --------------------------------------------------------------------------------


@pytest.mark.parametrize(("l2", "bias"), [(0.0, True), (0.3, True), (0.01, False)])
def test_softmax_mu_is_lambda_and_the_largest_curvature_that_of_the_dense_hessian(l2, bias):
    """Whether the problem is posed by tapes or in closed form."""
    taped, closed, start, shared = linear_head(l2=l2, bias=bias)
    measured = head_landscape(closed, start, shared, **PATH, **EXACT)
    np.testing.assert_array_equal(measured.strong_convexity, np.full(TASKS, l2))
    spectra = dense_spectra(closed, start, shared)
    np.testing.assert_allclose(spectra[..., 0], l2, atol=1e-8)
    np.testing.assert_allclose(measured.smoothness_head, spectra[..., -1].max(axis=0), rtol=1e-7)
    assert np.all(measured.smoothness_head <= measured.smoothness_bound)
    assert np.all(np.isnan(measured.smoothness_cross) & np.isnan(measured.hessian_lipschitz))
    of_taped = head_landscape(taped, start, shared, **PATH, **EXACT)
    np.testing.assert_allclose(of_taped.smoothness_head, measured.smoothness_head, rtol=1e-10)
    assert np.all(np.isnan(of_taped.smoothness_bound))


def test_the_softmax_bound_is_met_by_two_classes_at_even_odds():
    """There diag p - p p^T has the eigenvalue 1/2, so nothing lower would be a bound."""
    labels = np.random.default_rng(0).integers(0, 2, size=[TASKS, ROWS])
    problem = LinearProblem(tf.one_hot(labels, 2, dtype=tf.float64), loss="cross_entropy", l2=0.2)
    start = [tf.zeros([TASKS, 4, 2], tf.float64), tf.zeros([TASKS, 2], tf.float64)]
    shared = [normal(1, TASKS, ROWS, 4)]
    measured = head_landscape(problem, start, shared, steps=0, step_size=1.0, **EXACT)
    np.testing.assert_allclose(measured.smoothness_head, measured.smoothness_bound, rtol=1e-12)


def test_the_row_common_to_all_classes_is_left_out():
    """With as many examples as columns, lambda is the curvature along that row, and nowhere else."""
    _, problem, start, shared = linear_head(l2=0.2)
    columns = 5  # four features and the bias
    dense = np.linalg.eigvalsh(dense_hessians(problem, start, shared))
    np.testing.assert_allclose(dense[:, :columns], 0.2, atol=1e-8)
    assert np.all(dense[:, columns] > 0.2001)
    product = hessian_products(problem, shared)
    low, high = extreme_eigenvalues(
        lambda vectors: product(start, 0, vectors),
        (TASKS, columns * WAYS),
        project=linear_curvature.without_common_row(start),
        **EXACT,
    )
    np.testing.assert_allclose(low, dense[:, columns], rtol=1e-6)
    np.testing.assert_allclose(high, dense[:, -1], rtol=1e-6)


@pytest.mark.parametrize(("bias", "width"), [(True, 3), (True, 9), (False, 9)])
def test_squared_error_comes_exactly_from_the_covariance(bias, width):
    """Width 9 has more columns than examples: some directions are seen by none of them."""
    targets, shared = normal(0, TASKS, ROWS, WAYS), [normal(1, TASKS, ROWS, width)]
    problem = LinearProblem(targets, loss="squared_error", l2=0.3)
    start = [normal(2, TASKS, width, WAYS), normal(3, TASKS, WAYS)][: 1 + bias]
    measured = head_landscape(problem, start, shared, **PATH)
    dense = np.linalg.eigvalsh(dense_hessians(problem, start, shared))
    np.testing.assert_allclose(measured.strong_convexity, dense[:, 0], rtol=1e-7)
    np.testing.assert_allclose(measured.smoothness_head, dense[:, -1], rtol=1e-7)
    np.testing.assert_array_equal(measured.smoothness_bound, measured.smoothness_head)
    assert (width == 9) == np.allclose(measured.strong_convexity, 0.3, rtol=1e-12)


def test_fewer_points_are_spread_over_the_way_with_both_its_ends():
    """The largest curvature over some of the points lies between that at the ends and that over all."""
    _, problem, start, shared = linear_head(l2=0.2)

    def largest(steps, points=None):
        path = {"steps": steps, "step_size": 0.3, "points": points}
        return head_landscape(problem, start, shared, **path, **EXACT).smoothness_head

    curvature = {points: largest(9, points) for points in (2, 4, None, 99)}
    np.testing.assert_allclose(curvature[99], curvature[None], rtol=1e-9)
    assert np.all(largest(0) <= curvature[2] * (1 + 1e-9))
    assert np.all(curvature[2] <= curvature[4] * (1 + 1e-9))
    assert np.all(curvature[4] <= curvature[None] * (1 + 1e-9))
    assert landscape._spread(9, 4) == [0, 3, 6, 9] and landscape._spread(0, 4) == [0]


def test_float32_problems_are_measured_too():
    _, _, start, shared = linear_head()
    labels = np.random.default_rng(0).integers(0, WAYS, size=[TASKS, ROWS])
    found = [
        head_landscape(
            LinearProblem(tf.one_hot(labels, WAYS, dtype=dtype), loss="cross_entropy", l2=0.2),
            [tf.cast(part, dtype) for part in start],
            [tf.cast(part, dtype) for part in shared],
            **PATH,
        ).smoothness_head
        for dtype in (tf.float32, tf.float64)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


# ---- Any head ------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_a_two_layer_heads_extreme_curvatures_are_those_of_dense_hessians(l2):
    problem, start, shared = two_layer_head(l2=l2)
    measured = head_landscape(problem, start, shared, **PATH, **EXACT)
    spectra = dense_spectra(problem, start, shared)
    np.testing.assert_allclose(measured.strong_convexity, spectra[..., 0].min(0), rtol=1e-6)
    np.testing.assert_allclose(measured.smoothness_head, abs(spectra).max((0, 2)), rtol=1e-6)
    assert np.all(np.isnan(measured.smoothness_bound))
    assert l2 > 0 or np.all(measured.strong_convexity < 0)  # not convex, and it shows


# ---- All blocks of one task ----------------------------------------------------------------------


def network(labels, features, l2):
    """Softmax head [3, 2] on a tanh body [4, 3]: loss(w, phi)."""

    def loss(w, phi):
        logits = tf.tanh(features @ phi[0]) @ w[0] + w[1]
        value = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return tf.reduce_mean(value) + l2 * sum(tf.nn.l2_loss(part) for part in w)

    return loss


def small_task():
    support = network(np.array([0, 1, 1, 0]), normal(1, 4, 4), 0.1)
    query = network(np.array([1, 0, 1]), normal(2, 3, 4), 0.0)
    return support, query, [normal(3, 3, 2), normal(4, 2)], [normal(5, 4, 3)]


def dense_blocks(loss, head, body):
    """The Hessian by (w, phi), cut at n_w = 8, and the gradient."""
    tensors = [*head, *body]
    sizes = [int(np.prod(t.shape)) for t in tensors]
    z = tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            parts = [
                tf.reshape(p, t.shape) for p, t in zip(tf.split(z, sizes), tensors, strict=True)
            ]
            value = loss(parts[:2], parts[2:])
        slope = inner.gradient(value, z)
    return outer.jacobian(slope, z).numpy(), slope.numpy()


def norm(matrix):
    return np.linalg.norm(matrix, ord=2)


def test_all_blocks_are_those_of_dense_hessians_along_the_trajectory():
    support, query, head, body = small_task()
    measured = block_landscape(support, query, head, body, **PATH, points=4, **EXACT)
    found = {name: [] for name in SYMBOLS}
    for _ in range(PATH["steps"] + 1):
        hessian, slope = dense_blocks(support, head, body)
        whole, of_query = dense_blocks(query, head, body)
        found["strong_convexity"].append(-np.linalg.eigvalsh(hessian[:8, :8])[0])
        found["smoothness_head"].append(norm(hessian[:8, :8]))
        found["smoothness_cross"].append(norm(hessian[:8, 8:]))
        found["smoothness_body"].append(norm(hessian[8:, 8:]))
        found["smoothness_query"].append(norm(whole))
        found["gradient_bound"].append(np.linalg.norm(of_query))
        moved = [slope[:6].reshape(3, 2), slope[6:8]]
        head = [part - PATH["step_size"] * by for part, by in zip(head, moved, strict=True)]
    expected = {name: max(values) for name, values in found.items() if values}
    expected["strong_convexity"] *= -1
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(measured, name), [value], rtol=1e-7, err_msg=name)
    assert np.isnan(measured.smoothness_bound[0])


def test_rho_and_tau_of_a_cubic_are_those_of_its_third_derivatives():
    """d2L/dw2 = a w + b phi and d2L/dw dphi = b w + c phi: per unit of w alone, of phi alone, at most together."""
    a, b, c = 3.0, 5.0, 7.0

    def support(w, phi):
        return a / 6 * w[0] ** 3 + b / 2 * w[0] ** 2 * phi[0] + c / 2 * w[0] * phi[0] ** 2

    head, body = [tf.constant(0.3, tf.float64)], [tf.constant(0.2, tf.float64)]
    measured = block_landscape(support, support, head, body, steps=2, step_size=0.01)
    assert b - 1e-9 <= measured.hessian_lipschitz[0] <= np.hypot(a, b) + 1e-9
    assert c - 1e-9 <= measured.mixed_lipschitz[0] <= np.hypot(b, c) + 1e-9
    along = block_landscape(support, support, head, body, steps=2, step_size=0.01, pairs=0)
    np.testing.assert_allclose(along.hessian_lipschitz, [a], rtol=1e-9)  # only w moves
    np.testing.assert_allclose(along.mixed_lipschitz, [b], rtol=1e-9)


def test_in_float32_points_too_near_for_a_difference_do_not_count():
    """Of a sum of cosines rho is 1 at most; nearby, float32 makes more of it: rounding over the distance."""

    def loss(w, phi):
        return tf.reduce_sum(tf.cos(1000 + w[0])) + tf.reduce_sum(tf.cos(phi[0]))

    head, body = (tf.cast(normal(seed, size), tf.float32) for seed, size in ((1, 50), (2, 3)))
    options = {"steps": 0, "step_size": 0.1}
    near = block_landscape(loss, loss, [head], [body], radius=1e-5, **options)
    assert np.isnan(near.hessian_lipschitz[0]) and np.isnan(near.mixed_lipschitz[0])
    far = block_landscape(loss, loss, [head], [body], radius=0.1, **options)
    assert 0.02 < far.hessian_lipschitz[0] < 1.01

    losses = TaskDerivatives(loss, loss, [head], [body])
    (z,) = losses.trajectory(0, 0.1)
    off = np.finfo(np.float32).eps * np.linalg.norm(z) * z / np.linalg.norm(z)
    assert losses.are_too_near(z, z + 0.9 * TOO_NEAR * off)
    assert not losses.are_too_near(z, z + 1.1 * TOO_NEAR * off)
    assert max(losses.changes(z, z + times * off)[0] for times in range(1, 40)) > 2


def test_quadratics_have_no_rho_and_no_tau():
    matrix = normal(0, 5, 5)

    def loss(w, phi):
        return tf.nn.l2_loss(tf.linalg.matvec(matrix, tf.concat([w[0], phi[0]], axis=0)))

    measured = block_landscape(loss, loss, [normal(1, 2)], [normal(2, 3)], **PATH)
    size = norm(matrix.numpy().T @ matrix.numpy())
    assert measured.hessian_lipschitz[0] < 1e-9 * size
    assert measured.mixed_lipschitz[0] < 1e-5 * size  # the root of a rounding error
    np.testing.assert_allclose(measured.smoothness_query, [size], rtol=1e-3)


def test_without_a_body_or_a_step_there_is_less_to_measure():
    _, query, head, body = small_task()
    still = block_landscape(query, query, head, body, steps=0, step_size=1.0)
    assert still.hessian_lipschitz[0] > 0, "from neighbours"
    still = block_landscape(query, query, head, body, steps=0, step_size=1.0, pairs=0)
    assert np.isnan(still.hessian_lipschitz[0])

    def loss(w, phi):
        return tf.reduce_sum(tf.cos(w[0])) + (tf.reduce_sum(w[0]) ** 2) / 3

    alone = block_landscape(loss, loss, [normal(3, 4)], [], **PATH)
    assert alone.smoothness_cross[0] == alone.smoothness_body[0] == alone.mixed_lipschitz[0] == 0
    idle = block_landscape(loss, loss, [normal(3, 4)], [normal(4, 2)], **PATH)
    for name in ("strong_convexity", "smoothness_head", "smoothness_query", "gradient_bound"):
        np.testing.assert_allclose(getattr(alone, name), getattr(idle, name), rtol=1e-3)


# ---- Tasks together ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_tasks():
    """Features of a different size in each task."""
    _, problem, start, shared = linear_head(l2=0.2)
    shared = [shared[0] * tf.constant([1.0, 2.0, 3.0], tf.float64)[:, None, None]]
    return head_landscape(problem, start, shared, **PATH)


def test_the_table_shows_the_spread_over_tasks_of_what_was_measured(three_tasks):
    rows = {row["symbol"]: row for row in three_tasks.table()}
    assert set(rows) == {"mu", "L_w", "L_w, bound"}
    assert rows["mu"] == {"name": "strong_convexity", "symbol": "mu"} | dict.fromkeys(
        ("median", "min", "max"), 0.2
    )
    low, middle, high = np.sort(three_tasks.smoothness_bound)
    row = rows["L_w, bound"]
    assert (row["min"], row["median"], row["max"]) == (low, middle, high)
    assert low < middle < high


def test_constants_take_the_worst_or_the_median_task(three_tasks):
    measured = dataclasses.replace(
        three_tasks,
        strong_convexity=np.array([0.3, 0.1, 0.2]),
        smoothness_head=np.array([3.0, 1.0, 2.0]),
        smoothness_cross=np.array([np.nan, 9.0, 4.0]),
        smoothness_body=np.full(3, 99.0),  # not in the meta-gradient
        gradient_bound=np.array([1.0, 5.0, 6.0]),
    )
    worst, median = measured.constants(), measured.constants("median")
    assert (worst.mu, worst.smoothness, worst.gradient_bound) == (0.1, 9.0, 6.0)
    assert (median.mu, median.smoothness, median.gradient_bound) == (0.2, 6.5, 5.0)
    assert np.isnan(worst.hessian_lipschitz)
    with pytest.raises(ValueError, match="reduce must be 'max' or 'median'. Received: 'mean'"):
        measured.constants("mean")


def test_concatenated_landscapes_are_those_of_all_the_tasks(three_tasks):
    both = concatenate([three_tasks, three_tasks])
    for name in SYMBOLS:
        np.testing.assert_array_equal(getattr(both, name), np.tile(getattr(three_tasks, name), 2))
