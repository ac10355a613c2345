"""The networks of the library: shapes, what they leave out, precision, refusals."""

import keras
import numpy as np
import pytest

from anil_tf.models import conv4, mlp, resnet12, smooth_conv4, split
from tests.learners import precision

NARROW = {conv4: 2, resnet12: (2, 3, 4, 5)}


def pixels(count, shape):
    return np.random.default_rng(0).integers(0, 256, size=(count, *shape)).astype("float32")


def layers(model, *kinds):
    return [layer for layer in model.layers if type(layer).__name__ in kinds]


def narrow(build, side=16, **options):
    options = {"filters": NARROW[build]} | options
    return build(input_shape=(side, side, 3), classes=5, **options)


@pytest.mark.parametrize(
    ("side", "options", "halving"),
    [
        (84, {}, "MaxPooling2D"),
        (28, {"pooling": "average"}, "AveragePooling2D"),
        (28, {"strided": True}, "Conv2D"),
        (8, {"strided": True}, "Conv2D"),
    ],
)
def test_conv4_halves_four_times(side, options, halving):
    model = narrow(conv4, side, **options)
    sides = [side := -(-side // 2) if "strided" in options else side // 2 for _ in range(4)]
    assert [layer.output.shape[1:3] for layer in layers(model, halving)] == [(n, n) for n in sides]
    features = 2 if "strided" in options else 2 * sides[-1] ** 2
    assert split(model, 1)[1].input_shape == (None, features)
    assert not any(layer.use_bias for layer in layers(model, "Conv2D")), "normalisation follows"


def test_conv4_has_64_filters_by_default():
    """3x3 kernels, scale and offset in four blocks; then 2x2x64 features to 5 classes."""
    model = conv4(input_shape=(32, 32, 3), classes=5)
    kernels = 9 * 64 * (3 + 3 * 64)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == kernels + 4 * 2 * 64 + (256 * 5 + 5)


def test_resnet12_halves_at_each_block_averages_and_drops_out_only_in_training():
    model = narrow(resnet12, side=84, dropout=0.5)
    expected = [(None, n, n, width) for n, width in zip((42, 21, 10, 5), (2, 3, 4, 5), strict=True)]
    assert [layer.output.shape for layer in layers(model, "MaxPooling2D")] == expected
    assert len(layers(model, "Conv2D")) == 4 * (3 + 1)
    assert not any(layer.use_bias for layer in layers(model, "Conv2D"))
    assert split(model, 1)[1].input_shape == (None, 5)
    assert len(layers(model, "Dropout")) == 4
    images = pixels(2, (84, 84, 3))
    np.testing.assert_array_equal(model(images), model(images))


def test_resnet12_has_the_published_widths():
    model = resnet12(input_shape=(16, 16, 3), classes=5)
    widths = [layer.output.shape[-1] for layer in layers(model, "MaxPooling2D")]
    assert widths == [64, 160, 320, 640]


def test_smooth_conv4_halves_four_times_without_a_kink_or_batch_statistics(tmp_path):
    model = smooth_conv4(input_shape=(28, 28, 1), classes=5, filters=6)
    assert split(model, 1)[1].input_shape == (None, 6)
    assert not layers(model, "BatchNormalization", "ReLU", "MaxPooling2D")
    bent = [layer.activation is keras.activations.tanh for layer in layers(model, "Conv2D")]
    assert len(bent) == 4 and all(bent)
    model.save(tmp_path / "model.keras")
    images = pixels(2, (28, 28, 1))
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(images), model(images))


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


def test_mlp_takes_examples_of_any_shape_and_scales_pixels_only_when_asked():
    options = {"input_shape": (2, 2, 2), "classes": 3, "units": (6, 5)}
    plain, scaled = mlp(**options), mlp(**options, scale_inputs=True)
    shapes = [tuple(v.shape) for v in plain.trainable_variables]
    assert shapes == [(8, 6), (6,), (6, 5), (5,), (5, 3), (3,)]
    scaled.set_weights(plain.get_weights())
    x = pixels(5, (2, 2, 2))
    np.testing.assert_allclose(scaled(x), plain(x / 255), rtol=1e-5, atol=1e-6)
    assert np.abs(scaled(x) - plain(x)).max() > 1e-2


@pytest.mark.parametrize("build", NARROW)
def test_images_come_in_as_pixels_also_in_mixed_precision(build):
    """255 is white: the first layer sees 0 to 1. The body is bfloat16, weights and logits are float32."""
    with precision("mixed_bfloat16"):
        model = narrow(build)
    first = layers(model, "Conv2D")[0]
    seen = keras.ops.cast(keras.Model(model.input, first.input)(pixels(4, (16, 16, 3))), "float32")
    assert 0 <= np.min(seen) < 0.1 and 0.9 < np.max(seen) <= 1
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
