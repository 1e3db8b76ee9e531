# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_TEST := $(VENV)/.ready-to-test

.PHONY: demo test test-slow docs lint format clean

demo: $(READY)
	$(BIN)/stgcma demo --workdir demo

test: $(READY_TO_TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(READY_TO_TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

docs: $(READY)
	$(BIN)/python docs/generate.py

lint: $(READY_TO_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# The type checker wants the folder to carry the package's name, whatever the clone is called.
	@mkdir -p $(VENV)/typing && ln -sfn $(CURDIR) $(VENV)/typing/stgcma
	cd $(VENV)/typing && MYPYPATH=. ../bin/mypy --config-file $(CURDIR)/pyproject.toml

format: $(READY_TO_TEST)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stgcma needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -e .
	touch $(READY)

$(READY_TO_TEST): $(READY)
	$(BIN)/pip install --disable-pip-version-check -e ".[dev]"
	touch $(READY_TO_TEST)

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache
