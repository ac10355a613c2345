"""Times the exported meta-step against PyTorch on the same GPU, and writes the table.

    python -m benchmarks.gpu.compare runs/gpu

Every program runs in a process of its own, one after the other, and first shows that its losses are those of
TensorFlow on a CPU. OUTPUT/table.md and OUTPUT/results.json are written anew after each, and what results.json holds
is not run again: after a stop the same command goes on. Exit status 1 when a program failed or its losses differ.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu import exported, table

# The ways of PyTorch: the name under which the table judges them, and methods of pytorch_gpu.py.
WAYS = {"loop": ("loop",), "vmap": ("vmap_heads", "vmap_tasks")}

Result = dict[str, Any]


def main() -> int:
    flags = _parser().parse_args()
    record = Record(flags.output, _machine(flags.device))
    for precision in flags.precisions:
        _measure(flags, precision, record)
    print(record.table())
    return 0 if all(result["agrees"] for result in record.results) else 1


def _measure(flags: argparse.Namespace, precision: str, record: Record) -> None:
    """Runs every program in one precision."""
    facts = exported.load(flags.exported / precision).facts
    common = [str(flags.exported / precision), f"--device={flags.device}"]
    common += [f"--steps={flags.steps}", f"--repeats={flags.repeats}"]

    def run(way: str, python: str, module: str, *arguments: str) -> Result:
        about = {"way": way, "precision": precision, "commit": facts.commit}
        about |= {"settings": facts.settings}
        command = [python, "-m", f"benchmarks.gpu.{module}", *common, *arguments]
        return record.find_or_run(command, about, flags.timeout)

    run("stablehlo", flags.jax_python, "run_step")
    for way, methods in WAYS.items():
        for method in methods:
            chosen = functools.partial(run, way, flags.torch_python, "pytorch_gpu")
            _measure_method(chosen, method, flags.compile)


def _measure_method(run: Callable[..., Result], method: str, modes: Sequence[str]) -> None:
    """Runs a method of PyTorch eagerly in both memory layouts, and compiled in the faster of them."""
    layouts: list[list[str]] = [[], ["--channels_last"]]
    faster = min(layouts, key=lambda layout: table.median(run(f"--method={method}", *layout)))
    for mode in modes:
        run(f"--method={method}", *faster, f"--compile={mode}")


class Record:
    """The results so far, kept in a directory as results.json and table.md.

    Args:
        directory: made if missing; results that it holds are taken over.
        machine: facts about this machine.

    Raises:
        SystemExit: when the directory holds results of another machine.
    """

    def __init__(self, directory: pathlib.Path, machine: dict[str, str]):
        self._directory = directory
        self._machine = machine
        self.results: list[Result] = []
        path = directory / "results.json"
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["machine"] != machine:
                raise SystemExit(
                    f"{path} holds results of another machine ({held['machine']}; this is {machine}). Give a new "
                    "directory by --output."
                )
            self.results = [result for result in held["results"] if result["agrees"]]

    def find_or_run(self, command: list[str], about: Result, timeout: float) -> Result:
        """Returns the result of a command, run now unless it is known for the same commit and settings."""
        wanted = about | {"command": command[1:]}
        for result in self.results:
            if wanted.items() <= result.items():
                return result
        print(" ".join(command), flush=True)
        result = wanted | _outcome(command, timeout)
        print(table.sentence(result), flush=True)
        self.results.append(result)
        self._save()
        return result

    def table(self) -> str:
        """The results for people, in Markdown."""
        return table.markdown(self.results, self._machine)

    def _save(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        held = {"machine": self._machine, "results": self.results}
        text = json.dumps(held, indent=2)
        (self._directory / "results.json").write_text(text + "\n", encoding="utf-8")
        (self._directory / "table.md").write_text(self.table(), encoding="utf-8")


def _outcome(command: list[str], timeout: float) -> Result:
    """What a program says in its last line, or why it said nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"agrees": False, "seconds": None, "error": f"not done after {timeout:g} s"}
    last = done.stdout.strip().rpartition("\n")[2]
    if last.startswith("{"):
        return json.loads(last)
    reason = (done.stderr.strip() or f"exit status {done.returncode}").rpartition("\n")[2]
    return {"agrees": False, "seconds": None, "error": reason}


def _machine(device: str) -> dict[str, str]:
    """Name and driver of the GPU, which all programs share."""
    if device == "cpu":
        return {"device": "CPU, for trying this out"}
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"No NVIDIA GPU: nvidia-smi failed ({error}). Run this on a GPU host, or try it out by --device=cpu."
        ) from None
    name, driver = found.splitlines()[0].split(", ")
    return {"device": name, "driver": driver}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("exported", type=pathlib.Path, help="directory that export_step.py wrote")
    add("--output", type=pathlib.Path, default=pathlib.Path("benchmarks/gpu/measured"))
    names, modes = exported.PRECISIONS, ("default", "reduce-overhead")
    add("--precisions", nargs="+", choices=names, default=names)
    add("--compile", nargs="*", choices=modes, default=modes, help="modes of torch.compile")
    add("--jax_python", default=sys.executable, help="a Python that has jax")
    add("--torch_python", default=sys.executable, help="a Python that has torch")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--steps", type=int, default=50, help="meta-steps in a row per timing")
    add("--repeats", type=int, default=20, help="timings per program")
    add("--timeout", type=float, default=1200, help="seconds that a program may take")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
