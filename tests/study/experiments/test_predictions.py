"""P1 to P10: verdicts, pictures and tables from made results in which a prediction holds, fails, or cannot be seen."""

import math

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from anil_tf.study import results
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments.predictions import EXPERIMENT, PREDICTIONS
from anil_tf.study.predictions import meta_smoothness, meta_steps, seconds
from anil_tf.study.predictions.prediction import Prediction, within
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import verdicts

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


def descent(settings, *, steps=lambda n: 300 / n**2 + 8, end=None, shared=None):
    """`steps`: K at N; `end`: (step, schedule, N) -> loss at the end of P7."""
    end = end or (lambda step, schedule, n: 1.0 - 0.05 * math.log2(n))
    n, last = settings["inner_steps"], settings["meta_steps"]
    if settings["prediction"] == "P7":
        loss = end(settings["step"], settings["schedule"], n) * noise(settings, 0.001)
        return [
            {"record": "curve", "meta_step": k, "loss": CHANCE if k == 0 else loss, "alpha": 0.1}
            for k in (0, last)
        ]
    k = steps(n) * (1 + 0.01 * np.random.default_rng([settings["seed"], n]).normal())
    curve = [
        {"record": "curve", "meta_step": m, "loss": CHANCE * math.exp(-0.3 * m / k)}
        for m in (0, last // 2, last)
    ]
    reach = [
        {"record": "reach", "share": share, "meta_step": reached}
        for share, reached in ((0.9, 0.0), (0.8, k / 2), (0.7, k), (0.5, math.nan))
    ]
    return [row | {"alpha": 0.1, "contraction_power": 0.99**n} for row in curve + reach]


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


def cost(settings, *, off=1.0, growth=0.002):
    """`off`: MAML's time over the model's; `growth`: what an inner step adds to ANIL's, as a share."""
    rows = []
    for n in (1, 5, 10):
        for method, work_ in (("anil", 6.0), ("maml", 9.0 * n + 3.0)):
            own = {"maml": off, "anil": 1 + growth * n}[method]
            seconds = 0.01 * work_ * own * noise(settings | {"n": n}, 0.002)
            rows.append(
                {"method": method, "inner_steps": n, "head_parameters": 9, "body_parameters": 90}
                | {"gradients": n + 1, "hessian_vector": n, "mixed": n, "body_backward": 1}
                | {"body_work": work_, "seconds_per_meta_step": seconds}
                | {"seconds_per_adaptation": seconds / 3}
            )
    return rows


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
    "meta_step_cost.run": cost,
    "exactness.run": exactness,
}


def table(laws=None, scale="small", drop=(), folder=None):
    """The frame of all cells, through results.csv where a folder is given.

    Args:
        laws: kind of cell -> keyword arguments of its runner.
        scale: of the cells.
        drop: kinds of cells that were not run.
        folder: to write to.
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
    frame = pd.DataFrame(rows)
    if folder is None:
        return frame
    results.write(frame, folder / "results.csv")
    return results.read(folder / "results.csv")


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
    names = [one.name for one in PREDICTIONS]
    assert names == [f"P{n}" for n in range(1, 11)]
    assert all(isinstance(one, Prediction) for one in PREDICTIONS)
    assert all(key.split()[0] in names for key in EXPERIMENT.rules)


def test_all_hold(tmp_path):
    found = verdicts(EXPERIMENT, table({"meta_steps.run": {"end": harmful}}, folder=tmp_path))
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
        (
            "meta_steps.run",
            {"steps": lambda n: 30.0},
            {"P5 work": NOT_SUPPORTED},
        ),
        ("meta_steps.run", {"steps": lambda n: 20.0 + n}, {"P5 steps": NOT_SUPPORTED}),
        (
            "meta_steps.run",
            {"steps": lambda n: math.nan},
            {"P5 steps": INCONCLUSIVE, "P5 work": INCONCLUSIVE, "P6": SUPPORTED},
        ),
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
        ("sampling.run", {"exponent": -0.5}, {"P8 head": NOT_SUPPORTED, "P8 body": NOT_SUPPORTED}),
        ("sampling.run", {"ratio": 1.1}, {"P8 bound": NOT_SUPPORTED, "P8 head": SUPPORTED}),
        ("sampling.run", {"ratio": 1.0}, {"P8 bound": INCONCLUSIVE}),
        ("meta_step_cost.run", {"off": 0.4}, {"P9 flat": SUPPORTED}),
        ("meta_step_cost.run", {"growth": 0.1}, {"P9 flat": NOT_SUPPORTED}),
        ("exactness.run", {"difference": 1e-9}, {"P10": NOT_SUPPORTED}),
        ("exactness.run", {"difference": math.nan}, {"P10": INCONCLUSIVE}),
    ],
)
def test_what_fails_and_what_cannot_be_seen(kind, law, expected):
    found = verdicts(EXPERIMENT, table({kind: law}))
    assert {key: found[key] for key in expected} == expected


def test_what_was_not_run_is_inconclusive(tmp_path):
    for drop in RUNNERS:
        frame = table(drop={drop})
        found = verdicts(EXPERIMENT, frame)
        assert INCONCLUSIVE in found.values()
        EXPERIMENT.tables(frame)
    nothing = table(drop=set(RUNNERS) - {"timing.run"})
    decided = {key for key, one in verdicts(EXPERIMENT, nothing).items() if one != INCONCLUSIVE}
    assert decided == {"P6"}  # all that it needs is timed
    EXPERIMENT.draw(nothing, tmp_path)


def test_a_design_that_decides_nothing_says_why():
    laws = {
        "contraction.run": {"factor": 0.998},
        "meta_smoothness.strongly_convex": {"factor": 0.9},
    }
    claims = dict(zip(EXPERIMENT.rules, EXPERIMENT.judge(table(laws)), strict=True))
    reasons = {key: claim.reason for key, claim in claims.items() if claim.reason}
    hidden = f"q^256 = {0.998**256:.2g}"
    assert reasons == {"P1": hidden, "P2": hidden, "P2 rate": hidden, "P3 body": "q^16 = 0.19"}


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
    assert within(rows)[1] == expected


def test_the_cosine_may_not_grow_at_c_over_n_even_within_its_bound():
    frame = table()
    grows = (frame["problem"] == "cosine") & (frame["schedule"] == "falling")
    frame.loc[grows, ["measured", "bound"]] = 1.1 * meta_smoothness.BOUNDED
    assert verdicts(EXPERIMENT, frame)["P4 worst case"] == NOT_SUPPORTED


def test_one_seed_leaves_what_is_random_inconclusive():
    frame = table()
    found = verdicts(EXPERIMENT, frame[frame["seed"] <= min(SCALES["small"].seeds)].copy())
    assert found["P1"] == found["P4 worst case"] == SUPPORTED  # nothing random is in them
    assert found["P5 steps"] == found["P8 head"] == found["P7 large"] == INCONCLUSIVE


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def test_a_picture_of_each_prediction_and_tables(tmp_path):
    frame = table(folder=tmp_path)
    pictures = EXPERIMENT.draw(frame, tmp_path)
    assert [picture.file for picture in pictures] == [f"{one.name}.png" for one in PREDICTIONS]
    for picture in pictures:
        PIL.Image.open(tmp_path / picture.file).verify()
        assert (tmp_path / picture.file).stat().st_size < 120_000
    titles = [one.title for one in EXPERIMENT.tables(frame)]
    assert len(titles) == 10


def test_diverged_runs_are_drawn(tmp_path):
    frame = table({"meta_steps.run": {"end": lambda *_: math.nan, "steps": lambda n: math.nan}})
    EXPERIMENT.draw(frame, tmp_path)
    EXPERIMENT.tables(frame)


def test_the_meta_steps_are_to_a_loss_that_none_starts_at_and_all_reach():
    share, steps, found = meta_steps.to_a_loss(table())
    assert share == 0.7
    np.testing.assert_array_equal(steps, meta_steps.INNER_STEPS["P5"])
    np.testing.assert_allclose(found.mean(axis=0), [308, 300 / 9 + 8, 11, 1 / 3 + 8], rtol=0.05)


def test_both_geometries_descend_on_the_same_tasks_with_the_same_step_size():
    small = SCALES["small"]
    strongly_convex_, nonconvex = (
        {one.settings["seed"]: one.settings for one in cells(small, DATA)}
        for cells in (meta_steps.strongly_convex_cells, meta_steps.nonconvex_cells)
    )
    names = ("meta_batch_size", "reference_l2", "body", "filters", "ways", "shots", "queries")
    for seed in small.seeds:
        first, second = strongly_convex_[seed], nonconvex[seed]
        assert [first[name] for name in names] == [second[name] for name in names]
        assert first["inner_l2"] == first["reference_l2"]
    steps = {one.settings["step"] for one in meta_steps.nonconvex_cells(small, DATA)}
    assert {one["step"] for one in strongly_convex_.values()} == {meta_steps.SMALL} < steps


def test_seconds_are_fitted_on_each_seed_and_best_n_shown():
    frame = table({"timing.run": {"spread": 0.0}})
    a, b = seconds.lines_of_time(frame)
    np.testing.assert_allclose(a, [0.3] * 3, rtol=1e-9)
    np.testing.assert_allclose(b, [0.003] * 3, rtol=1e-9)
    in_work, in_time = seconds.best_steps(frame)
    assert set(in_work) == {10} and set(in_time) == {30}
    assert list(seconds.time_table(frame).frame["best N in time"]) == [30] * 3


def test_the_ratio_to_maml_is_told_but_not_judged_again():
    note = seconds.flat_table(table({"meta_step_cost.run": {"off": 0.4}})).note
    assert NOT_SUPPORTED in note and "flop_model" in note
    assert [key for key in EXPERIMENT.rules if key.startswith("P9")] == ["P9 flat"]
