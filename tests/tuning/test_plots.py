import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from anil_tf.config import Range
from anil_tf.tuning import plots, search_space
from anil_tf.tuning.plots import StabilityLimit
from tests.tuning.made_trials import row

pytestmark = pytest.mark.filterwarnings("error:::matplotlib", "error:.*[Gg]lyph:UserWarning")

SPACE = search_space.make(
    {
        "inner_step_size": Range(0.01, 1.0),
        "inner_steps": Range(1, 20),
        "filters": (16, 32),
        "first_order": True,
    }
)


def trial(number, accuracy, size, steps, status="done"):
    values = {"inner_step_size": size, "inner_steps": steps, "filters": 32, "first_order": False}
    return row(number, accuracy, status, **values)


ROWS = [
    trial(3, 0.48, 0.1, 8),
    trial(0, 0.46, 0.1, 8),
    trial(1, 0.40, 0.02, 3),
    trial(2, 0.20, 0.9, 20, "diverged"),
    trial(4, 0, 0.5, 2, "running"),
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, for reading back their axes."""
    kept, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *rest: (kept.append(figure), save(figure, *rest))
    )
    return kept


def test_every_setting_has_a_panel_with_every_trial_that_ended(drawn, tmp_path):
    plots.draw_accuracies(ROWS, SPACE, tmp_path / "accuracy.png")
    panels = [panel for panel in drawn[0].axes if panel.get_visible()]
    names = ["inner step size", "inner steps", "filters", "first order"]
    assert [panel.get_xlabel() for panel in panels] == names
    assert [panel.get_xscale() for panel in panels] == ["log", "log", "linear", "linear"]
    done, diverged, best = panels[0].get_lines()[0], *panels[0].get_lines()[-2:]
    np.testing.assert_allclose(done.get_xydata(), [[0.1, 48], [0.1, 46], [0.02, 40]])
    np.testing.assert_allclose(diverged.get_xydata(), [[0.9, 20]])
    np.testing.assert_allclose(best.get_xydata(), [[0.1, 48]])
    of_choices = [panel.get_lines()[0].get_xydata()[:, 0] for panel in panels[2:]]
    np.testing.assert_array_equal(of_choices, [[1, 1, 1], [0, 0, 0]], err_msg="among the choices")
    assert [label.get_text() for label in panels[3].get_xticklabels()] == ["no", "yes"]
    with Image.open(tmp_path / "accuracy.png") as image:
        assert image.format == "PNG"


def test_the_map_has_the_mean_of_each_cell_and_the_limits(drawn, tmp_path):
    limits = [
        StabilityLimit("before training", 0.3, 0.5, 0.9, 0.51),
        StabilityLimit("after", 2.0, 3.0, 4.0, 5.0),
    ]
    plots.draw_inner_loop(ROWS, SPACE, tmp_path / "map.png", limits)
    panel = drawn[0].axes[0]
    shown = panel.collections[0].get_array().compressed()
    np.testing.assert_allclose(np.sort(shown), [20, 40, 47])
    lines = {line.get_label(): line.get_xdata()[0] for line in panel.get_lines()}
    assert lines["2/(L + μ) before training: 0.5 (0.3 to 0.9)"] == 0.5
    assert lines["2/(L + μ) after: 3 (2 to 4)"] == 3.0
    assert lines["2/L after, diverges beyond: 5"] == 5.0
    hidden = "the other one hides behind 2/(L + μ)"
    assert sum(name.startswith("2/L") for name in lines) == 1, hidden
    low, high = panel.get_xlim()
    assert low == pytest.approx(0.01) and high > 5.0, "a limit beyond the range is shown"
    assert panel.get_ylim()[0] <= 1 and panel.get_ylim()[1] >= 20


@pytest.mark.parametrize("count", [1, 5, 200])
def test_any_number_of_trials_can_be_drawn(count, drawn, tmp_path):
    random = np.random.default_rng(count)
    sizes, steps = random.uniform(0.01, 1, count), random.integers(1, 21, count)
    rows = [
        trial(i, random.uniform(0.2, 0.5), float(sizes[i]), int(steps[i])) for i in range(count)
    ]
    plots.draw_accuracies(rows, SPACE, tmp_path / "a.png")
    plots.draw_inner_loop(rows, SPACE, tmp_path / "b.png", [])
    cells = drawn[1].axes[0].collections[0].get_array().compressed()
    accuracies = [100 * row.score.accuracy for row in rows]
    assert min(accuracies) <= min(cells) and max(cells) <= max(accuracies)


def test_the_limit_is_two_by_the_sum_of_the_curvatures():
    curvatures = np.array([1.0, 3.0, 8.0]), np.array([1.0, 1.0, -5.0])
    limit = StabilityLimit.of_curvatures("here", *curvatures)
    assert (limit.low, limit.median, limit.high) == (0.25, 0.5, 1.0), "mu below 0 counts as 0"
    assert limit.diverges == 2 / 3


@pytest.mark.parametrize("smoothness", [np.nan, np.inf, 0.0])
def test_there_is_no_limit_without_curvatures(smoothness):
    with pytest.raises(ValueError, match="the curvatures here are not all finite"):
        StabilityLimit.of_curvatures("here", np.array([1.0, smoothness]), np.zeros(2))


def test_up_to_the_limit_a_step_contracts_by_the_smallest_curvature_and_beyond_two_by_the_largest_not_at_all():
    largest, smallest = 3.0, 1.0
    limit = StabilityLimit.of_curvatures("here", np.array([largest]), np.array([smallest]))

    def factor(step_size):
        return max(abs(1 - step_size * curvature) for curvature in (largest, smallest))

    assert factor(0.99 * limit.median) == pytest.approx(1 - 0.99 * limit.median * smallest)
    assert 1 - 1.01 * limit.median * smallest < factor(1.01 * limit.median) < 1
    assert factor(0.99 * limit.diverges) < 1 < factor(1.01 * limit.diverges)
