# Every target works in a fresh clone: a virtual environment is made once and kept.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
# What test-latest and test-oldest install of torch: newer releases for Linux bring gigabytes for GPUs.
TORCH ?= $(shell grep '^torch==' constraints.txt)

# How many tests run at a time.
JOBS ?= 2
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

PIP := -m pip --quiet --disable-pip-version-check
# Packages that come as source are built by the pinned tools, too, and not by whatever is the newest.
PINNED := $(PIP) install --constraint constraints.txt --no-build-isolation

.PHONY: help setup test test-latest test-oldest check lint demo docs constraints clean

help:
	@echo "make demo         the whole pipeline on your Python's own standard library, into $(DEMO)/"
	@echo "make test         all tests, with the versions of constraints.txt"
	@echo "make check        ruff, mypy --strict and the fast tests"
	@echo "make lint         ruff and mypy --strict"
	@echo "make test-latest  all tests, with the newest release of everything but torch (TORCH=torch: of it, too)"
	@echo "make test-oldest  all tests, with the lower bounds of pyproject.toml, on Python 3.11"
	@echo "make docs         the documentation as a site, into build/site"
	@echo "make constraints  constraints.txt with the newest versions"
	@echo "make clean        remove the environments, the demo and the caches"

setup: $(VENV)/.installed

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --constraint constraints.txt pip setuptools wheel
	$(BIN)/python $(PINNED) -e '.[train,plot]'
	@touch $@

$(VENV)/.installed: $(VENV)/.runtime
	$(BIN)/python $(PINNED) -e '.[train,test]'
	@touch $@

test: setup
	$(BIN)/python $(PYTEST)

test-latest:
	test -x $(VENV)-latest/bin/python || $(PYTHON) -m venv $(VENV)-latest
	$(VENV)-latest/bin/python $(PIP) install --upgrade pip
	$(VENV)-latest/bin/python $(PIP) install --upgrade --upgrade-strategy eager '$(TORCH)' -e '.[train,test]'
	$(VENV)-latest/bin/python $(PYTEST) -p tests.deprecations

test-oldest:
	test -x $(VENV)-oldest/bin/python || python3.11 -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python tools/constraints.py oldest > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python $(PIP) install --upgrade pip
	$(VENV)-oldest/bin/python $(PIP) install --constraint $(VENV)-oldest/constraints.txt '$(TORCH)' -e '.[train,studies,plot,pile-dedupe,test]'
	$(VENV)-oldest/bin/python $(PYTEST)

check: lint
	$(BIN)/python $(PYTEST) -m 'not slow'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict pile_tools cli

demo: $(VENV)/.runtime
	$(BIN)/pile-tools demo $(DEMO)

docs: setup
	$(BIN)/python $(PINNED) -e '.[docs]'
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html -d build/doctrees docs build/site

constraints:
	test -x build/uv/bin/uv || { $(PYTHON) -m venv build/uv && build/uv/bin/python $(PIP) install uv; }
	PATH="$(CURDIR)/build/uv/bin:$$PATH" build/uv/bin/python tools/constraints.py newest

clean:
	rm -rf $(VENV) $(VENV)-latest $(VENV)-oldest $(DEMO) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
