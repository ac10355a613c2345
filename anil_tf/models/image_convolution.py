"""Batch normalisation of the first convolution, without a pass over its output.

A convolution sees an image through patches q, vectors of k * k * channels numbers (27 for 3x3 in colour); one filter f
makes x = <f, q> of each. Mean and variance of x over all patches follow from those of the patches, m and C, which do
not depend on the filters and so have no gradient:

    mean(x) = <f, m>,        var(x) = f^T C f.

Normalising, y = scale (x - mean(x)) r + offset with r = 1 / sqrt(var(x) + epsilon), is thus a convolution with another
filter and a bias,

    y = <f', q> + b,         f' = scale r f,         b = offset - <f', m>.

The image of x, the largest tensor of the network, is neither normalised nor, on the way back, differentiated through
the normalisation: derivatives by f go through f', a few thousand numbers, and second ones, which MAML takes, with them.
This is the same function, not an approximation. It pays while a patch has no more numbers than there are filters: for
the layer that sees the pixels.
"""

import keras
import tensorflow as tf

from anil_tf.models.keras_internals import nodes, origin


def normalized_convolutions(model: keras.Model) -> dict[int, keras.layers.Conv2D]:
    """Finds the convolutions that can take over the batch normalisation behind them.

    Args:
        model: any Keras model; only functional ones can have such pairs.

    Returns:
        By the id of the batch-normalisation layer, the convolution before it: without bias and activation, with no
        other consumer, and with no more numbers in a patch than filters.
    """
    graph = nodes(model)
    used = [id(tensor) for node in graph for tensor in node.input_tensors]
    used += [id(tensor) for tensor in model.outputs] if graph else []
    applied = [id(node.operation) for node in graph]
    pairs = {}
    for node in graph:
        layer = node.operation
        if not isinstance(layer, keras.layers.BatchNormalization) or layer.axis not in (-1, 3):
            continue
        (tensor,) = node.input_tensors
        before = origin(tensor)
        once = used.count(id(tensor)) == applied.count(id(layer)) == applied.count(id(before)) == 1
        if once and _is_small(before):
            pairs[id(layer)] = before
    return pairs


def _is_small(layer: keras.layers.Layer) -> bool:
    if type(layer) is not keras.layers.Conv2D:
        return False
    height, width, channels, filters = layer.kernel.shape
    is_plain = not layer.use_bias and layer.activation is keras.activations.linear
    # With dilation an even kernel may have no tap that no padding covers.
    is_usual = (layer.groups, layer.dilation_rate, layer.data_format) == (
        1,
        (1, 1),
        "channels_last",
    )
    return is_plain and is_usual and height * width * channels <= filters


def normalized_convolution(
    convolution: keras.layers.Conv2D,
    images: tf.Tensor,
    scale: tf.Tensor | None,
    offset: tf.Tensor | None,
    *,
    epsilon: float,
    rows: int | tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Convolves and normalises by the statistics of the batch, or of its first rows.

    Args:
        convolution: the layer, one of `normalized_convolutions`.
        images: [rows, height, width, channels].
        scale: of the normalisation, [filters]; None for 1.
        offset: of the normalisation, [filters]; None for 0.
        epsilon: added to the variance.
        rows: how many rows, the first ones, the statistics are taken from; None for all.

    Returns:
        The normalised outputs, in the precision of `images`, and mean and variance [filters] of the convolution's
        outputs.
    """
    kernel = tf.convert_to_tensor(convolution.kernel)
    dtype = tf.float64 if kernel.dtype == tf.float64 else tf.float32
    filters = tf.reshape(tf.cast(kernel, dtype), [-1, kernel.shape[-1]])  # [patch, filters]
    patches, centre = _patches(convolution, images)
    patch_mean, covariance = _moments(tf.cast(patches[:rows], dtype))  # about the centre
    centred_mean = tf.linalg.matvec(filters, patch_mean, transpose_a=True)
    variance = tf.reduce_sum(filters * tf.matmul(covariance, filters), axis=0)
    factor = tf.math.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * tf.cast(scale, dtype)
    bias = -centred_mean * factor
    bias = bias if offset is None else bias + tf.cast(offset, dtype)
    folded = tf.concat([filters * factor, bias[None]], axis=0)[None, None]
    outputs = tf.nn.conv2d(patches, tf.cast(folded, images.dtype), 1, "VALID")
    mean = centred_mean + tf.linalg.matvec(filters, tf.cast(centre, dtype), transpose_a=True)
    return outputs, mean, variance


def _patches(convolution: keras.layers.Conv2D, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The patches that a convolution sees, less a centre near their mean, and the centre.

    About such a point second moments lose no digits to cancellation.

    Returns:
        [rows, height', width', patch + 1], whose last entry is 1, which takes biases and means; and the centre [patch].
    """
    height, width, channels, _ = convolution.kernel.shape
    size = height * width * channels
    centre = tf.tile(tf.reduce_mean(images, axis=[0, 1, 2]), [height * width])
    # A convolution whose filters copy each tap into a channel: three times as fast as cutting patches out. On a channel
    # of ones stands what it adds, at the tap (k - 1) // 2 which no padding ever covers: padding before an image has at
    # most that width, and padding behind it at most the rest.
    images = tf.concat([images, tf.ones_like(images[..., :1])], axis=-1)
    copies = tf.eye(size, size + 1, dtype=images.dtype)
    constants = tf.concat([-centre, tf.ones([1], images.dtype)], axis=0)
    tap = (height - 1) // 2 * width + (width - 1) // 2
    of_ones = tf.one_hot(tap, height * width, dtype=images.dtype)[:, None] * constants
    taps = tf.reshape(copies, [height, width, channels, size + 1])
    of_ones = tf.reshape(of_ones, [height, width, 1, size + 1])
    kernel = tf.concat([taps, of_ones], axis=2)
    return convolution.convolution_op(images, kernel), centre


def _moments(patches: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean [patch] and covariance [patch, patch] of patches [rows, height', width', patch + 1] that end in 1."""
    patches = tf.reshape(patches, [-1, patches.shape[-1]])
    second = tf.matmul(patches, patches, transpose_a=True)
    second /= tf.cast(tf.shape(patches)[0], patches.dtype)
    mean = second[:-1, -1]
    return mean, second[:-1, :-1] - mean[:, None] * mean[None, :]
