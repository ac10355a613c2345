"""Tuning: which settings of a training answer best, searched by KerasTuner on validation episodes.

Read in this order:

    search_space.py      the settings that are searched, and the values that each may take
    score.py             what a trial is scored by: validation accuracy with its interval
    oracles.py           who proposes the next setting: KerasTuner's oracles, with a budget and whole files
    search.py            trial after trial, alone or as one worker of several
    distributed.py       chief and workers: who is who, and how long they wait for each other
    results.py           what was found, best first
    table.py             the same for people, plots.py as pictures
    search_directory.py  where all this lies, and whose it is

A trial is any function from settings to a score; `anil_tf/commands/tune.py` passes one that meta-trains.
"""

import importlib.util

from anil_tf.config import InputError

NOT_INSTALLED = (
    "not installed here: pip install 'anil_tf[tune]', or in a clone pip install '.[tune]'."
)

if importlib.util.find_spec("keras_tuner") is None:
    raise InputError(f"tune needs keras-tuner, {NOT_INSTALLED}")
