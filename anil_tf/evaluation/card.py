"""card.md: one page on a run: how good it is, under which protocol, and how to repeat it.

Training writes the card when it ends; every evaluation adds its number. Beside card.md lie the
facts it is made from, for programs: `card.json` (the training) and `evaluations.jsonl` (one line
per evaluation, none is ever removed).
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import logging

from anil_tf.evaluation import protocol as protocols
from anil_tf.files import write_atomically

_PICTURES = {
    "episodes.png": "Solved episodes: support, queries, predictions; errors marked",
    "curves.png": "Loss and accuracy against meta-steps; the chosen checkpoint marked",
}
_TRAINED_SETTING = (
    "dataset",
    "ways",
    "shots",
    "normalization",
    "inner_steps",
    "inner_step_size",
    "inner_l2",
)
_SETTING = (*_TRAINED_SETTING, "split", "queries", "evaluation_seed", "episodes", "meta_batch_size")


def write(
    path: str | pathlib.Path,
    *,
    protocol: Mapping[str, Any],
    validation: Mapping[str, Any],
    training: Mapping[str, Any],
    command: str,
) -> None:
    """Writes the card of a finished training, and its facts into card.json beside it.

    Evaluations recorded in the same folder are shown too.

    Args:
        path: the card, DIR/card.md.
        protocol: what `protocol.describe` returns for the validation tasks; its hardware is the
            training's.
        validation: the result on them, `accuracy` (a fraction) or `mse`; optionally `ci95`, `loss`.
        training: what else is to be said, by name: e.g. {"epochs": 20, "meta_steps": 4000,
            "best_epoch": 17}; a name that ends in _seconds is shown as a time.
        command: the command line that repeats the training.
    """
    path = pathlib.Path(path)
    facts = {
        "protocol": protocol,
        "validation": validation,
        "training": training,
        "command": command,
    }
    write_atomically(path.with_name("card.json"), dumps(facts, indent=2) + "\n")
    write_atomically(path, render(facts, evaluations(path.parent), pictures(path.parent)))


def add_evaluation(run_dir: str | pathlib.Path, result: Mapping[str, Any]) -> None:
    """Records an evaluation of a run and renews its card.

    Args:
        run_dir: the run directory; the card is renewed if the training has written one.
        result: accuracy or mse, ci95, loss, ece, episodes, seconds, protocol: what evaluate.py
            prints.

    Raises:
        OSError: if the run directory cannot be written to.
    """
    run_dir = pathlib.Path(run_dir)
    with (run_dir / "evaluations.jsonl").open("a+b") as file:
        # A kill may have torn the last line: this one must not be joined to it.
        file.seek(-1 if file.tell() else 0, os.SEEK_END)
        is_torn = file.read(1) not in (b"", b"\n")
        file.write((b"\n" if is_torn else b"") + dumps(result).encode() + b"\n")
    facts = read(run_dir)
    if facts:
        text = render(facts, evaluations(run_dir), pictures(run_dir))
        write_atomically(run_dir / "card.md", text)


def read(run_dir: str | pathlib.Path) -> dict[str, Any]:
    """The facts of a run's training as `write` left them; empty where there are none yet."""
    path = pathlib.Path(run_dir) / "card.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def evaluations(run_dir: str | pathlib.Path) -> list[dict[str, Any]]:
    """The evaluations recorded in a run directory, oldest first; torn lines are left out, aloud."""
    path = pathlib.Path(run_dir) / "evaluations.jsonl"
    if not path.exists():
        return []
    recorded = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            recorded += [json.loads(line)] if line else []
        except ValueError:
            logging.warning("%s, line %d is torn and left out.", path, number)
    return recorded


def pictures(run_dir: str | pathlib.Path) -> list[str]:
    """Which of the known pictures are in a run directory."""
    return [name for name in _PICTURES if (pathlib.Path(run_dir) / name).exists()]


def render(
    facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]], picture_names: Iterable[str]
) -> str:
    """The text of the card; a pure function.

    Args:
        facts: protocol, validation, training and command, as in `write`.
        results: evaluations, oldest first; of two with the same setting the later one is shown,
            and none of the model as it was before the training was extended.
        picture_names: pictures in the card's folder.

    Returns:
        Markdown.
    """
    protocol = facts["protocol"]
    validation = {**facts["validation"], "episodes": protocol["episodes"], "protocol": protocol}
    epochs = facts["training"].get("epochs")
    current = [r for r in results if r["protocol"].get("training_epochs") in (None, epochs)]
    latest = {tuple(result["protocol"].get(key) for key in _SETTING): result for result in current}
    shown = [*latest.values(), validation]
    headline = _headline(protocol, list(latest.values())) or validation
    sections = [
        f"# {task_name(headline['protocol'])}: {score(headline)}",
        _summary(headline, shown),
        _results_table(shown),
        "\n\n".join(f"![{_PICTURES[name]}]({name})" for name in picture_names),
        "## Protocol\n\nOf the number in the title.\n\n"
        + table(("what", "value"), protocols.rows(headline["protocol"])),
        "## Training\n\n" + table(("what", "value"), _training_rows(facts)),
        "## How to repeat it\n\nFrom the clone, DIR being this folder. Train:\n\n"
        f"```sh\n{facts['command']}\n```\n\n"
        f"Evaluate:\n\n```sh\n{_evaluate_command(headline)}\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def score(result: Mapping[str, Any]) -> str:
    """A result for people.

    Args:
        result: with accuracy (a fraction) or mse, and ci95 where it is known.

    Returns:
        E.g. "48.02 ± 0.71 %" or "mean squared error 0.0312 ± 0.0040".
    """
    ci95 = result.get("ci95")
    if ci95 is None or math.isnan(ci95):
        half_width = ""
    elif "mse" in result:
        half_width = f" ± {ci95:.4f}"
    else:
        half_width = f" ± {100 * ci95:.2f}"
    if "mse" in result:
        return f"mean squared error {result['mse']:.4f}{half_width}"
    return f"{100 * result['accuracy']:.2f}{half_width} %"


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def task_name(protocol: Mapping[str, Any]) -> str:
    """The task of a protocol, such as "fc100, 5-way 1-shot"; of a regression without the ways."""
    if protocol["ways"] > 1:
        return f"{protocol['dataset']}, {protocol['ways']}-way {protocol['shots']}-shot"
    return f"{protocol['dataset']}, {protocol['shots']}-shot"


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _headline(
    trained: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The latest test result under the setting of the training, or None."""
    for result in reversed(results):
        same = all(result["protocol"].get(key) == trained.get(key) for key in _TRAINED_SETTING)
        if same and result["protocol"]["split"] == "test":
            return result
    return None


def _summary(headline: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> str:
    protocol = headline["protocol"]
    what = "Mean over" if "mse" in headline else "Mean accuracy over"
    interval = " with its 95 % interval" if headline.get("ci95") is not None else ""
    text = f"{what} {headline['episodes']} {protocol['split']} episodes{interval}, "
    text += f"normalization `{protocol['normalization']}`."
    if protocol["split"] == "validation":
        text += (
            " The checkpoint was chosen by this number, so it flatters a little. "
            "Not yet evaluated on test classes."
        )
    for other in shown:
        setting = {**other["protocol"], "normalization": protocol["normalization"]}
        same = all(setting.get(key) == protocol.get(key) for key in _SETTING)
        if same and other["protocol"]["normalization"] == "support" != protocol["normalization"]:
            text += f" Under `support`, where no query knows of the others: **{score(other)}**."
    return text


def _results_table(shown: Sequence[Mapping[str, Any]]) -> str:
    header = (
        "split",
        "task",
        "queries",
        "normalization",
        "inner steps",
        "episodes",
        "result",
        "calibration error",
    )
    return "## Results\n\n" + table(
        header,
        [
            (
                result["protocol"]["split"],
                task_name(result["protocol"]).partition(", ")[2],
                str(result["protocol"]["queries"]),
                result["protocol"]["normalization"],
                str(result["protocol"]["inner_steps"]),
                str(result["episodes"]),
                score(result),
                f"{100 * result['ece']:.1f} %" if result.get("ece") is not None else "",
            )
            for result in shown
        ],
    )


def _training_rows(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield from protocols.rows(facts["training"])
    keys = ("training_seconds", "hardware", "software", "commit")
    yield from protocols.rows({key: facts["protocol"].get(key) for key in keys})


def _evaluate_command(headline: Mapping[str, Any]) -> str:
    protocol = headline["protocol"]
    return (
        f"python bin/evaluate.py --run_dir=DIR --split={protocol['split']} "
        f"--episodes={headline['episodes']} --queries={protocol['queries']} "
        f"--seed={protocol['evaluation_seed']}"
    )
