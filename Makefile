# Everything happens in a virtual environment of this folder, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
STORAGE ?= runs
BIN := $(VENV)/bin

.PHONY: help quickstart test test-slow lint gallery bench bench-analysis bench-topology clean

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

test: $(VENV)/installed-test  ## Run the test suite
	$(BIN)/python -m pytest -m 'not slow'

test-slow: $(VENV)/installed-test  ## Run the checks that take minutes: the quickstart sweep as a user runs it
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed-test  ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed  ## Time the engine rung by rung against the authors' loop; writes benchmarks/results
	$(BIN)/python -m benchmarks.ladder

bench-topology: $(VENV)/installed  ## Time updates of masks against a training step; writes benchmarks/results
	$(BIN)/python benchmarks/topology.py

gallery: $(VENV)/installed-test  ## Draw every kind of figure of synthetic results on one page, to look at
	$(BIN)/python tests/analysis/gallery.py

bench-analysis: $(VENV)/installed-test  ## Measure loading, figures, claims and report of 10,000 synthetic trials
	$(BIN)/python -m benchmarks.analysis

clean:  ## Remove the environment and caches; results stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
