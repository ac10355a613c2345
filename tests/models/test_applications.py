"""Networks of keras.applications as bodies. All weights are random: nothing is downloaded."""

import urllib.error

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

import anil_tf
from anil_tf.models import applications, split
from anil_tf.models.applications import Preprocessing, _smallest_side, application_names

SHAPE = {"input_shape": (32, 32, 3), "classes": 5}


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=shape).astype("float32")


def assert_close(actual, expected):
    """Relative to the largest: in a frozen network with random weights features all but vanish."""
    expected = np.asarray(expected)
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * largest)


def test_every_network_of_keras_is_known_with_its_smallest_size_and_its_preprocessing():
    names = application_names()
    assert {"MobileNetV2", "ResNet50", "ConvNeXtTiny", "NASNetMobile"} <= set(names)
    black = keras.ops.zeros([1, 2, 2, 3])
    for name in names:
        assert 16 <= _smallest_side(name) <= 128
        assert Preprocessing(name)(black).shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("name", "white"),
    [
        ("MobileNetV2", [1, 1, 1]),
        ("VGG16", [151.061, 138.221, 131.32]),
        ("ConvNeXtTiny", [255] * 3),
    ],
)
def test_preprocessing_is_the_networks_own(name, white):
    images = np.full([1, 1, 1, 3], 255.0, "float32")
    np.testing.assert_allclose(Preprocessing(name)(images)[0, 0, 0], white, rtol=1e-5)
    assert images.min() == 255.0


def test_small_images_are_enlarged_without_distortion_and_grey_ones_repeated():
    model = applications("MobileNetV3Small", input_shape=(16, 24, 1), classes=5)
    grey = pixels(2, 16, 24, 1)
    seen = keras.Model(model.input, model.get_layer(index=3).output)(grey)
    enlarged = keras.ops.image.resize(np.repeat(grey, 3, axis=-1), (32, 48))
    assert_close(seen, enlarged / 127.5 - 1.0)  # as this network scales its pixels


def test_a_frozen_body_adapts_without_training_and_keeps_its_moving_statistics(tmp_path):
    """Even random features tell dark from bright."""
    keras.utils.set_random_seed(0)
    frozen = applications("mobilenetv3small", **SHAPE, trainable=False)  # capitals do not matter
    body, head = split(frozen, 1)
    paths = [variable.path.split("/")[-2:] for variable in head.trainable_variables]
    assert paths == [["logits", "kernel"], ["logits", "bias"]] and len(body.output_shape) == 2
    learner = anil_tf.MetaLearner(body, head, head_initialization="prototype")
    assert learner.body_variables == []
    assert [v.name for v in learner.head_variables] == ["prototype_scale"]
    learner.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    before = learner.body.get_weights()
    dark, bright = pixels(4, 32, 32, 3) / 8, 255 - pixels(4, 32, 32, 3, seed=1) / 8
    images, labels = np.concatenate([dark, bright]), np.repeat([0, 1], 4).astype("int32")
    inputs = {
        "support_images": images[None, ::2],
        "support_labels": labels[None, ::2],
        "query_images": images[None, 1::2],
    }
    together = learner(inputs, training=True)
    np.testing.assert_array_equal(np.argmax(together[0], axis=1), labels[1::2])
    alone = learner(inputs | {"query_images": images[None, 1:2]}, training=True)
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-4, atol=1e-5)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.body_variables == []
    after = learner.body.get_weights(), loaded.body.get_weights()
    for old, new, kept in zip(before, *after, strict=True):
        np.testing.assert_array_equal(old, new)
        np.testing.assert_array_equal(old, kept)


def test_pretrained_weights_are_loaded(monkeypatch, tmp_path):
    """A file of our own stands in for the download."""
    keras.utils.set_random_seed(7)
    network = keras.applications.MobileNetV3Small(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )
    path = tmp_path / "stand_in.weights.h5"
    network.save_weights(path)
    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: str(path))
    model = applications("MobileNetV3Small", **SHAPE, pretrained=True)
    images = pixels(2, 32, 32, 3)
    body, _ = split(model, 1)
    assert_close(body(images), network(images))


def test_weights_that_cannot_be_downloaded_are_said_in_one_line(monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(file_utils, "urlretrieve", unreachable)
    monkeypatch.setattr(file_utils.os.path, "exists", lambda path: False)
    with pytest.raises(ValueError, match=r"ImageNet weights of MobileNetV2 .*no network") as caught:
        applications("MobileNetV2", input_shape=(96, 96, 3), classes=5, pretrained=True)
    message = str(caught.value)
    assert "\n" not in message and "--nopretrained" in message
    assert "models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5" in message


@pytest.mark.parametrize(
    ("name", "input_shape", "message"),
    [
        ("mobilnetv2", (32, 32, 3), "no network 'mobilnetv2'; did you mean MobileNetV2, "),
        ("zzz", (32, 32, 3), "expected one of ConvNeXtBase, .*Xception"),
        ("MobileNetV2", (32, 32, 4), r"1 or 3 channels.*Received: \(32, 32, 4\)"),
    ],
)
def test_what_does_not_exist_is_refused(name, input_shape, message):
    with pytest.raises(ValueError, match=message) as caught:
        applications(name, input_shape=input_shape, classes=5)
    assert "\n" not in str(caught.value)
