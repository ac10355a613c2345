"""The options of each command: which parts it is made of, and where a default differs from that of its part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from anil_tf.config.finished_run import FromRun
from anil_tf.config.heads import HEADS
from anil_tf.config.option import Config, option
from anil_tf.config.search import Search
from anil_tf.config.study import Study
from anil_tf.config.training import Training

_Problem = tuple[tuple[str, ...], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDirectory(Config):
    """Run: where results go."""

    run_dir: str = option(
        str,
        "",
        "The run's directory. An existing run with the same flags goes on where it stopped.",
        text="a directory",
        is_directory=True,
        required=True,
    )
    overwrite: bool = option(
        bool,
        False,
        "Delete the run that is in --run_dir and start afresh.",
        belongs_to_run=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Training, RunDirectory):
    """Meta-trains a learner: PROGRAM --preset=NAME --run_dir=DIR.

    DIR then holds flags.txt (a flagfile that repeats or resumes the run), metrics.csv (one row per epoch), timing.csv,
    tensorboard/, checkpoints/, model.keras (the weights that validation chose), curves.png, episodes.png and card.md.
    Ctrl-C saves and exits with code 75; the same command goes on.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Config):
    """Evaluation."""

    split: str = option(
        str,
        "test",
        "The classes that the episodes are drawn from.",
        choices=("train", "validation", "test"),
    )
    episodes: int = option(int, 1000, "How many episodes are evaluated.", lower=2)
    compare: str | None = option(
        str,
        None,
        "A second run directory: adds the paired difference with its interval.",
        text="a run directory",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(Evaluation, RunDirectory, FromRun):
    """Evaluates a finished run: PROGRAM --run_dir=DIR --split=test --episodes=1000.

    Ways, shots, queries, inner steps and step size, inner_l2, normalization, data set and batch are those of the run
    unless they are given here; the tasks are drawn with --seed, which is 0 here whatever the training's was. Prints a
    table with the whole protocol and, as the last line, one JSON object. --compare=DIR2 adds the paired difference with
    another run on the same episodes. The result is added to DIR/evaluations.jsonl and to DIR/card.md; nothing else is
    changed.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tune(Search, Training):
    """Searches settings of a training: PROGRAM --preset=NAME --output_dir=DIR.

    Each trial is a training as `train` does it, with the flags given here but for those that are searched; it is scored
    by its accuracy on the validation episodes, the same in every trial. DIR then holds best.flags (a flagfile for
    `train`), trials.csv (best first), accuracy.png (against each setting), inner_loop.png (inner step size x inner
    steps) and trials/, a run directory each. Ctrl-C saves and exits with code 75; the same command goes on, after a
    kill too. In parallel: the same command as chief and as workers, by KerasTuner's environment variables
    KERASTUNER_TUNER_ID (chief, or a name), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT.
    """

    def contradictions(self) -> Iterator[_Problem]:
        """What cannot be searched, and what would be searched in vain."""
        if self.strategy == "multi_worker":
            yield (
                ("strategy",),
                "a search has chief and workers of its own; expected none or mirrored.",
            )
        if self.trial_epochs and self.trial_epochs > self.epochs:
            yield ("trial_epochs",), f"expected at most --epochs={self.epochs}."
        for name, problem in self._vain_searches():
            if getattr(self, name):
                yield (name,), problem

    def _vain_searches(self) -> Iterator[tuple[str, str]]:
        head, engine = self.head_initialization, f"--differentiation={self.differentiation}"
        if self.body not in ("conv4", "smooth_conv4", "mlp"):
            yield (
                "search_filters",
                f"--body={self.body} has no --filters; expected another --body.",
            )
        if self.differentiation in ("implicit", "truncated"):
            yield (
                "search_first_order",
                f"the same as --differentiation=first_order, received with {engine}; expected one of the two.",
            )
        if self.differentiation == "first_order":
            yield (
                "search_first_order",
                f"{engine} leaves second derivatives out either way; expected another one.",
            )
        if not self.has_inner_steps:
            why = f"--head={head} adapts in closed form; expected another head."
            if HEADS[head].has_inner_loop:
                why = f"{engine} goes to the minimum, whatever the steps; expected another one."
            for name in ("search_inner_step_size", "search_inner_steps", "search_first_order"):
                yield name, why
        if not HEADS[head].uses_l2:
            yield "search_inner_l2", f"--head={head} has no inner loss; expected another head."
        needs_l2 = self.differentiation == "implicit" or HEADS[head].needs_l2
        if needs_l2 and self.search_inner_l2 and self.search_inner_l2.low == 0:
            yield (
                "search_inner_l2",
                f"--head={head} {engine} needs an inner_l2 above 0; expected LOW above 0.",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportFiles(Config):
    """Export."""

    run_dir: str = option(
        str,
        "",
        "The finished run that is exported.",
        text="a run directory",
        required=True,
    )
    output_dir: str = option(
        str,
        "",
        "The directory that is made of it.",
        text="a directory",
        required=True,
    )
    overwrite: bool = option(
        bool, False, "Replace the export that is in --output_dir.", belongs_to_run=False
    )
    format: str = option(
        str,
        "saved_model",
        """What is written: saved_model = TensorFlow's own, with every learner and check; litert = for phones, a linear
        head; stablehlo = one program of fixed sizes, for JAX.""",
        choices=("saved_model", "litert", "stablehlo"),
    )
    normalization: str = option(
        str,
        "support",
        """Statistics of batch normalisation in the export, whatever the run was trained with: of the examples
        (support), or moving averages (running). episode is refused without --force: answers would depend on the other
        images asked with them.""",
        choices=("support", "running", "episode"),
        changeable=True,
    )
    force: bool = option(bool, False, "Export --normalization=episode all the same.")
    episodes: int = option(
        int,
        1000,
        "Test episodes that the exported file is measured on; 0 = none, as the model card then says.",
        lower=0,
    )
    calibration_episodes: int = option(
        int,
        200,
        """Validation episodes that the temperature of the probabilities is fitted on; 0 = no temperature.""",
        lower=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(ExportFiles, FromRun):
    """Exports a finished run: PROGRAM --run_dir=DIR --output_dir=OUT --format=saved_model.

    The export still learns: it takes a few examples of new classes, and then names images. OUT holds the model,
    export.json (its facts), model_card.md (how to use it, its accuracy and latency, measured on the exported files over
    --episodes test episodes, its limits) and client.py, a short program that needs the runtime of the format and NumPy.
    Ways, shots, inner steps and so on are those of the run unless they are given here; batch normalisation is `support`
    whatever the run was trained with. The meta-step in a stablehlo export is the run's, with the outer optimizer of its
    flags. OUT appears when all is done, or not at all.
    """

    def contradictions(self) -> Iterator[_Problem]:
        """Episode statistics, unless they are forced."""
        if self.normalization == "episode" and not self.force:
            yield (
                ("normalization",),
                "the answer for an image would depend on the other images asked with it, and on how many they are; "
                "expected support (statistics of the examples) or running (moving averages), or --force as well.",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page(Config):
    """Page."""

    export_dir: str = option(
        str, "", "What bin/export.py wrote.", text="a directory", required=True
    )
    variant: str | None = option(
        str,
        None,
        "Which of the export's files, such as int8 of a litert export (default: its first).",
        text="the name of a variant",
    )
    host: str = option(
        str,
        "127.0.0.1",
        """The address to listen on. The default can be reached from this machine only; 0.0.0.0 is every network that
        it is in.""",
        text="an address or a host name",
        required=True,
    )
    port: int = option(int, 8000, "The port; 0 = any that is free.", lower=0, upper=65535)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Page):
    """Serves a page to try an exported model on: PROGRAM --export_dir=OUT.

    Open the address it prints. Make classes by drawing, by dropping image files or with the camera: the model adapts as
    examples are added and names what is drawn next. OUT is what `export` wrote, with --format=saved_model or litert.
    The page runs that export and nothing else, loads nothing from other hosts, and writes nothing of what it is sent.
    It listens on this machine only unless --host says otherwise. Ctrl-C ends it.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduce(Study):
    """Runs the paper's experiments: PROGRAM --experiment=NAME|all --output_dir=OUT.

    OUT then holds results.csv, claims.json (each claim with the rule that decided it), pictures, report.md and
    about.json; with --experiment=all, OUT/NAME/ holds that for each experiment and OUT/README.md tells the story.
    Cells, the units of work, are kept in OUT/cells: Ctrl-C loses only those under way, exit code 75, and the same
    command goes on. --from_results runs nothing and makes everything but results.csv anew from it.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite(Config):
    """Benchmark."""

    suite: str = option(
        str,
        "input",
        """What is measured: input = drawing tasks, as a share of a meta-step; step = the meta-step beside plain
        training and PyTorch, its memory, and how its cost grows (half an hour; a picture goes beside --output); deploy
        = adapting and predicting by Keras, SavedModel, LiteRT and PyTorch on one core (a quarter of an hour).""",
        choices=("input", "step", "deploy"),
    )
    output: str | None = option(str, None, "Where the result goes, as JSON.", text="a file")
    pytorch: str | None = option(
        str,
        None,
        """With --suite=step or deploy: a Python interpreter that has benchmarks/requirements.txt. Without it nothing
        is compared with PyTorch.""",
        text="the path of a Python interpreter",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark(Suite):
    """Measures the library: PROGRAM --suite=input|step|deploy --output=FILE.json.

    Prints what was found and writes it to FILE.json with its spread, the hardware, the versions and the commit. Suites:
    input = the time to draw tasks, as a share of the meta-step that uses them; step = the meta-step beside plain
    training and, with --pytorch=PYTHON, beside PyTorch, its memory, and how its cost grows (FILE_growth.png); deploy =
    how long exported models take to learn a task and to answer, on one core, with --pytorch=PYTHON beside PyTorch.
    Measure on an idle machine; `benchmarks/README.md` says what was found where. Needs the clone.
    """


COMMANDS: dict[str, type[Config]] = {
    "train": Train,
    "evaluate": Evaluate,
    "tune": Tune,
    "export": Export,
    "demo": Demo,
    "reproduce": Reproduce,
    "benchmark": Benchmark,
}
