# `make test` is all that has to pass. The first call makes .venv, which takes a few minutes; the next one notices.
# PYTHON=/path/to/python3.12 make test   chooses the interpreter that .venv is made with.
# PYTEST_ARGS='-k datasets -x' make unit passes arguments on.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
CODE := $(wildcard modhub registry tests scripts benchmarks examples docs)
SITE := build/docs
TYPED := $(wildcard modhub registry/modhub_registry tests scripts)
DOCUMENTS := $(wildcard README.md docs)

# One process a core: within each, one thread.
export OMP_NUM_THREADS ?= 1

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	    echo "modhub needs Python 3.11 or later; looked for: $(CANDIDATES). Install one, or name it: PYTHON=... make" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$python" --version)" >&2; \
	"$$python" -m venv $(VENV) || { \
	    echo "$$python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: venv
venv: $(STAMP)  ## make .venv with everything in it

.PHONY: demo
demo: $(STAMP)  ## the whole story in under a minute, with a picture at the end
	@env -u OMP_NUM_THREADS $(BIN)/modhub demo

.PHONY: test
test: lint types imports docs unit doctest  ## everything that has to pass

.PHONY: lint
lint: $(STAMP)  ## style and formatting
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

.PHONY: types
types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy $(TYPED)

.PHONY: imports
imports: $(STAMP)  ## imports point one way
	$(BIN)/lint-imports

.PHONY: unit
unit: $(STAMP)  ## the tests
	$(BIN)/pytest -n auto $(PYTEST_ARGS)

.PHONY: doctest
doctest: $(STAMP)  ## the examples in docstrings and documents
	$(BIN)/pytest --doctest-modules --doctest-glob='*.md' modhub $(DOCUMENTS)

.PHONY: docs
docs: $(STAMP)  ## the site, in build/docs; a broken link fails
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees -b html docs $(SITE)
	@echo "look at $(SITE)/index.html"

.PHONY: dist
dist: $(STAMP)  ## wheel and source archive, in dist; the same bytes every time
	$(BIN)/python -m hatchling build

.PHONY: sbom
sbom: $(STAMP)  ## what .venv is made of, as CycloneDX, in build/sbom.json
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml -o build/sbom.json $(VENV)
	$(BIN)/python scripts/finish_sbom.py build/sbom.json
	@echo "look at build/sbom.json"

.PHONY: format
format: $(STAMP)  ## put the code into shape
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: bench
bench: $(STAMP)  ## every benchmark, or one: make bench NAME=compose
	$(BIN)/python -m benchmarks $(NAME)

.PHONY: seed
seed: $(STAMP)  ## make the embedded registry anew
	$(BIN)/python scripts/make_seed.py

.PHONY: clean
clean:  ## remove what was made
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
