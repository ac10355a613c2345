"""The headlines of the study: what was said, by whom, and which rules decide it; fixed before any run, as the rules.

A headline names rules by their keys in one experiment. A key that ends in "*" stands for all rules that begin like it:
every condition under which a claim is judged, so that none can be left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

PAPER = "the paper"
SUMMARY = "the paper, as a third party sums it up"
ATTRIBUTED = "the paper (attributed)"
RAGHU = "Raghu et al."
REVIEWER = "a reviewer"
DERIVATION = "the derivation"
STUDY = "this study, as a control"
LIBRARY = "this library"


@dataclasses.dataclass(frozen=True)
class Headline:
    """One line of the first table.

    Attributes:
        text: what was said, in one sentence.
        said_by: by whom.
        experiment: the name of the one that decides it.
        keys: of its rules; "per_step: *" means all that begin with "per_step: ".
    """

    text: str
    said_by: str
    experiment: str
    keys: tuple[str, ...]

    def rules(self, known: Iterable[str]) -> list[str]:
        """The keys of the rules that decide it, in the order of the experiment.

        Args:
            known: the keys of the experiment's rules.
        """
        return [name for name in known if any(_matches(name, key) for key in self.keys)]


def condition(key: str) -> str:
    """What tells a rule from the others of its headline: "lambda = 0.5" of "per_step: lambda = 0.5".

    Args:
        key: of the rule.
    """
    return key.partition(": ")[2] or key.replace("_", " ")


def _matches(name: str, key: str) -> bool:
    return name.startswith(key[:-1]) if key.endswith("*") else name == key


HEADLINES = (
    Headline(
        "Strongly convex inner loss: a larger N converges faster per meta-step.",
        PAPER,
        "strongly_convex",
        ("per_step: *",),
    ),
    Headline(
        "The same, the head start that a larger N has before any training set aside.",
        STUDY,
        "strongly_convex",
        ("learning: *",),
    ),
    Headline(
        "It is the strong convexity that makes a larger N faster: with a large lambda more than without any.",
        DERIVATION,
        "strongly_convex",
        ("convexity",),
    ),
    Headline(
        "Strongly convex inner loss: a moderate N is best in running time.",
        SUMMARY,
        "strongly_convex",
        ("in_time: *",),
    ),
    Headline(
        "Nonconvex inner loss: a larger N converges more slowly per meta-step.",
        PAPER,
        "nonconvex",
        ("level: *",),
    ),
    Headline(
        "Nonconvex inner loss: an inner step size of order 1/N cures it.",
        f"{ATTRIBUTED}, {DERIVATION}",
        "nonconvex",
        ("cure",),
    ),
    Headline(
        "It is the geometry: at the same inner step size a larger N helps if the inner loss is strongly convex, and "
        "hurts if it is not.",
        REVIEWER,
        "same_step_size",
        ("signs: *",),
    ),
    Headline(
        "At the same inner step size a larger N serves the strongly convex inner loss better than the nonconvex one.",
        REVIEWER,
        "same_step_size",
        ("difference: *",),
    ),
    Headline(
        "At the same inner step size, the head start of a larger N set aside.",
        STUDY,
        "same_step_size",
        ("learning: *",),
    ),
    Headline(
        "ANIL is at least 1.7 times as fast as MAML in training, and 4.1 times in adaptation.",
        RAGHU,
        "anil_vs_maml",
        ("training", "adaptation"),
    ),
    Headline(
        "ANIL is about as accurate as MAML after as many meta-steps.",
        RAGHU,
        "anil_vs_maml",
        ("accuracy",),
    ),
    Headline(
        "ANIL beside MAML in the set-up of the figures: it is ahead after the same time.",
        REVIEWER,
        "anil_vs_maml",
        ("accuracy_in_time",),
    ),
    Headline(
        "ANIL needs less second-order information than MAML for the same loss.",
        ATTRIBUTED,
        "anil_vs_maml",
        ("second_order",),
    ),
    Headline(
        "The work of the body explains how much faster ANIL is than MAML.",
        DERIVATION,
        "anil_vs_maml",
        ("flop_model",),
    ),
    Headline(
        "More tasks in a meta-step: training converges faster, and gains less and less.",
        REVIEWER,
        "batch_size",
        ("convergence", "saturation"),
    ),
    Headline(
        "More tasks in a meta-step: the variance of the meta-gradient falls as 1/B.",
        f"{ATTRIBUTED}, {DERIVATION}",
        "batch_size",
        ("variance_head", "variance_body"),
    ),
    Headline(
        "More support images: higher accuracy, and a less noisy meta-gradient.",
        REVIEWER,
        "sample_size",
        ("shots_accuracy", "shots_variance"),
    ),
    Headline(
        "More query images: faster convergence, and a less noisy meta-gradient.",
        REVIEWER,
        "sample_size",
        ("queries_convergence", "queries_variance"),
    ),
    Headline(
        "The bounds with derived constants hold.",
        DERIVATION,
        "predictions",
        ("P1", "P2", "P3 bound", "P8 bound"),
    ),
    Headline(
        "Proposition 1, by its reverse recursion, is the exact meta-gradient.",
        DERIVATION,
        "predictions",
        ("P10",),
    ),
    Headline(
        "As N grows the meta-gradient and the curvature by the head fade, and the curvature by the body saturates.",
        DERIVATION,
        "predictions",
        ("P2 rate", "P3 head", "P3 body"),
    ),
    Headline(
        "Nonconvex head: the curvature of the meta-loss explodes with N at a large fixed alpha, and not at c/N.",
        DERIVATION,
        "predictions",
        ("P4 *",),
    ),
    Headline(
        "Nonconvex head: training suffers from a larger N at a large fixed alpha, not at a small one, not at c/N.",
        DERIVATION,
        "predictions",
        ("P7 *",),
    ),
    Headline(
        "In a small problem of the theory's kind: the meta-steps fall with N, and the work N K has a minimum inside.",
        DERIVATION,
        "predictions",
        ("P5 *",),
    ),
    Headline(
        "Features that are kept while the head adapts make an inner step cheap beside the rest of a meta-step.",
        DERIVATION,
        "predictions",
        ("P6*",),
    ),
    Headline(
        "The sampling variance of the meta-gradient at fixed weights falls as 1/B.",
        DERIVATION,
        "predictions",
        ("P8 head", "P8 body"),
    ),
    Headline(
        "A meta-step of ANIL takes hardly longer with more inner steps.",
        DERIVATION,
        "predictions",
        ("P9*",),
    ),
    Headline(
        "The meta-steps to a given loss fall as N grows.",
        PAPER,
        "complexity",
        ("meta_steps: *",),
    ),
    Headline(
        "A moderate N needs the fewest evaluations to a given loss.",
        SUMMARY,
        "complexity",
        ("evaluations: *",),
    ),
    Headline(
        "An inner loop that is measured (--inner_step_size=auto --inner_steps=auto) is as good as one searched by "
        "hand.",
        LIBRARY,
        "advice",
        ("as_good",),
    ),
)
