# `make specs` searches and judges the models, `make test` tests modeltune, `make check` is what CI runs;
# `make quick` takes less than a minute, between two edits.

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check --no-input
# Written last: an installation that was interrupted has none, and is started afresh.
INSTALLED := $(VENV)/.installed
# Images of containers often set it; the tests start hundreds of processes, and each would compile us.
export PYTHONDONTWRITEBYTECODE :=

# Three workers on two cores: tests wait for processes that they start. Long files come first, as
# tests/conftest.py has them.
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: check lint docs test quick coverage specs wheel bench install programs clean
.DEFAULT_GOAL := check
# What is missing of the system is said before anything else is done.
.NOTPARALLEL:

check: programs lint docs test

lint: $(INSTALLED)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

# The guide as web pages; a warning is an error.
docs: $(INSTALLED)
	$(PYTHON) -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "open docs/_build/index.html"

test: programs $(INSTALLED)
	$(PYTHON) -m pytest tests/ $(SIDE_BY_SIDE)

# What trains nothing, with ten examples of each law instead of sixty.
quick: programs lint
	$(PYTHON) -m pytest -n 2 --hypothesis-profile few -k "not real_session and not train" \
		tests/test_*.py tests/ground tests/specs tests/records tests/judgement tests/reports

# Some lines are reached only in processes that tests kill, and are not counted. A test that fails
# because it is measured hides no figure.
coverage: programs $(INSTALLED)
	rm -rf .coverage
	-$(PYTHON) -m coverage run -m pytest tests/ $(SIDE_BY_SIDE)
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage html --quiet
	$(PYTHON) -m coverage report --skip-covered
	@echo "line by line: .coverage/html/index.html"

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
		echo "creating $(VENV) with $$("$$python" --version)" && "$$python" -m venv $(VENV); }
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
