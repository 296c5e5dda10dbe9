"""What is asked to be trained and what came of it, as plain data that travels between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from modeltune.runs import Json, Values
from modeltune.validations import Refit

HyperParameters: TypeAlias = Json
"""A search space and values of it: the configuration of a ``keras_tuner.HyperParameters``."""


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no score: one line for tables, and the traceback when it raised."""

    reason: str
    traceback: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A candidate the oracle asks to be trained, by keras-tuner's id; ``parent`` is what it continues."""

    id: str
    hyperparameters: HyperParameters
    epochs: int | None = None
    initial_epoch: int = 0
    parent: str | None = None

    @property
    def values(self) -> Values:
        """The candidate's values, without keras-tuner's own entries."""
        return own_values(self.hyperparameters["values"])


@dataclass(frozen=True)
class TrialTask:
    """One candidate to train during the search.

    ``continue_from`` names the state its parent left in ``keep_state``: weights,
    optimizer variables and random states, so that a promotion goes on as if never
    interrupted.
    """

    id: int
    hyperparameters: HyperParameters
    epochs: int
    initial_epoch: int
    seed: int
    continue_from: Path | None = None
    keep_state: Path | None = None


@dataclass(frozen=True)
class Trained:
    """What one fit left behind: a value per epoch and metric, or the failure that ended it."""

    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    seconds: float
    hyperparameters: HyperParameters
    read: frozenset[str]
    failure: Failure | None = None


@dataclass(frozen=True)
class RefitTask:
    """Refit the best values once and score the result on test; None keeps no weights."""

    refit: Refit
    hyperparameters: HyperParameters
    epochs: int
    weights: Path | None


@dataclass(frozen=True)
class Refitted:
    """The scores of one refit by name, its report tables and fit history, or its failure."""

    scores: Mapping[str, float]
    tables: Mapping[str, Json]
    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    seconds: float
    failure: Failure | None = None


Task: TypeAlias = TrialTask | RefitTask
Result: TypeAlias = Trained | Refitted


def failed(task: Task, failure: Failure, seconds: float) -> Result:
    """Return the result of a task that left none itself."""
    if isinstance(task, RefitTask):
        return Refitted({}, {}, {}, "not trained", seconds, failure)
    # What it has read died with it.
    return Trained({}, "not trained", seconds, task.hyperparameters, frozenset(), failure)


def own_values(values: Values) -> dict[str, bool | int | float | str]:
    """Return the user's values: keras-tuner keeps its own under ``tuner/``."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
