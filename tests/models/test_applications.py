"""Networks of keras.applications as bodies. All weights are random: nothing is downloaded."""

import urllib.error

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

import anil_tf
from anil_tf.models import applications, split
from anil_tf.models.applications import Preprocessing, _smallest_side, application_names

SMALL = ("mobilenetv3small", "MobileNetV2")  # capitals do not matter


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=shape).astype("float32")


def assert_close(actual, expected):
    """Relative to the largest: in a frozen network with random weights features all but vanish."""
    expected = np.asarray(expected)
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * largest)


@pytest.fixture(scope="module")
def frozen():
    keras.utils.set_random_seed(0)
    return applications("MobileNetV3Small", input_shape=(32, 32, 3), classes=5, trainable=False)


def test_every_network_of_keras_is_known_with_its_smallest_size_and_its_preprocessing():
    names = application_names()
    assert {"MobileNetV2", "ResNet50", "ConvNeXtTiny", "NASNetMobile"} <= set(names)
    black = keras.ops.zeros([1, 2, 2, 3])
    for name in names:
        assert 16 <= _smallest_side(name) <= 128
        assert Preprocessing(name)(black).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("name", SMALL)
def test_pixels_go_in_and_the_cut_is_below_the_logits(name):
    model = applications(name, input_shape=(32, 32, 3), classes=5)
    body, head = split(model, 1)
    images = pixels(2, 32, 32, 3)
    assert body.output_shape == head.input_shape and len(body.output_shape) == 2
    assert [v.path.split("/")[-2:] for v in head.trainable_variables] == [
        ["logits", "kernel"],
        ["logits", "bias"],
    ]
    assert_close(head(body(images)), model(images))


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
    assert model.get_layer(index=3).output.shape == (None, 32, 48, 3)
    colour = applications("MobileNetV3Small", input_shape=(32, 48, 3), classes=5)
    colour.set_weights(model.get_weights())
    grey = pixels(2, 16, 24, 1)
    enlarged = keras.ops.image.resize(np.repeat(grey, 3, axis=-1), (32, 48))
    assert_close(model(grey), colour(enlarged))


def test_a_prototype_head_adapts_to_a_few_images_in_one_call():
    """Even random features tell dark from bright: no training before `adapt`."""
    keras.utils.set_random_seed(0)
    options = {"input_shape": (16, 16, 1), "classes": 5, "trainable": False}
    body, head = split(applications("EfficientNetV2B0", **options), 1)
    learner = anil_tf.MetaLearner(body, head, head_initialization="prototype")
    dark, bright = pixels(4, 16, 16, 1) / 8, 255 - pixels(4, 16, 16, 1, seed=1) / 8
    images, labels = np.concatenate([dark, bright]), ["dark"] * 4 + ["bright"] * 4
    classifier = learner.adapt(images[::2], labels[::2])
    assert classifier.classify(images[1::2]).tolist() == labels[1::2]


def test_a_frozen_body_has_nothing_to_train_and_keeps_its_moving_statistics(frozen, tmp_path):
    learner = anil_tf.MetaLearner(*split(frozen, 1), head_initialization="prototype")
    assert learner.body_variables == []
    assert [v.name for v in learner.head_variables] == ["prototype_scale"]
    learner.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    images = pixels(1, 4, 32, 32, 3)
    before = learner.body.get_weights()
    inputs = {
        "support_images": images,
        "support_labels": np.array([[0, 0, 1, 1]], "int32"),
        "query_images": images,
    }
    together = learner(inputs, training=True)
    alone = learner(inputs | {"query_images": images[:, :1]}, training=True)
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-4, atol=1e-5)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.body_variables == []
    for old, new, kept in zip(
        before, learner.body.get_weights(), loaded.body.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(old, new)
        np.testing.assert_array_equal(old, kept)


def test_pretrained_weights_are_loaded(frozen, monkeypatch, tmp_path):
    """A file of our own stands in for the download."""
    keras.utils.set_random_seed(7)
    network = keras.applications.MobileNetV3Small(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )
    path = tmp_path / "stand_in.weights.h5"
    network.save_weights(path)
    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: str(path))
    model = applications("MobileNetV3Small", input_shape=(32, 32, 3), classes=5, pretrained=True)
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
