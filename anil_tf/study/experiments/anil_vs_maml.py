"""Experiment 4: ANIL beside MAML in one set-up. What does adapting a part save, and what does it cost?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from anil_tf.study import figures, results, statistics, sweeps, usual_setting
from anil_tf.study.cell import Cell
from anil_tf.study.claims import (
    ATTRIBUTED,
    DERIVATION,
    RAGHU,
    REVIEWER,
    Above,
    Below,
    Claim,
    Gate,
    Measured,
    Within,
)
from anil_tf.study.experiment import Data, Experiment, Picture, Table
from anil_tf.study.figures import Panel
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN, Interval
from anil_tf.study.sweeps import TRAINING
from anil_tf.study.usual_setting import INNER_STEPS

COST = "meta_step_cost.run"  # kind of the cells that time both methods
METHODS = ("ANIL", "MAML")
TIMED_INNER_STEPS = (1, 5, 10)
# What is timed, and how many times as long as ANIL's an iteration of MAML takes by Raghu et al. (arXiv:1909.09157).
PHASES = {"training": ("seconds_per_meta_step", 1.7), "adaptation": ("seconds_per_adaptation", 4.1)}
TOLERANCE = 1.5  # a FLOP model that is off by less is a good one
MARGIN = 2.0  # points of accuracy; in the published table MAML is ahead by up to 1.6
# So many meta-steps of ANIL for each of MAML. More would take as long: at equal time the two meet within MAML's run.
LONGER = 5
# A margin of 2 points asks for more tasks than a curve: if single tasks scatter by 10 points, the mean of 160 by 0.8.
EVALUATION_TASKS = {"small": 160, "long": 160}
# MAML adapts in about a third of the time of its meta-step: so many checkpoints of it are enough for the curve.
CHECKPOINTS_OF_MAML = {"small": 5, "long": 5}

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

**Four currencies.** Accuracy is shown against meta-steps, seconds, gradient entries ((N+1) n_w + n_phi for ANIL,
(N+1)(n_w + n_phi) for MAML) and second-order entries (N n_w (n_w + n_phi), and N (n_w + n_phi)^2), n_w and n_phi
being the parameters of head and body. The evaluations are counted on the engines (`anil_tf/theory/complexity.py`); to
weigh them by entries is attributed to the paper.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """For each seed a training run of either method, and a process that times both."""
    ends = scale.maml_meta_steps
    shared = {
        "evaluation_tasks": max(scale.evaluation_tasks, EVALUATION_TASKS.get(scale.name, 0)),
        "evaluation_train_tasks": scale.evaluation_tasks,  # no claim asks for more
    }
    own = {
        "MAML": {
            "meta_steps": ends,
            "checkpoints": CHECKPOINTS_OF_MAML.get(scale.name, scale.checkpoints),
        },
        "ANIL": {"meta_steps": max(scale.meta_steps, LONGER * ends), "extra_checkpoint": ends},
    }
    # A short run of MAML, and its timing, is mostly compiling it: smoke, which decides nothing, does so for one seed.
    seeds = scale.seeds[:1] if scale.name == "smoke" else scale.seeds
    runs = [
        usual_setting.training_cell(scale, data, seed=seed, method=method, **shared, **changes)
        for method, changes in own.items()
        for seed in seeds
    ]
    return runs + [_cost_cell(scale, data, seed) for seed in seeds[:3]]


def _cost_cell(scale: Scale, data: Data, seed: int) -> Cell:
    of_training = ("meta_steps", "checkpoints", "evaluation_tasks")
    of_a_method = ("adapted_layers", "inner_steps", "differentiation")
    usual = usual_setting.settings(scale, data, seed=seed)
    timed = (INNER_STEPS,) if scale.name == "smoke" else TIMED_INNER_STEPS
    return Cell(
        COST,
        {
            **{key: usual[key] for key in usual if key not in of_training + of_a_method},
            "compared_inner_steps": " ".join(map(str, timed)),
            "engine_of_anil": usual_setting.ENGINES["ANIL"],
            "engine_of_maml": usual_setting.ENGINES["MAML"],
            "repeats": scale.timing_steps,
        },
        alone=True,
    )


# ---- What an iteration costs -----------------------------------------------------------------------------------------


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each seed, method and N, with entries of gradients and of second order for one task and meta-step."""
    rows = results.rows_of(frame, COST)
    if rows.empty:
        return rows
    head, body = rows["head_parameters"], rows["body_parameters"]
    return rows.assign(
        method=rows["method"].str.upper(),
        gradient_entries=rows["gradients"] * head + rows["body_backward"] * body,
        second_order_entries=rows["hessian_vector"] * head**2.0 + rows["mixed"] * head * body,
    )


def ratio(rows: pd.DataFrame, column: str, confidence: float = statistics.CONFIDENCE) -> Interval:
    """A column of MAML over that of ANIL on the same seeds, from `costs` at one N; missing where one was not run."""
    found = rows.pivot(index="seed", columns="method", values=column).reindex(columns=METHODS)
    return statistics.ratio(found["MAML"], found["ANIL"], confidence)


def _over(interval: Interval, expected: float) -> Interval:
    return interval.map(lambda number: number / expected)


def speed_up(frame: pd.DataFrame, seconds: str) -> Interval | None:
    """The time of MAML over that of ANIL at the usual N."""
    rows = costs(frame)
    return None if rows.empty else ratio(rows[rows["inner_steps"] == INNER_STEPS], seconds)


def flop_model(frame: pd.DataFrame) -> Measured | None:
    """The measured ratios over the model's, with joint intervals; shown is the one that is furthest from 1."""
    rows = costs(frame)
    if rows.empty:
        return None
    count = len(PHASES) * rows["inner_steps"].nunique()
    joint = 1.0 - (1.0 - statistics.CONFIDENCE) / count  # Bonferroni: any of them may refute
    intervals = [
        _over(ratio(part, seconds, joint), ratio(part, "body_work").center)
        for _, part in rows.groupby("inner_steps")
        for seconds, _ in PHASES.values()
    ]
    worst = max(
        intervals, key=lambda one: abs(math.log(one.center)) if one.center > 0 else math.inf
    )
    return Measured(worst, tuple(intervals))


# ---- Courses of training ---------------------------------------------------------------------------------------------

SPENT = ("seconds", "gradient_entries", "second_order_entries")


def courses(frame: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints of both methods, with accuracy (test classes, per cent) and what had been `SPENT` by then.

    The cost of a meta-step is the median over seeds, on which neither time nor counts depend; missing if not known.
    """
    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return rows
    adapts_all = rows["adapted_layers"].astype(str) == "all"
    rows = rows.assign(
        method=np.where(adapts_all, "MAML", "ANIL"), accuracy=100 * rows["test_accuracy"]
    ).sort_values(["method", "seed", "meta_step"], ignore_index=True)
    cost = costs(frame).rename(columns={"seconds_per_meta_step": "seconds"})
    if cost.empty:
        return rows.assign(**dict.fromkeys(SPENT, math.nan))
    keys = ["method", "inner_steps"]
    joined = rows.merge(cost.groupby(keys)[list(SPENT)].median(), on=keys, how="left")
    joined["seconds"] *= joined["meta_step"]
    for name in ("gradient_entries", "second_order_entries"):
        joined[name] *= joined["meta_step"] * joined["meta_batch_size"]
    return joined


def _both(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [rows[rows["method"] == method] for method in METHODS]


def _at(rows: pd.DataFrame, meta_step: int, column: str) -> pd.Series:
    """A column at one checkpoint of one method, by seed."""
    return rows[rows["meta_step"] == meta_step].set_index("seed")[column]


def after_equal_steps(frame: pd.DataFrame) -> Interval | None:
    """ANIL's accuracy minus MAML's at the last meta-step of MAML's run, in points."""
    rows = courses(frame)
    if rows.empty:
        return None
    anil, maml = _both(rows)
    end = maml["meta_step"].max()
    # A seed that only one method has becomes a missing number.
    return statistics.mean(_at(anil, end, "accuracy") - _at(maml, end, "accuracy"))


def meeting_point(rows: pd.DataFrame, axis: str) -> int | None:
    """The last checkpoint of MAML whose expense ANIL's run comes to as well: its meta-step, the same for all seeds.

    It is 0 if ANIL's run is over before MAML's first checkpoint after the start, and None if the expense is not known.

    Args:
        rows: from `courses`.
        axis: the column of the expense, such as "seconds".
    """
    if rows.empty or not np.isfinite(rows[axis]).all():
        return None
    anil, maml = _both(rows)
    if anil.empty or maml.empty:
        return None
    return int(maml.loc[maml[axis] <= anil[axis].max(), "meta_step"].max())


def at_equal_expense(frame: pd.DataFrame, axis: str, value: str) -> Interval | None:
    """A column at the `meeting_point`, ANIL minus MAML; ANIL between its checkpoints by a straight line."""
    rows = courses(frame)
    if rows.empty:
        return None
    place = meeting_point(rows, axis)
    if not place:
        return UNKNOWN
    anil, maml = _both(rows)
    spent = _at(maml, place, axis).iloc[0]
    of_anil = {seed: np.interp(spent, run[axis], run[value]) for seed, run in anil.groupby("seed")}
    return statistics.mean(pd.Series(of_anil) - _at(maml, place, value))


def expense_of_equal_loss(rows: pd.DataFrame, axis: str) -> Interval:
    """What ANIL spends until it has the test loss at which MAML ends, over what MAML spent; from `courses`."""
    if meeting_point(rows, axis) is None:
        return UNKNOWN
    anil, maml = _both(rows)
    ends = maml[maml["meta_step"] == maml["meta_step"].max()].set_index("seed")
    losses = ends["test_loss"].reindex(anil["seed"].unique())
    reached = [
        statistics.first_step_below(run[axis], run["test_loss"], losses[seed])
        for seed, run in anil.groupby("seed")
    ]
    return statistics.ratio(reached, ends[axis].reindex(losses.index))


# ---- Claims ----------------------------------------------------------------------------------------------------------

_TURNS = (
    "Both are timed in turns in one process, alone on the machine; a time is the median over rounds, the ratio one "
    "number for each seed (a process of its own), the interval that of its logarithm."
)
_TEST_TASKS = (
    "on fixed tasks of the test classes, the same for both methods on each seed, ANIL minus MAML,"
)
_MEETING = (
    "at the last checkpoint of the MAML run whose {} ANIL's run comes to as well; ANIL's there by a straight line "
    "between its checkpoints. A run that had diverged by then leaves it open."
)
_TOO_SHORT = "ANIL's run is over before MAML's first checkpoint after the start"


def _comparable(axis: str) -> Gate:
    return Gate(
        f"Inconclusive, by design, where {_TOO_SHORT}.",
        lambda frame: _TOO_SHORT if meeting_point(courses(frame), axis) == 0 else "",
    )


def _speed_claim(phase: str, iteration: str) -> Claim:
    seconds, published = PHASES[phase]
    return Claim(
        key=phase,
        text=f"{iteration} of MAML takes at least the published {published:g} times as long as one of ANIL.",
        said_by=RAGHU,
        statistic=lambda frame: speed_up(frame, seconds),
        words=f"Seconds of second-order MAML over those of ANIL, both with N = {INNER_STEPS}: of a meta-step, or to "
        f"adapt to one task and answer its queries. {_TURNS} The N of the published number is not known; the table "
        "shows all N that were timed.",
        test=Above(published),
        number=f"MAML / ANIL in {phase}, N = {INNER_STEPS}",
    )


CLAIMS = [
    _speed_claim("training", "A training iteration"),
    _speed_claim("adaptation", "An adaptation"),
    Claim(
        key="flop_model",
        text="The work of the body explains how much longer MAML takes: (9Ns + 3q) / (3(s + q)) times.",
        said_by=DERIVATION,
        statistic=flop_model,
        words="Measured ratio over that of the model, in training and in adaptation, for each N that was timed. "
        f"{_TURNS} The intervals hold 95 % together (Bonferroni); the claim needs all of them, and one refutes it. "
        "The number shown is the worst of them.",
        test=Within(1 / TOLERANCE, TOLERANCE),
        number="measured / model, where it is worst",
    ),
    Claim(
        key="accuracy",
        text=f"At the same number of meta-steps ANIL is as accurate as MAML, up to {MARGIN:g} points.",
        said_by=RAGHU,
        statistic=after_equal_steps,
        words=f"Accuracy {_TEST_TASKS} at the last meta-step of the MAML run, where the ANIL run is evaluated, too; on "
        "each seed from the same initial weights and with the same tasks in each meta-step. A run that had diverged "
        "by then, or was not evaluated, has no accuracy.",
        test=Above(-MARGIN),
        number="test accuracy, ANIL - MAML",
        unit="points",
    ),
    Claim(
        key="accuracy_in_time",
        text="In the same time ANIL becomes more accurate than MAML.",
        said_by=REVIEWER,
        statistic=lambda frame: at_equal_expense(frame, "seconds", "accuracy"),
        words=f"Accuracy {_TEST_TASKS} {_MEETING.format('seconds')} Seconds are meta-steps times those of a meta-step "
        "timed alone, the median over seeds.",
        test=Above(0.0),
        number="test accuracy, ANIL - MAML, after the same seconds",
        unit="points",
        gate=_comparable("seconds"),
    ),
    Claim(
        key="second_order",
        text="With as much second-order information ANIL comes to a lower test loss than MAML.",
        said_by=ATTRIBUTED,
        statistic=lambda frame: at_equal_expense(frame, "second_order_entries", "test_loss"),
        words=f"Loss {_TEST_TASKS} {_MEETING.format('second-order entries')} Entries are those of the matrices behind "
        "the products, N n_w (n_w + n_phi) for ANIL and N (n_w + n_phi)^2 for MAML per task and meta-step.",
        test=Below(0.0),
        number="test loss, ANIL - MAML, after the same entries",
        unit="nats",
        gate=_comparable("second_order_entries"),
    ),
]


# ---- Pictures and tables ---------------------------------------------------------------------------------------------

_AXES = {
    "meta_step": ("meta-steps", "per meta-step"),
    "seconds": ("running time (s)", "per second"),
    "gradient_entries": ("entries of gradients evaluated", "per gradient"),
    "second_order_entries": ("entries of second-order matrices", "second order"),
}
_COUNTS = [
    *("gradients", "hessian_vector", "mixed"),
    *("body_forward", "body_backward", "body_backward_again"),
    *("head_parameters", "body_parameters", "gradient_entries", "second_order_entries"),
]


def _course_panels(frame: pd.DataFrame) -> list[Panel]:
    """Accuracy of both methods in four currencies; of two without timings and counts, one."""
    rows, panels = courses(frame), []
    for axis, (label, title) in _AXES.items() if len(rows) else ():
        log = axis.endswith("entries")
        shown = rows[rows[axis] >= (1 if log else 0)]
        if len(shown):
            lines = figures.curves(shown, x=axis, y="accuracy", by="method")
            panels.append(Panel(lines, label, "test accuracy (%)", title, log_x=log))
    return panels


def _ratio_panels(frame: pd.DataFrame) -> list[Panel]:
    """Measured ratios of time against N, with the model and what was published."""
    rows = costs(frame)
    parts = dict(list(rows.groupby("inner_steps"))) if len(rows) else {}
    models = [ratio(part, "body_work").center for part in parts.values()]
    steps = list(parts)
    return [
        Panel(
            [
                figures.points("measured", steps, [ratio(one, seconds) for one in parts.values()]),
                figures.Series("FLOP model (derived)", steps, models, kind="fit"),
            ],
            x_label="inner steps N",
            y_label="time of MAML / time of ANIL",
            title=phase,
            ticks=steps,
            lines={f"stated by Raghu et al. ({published:g}x)": published},
            y_limits=(0.0, None),
        )
        for phase, (seconds, published) in (PHASES.items() if steps else ())
    ]


def ratio_table(frame: pd.DataFrame) -> Table | None:
    """The ratios beside model and publication."""
    rows = costs(frame)
    if rows.empty:
        return None
    lines = []
    for phase, (seconds, published) in PHASES.items():
        for steps, part in rows.groupby("inner_steps"):
            times = 1000 * part.groupby("method")[seconds].median().reindex(METHODS)
            measured = ratio(part, seconds)
            lines.append(
                {
                    "iteration of": phase,
                    "N": steps,
                    "ANIL (ms)": times["ANIL"],
                    "MAML (ms)": times["MAML"],
                    "MAML / ANIL": measured,
                    "FLOP model": ratio(part, "body_work").center,
                    "published": f"{published:g}",
                    "measured / published": _over(measured, published),
                }
            )
    note = (
        "Training: one meta-step of B tasks with its update. Adaptation: one task, from images to answers. Times "
        "are medians over rounds and seeds; the ratio is a geometric mean with its 95 % interval over seeds. "
        "*Published* is stated by Raghu et al. without an N beside it, so it stands beside every N."
    )
    return Table("What an iteration costs", pd.DataFrame(lines), note)


def count_table(frame: pd.DataFrame) -> Table | None:
    """What a meta-step evaluates."""
    rows = costs(frame)
    if rows.empty:
        return None
    first = rows[rows["seed"] == rows["seed"].min()].sort_values(["inner_steps", "method"])
    counts = first[["method", "inner_steps", *_COUNTS]].rename(
        columns=lambda name: name.replace("_", " ")
    )
    note = (
        "The head is what adapts, the body what does not. For MAML the body is part of the head, so its gradients and "
        "products run the body; ANIL's touch the head alone."
    )
    return Table("What a meta-step evaluates, for one task", counts, note)


def end_table(frame: pd.DataFrame) -> Table | None:
    """Where the runs end, and ANIL where MAML ends."""
    rows = courses(frame)
    if rows.empty:
        return None
    ends = rows.groupby("method")["meta_step"].max()
    lines = [
        {
            "method": method,
            "meta-steps": int(step),
            "seconds": here["seconds"].median(),
            "training loss (nats)": statistics.mean(here["train_loss"]),
            "test loss (nats)": statistics.mean(here["test_loss"]),
            "test accuracy (%)": statistics.mean(here["accuracy"]),
            "diverged": int(sweeps.diverged(here).sum()),
        }
        for (method, step), here in rows.groupby(["method", "meta_step"])
        if step in (ends[method], ends.get("MAML"))
    ]
    note = "The runs are of different length on purpose; the claims compare them at equal meta-steps where MAML ends"
    for axis in ("seconds", "second_order_entries"):
        if place := meeting_point(rows, axis):
            note += f", and at equal {axis.replace('_', ' ')} at MAML's meta-step {place}"
    spent = expense_of_equal_loss(rows, "second_order_entries")
    if math.isfinite(spent.center):
        note += (
            f". ANIL reaches MAML's last test loss with {spent.center:.2g} times as many second-order entries (95 % "
            f"interval {spent.low:.2g} to {spent.high:.2g})"
        )
    return Table("Where the runs end, and ANIL where MAML ends", pd.DataFrame(lines), f"{note}.")


EXPERIMENT = Experiment(
    module=__name__,
    order=4,
    title="ANIL and MAML in one set-up",
    lead="Why adapt a part at all? Because it is cheaper. All layers adapted in the same set-up, which is MAML, say by "
    "how much, and at what price in accuracy.",
    question=QUESTION,
    cells=cells,
    claims=CLAIMS,
    pictures=[
        Picture(
            "accuracy.png",
            f"ANIL and MAML in one set-up, N = {INNER_STEPS}",
            "Accuracy on tasks of the test classes in four currencies: meta-steps, seconds (a meta-step timed alone), "
            "entries of gradients, and entries of the second-order matrices behind the products. Mean over seeds; "
            "bands are the range of the seeds. MAML's run has fewer meta-steps, since each costs more.",
            _course_panels,
        ),
        Picture(
            "ratio.png",
            "How much longer MAML takes",
            "Time of MAML over time of ANIL, per meta-step and per adaptation to one task, with 95 % intervals over "
            "seeds. Grey: the model that counts the passes through the body and nothing else. The horizontal line is "
            "what Raghu et al. state, whose N is not stated with it.",
            _ratio_panels,
        ),
    ],
    tables=[ratio_table, count_table, end_table],
)
