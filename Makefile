# Verbs for people and for CI. Each sets the environment up first, once; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# CPU builds of torch and torchvision; where this index cannot be reached, the default index serves.
CPU_INDEX := https://download.pytorch.org/whl/cpu
# What `make summary` and `make plots` compare with.
BASE ?= main
# DVC starts the stages with the `python` that it finds first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro benchmark test lint format results report plots summary readme peers ablation bench-training \
  bench-scaling sweep experiment experiments verify campaign campaign-slice \
  mnist digits clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with the pinned versions (every other verb does it when needed)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "setup: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --no-deps --retries 1 --extra-index-url $(CPU_INDEX) -c constraints.txt torch torchvision
	python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

repro: $(READY) ## run the pipeline and show the results; falls back to the embedded digits, loudly, without a mirror
	@python -m tools.reproduce

benchmark: $(READY) ## measure again, on this machine
	@dvc repro --force --single-item benchmark

test: $(READY) ## run the tests
	@python -m pytest

campaign: $(READY) ## kill, fault and corrupt the pipeline some 800 times and demand the same bytes (half an hour)
	@python -m tests.campaign

campaign-slice: $(READY) ## the same for a minute, on the stages that start quickly
	@python -m tests.campaign --seconds 60 --stages download teach train evaluate

lint: $(READY) ## check style, formatting and the workflows
	@ruff check . && ruff format --check .
	@zizmor --offline --quiet .github/workflows
	@check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(READY) ## put the code in shape
	@ruff check --fix . && ruff format .

results: $(READY) ## show the results table of the last run
	@python -m tools.results

report: $(READY) ## make report/index.html, a page that shows the last run
	@python -m tools.report

plots: $(READY) ## make dvc_plots/index.html, DVC's own page, against another commit: make plots BASE=main
	@dvc plots diff $(BASE)

summary: $(READY) ## show results and what changed against another commit, in Markdown: make summary BASE=main
	@python -m tools.summary $(BASE)

readme: $(READY) ## put the results table of the last run into README.md
	@python -m tools.results --readme

peers: $(READY) ## time other runtimes on the same network, beside the programs of the last run
	@python -m pip install --quiet -c constraints.txt -e '.[peers]'
	@python -m benchmarks.runtimes

ablation: $(READY) ## what each part of the recipe is worth, over 5 seeds (5 minutes)
	@python -m benchmarks.ablation

bench-training: $(READY) ## time the training loop beside the tutorial's
	@python -m benchmarks.training

sweep: $(READY) ## show the experiments of this commit: a row a setting, mean and standard deviation over the seeds
	@python -m tools.sweep

experiment: $(READY) ## run one of a sweep, on any machine: make experiment SET="train.seed=2 train.learning_rate=0.002"
	@python -m tools.experiment $(SET)

experiments: $(READY) ## write what DVC knows of the experiments to experiments.json, for tools.sweep on another machine
	@dvc exp show --json > experiments.json

bench-scaling: $(READY) ## time 1 and 2 processes with networks of 0.1 to 100 million parameters (5 minutes)
	@python -m benchmarks.scaling

verify: $(READY) ## check every out, every object of DVC's cache and the digests that tie the artefacts together
	@python -m tools.verify

mnist: $(READY) ## set params.yaml to MNIST
	@python -m tools.select_dataset mnist

digits: $(READY) ## set params.yaml to scikit-learn's digits, which need no network
	@python -m tools.select_dataset digits

clean: ## remove the environment, the reports and the local state; data, models and DVC's cache stay
	rm -rf $(VENV) .state report dvc_plots .pytest_cache .ruff_cache *.egg-info
