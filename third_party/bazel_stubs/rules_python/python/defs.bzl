"""The rules of rules_python that this repository uses, as Bazel itself has them (up to Bazel 7)."""

py_binary = native.py_binary
py_library = native.py_library
py_test = native.py_test
