"""Run every task in this process, one at a time: for debuggers, coverage and small searches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from modeltune.engine import followed_by
from modeltune.harness.executors.interface import underway, unheard
from modeltune.records import Listener, RefitTask, TrialTask

Task = TypeVar("Task", bound=TrialTask | RefitTask)
Result = TypeVar("Result")


class Inline(Generic[Task, Result]):
    """Run a task when its result is waited for; ``listen`` is told how far it is meanwhile."""

    slots = 1

    def __init__(self, perform: Callable[[Task], Result], listen: Listener = unheard):
        self._perform = perform
        self._listen = listen
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.append(task)

    def wait(self) -> tuple[Task, Result]:
        """Run the oldest task and return it with its result."""
        task, began = self._tasks.popleft(), time.monotonic()

        def tell(epoch: int, value: float | None) -> None:
            self._listen(underway(task, time.monotonic() - began, epoch, value))

        self._listen(underway(task, 0.0))
        with followed_by(tell):
            return task, self._perform(task)

    def withdraw(self) -> list[Task]:
        """Take back all queued tasks."""
        withdrawn = list(self._tasks)
        self._tasks.clear()
        return withdrawn
