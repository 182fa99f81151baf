# Each target is one command that does all its set-up: Python 3.11+, no root, packages from PyPI.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile
LOCKED := $(PIP) --require-hashes --no-build-isolation
LOCKS := $(wildcard requirements/*.txt)
# torch without CUDA: if a folder that pip looks into has it, or with `make TORCH=cpu` and an index that
# has it. pip says which folders these are, once it is there.
FOLDERS = $(shell $(BIN)/python -m pip config list | sed -n "s/.*find-links='\(.*\)'/\1/p")
CPU = $(wildcard $(addsuffix /torch-*+cpu-*.whl,$(FOLDERS)))$(filter cpu,$(TORCH))
TORCHES = requirements/torch$(if $(CPU),-cpu).txt
# The one that is there already, if one is.
TORCH_THERE = $(wildcard $(VENV)/lib/python*/site-packages/torch-*.dist-info)
TORCHES_THERE = $(if $(TORCH_THERE),requirements/torch$(if $(findstring +cpu,$(TORCH_THERE)),-cpu).txt,$(TORCHES))
# Other indexes and platforms may have files that are not in requirements/.
UNHASHED := $(PIP) --constraint constraints.txt
MISMATCH := make: if pip says that hashes do not match, do not install.
ADVICE := make: if pip says that a file has no hash, or finds none for this platform: make lock, or make HASHES=off
# pip would compile on one core only, and tests too. Some files are not meant to compile.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true

PYTEST := $(BIN)/pytest --numprocesses=auto --durations=10 -rfEs
APART := ray or slow or browser or network or postgres or labelstudio or long

# mypy runs beside the tests.
MAKEFLAGS += --jobs=2

TOOLS := build/tools

.PHONY: demo check test lint types pytest-unit pytest-all venv venv-dev audit sbom lock

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

$(VENV)/installed: pyproject.toml constraints.txt $(LOCKS) | $(BIN)/pip
	$(call install,runtime,.)

$(VENV)/installed-dev: pyproject.toml constraints.txt $(LOCKS) | $(BIN)/pip
	$(call install,dev,.[dev])

# install,FILE OF REQUIREMENTS,WHAT IT IS FOR. What builds packages comes first, then they, then umc_ray.
define install
	$(if $(filter off,$(HASHES)),$(UNHASHED) --editable '$(2)',{ \
		$(LOCKED) --requirement requirements/build.txt && \
		$(LOCKED) --requirement requirements/$(1).txt --requirement $(TORCHES); } || { echo '$(MISMATCH)'; echo '$(ADVICE)'; exit 1; }
	$(PIP) --no-deps --no-build-isolation --editable .)
	$(COMPILE)
	touch $@
endef

$(TOOLS)/installed: requirements/tools.txt
	$(call environment,$(TOOLS))
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes --requirement requirements/tools.txt
	touch $@

# Known vulnerabilities of what is installed, by PyPI; fails where it cannot be asked.
audit: $(TOOLS)/installed
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off \
		--requirement requirements/dev.txt --requirement requirements/torch.txt

# What a release consists of, as CycloneDX: build/sbom.json. Its torch is the one that is installed.
sbom: $(TOOLS)/installed
	cat requirements/runtime.txt $(TORCHES_THERE) | $(TOOLS)/bin/cyclonedx-py requirements - \
		--pyproject pyproject.toml --output-reproducible --output-file build/sbom.json

# After a change of pyproject.toml or constraints.txt.
lock: $(TOOLS)/installed
	PATH="$(abspath $(TOOLS)/bin):$$PATH" python3 .ci/lock.py

$(BIN)/pip:
	$(call environment,$(VENV))

# Debian keeps ensurepip in a package of its own: where it is missing, pip comes from PyPI.
define environment
	python3 -m venv $(1) || { python3 -m venv --without-pip $(1) && $(1)/bin/python .ci/get_pip.py; }
endef
