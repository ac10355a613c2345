"""export.json: the facts of an export, for programs; `model_card` makes a page of them for people."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from anil_tf.deploy import measure
from anil_tf.deploy.exported import MANIFEST
from anil_tf.deploy.formats import Options, Written
from anil_tf.deploy.temperature import Temperature
from anil_tf.evaluation import Evaluation, card
from anil_tf.files import write_atomically

_MEAN_GREY = 127.5


def describe(
    format_name: str,
    written: Written,
    learner: Any,
    options: Options,
    *,
    directory: pathlib.Path,
    temperature: Temperature,
) -> dict[str, Any]:
    """The facts that loading an export takes, before anything is measured, as JSON can hold them."""
    shape = [int(length) for length in learner.body.input_shape[1:]]
    classifies = learner.inner_loss == "cross_entropy"
    shared = [written.files[name] for name in written.shared]
    return {
        "format": format_name,
        "variants": dict(written.variants),
        "files": {**written.variants, **written.files},
        "size_bytes": {
            variant: sum(measure.size(directory / needed) for needed in (path, *shared))
            for variant, path in written.variants.items()
        },
        "signatures": list(written.signatures),
        "state": [dataclasses.asdict(tensor) for tensor in written.state],
        "classifies": classifies,
        "takes_images": classifies and len(shape) == 3,
        "image_shape": shape,
        "ways": written.ways,
        "examples": written.examples,
        "outputs": None if classifies else int(learner.head.output_shape[-1]),
        "normalization": options.normalization,
        "temperature": temperature.value,
        "calibration": dataclasses.asdict(temperature),
        "limits": list(written.limits),
        "facts": dict(written.facts),
    }


def with_results(
    info: Mapping[str, Any],
    *,
    protocol: Mapping[str, Any],
    evaluations: Mapping[str, Evaluation],
    latencies: Mapping[str, Mapping[str, Any]],
    preview: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of export.json: `info` and what was measured.

    Args:
        info: what `describe` returned.
        protocol: of the measurement, as `evaluation.protocol.describe` gives it.
        evaluations: of each variant on test episodes, none where nothing was measured; the numbers of the first one
            stand at the top level too.
        latencies: likewise, as `measure.latency` gives them.
        preview: what `preview` returned.
    """
    measured = {name: _numbers(evaluation) for name, evaluation in evaluations.items()}
    for name, latency in latencies.items():
        measured.setdefault(name, {})["latency_ms"] = dict(latency)
    first = next(iter(info["variants"]))
    unmeasured = {"accuracy": None, "ci95": None, "calibration_error": None, "latency_ms": None}
    return {
        "name": card.task_name(protocol),
        **info,
        **unmeasured,
        **measured.get(first, {}),
        "variant": first,
        "measured": measured,
        "preview": dict(preview),
        "protocol": dict(protocol),
        "versions": protocol["software"],
        "commit": protocol["commit"],
    }


def preview(tasks: Any) -> dict[str, Any]:
    """How a drawing has to look to resemble the data: how many channels, dark on light or the reverse."""
    channels = int(tasks.image_shape[-1])
    if tasks.regression or channels != 1:
        return {"channels": channels, "ink": None}
    inputs, _ = tasks.batch(0)
    is_light = float(np.mean(inputs["support_images"])) > _MEAN_GREY
    return {"channels": channels, "ink": "dark_on_light" if is_light else "light_on_dark"}


def write(directory: pathlib.Path, info: Mapping[str, Any]) -> None:
    """Writes export.json."""
    write_atomically(directory / MANIFEST, card.dumps(info, indent=2) + "\n")


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    return {
        evaluation.metric: evaluation.value,
        "ci95": evaluation.ci95,
        "loss": evaluation.loss,
        "calibration_error": evaluation.ece,
        "episodes": evaluation.episodes,
    }
