"""From a cell's settings to its tasks and its learner: the same seed gives the same tasks and the same initial weights.

Neither depends on what is compared (N, alpha, lambda, how many layers adapt), so that two cells of one seed differ by
that alone: common random numbers.
"""

from __future__ import annotations

from typing import Any

import keras

from anil_tf import MetaLearner, episodes, models
from anil_tf.episodes import Tasks
from anil_tf.study.cell import Settings

_LEARNER_OPTIONS = ("inner_steps", "inner_l2", "differentiation", "normalization")
OPTIMIZERS: dict[str, Any] = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}


def make_tasks(settings: Settings, split: str, **changes: Any) -> Tasks:
    """The tasks of one split that a cell sees; images are loaded once per process.

    Args:
        settings: `dataset`, `data_dir`, `ways`, `shots`, `queries`, `meta_batch_size` and `seed`.
        split: "train", "validation" or "test".
        **changes: other values, by the names of `episodes.load`.
    """
    names = ("data_dir", "ways", "shots", "queries", "meta_batch_size", "seed")
    arguments: dict[str, Any] = {name: settings.get(name) for name in names}
    return episodes.load(str(settings["dataset"]), split=split, **(arguments | changes))


def make_learner(settings: Settings, tasks: Tasks, *, inner_step_size: float) -> MetaLearner:
    """A learner with a free head and fresh weights, which depend on `seed` and on the network only.

    Args:
        settings: `body`, `filters`, `adapted_layers`, `inner_steps`, `inner_l2`, `differentiation`, `normalization` and
            `seed`.
        tasks: they give the shape of the images and the ways.
        inner_step_size: alpha, a number.
    """
    keras.utils.set_random_seed(int(settings["seed"]))  # type: ignore[arg-type]
    adapted_layers: Any = settings["adapted_layers"]
    body, head = models.split(make_network(settings, tasks), adapted_layers)
    options: dict[str, Any] = {name: settings[name] for name in _LEARNER_OPTIONS}
    return MetaLearner(
        body,
        head,
        inner_step_size=inner_step_size,
        head_initialization="free",
        inner_loss="squared_error" if tasks.regression else "cross_entropy",
        ways=tasks.ways,
        seed=int(settings["seed"]),  # type: ignore[arg-type]
        **options,
    )


def make_network(settings: Settings, tasks: Tasks) -> keras.Model:
    """The uncut network.

    Args:
        settings: `body`, which is "conv4", "smooth_conv4" or "mlp", and `filters` (mlp: units of its two layers).
        tasks: they give the shape of the images and the ways.

    Raises:
        ValueError: for another body.
    """
    filters: Any = settings["filters"]
    shape: Any = tuple(tasks.image_shape)
    if settings["body"] == "mlp":
        return models.mlp(
            input_shape=shape,
            classes=tasks.ways,
            units=(filters, filters),
            scale_inputs=not tasks.regression,
        )
    if settings["body"] in ("conv4", "smooth_conv4"):
        network = getattr(models, str(settings["body"]))
        return network(input_shape=shape, classes=tasks.ways, filters=filters)
    raise ValueError(f"body must be conv4, smooth_conv4 or mlp. Received: {settings['body']!r}.")


def make_optimizer(settings: Settings, learner: MetaLearner) -> keras.optimizers.Optimizer:
    """The outer optimizer, one step size for body and head.

    Args:
        settings: `optimizer`, "adam" or "sgd", and `outer_step_size`.
        learner: what it is to train.
    """
    optimizer = OPTIMIZERS[str(settings["optimizer"])](settings["outer_step_size"])
    optimizer.build(learner.trainable_variables)
    return optimizer
