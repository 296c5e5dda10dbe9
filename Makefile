# `make specs` searches and judges the models, `make test` tests modeltune, `make check` is what CI runs.

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check --no-input
# Written last: an installation that was interrupted has none, and is started afresh.
INSTALLED := $(VENV)/.installed

.PHONY: check test specs bench install clean
.DEFAULT_GOAL := check

check: $(INSTALLED)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy --strict modeltune
	$(PYTHON) -m pytest tests/ -n 2 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	$(PYTHON) -m pytest tests/ -n 2 --dist loadfile --no-loadscope-reorder

specs: $(INSTALLED)
	$(PYTHON) -m pytest model_specs/

# Some twenty-five minutes, most of them spent by stock keras-tuner.
bench: $(INSTALLED)
	$(PYTHON) benchmarks/search.py --quick
	$(PYTHON) benchmarks/workers.py
	$(PYTHON) benchmarks/epochs.py
	$(PYTHON) benchmarks/memory.py --workers 2

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -f $@ && $(PYTHON) -c "" || { rm -rf $(VENV) && $(CREATE_VENV); }
	@rm -f $@
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt \
		--editable . --group dev
	@touch $@

# TensorFlow publishes wheels for these versions of Python; ensurepip is missing on a Debian
# without python3-venv.
define CREATE_VENV
for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null; then \
		echo "creating $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	fi; \
done; \
echo "modeltune needs Python 3.11, 3.12 or 3.13 with its venv module; none of python3, python3.13," >&2; \
echo "python3.12, python3.11 is one. Install it (Debian, Ubuntu: apt install python3 python3-venv)." >&2; \
exit 1
endef

clean:
	rm -rf $(VENV)
