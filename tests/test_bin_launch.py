"""How a binary starts and ends: what it imports, what libraries may log, and the exit codes."""

import json

import pytest

from tests.launched import launched


def test_flags_are_read_before_the_library_is_imported(repository):
    code = "sorted({'anil_tf', 'keras', 'numpy', 'tensorflow'} & set(sys.modules))"
    _, output, _ = launched(repository, code=code)
    assert json.loads(output) == []


def test_errors_are_mapped_to_exit_codes(repository):
    raised = {
        "flags.InputError('bad'),": 2,
        "ValueError('bad'),": 1,
        "KeyboardInterrupt(),": 1,
    }
    for error, expected in raised.items():
        code, _, text = launched(repository, code=f"(_ for _ in ()).throw(*({error}))")
        assert code == expected, text
        assert "Traceback" not in text
        assert len(text.strip().splitlines()) == 1
    code, _, text = launched(
        repository,
        code="(_ for _ in ()).throw(*(KeyboardInterrupt(),))",
        goes_on="lambda: 'More goes on.'",
    )
    assert (code, text) == (75, "-c: stopped by a signal. More goes on.\n")
    code, _, text = launched(
        repository, "--verbosity=1", code="(_ for _ in ()).throw(ValueError('bad'))"
    )
    assert code == 1
    assert "Traceback" in text


@pytest.mark.parametrize(("argument", "expected"), [("--verbosity=0", -1), ("--verbosity=1", 1)])
def test_libraries_may_log_only_when_asked_to(repository, argument, expected):
    code = "__import__('absl.logging').logging.get_verbosity()"
    _, output, _ = launched(repository, argument, code=code)
    assert json.loads(output) == expected
