"""The predictions: verdicts from made results in which a prediction holds, fails, or cannot be seen."""

import math

import numpy as np
import pandas as pd
import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments.predictions import EXPERIMENT
from anil_tf.study.predictions import meta_smoothness, meta_steps
from anil_tf.study.predictions.shared import WITHIN_BOUND, largest_ratio
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import reasons, verdicts

DATA = Data("fc100")
CHANCE = math.log(5)


def noise(settings, scale=0.01):
    """A number of a cell's own."""
    return 1 + scale * np.random.default_rng([settings["seed"], len(str(settings))]).normal()


# ---- What runners would have returned --------------------------------------------------------------------------------


def contraction(settings, *, ratio=0.9, factor=0.95, rate=1.0):
    """`rate`: how fast |d_w| falls, as a multiple of what is predicted."""
    steps = [1, 4, 16, 64, 256]
    shared = {"alpha": 0.1, "smoothness": 10.0, "contraction": factor}
    rows = []
    for start, share in (("random", 0.9), ("seen", 0.5), ("common", 1.0)):
        rows += [
            {"prediction": "P1", "start": start, "inner_steps": n, "bound": factor**n}
            | {"measured": factor**n * ratio * share}
            for n in steps
        ]
    rows += [
        {"prediction": "P2", "inner_steps": n, "bound": 2 * factor**n}
        | {"measured": 2 * ratio * factor ** (rate * n) * noise(settings)}
        for n in steps
    ]
    return [row | shared for row in rows]


def strongly_convex(settings, *, ratio=0.5, head=-1.0, body=0.4, saturates=True, factor=0.8):
    """`head`, `body`: ln curvature at the largest N less that at N = 1."""
    rows = []
    for place, n in enumerate((1, 4, 16, 64)):
        grown = min(place, 2) / 2 if saturates else place / 3
        sizes = {"ww": math.exp(head * place / 3), "phiphi": math.exp(body * grown)}
        rows += [
            {"prediction": "P3", "block": block, "inner_steps": n, "contraction": factor}
            | {"measured": size * noise(settings, 0.001), "bound": size / ratio, "alpha": 0.1}
            for block, size in sizes.items()
        ]
    return rows


def growth(settings, *, problem, exponent=0.5, ratio=0.5, rate=1.0):
    """`exponent`: of N at fixed alpha on real tasks; `rate`: of the cosine over what is predicted."""
    rows = []
    for schedule in ("fixed", "falling"):
        for n in (1, 2, 4, 8, 16, 32):
            p = 1.5 if schedule == "fixed" else 1 + 0.5 / n
            size = p ** (2 * n * rate) / 2 if problem == "cosine" else n**exponent * noise(settings)
            if problem == "two_layer" and schedule == "falling":
                size = noise(settings)
            rows.append(
                {"prediction": "P4", "problem": problem, "schedule": schedule, "inner_steps": n}
                | {"alpha": 0.1, "growth": p, "measured": size, "bound": size / ratio}
            )
    return rows


def descent(settings, *, end=lambda step, schedule, n: 1.0 - 0.05 * math.log2(n)):
    """`end`: (step, schedule, N) -> loss at the end."""
    n, last = settings["inner_steps"], settings["meta_steps"]
    loss = end(settings["step"], settings["schedule"], n) * noise(settings, 0.001)
    return [
        {"record": "curve", "meta_step": k, "loss": CHANCE if k == 0 else loss, "alpha": 0.1}
        for k in (0, last)
    ]


def sampling(settings, *, exponent=-1.0, ratio=0.1):
    return [
        {"prediction": "P8", "block": block, "inner_steps": n, "batch": b, "bound": 1 / ratio / b}
        | {"measured": b**exponent * noise(settings), "alpha": 0.1, "contraction": 0.9}
        for block in ("head", "body")
        for n in (1, 4, 16)
        for b in (1, 2, 4, 8)
    ]


def exactness(settings, *, difference=1e-14):
    return [
        {"prediction": "P10", "part": part, "inner_steps": n, "measured": difference}
        for part in ("head", "body")
        for n in (1, 2, 4)
    ]


def timing(settings, *, a=0.3, b=0.003, spread=0.01):
    own = noise({"seed": settings["seed"]}, spread)
    return [{"seconds_per_meta_step": a + b * own * settings["inner_steps"]}]


RUNNERS = {
    "contraction.run": contraction,
    "meta_smoothness.strongly_convex": strongly_convex,
    "meta_smoothness.nonconvex": lambda s, **laws: growth(s, problem="two_layer", **laws),
    "meta_smoothness.worst_case": lambda s, **laws: growth(s, problem="cosine", **laws),
    "meta_steps.run": descent,
    "timing.run": timing,
    "sampling.run": sampling,
    "exactness.run": exactness,
}


def table(laws=None, scale="small", drop=()):
    """The frame of all cells.

    Args:
        laws: kind of cell -> keyword arguments of its runner.
        scale: of the cells.
        drop: kinds of cells that were not run.
    """
    rows = []
    for cell in dict.fromkeys(EXPERIMENT.cells(SCALES[scale], DATA)):
        if cell.kind in drop:
            continue
        settings = {key: value for key, value in cell.settings.items() if key != "data_dir"}
        law = (laws or {}).get(cell.kind, {})
        rows += [
            {"cell": cell.name, "kind": cell.kind} | settings | row
            for row in RUNNERS[cell.kind](settings, **law)
        ]
    return pd.DataFrame(rows)


def harmful(step, schedule, n):
    """Runs of P7 with a large fixed alpha diverge; nothing else does harm."""
    return (
        math.nan if step == meta_steps.LARGE and schedule == "fixed" and n > 1 else 1.0 - 0.01 * n
    )


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def test_cells_are_what_the_runners_of_this_test_know():
    kinds = {cell.kind for cell in EXPERIMENT.cells(SCALES["small"], DATA)}
    assert kinds == set(RUNNERS)
    assert {cell.kind for cell in EXPERIMENT.cells(SCALES["smoke"], DATA)} <= kinds


def test_all_hold():
    found = verdicts(EXPERIMENT, table({"meta_steps.run": {"end": harmful}}))
    assert {key: verdict for key, verdict in found.items() if verdict != SUPPORTED} == {}


@pytest.mark.parametrize(
    ("kind", "law", "expected"),
    [
        ("contraction.run", {"ratio": 1.01}, {"P1": NOT_SUPPORTED, "P2": NOT_SUPPORTED}),
        ("contraction.run", {"ratio": 1 + 1e-8}, {"P1": SUPPORTED}),
        (
            "contraction.run",
            {"factor": 0.998},
            {"P1": INCONCLUSIVE, "P2": INCONCLUSIVE, "P2 rate": INCONCLUSIVE},
        ),
        ("contraction.run", {"factor": 0.998, "ratio": 1.1}, {"P1": NOT_SUPPORTED}),
        ("contraction.run", {"rate": 0.8, "ratio": 1e-9}, {"P2 rate": NOT_SUPPORTED}),
        ("contraction.run", {"ratio": math.nan}, {"P1": INCONCLUSIVE, "P2": INCONCLUSIVE}),
        ("meta_smoothness.strongly_convex", {"ratio": 1.2}, {"P3 bound": NOT_SUPPORTED}),
        ("meta_smoothness.strongly_convex", {"head": 0.5}, {"P3 head": NOT_SUPPORTED}),
        ("meta_smoothness.strongly_convex", {"body": -0.5}, {"P3 body": NOT_SUPPORTED}),
        (
            "meta_smoothness.strongly_convex",
            {"body": 3.0, "saturates": False},
            {"P3 body": NOT_SUPPORTED, "P3 head": SUPPORTED},
        ),
        (
            "meta_smoothness.strongly_convex",
            {"factor": 0.999},
            {"P3 head": INCONCLUSIVE, "P3 body": INCONCLUSIVE, "P3 bound": SUPPORTED},
        ),
        (
            "meta_smoothness.strongly_convex",
            {"factor": 0.9},
            {"P3 head": SUPPORTED, "P3 body": INCONCLUSIVE},
        ),
        ("meta_smoothness.worst_case", {"rate": 0.5}, {"P4 worst case": NOT_SUPPORTED}),
        ("meta_smoothness.worst_case", {"ratio": 1.1}, {"P4 worst case": NOT_SUPPORTED}),
        (
            "meta_smoothness.nonconvex",
            {"exponent": -0.5},
            {"P4 real tasks": NOT_SUPPORTED, "P4 worst case": SUPPORTED},
        ),
        ("meta_smoothness.nonconvex", {"exponent": 0.0}, {"P4 real tasks": INCONCLUSIVE}),
        ("timing.run", {"a": 0.3, "b": 0.1}, {"P6": NOT_SUPPORTED}),
        ("timing.run", {"a": -0.1, "b": 0.1}, {"P6": INCONCLUSIVE}),
        ("timing.run", {"spread": 0.0}, {"P6": INCONCLUSIVE}),
        (
            "meta_steps.run",
            {"end": lambda step, schedule, n: 2.0},
            {"P7 small": INCONCLUSIVE, "P7 large": INCONCLUSIVE, "P7 falling": INCONCLUSIVE},
        ),
        (
            "meta_steps.run",
            {"end": lambda step, schedule, n: 1 + 0.1 * math.log2(n)},
            {"P7 small": NOT_SUPPORTED, "P7 large": SUPPORTED},
        ),
        ("sampling.run", {"ratio": 1.1}, {"P8 bound": NOT_SUPPORTED}),
        ("sampling.run", {"ratio": 1.0}, {"P8 bound": INCONCLUSIVE}),
        ("exactness.run", {"difference": 1e-9}, {"P10": NOT_SUPPORTED}),
        ("exactness.run", {"difference": math.nan}, {"P10": INCONCLUSIVE}),
    ],
)
def test_what_fails_and_what_cannot_be_seen(kind, law, expected):
    found = verdicts(EXPERIMENT, table({kind: law}))
    assert {key: found[key] for key in expected} == expected


def test_what_was_not_run_says_so_and_hides_nothing_else():
    for drop in RUNNERS:
        found = set(reasons(EXPERIMENT, table(drop={drop})).values())
        assert found == {"not run"}
    only_timed = table(drop=set(RUNNERS) - {"timing.run"})
    assert len(reasons(EXPERIMENT, only_timed)) == len(EXPERIMENT.claims) - 1


def test_a_design_that_decides_nothing_says_why():
    laws = {
        "contraction.run": {"factor": 0.998},
        "meta_smoothness.strongly_convex": {"factor": 0.9},
    }
    hidden = f"q^256 = {0.998**256:.2g}"
    found = reasons(EXPERIMENT, table(laws))
    assert found == {"P1": hidden, "P2": hidden, "P2 rate": hidden, "P3 body": "q^16 = 0.19"}


@pytest.mark.parametrize(
    ("measured", "bound", "expected"),
    [
        (1.0, 1.0, SUPPORTED),
        (1 + 2e-6, 1.0, NOT_SUPPORTED),
        (0.9e-13, 1e-300, SUPPORTED),  # rounding
        (0.9e-13, 0.0, SUPPORTED),
        (1.2e-13, 0.0, NOT_SUPPORTED),
        (1.2e-13, 1e-14, NOT_SUPPORTED),
        (math.nan, 1.0, INCONCLUSIVE),
        (1.0, math.nan, INCONCLUSIVE),
        (0.0, math.nan, INCONCLUSIVE),
    ],
)
def test_a_measurement_passes_a_bound_up_to_rounding(measured, bound, expected):
    rows = pd.DataFrame({"seed": [1, 1], "measured": [0.5, measured], "bound": [1.0, bound]})
    assert WITHIN_BOUND.verdict([largest_ratio(rows)]) == expected


def test_the_cosine_may_not_grow_at_c_over_n_even_within_its_bound():
    frame = table()
    grows = (frame["problem"] == "cosine") & (frame["schedule"] == "falling")
    frame.loc[grows, ["measured", "bound"]] = 1.1 * meta_smoothness.BOUNDED
    assert verdicts(EXPERIMENT, frame)["P4 worst case"] == NOT_SUPPORTED


def test_one_seed_leaves_what_is_random_inconclusive():
    frame = table()
    found = verdicts(EXPERIMENT, frame[frame["seed"] <= min(SCALES["small"].seeds)].copy())
    assert found["P1"] == found["P4 worst case"] == SUPPORTED  # nothing random is in them
    assert found["P8 bound"] == found["P6"] == found["P7 large"] == INCONCLUSIVE


def test_descents_have_one_step_size_and_timings_the_tasks_of_the_descents():
    cells = EXPERIMENT.cells(SCALES["small"], DATA)
    timed, descents = (
        [cell.settings for cell in cells if cell.kind == kind]
        for kind in ("timing.run", "meta_steps.run")
    )
    names = ("meta_batch_size", "body", "filters", "ways", "shots", "queries", "outer_step_size")
    assert len({tuple(one[name] for name in names) for one in [*timed, *descents]}) == 1
    assert {one["reference_l2"] for one in descents} == {one["inner_l2"] for one in timed}


def test_seconds_are_fitted_on_each_seed():
    a, b = meta_steps.line_of_time(table({"timing.run": {"spread": 0.0}}))
    np.testing.assert_allclose(a, [0.3] * 3, rtol=1e-9)
    np.testing.assert_allclose(b, [0.003] * 3, rtol=1e-9)
