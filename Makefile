# `make specs` searches and judges the models, `make test` tests modeltune, `make check` is what CI runs.

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check --no-input
# Written last: an installation that was interrupted has none, and is started afresh.
INSTALLED := $(VENV)/.installed

# Two workers: a third costs more CPU than it fills. Long files come first, as tests/conftest.py has them.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: check lint test specs wheel bench install programs clean
.DEFAULT_GOAL := check
# What is missing of the system is said before anything else is done.
.NOTPARALLEL:

check: programs lint test

lint: $(INSTALLED)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy --strict modeltune
	$(VENV)/bin/lint-imports

test: programs $(INSTALLED)
	$(PYTHON) -m pytest tests/ $(IN_TWO)

specs: $(INSTALLED)
	$(PYTHON) -m pytest model_specs/

# What others install: the wheel in an empty environment, outside this folder.
wheel: $(INSTALLED)
	.ci/wheel

# Some twenty-five minutes, most of them spent by stock keras-tuner.
bench: $(INSTALLED)
	$(PYTHON) benchmarks/search.py --quick
	$(PYTHON) benchmarks/workers.py
	$(PYTHON) benchmarks/epochs.py
	$(PYTHON) benchmarks/memory.py --workers 2

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -f $@ && $(PYTHON) -c "" || { \
		python=$$(.ci/python) && rm -rf $(VENV) && \
		echo "creating $(VENV) with $$($$python --version)" && $$python -m venv $(VENV); }
	@rm -f $@
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt \
		--editable . --group dev
	@touch $@

# Browser, database server and others that the tests start.
programs:
	@.ci/programs

clean:
	rm -rf $(VENV)
