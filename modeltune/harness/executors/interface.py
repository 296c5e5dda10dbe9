"""The interface of executors, which run trials and refits: a search knows no processes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from modeltune.records import Event, RefitTask, TaskProgress, TrialTask

_Task = TypeVar("_Task")
_Result = TypeVar("_Result", covariant=True)


class Executor(Protocol[_Task, _Result]):
    """Run tasks, and return each with its result when it has finished, in any order.

    A task that kills its process is returned too, with a result that says so.
    """

    @property
    def slots(self) -> int:
        """How many tasks can run at once."""

    def submit(self, task: _Task) -> None:
        """Start a task, or queue it."""

    def wait(self) -> tuple[_Task, _Result]:
        """Return the next finished task and its result.

        Raises:
            IndexError: no task was submitted.
        """

    def withdraw(self) -> list[_Task]:
        """Return the tasks that have not begun, and forget them: ``wait`` will not return them."""

    def hold_trials_to_budget(self) -> None:
        """Let no trial overdraw the budget from now on: one has a score, by which a run can be judged."""


def discard_event(event: Event) -> None:
    """Discard an event: the listener where nobody listens."""


def underway(
    task: TrialTask | RefitTask,
    seconds: float,
    epoch: int | None = None,
    value: float | None = None,
) -> TaskProgress:
    """Return the event that a task has begun, or has finished another epoch."""
    which = task.id if isinstance(task, TrialTask) else task.refit
    return TaskProgress(which, epoch, task.epochs, value, seconds)
