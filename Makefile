# Everything a person does with a checkout. `make` alone tells what there is.
#
# Nothing is installed outside this folder: tools in .tools, packages in .venv, browser assets in node_modules and
# hub/web/static/vendor, data in .state. What has been done already is not done again.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

HOST ?= 127.0.0.1
PORT ?= 8080
PYTHON ?= python3
PYTEST_ARGS ?=

UV := .tools/bin/uv
BIN := .venv/bin
LOCALES := $(wildcard hub/locale/*/LC_MESSAGES/*.po)
PAGES := $(shell find hub -path hub/web/static/vendor -prune -o \( -name '*.html' -o -name '*.js' -o -name '*.py' \) -print)
CHECKED := hub channels webhooks core

# uv must use the Python that is here, never fetch one.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Settings: PORT=8080 HOST=127.0.0.1 PYTHON=python3 PYTEST_ARGS=... ALLOW_MISSING_PEERS=1"

.PHONY: setup
setup: .venv/installed hub/web/static/vendor/icons.svg $(LOCALES:.po=.mo)  ## fetch and build everything that is needed to run
	@:

.PHONY: run
run: setup  ## serve on http://127.0.0.1:8080, with a database in .state; Ctrl-C ends it
	@exec $(BIN)/switchyard serve --host $(HOST) --port $(PORT)

.PHONY: test
test: setup  ## run every test
	@tools/prerequisites.sh
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

.PHONY: lint
lint: setup  ## check style, types, layers and translations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	@if [ -f babel.cfg ]; then tools/catalogues.sh --check; fi

.PHONY: bench
bench: setup  ## measure, and print one JSON object a line
	@$(BIN)/python -m tests.bench

.PHONY: docs
docs: setup  ## write the reference of the command line and of the REST API to build/docs
	@$(BIN)/python tools/docs.py build/docs

.PHONY: migration
migration: setup  ## make the next migration from what the models say: make migration NAME="what changes"
	@test -n "$(NAME)" || { echo 'Say what changes: make migration NAME="deals have a source"' >&2; exit 2; }
	$(BIN)/python tools/migration.py "$(NAME)"

.PHONY: catalogues
catalogues: setup  ## bring the translators' files up to date with the texts in the code
	tools/catalogues.sh

.PHONY: wheel
wheel: setup  ## build the package, browser assets and translations included, in dist
	$(BIN)/python -m hatchling build --target wheel

.PHONY: lock
lock: $(UV)  ## choose the newest allowed versions anew and write the lock files
	$(UV) pip compile --quiet --upgrade --generate-hashes --all-extras --group dev --python-version 3.11 --universal \
		pyproject.toml --output-file requirements.lock
	$(UV) pip compile --quiet --generate-hashes --all-extras --python-version 3.11 --universal \
		--constraints requirements.lock pyproject.toml --output-file requirements-run.lock
	@! grep -nE '(https?|file)://' requirements.lock requirements-run.lock || \
		{ echo "A lock file names a host: correct the settings of uv on this machine" >&2; exit 1; }

.PHONY: clean
clean:  ## remove everything that `make` has made; the data in .state stay
	rm -rf .venv node_modules hub/web/static/vendor build dist .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis $(LOCALES:.po=.mo)
	find hub channels webhooks core tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): tools/uv.txt
	@echo "Fetching uv"
	@tools/uv.sh $(PYTHON)

.venv/bin/python: | $(UV)
	@echo "Making .venv"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv

.venv/installed: requirements.lock pyproject.toml $(UV) | .venv/bin/python
	@echo "Installing Python packages"
	@$(UV) pip sync --quiet --require-hashes requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

node_modules/installed: package.json package-lock.json .npmrc | .venv/installed
	@echo "Fetching browser assets"
	@tools/npm.sh ci --loglevel=error
	@touch $@

hub/web/static/vendor/icons.svg: node_modules/installed tools/assets.py $(PAGES)
	@$(BIN)/python tools/assets.py

%.mo: %.po | .venv/installed
	@$(BIN)/pybabel --quiet compile --input-file=$< --output-file=$@
