"""Tasks for training processes and their results, as plain data that travels between processes."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from modeltune.ground import error_line, frames_of_others, without_escapes
from modeltune.records.plain_data import Json
from modeltune.records.probes import Counterexample, Probe
from modeltune.records.runs import Phase, Values
from modeltune.records.verdicts import Verdict
from modeltune.specs import Refit

ARCHITECTURE = "refit.architecture.json"
"""The file beside a refit's weights that says how the model is built."""

PREDICTOR = "predictor"
"""The kind of a model that is no Keras model, as its record says."""

ESTIMATOR = "estimator"
"""The kind of a model that its own fit has trained, as scikit-learn's do; ``not_kept`` says why it has no file."""

FITTED = "the estimator's own fit"
"""What trained an estimator, as its trials and refits say: once, without epochs."""

HYPERMODEL_FIT = "HyperModel.fit"
"""What trained a candidate, or each phase of it, by a fit of the author's."""

LARGEST_ARCHITECTURE = 1 << 28
"""Bytes of a file that says how a model is built; a larger one is neither kept nor read."""

EXAMPLES = "refit.examples.json"
"""The file beside a refit's weights with test samples to look at."""

HyperParameters: TypeAlias = Json
"""A search space and values of it: the configuration of a ``keras_tuner.HyperParameters``."""


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no score: one line for tables, and the traceback when it raised.

    ``is_final`` is False when another run may end otherwise, as one with a larger budget.
    """

    reason: str
    traceback: str | None = None
    is_final: bool = True


def failure_of(error: BaseException) -> Failure:
    """Return one line naming the error, and its traceback from the user's code down."""
    frames = traceback.format_list(frames_of_others(error.__traceback__))
    text = without_escapes("".join(frames + traceback.format_exception_only(error)))
    return Failure(error_line(error), f"Traceback (most recent call last):\n{text}")


@dataclass(frozen=True)
class Caution:
    """What a warning check found while a model was built, rehearsed or trained, in words.

    ``check`` is the check's code, such as "search.ranges".
    """

    check: str
    text: str


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
class RehearseTask:
    """A rehearsal of the spec before its search; ``space`` is what is known of the search space.

    ``scratch`` is a folder for keras-tuner's files.
    """

    scratch: Path
    space: HyperParameters = None


@dataclass(frozen=True)
class RehearsalResult:
    """The search space as a rehearsal has found it, and what a build with default values raised.

    ``cautions`` are what is to be warned of before anything is trained. An estimator, which its own fit
    trains, ``has_epochs`` not.
    """

    space: HyperParameters
    failure: Failure | None = None
    cautions: tuple[Caution, ...] = ()
    has_epochs: bool = True


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
class TrialResult:
    """The result of one fit: a value per epoch and metric, or the failure that ended it.

    ``note`` is what else the user should know, ``cautions`` what is to be warned of. ``phases`` are those
    in which a fit of the author's trained, as far as they were logged; ``curve`` is what it returned.
    """

    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    seconds: float
    hyperparameters: HyperParameters
    read: frozenset[str]
    failure: Failure | None = None
    note: str | None = None
    cautions: tuple[Caution, ...] = ()
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True)
class RefitTask:
    """Refit the best values once and score the result on test; None keeps no weights."""

    refit: Refit
    hyperparameters: HyperParameters
    epochs: int
    weights: Path | None


@dataclass(frozen=True)
class RefitResult:
    """The scores of one refit by name, its report tables and fit history, or its failure.

    ``samples`` are its results on each test sample, packed. The refit whose weights are kept also
    has ``checks``, and in ``model`` how it is built; ``note`` is what else the user should know,
    ``cautions`` what is to be warned of, ``unmeasured`` by metric why it has no value. ``thresholds`` are
    by output those it says yes from, where the spec has it decide by any. ``phases`` are its phases one
    by one where it has several: of fine-tuning ``curve`` joins their fit histories, of a fit of the author's
    it is what that returned, of an ensemble that of its first member. ``watched`` are, of a spec with an
    ensemble, ``scores`` and packed ``samples`` of the validation part.
    """

    scores: Mapping[str, float]
    tables: Mapping[str, Json]
    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    seconds: float
    failure: Failure | None = None
    samples: Json = None
    checks: tuple[Verdict, ...] = ()
    model: Mapping[str, Json] = field(default_factory=dict)
    note: str | None = None
    cautions: tuple[Caution, ...] = ()
    unmeasured: Mapping[str, Failure] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    watched: Json = None


@dataclass(frozen=True)
class IdentifyTask:
    """Load the models that are given, and tell which they are.

    Args:
        with_behaviours: whether the behaviours that gates probe are tried once.
    """

    with_behaviours: bool = True


@dataclass(frozen=True)
class GivenModels:
    """A digest of the architecture and weights of each given model, or why there are none.

    ``notes`` are what the user should know of them, ``cautions`` what is to be warned of.
    """

    digests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True)
class KeptModel:
    """A model of an earlier run, by its files: how it is built, and its weights.

    ``thresholds`` are by output those it says yes from, where its run chose any.
    """

    architecture: Path
    weights: Path
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExamineTask:
    """What to find out about the tuned model besides its scores.

    Args:
        hyperparameters, weights: the tuned model.
        known: by a behaviour's key the counter-examples of earlier runs, tried first.
        rescore: by name the models to be scored on today's test part.
        faster_than: the model whose latency it is held against, None when no gate asks.
        behaviours: the behaviours to probe, by what they demand.
        thresholds: by output those the tuned model says yes from, where any was chosen or declared.
        exports: by the name of each export the file to write.
    """

    hyperparameters: HyperParameters
    weights: Path
    known: Mapping[str, Sequence[Counterexample]] = field(default_factory=dict)
    rescore: Mapping[str, KeptModel] = field(default_factory=dict)
    faster_than: KeptModel | None = None
    behaviours: tuple[str, ...] = ()
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    exports: Mapping[str, Path] = field(default_factory=dict)

    def parts(self) -> list[ExamineTask]:
        """Return one task for each thing that this one is to find out."""
        nothing = replace(self, rescore={}, faster_than=None, behaviours=(), exports={})
        parts = [replace(nothing, behaviours=(demand,)) for demand in self.behaviours]
        parts += [replace(nothing, rescore={name: kept}) for name, kept in self.rescore.items()]
        if self.faster_than is not None:
            parts.append(replace(nothing, faster_than=self.faster_than))
        parts += [replace(nothing, exports={name: path}) for name, path in self.exports.items()]
        return parts


@dataclass(frozen=True)
class RescoreResult:
    """A kept model on today's test part, or why it could not be scored."""

    scores: Mapping[str, float] = field(default_factory=dict)
    samples: Json = None
    problem: str | None = None


@dataclass(frozen=True)
class ExportResult:
    """What the file of an export scores on test by its own runtime, or why there is none.

    Args:
        file: where it was written, None where it was not.
        runtime: what ran it, with its version.
        scores: by metric.
        samples: its results on each test sample, packed.
        latency_ratio: the time of one sample by it over that by the tuned model, with its 90 % interval.
        unmeasured: by metric why it has no value.
        failure: why the export was not made, or not measured.
    """

    file: Path | None = None
    runtime: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    samples: Json = None
    latency_ratio: tuple[float, float, float] | None = None
    unmeasured: Mapping[str, Failure] = field(default_factory=dict)
    failure: Failure | None = None


@dataclass(frozen=True)
class Examination:
    """The result of an examination; ``latency_ratio`` with its 90 % interval, or why there is none.

    ``exports`` are by name what became of each. ``notes`` say what a library lacks, and what was done instead; ``failure`` why there is no
    result at all.
    """

    probed: Mapping[str, Probe] = field(default_factory=dict)
    rescored: Mapping[str, RescoreResult] = field(default_factory=dict)
    latency_ratio: tuple[float, float, float] | str | None = None
    exports: Mapping[str, ExportResult] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


Task: TypeAlias = TrialTask | RefitTask | RehearseTask | ExamineTask | IdentifyTask
Result: TypeAlias = TrialResult | RefitResult | RehearsalResult | Examination | GivenModels


def failure_result(task: Task, failure: Failure, seconds: float) -> Result:
    """Return the result of a task that ended without one, as when its process died."""
    if isinstance(task, RefitTask):
        return RefitResult({}, {}, {}, "not trained", seconds, failure)
    if isinstance(task, RehearseTask):
        return RehearsalResult(task.space, failure)
    if isinstance(task, ExamineTask):
        return Examination(failure=failure)
    if isinstance(task, IdentifyTask):
        return GivenModels(failure=failure)
    # Which hyperparameters it read is not known.
    return TrialResult({}, "not trained", seconds, task.hyperparameters, frozenset(), failure)


def own_values(values: Values) -> dict[str, bool | int | float | str]:
    """Return the user's values: keras-tuner keeps its own under ``tuner/``."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
