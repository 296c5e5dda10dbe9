"""The pytest plugin: its options, and a session that holds its hooks.

Here belongs what concerns pytest: options, items, hooks, terminal lines. What a run is, is told
in ``harness``. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse

import pytest

from modeltune.plugin import hookspecs
from modeltune.plugin.live_hooks import LiveHooks
from modeltune.plugin.mlflow_plugin import MlflowPlugin
from modeltune.plugin.session import Session

__all__ = ["pytest_addhooks", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; the same settings live in ``[tool.modeltune]``."""
    group = parser.getgroup("modeltune", "model searches as tests")
    group.addoption(
        "--modeltune-workers",
        metavar="auto|N|0",
        type=_workers,
        help="trial processes (default: auto, as many as keep the cores busy); 0 trains in the "
        "pytest process, as --pdb does",
    )
    group.addoption(
        "--modeltune-store",
        metavar="URL",
        help="where runs are recorded (default: sqlite:///.modeltune/history.db); for a team "
        "postgresql://user@host/database",
    )
    group.addoption(
        "--modeltune-report",
        metavar="DIR",
        help="where reports are written (default: .modeltune/report)",
    )
    group.addoption(
        "--modeltune-mlflow",
        metavar="URI",
        help="MLflow tracking server that is told of every recorded run (default: none)",
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
    group.addoption(
        "--modeltune-budget",
        metavar="TIME",
        type=_budget,
        help="time for the whole session, such as 30m or 1h30m: searches stop early enough for "
        "what they have found to be validated and judged",
    )
    group.addoption(
        "--modeltune-reuse",
        action="store_true",
        default=None,
        help="serve unchanged specs from the history, shown as CACHED, judged by today's gates",
    )
    group.addoption(
        "--modeltune-rejudge",
        action="store_true",
        default=None,
        help="judge recorded runs by today's gates: nothing is trained, and specs that changed "
        "since are refused",
    )
    group.addoption(
        "--modeltune-run",
        metavar="RUN",
        help="with --modeltune-rejudge: the id of the run to judge (default: the latest)",
    )
    group.addoption(
        "--modeltune-accept",
        action="store_true",
        default=None,
        help="runs that pass become the baselines of their specs",
    )
    group.addoption(
        "--modeltune-accept-new",
        action="store_true",
        default=None,
        help="the same, only where nothing is accepted yet",
    )
    group.addoption(
        "--modeltune-reason",
        metavar="TEXT",
        help="why, to be kept with what is accepted",
    )
    parser.addini("modeltune_files", "file patterns of specs", type="args", default=["spec_*.py"])


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what other plugins may be told of."""
    pluginmanager.add_hookspecs(hookspecs)


def _workers(text: str) -> int | str:
    if text == "auto" or text.isdecimal():
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f'{text!r}: write "auto", or a number of processes, 0 or more')


def _budget(text: str) -> str:
    from modeltune.ground import seconds_of

    try:
        seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _is_given(config: pytest.Config, option: str) -> bool:
    name = option.removeprefix("--").replace("-", "_")
    return bool(config.getoption(name, None))


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest collect spec files too, and start the session."""
    for option, other in (
        ("--modeltune-run", "--modeltune-rejudge"),
        ("--modeltune-reason", "--modeltune-accept"),
    ):
        others = [name for name in (other, f"{other}-new") if _is_given(config, name)]
        if _is_given(config, option) and not others:
            raise pytest.UsageError(f"{option} says something only beside {other}")
    for pattern in config.getini("modeltune_files"):
        config.addinivalue_line("python_files", pattern)
    live_hooks = LiveHooks(config)
    config.pluginmanager.register(live_hooks, "modeltune-live")
    session = Session(config, live_hooks)
    config.pluginmanager.register(session, "modeltune-session")
    config.pluginmanager.register(MlflowPlugin(session.mlflow, session.page), "modeltune-mlflow")
