# Two commands: `make up` runs the bundled example, `make test` checks everything.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/pip install --quiet --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help up demo test lint types pytest peers lock clean

help: ## Show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

up: $(STAMP) ## Run the bundled example at http://127.0.0.1:8080/v1
	@exec $(BIN)/tutelage up

demo: $(STAMP) ## Show the whole loop within six minutes: alarm, retraining, swap; leaves a picture
	@$(BIN)/python -m benchmarks.demo

test: $(STAMP) lint types pytest ## Lint, types, tests

lint: $(STAMP) ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check types
	$(BIN)/mypy

pytest: $(STAMP) ## Run the tests
	$(BIN)/pytest

$(STAMP): pyproject.toml requirements/lock.txt requirements/example.txt
	@python=$$(command -v python3.11 || command -v python3) || { echo "error: Python 3.11 or newer is needed"; exit 1; }; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $$python is older than Python 3.11; install 3.11 or newer"; exit 1; }; \
	test -x $(BIN)/python || $$python -m venv $(VENV)
	@echo "Installing pinned packages into $(VENV) (a few minutes the first time) …"
	@$(PIP) -r requirements/lock.txt
	@$(PIP) --no-deps --require-hashes -r requirements/example.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

peers: $(PEERS)/.installed ## Install the clients and gateways that Tutelage is tested beside

$(PEERS)/.installed: requirements/peers.txt requirements/npm/package.json requirements/npm/package-lock.json
	@test -x $(PEERS)/bin/python || $$(command -v python3.11 || command -v python3) -m venv $(PEERS)
	@echo "Installing the peers into $(PEERS) (a few minutes the first time) …"
	@$(PEERS)/bin/pip install --quiet --progress-bar off -r requirements/peers.txt
	@cp requirements/npm/package.json requirements/npm/package-lock.json $(PEERS)/
	@if command -v npm >/dev/null; then npm ci --prefix $(PEERS) --ignore-scripts --no-audit --no-fund --loglevel=error; \
	  else echo "npm is not here: what needs Node is left out"; fi
	@touch $@

lock: $(STAMP) ## Write down what is installed (after changing pyproject.toml and installing by hand)
	@{ head -1 requirements/lock.txt; $(BIN)/pip freeze --exclude-editable \
	  | grep -v '^pyduck' | sed 's/+cpu$$//; / @ file/d'; } > requirements/lock.tmp
	@mv requirements/lock.tmp requirements/lock.txt

clean: ## Remove the environment, caches and the example's state
	rm -rf $(VENV) $(PEERS) .tutelage .mypy_cache .ruff_cache .pytest_cache .hypothesis
