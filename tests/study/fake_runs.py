"""Runners that need no data and no training."""

import math
import os
import pathlib
import time

import numpy as np


def rows(settings):
    """Two rows, with numbers of numpy and numbers that are not finite."""
    seed = settings["seed"]
    return [
        {"step": np.int64(0), "loss": np.float64(seed), "lost": math.nan, "name": "start"},
        {"step": np.int64(9), "loss": seed / 3, "lost": math.inf, "name": "end"},
    ]


def fail(settings):
    raise ValueError("no such\nthing")


def die(settings):
    os._exit(3)


def whereabouts(settings):
    """Which process, when, and how many threads its libraries may have."""
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS")
    return [{"process": os.getpid(), "time": time.time(), "threads": threads}]


def meet(settings):
    """Ends when as many cells as there are seeds have begun."""
    folder = pathlib.Path(settings["folder"])
    (folder / str(settings["seed"])).touch()
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) < settings["seeds"]:
        if time.monotonic() > deadline:
            raise TimeoutError("nobody came")
        time.sleep(0.05)
    return whereabouts(settings)


def slow(settings):
    """Leaves a mark whenever it begins."""
    with open(settings["marks"], "a") as file:
        file.write(f"{settings['seed']}\n")
    time.sleep(settings["seconds"])
    return [{"value": 10.0 + settings["seed"]}]
