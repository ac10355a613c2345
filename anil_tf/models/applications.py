"""Networks of keras.applications: a body for those with a few images and no time to meta-train."""

import difflib
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

import keras

from anil_tf.models import layers


def applications(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    pretrained: bool = False,
    trainable: bool = True,
) -> keras.Model:
    """A network of keras.applications without its classifier, the mean over pixels, then one linear layer.

    The model takes pixels 0..255, whatever the network itself expects: the preprocessing that keras.applications has
    for the network is its first layer. Images smaller than the network accepts are enlarged inside the model, to the
    smallest size that it does accept (32 or 75 pixels a side, say); one-channel images are repeated to three. Nothing
    else is resized: networks trained on ImageNet saw 224 pixels a side or more, and know more about larger images.

    Args:
        name: a network of keras.applications, such as "MobileNetV2"; capitals do not matter.
        input_shape: height, width and channels (1 or 3) of the images.
        classes: outputs of the linear layer.
        pretrained: load the weights trained on ImageNet, which Keras downloads once; otherwise they are random.
        trainable: False freezes the network; its batch normalisation then uses its moving statistics.

    Returns:
        A functional Keras model: images [batch, height, width, channels] -> logits [batch, classes].

    Raises:
        ValueError: for an unknown network, images that are neither grey nor RGB, or weights that cannot be loaded.

    Example:
        >>> model = applications("MobileNetV3Small", input_shape=(64, 64, 3), classes=5, trainable=False)
        >>> body, head = anil_tf.models.split(model, adapted_layers=1)
        >>> classifier = anil_tf.MetaLearner(body, head, head_initialization="prototype").adapt(images, labels)
    """
    known = _find(name)
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise ValueError(
            f"{known} takes images of 1 or 3 channels: expected input_shape=(height, width, 1 or 3). "
            f"Received: {tuple(input_shape)}."
        )
    inputs = keras.Input(input_shape)
    tensor = _pixels_as_expected(known, inputs)
    network = _network(known, tensor, pretrained)
    network.trainable = trainable
    outputs = layers.logits(classes)(network.output)
    return keras.Model(inputs, outputs, name=f"applications_{known.lower()}")


def application_names() -> list[str]:
    """Returns the networks that the installed Keras has, such as "MobileNetV2"."""
    return sorted(_constructors())


@keras.saving.register_keras_serializable(package="anil_tf")
class Preprocessing(keras.layers.Layer):
    """What a network of keras.applications wants done to pixels 0..255.

    Args:
        network: the name of the network, as keras.applications spells it.
    """

    def __init__(self, network: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network

    def call(self, inputs: Any) -> Any:
        """Returns the images [batch, height, width, 3] as the network expects them."""
        # Each network's own function lives beside its constructor.
        module = sys.modules[_constructors()[self.network].__module__]
        return module.preprocess_input(inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"network": self.network}


def _constructors() -> dict[str, Callable[..., keras.Model]]:
    return dict(inspect.getmembers(keras.applications, inspect.isfunction))


def _find(name: str) -> str:
    """Returns the name as keras.applications spells it."""
    by_lower_case = {known.lower(): known for known in application_names()}
    if name.lower() in by_lower_case:
        return by_lower_case[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=3)
    guess = f"did you mean {', '.join(by_lower_case[match] for match in close)}?"
    everything = f"expected one of {', '.join(application_names())}."
    raise ValueError(
        f"keras.applications has no network {name!r}; {guess if close else everything}"
    )


def _pixels_as_expected(name: str, inputs: Any) -> Any:
    """Images with the channels, the size and the range of values that a network expects."""
    height, width, channels = inputs.shape[1:]
    tensor = inputs if channels == 3 else keras.layers.Concatenate()([inputs] * 3)
    smallest = _smallest_side(name)
    if min(height, width) < smallest:
        factor = smallest / min(height, width)
        size = (math.ceil(height * factor), math.ceil(width * factor))
        # The operation, and not the layer Resizing: in a model called without `training`, that layer turns training
        # on for all layers after it (Keras 3.15), batch normalisation and dropout included.
        tensor = keras.ops.image.resize(tensor, size)
    return Preprocessing(name)(tensor)


def _smallest_side(name: str) -> int:
    """Returns the smallest height and width that a network accepts; Keras says it only when it refuses an image."""
    try:
        _constructors()[name](weights=None, include_top=False, input_shape=(1, 1, 3))
    except ValueError as refusal:
        found = re.search(r"at least (\d+)x\1", str(refusal))
        if found is None:
            raise
        return int(found.group(1))
    return 1


def _network(name: str, tensor: Any, pretrained: bool) -> keras.Model:
    """Builds a network on top of `tensor`, layer by layer, so that `split` and a summary see into it."""

    def build(weights: str | None) -> keras.Model:
        return _constructors()[name](
            weights=weights,
            include_top=False,
            pooling="avg",
            input_tensor=tensor,
            input_shape=tuple(tensor.shape[1:]),
        )

    if not pretrained:
        return build(None)
    try:
        return build("imagenet")
    # Keras raises a plain Exception when a download fails, and others for a file that is damaged.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"The ImageNet weights of {name} could not be loaded ({reason}). Put them into {_sought_file(error)} by "
            "hand, or go on with random weights: --nopretrained (pretrained=False)."
        ) from error


def _sought_file(error: Exception) -> str:
    """Returns the file that Keras wanted, which depends on KERAS_HOME and on what is writable."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "download_target" in frame.f_locals:
            return str(frame.f_locals["download_target"])
    return "~/.keras/models"
