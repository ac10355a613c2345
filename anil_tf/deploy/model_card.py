"""model_card.md: what an export can do, how it is used, and where it must not be trusted."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anil_tf.deploy.formats import SIGNATURES
from anil_tf.evaluation import calibration, card, protocol
from anil_tf.files import write_atomically

_FUNCTIONS = {
    "adapt": ("support_images, support_labels", "the state: the tensors below, by name"),
    "predict": ("query_images, and the state", "probabilities"),
    "adapt_and_predict": ("support_images, support_labels, query_images", "probabilities"),
    "embed": ("images", "features, of no task (moving statistics)"),
}
_NORMALIZATION = {
    "support": "batch normalisation by the statistics of the support images, which are part of the state: an answer "
    "does not depend on the other images asked with it",
    "running": "batch normalisation by the moving statistics of the training: an answer does not depend on the other "
    "images asked with it",
    "episode": "batch normalisation by the statistics of support and query images together: **an answer depends on the "
    "other images asked with it, and on how many there are**",
}
_COMMON_LIMITS = (
    "It names one of the classes that it was given examples of, whatever the image: it does not say that an image is "
    "of none of them.",
    "The accuracy is that of classes from the data set and split of the protocol, with as many examples as there. "
    "Other data, and other numbers of classes and examples, give another accuracy: measure it on your own.",
    "Probabilities mean what they say, as far as they do, for that data; elsewhere they are an order, and no more.",
)
_IMAGE_LIMIT = (
    "Images are stretched to the size of the network whatever their shape, and not turned upright: EXIF orientation is "
    "the caller's affair."
)


def write(directory: pathlib.Path, info: Mapping[str, Any], *, usage: str, command: str) -> None:
    """Writes the card of an export into its directory; see `render`."""
    write_atomically(directory / "model_card.md", render(info, usage=usage, command=command))


def render(info: Mapping[str, Any], *, usage: str, command: str) -> str:
    """The text of the card; a pure function.

    Args:
        info: what export.json holds.
        usage: the paragraph of the format on how its files are used.
        command: the command line that repeats the export.
    """
    sections = [
        f"# {info['name']}, as {info['format']}",
        _summary(info),
        "## How to use it\n\n" + usage.strip(),
        "## What it takes and gives\n\n"
        + card.table(("function", "takes", "gives"), _functions(info)),
        _inputs(info),
        _state(info),
        "## Measured on these files\n\n" + _measurements(info),
        "## Limits\n\n" + "\n".join(f"* {limit}" for limit in _limits(info)),
        "## Protocol\n\nOf the accuracy, and of the training behind it.\n\n"
        + card.table(("what", "value"), protocol.rows(info["protocol"])),
        f"## How it was made\n\n```sh\n{command}\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(info: Mapping[str, Any]) -> str:
    text = "A network that learns new classes from a few examples, without training: "
    if not info["classifies"]:
        text = "A network that learns a new function from a few examples, without training: "
    facts = info["protocol"]
    if "adapt" in info["signatures"]:
        text += "`adapt` takes the examples, `predict` answers."
    else:
        text += "`adapt_and_predict` takes the examples and what is asked, and answers."
    text += f" It was meta-trained on {facts['dataset']} ({facts['split_description']})."
    if not info["measured"] or info.get("episodes") is None:
        return text + " **Its accuracy was not measured.**"
    result = {key: info[key] for key in ("accuracy", "mse", "ci95") if info.get(key) is not None}
    text += f"\n\n**{card.score(result)}** (95 % interval) over {info['episodes']} {facts['split']} episodes, "
    text += f"measured on the exported file, normalization `{info['normalization']}`."
    if info["classifies"]:
        text += f" Expected calibration error {_percent(info['calibration_error'])}."
    return text


def _functions(info: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in SIGNATURES:
        if name in info["signatures"]:
            takes, gives = _FUNCTIONS[name]
            yield (
                f"`{name}`",
                takes,
                gives if info["classifies"] else gives.replace("probabilities", "outputs"),
            )


def _inputs(info: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, info["image_shape"]))
    if not info["takes_images"]:
        labels = (
            "support_labels int32 [n]" if info["classifies"] else "support_labels float32 [n, k]"
        )
        return f"Inputs are float32 [n, {', '.join(map(str, info['image_shape']))}]; {labels}."
    ways = f"exactly {info['ways']}" if info["ways"] else "2 or more"
    if info["examples"]:
        images = (
            f"Images are uint8 [n, {', '.join(map(str, info['image_shape']))}], pixels 0..255, of this size and no "
            f"other; of examples there are {info['examples']} in all."
        )
    else:
        images = (
            f"Images are uint8 [n, height, width, {info['image_shape'][-1]}], pixels 0..255, of any height and width; "
            f"inside they are resized to {shape} (antialiased bilinear)."
        )
    return (
        f"{images} Labels are int32 [n], 0..ways-1, each class with one image or more; ways: {ways}. Probabilities are "
        "float32 [m, ways]; column c is class c."
    )


def _state(info: Mapping[str, Any]) -> str:
    if not info["state"]:
        return ""
    rows = [
        (f"`{tensor['name']}`", _shape(tensor["shape"]), tensor["dtype"])
        for tensor in info["state"]
    ]
    return "The state:\n\n" + card.table(("tensor", "shape", "type"), rows)


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("ways" if length is None else str(length) for length in shape) + "]"


def _measurements(info: Mapping[str, Any]) -> str:
    learns = "adapt" if "adapt" in info["signatures"] else "adapt and predict"
    header = ("file", "size", "result", "calibration error", learns, "predict, one image", "load")
    body = [_measured(info, variant) for variant in info["variants"]]
    text = card.table(header, body)
    latency = info["latency_ms"]
    if latency:
        hardware = info["protocol"]["hardware"]
        text += (
            "\n\nLatency in milliseconds, median (quartiles) of warm calls, and of the first call after loading; adapt "
            f"on {latency['images']} images"
            + ("" if "adapt" in latency else " and predict on all queries of a task, in one call")
            + f"; {hardware['cpu']}, {hardware['cores']} cores, other work on the machine not excluded."
        )
    found = info["calibration"]
    if found["episodes"]:
        text += (
            f"\n\nTemperature {info['temperature']:.3f}, fitted on {found['episodes']} validation episodes of "
            f"{found['ways']} classes, whose expected calibration error ({calibration.BINS} bins) it took from "
            f"{_percent(found['error_before'])} to {_percent(found['error_after'])}."
        )
    elif info["classifies"]:
        text += "\n\nThe probabilities are not calibrated: the temperature is 1."
    return text


def _measured(info: Mapping[str, Any], variant: str) -> tuple[str, ...]:
    found = info["measured"].get(variant, {})
    latency = found.get("latency_ms", {})
    has_result = found.get("episodes") is not None
    adapt = latency.get("adapt", latency.get("adapt_and_predict"))
    return (
        f"{variant}: `{info['variants'][variant]}`",
        f"{info['size_bytes'][variant] / 2**20:.2f} MiB",
        card.score(found) if has_result else "not measured",
        _percent(found.get("calibration_error")),
        _latency(adapt),
        _latency(latency.get("predict")),
        f"{latency['load']['median']:.0f}" if latency else "",
    )


def _latency(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    warm, cold = found["warm"], found["cold"]
    quartiles = " to ".join(f"{value:.3g}" for value in warm["quartiles"])
    return f"{warm['median']:.3g} ({quartiles}); first {cold['median']:.3g}"


def _limits(info: Mapping[str, Any]) -> Iterator[str]:
    yield from _COMMON_LIMITS if info["classifies"] else _COMMON_LIMITS[1:2]
    if info["takes_images"] and not info["examples"]:
        yield _IMAGE_LIMIT
    yield f"Normalization `{info['normalization']}`: {_NORMALIZATION[info['normalization']]}."
    trained = info["protocol"].get("training_normalization")
    if trained not in (None, info["normalization"]):
        yield f"It was trained under normalization `{trained}`; the accuracy above is that under the exported one."
    if info["ways"] and info["classifies"]:
        yield f"It takes exactly {info['ways']} classes."
    if "embed" not in info["signatures"] and "adapt" in info["signatures"]:
        yield "There is no `embed`: all layers adapt, so that no features are shared by all tasks."
    yield from info["limits"]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"
