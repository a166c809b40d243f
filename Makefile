# Agency Bus. Needs Python 3.11 or newer and make; everything else goes into .venv, from requirements.lock.
#
#   make demo     the whole story in two minutes        make test     all tests, with a real Kafka
#   make help     all targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The first interpreter that is new enough; `make test PYTHON=python3.13` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
SAY = printf '\n== %s\n'
QUICK := tests/unit tests/property tests/vectors
SLOW := tests/hostile tests/faults tests/integration
PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGS)
JOBS ?= auto
PIP = $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo check test lint types generated quick slow build build-check bench format lock clean

help: ## list the targets
	@echo "make TARGET, with:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | \
		while IFS=$$'\t' read -r name what; do printf '  %-12s %s\n' "$$name" "$$what"; done

demo: $(INSTALLED) ## a real Kafka, two countries, three attacks; cleans up after itself
	@$(BIN)/agencybus demo

check: lint types generated quick ## everything that needs no Kafka: one minute

test: check slow ## check, then all that needs a real Kafka and a built wheel
	@$(SAY) "all tests done"

lint: $(INSTALLED) ## ruff: rules and format
	@$(SAY) "ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict, over code and tests
	@$(SAY) "mypy"
	@$(BIN)/mypy

generated: $(INSTALLED) ## committed generated files are what their programs make
	@$(SAY) "generated classes, schema evolution, vectors"
	@$(BIN)/python -m agencybus_schemas.generate --check
	@$(BIN)/python -m agencybus_schemas.evolution
	@$(BIN)/python tests/vectors/make.py --check

quick: $(INSTALLED) ## unit, property and vector tests
	@$(SAY) "tests without Kafka"
	@$(PYTEST) --numprocesses $(JOBS) --dist worksteal $(QUICK)

slow: $(INSTALLED) ## hostile, fault and integration tests, with a real Kafka; wheel and sdist
	@$(SAY) "tests of attacks, of faults, with Kafka, and of the built wheel"
	@$(PYTEST) --numprocesses $(JOBS) --maxprocesses 4 --dist loadfile $(SLOW)

build: $(INSTALLED) ## wheel and sdist into dist/
	@$(SAY) "wheel and sdist"
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist

build-check: $(INSTALLED) ## build both and try them in an empty environment
	@$(SAY) "wheel and sdist in an empty environment"
	@$(PYTEST) -m build

bench: $(INSTALLED) ## events/s, bytes and latency beside plain aiokafka + fastavro; minutes
	@$(BIN)/python bench/codec.py
	@$(BIN)/python bench/side_by_side.py

format: $(INSTALLED) ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# uv is used here only, because it alone resolves for all systems and Python versions at once.
lock: ## resolve pyproject.toml anew into requirements.lock (UPGRADE=1: newest versions)
	@test -x $(VENV)-lock/bin/uv || { $(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv; }
	@$(VENV)-lock/bin/uv pip compile pyproject.toml --extra test --group build --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock
	@echo "requirements.lock: $$(grep -c '^[a-z].*==' requirements.lock) packages"

clean: ## remove everything that make made
	@rm -rf $(VENV) $(VENV)-lock dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Written last, so an interrupted installation starts again. Hashes for all, then ourselves without a resolver.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Agency Bus needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(SAY) "installing $$(grep -c '^[a-z].*==' requirements.lock) locked packages into $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing: apt install python3-venv" >&2; exit 1; }
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
