# demo   a sample shop, pulled and shown, in a few minutes        test       lint and the daily tests
# bench  speed against the databases' own limit                   test-full  every test there is
# bench-peers  the same beside dlt, Sling, ingestr and a Singer tap, which it installs from PyPI below build/peers
# lossless  writers that commit late, lock and stamp wrongly, kills, and a naive control: nothing may be lost

VENV := .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# Two at a time, each with servers of its own; the tests of one file stay together.
PYTEST := $(PY) -m pytest --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-full lint bench bench-peers lossless clean

help:
	@sed -n 's/^# *//p' Makefile

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing. Run: apt-get install -y python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(PY)
	@echo "installing what the connector needs"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing what the tests need"
	@$(PIP) --editable '.[dev]'
	@touch $@

venv: $(VENV)/.dev

demo: $(VENV)/.runtime
	@$(PY) -m tests.demo

lint: $(VENV)/.dev
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@echo "lint: clean"

test: lint
	@$(PYTEST)

test-full: lint
	@$(PYTEST) -m 'not bench'
	@$(PY) -m pytest -m bench

bench: $(VENV)/.dev
	@$(PY) -m tests.bench

bench-peers: $(VENV)/.dev
	@$(PY) -m tests.bench.peers $(foreach peer,$(PEER),--peer $(peer))

lossless: $(VENV)/.dev
	@$(PY) -m tests.lossless $(if $(SECONDS),--seconds $(SECONDS)) $(if $(WRITERS),--writers $(WRITERS))

clean:
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
