"""The network, and which of its layers adapt."""

from __future__ import annotations

import dataclasses

from anil_tf.config.option import Config, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(Config):
    """Network: body and head."""

    body: str = option(
        str,
        "conv4",
        """The network: conv4, smooth_conv4 (conv4 with derivatives of every order, for the theory), resnet12, mlp, or
        applications:NAME for a network of keras.applications (such as applications:MobileNetV2).""",
        text="conv4|smooth_conv4|resnet12|mlp|applications:NAME",
    )
    filters: int = option(int, 64, "Filters per convolution of conv4; units per layer of mlp.")
    pooling: str = option(
        str,
        "max",
        "How conv4 halves its images: max or average pooling, or strided convolutions.",
        choices=("max", "average", "strided"),
    )
    pretrained: bool = option(bool, False, "Load ImageNet weights into an applications body.")
    adapted_layers: int | str = option(
        int,
        1,
        "How many last layers adapt to a task: 1 is ANIL, all is MAML.",
        words=("all",),
    )
    mixed_precision: bool = option(
        bool, False, "Compute the body in bfloat16; weights and the head stay float32."
    )
