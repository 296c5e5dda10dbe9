"""Show a spec while it runs: its lines and its progress, also from workers of pytest-xdist."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modeltune.ground import MissingNameError
    from modeltune.plugin.live_terminal import LiveDisplay
    from modeltune.plugin.xdist_internals import Channel
    from modeltune.records import Event

HERE = ""
"""The source of a spec that runs in this process; elsewhere it is the name of a worker."""


SMOKE = ("modeltune.smoke", "true")
"""The property of a testcase that says that its spec was only exercised, and no gate enforced."""


class LiveHooks:
    """The hooks that show specs while they run; they show nothing under -q."""

    def __init__(self, config: pytest.Config):
        self._config = config
        self._is_xdist_worker = is_xdist_worker(config)
        self._channel: Channel | None = None
        if self._is_xdist_worker:
            from modeltune.plugin.xdist_internals import take_channel

            self._channel = take_channel(config)
        self._spec: str | None = None
        self._display: LiveDisplay | None = None
        self._display_of_workers = ExitStack()
        self._receiving = threading.Lock()
        self._have_workers_specs = False
        self.notes: dict[str, list[str]] = {}

    def note(self, missing: MissingNameError, instead: str) -> None:
        """Have the session say at its end which name a library lacks, and what is done instead."""
        texts = self.notes.setdefault(str(missing), [])
        if instead not in texts:
            texts.append(instead)

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

        if self._display is not None:
            self._display.tell(HERE, event)
        for line in lines(event):
            self._print(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Show the progress of a spec while it runs."""
        items = sys.modules.get("modeltune.plugin.items")
        if items is None or not isinstance(item, items.SpecItem) or self._is_quiet:
            return (yield)
        if self._is_xdist_worker:
            self._spec = item.spec.id
            self._send(self._spec, None)
            try:
                return (yield)
            finally:
                self._send(None, None)
        with ExitStack() as stack:
            self._display = self._open_display(stack)
            if self._display is not None:
                self._display.begin(HERE, item.spec.id)
            try:
                return (yield)
            finally:
                self._display = None

    def _open_display(self, stack: ExitStack) -> LiveDisplay | None:
        """Return a display on the terminal that ends with the stack; None if there can be none."""
        from modeltune.ground import MissingNameError
        from modeltune.plugin.live_terminal import display

        try:
            return display(self._config, printable, stack)
        except MissingNameError as missing:
            self.note(missing, "no progress is drawn")
            return None

    def _print(self, line: str) -> None:
        """Print a line while an item runs, also without a terminal."""
        from modeltune.ground import MissingNameError
        from modeltune.plugin.pytest_internals import begin_line

        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:
            return
        with self._without_capture():
            try:
                begin_line(reporter)
            except MissingNameError as missing:
                self.note(missing, "lines of a running spec may begin behind others")
            reporter.write_line(printable(line), flush=True)

    def _without_capture(self) -> AbstractContextManager[None]:
        """Return a context in which what is printed is not captured."""
        from modeltune.ground import MissingNameError
        from modeltune.plugin.pytest_internals import capture_disabled

        try:
            return capture_disabled(self._config)
        except MissingNameError as missing:
            self.note(missing, "lines of a running spec go to its captured output")
            return nullcontext()

    @property
    def _is_quiet(self) -> bool:
        return self._config.get_verbosity() < 0

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was done in a plainer way because a library has changed."""
        for missing, texts in self.notes.items():
            line = f"modeltune: {missing}: {', '.join(texts)}"
            terminalreporter.write_line(printable(line), yellow=True)

    # pytest-xdist

    # Last: other plugins make JSON of what is handed to the worker, and a channel is no JSON.
    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker a channel through which it reports what happens in its specs."""
        if self._is_quiet or not self._config.pluginmanager.hasplugin("terminalreporter"):
            return
        from modeltune.ground import MissingNameError
        from modeltune.plugin.xdist_internals import open_channel

        try:
            open_channel(node, self._receive)
        except MissingNameError as missing:
            self.note(missing, "no progress is shown of specs in workers")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Report that this worker has specs, before xdist reports that it has collected them."""
        items = sys.modules.get("modeltune.plugin.items")
        if items is None or self._is_quiet:
            return
        if any(isinstance(item, items.SpecItem) for item in session.items):
            self._send(None, None)

    def _send(self, spec: str | None, event: Event | None) -> None:
        """Report to the controller that a spec begins, what happens in it, or that none runs here."""
        if self._channel is None:
            return
        import pickle

        from modeltune.records import portable

        message = pickle.dumps((spec, event and portable(event)))
        # The controller may be gone: xdist will end this worker, or let it finish.
        with suppress(OSError):
            self._channel.send(message)

    def _receive(self, worker: str, message: bytes | None) -> None:
        """Show what a worker reports; None when it is gone. Called in a thread of its channel."""
        import pickle

        spec, event = (None, None) if message is None else pickle.loads(message)
        # Locked to the end, so that the terminal is not given back meanwhile.
        with self._receiving:
            self._have_workers_specs |= message is not None
            if self._display is None:
                return
            if spec is None:
                self._display.end(worker)
            elif event is None:
                self._display.begin(worker, spec)
            else:
                self._display.tell(worker, event)
                self._display.say(worker, event)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Begin to show what workers report, if they have specs.

        Not earlier: a channel's thread must not touch the terminal's writer.
        """
        with self._receiving:
            if self._have_workers_specs and self._display is None:
                self._display = self._open_display(self._display_of_workers)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Give the terminal back at the end, however the session ends."""
        try:
            return (yield)
        finally:
            # Workers may still report: nobody listens any more.
            with self._receiving:
                self._display = None
                self._display_of_workers.close()

    # debuggers

    def pytest_enter_pdb(self) -> None:
        """Leave the terminal to the debugger."""
        if self._display is not None:
            self._display.pause()

    def pytest_leave_pdb(self) -> None:
        """Show specs again."""
        if self._display is not None:
            self._display.resume()


def is_xdist_worker(config: pytest.Config) -> bool:
    """Tell a worker of pytest-xdist from its controller, and from a session without xdist."""
    xdist = sys.modules.get("xdist")
    return xdist is not None and bool(xdist.is_xdist_worker(SimpleNamespace(config=config)))


def is_github() -> bool:
    """Tell whether this runs in a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def printable(line: str) -> str:
    """Return a line as it is printed: GitHub Actions then obeys nothing in it."""
    if not is_github():
        return line
    from modeltune.reports import inert

    return inert(line)
