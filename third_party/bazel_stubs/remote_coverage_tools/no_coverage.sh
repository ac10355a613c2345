#!/bin/sh
echo "bazel coverage is not supported in this repository; use bazel test" >&2
exit 1
