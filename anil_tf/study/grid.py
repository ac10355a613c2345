"""Runs cells: side by side on one core each, then those that measure time one by one, alone, on all cores.

A finished cell is a file, `DIRECTORY/NAME.json`, written whole or not at all, and is never run again: a run that was
killed goes on where it was. The parent computes nothing; it hands cells to worker processes over pipes and writes down
what comes back. A worker ends after some cells, so that what TensorFlow keeps of compiled functions does not pile up.
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
from anil_tf.study.cell import Cell
from anil_tf.training.signals import Stopped, StopRequest

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
    missing = [cell for cell in wanted if not _file(folder, cell).exists()]
    shared = [cell for cell in missing if not cell.alone]
    alone = [cell for cell in missing if cell.alone]
    failed: dict[str, str] = {}
    bar = tqdm.tqdm(
        total=len(wanted),
        initial=len(wanted) - len(missing),
        unit=" cells",
        desc="study",
        smoothing=0.05,
        disable=None if progress else True,
    )
    with (
        StopRequest() as stop,
        bar,
        contextlib.closing(_work_through(shared, alone, workers or cores(), stop)) as answers,
    ):
        for cell, answer in answers:
            _write(folder, cell, answer)
            if "error" in answer:
                failed[cell.name] = answer["error"]
                bar.write(f"{cell.name} failed: {answer['error']}")
            bar.update()
    return failed


def cores() -> int:
    """How many cores this process may use."""
    # The affinity counts what a container or taskset leaves us; macOS has no such call.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_finished(cell: Cell, directory: str | os.PathLike[str]) -> bool:
    """Whether a cell's rows are in `directory`."""
    return _file(pathlib.Path(directory), cell).exists()


def read(cell: Cell, directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of a finished cell: `runner`, `settings`, `alone`, `seconds` it took and `rows`."""
    return json.loads(_file(pathlib.Path(directory), cell).read_text(encoding="utf-8"))


# ---- Who does which cell -----------------------------------------------------------------------------------------


def _work_through(
    shared: Sequence[Cell], alone: Sequence[Cell], workers: int, stop: StopRequest
) -> Generator[tuple[Cell, dict[str, Any]], None, None]:
    """Yields each cell with its answer, as they end."""
    yield from _side_by_side(shared, min(workers, len(shared)), stop)
    yield from _side_by_side(alone, min(1, len(alone)), stop, threads=None)


def _side_by_side(
    cells: Sequence[Cell], workers: int, stop: StopRequest, threads: int | None = 1
) -> Generator[tuple[Cell, dict[str, Any]], None, None]:
    """Keeps `workers` processes busy, each with the next cell as soon as it has answered."""
    waiting = list(reversed(cells))
    busy: dict[Any, _Worker] = {}
    idle = [_Worker(threads) for _ in range(workers)]
    try:
        while waiting or busy:
            while waiting and idle:
                worker = idle.pop().or_its_successor()
                worker.begin(waiting.pop())
                busy[worker.pipe] = worker
            ready = multiprocessing.connection.wait(list(busy), timeout=_LOOK_SECONDS)
            if stop.requested:
                raise Stopped("stopped by a signal; finished cells are kept.")
            for pipe in ready:
                worker = busy.pop(pipe)
                idle.append(worker)
                yield worker.end()
    finally:
        for worker in [*idle, *busy.values()]:
            worker.kill()


class _Worker:
    """A process that runs cells, one after another.

    Args:
        threads: for each library in it; None leaves all cores to it.
    """

    def __init__(self, threads: int | None):
        self._threads = threads
        self._cell: Cell | None = None
        self._begun = 0
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(threads), _interrupts_ignored(), _quiet():
            self._process.start()
        theirs.close()

    def or_its_successor(self) -> _Worker:
        """This worker, or a fresh one if it has died or has done its share."""
        if self._process.is_alive() and self._begun < _CELLS_PER_WORKER:
            return self
        self.kill()
        return _Worker(self._threads)

    def begin(self, cell: Cell) -> None:
        """Hands a cell over."""
        self._cell = cell
        self._begun += 1
        with contextlib.suppress(OSError):  # the missing answer will tell
            self.pipe.send(cell)

    def end(self) -> tuple[Cell, dict[str, Any]]:
        """The cell with its answer, `rows` or `error`, once the pipe has something to say."""
        assert self._cell is not None
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            answer = {"error": f"its process ended with code {code}, perhaps for lack of memory."}
        return self._cell, answer

    def kill(self) -> None:
        """Ends the process at once; nothing of it is needed any more."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


@contextlib.contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Sets the environment that a process started inside inherits."""
    wanted = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # workers may share one accelerator
    if threads is not None:
        wanted |= dict.fromkeys(_THREADS, str(threads))
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What libraries print in a process started inside goes nowhere: what goes wrong comes back as an exception."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    before = {stream: os.dup(stream) for stream in (1, 2)}
    try:
        for stream in before:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in before.items():
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


# ---- Inside a worker ---------------------------------------------------------------------------------------------


def _serve(pipe: multiprocessing.connection.Connection) -> None:
    """Answers each cell with its rows, until the parent is gone."""
    while True:
        try:
            cell = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(cell))


def _answer(cell: Cell) -> dict[str, Any]:
    since = time.perf_counter()
    try:
        rows = [_plain(row) for row in cell.run()]
        return {"rows": rows, "seconds": time.perf_counter() - since}
    except Exception as error:  # the rest of the grid goes on
        said = " ".join(str(error).split())[:300]
        return {"error": f"{type(error).__name__}: {said}", "traceback": traceback.format_exc()}
    finally:
        _forget()


def _forget() -> None:
    """Lets go of what Keras and TensorFlow keep of the networks and functions of a cell."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON scalars; what is not finite is missing."""
    plain = {}
    for key, value in row.items():
        value = value.item() if hasattr(value, "item") else value
        plain[key] = None if isinstance(value, float) and not math.isfinite(value) else value
    return plain


# ---- Finished cells ----------------------------------------------------------------------------------------------


def _file(folder: pathlib.Path, cell: Cell) -> pathlib.Path:
    return folder / f"{cell.name}.json"


def _write(folder: pathlib.Path, cell: Cell, answer: dict[str, Any]) -> None:
    """Writes the rows, or why there are none."""
    failure = folder / f"{cell.name}.failed.txt"
    if "error" in answer:
        write_atomically(failure, answer.get("traceback") or answer["error"] + "\n")
        return
    settings = {key: value for key, value in cell.settings.items() if key != "data_dir"}
    content = {
        "runner": cell.runner,
        "settings": settings,
        "alone": cell.alone,
        "seconds": round(answer["seconds"], 3),
        "rows": answer["rows"],
    }
    write_atomically(_file(folder, cell), json.dumps(content, indent=1, allow_nan=False) + "\n")
    failure.unlink(missing_ok=True)
