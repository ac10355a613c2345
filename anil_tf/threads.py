"""How many threads work on one operation, and how many operations run at once, on a CPU.

The tasks of a meta-batch are independent, so a core each is the better share of labour: operations on one thread never
wait for each other's threads, and what a task's layers hand on stays in one core's cache.
"""

import contextlib
import os

_OPERATIONS_PER_CORE = 2  # one to work on, one in waiting


def cores() -> int:
    """How many cores this process may use."""
    # The affinity counts what a container or taskset leaves us; macOS has no such call.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_out_cores(tasks: int) -> None:
    """Sets the threads of this process for a meta-batch of so many tasks.

    Does nothing where TensorFlow has computed something already, where the environment variables
    TF_NUM_INTRAOP_THREADS or TF_NUM_INTEROP_THREADS decide, or where there is a GPU.

    Args:
        tasks: in a meta-batch, on this host.
    """
    import tensorflow as tf  # not needed to count cores

    is_set = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & set(os.environ)
    if is_set or tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has computed something: its threads stay
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores() // tasks))
        tf.config.threading.set_inter_op_parallelism_threads(_OPERATIONS_PER_CORE * cores())
