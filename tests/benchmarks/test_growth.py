"""The growth of a meta-step's cost: what is timed, the lines, the words and the picture."""

import json
import sys

import PIL.Image
import pytest

from benchmarks import growth

BASE = {
    "tasks": 2,
    "ways": 3,
    "shots": 2,
    "queries": 1,
    "side": 16,
    "filters": 4,
    "inner_steps": 2,
}


class _Clockwork:
    """Stands for `Worker`: a step takes 10 ms and 1 ms for each inner step; the first of each kind a second more."""

    asked = []  # (meta-batch, step, steps)
    alive = most_alive = 0

    def __init__(self, python, script, batch, *options):
        assert python == "python" and script.name == "tensorflow_steps.py"
        assert options == ("--share_out_cores",)
        self._batch = batch
        self._traced = set()

    def __enter__(self):
        _Clockwork.alive += 1
        _Clockwork.most_alive = max(_Clockwork.alive, _Clockwork.most_alive)
        return self

    def __exit__(self, *_):
        _Clockwork.alive -= 1

    def time(self, step, repeats):
        _Clockwork.asked.append((self._batch, step, repeats))
        seconds = [0.010 + 0.001 * int(step.removeprefix("anil@"))] * repeats
        if step not in self._traced:
            seconds[0] += 1
        self._traced.add(step)
        return seconds


@pytest.fixture
def clockwork(monkeypatch):
    monkeypatch.setattr(growth, "Worker", _Clockwork)
    monkeypatch.setattr(_Clockwork, "asked", [])
    monkeypatch.setattr(_Clockwork, "most_alive", 0)
    return _Clockwork


def test_points_are_timed_in_turns_after_a_warm_up(clockwork, tmp_path):
    found = growth.measure(
        tmp_path, python="python", repeats=3, base=BASE, sweeps={"inner_steps": (1, 4, 5)}
    )
    steps = [(step, repeats) for _, step, repeats in clockwork.asked]
    names = ("anil@1", "anil@4", "anil@5")
    assert steps == [(name, 2) for name in names] + 3 * [(name, 1) for name in names]
    sweep = found["sweeps"]["inner_steps"]
    assert sweep["x"] == [1, 4, 5] and sweep["values"] == [1, 4, 5]
    for entry in ("median_ms", "lower_quartile_ms", "upper_quartile_ms"):
        assert sweep[entry] == pytest.approx([11, 14, 15])
    line = {"intercept_ms": 10, "slope_ms": 1, "r_squared": 1, "relative_growth": 4 / 11}
    assert sweep["fit"] == pytest.approx(line)


def test_inner_steps_share_a_process_and_meta_batches_do_not(clockwork, tmp_path):
    sweeps = {"tasks": (1, 2, 4), "inner_steps": (1, 2, 3)}
    growth.measure(tmp_path, python="python", repeats=1, base=BASE, sweeps=sweeps)
    assert clockwork.most_alive == 3 and clockwork.alive == 0
    batches = [batch for batch, *_ in clockwork.asked]
    assert len(set(batches[:6])) == 3 and len(set(batches[6:])) == 1


def test_the_usual_sweeps_pass_through_the_base_with_five_processes_at_most():
    for name, values in growth.SWEEPS.items():
        assert growth.BASE[name] in values and list(values) == sorted(values)
        assert name == "inner_steps" or len(values) <= 5


@pytest.mark.parametrize(
    ("name", "values", "x"),
    [
        ("tasks", (1, 4), [9, 36]),  # 3 ways of 3 images
        ("ways", (2, 5), [12, 30]),  # 2 tasks of 3 images
        ("side", (16, 32), [18 * 256 / 1e6, 18 * 1024 / 1e6]),
    ],
)
def test_x_counts_images_and_pixels(clockwork, tmp_path, name, values, x):
    found = growth.measure(tmp_path, python="python", repeats=1, base=BASE, sweeps={name: values})
    assert found["sweeps"][name]["x"] == pytest.approx(x)


@pytest.mark.parametrize("sweeps", [{"shots": (1, 2)}, {"tasks": (2,)}])
def test_a_sweep_that_cannot_be_is_refused_at_once(clockwork, tmp_path, sweeps):
    ((name, values),) = sweeps.items()
    with pytest.raises(ValueError, match="two or more values of tasks, ways") as raised:
        growth.measure(tmp_path, python="python", base=BASE, sweeps=sweeps)
    assert f"{name}={values}" in str(raised.value) and not clockwork.asked


@pytest.mark.slow
def test_meta_steps_are_timed_and_the_result_is_json(tmp_path):
    sweeps = {"inner_steps": (1, 2)}
    found = growth.measure(tmp_path, python=sys.executable, repeats=2, base=BASE, sweeps=sweeps)
    assert json.loads(json.dumps(found)) == found
    assert found["base"] == BASE and found["repeats"] == 2
    sweep = found["sweeps"]["inner_steps"]
    entries = ("lower_quartile_ms", "median_ms", "upper_quartile_ms")
    for lower, median, upper in zip(*(sweep[entry] for entry in entries), strict=True):
        assert 0 < lower <= median <= upper < 1000, "tracing was timed, or nothing"


def test_r_squared_is_the_share_of_the_variance_that_the_line_explains():
    fit = growth.fit_line([0, 1, 2], [1.0, 0.0, 4.0])  # the line 1/6 + 3/2 x leaves 25/6 of 26/3
    assert fit["slope_ms"] == pytest.approx(1.5) and fit["intercept_ms"] == pytest.approx(1 / 6)
    assert fit["r_squared"] == pytest.approx(1 - (25 / 6) / (26 / 3))


def _sweep(name, times):
    """What `measure` would return had the points of the usual sweep taken so long."""
    axis = growth._AXES[name]
    values = growth.SWEEPS[name][: len(times)]
    x = [axis.of(growth.BASE | {name: value}) for value in values]
    return {
        "values": list(values),
        "x": x,
        "x_label": axis.label,
        "median_ms": times,
        "lower_quartile_ms": [0.9 * time for time in times],
        "upper_quartile_ms": [1.2 * time for time in times],
        "fit": growth.fit_line(x, times),
    }


@pytest.mark.parametrize(
    ("name", "times", "words"),
    [
        (
            "tasks",
            [20.0, 40.0, 80.0, 160.0, 321.0],
            "linear in tasks: 0.401 ms per image, R² 0.999",
        ),
        ("ways", [64.0, 160.0, 320.0, 320.0], "not linear in ways: 0.170 ms per image, R² 0.719"),
        ("side", [204.8, 819.2, 1843.2], "linear in pixels: 2000 ms per million pixels, R² "),
        ("inner_steps", [100.0, 100.2], "flat in inner steps: +0.2 % from N = 1 to 2"),
        ("inner_steps", [100.0, 98.0], "flat in inner steps: -2.0 % from N = 1 to 2"),
        ("inner_steps", [100.0, 150.0], "not flat in inner steps: +50.0 % from N = 1 to 2"),
    ],
)
def test_the_words_are_those_of_the_numbers(name, times, words):
    assert growth.finding(name, _sweep(name, times)).startswith(words)


@pytest.mark.parametrize(("panels", "height"), [(4, 900), (1, 492)])
def test_the_picture_is_1200_wide_and_small(tmp_path, panels, height):
    sweeps = {
        name: _sweep(name, [20.0 * 1.9**number for number in range(len(values))])
        for name, values in list(growth.SWEEPS.items())[:panels]
    }
    growth.draw({"base": growth.BASE, "sweeps": sweeps}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size < 150_000
    with PIL.Image.open(tmp_path / "growth.png") as picture:
        assert picture.size == (1200, height)
        colours = {colour for _, colour in picture.convert("RGB").getcolors()}
    assert len(colours) > 10, "the panels are empty"
