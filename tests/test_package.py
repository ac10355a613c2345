"""What importing the package does to the process."""

import importlib
import os

import pytest

import anil_tf


@pytest.mark.parametrize(("set_by_user", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_asked_for_unless_the_user_decides(monkeypatch, set_by_user, expected):
    """TensorFlow asks by itself only on CPUs with AVX-512 VNNI or AMX."""
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if set_by_user is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", set_by_user)
    importlib.reload(anil_tf)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected
