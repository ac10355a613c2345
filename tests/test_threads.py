"""How many threads TensorFlow is given."""

import os

import pytest
import tensorflow as tf

from anil_tf.threads import share_out_cores


@pytest.fixture
def threads(monkeypatch):
    """What is set on a machine with so many cores and no GPU."""
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    def share(cores, tasks):
        found = {}
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        for kind in ("intra", "inter"):
            name = f"set_{kind}_op_parallelism_threads"
            # TensorFlow takes them once, before it computes anything.
            monkeypatch.setattr(
                tf.config.threading, name, lambda n, kind=kind: found.update({kind: n})
            )
        share_out_cores(tasks)
        return found

    return share


def test_a_core_to_a_task_and_more_where_there_are_more_cores_than_tasks(threads):
    assert threads(cores=2, tasks=8) == {"intra": 1, "inter": 4}
    assert threads(cores=16, tasks=4) == {"intra": 4, "inter": 32}


@pytest.mark.parametrize("name", ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"])
def test_the_environment_has_the_last_word(threads, name, monkeypatch):
    monkeypatch.setenv(name, "3")
    assert threads(cores=2, tasks=8) == {}


def test_a_process_that_has_computed_keeps_its_threads(threads, monkeypatch):
    def refuse(number):
        raise RuntimeError("cannot be modified after initialization")

    monkeypatch.setattr(
        "anil_tf.training.threads.tf.config.threading.set_intra_op_parallelism_threads", refuse
    )
    share_out_cores(8)
