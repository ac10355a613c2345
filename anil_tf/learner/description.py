"""What a learner adapts, how, and in which geometry, in words for protocols and cards."""

from typing import Any

from anil_tf.models.structure import count_parameters, is_linear

_STEP_SIZES = {
    "none": "",
    "scalar": ", learned as one scalar",
    "per_variable": ", learned per entry",
}


def describe(learner: Any) -> dict[str, str]:
    """Describes a `MetaLearner`; see `MetaLearner.describe`."""
    head, body, adaptation = learner.head_variables, learner.body_variables, learner.adaptation
    return {
        "adapted": ", ".join(learner.inner_loop.adapted_names),
        "body": f"{learner.body.name}, {count_parameters(body):,} parameters",
        "head": f"{adaptation.head_initialization}, {count_parameters(head):,} parameters",
        "geometry": _geometry(learner),
        "normalization": adaptation.normalization,
        "inner_steps": _inner_steps(learner),
        "inner_step_size": f"{adaptation.inner_step_size:g}"
        + _STEP_SIZES[adaptation.learned_inner_step_size],
        "meta_gradient": _meta_gradient(learner),
    }


def _geometry(learner: Any) -> str:
    if not learner.has_inner_loop:
        return "closed form, no inner loop"
    if not is_linear(learner.head):
        return "nonconvex"
    is_strong = learner.adaptation.inner_l2 > 0
    return "strongly convex" if is_strong else "convex, not strongly (inner_l2 = 0)"


def _inner_steps(learner: Any) -> str:
    how = learner.adaptation
    if not learner.has_inner_loop:
        return "none: closed form"
    if how.engine == "implicit":
        return f"to the minimum ({how.inner_solver}, gradient below {how.inner_tolerance:g})"
    return str(how.inner_steps)


def _meta_gradient(learner: Any) -> str:
    how = learner.adaptation
    if not learner.has_inner_loop:
        return "exact (closed form)"
    if how.engine == "first_order":
        return "first order"
    if how.engine != "truncated":
        return f"exact ({how.engine})"
    if how.truncated_to >= how.inner_steps:
        return "exact (truncated to no fewer than all inner steps)"
    return f"truncated to the last {how.truncated_to} of {how.inner_steps} inner steps"
