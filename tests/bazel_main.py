"""What a Bazel test target runs: pytest on the one file that its arguments name."""

import os
import sys

import pytest

if __name__ == "__main__":
    # Bazel gives a test a folder of its own to write in; the home may be read-only.
    os.environ.setdefault("HOME", os.environ.get("TEST_TMPDIR", ""))
    code = pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]])
    # A file whose tests are all marked slow has nothing to run here.
    sys.exit(0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code)
