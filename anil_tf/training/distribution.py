"""Where a run computes: one device, all devices of a machine, or several machines."""

from __future__ import annotations

import tensorflow as tf


def create(name: str) -> tf.distribute.Strategy:
    """Makes a distribution strategy; call it before any tensor is made.

    Args:
      name: "none", "mirrored" (all devices of this machine) or "multi_worker" (the machines that
        the environment variable TF_CONFIG lists).

    Returns:
      The strategy; for "none" TensorFlow's default one, under which everything is as usual.

    Raises:
      ValueError: for any other name.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    raise ValueError(f"expected strategy none, mirrored or multi_worker, received {name!r}.")


def workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes take part."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().as_dict():
        return 1
    return sum(len(addresses) for addresses in resolver.cluster_spec().as_dict().values())


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files."""
    if workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().as_dict():
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def any_worker(value: bool, strategy: tf.distribute.Strategy) -> bool:
    """Whether the value is true in any process, known to all of them.

    A signal reaches machines at different moments; they must stop at the same meta-step, or those
    that go on wait for ever.

    Args:
      value: this process' value.
      strategy: the strategy of the run.

    Returns:
      The same value in every process.
    """
    return value if workers(strategy) == 1 else _mean(float(value), strategy) > 0


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every process has called it."""
    any_worker(False, strategy)


def same_everywhere(value: int, strategy: tf.distribute.Strategy) -> bool:
    """Whether all processes have the same value; all of them are told the same.

    Args:
      value: this process' value.
      strategy: the strategy of the run.
    """
    if workers(strategy) == 1:
        return True
    # Some process differs from the mean exactly if two processes differ.
    return not any_worker(_mean(value, strategy) != value, strategy)


def _mean(value: float, strategy: tf.distribute.Strategy) -> float:
    """The mean of the processes' values, exact for small whole numbers that are all the same."""
    mine = tf.constant(value, tf.float64)
    values = strategy.run(lambda: tf.identity(mine))
    total = float(strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))
    return total / strategy.num_replicas_in_sync
