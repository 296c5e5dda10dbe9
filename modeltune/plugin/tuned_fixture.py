"""The fixture ``tuned``: ordinary tests on the winner of a spec. PYTEST_DONT_REWRITE"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from modeltune.ground import monotonic

if TYPE_CHECKING:
    from modeltune.plugin.items import SpecItem
    from modeltune.records import Run
    from modeltune.specs import Spec

FIXTURE = "tuned"

POLL_SECONDS = 0.2

PATIENCE_SECONDS = 10.0
"""How long no spec may run anywhere before a test gives up one that has not begun: ``-x`` ends workers."""


class NoWinnerError(Exception):
    """There is no winner of a spec: the test that asks for it is an error, no failure."""

    # As it is shown.
    __module__ = "modeltune"


@pytest.fixture(name=FIXTURE)
def lend_tuned(request: pytest.FixtureRequest) -> Tuned:
    """Lend the winner of a spec to a test: ``tuned(mlp)`` is its model, ``tuned.run(mlp)`` its Run.

    Of a spec that returns a predictor it is that object, as the build function returns it today.

    The winner is that of this session's run of the spec, which runs before the tests that use this
    fixture; else that of the newest recorded run of the same code and data. ``tuned(mlp, "small")``
    is that of one item of a parametrized spec. All tests are lent the same model. If the spec is red
    or never ran, the test is an error that names the command to run. Under ``--modeltune-smoke``, which
    has no winner worth a test, it is skipped.
    """
    session: Any = request.config.pluginmanager.get_plugin("modeltune-session")
    return Tuned(session.winners, request)


class Tuned:
    """What the fixture ``tuned`` is: call it with a spec to be lent the model of its winner."""

    def __init__(self, winners: Winners, request: pytest.FixtureRequest):
        self._winners = winners
        self._request = request

    def __call__(self, spec: Spec, parameters: str | None = None) -> Any:
        """Return the model of a spec's winner, compiled, with the weights its run kept, or its predictor.

        Args:
            spec: what ``mt.spec`` has made of the build function.
            parameters: of a parametrized spec, what stands in the brackets of its item's name.

        Raises:
            NoWinnerError: the spec is red, has no run of today's code and data, or returns predictions.
        """
        __tracebackhide__ = True
        return self._winners.model(spec, parameters, self._request)

    def run(self, spec: Spec, parameters: str | None = None) -> Run:
        """Return the run that the winner is of; arguments and error are those of a call."""
        __tracebackhide__ = True
        return self._winners.run(spec, parameters, self._request)[1]


class SpecSession(Protocol):
    """What the winners have to know of the session."""

    is_xdist_worker: bool

    @property
    def made(self) -> Sequence[SpecItem]:
        """The items of specs, whether or not they are selected."""

    def options_of(self, file: str) -> Mapping[str, Any]:
        """Return the keyword arguments of ``harness.run`` for the specs of a file."""

    def note_end(self, nodeid: str) -> None:
        """Note that the item of a spec has ended."""

    def has_ended(self, nodeid: str) -> bool:
        """Tell whether the item of a spec has ended in this session."""


class Winners:
    """The winners of a session's specs, for the tests that ask for them."""

    def __init__(self, session: SpecSession, config: pytest.Config):
        self._session = session
        self._runs: dict[str, tuple[Spec, Run]] = {}
        self._models: dict[str, Any] = {}
        # Workers of pytest-xdist tell each other here which specs have begun and ended, if a test asks.
        folder = config.getoption("basetemp", None) if session.is_xdist_worker else None
        self._folder = Path(folder).parent / "modeltune-specs" if folder else None

    def model(self, spec: Spec, parameters: str | None, request: pytest.FixtureRequest) -> Any:
        """Return the model of a spec's winner.

        Raises:
            NoWinnerError: there is none.
        """
        __tracebackhide__ = True
        bound, run = self.run(spec, parameters, request)
        if run.id not in self._models:
            from modeltune.ground import ModeltuneError
            from modeltune.harness import winner_of
            from modeltune.plugin.items import their_warnings_ignored

            store = self._session.options_of(bound.file)["store"]
            try:
                with their_warnings_ignored():
                    self._models[run.id] = winner_of(run, bound, _fixtures(bound, request), store)
            except ModeltuneError as error:
                raise NoWinnerError(f"tuned({bound.name}): {error}") from None
        return self._models[run.id]

    def run(
        self, spec: Spec, parameters: str | None, request: pytest.FixtureRequest
    ) -> tuple[Spec, Run]:
        """Return a spec with its parameters, and the run that its winner is of.

        Raises:
            NoWinnerError: there is none.
        """
        __tracebackhide__ = True
        from modeltune.specs import Spec

        if not isinstance(spec, Spec):
            raise NoWinnerError(
                f"tuned({spec!r}): this is no spec but a {type(spec).__name__}; give it what mt.spec "
                "has made of a build function, such as tuned(mlp)"
            )
        item, spec = self._item_of(spec.in_project(request.config.rootpath), parameters)
        if request.config.getoption("modeltune_smoke"):
            pytest.skip(
                f"--modeltune-smoke: {spec.id} is only exercised, so that there is no winner to test; "
                f"leave it out: {_command(spec)}"
            )
        if spec.id not in self._runs:
            self._runs[spec.id] = spec, self._run_of(item, spec, request)
        bound, run = self._runs[spec.id]
        if not run.passed:
            from modeltune.plugin.items import GatesFailed

            why = (
                f"{spec.id} ended as an error: {run.error}" if run.error else str(GatesFailed(run))
            )
            raise NoWinnerError(
                f"tuned({spec.name}): {why}\nIts tables: modeltune show {run.id}\nTo run it again: "
                f"{_command(spec)}"
            )
        return bound, run

    def _item_of(self, spec: Spec, parameters: str | None) -> tuple[SpecItem | None, Spec]:
        """Return the item of a spec, if its file was collected, and the spec with its parameters."""
        __tracebackhide__ = True
        made = self._session.made
        name = spec.id if parameters is None else f"{spec.id}[{parameters}]"
        for item in made:
            if item.spec.id == name:
                return item, item.spec
        ids = [item.spec.id for item in made if item.spec.id.startswith(f"{spec.id}[")]
        known = [f'tuned({spec.name}, "{id.removeprefix(spec.id)[1:-1]}")' for id in ids]
        if known:
            which = f"{name} is several items" if parameters is None else f"there is no item {name}"
            raise NoWinnerError(f"tuned({spec.name}): {which}; write {' or '.join(known)}")
        if parameters is not None or any(mark.name == "parametrize" for mark in spec.pytestmark):
            raise NoWinnerError(
                f"tuned({spec.name}): there is no item {name}; those of a parametrized spec are known "
                f"when its file is collected: pytest {os.path.relpath(spec.file)}"
            )
        return None, spec

    def _run_of(self, item: SpecItem | None, spec: Spec, request: pytest.FixtureRequest) -> Run:
        __tracebackhide__ = True
        from modeltune.ground import ModeltuneError
        from modeltune.harness import newest_run

        if item is not None and item in request.session.items:
            if item.run is None and self._folder is not None:
                self.wait_for(item, request)
            if item.run is not None:
                return item.run
            if self._session.has_ended(item.nodeid):
                raise NoWinnerError(
                    f"tuned({spec.name}): {spec.id} has no run in this session; its own item says why"
                )
        store = self._session.options_of(spec.file)["store"]
        try:
            return newest_run(spec, _fixtures(spec, request), store)
        except ModeltuneError as error:
            raise NoWinnerError(
                f"tuned({spec.name}): there is no run of {spec.id} as it is today: {error}\nTo run it: "
                f"{_command(spec)}"
            ) from None

    # between the workers of pytest-xdist

    def tell_begin(self, nodeid: str) -> None:
        """Tell the other workers that a spec has begun here."""
        self._tell(nodeid, "begun", str(os.getpid()))

    def tell_end(self, nodeid: str) -> None:
        """Tell the other workers that a spec has ended here; what it recorded is in the history."""
        run = next((item.run for item in self._session.made if item.nodeid == nodeid), None)
        self._tell(nodeid, "ended", run.id if run else "")

    def _tell(self, nodeid: str, what: str, text: str) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._file(nodeid, "draft")
        draft.write_bytes(text.encode("utf-8", "surrogatepass"))
        draft.replace(self._file(nodeid, what))

    def wait_for(self, item: SpecItem, request: pytest.FixtureRequest | pytest.Item) -> None:
        """Wait until a spec of this session has ended in another worker, and give its run to its item.

        Returns at once where this worker itself has still to run it: then nobody else does. Gives up
        where no worker runs a spec any more.
        """
        from modeltune.histories import open_store
        from modeltune.plugin.xdist_internals import is_still_to_run

        place = request.session.items.index(item)
        ended, begun = self._file(item.nodeid, "ended"), self._file(item.nodeid, "begun")
        idle_since = monotonic()
        while not ended.exists():
            if is_still_to_run(request.config, place):
                return
            if self._is_one_running():
                idle_since = monotonic()
            elif monotonic() > idle_since + PATIENCE_SECONDS:
                return
            if begun.exists() and not _is_running(begun.read_text(encoding="utf-8")):
                break
            time.sleep(POLL_SECONDS)
        if ended.exists() and (run := ended.read_text(encoding="utf-8")):
            with open_store(self._session.options_of(item.spec.file)["store"]) as history:
                item.run = history.run(run)
        else:
            self._session.note_end(item.nodeid)

    def _is_one_running(self) -> bool:
        """Tell whether a worker that is alive has begun a spec and not ended it."""
        assert self._folder is not None  # this is a worker
        return any(
            not begun.with_suffix(".ended").exists()
            and _is_running(begun.read_text(encoding="utf-8"))
            for begun in self._folder.glob("*.begun")
        )

    def _file(self, nodeid: str, what: str) -> Path:
        assert self._folder is not None  # this is a worker
        name = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._folder / f"{name}.{what}"


def uses_tuned(item: pytest.Item) -> bool:
    """Tell a test that asks for the winner of a spec."""
    return FIXTURE in getattr(item, "fixturenames", ())


def with_specs_first(items: Sequence[pytest.Item], specs: Sequence[SpecItem]) -> list[pytest.Item]:
    """Return items in their order, but those that use ``tuned`` behind the last spec."""
    last = max((place for place, item in enumerate(items) if item in specs), default=0)
    moved = [item for item in items[:last] if uses_tuned(item)]
    kept = [item for item in items[: last + 1] if item not in moved]
    return [*kept, *moved, *items[last + 1 :]]


def _fixtures(spec: Spec, request: pytest.FixtureRequest) -> dict[str, object]:
    from modeltune.specs import data_arguments

    return {name: request.getfixturevalue(name) for name in data_arguments(spec.data)}


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        # Of another user; or not written yet.
        return True
    return True


def _command(spec: Spec) -> str:
    """Return the command that runs a spec, from where pytest was called."""
    return f"pytest {os.path.relpath(spec.file)}::{spec.name}"
