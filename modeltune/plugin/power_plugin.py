"""The pytest plugin that ``modeltune power`` loads: items of specs say what their gates can find, and train nothing.

Only pytest can import a spec and set up the fixtures of its data function. The result goes to a
file, apart from what pytest prints. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modeltune.plugin.items import SpecItem
    from modeltune.records import Json


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option that the command passes; users do not see it."""
    parser.addoption("--modeltune-power-to", help=argparse.SUPPRESS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make spec items say which drops they find instead of running the spec; leave out all others."""
    from modeltune.plugin.items import SpecItem

    items[:] = [item for item in items if isinstance(item, SpecItem)]
    for item in items:
        assert isinstance(item, SpecItem)
        vars(item)["runtest"] = partial(_preview, item, config)


def _preview(item: SpecItem, config: pytest.Config) -> None:
    from modeltune.ground import ModeltuneError, default_store, error_line
    from modeltune.harness import preview_power, regression_gates
    from modeltune.plugin.items import their_warnings_ignored
    from modeltune.specs import data_arguments

    told: dict[str, Json] = {"spec": item.spec.id, "gates": [], "error": None}
    if regression_gates(item.spec):
        with their_warnings_ignored():
            try:
                fixtures = {name: item.funcargs[name] for name in data_arguments(item.spec.data)}
                powers = preview_power(item.spec, fixtures, default_store())
                told["gates"] = [power.plain() for power in powers]
            except ModeltuneError as error:
                told["error"] = str(error)
            except Exception as error:  # noqa: BLE001  the data function is the author's
                told["error"] = f"{item.spec.id}: the data function raised {error_line(error)}"
    with Path(config.getoption("--modeltune-power-to")).open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(told, allow_nan=False)}\n")
