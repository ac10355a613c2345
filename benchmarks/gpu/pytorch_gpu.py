"""The same ANIL meta-step in PyTorch: learn2learn's loop over tasks, and torch.func.vmap.

    python -m benchmarks.gpu.pytorch_gpu DIR/float32 --method=vmap_tasks --compile=default

Batch, initial weights, network and precision are those of the exported step. Methods:

    loop        one task after the other, as learn2learn's ANIL examples do: features, N steps of the head by
                torch.autograd.grad with create_graph, backward; the gradients add up to one step of Adam
    vmap_heads  the body once per task, then torch.func.vmap over the adaptation of the heads
    vmap_tasks  torch.func.vmap over all of a task, so that each convolution runs once for all images

`--compile=default` puts what a method runs forward through torch.compile; `--compile=reduce-overhead` also records it
and its gradient as CUDA graphs. torch.compile refuses autograd.grad, so there the loop adapts by torch.func.grad.
PyTorch is spared a little work: it keeps no moving statistics, and the images of a task come in one tensor.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.gpu import exported, timing

METHODS = ("loop", "vmap_heads", "vmap_tasks")
COMPILE = ("none", "default", "reduce-overhead")

Tensors = tuple[torch.Tensor, ...]
Gradient = Callable[[Callable[..., torch.Tensor], Tensors], Tensors]


@dataclasses.dataclass(frozen=True)
class Anil:
    """The losses of ANIL as pure functions of the weights.

    Weights are kernel, scale and offset of each block of the body, then weight and bias of the head. A task is its
    images, support before query, [n, channels, height, width], and the labels of both, [n_s] and [n_q].

    Attributes:
        inner_steps: N.
        inner_step_size: alpha.
        body_type: in which the convolutions compute.
        gradient: how the inner loop takes gradients.
    """

    inner_steps: int
    inner_step_size: float
    body_type: torch.dtype
    gradient: Gradient

    def task_loss(
        self, weights: Tensors, images: torch.Tensor, *labels: torch.Tensor
    ) -> torch.Tensor:
        """The query loss of one task."""
        return self.loss_of_features(weights[-2:], self.features(weights, images), *labels)

    def features(self, weights: Tensors, images: torch.Tensor) -> torch.Tensor:
        """Features [n, width], float32; batch normalisation over all images of the task."""
        x = images.to(self.body_type) / 255
        for kernel, scale, offset in zip(*(weights[i:-2:3] for i in range(3)), strict=True):
            x = nn.functional.conv2d(x.to(self.body_type), kernel.to(self.body_type), padding=1)
            x = nn.functional.batch_norm(x, None, None, scale, offset, training=True, eps=1e-3)
            x = nn.functional.relu(nn.functional.max_pool2d(x, 2))
        return x.flatten(1).float()

    def loss_of_features(
        self,
        head: Tensors,
        features: torch.Tensor,
        support_labels: torch.Tensor,
        query_labels: torch.Tensor,
    ) -> torch.Tensor:
        """The query loss of one task after N steps of gradient descent on its support loss."""
        support, query = features.tensor_split([len(support_labels)])

        def support_loss(head: Tensors) -> torch.Tensor:
            return _cross_entropy(head, support, support_labels)

        for _ in range(self.inner_steps):
            gradients = self.gradient(support_loss, head)
            steps = zip(head, gradients, strict=True)
            head = tuple(tensor - self.inner_step_size * change for tensor, change in steps)
        return _cross_entropy(head, query, query_labels)

    def mean_loss_by_vmapped_heads(
        self, weights: Tensors, images: torch.Tensor, *labels: torch.Tensor
    ) -> torch.Tensor:
        """The mean query loss of tasks, whose tensors have one more axis in front."""
        features = torch.stack([self.features(weights, task) for task in images.unbind()])
        over_tasks = torch.func.vmap(self.loss_of_features, in_dims=(None, 0, 0, 0))
        return over_tasks(weights[-2:], features, *labels).mean()

    def mean_loss_by_vmapped_tasks(
        self, weights: Tensors, images: torch.Tensor, *labels: torch.Tensor
    ) -> torch.Tensor:
        """The mean query loss of tasks, whose tensors have one more axis in front."""
        over_tasks = torch.func.vmap(self.task_loss, in_dims=(None, 0, 0, 0))
        return over_tasks(weights, images, *labels).mean()


class MetaStep:
    """A meta-step on a device, with the weights and the optimizer that it moves.

    Args:
        step: as `exported.load` returns it.
        method: one of `METHODS`.
        compiled: one of `COMPILE`.
        channels_last: the memory layout of images and kernels.
        device: "cuda" or "cpu".
    """

    def __init__(
        self,
        step: exported.Exported,
        *,
        method: str,
        compiled: str = "none",
        channels_last: bool = False,
        device: str = "cuda",
    ):
        settings = step.facts.settings
        by_tape = method == "loop" and compiled == "none"
        anil = Anil(
            settings["inner_steps"],
            settings["inner_step_size"],
            torch.bfloat16 if step.facts.precision == "bfloat16" else torch.float32,
            gradient_by_tape if by_tape else gradient_by_transform,
        )
        self.weights = _weights(step, device, channels_last)
        for weight in self.weights:
            weight.grad = torch.zeros_like(weight)
        self._batch = _batch(step, device, channels_last)
        self._is_loop = method == "loop"
        self._loss: Callable[..., torch.Tensor] = {
            "loop": anil.task_loss,
            "vmap_heads": anil.mean_loss_by_vmapped_heads,
            "vmap_tasks": anil.mean_loss_by_vmapped_tasks,
        }[method]
        if compiled != "none":
            self._loss = torch.compile(self._loss, fullgraph=True, mode=compiled)
        self._optimizer = torch.optim.Adam(
            self.weights, lr=settings["outer_step_size"], eps=1e-7, fused=device == "cuda"
        )

    def __call__(self) -> torch.Tensor:
        """Takes a meta-step and returns its loss, which may still be on its way."""
        loss = self._loop() if self._is_loop else self._all_at_once()
        self._optimizer.step()
        return loss

    def _loop(self) -> torch.Tensor:
        # Gradients add up in memory of their own: a CUDA graph would overwrite what it returned.
        self._optimizer.zero_grad(set_to_none=False)
        total = torch.zeros((), device=self.weights[0].device)
        count = len(self._batch[0])
        for task in zip(*self._batch, strict=True):
            loss = self._loss(self.weights, *task) / count
            loss.backward()
            total += loss.detach()
        return total

    def _all_at_once(self) -> torch.Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self.weights, *self._batch)
        loss.backward()
        return loss.detach()


def gradient_by_tape(loss: Callable[..., torch.Tensor], tensors: Tensors) -> Tensors:
    """The gradient as learn2learn takes it: of the graph that the loss has just left behind."""
    return torch.autograd.grad(loss(tensors), tensors, create_graph=True)


def gradient_by_transform(loss: Callable[..., torch.Tensor], tensors: Tensors) -> Tensors:
    """The gradient as a transform of the function, which vmap and torch.compile can see through."""
    return torch.func.grad(loss)(tensors)


def _cross_entropy(head: Tensors, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(nn.functional.linear(features, *head), labels)


def _weights(step: exported.Exported, device: str, channels_last: bool) -> Tensors:
    """The initial weights of the exported step, brought from TensorFlow's layout to PyTorch's."""
    *body, kernel, bias = (step.variables[position] for position in step.facts.weights)
    body = [w.transpose(3, 2, 0, 1) if w.ndim == 4 else w for w in body]
    channels = len(body[-1])
    side = round((len(kernel) / channels) ** 0.5)
    width, ways = kernel.shape  # features are flattened channels last there, channels first here
    kernel = kernel.reshape(side, side, channels, ways).transpose(3, 2, 0, 1).reshape(ways, width)
    tensors = [_tensor(value, device, channels_last) for value in (*body, kernel, bias)]
    return tuple(tensor.requires_grad_() for tensor in tensors)


def _batch(step: exported.Exported, device: str, channels_last: bool) -> Tensors:
    """Images [tasks, n, channels, height, width], support labels and query labels [tasks, n_s or n_q]."""
    values = dict(zip(step.facts.arguments, step.arguments, strict=True))
    images = np.concatenate([values["support_images"], values["query_images"]], axis=1)
    images = torch.from_numpy(images).to(device).permute(0, 1, 4, 2, 3)  # channels last in memory
    labels = [torch.from_numpy(values[f"{part}_labels"]) for part in ("support", "query")]
    return (
        images if channels_last else images.contiguous(),
        *(label.long().to(device) for label in labels),
    )


def _tensor(value: np.ndarray, device: str, channels_last: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(value)).to(device)
    is_kernel = channels_last and tensor.ndim == 4
    return tensor.to(memory_format=torch.channels_last) if is_kernel else tensor


def main() -> int:
    parser = timing.parser(__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--compile", choices=COMPILE, default="none")
    parser.add_argument("--channels_last", action="store_true", help="memory layout of images")
    flags = parser.parse_args()
    step = exported.load(flags.exported)
    on_cuda = flags.device == "cuda"
    if on_cuda and not torch.cuda.is_available():
        raise SystemExit("--device=cuda: PyTorch has no such device here.")
    _set_up(step.facts.precision)

    start = time.perf_counter()
    meta_step = MetaStep(
        step,
        method=flags.method,
        compiled=flags.compile,
        channels_last=flags.channels_last,
        device=flags.device,
    )
    losses = [meta_step().item() for _ in step.facts.losses]
    about = {
        "name": _name(flags),
        "compile": flags.compile,
        "device": torch.cuda.get_device_name() if on_cuda else "cpu",
        "versions": {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        },
        "seconds_to_compile_and_check": time.perf_counter() - start,
    }

    def run(steps: int) -> None:
        for _ in range(steps):
            meta_step()
        if on_cuda:
            torch.cuda.synchronize()

    seconds = None
    if flags.repeats:
        seconds = timing.seconds_per_step(run, steps=flags.steps, repeats=flags.repeats)
    return timing.report(step.facts, losses, seconds, about)


def _set_up(precision: str) -> None:
    """TensorFloat-32 as the exported step has it, and cuDNN's fastest kernels."""
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cudnn.benchmark = True


def _name(flags: argparse.Namespace) -> str:
    parts = [f"PyTorch {flags.method}"]
    if flags.channels_last:
        parts.append("channels_last")
    if flags.compile != "none":
        parts.append(f"torch.compile ({flags.compile})")
    return ", ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
