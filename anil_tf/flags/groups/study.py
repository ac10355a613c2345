"""Flags of bin/reproduce.py: which of the paper's experiments run, how large, on which data."""

from anil_tf.flags.description import Group, boolean, choice, text

STUDY = Group(
    "Study: the paper's experiments",
    [
        choice(
            "experiment",
            None,
            (
                "strongly_convex",
                "nonconvex",
                "same_step_size",
                "anil_vs_maml",
                "batch_size",
                "sample_size",
                "predictions",
                "complexity",
                "advice",
                "all",
            ),
            "Which experiment; all = every one of the paper, with a page that tells the story in "
            "order. advice asks whether --inner_step_size=auto does as well as a search.",
        ),
        choice(
            "scale",
            "small",
            ("smoke", "small", "long", "full"),
            "How large: smoke = a check that all of it runs (all: 3 minutes on two cores), small "
            "= 3 seeds, up to 300 meta-steps (all: 75 minutes), long = 5 seeds, 1000 meta-steps, "
            "full = the paper's.",
        ),
        text(
            "output_dir",
            None,
            "Where results go. Finished cells in it are not run again.",
            "a directory",
        ),
        boolean(
            "from_results",
            False,
            "Run nothing: make claims, pictures and reports anew from the results.csv that are in "
            "--output_dir.",
        ),
        text(
            "dataset",
            "fc100",
            "The data set, by a name that bin/train.py takes.",
            "the name of a data set",
        ),
        text(
            "data_dir",
            None,
            "Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then "
            "TFDS' own default).",
            "a directory",
        ),
    ],
)
