import warnings

import numpy as np
import pytest
from matplotlib import colors
from PIL import Image

from anil_tf.evaluation import figures

pytestmark = pytest.mark.filterwarnings("error:::matplotlib", "error:.*[Gg]lyph:UserWarning")


def picture(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(pixels, colour):
    wanted = np.array(colors.to_rgb(colour)) * 255
    return bool((np.abs(pixels - wanted).max(axis=-1) < 3).sum() > 50)


def write_metrics(path, columns, rows):
    lines = [",".join(columns), *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


CLASSIFICATION = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy")


def test_curves_of_a_classification(tmp_path):
    rows = [(k, 100 * k, 1 / k, 1 - 1 / k, 1.2 / k, 0.9 - 1 / k) for k in range(1, 9)]
    metrics = write_metrics(tmp_path / "metrics.csv", CLASSIFICATION, rows)
    figures.draw_curves(metrics, tmp_path / "curves.png")
    pixels = picture(tmp_path / "curves.png")
    assert pixels.shape == (456, 1152, 3)
    assert has_colour(pixels, figures.BLUE) and has_colour(pixels, figures.ORANGE)


def test_curves_of_a_regression_have_one_panel(tmp_path):
    rows = [(1, 10, 2.0, 2.5), (2, 20, 1.0, 1.5)]
    metrics = write_metrics(tmp_path / "m.csv", ("epoch", "step", "loss", "val_loss"), rows)
    figures.draw_curves(metrics, tmp_path / "curves.png")
    assert picture(tmp_path / "curves.png").shape == (456, 648, 3)


def test_the_marked_checkpoint_is_the_best_on_validation():
    rows = {"val_accuracy": np.array([0.1, 0.9, 0.5]), "val_loss": np.array([3.0, 2.0, 1.0])}
    assert figures._best_row(rows) == 1
    del rows["val_accuracy"]
    assert figures._best_row(rows) == 2
    assert figures._best_row({"val_loss": np.array([np.nan])}) is None


def test_curves_of_no_epoch_are_refused(tmp_path):
    metrics = write_metrics(tmp_path / "metrics.csv", CLASSIFICATION, [])
    with pytest.raises(ValueError, match="no epoch has ended"):
        figures.draw_curves(metrics, tmp_path / "curves.png")


@pytest.mark.parametrize(
    ("settings", "episodes"),
    [
        ({"channels": 3, "ways": 2, "shots": 3, "queries": 1, "size": 84}, 1),
        ({"channels": 1, "ways": 3, "shots": 1}, 2),
        pytest.param({"channels": 1, "ways": 12, "shots": 1}, 5, marks=pytest.mark.slow),
    ],
    ids=["colour", "grey", "many classes"],
)
def test_episodes_of_any_kind(nearest_mean, image_tasks, tmp_path, settings, episodes):
    tasks = image_tasks(**settings)
    path = tmp_path / "episodes.png"
    figures.draw_episodes(nearest_mean(tasks.ways), tasks, path, episodes=episodes)
    pixels = picture(path)
    height, width = pixels.shape[:2]
    assert 150 < height < 2600 and 500 < width < 1700
    assert pixels[-20:, -20:].min() > 250  # nothing is cut off at the corner


class Oracle:
    """Answers the true class, moved on by `shift`."""

    def __init__(self, shift):
        self.shift = shift

    def __call__(self, inputs, training=False):
        ways = int(np.max(inputs["support_labels"])) + 1
        truth = np.repeat(np.arange(ways), inputs["query_images"].shape[1] // ways)
        return 5.0 * np.eye(ways)[(truth + self.shift) % ways][None]


def test_errors_and_only_errors_are_marked_in_vermillion(image_tasks):
    """In the array that TensorBoard takes, and leaving no figure behind."""
    tasks = image_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right, wrong = (figures.episode_image(Oracle(shift), tasks) for shift in (0, 1))
    assert not has_colour(right.astype(int), figures.VERMILLION)
    assert has_colour(wrong.astype(int), figures.VERMILLION)
    assert right.dtype == np.uint8 and right.shape[2:] == (3,) and right.flags["C_CONTIGUOUS"]
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def test_sinusoid_shows_the_adapted_function(line, sine_tasks, tmp_path):
    figures.draw_episodes(line, sine_tasks, tmp_path / "episodes.png", episodes=3)
    pixels = picture(tmp_path / "episodes.png")
    assert pixels.shape == (432, 1296, 3)
    assert has_colour(pixels, figures.BLUE) and has_colour(pixels, figures.ORANGE)


def test_class_letters_do_not_run_out():
    letters = [figures._letter(label) for label in range(120)]
    assert letters[:3] == ["A", "B", "C"] and len(set(letters)) == 120
