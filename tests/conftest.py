"""What all tests share: settings that must precede TensorFlow, and the prepared data sets."""

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
from absl.flags import FLAGS  # noqa: E402

# Tracing makes the first example slow; the same examples every time keep a failure repeatable.
hypothesis.settings.register_profile(
    "anil_tf", deadline=None, derandomize=True, database=None, max_examples=25
)
hypothesis.settings.load_profile("anil_tf")


@pytest.fixture(autouse=True)
def no_flags_for_the_next_test():
    """Takes back what a test declared: flags are global, and two binaries may have different ones of a name."""
    yield
    for module, flags in FLAGS.flags_by_module_dict().items():
        if module.startswith("anil_tf "):
            for flag in list(flags):
                delattr(FLAGS, flag.name)


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
