"""What happened: trials, scores and verdicts of one run, to and from strict JSON."""

from __future__ import annotations

import dataclasses
import enum
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from modeltune.specs import Outcome, Verdict

SCHEMA = 1
"""The number ``report.json`` carries; it changes when a key changes its meaning."""

Json: TypeAlias = Any
"""None, bool, int, finite float, str, and lists and string-keyed dicts of these."""

Values: TypeAlias = Mapping[str, bool | int | float | str]
"""Hyperparameter values by name."""


class TrialStatus(enum.Enum):
    """How a trial ended."""

    COMPLETED = "completed"
    FAILED = "failed"


class RunStatus(enum.Enum):
    """How a run ended; only PASSED is green."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Trial:
    """One candidate trained during the search.

    ``score`` is the objective at ``best_epoch`` of this trial's own epochs, None when
    it failed; ``curve`` holds one value per epoch trained, per logged metric; ``epochs``
    counts the epochs trained here, after ``initial_epoch`` inherited from ``parent``.
    ``reason`` says in one line why it failed, ``traceback`` where: it is None when nothing
    was raised, as when the loss was not finite or the process died.
    """

    id: int
    status: TrialStatus
    values: Values
    score: float | None
    reason: str | None
    epochs: int
    initial_epoch: int
    parent: int | None
    best_epoch: int | None
    seconds: float
    seed: int
    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    traceback: str | None = None


@dataclass(frozen=True)
class Scores:
    """A metric's values over refits, in the order of the refits."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean over refits; NaN when not all are finite."""
        return float(statistics.mean(self.values)) if self.is_finite else math.nan

    @property
    def std(self) -> float | None:
        """The sample standard deviation (ddof 1) over refits; None of a single refit."""
        if len(self.values) < 2:
            return None
        try:
            return statistics.stdev(self.values) if self.is_finite else math.nan
        except OverflowError:
            return math.inf

    @property
    def is_finite(self) -> bool:
        """Whether there are values, and none is NaN or infinite."""
        return bool(self.values) and all(math.isfinite(value) for value in self.values)


@dataclass(frozen=True)
class Best:
    """The winner of the search, by its own values."""

    trial: int
    score: float
    values: Values


@dataclass(frozen=True)
class Durations:
    """Seconds spent per phase; 0 for a phase that was not reached."""

    data: float = 0.0
    search: float = 0.0
    validation: float = 0.0

    @property
    def total(self) -> float:
        """The seconds of all phases."""
        return self.data + self.search + self.validation


@dataclass(frozen=True)
class Artifact:
    """A file kept with a run: path relative to the store's folder, sha256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int
    refit: int


@dataclass(frozen=True)
class Run:
    """One spec searched, validated and judged; everything the history keeps of it.

    ``checks`` are the verdicts on its data and on the tuned model that no gate asks for;
    ``artifact`` are the tuned model's weights, ``files`` what else is kept: its
    "architecture", the "samples" that regression gates compare, and "examples" to look at.
    ``baseline`` is the id of the accepted run it was compared with. ``model`` says how the
    tuned model is built; ``strict`` whether open questions of gates were red.
    """

    id: str
    created: str
    spec: str
    file: str
    status: RunStatus
    objective: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    best: Best | None = None
    trials: tuple[Trial, ...] = ()
    search: Mapping[str, Json] = field(default_factory=dict)
    fit: Mapping[str, Json] = field(default_factory=dict)
    validation: Mapping[str, Json] = field(default_factory=dict)
    durations: Durations = Durations()
    data: Mapping[str, Json] = field(default_factory=dict)
    task_report: Mapping[str, Json] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Json] = field(default_factory=dict)
    artifact: Artifact | None = None
    files: Mapping[str, Artifact] = field(default_factory=dict)
    checks: tuple[Verdict, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    cached: bool = False
    baseline: str | None = None
    model: Mapping[str, Json] = field(default_factory=dict)
    strict: bool = False

    @property
    def passed(self) -> bool:
        """Whether the run is green."""
        return self.status is RunStatus.PASSED

    @property
    def completed_trials(self) -> tuple[Trial, ...]:
        """The trials that ended with a score."""
        return tuple(trial for trial in self.trials if trial.status is TrialStatus.COMPLETED)


def to_json(run: Run) -> dict[str, Json]:
    """Return the run as strict JSON data.

    Non-finite numbers become "nan", "inf" and "-inf"; a hyperparameter's become
    {"float": "inf"}, since "inf" may be another of its values.
    """
    data = {
        f.name: plain(getattr(run, f.name)) for f in dataclasses.fields(run) if f.name != "scores"
    }
    # Where a text "inf" may stand beside the number.
    if run.best:
        data["best"]["values"] = _plain_values(run.best.values)
    for trial, recorded in zip(run.trials, data["trials"], strict=True):
        recorded["values"] = _plain_values(trial.values)
    data["scores"] = {
        name: plain({"mean": scores.mean, "std": scores.std, "values": scores.values})
        for name, scores in run.scores.items()
    }
    return data


def from_json(data: Mapping[str, Json]) -> Run:
    """Return the run that ``to_json`` wrote, equal in every field."""
    best, artifact = data["best"], data["artifact"]
    return Run(
        **{
            **data,
            "status": RunStatus(data["status"]),
            "scores": {
                name: Scores(tuple(number(v) for v in scores["values"]))
                for name, scores in data["scores"].items()
            },
            "verdicts": tuple(verdict(each) for each in data["verdicts"]),
            "best": best and Best(best["trial"], number(best["score"]), _values(best["values"])),
            "trials": tuple(_trial(trial) for trial in data["trials"]),
            "durations": Durations(**{k: number(v) for k, v in data["durations"].items()}),
            "artifact": artifact and Artifact(**artifact),
            # Of a report written before these were kept there are none.
            "files": {name: Artifact(**file) for name, file in data.get("files", {}).items()},
            "checks": tuple(verdict(each) for each in data.get("checks", ())),
            "advice": tuple(data.get("advice", ())),
            "notes": tuple(data["notes"]),
        }
    )


def plain(value: Any) -> Json:
    """Return value as strict JSON data: enums by value, dataclasses as dicts, tuples as lists."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in a run record")


def verdict(data: Mapping[str, Json]) -> Verdict:
    """Return the verdict that ``plain`` wrote."""
    return Verdict(
        data["gate"],
        Outcome(data["outcome"]),
        _optional(data["measured"]),
        _optional(data["bound"]),
        data["reason"],
        data.get("details", {}),
    )


def _trial(data: Mapping[str, Json]) -> Trial:
    return Trial(
        **{
            **data,
            "status": TrialStatus(data["status"]),
            "values": _values(data["values"]),
            "score": _optional(data["score"]),
            "seconds": number(data["seconds"]),
            "curve": {
                name: tuple(number(v) for v in values) for name, values in data["curve"].items()
            },
        }
    )


def _plain_values(values: Values) -> dict[str, Json]:
    return {
        name: {"float": str(value)}
        if isinstance(value, float) and not math.isfinite(value)
        else plain(value)
        for name, value in values.items()
    }


def _values(values: Mapping[str, Json]) -> Values:
    return {
        name: float(value["float"]) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def number(value: float | str) -> float:
    """Return the number ``plain`` wrote: "nan", "inf" and "-inf" are numbers again."""
    return float(value) if isinstance(value, str) else value


def _optional(value: float | str | None) -> float | None:
    return None if value is None else number(value)
