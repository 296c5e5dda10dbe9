"""Refit the best values under one seed or fold, and score the model on test."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from modeltune.engine.data import (
    Arrays,
    LoadedData,
    Part,
    class_labels,
    concatenate,
    fold_rows,
    joined_metadata,
    map_arrays,
)
from modeltune.engine.fit import (
    TWO_KINDS,
    Candidate,
    FitPlan,
    Model,
    OtherKindBuild,
    SecondPhase,
    architecture_of,
    build,
    can_predict,
    fine_tuning,
    fit,
    fixed_batch,
    for_model,
    input_tensors,
    lend_model,
    load_weights,
    members_in,
    not_finite,
    note_on_trained,
    read_assets,
    save_weights,
    starting_weights,
    take_cautions,
    take_notes,
    take_phases,
    trainable,
)
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.architecture import describe_model
from modeltune.engine.score.flops import flops_of
from modeltune.engine.score.integrity import check_model
from modeltune.engine.score.operating_points import (
    Points,
    at_points,
    notes_on_points,
    points_of,
)
from modeltune.engine.score.predictors import GIVEN
from modeltune.engine.score.scoring import (
    PartPredictions,
    decided_scores,
    dummy_gain,
    evaluate,
    predict,
    random_metrics,
    refit_samples,
    targets,
)
from modeltune.engine.score.shown_samples import write_examples
from modeltune.engine.score.strong_baselines import strong_gain
from modeltune.engine.score.task_report import report
from modeltune.engine.score.task_samples import (
    TaskScores,
    as_they_depend,
    note_on_width,
    task_scores,
)
from modeltune.engine.score.weak_slices import warn_of_weak_slices
from modeltune.ground import error_line, monotonic
from modeltune.records import (
    ARCHITECTURE,
    EXAMPLES,
    LARGEST_ARCHITECTURE,
    Failure,
    Json,
    Phase,
    RefitResult,
    RefitTask,
    Verdict,
    failure_of,
    members_of,
    pack_samples,
)
from modeltune.specs import By, Gate, KFold, Measure, MetricFunction, On, Refit, Spec, Subject


@dataclass(frozen=True, eq=False)
class RefitParts:
    """The parts of the data that a refit trains on, lets its callbacks watch, and is scored on."""

    train: Part
    watched: Part
    test: Part

    def for_model(self, model: Model) -> RefitParts:
        """Return the parts as a model takes them."""
        return RefitParts(*(for_model(model, p) for p in (self.train, self.watched, self.test)))


@dataclass(frozen=True, eq=False)
class PartScores:
    """What a model predicts on a part, its scores there, and the tables of its report.

    ``task`` are the usual numbers and the author's metrics among them, ``evaluated`` those of Keras's as
    they were compiled, whatever threshold was chosen. ``note`` says why there is no report, None where
    there is one.
    """

    predictions: PartPredictions
    scores: Mapping[str, float]
    tables: Mapping[str, Json]
    task: TaskScores = field(default_factory=TaskScores)
    evaluated: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None


def train_refit(
    spec: Spec, loaded: LoadedData, task: RefitTask, features: Path | None = None
) -> RefitResult:
    """Train the best values on this refit's part of the data, and score the model on test.

    Values of an ensemble: train its members one by one, and score their average.
    """
    if members_of(task.hyperparameters["values"]):
        return _train_ensemble(spec, loaded, task, features)
    started = monotonic()
    seed = task.refit.seed
    take_cautions()  # of what ended before it could be told of
    hp = ReadHyperParameters.of(task.hyperparameters)
    try:
        parts = parts_of(spec, loaded, task.refit)
        plan = FitPlan(spec, hp, parts.train, parts.watched, task.epochs, seed, features=features)
        with trainable(plan) as candidate, contextlib.ExitStack() as stack:
            started_from = starting_weights(candidate.model)
            # Unfrozen until it is scored, as it was compiled.
            fitted = _fit_in_phases(plan, candidate, stack)
            failure = fitted.failure
            scored, notes = RefitResult({}, {}, {}, fitted.trained_by, 0.0, failure), [take_notes()]
            if failure is None:
                scored = score_model(spec, hp, candidate.model, parts, task.weights, started_from)
                notes.append(scored.note)
    except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
        seconds = monotonic() - started
        return RefitResult({}, {}, {}, "not trained", seconds, failure_of(error))
    seconds = monotonic() - started
    return replace(
        scored,
        curve=fitted.curve,
        trained_by=fitted.trained_by,
        phases=fitted.phases,
        seconds=seconds,
        note=_joined(notes),
        cautions=(*hp.cautions(spec.search), *take_cautions()),
    )


@dataclass(frozen=True)
class _Fitted:
    """The fit history of a refit and what trained it, phase by phase where it has several; or its failure."""

    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    phases: tuple[Phase, ...]
    failure: Failure | None

    def as_member(self, number: int, seconds: float) -> tuple[Phase, ...]:
        """Return its phases as those of a member of an ensemble."""
        name = f"member {number}"
        if not self.phases:
            return (Phase(name, _epochs(self.curve), seconds, self.trained_by, self.curve),)
        return tuple(replace(phase, name=f"{name}, {phase.name}") for phase in self.phases)


def _fit_in_phases(plan: FitPlan, candidate: Candidate, stack: contextlib.ExitStack) -> _Fitted:
    """Train a model, and fine-tune it where the validation says so; it stays unfrozen within ``stack``."""
    began = monotonic()
    take_phases()
    curve, trained_by = fit(plan, candidate)
    phases, failure = take_phases(), not_finite(plan.spec, curve)
    second = None if failure else fine_tuning(plan.spec, plan.hp, candidate.model)
    if second is None:
        return _Fitted(curve, trained_by, phases, failure)
    unfrozen = stack.enter_context(second.begun(candidate))
    first = Phase("first", _epochs(curve), monotonic() - began, trained_by, curve)
    phases = first, _fine_tune(plan, unfrozen, second)
    take_phases()
    joined, trained_by = _joined_phases(phases)
    failure = not_finite(plan.spec, phases[-1].curve, plan.epochs)
    return _Fitted(joined, trained_by, phases, failure)


def _train_ensemble(
    spec: Spec, loaded: LoadedData, task: RefitTask, features: Path | None
) -> RefitResult:
    """Train each member as a refit of its own values, and score the average of all."""
    started, seed = monotonic(), task.refit.seed
    take_cautions()  # of what ended before it could be told of
    fits: list[_Fitted] = []
    phases: list[Phase] = []
    try:
        parts = parts_of(spec, loaded, task.refit)
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number, values in enumerate(members_of(task.hyperparameters["values"]), start=1):
                began, file = monotonic(), Path(folder, f"{number}.weights.h5")
                hp = ReadHyperParameters.of({**task.hyperparameters, "values": dict(values)})
                plan = FitPlan(
                    spec, hp, parts.train, parts.watched, task.epochs, seed, features=features
                )
                with trainable(plan) as candidate, contextlib.ExitStack() as stack:
                    fitted = _fit_in_phases(plan, candidate, stack)
                    if fitted.failure is not None:
                        seconds = monotonic() - started
                        return RefitResult({}, {}, {}, fitted.trained_by, seconds, fitted.failure)
                    save_weights(candidate.model, file)
                files.append(file)
                fits.append(fitted)
                phases += fitted.as_member(number, monotonic() - began)
            notes, whole = [take_notes()], ReadHyperParameters.of(task.hyperparameters)
            with lend_model(spec, whole, seed) as model:
                for member, file in zip(members_in(model), files, strict=True):
                    with_weights(member, file, parts.test)
                scored = score_model(spec, whole, model, parts, task.weights)
            notes.append(scored.note)
    except OtherKindBuild:
        if not fits:
            raise
        return RefitResult({}, {}, {}, "not trained", monotonic() - started, Failure(TWO_KINDS))
    except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
        seconds = monotonic() - started
        return RefitResult({}, {}, {}, "not trained", seconds, failure_of(error))
    return replace(
        scored,
        curve=fits[0].curve,
        trained_by=f"{len(fits)} members: {fits[0].trained_by}",
        phases=tuple(phases),
        seconds=monotonic() - started,
        note=_joined(notes),
        cautions=take_cautions(),
    )


def _fine_tune(plan: FitPlan, candidate: Candidate, second: SecondPhase) -> Phase:
    """Train a model on, once its second phase has begun; epochs, and their order, count on."""
    began = monotonic()
    epochs = plan.epochs + second.epochs
    plan = replace(plan, initial_epoch=plan.epochs, epochs=epochs)
    curve, trained_by = fit(plan, candidate)
    return Phase(
        "fine-tuning",
        _epochs(curve),
        monotonic() - began,
        trained_by,
        curve,
        from_layer=second.from_layer,
        learning_rate=second.learning_rate,
    )


def _epochs(curve: Mapping[str, Sequence[float]]) -> int:
    return max(map(len, curve.values()), default=0)


def _joined_phases(phases: Sequence[Phase]) -> tuple[dict[str, tuple[float, ...]], str]:
    """Return the fit history of all phases, of what each of them logs, and what trained them."""
    first, *others = phases
    logged = [n for n in first.curve if all(n in phase.curve for phase in others)]
    curve = {name: sum((tuple(p.curve[name]) for p in phases), ()) for name in logged}
    return curve, "; ".join(
        [first.trained_by, *(f"{phase.name}: {phase.trained_by}" for phase in others)]
    )


def score_given(spec: Spec, loaded: LoadedData, task: RefitTask, model: Model) -> RefitResult:
    """Score a model that is trained already on test, as a refit is scored."""
    started = monotonic()
    hp = ReadHyperParameters.of(task.hyperparameters)
    parts = RefitParts(loaded.train, loaded.validation, loaded.test)
    try:
        scored = score_model(spec, hp, model, parts, task.weights)
    except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
        seconds = monotonic() - started
        return RefitResult({}, {}, {}, GIVEN, seconds, failure_of(error))
    seconds = monotonic() - started
    note = _joined([take_notes(), scored.note])
    return replace(scored, seconds=seconds, note=note, cautions=take_cautions())


def score_model(
    spec: Spec,
    hp: ReadHyperParameters,
    model: Model,
    parts: RefitParts,
    weights: Path | None,
    started_from: Mapping[str, int] | None = None,
) -> RefitResult:
    """Score a trained model on test; check it and write its files where its weights are to be kept.

    ``started_from`` are the ``starting_weights`` of a model that was trained here.
    """
    parts = parts.for_model(model)
    on_test, samples, notes, points = _score(spec, model, parts)
    thresholds = {name or "output": point.thresholds for name, point in points.items()}
    scores, tables = on_test.scores, on_test.tables
    watched = _on_watched(spec, model, parts.watched, points) if spec.validation.ensemble else None
    if weights is None:
        note = _joined(notes)
        return RefitResult(
            *(scores, tables, {}, GIVEN, 0.0),
            samples=samples,
            note=note,
            unmeasured=on_test.task.undefined,
            thresholds=thresholds,
            watched=watched,
        )
    weights.parent.mkdir(parents=True, exist_ok=True)
    if not can_predict(model):
        # Keras saves and loads no model that has never been called. The models it trains have been.
        model.built = True
    save_weights(model, weights)
    _write_architecture(model, weights.with_name(ARCHITECTURE))
    examples = weights.with_name(EXAMPLES)
    notes.append(write_examples(spec, parts.test, on_test.predictions.outputs, examples))
    description = describe_model(model)
    restored, note = _restored(spec, hp, model, weights, parts.test, started_from or {})
    notes.append(note)
    warn_of_weak_slices(samples, parts.test)
    checks: tuple[Verdict, ...] = ()
    if can_predict(model):
        compiled = {**scores, **on_test.evaluated}
        checks = check_model(model, restored, parts.test, spec.fit.batch_size, compiled)
    else:
        notes.append(
            f"{type(model).__name__} has no call(), so that it predicts nothing: "
            "there are no report, no samples and no integrity checks"
        )
    notes.append(_note_on_random_metrics(model, parts.test, spec.fit.batch_size))
    return RefitResult(
        scores,
        tables,
        {},
        GIVEN,
        0.0,
        samples=samples,
        checks=checks,
        model=description,
        note=_joined(notes),
        unmeasured=on_test.task.undefined,
        thresholds=thresholds,
        watched=watched,
    )


def _on_watched(spec: Spec, model: Model, part: Part, points: Points) -> Json:
    """Return scores and packed samples of the validation part, by which an ensemble is chosen.

    A stream may yield its samples in another order each time: they are not compared one by one.
    """
    on_part = score_part(model, part, spec.fit.batch_size, (), spec.asked_metrics, points)
    packed: Json = None
    if part.stream is None:
        samples = refit_samples(
            model, on_part.predictions, on_part.scores, {}, on_part.task, spec.asked_metrics
        )
        packed = (
            None if samples is None else pack_samples(as_they_depend(samples, part, part.groups))
        )
    return {"scores": dict(on_part.scores), "samples": packed}


def _joined(notes: Iterable[str | None]) -> str | None:
    return "; ".join(filter(None, notes)) or None


def _note_on_random_metrics(model: Model, test: Part, batch_size: int) -> str | None:
    """Return which metrics are random, with two scores of each; None where none is."""
    random = random_metrics(model, test, batch_size)
    if not random:
        return None
    listed = ", ".join(f"{name} ({one:.6g}, then {two:.6g})" for name, (one, two) in random.items())
    return (
        f"random: {listed}: two evaluations of the same weights on the same rows differ, for the "
        "model or the metric draws random numbers; a gate on it may pass or fail by chance"
    )


def restore(spec: Spec, hp: ReadHyperParameters, weights: Path, part: Part) -> Model:
    """Return a newly built model of these values, with the weights in a file."""
    return with_weights(build(spec, hp), weights, part)


def with_weights(model: Model, weights: Path, part: Part, rows: int = 1) -> Model:
    """Return the model with the weights in a file.

    A model without inputs is called on so many rows first: a subclassed or sequential model has no
    variables before.
    """
    if not getattr(model, "inputs", None):
        with contextlib.suppress(Exception):
            # A lookup without a vocabulary cannot be called. What is wrong with the file, or with
            # layers that are made later, shows when everything is loaded.
            read_assets(model, weights)
        if can_predict(model):
            x, _, _ = next(for_model(model, part).batches(rows))
            model(input_tensors(model, x), training=False)
        else:
            model.built = True  # as in ``train_refit``
    load_weights(model, weights)
    return model


def _restored(
    spec: Spec,
    hp: ReadHyperParameters,
    model: Model,
    weights: Path,
    part: Part,
    started_from: Mapping[str, int],
) -> tuple[Model | str, str | None]:
    """Return a model that is built again, with the weights, or why it does not take them; and a note."""
    fresh: Model | None = None
    note = None
    try:
        fresh = build(spec, hp)
        note = note_on_trained(started_from, starting_weights(fresh)) if started_from else None
        return with_weights(fresh, weights, part, fixed_batch(model) or 1), note
    except (Exception, SystemExit) as error:  # noqa: BLE001  a model that was trained is not lost
        why = None if fresh is None else _other_shapes(model, fresh)
        return why or error_line(error), note


def _other_shapes(model: Model, fresh: Model) -> str | None:
    """Return where the weights of two builds have different shapes, None where they have the same."""
    if len(model.weights) != len(fresh.weights):
        return f"the trained one has {len(model.weights)} weights, the new one {len(fresh.weights)}"
    for old, new in zip(model.weights, fresh.weights, strict=True):
        if old.shape != new.shape:
            shapes = f"{tuple(old.shape)} in the trained one and {tuple(new.shape)} in the new one"
            return f"{old.path} has the shape {shapes}"
    return None


def _write_architecture(model: Model, path: Path) -> None:
    """Write how the model is built, unless Keras cannot tell, as for a class of the user's.

    What would be too large to be read again is not written either.
    """
    path.unlink(missing_ok=True)
    try:
        content = architecture_of(model).encode()
    except Exception:  # noqa: BLE001  get_config is the user's code
        return
    if len(content) <= LARGEST_ARCHITECTURE:
        path.write_bytes(content)


def _score(
    spec: Spec, model: Model, parts: RefitParts
) -> tuple[PartScores, Json, list[str | None], Points]:
    """Return all scores of the final weights, and what they did on each test sample, packed.

    Besides notes on what could not be measured, and from where on the outputs say yes.
    """
    measures = [gate.measure for gate in spec.gates if isinstance(gate, Gate)]
    asked = spec.asked_metrics
    on_test, points = score_test(spec, model, parts, spec.slices)
    notes = [
        *([] if on_test.note is None else [on_test.note]),
        *notes_on_points(points, on_test.predictions.outputs),
    ]
    packed: Json = None
    try:
        in_train = targets(model, parts.train, on_test.predictions)
        samples = refit_samples(
            model, on_test.predictions, on_test.scores, in_train, on_test.task, asked
        )
        if parts.test.stream is not None and samples is not None and not samples.truth:
            # Only its targets show in which order a stream yielded its samples.
            samples = None
        groups = on_test.predictions.groups
        if samples is not None:
            packed = pack_samples(as_they_depend(samples, parts.test, groups))
        notes += [] if samples is None else note_on_width(on_test.predictions.outputs, asked)
    except (Exception, SystemExit) as error:  # noqa: BLE001  metrics and losses are the user's code
        notes.append(_not_measured("the results of single samples are not kept", error))
    further, lost = scores_beyond_test(spec, model, parts, on_test, measures, points)
    scores = {**on_test.scores, **further}
    return replace(on_test, scores=scores), packed, [*notes, *lost], points


def score_test(
    spec: Spec, model: Model, parts: RefitParts, slices: Sequence[On | By] = ()
) -> tuple[PartScores, Points]:
    """Predict and score test, decided where the spec says so or the watched part has chosen.

    Raises:
        SpecError: no threshold can be chosen.
    """
    size = spec.fit.batch_size
    predictions = predict(model, parts.test, size, slices)
    watched = parts.watched
    points = points_of(
        spec, watched, lambda: predict(model, watched, size).outputs, predictions.outputs
    )
    predictions = replace(predictions, outputs=at_points(predictions.outputs, points))
    return score_predicted(model, parts.test, size, predictions, spec.asked_metrics), points


def _not_measured(what: str, error: BaseException) -> str:
    return f"{what}, because measuring failed: {failure_of(error).reason}"


def score_part(
    model: Model,
    part: Part,
    batch_size: int,
    slices: Sequence[On | By] = (),
    asked: Mapping[str, MetricFunction | None] | None = None,
    points: Points | None = None,
) -> PartScores:
    """Predict and score a part with the final weights; ``asked`` are the metrics that gates name."""
    predictions = predict(model, part, batch_size, slices)
    predictions = replace(predictions, outputs=at_points(predictions.outputs, points or {}))
    return score_predicted(model, part, batch_size, predictions, asked)


def score_predicted(
    model: Model,
    part: Part,
    batch_size: int,
    predictions: PartPredictions,
    asked: Mapping[str, MetricFunction | None] | None = None,
) -> PartScores:
    """Score what a model predicts for a part, its outputs decided at their points."""
    note = None
    if can_predict(model) and predictions.y is None:
        what = "ragged" if part.has_ragged_targets else "no"
        note = (
            f"there are {what} targets (y) on {part.name}: there are no report, no results of single "
            "samples and no examples"
        )
    reported: Mapping[str, float] = {}
    tables: Mapping[str, Json] = {}
    task = TaskScores()
    try:
        reported, tables = report(predictions.outputs)
        task = task_scores(predictions.outputs, asked, part.metadata)
    except (Exception, SystemExit) as error:  # noqa: BLE001  labels only a loss of the user's takes
        note = _not_measured(f"there is no report on {part.name}", error)
    # Where both have a metric of the same name, Keras's compiled metric comes first.
    evaluated = evaluate(model, part, batch_size)
    decided = decided_scores(model, predictions, evaluated)
    scores = {**reported, **task.numbers, **evaluated, **decided}
    undefined = {name: why for name, why in task.undefined.items() if name not in evaluated}
    task = replace(task, undefined=undefined)
    return PartScores(predictions, scores, tables, task, evaluated, note)


def scores_beyond_test(
    spec: Spec,
    model: Model,
    parts: RefitParts,
    on_test: PartScores,
    measures: Iterable[Measure],
    points: Points | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Return the scores that need more than the test part: gaps, gains, scores on a fold, size.

    Args:
        spec: the declared model; cross-validation scores its folds.
        model: a model that was trained on ``parts.train``.
        parts: the parts of its refit.
        on_test: what it reached on the test part.
        measures: the gaps and gains to measure are among these.
        points: from where on its outputs say yes. A fold is scored without, as its own samples chose them.

    Returns:
        The scores, and notes on those that could not be measured.
    """
    size = spec.fit.batch_size
    results: dict[str, float] = {}
    notes: list[str] = []
    on_train: Mapping[str, float] = {}
    measured = list(measures)
    for key, (subject, name) in {m.key: (m.subject, m.metric) for m in measured}.items():
        try:
            if subject is Subject.GAP:
                asked = spec.asked_metrics
                on_train = (
                    on_train or score_part(model, parts.train, size, (), asked, points).scores
                )
                results[key] = on_train[name] - on_test.scores[name]
            elif subject is Subject.GAIN_OVER_DUMMY:
                score = on_test.scores[name]
                results[key] = dummy_gain(model, parts.train, on_test.predictions, score, name)
            elif subject is Subject.GAIN_OVER:
                outputs = on_test.predictions.outputs
                results[key] = strong_gain(name, parts.train, parts.test, outputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001  only this gate cannot be judged
            notes.append(_not_measured(f"{key} has no value", error))
    if isinstance(spec.validation, KFold):
        on_fold = score_part(model, parts.watched, size).scores
        results |= {f"fold_{name}": value for name, value in on_fold.items()}
    if any(measure.key == "flops" for measure in measured):
        try:
            one = map_arrays(lambda array: array[:1], next(parts.test.batches(1))[0])
            results["flops"] = flops_of(model, one)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a model of the user's
            notes.append(_not_measured("flops has no value", error))
    # Not count_params(), which refuses a model that is never called itself.
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    return {**results, "parameters": float(parameters)}, notes


def parts_of(spec: Spec, loaded: LoadedData, refit: Refit) -> RefitParts:
    """Return the parts of the data for one refit: those of the spec, or its fold."""
    if refit.fold is None or not isinstance(spec.validation, KFold):
        return RefitParts(loaded.train, loaded.validation, loaded.test)
    both = _join(loaded.train, loaded.validation)
    inside, outside = fold_rows(
        class_labels(both.y),
        both.groups,
        loaded.order,
        both.size,
        spec.validation.k,
        refit.seed,
        refit.fold,
    )
    return RefitParts(both.take(inside), both.take(outside), loaded.test)


def _join(train: Part, validation: Part) -> Part:
    weights = None
    if train.sample_weight is not None or validation.sample_weight is not None:
        weights = concatenate(_weights(train, validation), _weights(validation, train))
    return replace(
        train,
        size=train.size + validation.size,
        x=concatenate(train.x, validation.x),
        y=concatenate(train.y, validation.y),
        sample_weight=weights,
        metadata=joined_metadata(train.metadata, validation.metadata),
        groups=None
        if train.groups is None or validation.groups is None
        else np.concatenate([train.groups, validation.groups]),
    )


def _weights(part: Part, other: Part) -> Arrays:
    """Return a part's sample weights; without any, each sample weighs 1, as in Keras."""
    if part.sample_weight is not None:
        return part.sample_weight
    return map_arrays(lambda w: np.ones((part.size, *w.shape[1:]), w.dtype), other.sample_weight)
