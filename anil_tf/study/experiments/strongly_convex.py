"""Experiment 1: one adapted layer with an l2 term. Does training converge faster with more inner steps?"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import TYPE_CHECKING

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, NOT_RUN, Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import sweeps
from anil_tf.study.experiments.sweeps import LEVEL, PROGRESS, Condition
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

NAME = "strongly_convex"
_FEWEST_CHECKPOINTS = 3  # start, middle, end
MOST_CONTRACTION = 0.9  # a larger q^20 hides what the theory predicts

# Strongest convexity first. mu/L^2 is 0 where lambda, hence mu, is 0: there is no such run.
_LAMBDAS = (0.5, 0.1, 0.01, 0.0)
LARGEST_STEP = tuple(Condition(inner_l2, "1/L") for inner_l2 in _LAMBDAS)
PAPERS_STEP = tuple(Condition(inner_l2, "mu/L^2") for inner_l2 in _LAMBDAS if inner_l2 > 0)
# A lambda so large that q^N itself, and not the curvature of the data, is what contracts.
STRONGER = Condition(2.0, "1/L")
SMOOTH = Condition(0.5, "1/L", body="smooth_conv4")
CONDITIONS = (STRONGER, *LARGEST_STEP, *PAPERS_STEP, SMOOTH)
# q of the paper's step is nearest to 1 by far; what lambda = 0.5 cannot show, no smaller lambda can.
JUDGED = (STRONGER, *LARGEST_STEP, PAPERS_STEP[0], SMOOTH)
TIMED = (STRONGER, *LARGEST_STEP, PAPERS_STEP[0])
# What greater length can decide: elsewhere q^20 stays near 1 however long training is.
LENGTHENED = (STRONGER, LARGEST_STEP[0], SMOOTH)

PER_STEP, LEARNING, IN_TIME, CONVEXITY = "per_step", "learning", "in_time", "convexity"
NO_MATTER = (
    1.0  # per cent of the training loss for each doubling of N: a difference too small to matter
)

_GATE = (
    f"Where q^20 exceeds {MOST_CONTRACTION:g} on some seed, q = 1 - alpha lambda, the contraction that the theory "
    "speaks of is too weak to be seen: inconclusive, whatever was measured."
)
_PER_STEP_RULE = (
    "ln of the training loss on fixed tasks, averaged over all meta-steps (the area under the curve); its "
    "least-squares slope against log2 N on each seed, all N from the same weights on the same tasks; Student's "
    "95 % interval over seeds. Supported if the whole interval lies below 0, not supported if it lies above 0, "
    f"else inconclusive. {sweeps.DIVERGED} {_GATE}"
)
_LEARNING_RULE = (
    "As for the training loss at the same meta-step, but each curve counts from its own value at meta-step 0, "
    "where a larger N is ahead without having learned anything: the slope against log2 N of mean ln(loss at "
    "meta-step k / loss at meta-step 0). Being ahead leaves less to fall, so this reading leans against the "
    "claim. Supported if the whole 95 % interval over seeds lies below 0, not "
    f"supported if above 0, else inconclusive. {sweeps.DIVERGED} {_GATE}"
)
_IN_TIME_RULE = (
    "Seconds to a given training loss: meta-steps to it, times the seconds of a meta-step timed alone. The loss "
    "is midway, in logarithms, between the lowest at any run's start and the lowest that some N reaches on every "
    "seed. The interior N is chosen for each seed by the other seeds. Supported if the smallest and the largest "
    "N both take longer than it, with the whole 95 % interval of the ratio over seeds above 1. Not supported if "
    "one of the two takes less time, with its whole interval, than even the interior N that is best on the very "
    "seed. Else inconclusive, as with fewer than three N, or where nothing was learned. A run that never gets "
    f"there took at least all its time. {_GATE}"
)


def _rules() -> dict[str, Rule]:
    rules = {}
    for one in JUDGED:
        rules[f"{PER_STEP}: {one.label}"] = Rule(
            f"A larger N reaches a lower training loss at the same meta-step ({one.label}).",
            _PER_STEP_RULE,
            "training loss for each doubling of N",
            "%",
        )
    for one in JUDGED:
        rules[f"{LEARNING}: {one.label}"] = Rule(
            f"A larger N learns more per meta-step, its head start set aside ({one.label}).",
            _LEARNING_RULE,
            "training loss relative to its start, for each doubling of N",
            "%",
        )
    rules[CONVEXITY] = Rule(
        "It is the convexity of the l2 term that makes a larger N faster: with lambda = "
        f"{STRONGER.inner_l2:g} it brings more than with lambda = 0 ({STRONGER.alpha}).",
        f"The slope of mean ln(training loss) against log2 N with lambda = {STRONGER.inner_l2:g} minus that with "
        "lambda = 0, seed by seed, over the meta-steps that both took; Student's 95 % interval over seeds. Supported "
        "if the whole interval lies below 0; not supported if it does not and the whole interval lies above "
        f"-{NO_MATTER:g} %, a difference too small to matter; else inconclusive. {sweeps.DIVERGED}",
        f"lambda = {STRONGER.inner_l2:g} minus lambda = 0, training loss for each doubling of N",
        "%",
    )
    for one in TIMED:
        rules[f"{IN_TIME}: {one.label}"] = Rule(
            f"A moderate N is best in running time ({one.label}).",
            _IN_TIME_RULE,
            "time of the better end of the range, as a multiple of a moderate N's",
        )
    return rules


RULES = _rules()

QUESTION = f"""\
The paper states that with a strongly convex inner loss ANIL converges faster as the number of inner steps N grows;
a moderate N is then its advice, for the sake of running time (so a third party sums it up).

**The set-up** is, as far as it is known, the paper's (attributed, not quoted): 5-way 5-shot, a convolutional network
of four blocks of which the last, linear layer adapts, with (lambda/2)|w|^2 in the inner loss, so that mu = lambda
exactly. The head is free (its start is learned), the outer optimizer Adam with step size
{sweeps.OUTER_STEP_SIZE:g}. Two inner step sizes: 1/L, with L the largest curvature among 32 training tasks at the
initial weights, and the mu/L^2 of the paper (attributed). At lambda = 0 there is no mu and no mu/L^2: that run is left
out. All N of a seed start from the same weights and see the same tasks. Below the paper's scale runs
are shortened, most where no effect is to be expected: at 1/L to two thirds of the scale's meta-steps, or half of them
where lambda is below {_LAMBDAS[0]:g}; at mu/L^2 to a tenth. One lambda is added, {STRONGER.inner_l2:g},
far above what anybody trains with: there q^N itself moves.

**What can be seen.** An inner step brings two heads closer by q = 1 - alpha mu, and all that the theory says of N
it says through powers of q. With mu = lambda, q^N hardly leaves 1 in usual settings: at lambda = 0.01 and alpha =
0.1, q^10 is 0.99. Where q^20 is above {MOST_CONTRACTION:g} the design cannot show the effect, and the only verdict
is *inconclusive*, although N may well matter there: the data's own curvature, which mu does not count, contracts
too. Such slopes are in the table, and are no evidence for the theorem. How much
of the effect is mu's is judged by itself: the same slope with lambda = {STRONGER.inner_l2:g} and without any.

**Two readings.** A larger N adapts further in every task, also at meta-step 0, before anything is learned. A lower
curve may be nothing but that head start. So it is judged twice: the training loss as it is, which favours a larger
N, and the training loss relative to its own start, which favours a smaller one, since it has further to fall.

**The assumptions** (a smooth loss with bounded gradients) do not hold for the usual body: ReLU, max pooling, batch
statistics. One condition runs with a smooth body, tanh without batch statistics: there the loss is smooth, and its
gradients are bounded wherever the weights are. L is measured before training, and alpha stays; the table tells how
large L has become at the end.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A run for each condition, seed and N, and a timing for each N; smoke and long have fewer conditions."""
    some = {"smoke": (LARGEST_STEP[0], PAPERS_STEP[0]), "long": LENGTHENED}
    conditions = some.get(scale.name, CONDITIONS)
    runs = [cell for one in conditions for cell in training_cells(one, scale, data)]
    return runs + sweeps.timing_cells(LARGEST_STEP[0], scale, data)


def training_cells(condition: Condition, scale: Scale, data: Data) -> list[Cell]:
    """The runs of one condition, shorter where no effect is to be expected."""
    if condition.inner_l2 not in scale.inner_l2:
        return []
    meta_steps = sweeps.shortened(scale, _share(condition))
    # An evaluation takes as long as several meta-steps: a run of a tenth of them gets no more than its course needs.
    is_short = condition in PAPERS_STEP and meta_steps < scale.meta_steps
    checkpoints = _FEWEST_CHECKPOINTS if is_short else scale.checkpoints
    return sweeps.training_cells(
        condition, scale, data, meta_steps=meta_steps, checkpoints=checkpoints
    )


def _share(condition: Condition) -> float:
    """Of the scale's meta-steps: the less is to be expected, the fewer."""
    if condition in PAPERS_STEP:
        return 1 / 10
    return 1 / 2 if condition in LARGEST_STEP[1:] else 2 / 3


# ---- Verdicts ------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    rows = {one: one.rows(frame) for one in CONDITIONS}
    found: dict[str, tuple[Interval, Verdict, str]] = {}
    for one in JUDGED:
        found[f"{PER_STEP}: {one.label}"] = _faster(rows[one], LEVEL)
        found[f"{LEARNING}: {one.label}"] = _faster(rows[one], PROGRESS)
    found[CONVEXITY] = _contrast(rows[STRONGER], rows[LARGEST_STEP[-1]])
    for one in TIMED:
        found[f"{IN_TIME}: {one.label}"] = _moderate(rows[one], frame)
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


def unseen(rows: pd.DataFrame) -> str:
    """Why the theory's effect cannot show, if 20 inner steps contract too little on some seed; "" if it can."""
    if rows.empty:
        return NOT_RUN
    contraction = sweeps.contraction(rows, 20)
    return f"q^20 = {contraction:.3g}" if contraction > MOST_CONTRACTION else ""


def _faster(rows: pd.DataFrame, reading: str) -> tuple[Interval, Verdict, str]:
    slope, reason = sweeps.trend(rows, reading), unseen(rows)
    verdict = statistics.decide(slope, expected="below", than=0.0)
    return slope, INCONCLUSIVE if reason else verdict, reason


def _contrast(strong: pd.DataFrame, flat: pd.DataFrame) -> tuple[Interval, Verdict, str]:
    if strong.empty or flat.empty:
        return sweeps.UNKNOWN, INCONCLUSIVE, NOT_RUN
    end = min(rows["meta_step"].max() for rows in (strong, flat))
    with_lambda, without = (
        sweeps.slopes(sweeps.until(rows, end), LEVEL) for rows in (strong, flat)
    )
    if len(with_lambda) != len(without):
        return sweeps.UNKNOWN, INCONCLUSIVE, ""
    difference = statistics.paired(with_lambda, without).map(sweeps.percent)
    verdict = statistics.decide(difference, expected="below", than=0.0, indifference=NO_MATTER)
    return difference, verdict, ""


def _moderate(rows: pd.DataFrame, frame: pd.DataFrame) -> tuple[Interval, Verdict, str]:
    loss, reason = sweeps.threshold(rows) if not rows.empty else math.nan, unseen(rows)
    if math.isnan(loss):
        return sweeps.UNKNOWN, INCONCLUSIVE, reason
    reach = sweeps.steps_to(rows, loss)
    seconds = sweeps.seconds_per_meta_step(sweeps.with_seconds(rows, frame))
    ratio, verdict = sweeps.interior_against_ends(reach.meta_steps * seconds, reach.reached)
    return ratio, INCONCLUSIVE if reason else verdict, reason


# ---- Pictures ------------------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """The training loss, its trends, and all curves against meta-steps and seconds, for both step sizes."""
    parts = {one: sweeps.with_seconds(one.rows(frame), frame) for one in CONDITIONS}
    parts = {one: rows for one, rows in parts.items() if not rows.empty}
    if not parts:
        return []
    pictures = [
        _draw_losses(parts, folder),
        sweeps.draw_trends(parts, folder, "What a larger N brings per meta-step"),
    ]
    groups = {
        "one_over_l": ("alpha = 1/L", (STRONGER, *LARGEST_STEP, SMOOTH)),
        "mu_over_l2": ("alpha = mu/L^2", PAPERS_STEP),
    }
    for file, (title, conditions) in groups.items():
        for x in ("meta_step", "seconds"):
            group = {k: v for k, v in parts.items() if k in conditions and v[x].notna().any()}
            if group:
                pictures.append(sweeps.draw_courses(group, folder, f"{file}_{x}.png", title, x))
    return pictures


def _draw_losses(parts: dict[Condition, pd.DataFrame], folder: pathlib.Path) -> Picture:
    from anil_tf.study import figures

    shown = {one: rows for one, rows in parts.items() if one in JUDGED}
    panels = [
        dataclasses.replace(panel, title=f"{one.label}\nq^20 = {sweeps.contraction(rows, 20):.3g}")
        for panel, (one, rows) in zip(sweeps.loss_panels(shown), shown.items(), strict=True)
    ]
    figures.draw(panels, folder / "loss.png", title="One adapted layer with an l2 term")
    return Picture(
        "loss.png",
        "Training loss on fixed tasks against meta-steps, a curve for each number of inner steps N; bands are "
        "the range of the seeds. Where q^20 is near 1 the theory predicts no difference that could be seen.",
    )


# ---- Tables --------------------------------------------------------------------------------------------------------


def tables(frame: pd.DataFrame) -> list[Table]:
    """The conditions with their verdicts, and the cells with q^N beside them."""
    import pandas as pd

    conditions, cells_ = [], []
    for one in CONDITIONS:
        rows = sweeps.with_seconds(one.rows(frame), frame)
        if rows.empty:
            continue
        per_step, verdict, _ = _faster(rows, LEVEL)
        progress, progress_verdict, _ = _faster(rows, PROGRESS)
        conditions.append(
            {
                "condition": one.label,
                "alpha": rows["alpha"].median(),
                "2/(L + mu)": sweeps.largest_step_size(rows),
                "the same, at the end": sweeps.largest_step_size(rows, end=True),
                "q^20": sweeps.contraction(rows, 20),
                "loss per doubling of N (%)": per_step,
                "faster per meta-step": verdict,
                "its start set aside (%)": progress,
                "learns faster": progress_verdict,
            }
        )
        cells_.append(sweeps.cell_table(one, rows))
    if not conditions:
        return []
    note = (
        f"Where q^20 is above {MOST_CONTRACTION:g} the verdict is inconclusive by the rule, whatever the slope: "
        "mu is too small to be what moves it. A negative slope is faster. Up to alpha = 2/(L + mu) an inner step "
        "contracts by q; L is the largest over tasks, seeds and, at the end of training, N."
    )
    return [
        Table("Every condition", pd.DataFrame(conditions), note),
        Table("Every cell", pd.concat(cells_, ignore_index=True), sweeps.CELL_NOTE),
    ]


EXPERIMENT = Experiment(
    name=NAME,
    title="Strongly convex: do more inner steps help?",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
