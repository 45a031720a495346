# make demo   see it work: everything on this machine, nothing installed outside this directory
# make test   prove it

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
NPM := sandbox/npm
# Named by what they were installed from: a changed requirement is another file, an unchanged one costs nothing.
PYTHON_STAMP := $(VENV)/.installed-$(shell cat .python-version requirements.txt requirements-dev.txt | cksum | tr -d ' ')
INFRA_VENV := $(VENV)/infra
INFRA_STAMP := $(INFRA_VENV)/.installed-$(shell cat .python-version infra/requirements.txt | cksum | tr -d ' ')
NPM_STAMP := $(NPM)/node_modules/.installed-$(shell cat $(NPM)/package.json $(NPM)/package-lock.json | cksum | tr -d ' ')

.PHONY: help setup demo test check infra-check bench chaos package clean

help:
	@echo "make setup    a virtual environment and Azurite, in this directory"
	@echo "make demo     2,000 users and 100 groups into a local ServiceNow, then live changes"
	@echo "make test     every test"
	@echo "make check    ruff, mypy, infrastructure"
	@echo "make bench    how fast"
	@echo "make chaos    kills and faults while it provisions"
	@echo "make package  dist/app.zip, the app as it is deployed: the same files give the same bytes"
	@echo "make clean    remove what was built, cached or stored here"

setup: $(PYTHON_STAMP) $(NPM_STAMP)
	@:

$(PYTHON_STAMP):
	@python=""; \
	for candidate in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.13 is needed and was not found: install it, for example with 'pyenv install 3.13'." >&2; exit 1; \
	fi; \
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; then \
	  echo "Making $(VENV) with $$("$$python" --version)"; rm -rf $(VENV); "$$python" -m venv $(VENV); \
	fi; \
	echo "Installing Python packages"; \
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(PYTHON) -m pip install --quiet --no-input -r requirements-dev.txt; \
	rm -f $(VENV)/.installed-*; touch $@

$(NPM_STAMP):
	@for tool in node npm; do \
	  if ! command -v $$tool >/dev/null; then echo "$$tool is needed for Azurite, the storage emulator: install Node.js." >&2; exit 1; fi; \
	done; \
	echo "Installing Azurite"; \
	cd $(NPM) && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >/dev/null && touch $(CURDIR)/$@

demo: setup
	@$(PYTHON) -m sandbox.demo

# Three at a time, file by file, in their order, which begins with the long ones: most tests wait for processes and queues
# rather than compute.
test: setup
	@$(PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

check: setup
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(MAKE) infra-check

infra-check: setup $(INFRA_STAMP)
	@$(PYTHON) -m infra.check

$(INFRA_STAMP): | $(PYTHON_STAMP)
	@echo "Installing the policy checks of the infrastructure"; \
	rm -rf $(INFRA_VENV); $(PYTHON) -m venv $(INFRA_VENV); \
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(INFRA_VENV)/bin/python -m pip install --quiet --no-input -r infra/requirements.txt; \
	touch $@

bench: setup
	@$(PYTHON) -m sandbox.bench

# Histories that 'make chaos' plays, and how many side by side: make chaos SEEDS=200 AT_ONCE=4
SEEDS ?= 10
AT_ONCE ?= 2

chaos: setup
	@$(PYTHON) -m sandbox.chaos --seeds $(SEEDS) --at-once $(AT_ONCE)

package: $(PYTHON_STAMP)
	@$(PYTHON) -m infra.package

clean:
	@rm -rf dist .sandbox .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(NPM)/*' -prune -exec rm -rf {} +
