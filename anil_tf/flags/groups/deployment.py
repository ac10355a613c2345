"""Flags that say how a finished run is exported, and how its page is served."""

from anil_tf.flags.description import Group, boolean, choice, integer, text

EXPORT = Group(
    "Export",
    [
        text("run_dir", None, "The finished run that is exported.", "a run directory"),
        text("output_dir", None, "The directory that is made of it.", "a directory"),
        boolean("overwrite", False, "Replace the export that is in --output_dir."),
        choice(
            "format",
            "saved_model",
            ("saved_model", "litert", "stablehlo"),
            "What is written: saved_model = TensorFlow's own, with every learner and check; litert = "
            "for phones, a linear head; stablehlo = one program of fixed sizes, for JAX.",
        ),
        choice(
            "normalization",
            "support",
            ("support", "running", "episode"),
            "Statistics of batch normalisation in the export, whatever the run was trained with: of "
            "the examples (support), or moving averages (running). episode is refused without "
            "--force: answers would depend on the other images asked with them.",
        ),
        boolean("force", False, "Export --normalization=episode all the same."),
        integer(
            "episodes",
            1000,
            "Test episodes that the exported file is measured on; 0 = none, as the model card "
            "then says.",
            lower=0,
        ),
        integer(
            "calibration_episodes",
            200,
            "Validation episodes that the temperature of the probabilities is fitted on; 0 = no "
            "temperature.",
            lower=0,
        ),
    ],
)

DEMO = Group(
    "Page",
    [
        text("export_dir", None, "What bin/export.py wrote.", "a directory"),
        text(
            "variant",
            None,
            "Which of the export's files, such as int8 of a litert export (default: its first).",
            "the name of a variant",
        ),
        text(
            "host",
            "127.0.0.1",
            "The address to listen on. The default can be reached from this machine only; 0.0.0.0 "
            "is every network that it is in.",
            "an address or a host name",
        ),
        integer("port", 8000, "The port; 0 = any that is free.", lower=0, upper=65535),
    ],
)
