"""The help shows what was declared."""

import pytest

from tests.launched import launched


@pytest.mark.parametrize("argument", ["--help", "--helpfull"])
def test_help_shows_every_flag_with_what_it_accepts(repository, argument):
    code, output, error = launched(repository, argument)
    assert (code, error) == (0, "")
    for words in ("A title.", "--ways=5", "[an integer of at least 2]", "--[no]augment", "BOIL"):
        assert words in output
    assert max(len(line) for line in output.splitlines()) <= 100
