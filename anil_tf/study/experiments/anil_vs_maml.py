"""Experiment 4: ANIL beside MAML in one set-up. What does adapting a part save, and what does it cost?"""

from __future__ import annotations

import math
import pathlib
from typing import TYPE_CHECKING

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import method_courses, usual_setting
from anil_tf.study.experiments.method_courses import (
    COST,
    TRAINING,
    UNKNOWN,
    WORDS,
    costs,
    courses,
    model_ratio,
    ratio,
)
from anil_tf.study.experiments.usual_setting import INNER_STEPS
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COST",
    "EXPERIMENT",
    "NAME",
    "PUBLISHED",
    "TIMED_INNER_STEPS",
    "TRAINING",
    "cells",
    "costs",
    "flop_model",
    "judge",
    "model_ratio",
    "ratio",
]

NAME = "anil_vs_maml"
TIMED_INNER_STEPS = (1, 5, 10)
# Raghu et al. 2020 (arXiv:1909.09157): how many times as long as ANIL's an iteration of MAML takes.
PUBLISHED = {"seconds_per_meta_step": 1.7, "seconds_per_adaptation": 4.1}
TOLERANCE = 1.5  # a FLOP model that is off by less is a good one
MARGIN = 2.0  # points of accuracy; in the published table MAML is ahead by up to 1.6
# So many meta-steps of ANIL for each of MAML. More would take as long: at equal time the two meet within MAML's run.
LONGER = 5
# A margin of 2 points asks for more tasks than a curve: if single tasks scatter by 10 points, the mean of 160 by 0.8.
EVALUATION_TASKS = {"small": 160, "long": 160}
# MAML adapts in about a third of the time of its meta-step: so many checkpoints of it are enough for the curve.
CHECKPOINTS_OF_MAML = {"small": 5, "long": 5}
_PHASES = {"seconds_per_meta_step": "training", "seconds_per_adaptation": "adaptation"}

_TURNS = (
    "Both are timed in turns in one process, alone on the machine; a time is the median over rounds, the ratio one "
    "number for each seed (a process of its own), the interval Student's 95 % of its logarithm over seeds."
)
_UNKNOWN_N = (
    f"The N of the published number is not known: the rule is for N = {INNER_STEPS}, the table shows all N that were "
    "timed."
)
_ON_TEST_TASKS = (
    "on fixed tasks of the test classes, the same for both methods on each seed, ANIL minus MAML"
)
_MEETING = (
    "at the last checkpoint of the MAML run whose {spent} ANIL's run comes to as well; ANIL's there by a straight line "
    "between its checkpoints"
)
_ELSE = (
    "else inconclusive, as where a run had diverged by then and, by design, where ANIL's run is over before MAML's "
    "first checkpoint after the start"
)
RULES = {
    "training": Rule(
        "A training iteration of MAML takes at least the published 1.7 times as long as one of ANIL (the speed-up "
        "that Raghu et al. state).",
        f"Seconds of a meta-step of second-order MAML over those of ANIL, both with N = {INNER_STEPS}. {_TURNS} "
        "Supported if the whole interval lies above 1.7, not supported if all of it lies below, else inconclusive. "
        f"{_UNKNOWN_N}",
        f"MAML / ANIL in training, N = {INNER_STEPS}",
    ),
    "adaptation": Rule(
        "An adaptation of MAML takes at least the published 4.1 times as long as one of ANIL (the speed-up that Raghu "
        "et al. state).",
        f"Seconds to adapt to one task and answer its queries, MAML over ANIL, both with N = {INNER_STEPS}. {_TURNS} "
        "Supported if the whole interval lies above 4.1, not supported if all of it lies below, else inconclusive. "
        f"{_UNKNOWN_N}",
        f"MAML / ANIL in adaptation, N = {INNER_STEPS}",
    ),
    "flop_model": Rule(
        "The work of the body explains the ratio: (9Ns + 3q) / (3(s + q)), in training and in adaptation (derived).",
        "Measured ratio over that of the model, in training and in adaptation, for each N that was timed "
        f"({', '.join(map(str, TIMED_INNER_STEPS))}, but none above the largest N of the scale). {_TURNS} Here the "
        "intervals hold 95 % together (Bonferroni), since any one of them may refute. Supported if every interval lies "
        f"within 1/{TOLERANCE:g} to {TOLERANCE:g}, not supported if one lies wholly outside, else inconclusive. The "
        "number shown is the worst of them.",
        "measured / model, where it is worst",
    ),
    "accuracy": Rule(
        f"At the same number of meta-steps ANIL is as accurate as MAML, up to {MARGIN:g} points (Raghu et al.: "
        "adapting the head is enough).",
        f"Accuracy {_ON_TEST_TASKS}, at the last meta-step of the MAML run, where the ANIL run is evaluated, too; on "
        "each seed from the same initial weights and with the same tasks in each meta-step. Student's 95 % interval "
        f"over seeds. Supported if the whole interval lies above -{MARGIN:g} points, not supported if all of it lies "
        "below, else inconclusive. A run that had diverged by then, or was not evaluated, has no accuracy: "
        "inconclusive.",
        "test accuracy, ANIL - MAML",
        "points",
    ),
    "accuracy_in_time": Rule(
        "In the same time ANIL becomes more accurate than MAML.",
        f"Accuracy {_ON_TEST_TASKS}, {_MEETING.format(spent='seconds')}. Seconds are meta-steps times those of a "
        "meta-step timed alone, the median over seeds. Student's 95 % interval over seeds. Supported if the whole "
        f"interval lies above 0, not supported if all of it lies below, {_ELSE}.",
        "test accuracy, ANIL - MAML, after the same seconds",
        "points",
    ),
    "second_order": Rule(
        "With the same amount of second-order information ANIL comes to a lower test loss than MAML (the paper's "
        "comparison, attributed).",
        f"Loss {_ON_TEST_TASKS}, {_MEETING.format(spent='second-order entries')}. Entries are those of the matrices "
        "behind the products, N n_w (n_w + n_phi) for ANIL and N (n_w + n_phi)^2 for MAML per task and meta-step. "
        "Student's 95 % interval over seeds. Supported if the whole interval lies below 0, not supported if all of it "
        f"lies above, {_ELSE}.",
        "test loss, ANIL - MAML, after the same entries",
        "nats",
    ),
}

QUESTION = f"""\
Raghu et al. found that MAML hardly changes the body when it adapts, left the body out, and called the rest ANIL: *1.7
times faster per training iteration and 4.1 times per inference iteration*, at almost the same accuracy. The paper is
said (attributed) to count what that saves on the way to a given accuracy. A reviewer of the paper asked to see both
converge in one set-up.

**The set-up.** The same network, tasks, initial weights and settings for both ({usual_setting.IN_WORDS}); MAML adapts
all layers, ANIL the last one. ANIL's run has at least {LONGER} times as many meta-steps, so that it is long enough to
be compared at equal time, and is evaluated where MAML's ends as well. Both meta-gradients are exact. Each method has
its faster engine: Proposition 1 for ANIL (`explicit`), and back-propagation through the inner loop for MAML
(`unrolled`, about 5 % faster than `explicit` there).

**The bill.** With the forward pass of one image as the unit, a backward pass 2 and a backward pass through that one
4, a meta-step of MAML on s support and q query images costs 9Ns + 3q, and one of ANIL, whose body runs once whatever
N is, 3(s + q). Adaptation alone needs no outer derivative and costs a third of both: 3Ns + q and s + q. So the ratio
should be *the same* in training and in adaptation, (9Ns + 3q) / (3(s + q)): 2, 8 and 15.5 for N = 1, 5 and 10 with as
many queries as support images. The published pair, 1.7 and 4.1, is not of that shape; the N that it was taken at is
not stated with it.

**Four currencies.** Accuracy is shown against meta-steps, against seconds, against gradient entries ((N+1) n_w +
n_phi for ANIL, (N+1)(n_w + n_phi) for MAML) and against second-order entries (N n_w (n_w + n_phi), and N (n_w +
n_phi)^2), n_w and n_phi being the parameters of head and body. The evaluations are counted on the engines
(`anil_tf/theory/complexity.py`); to weigh them by entries is attributed to the paper.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """For each seed a training run of either method, and a process that times both."""
    ends = scale.maml_meta_steps
    tasks = max(scale.evaluation_tasks, EVALUATION_TASKS.get(scale.name, 0))
    own = {
        "MAML": {
            "meta_steps": ends,
            "checkpoints": CHECKPOINTS_OF_MAML.get(scale.name, scale.checkpoints),
        },
        "ANIL": {
            "meta_steps": max(scale.meta_steps, LONGER * ends),
            "extra_checkpoint": ends,
        },
    }
    # A short run of MAML, and its timing, is mostly compiling it: smoke, which decides nothing, does so for one seed.
    seeds = scale.seeds[:1] if scale.name == "smoke" else scale.seeds
    training = [
        Cell(
            "training.run",
            usual_setting.settings(
                scale,
                data,
                seed=seed,
                method=method,
                evaluation_tasks=tasks,
                evaluation_train_tasks=scale.evaluation_tasks,  # no rule asks for more
                **changes,
            ),
        )
        for method, changes in own.items()
        for seed in seeds
    ]
    return training + [_cost_cell(scale, data, seed) for seed in seeds[:3]]


def _cost_cell(scale: Scale, data: Data, seed: int) -> Cell:
    not_its_own = [
        "adapted_layers",
        "inner_steps",
        "differentiation",
        "meta_steps",
        "checkpoints",
        "evaluation_tasks",
    ]
    usual = usual_setting.settings(scale, data, seed=seed)
    timed = (INNER_STEPS,) if scale.name == "smoke" else TIMED_INNER_STEPS
    return Cell(
        "meta_step_cost.run",
        {
            **{key: value for key, value in usual.items() if key not in not_its_own},
            "compared_inner_steps": " ".join(map(str, timed)),
            "engine_of_anil": usual_setting.ENGINES["ANIL"],
            "engine_of_maml": usual_setting.ENGINES["MAML"],
            "repeats": scale.timing_steps,
        },
        alone=True,
    )


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    cost, curves = costs(frame), courses(frame)
    found: dict[str, tuple[Interval, Verdict]] = {}
    for seconds, phase in _PHASES.items():
        interval = ratio(cost, seconds, INNER_STEPS)
        found[phase] = interval, statistics.decide(interval, "above", than=PUBLISHED[seconds])
    found["flop_model"] = flop_model(cost)
    interval = method_courses.after_equal_steps(curves)
    found["accuracy"] = interval, statistics.decide(interval, "above", than=-MARGIN)
    interval, reason = _at_equal_expense(curves, "seconds", "accuracy")
    in_time = RULES["accuracy_in_time"].claimed(
        NAME, interval, statistics.decide(interval, "above"), reason
    )
    interval, reason = _at_equal_expense(curves, "second_order_entries", "test_loss")
    in_entries = RULES["second_order"].claimed(
        NAME, interval, statistics.decide(interval, "below"), reason
    )
    return [*(RULES[key].claimed(NAME, *found[key]) for key in found), in_time, in_entries]


def _at_equal_expense(rows: pd.DataFrame, axis: str, value: str) -> tuple[Interval, str]:
    """ANIL - MAML, and why the runs cannot be compared; "" if they can."""
    if method_courses.meeting_point(rows, axis) == 0:
        return UNKNOWN, "ANIL's run is over before MAML's first checkpoint after the start"
    return method_courses.at_equal_expense(rows, axis, value), ""


def flop_model(rows: pd.DataFrame) -> tuple[Interval, Verdict]:
    """Whether the work of the body explains how much longer MAML takes: the rule "flop_model".

    Args:
        rows: from `costs`.

    Returns:
        The measured ratio over the model's, with the joint interval of that N and phase which are furthest from 1; and
        what the intervals of all N and both phases say together.
    """
    parts = [(seconds, steps) for steps in method_courses.timed(rows) for seconds in PUBLISHED]
    if not parts:
        return UNKNOWN, INCONCLUSIVE
    joint = 1.0 - (1.0 - statistics.CONFIDENCE) / len(parts)  # Bonferroni: any of them may refute
    intervals = []
    for seconds, steps in parts:
        model = model_ratio(rows, steps)
        interval = ratio(rows, seconds, steps, joint)
        intervals.append(interval.map(lambda number, m=model: number / m))
    verdicts = [
        statistics.decide_equal(interval.map(_log), to=0.0, tolerance=math.log(TOLERANCE))
        for interval in intervals
    ]
    worst = max(intervals, key=lambda one: abs(_log(one.center)) if one.center > 0 else math.inf)
    return worst, statistics.all_of(verdicts)


def _log(number: float) -> float:
    if math.isnan(number):
        return math.nan
    return math.log(number) if number > 0 else -math.inf


# ---- Pictures --------------------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """Accuracy in four currencies, and what a meta-step and an adaptation cost against N."""
    pictures = []
    curves, cost = courses(frame), costs(frame)
    if not curves.empty:
        pictures.append(_draw_courses(curves, folder))
    if not cost.empty:
        pictures.append(_draw_ratios(cost, folder))
    return pictures


def _draw_courses(rows: pd.DataFrame, folder: pathlib.Path) -> Picture:
    from anil_tf.study import figures

    axes = {
        "meta_step": ("meta-steps", "per meta-step", False),
        "seconds": ("running time (s)", "per second", False),
        "gradient_entries": ("entries of gradients evaluated", "per gradient", True),
        "second_order_entries": ("entries of second-order matrices", "second order", True),
    }
    named = rows.assign(method=rows["method"].map(WORDS))
    panels = []
    for axis, (label, title, log) in axes.items():
        shown = named[named[axis].notna() & ((named[axis] > 0) | (not log))]
        if shown.empty:
            continue
        lines = figures.curves(shown, x=axis, y="accuracy", by="method")
        panels.append(
            figures.Panel(lines, x_label=label, y_label="test accuracy (%)", title=title, log_x=log)
        )
    steps = INNER_STEPS
    figures.draw(panels, folder / "accuracy.png", title=f"ANIL and MAML in one set-up, N = {steps}")
    return Picture(
        "accuracy.png",
        "Accuracy on tasks of the test classes in four currencies: meta-steps, seconds (a meta-step timed alone), "
        "entries of gradients, and entries of the second-order matrices behind the products. Mean over seeds; bands "
        "are the range of the seeds. MAML's run has fewer meta-steps, since each costs more.",
    )


def _draw_ratios(rows: pd.DataFrame, folder: pathlib.Path) -> Picture:
    from anil_tf.study import figures

    steps = method_courses.timed(rows)
    panels = []
    for seconds, phase in _PHASES.items():
        intervals = [ratio(rows, seconds, one) for one in steps]
        measured = figures.Series(
            "measured",
            steps,
            [one.center for one in intervals],
            [one.low for one in intervals],
            [one.high for one in intervals],
            "points",
        )
        model = figures.Series(
            "FLOP model (derived)", steps, [model_ratio(rows, one) for one in steps], kind="fit"
        )
        panels.append(
            figures.Panel(
                [measured, model],
                x_label="inner steps N",
                y_label="time of MAML / time of ANIL",
                title=phase,
                ticks=steps,
                lines={f"stated by Raghu et al. ({PUBLISHED[seconds]:g}x)": PUBLISHED[seconds]},
                y_limits=(0.0, None),
            )
        )
    figures.draw(panels, folder / "ratio.png", title="How much longer MAML takes")
    return Picture(
        "ratio.png",
        "Time of MAML over time of ANIL, per meta-step and per adaptation to one task, with 95 % intervals over "
        "seeds. Grey: the model that counts the passes through the body and nothing else. The horizontal line is "
        "what Raghu et al. state, whose N is not stated with it.",
    )


# ---- Tables ----------------------------------------------------------------------------------------------------------


def tables(frame: pd.DataFrame) -> list[Table]:
    """The ratios beside model and publication, what a meta-step evaluates, and where the runs end."""
    cost, curves = costs(frame), courses(frame)
    found = []
    if not cost.empty:
        found += [_ratio_table(cost), _count_table(cost)]
    if not curves.empty:
        found.append(_end_table(curves))
    return found


def _ratio_table(rows: pd.DataFrame) -> Table:
    import pandas as pd

    lines = []
    for seconds, phase in _PHASES.items():
        for steps in method_courses.timed(rows):
            times = method_courses.by_method(rows, steps, seconds)
            measured = ratio(rows, seconds, steps)
            lines.append(
                {
                    "iteration of": phase,
                    "N": steps,
                    "ANIL (ms)": 1000 * times["anil"].median(),
                    "MAML (ms)": 1000 * times["maml"].median(),
                    "MAML / ANIL": measured,
                    "FLOP model": model_ratio(rows, steps),
                    "published": f"{PUBLISHED[seconds]:g}",
                    "measured / published": measured.map(lambda x, p=PUBLISHED[seconds]: x / p),
                }
            )
    return Table(
        "What an iteration costs",
        pd.DataFrame(lines),
        "Training: one meta-step of B tasks with its update. Adaptation: one task, from images to answers. Times "
        "are medians over rounds and seeds; the ratio is a geometric mean with its 95 % interval over seeds. "
        "*Published* is stated by Raghu et al. without an N beside it, so it stands beside every N.",
    )


def _count_table(rows: pd.DataFrame) -> Table:
    names = {
        "gradients": "gradients",
        "hessian_vector": "Hessian-vector products",
        "mixed": "mixed products",
        "body_forward": "body forward",
        "body_backward": "body backward",
        "body_backward_again": "body backward again",
        "head_parameters": "n_w",
        "body_parameters": "n_phi",
        "gradient_entries": "gradient entries",
        "second_order_entries": "second-order entries",
    }
    first = rows[rows["seed"] == rows["seed"].min()].sort_values(["inner_steps", "method"])
    shown = first.assign(method=first["method"].map(WORDS), N=first["inner_steps"])
    return Table(
        "What a meta-step evaluates, for one task",
        shown[["method", "N", *names]].rename(columns=names).reset_index(drop=True),
        "n_w: parameters that adapt; n_phi: parameters that do not. For MAML the body is part of what adapts, so "
        "its gradients and products run the body; ANIL's touch the head alone.",
    )


def _end_table(rows: pd.DataFrame) -> Table:
    import pandas as pd

    end_of_maml = rows.loc[rows["method"] == "maml", "meta_step"].max()
    lines = []
    for method, runs in rows.groupby("method"):
        for step in sorted({end_of_maml, runs["meta_step"].max()} & set(runs["meta_step"])):
            here = runs[runs["meta_step"] == step]
            lines.append(
                {
                    "method": WORDS[str(method)],
                    "meta-steps": int(step),
                    "seconds": here["seconds"].median(),
                    "training loss (nats)": statistics.mean(here["train_loss"]),
                    "test loss (nats)": statistics.mean(here["test_loss"]),
                    "test accuracy (%)": statistics.mean(here["accuracy"]),
                    "diverged": int((here["diverged"].astype(str) == "True").sum()),
                }
            )
    return Table(
        "Where the runs end, and ANIL where MAML ends", pd.DataFrame(lines), _end_note(rows)
    )


def _end_note(rows: pd.DataFrame) -> str:
    """What the rules compare, and how much ANIL spends to get where MAML ends."""
    places = {
        "seconds": method_courses.meeting_point(rows, "seconds"),
        "second-order entries": method_courses.meeting_point(rows, "second_order_entries"),
    }
    met = [f"at equal {name} at MAML's meta-step {step}" for name, step in places.items() if step]
    spent = method_courses.entries_ratio(rows)
    there = (
        f" ANIL reaches MAML's last test loss with {spent.center:.2g} times as many second-order entries "
        f"(95 % interval {spent.low:.2g} to {spent.high:.2g})."
        if math.isfinite(spent.center)
        else ""
    )
    return (
        "The runs are of different length on purpose; the rules compare them at equal meta-steps where MAML ends"
        f"{''.join(', and ' + one for one in met)}.{there}"
    )


EXPERIMENT = Experiment(
    name=NAME,
    title="ANIL and MAML in one set-up",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
