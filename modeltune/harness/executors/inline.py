"""The executor in this process, one task at a time: for debuggers, coverage and small searches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from modeltune.engine import report_epochs_to
from modeltune.ground import copies_end_here, end_copy_of, monotonic
from modeltune.harness.executors.interface import discard_event, underway
from modeltune.records import Listener, RefitTask, TrialTask

_Task = TypeVar("_Task", bound=TrialTask | RefitTask)
_Result = TypeVar("_Result")


class Local:
    """An engine in this process, called like one in another: copies of the process end in the call."""

    def __init__(self, engine: Any):
        self._engine = engine

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            with copies_end_here():
                return getattr(self._engine, name)(*arguments)

        return call


class Inline(Generic[_Task, _Result]):
    """Run a task when ``wait`` is called; ``listen`` is called with its progress meanwhile."""

    slots = 1

    def __init__(self, perform: Callable[[_Task], _Result], listen: Listener = discard_event):
        self._perform = perform
        self._listen = listen
        self._tasks: deque[_Task] = deque()

    def submit(self, task: _Task) -> None:
        """Queue a task."""
        self._tasks.append(task)

    def wait(self) -> tuple[_Task, _Result]:
        """Run the oldest task and return it with its result."""
        task, began = self._tasks.popleft(), monotonic()

        process = os.getpid()

        def tell(epoch: int, value: float | None) -> None:
            end_copy_of(process)
            self._listen(underway(task, monotonic() - began, epoch, value))

        self._listen(underway(task, 0.0))
        with copies_end_here(), report_epochs_to(tell):
            return task, self._perform(task)

    def withdraw(self) -> list[_Task]:
        """Return the queued tasks, and forget them."""
        withdrawn = list(self._tasks)
        self._tasks.clear()
        return withdrawn

    def hold_trials_to_budget(self) -> None:
        """Do nothing: in this process nothing ends a trial."""
