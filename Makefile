# Two commands do everything on a fresh machine with Python, make and git:
#   make demo    sets up, trains two small runs side by side, names the page to open
#   make test    sets up, runs the tests
# Without a GPU, the index of CPU wheels saves gigabytes:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
OUT ?= runs/demo
ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
       $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# one BLAS thread per process: the demo runs one process per core, and small matrices gain nothing from more
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check bench campaign phenomenon study-methods study-thermostat study-entropy-change study-inference study-two-failures policy clean

demo: $(VENV)/.train
	$(BIN)/forkpoint demo --out $(OUT) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q tests/test_layers.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.watching
	$(BIN)/python -m benchmarks.selection
	$(BIN)/python -m benchmarks.records
	$(BIN)/python -m benchmarks.readers
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.branching
	$(BIN)/python -m benchmarks.decoders

# large counts; what is done is kept, so a second call goes on: the kills in runs/campaign, the rest file by file
campaign: $(VENV)/.dev
	$(BIN)/python -m tests.trainers.kills --random-kills 200 --targeted 50 --out runs/campaign/kills
	$(BIN)/python -m tests.campaign --out runs/campaign $(ARGS)

phenomenon: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.entropy_spent $(ARGS)

# every method of the folder: hours; rows that are there are kept, and ARGS="--minutes 60" ends in time
study-methods: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.methods $(ARGS)

study-thermostat: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.fork_thermostat $(ARGS)

study-entropy-change: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.entropy_change $(ARGS)

study-inference: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.inference $(ARGS)

study-two-failures: $(VENV)/.train
	$(BIN)/python -m forkpoint.studies.two_failures $(ARGS)

policy: $(VENV)/.train
	$(BIN)/python -m forkpoint.recipes.tiny_policy --out src/forkpoint/policies/tiny $(ARGS)

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up (once; torch is the large part)" >&2
	$(PIP) --editable ".[train,report]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up for tests (once)" >&2
	$(PIP) --editable ".[train,report,dev]"
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) runs
