"""What importing the package costs and does: checked in processes of their own, one of which starts TensorFlow."""

import importlib
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

import anil_tf


def python(repository, *arguments):
    """Runs Python in the repository; returns (exit code, output, error, seconds of processor time)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=repository, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, done.stdout, done.stderr, seconds


def test_flags_are_read_before_the_library_is_imported(repository):
    program = """
import json, sys
import anil_tf, anil_tf.config, anil_tf.commands.launcher as launcher
assert launcher.launch("train", ["--ways=1"]) == 2
print(json.dumps(sorted({"keras", "matplotlib", "numpy", "tensorflow"} & set(sys.modules))))
"""
    code, output, error, _ = python(repository, "-c", program)
    assert code == 0, error
    assert json.loads(output) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "--inner_step_size=0.1"),
        (["--wayz=3"], 2, "train.py: --wayz: unknown flag; did you mean --ways?"),
    ],
)
def test_help_and_a_mistyped_flag_are_answered_at_once(repository, arguments, code, said):
    found, output, error, seconds = python(repository, "bin/train.py", *arguments)
    assert found == code and said in output + error
    assert seconds < 1, "of processor time"


def test_keras_loads_a_learner_by_itself_once_the_package_is_imported(repository, small_run):
    """Keras finds only classes that are registered; nothing of the package is used by name before."""
    program = f"""
import anil_tf, keras
learner = keras.saving.load_model({str(small_run.directory / "model.keras")!r}, compile=False)
assert isinstance(learner, anil_tf.MetaLearner) and "load" in dir(anil_tf)
print(anil_tf.load({str(small_run.directory)!r}).count_params())
"""
    code, output, error, _ = python(repository, "-c", program)
    assert code == 0, error
    assert int(output) == anil_tf.load(small_run.directory).count_params()


def test_load_takes_a_run_or_a_file_and_names_what_is_neither(small_run, tmp_path):
    of_run = anil_tf.load(small_run.directory).get_weights()
    of_file = anil_tf.load(small_run.directory / "model.keras").get_weights()
    for one, other in zip(of_run, of_file, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="expected a model.keras, or the directory of a finished"):
        anil_tf.load(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        anil_tf.lode  # noqa: B018


@pytest.mark.parametrize(("set_by_user", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_asked_for_unless_the_user_decides(monkeypatch, set_by_user, expected):
    """TensorFlow asks by itself only on CPUs with AVX-512 VNNI or AMX."""
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if set_by_user is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", set_by_user)
    importlib.reload(anil_tf)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected
