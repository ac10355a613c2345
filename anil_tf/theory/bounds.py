"""What N inner steps do to the meta-gradient: bounds from five constants of the losses.

All bounds are derived; ATTRIBUTED, at the end, lists formulas believed to be the paper's, for reports alone.

One task has a support loss L_S and a query loss L_D of the head w, which adapts, and the body phi, which does not:

    w_0 = w,    w_{m+1} = w_m - alpha grad_w L_S(w_m, phi),    m = 0 .. N-1

With A_m = I - alpha grad_w^2 L_S(w_m, phi)  [n_w, n_w],  J_m = grad_phi grad_w L_S(w_m, phi)  [n_phi, n_w]  and
D = grad_w L_D(w_N, phi)  [n_w],  the meta-gradient is (in Ji et al. 2020, arXiv:2006.09486, Proposition 1;
the notation is attributed, the formula derived)

    d_w   = A_0 A_1 ... A_{N-1} D                                                     [n_w]
    d_phi = grad_phi L_D(w_N, phi) - alpha sum_m J_m A_{m+1} ... A_{N-1} D            [n_phi]

The two geometries differ in one number, the factor a by which a step stretches at most, |A_m| <= a:

    strongly convex in w    a = q = 1 - alpha mu < 1,    as long as alpha <= 2/(L + mu)
    nonconvex               a = p = 1 + alpha L  > 1

**Trajectories.** Two runs from (w, phi) and (w', phi') differ after m steps by x_m <= a x_{m-1} + alpha L |phi - phi'|:

    x_m <= a^m |w - w'| + c_m |phi - phi'|,    c_m = alpha L (1 + a + ... + a^{m-1})

q^m is sharp; arguing by |x - alpha g|^2 <= (1 - 2 alpha mu + alpha^2 L^2) |x|^2 gives q^{m/2} at alpha = mu/L^2.

**Norms.** |D| and |grad_phi L_D| are at most M, |J_m| at most L. Term by term,

    |d_w| <= a^N M,    |d_phi| <= M (1 + alpha L sum_m a^{N-1-m}) = M (1 + c_N)

**Smoothness.** Move w by a unit, or phi: (w_m, phi) moves by at most t_m = a^m, or t_m = 1 + c_m. Then A_m changes by
alpha rho t_m, J_m by tau t_m, D and grad_phi L_D by L t_N. One factor of Proposition 1 changed at a time,

    d_w   changes by  L a^N t_N       + alpha rho M a^{N-1} sum_m t_m
    d_phi changes by  L (1 + c_N) t_N + alpha tau M sum_m a^{N-1-m} t_m + alpha^2 L rho M sum_{m<j} a^{N-2-m} t_j

Four blocks, two geometries: all of them are these two lines, with the sums worked out below.

**Outer loop.** With Lambda_w and Lambda_phi as in `Blocks`, a step s = (s_w, s_phi) changes the meta-loss by at most

    <gradient, s> + (Lambda_w |s_w|^2 + Lambda_phi |s_phi|^2) / 2       as 2 |s_w| |s_phi| <= |s_w|^2 + |s_phi|^2

so that beta_w = 1/Lambda_w and beta_phi = 1/Lambda_phi, with B random tasks per step, lower the expected meta-loss by
(beta_w |d_w|^2 + beta_phi |d_phi|^2) / 2 less half the variance's share. Summed over K steps: `stationarity`.

All this needs losses that are smooth: no ReLU, no maximum pooling, no batch statistics in the body.
"""

import abc
import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Constants:
    """What is assumed of the losses; see `landscape.py` for values. nan: not known, and nothing that depends on it is.

    Attributes:
        mu: curvature of L_S by w is nowhere below this; 0 or less where the problem is not strongly convex.
        smoothness: L, Lipschitz constant of the gradients of L_S and L_D by (w, phi).
        hessian_lipschitz: rho, Lipschitz constant of grad_w^2 L_S.
        mixed_lipschitz: tau, Lipschitz constant of grad_phi grad_w L_S.
        gradient_bound: M, bound on the gradient of L_D by (w, phi).
    """

    mu: float
    smoothness: float
    hessian_lipschitz: float = math.nan
    mixed_lipschitz: float = math.nan
    gradient_bound: float = math.nan

    def __post_init__(self):
        """Refuses what no loss has."""
        for name in ("smoothness", "hessian_lipschitz", "mixed_lipschitz", "gradient_bound"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more. Received: {getattr(self, name):g}.")
        if self.mu > self.smoothness:
            raise ValueError(
                "mu, the smallest curvature, must not exceed smoothness, the largest. "
                f"Received: mu={self.mu:g}, smoothness={self.smoothness:g}."
            )

    @property
    def condition(self) -> float:
        """Condition number, kappa = L/mu."""
        return self.smoothness / self.mu

    @property
    def usual_step_size(self) -> float:
        """1/L, at which about kappa steps shrink the distance to the minimum by a factor e."""
        return 1 / self.smoothness

    @property
    def attributed_step_size(self) -> float:
        """mu/L^2, attributed to the paper's strongly convex case, at which it takes about kappa^2 steps."""
        return self.mu / self.smoothness**2


def softmax_constants(radius: float, l2: float) -> Constants:
    """Returns the constants, by w alone, of mean cross-entropy + (l2/2)|w|^2 for a linear head on bounded features.

    Per example with features h, the gradient by the logits is P - Y, of norm sqrt(2) at most; their Hessian is
    diag(P) - P P^T, 1/2 at most; and the third derivative is a third cumulant under P of a unit vector over classes,
    which two classes maximise: 2 sqrt(2) * max p (1-p) (1-2p) = sqrt(2)/(3 sqrt(3)). Each factor of h counts |h|.

    Args:
        radius: bound on |h|, the 1 of the bias included.
        l2: lambda, 0 or more; L_D goes without it.

    Returns:
        mu, L, rho and M; tau, which depends on the body, is nan.
    """
    return Constants(
        mu=l2,
        smoothness=l2 + radius**2 / 2,
        hessian_lipschitz=math.sqrt(2) / (3 * math.sqrt(3)) * radius**3,
        gradient_bound=math.sqrt(2) * radius,
    )


class Blocks(NamedTuple):
    """Lipschitz constants of the meta-gradient: `wphi` says how much d_w changes when phi does, and so on."""

    ww: float
    wphi: float
    phiw: float
    phiphi: float

    @property
    def head(self) -> float:
        """Lambda_w, which the outer step size of the head must not exceed the inverse of."""
        return self.ww + (self.wphi + self.phiw) / 2

    @property
    def body(self) -> float:
        """Lambda_phi, likewise for the body."""
        return self.phiphi + (self.wphi + self.phiw) / 2


@dataclass(frozen=True)
class Bounds(abc.ABC):
    """What both geometries share: all that follows from the factor a and from c_N; see the top of this file.

    Attributes:
        constants: of the losses.
        step_size: alpha, above 0.
        steps: N, 0 or more.
    """

    constants: Constants
    step_size: float
    steps: int

    def __post_init__(self):
        """Refuses what is outside the derivation."""
        if not self.step_size > 0:
            raise ValueError(f"step_size must be above 0. Received: {self.step_size:g}.")
        if self.steps < 0 or self.steps != int(self.steps):
            raise ValueError(f"steps must be an integer, 0 or more. Received: {self.steps}.")
        if not self.constants.smoothness > 0:
            raise ValueError(
                f"smoothness must be known and above 0. Received: {self.constants.smoothness:g}."
            )

    @property
    @abc.abstractmethod
    def factor(self) -> float:
        """How much one step stretches distances at most: a."""

    @property
    @abc.abstractmethod
    def coupling(self) -> float:
        """How far w_N moves at most when phi moves by a unit: c_N."""

    @property
    @abc.abstractmethod
    def blocks(self) -> Blocks:
        """The four Lipschitz constants of the meta-gradient."""

    @property
    def power(self) -> float:
        """How much all N steps stretch distances at most: a^N."""
        return self.factor**self.steps

    def trajectory(self, head_distance: float, body_distance: float) -> float:
        """Returns how far apart two adapted heads w_N are at most, when started this far apart in w and in phi."""
        return self.power * head_distance + self.coupling * body_distance

    @property
    def head_gradient(self) -> float:
        """Bound on |d_w|."""
        return self.power * self.constants.gradient_bound

    @property
    def body_gradient(self) -> float:
        """Bound on |d_phi|."""
        return (1 + self.coupling) * self.constants.gradient_bound

    def outer_step_sizes(self) -> tuple[float, float]:
        """Returns beta_w and beta_phi, 1/Lambda_w and 1/Lambda_phi."""
        return 1 / self.blocks.head, 1 / self.blocks.body

    def stationarity(self, gap: float, meta_steps: int, meta_batch_size: float) -> float:
        """Returns the bound on the mean over meta-steps of E[beta_w |d_w|^2 + beta_phi |d_phi|^2].

        Per meta-step, half of that is at most the decrease of the meta-loss plus half of beta_w Var_w + beta_phi
        Var_phi. The decreases add up to the gap; a variance of one task is at most the square of the bound on its norm.

        Args:
            gap: meta-loss at the start less its infimum.
            meta_steps: K, 1 or more.
            meta_batch_size: B, tasks drawn independently per meta-step; `math.inf` if each meta-step takes all tasks.

        Returns:
            2 gap/K + [beta_w |d_w|^2 + beta_phi |d_phi|^2]/B with the bounds on the norms.
        """
        head, body = self.outer_step_sizes()
        variance = head * self.head_gradient**2 + body * self.body_gradient**2
        return 2 * gap / meta_steps + variance / meta_batch_size

    def rates(self, gap: float, meta_steps: int, meta_batch_size: float) -> tuple[float, float]:
        """Returns what follows for the means over meta-steps of E|d_w|^2 and of E|d_phi|^2; see `stationarity`."""
        bound = self.stationarity(gap, meta_steps, meta_batch_size)
        head, body = self.outer_step_sizes()
        return bound / head, bound / body


class StronglyConvex(Bounds):
    """L_S has curvature mu > 0 or more by w, and alpha <= 2/(L + mu): steps contract."""

    def __post_init__(self):
        """Refuses what is outside the derivation."""
        super().__post_init__()
        mu, smoothness = self.constants.mu, self.constants.smoothness
        if not mu > 0:
            raise ValueError(
                f"A strongly convex problem has mu > 0. Received: {mu:g}. Use Nonconvex."
            )
        # At 2/(L + mu), 1 - alpha mu = alpha L - 1: any longer, and the steepest direction contracts less than q.
        if self.step_size > 2 / (smoothness + mu) * (1 + 1e-12):
            raise ValueError(
                f"step_size must be at most 2/(L + mu) = {2 / (smoothness + mu):g}, up to which a step contracts by "
                f"1 - alpha mu. Received: {self.step_size:g}. 1/L = {1 / smoothness:g} will do."
            )

    @property
    def factor(self) -> float:
        """The contraction q = 1 - alpha mu."""
        # Not below 0: at alpha = 1/L and mu = L, rounding would put it there.
        return max(0.0, 1 - self.step_size * self.constants.mu)

    @property
    def coupling(self) -> float:
        """c_N = kappa (1 - q^N): never above the condition number."""
        return self.constants.condition * (1 - self.power)

    @property
    def blocks(self) -> Blocks:
        """The four Lipschitz constants, t_m <= 1 + kappa when phi moves; only the first three vanish as N grows.

            sum_m q^m                  = (1 - q^N)/(alpha mu)
            sum_{m<j} q^{N-2-m} q^j   <= N q^{N-1}/(alpha mu)
            sum_{m<j} q^{N-2-m}        = psi = sum_{i=1}^{N-1} i q^{i-1}  <= 1/(alpha mu)^2

        At alpha of order 1/L the last block therefore saturates at order mu^{-3}.
        """
        alpha, N, q, qN, c = self.step_size, self.steps, self.factor, self.power, self.coupling
        mu, L, rho, tau, M = astuple(self.constants)
        i = np.arange(1, N)
        psi = float(np.sum(i * q ** (i - 1.0)))
        linear = alpha * N * q ** max(N - 1, 0)
        t = 1 + L / mu
        return Blocks(
            ww=L * qN**2 + M * rho * q ** max(N - 1, 0) * (1 - qN) / mu,
            wphi=t * (L * qN + linear * M * rho),
            phiw=L * qN * (1 + c) + linear * M * (tau + L * rho / mu),
            phiphi=t * (L * (1 + c) + M * tau * (1 - qN) / mu + alpha**2 * M * L * rho * psi),
        )


class Nonconvex(Bounds):
    """Nothing is known of L_S but |grad_w^2 L_S| <= L: steps may expand, and do at curvature -L."""

    def __post_init__(self):
        """Refuses what is outside the derivation, and what is outside float64."""
        super().__post_init__()
        if 2 * self.steps * math.log1p(self.step_size * self.constants.smoothness) > 700:
            raise ValueError(
                "(1 + alpha L)^{2N} is beyond the range of float64, and such a bound says nothing. Received: "
                f"alpha={self.step_size:g}, L={self.constants.smoothness:g}, N={self.steps}. Take alpha = c/(L N)."
            )

    @property
    def factor(self) -> float:
        """The growth p = 1 + alpha L."""
        return 1 + self.step_size * self.constants.smoothness

    @property
    def coupling(self) -> float:
        """c_N = p^N - 1."""
        return self.power - 1

    @property
    def blocks(self) -> Blocks:
        """The four Lipschitz constants, two and two alike, as t_m = p^m whether w moves or phi.

            sum_m p^m                = (p^N - 1)/(alpha L)
            sum_m p^{N-1-m} p^m      = N p^{N-1}
            sum_{m<j} p^{N-2-m} p^j  = p^{N-1} [(p^N - 1)/(alpha L) - N]/(alpha L)

        At a fixed alpha they grow as p^{2N}. At alpha = c/(L N) they stay bounded in N, as p^N <= e^c.
        """
        alpha, N, p, pN = self.step_size, self.steps, self.factor, self.power
        _, L, rho, tau, M = astuple(self.constants)
        head = L * pN**2 + M * rho / L * p ** (N - 1) * (pN - 1)
        body = head + M * alpha * N * p ** (N - 1) * (tau - rho)
        return Blocks(ww=head, wphi=head, phiw=body, phiphi=body)


class Attributed(NamedTuple):
    """A formula believed to be the paper's, whose text was not at hand to check: report it, compute nothing from it."""

    quantity: str
    strongly_convex: str
    nonconvex: str
    confidence: str

    def __str__(self):
        """One line that says what it is."""
        formulas = f"strongly convex {self.strongly_convex}; nonconvex {self.nonconvex}"
        return f"{self.quantity} (attributed, {self.confidence} confidence): {formulas}"


# q = 1 - alpha mu, xi = mu^2/L^2; "poly" and c, c_k, c_b, c_eps stand for constants that are not spelled out. K meta-
# steps, B tasks in each, n_w and n_phi entries of head and body, to an accuracy eps of the squared gradient.
ATTRIBUTED = (
    Attributed("inner step size", "alpha = mu/L^2", "alpha < O(1/N)", "high"),
    Attributed(
        "smoothness of d_w",
        "poly q^N |dw| + poly q^{N/2} |dphi|",
        "poly N (|dw| + |dphi|)",
        "medium",
    ),
    Attributed(
        "smoothness of d_phi",
        "poly q^{N/2} |dw| + poly |dphi|",
        "poly N (|dw| + |dphi|)",
        "medium",
    ),
    Attributed(
        "outer step sizes",
        "beta_w = poly mu^2, beta_phi = poly mu^3",
        "beta_w, beta_phi = poly/N",
        "medium",
    ),
    Attributed(
        "rate of |d_w|^2",
        "O(q^{N/2} mu^{-2}/K + q^{3N/2} mu^{-1}/B)",
        "O(N/K + N/B)",
        "medium to low",
    ),
    Attributed(
        "rate of |d_phi|^2",
        "O([q^{N/2} mu^{-2} + mu^{-3}]/K + [q^{3N/2} mu^{-1} + mu^{-2}]/B)",
        "O(N/K + N/B)",
        "medium to low",
    ),
    Attributed(
        "gradients by w, and second-order evaluations",
        "O(N [q^{N/2} mu^{-4} + mu^{-5}] eps^{-2})",
        "O(N^2 eps^{-2})",
        "medium",
    ),
    Attributed(
        "gradients by phi",
        "O([q^{N/2} mu^{-4} + mu^{-5}] eps^{-2})",
        "O(N eps^{-2})",
        "medium",
    ),
    Attributed(
        "rate, in short",
        "[(1 - xi)^{N/2} + c_k]/K + [(1 - xi)^{3N/2} + c_b]/B",
        "N/K + N/B",
        "medium",
    ),
    Attributed(
        "gradient and second-order cost, in short",
        "N [(1 - xi)^{N/2} + c_eps]/eps^2",
        "N^2/eps^2",
        "medium",
    ),
    Attributed(
        "entries of gradients, ANIL",
        "(N [(1 - xi)^{N/2} + c] n_w + [(1 - xi)^{N/2} + c] n_phi) eps^{-2}",
        "(N^2 n_w + N n_phi) eps^{-2}",
        "medium",
    ),
    Attributed(
        "entries of second-order products, ANIL",
        "N [(1 - xi)^{N/2} + c] (n_w^2 + n_w n_phi) eps^{-2}",
        "N^2 (n_w^2 + n_w n_phi) eps^{-2}",
        "medium",
    ),
    Attributed("entries of gradients, MAML", "none", "N^2 (n_w + n_phi) eps^{-2}", "medium"),
    Attributed(
        "entries of second-order products, MAML",
        "none",
        "N^2 (n_w + n_phi)^2 eps^{-2}",
        "medium",
    ),
)
