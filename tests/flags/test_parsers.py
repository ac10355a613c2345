"""What a flag accepts, and what is said of a value that it does not."""

import json

import pytest

from tests.launched import launched, refusal


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--ways=abc", ["--ways=abc", "an integer of at least 2"]),
        ("--ways=1", ["--ways=1", "an integer of at least 2"]),
        ("--ways=2.5", ["--ways=2.5", "an integer"]),
        ("--inner_step_size=0", ["--inner_step_size=0", "a number above 0"]),
        (
            "--inner_step_size=automatic",
            ["--inner_step_size=automatic", "a number above 0, or auto"],
        ),
        ("--inner_steps=-1", ["--inner_steps=-1", "an integer of at least 0, or auto"]),
        ("--inner_step_size=nan", ["--inner_step_size=nan", "a number above 0"]),
        ("--inner_step_size=inf", ["--inner_step_size=inf", "a number above 0"]),
        ("--weight_averaging=1", ["--weight_averaging=1", "at most 0.999999"]),
        ("--head=foo", ["--head=foo", "free|zero|prototype|ridge|nil"]),
        ("--differentiation=cg", ["explicit|unrolled|implicit|first_order|truncated"]),
        ("--truncated_to=0", ["--truncated_to=0", "an integer of at least 1"]),
        ("--inner_tolerance=0", ["--inner_tolerance=0", "a number above 0"]),
        ("--adapted_layers=0", ["--adapted_layers=0", "at least 1, or all"]),
        ("--augment=maybe", ["--augment=maybe", "true or false"]),
    ],
)
def test_a_bad_value_gets_one_line_that_says_what_is_accepted(repository, argument, expected):
    error = refusal(repository, argument)
    for words in expected:
        assert words in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--inner_step_size=auto", "--inner_steps=auto"], ["auto", "auto"]),
        (["--inner_step_size=auto", "--inner_steps=3"], ["auto", 3]),
        (["--inner_step_size=0.25"], [0.25, 5]),
    ],
)
def test_the_inner_loop_is_a_number_or_auto(repository, tmp_path, arguments, expected):
    code = (
        "[flags.FLAGS[n].value for n in ('inner_step_size', 'inner_steps')] "
        "+ [flags.settings(['learner'])]"
    )
    _, output, _ = launched(repository, *arguments, code=code)
    *values, settings = json.loads(output)
    assert values == expected
    file = tmp_path / "flags.txt"
    file.write_text("\n".join(settings.values()))
    _, output, _ = launched(repository, f"--flagfile={file}", code=code)
    assert json.loads(output)[:2] == expected
