"""Meta-trains a learner, or goes on with a run."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from anil_tf import auto, build, training
from anil_tf.commands import program
from anil_tf.config import Train, input_errors
from anil_tf.episodes import Tasks
from anil_tf.evaluation import card, figures, protocol
from anil_tf.meta_learner import MetaLearner
from anil_tf.training import RunDirectory


def train(config: Train) -> None:
    """Trains, or goes on, or says that there is nothing left to do.

    Args:
        config: the run.

    Raises:
        InputError: for options or data that no run can be made with, before anything is deleted or written.
        Stopped: after a signal, when the state is saved.
        Diverged: when the loss or a weight is no longer finite.
    """
    directory = open_run(config)
    if not config.overwrite:
        config = with_kept_advice(config, directory)
        with input_errors(config, "run_dir"):
            directory.check(config)
        if directory.exists and directory.finished_epochs == config.epochs:
            print(
                f"The run in {config.run_dir} is finished: {config.epochs} epochs. {_next_step(config)}"
            )
            return
    _train(config, directory)


def open_run(config: Train) -> RunDirectory:
    """The run directory, which is new or holds a run."""
    with input_errors(config, "run_dir"):
        return RunDirectory(config.run_dir)


def with_kept_advice(config: Train, directory: RunDirectory) -> Train:
    """A config with the numbers that the run was given in the place of "auto", so that it goes on with them."""
    advice = kept_advice(config, directory)
    numbers = {name: advice[name] for name in config.measured_options if name in advice}
    return dataclasses.replace(config, **numbers)


def kept_advice(config: Train, directory: RunDirectory) -> dict[str, Any]:
    """The advice that the run was given; empty where none was given, or where its flags say otherwise."""
    advice = directory.advice
    if not advice:
        return {}
    before = directory.read(Train)
    names = [name for name in ("inner_step_size", "inner_steps") if name in advice]
    return advice if all(getattr(before, name) == advice[name] for name in names) else {}


def _train(config: Train, directory: RunDirectory) -> None:
    # Everything that can be wrong with the input is found before anything is deleted or written.
    strategy = build.make_strategy(config)
    tasks, validation_tasks = (build.make_tasks(config, split) for split in ("train", "validation"))
    with strategy.scope():
        network = build.make_network(config, tasks)
        config, advice = auto.resolve(config, network, tasks)
        learner = build.make_learner(config, tasks, network)
        optimizer = build.make_optimizer(config, learner)
    if not config.overwrite:
        advice = advice or kept_advice(config, directory)
    writes = training.distribution.is_chief(strategy)
    if writes:
        _announce(config, directory, tasks, learner, advice)
        directory.prepare(config, overwrite=config.overwrite, advice=advice)
    # No worker may look for a state to go on from before an old run is deleted.
    training.distribution.wait_for_all(strategy)
    result = training.run(
        learner,
        tasks,
        validation_tasks,
        run_dir=directory.path,
        optimizer=optimizer,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        validation_episodes=config.validation_episodes,
        weight_averaging=config.weight_averaging,
        jit_compile=build.jit_compile(config, learner),
        strategy=strategy,
        after_epoch=_episode_pictures(config, directory, learner, validation_tasks),
    )
    if writes:
        _report(config, directory, learner, validation_tasks, result, advice)
        directory.finish(result.epochs)


def _announce(
    config: Train,
    directory: RunDirectory,
    tasks: Tasks,
    learner: MetaLearner,
    advice: dict[str, Any],
) -> None:
    """Says what begins, goes on or is deleted."""
    if directory.exists and config.overwrite:
        print(f"Deleting the run in {config.run_dir} (--overwrite).")
    elif directory.exists:
        print(f"Going on with the run in {config.run_dir}.")
        done = directory.finished_epochs
        if done:
            print(
                f"Until epoch {config.epochs}, model.keras and card.md are those of epoch {done}."
            )
    print(
        f"{tasks.name}, {tasks.ways}-way {tasks.shots}-shot: {tasks.queries} queries per class, "
        f"{tasks.meta_batch_size} tasks per meta-step."
    )
    for name, value in learner.describe().items():
        print(f"  {name.replace('_', ' ')}: {value}")
    if advice:
        print(f"  automatic: {advice['reason']}")
    sys.stdout.flush()


def _episode_pictures(
    config: Train, directory: RunDirectory, learner: MetaLearner, tasks: Tasks
) -> Callable[[int], None]:
    """Puts a solved validation episode into TensorBoard, about ten in a run."""
    every = max(1, config.epochs // 10)

    @functools.cache
    def writer() -> Any:
        folder = directory.file("tensorboard", "validation")
        return tf.summary.create_file_writer(folder, filename_suffix=".episode")

    def after_epoch(epoch: int) -> None:
        if (epoch + 1) % every == 0:
            picture = figures.episode_image(learner, tasks)
            with writer().as_default():
                tf.summary.image("episode", picture[None], step=epoch)
                writer().flush()

    return after_epoch


def _report(
    config: Train,
    directory: RunDirectory,
    learner: MetaLearner,
    tasks: Tasks,
    result: training.Result,
    advice: dict[str, Any],
) -> None:
    """Writes the curves, the solved episodes and the card, and says what was reached."""
    figures.draw_curves(directory.file("metrics.csv"), directory.file("curves.png"))
    figures.draw_episodes(learner, tasks, directory.file("episodes.png"), episodes=3)
    rule = "lowest validation loss" if tasks.regression else "highest validation accuracy"
    batches = -(-config.validation_episodes // tasks.meta_batch_size)
    described = protocol.describe(
        learner,
        tasks,
        episodes=batches * tasks.meta_batch_size,
        training_seed=config.seed,
        checkpoint_rule=f"{rule} of one run",
        weight_averaging=config.weight_averaging,
        training_seconds=result.seconds,
    )
    metric = "mse" if tasks.regression else "accuracy"
    card.write(
        directory.file("card.md"),
        protocol=described,
        validation={metric: result.best},
        training={
            "ways": config.training_ways or config.ways,
            "shots": config.shots,
            "queries": config.queries,
            "inner_steps": described["inner_steps"],
            "automatic": advice.get("reason"),
            "augment": "crop and flip" if config.augment else "no",
            "epochs": result.epochs,
            "meta_steps": result.meta_steps,
            "best_epoch": result.best_epoch,
            "optimizer": config.optimizer,
            "outer_step_size_body": config.outer_step_size_body,
            "outer_step_size_head": config.outer_step_size_head,
            "schedule": config.schedule,
            "meta_batch_size": config.meta_batch_size,
            "mixed_precision": "bfloat16 body" if config.mixed_precision else "no",
        },
        command=f"{program.command('train')} --flagfile=DIR/flags.txt --run_dir=NEW_DIR",
    )
    print(
        f"Finished: validation {card.score({metric: result.best})} at epoch {result.best_epoch} of "
        f"{result.epochs}, in {protocol.duration(result.seconds)}. {_next_step(config)}"
    )


def how_to_go_on(config: Train) -> str:
    """What a user types after a signal."""
    if not config.overwrite:
        return "The same command goes on."
    settings = program.shown(f"{config.run_dir}/flags.txt")
    return (
        f"{program.command('train')} --flagfile={settings} goes on; --overwrite would start afresh."
    )


def _next_step(config: Train) -> str:
    run_dir = program.shown(config.run_dir)
    return f"Next: {program.command('evaluate')} --run_dir={run_dir} --split=test"
