"""What people see of a spec while it runs: its lines, and how far it is, also through pytest-xdist."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modeltune.plugin.live_terminal import Live
    from modeltune.records import Event

CHANNEL = "modeltune_events"
"""What a worker of pytest-xdist knows its way to the controller by."""

HERE = ""
"""Where a spec runs that runs in this process; else the name of a worker."""


class Watching:
    """The hooks that show specs while they run; nothing under -q, or without a terminal reporter."""

    def __init__(self, config: pytest.Config):
        self._config = config
        self._is_xdist_worker = hasattr(config, "workerinput")
        # Taken out: others may make JSON of what is in there.
        self._channel = getattr(config, "workerinput", {}).pop(CHANNEL, None)
        self._spec: str | None = None
        self._live: Live | None = None
        self._of_workers = ExitStack()
        self._hearing = threading.Lock()
        self._have_workers_specs = False

    def tell(self, event: Event) -> None:
        """Show an event of the spec that runs in this process."""
        if self._is_quiet:
            return
        from modeltune.records import RunRecorded
        from modeltune.reports import lines

        if self._is_xdist_worker:
            # The run itself travels with its test's report.
            if not isinstance(event, RunRecorded):
                self._send(self._spec, event)
            return

        if self._live is not None:
            self._live.tell(HERE, event)
        for line in lines(event):
            self._say(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Show how far a spec is until it has run."""
        collection = sys.modules.get("modeltune.plugin.items")
        if collection is None or not isinstance(item, collection.SpecItem) or self._is_quiet:
            return (yield)
        if self._is_xdist_worker:
            self._spec = item.spec.id
            self._send(self._spec, None)
            try:
                return (yield)
            finally:
                self._send(None, None)
        from modeltune.plugin.live_terminal import watched

        with watched(self._config, shown) as self._live:
            if self._live is not None:
                self._live.begin(HERE, item.spec.id)
            try:
                return (yield)
            finally:
                self._live = None

    def _say(self, line: str) -> None:
        """Print a line while an item runs, also without a terminal."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(shown(line), flush=True)

    @property
    def _is_quiet(self) -> bool:
        return self._config.get_verbosity() < 0

    # pytest-xdist

    # Last: until then others find in there what they can make JSON of.
    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker a channel of its own, inside xdist's connection to wherever it runs."""
        if not self._is_quiet and self._config.pluginmanager.hasplugin("terminalreporter"):
            channel = node.gateway.newchannel()
            channel.setcallback(partial(self._hear, node.gateway.id), endmarker=None)
            node.workerinput[CHANNEL] = channel

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let the controller know of specs before xdist tells it that all is collected."""
        collection = sys.modules.get("modeltune.plugin.items")
        if collection is None or self._is_quiet:
            return
        if any(isinstance(item, collection.SpecItem) for item in session.items):
            self._send(None, None)

    def _send(self, spec: str | None, event: Event | None) -> None:
        """Tell the controller that a spec begins, what happens in it, or that nothing runs here."""
        if self._channel is None:
            return
        import pickle

        from modeltune.records import portable

        message = pickle.dumps((spec, event and portable(event)))
        # The controller may be gone: xdist will end this worker, or let it finish.
        with suppress(OSError):
            self._channel.send(message)

    def _hear(self, worker: str, message: bytes | None) -> None:
        """Show what a worker has told, None when it is gone; called in a thread of its channel."""
        import pickle

        spec, event = (None, None) if message is None else pickle.loads(message)
        # Held to the end: meanwhile the terminal cannot be given back.
        with self._hearing:
            self._have_workers_specs |= message is not None
            if self._live is None:
                return
            if spec is None:
                self._live.end(worker)
            elif event is None:
                self._live.begin(worker, spec)
            else:
                self._live.tell(worker, event)
                self._live.say(worker, event)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Show from now on what workers tell, if they have specs.

        Here, since the terminal's writer is nothing to touch from a channel's thread.
        """
        with self._hearing:
            if self._have_workers_specs and self._live is None:
                from modeltune.plugin.live_terminal import watched

                self._live = self._of_workers.enter_context(watched(self._config, shown))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Leave nothing on the screen of what workers have told, however the session ends."""
        try:
            return (yield)
        finally:
            # Workers may go on telling: nobody listens any more.
            with self._hearing:
                self._live = None
                self._of_workers.close()

    # debuggers

    def pytest_enter_pdb(self) -> None:
        """Leave the terminal to the debugger."""
        if self._live is not None:
            self._live.pause()

    def pytest_leave_pdb(self) -> None:
        """Go on showing."""
        if self._live is not None:
            self._live.resume()


def is_github() -> bool:
    """Tell whether this runs in a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def shown(line: str) -> str:
    """Return a line as it is printed: in GitHub Actions nothing of it is obeyed."""
    if not is_github():
        return line
    from modeltune.reports import inert

    return inert(line)
