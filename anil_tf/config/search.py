"""Which settings a search tries, and for how long."""

from __future__ import annotations

import dataclasses

from anil_tf.config.adaptation import Adaptation
from anil_tf.config.option import Choices, Config, Range, option, search_range
from anil_tf.config.outer_loop import OuterLoop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(Config):
    """Tuning: which settings are tried, and for how long.

    --search_NAME searches the values of --NAME; without any: inner step size, inner steps and outer step size of the
    body.
    """

    search_inner_step_size: Range | None = search_range(Adaptation, "inner_step_size", "0.01:1")
    search_inner_steps: Range | None = search_range(Adaptation, "inner_steps", "1:20")
    search_inner_l2: Range | None = search_range(Adaptation, "inner_l2", "0:0.1")
    search_outer_step_size_body: Range | None = search_range(
        OuterLoop, "outer_step_size_body", "0.0001:0.01"
    )
    search_outer_step_size_head: Range | None = search_range(
        OuterLoop, "outer_step_size_head", "0.0001:0.1"
    )
    search_first_order: bool = option(bool, False, "Both with and without --first_order.")
    search_filters: Choices | None = option(
        Choices, None, "Values of --filters.", lower=1, text="16,32,64"
    )
    tuner: str = option(
        str,
        "bayesian",
        """KerasTuner's random search, Bayesian optimisation (a Gaussian process) or Hyperband (many short trials, of
        which the best are trained on).""",
        choices=("random", "bayesian", "hyperband"),
    )
    trials: int | None = option(
        int,
        None,
        "Most trials, those of earlier starts included. (default: 20, or as many as --minutes allow)",
        belongs_to_run=False,
    )
    minutes: float | None = option(
        float,
        None,
        "Begin no trial after so many minutes, those of earlier starts included.",
        above_lower=True,
        belongs_to_run=False,
    )
    trial_epochs: int | None = option(
        int,
        None,
        """Epochs of a trial, where it is shorter than the training with --epochs that best.flags repeats. (default:
        --epochs)""",
    )
    output_dir: str = option(
        str,
        "",
        "Where the search goes. An existing one with the same flags goes on.",
        text="a directory",
        belongs_to_run=False,
        required=True,
    )
    chief_timeout: float = option(
        float,
        300.0,
        """With chief and workers: seconds without a sign of life after which the chief ends with a worker, or a worker
        with the chief.""",
        above_lower=True,
        belongs_to_run=False,
    )
