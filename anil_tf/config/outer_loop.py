"""How the initial weights are learned, and with what they are computed."""

from __future__ import annotations

import dataclasses

from anil_tf.config.option import Config, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterLoop(Config):
    """Outer loop: how the initial weights are learned."""

    epochs: int = option(int, 20, "Epochs; each ends with validation and a checkpoint.")
    steps_per_epoch: int = option(int, 100, "Meta-steps in an epoch.")
    train_body: bool = option(
        bool,
        True,
        "Train the body. --notrain_body freezes it, so that only the head is meta-trained.",
    )
    optimizer: str = option(str, "adam", "The outer optimizer.", choices=("adam", "sgd"))
    outer_step_size_body: float = option(float, 1e-3, "Outer step size of the body.")
    outer_step_size_head: float = option(
        float,
        1e-3,
        """Outer step size of the head (its initial weights, learned inner step sizes, and the scale of prototypes).""",
    )
    schedule: str = option(
        str,
        "constant",
        "The outer step sizes over the run; cosine falls to zero at its end.",
        choices=("constant", "cosine"),
    )
    warmup_steps: int = option(
        int,
        0,
        "Meta-steps over which the outer step sizes rise linearly to their full value.",
        lower=0,
    )
    clip_norm: float = option(
        float,
        0.0,
        "Largest joint norm of the meta-gradient over body and head; 0 = no clipping.",
    )
    weight_decay: float = option(
        float,
        0.0,
        """Decoupled weight decay per meta-step, times the outer step size; biases, normalisation scales and learned
        step sizes are left alone.""",
    )
    weight_averaging: float = option(
        float,
        0.0,
        """Momentum of the moving average of weights that validation, the best checkpoint and model.keras use, such as
        0.99; 0 = the weights themselves.""",
        upper=0.999999,
    )
    validation_episodes: int = option(
        int,
        200,
        """Tasks of the validation classes, the same after every epoch (rounded up to whole meta-batches).""",
    )
    jit_compile: str = option(
        str,
        "auto",
        "Compile steps with XLA; auto: where it is faster (GPUs yes, CPUs no).",
        choices=("auto", "on", "off"),
    )
    strategy: str = option(
        str,
        "none",
        """Distribution: none = one device, mirrored = all devices of this machine, multi_worker = the machines in the
        environment variable TF_CONFIG.""",
        choices=("none", "mirrored", "multi_worker"),
    )
    deterministic: bool = option(
        bool, False, "Use only operations with reproducible results (slower on GPUs)."
    )

    @property
    def meta_steps(self) -> int:
        """Meta-steps of the whole run."""
        return self.epochs * self.steps_per_epoch
