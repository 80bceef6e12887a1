# `make demo` and `make test` need nothing but Python >= 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
HOME_DIR ?= .recserve/demo
DIST   ?= dist
# Strict: a reference or link that leads nowhere is an error. The variable silences an announcement of another major version.
SITE   := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: demo test test-long fuzz lint lint-types lint-site format bench chaos cluster-test evil freshness ingest scale lake encoding gpu hops streams quality docs clients structure walkthrough release clean

# The stamp is newer than what decides the environment, so nothing is installed twice.
$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml) clients/python/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recserve needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing recserve and what it needs (a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
	    --editable '.[standard,dev,postgres,onnx,lora,multilingual]' $(patsubst %/pyproject.toml,--editable ./%,$(wildcard plugins/*/pyproject.toml)) --editable ./clients/python
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/recserve demo --home $(HOME_DIR)

# Lines are counted in the unit tests only: Ray's processes are not seen. Counting makes them half as slow again;
# `make test COVERAGE=` leaves it out.
COVERAGE ?= --cov --cov-report=term:skip-covered

# Two processes share them by files; what starts clusters has the machine for itself.
test: lint
	$(BIN)/python -m pytest -m "not cluster and not long" --numprocesses 2 --dist loadfile $(COVERAGE)
	$(BIN)/python -m pytest -m "cluster and not long"

# Property tests with many examples that are new in each run; those with a limit of their own keep it.
fuzz: $(VENV)/.installed
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m "not cluster and not long" --numprocesses 2 $(shell git grep -l "from hypothesis" -- "test_*.py")

# Types and the site take a minute each: they are checked side by side.
lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-types lint-site

lint-types: $(VENV)/.installed
	$(BIN)/mypy

lint-site: $(VENV)/.installed
	$(SITE) --quiet --site-dir build/site

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.overload --fresh
	$(BIN)/python -m benchmarks.startup --repeats 3

chaos: $(VENV)/.installed
	$(BIN)/python -m benchmarks.chaos
	$(BIN)/python -m benchmarks.chaos --postgres

# Tests that `make test` leaves out because they take a minute or more each.
test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -m long

# Hosts of network namespaces, so it needs root; every fault is a few minutes.
cluster-test: $(VENV)/.installed
	$(BIN)/python -m pytest -s tests/deployments/cluster tests/deployments/test_upgrade.py tests/deployments/test_autoscaling.py
	$(BIN)/python -m benchmarks.cluster
	$(BIN)/python -m benchmarks.hops

evil: $(VENV)/.installed
	$(BIN)/python -m benchmarks.evil

freshness: $(VENV)/.installed
	$(BIN)/python -m benchmarks.freshness

ingest: $(VENV)/.installed
	$(BIN)/python -m benchmarks.ingest

scale: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scale

lake: $(VENV)/.installed
	$(BIN)/python -m benchmarks.lake

# The peer is sentence-transformers: PEER=path/to/a/python that has it.
encoding: $(VENV)/.installed
	$(BIN)/python -m benchmarks.encoding --peer-python $(or $(PEER),$(BIN)/python)

# Needs a GPU; `python -m benchmarks.gpu --device cpu --small` shows anywhere that it runs.
gpu: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu

# Needs root: hosts are network namespaces.
hops: $(VENV)/.installed
	$(BIN)/python -m benchmarks.hops

streams: $(VENV)/.installed
	$(BIN)/python -m benchmarks.streams

quality: $(VENV)/.installed
	$(BIN)/python -m benchmarks.quality $(if $(DATA),--data $(DATA))

docs: $(VENV)/.installed
	$(BIN)/python docs/build_reference.py
	$(SITE)

# What the clients know of the API, from its OpenAPI document. Types of TypeScript need npm.
clients: $(VENV)/.installed
	$(BIN)/python -m tools.clients

# Every command of the README and the tutorial in a fresh clone.
walkthrough:
	$(PYTHON) -m tools.walkthrough

structure: $(VENV)/.installed
	$(BIN)/python -m tools.structure

# One wheel for each distribution, beside the versions that were tested with them.
release: $(VENV)/.installed
	rm -rf $(DIST)
	for project in . plugins/*/ clients/python/; do \
	    $(BIN)/python -m build --quiet --wheel --no-isolation --outdir $(DIST) $$project || exit 1; done
	cp constraints.txt $(DIST)/
	$(BIN)/python -m pip install --quiet --dry-run --no-deps --no-index --ignore-installed $(DIST)/*.whl

clean:
	rm -rf .recserve build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
