"""What happened: trials, scores and verdicts of one run, whole or at a glance."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from modeltune.ground import Word, in_a_line, later
from modeltune.records.plain_data import Json
from modeltune.records.verdicts import Verdict

Values: TypeAlias = Mapping[str, bool | int | float | str]
"""Hyperparameter values by name."""


class TrialStatus(Word):
    """How a trial ended."""

    COMPLETED = "completed"
    FAILED = "failed"


class RunStatus(Word):
    """How a run ended; only PASSED is green.

    CRASHED: its process was gone before it could record the run; a later session found that out.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Phase:
    """One phase of a refit or trial that has several: its epochs, its own fit history, and what trained it.

    ``from_layer`` and ``learning_rate`` are those of fine-tuning, None of the phase before.
    """

    name: str
    epochs: int
    seconds: float
    trained_by: str
    curve: Mapping[str, tuple[float, ...]]
    from_layer: str | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Trial:
    """One candidate trained during the search.

    ``score`` is the objective at ``best_epoch`` of this trial's own epochs, None when
    it failed; ``curve`` holds one value per epoch trained, per logged metric; ``epochs``
    counts the epochs trained here, after ``initial_epoch`` inherited from ``parent``.
    ``reason`` says in one line why it failed, ``traceback`` where: it is None when nothing
    was raised, as when the loss was not finite or the process died. ``phases`` are those in which a fit
    of the author's trained, where it called ``model.fit`` several times.
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
    phases: tuple[Phase, ...] = ()

    def __repr__(self) -> str:
        facts = [self.status.value]
        if self.score is not None:
            facts.append(f"score {self.score:.6g}")
        if self.reason:
            facts.append(in_a_line(self.reason, 120))
        facts += [f"{in_a_line(n)}={in_a_line(str(v))}" for n, v in list(self.values.items())[:6]]
        return f"<Trial {self.id}: {', '.join(facts)}>"


@dataclass(frozen=True)
class Scores:
    """A metric's values over refits, in the order of the refits."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        if not self.values:
            return "not measured"
        std = self.std
        return f"{self.mean:.4g}" if std is None else f"{self.mean:.4g} ± {std:.2g}"

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
    """The winner of the search, by its own values; without a search, the default values.

    ``trial`` and ``score`` are None where nothing was searched.
    """

    trial: int | None
    score: float | None
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

    def __repr__(self) -> str:
        return f"<Run {in_a_line(self.id)} of {in_a_line(self.spec)}: {self.in_short}>"

    def _repr_html_(self) -> str:
        html: str = later("harness", "notebook_view")(self)
        return html

    @property
    def in_short(self) -> str:
        """In a few words how it ended, what it measured and what its gates came to."""
        facts = [self.status.value + (" (cached)" if self.cached else "")]
        metric = self.objective.partition(" ")[2].removeprefix("val_")
        if metric in self.scores:
            facts.append(f"{in_a_line(metric)} {self.scores[metric]}")
        outcomes = Counter(verdict.outcome.value for verdict in self.verdicts)
        if outcomes:
            counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
            facts.append(f"gates: {counts}")
        if self.error:
            facts.append(in_a_line(self.error, 200))
        return ", ".join(facts)

    @property
    def protocol(self) -> str | None:
        """The address of the protocol that its spec shares; None of one without a name, or of an earlier modeltune."""
        return self.fingerprints.get("protocol")

    @property
    def passed(self) -> bool:
        """Whether the run is green."""
        return self.status is RunStatus.PASSED

    @property
    def completed_trials(self) -> tuple[Trial, ...]:
        """The trials that ended with a score."""
        return tuple(trial for trial in self.trials if trial.status is TrialStatus.COMPLETED)


@dataclass(frozen=True)
class Summary:
    """One row of the history; ``seq`` is the order of recording, whatever the clock said."""

    seq: int
    id: str
    created: str
    spec: str
    file: str
    status: RunStatus
    objective: str
    best_score: float | None
    durations: Durations
    git_revision: str | None
    git_dirty: bool | None
    error: str | None
    cached: bool
    fingerprints: Mapping[str, str]
    scores: Mapping[str, Scores]
