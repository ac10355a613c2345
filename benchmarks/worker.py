"""Steps timed in processes of their own: one framework to a process, and one process at work at a time.

Inside the process, `serve` answers requests until its standard input ends. Outside, a `Worker` starts the process,
sends one request at a time and waits for its answer. Either is one line of JSON:

    {"command": "time", "step": NAME, "repeats": R}      {"seconds": [R numbers], "loss": that of the last step}
    {"command": "loss", "step": NAME}                    {"loss": that of the first step after a fresh build}
    {"command": "memory", "step": NAME, "repeats": R}    {"before": bytes, "peak": bytes}
    {"command": "forget", "step": NAME}                  {}
    {"command": "describe"}                              {"python": version, ...}

A request that fails is answered with {"error": one line}. No framework is imported here.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

Step = Callable[[], float]  # takes one step and returns its loss
Builder = Callable[[], Step]

_TAIL_BYTES = 600  # of standard error, in a message


# ---- Inside the process ----------------------------------------------------------------------------------------------


def serve(steps: Mapping[str, Builder], about: Mapping[str, Any] | None = None) -> None:
    """Answers the requests on standard input, and returns when it ends.

    What libraries print goes to standard error from here on, so that it cannot break into the answers.

    Args:
        steps: by name, what builds the step: called when the step is first needed. The step is kept until it is
            forgotten.
        about: what `describe` adds to the version of Python: versions, number of threads.
    """
    answers = _take_standard_output()
    desk = _Desk(steps, about or {})
    for line in sys.stdin:
        answers.write(json.dumps(desk.answer(line)) + "\n")
        answers.flush()


def _take_standard_output() -> TextIO:
    """The standard output as it was; whatever else writes there, in Python or below it, ends in standard error."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


class _Desk:
    """The steps that have been built, and one method for each command."""

    def __init__(self, steps: Mapping[str, Builder], about: Mapping[str, Any]):
        self._steps = steps
        self._about = about
        self._built: dict[str, Step] = {}
        self._commands = {
            "time": self._time,
            "loss": self._loss,
            "memory": self._memory,
            "forget": self._forget,
            "describe": self._describe,
        }

    def answer(self, line: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request.pop("command")
            if command not in self._commands:
                raise ValueError(
                    f"command: expected one of {', '.join(self._commands)}, received {command!r}."
                )
            return self._commands[command](**request)
        except Exception as error:
            return {"error": _one_line(error)}

    def _builder(self, step: str) -> Builder:
        try:
            return self._steps[step]
        except KeyError:
            known = ", ".join(self._steps)
            raise ValueError(f"step: expected one of {known}; received {step!r}.") from None

    def _time(self, step: str, repeats: int) -> dict[str, Any]:
        if repeats < 1:
            raise ValueError(f"repeats: expected 1 or more, received {repeats}.")
        if step not in self._built:
            self._built[step] = self._builder(step)()
        take = self._built[step]
        seconds, loss = [], float("nan")
        for _ in range(repeats):
            start = time.perf_counter()
            loss = float(take())
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "loss": loss}

    def _loss(self, step: str) -> dict[str, Any]:
        return {"loss": float(self._builder(step)()())}

    def _memory(self, step: str, repeats: int) -> dict[str, Any]:
        builder = self._builder(step)
        before = _own_memory("VmRSS")
        can_reset = _reset_peak()
        take = builder()
        for _ in range(repeats):
            take()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # the unit is KiB on Linux
        return {"before": before, "peak": _own_memory("VmHWM") if can_reset else peak}

    def _forget(self, step: str) -> dict[str, Any]:
        self._built.pop(step, None)
        return {}

    def _describe(self) -> dict[str, Any]:
        return {"python": platform.python_version()} | dict(self._about)


def _one_line(error: Exception) -> str:
    """What went wrong, in which file and line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said} ({Path(place.filename).name}:{place.lineno})"


def _own_memory(entry: str) -> int:
    """Bytes of this process under `entry` of its status: VmRSS, resident now, or VmHWM, the most so far."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(entry + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {entry}: memory is measured on Linux only.")


def _reset_peak() -> bool:
    """Makes VmHWM count from now on; whether that was possible (not in every container)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


# ---- Outside ---------------------------------------------------------------------------------------------------------


class Worker:
    """A script that calls `serve`, run as a process of its own from entering the context to leaving it.

    Args:
        python: the interpreter, which has the framework.
        script: path of the script.
        *arguments: of the script.

    Raises:
        RuntimeError: from every method, if the process reports a failure or is no longer there; one line, with the end
            of what it wrote to standard error.

    Example:
        >>> with Worker(sys.executable, "benchmarks/pytorch_steps.py", "--batch=batch.npz") as worker:
        ...     worker.time("anil_loop@10", repeats=3)
    """

    def __init__(self, python: str | Path, script: str | Path, *arguments: str):
        self._name = Path(script).name
        self._command = [str(python), str(script), *arguments]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        # A file, and not a pipe: nobody reads it while the process works, and a full pipe would stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # a request that the process no longer took
            process.stdin.close()
        self._errors.close()

    def time(self, step: str, repeats: int) -> list[float]:
        """Takes `repeats` steps and returns the seconds of each; the first ever includes its warm-up."""
        return self._ask("time", step=step, repeats=repeats)["seconds"]

    def loss(self, step: str) -> float:
        """Builds the step afresh and returns its first loss."""
        return self._ask("loss", step=step)["loss"]

    def peak_memory(self, step: str, repeats: int) -> dict[str, int]:
        """Builds the step, takes it `repeats` times and returns what that took; for a process that did nothing before.

        Returns:
            `before`, the resident set in bytes when the framework is imported and nothing built; `peak`, its maximum
            from then on. The step's own share is the difference.
        """
        return self._ask("memory", step=step, repeats=repeats)

    def forget(self, step: str) -> None:
        """Lets go of the step and of its memory."""
        self._ask("forget", step=step)

    def describe(self) -> dict[str, Any]:
        """Returns versions and the number of threads, as the script states them."""
        return self._ask("describe")

    def _ask(self, command: str, **details: Any) -> dict[str, Any]:
        if self._process is None:
            raise RuntimeError(f"{self._name} is not running: use it within `with Worker(...)`.")
        with contextlib.suppress(BrokenPipeError):  # the missing answer will tell
            self._process.stdin.write(json.dumps({"command": command} | details) + "\n")
            self._process.stdin.flush()
        answer = self._read_answer()
        asked = " ".join([command, *map(str, details.values())])
        if answer is None:
            code = self._process.wait()
            raise RuntimeError(
                f"{self._name} ended with code {code} and no answer to '{asked}'{self._last_words()}"
            )
        if "error" in answer:
            raise RuntimeError(
                f"{self._name} failed at '{asked}': {answer['error']}{self._last_words()}"
            )
        return answer

    def _read_answer(self) -> dict[str, Any] | None:
        """The next JSON object; other lines were printed by a library before `serve` took the output over."""
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer
        return None

    def _last_words(self) -> str:
        """The end of standard error, on the same line."""
        # Read in place: the process writes at the position of this very file, which must not be moved.
        file = self._errors.fileno()
        start = max(0, os.fstat(file).st_size - _TAIL_BYTES)
        text = os.pread(file, _TAIL_BYTES, start).decode("utf-8", errors="replace")
        tail = " | ".join(line.strip() for line in text.splitlines() if line.strip())
        return f"; standard error ends: {tail}" if tail else ""
