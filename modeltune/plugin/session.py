"""A pytest session with specs: collect them, follow their runs, write the reports."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from modeltune.ground import monotonic
from modeltune.plugin.live_hooks import SMOKE, LiveHooks, is_github, is_xdist_worker, printable
from modeltune.plugin.tuned_fixture import NoWinnerError, Winners, uses_tuned, with_specs_first

if TYPE_CHECKING:
    from modeltune.ground import Deadline, MaskedUrl, Project, StoreUrl
    from modeltune.histories import Acceptance
    from modeltune.plugin.items import SpecItem
    from modeltune.plugin.shards import Division
    from modeltune.records import Event, Family, Json, Run
    from modeltune.reports import Ranking, ReportedRun
    from modeltune.specs import Spec

# This is imported in every pytest run: modules of ours are imported by the hooks that meet a spec.

_T = TypeVar("_T")

ANNOTATING_PLUGIN = "pytest_github_actions_annotate_failures"
"""As it is registered: it annotates every failed test."""

HYPOTHESIS_PLUGIN = "hypothesispytest"
"""As it is registered."""


OUTCOMES = ("passed", "failed", "skipped")
"""Pytest's own: a plugin that runs an item again has another for what did not count."""


class Renderings:
    """What the session renders: what one raises costs neither the session nor another."""

    def __init__(self) -> None:
        self.problems: dict[str, None] = {}

    def render(self, name: str, make: Callable[[], _T], otherwise: _T) -> _T:
        """Return what is made, or ``otherwise`` with a problem: a line for the session's end."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001  said at the end, and makes the session red
            from modeltune.ground import error_line

            self.add(name, error_line(error))
            return otherwise

    def add(self, name: str, reason: str) -> None:
        """Add the problem that something could not be rendered or written."""
        self.problems[f"no {name}: {reason}"] = None


class Session:
    """The hooks of the plugin and what they share; they do nothing until a spec is collected."""

    def __init__(self, config: pytest.Config, live_hooks: LiveHooks):
        self._config = config
        self._live_hooks = live_hooks
        self._homes: dict[Spec, str] = {}
        # By node id: the last of an item that another plugin runs again.
        self._runs: dict[str, Json] = {}
        self._accepted: dict[str, list[str]] = {}
        self._expected_failures: set[str] = set()
        # Those, and items that passed although they are expected to fail.
        self._allowed_failures: set[str] = set()
        # Node ids of items that have begun, and whose outcome is not reported yet.
        self._open: set[str] = set()
        self.made: list[SpecItem] = []
        self._collected: dict[Path, list[Spec]] = {}
        self._unused: list[str] = []
        self._report_error: str | None = None
        self._is_report_needed = True
        self._report_files: list[Path] = []
        self._summary_error: str | None = None
        self._annotations: list[str] = []
        self._headline = ""
        self._end_of_summary: list[str] = []
        self._renderings = Renderings()
        self._hook_errors: dict[str, list[str]] = {}
        self.is_xdist_worker = is_xdist_worker(config)
        self._is_report_prepared = self.is_xdist_worker
        self._is_interrupted = False
        self._has_failed_late = False
        self._started = monotonic()
        self._specs_left: dict[Path, int] = {}
        # By the root of a project: how many specs compare with recorded runs.
        self._compared: Counter[Path] = Counter()
        self._begun: dict[Path, float] = {}
        self._projects: dict[Path, Project] = {}
        self._options: dict[Path, Mapping[str, Any]] = {}
        self._ended: set[str] = set()
        self._is_winner_asked_for = False
        self._smoked = 0
        self._division: Division | None = None
        self.winners = Winners(self, config)

    # collection

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Import spec files with heavy modules bound lazily."""
        is_spec_file = isinstance(collector, pytest.Module) and self._is_spec_file(collector.path)
        if is_spec_file:
            from modeltune.plugin.lazy_imports import lazily

            with lazily():
                report = yield
        else:
            report = yield
        if is_spec_file and report.passed and "modeltune.plugin.items" in sys.modules:
            from modeltune.plugin.items import SpecItem

            items = [item for item in report.result if isinstance(item, SpecItem)]
            self._collected[collector.path] = [item.spec for item in items]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(
        self,
        node: pytest.Item | pytest.Collector,
        call: pytest.CallInfo[Any],
        report: pytest.CollectReport | pytest.TestReport,
    ) -> None:
        """Show an error of a file with specs without our frames, or by its message alone."""
        if not isinstance(node, pytest.Collector) or call.excinfo is None:
            return
        is_spec_file = isinstance(node, pytest.Module) and self._is_spec_file(node.path)
        if is_spec_file or "modeltune.specs.spec_type" in sys.modules:
            from modeltune.plugin.items import collect_error

            report.longrepr = collect_error(node, call.excinfo, report) or report.longrepr

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module | pytest.Class, name: str, obj: object
    ) -> list[SpecItem] | None:
        """Make items of specs; leave anything else to pytest."""
        specs = sys.modules.get("modeltune.specs.spec_type")
        if specs is None:
            return None
        if not isinstance(obj, specs.Spec):
            if isinstance(obj, FunctionType) and "__wrapped__" in vars(obj):
                from modeltune.plugin.items import refuse_wrapped

                refuse_wrapped(collector, name, obj)
            return None
        from modeltune.plugin.items import ItemContext, spec_items
        from modeltune.plugin.pytest_internals import is_junit_case_bare

        if not self._is_home(collector.module.__name__, obj):
            return []
        options = self.options_of(obj.file)
        is_served = options["reuse"] or options["rejudge"]
        if options["workers"] and not is_served and not self._config.option.collectonly:
            from modeltune.engine import needs_keras
            from modeltune.ground import is_supported_system

            # On another system the run says that it is none.
            if is_supported_system() and needs_keras(obj):
                from modeltune.harness import warm_up

                # Its import of keras goes on while the rest is collected.
                warm_up()
        root, note = self._config.rootpath, self._live_hooks.note
        deadline, render = partial(self._deadline, obj.file), self._renderings.render
        is_told = self._is_told(obj.file) and not is_junit_case_bare(self._config)
        is_smoke = bool(self._config.getoption("modeltune_smoke"))
        family = partial(self._family, obj.file)
        shared = root, options, deadline, self._listen, note, render, is_told, family
        context = ItemContext(*shared, is_smoke=is_smoke)
        items = list(spec_items(collector, name, obj, context))
        self.made += items
        return items

    @pytest.hookimpl(wrapper=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> Generator[None, object, object]:
        """Note what the item of a spec is parametrized with, by its author or by another plugin."""
        if "modeltune.plugin.items" not in sys.modules:
            return (yield)
        from modeltune.plugin.items import parameters_recorded

        with parameters_recorded(metafunc):
            return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Make items of specs, too, where another plugin has made plain ones to repeat a spec."""
        if "modeltune.plugin.items" in sys.modules:
            from modeltune.plugin.items import is_spec_function, make_spec_item
            from modeltune.plugin.other_specs import with_others_first

            for item in items:
                if isinstance(item, pytest.Function) and is_spec_function(item.function):
                    make_spec_item(item)
            items[:] = with_others_first(with_specs_first(items, self.made), self.made)
            self._take_shard(items)
            is_compared = any(item.spec.others for item in self.made)
            self._is_winner_asked_for = is_compared or any(map(uses_tuned, items))

    def _take_shard(self, items: list[pytest.Item]) -> None:
        """Leave out what other sessions run; see ``--modeltune-shard``."""
        shard = self._config.getoption("modeltune_shard", None)
        if shard is None:
            return
        from modeltune.ground import ModeltuneError
        from modeltune.plugin.shards import divide_items, recorded_seconds

        try:
            seconds = recorded_seconds(items, self.options_of)
        except ModeltuneError as error:
            raise pytest.UsageError(f"--modeltune-shard={shard}: {error}") from None
        self._division = divide_items(shard, items, seconds)
        kept = set(map(id, self._division.kept))
        left_out = [item for item in items if id(item) not in kept]
        self._config.hook.pytest_deselected(items=left_out)
        items[:] = self._division.kept

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the specs that share the budget, and compute the identity of each."""
        if "modeltune.plugin.items" not in sys.modules or self._config.option.collectonly:
            return
        from modeltune.plugin.items import SpecItem
        from modeltune.specs import search_identity

        specs = [item.spec for item in session.items if isinstance(item, SpecItem)]
        # Each worker of pytest-xdist has collected all, and runs its share.
        shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        collected = Counter(self._project_of(spec.file).root for spec in specs)
        self._specs_left = {root: -(-count // shares) for root, count in collected.items()}
        self._compared = Counter(
            self._project_of(spec.file).root for spec in specs if spec.is_held_against_runs
        )
        for spec in specs:
            # Computed now and kept: a file that is edited later does not change what was imported.
            search_identity(spec)
        self._find_unused(session.items)

    def _find_unused(self, items: Sequence[pytest.Item]) -> None:
        """Find the baseline files that belong to no spec of their folder.

        Only of folders that were collected as a whole: by ``--lf``, ``-k``, a node id or another
        plugin some specs may have been left out.
        """
        from modeltune.histories import BASELINE_FOLDER, baselines, unused_baselines

        chosen = set(map(id, items))
        left_out = {item.path.parent for item in self.made if id(item) not in chosen}
        is_filtered = self._config.getoption("lf", False)
        is_filtered |= any("::" in argument for argument in self._config.args)
        for folder in {path.parent for path in self._collected} - left_out:
            if is_filtered or not (folder / BASELINE_FOLDER).is_dir():
                continue
            files = [path for path in self._collected if path.parent == folder]
            if {path for path in folder.iterdir() if self._is_spec_file(path)} - {*files}:
                continue
            specs = [item.spec for item in self.made if item.path.parent == folder]
            self._unused += [
                f"unused baseline: {self._relative(path)}: {baselines.unused_advice(path)}"
                for path in unused_baselines(folder, specs, files)
            ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Refuse a file that is no spec file where a recorded run names it: it would be imported."""
        option = self._config.getoption
        if not option("modeltune_run") and not option("modeltune_replay", None):
            return
        for argument in self._config.args:
            path = Path(argument.partition("::")[0])
            patterns = self._config.getini("python_files")
            if path.is_file() and not any(path.match(pattern) for pattern in patterns):
                raise pytest.UsageError(
                    f"{path}: the run names this file, which is no spec file (python_files and "
                    f"modeltune_files are {' '.join(patterns)}); it is not imported"
                )

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Say which settings which specs obey, where they belong to more than one project."""
        if "modeltune.plugin.items" not in sys.modules:
            return []
        from modeltune.plugin.items import SpecItem

        lines = self._obeyed(item.spec.file for item in items if isinstance(item, SpecItem))
        return lines if self._division is None else [*lines, f"modeltune: {self._division}"]

    def _obeyed(self, files: Iterable[str]) -> list[str]:
        projects: dict[Project, list[Path]] = {}
        for folder in dict.fromkeys(Path(file).parent for file in files):
            projects.setdefault(self._project_in(folder), []).append(folder)
        if len(projects) < 2:
            return []
        lines = []
        for project, folders in projects.items():
            places = ", ".join(map(self._relative, folders))
            if project.has_settings:
                file = self._relative(project.root / "pyproject.toml")
                obeyed = f"obey [tool.modeltune] in {file}"
            else:
                history = self._relative(project.root / ".modeltune")
                obeyed = f"obey no [tool.modeltune]; their history is in {history}"
            lines.append(f"modeltune: specs in {places} {obeyed}")
        return lines

    def pytest_make_parametrize_id(self, val: object) -> str | None:
        """Name a declaration by its kind: ``mlp[hyperband]``."""
        if "modeltune.specs.spec_type" not in sys.modules:
            return None
        from modeltune.plugin.items import parameter_id

        return parameter_id(val)

    # running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Wait for the specs that a spec's gates compare with, where other workers of pytest-xdist run them."""
        if not self.is_xdist_worker or "modeltune.plugin.items" not in sys.modules:
            return
        from modeltune.plugin.items import SpecItem
        from modeltune.plugin.other_specs import others_of

        for other in others_of(item, self.made) if isinstance(item, SpecItem) else ():
            if other.run is None and not self.has_ended(other.nodeid):
                self.winners.wait_for(other, item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send a run with the report of its item from a worker of pytest-xdist to the controller."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, NoWinnerError):
            # The test could not begin: that is an error, as in a fixture.
            report.when = "setup" if report.failed else report.when
        items = sys.modules.get("modeltune.plugin.items")
        if items is not None and isinstance(report.longrepr, str) and is_github():
            from modeltune.reports import inert

            report.longrepr = inert(report.longrepr)
        if items is not None and isinstance(item, items.SpecItem):
            self._conclude(item, report)
        if self.is_xdist_worker and (self._runs or self._accepted):
            import json

            # As text: execnet carries no subclasses of float and str, such as numpy's.
            facts = {
                "run": self._runs.pop(item.nodeid, None),
                "accepted": self._accepted.pop(item.nodeid, []),
                "unused": self._unused,
                "notes": self._live_hooks.notes,
                "problems": list(self._renderings.problems),
            }
            report.modeltune = json.dumps(facts)  # type: ignore[attr-defined]
        return report

    def _conclude(self, item: SpecItem, report: pytest.TestReport) -> None:
        """Accept the run of an item, where that was asked for, once pytest has reported all as passed."""
        if report.when == "setup":
            item.is_green = True
        # An expected failure that passes is not what its author expects.
        item.is_green &= report.passed and not hasattr(report, "wasxfail")
        if report.when != "teardown" or item.run is None or self._accept is None:
            return
        from modeltune.ground import ModeltuneError
        from modeltune.harness import accept_if_asked

        doubt = None if item.is_green else "pytest does not report its item as passed"
        if doubt is None and self._family(item.spec.file) is not None:
            from modeltune.judgement import open_gates

            if open_ := open_gates(item.run):
                doubt = (
                    f"the session's other specs decide at its end whether {', '.join(open_)} fails; "
                    f"where it does not: modeltune accept {item.run.id}"
                )
        listen = partial(self._listen, item.nodeid)
        store = self.options_of(item.spec.file)["store"]
        try:
            accept_if_asked(item.run, item.spec, store, self._accept, listen, doubt)
        except ModeltuneError as error:
            report.outcome = "failed"
            report.longrepr = item.failure_shown(str(error))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell tests in other workers that a spec has begun."""
        if self._is_of_spec(nodeid):
            self.winners.tell_begin(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that a spec has ended, and tell tests in other workers."""
        if self._is_of_spec(nodeid):
            self.note_end(nodeid)
            self.winners.tell_end(nodeid)

    def _is_of_spec(self, nodeid: str) -> bool:
        return self._is_winner_asked_for and any(item.nodeid == nodeid for item in self.made)

    def note_end(self, nodeid: str) -> None:
        """Note that the item of a spec has ended."""
        self._ended.add(nodeid)

    def has_ended(self, nodeid: str) -> bool:
        """Tell whether the item of a spec has ended in this session."""
        return nodeid in self._ended

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Receive the runs of the workers of pytest-xdist, before the terminal asks what to show."""
        if report.when == "setup":
            self._expected_failures.discard(report.nodeid)
            self._allowed_failures.discard(report.nodeid)
        self._smoked += report.when == "call" and SMOKE in report.user_properties
        if "modeltune.plugin.items" in sys.modules:
            self._tell_last_attempt(report)
        if hasattr(report, "wasxfail"):
            self._allowed_failures.add(report.nodeid)
        if report.skipped and hasattr(report, "wasxfail"):
            self._expected_failures.add(report.nodeid)
        text = getattr(report, "modeltune", None)
        # A worker logs its own reports too.
        if text is not None and not self.is_xdist_worker:
            import json

            from modeltune.records import from_json

            facts = json.loads(text)
            if facts["run"] is not None:
                self._runs[report.nodeid] = facts["run"]
                self._call_plugins(from_json(facts["run"]))
            if facts["accepted"]:
                self._accepted[report.nodeid] = facts["accepted"]
            self._unused = facts["unused"]
            self._live_hooks.notes |= facts["notes"]
            self._renderings.problems |= dict.fromkeys(facts["problems"])

    def _tell_last_attempt(self, report: pytest.TestReport) -> None:
        """Leave a run out of the properties of a testcase that another plugin runs again.

        Such a plugin reports an outcome of its own for an attempt, or nothing of its call.
        """
        if report.outcome not in OUTCOMES or (report.when == "setup" and report.passed):
            self._open.add(report.nodeid)
        elif report.when == "call" or not report.passed:
            self._open.discard(report.nodeid)
        if report.when == "teardown" and report.nodeid in self._open:
            facts = report.user_properties
            report.user_properties = [
                fact for fact in facts if not fact[0].startswith("modeltune.")
            ]

    def _listen(self, item: str, event: Event) -> None:
        from modeltune.records import BaselineAccepted, RunRecorded, TaskProgress, to_json

        if isinstance(event, TaskProgress) and not self._is_report_prepared:
            self._is_report_prepared = True
            self._prepare_report()
        if isinstance(event, RunRecorded):
            self._runs[item] = to_json(event.run)
            if not self.is_xdist_worker:
                self._call_plugins(event.run)
        if isinstance(event, BaselineAccepted):
            self._accepted[item] = list(event.lines)
            return
        # Such as a terminal that was closed: what happens is recorded all the same.
        self._renderings.render("progress", lambda: self._live_hooks.tell(event), None)

    def _prepare_report(self) -> None:
        """Load what the session's end needs while other processes train: so that it is a short one."""
        from modeltune.reports import page_template

        with contextlib.suppress(Exception):  # the report says why there is none
            page_template()
        if self._config.pluginmanager.hasplugin(HYPOTHESIS_PLUGIN):
            # At the end of every session it imports all of Hypothesis, with several collections of
            # garbage: half of the time that is left of an interrupt.
            with contextlib.suppress(ImportError):
                importlib.import_module("hypothesis.internal.observability")

    def _call_plugins(self, run: Run) -> None:
        """Call the hook of each plugin with a recorded run; keep an error, to show it at the end.

        The plugins are called one by one, so that an error of one does not keep out the next.
        """
        plugins = self._config.pluginmanager
        impls = plugins.hook.pytest_modeltune_run_recorded.get_hookimpls()
        callees = dict.fromkeys(impl.plugin for impl in reversed(impls))
        if run.cached or not callees:
            return
        from modeltune.ground import error_text, mask_urls
        from modeltune.histories import place_of

        folder = place_of(self.options_of(run.file)["store"]).folder
        for plugin in callees:
            others = [other for other in callees if other is not plugin]
            hook = plugins.subset_hook_caller("pytest_modeltune_run_recorded", others)
            try:
                hook(run=run, folder=folder, config=self._config)
            except (KeyboardInterrupt, pytest.exit.Exception):
                raise  # somebody wants the session to end
            except BaseException as error:  # noqa: BLE001  pytest.skip, sys.exit in a client, a cancelled task
                text = mask_urls(f"{plugins.get_name(plugin)}: {error_text(error)}")
                self._hook_errors.setdefault(text, []).append(run.id)

    def _deadline(self, file: str) -> Deadline:
        """Return when the next spec, of this file, has to be done: the time left is shared evenly.

        The budget of an option is shared by all specs, that of a project by its own.
        """
        from modeltune.ground import Deadline, seconds_of

        root, now = self._project_of(file).root, monotonic()
        begun = self._begun.setdefault(root, now if self._begun else self._started)
        if budget := self._config.getoption("modeltune_budget"):
            specs_left, begun = sum(self._specs_left.values()), self._started
        else:
            budget, specs_left = self._project_of(file).config.budget, self._specs_left.get(root, 1)
        self._specs_left[root] = self._specs_left.get(root, 1) - 1
        if budget is None:
            return Deadline()
        left = seconds_of(budget) - (now - begun)
        return Deadline.after(left / max(specs_left, 1), budget)

    def _family(self, file: str) -> Family | None:
        """Return the specs that share one error rate with those of a file, as its project's settings say."""
        from modeltune.records import Family, FamilyKind

        project = self._project_of(file)
        kind = FamilyKind(project.config.family or FamilyKind.SPEC.value)
        if kind is FamilyKind.SPEC:
            return None
        # Each worker of pytest-xdist has collected all.
        return Family(kind, max(self._compared[project.root], 1))

    def _decide_families(self) -> None:
        """Judge the comparisons of all runs of each project together, now that all have ended.

        What fails by then besides is shown as an error of its item, in junit.xml too, and recorded.
        """
        from modeltune.records import from_json, to_json

        groups: dict[Path, list[str]] = {}
        for item, run in self._runs.items():
            groups.setdefault(self._project_of(run["file"]).root, []).append(item)
        for root, items in groups.items():
            if self._project_in(root).config.family in (None, "spec"):
                continue
            from modeltune.judgement import family_of, judge_family

            runs = [from_json(self._runs[item]) for item in items]
            family = family_of(runs)
            if family is None:
                continue
            for item, before, run in zip(items, runs, judge_family(runs, family), strict=True):
                if run == before:
                    continue
                self._runs[item] = to_json(run)
                if before.passed and not run.passed:
                    self._tell_late_failure(item, run)
                if not run.cached:
                    self._revise(run)

    def _tell_late_failure(self, item: str, run: Run) -> None:
        """Have pytest, and every plugin of it, know that an item is red after all."""
        if item in self._allowed_failures:
            self._expected_failures.add(item)
            return
        from modeltune.reports import failure, inert

        text = self._renderings.render("table of a red spec", lambda: failure(run), run.spec)
        if is_github():
            text = inert(text)
        report = pytest.TestReport(
            nodeid=item,
            location=(item.partition("::")[0], None, item.partition("::")[2]),
            keywords={},
            outcome="failed",
            longrepr=text,
            when="teardown",
        )
        self._config.hook.pytest_runtest_logreport(report=report)
        self._has_failed_late = True

    def _revise(self, run: Run) -> None:
        from modeltune.ground import ModeltuneError
        from modeltune.histories import open_store

        try:
            with open_store(self.options_of(run.file)["store"], create=False) as history:
                history.revise(run)
        except ModeltuneError as error:
            self._renderings.add(f"final verdicts of run {run.id} in the history", str(error))

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show a run taken from the history as CACHED under -v."""
        if report.passed and self._runs.get(report.nodeid, {}).get("cached"):
            return ("passed", ".", "CACHED") if report.when == "call" else None
        return None

    # reporting

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep pytest from parsing every file of a traceback of which it shows the last line."""
        self._is_interrupted = True
        if self.made and not self._config.getoption("fulltrace", False):
            excinfo.traceback = excinfo.traceback.filter(excinfo)[-1:] or excinfo.traceback

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Have an interrupted session end at once, and the process of any other with specs.

        What comes after this session in the same process still has its garbage collected.
        """
        if not self.made:
            return
        from modeltune.ground import end_without_collecting

        if self._is_interrupted:
            end_without_collecting()
        else:
            atexit.unregister(end_without_collecting)
            atexit.register(end_without_collecting)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Render and write all there is to report; fail the session if something cannot be.

        Ctrl-C ends that, and the session goes on to its end as an interrupted one.
        """
        if self.is_xdist_worker:
            return
        if self._runs:
            try:
                self._decide_families()
                self._report()
                self._tell_testsuite()
            except KeyboardInterrupt:
                # Raised on, it would cost junit.xml and the rest of pytest's own end.
                reason = "interrupted; the runs are recorded, and modeltune report writes them"
                self._renderings.add("more reports", reason)
                session.exitstatus = pytest.ExitCode.INTERRUPTED
                self._is_interrupted = True
        is_nothing_left = (
            self._division is not None and self._division.collected and not self._division.kept
        )
        if is_nothing_left and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            # More shards than specs: what there is runs in the others.
            session.exitstatus = pytest.ExitCode.OK
        is_green = session.exitstatus == pytest.ExitCode.OK
        is_report_missing = self._report_error is not None and self._is_report_needed
        if is_green and (self._renderings.problems or is_report_missing or self._has_failed_late):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _report(self) -> None:
        from modeltune.ground import error_line
        from modeltune.harness import write_reports
        from modeltune.records import from_json
        from modeltune.reports import (
            ReportedRun,
            all_cuts,
            annotate,
            headline,
            markdown,
            rankings_text,
            root_of,
            summary_table,
            undecided,
        )

        render = self._renderings.render
        runs = [from_json(run) for run in self._runs.values()]
        unexpected = [
            run
            for item, run in zip(self._runs, runs, strict=True)
            if item not in self._expected_failures
        ]
        # Without what the history knows there is still what the runs say themselves.
        bare = [ReportedRun(run) for run in runs]
        reported = render("earlier runs in reports", lambda: self._reported(runs), bare)
        nothing: list[Ranking] = []
        rankings = render("ranking of a protocol", lambda: self._rankings(runs), nothing)
        folder = self._report_file.parent
        self._report_files, problems = write_reports(folder, reported, rankings)
        unwritable = [str(error) for error in problems.values() if isinstance(error, OSError)]
        if unwritable:
            self._report_error = "; ".join(dict.fromkeys(unwritable))
            self._is_report_needed = not all(map(self._is_recorded_elsewhere, runs))
        for name, error in problems.items():
            if not isinstance(error, OSError):
                self._renderings.add(name, error_line(error))
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            try:
                page = render(
                    "page for GITHUB_STEP_SUMMARY", lambda: markdown(runs, rankings), None
                )
                if page is not None:
                    _append(Path(summary), page)
            except OSError as error:
                self._summary_error = str(error)
        if is_github():
            root = root_of(self._config.rootpath, os.environ.get("GITHUB_WORKSPACE"))
            none: list[str] = []
            commands = render("annotations", lambda: list(annotate(unexpected, root)), none)
            # One annotation of a red spec is enough, and its message names the gates.
            is_done = self._config.pluginmanager.hasplugin(ANNOTATING_PLUGIN)
            self._annotations = [
                line for line in commands if not (is_done and line.startswith("::error "))
            ]
        if self._config.get_verbosity() >= 0:
            # The controller of pytest-xdist has collected nothing that its header could tell.
            files = () if self._collected else [run.file for run in runs]
            self._headline = render("headline", lambda: f": {headline(runs)}", "")
            self._end_of_summary = [
                "\n".join(self._obeyed(files)),
                render("summary", lambda: summary_table(runs), ""),
                render("ranking of a protocol", lambda: rankings_text(rankings), ""),
                render("list of cuts", lambda: all_cuts(runs), ""),
                render("list of what is undecided", lambda: undecided(runs), ""),
            ]

    def _tell_testsuite(self) -> None:
        """Tell of the runs in the properties of the testsuite, where those of testcases are not allowed."""
        from modeltune.ground import MissingNameError
        from modeltune.plugin.items import PROPERTIES, properties
        from modeltune.plugin.pytest_internals import add_junit_properties, is_junit_case_bare
        from modeltune.records import from_json

        if not is_junit_case_bare(self._config):
            return

        def facts(item: str, run: Json) -> list[tuple[str, str]]:
            return [*properties(from_json(run), item)]

        render, none = self._renderings.render, list[tuple[str, str]]()
        told = [
            render(PROPERTIES, partial(facts, item, run), none)
            for item, run in self._runs.items()
            if self._is_told(run["file"])
        ]
        try:
            add_junit_properties(self._config, chain(*told))
        except MissingNameError as missing:
            self._live_hooks.note(missing, "junit.xml has no properties of runs")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print a table of all specs, best first; under -q only what went wrong."""
        for problem in self._renderings.problems:
            from modeltune.reports import clean

            line = f"modeltune: {clean(problem)}"
            terminalreporter.write_line(printable(line), red=True)
        if self._report_error:
            color = {"red": True} if self._is_report_needed else {"yellow": True}
            line = f"modeltune: no report: {self._report_error}"
            terminalreporter.write_line(printable(line), **color)
        if self._summary_error:
            line = f"modeltune: nothing added to GITHUB_STEP_SUMMARY: {self._summary_error}"
            terminalreporter.write_line(line, yellow=True)
        if self._smoked:
            from modeltune.ground import count_of

            specs = count_of(self._smoked, "spec")
            line = f"modeltune: smoke: {specs} ran end to end; no gate was enforced, nothing is recorded"
            terminalreporter.write_line(line, yellow=True)
        if not self._runs or self.is_xdist_worker:
            return
        from modeltune.ground import shorten
        from modeltune.reports import clean

        for text, ids in self._hook_errors.items():
            reason = shorten(clean(text))
            line = f"modeltune: recorded, but a plugin failed for {', '.join(ids)}: {reason}"
            terminalreporter.write_line(printable(line), yellow=True)
        for command in self._annotations:
            terminalreporter.write_line(command)
        if self._config.get_verbosity() < 0:
            return
        terminalreporter.write_sep("=", f"modeltune{self._headline}")
        texts = [*self._end_of_summary, *map(_indent, chain(*self._accepted.values()))]
        texts += map(clean, self._unused)
        for text in texts:
            for line in text.splitlines():
                terminalreporter.write_line(printable(line))
        if self._report_files:
            # The page first.
            page, *others = reversed(self._report_files)
            named = " and ".join([self._relative(page), *(file.name for file in others)])
            terminalreporter.write_line(f"report: {named.replace(' and ', ', ', len(others) - 1)}")

    # settings

    def _is_spec_file(self, path: Path) -> bool:
        return any(path.match(pattern) for pattern in self._config.getini("modeltune_files"))

    def _is_home(self, module: str, spec: Spec) -> bool:
        """Tell whether a spec is collected in this module: in its spec file, else where it is met first.

        It has no spec file if a function made it, or a module that is none.
        """
        bound_there = vars(sys.modules[spec.module]).values() if spec.module in sys.modules else ()
        if self._is_spec_file(Path(spec.file)) and any(value is spec for value in bound_there):
            return module == spec.module
        return self._homes.setdefault(spec, module) == module

    def options_of(self, file: str) -> Mapping[str, Any]:
        """Return the keyword arguments of ``harness.run`` for the specs of a file.

        They are those of the options, else of the settings of its project.
        """
        from modeltune.ground import store_url

        project = self._project_of(file)
        if project.root in self._options:
            return self._options[project.root]
        option, settings = self._config.getoption, project.config
        strict, keep = option("modeltune_strict"), option("modeltune_keep_trials")
        workers, reuse = option("modeltune_workers"), option("modeltune_reuse")
        workers = settings.workers if workers is None else workers
        if option("usepdb"):
            workers = 0
        start = self._config.invocation_params.dir
        if option("modeltune_store"):
            # It may carry a password: it is bound to no name here.
            store = store_url(option("modeltune_store"), start=start, project=project.root)
        else:
            store = project.store(start)
        self._options[project.root] = {
            "workers": "auto" if workers is None else workers,
            "store": store,
            "strict": bool(settings.strict if strict is None else strict),
            "keep_trials": bool(settings.keep_trials if keep is None else keep),
            "reuse": bool(settings.reuse if reuse is None else reuse),
            "rejudge": bool(option("modeltune_rejudge")) and (option("modeltune_run") or True),
            "accept": self._accept,
        }
        return self._options[project.root]

    @property
    def _accept(self) -> Acceptance | None:
        option = self._config.getoption
        if not option("modeltune_accept") and not option("modeltune_accept_new"):
            return None
        from modeltune.histories import Acceptance

        named = "--modeltune-accept" if option("modeltune_accept") else "--modeltune-accept-new"
        why = option("modeltune_reason") or f"passed under {named}"
        return Acceptance(why, only_new=not option("modeltune_accept"), later=True)

    def _is_told(self, file: str) -> bool:
        """Tell whether the runs of the specs of a file are told as properties for ``--junitxml``."""
        return self._project_of(file).config.junit_properties is not False

    def _project_of(self, file: str) -> Project:
        """Return the project whose settings the specs of a file obey; an error is shown by their file."""
        return self._project_in(Path(file).parent)

    def _project_in(self, folder: Path) -> Project:
        if folder not in self._projects:
            from modeltune.ground import project_of

            self._projects[folder] = project_of(folder, self._config.rootpath)
        return self._projects[folder]

    @property
    def _common_project(self) -> Project:
        """The project of all specs that have run; of several projects, the one they are all in."""
        from modeltune.ground import project_of

        projects = {self._project_of(run["file"]).root: run["file"] for run in self._runs.values()}
        if len(projects) == 1:
            return self._project_of(*projects.values())
        folder = Path(os.path.commonpath(projects))
        return project_of(folder, folder)

    def _reported(self, runs: Sequence[Run]) -> list[ReportedRun]:
        """Return these runs with what their histories know about them, in the same order."""
        from modeltune.harness import gather

        # A history is opened once for all its runs.
        keys = [
            (
                self.options_of(run.file)["store"],
                self._project_of(run.file).config.examples is not False,
            )
            for run in runs
        ]
        groups: dict[tuple[StoreUrl, bool], list[Run]] = {}
        for run, key in zip(runs, keys, strict=True):
            groups.setdefault(key, []).append(run)
        reported = {
            (store, examples): iter(gather(group, store, examples=examples))
            for (store, examples), group in groups.items()
        }
        return [next(reported[key]) for key in keys]

    def _rankings(self, runs: Sequence[Run]) -> list[Ranking]:
        """Return the rankings of the protocols that several of these runs share."""
        from modeltune.harness import rankings_of

        groups: dict[StoreUrl, list[Run]] = {}
        for run in runs:
            groups.setdefault(self.options_of(run.file)["store"], []).append(run)
        return [one for store, group in groups.items() for one in rankings_of(group, store)]

    def _is_recorded_elsewhere(self, run: Run) -> bool:
        """Tell whether the user named a history for a run, and it is not below the reports' folder."""
        from modeltune.ground import STORE_VARIABLE

        is_named = (
            self._config.getoption("modeltune_store")
            or os.environ.get(STORE_VARIABLE)
            or self._project_of(run.file).config.store
        )
        path = self.options_of(run.file)["store"].path
        return bool(is_named) and (path is None or self._report_file.parent not in path.parents)

    def page(self, run: Run, name: str) -> str | None:
        """Return report.html or report.md for one recorded run; None if it cannot be rendered."""
        from modeltune.reports import html, markdown

        def page() -> str:
            return markdown([run]) if name == "report.md" else html(self._reported([run]))

        return self._renderings.render(f"{name} for MLflow", page, None)

    def mlflow(self, run: Run) -> MaskedUrl | None:
        """Return the address of the tracking server that a run is logged to; None for none."""
        from modeltune.ground import MaskedUrl

        if self._config.getoption("modeltune_mlflow") is None:
            return self._project_of(run.file).config.mlflow
        return MaskedUrl(self._config.getoption("modeltune_mlflow")) or None

    @property
    def _report_file(self) -> Path:
        from modeltune.ground import absolute_path

        start = self._config.invocation_params.dir
        if folder := self._config.getoption("modeltune_report"):
            return absolute_path(folder, start) / "report.json"
        return self._common_project.report(start) / "report.json"

    def _relative(self, path: Path) -> str:
        """Return a path as it is from where pytest was called."""
        start = self._config.invocation_params.dir
        return os.path.relpath(path, start) if path.is_relative_to(start) else str(path)


def _indent(line: str) -> str:
    from modeltune.reports import clean

    return "  " * line.startswith(" ") + clean(line)


def _append(summary: Path, page: str) -> None:
    """Add a page to the summary of a step of GitHub Actions.

    Raises:
        OSError: it cannot be written, or it would be too long for GitHub to show.
    """
    size = summary.stat().st_size if summary.exists() else 0
    if size + len(page.encode()) > 1024 * 1024:
        raise OSError(f"{summary} has {size} bytes, and GitHub shows nothing of more than 1 MiB")
    with summary.open("a", encoding="utf-8") as file:
        file.write(f"\n{page}")
