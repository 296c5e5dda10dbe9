"""Lend an engine that needs no Keras: in a copy of pytest's own process, supervised as those of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from modeltune.ground import Deadline
from modeltune.harness.executors.data_process import start_copy
from modeltune.harness.executors.inline import Inline
from modeltune.harness.executors.interface import discard_event
from modeltune.harness.executors.processes import EndedProcessError, Limits, answer_of
from modeltune.harness.executors.supervision import (
    Limit,
    Process,
    Supervisor,
    allowed_memory,
)
from modeltune.harness.executors.tempfile_internals import lend_temporary_folder
from modeltune.harness.executors.worker import serve_calls
from modeltune.records import Examination, ExamineTask, GivenModels, Listener, Note
from modeltune.specs import Spec


class EngineCopy:
    """An engine in a copy of this process, called like one in this process.

    What a transform of a behaviour gate ruins is replaced by another copy, which loads the data and
    the predictors again.

    Args:
        start: starts a supervised copy; returns it and the pipe of demands.
        end: ends one.
        limits: of what it does.
        tell_notes: tells what the user should know of the supervision.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Process, Connection]],
        end: Callable[[Process], None],
        limits: Limits,
        tell_notes: Callable[[], object],
    ):
        self._start = start
        self._end = end
        self._limits = limits
        self._tell_notes = tell_notes
        self._fingerprints: Mapping[str, str] = {}
        self._process, self._demands = start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            return self._call(self._limits.on_task(), name, *arguments)

        return call

    def load(self, *loaded: object) -> Any:
        """As ``Engine.load``."""
        description, fingerprints = self._call(self._limits.on_data(), "load", *loaded)
        self._fingerprints = dict(fingerprints)  # a run adds those of its models
        return description, fingerprints

    def identify(self) -> Any:
        """As ``Engine.identify``; a behaviour that ruins its process is left to its own gate."""
        try:
            return self._call(self._limits.on_task(), "identify")
        except EndedProcessError:
            self._replace()
            with contextlib.suppress(EndedProcessError):
                given: GivenModels = self._call(self._limits.on_task(), "identify", False)
                return given
            raise

    def examine(self, task: ExamineTask) -> Examination:
        """As ``Engine.examine``; what ruins its process for the second time is a failure."""
        for again in ("", ", for the second time"):
            try:
                examined: Examination = self._call(self._limits.on_task(), "examine", task)
                return examined
            except EndedProcessError as error:
                self._replace()
                end = error.failure
                # Another program may have taken the memory: try once more.
                if again or error.is_condemned:
                    reason = end.reason if error.is_condemned else f"its process {end.reason}"
                    return Examination(failure=replace(end, reason=f"{reason}{again}"))
        raise AssertionError("the second end is a failure")

    def close(self) -> None:
        """End the copy."""
        self._demands.close()
        self._end(self._process)

    def _replace(self) -> None:
        """Have another copy do what is left.

        Raises:
            DataError: the data function returns other data there.
        """
        self.close()
        self._process, self._demands = self._start()
        self._call(self._limits.on_data(), "take", None, self._fingerprints)

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

        def start() -> tuple[Process, Connection]:
            process, demands = start_copy(serve_calls, engine, temporary)
            supervisor.watch(process)
            return process, demands

        copy = EngineCopy(start, supervisor.end, limits, tell_notes)
        stack.callback(copy.close)
        yield copy, Inline(copy.perform, listen)
