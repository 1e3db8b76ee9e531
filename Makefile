# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_TEST := $(VENV)/.ready-to-test
# A thread for each of several processes; compiled files are kept, whatever the environment says, because every
# process would else compile all modules anew; and freed memory is kept, because to get its pages from the system
# again takes a tenth of the time of tests that train.
IN_TESTS := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
	MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824

# Every link and heading is checked; with --quiet none would be. The variable silences advice on another program.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: help demo test test-slow mutants bench bench-gpu docs site tutorial lint format docker-lock docker-verify clean

help:
	@echo "make demo           create .venv (5 GB) and run the demo: a test score and a report"
	@echo "make test           create .venv and run the quick tests; make test-slow: all others (over an hour)"
	@echo "make mutants        remove guards one at a time and list the tests that fail (20 minutes)"
	@echo "make bench          run the benchmarks and write docs/benchmarks.md (OPTIONS=--quick: a few minutes)"
	@echo "make bench-gpu      check and measure on the GPU of this machine, eight minutes (benchmarks/gpu.md)"
	@echo "make lint format    check style and types; reformat the files"
	@echo "make docs           write the generated parts of the documentation"
	@echo "make site           write the documentation site to build/site; make tutorial: run the notebook anew"
	@echo "make docker-lock docker-verify    lock the packages of the image; build it and check that it is reproducible"
	@echo "make clean          remove the files that these targets created"

demo: $(READY)
	@echo "synthetic collection → shards → training → score and report, about five minutes on two cores"
	$(BIN)/stgcma demo --workdir demo

test: $(READY_TO_TEST)
	$(IN_TESTS) $(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow"

test-slow: $(READY_TO_TEST)
	$(IN_TESTS) $(BIN)/python -m pytest -m slow

mutants: $(READY_TO_TEST)
	$(BIN)/python tests/mutants/run.py $(OPTIONS)

bench: $(READY_TO_TEST)
	$(BIN)/python benchmarks/run.py $(OPTIONS)

bench-gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py --device cuda --out build/gpu $(OPTIONS)

docs: $(READY)
	$(BIN)/python docs/generate.py

site: $(READY_TO_TEST)
	$(MKDOCS)
	@echo "open build/site/index.html; the search needs a server: $(BIN)/python -m http.server -d build/site"

tutorial: $(READY_TO_TEST)
	$(BIN)/python docs/run_tutorial.py

lint: $(READY_TO_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# The type checker wants the folder to carry the package's name, whatever the clone is called.
	@mkdir -p $(VENV)/typing && ln -sfn $(CURDIR) $(VENV)/typing/stgcma
	cd $(VENV)/typing && MYPYPATH=. ../bin/mypy --config-file $(CURDIR)/pyproject.toml
	$(BIN)/python docs/generate.py --check
	$(MKDOCS)

format: $(READY_TO_TEST)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The images' packages, with hashes, of the index that pip asks by default. For a CPU those are left out that only
# a GPU needs and that torch loads without (it then logs that there is no triton); without the rest of CUDA's
# libraries it does not load. An index with builds of torch for the CPU alone has no need of them:
# `make docker-lock UV_INDEX=…`, and PIP_EXTRA_INDEX_URL for the build.
LOCK := uv pip compile pyproject.toml --extra s3 --no-config --quiet --upgrade --generate-hashes --no-annotate \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make docker-lock"
ONLY_FOR_GPUS := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cuda-nvrtc nvidia-cusolver nvidia-nvtx triton

docker-lock: $(READY_TO_TEST)
	$(BIN)/$(LOCK) --output-file docker/requirements-cuda.txt
	$(BIN)/$(LOCK) --output-file docker/requirements-cpu.txt $(addprefix --no-emit-package ,$(ONLY_FOR_GPUS))

docker-verify: $(READY)
	PYTHON=$(BIN)/python docker/verify.sh

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stgcma needs Python 3.11 or later, this is " + sys.version)'
	@echo "installing into $(VENV): 5 GB, minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -e .
	touch $(READY)

$(READY_TO_TEST): $(READY)
	$(BIN)/pip install --disable-pip-version-check -e ".[dev]"
	touch $(READY_TO_TEST)

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache
