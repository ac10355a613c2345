"""The kinds of head: what a setting, a check or a help text has to know of each, without loading TensorFlow.

A head is a class in `anil_tf/models/heads/` and a line here.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadKind:
    """What is known of a kind of head before it is built.

    Attributes:
        path: its class, "module:Class".
        help: where it starts, in words; empty where the name says it.
        has_inner_loop: whether gradient descent follows the start; else it adapts in closed form.
        any_number_of_ways: whether it takes any number of classes, in any order; else it has one learned row for each.
        classifies_only: whether it needs classes, and cannot predict numbers.
        uses_l2: whether `inner_l2` makes a difference.
        needs_l2: whether `inner_l2` must be above 0; it is where the head's own, learned l2 starts.
        last_layer_is_learned: whether gradient descent starts the last layer from something learned, so that it can be
            left unadapted (BOIL).
        fits_any_body: whether it has nothing that is learned of its own, so that any finished run can be evaluated
            with it.
        measured_as: the head that stands in for it before training, where the inner problem is measured; empty for
            itself.
    """

    path: str
    help: str = ""
    has_inner_loop: bool = True
    any_number_of_ways: bool = True
    classifies_only: bool = False
    uses_l2: bool = True
    needs_l2: bool = False
    last_layer_is_learned: bool = False
    fits_any_body: bool = False
    measured_as: str = ""

    def load(self) -> Any:
        """Imports and returns the class."""
        module, name = self.path.split(":")
        return getattr(importlib.import_module(module), name)


HEADS: dict[str, HeadKind] = {
    "free": HeadKind(
        path="anil_tf.models.heads.free:FreeHead",
        help="one learned row per class",
        any_number_of_ways=False,
        last_layer_is_learned=True,
        # Classes are numbered at random, so that training makes the rows alike, which softmax does not see. The random
        # rows that it begins with would be unlearned in a few steps.
        measured_as="zero",
    ),
    "zero": HeadKind(path="anil_tf.models.heads.zero:ZeroHead"),
    "prototype": HeadKind(
        path="anil_tf.models.heads.prototype:PrototypeHead",
        help="the class means, at a learned scale",
        classifies_only=True,
        last_layer_is_learned=True,
    ),
    "ridge": HeadKind(
        path="anil_tf.models.heads.ridge:RidgeHead",
        help="closed-form ridge regression on one-hot targets, with learned scale and strength (R2D2)",
        has_inner_loop=False,
        needs_l2=True,
    ),
    "nil": HeadKind(
        path="anil_tf.models.heads.cosine:CosineHead",
        help="no layer, cosine to the class means (in evaluate.py: for any finished run)",
        has_inner_loop=False,
        classifies_only=True,
        uses_l2=False,
        fits_any_body=True,
    ),
}


def names_of(**facts: bool) -> str:
    """The names of the heads with these facts, for a message.

    Args:
        **facts: fields of `HeadKind` and their values.

    Example:
        >>> names_of(has_inner_loop=True)
        'free, zero or prototype'
    """
    names = [
        name
        for name, kind in HEADS.items()
        if all(getattr(kind, fact) == value for fact, value in facts.items())
    ]
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[:-1] else names)
