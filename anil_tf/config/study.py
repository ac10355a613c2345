"""Which of the paper's experiments run, how large, and on which data."""

from __future__ import annotations

import dataclasses
import pathlib
import pkgutil

from anil_tf.config.option import Config, option

# An experiment is a file in this folder; none is imported to know its name.
_FOLDER = pathlib.Path(__file__).parents[1] / "study" / "experiments"
EXPERIMENTS = tuple(sorted(module.name for module in pkgutil.iter_modules([str(_FOLDER)])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(Config):
    """Study: the paper's experiments."""

    experiment: str = option(
        str,
        "",
        """Which experiment; all = every one of the paper, with a page that tells the story in order. advice asks
        whether --inner_step_size=auto does as well as a search.""",
        choices=(*EXPERIMENTS, "all"),
        required=True,
    )
    scale: str = option(
        str,
        "small",
        """How large: smoke = a check that all of it runs (all: 3 minutes on two cores), small = 3 seeds, up to 300
        meta-steps (all: 75 minutes), long = 5 seeds, 1000 meta-steps, full = the paper's.""",
        choices=("smoke", "small", "long", "full"),
    )
    output_dir: str = option(
        str,
        "",
        "Where results go. Finished cells in it are not run again.",
        text="a directory",
        required=True,
    )
    from_results: bool = option(
        bool,
        False,
        """Run nothing: make claims, pictures and reports anew from the results.csv that are in --output_dir.""",
    )
    dataset: str = option(
        str,
        "fc100",
        "The data set, by a name that bin/train.py takes.",
        text="the name of a data set",
    )
    data_dir: str | None = option(
        str,
        None,
        """Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then TFDS' own default).""",
        text="a directory",
        is_directory=True,
    )
