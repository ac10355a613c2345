"""From a cell's settings to the config of a training.

A cell's name is a hash of its settings, so the names of settings stay what they are. Where a config has other names,
they are translated here and nowhere else.
"""

from __future__ import annotations

from typing import Any

from anil_tf.config import Training
from anil_tf.study.cell import Settings

_OPTIONS = (
    *("dataset", "data_dir", "ways", "shots", "queries", "meta_batch_size", "seed"),
    *("body", "filters", "adapted_layers"),
    *("inner_steps", "inner_step_size", "inner_l2", "differentiation", "normalization"),
    "optimizer",
)
STEP_SIZE_RULES = ("1/L", "mu/L^2")  # of inner_step_size, beside numbers


def training_config(settings: Settings, **changes: Any) -> Training:
    """The training that a cell does.

    Args:
        settings: of a cell; what is missing is at its default, and so is an inner step size that follows from a rule.
        **changes: values that come before those of the settings.
    """
    given: dict[str, Any] = {**settings, **changes}
    chosen = {name: given[name] for name in _OPTIONS if name in given}
    if step_size_rule(given):
        del chosen["inner_step_size"]
    if "outer_step_size" in given:
        chosen["outer_step_size_body"] = chosen["outer_step_size_head"] = given["outer_step_size"]
    return Training(**chosen)


def step_size_rule(settings: Settings) -> str | None:
    """The rule by which a cell chooses its inner step size; None where it is a number.

    Raises:
        ValueError: for an unknown rule.
    """
    wanted = settings.get("inner_step_size")
    if not isinstance(wanted, str):
        return None
    if wanted not in STEP_SIZE_RULES:
        rules = " or ".join(STEP_SIZE_RULES)
        raise ValueError(f"inner_step_size must be a number, {rules}. Received: {wanted!r}.")
    return wanted
