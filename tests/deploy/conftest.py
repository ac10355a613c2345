"""One export of each format that TensorFlow runs, with its client, for all tests that only read it."""

import shutil

import pytest

from tests.deploy.exports import CLIENTS, TEMPERATURE, export
from tests.deploy.learners import learner_of, make_learner


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """Of `learner_of("prototype")` at `TEMPERATURE`."""
    place = export(
        learner_of("prototype"), tmp_path_factory.mktemp("saved_model"), value=TEMPERATURE
    )
    shutil.copy(CLIENTS / "saved_model.py", place / "client.py")
    return place


@pytest.fixture(scope="session")
def rounded_learner():
    """One with enough filters to be rounded: LiteRT's converter leaves tensors of under 1,024 numbers alone."""
    return make_learner(filters=24, head_initialization="prototype")


@pytest.fixture(scope="session")
def litert(rounded_learner, tmp_path_factory):
    """Of `rounded_learner` at `TEMPERATURE`, in every precision."""
    pytest.importorskip("ai_edge_litert", reason="pip install 'anil_tf[deploy]'")
    place = export(
        rounded_learner, tmp_path_factory.mktemp("litert"), format_name="litert", value=TEMPERATURE
    )
    shutil.copy(CLIENTS / "litert.py", place / "client.py")
    return place
