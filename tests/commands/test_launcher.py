"""How a command starts and ends: its flags, its exit code, and the one line for whatever goes wrong."""

import os
import signal
import sys
import types

import pytest
from absl import logging

from anil_tf.commands import launcher, program
from anil_tf.config import InputError, flags
from anil_tf.config.commands import COMMANDS
from anil_tf.config.errors import EXIT_STOPPED
from tests.command_line import start


@pytest.fixture
def command(monkeypatch):
    """Puts a function, and how to go on, in the place of a command."""

    def replace(function, **members):
        module = types.SimpleNamespace(train=function, **members)
        monkeypatch.setitem(sys.modules, "anil_tf.commands.train", module)
        return lambda *arguments: start("train", "--run_dir=run", *arguments)

    return replace


def raising(error):
    def function(config):
        raise error

    return function


class Stopped(Exception):
    exit_code = EXIT_STOPPED


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("expected\n2.", {"ways": "1"}), 2, "train.py: --ways=1: expected 2.\n"),
        (ValueError("two\nlines"), 1, "train.py: two lines\n"),
        (ValueError(), 1, "train.py: ValueError\n"),
        (KeyboardInterrupt(), 75, "train.py: stopped by a signal. More goes on.\n"),
        (Stopped("saved in X."), 75, "train.py: saved in X. More goes on.\n"),
    ],
    ids=repr,
)
def test_what_a_command_raises_is_an_exit_code_and_one_line(command, error, code, said):
    function = raising(error)
    train = command(function, how_to_go_on=lambda config: "More goes on.")
    assert train() == (code, "", said)
    assert "Traceback" in train("--verbosity=1").error
    if code == 75:
        said = said.replace(" More goes on.", "")
        assert command(function)() == (1, "", said), "nothing goes on"


def test_what_a_command_returns_is_its_exit_code(command):
    assert command(lambda config: None)().code == 0
    assert command(lambda config: 1)().code == 1
    answer = command(lambda config: print(config.ways))("--ways=4")
    assert answer == (0, "4\n", "")


def test_a_long_text_is_cut_to_one_line(command):
    error = command(raising(ValueError("word " * 1000)))().error
    assert error.endswith(" ...\n") and len(error) < 640


def test_sigterm_interrupts_a_command(command):
    def terminated(config):
        os.kill(os.getpid(), signal.SIGTERM)

    assert command(terminated)() == (1, "", "train.py: stopped by a signal.\n")


@pytest.mark.parametrize(("argument", "expected"), [("--verbosity=0", -1), ("--verbosity=1", 1)])
def test_libraries_may_log_only_when_asked_to(command, argument, expected):
    answer = command(lambda config: print(logging.get_verbosity()))(argument)
    logging.set_verbosity(logging.WARNING)
    assert answer.output == f"{expected}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_bad_flags_start_nothing(monkeypatch, name):
    monkeypatch.setattr(launcher, "run", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(launcher.signal, "SIGPIPE", signal.SIGCHLD)  # for the tests' own output
    usage = flags.usage(COMMANDS[name], f"python bin/{name}.py")
    for argument in ("--help", "-h", "--helpfull"):
        assert start(name, argument, "--nonsense") == (0, usage + "\n", "")
    said = f"{name}.py: --nonsense: unknown flag; --help lists the flags of this command.\n"
    assert start(name, "--nonsense=1") == (2, "", said)


def test_the_console_script_names_commands_and_presets(monkeypatch, capsys):
    monkeypatch.setattr(launcher.sys, "argv", ["/usr/bin/anil_tf"])
    for arguments in ([], ["--help"], ["help"]):
        assert launcher.main(arguments) == 0
        output = capsys.readouterr().out
        assert all(f"  {name} " in output for name in COMMANDS) and "quickstart" in output
    assert launcher.main(["trian"]) == 2
    said = "anil_tf trian: expected one of train, evaluate, tune, export, demo, reproduce, benchmark.\n"
    assert capsys.readouterr().err == said
    assert launcher.main(["train", "--ways=1"]) == 2
    said = "anil_tf train: --ways=1: expected an integer of at least 2.\n"
    assert capsys.readouterr().err == said


def test_commands_are_shown_as_they_were_started(monkeypatch):
    monkeypatch.setattr(program.sys, "argv", ["bin/train.py"])
    assert program.command("evaluate") == "python bin/evaluate.py"
    monkeypatch.setattr(program.sys, "argv", ["/usr/bin/anil_tf"])
    assert program.command("evaluate") == "anil_tf evaluate"
    assert program.shown(os.path.abspath("a run")) == "'a run'"
