"""The networks of the library: shapes, what they leave out, precision, refusals."""

import keras
import numpy as np
import pytest

from anil_tf.models import conv4, mlp, resnet12, smooth_conv4, split
from tests.learners import precision

IMAGES = [(28, 28, 1), (84, 84, 3)]


def pixels(count, shape):
    return np.random.default_rng(0).integers(0, 256, size=(count, *shape)).astype("float32")


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize(
    ("form", "input_shape"),
    [
        ("max", (84, 84, 3)),
        ("average", (28, 28, 1)),
        ("strided", (28, 28, 1)),
        ("strided", (8, 8, 1)),
    ],
)
def test_conv4_halves_four_times(input_shape, form):
    options = {"strided": True} if form == "strided" else {"pooling": form}
    model = conv4(input_shape=input_shape, classes=5, filters=6, **options)
    side = input_shape[0]
    halved = [side := -(-side // 2) if form == "strided" else side // 2 for _ in range(4)]
    maps = {"max": "MaxPooling2D", "average": "AveragePooling2D", "strided": "Conv2D"}[form]
    outputs = [layer.output.shape for layer in model.layers if type(layer).__name__ == maps]
    assert outputs == [(None, size, size, 6) for size in halved]
    features = 6 if form == "strided" else 6 * halved[-1] ** 2
    assert split(model, 1)[1].input_shape == (None, features)
    assert model(pixels(2, input_shape)).shape == (2, 5)


def test_conv4_has_64_filters_by_default():
    """3x3 kernels, scale and offset in four blocks; then 2x2x64 features to 5 classes."""
    model = conv4(input_shape=(32, 32, 3), classes=5)
    kernels = 9 * 64 * (3 + 3 * 64)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == kernels + 4 * 2 * 64 + (256 * 5 + 5)


@pytest.mark.parametrize(
    "model",
    [
        conv4(input_shape=(16, 16, 3), classes=5, filters=2),
        conv4(input_shape=(16, 16, 3), classes=5, filters=2, strided=True),
        resnet12(input_shape=(16, 16, 3), classes=5, filters=(2, 2, 2, 2)),
    ],
    ids=["conv4", "strided", "resnet12"],
)
def test_no_bias_before_batch_normalisation(model):
    assert len(convolutions(model)) >= 4
    assert not any(layer.use_bias for layer in convolutions(model))
    assert split(model, 1)[1].layers[-1].use_bias


@pytest.mark.parametrize("input_shape", IMAGES)
def test_resnet12_halves_at_each_block_and_averages(input_shape):
    model = resnet12(input_shape=input_shape, classes=5, filters=(2, 3, 4, 5))
    pooled = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    sizes = [input_shape[0] // 2**block for block in (1, 2, 3, 4)]
    expected = [(None, n, n, width) for n, width in zip(sizes, (2, 3, 4, 5), strict=True)]
    assert [layer.output.shape for layer in pooled] == expected
    assert len(convolutions(model)) == 4 * (3 + 1)
    assert split(model, 1)[1].input_shape == (None, 5)
    assert model(pixels(2, input_shape)).shape == (2, 5)


def test_resnet12_has_the_published_widths_and_drops_out_only_in_training():
    inputs = {"input_shape": (16, 16, 3), "classes": 5}
    assert split(resnet12(**inputs), 1)[1].input_shape == (None, 640)
    model = resnet12(**inputs, filters=(2, 2, 2, 2), dropout=0.5)
    assert [type(layer).__name__ for layer in model.layers].count("Dropout") == 4
    images = pixels(2, (16, 16, 3))
    np.testing.assert_array_equal(model(images), model(images))


@pytest.mark.parametrize("input_shape", IMAGES)
def test_smooth_conv4_halves_four_times_without_a_kink_or_batch_statistics(input_shape):
    model = smooth_conv4(input_shape=input_shape, classes=5, filters=6)
    side = input_shape[0] // 16
    assert split(model, 1)[1].input_shape == (None, 6 * side**2)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert not kinds & {"BatchNormalization", "ReLU", "MaxPooling2D"}
    assert all(layer.activation is keras.activations.tanh for layer in convolutions(model))


def test_smooth_conv4_features_have_unit_scale_whatever_the_contrast():
    """Noise with the spectrum of natural images: 1 over the frequency."""
    keras.utils.set_random_seed(0)
    body = split(smooth_conv4(input_shape=(32, 32, 3), classes=5), 1)[0]
    frequencies = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) + 1 / 32
    noise = np.random.default_rng(0).normal(size=(20, 3, 32, 32))
    images = np.fft.ifft2(np.fft.fft2(noise) / frequencies).real.transpose(0, 2, 3, 1)
    images = images.astype("float32") / images.std()
    features = np.asarray(body(128 + 40 * images))
    assert 0.7 < np.sqrt(np.mean(features**2)) < 1.4
    assert np.mean(np.std(features, axis=0)) > 0.5  # and they tell images apart
    np.testing.assert_allclose(body(128 + 10 * images), features, atol=1e-3)
    assert np.all(np.isfinite(body(np.full([1, 32, 32, 3], 255.0))))  # nothing in the picture


@pytest.mark.parametrize("input_shape", [(1,), (7,), (4, 4, 2)])
def test_mlp_takes_examples_of_any_shape(input_shape):
    model = mlp(input_shape=input_shape, classes=3, units=(6, 5))
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    size = int(np.prod(input_shape))
    assert shapes == [(size, 6), (6,), (6, 5), (5,), (5, 3), (3,)]
    assert model(pixels(2, input_shape)).shape == (2, 3)


def test_mlp_scales_pixels_only_when_asked():
    options = {"input_shape": (4,), "classes": 2, "units": (3,)}
    plain, scaled = mlp(**options), mlp(**options, scale_inputs=True)
    scaled.set_weights(plain.get_weights())
    x = pixels(5, (4,))
    np.testing.assert_allclose(scaled(x), plain(x / 255), rtol=1e-5, atol=1e-6)
    assert np.abs(scaled(x) - plain(x)).max() > 1e-2


@pytest.mark.parametrize("build", [conv4, resnet12])
def test_images_come_in_as_pixels(build):
    """255 is white, whatever the precision: the first layer sees 0 to 1."""
    model = build(input_shape=(16, 16, 3), classes=5, filters=2 if build is conv4 else (2,) * 4)
    first = convolutions(model)[0]
    seen = keras.Model(model.input, first.input)(pixels(4, (16, 16, 3)))
    assert 0 <= np.min(seen) < 0.1 and 0.9 < np.max(seen) <= 1


@pytest.mark.parametrize("build", [conv4, resnet12])
def test_in_mixed_precision_the_body_is_bfloat16_and_the_logits_float32(build):
    filters = 2 if build is conv4 else (2,) * 4
    with precision("mixed_bfloat16"):
        model = build(input_shape=(16, 16, 3), classes=5, filters=filters)
    body, head = split(model, 1)
    features = body(pixels(2, (16, 16, 3)))
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(head(features).dtype) == "float32"
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (conv4, {"pooling": "maximum"}, "pooling must be one of max, average. Received: 'maximum'"),
        (conv4, {"input_shape": (15, 32, 3)}, r"16 pixels.*Received: input_shape=\(15, 32, 3\)"),
        (smooth_conv4, {"input_shape": (32, 15, 3)}, r"16 pixels.*Received: input_shape=\(32, 15"),
    ],
)
def test_what_cannot_be_built_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**({"input_shape": (32, 32, 3), "classes": 5} | options))


def test_a_saved_smooth_conv4_answers_alike(tmp_path):
    model = smooth_conv4(input_shape=(16, 16, 1), classes=3, filters=2)
    model.save(tmp_path / "model.keras")
    images = pixels(2, (16, 16, 1))
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(images), model(images))
