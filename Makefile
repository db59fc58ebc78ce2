# Each command does its own set-up: a virtual environment in this tree, with the versions of the constraints file.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONSTRAINTS := constraints-$(VERSION).txt
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: help demo up test test-unit test-system test-chaos test-matrix test-mutants test-celery test-s3 bench lint floors format constraints clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/airflow  ## run the main job on a real Airflow: submit, wait deferred, find the texts
	$(BIN)/python -m tools.demo

up: $(VENV)/airflow  ## the same, and leave Airflow running with its UI at http://127.0.0.1:8080
	$(BIN)/python -m tools.demo --stay --port 8080

test: $(VENV)/dev  ## all tests: unit, contract, example DAGs, and a real Airflow
	$(BIN)/python -m pytest

test-unit: $(VENV)/dev  ## the tests that need no running Airflow
	$(BIN)/python -m pytest -m "not system"

test-system: $(VENV)/dev  ## the tests on a real Airflow
	$(BIN)/python -m pytest -m system

test-chaos: $(VENV)/dev  ## kill and break everything while 200 tasks generate, on PostgreSQL (10 minutes on two busy cores; CHAOS=--short for CI)
	$(BIN)/python -m tools.chaos $(CHAOS)

test-celery: .celery/venv/ready  ## the tests on a real Airflow with two Celery workers, and a short chaos run on it
	SYSTEM_EXECUTOR=celery .celery/venv/bin/python -m pytest -m system
	.celery/venv/bin/python -m tools.chaos --short --executor celery

test-s3: .s3/venv/ready  ## bulk runs on the API of S3, as moto serves it (an environment of its own)
	.s3/venv/bin/python -m pytest tests/bulk/test_s3.py

test-matrix:  ## the tests on each Airflow and Python, in environments of their own (40 minutes; MATRIX="3.4 3.11" for a cell)
	$(PYTHON) -m tools.matrix $(MATRIX)

test-mutants: $(VENV)/mutants  ## break the code in small ways, and see which of them no test notices (MUTANTS="api/checks" for a module)
	$(BIN)/python -m tools.mutants $(MUTANTS)

bench: .bench/venv/ready  ## what waiting costs, against the peers (an environment of its own; an hour and a half)
	.bench/venv/bin/python -m benchmarks $(BENCH) --json .bench/results.json

lint: $(VENV)/dev  ## style, types and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

floors: $(VENV)/dev  ## draw the floors of the house from the imports, as docs/architecture.md shows them
	@$(BIN)/python -m tools.floors

format: $(VENV)/dev  ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints:  ## pin the newest versions that fit, for each Python that is supported
	for python in 3.11 3.12 3.13; do tools/constraints.sh $$python || exit 1; done

clean:  ## remove what the other commands made
	rm -rf $(VENV) .demo .bench .celery .s3 .chaos .matrix .mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The peers bring newer versions of their own clients than the constraints allow: that is what their users get.
.bench/venv/ready: $(CONSTRAINTS) pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv --clear .bench/venv
	.bench/venv/bin/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS) pip
	.bench/venv/bin/python -m pip install -qq --constraint $(CONSTRAINTS) --editable '.[grpc]' --group airflow
	.bench/venv/bin/python -m pip install -qq --requirement benchmarks/requirements.txt
	@touch $@

.celery/venv/ready: $(CONSTRAINTS) pyproject.toml
	$(PYTHON) -m venv --clear .celery/venv
	.celery/venv/bin/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS) pip
	.celery/venv/bin/python -m pip install -qq --constraint $(CONSTRAINTS) --editable . --group celery
	@touch $@

# The client of S3 wants an older python-dateutil than the constraints have.
.s3/venv/ready: $(CONSTRAINTS) pyproject.toml
	$(PYTHON) -m venv --clear .s3/venv
	.s3/venv/bin/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS) pip
	grep -v '^python-dateutil' $(CONSTRAINTS) > .s3/constraints.txt
	.s3/venv/bin/python -m pip install -qq --constraint .s3/constraints.txt --editable . --group s3
	@touch $@

$(VENV)/pip: $(CONSTRAINTS)
	@echo "Setting up $(VENV) (Python $(VERSION)) ..."
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) pip
	@touch $@

$(VENV)/airflow: $(VENV)/pip pyproject.toml
	@echo "Installing Airflow and the provider; this takes about a minute ..."
	$(INSTALL) --editable . --group airflow
	@touch $@

$(VENV)/dev: $(VENV)/airflow
	@echo "Installing what the tests need ..."
	$(INSTALL) --editable . --group dev
	@touch $@

$(VENV)/mutants: $(VENV)/dev
	$(INSTALL) --group mutants
	@touch $@
