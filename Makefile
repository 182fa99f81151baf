# Each target is one command that does all its set-up: Python 3.11+, no root, packages from PyPI.
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
# pip would compile on one core only, and tests too. Some files are not meant to compile.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true

PYTEST := $(BIN)/pytest --numprocesses=auto --durations=10 -rfEs
APART := ray or slow or browser or network or postgres or labelstudio or long

# mypy runs beside the tests.
MAKEFLAGS += --jobs=2

.PHONY: demo check test lint types pytest-unit pytest-all venv venv-dev

venv: $(VENV)/installed

venv-dev: $(VENV)/installed-dev

demo: venv
	$(BIN)/umc demo

# What needs no Ray, browser, server or network: in less than two minutes on two cores.
check: lint types pytest-unit

test: lint types pytest-all

lint: venv-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv-dev
	$(BIN)/mypy

pytest-unit: venv-dev
	$(PYTEST) -m 'not ($(APART))'

pytest-all: venv-dev
	$(PYTEST)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable .
	$(COMPILE)
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[dev]'
	$(COMPILE)
	touch $@

# Debian keeps ensurepip in a package of its own: where it is missing, pip comes from PyPI.
$(BIN)/pip:
	python3 -m venv $(VENV) || { python3 -m venv --without-pip $(VENV) && $(BIN)/python .ci/get_pip.py; }
