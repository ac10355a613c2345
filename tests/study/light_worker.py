"""The main module of worker processes whose cells need no TensorFlow: they start in a second instead of ten.

A process that `multiprocessing` spawns imports the main module of its parent under the name __mp_main__, before
anything else. There the packages that import TensorFlow become mere folders of modules. A test makes this the main
module for a while; a script imports it where it is __mp_main__ itself.
"""

import contextlib
import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def as_main():
    """Makes this the main module of the process, so that what it spawns inside starts with it."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[__name__]
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def use_folders_for_packages():
    """Has `anil_tf.study.grid` and what it needs imported without their packages."""
    for name in ("anil_tf", "anil_tf.training"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[name] = package


if __name__ == "__mp_main__":
    use_folders_for_packages()
