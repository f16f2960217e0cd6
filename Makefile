# turntrace: everything a person needs is one word here. `make help` lists the words.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
ONCE ?=
OPEN ?=
QUICK ?=
RECORD ?=

SOURCES := src reference tests benchmarks requirements
LIMITED := --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" -q

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev front-end demo format check lint types imports test bench faults overhead load docs requirements clean

help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "turntrace needs Python 3.11 or newer; say make PYTHON=python3.12, for example"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/app.stamp: $(BIN)/uv requirements/app.txt pyproject.toml reference/renovation/pyproject.toml
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/app.txt
	$(UV) pip install -q --python $(BIN)/python --no-deps -e . -e reference/renovation
	@touch $@

# What the pages take from npm. Nothing depends on it but the pages, so its failure is only said.
$(VENV)/front-end.stamp: $(BIN)/uv requirements/vendor.py requirements/npm/package.json requirements/npm/package-lock.json
	@$(BIN)/python requirements/vendor.py && touch $@

$(VENV)/dev.stamp: $(VENV)/app.stamp requirements/dev.txt requirements/sqlalchemy20.txt requirements/otel_sqlalchemy.txt
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/dev.txt
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --require-hashes \
	  --target $(VENV)/sqlalchemy20 -r requirements/sqlalchemy20.txt
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --require-hashes \
	  --target $(VENV)/otel_sqlalchemy -r requirements/otel_sqlalchemy.txt
	@touch $@

setup: $(VENV)/app.stamp $(VENV)/front-end.stamp ## what running needs, in .venv

setup-dev: $(VENV)/dev.stamp $(VENV)/front-end.stamp ## what developing needs, in .venv

front-end: ## fetch the pages' libraries from npm anew
	@rm -f $(VENV)/front-end.stamp
	@$(MAKE) --no-print-directory $(VENV)/front-end.stamp

demo: setup ## one real conversation, traced and shown (ONCE=1: end by itself; OPEN=1: open the pages)
	@$(BIN)/python -m renovation.demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(filter-out 0,$(OPEN)),--open)

format: setup-dev ## lay the code out
	$(BIN)/ruff format -q $(SOURCES)
	$(BIN)/ruff check -q --fix --exit-zero $(SOURCES)

lint: setup-dev ## format and rules of style
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: setup-dev ## strict types
	$(BIN)/mypy

imports: setup-dev ## who may import whom
	$(BIN)/lint-imports

check: lint types imports ## all that needs no running

test: setup-dev ## the whole suite
	$(BIN)/python -m pytest $(ARGS)

bench: setup-dev ## what it costs, beside the official SDK
	$(BIN)/python benchmarks/span.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/statements.py
	$(BIN)/python benchmarks/record_format.py
	$(BIN)/python benchmarks/append.py
	$(BIN)/python benchmarks/durable.py
	$(BIN)/python benchmarks/stall.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/turns.py 100000
	$(BIN)/python benchmarks/request.py
	$(BIN)/python benchmarks/logs.py

faults: setup-dev ## what becomes of spans in outages (QUICK=1: the short ones; RECORD=1: keep the table)
	QUICK=$(filter-out 0,$(QUICK)) RECORD=$(filter-out 0,$(RECORD)) $(BIN)/python -m pytest -m faults tests/faults $(ARGS)
	$(BIN)/python tests/faults/spool_model.py --examples $(if $(filter-out 0,$(QUICK)),100,2000)

overhead: setup-dev ## instructions of a full turn against the recorded ones (RECORD=1: record)
	$(BIN)/python benchmarks/instructions.py $(if $(filter-out 0,$(RECORD)),--record)

load: setup-dev ## the backend under load, tracing off and on (ARGS=--quick, ARGS=--memory)
	$(BIN)/python benchmarks/load.py $(ARGS)

docs: setup-dev ## write anew the pages of docs/reference that say what the code says
	$(BIN)/python -m turntrace.cli.settings_table > docs/reference/environment.md
	$(BIN)/python -m turntrace.cli.attributes_table > docs/reference/attributes.md

requirements: $(BIN)/uv ## pin anew what pyproject.toml and requirements/*.in ask for
	$(UV) pip compile $(LIMITED) --no-emit-package turntrace --upgrade reference/renovation/pyproject.toml -o requirements/app.txt
	$(UV) pip compile $(LIMITED) --upgrade requirements/dev.in -o requirements/dev.txt
	$(UV) pip compile $(LIMITED) --upgrade requirements/sqlalchemy20.in -o requirements/sqlalchemy20.txt
	$(UV) pip compile $(LIMITED) --upgrade requirements/otel_sqlalchemy.in -o requirements/otel_sqlalchemy.txt
	$(UV) pip compile $(LIMITED) --upgrade requirements/uv.in -o requirements/uv.txt

clean: ## forget the environment and what was made here
	rm -rf $(VENV) var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
