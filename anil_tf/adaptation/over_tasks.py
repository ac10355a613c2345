"""One function of one task, applied to all tasks of a meta-batch."""

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

MODES = ("vectorized", "unrolled", "loop")

# Enough to keep every core at work; each further one would take memory and no less time (benchmarks/NOTES.md).
_TASKS_AT_A_TIME = 2 * (os.cpu_count() or 1)
_TASKS_WORTH_A_TRACE = 8


def over_tasks(function: Callable[[Any], Any], tasks: Any, *, mode: str) -> Any:
    """Maps `function` over the leading axis of `tasks`.

    Args:
        function: from the tensors of one task to a structure of tensors.
        tasks: a structure of tensors, each with a leading axis of tasks.
        mode: "vectorized" batches every operation over tasks (best for heads, and impossible for convolutions with
            per-task filters); "unrolled" writes the function into the graph once per task (best for a shared body);
            "loop" is a graph loop, which compiles quickly, whatever the number of tasks.

    Returns:
        The results, stacked along a leading axis of tasks.

    Raises:
        ValueError: for an unknown mode.
    """
    if mode == "vectorized":
        return tf.vectorized_map(function, tasks, fallback_to_while_loop=False)
    first = tf.nest.flatten(tasks)[0]
    # A loop over one task is the function itself, without a loop's derivative, which takes seconds to build.
    mode = "unrolled" if mode == "loop" and first.shape[0] == 1 else mode
    if mode == "unrolled" and first.shape[0] is not None:
        slices = [
            tf.nest.map_structure(lambda tensor, i=i: tensor[i], tasks)
            for i in range(first.shape[0])
        ]
        # Beyond a graph each call runs through all of Keras' Python: from some tasks on one trace costs less.
        is_worth_it = tf.executing_eagerly() and len(slices) >= _TASKS_WORTH_A_TRACE
        of_one_task = tf.function(function, autograph=False) if is_worth_it else function
        results = [of_one_task(task) for task in slices]
        return tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *results)
    if mode in ("unrolled", "loop"):
        return _loop(function, tasks)
    raise ValueError(f"mode must be one of {', '.join(MODES)}. Received: {mode!r}.")


def _loop(function: Callable[[Any], Any], tasks: Any) -> Any:
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), tasks)
    traced = tf.function(function).get_concrete_function(one)
    signature = tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), traced.structured_outputs
    )
    return tf.map_fn(
        traced, tasks, fn_output_signature=signature, parallel_iterations=_TASKS_AT_A_TIME
    )
