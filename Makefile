# `make help` lists the targets. Needs Python 3.11 or newer with pip and venv; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes. Compiling is most of the work and runs on one core per process.
WORKERS := 2
# Anything more for pytest: make test ARGS="-k resume -x"
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-core test-docs test-all format lint types docs build clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1#\2/' | tr '#' '\t' | expand -t 18

demo: $(VENV)/.core ## distil CartPole into two observation-action pairs and write a report
	@$(BIN)/python launch/train.py --config=cartpole_hades_r --workdir=runs/demo
	@echo "Report: $(CURDIR)/runs/demo/report.html"

test: $(VENV)/.test ## run the tests, except those marked slow or documented
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile $(ARGS)

test-core: $(VENV)/.test ## run the tests that start no process and are not slow
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile -m "not slow and not system" $(ARGS)

test-docs: $(VENV)/.test ## run every command and snippet of the documentation, in small
	$(BIN)/python -m pytest -m "documented" $(ARGS)

test-all: $(VENV)/.test ## run every test
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile -m "" $(ARGS)

format: $(VENV)/.dev ## format the code and apply the linter's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## check the format and the lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev ## check the types
	$(BIN)/mypy

docs: $(VENV)/.dev ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(VENV)/.dev ## build sdists and, from them, the wheels of hades and its viewer into dist/
	@rm -rf build viewer/build dist
	$(BIN)/python -m build --quiet --outdir dist .
	$(BIN)/python -m build --quiet --outdir dist viewer

clean: ## remove caches and build products; .venv and runs/ stay
	rm -rf build viewer/build dist site *.egg-info viewer/*.egg-info .cache .pytest_cache .mypy_cache .ruff_cache
	find hades launch viewer tests configs -type d -name __pycache__ -prune -exec rm -rf {} +

# Each stamp stands for an editable install with some extras and contains the smaller ones. The tests need the viewer too.
$(VENV)/.core: EXTRAS := [native]
$(VENV)/.test: EXTRAS := [test]
$(VENV)/.test: CONTAINS := $(VENV)/.core
$(VENV)/.dev: EXTRAS := [dev,docs]
$(VENV)/.dev: CONTAINS := $(VENV)/.core $(VENV)/.test
$(VENV)/.test $(VENV)/.dev: BESIDE := ./viewer

$(VENV)/.core $(VENV)/.test $(VENV)/.dev: pyproject.toml setup.py viewer/pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing hades$(EXTRAS) and its dependencies into $(VENV): about 1.4 GB, a minute or two the first time ..."
	@begin=$$(date +%s); $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".$(EXTRAS)" $(BESIDE) \
	  && echo "Installed in $$(($$(date +%s) - begin)) s."
	@touch $(CONTAINS) $@

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Name your Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("hades needs Python 3.11 or newer, but $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) lacks venv. Debian and Ubuntu keep it in a package of its own: apt install python3-venv"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
