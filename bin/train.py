"""Meta-trains a learner: python bin/train.py --flagfile=bin/presets/NAME.flags --run_dir=DIR

DIR then holds flags.txt (a flagfile that repeats or resumes the run), metrics.csv (one row per
epoch), timing.csv, tensorboard/, checkpoints/, model.keras (the weights that validation chose),
curves.png, episodes.png and card.md. Ctrl-C saves and exits with code 75; the same command goes on.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

import automatic
from launch import flags, launch

FLAGS = flags.FLAGS
GROUPS = ("data", "learner", "outer_loop", "run")


def main() -> int:
    """Trains, or goes on, or says that there is nothing left to do."""
    automatic.refuse_where_undecided()
    directory = _directory()
    if not FLAGS.overwrite and directory.exists and directory.finished_epochs == FLAGS.epochs:
        print(f"The run in {FLAGS.run_dir} is finished: {FLAGS.epochs} epochs. {_next_step()}")
        return flags.EXIT_DONE
    _train(directory)
    return flags.EXIT_DONE


def _directory() -> Any:
    """The run directory, checked against the flags."""
    from anil_tf.training import RunDirectory

    with flags.blamed_on("run_dir"):
        directory = RunDirectory(FLAGS.run_dir)
        if not FLAGS.overwrite:
            automatic.recall(directory)
            directory.check(flags.settings(GROUPS), flags.defaults(GROUPS))
    return directory


def _train(directory: Any) -> None:
    import assemble

    from anil_tf import training

    # Everything that can be wrong with the input is found before anything is deleted or written.
    strategy = assemble.strategy()
    tasks, validation_tasks = assemble.tasks("train"), assemble.tasks("validation")
    with strategy.scope():
        network = assemble.parts(tasks)
        advice = automatic.decide(network, tasks)
        learner = assemble.learner(tasks, network)
        optimizer = assemble.optimizer(learner)
    if not FLAGS.overwrite:
        advice = advice or automatic.kept(directory)
    writes = training.distribution.is_chief(strategy)
    if writes:
        _announce(directory, tasks, learner, advice)
        directory.prepare(flags.settings(GROUPS), overwrite=FLAGS.overwrite, advice=advice)
    # No worker may look for a state to go on from before an old run is deleted.
    training.distribution.wait_for_all(strategy)
    result = assemble.train(
        learner,
        optimizer,
        tasks,
        validation_tasks,
        run_dir=FLAGS.run_dir,
        strategy=strategy,
        after_epoch=_episode_pictures(directory, learner, validation_tasks),
    )
    if writes:
        _report(directory, learner, validation_tasks, result, advice)
        directory.finish(result.epochs)


def _announce(directory: Any, tasks: Any, learner: Any, advice: dict[str, Any]) -> None:
    """Says what begins, goes on or is deleted."""
    if directory.exists and FLAGS.overwrite:
        print(f"Deleting the run in {FLAGS.run_dir} (--overwrite).")
    elif directory.exists:
        print(f"Going on with the run in {FLAGS.run_dir}.")
        done = directory.finished_epochs
        if done:
            print(f"Until epoch {FLAGS.epochs}, model.keras and card.md are those of epoch {done}.")
    print(
        f"{tasks.name}, {tasks.ways}-way {tasks.shots}-shot: {tasks.queries} queries per class, "
        f"{tasks.meta_batch_size} tasks per meta-step."
    )
    for name, value in learner.describe().items():
        print(f"  {name.replace('_', ' ')}: {value}")
    if advice:
        print(f"  automatic: {advice['reason']}")
    sys.stdout.flush()


def _episode_pictures(directory: Any, learner: Any, tasks: Any) -> Callable[[int], None]:
    """Puts a solved validation episode into TensorBoard, about ten in a run."""
    import tensorflow as tf

    from anil_tf.evaluation import figures

    every = max(1, FLAGS.epochs // 10)
    folder = directory.file("tensorboard", "validation")

    @functools.cache
    def writer() -> Any:
        return tf.summary.create_file_writer(folder, filename_suffix=".episode")

    def after_epoch(epoch: int) -> None:
        if (epoch + 1) % every == 0:
            picture = figures.episode_image(learner, tasks)
            with writer().as_default():
                tf.summary.image("episode", picture[None], step=epoch)
                writer().flush()

    return after_epoch


def _report(directory: Any, learner: Any, tasks: Any, result: Any, advice: dict[str, Any]) -> None:
    """Writes the curves, the solved episodes and the card, and says what was reached."""
    from anil_tf.evaluation import card, figures, protocol

    figures.draw_curves(directory.file("metrics.csv"), directory.file("curves.png"))
    figures.draw_episodes(learner, tasks, directory.file("episodes.png"), episodes=3)
    rule = "lowest validation loss" if tasks.regression else "highest validation accuracy"
    batches = -(-FLAGS.validation_episodes // tasks.meta_batch_size)
    described = protocol.describe(
        learner,
        tasks,
        episodes=batches * tasks.meta_batch_size,
        training_seed=FLAGS.seed,
        checkpoint_rule=f"{rule} of one run",
        weight_averaging=FLAGS.weight_averaging,
        training_seconds=result.seconds,
    )
    metric = "mse" if tasks.regression else "accuracy"
    card.write(
        directory.file("card.md"),
        protocol=described,
        validation={metric: result.best},
        training={
            "ways": FLAGS.training_ways or FLAGS.ways,
            "shots": FLAGS.shots,
            "queries": FLAGS.queries,
            "inner_steps": described["inner_steps"],
            "automatic": advice.get("reason"),
            "augment": "crop and flip" if FLAGS.augment else "no",
            "epochs": result.epochs,
            "meta_steps": result.meta_steps,
            "best_epoch": result.best_epoch,
            "optimizer": FLAGS.optimizer,
            "outer_step_size_body": FLAGS.outer_step_size_body,
            "outer_step_size_head": FLAGS.outer_step_size_head,
            "schedule": FLAGS.schedule,
            "meta_batch_size": FLAGS.meta_batch_size,
            "mixed_precision": "bfloat16 body" if FLAGS.mixed_precision else "no",
        },
        command="python bin/train.py --flagfile=DIR/flags.txt --run_dir=NEW_DIR",
    )
    print(
        f"Finished: validation {card.score({metric: result.best})} at epoch {result.best_epoch} of "
        f"{result.epochs}, in {protocol.duration(result.seconds)}. {_next_step()}"
    )


def _how_to_go_on() -> str:
    if not FLAGS.overwrite:
        return "The same command goes on."
    settings = shlex.quote(os.path.join(os.path.relpath(FLAGS.run_dir), "flags.txt"))
    return f"python bin/train.py --flagfile={settings} goes on; --overwrite would start afresh."


def _next_step() -> str:
    run_dir = shlex.quote(os.path.relpath(FLAGS.run_dir))
    return f"Next: python bin/evaluate.py --run_dir={run_dir} --split=test"


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS, required=("run_dir",), goes_on=_how_to_go_on)
