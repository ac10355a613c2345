"""From a config to what trains: strategy, tasks, network, learner and optimizer. All commands build by these functions.

Args that recur: `config`, a `Training`; `tasks`, which give the shape of the images, the ways, and whether this is
regression. What is wrong with them is an `InputError` that names the options. Make networks, learners and optimizers
under the strategy's scope.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from anil_tf import episodes, models, threads
from anil_tf.config import InputError, Training, input_errors
from anil_tf.config.adaptation import Adaptation
from anil_tf.config.data import Data
from anil_tf.config.option import options
from anil_tf.config.outer_loop import OuterLoop
from anil_tf.episodes import Tasks
from anil_tf.meta_learner import MetaLearner
from anil_tf.training import distribution, optimizers

Network = tuple[keras.Model, keras.Model]


def make_strategy(config: Training) -> tf.distribute.Strategy:
    """Shares out the cores, makes the distribution strategy and seeds everything; call it first."""
    # A task to a core, where the body runs task by task and all tasks are this host's.
    task_by_task = config.body in ("conv4", "resnet12") and config.normalization != "running"
    if task_by_task and config.strategy != "multi_worker":
        threads.share_out_cores(config.meta_batch_size)
    with input_errors(config, "strategy"):
        strategy = distribution.create(config.strategy)
    replicas = strategy.num_replicas_in_sync
    if config.meta_batch_size % replicas:
        raise config.error(
            f"expected a multiple of the {replicas} replicas of --strategy={config.strategy}.",
            "meta_batch_size",
        )
    seed(config)
    return strategy


def seed(config: Training) -> None:
    """Seeds everything, and sets determinism."""
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def make_tasks(config: Data, split: str, **changes: Any) -> Tasks:
    """The tasks of one split.

    Args:
        config: where they come from, and what they look like; a `Training` has it too.
        split: the classes to draw from: "train", "validation" or "test".
        **changes: other values than the config's, by the names of `episodes.load`.
    """
    is_training = split == "train"
    arguments = {
        "ways": (config.training_ways or config.ways) if is_training else config.ways,
        "shots": config.shots,
        "queries": config.queries,
        "meta_batch_size": config.meta_batch_size,
        "seed": config.seed,
        "data_dir": config.data_dir,
        "augment": config.augment and is_training,
        "leave_out_small_classes": config.leave_out_small_classes,
        "image_size": config.image_size,
        "split_seed": config.split_seed,
    }
    with input_errors(config, "dataset"):
        return episodes.load(config.dataset, split=split, **(arguments | changes))


def make_network(config: Training, tasks: Tasks) -> Network:
    """Body and head for these tasks, with fresh weights."""
    with input_errors(config, "body"):
        network = _uncut_network(config, tasks)
    with input_errors(config, "adapted_layers"):
        body, head = models.split(network, config.adapted_layers)
    if config.mixed_precision:
        if not body.weights:
            raise InputError(
                "--mixed_precision: computes the body in bfloat16, but all layers adapt "
                f"(--adapted_layers={config.adapted_layers}), so that no body is left; expected fewer adapted "
                "layers, or no --mixed_precision."
            )
        models.compute_in_bfloat16(body)
    if not config.train_body:
        body.trainable = False
    return body, head


def _uncut_network(config: Training, tasks: Tasks) -> keras.Model:
    """The network that --body names."""
    shape: Any = tuple(tasks.image_shape)
    ways = tasks.ways
    if config.body == "mlp":
        units = (config.filters, config.filters)
        return models.mlp(
            input_shape=shape, classes=ways, units=units, scale_inputs=not tasks.regression
        )
    if tasks.regression:
        raise ValueError(f"{tasks.name} has numbers and no images; expected mlp.")
    if config.body == "conv4":
        is_strided = config.pooling == "strided"
        return models.conv4(
            input_shape=shape,
            classes=ways,
            filters=config.filters,
            pooling="max" if is_strided else config.pooling,
            strided=is_strided,
        )
    if config.body == "smooth_conv4":
        return models.smooth_conv4(input_shape=shape, classes=ways, filters=config.filters)
    if config.body == "resnet12":
        return models.resnet12(input_shape=shape, classes=ways)
    if config.body.startswith("applications:"):
        return models.applications(
            config.body.removeprefix("applications:"),
            input_shape=shape,
            classes=ways,
            pretrained=config.pretrained,
            trainable=config.train_body,
        )
    raise ValueError(f"expected {options(Training)['body'].accepted}.")


def make_learner(
    config: Training, tasks: Tasks, network: Network | None = None, **changes: Any
) -> MetaLearner:
    """The learner for these tasks.

    Args:
        config: how it adapts.
        tasks: that it is for.
        network: body and head; by default those of `make_network`.
        **changes: other values than the config's, by the names of `MetaLearner`.
    """
    body, head = network or make_network(config, tasks)
    settings = config.part(Adaptation).to_dict()
    del settings["first_order"]  # the engine says it
    settings |= {
        "differentiation": config.engine,
        "inner_loss": "squared_error" if tasks.regression else "cross_entropy",
        "ways": tasks.ways if config.training_ways in (None, config.ways) else None,
        "seed": config.seed,
    }
    names = ("head_initialization", "differentiation", "inner_l2")
    with input_errors(config, *names, "frozen_in_adaptation", "adapted_layers"):
        return MetaLearner(body, head, **(settings | changes))


def make_optimizer(config: Training, learner: MetaLearner) -> keras.optimizers.Optimizer:
    """The outer optimizer of a learner."""
    if not learner.trainable_variables:
        raise config.error(
            "nothing to train: a zero head of one layer has no weights of its own; expected another head, more "
            "adapted layers, or a body that is trained.",
            *("head_initialization", "adapted_layers", "train_body"),
        )
    with input_errors(config, "schedule", "warmup_steps"):
        return optimizers.build(learner, config.part(OuterLoop))


def jit_compile(config: Training, learner: MetaLearner) -> str | bool:
    """`jit_compile` as Keras' compile takes it."""
    if config.jit_compile == "on" and not learner.supports_jit:
        raise InputError(
            "--jit_compile=on: XLA gets second derivatives of max pooling wrong, which this meta-gradient takes; "
            "expected auto or off, --pooling=average or strided, or --first_order."
        )
    return "auto" if config.jit_compile == "auto" else config.jit_compile == "on"
