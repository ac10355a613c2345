"""From flags to objects: tasks, learner, optimizer and strategy, for every binary.

TensorFlow is imported when the first function is called, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anil_tf import flags
from anil_tf.flags import FLAGS, blamed_on

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    import anil_tf.training


def strategy() -> tf.distribute.Strategy:
    """Shares out the cores, makes the distribution strategy and seeds everything; call it first."""
    from anil_tf.training import distribution, threads

    # A task to a core, where the body runs task by task and all tasks are this host's.
    task_by_task = FLAGS.body in ("conv4", "resnet12") and FLAGS.normalization != "running"
    if task_by_task and FLAGS.strategy != "multi_worker":
        threads.share_out_cores(FLAGS.meta_batch_size)
    with blamed_on("strategy"):
        made = distribution.create(FLAGS.strategy)
        replicas = made.num_replicas_in_sync
        if FLAGS.meta_batch_size % replicas:
            raise flags.InputError(
                f"--meta_batch_size={FLAGS.meta_batch_size}: expected a multiple of the {replicas} "
                f"replicas of --strategy={FLAGS.strategy}."
            )
    seed()
    return made


def seed() -> None:
    """Seeds everything, and sets determinism."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()


def tasks(split: str, **changes: Any) -> anil_tf.episodes.Tasks:
    """The tasks of one split, "train", "validation" or "test".

    Args:
      split: the classes to draw from.
      **changes: other values than the flags', by the names of `episodes.load`.
    """
    from anil_tf import episodes

    training_ways = FLAGS.training_ways or FLAGS.ways
    arguments = {
        "ways": training_ways if split == "train" else FLAGS.ways,
        "shots": FLAGS.shots,
        "queries": FLAGS.queries,
        "meta_batch_size": FLAGS.meta_batch_size,
        "seed": FLAGS.seed,
        "data_dir": FLAGS.data_dir,
        "augment": FLAGS.augment and split == "train",
        "leave_out_small_classes": FLAGS.leave_out_small_classes,
        "image_size": FLAGS.image_size,
        "split_seed": FLAGS.split_seed,
    }
    with blamed_on("dataset"):
        return episodes.load(FLAGS.dataset, split=split, **(arguments | changes))


def parts(drawn: anil_tf.episodes.Tasks) -> tuple[keras.Model, keras.Model]:
    """Body and head for these tasks, with fresh weights; make them under the strategy's scope.

    Args:
      drawn: gives the shape of the images, the ways, and whether this is regression.
    """
    from anil_tf import models

    network = _network(drawn)
    with blamed_on("adapted_layers"):
        body, head = models.split(network, FLAGS.adapted_layers)
    if FLAGS.mixed_precision:
        if not body.weights:
            raise flags.InputError(
                f"--mixed_precision: computes the body in bfloat16, but all layers adapt "
                f"(--adapted_layers={FLAGS.adapted_layers}), so that no body is left; expected "
                "fewer adapted layers, or no --mixed_precision."
            )
        models.compute_in_bfloat16(body)
    if not FLAGS.train_body:
        body.trainable = False
    return body, head


def learner(
    drawn: anil_tf.episodes.Tasks,
    network: tuple[keras.Model, keras.Model] | None = None,
    **changes: Any,
) -> anil_tf.MetaLearner:
    """The learner for these tasks; make it under the strategy's scope.

    Args:
      drawn: gives the ways, and whether this is regression.
      network: body and head; by default those of `parts`, with fresh weights.
      **changes: other values than the flags', by the names of `MetaLearner`.
    """
    from anil_tf import MetaLearner

    body, head = network or parts(drawn)
    one_number_of_ways = FLAGS.training_ways in (None, FLAGS.ways)
    with blamed_on("training_ways"):
        if not one_number_of_ways and FLAGS.head == "free":
            raise ValueError(
                "a free head has one row per class; expected --ways, or another --head."
            )
    blamed = ("head", "differentiation", "inner_l2", "truncated_to", "learned_inner_step_size")
    with blamed_on(*blamed, "frozen_in_adaptation", "adapted_layers"):
        settings = {
            "inner_steps": FLAGS.inner_steps,
            "inner_step_size": FLAGS.inner_step_size,
            "learned_inner_step_size": FLAGS.learned_inner_step_size,
            "inner_l2": FLAGS.inner_l2,
            "differentiation": _differentiation(),
            "truncated_to": FLAGS.truncated_to,
            "inner_solver": FLAGS.inner_solver,
            "inner_tolerance": FLAGS.inner_tolerance,
            "normalization": FLAGS.normalization,
            "head_initialization": FLAGS.head,
            "frozen_in_adaptation": FLAGS.frozen_in_adaptation,
            "inner_loss": "squared_error" if drawn.regression else "cross_entropy",
            "ways": drawn.ways if one_number_of_ways else None,
            "seed": FLAGS.seed,
        }
        return MetaLearner(body, head, **(settings | changes))


def _differentiation() -> str:
    """The engine, which --first_order names too."""
    if not FLAGS.first_order:
        return FLAGS.differentiation
    # The two exact engines are one when second derivatives are dropped; and a run's flags.txt, which has a line for
    # every flag, says --first_order beside the default.
    if FLAGS.differentiation in ("implicit", "truncated"):
        raise flags.InputError(
            f"--first_order: the same as --differentiation=first_order, received with "
            f"--differentiation={FLAGS.differentiation}; expected one of the two."
        )
    return "first_order"


def optimizer(model: anil_tf.MetaLearner) -> keras.optimizers.Optimizer:
    """The outer optimizer of a learner; make it under the strategy's scope."""
    from anil_tf.training import optimizers

    with blamed_on("head", "adapted_layers", "train_body"):
        if not model.trainable_variables:
            raise ValueError(
                "nothing to train: a zero head of one layer has no weights of its own; expected "
                "another head, more adapted layers, or a body that is trained."
            )
    with blamed_on("schedule", "warmup_steps"):
        return optimizers.build(
            model,
            optimizer=FLAGS.optimizer,
            step_size_body=FLAGS.outer_step_size_body,
            step_size_head=FLAGS.outer_step_size_head,
            schedule=FLAGS.schedule,
            total_steps=FLAGS.epochs * FLAGS.steps_per_epoch,
            warmup_steps=FLAGS.warmup_steps,
            clip_norm=FLAGS.clip_norm,
            weight_decay=FLAGS.weight_decay,
        )


def train(
    model: anil_tf.MetaLearner,
    outer: keras.optimizers.Optimizer,
    drawn: anil_tf.episodes.Tasks,
    validation: anil_tf.episodes.Tasks,
    *,
    run_dir: str,
    strategy: tf.distribute.Strategy,
    **changes: Any,
) -> anil_tf.training.Result:
    """Meta-trains a learner, or goes on with the run in a directory.

    Args:
      model: the learner, and
      outer: its optimizer, both made under the strategy's scope.
      drawn: the training tasks.
      validation: the validation tasks.
      run_dir: the run's directory.
      strategy: where to compute.
      **changes: other values than the flags', and what else `training.run` takes.
    """
    from anil_tf import training

    settings = {
        "epochs": FLAGS.epochs,
        "steps_per_epoch": FLAGS.steps_per_epoch,
        "validation_episodes": FLAGS.validation_episodes,
        "weight_averaging": FLAGS.weight_averaging,
        "jit_compile": jit_compile(model),
    }
    return training.run(
        model,
        drawn,
        validation,
        run_dir=run_dir,
        optimizer=outer,
        strategy=strategy,
        **(settings | changes),
    )


def jit_compile(model: anil_tf.MetaLearner) -> str | bool:
    """`--jit_compile` as Keras' compile takes it.

    Args:
      model: the learner to be compiled.
    """
    if FLAGS.jit_compile == "on" and not model.supports_jit:
        raise flags.InputError(
            "--jit_compile=on: XLA gets second derivatives of max pooling wrong, which this meta-"
            "gradient takes; expected auto or off, --pooling=average or strided, or --first_order."
        )
    return {"auto": "auto", "on": True, "off": False}[FLAGS.jit_compile]


def _network(drawn: anil_tf.episodes.Tasks) -> keras.Model:
    """The uncut network that --body names."""
    from anil_tf import models

    shape = tuple(drawn.image_shape)
    outputs = drawn.ways
    with blamed_on("body"):
        if FLAGS.body == "mlp":
            units = (FLAGS.filters, FLAGS.filters)
            return models.mlp(
                input_shape=shape,
                classes=outputs,
                units=units,
                scale_inputs=not drawn.regression,
            )
        if drawn.regression:
            raise ValueError(f"{drawn.name} has numbers and no images; expected mlp.")
        if FLAGS.body == "conv4":
            strided = FLAGS.pooling == "strided"
            return models.conv4(
                input_shape=shape,
                classes=outputs,
                filters=FLAGS.filters,
                pooling="max" if strided else FLAGS.pooling,
                strided=strided,
            )
        if FLAGS.body == "smooth_conv4":
            return models.smooth_conv4(input_shape=shape, classes=outputs, filters=FLAGS.filters)
        if FLAGS.body == "resnet12":
            return models.resnet12(input_shape=shape, classes=outputs)
        if FLAGS.body.startswith("applications:"):
            return models.applications(
                FLAGS.body.removeprefix("applications:"),
                input_shape=shape,
                classes=outputs,
                pretrained=FLAGS.pretrained,
                trainable=FLAGS.train_body,
            )
        raise ValueError("expected conv4|smooth_conv4|resnet12|mlp|applications:NAME.")
