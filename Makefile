# make run    install into .venv and start everything
# make test   lint, types, imports and every test
# The rest is for people who work on troupe: test-long, starter, lock, clean.

PYTHON ?= python3
# CPU wheels of torch are a fifth of the size; used only where no NVIDIA driver is found.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off -c constraints.txt
NEEDED_MIB := 2600
NEEDED_MIB_CUDA := 9000

.PHONY: run test test-long starter lock clean

run: .venv/.ok
	@exec $(BIN)/troupe run

test: .venv/.ok-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/python -m pytest

# What takes minutes of training: everything about a run from votes, and the benches themselves.
test-long: .venv/.ok-test
	@$(BIN)/python -m pytest -m long

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "troupe needs Python 3.11 or newer, and '$(PYTHON)' is not; install it or name one: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing; install it (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@need=$(NEEDED_MIB); if command -v nvidia-smi >/dev/null 2>&1; then need=$(NEEDED_MIB_CUDA); fi; \
	  free=$$(df -Pm . | awk 'NR == 2 {print $$4}'); [ "$$free" -ge "$$need" ] || \
	  { echo "troupe needs $$need MiB of free disk here for its packages, and there are $$free; free some or clone elsewhere." >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.ok: .venv/.python pyproject.toml constraints.txt
	@if command -v nvidia-smi >/dev/null 2>&1; then \
	  echo "Installing into .venv: about 3.5 GB to download (torch with CUDA), once."; \
	else \
	  echo "Installing into .venv: about 450 MB to download (torch for the CPU), once."; \
	  if $(BIN)/python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=4)' $(TORCH_CPU_INDEX)/torch/ 2>/dev/null; then \
	    extra="--extra-index-url $(TORCH_CPU_INDEX)"; \
	  fi; \
	fi; $(PIP) $$extra -e '.[engine]'
	@touch $@

.venv/.ok-test: .venv/.ok
	@$(PIP) -e '.[engine,test,dev]'
	@touch $@

# Rebuilds data/starter from the written text; QUICK=1 builds a small sample elsewhere, to see that all works.
starter: .venv/.ok
	@$(BIN)/python -m training --progress starter $(if $(QUICK),--quick --out var/quick/starter --work var/quick/work)

# Exact pins of what is installed now, from a fresh .venv; no local tags, so that CUDA machines can use them.
lock: .venv/.ok-test
	@$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/+[a-z0-9.]*$$//' -e '/^nvidia-/d' -e '/^triton/d' -e '/^cuda-/d' | LC_ALL=C sort -f > constraints.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
