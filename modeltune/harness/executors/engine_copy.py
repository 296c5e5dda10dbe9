"""Lend an engine that needs no Keras: in a copy of pytest's own process, supervised as those of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from modeltune.ground import Deadline
from modeltune.harness.executors.data_process import start_copy
from modeltune.harness.executors.inline import Inline
from modeltune.harness.executors.interface import discard_event
from modeltune.harness.executors.processes import Limits, answer_of
from modeltune.harness.executors.supervision import (
    Limit,
    Process,
    Supervisor,
    allowed_memory,
)
from modeltune.harness.executors.tempfile_internals import lend_temporary_folder
from modeltune.harness.executors.worker import serve_calls
from modeltune.records import Listener, Note
from modeltune.specs import Spec


class EngineCopy:
    """An engine in a copy of this process, called like one in this process."""

    def __init__(
        self,
        process: Process,
        demands: Connection,
        limits: Limits,
        tell_notes: Callable[[], object],
    ):
        self._process = process
        self._demands = demands
        self._limits = limits
        self._tell_notes = tell_notes

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            return self._call(self._limits.on_task(), name, *arguments)

        return call

    def load(self, *loaded: object) -> Any:
        """As ``Engine.load``."""
        return self._call(self._limits.on_data(), "load", *loaded)

    def _call(self, limit: Limit, name: str, *arguments: object) -> Any:
        self._demands.send((name, arguments))
        return answer_of(self._process, name, limit, self._tell_notes)


@contextlib.contextmanager
def lend_engine_copy(
    spec: Spec, engine: object, listen: Listener = discard_event, deadline: Deadline = Deadline()
) -> Iterator[tuple[EngineCopy, Inline[Any, Any]]]:
    """Lend an engine in a copy of this process, and the executor of its tasks.

    Args:
        spec: whose limits hold.
        engine: has loaded nothing yet.
        listen: told what the user should know of the supervision.
        deadline: when the run has to be done.
    """
    limits = Limits(spec.search.trial_minutes, spec.search.data_minutes, deadline)
    supervisor = Supervisor(allowed_memory(spec.search.trial_gigabytes))

    def tell_notes() -> None:
        for note in supervisor.notes():
            listen(Note(note))

    with contextlib.ExitStack() as stack:
        supervisor.open()
        stack.callback(supervisor.close)
        temporary = stack.enter_context(lend_temporary_folder())
        process, demands = start_copy(serve_calls, engine, temporary)
        supervisor.watch(process)
        stack.callback(supervisor.end, process)
        stack.callback(demands.close)
        copy = EngineCopy(process, demands, limits, tell_notes)
        yield copy, Inline(copy.perform, listen)
