"""Threads, set in processes of their own: TensorFlow takes them once."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
os.sched_getaffinity = lambda pid: set(range(int(sys.argv[1])))
import tensorflow as tf
from anil_tf.training.threads import share_out_cores
share_out_cores(int(sys.argv[2]))
get = tf.config.threading
print(get.get_intra_op_parallelism_threads(), get.get_inter_op_parallelism_threads())
"""


def threads(cores, tasks, repository, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TF_NUM_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cores), str(tasks)],
        capture_output=True,
        text=True,
        env=clean | {"CUDA_VISIBLE_DEVICES": ""} | environment,
        cwd=repository,
        timeout=120,
        check=True,
    )
    return done.stdout.split()[-2:]


def test_a_core_to_a_task_and_more_where_there_are_more_cores_than_tasks(repository):
    assert threads(2, 8, repository) == ["1", "4"]
    assert threads(16, 4, repository) == ["4", "32"]


@pytest.mark.parametrize("name", ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"])
def test_the_environment_has_the_last_word(name, repository):
    assert threads(2, 8, repository, **{name: "3"}) == ["0", "0"]
