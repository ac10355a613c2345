"""P6 and P9: what an inner step adds to the seconds of a meta-step, on a frozen point's learner and beside MAML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import anil_vs_maml, sweeps
from anil_tf.study.predictions import meta_steps
from anil_tf.study.predictions.meta_steps import NO_WIDTH, with_width
from anil_tf.study.predictions.prediction import UNKNOWN, Found, Prediction
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

TIMED = (1, 10, 30)  # N
CHEAP = 0.05  # b/a: one inner step over all that a meta-step takes whatever N is
FLAT = 1.1  # seconds at the largest N over those at the smallest: for MAML the model says 7.75
_SECONDS = "seconds_per_meta_step"

RULES = {
    "P6": Rule(
        "P6: since the body's features are kept while the head adapts, a meta-step takes a + b N seconds with b << a: "
        f"an inner step costs less than {100 * CHEAP:g} % of the fixed part.",
        f"b/a, a and b by least squares on each seed from meta-steps of P5's learner with N = "
        f"{', '.join(map(str, TIMED))}, timed alone. Student's 95 % interval over seeds. Supported if the whole "
        f"interval lies below {CHEAP:g}, not supported if above, else inconclusive, as where a is not above 0 on some "
        f"seed. {NO_WIDTH} Where this puts the N that is best in time, beside the one that is best in work, is shown "
        "and not judged.",
        "b / a",
    ),
    "P9 flat": Rule(
        "P9: the time of ANIL's meta-step on the usual body is flat in N, since the body runs once: at the largest "
        f"timed N it is at most {100 * (FLAT - 1):.0f} % longer than at the smallest.",
        "Seconds of a meta-step of ANIL, conv4 at the scale's width, at the largest N that was timed over those at the "
        f"smallest ({anil_vs_maml.TIMED_INNER_STEPS[-1]} and {anil_vs_maml.TIMED_INNER_STEPS[0]}, but at smoke), "
        f"geometric mean with Student's 95 % interval over seeds. Supported if the whole interval lies below {FLAT:g}, "
        f"not supported if above, else inconclusive. {NO_WIDTH} The ratio to MAML, (9N + 3)/6, is judged once, by the "
        f"rule flop_model of the experiment {anil_vs_maml.NAME}.",
        "seconds of ANIL, largest N / smallest N",
    ),
}


# ---- Cells -----------------------------------------------------------------------------------------------------------


def timing_cells(scale: Scale, data: Data) -> list[Cell]:
    """P6: the meta-step of P5's learner, alone, for each seed and the N of `TIMED`."""
    if scale.name == "smoke":
        return []
    descents = {
        one.settings["seed"]: one.settings for one in meta_steps.strongly_convex_cells(scale, data)
    }
    names = ("dataset", "data_dir", "body", "filters", "ways", "shots", "queries", "inner_l2")
    shared = (*names, "meta_batch_size", "seed", "outer_step_size")
    settings: dict[str, Scalar] = {
        "adapted_layers": 1,
        "inner_step_size": 0.1,  # time does not depend on it
        "differentiation": "explicit",
        "optimizer": "sgd",
        "normalization": "episode",
        "repeats": scale.timing_steps,
    }
    return [
        Cell(
            "timing.run",
            {name: descent[name] for name in shared} | settings | {"inner_steps": steps},
            alone=True,
        )
        for descent in descents.values()
        for steps in TIMED
    ]


def cost_cells(scale: Scale, data: Data) -> list[Cell]:
    """P9: the very cells of `anil_vs_maml`, which are then run once for both."""
    return [one for one in anil_vs_maml.cells(scale, data) if one.kind == anil_vs_maml.COST]


# ---- P6 --------------------------------------------------------------------------------------------------------------


def lines_of_time(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The a and b of seconds = a + b N, by least squares on the timings of each seed, [seeds] each."""
    n, seconds = _timings(frame)
    if len(n) < 2 or not np.isfinite(seconds).all():
        return np.zeros(0), np.zeros(0)
    b, a = np.polyfit(n, seconds.T, 1)
    return a, b


def _timings(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """N, [points], and seconds of a meta-step, [seeds, points]."""
    rows = results.rows_of(frame, sweeps.TIMING)
    if rows.empty:
        return np.zeros(0), np.zeros([0, 0])
    n, seconds = statistics.by_seed(rows, "inner_steps", _SECONDS)
    return n.astype(float), seconds


def cheap_steps(frame: pd.DataFrame) -> dict[str, Found]:
    """P6."""
    a, b = lines_of_time(frame)
    if not len(a) or not (a > 0).all():
        return {"P6": (UNKNOWN, INCONCLUSIVE)}
    share = statistics.mean(b / a)
    return {"P6": with_width(share, statistics.decide(share, "below", than=CHEAP))}


def best_steps(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The N of P5 with the least work K N, and that with the least time K (a + b N), [seeds] each.

    Both are empty where K or the time is not known, or not for the same number of seeds.
    """
    _, steps, found = meta_steps.to_a_loss(frame)
    a, b = lines_of_time(frame)
    if not len(steps) or len(a) != len(found):
        return np.zeros(0), np.zeros(0)
    time = found * (a[:, None] + b[:, None] * steps)
    return steps[(found * steps).argmin(axis=1)], steps[time.argmin(axis=1)]


# ---- P9 --------------------------------------------------------------------------------------------------------------


def relative_times(frame: pd.DataFrame, method: str) -> dict[int, Interval]:
    """Seconds of a meta-step over those at the smallest N, for each N that was timed.

    Args:
        frame: all results.
        method: "anil" or "maml".
    """
    rows = anil_vs_maml.costs(frame)
    if rows.empty:
        return {}
    n, seconds = statistics.by_seed(rows[rows["method"] == method], "inner_steps", _SECONDS)
    return {
        int(steps): statistics.ratio(column, seconds[:, 0])
        for steps, column in zip(n, seconds.T, strict=True)
    }


def flat_time(frame: pd.DataFrame) -> dict[str, Found]:
    """P9."""
    found = relative_times(frame, "anil")
    if len(found) < 2:
        return {"P9 flat": (UNKNOWN, INCONCLUSIVE)}
    last = found[max(found)]
    return {"P9 flat": with_width(last, statistics.decide(last, "below", than=FLAT))}


# ---- Pictures --------------------------------------------------------------------------------------------------------


def time_panels(frame: pd.DataFrame) -> list[Panel]:
    """Seconds of a meta-step against N, and K (a + b N) beside K N."""
    from anil_tf.study import figures

    a, b = lines_of_time(frame)
    if not len(a):
        return []
    n, seconds = _timings(frame)
    start, step = a.mean(), b.mean()
    panels = [
        figures.Panel(
            [
                meta_steps.points(n, seconds, "timed", 0),
                figures.Series(f"{start:.3g} + {step:.2g} N", n, start + step * n, kind="fit"),
            ],
            x_label="inner steps N",
            y_label="seconds of a meta-step",
            title="a + b N",
            y_limits=(0.0, None),
        )
    ]
    _, steps, found = meta_steps.to_a_loss(frame)
    if len(steps) and len(found) == len(a):
        series = []
        costs = {"time K (a + b N)": a[:, None] + b[:, None] * steps, "work K N": 1.0 * steps}
        for style, (label, cost) in enumerate(costs.items()):
            relative = found * cost
            relative = relative / relative.min(axis=1, keepdims=True)
            series.append(meta_steps.points(steps, relative, label, style))
        panels.append(
            figures.Panel(
                series,
                x_label="inner steps N",
                y_label="cost / least cost",
                title="where is the best N?",
                log_x=True,
                log_y=True,
                ticks=list(steps),
            )
        )
    return panels


def flat_panels(frame: pd.DataFrame) -> list[Panel]:
    """How the time of either method grows with N, beside the model of MAML's."""
    from anil_tf.study import figures

    series = []
    for style, (method, label) in enumerate((("anil", "ANIL"), ("maml", "MAML"))):
        found = relative_times(frame, method)
        if not found:
            return []
        center, low, high = (
            [getattr(one, end) for one in found.values()] for end in ("center", "low", "high")
        )
        series.append(figures.Series(label, list(found), center, low, high, "points", style))
    steps = list(found)
    rows = anil_vs_maml.costs(frame)
    # ANIL's work does not depend on N, so that the ratio of the methods grows as MAML's work does.
    model = np.array([anil_vs_maml.model_ratio(rows, n) for n in steps])
    return [
        figures.Panel(
            [*series, figures.bound(steps, list(model / model[0]), "derived FLOP model of MAML")],
            x_label="inner steps N",
            y_label=f"seconds of a meta-step / at N = {steps[0]}",
            title="the body runs once",
            ticks=steps,
            log_y=True,
        )
    ]


# ---- Tables ----------------------------------------------------------------------------------------------------------


def time_table(frame: pd.DataFrame) -> Table | None:
    """a, b and the best N of each seed."""
    import pandas as pd

    a, b = lines_of_time(frame)
    if not len(a):
        return None
    in_work, in_time = best_steps(frame)
    names = sorted(results.rows_of(frame, sweeps.TIMING)["seed"].unique())
    lines = [
        {
            "seed": int(seed),
            "a (ms)": 1000 * a[place],
            "b (ms)": 1000 * b[place],
            "b / a": b[place] / a[place],
            "best N in work": int(in_work[place]) if len(in_work) else "-",
            "best N in time": int(in_time[place]) if len(in_time) else "-",
        }
        for place, seed in enumerate(names)
    ]
    note = (
        "A meta-step of P5's learner takes a + b N. The best N are those of P5 with the least K N and the least "
        "K (a + b N): they are shown, and not judged."
    )
    return Table("P6: the time of a meta-step", pd.DataFrame(lines), note)


def flat_table(frame: pd.DataFrame) -> Table | None:
    """How the time of either method grows with N; and what the experiment about both says of their ratio."""
    import pandas as pd

    anil, maml = (relative_times(frame, method) for method in ("anil", "maml"))
    if not anil or not maml:
        return None
    lines = [{"N": n, "ANIL": anil[n], "MAML": maml[n]} for n in anil if n in maml]
    ratio, verdict = anil_vs_maml.flop_model(anil_vs_maml.costs(frame))
    worst = (
        ""
        if math.isnan(ratio.center)
        else f" (measured / model where it is worst: {ratio.center:.2f})"
    )
    note = (
        "Seconds of a meta-step over those at the smallest N, geometric means with 95 % intervals over seeds. That "
        "MAML takes (9N + 3)/6 times as long as ANIL is judged by the rule flop_model of the experiment "
        f"{anil_vs_maml.NAME}: {verdict}{worst}."
    )
    return Table("P9: how the time grows with N", pd.DataFrame(lines), note)


P6 = Prediction(
    "P6",
    "P6: an inner step costs next to no time",
    "T(N) = K(N) (a + b N). The features are computed once, so b is small beside a, and the best N in time lies to the "
    "right of the best N in work.",
    "Left: seconds of a meta-step of P5's learner, timed alone. Right: time and work to the loss of P5, relative to "
    "the best N on each seed. With 95 % intervals over seeds.",
    {"P6": RULES["P6"]},
    timing_cells,
    cheap_steps,
    time_panels,
    time_table,
)
P9 = Prediction(
    "P9",
    "P9: MAML's time grows with N, ANIL's does not",
    "An iteration of MAML takes (9N + 3)/6 times as long as one of ANIL where the body's work dominates, because "
    f"ANIL's body runs once: ANIL's time is flat in N. Flatness is judged here, the ratio in `{anil_vs_maml.NAME}`; "
    "both are timed in turns on conv4, in the same cells.",
    "Seconds of a meta-step of either method over those at the smallest N; 95 % intervals over seeds.",
    {"P9 flat": RULES["P9 flat"]},
    cost_cells,
    flat_time,
    flat_panels,
    flat_table,
)
