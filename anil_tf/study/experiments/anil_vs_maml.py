"""Experiment 4: ANIL beside MAML in one set-up. What does adapting a part save, and what does it cost?"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import usual_setting
from anil_tf.study.experiments.usual_setting import INNER_STEPS
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

NAME = "anil_vs_maml"
TRAINING, COST = "training.run", "meta_step_cost.run"  # kinds of cells
TIMED_INNER_STEPS = (1, 5, 10)
# Raghu et al. 2020 (arXiv:1909.09157): how many times as long as ANIL's an iteration of MAML takes.
PUBLISHED = {"seconds_per_meta_step": 1.7, "seconds_per_adaptation": 4.1}
TOLERANCE = 1.5  # a FLOP model that is off by less is a good one
MARGIN = 2.0  # points of accuracy; in the published table MAML is ahead by up to 1.6
_PHASES = {"seconds_per_meta_step": "training", "seconds_per_adaptation": "adaptation"}
_WORDS = {"anil": "ANIL", "maml": "MAML"}
_UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)

_TURNS = (
    "Both are timed in turns in one process, alone on the machine; a time is the median over rounds, the ratio one "
    "number for each seed (a process of its own), the interval Student's 95 % of its logarithm over seeds."
)
RULES = {
    "training": Rule(
        "A training iteration of MAML takes at least 1.7 times as long as one of ANIL (the speed-up that Raghu et "
        "al. state).",
        f"Seconds of a meta-step of second-order MAML over those of ANIL, both with N = {INNER_STEPS}. {_TURNS} "
        "Supported if the whole interval lies above 1.7, not supported if all of it lies below, else inconclusive.",
        f"MAML / ANIL in training, N = {INNER_STEPS}",
    ),
    "adaptation": Rule(
        "An adaptation of MAML takes at least 4.1 times as long as one of ANIL (the speed-up that Raghu et al. state).",
        f"Seconds to adapt to one task and answer its queries, MAML over ANIL, both with N = {INNER_STEPS}. {_TURNS} "
        "Supported if the whole interval lies above 4.1, not supported if all of it lies below, else inconclusive.",
        f"MAML / ANIL in adaptation, N = {INNER_STEPS}",
    ),
    "flop_model": Rule(
        "The work of the body explains the ratio: (9Ns + 3q) / (3(s + q)), in training and in adaptation (derived).",
        f"Measured ratio over that of the model, for N = {', '.join(map(str, TIMED_INNER_STEPS))} in training and in "
        f"adaptation. {_TURNS} Here the intervals hold 95 % together (Bonferroni), since any one of them may refute. "
        f"Supported if every interval lies within 1/{TOLERANCE:g} to {TOLERANCE:g}, not supported if one lies wholly "
        "outside, else inconclusive. The number shown is the worst of them.",
        "measured / model, where it is worst",
    ),
    "accuracy": Rule(
        f"At the same number of meta-steps ANIL is as accurate as MAML, up to {MARGIN:g} points (Raghu et al.: "
        "adapting the head is enough).",
        "Accuracy on fixed tasks of the test classes, ANIL minus MAML, at the last meta-step of the MAML run, on "
        "each seed from the same initial weights; ANIL's between checkpoints by a straight line. Student's 95 % "
        f"interval over seeds. Supported if the whole interval lies above -{MARGIN:g} points, not supported if all "
        "of it lies below, else inconclusive. A run that diverged has no accuracy: inconclusive.",
        "test accuracy, ANIL - MAML",
        "points",
    ),
    "accuracy_in_time": Rule(
        "In the same time ANIL becomes more accurate than MAML.",
        "Accuracy on fixed tasks of the test classes, ANIL minus MAML, at the seconds that the MAML run takes: "
        "meta-steps times the seconds of a meta-step timed alone. If ANIL's run is over by then, its last accuracy "
        "counts. Student's 95 % interval over seeds. Supported if the whole interval lies above 0, not supported if "
        "all of it lies below, else inconclusive.",
        "test accuracy, ANIL - MAML, after the same seconds",
        "points",
    ),
    "second_order": Rule(
        "ANIL reaches the loss at which MAML ends with less second-order information (the paper's comparison, "
        "attributed).",
        "Entries of the second-order matrices behind the products, N n_w (n_w + n_phi) for ANIL and N (n_w + "
        "n_phi)^2 for MAML per task and meta-step, until the test loss has fallen to that of MAML's last "
        "checkpoint: ANIL over MAML, geometric mean over seeds with Student's 95 % interval of its logarithm. "
        "Supported if the whole interval lies below 1, not supported if above, else inconclusive, as where ANIL "
        "does not get there on some seed, or begins below it.",
        "entries, ANIL / MAML",
    ),
}

QUESTION = f"""\
Raghu et al. found that MAML hardly changes the body when it adapts, left the body out, and called the rest ANIL: *1.7
times faster per training iteration and 4.1 times per inference iteration*, at almost the same accuracy. The paper
counts what that saves on the way to a given accuracy. A reviewer of the paper asked to see both converge in one
set-up.

**The set-up.** The same network, tasks, initial weights and settings for both ({usual_setting.IN_WORDS}); MAML adapts
all layers, ANIL the last one. Both meta-gradients are exact. Each method has its faster engine: Proposition 1 for
ANIL (`explicit`), and back-propagation through the inner loop for MAML (`unrolled`, about 5 % faster than `explicit`
there).

**The bill.** With the forward pass of one image as the unit, a backward pass 2 and a backward pass through that one
4, a meta-step of MAML on s support and q query images costs 9Ns + 3q, and one of ANIL, whose body runs once whatever
N is, 3(s + q). Adaptation alone needs no outer derivative and costs a third of both: 3Ns + q and s + q. So the ratio
should be *the same* in training and in adaptation, (9Ns + 3q) / (3(s + q)): 2, 8 and 15.5 for N = 1, 5 and 10 with as
many queries as support images. The published pair, 1.7 and 4.1, is not of that shape; the N that it was taken at is
not stated with it.

**Four currencies.** Accuracy is shown against meta-steps, against seconds, against gradient entries ((N+1) n_w +
n_phi for ANIL, (N+1)(n_w + n_phi) for MAML) and against second-order entries (N n_w (n_w + n_phi), and N (n_w +
n_phi)^2), n_w and n_phi being the parameters of head and body. The evaluations are counted on the engines
(`anil_tf/theory/complexity.py`); entries are how the paper's comparison weighs them (attributed).
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """For each seed a training run of either method, and a process that times both."""
    runs = {"MAML": scale.maml_meta_steps, "ANIL": scale.meta_steps}
    training = [
        Cell(
            "anil_tf.study.training:run",
            usual_setting.settings(scale, data, seed=seed, method=method, meta_steps=meta_steps),
        )
        for method, meta_steps in runs.items()
        for seed in scale.seeds
    ]
    # Half a minute each, most of it spent on compiling MAML: the smallest scale times on one seed only.
    timed = scale.seeds[:1] if scale.name == "smoke" else scale.seeds
    return training + [_cost_cell(scale, data, seed) for seed in timed]


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
    timed = [steps for steps in TIMED_INNER_STEPS if steps <= max(scale.inner_steps)]
    return Cell(
        "anil_tf.study.measurements.meta_step_cost:run",
        {
            **{key: value for key, value in usual.items() if key not in not_its_own},
            "compared_inner_steps": " ".join(map(str, timed)),
            "engine_of_anil": usual_setting.ENGINES["ANIL"],
            "engine_of_maml": usual_setting.ENGINES["MAML"],
            "repeats": scale.timing_steps,
        },
        alone=True,
    )


# ---- What a meta-step costs ------------------------------------------------------------------------------------------


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each seed, method and N, with entries of gradients and of second order for one task and meta-step."""
    rows = results.rows_of(frame, COST)
    if rows.empty:
        return rows
    head, body = rows["head_parameters"], rows["body_parameters"]
    return rows.assign(
        gradient_entries=rows["gradients"] * head + rows["body_backward"] * body,
        second_order_entries=rows["hessian_vector"] * head**2.0 + rows["mixed"] * head * body,
    )


def ratio(
    rows: pd.DataFrame,
    seconds: str,
    inner_steps: int,
    confidence: float = statistics.CONFIDENCE,
) -> Interval:
    """MAML / ANIL.

    Args:
        rows: from `costs`.
        seconds: a column of `PUBLISHED`.
        inner_steps: N.
        confidence: see `statistics.mean`.
    """
    times = _by_method(rows, inner_steps, seconds)
    return statistics.ratio(times["maml"], times["anil"], confidence) if len(times) else _UNKNOWN


def model_ratio(rows: pd.DataFrame, inner_steps: int) -> float:
    """MAML / ANIL by the work of the body; nan if nothing was counted."""
    work = _by_method(rows, inner_steps, "body_work")
    return float((work["maml"] / work["anil"]).median()) if len(work) else math.nan


def _by_method(rows: pd.DataFrame, inner_steps: int, column: str) -> pd.DataFrame:
    """Seeds down, "anil" and "maml" to the right; missing where one was not measured."""
    if rows.empty:
        return rows
    part = rows[rows["inner_steps"] == inner_steps]
    return part.pivot(index="seed", columns="method", values=column).reindex(columns=list(_WORDS))


# ---- Curves of training ----------------------------------------------------------------------------------------------


def courses(frame: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints of both methods, with what had been spent by then.

    Returns:
        The training rows, and `method` ("anil", "maml"), `accuracy` (on the test classes, in per cent), `seconds`,
        `gradient_entries` and `second_order_entries`; missing where the cost of a meta-step is not known.
    """
    import pandas as pd

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return rows
    adapts_all = rows["adapted_layers"].astype(str) == "all"
    rows = rows.assign(
        method=np.where(adapts_all, "maml", "anil"), accuracy=100 * rows["test_accuracy"]
    )
    spent = {
        "seconds": "seconds_per_meta_step",
        "gradient_entries": "gradient_entries",
        "second_order_entries": "second_order_entries",
    }
    cost = costs(frame)
    if cost.empty:
        return rows.assign(**dict.fromkeys(spent, math.nan))
    # Neither time nor counts depend on the seed: one axis for all.
    per_step = cost.groupby(["method", "inner_steps"], as_index=False)[
        list(spent.values())
    ].median()
    joined = rows.merge(per_step, on=["method", "inner_steps"], how="left", suffixes=("", "_one"))
    of_tasks = joined["meta_step"] * joined["meta_batch_size"]
    joined["seconds"] = joined["meta_step"] * joined["seconds_per_meta_step"]
    for name in ("gradient_entries", "second_order_entries"):
        joined[name] = of_tasks * joined[name]
    return pd.DataFrame(joined.sort_values(["method", "seed", "meta_step"], ignore_index=True))


def ahead(rows: pd.DataFrame, axis: str) -> Interval:
    """ANIL's accuracy minus MAML's where MAML's run ends, in points.

    Args:
        rows: from `courses`.
        axis: the column along which the two are compared.
    """
    differences = []
    for anil, maml in _pairs(rows):
        end = maml.iloc[-1]
        known = np.isfinite([*anil[axis], end[axis]]).all()
        # `interp` keeps the last value beyond the end.
        here = np.interp(end[axis], anil[axis], anil["accuracy"]) if known else math.nan
        differences.append(here - end["accuracy"])
    return statistics.mean(differences)


def entries_ratio(rows: pd.DataFrame, axis: str = "second_order_entries") -> Interval:
    """What ANIL spends until it has the test loss at which MAML ends, over what MAML spent.

    Args:
        rows: from `courses`.
        axis: the column of what is spent.
    """
    spent = []
    for anil, maml in _pairs(rows):
        end = maml.iloc[-1]
        known = np.isfinite([*anil[axis], end[axis], end["test_loss"]]).all()
        reached = (
            statistics.first_step_below(anil[axis], anil["test_loss"], end["test_loss"])
            if known
            else math.nan
        )
        spent.append((reached, end[axis]))
    if not spent:
        return _UNKNOWN
    return statistics.ratio(*np.transpose(spent))


def _pairs(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The runs of ANIL and of MAML, seed by seed; a run that is missing is one checkpoint of missing numbers."""
    import pandas as pd

    if rows.empty:
        return []
    missing = pd.DataFrame([dict.fromkeys(rows.columns, math.nan)])
    pairs = []
    for _, of_seed in rows.groupby("seed"):
        runs = [of_seed[of_seed["method"] == method] for method in _WORDS]
        pairs.append(tuple(missing if run.empty else run for run in runs))
    return pairs


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    cost, curves = costs(frame), courses(frame)
    found: dict[str, tuple[Interval, Verdict]] = {}
    for seconds, phase in _PHASES.items():
        interval = ratio(cost, seconds, INNER_STEPS)
        found[phase] = interval, statistics.decide(interval, "above", than=PUBLISHED[seconds])
    found["flop_model"] = _model_verdict(cost)
    interval = ahead(curves, "meta_step") if len(curves) else _UNKNOWN
    found["accuracy"] = interval, statistics.decide(interval, "above", than=-MARGIN)
    interval = ahead(curves, "seconds") if len(curves) else _UNKNOWN
    found["accuracy_in_time"] = interval, statistics.decide(interval, "above")
    interval = entries_ratio(curves)
    found["second_order"] = interval, statistics.decide(interval, "below", than=1.0)
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


def _model_verdict(rows: pd.DataFrame) -> tuple[Interval, Verdict]:
    """The interval that is furthest from 1, and what all of them say together."""
    parts = [(seconds, steps) for steps in _timed(rows) for seconds in PUBLISHED]
    if not parts:
        return _UNKNOWN, statistics.all_of([])
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


def _timed(rows: pd.DataFrame) -> Sequence[int]:
    return [] if rows.empty else sorted(int(steps) for steps in rows["inner_steps"].unique())


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
    named = rows.assign(method=rows["method"].map(_WORDS))
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

    steps = _timed(rows)
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
        for steps in _timed(rows):
            times = _by_method(rows, steps, seconds)
            lines.append(
                {
                    "iteration of": phase,
                    "N": steps,
                    "ANIL (ms)": 1000 * times["anil"].median(),
                    "MAML (ms)": 1000 * times["maml"].median(),
                    "MAML / ANIL": ratio(rows, seconds, steps),
                    "FLOP model": model_ratio(rows, steps),
                    "published": f"{PUBLISHED[seconds]:g}",
                }
            )
    return Table(
        "What an iteration costs",
        pd.DataFrame(lines),
        "Training: one meta-step of B tasks with its update. Adaptation: one task, from images to answers. Times "
        "are medians over rounds and seeds; the ratio is a geometric mean with its 95 % interval over seeds. "
        "*Published* is stated by Raghu et al. without an N beside it.",
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
    shown = first.assign(method=first["method"].map(_WORDS), N=first["inner_steps"])
    return Table(
        "What a meta-step evaluates, for one task",
        shown[["method", "N", *names]].rename(columns=names).reset_index(drop=True),
        "n_w: parameters that adapt; n_phi: parameters that do not. For MAML the body is part of what adapts, so "
        "its gradients and products run the body; ANIL's touch the head alone.",
    )


def _end_table(rows: pd.DataFrame) -> Table:
    import pandas as pd

    lines = []
    for method, runs in rows.groupby("method"):
        last = runs[runs["meta_step"] == runs["meta_step"].max()]
        lines.append(
            {
                "method": _WORDS[str(method)],
                "meta-steps": int(last["meta_step"].iloc[0]),
                "seconds": last["seconds"].median(),
                "training loss (nats)": statistics.mean(last["train_loss"]),
                "test loss (nats)": statistics.mean(last["test_loss"]),
                "test accuracy (%)": statistics.mean(last["accuracy"]),
                "diverged": int((last["diverged"].astype(str) == "True").sum()),
            }
        )
    return Table(
        "Where the runs end",
        pd.DataFrame(lines),
        "The runs are of different length on purpose; the rules compare them at equal meta-steps, seconds or entries.",
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
