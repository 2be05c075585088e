# Every target works in a fresh clone: the virtual environment is made once and shared.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: help setup test lint demo docs clean

help:
	@echo "make demo    the whole pipeline on your Python's own standard library, into $(DEMO)/"
	@echo "make test    all tests"
	@echo "make lint    ruff and mypy --strict"
	@echo "make docs    the documentation as a site, into build/site"
	@echo "make clean   remove the environment, the demo and the caches"

setup: $(VENV)/.installed

$(VENV)/.runtime: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,plot]'
	@touch $@

$(VENV)/.installed: $(VENV)/.runtime constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,test]'
	@touch $@

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict pile_tools cli

demo: $(VENV)/.runtime
	$(BIN)/pile-tools demo $(DEMO)

docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(DEMO) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
