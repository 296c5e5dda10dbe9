"""One pytest session with specs in it: collects them, follows their runs, writes the report."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modeltune.config import Config
    from modeltune.events import Event
    from modeltune.runs import Json

# Imported in every pytest run: everything of modeltune itself is imported by the hooks that
# meet a spec.


class Session:
    """The plugin's hooks and what they share; does nothing until a spec is collected.

    Raises:
        pytest.UsageError: ``[tool.modeltune]`` holds an unknown key or a wrong value.
    """

    def __init__(self, config: pytest.Config):
        self._config = config
        self._settings = _settings(config)
        self._runs: list[Json] = []
        self._is_xdist_worker = hasattr(config, "workerinput")

    # collection

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Import spec files with heavy modules bound lazily, and let errors speak for themselves."""
        if not isinstance(collector, pytest.Module) or not self._is_spec_file(collector.path):
            return (yield)
        from modeltune.lazy_imports import lazily

        with lazily():
            report = yield
        if report.failed:
            from modeltune.collection import collect_error

            report.longrepr = collect_error(report) or report.longrepr
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: object) -> list[Any] | None:
        """Make items of specs; anything else is left to pytest."""
        specs = sys.modules.get("modeltune.specs")
        if specs is None or not isinstance(obj, specs.Spec):
            return None
        from modeltune.collection import spec_items

        return [*spec_items(collector, name, obj, self._options(), self._listen)]

    def pytest_make_parametrize_id(self, val: object) -> str | None:
        """Name declarations by their kind: ``mlp[hyperband]``."""
        if "modeltune.specs" not in sys.modules:
            return None
        from modeltune.collection import parameter_id

        return parameter_id(val)

    # running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the run travel with its report from a worker of pytest-xdist to the controller."""
        report = yield
        if self._is_xdist_worker and call.when == "call":
            from modeltune.collection import SpecItem
            from modeltune.runs import to_json

            if isinstance(item, SpecItem) and item.run is not None:
                report.modeltune = to_json(item.run)  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the runs of xdist's workers."""
        if (run := getattr(report, "modeltune", None)) is not None:
            self._runs.append(run)

    def _listen(self, event: Event) -> None:
        from modeltune.events import RunRecorded
        from modeltune.reports.progress import lines
        from modeltune.runs import to_json

        if isinstance(event, RunRecorded) and not self._is_xdist_worker:
            self._runs.append(to_json(event.run))
        for line in lines(event):
            self._say(line)

    # reporting

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write report.json; a report that cannot be written is never a green session."""
        if not self._runs or self._is_xdist_worker:
            return
        from modeltune.reports.json_report import write

        try:
            write(self._report_folder / "report.json", self._runs)
        except OSError as error:
            self._report_error = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    _report_error: str | None = None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print one table over all specs, best first."""
        if self._report_error:
            terminalreporter.write_line(f"modeltune: no report: {self._report_error}", red=True)
        if not self._runs or self._is_xdist_worker or self._config.get_verbosity() < 0:
            return
        from modeltune.reports.tables import summary_table, undecided
        from modeltune.runs import from_json

        terminalreporter.write_sep("=", "modeltune")
        runs = [from_json(run) for run in self._runs]
        for line in [*summary_table(runs).splitlines(), "", *undecided(runs).splitlines()]:
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"report: {_relative(self._report_folder / 'report.json')}")

    # settings

    def _options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``harness.run`` that options and settings decide."""
        from modeltune.config import default_store

        option = self._config.getoption
        settings = self._settings
        return {
            "store": option("modeltune_store") or default_store(self._config.rootpath),
            "strict": bool(_first(option("modeltune_strict"), settings and settings.strict)),
            "keep_trials": bool(
                _first(option("modeltune_keep_trials"), settings and settings.keep_trials)
            ),
        }

    @property
    def _report_folder(self) -> Path:
        given = self._config.getoption("modeltune_report")
        if given is not None:
            return Path(self._config.invocation_params.dir, given)
        configured = self._settings.report if self._settings else None
        return Path(self._config.rootpath, configured or ".modeltune/report")

    def _is_spec_file(self, path: Path) -> bool:
        patterns = self._config.getini("modeltune_files")
        return any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)

    def _say(self, line: str) -> None:
        """Print a line while an item runs, also without a terminal; nothing under -q."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or self._is_xdist_worker or self._config.get_verbosity() < 0:
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            reporter.ensure_newline()
            reporter.write_line(line)
        else:
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(line)


def _settings(config: pytest.Config) -> Config | None:
    path = config.rootpath / "pyproject.toml"
    try:
        if "modeltune" not in path.read_text(encoding="utf-8"):
            return None
    except (OSError, UnicodeDecodeError):
        return None
    from modeltune.config import load
    from modeltune.errors import SpecError

    try:
        return load(config.rootpath)
    except SpecError as error:
        raise pytest.UsageError(str(error)) from error


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
