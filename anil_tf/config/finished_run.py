"""Options of commands that start from a finished run: those of the run, unless they are given."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Self

from anil_tf.config import flagfile
from anil_tf.config.adaptation import AUTO, Adaptation
from anil_tf.config.errors import InputError
from anil_tf.config.heads import HEADS
from anil_tf.config.network import Network
from anil_tf.config.option import options
from anil_tf.config.training import Training

# Tasks are drawn anew with a seed of their own, 0 by default, and are of --ways classes, whatever training's were.
_NOT_OF_THE_RUN = frozenset({"seed", "training_ways"})
# What a head without an inner loop has no use for, so that it can be put on any run.
INNER_LOOP = (
    "frozen_in_adaptation",
    "learned_inner_step_size",
    "first_order",
    "differentiation",
    "truncated_to",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromRun(Training):
    """Options of a command with a --run_dir."""

    @classmethod
    def from_given(cls, **given: Any) -> Self:
        """A config of the options that a user gave, the others being those of the run.

        Args:
            **given: `run_dir` among them.

        Raises:
            InputError: where there is no run, and for options that would need another training.
        """
        if not given.get("run_dir"):
            return super().from_given(**given)
        run = settings(given["run_dir"], "run_dir")
        _refuse_changes_of_the_model(run, given)
        values = {name: value for name, value in run.to_dict().items() if cls._is_of_the_run(name)}
        if not HEADS[given.get("head_initialization", run.head_initialization)].has_inner_loop:
            values |= {name: options(Adaptation)[name].default for name in INNER_LOOP}
        config = cls(given=frozenset(given), **(values | given))
        refuse_another_class_split(config, run, "run_dir")
        return config

    @classmethod
    def _is_of_the_run(cls, name: str) -> bool:
        """Whether an option that is not given is the run's; those that the command adds or sets anew are not."""
        anew = {
            option
            for part in cls.__mro__
            if not issubclass(Training, part)
            for option in vars(part).get("__annotations__", {})
        }
        return name not in anew | _NOT_OF_THE_RUN


def settings(run_dir: str, option: str) -> Training:
    """The options that a run was trained with; those that its version did not know are at their defaults.

    Args:
        run_dir: the run's directory.
        option: that names it, for errors.

    Raises:
        InputError: where there is no run.
    """
    path = os.path.join(run_dir, "flags.txt")
    if not os.path.isfile(path):
        raise InputError(
            "expected the directory of a run, which has a flags.txt; `train` makes one.",
            {option: run_dir},
        )
    return flagfile.read(Training, path)


def refuse_another_class_split(config: Training, run: Training, option: str) -> None:
    """Refuses to split a run's own data otherwise: training classes would be among the test's.

    Args:
        config: says how the data are split now.
        run: says how they were in training.
        option: that names the run's directory, for errors.
    """
    is_other_data = config.dataset != run.dataset or (
        config.dataset == "image_folder"
        and not flagfile.is_same_folder(config.data_dir, run.data_dir)
    )
    if config.split_seed != run.split_seed and not is_other_data:
        raise config.error(
            f"the classes of the run in --{option} were split with --split_seed={run.split_seed}, so that "
            f"some of these would be classes it was trained on; expected --split_seed={run.split_seed}, or "
            "another --dataset.",
            "split_seed",
        )


def changeable() -> list[str]:
    """The options of adaptation that a finished run can be used with at other values."""
    return [name for name, option in options(Adaptation).items() if option.changeable]


def _refuse_changes_of_the_model(run: Training, given: dict[str, Any]) -> None:
    """Refuses options that would need another training."""
    for name, option in (options(Network) | options(Adaptation)).items():
        if name not in given:
            continue
        received = option.parse(given[name])
        if received == AUTO:
            raise InputError(
                "measured where training begins, received for a finished run; expected a number, or no "
                f"--{name}, which takes that of the run.",
                {name: AUTO},
            )
        if option.changeable or received == getattr(run, name):
            continue
        if name == "head_initialization" and HEADS[received].fits_any_body:
            continue
        raise InputError(
            "part of the trained model, which has another value; expected none, or one of the flags "
            f"that can be changed: --ways, --shots, --queries, {', '.join('--' + one for one in changeable())}.",
            dict([option.shown(name, received)]),
        )
