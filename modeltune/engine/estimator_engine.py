"""Search and validate estimators that follow scikit-learn's conventions, as Keras models are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.data import LoadedData, Part, class_labels
from modeltune.engine.fit import (
    TWO_KINDS,
    Estimator,
    OtherKindBuild,
    average_of,
    budget_of,
    caution,
    fit_estimator,
    inputs_for,
    is_estimator,
    no_budget,
    not_finite,
    note_on_fields,
    refusals,
    surroundings,
    take_cautions,
)
from modeltune.engine.oracles import Oracle, ReadHyperParameters, explore, other_choices
from modeltune.engine.probe import (
    PredictorSource,
    behaviour_problems,
    probe,
    what_hypothesis_lacks,
    without_inputs,
)
from modeltune.engine.score import (
    GIVEN,
    GivenPredictor,
    check_kept_estimator,
    digest_of_predictor,
    is_keras_model,
    kept_points,
    load_estimator,
    parts_of,
    parts_of_estimator,
    predictor_checks,
    ratio_of_seconds,
    rehearse_predictor,
    score_outputs,
    score_part_of,
    warn_of_weak_slices,
    write_estimator,
    write_examples,
    write_predictions,
)
from modeltune.ground import HistoryError, SpecError, error_line, monotonic
from modeltune.records import (
    ARCHITECTURE,
    ESTIMATOR,
    EXAMPLES,
    FITTED,
    Examination,
    ExamineTask,
    Failure,
    GivenModels,
    HyperParameters,
    Json,
    KeptModel,
    Probe,
    RefitResult,
    RefitTask,
    RehearsalResult,
    RescoreResult,
    TrialResult,
    TrialTask,
    Values,
    failure_of,
    members_of,
)
from modeltune.specs import Behaviour, Hyperband, KFold, Refit, Spec, Validation

FEW = 256
"""Rows of train that an estimator is rehearsed with, of each class some."""

MOST_CHOICES = 50
"""How many choices of a spec are built at most, to see what its estimators are made of."""

TIMED = 32
"""Samples that two estimators predict in turns."""


class EstimatorEngine:
    """What an engine does with a spec whose build function returns an estimator, or that is given one in a file.

    Args:
        data: of the run.
        prepared: as ``Engine.prepared``.
    """

    def __init__(
        self, data: LoadedData, prepared: Callable[[Refit | None, Validation | None], Spec]
    ):
        self._data = data
        self._prepared = prepared
        self._spec = prepared(None, None)
        self._own = self._spec.with_file(None)

    def rehearse(self, oracle: Oracle) -> RehearsalResult:
        """Build every conditional branch, and fit the default candidate to a few rows.

        Raises:
            SpecError: the spec or its data are not for an estimator, or the objective or a gate names a
                metric that it does not have; every problem found is listed.
        """
        take_cautions()  # of what ended before it could be told of
        spec, failure, is_first, has_epochs = self._spec, None, True, False
        for hp in explore(spec.model, oracle):
            try:
                with surroundings(spec, spec.search.seed):
                    estimator = _built(spec, hp)
                    if is_first:
                        has_epochs = self._may_be_of_keras(hp)
                        self._try(estimator, has_epochs)
            except SpecError:
                raise
            except OtherKindBuild:
                if is_first:
                    raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a build raises is its failure
                oracle.learn(hp)
                failure = failure_of(error)
                break
            finally:
                for one in hp.cautions(spec.search):
                    caution(one.check, one.text)
            is_first = False
        return RehearsalResult(
            oracle.space.get_config(), failure, take_cautions(), has_epochs=has_epochs
        )

    def train_trial(self, task: TrialTask) -> TrialResult:
        """Fit one candidate, and score it on validation; whatever it raises becomes its failure.

        Under Hyperband it is fitted anew for the share of its budget parameter that the epochs of the
        trial are of the longest one.
        """
        started, spec = monotonic(), self._spec
        take_cautions()
        hp = ReadHyperParameters.of(task.hyperparameters)
        curve: dict[str, tuple[float, ...]] = {}
        failure: Failure | None = None
        heard: list[str] = []
        try:
            with surroundings(spec, task.seed):
                estimator = _built(spec, hp)
                budget = None
                if isinstance(spec.search, Hyperband):
                    budget = Fraction(task.epochs, spec.search.max_epochs)
                heard = fit_estimator(spec, estimator, self._data.train, task.seed, budget)
                curve = _curve(spec, estimator, self._data.validation)
                failure = not_finite(spec, curve)
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a candidate raises is its own failure
            failure = failure_of(error)
        return TrialResult(
            curve,
            FITTED if curve else "not trained",
            monotonic() - started,
            hp.get_config(),
            frozenset(hp.read),
            failure,
            note="; ".join(heard) or None,
            cautions=(*hp.cautions(spec.search), *take_cautions()),
        )

    def train_refit(self, task: RefitTask) -> RefitResult:
        """Fit the best values to this refit's part of the data, and score the estimator on test."""
        started, spec, seed = monotonic(), self._prepared(task.refit, None), task.refit.seed
        take_cautions()
        hp = ReadHyperParameters.of(task.hyperparameters)
        try:
            loaded = _of_refit(spec, self._data, task.refit)
            estimator, heard = _fitted(spec, hp, loaded.train, seed)
            with surroundings(spec, seed):
                scored = self._scored(spec, estimator, loaded, task.weights)
                curve = _curve(spec, estimator, loaded.validation)
                if spec.validation.ensemble:
                    scored = replace(scored, watched=_on_watched(spec, estimator, loaded, curve))
        except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
            seconds = monotonic() - started
            return RefitResult({}, {}, {}, "not trained", seconds, failure_of(error))
        on_fields = note_on_fields(spec) if task.weights is not None else None
        notes = [*heard, scored.note, on_fields]
        return replace(
            scored,
            scores={**scored.scores, **_of_fold(spec, curve)},
            curve=curve,
            trained_by=FITTED,
            seconds=monotonic() - started,
            failure=not_finite(spec, curve),
            note="; ".join(filter(None, notes)) or None,
            cautions=(*hp.cautions(spec.search), *take_cautions()),
        )

    def identify_file(self, with_behaviours: bool) -> GivenModels:
        """Load the estimator in the given file, and tell which it is; try behaviours once, if at all.

        Raises:
            SpecError: it cannot be loaded, or does not fit the data or the gates.
        """
        given = self._given()
        rehearse_predictor(given, self._data)
        if with_behaviours and (problems := self._behaviour_problems(given)):
            raise given.refusal(_listed(problems))
        digest = digest_of_predictor(given, self._data)
        note = f"the estimator is given, in {self._spec.given_file}; nothing was trained"
        return GivenModels((digest,), (note,))

    def score_file(self, task: RefitTask) -> RefitResult:
        """Score the estimator in the given file on test, and keep it, as a refit is."""
        started = monotonic()
        try:
            result = self._scored(self._spec, self._given().model, self._data, task.weights)
        except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
            seconds = monotonic() - started
            return RefitResult({}, {}, {}, GIVEN, seconds, failure_of(error))
        return replace(result, seconds=monotonic() - started)

    def _given(self) -> GivenPredictor:
        spec = self._spec
        assert spec.given_file is not None  # else nothing is asked of it
        try:
            model = load_estimator(spec.given_file, self._parts_of_own())
        except HistoryError as error:
            raise SpecError(
                f"{spec.file}:{spec.line}: {spec.name}: {spec.given_file.name}: {error}"
            ) from error
        return GivenPredictor(model, spec, True)

    def _parts_of_own(self) -> set[str]:
        """Return what the estimators are made of that the spec itself builds or is given, for any choice.

        That of a Keras model is nothing: an estimator beside it is made of what skops takes for harmless.
        """
        parts: set[str] = set()
        waiting, seen = [dict[str, Any]()], set[tuple[str, Any]]()
        while waiting:
            hp = ReadHyperParameters()
            hp.values = waiting.pop(0)
            try:
                with surroundings(self._own, self._own.search.seed):
                    estimator = _built(self._own, hp)
                    if not self._own.is_given:
                        self._fitted_to_few(estimator)
                parts |= set(parts_of_estimator(estimator))
            except (Exception, OtherKindBuild):  # noqa: BLE001  of the author's; another choice may do
                pass
            for one in hp.space:
                for value in getattr(one, "values", ()):
                    if (one.name, value) not in seen and len(seen) < MOST_CHOICES:
                        seen.add((one.name, value))
                        waiting.append({**hp.values, one.name: value})
        return parts

    def examine(self, task: ExamineTask) -> Examination:
        """Probe the tuned estimator, score accepted ones on today's data, compare latencies: as gates need."""
        values = task.hyperparameters
        try:
            model = self.load(values, task.weights)
            probed = self._probed(task, GivenPredictor(model, self._spec, True))
        except (Exception, SystemExit) as error:  # noqa: BLE001  the author's functions are called
            return Examination(failure=failure_of(error))
        rescored = {name: self._rescored(values, kept) for name, kept in task.rescore.items()}
        ratio: tuple[float, float, float] | str | None = None
        if task.faster_than is not None:
            ratio = self._latency_ratio(values, model, task.faster_than)
        lacking = what_hypothesis_lacks() if probed else None
        return Examination(probed, rescored, ratio, notes=() if lacking is None else (lacking,))

    def score_again(
        self,
        values: Values,
        refit: Refit,
        validation: Validation | None,
        weights: Path,
        recorded: Collection[str],
    ) -> dict[str, float]:
        """As ``Engine.score_again``."""
        estimator = self.load({"space": [], "values": dict(values)}, weights)
        spec = self._spec if validation is None else self._spec.with_fields(validation=validation)
        loaded = _of_refit(spec, self._data, refit)
        result, _ = score_outputs(GivenPredictor(estimator, spec, True), loaded)
        scores = dict(result.scores)
        if not spec.is_given:
            scores |= _of_fold(spec, _curve(spec, estimator, loaded.validation))
        return {name: scores[name] for name in recorded if name in scores}

    def load(self, hyperparameters: HyperParameters, weights: Path) -> Estimator:
        """Return the estimator in a kept file, made of nothing that the spec's own is not made of.

        Raises:
            SpecError: the spec cannot build one to compare with.
            HistoryError: the file cannot be loaded, or holds something else.
        """
        spec = self._spec
        if spec.is_of_estimator_file:
            return load_estimator(weights, self._parts_of_own())
        hp = ReadHyperParameters.of(hyperparameters)
        try:
            own = _made(spec, hp, spec.search.seed, self._fitted_to_few)
            known = parts_of_estimator(own)
        except Exception as error:
            raise SpecError(
                f"{spec.id}: the spec cannot rebuild the run's model: {error_line(error)}"
            ) from error
        try:
            return load_estimator(weights, known)
        except HistoryError as error:
            raise HistoryError(f"the estimator that the run kept is not loaded: {error}") from error

    def _may_be_of_keras(self, hp: ReadHyperParameters) -> bool:
        """Tell whether the build function returns a Keras model with another choice of one hyperparameter."""
        for other in other_choices(hp):
            with contextlib.suppress(Exception):  # what a choice raises shows in its trial
                if is_keras_model(self._spec(other)):
                    return True
        return False

    def _try(self, estimator: Estimator, has_epochs: bool) -> None:
        """Fit the default candidate to a few rows, and have it scored.

        Args:
            estimator: the default candidate.
            has_epochs: whether other candidates are Keras models, for which fields of epochs are declared.

        Raises:
            SpecError: every problem found is listed.
        """
        spec, data = self._spec, self._data
        streams = [part.name for part in data.parts if part.stream is not None]
        problems = [*refusals(spec, estimator, has_epochs)]
        if streams:
            problems.append(
                f"data: {', '.join(streams)}: a stream, which only a Keras model reads; return arrays"
            )
        if isinstance(spec.search, Hyperband) and budget_of(estimator) is None:
            problems.append(no_budget(estimator))
        given = GivenPredictor(estimator, spec, True)
        if problems:
            raise given.refusal(_listed(problems))
        try:
            self._fitted_to_few(estimator)
        except SpecError as error:
            raise given.refusal(str(error)) from error
        rehearse_predictor(given, data)
        metric = spec.search.objective.metric
        few = data.validation.take(np.arange(min(FEW, data.validation.size)))
        measured = _curve(spec, estimator, few)
        if spec.is_searched and metric not in measured:
            problems.append(
                f"search.objective: {spec.search.objective!r} is none of what an estimator is measured by; "
                f"there are: {', '.join(sorted(measured))}, and val_ with a name in metrics="
            )
        problems += self._behaviour_problems(given)
        if problems:
            raise given.refusal(_listed(problems))

    def _behaviour_problems(self, given: GivenPredictor) -> list[str]:
        spec, data = self._spec, self._data
        if not any(isinstance(gate, Behaviour) for gate in spec.gates):
            return []
        source = PredictorSource(given, data.test)
        return list(behaviour_problems(spec, source, data.test, data.train))

    def _fitted_to_few(self, estimator: Estimator) -> None:
        """Fit an estimator to a few rows; where these are too few for it, to all."""
        spec, train = self._spec, self._data.train
        seed = spec.search.seed
        budget = Fraction(1, 100) if budget_of(estimator) else None
        try:
            fit_estimator(spec, estimator, train.take(_few_rows(train)), seed, budget)
        except SpecError:
            raise
        except Exception:  # noqa: BLE001  what is wrong with it shows with all rows
            fit_estimator(spec, estimator, train, seed)

    def _scored(
        self, spec: Spec, estimator: Estimator, loaded: LoadedData, weights: Path | None
    ) -> RefitResult:
        given = GivenPredictor(estimator, spec, True)
        result, outputs = score_outputs(given, loaded)
        model: dict[str, Any] = {
            "kind": ESTIMATOR,
            "name": type(estimator).__name__,
            "estimator": " ".join(repr(estimator).split()),
        }
        if weights is None:
            return replace(result, model=model)
        warn_of_weak_slices(result.samples, loaded.test)
        checks = [*predictor_checks(given, loaded.test, outputs)]
        weights.parent.mkdir(parents=True, exist_ok=True)
        of_examples = write_examples(spec, loaded.test, outputs, weights.with_name(EXAMPLES))
        note = "; ".join(filter(None, [result.note, of_examples])) or None
        architecture = weights.with_name(ARCHITECTURE)
        try:
            write_estimator(estimator, weights, architecture)
            kept = load_estimator(weights, parts_of_estimator(estimator))
        except Exception as error:  # noqa: BLE001  an estimator of the author's, which was fitted
            architecture.unlink(missing_ok=True)
            write_predictions(weights, outputs)
            why = (
                f"skops cannot keep it: {error_line(error)}; make what it is built of named classes and "
                "functions of a module"
            )
            model["not_kept"] = why
            note = "; ".join(filter(None, [note, f"the estimator is not kept, for {why}"]))
        else:
            again = GivenPredictor(kept, spec, True)
            checks.append(check_kept_estimator(again, loaded.test, outputs))
        return replace(result, model=model, checks=tuple(checks), note=note)

    def _probed(self, task: ExamineTask, given: GivenPredictor) -> dict[str, Probe]:
        spec, data = self._spec, self._data
        gates = [gate for gate in spec.gates if isinstance(gate, Behaviour)]
        asked = [gate for gate in gates if gate.demand in task.behaviours]
        if not asked:
            return {}
        source, points = PredictorSource(given, data.test), kept_points(task.thresholds)
        probed = {}
        for gate in asked:
            known = task.known.get(gate.key, ())
            result = probe(gate, source, data.test, data.train, spec.search.seed, known, points)
            probed[gate.demand] = result if spec.examples else without_inputs(result)
        return probed

    def _rescored(self, values: HyperParameters, kept: KeptModel) -> RescoreResult:
        try:
            given = GivenPredictor(self.load(values, kept.weights), self._spec, True)
            result, _ = score_outputs(given, self._data)
        except Exception as error:  # noqa: BLE001  what was kept may not fit today's data
            return RescoreResult(problem=error_line(error))
        return RescoreResult(result.scores, result.samples)

    def _latency_ratio(
        self, values: HyperParameters, model: Estimator, kept: KeptModel
    ) -> tuple[float, float, float] | str:
        try:
            other = self.load(values, kept.weights)
            few = self._data.test.take(np.arange(min(TIMED, self._data.test.size)))
            pair = [_timer(one, few) for one in (model, other)]
        except Exception as error:  # noqa: BLE001  what was kept may not fit today's data
            return error_line(error)
        return ratio_of_seconds(pair)


def _built(spec: Spec, hp: ReadHyperParameters) -> Estimator:
    """Return a newly built estimator.

    Raises:
        OtherKindBuild: the build function returned something else.
    """
    estimator = spec(hp)
    if is_keras_model(estimator) or not is_estimator(estimator):
        raise OtherKindBuild
    return estimator


def _fitted(
    spec: Spec, hp: ReadHyperParameters, train: Part, seed: int
) -> tuple[Estimator, list[str]]:
    """Return the estimator of these values fitted from a seed, and what its fits warned of."""
    heard: list[str] = []

    def fit(estimator: Estimator) -> None:
        heard.extend(fit_estimator(spec, estimator, train, seed))

    estimator = _made(spec, hp, seed, fit)
    return estimator, list(dict.fromkeys(heard))


def _made(
    spec: Spec, hp: ReadHyperParameters, seed: int, fit: Callable[[Estimator], None]
) -> Estimator:
    """Return the fitted estimator of these values; of those of an ensemble, the average of its members.

    Raises:
        OtherKindBuild: the build function returned something else, of an ensemble for the first member.
    """
    chosen = [hp]
    if members := members_of(hp.values):
        configuration = hp.get_config()
        chosen = [
            ReadHyperParameters.of({**configuration, "values": dict(values)}) for values in members
        ]
    fitted: list[Estimator] = []
    for values in chosen:
        with surroundings(spec, seed):
            try:
                estimator = _built(spec, values)
            except OtherKindBuild:
                if not fitted:
                    raise
                raise SpecError(TWO_KINDS) from None
            fit(estimator)
        fitted.append(estimator)
    return average_of(fitted) if members else fitted[0]


def _on_watched(
    spec: Spec, estimator: Estimator, loaded: LoadedData, curve: Mapping[str, tuple[float, ...]]
) -> Json:
    """Return scores and packed samples of the validation part, by which an ensemble is chosen."""
    watched = replace(loaded, test=loaded.validation)
    result, _ = score_outputs(GivenPredictor(estimator, spec, True), watched)
    scores = {name.removeprefix("val_"): values[-1] for name, values in curve.items()}
    return {"scores": {**scores, **result.scores}, "samples": result.samples}


def _curve(spec: Spec, estimator: Estimator, part: Part) -> dict[str, tuple[float, ...]]:
    """Return what an estimator scores on validation, named as Keras logs it, of its only epoch."""
    given = GivenPredictor(estimator, spec, True)
    scores = score_part_of(given, part, [spec.search.objective.test_metric])
    return {f"val_{name}": (value,) for name, value in scores.items()}


def _of_fold(spec: Spec, curve: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    """Return the scores on the fold that a refit was not fitted to, where there are folds."""
    if not isinstance(spec.validation, KFold):
        return {}
    return {f"fold_{name.removeprefix('val_')}": values[-1] for name, values in curve.items()}


def _of_refit(spec: Spec, loaded: LoadedData, refit: Refit) -> LoadedData:
    """Return the data with the parts that a refit is fitted to and watches."""
    parts = parts_of(spec, loaded, refit)
    return replace(loaded, train=parts.train, validation=parts.watched)


def _few_rows(train: Part) -> Any:
    """Return the first rows of train, of each class as many, in their order."""
    labels = class_labels(train.y)
    if labels is None:
        return np.arange(min(FEW, train.size))
    nth = np.zeros(train.size, int)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        nth[rows] = np.arange(len(rows))
    return np.sort(np.argsort(nth, kind="stable")[:FEW])


def _timer(model: Estimator, few: Part) -> Callable[[], float]:
    x = inputs_for(model, few)

    def seconds() -> float:
        started = monotonic()
        model.predict(x)
        return monotonic() - started

    return seconds


def _listed(problems: list[str]) -> str:
    return "".join(f"\n  {problem}" for problem in problems).removeprefix("\n  ")
