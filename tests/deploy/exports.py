"""A directory as bin/export.py leaves it, without a run or a measurement."""

import pathlib

from anil_tf.deploy import clients, formats, manifest
from anil_tf.deploy.temperature import Temperature

CLIENTS = pathlib.Path(clients.__file__).parent
TEMPERATURE = 1.7  # of the exports that all tests share


def export(
    learner,
    directory,
    *,
    format_name="saved_model",
    normalization="support",
    value=1.0,
    optimizer=None,
):
    """Writes the export of a learner with the facts that loading it takes."""
    directory.mkdir(parents=True, exist_ok=True)
    options = formats.Options(normalization, value, ways=3, shots=2, queries=4, optimizer=optimizer)
    written = formats.load_format(format_name).export(learner, directory, options)
    info = manifest.describe(
        format_name, written, learner, options, directory=directory, temperature=Temperature(value)
    )
    manifest.write(directory, info)
    return directory
