"""The PyTorch meta-steps: all the same mathematics, checked against modules of torch.nn and against differences.

They need an environment of their own, with the packages of benchmarks/requirements.txt, pytest and hypothesis.
"""

import copy
import functools
import math
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="see benchmarks/requirements.txt")
pytest.importorskip("higher", reason="see benchmarks/requirements.txt")

from torch.func import functional_call  # noqa: E402
from torch.nn import functional  # noqa: E402

from benchmarks import pytorch_steps  # noqa: E402
from benchmarks.worker import Worker  # noqa: E402

TASKS, SHOTS, WAYS, FILTERS, SIDE = 2, 6, 3, 4, 32
ANIL = ("anil_loop", "anil_higher", "anil_vmap")
MAML = ("maml_loop", "maml_vmap")
LAYOUTS = ("", "_channels_last")


def _arrays(dtype):
    """A file of the driver's, at a small size; scales and offsets that are not the initial ones, as in training."""
    random = np.random.default_rng(0)
    arrays = {}
    for part in ("support", "query"):
        arrays[f"{part}_images"] = random.integers(0, 256, [TASKS, SHOTS, SIDE, SIDE, 3])
        arrays[f"{part}_labels"] = random.permuted(
            np.tile(np.arange(SHOTS) % WAYS, (TASKS, 1)), axis=1
        )
    channels = [3] + [FILTERS] * 4
    for i in range(4):
        shape = [3, 3, channels[i], channels[i + 1]]
        arrays[f"kernel_{i}"] = random.normal(size=shape) * math.sqrt(2 / 9 / channels[i])
        arrays[f"gamma_{i}"] = random.uniform(0.5, 1.5, FILTERS)
        arrays[f"beta_{i}"] = random.normal(size=FILTERS) / 10
    width = (SIDE // 16) ** 2 * FILTERS
    arrays["head_kernel"] = random.normal(size=[width, WAYS]) / math.sqrt(width)
    arrays["head_bias"] = random.normal(size=WAYS) / 10
    return {
        name: array.astype("int32" if "labels" in name else dtype) for name, array in arrays.items()
    }


pytestmark = pytest.mark.slow  # all in PyTorch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors are small: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def single_file(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("single") / "batch.npz", "float32")


@pytest.fixture(scope="module")
def single(single_file):
    return pytorch_steps.Steps(single_file)


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return pytorch_steps.Steps(_write(tmp_path_factory.mktemp("double") / "batch.npz", "float64"))


def _write(path, dtype):
    np.savez(path, **_arrays(dtype))
    return path


@functools.cache
def _reference_loss(inner_steps, *, maml):
    """The meta-loss in float64 from modules of torch.nn that keep TensorFlow's order of features."""
    arrays = _arrays("float64")
    body = torch.nn.Sequential()
    for i in range(4):
        outputs, inputs = arrays[f"kernel_{i}"].shape[3], arrays[f"kernel_{i}"].shape[2]
        body.append(torch.nn.Conv2d(inputs, outputs, 3, padding="same", bias=False))
        body.append(torch.nn.BatchNorm2d(outputs, eps=1e-3, track_running_stats=False))
        body.append(torch.nn.ReLU())
        body.append(torch.nn.MaxPool2d(2))
    start = {"head_kernel": arrays["head_kernel"], "head_bias": arrays["head_bias"]}
    for i in range(4):
        start[f"{4 * i}.weight"] = arrays[f"kernel_{i}"].transpose(3, 2, 0, 1)
        start[f"{4 * i + 1}.weight"], start[f"{4 * i + 1}.bias"] = (
            arrays[f"gamma_{i}"],
            arrays[f"beta_{i}"],
        )
    start = {name: torch.tensor(value).requires_grad_() for name, value in start.items()}

    def logits(weights, pixels):
        blocks = {name: weight for name, weight in weights.items() if "head" not in name}
        maps = functional_call(body, blocks, torch.tensor(pixels).permute(0, 3, 1, 2) / 255)
        features = maps.permute(0, 2, 3, 1).flatten(1)
        return features @ weights["head_kernel"] + weights["head_bias"]

    losses = []
    for task in range(TASKS):
        support, query = arrays["support_images"][task], arrays["query_images"][task]
        both = np.concatenate([support, query])
        support_labels = torch.tensor(arrays["support_labels"][task]).long()
        query_labels = torch.tensor(arrays["query_labels"][task]).long()
        weights = dict(start)
        moved = list(weights) if maml else ["head_kernel", "head_bias"]
        for _ in range(inner_steps):
            # ANIL's features are those of the whole task; MAML's inner passes see the support alone.
            answers = logits(weights, support) if maml else logits(weights, both)[:SHOTS]
            loss = functional.cross_entropy(answers, support_labels)
            gradients = torch.autograd.grad(loss, [weights[name] for name in moved])
            for name, gradient in zip(moved, gradients, strict=True):
                weights[name] = weights[name] - (0.01 if maml else 0.1) * gradient
        answers = logits(weights, both)[SHOTS:]
        losses.append(functional.cross_entropy(answers, query_labels).item())
    return sum(losses) / TASKS


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inner_steps", [0, 1, 4])
@pytest.mark.parametrize("method", [*ANIL, *MAML, "maml_loop_first_order"])
def test_the_first_loss_is_that_of_the_definition(double, single, method, inner_steps, layout):
    expected = _reference_loss(inner_steps, maml=method.startswith("maml"))
    name = f"{method}{layout}@{inner_steps}"
    assert double[name]()() == pytest.approx(expected, abs=1e-10)
    assert single[name]()() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", [*ANIL, *MAML])
def test_the_meta_gradient_is_that_of_central_differences(double, method, layout):
    step = double[f"{method}{layout}@3"]()
    model = step.model
    start = [weight.detach().clone() for weight in model.weights]
    step.method(model, step.batch, 3)
    torch.manual_seed(0)
    direction = [torch.randn_like(weight) for weight in start]
    slope = sum(
        (weight.grad * part).sum().item()
        for weight, part in zip(model.weights, direction, strict=True)
    )

    def loss_at(distance):
        moved = copy.copy(model)
        moved.weights = [
            (weight + distance * part).requires_grad_()
            for weight, part in zip(start, direction, strict=True)
        ]
        if method == "anil_higher":  # it asks for parameters
            moved.weights = [torch.nn.Parameter(weight.detach()) for weight in moved.weights]
        return step.method(moved, step.batch, 3).item()

    # Few of the many ReLU and pooling switches lie within so small a distance.
    assert (loss_at(1e-7) - loss_at(-1e-7)) / 2e-7 == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("methods", [ANIL, MAML, ("maml_loop_first_order",)])
def test_variants_agree_in_gradients_and_in_the_weights_after_an_update(single, methods):
    names = [f"{method}{layout}@3" for method in methods for layout in LAYOUTS]
    steps = [single[name]() for name in names]
    for step in steps:
        step()
    first = steps[0]
    for step in steps[1::2]:
        tensors = [*step.batch.images, *step.model.body[::3]]
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
    before = single[names[0]]().model.weights
    assert all(
        (new - old).abs().max() > 5e-4 for new, old in zip(first.model.weights, before, strict=True)
    )
    for name, step in zip(names, steps, strict=True):
        for ours, theirs in zip(first.model.weights, step.model.weights, strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=2e-5, msg=name)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=name)


def test_first_order_has_another_gradient(double):
    exact, truncated = double["maml_loop@3"](), double["maml_loop_first_order@3"]()
    exact(), truncated()
    assert not torch.allclose(exact.model.body[0].grad, truncated.model.body[0].grad, rtol=1e-3)


@pytest.mark.parametrize("method", list(pytorch_steps.METHODS))
def test_a_bfloat16_body_computes_nearly_the_same_and_keeps_its_weights(single, method):
    exact = single[f"{method}@2"]()()
    step = single[f"{method}_bfloat16@2"]()
    rounded = step()
    assert rounded != exact and rounded == pytest.approx(exact, abs=0.1)
    assert all(weight.dtype == weight.grad.dtype == torch.float32 for weight in step.model.weights)


@pytest.mark.parametrize("method", ["anil_loop", "anil_vmap", "maml_loop"])
def test_moving_statistics_move_as_those_of_a_module_do(single, method):
    step = single[f"{method}@0"]()
    expected = torch.nn.BatchNorm2d(FILTERS, eps=1e-3)
    for images in step.batch.images:
        expected(functional.conv2d(images / 255, step.model.body[0].detach(), padding=1))
    step()
    mean, variance = step.model.moving[0]
    torch.testing.assert_close(mean, expected.running_mean)
    torch.testing.assert_close(variance, expected.running_var)


def test_meta_steps_learn_the_batch(single):
    step = single["anil_loop@5"]()
    losses = [step() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["anil_loop", "anil_loop@x", "anil_loop_bfloat16_channels_last@1"])
def test_an_unknown_name_is_told_the_known_ones(single, name):
    with pytest.raises(ValueError, match=f"METHOD one of anil_loop, .*received '{name}'") as raised:
        single[name]
    assert "\n" not in str(raised.value)


def test_the_script_serves_them(single_file, single, repository):
    script = repository / "benchmarks" / "pytorch_steps.py"
    with Worker(sys.executable, script, f"--batch={single_file}") as worker:
        assert worker.describe()["torch"] == torch.__version__
        assert worker.loss("anil_vmap@2") == pytest.approx(single["anil_vmap@2"]()(), abs=1e-6)
