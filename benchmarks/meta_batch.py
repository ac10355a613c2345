"""A meta-batch and initial weights, made from a seed and kept in a file: every framework starts from the same numbers.

Sizes are those of 5-way 5-shot tasks on Conv4-64 unless said. Pixels are noise around one pattern for each class, so
that adaptation has something to learn; weights are drawn as Keras draws them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BLOCKS = 4
_KERNEL_ENTRIES = 9
_HEAD_SCALE = 0.05


def write(
    path: Path,
    *,
    tasks: int = 8,
    ways: int = 5,
    shots: int = 5,
    queries: int = 5,
    side: int = 32,
    filters: int = 64,
    seed: int = 0,
) -> None:
    """Writes the file that `tensorflow_steps.py` and `pytorch_steps.py` read.

    Args:
        path: of the file, .npz.
        tasks: B.
        ways: classes of a task.
        shots: support images per class.
        queries: query images per class.
        side: height and width of the images, which have three channels.
        filters: of each of the four blocks.
        seed: of everything.
    """
    random = np.random.default_rng(seed)
    patterns = random.uniform(0, 255, [tasks, ways, side, side, 3])

    def images(count: int) -> np.ndarray:
        noise = random.normal(0, 60, [tasks, ways * count, side, side, 3])
        return np.clip(np.repeat(patterns, count, axis=1) + noise, 0, 255).astype(np.float32)

    def labels(count: int) -> np.ndarray:
        return np.tile(np.repeat(np.arange(ways, dtype=np.int32), count), (tasks, 1))

    np.savez(
        path,
        support_images=images(shots),
        support_labels=labels(shots),
        query_images=images(queries),
        query_labels=labels(queries),
        **_weights(random, ways, side, filters),
    )


def _weights(
    random: np.random.Generator, ways: int, side: int, filters: int
) -> dict[str, np.ndarray]:
    """Glorot's uniform kernels, scales of 1 and offsets of 0; a small head."""
    weights, channels = {}, 3
    for i in range(BLOCKS):
        bound = np.sqrt(6 / (_KERNEL_ENTRIES * (channels + filters)))
        weights[f"kernel_{i}"] = random.uniform(-bound, bound, [3, 3, channels, filters])
        weights[f"gamma_{i}"], weights[f"beta_{i}"] = np.ones(filters), np.zeros(filters)
        channels = filters
    width = (side // 2**BLOCKS) ** 2 * filters
    weights["head_kernel"] = random.normal(0, _HEAD_SCALE, [width, ways])
    weights["head_bias"] = np.zeros(ways)
    return {name: array.astype(np.float32) for name, array in weights.items()}
