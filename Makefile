# Each target is one command that does all its set-up: Python 3.11+, no root, packages from PyPI.
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test venv

venv: $(VENV)/installed

demo: venv
	$(BIN)/umc demo

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[dev]'
	touch $@

# Debian keeps ensurepip in a package of its own: where it is missing, pip comes from PyPI.
$(BIN)/pip:
	python3 -m venv $(VENV) || { python3 -m venv --without-pip $(VENV) && $(BIN)/python .ci/get_pip.py; }
