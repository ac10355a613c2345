"""Flags that say how the initial weights are learned, the outer loop, and where the run is kept."""

from anil_tf.flags.description import Group, boolean, choice, integer, real, text

OUTER_LOOP = Group(
    "Outer loop: how the initial weights are learned",
    [
        integer("epochs", 20, "Epochs; each ends with validation and a checkpoint."),
        integer("steps_per_epoch", 100, "Meta-steps in an epoch."),
        choice("optimizer", "adam", ("adam", "sgd"), "The outer optimizer."),
        real("outer_step_size_body", 1e-3, "Outer step size of the body."),
        real(
            "outer_step_size_head",
            1e-3,
            "Outer step size of the head (its initial weights, learned inner step sizes, and "
            "the scale of prototypes).",
        ),
        choice(
            "schedule",
            "constant",
            ("constant", "cosine"),
            "The outer step sizes over the run; cosine falls to zero at its end.",
        ),
        integer(
            "warmup_steps",
            0,
            "Meta-steps over which the outer step sizes rise linearly to their full value.",
            lower=0,
        ),
        real(
            "clip_norm",
            0.0,
            "Largest joint norm of the meta-gradient over body and head; 0 = no clipping.",
        ),
        real(
            "weight_decay",
            0.0,
            "Decoupled weight decay per meta-step, times the outer step size; biases, "
            "normalisation scales and learned step sizes are left alone.",
        ),
        real(
            "weight_averaging",
            0.0,
            "Momentum of the moving average of weights that validation, the best checkpoint "
            "and model.keras use, such as 0.99; 0 = the weights themselves.",
            upper=0.999999,
        ),
        integer(
            "validation_episodes",
            200,
            "Tasks of the validation classes, the same after every epoch (rounded up to whole "
            "meta-batches).",
        ),
        choice(
            "strategy",
            "none",
            ("none", "mirrored", "multi_worker"),
            "Distribution: none = one device, mirrored = all devices of this machine, "
            "multi_worker = the machines in the environment variable TF_CONFIG.",
        ),
        boolean(
            "deterministic",
            False,
            "Use only operations with reproducible results (slower on GPUs).",
        ),
    ],
)

RUN = Group(
    "Run: where results go",
    [
        text(
            "run_dir",
            None,
            "The run's directory. An existing run with the same flags goes on where it stopped.",
            "a directory",
        ),
        boolean("overwrite", False, "Delete the run that is in --run_dir and start afresh."),
    ],
)
