"""Every command-line flag, in groups, with its help, its accepted values and its checks.

A binary declares the groups it uses with `define`; `bin/launch.py` parses them. Nothing here
imports TensorFlow, so `--help` and a mistyped flag are answered at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags as absl_flags

FLAGS = absl_flags.FLAGS

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 75

# Flags that say how or where a command runs, not what the run is: they are no part of a run.
_NOT_PART_OF_A_RUN = frozenset({"overwrite", "verbosity", "flagfile"})
_LONG = 80  # characters of a list of choices that does not fit on a line of help
_DIRECTORIES = frozenset({"run_dir", "data_dir"})


class InputError(ValueError):
    """Bad flags or bad input: said in one line, exit code 2."""


class _Parser(absl_flags.ArgumentParser):
    """Parses one value and says what is accepted when it cannot."""

    def __init__(self, accepted: str):
        self.accepted = accepted
        self.syntactic_help = accepted

    def parse(self, argument: Any) -> Any:
        try:
            return self.convert(argument)
        except (TypeError, ValueError):
            raise ValueError(f"expected {self.accepted}.") from None

    def convert(self, argument: Any) -> Any:
        return argument


class _Number(_Parser):
    """An integer or a real number between two bounds (both included unless said otherwise)."""

    def __init__(self, kind: type, accepted: str, lower: float, upper: float, open_below: bool):
        super().__init__(accepted)
        self._kind, self._lower, self._upper = kind, lower, upper
        self._open_below = open_below

    def convert(self, argument: Any) -> int | float:
        value = self._kind(argument)
        inside = self._lower <= value <= self._upper  # False for NaN
        if not inside or (self._open_below and value == self._lower):
            raise ValueError
        return value


class _Choice(_Parser):
    """One of a few words."""

    def __init__(self, *choices: str):
        super().__init__("one of " + "|".join(choices))
        self._choices = choices

    def convert(self, argument: Any) -> str:
        if argument not in self._choices:
            raise ValueError
        return argument


class _LayerCount(_Parser):
    """A number of layers, or `all`."""

    def __init__(self):
        super().__init__("an integer of at least 1, or all")

    def convert(self, argument: Any) -> int | str:
        if argument == "all":
            return "all"
        if int(argument) < 1:
            raise ValueError
        return int(argument)


class _OrAuto(_Parser):
    """What another parser accepts, or `auto`."""

    def __init__(self, other: absl_flags.ArgumentParser):
        super().__init__(f"{other.syntactic_help}, or auto")
        self._other = other

    def convert(self, argument: Any) -> Any:
        return "auto" if argument == "auto" else self._other.parse(argument)


class Range(NamedTuple):
    """From `low` to `high`, both included; written LOW:HIGH."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low!r}:{self.high!r}"


class Choices(tuple[int, ...]):
    """A few numbers to choose from; written with commas between them."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


class _Range(_Parser):
    """LOW:HIGH, two numbers of which another parser accepts each."""

    def __init__(self, number: _Number, example: str):
        super().__init__(f"LOW:HIGH with LOW below HIGH, each {number.accepted}, such as {example}")
        self._number = number

    def convert(self, argument: Any) -> Range:
        low, high = argument if isinstance(argument, Range) else argument.split(":")
        made = Range(self._number.convert(low), self._number.convert(high))
        if not made.low < made.high:
            raise ValueError
        return made


class _Choices(_Parser):
    """Two or more different integers with commas between them."""

    def __init__(self, lower: int, example: str):
        super().__init__(f"two or more integers of at least {lower}, such as {example}")
        self._lower = lower

    def convert(self, argument: Any) -> Choices:
        values = argument if isinstance(argument, Choices) else argument.split(",")
        made = Choices(int(value) for value in values)
        if len(made) < 2 or len(set(made)) < len(made) or min(made) < self._lower:
            raise ValueError
        return made


class _Boolean(_Parser):
    """True or false; absl adds --noNAME to it."""

    def __init__(self):
        super().__init__("true or false")

    def convert(self, argument: Any) -> bool:
        return absl_flags.BooleanParser().parse(argument)


@dataclasses.dataclass(frozen=True)
class _Flag:
    name: str
    default: Any
    parser: absl_flags.ArgumentParser
    help: str


def _integer(name: str, default: int | None, help: str, lower: int = 1, upper: int = 2**31 - 1):
    accepted = f"an integer of at least {lower}"
    if upper < 2**31 - 1:
        accepted = f"an integer from {lower} to {upper}"
    return _Flag(name, default, _Number(int, accepted, lower, upper, False), help)


def _real(
    name: str,
    default: float | None,
    help: str,
    lower: float = 0.0,
    upper: float = sys.float_info.max,
    open_below: bool = False,
):
    accepted = f"a number {'above' if open_below else 'of at least'} {lower:g}"
    if upper != sys.float_info.max:
        accepted += f" and at most {upper:g}"
    return _Flag(name, default, _Number(float, accepted, lower, upper, open_below), help)


def _or_auto(flag: _Flag):
    return dataclasses.replace(flag, parser=_OrAuto(flag.parser))


def _boolean(name: str, default: bool, help: str):
    return _Flag(name, default, _Boolean(), help)


def _range(flag: _Flag, example: str):
    """--search_NAME: the range that a search takes the values of another flag from."""
    assert isinstance(flag.parser, _Number)
    help = f"Range of --{flag.name}; logarithmic, unless LOW is 0."
    return _Flag(f"search_{flag.name}", None, _Range(flag.parser, example), help)


def _choice(name: str, default: str | None, choices: Sequence[str], help: str):
    return _Flag(name, default, _Choice(*choices), help)


def _text(name: str, default: str | None, help: str, accepted: str = "text"):
    return _Flag(name, default, _Parser(accepted), help)


GROUPS: dict[str, tuple[str, list[_Flag]]] = {
    "data": (
        "Data: where the tasks come from",
        [
            _text(
                "dataset",
                "glyphs",
                "The data set: glyphs (built in, no download), omniglot (Vinyals split), "
                "omniglot_rotated (the same, rotated in test too), "
                "omniglot_background (background/evaluation split), cifar_fs, fc100, "
                "mini_imagenet, sinusoid (regression), image_folder, or tfds:NAME for any TFDS "
                "data set with an image and a label.",
                "the name of a data set",
            ),
            _text(
                "data_dir",
                None,
                "Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then "
                "TFDS' own default). For --dataset=image_folder: the folder of images, "
                "DIR/{train,validation,test}/CLASS/* or DIR/CLASS/*.",
                "a directory",
            ),
            _integer("ways", 5, "Classes in a task.", lower=2),
            _integer(
                "training_ways",
                None,
                "Classes in a training task, where they differ from --ways, which then says those of "
                "validation and test. Harder tasks often train better; needs a head that takes any "
                "number, which is all but free. (default: --ways)",
                lower=2,
            ),
            _integer("shots", 1, "Support examples per class."),
            _integer("queries", 15, "Query examples per class."),
            _integer("meta_batch_size", 8, "Tasks in a meta-step."),
            _integer("seed", 0, "Seed of the weights and of every task that is drawn.", lower=0),
            _integer(
                "image_size",
                None,
                "Height and width that images of image_folder and tfds:NAME are resized to; by "
                "default they keep their size, or become 84x84 where sizes differ.",
            ),
            _integer(
                "split_seed",
                0,
                "Seed of the class split where none is published (tfds:NAME, and image_folder "
                "without split folders).",
                lower=0,
            ),
            _boolean(
                "augment",
                False,
                "Random crop and horizontal flip of training images (colour data only).",
            ),
            _boolean(
                "leave_out_small_classes",
                False,
                "Leave out classes with fewer images than shots + queries, with a warning, "
                "instead of stopping.",
            ),
        ],
    ),
    "learner": (
        "Learner: the network, and how it adapts to a task",
        [
            _text(
                "body",
                "conv4",
                "The network: conv4, smooth_conv4 (conv4 with derivatives of every order, for the "
                "theory), resnet12, mlp, or applications:NAME for a network of keras.applications "
                "(such as applications:MobileNetV2).",
                "conv4|smooth_conv4|resnet12|mlp|applications:NAME",
            ),
            _choice(
                "head",
                "free",
                ("free", "zero", "prototype", "ridge", "nil"),
                "Where adaptation starts the last layer: free = one learned row per class; zero; "
                "prototype = the class means, at a learned scale; ridge = closed-form ridge "
                "regression on one-hot targets, with learned scale and strength (R2D2); nil = no "
                "layer, cosine to the class means (in evaluate.py: for any finished run). These two "
                "have no inner loop. All but free ignore the order of classes and take any number of "
                "ways.",
            ),
            _integer("filters", 64, "Filters per convolution of conv4; units per layer of mlp."),
            _choice(
                "pooling",
                "max",
                ("max", "average", "strided"),
                "How conv4 halves its images: max or average pooling, or strided convolutions.",
            ),
            _boolean("pretrained", False, "Load ImageNet weights into an applications body."),
            _boolean(
                "train_body",
                True,
                "Train the body. --notrain_body freezes it, so that only the head is meta-trained.",
            ),
            _Flag(
                "adapted_layers",
                1,
                _LayerCount(),
                "How many last layers adapt to a task: 1 is ANIL, all is MAML.",
            ),
            _choice(
                "frozen_in_adaptation",
                "none",
                ("none", "head"),
                "head: the last layer does not adapt, the adapted layers before it do (BOIL).",
            ),
            _or_auto(
                _integer(
                    "inner_steps",
                    5,
                    "Steps of gradient descent in adaptation. auto: as many as lower the support "
                    "loss by a share worth their cost, measured when training begins.",
                    lower=0,
                )
            ),
            _or_auto(
                _real(
                    "inner_step_size",
                    0.1,
                    "Step size of adaptation. auto: 1/L, with L the largest curvature of the "
                    "support loss, measured when training begins.",
                    open_below=True,
                )
            ),
            _choice(
                "learned_inner_step_size",
                "none",
                ("none", "scalar", "per_variable"),
                "Learn the inner step size in the outer loop, starting at --inner_step_size: one "
                "scalar, or one per entry of each adapted variable (Meta-SGD).",
            ),
            _real(
                "inner_l2",
                0.0,
                "Strength of (inner_l2 / 2) * squared norm of the adapted weights in the inner "
                "loss. Above 0 a linear head's inner problem is strongly convex. A ridge head "
                "starts from it.",
            ),
            _boolean(
                "first_order",
                False,
                "Leave second derivatives out of the meta-gradient (FOMAML): short for "
                "--differentiation=first_order.",
            ),
            _choice(
                "differentiation",
                "explicit",
                ("explicit", "unrolled", "implicit", "first_order", "truncated"),
                "How the meta-gradient passes through adaptation: explicit = Proposition 1, keeping "
                "the iterates and recomputing each inner step (memory all but flat in them); "
                "unrolled = back-propagation through all that every inner step computed (faster "
                "than explicit where steps are costly, as in MAML); implicit = adapt a linear head "
                "with --inner_l2 > 0 to its minimum, whatever --inner_steps and the start (which is thus "
                "not learned), and use the implicit function theorem; first_order = second "
                "derivatives dropped; truncated = to the last --truncated_to inner steps.",
            ),
            _integer(
                "truncated_to",
                None,
                "With --differentiation=truncated: how many inner steps, the last ones, are "
                "differentiated through.",
            ),
            _choice(
                "inner_solver",
                "newton",
                ("newton", "gradient_descent"),
                "With --differentiation=implicit: how the minimum is found.",
            ),
            _real(
                "inner_tolerance",
                1e-5,
                "With --differentiation=implicit: norm of a task's support gradient at which its "
                "adaptation ends.",
                open_below=True,
            ),
            _choice(
                "normalization",
                "episode",
                ("episode", "support", "running"),
                "Statistics of batch normalisation: of support and query images of the task "
                "(episode, as in most published rows), of the support images only (support), or "
                "moving averages when evaluated (running).",
            ),
            _boolean(
                "mixed_precision",
                False,
                "Compute the body in bfloat16; weights and the head stay float32.",
            ),
            _choice(
                "jit_compile",
                "auto",
                ("auto", "on", "off"),
                "Compile steps with XLA; auto: where it is faster (GPUs yes, CPUs no).",
            ),
        ],
    ),
    "outer_loop": (
        "Outer loop: how the initial weights are learned",
        [
            _integer("epochs", 20, "Epochs; each ends with validation and a checkpoint."),
            _integer("steps_per_epoch", 100, "Meta-steps in an epoch."),
            _choice("optimizer", "adam", ("adam", "sgd"), "The outer optimizer."),
            _real("outer_step_size_body", 1e-3, "Outer step size of the body."),
            _real(
                "outer_step_size_head",
                1e-3,
                "Outer step size of the head (its initial weights, learned inner step sizes, and "
                "the scale of prototypes).",
            ),
            _choice(
                "schedule",
                "constant",
                ("constant", "cosine"),
                "The outer step sizes over the run; cosine falls to zero at its end.",
            ),
            _integer(
                "warmup_steps",
                0,
                "Meta-steps over which the outer step sizes rise linearly to their full value.",
                lower=0,
            ),
            _real(
                "clip_norm",
                0.0,
                "Largest joint norm of the meta-gradient over body and head; 0 = no clipping.",
            ),
            _real(
                "weight_decay",
                0.0,
                "Decoupled weight decay per meta-step, times the outer step size; biases, "
                "normalisation scales and learned step sizes are left alone.",
            ),
            _real(
                "weight_averaging",
                0.0,
                "Momentum of the moving average of weights that validation, the best checkpoint "
                "and model.keras use, such as 0.99; 0 = the weights themselves.",
                upper=0.999999,
            ),
            _integer(
                "validation_episodes",
                200,
                "Tasks of the validation classes, the same after every epoch (rounded up to whole "
                "meta-batches).",
            ),
            _choice(
                "strategy",
                "none",
                ("none", "mirrored", "multi_worker"),
                "Distribution: none = one device, mirrored = all devices of this machine, "
                "multi_worker = the machines in the environment variable TF_CONFIG.",
            ),
            _boolean(
                "deterministic",
                False,
                "Use only operations with reproducible results (slower on GPUs).",
            ),
        ],
    ),
    "run": (
        "Run: where results go",
        [
            _text(
                "run_dir",
                None,
                "The run's directory. An existing run with the same flags goes on where it "
                "stopped.",
                "a directory",
            ),
            _boolean("overwrite", False, "Delete the run that is in --run_dir and start afresh."),
        ],
    ),
    "evaluation": (
        "Evaluation",
        [
            _choice(
                "split",
                "test",
                ("train", "validation", "test"),
                "The classes that the episodes are drawn from.",
            ),
            _integer("episodes", 1000, "How many episodes are evaluated.", lower=2),
            _text(
                "compare",
                None,
                "A second run directory: adds the paired difference with its interval.",
                "a run directory",
            ),
        ],
    ),
    "study": (
        "Study: the paper's experiments",
        [
            _choice(
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
                    "all",
                ),
                "Which experiment; all = every one, with a page that tells the story in order.",
            ),
            _choice(
                "scale",
                "small",
                ("smoke", "small", "long", "full"),
                "How large: smoke = a check that all of it runs (all: 3 minutes on two cores), small "
                "= 3 seeds, up to 300 meta-steps (all: 75 minutes), long = 5 seeds, 1000 meta-steps, "
                "full = the paper's.",
            ),
            _text(
                "output_dir",
                None,
                "Where results go. Finished cells in it are not run again.",
                "a directory",
            ),
            _boolean(
                "from_results",
                False,
                "Run nothing: make claims, pictures and reports anew from the results.csv that are in "
                "--output_dir.",
            ),
            _text(
                "dataset",
                "fc100",
                "The data set, by a name that bin/train.py takes.",
                "the name of a data set",
            ),
            _text(
                "data_dir",
                None,
                "Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then "
                "TFDS' own default).",
                "a directory",
            ),
        ],
    ),
    # ---- bin/tune.py ----
    "tuning": (
        "Tuning: which settings are tried, and for how long. --search_NAME searches the values of "
        "--NAME;\nwithout any: inner step size, inner steps and outer step size of the body",
        [
            _range(_real("inner_step_size", None, "", open_below=True), "0.01:1"),
            _range(_integer("inner_steps", None, "", lower=0), "1:20"),
            _range(_real("inner_l2", None, ""), "0:0.1"),
            _range(_real("outer_step_size_body", None, ""), "0.0001:0.01"),
            _range(_real("outer_step_size_head", None, ""), "0.0001:0.1"),
            _boolean("search_first_order", False, "Both with and without --first_order."),
            _Flag(
                "search_filters",
                None,
                _Choices(1, "16,32,64"),
                "Values of --filters.",
            ),
            _choice(
                "tuner",
                "bayesian",
                ("random", "bayesian", "hyperband"),
                "KerasTuner's random search, Bayesian optimisation (a Gaussian process) or "
                "Hyperband (many short trials, of which the best are trained on).",
            ),
            _integer(
                "trials",
                None,
                "Most trials, those of earlier starts included. (default: 20, or as many as "
                "--minutes allow)",
            ),
            _real(
                "minutes",
                None,
                "Begin no trial after so many minutes, those of earlier starts included.",
                open_below=True,
            ),
            _integer(
                "trial_epochs",
                None,
                "Epochs of a trial, where it is shorter than the training with --epochs that "
                "best.flags repeats. (default: --epochs)",
            ),
            _text(
                "output_dir",
                None,
                "Where the search goes. An existing one with the same flags goes on.",
                "a directory",
            ),
            _real(
                "chief_timeout",
                300.0,
                "With chief and workers: seconds without a sign of life after which the chief ends "
                "with a worker, or a worker with the chief.",
                open_below=True,
            ),
        ],
    ),
    # ---- export.py -------------------------------------------------------------------------------
    "export": (
        "Export",
        [
            _text("run_dir", None, "The finished run that is exported.", "a run directory"),
            _text("output_dir", None, "The directory that is made of it.", "a directory"),
            _boolean("overwrite", False, "Replace the export that is in --output_dir."),
            _choice(
                "format",
                "saved_model",
                ("saved_model", "litert", "stablehlo"),
                "What is written: saved_model = TensorFlow's own, with every learner and check; litert = "
                "for phones, a linear head; stablehlo = one program of fixed sizes, for JAX.",
            ),
            _choice(
                "normalization",
                "support",
                ("support", "running", "episode"),
                "Statistics of batch normalisation in the export, whatever the run was trained with: of "
                "the examples (support), or moving averages (running). episode is refused without "
                "--force: answers would depend on the other images asked with them.",
            ),
            _boolean("force", False, "Export --normalization=episode all the same."),
            _integer(
                "episodes",
                1000,
                "Test episodes that the exported file is measured on; 0 = none, as the model card "
                "then says.",
                lower=0,
            ),
            _integer(
                "calibration_episodes",
                200,
                "Validation episodes that the temperature of the probabilities is fitted on; 0 = no "
                "temperature.",
                lower=0,
            ),
        ],
    ),
    "demo": (
        "Page",
        [
            _text("export_dir", None, "What bin/export.py wrote.", "a directory"),
            _text(
                "variant",
                None,
                "Which of the export's files, such as int8 of a litert export (default: its first).",
                "the name of a variant",
            ),
            _text(
                "host",
                "127.0.0.1",
                "The address to listen on. The default can be reached from this machine only; 0.0.0.0 "
                "is every network that it is in.",
                "an address or a host name",
            ),
            _integer("port", 8000, "The port; 0 = any that is free.", lower=0, upper=65535),
        ],
    ),
    "benchmark": (
        "Benchmark",
        [
            _choice(
                "suite",
                "input",
                ("input", "step", "deploy"),
                "What is measured: input = drawing tasks, as a share of a meta-step; step = the "
                "meta-step beside plain training and PyTorch, its memory, and how its cost grows "
                "(half an hour; a picture goes beside --output); deploy = adapting and predicting by "
                "Keras, SavedModel, LiteRT and PyTorch on one core (a quarter of an hour).",
            ),
            _text("output", None, "Where the result goes, as JSON.", "a file"),
            _text(
                "pytorch",
                None,
                "With --suite=step or deploy: a Python interpreter that has benchmarks/requirements.txt. "
                "Without it nothing is compared with PyTorch.",
                "the path of a Python interpreter",
            ),
        ],
    ),
}


def define(*groups: str) -> None:
    """Declares the flags of some groups; declaring a group twice is harmless.

    Args:
      *groups: names of `GROUPS`, in the order in which `--help` shows them.
    """
    for group in groups:
        for flag in GROUPS[group][1]:
            if flag.name not in FLAGS:
                absl_flags.DEFINE_flag(_absl_flag(flag), module_name=f"anil_tf {group}")


def _absl_flag(flag: _Flag) -> absl_flags.Flag:
    if isinstance(flag.parser, _Boolean):
        boolean = absl_flags.BooleanFlag(flag.name, flag.default, flag.help)
        boolean.parser = flag.parser
        return boolean
    serializer: absl_flags.ArgumentSerializer[Any] = absl_flags.ArgumentSerializer()
    return absl_flags.Flag(flag.parser, serializer, flag.name, flag.default, flag.help)


def usage(title: str, groups: Sequence[str]) -> str:
    """The text that `--help` and `--helpfull` print.

    Args:
      title: what the binary does and how it is called.
      groups: the groups that it uses.

    Returns:
      Text of at most 100 columns, each flag with its default and what it accepts.
    """
    lines = [title.strip(), ""]
    shown: set[str] = set()
    for group in groups:
        heading, group_flags = GROUPS[group]
        lines += [heading, ""]
        for flag in group_flags:
            if flag.name not in shown:  # as in `define`, the first group that has it decides
                lines += _flag_help(flag)
        shown.update(flag.name for flag in group_flags)
        lines.append("")
    lines += ["All binaries", ""]
    lines += _entry("--flagfile=FILE", "Read flags from FILE; later flags win.")
    lines += _entry("--verbosity=0", "1 shows tracebacks and what libraries log.")
    return "\n".join(lines)


def _flag_help(flag: _Flag) -> list[str]:
    if isinstance(flag.parser, _Boolean):
        shown = f"--[no]{flag.name}"
        accepted = f"default: {'on' if flag.default else 'off'}"
    else:
        shown = f"--{flag.name}"
        accepted = flag.parser.accepted  # type: ignore[attr-defined]
        if len(accepted) > _LONG:
            accepted = accepted.replace("|", " | ")  # where lines may break
        if flag.default is not None:
            shown += f"={flag.default}"
    return _entry(shown, f"{flag.help} [{accepted}]")


def _entry(shown: str, text: str) -> list[str]:
    indent = " " * 6
    wrapped = textwrap.wrap(text, 96, initial_indent=indent, subsequent_indent=indent)
    return [f"  {shown}", *wrapped]


def explain(error: absl_flags.Error) -> str:
    """One line for an absl flag error: the flag, what was received, what is accepted.

    Args:
      error: what absl raised while it parsed the command line.

    Returns:
      A single line.
    """
    text = " ".join(str(error).split())
    if isinstance(error, absl_flags.UnrecognizedFlagError):
        shown = f"--{error.flagname}" if error.flagname else "a flag"
        accepted = "--help lists the flags of this binary."
        if "Did you mean" in text:
            accepted = "did you mean --" + text.split("Did you mean: ")[1].split(" ?")[0] + "?"
        return f"{shown}: unknown flag; {accepted}"
    if isinstance(error, absl_flags.CantOpenFlagFileError):
        return f"--flagfile: expected a readable file; {text.removeprefix('ERROR:: ')}"
    if text.startswith("Missing value for flag "):
        return f"{text.removeprefix('Missing value for flag ')}: expected a value, received none."
    return text.removeprefix("flag ")


@contextlib.contextmanager
def blamed_on(*names: str) -> Iterator[None]:
    """Turns a ValueError raised inside into an `InputError` that names these flags.

    Args:
      *names: the flags that the enclosed code builds its objects from.

    Raises:
      InputError: for any ValueError, in one line.

    Example:
      with blamed_on("dataset"):
        raise ValueError("unknown")      # InputError: --dataset=glyphs: unknown
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        # Nothing to add where the message already names the flag.
        text = " ".join(str(error).split())
        if any(f"--{name}" in text for name in names):
            raise InputError(text) from error
        received = " ".join(FLAGS[name].serialize() or f"--{name}" for name in names)
        raise InputError(f"{received}: {text}") from error


def settings(groups: Sequence[str]) -> dict[str, str]:
    """The flags that make a run what it is, in the form of a flagfile's lines.

    Args:
      groups: the groups to take.

    Returns:
      Flag name to line, such as {"ways": "--ways=5", "augment": "--noaugment"}; flags without a
      value are left out, and so are those that are no part of a run (such as --overwrite).
      Directories are absolute, so that the lines mean the same wherever they are read.
    """
    lines = {}
    for flag in _of_a_run(groups):
        if flag.name in _DIRECTORIES:
            lines[flag.name] = _directory_line(flag.name, FLAGS[flag.name].value)
        else:
            lines[flag.name] = FLAGS[flag.name].serialize()
    return {name: line for name, line in lines.items() if line}


def defaults(groups: Sequence[str]) -> dict[str, str]:
    """What `settings` returns where no flag is given.

    Args:
      groups: the groups to take.
    """
    lines = {flag.name: _absl_flag(flag).serialize() for flag in _of_a_run(groups)}
    return {name: line for name, line in lines.items() if line}


def _of_a_run(groups: Sequence[str]) -> list[_Flag]:
    declared = [flag for group in groups for flag in GROUPS[group][1]]
    return [flag for flag in declared if flag.name not in _NOT_PART_OF_A_RUN]


def _directory_line(name: str, value: str | None) -> str:
    if value is None:
        return ""
    is_remote = "://" in value  # such as gs://bucket, which TFDS reads
    return f"--{name}={value if is_remote else os.path.abspath(os.path.expanduser(value))}"


def read_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads a run's flags.txt, which holds what `settings` returned.

    Args:
      path: the file.

    Returns:
      Flag name to line, such as {"ways": "--ways=5", "augment": "--noaugment"}.
    """
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.startswith("--")]
    return {_name_in(line): line for line in lines}


def _name_in(line: str) -> str:
    """The flag that a flagfile's line sets; --noaugment is the flag augment."""
    name = line.removeprefix("--").partition("=")[0]
    flags = {flag.name: flag for _, group in GROUPS.values() for flag in group}
    positive = flags.get(name.removeprefix("no"))
    is_negation = name not in flags and positive and isinstance(positive.parser, _Boolean)
    return name.removeprefix("no") if is_negation else name


def defaults_from_run(run_dir: str | os.PathLike[str]) -> None:
    """Takes a run's flags for every flag that the command line left at its default.

    Args:
      run_dir: a run directory with a `flags.txt`.

    Raises:
      InputError: if there is no such file.
    """
    path = os.path.join(run_dir, "flags.txt")
    if not os.path.isfile(path):
        raise InputError(
            f"--run_dir={run_dir}: expected a run directory with a flags.txt, found none; "
            "bin/train.py makes one."
        )
    chosen = {name for name in FLAGS if FLAGS[name].present}
    for name, line in read_settings(path).items():
        _, has_value, value = line.partition("=")
        if not has_value:
            value = "false" if line == f"--no{name}" else "true"
        # The directory may have been moved or copied since: the one given is the one meant.
        if name in FLAGS and name not in chosen and name != "run_dir":
            FLAGS[name].value = FLAGS[name].parser.parse(value)
