# make demo     install into .venv and run the whole path on shipped inputs
# make test     every test
# make check    format, lint, types, layers
# make fuzz     break 36,000 files in seeded ways and read each in a limited child (about a minute)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz format sums clean

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/.core
	$(BIN)/medvox demo --out out/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src
	$(BIN)/python -m pytest -q tests/test_layers.py

fuzz: $(VENV)/.dev
	$(BIN)/python tests/fuzz.py --write

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The digests that `medvox doctor` compares the shipped weights with; run after training.
sums:
	cd src/medvox/weights && sha256sum */*.safetensors > SHA256SUMS

clean:
	rm -rf $(VENV) out .mypy_cache .pytest_cache .ruff_cache

# torch comes first and pinned, so that no other package chooses another build of it.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch==2.13.0
	@touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@
