"""The pytest plugin: its options, and a session that holds its hooks. PYTEST_DONT_REWRITE"""

from __future__ import annotations

import pytest

from modeltune.session import Session


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; the same settings live in ``[tool.modeltune]``."""
    group = parser.getgroup("modeltune", "model searches as tests")
    group.addoption(
        "--modeltune-workers",
        choices=("0", "auto"),
        help="trial processes; this version has none and trains in the pytest process",
    )
    group.addoption(
        "--modeltune-store",
        metavar="URL",
        help="where runs are recorded (default: sqlite:///.modeltune/history.db)",
    )
    group.addoption(
        "--modeltune-report",
        metavar="DIR",
        help="where reports are written (default: .modeltune/report)",
    )
    group.addoption(
        "--modeltune-strict",
        action="store_true",
        default=None,
        help="gates that cannot be decided (no baseline, inconclusive) are red",
    )
    group.addoption(
        "--modeltune-keep-trials",
        action="store_true",
        default=None,
        help="keep the search's scratch folder once the run is recorded",
    )
    parser.addini("modeltune_files", "file patterns of specs", type="args", default=["spec_*.py"])


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest collect spec files too, and start the session."""
    for pattern in config.getini("modeltune_files"):
        config.addinivalue_line("python_files", pattern)
    config.pluginmanager.register(Session(config), "modeltune-session")
