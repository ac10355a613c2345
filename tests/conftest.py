"""What all tests share: settings that must precede TensorFlow, prepared data sets, and one small run."""

import functools
import os
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Several test processes may share one GPU: none may take all of its memory.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread per worker: two workers with two threads each would fight for two cores.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# Whoever starts the tests in the background of a script has SIGINT ignored, in the binaries that they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from tests import command_line, small_runs  # noqa: E402

# Tracing makes the first example slow; the same examples every time keep a failure repeatable.
hypothesis.settings.register_profile(
    "anil_tf", deadline=None, derandomize=True, database=None, max_examples=25
)
hypothesis.settings.load_profile("anil_tf")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the clone."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_tfds(repository: Path) -> Path:
    """TFDS' directory with Omniglot and CIFAR-100 prepared: TFDS_DATA_DIR, else ../shared/tfds."""
    named = os.environ.get("TFDS_DATA_DIR")
    folder = Path(named).absolute() if named else repository.parent / "shared" / "tfds"
    if not folder.is_dir():
        pytest.skip(f"no prepared data sets in {folder}: set TFDS_DATA_DIR to a folder with them")
    return folder


@pytest.fixture(scope="session")
def small_images(tmp_path_factory) -> Path:
    """A folder of made images, three splits of a few classes: `--dataset=image_folder --data_dir=...`."""
    return small_runs.make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def small_run(small_images, tmp_path_factory) -> small_runs.SmallRun:
    """A finished run that all tests share: `bin/train.py`, in this process, on `small_images`.

    Evaluate it, export it, load it (`anil_tf.load(small_run.directory)`), copy it; change nothing in it but what
    `evaluate` adds. Its export is `small_export("saved_model")`.
    """
    directory = tmp_path_factory.mktemp("runs") / "small"
    arguments = small_runs.arguments(small_images)
    answer = command_line.succeed("train", *arguments, f"--run_dir={directory}")
    return small_runs.SmallRun(directory, small_images, arguments, answer.output)


@pytest.fixture(scope="session")
def small_export(small_run, tmp_path_factory):
    """Format to the export of `small_run` that all tests share, measured on 21 episodes; made when asked for."""

    @functools.cache
    def export(format_name: str) -> Path:
        needed = {"saved_model": "tensorflow", "litert": "ai_edge_litert", "stablehlo": "jax"}
        pytest.importorskip(needed[format_name])
        output = tmp_path_factory.mktemp("exports") / format_name
        answer = command_line.succeed(
            "export",
            f"--run_dir={small_run.directory}",
            f"--output_dir={output}",
            f"--format={format_name}",
            *("--episodes=21", "--calibration_episodes=10"),
        )
        output.with_suffix(".txt").write_text(answer.output)
        return output

    return export
