# Verbs for people and CI. Each sets up the environment if needed; `make help` lists them.
# Everything else is a verb of the command `armdigits`: `.venv/bin/armdigits --help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What `make summary` and `make plots` compare with.
BASE ?= main
# DVC starts the stages with the `python` that it finds first. The recipes name their programs by path, because make 3.81
# (macOS) starts a simple command itself, with the PATH that make was started with.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A user who is not in /etc/passwd, as in a container with --user, may have neither, and DVC asks for both.
HOME ?= $(CURDIR)/.state/home
LOGNAME ?= user
export HOME LOGNAME
# Settings for other projects, which may hide the packages of this one.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH
# In a Git hook these name the repository of the hook, also in the folders of other repositories.
unexport $(shell git rev-parse --local-env-vars 2>/dev/null)

# An environment that was moved, or whose Python is gone, is made anew.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell sh .ci/setup check),)
.PHONY: $(READY)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-all lint report draw plots summary readme benchmark tutorial peers bench-training \
  mnist digits clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with the pinned versions (every other verb does it when needed)

$(READY): pyproject.toml constraints.txt .ci/setup
	@sh .ci/setup "$(PYTHON)"

repro: $(READY) ## run the pipeline and print the results; without a mirror of MNIST, on the embedded digits
	@$(BIN)/armdigits reproduce

test: $(READY) ## run the tests, except the slow ones (two to four minutes)
	@$(BIN)/python -m pytest

test-all: $(READY) ## run all tests, a minute of the fault campaign, and a minute of fuzzing
	@$(BIN)/python -m pytest -m ""
	@$(BIN)/python -m tests.campaign --seconds 60 --stages download teach train evaluate
	@$(BIN)/python -m tests.fuzz --seconds 60

lint: $(READY) ## check style, types, workflows and Dependabot's configuration
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/zizmor --offline --quiet .github
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/pipeline.yml .github/workflows/sweep.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

report: $(READY) ## write report/index.html, which shows the last run; beside another commit: make report BASE=main
	@$(BIN)/armdigits report $(if $(findstring command,$(origin BASE)),--base "$(BASE)")

draw: $(READY) ## write report/draw.html, a page to draw on, in which the int8 program runs
	@$(BIN)/armdigits draw

plots: $(READY) ## write dvc_plots/index.html, DVC's page, which loads Vega from the network: make plots BASE=main
	@$(BIN)/armdigits plots $(BASE)

summary: $(READY) ## print results and changes against another commit, in Markdown: make summary BASE=main
	@$(BIN)/armdigits summary $(BASE)

readme: $(READY) ## put the results table of the last run into README.md
	@$(BIN)/armdigits results --readme

benchmark: $(READY) ## measure again, on this machine
	@$(BIN)/dvc repro --force --single-item benchmark

tutorial: $(READY) ## run the tutorial's recipe as an experiment, and print it beside this project's
	@$(BIN)/armdigits tutorial

peers: $(READY) ## time other runtimes on the same network, beside the programs of the last run
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -c constraints.txt --build-constraint constraints.txt \
	  -e '.[peers]' # setuptools explains at length what an editable install is
	@$(BIN)/python -m benchmarks.runtimes

bench-training: $(READY) ## time the training loop beside the tutorial's
	@$(BIN)/python -m benchmarks.training

mnist: $(READY) ## set params.yaml to MNIST
	@$(BIN)/armdigits dataset mnist

digits: $(READY) ## set params.yaml to scikit-learn's digits, which need no network
	@$(BIN)/armdigits dataset digits

clean: ## remove the environment, the reports and the local state; data, models and DVC's cache stay
	rm -rf $(VENV) .state report dvc_plots .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
