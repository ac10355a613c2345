"""How a learner adapts to a task: the inner loop. `MetaLearner` holds one such value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from anil_tf.config.heads import HEADS, names_of
from anil_tf.config.option import Config, option

AUTO = "auto"
_Problem = tuple[tuple[str, ...], str]


def _heads_in_words() -> str:
    return "; ".join(f"{name} = {head.help}" if head.help else name for name, head in HEADS.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation(Config):
    """Adaptation: how the network adapts to a task."""

    head_initialization: str = option(
        str,
        "free",
        f"""Where adaptation starts the last layer: {_heads_in_words()}. The last two have no inner loop. All but free
        ignore the order of classes and take any number of ways.""",
        flag="head",
        choices=tuple(HEADS),
    )
    frozen_in_adaptation: str = option(
        str,
        "none",
        "head: the last layer does not adapt, the adapted layers before it do (BOIL).",
        choices=("none", "head"),
    )
    inner_steps: int | str = option(
        int,
        5,
        """Steps of gradient descent in adaptation. auto: as many as lower the support loss by a share worth their
        cost, measured when training begins.""",
        lower=0,
        words=(AUTO,),
        changeable=True,
    )
    inner_step_size: float | str = option(
        float,
        0.1,
        """Step size of adaptation. auto: 1/L, with L the largest curvature of the support loss, measured when training
        begins.""",
        above_lower=True,
        words=(AUTO,),
        changeable=True,
    )
    learned_inner_step_size: str = option(
        str,
        "none",
        """Learn the inner step size in the outer loop, starting at --inner_step_size: one scalar, or one per entry of
        each adapted variable (Meta-SGD).""",
        choices=("none", "scalar", "per_variable"),
    )
    inner_l2: float = option(
        float,
        0.0,
        """Strength of (inner_l2 / 2) * squared norm of the adapted weights in the inner loss. Above 0 a linear head's
        inner problem is strongly convex. A ridge head starts from it.""",
        changeable=True,
    )
    first_order: bool = option(
        bool,
        False,
        """Leave second derivatives out of the meta-gradient (FOMAML): short for --differentiation=first_order.""",
    )
    differentiation: str = option(
        str,
        "explicit",
        """How the meta-gradient passes through adaptation: explicit = Proposition 1, keeping the iterates and
        recomputing each inner step (memory all but flat in them); unrolled = back-propagation through all that every
        inner step computed (faster than explicit where steps are costly, as in MAML); implicit = adapt a linear head
        with --inner_l2 > 0 to its minimum, whatever --inner_steps and the start (which is thus not learned), and use
        the implicit function theorem; first_order = second derivatives dropped; truncated = to the last --truncated_to
        inner steps.""",
        choices=("explicit", "unrolled", "implicit", "first_order", "truncated"),
    )
    truncated_to: int | None = option(
        int,
        None,
        """With --differentiation=truncated: how many inner steps, the last ones, are differentiated through.""",
    )
    inner_solver: str = option(
        str,
        "newton",
        "With --differentiation=implicit: how the minimum is found.",
        choices=("newton", "gradient_descent"),
        changeable=True,
    )
    inner_tolerance: float = option(
        float,
        1e-5,
        """With --differentiation=implicit: norm of a task's support gradient at which its adaptation ends.""",
        above_lower=True,
        changeable=True,
    )
    normalization: str = option(
        str,
        "episode",
        """Statistics of batch normalisation: of support and query images of the task (episode, as in most published
        rows), of the support images only (support), or moving averages when evaluated (running).""",
        choices=("episode", "support", "running"),
        changeable=True,
    )

    @property
    def engine(self) -> str:
        """How the meta-gradient passes through adaptation: `differentiation`, which `first_order` says too."""
        return "first_order" if self.first_order else self.differentiation

    @property
    def has_inner_steps(self) -> bool:
        """Whether the number and the size of inner steps matter."""
        return HEADS[self.head_initialization].has_inner_loop and self.differentiation != "implicit"

    def contradictions(self) -> Iterator[_Problem]:
        """Options that do not go together: their names, and what to do."""
        head, engine = HEADS[self.head_initialization], self.differentiation
        if self.first_order and engine in ("implicit", "truncated"):
            yield (
                ("first_order", "differentiation"),
                "the same as differentiation=first_order; expected one of the two.",
            )
        if (engine == "truncated") != (self.truncated_to is not None):
            yield (
                ("differentiation", "truncated_to"),
                "differentiation=truncated and truncated_to go together; expected both or neither.",
            )
        if engine == "implicit" and self.inner_l2 == 0:
            yield (
                ("differentiation", "inner_l2"),
                "without an l2 term separable examples have no minimum; expected inner_l2 above 0.",
            )
        if engine == "implicit" and self.learned_inner_step_size != "none":
            yield (
                ("differentiation", "learned_inner_step_size"),
                "the minimum does not depend on the step size; expected learned_inner_step_size=none, or another "
                "differentiation.",
            )
        if head.needs_l2 and self.inner_l2 == 0:
            yield (
                ("head_initialization", "inner_l2"),
                "the strength of its ridge regression starts at inner_l2; expected inner_l2 above 0.",
            )
        if self.learned_inner_step_size != "none" and not head.has_inner_loop:
            yield (
                ("head_initialization", "learned_inner_step_size"),
                "this head has no inner loop, hence no step size to learn; expected learned_inner_step_size=none.",
            )
        if self.frozen_in_adaptation == "head" and not head.last_layer_is_learned:
            yield (
                ("head_initialization", "frozen_in_adaptation"),
                "a frozen head of this kind stays where it starts for ever; expected head "
                f"{names_of(last_layer_is_learned=True)}.",
            )
