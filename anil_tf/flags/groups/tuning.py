"""Flags of bin/tune.py: which settings a search tries, and for how long."""

from anil_tf.flags.description import (
    Flag,
    Group,
    boolean,
    choice,
    integer,
    real,
    search_range,
    text,
)
from anil_tf.flags.parsers import ChoicesParser

TUNING = Group(
    "Tuning: which settings are tried, and for how long. --search_NAME searches the values of "
    "--NAME;\nwithout any: inner step size, inner steps and outer step size of the body",
    [
        search_range(real("inner_step_size", None, "", open_below=True), "0.01:1"),
        search_range(integer("inner_steps", None, "", lower=0), "1:20"),
        search_range(real("inner_l2", None, ""), "0:0.1"),
        search_range(real("outer_step_size_body", None, ""), "0.0001:0.01"),
        search_range(real("outer_step_size_head", None, ""), "0.0001:0.1"),
        boolean("search_first_order", False, "Both with and without --first_order."),
        Flag(
            "search_filters",
            None,
            ChoicesParser(1, "16,32,64"),
            "Values of --filters.",
        ),
        choice(
            "tuner",
            "bayesian",
            ("random", "bayesian", "hyperband"),
            "KerasTuner's random search, Bayesian optimisation (a Gaussian process) or "
            "Hyperband (many short trials, of which the best are trained on).",
        ),
        integer(
            "trials",
            None,
            "Most trials, those of earlier starts included. (default: 20, or as many as "
            "--minutes allow)",
        ),
        real(
            "minutes",
            None,
            "Begin no trial after so many minutes, those of earlier starts included.",
            open_below=True,
        ),
        integer(
            "trial_epochs",
            None,
            "Epochs of a trial, where it is shorter than the training with --epochs that "
            "best.flags repeats. (default: --epochs)",
        ),
        text(
            "output_dir",
            None,
            "Where the search goes. An existing one with the same flags goes on.",
            "a directory",
        ),
        real(
            "chief_timeout",
            300.0,
            "With chief and workers: seconds without a sign of life after which the chief ends "
            "with a worker, or a worker with the chief.",
            open_below=True,
        ),
    ],
)
