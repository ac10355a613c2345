"""Runs cells: side by side on one core each, then those that measure time one by one, alone, on all cores.

A finished cell is a file, `DIRECTORY/NAME.json`, written whole or not at all, and is never run again: a run that was
killed goes on where it was. The parent computes nothing; it hands cells to worker processes over pipes and writes down
what comes back. A worker ends after some cells, so that what TensorFlow keeps of compiled functions does not pile up.

Pools of the standard library do not serve here: one of `multiprocessing` waits for ever for the task of a process that
died, one of `concurrent.futures` gives up all tasks then, and neither can be stopped in the middle of a task.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import tqdm

from anil_tf.files import write_atomically
from anil_tf.signals import Stopped, StopRequest
from anil_tf.study.cell import Cell
from anil_tf.threads import cores

_CELLS_PER_WORKER = 64  # each leaves about 14 MB behind; to begin anew takes 20 seconds
_LOOK_SECONDS = 0.2  # how soon a request to stop is seen
# One thread for every library of a worker that shares the machine; read when the libraries start.
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)

# `rows` and `seconds`, or `error` (one line) and perhaps `traceback`.
Answer = dict[str, Any]


def run(
    cells: Iterable[Cell],
    directory: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Runs every cell that is not finished, each name once.

    Args:
        cells: in the order in which they begin; those that are `alone` wait for all others.
        directory: where finished cells are, and go; made if missing.
        workers: processes side by side; None is one for each core.
        progress: whether a bar with the time left is drawn, if standard error is a terminal.

    Returns:
        The cells that failed: name to what happened, one line. `directory/NAME.failed.txt` has the traceback.

    Raises:
        Stopped: after SIGINT or SIGTERM; finished cells are kept.

    Example:
        >>> run(experiment.cells(SCALES["smoke"], Data("glyphs")), "out/cells")  # doctest: +SKIP
        {}
    """
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(dict.fromkeys(cells))
    missing = [cell for cell in wanted if not is_finished(cell, folder)]
    failed: dict[str, str] = {}
    bar = tqdm.tqdm(
        total=len(wanted),
        initial=len(wanted) - len(missing),
        unit=" cells",
        desc="study",
        smoothing=0.05,
        disable=None if progress else True,
    )
    with StopRequest() as stop, bar:
        for alone in (False, True):
            part = [cell for cell in missing if cell.alone == alone]
            count = 1 if alone else workers or cores()
            with contextlib.closing(_answers(part, count, None if alone else 1, stop)) as answers:
                for cell, answer in answers:
                    _write(folder, cell, answer)
                    if "error" in answer:
                        failed[cell.name] = answer["error"]
                        bar.write(f"{cell.name} failed: {answer['error']}")
                    bar.update()
    return failed


def is_finished(cell: Cell, directory: str | os.PathLike[str]) -> bool:
    """Whether a cell's rows are in `directory`."""
    return _file(directory, cell).exists()


def read(cell: Cell, directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of a finished cell: `runner`, `settings`, `alone`, `seconds` it took and `rows`."""
    return json.loads(_file(directory, cell).read_text(encoding="utf-8"))


# ---- Who does which cell -----------------------------------------------------------------------------------------


def _answers(
    cells: Sequence[Cell], workers: int, threads: int | None, stop: StopRequest
) -> Generator[tuple[Cell, Answer], None, None]:
    """Yields each cell with its answer, as they end; keeps the workers busy until none is left."""
    waiting = list(reversed(cells))
    idle = [_Worker(threads) for _ in range(min(workers, len(waiting)))]
    busy: dict[Any, tuple[_Worker, Cell]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                worker, cell = idle.pop(), waiting.pop()
                worker.begin(cell)
                busy[worker.pipe] = worker, cell
            ready = multiprocessing.connection.wait(list(busy), timeout=_LOOK_SECONDS)
            if stop.requested:
                raise Stopped("stopped by a signal; finished cells are kept.")
            for pipe in ready:
                worker, cell = busy.pop(pipe)
                answer = worker.end()
                if waiting and worker.is_spent:
                    worker.kill()
                    worker = _Worker(threads)
                idle.append(worker)
                yield cell, answer
    finally:
        for worker in (*idle, *(worker for worker, _ in busy.values())):
            worker.kill()


class _Worker:
    """A process that runs cells, one after another.

    Args:
        threads: for each library in it; None leaves all cores to it.
    """

    def __init__(self, threads: int | None):
        self._begun = 0
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(threads), _interrupts_ignored():
            self._process.start()
        theirs.close()

    @property
    def is_spent(self) -> bool:
        """Whether it has died or has done its share."""
        return not self._process.is_alive() or self._begun >= _CELLS_PER_WORKER

    def begin(self, cell: Cell) -> None:
        """Hands a cell over."""
        self._begun += 1
        with contextlib.suppress(OSError):  # the missing answer will tell
            self.pipe.send(cell)

    def end(self) -> Answer:
        """The answer, once the pipe has something to say."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            return {"error": f"its process ended with code {code}, perhaps for lack of memory."}

    def kill(self) -> None:
        """Ends the process at once; nothing of it is needed any more."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


@contextlib.contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Sets the environment that a process started inside inherits."""
    before = dict(os.environ)
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # workers may share one accelerator
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started inside leaves Ctrl-C, which reaches all processes of a terminal, to its parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# ---- Inside a worker ---------------------------------------------------------------------------------------------


def _serve(pipe: multiprocessing.connection.Connection) -> None:
    """Answers each cell with its rows, until the parent is gone."""
    # What libraries print goes nowhere: what goes wrong comes back as an exception.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_answer(pipe.recv()))


def _answer(cell: Cell) -> Answer:
    since = time.perf_counter()
    try:
        rows = [_plain(row) for row in cell.run()]
        return {"rows": rows, "seconds": time.perf_counter() - since}
    except Exception as error:  # the rest of the grid goes on
        said = " ".join(str(error).split())[:300]
        return {"error": f"{type(error).__name__}: {said}", "traceback": traceback.format_exc()}
    finally:
        if (
            "keras" in sys.modules
        ):  # lets go of what it keeps of the networks and functions of a cell
            sys.modules["keras"].utils.clear_session()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON scalars; what is not finite is missing."""
    plain = {}
    for key, value in row.items():
        value = value.item() if hasattr(value, "item") else value
        plain[key] = None if isinstance(value, float) and not math.isfinite(value) else value
    return plain


# ---- Finished cells ----------------------------------------------------------------------------------------------


def _file(folder: str | os.PathLike[str], cell: Cell) -> pathlib.Path:
    return pathlib.Path(folder) / f"{cell.name}.json"


def _write(folder: pathlib.Path, cell: Cell, answer: Answer) -> None:
    """Writes the rows, or why there are none."""
    failure = folder / f"{cell.name}.failed.txt"
    if "error" in answer:
        write_atomically(failure, answer.get("traceback") or answer["error"] + "\n")
        return
    content = {
        "runner": cell.runner,
        "settings": {key: value for key, value in cell.settings.items() if key != "data_dir"},
        "alone": cell.alone,
        "seconds": round(answer["seconds"], 3),
        "rows": answer["rows"],
    }
    write_atomically(_file(folder, cell), json.dumps(content, indent=1, allow_nan=False) + "\n")
    failure.unlink(missing_ok=True)
