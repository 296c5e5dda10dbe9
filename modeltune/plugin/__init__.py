"""The pytest plugin: its options, and a session that holds its hooks.

Here belongs what concerns pytest: options, items, hooks, terminal lines. What happens in a run is
in ``harness``. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse

import pytest

from modeltune.plugin import hookspecs
from modeltune.plugin.live_hooks import LiveHooks
from modeltune.plugin.mlflow_plugin import MlflowPlugin
from modeltune.plugin.session import Session
from modeltune.plugin.tuned_fixture import lend_tuned

__all__ = ["lend_tuned", "pytest_addhooks", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; the same settings live in ``[tool.modeltune]``."""
    group = parser.getgroup("modeltune", "model searches as tests")
    group.addoption(
        "--modeltune-workers",
        metavar="auto|N|0",
        type=_workers,
        help="number of trial processes (default: auto, as many as keep the cores busy); 0 trains "
        "in the pytest process, as --pdb does",
    )
    group.addoption(
        "--modeltune-store",
        metavar="URL",
        help="URL of the history that records runs (default: sqlite:///.modeltune/history.db; for "
        "a team: postgresql://user@host/database)",
    )
    group.addoption(
        "--modeltune-report",
        metavar="DIR",
        help="folder to write reports to (default: .modeltune/report)",
    )
    group.addoption(
        "--modeltune-mlflow",
        metavar="URI",
        help="MLflow tracking server to log every recorded run to (default: none)",
    )
    group.addoption(
        "--modeltune-strict",
        action="store_true",
        default=None,
        help="fail specs whose gates cannot be decided: no baseline, or inconclusive",
    )
    group.addoption(
        "--modeltune-keep-trials",
        action="store_true",
        default=None,
        help="keep the scratch folder of a search after its run is recorded",
    )
    group.addoption(
        "--modeltune-budget",
        metavar="TIME",
        type=_budget,
        help="time for the whole session, such as 30m or 1h30m: searches stop early enough to "
        "validate and judge the best model so far",
    )
    group.addoption(
        "--modeltune-reuse",
        action="store_true",
        default=None,
        help="take the runs of unchanged specs from the history instead of training; today's gates "
        "judge them, and they are shown as CACHED",
    )
    group.addoption(
        "--modeltune-rejudge",
        action="store_true",
        default=None,
        help="judge recorded runs by today's gates: train nothing, and refuse specs that have "
        "changed since",
    )
    group.addoption(
        "--modeltune-smoke",
        action="store_true",
        default=None,
        help="exercise every spec end to end in seconds: one trial of one epoch on a few samples; "
        "gates are shown and not enforced, and nothing is recorded",
    )
    group.addoption(
        "--modeltune-run",
        metavar="RUN",
        help="with --modeltune-rejudge: id of the run to judge (default: the spec's newest run)",
    )
    group.addoption(
        "--modeltune-accept",
        action="store_true",
        default=None,
        help="accept runs that pass: they become the baselines of their specs",
    )
    group.addoption(
        "--modeltune-accept-new",
        action="store_true",
        default=None,
        help="accept runs that pass where the spec has no baseline yet",
    )
    group.addoption(
        "--modeltune-reason",
        metavar="TEXT",
        help="why the runs are accepted; kept in the baseline files",
    )
    group.addoption(
        "--modeltune-shard",
        metavar="NUMBER/OF",
        type=_shard,
        help="run one share of the items, such as 2/5: every item is in one of the five, divided by "
        "the recorded durations of specs; give all of them the same history, or none",
    )
    parser.addini(
        "modeltune_files", "names of spec files, as patterns", type="args", default=["spec_*.py"]
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook that other plugins may implement."""
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


def _shard(text: str) -> object:
    from modeltune.plugin.shards import shard_of

    try:
        return shard_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _has_option(config: pytest.Config, option: str) -> bool:
    name = option.removeprefix("--").replace("-", "_")
    return bool(config.getoption(name, None))


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest collect spec files too, and start the session."""
    for option, other in (
        ("--modeltune-run", "--modeltune-rejudge"),
        ("--modeltune-reason", "--modeltune-accept"),
    ):
        others = [name for name in (other, f"{other}-new") if _has_option(config, name)]
        if _has_option(config, option) and not others:
            raise pytest.UsageError(f"{option} has no effect without {other}")
    for option in ("accept", "accept-new", "reuse", "rejudge", "strict", "keep-trials"):
        if _has_option(config, "--modeltune-smoke") and _has_option(
            config, f"--modeltune-{option}"
        ):
            raise pytest.UsageError(
                f"--modeltune-smoke records and enforces nothing; leave out --modeltune-{option}"
            )
    for pattern in config.getini("modeltune_files"):
        config.addinivalue_line("python_files", pattern)
    live_hooks = LiveHooks(config)
    config.pluginmanager.register(live_hooks, "modeltune-live")
    session = Session(config, live_hooks)
    config.pluginmanager.register(session, "modeltune-session")
    config.pluginmanager.register(MlflowPlugin(session.mlflow, session.page), "modeltune-mlflow")
