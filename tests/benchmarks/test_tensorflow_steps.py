"""The TensorFlow steps: variants of one method agree, and plain training is what Keras does."""

import functools
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from benchmarks import meta_batch, tensorflow_steps
from benchmarks.worker import Worker

SIZES = {"tasks": 2, "ways": 3, "shots": 2, "queries": 2, "side": 16, "filters": 4}
STEPS = 10  # enough for each of Adam's constants to show
pytestmark = pytest.mark.slow
SUPERVISED = ("supervised", "supervised_folded", "supervised_jit")


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    path = tmp_path_factory.mktemp("steps") / "batch.npz"
    meta_batch.write(path, **SIZES)
    return path


@pytest.fixture(scope="module")
def losses(batch):
    """A function from a step's name to its losses, step by step."""
    steps = tensorflow_steps.Steps(batch)

    @functools.cache
    def take(name):
        step = steps[name]()
        return [step() for _ in range(STEPS)]

    return take


@pytest.fixture(scope="module")
def keras_losses(batch):
    """The losses when Keras trains the library's network on all images."""
    with np.load(batch) as arrays:
        images, labels = (
            np.concatenate([arrays[f"{part}_{kind}"] for part in ("support", "query")], axis=1)
            for kind in ("images", "labels")
        )
        network = anil_tf.models.conv4(
            input_shape=images.shape[2:], classes=SIZES["ways"], filters=SIZES["filters"]
        )
        network.set_weights(tensorflow_steps.in_keras_order(arrays))
    network.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    images, labels = images.reshape(-1, *images.shape[2:]), labels.reshape(-1)
    losses = []
    for _ in range(STEPS):
        network.reset_metrics()
        losses.append(network.train_on_batch(images, labels))
    return losses


@pytest.mark.parametrize("name", SUPERVISED)
def test_plain_training_is_that_of_keras_with_its_adam(losses, keras_losses, name):
    assert losses(name) == pytest.approx(keras_losses, abs=1e-5)
    assert np.ptp(keras_losses) > 0.02, "the weights hardly move: agreement says nothing of Adam"


@pytest.mark.parametrize("pair", [("anil@3", "anil_unrolled@3"), ("maml@2", "maml_explicit@2")])
def test_explicit_and_unrolled_derivatives_give_the_same_meta_steps(losses, pair):
    first, second = map(losses, pair)
    assert first == pytest.approx(second, abs=1e-5)
    assert first[-1] < first[0] - 0.01


def test_first_order_has_the_loss_of_second_order_and_another_gradient(losses):
    exact, truncated = losses("maml@2"), losses("maml_first_order@2")
    assert exact[0] == pytest.approx(truncated[0], abs=1e-5)
    assert exact[-1] != pytest.approx(truncated[-1], abs=1e-4)


def test_inner_steps_and_adapted_layers_are_those_of_the_name(losses):
    firsts = [losses(name)[0] for name in ("anil@0", "anil@3", "two_layers@3", "maml@2")]
    assert len({round(loss, 4) for loss in firsts}) == 4
    assert losses("anil@3")[0] < losses("anil@0")[0], "adaptation did not help"


def test_a_bfloat16_body_computes_nearly_the_same_and_keeps_its_weights(batch, losses):
    exact, rounded = losses("anil@3")[0], losses("anil_bfloat16@3")[0]
    assert rounded != exact and rounded == pytest.approx(exact, abs=0.1)
    with np.load(batch) as arrays:
        learner = tensorflow_steps._learner(
            dict(arrays), 1, True, **tensorflow_steps.METHODS["anil"]
        )
    assert {layer.compute_dtype for layer in learner.body.layers[1:]} == {"bfloat16"}
    assert {variable.dtype for variable in learner.body_variables} == {"float32"}


@pytest.mark.parametrize("name", ["anil", "anil@x", "bfloat16_anil@1", "supervised@1", "@1"])
def test_an_unknown_name_is_told_the_known_ones(batch, name):
    steps = tensorflow_steps.Steps(batch)
    with pytest.raises(ValueError, match=rf"METHOD one of anil, .*received '{name}'") as raised:
        steps[name]
    assert "\n" not in str(raised.value)


def test_the_script_serves_them(batch, losses, repository, monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    script = repository / "benchmarks" / "tensorflow_steps.py"
    with Worker(sys.executable, script, f"--batch={batch}", "--share_out_cores") as worker:
        about = worker.describe()
        assert about["tensorflow"] == tf.__version__
        assert about["threads"] >= 1 and about["interop_threads"] >= 2
        assert worker.loss("anil@3") == pytest.approx(losses("anil@3")[0], abs=1e-5)
        assert len(worker.time("anil@3", repeats=2)) == 2


def test_a_file_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tensorflow_steps.py", "--batch=no_such.npz"])
    with pytest.raises(SystemExit, match="2"):
        tensorflow_steps.main()
    assert "--batch: expected a file, received no_such.npz" in capsys.readouterr().err
