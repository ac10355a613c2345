"""The files around the package agree with each other: versions, requirements, licence, presets."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from anil_tf.config import Train, flagfile, flags

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PRESETS = sorted((ROOT / "anil_tf" / "presets").glob("*.flags"))
MEASURED = {"quickstart", "omniglot_5way_1shot", "fc100_5way_5shot"}
LOCKS = ["requirements.txt", "requirements-gpu.txt"]
MACHINES = [
    {"python_version": v, "python_full_version": f"{v}.1", "sys_platform": s, "platform_machine": m}
    for v in ("3.11", "3.12", "3.13")
    for s, m in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]


def declared():
    """All direct dependencies, those of the extras included."""
    extras = PROJECT["project"]["optional-dependencies"]
    return [
        Requirement(text)
        for text in sum(extras.values(), start=list(PROJECT["project"]["dependencies"]))
    ]


def pinned(lock, machine):
    """Name -> version of what a lock file installs on one machine."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / lock).read_text().splitlines())
    requirements = [Requirement(line) for line in lines if line]
    for requirement in requirements:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{requirement} is no pin"
    return {
        canonicalize_name(r.name): str(r.specifier).removeprefix("==")
        for r in requirements
        if r.marker is None or r.marker.evaluate(machine)
    }


def test_versions_agree():
    code = ast.parse((ROOT / "anil_tf" / "__init__.py").read_text())
    literals = {
        target.id: node.value.value
        for node in code.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    version = literals["__version__"]  # a literal: setuptools reads it without importing
    citation = (ROOT / "CITATION.cff").read_text()
    module = (ROOT / "MODULE.bazel").read_text()
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]
    assert re.findall(r'^    version = "(.+)",$', module, re.MULTILINE) == [version]


@pytest.mark.parametrize("lock", LOCKS)
def test_pins_satisfy_the_declared_ranges(lock):
    for machine in MACHINES:
        pins = pinned(lock, machine)
        for requirement in declared():
            name = canonicalize_name(requirement.name)
            version = pins.get(name) or pins[f"{name}-cpu"]
            assert requirement.specifier.contains(version), f"{requirement} is pinned at {version}"


def test_each_machine_gets_one_tensorflow():
    for machine in MACHINES:
        names = {"tensorflow", "tensorflow-cpu"}.intersection(pinned("requirements.txt", machine))
        cpu_only = (machine["sys_platform"], machine["platform_machine"]) == ("linux", "x86_64")
        assert names == {"tensorflow-cpu" if cpu_only else "tensorflow"}


def test_gpu_pins_differ_only_in_tensorflow_and_cuda():
    cpu, gpu = (set(pinned(lock, MACHINES[0]).items()) for lock in LOCKS)
    names = {name for name, _ in cpu ^ gpu if not name.startswith("nvidia-")}
    assert names == {"tensorflow", "tensorflow-cpu"}
    assert any(name == "nvidia-cudnn-cu12" for name, _ in gpu)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_host_and_no_path(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|index-url|find-links|(?<![\w.])/\w", text)


def test_every_package_and_data_file_is_installed():
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert packages == ["anil_tf", "anil_tf.*"]
    folders = {path.parent for path in (ROOT / "anil_tf").rglob("*.py")}
    without = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()]
    assert not without, f"without __init__.py, so not installed: {without}"
    data = {
        path
        for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    kept = {".py", ".pyc"}
    files = {p for p in (ROOT / "anil_tf").rglob("*") if p.is_file() and p.suffix not in kept}
    assert files == data


def test_licence():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0" in text
    assert "The anil_tf authors" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "license: Apache-2.0" in (ROOT / "CITATION.cff").read_text()


def test_there_are_presets():
    names = {path.stem for path in PRESETS}
    assert {"quickstart", "omniglot_5way_1shot", "fc100_5way_5shot"} <= names
    algorithms = ["two_layers", "maml", "fomaml", "meta_sgd", "boil", "implicit", "ridge"]
    assert {f"fc100_5way_5shot_{name}" for name in algorithms} | {"nil_at_test"} <= names


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_preset_states_command_time_and_accuracy(preset):
    text = preset.read_text()
    stated = dict(re.findall(r"^# (Command|Time|Accuracy): +(\S.*)$", text, re.MULTILINE))
    command = (
        f"python bin/train.py --flagfile=bin/presets/{preset.name} --run_dir=runs/{preset.stem}"
    )
    if preset.stem.endswith("_at_test"):  # for a run that there is already
        command = f"python bin/evaluate.py --flagfile=bin/presets/{preset.name} --run_dir=DIR"
    assert stated["Command"] == command
    unmeasured = "not yet measured"
    if preset.stem in MEASURED or {stated["Time"], stated["Accuracy"]} != {unmeasured}:
        assert re.match(r".*\d ?(s|seconds|min|minutes)\b", stated["Time"])
        assert re.match(r".*\d ?(%|±)", stated["Accuracy"])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_line_of_a_preset_is_a_flag_as_a_run_writes_it(preset):
    config = flags.read_command_line(Train, ["--run_dir=x", f"--preset={preset.stem}"]).config
    given = {line for line in preset.read_text().splitlines() if line.startswith("--")}
    assert given and given <= set(flagfile.lines(config).values())


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "CONTRIBUTING.md"])
def test_pages_link_to_files_that_exist(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    assert not re.findall(r"\b[A-Z]+_[A-Z]+\b(?<!TFDS_DATA_DIR)", text), "a placeholder was left"
