"""A second run, of a regression."""

import pytest

from tests.command_line import succeed


@pytest.fixture(scope="session")
def sinusoid_run(tmp_path_factory):
    """The directory of a finished run on sinusoids."""
    directory = tmp_path_factory.mktemp("sinusoid") / "run"
    succeed(
        "train",
        f"--run_dir={directory}",
        *("--dataset=sinusoid", "--body=mlp", "--shots=5", "--queries=4", "--meta_batch_size=2"),
        *("--epochs=1", "--steps_per_epoch=2", "--validation_episodes=2"),
        "--inner_step_size=0.01",
    )
    return directory
