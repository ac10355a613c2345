# `make` lists the targets. Everything is installed in .venv; nothing outside this folder is touched,
# except by bazel-test, which installs Debian's Bazel where there is none.

PYTHON ?= python3
UV_VERSION := 0.13.9
WORKERS ?= 2
QUICKSTART_DIR ?= runs/quickstart
EXPORT_DIR ?= $(QUICKSTART_DIR)_export

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.requirements-installed

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all coverage lint format lock benchmark bazel-test pictures clean

# TensorFlow's start-up notes are of no use to a user; warnings of our own are not affected.
export TF_CPP_MIN_LOG_LEVEL ?= 3

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) \
	  | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

quickstart: $(STAMP) ## set up, meta-train on the embedded glyphs, evaluate, export (under 6 minutes on two cores)
	@$(BIN)/python bin/train.py --preset=quickstart --run_dir=$(QUICKSTART_DIR)
	@$(BIN)/python bin/evaluate.py --run_dir=$(QUICKSTART_DIR) --split=test --episodes=1000
	@$(BIN)/python bin/export.py --run_dir=$(QUICKSTART_DIR) --output_dir=$(EXPORT_DIR) --overwrite
	@printf '%s\n' '' \
	  'Done: 5-way 1-shot ANIL meta-trained on drawn characters; the lines above give its accuracy on 1000 test' \
	  'episodes of scripts it never saw, with the 95 % interval. The run is in $(QUICKSTART_DIR): card.md, curves.png and' \
	  'the picture of a few solved episodes. $(EXPORT_DIR) holds the model, which learns new classes wherever' \
	  'it is loaded, and model_card.md.' \
	  'What to type next:'
	@printf '  %-72s # %s\n' \
	  'source $(BIN)/activate' 'python and tensorboard of this folder' \
	  'python bin/demo.py --export_dir=$(EXPORT_DIR)' 'teach it characters that you draw, in a browser' \
	  'tensorboard --logdir=$(QUICKSTART_DIR)' 'watch the training' \
	  'python bin/evaluate.py --run_dir=$(QUICKSTART_DIR) --ways=20 --shots=5' 'other tasks, same run' \
	  'python bin/train.py --help' 'every flag' \
	  'ls bin/presets' 'more runs, with times and accuracies'

test: lint ## set up, lint, check types, run the fast tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist=loadfile --durations=15

test-all: lint ## the same with the slow tests: every preset, every document, real processes, benchmarks
	$(BIN)/python -m pytest -n $(WORKERS) --dist=loadfile --durations=30 -m ''

coverage: $(STAMP) ## run the fast tests and report the line coverage of the package
	$(BIN)/python -m pytest -n $(WORKERS) --dist=loadfile --cov=anil_tf --cov-report=term:skip-covered

lint: $(STAMP) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## pin the requirements anew (UPGRADE=--upgrade for the newest versions)
	$(BIN)/uv pip compile --quiet --universal --python-version=3.11 --no-emit-index-url --annotation-style=line \
	  --custom-compile-command='make lock' --extra=deploy --extra=study --extra=test --extra=tune --override=requirements.in $(UPGRADE) \
	  pyproject.toml requirements.in --output-file=requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version=3.11 --no-emit-index-url --no-annotate \
	  --custom-compile-command='make lock' --extra=deploy --extra=study --extra=test --extra=tune --constraint=requirements.txt $(UPGRADE) \
	  pyproject.toml requirements-gpu.in --output-file=requirements-gpu.txt

benchmark: $(STAMP) ## measure meta-step and exports beside PyTorch, as in benchmarks/README.md (half an hour, on an idle machine)
	@mkdir -p benchmarks/measured
	@[ -x .venv-pytorch/bin/python ] || $(PYTHON) -m venv .venv-pytorch
	.venv-pytorch/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python bin/benchmark.py --suite=step --pytorch=.venv-pytorch/bin/python --output=benchmarks/measured/step.json
	$(BIN)/python bin/benchmark.py --suite=deploy --pytorch=.venv-pytorch/bin/python --output=benchmarks/measured/deploy.json

bazel-test: $(STAMP) ## run the fast tests under Bazel (installs Debian's bazel-bootstrap where Bazel is missing)
	@command -v bazel >/dev/null || { \
	  command -v apt-get >/dev/null || { echo 'make: no bazel on PATH and no apt-get to install it with; install Bazel first' >&2; exit 2; }; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq bazel-bootstrap; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(TFDS_DATA_DIR),TFDS_DATA_DIR="$(abspath $(TFDS_DATA_DIR))") bazel test //...

pictures: $(STAMP) ## make the pictures of the demo page in docs/ anew (EXPORT_DIR=DIR; needs chromium and chromedriver)
	$(BIN)/python -m tests.deploy.demo.screenshots $(EXPORT_DIR) docs

clean: ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing again is skipped until requirements.txt changes. uv is four times as fast as pip; pip serves where uv does not.
$(STAMP): requirements.txt
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	case "$$version" in 3.11|3.12|3.13) ;; *) \
	  echo "make: $(PYTHON) is $${version:-not to be found}, but Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ..." >&2; exit 2;; \
	esac
	@echo 'Setting up $(VENV) from requirements.txt (once, about a minute)'
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'make: $(PYTHON) -m venv failed, see above (Debian and Ubuntu: apt-get install python3-venv)' >&2; exit 2; }
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) && \
	   $(BIN)/uv pip install --quiet --compile-bytecode --python=$(BIN)/python -r requirements.txt; } || \
	 { echo 'uv did not serve, installing with pip'; \
	   $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; }
	@touch $@
