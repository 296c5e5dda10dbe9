"""Where trials and refits run: one small interface, so that searching knows no processes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from modeltune.records import Event, RefitTask, TrialTask, Underway

Task = TypeVar("Task")
Result = TypeVar("Result", covariant=True)


class Executor(Protocol[Task, Result]):
    """Take tasks, hand back each with its result as it finishes, in any order.

    A task that takes its process with it comes back too, with a result that says so.
    """

    @property
    def slots(self) -> int:
        """How many tasks can be under way at once."""

    def submit(self, task: Task) -> None:
        """Start a task, or queue it."""

    def wait(self) -> tuple[Task, Result]:
        """Return the next finished task and its result; raises IndexError when none was submitted."""

    def withdraw(self) -> list[Task]:
        """Take back the tasks that have not begun: ``wait`` will not return them."""


def unheard(event: Event) -> None:
    """Be told, and tell nobody."""


def underway(
    task: TrialTask | RefitTask,
    seconds: float,
    epoch: int | None = None,
    value: float | None = None,
) -> Underway:
    """Return the event that a task has begun, or done another epoch."""
    which = task.id if isinstance(task, TrialTask) else task.refit
    return Underway(which, epoch, task.epochs, value, seconds)
