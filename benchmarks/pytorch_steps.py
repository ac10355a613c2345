"""Meta-steps in PyTorch, to time TensorFlow's against: python benchmarks/pytorch_steps.py --batch=FILE.npz

Serves the steps (see `worker.py`) under names METHOD[_channels_last][_bfloat16]@N, with N inner steps. METHOD is one of

    anil_loop              a Python loop over tasks, written as in learn2learn's examples
    anil_higher            the same loop, its inner steps taken by the package `higher`
    anil_vmap              the inner loops of all tasks at once, by torch.func.vmap
    maml_loop              the loop of anil_loop, with every weight adapted
    maml_loop_first_order  the same without the second-order terms of the meta-gradient
    maml_vmap              whole tasks at once, by torch.func.vmap: filters per task become grouped convolutions

Each is a whole meta-step: forward, meta-gradient, Adam. All start from the weights of the file and, in float32, compute
the same numbers. PyTorch is given what helps it: images laid out and each task's joined before the clock starts, fused
Adam, in-place ReLU behind the pooling, gradients set to None.

Shapes: B tasks of n_s support and n_q query images, n = n_s + n_q in all; d features.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import higher
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS = 4
BATCH_NORM = {"eps": 1e-3, "momentum": 0.1}  # the epsilon is Keras', the momentum nn.BatchNorm2d's
ADAM = {"lr": 1e-3, "eps": 1e-7, "fused": True}  # the epsilon is Keras'
ANIL_STEP_SIZE = 0.1
MAML_STEP_SIZE = 0.01

Weights = list[Tensor]


# ---- What the file holds ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Batch:
    """A meta-batch: `images` [B, n, 3, H, W], support first; `support_labels` [B, n_s], `query_labels` [B, n_q]."""

    images: Tensor
    support_labels: Tensor
    query_labels: Tensor

    def tasks(self) -> zip[tuple[Tensor, Tensor, Tensor]]:
        return zip(self.images, self.support_labels, self.query_labels, strict=True)


def load_batch(arrays: dict[str, np.ndarray], *, channels_last: bool) -> Batch:
    """Returns the images and labels of the file; the images' layout in memory is either of PyTorch's two."""
    pixels = np.concatenate([arrays["support_images"], arrays["query_images"]], axis=1)
    images = torch.from_numpy(pixels).permute(0, 1, 4, 2, 3)  # a task of it is in channels_last now
    support, query = (torch.from_numpy(arrays[f"{part}_labels"]) for part in ("support", "query"))
    return Batch(images if channels_last else images.contiguous(), support.long(), query.long())


class Conv4:
    """Conv4: four times convolution, batch normalisation, pooling and ReLU; then a linear head.

    Attributes:
        weights: kernel, scale and offset of each block, then matrix and bias of the head; all leaves.
        moving: moving mean and variance of each block.
        bfloat16: whether the body computes in bfloat16, under autocast.
    """

    def __init__(self, arrays: dict[str, np.ndarray], *, channels_last: bool, bfloat16: bool):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        weights = []
        for i in range(BLOCKS):
            kernel = torch.tensor(arrays[f"kernel_{i}"]).permute(3, 2, 0, 1)
            weights.append(kernel.contiguous(memory_format=layout))
            weights += [torch.tensor(arrays[f"gamma_{i}"]), torch.tensor(arrays[f"beta_{i}"])]
        side = arrays["support_images"].shape[2] // 2**BLOCKS
        width = arrays["support_images"].shape[3] // 2**BLOCKS
        matrix = _channels_first_rows(torch.tensor(arrays["head_kernel"]), side, width)
        weights += [matrix.T.contiguous(), torch.tensor(arrays["head_bias"])]
        self.weights: Weights = [torch.nn.Parameter(weight) for weight in weights]
        scales = self.weights[1 : 3 * BLOCKS : 3]
        self.moving = [(torch.zeros_like(s.data), torch.ones_like(s.data)) for s in scales]
        self.bfloat16 = bfloat16

    @property
    def body(self) -> Weights:
        return self.weights[: 3 * BLOCKS]

    @property
    def head(self) -> Weights:
        return self.weights[3 * BLOCKS :]

    def features(
        self,
        images: Tensor,
        body: Weights,
        *,
        moving: Sequence[tuple[Tensor, Tensor]] | None = None,
        fused: bool = True,
    ) -> Tensor:
        """Features [n, d] of images [n, 3, H, W], normalised over these images.

        Args:
            images: pixels, 0 to 255.
            body: kernel, scale and offset of each block.
            moving: the moving statistics to update; None to leave them alone.
            fused: whether to take PyTorch's own batch normalisation, or to write it out in plain operations.
        """
        tensor = images * (1 / 255)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            for i in range(BLOCKS):
                kernel, scale, offset = body[3 * i : 3 * i + 3]
                tensor = F.conv2d(tensor, kernel, padding=1)
                if fused:
                    mean, variance = moving[i] if moving else (None, None)
                    tensor = F.batch_norm(
                        tensor, mean, variance, scale, offset, training=True, **BATCH_NORM
                    )
                else:
                    tensor = _batch_norm_by_moments(tensor, scale, offset)
                tensor = F.relu(F.max_pool2d(tensor, 2), inplace=True)
        return tensor.flatten(1).to(images.dtype)

    def logits(self, images: Tensor, weights: Weights, **normalization: Any) -> Tensor:
        """Logits [n, ways] of images [n, 3, H, W] under any weights; `normalization` as in `features`."""
        features = self.features(images, weights[: 3 * BLOCKS], **normalization)
        return F.linear(features, *weights[3 * BLOCKS :])


def _batch_norm_by_moments(tensor: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Batch normalisation of [n, C, H, W] in plain operations."""
    variance, mean = torch.var_mean(tensor, dim=(0, 2, 3), correction=0)
    factor = scale * torch.rsqrt(variance + BATCH_NORM["eps"])
    shift = offset - mean * factor
    return tensor * factor[:, None, None] + shift[:, None, None]


def _channels_first_rows(matrix: Tensor, height: int, width: int) -> Tensor:
    """A head matrix [d, ways] for features flattened channels first, from one for channels last."""
    rows = matrix.reshape(height, width, -1, matrix.shape[-1])
    return rows.permute(2, 0, 1, 3).reshape(matrix.shape)


# ---- Meta-gradients: each leaves it in the weights' .grad, and returns the meta-loss ---------------------------------

Method = Callable[[Conv4, Batch, int], Tensor]


def anil_loop(model: Conv4, batch: Batch, inner_steps: int) -> Tensor:
    """One task after the other, the backward pass of each accumulated."""
    total = model.head[0].new_zeros(())
    for images, support_labels, query_labels in batch.tasks():
        features = model.features(images, model.body, moving=model.moving)
        support, query = features.tensor_split([len(support_labels)])
        head = _descend(
            lambda head, x=support, y=support_labels: F.cross_entropy(F.linear(x, *head), y),
            model.head,
            inner_steps,
            ANIL_STEP_SIZE,
        )
        loss = F.cross_entropy(F.linear(query, *head), query_labels) / len(batch.images)
        loss.backward()
        total += loss.detach()
    return total


def anil_higher(model: Conv4, batch: Batch, inner_steps: int) -> Tensor:
    """As `anil_loop`, with the inner loop of the package `higher`."""
    total = model.head[0].new_zeros(())
    head = _linear(*model.head)
    inner_optimizer = torch.optim.SGD(head.parameters(), lr=ANIL_STEP_SIZE)
    for images, support_labels, query_labels in batch.tasks():
        features = model.features(images, model.body, moving=model.moving)
        support, query = features.tensor_split([len(support_labels)])
        context = higher.innerloop_ctx(head, inner_optimizer, copy_initial_weights=False)
        with context as (adapted, optimizer):
            for _ in range(inner_steps):
                optimizer.step(F.cross_entropy(adapted(support), support_labels))
            loss = F.cross_entropy(adapted(query), query_labels) / len(batch.images)
            loss.backward()
        total += loss.detach()
    return total


def anil_vmap(model: Conv4, batch: Batch, inner_steps: int) -> Tensor:
    """The body once per task, since it normalises over the task; then the heads of all tasks at once."""

    def query_loss(features: Tensor, support_labels: Tensor, query_labels: Tensor) -> Tensor:
        support, query = features.tensor_split([len(support_labels)])
        head = _descend_functionally(
            lambda head: F.cross_entropy(F.linear(support, *head), support_labels),
            model.head,
            inner_steps,
            ANIL_STEP_SIZE,
        )
        return F.cross_entropy(F.linear(query, *head), query_labels)

    features = [model.features(images, model.body, moving=model.moving) for images in batch.images]
    losses = torch.func.vmap(query_loss)(
        torch.stack(features), batch.support_labels, batch.query_labels
    )
    loss = losses.mean()
    loss.backward()
    return loss.detach()


def maml_loop(model: Conv4, batch: Batch, inner_steps: int, *, second_order: bool = True) -> Tensor:
    """One task after the other: inner passes over the support, then one over support and query together.

    Inner passes that are differentiated twice write batch normalisation out: the second derivative of PyTorch's own is
    slower in channels_last, and no faster otherwise.
    """
    total = model.head[0].new_zeros(())
    for images, support_labels, query_labels in batch.tasks():
        support = images[: len(support_labels)]
        weights = _descend(
            lambda weights, x=support, y=support_labels: F.cross_entropy(
                model.logits(x, weights, fused=not second_order), y
            ),
            model.weights,
            inner_steps,
            MAML_STEP_SIZE,
            second_order=second_order,
        )
        logits = model.logits(images, weights, moving=model.moving)[len(support) :]
        loss = F.cross_entropy(logits, query_labels) / len(batch.images)
        loss.backward()
        total += loss.detach()
    return total


def maml_loop_first_order(model: Conv4, batch: Batch, inner_steps: int) -> Tensor:
    """`maml_loop` with the support gradients as constants."""
    return maml_loop(model, batch, inner_steps, second_order=False)


def maml_vmap(model: Conv4, batch: Batch, inner_steps: int) -> Tensor:
    """Whole tasks at once.

    Batch normalisation is written out: under vmap, the second derivative of PyTorch's own is wrong (see
    github.com/pytorch/functorch/issues/534; the loop's is right). Moving statistics stay as they are, for vmap cannot
    update one tensor from many tasks.
    """

    def query_loss(images: Tensor, support_labels: Tensor, query_labels: Tensor) -> Tensor:
        support = images[: len(support_labels)]
        weights = _descend_functionally(
            lambda weights: F.cross_entropy(
                model.logits(support, weights, fused=False), support_labels
            ),
            model.weights,
            inner_steps,
            MAML_STEP_SIZE,
        )
        logits = model.logits(images, weights, fused=False)[len(support_labels) :]
        return F.cross_entropy(logits, query_labels)

    losses = torch.func.vmap(query_loss)(batch.images, batch.support_labels, batch.query_labels)
    loss = losses.mean()
    loss.backward()
    return loss.detach()


METHODS: dict[str, Method] = {
    "anil_loop": anil_loop,
    "anil_higher": anil_higher,
    "anil_vmap": anil_vmap,
    "maml_loop": maml_loop,
    "maml_loop_first_order": maml_loop_first_order,
    "maml_vmap": maml_vmap,
}


def _descend(
    loss: Callable[[Weights], Tensor],
    start: Weights,
    steps: int,
    step_size: float,
    *,
    second_order: bool = True,
) -> Weights:
    """Gradient descent on one task, by torch.autograd; differentiable with respect to `start`."""
    weights = [weight.clone() for weight in start]
    for _ in range(steps):
        gradients = torch.autograd.grad(loss(weights), weights, create_graph=second_order)
        weights = _move(weights, gradients, step_size)
    return weights


def _descend_functionally(
    loss: Callable[[Weights], Tensor], start: Weights, steps: int, step_size: float
) -> Weights:
    """Gradient descent on one task, by torch.func, which vmap can see through."""
    weights = list(start)
    for _ in range(steps):
        weights = _move(weights, torch.func.grad(loss)(weights), step_size)
    return weights


def _move(weights: Weights, gradients: Sequence[Tensor], step_size: float) -> Weights:
    return [w.sub(g, alpha=step_size) for w, g in zip(weights, gradients, strict=True)]


def _linear(weight: Tensor, bias: Tensor) -> torch.nn.Linear:
    """A linear layer around given leaves."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = weight, bias
    return layer


# ---- Steps by name ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class MetaStep:
    """A call takes one meta-step on the batch, the same one every time, and returns the meta-loss before it."""

    model: Conv4
    batch: Batch
    method: Method
    inner_steps: int

    def __post_init__(self):
        self.optimizer = torch.optim.Adam(self.model.weights, **ADAM)

    def __call__(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.method(self.model, self.batch, self.inner_steps)
        self.optimizer.step()
        return loss.item()


class Steps(dict):
    """Builders of the meta-steps on the batch in `file`, by name; the name says how many inner steps."""

    def __init__(self, file: str | Path):
        super().__init__()
        self._file = file

    def __missing__(self, name: str) -> Callable[[], MetaStep]:
        pattern = rf"({'|'.join(METHODS)})(_channels_last)?(_bfloat16)?@(\d+)"
        found = re.fullmatch(pattern, name)
        if not found:
            raise ValueError(
                f"step: expected METHOD[_channels_last][_bfloat16]@N, METHOD one of {', '.join(METHODS)} and N a "
                f"number; received {name!r}."
            )
        method, channels_last, bfloat16, inner_steps = found.groups()
        return lambda: self._build(
            METHODS[method], int(inner_steps), bool(channels_last), bool(bfloat16)
        )

    def _build(
        self, method: Method, inner_steps: int, channels_last: bool, bfloat16: bool
    ) -> MetaStep:
        with np.load(self._file) as file:
            arrays = dict(file)
        model = Conv4(arrays, channels_last=channels_last, bfloat16=bfloat16)
        batch = load_batch(arrays, channels_last=channels_last)
        return MetaStep(model, batch, method, inner_steps)


def describe() -> dict[str, str | int]:
    """Returns versions, and the number of threads, which is the one that PyTorch takes by itself."""
    return {
        "torch": torch.__version__,
        "higher": importlib.metadata.version("higher"),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available(),
    }


def main() -> None:
    """Serves the steps on standard input and output."""
    parser = argparse.ArgumentParser(description="Serves PyTorch meta-steps to a Worker.")
    parser.add_argument("--batch", required=True, help="the .npz file with batch and weights")
    file = parser.parse_args().batch
    if not Path(file).is_file():
        parser.error(f"--batch: expected a file, received {file}.")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks import worker

    worker.serve(Steps(file), describe())


if __name__ == "__main__":
    main()
