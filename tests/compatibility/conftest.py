"""The old runs and exports, unpacked."""

import pathlib
import zipfile

import pytest


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> pathlib.Path:
    """A directory with runs/NAME and exports/FORMAT; tests that write take copies."""
    folder = tmp_path_factory.mktemp("artifacts")
    with zipfile.ZipFile(pathlib.Path(__file__).with_name("artifacts.zip")) as archive:
        archive.extractall(folder)
    return folder
