"""Adapting and predicting in PyTorch, to be timed: written as in learn2learn's ANIL examples, on one core.

    python benchmarks/pytorch_adapt.py --batch=FILE.npz [--normalization=running] [--channels_last]

Serves the steps of `deploy_steps.py` on the same task and weights. The head is cloned and takes N steps of gradient
descent by autograd; the body runs without it. PyTorch is given what helps it: first-order gradients, one pass of the
body over support and query where they are known together, pooling before ReLU, `inference_mode`.

`support` is what learn2learn's examples do: batch normalisation over the images at hand, support and query together
(and over the support alone in `adapt`). A single image has no statistics of its own: `predict` takes those of the
support. `running` takes moving statistics throughout, as `eval()` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

# Before PyTorch starts its threads.
if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import worker
from benchmarks.deploy_steps import Steps

BLOCKS = 4
EPSILON = 1e-3  # Keras'


class Adapted(NamedTuple):
    """A cloned and adapted head [weight, bias], and the statistics (mean, variance) of each block; None for moving."""

    head: list[Tensor]
    statistics: list[tuple[Tensor, Tensor]] | None


class Conv4:
    """Conv4 with a linear head, as `deploy_steps.Steps` takes a model.

    Args:
        arrays: those that `meta_batch.write` writes.
        normalization: "support" or "running".
        channels_last: the layout of images and kernels in memory.
        inner_steps: N.
        inner_step_size: alpha.
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        *,
        normalization: str,
        channels_last: bool,
        inner_steps: int,
        inner_step_size: float,
    ):
        self._over_batch = normalization == "support"
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._steps, self._step_size = inner_steps, inner_step_size
        self._blocks = []
        for i in range(BLOCKS):
            kernel = torch.tensor(arrays[f"kernel_{i}"]).permute(3, 2, 0, 1)
            scale, offset = (torch.tensor(arrays[f"{name}_{i}"]) for name in ("gamma", "beta"))
            self._blocks.append((kernel.contiguous(memory_format=self._layout), scale, offset))
        self._moving = [(torch.zeros_like(s), torch.ones_like(s)) for _, s, _ in self._blocks]
        matrix = torch.tensor(arrays["head_kernel"])
        side = arrays["support_images"].shape[2] // 2**BLOCKS
        rows = matrix.reshape(side, side, -1, matrix.shape[-1]).permute(2, 0, 1, 3)
        self._head = [rows.reshape(matrix.shape).T.contiguous(), torch.tensor(arrays["head_bias"])]

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> Adapted:
        with torch.inference_mode():
            kept: list[tuple[Tensor, Tensor]] = []
            features = self._features(images, kept=kept)
        return Adapted(self._adapt_head(features, labels), kept if self._over_batch else None)

    def predict(self, images: np.ndarray, state: Adapted) -> np.ndarray:
        with torch.inference_mode():
            features = self._features(images, statistics=state.statistics or self._moving)
            return F.linear(features, *state.head).softmax(-1).numpy()

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        with torch.inference_mode():
            features = self._features(np.concatenate([images, queries]))
        head = self._adapt_head(features[: len(images)], labels)
        with torch.inference_mode():
            return F.linear(features[len(images) :], *head).softmax(-1).numpy()

    def _adapt_head(self, features: Tensor, labels: np.ndarray) -> list[Tensor]:
        features, truth = features.clone(), torch.from_numpy(labels).long()
        head = [tensor.clone().requires_grad_() for tensor in self._head]
        for _ in range(self._steps):
            loss = F.cross_entropy(F.linear(features, *head), truth)
            gradients = torch.autograd.grad(loss, head)
            head = [
                (tensor - self._step_size * gradient).detach().requires_grad_()
                for tensor, gradient in zip(head, gradients, strict=True)
            ]
        return [tensor.detach() for tensor in head]

    def _features(
        self,
        images: np.ndarray,
        *,
        statistics: list[tuple[Tensor, Tensor]] | None = None,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """Features [n, d] of images uint8 [n, height, width, 3].

        Args:
            images: pixels.
            statistics: of each block; None takes those of the images, or the moving ones.
            kept: where the statistics of the images are put, if they are wanted.
        """
        if statistics is None and not self._over_batch:
            statistics = self._moving
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
        tensor = tensor.to(torch.float32, memory_format=self._layout) * (1 / 255)
        for i, (kernel, scale, offset) in enumerate(self._blocks):
            tensor = F.conv2d(tensor, kernel, padding=1)
            if statistics is None and kept is not None:
                # A momentum of 1 leaves the batch's own statistics in the moving ones.
                mean, variance = torch.zeros_like(scale), torch.zeros_like(scale)
                tensor = F.batch_norm(tensor, mean, variance, scale, offset, True, 1.0, EPSILON)
                count = tensor.numel() // len(scale)
                kept.append((mean, variance * ((count - 1) / count)))
            elif statistics is None:
                tensor = F.batch_norm(tensor, None, None, scale, offset, True, 0.0, EPSILON)
            else:
                tensor = F.batch_norm(tensor, *statistics[i], scale, offset, False, 0.0, EPSILON)
            tensor = F.relu(F.max_pool2d(tensor, 2), inplace=True)
        return tensor.flatten(1)


def main() -> None:
    """Serves the steps on standard input and output."""
    parser = argparse.ArgumentParser(description="Serves PyTorch's adaptation to a Worker.")
    parser.add_argument("--batch", required=True, help="the .npz file with task and weights")
    parser.add_argument("--normalization", choices=("support", "running"), default="support")
    parser.add_argument("--channels_last", action="store_true")
    parser.add_argument("--inner_steps", type=int, default=10)
    parser.add_argument("--inner_step_size", type=float, default=0.01)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(arguments.batch) as file:
        arrays = dict(file)

    def make() -> Conv4:
        return Conv4(
            arrays,
            normalization=arguments.normalization,
            channels_last=arguments.channels_last,
            inner_steps=arguments.inner_steps,
            inner_step_size=arguments.inner_step_size,
        )

    worker.serve(Steps(make, arrays), {"torch": torch.__version__, "threads": 1})


if __name__ == "__main__":
    main()
