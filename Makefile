# Everything sets itself up: `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
PORT ?= 8000
# Processes that share the tests, each with a database server of its own. JOBS=0: none but pytest itself.
JOBS ?= 4
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clients sweep check bench format clean

demo: $(VENV)/.run
	@$(BIN)/coach demo --port $(PORT)

test: $(VENV)/.dev clients
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The stock JavaScript clients that the tests run, with a Node of their own; npm comes with any Node.
CLIENTS := tests/clients
clients: $(CLIENTS)/node_modules/.package-lock.json

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the JavaScript clients' tests."; exit 1; }
	@echo "Installing the JavaScript clients that the tests run …"
	@cd $(CLIENTS) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# 2,000 requests that Schemathesis makes up from the API's description. None may be answered with a 5xx.
EXAMPLES ?= 2000
sweep: $(VENV)/.dev
	@SWEEP_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -s --timeout 1800 tests/live/test_sweep.py | grep -av request_id

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

bench: $(VENV)/.run
	@$(BIN)/coach bench vector
	@$(BIN)/coach bench turn

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(CLIENTS)/node_modules .pytest_cache .mypy_cache .ruff_cache

# An installation that was cut off leaves its mark, and the next make begins again: pip takes half a package for a whole.
MARK := $(VENV)/.unfinished

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making a virtual environment in $(VENV) …"
	@rm -rf $(VENV) && mkdir $(VENV) && touch $(MARK)
	@$(PYTHON) -m venv $(VENV)

ifneq ($(wildcard $(MARK)),)
.PHONY: $(VENV)/bin/python
endif

# PIP_* stay the caller's: whoever has a mirror configured keeps using it.
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Aurum Coach (a minute or two the first time) …"
	@touch $(MARK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@rm -f $(MARK) && touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing what the tests and checks need …"
	@touch $(MARK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f $(MARK) && touch $@
