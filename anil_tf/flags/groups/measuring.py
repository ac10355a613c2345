"""Flags that say what is measured: how good a finished run is, and how fast the library is."""

from anil_tf.flags.description import Group, choice, integer, text

EVALUATION = Group(
    "Evaluation",
    [
        choice(
            "split",
            "test",
            ("train", "validation", "test"),
            "The classes that the episodes are drawn from.",
        ),
        integer("episodes", 1000, "How many episodes are evaluated.", lower=2),
        text(
            "compare",
            None,
            "A second run directory: adds the paired difference with its interval.",
            "a run directory",
        ),
    ],
)

BENCHMARK = Group(
    "Benchmark",
    [
        choice(
            "suite",
            "input",
            ("input", "step", "deploy"),
            "What is measured: input = drawing tasks, as a share of a meta-step; step = the "
            "meta-step beside plain training and PyTorch, its memory, and how its cost grows "
            "(half an hour; a picture goes beside --output); deploy = adapting and predicting by "
            "Keras, SavedModel, LiteRT and PyTorch on one core (a quarter of an hour).",
        ),
        text("output", None, "Where the result goes, as JSON.", "a file"),
        text(
            "pytorch",
            None,
            "With --suite=step or deploy: a Python interpreter that has benchmarks/requirements.txt. "
            "Without it nothing is compared with PyTorch.",
            "the path of a Python interpreter",
        ),
    ],
)
