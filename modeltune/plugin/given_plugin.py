"""The pytest plugin that ``modeltune check FILE`` loads: specs judge the model in the file.

Only pytest can import a spec and set up the fixtures of its data function. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option that the command passes; users do not see it."""
    parser.addoption("--modeltune-given", help=argparse.SUPPRESS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have spec items judge the given model."""
    from modeltune.plugin.items import SpecItem

    file = Path(config.getoption("--modeltune-given"))
    for item in items:
        if isinstance(item, SpecItem):
            item.spec = item.spec.with_file(file)
