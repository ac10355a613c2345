"""Every bound against what it bounds, where it must hold; and against problems that leave it no room."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from anil_tf.theory import bounds
from anil_tf.theory.bounds import Constants, Nonconvex, StronglyConvex
from tests.theory.problems import (
    Problem,
    Quadratic,
    Ripples,
    derivative,
    random_quadratic,
    random_ripples,
    saddle,
    sampled_constants,
    softmax_tanh,
)

STEPS = (1, 3, 10, 40)
SEEDS = range(3)
ROUNDING = 1 + 1e-9
L2 = 0.5
TASKS = 8


def step_sizes(constants):
    """The longest that contracts, the usual one and the one attributed to the paper."""
    longest = 2 / (constants.smoothness + constants.mu)
    return longest, constants.usual_step_size, constants.attributed_step_size


def assert_attained(measured, bound):
    """The bound holds, and cut by a quarter it does not."""
    assert 0.75 * bound < measured <= bound * ROUNDING


def points_of(seed, size, count=6):
    return np.random.default_rng(seed + 100).normal(size=[count, size])


def strongly_convex_problems():
    """Problem, points and constants on what N = 40 steps from there meet; M as met where it has no bound."""
    for seed in SEEDS:
        problem, constants = random_quadratic(seed)
        yield f"quadratic {seed}", problem, points_of(seed, 7), constants
        problem, constants = random_ripples(seed, strongly_convex=True)
        yield f"ripples {seed}", problem, points_of(seed, 6), constants
    problem, z = softmax_tanh(0, l2=L2), points_of(0, 21)
    yield "softmax", problem, z, sampled_constants(problem, L2, z, 40, 0.3)


def strongly_convex_cases():
    """With every number of steps and step size."""
    for name, problem, z, constants in strongly_convex_problems():
        for alpha, steps in itertools.product(step_sizes(constants), STEPS):
            end = problem.trajectory(z, steps, alpha)[-1]
            met = np.linalg.norm(problem.query.gradient(end), axis=-1).max()
            known = dataclasses.replace(
                constants, gradient_bound=np.fmax(met, constants.gradient_bound)
            )
            yield name, problem, z, StronglyConvex(known, alpha, steps)


def nonconvex_cases():
    for seed in SEEDS:
        problem, constants = random_ripples(seed, strongly_convex=False)
        for alpha, steps in itertools.product((0.1, 1.0), (1, 3, 10)):
            yield f"ripples {seed}", problem, points_of(seed, 6), Nonconvex(constants, alpha, steps)


CASES = {"strongly convex": strongly_convex_cases, "nonconvex": nonconvex_cases}


# ---- The instruments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem, size",
    [
        (random_quadratic(0)[0], 7),
        (random_ripples(0, strongly_convex=True)[0], 6),
        (softmax_tanh(0), 21),
    ],
)
def test_the_problems_differentiate_what_they_say(problem, size):
    """Gradients against values, and Proposition 1 against differences of the meta-loss."""
    z, moves = points_of(0, size), points_of(1, size)
    for loss in (problem.support, problem.query):
        along = np.sum(loss.gradient(z) * moves, axis=-1)
        np.testing.assert_allclose(derivative(loss.value, z, moves), along, rtol=1e-10, atol=1e-13)
    h = 1e-6
    ahead, back = (problem.meta_loss(z + sign * h * moves, 5, 0.1) for sign in (1, -1))
    along = np.sum(problem.meta_gradient(z, 5, 0.1) * moves, axis=-1)
    np.testing.assert_allclose((ahead - back) / (2 * h), along, rtol=1e-6, atol=1e-8)


# ---- Every bound holds, and is met -----------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", CASES)
def test_trajectories_meta_gradients_and_blocks_stay_within_the_bounds(geometry):
    """Trajectories from other heads, other bodies, and both."""
    ratios = {}
    for name, problem, z, bound in CASES[geometry]():
        head = np.arange(z.shape[-1]) < problem.head_size
        for moved in (head, ~head, head | True):
            other = z + moved * points_of(7, z.shape[-1])
            ends = [problem.trajectory(s, bound.steps, bound.step_size)[-1] for s in (z, other)]
            apart, _ = problem.norms(ends[0] - ends[1])
            assert np.all(apart <= bound.trajectory(*problem.norms(z - other)) * ROUNDING), name
        of_head, of_body = problem.norms(problem.meta_gradient(z, bound.steps, bound.step_size))
        assert of_head.max() <= bound.head_gradient * ROUNDING, name
        assert of_body.max() <= bound.body_gradient * ROUNDING, name
        # Central differences of what is 0 after many steps are 0 to about 1e-10.
        measured = np.array(problem.measured_blocks(z, bound.steps, bound.step_size)) - 1e-9
        ratio = measured.clip(0) / np.array(bound.blocks)
        assert np.all(ratio <= 1), (name, bound, ratio)
        kind = name.split()[0]
        ratios[kind] = np.maximum(ratios.get(kind, 0), ratio)
    assert min(worst.min() for worst in ratios.values()) > 0.001, "measured is something"


@pytest.mark.parametrize("steps", [0, 1, 20])
@pytest.mark.parametrize("alpha", [1, 10 / 11 * 2, 0.1], ids=["1/L", "2/(L+mu)", "mu/L^2"])
def test_the_trajectory_bound_is_attained(alpha, steps):
    """Moving w, moving phi against it, and both: cut by a quarter, the bound fails (kappa = 10)."""
    problem, constants = saddle(0.1, 1.0, (1.0, 0.0))
    bound = StronglyConvex(constants, alpha, steps)
    for head, body in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]:
        end = problem.trajectory(np.array([head, -body]), steps, alpha)[-1]
        if steps or head:
            assert_attained(abs(end[0]), bound.trajectory(head, body))


@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("alpha", [1, 10 / 11 * 2, 0.1], ids=["1/L", "2/(L+mu)", "mu/L^2"])
def test_the_bound_on_the_head_gradient_is_attained(alpha, steps):
    problem, constants = saddle(0.1, 1.0, (1.0, 0.0))
    head, _ = problem.norms(problem.meta_gradient(np.zeros(2), steps, alpha))
    assert_attained(head, StronglyConvex(constants, alpha, steps).head_gradient)


@pytest.mark.parametrize("steps", [5, 80])
def test_the_bound_on_the_body_gradient_is_attained(steps):
    """By the slope of L_D that a Cauchy-Schwarz inequality makes the worst: along (-c_N, 1)."""
    bound = StronglyConvex(Constants(0.1, 1.0, 0.0, 0.0, 1.0), 1.0, steps)
    slope = np.array([-bound.coupling, 1.0]) / np.hypot(bound.coupling, 1)
    problem, _ = saddle(0.1, 1.0, slope)
    _, body = problem.norms(problem.meta_gradient(np.zeros(2), steps, 1.0))
    assert_attained(body, bound.body_gradient)


def test_steps_too_long_contract_by_less_than_q():
    """Why alpha <= 2/(L + mu) is asked for: beyond it, the steepest direction is the slow one."""
    mu, smoothness, steps = 0.2, 1.0, 5
    alpha = 1.1 * 2 / (smoothness + mu)
    assert abs(1 - alpha * smoothness) ** steps > (1 - alpha * mu) ** steps
    with pytest.raises(ValueError, match=r"at most 2/\(L \+ mu\)"):
        StronglyConvex(Constants(mu, smoothness), alpha, steps)


# ---- The four blocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize(
    "constants", [Constants(0.2, 1.3, 0.7, 1.1, 0.9), Constants(1, 1, 1, 1, 1)]
)
def test_the_blocks_are_the_sums_of_the_derivation(constants, steps):
    """The two lines at the top of bounds.py, summed: exactly what is nonconvex, and below what is strongly convex."""
    for alpha in (constants.usual_step_size, 0.3):
        convex, nonconvex = (
            geometry(constants, alpha, steps) for geometry in (StronglyConvex, Nonconvex)
        )
        np.testing.assert_allclose(nonconvex.blocks, sums(nonconvex), rtol=1e-12)
        exact, closed = np.array(sums(convex)), np.array(convex.blocks)
        assert np.all(exact <= closed * ROUNDING)
        np.testing.assert_allclose(closed[0], exact[0], rtol=1e-12)
        assert np.all(closed[1:] <= (1 + constants.condition) ** 2 * exact[1:] + 1e-12)
        if steps == 0:  # nothing is adapted
            for bound in (convex, nonconvex):
                assert bound.trajectory(3.0, 5.0) == 3.0
                gradients = (bound.head_gradient, bound.body_gradient)
                assert gradients == (constants.gradient_bound,) * 2


def sums(bound):
    """The four blocks from the derivation: nothing but loops."""
    constants, alpha, N, a = bound.constants, bound.step_size, bound.steps, bound.factor
    L, M = constants.smoothness, constants.gradient_bound
    rho, tau = constants.hessian_lipschitz, constants.mixed_lipschitz
    c = [alpha * L * sum(a**i for i in range(m)) for m in range(N + 1)]
    blocks = {}
    for by, t in {"w": [a**m for m in range(N + 1)], "phi": [1 + c_m for c_m in c]}.items():
        twice = sum(a ** (N - 2 - m) * t[j] for j in range(N) for m in range(j))
        once = sum(a ** (N - 1 - m) * t[m] for m in range(N))
        ends = a ** max(N - 1, 0) * sum(t[:N])
        blocks["w" + by] = L * a**N * t[N] + alpha * rho * M * ends
        blocks["phi" + by] = (
            L * (1 + c[N]) * t[N] + alpha * tau * M * once + alpha**2 * L * rho * M * twice
        )
    return bounds.Blocks(**blocks)


# One set of numbers for the closed limits: kappa = 4.
MU, L, RHO, TAU, M, ALPHA = 0.5, 2.0, 0.3, 0.7, 1.1, 0.4
KNOWN = Constants(MU, L, RHO, TAU, M)


def test_blocks_of_one_step():
    """N = 1: d_w = A_0 D and d_phi = grad_phi L_D - alpha J_0 D, by hand; q = 1 - alpha mu = 0.8."""
    q = 0.8
    expected = (
        q**2 * L + ALPHA * M * RHO,
        5 * (q * L + ALPHA * M * RHO),
        L * q * (1 + ALPHA * L) + ALPHA * M * (TAU + L * RHO / MU),
        5 * (L * (1 + ALPHA * L) + ALPHA * M * TAU),
    )
    np.testing.assert_allclose(StronglyConvex(KNOWN, ALPHA, 1).blocks, expected, rtol=1e-12)
    p = 1 + ALPHA * L
    expected = [L * p**2 + ALPHA * M * RHO] * 2 + [L * p**2 + ALPHA * M * TAU] * 2
    np.testing.assert_allclose(Nonconvex(KNOWN, ALPHA, 1).blocks, expected, rtol=1e-12)


def test_blocks_of_many_steps():
    """N to infinity: the head no longer matters, and the minimum moves with phi as the implicit function says."""
    kappa = L / MU
    limit = (1 + kappa) * (L * (1 + kappa) + M * TAU / MU + M * L * RHO / MU**2)
    np.testing.assert_allclose(
        StronglyConvex(KNOWN, ALPHA, 400).blocks, (0, 0, 0, limit), rtol=1e-9, atol=1e-30
    )
    curve = [StronglyConvex(KNOWN, ALPHA, steps).blocks for steps in range(1, 60)]
    assert np.all(np.diff([blocks.ww for blocks in curve[5:]]) < 0)  # smooths
    assert np.all(np.diff([blocks.phiphi for blocks in curve]) > 0)  # grows, then saturates


@pytest.mark.parametrize("steps", [1, 10])
def test_blocks_of_quadratics(steps):
    """rho = tau = 0: what L_D's own smoothness leaves, and M has no part in it."""
    q, kappa = 0.8, L / MU
    reach = 1 + kappa * (1 - q**steps)
    expected = (
        L * q ** (2 * steps),
        L * q**steps * (1 + kappa),
        L * q**steps * reach,
        L * reach * (1 + kappa),
    )
    constants = Constants(MU, L, 0.0, 0.0, 1e6)
    np.testing.assert_allclose(StronglyConvex(constants, ALPHA, steps).blocks, expected, rtol=1e-12)
    blocks = Nonconvex(constants, ALPHA, steps).blocks
    np.testing.assert_allclose(blocks, [L * 1.8 ** (2 * steps)] * 4, rtol=1e-12)


@pytest.mark.parametrize("block", range(4))
def test_what_is_left_of_each_block_without_rho_and_tau_is_attained(block):
    """No factor of kappa or q too many in any of the four: one curved direction of L_D meets each (N = 30)."""
    bound = StronglyConvex(Constants(0.1, 1.0, 0.0, 0.0, 1.0), 1.0, 30)
    c, q = bound.coupling, bound.power
    tilt = math.atan2(-1, c)  # of the direction (c_N, -1), along which phi counts most
    # Half-way between that and w, both count, as they do in the mixed blocks.
    angle = (0.0, tilt / 2, tilt / 2, tilt)[block]
    problem, _ = saddle(0.1, 1.0, (1.0, 0.0), (math.cos(angle), math.sin(angle)))
    assert q < 0.05
    assert_attained(
        problem.measured_blocks(np.zeros([1, 2]), 30, 1.0)[block] * (1 - 1e-6), bound.blocks[block]
    )


# ---- The outer loop -------------------------------------------------------------------------------------------------


def outer_descent(problem, z, bound, meta_steps, draws):
    """z after every meta-step and the weighted squared meta-gradients; draws: the tasks of each step, or None."""
    beta_w, beta_phi = bound.outer_step_sizes()
    betas = np.where(np.arange(len(z)) < problem.head_size, beta_w, beta_phi)
    measured = []
    for step in range(meta_steps):
        gradients = problem.meta_gradient(
            np.broadcast_to(z, [TASKS, len(z)]), bound.steps, bound.step_size
        )
        measured.append(np.sum(betas * gradients.mean(axis=0) ** 2))
        z = z - betas * gradients[slice(None) if draws is None else draws[step]].mean(axis=0)
    return z, np.mean(measured)


def test_the_derived_outer_step_sizes_reach_stationarity():
    """Eight tasks with a softmax head on tanh features: all at once, and two at random; the infimum is 0 at least."""
    problem = softmax_tanh(0, tasks=(TASKS,), l2=L2)
    rng = np.random.default_rng(1)
    z, alpha, steps, meta_steps = rng.normal(size=21), 0.3, 3, 60
    around = z + 0.2 * rng.normal(size=[6, 1, 21])
    met = np.broadcast_to(around, [6, TASKS, 21])
    constants = sampled_constants(problem, L2, met, steps, alpha)
    bound = StronglyConvex(constants, alpha, steps)

    def meta_loss(z):
        return problem.meta_loss(np.broadcast_to(z, [TASKS, 21]), steps, alpha).mean()

    end, measured = outer_descent(problem, z, bound, meta_steps, draws=None)
    # The derivation bounds by the decrease itself, which leaves a factor of two for short steps and nothing more.
    decrease = meta_loss(z) - meta_loss(end)
    assert 0.45 < measured / bound.stationarity(decrease, meta_steps, math.inf) <= 1
    assert measured <= bound.stationarity(meta_loss(z), meta_steps, math.inf)

    draws = rng.integers(0, TASKS, size=[5, meta_steps, 2])
    runs = [outer_descent(problem, z, bound, meta_steps, draw) for draw in draws]
    decrease = meta_loss(z) - np.mean([meta_loss(end) for end, _ in runs])
    assert np.mean([run for _, run in runs]) <= bound.stationarity(decrease, meta_steps, 2)


def test_the_outer_step_sizes_are_as_long_as_a_quadratic_allows():
    """Ten times beta_phi, and gradient descent on the worst quadratic diverges: 1/Lambda is no idle caution."""
    bound = StronglyConvex(Constants(0.1, 1.0, 0.0, 0.0, 1.0), 1.0, 30)
    direction = np.array([-bound.coupling, 1.0]) / np.hypot(bound.coupling, 1)
    problem, _ = saddle(0.1, 1.0, (0.0, 0.0), direction)
    curvature = problem.measured_blocks(np.zeros([1, 2]), 30, 1.0)[3]
    _, beta = bound.outer_step_sizes()
    assert abs(1 - beta * curvature) < 1 < abs(1 - 10 * beta * curvature)


def test_stationarity_by_hand():
    bound = StronglyConvex(KNOWN, ALPHA, 3)
    ww, wphi, phiw, phiphi = bound.blocks
    beta_w = 1 / (ww + (wphi + phiw) / 2)
    beta_phi = 1 / (phiphi + (wphi + phiw) / 2)
    q = 0.8
    variance = beta_w * q**6 * M**2 + beta_phi * M**2 * (1 + 4 * (1 - q**3)) ** 2
    assert bound.outer_step_sizes() == pytest.approx((beta_w, beta_phi), rel=1e-12)
    expected = 2 * 7.0 / 50 + variance / 4
    assert bound.stationarity(7.0, 50, 4) == pytest.approx(expected, rel=1e-12)
    assert bound.stationarity(7.0, 50, math.inf) == pytest.approx(2 * 7.0 / 50, rel=1e-12)
    assert bound.rates(7.0, 50, 4) == pytest.approx((expected / beta_w, expected / beta_phi))


# ---- The nonconvex geometry -----------------------------------------------------------------------------------------


def worst(smoothness=1.0):
    """The quadratic -L/2 w^2, on which distances grow as fast as they can; L_D curves upwards by L."""
    support = Quadratic(np.diag([-smoothness, 0.0]), np.zeros(2))
    query = Quadratic(np.diag([smoothness, 0.0]), np.array([1.0, 0.0]))
    return Problem(support, query, 1), Constants(-smoothness, smoothness, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("alpha", "steps"), [(0.1, 10), (1.0, 3)])
def test_the_growth_is_attained_at_curvature_minus_L(alpha, steps):
    """p^N by distances and by the meta-gradient, p^{2N} by its smoothness: to the last digit."""
    problem, constants = worst()
    bound = Nonconvex(constants, alpha, steps)
    assert bound.power == pytest.approx((1 + alpha) ** steps, rel=1e-12)
    end = problem.trajectory(np.array([1.0, 0.0]), steps, alpha)[-1][0]
    assert end == pytest.approx(bound.trajectory(1.0, 0.0), rel=1e-12)
    straight = dataclasses.replace(problem, query=Quadratic(np.zeros([2, 2]), np.array([1.0, 0.0])))
    head = straight.meta_gradient(np.zeros(2), steps, alpha)[0]
    assert head == pytest.approx(bound.head_gradient, rel=1e-12)
    ww = problem.measured_blocks(np.zeros([1, 2]), steps, alpha)[0]
    assert ww == pytest.approx(bound.blocks.ww, rel=1e-8)


def cosine_smoothness(steps, alpha):
    """Of the meta-loss of L_S = L_D = cos(w + phi), L = 2, over a period."""
    rows = np.stack([np.linspace(0, 2 * np.pi, 721), np.zeros(721)], axis=-1)
    cosine = Ripples(np.ones([1, 2]), np.zeros(1), head_size=1)
    return Problem(cosine, cosine, 1).measured_blocks(rows, steps, alpha)


COSINE = Constants(
    mu=-2.0,
    smoothness=2.0,
    hessian_lipschitz=math.sqrt(2),
    mixed_lipschitz=math.sqrt(2),
    gradient_bound=math.sqrt(2),
)
MANY = np.array([1, 2, 4, 8, 16, 32])


def test_a_fixed_step_size_is_exponential_in_the_steps():
    """The bound at the rate 2 log p, the cosine at its own curvature's: 2 log(1 + alpha)."""
    alpha = 0.1
    tail = [Nonconvex(COSINE, alpha, steps).blocks for steps in (200, 201)]
    growth = np.array(tail[1]) / np.array(tail[0])
    np.testing.assert_allclose(growth, (1 + alpha * 2) ** 2, rtol=1e-9)
    measured = [cosine_smoothness(steps, alpha)[0] for steps in MANY[:5]]
    # At the top of the cosine the inner loop stays where it is, and L_D curves by -1 there.
    for steps, value in zip(MANY[:5], measured, strict=True):
        assert (1 + alpha) ** (2 * steps) * (1 - 1e-6) <= value
        assert value <= Nonconvex(COSINE, alpha, int(steps)).blocks.ww
    assert measured[-1] > 10 * measured[0]


def test_a_step_size_of_order_one_over_N_is_bounded_in_N():
    """By p^N <= e^c, however many steps; and so is the cosine's own smoothness."""
    c = 1.0
    e, limit = math.exp(c), COSINE
    head = limit.smoothness * e**2 + limit.gradient_bound * limit.hessian_lipschitz / 2 * e * (
        e - 1
    )
    for steps in (1, 10, 100, 10**4, 10**6):
        blocks = Nonconvex(COSINE, c / (2 * steps), steps).blocks
        assert max(blocks) <= head * ROUNDING
    assert max(blocks) == pytest.approx(head, rel=1e-4)
    measured = np.array([cosine_smoothness(int(n), c / (2 * n)) for n in MANY])
    assert measured.max() <= head
    assert measured[-1].max() < 1.5 * measured[0].max()


# ---- Constants, refusals, and what is only attributed ---------------------------------------------------------------


def test_softmax_constants_bound_and_are_met():
    """On single examples of norm R: none is exceeded, and all of them are met (L, M and rho by two classes)."""
    radius, l2 = 1.7, 0.3
    constants = bounds.softmax_constants(radius, l2)
    logits = np.random.default_rng(0).normal(size=[4000, 3]) * np.array([4.0, 4.0, 30.0])
    logits[:2000, 2] = -60  # two classes count
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    u = np.random.default_rng(1).normal(size=logits.shape)
    u[:2000] = 1, -1, 0
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    centred = u - np.sum(probabilities * u, axis=-1, keepdims=True)
    second, third = (np.sum(probabilities * centred**power, axis=-1) for power in (2, 3))
    first = np.linalg.norm(probabilities - np.eye(3)[0], axis=-1)
    for measured, bound in [
        (radius * first, constants.gradient_bound),
        (radius**2 * second + l2, constants.smoothness),
        (radius**3 * np.abs(third), constants.hessian_lipschitz),
    ]:
        assert 0.99 * bound < measured.max() <= bound * ROUNDING
    assert constants.mu == l2
    assert math.isnan(constants.mixed_lipschitz)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Constants(2.0, 1.0), "must not exceed"),
        (lambda: Constants(0.1, 1.0, -1.0), "hessian_lipschitz must be 0 or more"),
        (lambda: StronglyConvex(Constants(0.0, 1.0), 0.5, 1), "Use Nonconvex"),
        (lambda: StronglyConvex(Constants(0.5, 1.0), 1.4, 1), "Received: 1.4"),
        (lambda: StronglyConvex(Constants(0.5, math.nan), 0.1, 1), "smoothness must be known"),
        (lambda: Nonconvex(Constants(-1.0, 1.0), 0.0, 1), "step_size must be above 0"),
        (lambda: Nonconvex(Constants(-1.0, 1.0), 0.1, -1), "steps must be an integer"),
        (lambda: Nonconvex(Constants(-1.0, 1.0), 0.1, 1.5), "steps must be an integer"),
        (lambda: Nonconvex(Constants(-1.0, 1.0), 1.0, 10**4), "beyond the range"),
    ],
)
def test_what_is_outside_the_derivation_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_constants_leave_what_needs_them_unknown():
    bound = StronglyConvex(Constants(0.5, 2.0), ALPHA, 3)
    assert bound.factor == pytest.approx(0.8)
    assert bound.trajectory(1.0, 0.0) == pytest.approx(0.8**3)
    assert math.isnan(bound.head_gradient)
    assert np.all(np.isnan(bound.blocks))


def test_attributed_formulas_say_that_they_are():
    for formula in bounds.ATTRIBUTED:
        assert "attributed" in str(formula)
        assert formula.confidence in {"high", "medium", "medium to low"}
