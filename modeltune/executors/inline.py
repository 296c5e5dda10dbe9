"""Run every task in this process, one at a time: for debuggers, coverage and small searches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Inline(Generic[Task, Result]):
    """Run a task when its result is waited for."""

    slots = 1

    def __init__(self, perform: Callable[[Task], Result]):
        self._perform = perform
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.append(task)

    def wait(self) -> tuple[Task, Result]:
        """Run the oldest task and return it with its result."""
        task = self._tasks.popleft()
        return task, self._perform(task)

    def withdraw(self) -> list[Task]:
        """Take back all queued tasks."""
        withdrawn = list(self._tasks)
        self._tasks.clear()
        return withdrawn
