# Everything happens in a virtual environment of this folder, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
STORAGE ?= runs
MINUTES ?= 5
EVERY ?= 20
SWEEP ?= smoke
BIN := $(VENV)/bin

.PHONY: help quickstart test test-slow test-faults test-cluster test-cluster-ci test-cluster-quickstart chaos lint \
	gallery bench bench-analysis bench-outcomes bench-sweep bench-topology clean

help:  ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/installed

quickstart: $(VENV)/installed  ## Run the quickstart sweep and draw its figures
	$(BIN)/sparsweep run quickstart --storage $(STORAGE)
	$(BIN)/sparsweep figures quickstart --storage $(STORAGE)
	@echo
	@echo "pictures: $(abspath $(STORAGE))/figures/quickstart"
	@echo "Parquet:  $(abspath $(STORAGE))/results/trials"

FAST := not slow and not faults and not cluster

# Those that run whole sweeps come by themselves: each has the processes of a cluster of its own.
test: $(VENV)/installed-test  ## Run the test suite
	$(BIN)/python -m pytest -m '$(FAST)' -n auto --ignore tests/e2e
	$(BIN)/python -m pytest -m '$(FAST)' tests/e2e

test-slow: $(VENV)/installed-test  ## Run the checks that take minutes: the quickstart sweep as a user runs it
	$(BIN)/python -m pytest -m 'slow and not cluster'

test-cluster: $(VENV)/installed-test  ## Three machines on this one: ray up, sweeps, losses, ray down; as root
	$(BIN)/python -m pytest -m cluster tests/cluster/test_cluster.py

test-cluster-ci: $(VENV)/installed-test  ## The short part of it: a sweep across the machines, one of them destroyed
	$(BIN)/python -m pytest -m 'cluster and not slow' tests/cluster/test_cluster.py

test-cluster-quickstart: $(VENV)/installed-test  ## The whole quickstart sweep across those machines
	$(BIN)/python -m pytest tests/cluster/test_cluster_quickstart.py

test-faults: $(VENV)/installed-test  ## Kill, cut off, fill up and tamper with sweeps while they run: every fault
	$(BIN)/python -m pytest -m faults

chaos: $(VENV)/installed-test  ## Kill a SWEEP at random for some MINUTES, EVERY so many seconds, then compare it with an undisturbed run
	PYTHONPATH=tests $(BIN)/python -m support.chaos $(SWEEP) --minutes $(MINUTES) --every $(EVERY)

lint: $(VENV)/installed-test  ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd .ci/names && $(abspath $(BIN))/lint-imports ../../pyproject.toml

bench: $(VENV)/installed  ## Time the engine rung by rung against the authors' loop; writes benchmarks/results
	$(BIN)/python -m benchmarks.ladder

bench-topology: $(VENV)/installed  ## Time updates of masks against a training step; writes benchmarks/results
	$(BIN)/python -m benchmarks.topology

gallery: $(VENV)/installed-test  ## Draw every kind of figure of synthetic results on one page, to look at
	PYTHONPATH=tests $(BIN)/python -m support.gallery

bench-analysis: $(VENV)/installed-test  ## Measure loading, figures, claims and report of 10,000 synthetic trials
	$(BIN)/python -m benchmarks.analysis

bench-outcomes: $(VENV)/installed-test  ## Measure compaction and aggregation of 10,000 x 10,000 outcomes of samples
	$(BIN)/python -m benchmarks.outcomes

SIZES ?= 100 1000 10000
bench-sweep: $(VENV)/installed-test  ## Measure what a sweep costs besides its trials, against Tune alone (SIZES="100 300": short)
	$(BIN)/python -m benchmarks.sweep --sizes $(SIZES)

clean:  ## Remove the environment and caches; results stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
