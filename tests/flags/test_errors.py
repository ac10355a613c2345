"""A command line that cannot be read, and objects that flags do not make, are put down to the flags."""

import pytest

from tests.launched import launched, refusal


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--wayz=3", ["--wayz", "--ways"]),
        ("--ways", ["--ways", "expected a value"]),
        ("--flagfile=missing.flags", ["--flagfile", "missing.flags"]),
        ("ways=3", ["ways=3", "--name=value"]),
    ],
)
def test_a_bad_command_line_gets_one_line_that_helps(repository, argument, expected):
    error = refusal(repository, argument)
    for words in expected:
        assert words in error


def test_blamed_on_names_the_flag(repository):
    code = 'exec(\'with flags.blamed_on("ways"): raise ValueError("too\\\\nmany")\')'
    exit_code, _, error = launched(repository, code=code)
    assert exit_code == 2
    assert error.strip().endswith("--ways=5: too many")
