"""Batch normalisation by TensorFlow's fused kernels, with first and second derivatives.

The kernels compute y and its first derivatives in one pass each, and read bfloat16 images while computing in float32.
What TensorFlow derives from them for second derivatives, which MAML's inner loop needs, is a long chain of element-wise
operations with wrong shapes in it. The algebra is short, so it is written out here.

One channel, n pixels; means are over them. With xh = (x - mean(x)) r, r = 1 / sqrt(var(x) + epsilon), scale c:

    y   = c xh + offset
    dx  = c r (g - mean(g) - xh b),    dscale = n b,    doffset = n mean(g),    b = mean(g xh)                    (1)

where g is the slope by y. Let (u, s, t) be the slopes by (dx, dscale, doffset), a = mean(u xh), and so

    F = <u, dx> + s dscale + t doffset
      = n c r K + n s b + n t mean(g),        K = mean(u g) - mean(u) mean(g) - a b

    by g:       c r (u - mean(u) - xh a) + s xh + t           its first term is (1) again, with u for g
    by scale:   n r K
    by x:       F sees x through xh, with slope p = s g - c r (b u + a g), and through r, with slope n c K. Through xh,
                as in (1), comes r (p - mean(p) - xh mean(p xh)); through r, as dr/dx = -r^2 xh / n, comes -c r^2 K xh.
                Here mean(p) = s mean(g) - c r (b mean(u) + a mean(g)) and mean(p xh) = s b - 2 c r a b.
"""

import tensorflow as tf


def batch_normalize(
    images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, *, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises each channel by its mean and variance over the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
        images: [rows, height, width, channels], float32 or bfloat16.
        scale: [channels], float32.
        offset: [channels], float32.
        epsilon: added to the variance.

    Returns:
        The normalised images, in the precision of `images`, and mean and variance [channels], float32, through which no
        gradient flows.
    """

    @tf.custom_gradient
    def normalize(images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple:
        nothing = tf.zeros([0])
        outputs, mean, unbiased, kept_mean, kept_variance = tf.raw_ops.FusedBatchNormV2(
            x=images,
            scale=scale,
            offset=offset,
            mean=nothing,
            variance=nothing,
            epsilon=epsilon,
            is_training=True,
        )
        # The kernel reports the unbiased variance, n/(n-1) times the one it normalises by.
        count = _pixels(images)
        variance = unbiased * (count - 1.0) / count
        mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
        kept = (tf.stop_gradient(kept_mean), tf.stop_gradient(kept_variance))
        inverse_deviation = tf.math.rsqrt(variance + epsilon)

        def backward(slope: tf.Tensor, *_: tf.Tensor) -> tuple:
            return _slopes(slope, images, scale, mean, inverse_deviation, kept, epsilon)

        return (outputs, mean, variance), backward

    return normalize(images, scale, offset)


def _slopes(
    slope: tf.Tensor,
    images: tf.Tensor,
    scale: tf.Tensor,
    mean: tf.Tensor,
    inverse_deviation: tf.Tensor,
    kept: tuple[tf.Tensor, tf.Tensor],
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(1): the slopes by images, scale and offset; `kept` is what the kernel asks back of its forward pass."""

    @tf.custom_gradient
    def first(slope: tf.Tensor, images: tf.Tensor, scale: tf.Tensor) -> tuple:
        by_images, by_scale, by_offset, *_ = tf.raw_ops.FusedBatchNormGradV2(
            y_backprop=slope,
            x=images,
            scale=scale,
            reserve_space_1=kept[0],
            reserve_space_2=kept[1],
            epsilon=epsilon,
            is_training=True,
        )
        count = _pixels(images)
        b, mean_g = by_scale / count, by_offset / count

        def backward(u: tf.Tensor, s: tf.Tensor, t: tf.Tensor) -> tuple:
            r = inverse_deviation
            again, sum_u_xh, sum_u = _slopes(u, images, scale, mean, r, kept, epsilon)
            x, g, u = (tf.cast(tensor, tf.float32) for tensor in (images, slope, u))
            a, mean_u = sum_u_xh / count, sum_u / count
            mean_u_g = tf.reduce_mean(u * g, axis=[0, 1, 2])
            k = mean_u_g - mean_u * mean_g - a * b
            mean_p = s * mean_g - scale * r * (b * mean_u + a * mean_g)
            mean_p_xh = s * b - 2.0 * scale * r * a * b
            # Gathered by tensor: by_x = of_u u + of_g g + of_x (x - mean) - r mean(p).
            of_u, of_g = -scale * r * r * b, r * (s - scale * r * a)
            of_x = -r * r * (mean_p_xh + scale * r * k)
            by_x = of_u * u + of_g * g + (of_x * x - (of_x * mean + r * mean_p))
            by_g = tf.cast(again, tf.float32) + (s * r * x + (t - s * r * mean))
            by_g, by_x = tf.cast(by_g, slope.dtype), tf.cast(by_x, images.dtype)
            return _last_derivative(by_g, by_x, count * r * k)

        return (by_images, by_scale, by_offset), backward

    return first(slope, images, scale)


@tf.custom_gradient
def _last_derivative(*tensors: tf.Tensor) -> tuple:
    """Returns its arguments; statistics are constants in them, so that differentiating them would be wrong."""

    def backward(*_: tf.Tensor) -> tuple:
        raise NotImplementedError(
            "Third derivatives of fused batch normalisation do not exist here. Build the model in float64, which takes "
            "plain operations, or without batch normalisation."
        )

    return tensors, backward


def _pixels(images: tf.Tensor) -> tf.Tensor:
    """n: pixels of a channel over the batch, float32."""
    return tf.cast(tf.reduce_prod(tf.shape(images)[:-1]), tf.float32)
