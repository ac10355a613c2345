"""What a format of export is: a module that checks, that exports, and that says to users how its files are used."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from anil_tf.config import Export, options

FORMATS = options(Export)["format"].choices
SIGNATURES = ("adapt", "predict", "adapt_and_predict", "embed")


@dataclasses.dataclass(frozen=True)
class Options:
    """What an export is to do.

    Attributes:
        normalization: "support", "running", or "episode", which has no adapt and no predict.
        temperature: T of softmax(logits / T); 1 for regression.
        ways: classes of the tasks that it is measured on; formats of fixed sizes are made for these.
        shots: likewise, support examples per class.
        queries: likewise, queries per class.
        meta_batch_size: tasks of a meta-step, where a format holds one.
        optimizer: makes the outer optimizer of a learner, for that meta-step; None for an export without.
    """

    normalization: str
    temperature: float
    ways: int
    shots: int
    queries: int
    meta_batch_size: int = 8
    optimizer: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class StateTensor:
    """One tensor of what adaptation leaves behind; None in its shape is the number of ways."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Written:
    """What an `export` has written; paths are relative to the export's directory.

    Attributes:
        variants: the model by variant, such as {"float32": "saved_model"}, the default one first.
        files: further files, by name.
        shared: those of the further files, by name, that every variant needs.
        ways: the only number of ways that it takes; None for any.
        examples: the only number of examples that it takes, of all classes together, and then of the network's own size
            only; None for any number and any size.
        state: the tensors that adapt returns and predict takes; none where adapt is not exported.
        signatures: those that there are.
        limits: sentences of Markdown for the model card.
        usage: how the files are used, where the format's USAGE does not hold for them; there is then no client.py.
        facts: what the runtime has to know besides, as JSON can hold it.
    """

    variants: Mapping[str, str]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shared: tuple[str, ...] = ()
    ways: int | None = None
    examples: int | None = None
    state: tuple[StateTensor, ...] = ()
    signatures: tuple[str, ...] = SIGNATURES
    limits: tuple[str, ...] = ()
    usage: str | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Format(Protocol):
    """A module of this package that writes one format."""

    USAGE: str  # Markdown: how the files are used without this library

    def check(self, learner: Any, options: Options) -> None:
        """Refuses what cannot be exported, in no time; `export` does it too.

        Raises:
            ValueError: for a learner that the format cannot hold, options that it has not, or a runtime that is not
                installed, in one line that says what would do.
        """

    def export(self, learner: Any, directory: pathlib.Path, options: Options) -> Written:
        """Writes the model of a learner, and asks it what the learner is asked.

        Args:
            learner: a `MetaLearner`; it is left as it is.
            directory: an empty folder.
            options: what the export is to do.

        Raises:
            ValueError: as `check`, and for a learner that turns out not to fit while it is written.
            RuntimeError: for files that answer other than the learner.
        """


def load_format(name: str) -> Format:
    """The format of this name, imported only now: each needs libraries that the others do not."""
    if name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}. Received: {name!r}.")
    return cast(Format, importlib.import_module(f"anil_tf.deploy.{name}"))
