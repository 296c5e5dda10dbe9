"""Score predictors that are no Keras models, and predictions made elsewhere. No Keras is needed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import base

from modeltune.engine.data import Arrays, LoadedData, Part, leaves
from modeltune.engine.fit import inputs_for, take_cautions
from modeltune.engine.score.dummies import dummy_predictions, gain, perfect_predictions
from modeltune.engine.score.operating_points import (
    at_points,
    notes_on_points,
    point_problems,
    points_of,
    threshold_problems_of,
)
from modeltune.engine.score.prediction_files import read_predictions
from modeltune.engine.score.shown_samples import write_examples
from modeltune.engine.score.slice_masks import slice_masks
from modeltune.engine.score.strong_baselines import strong_gain
from modeltune.engine.score.task_report import (
    Output,
    OutputTask,
    Target,
    answers_of,
    report,
    report_names,
)
from modeltune.engine.score.task_samples import (
    TaskScores,
    as_kept,
    as_they_depend,
    note_on_width,
    task_samples,
    task_scores,
)
from modeltune.engine.score.unmeasured_gates import gate_problems
from modeltune.engine.score.weak_slices import warn_of_weak_slices
from modeltune.ground import SpecError, error_line, monotonic, typed
from modeltune.records import (
    EXAMPLES,
    PREDICTOR,
    Area,
    Array,
    Outcome,
    RefitResult,
    RefitTask,
    Samples,
    Verdict,
    check_verdict,
    failure_of,
    names_of_output,
    pack_samples,
)
from modeltune.specs import (
    RESOURCES,
    UNCOMPARABLE,
    Behaviour,
    Gate,
    Predictions,
    Spec,
    Subject,
    Threshold,
    predictor_identity,
)

WITHOUT_RESOURCE = {
    "latency_ratio": "it is timed beside the accepted model, and an accepted predictor is not kept, "
    "for what loads one runs its code; time both in a test of your own, and leave the gate out",
    "artifact_bytes": "the file of a predictor is its build function's own, and is not kept here; "
    "bound its size in a test of your own, and leave the gate out",
    "parameters": "only the weights of a Keras model are counted; return the number from a metric of "
    "your own, mt.metric(function), or leave the gate out",
    "flops": "only the operations of a Keras model are counted; leave the gate out",
}
"""What a gate on each resource of a predictor is refused with."""

MEASURED_HERE = ("latency_ratio", "artifact_bytes")
"""The resources of a predictor that was fitted here, and whose file is kept."""

FITTED_LOSS = "loss"
"""The log loss of classes and labels, the mean squared error of numbers, of what was fitted here."""

GIVEN = "given, not trained here"
"""What trained a model that is trained already."""

SHARE_RIGHT = "accuracy"
"""The share of samples whose class is right, or all of whose labels are, of any classifier."""

FIRST_SAMPLES = 8
"""Samples that a predictor predicts before anything is judged."""


@dataclass(frozen=True, eq=False)
class Reading:
    """An output of a predictor on a part, and its classes in the order of its columns; None of numbers."""

    output: Output
    classes: Array | None

    def target(self, y: Array) -> Target | None:
        """Return the targets of another part as those of this one are coded; None where they are not."""
        if self.output.task is OutputTask.OTHER:
            return None
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if self.classes is None:
            return Target(y) if y.dtype.kind in "biuf" else None
        if y.ndim == 2:
            return Target(y.argmax(axis=1))
        coded = _coded(y, self.classes)
        return Target(coded[coded >= 0])


@dataclass(frozen=True, eq=False)
class _Pair:
    """What is predicted under a name or at a place, and the targets that it belongs to."""

    name: str
    path: str
    place: int
    is_named: bool
    y: Array
    raw: Array


@dataclass(frozen=True, eq=False)
class GivenPredictor:
    """A predictor as a build function without arguments returns it, or fitted here, and what it is for.

    Args:
        model: an object with ``predict``, or predictions.
        spec: it belongs to.
        is_fitted_here: by its own fit, so that it is kept and has a loss.
    """

    model: Any
    spec: Spec
    is_fitted_here: bool = False

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.model).__name__

    @functools.cached_property
    def identity(self) -> str:
        """What it is known by besides its predictions, as ``predictor_identity``; "" where these are all."""
        return "" if isinstance(self.model, Predictions) else predictor_identity(self.model)

    def outputs(self, part: Part) -> list[Output]:
        """Return its outputs for a part beside their targets, in the order of the targets.

        Raises:
            SpecError: it cannot be told what it predicts, or that does not belong to the targets.
        """
        return [reading.output for reading in self.read(part)]

    def read(self, part: Part) -> list[Reading]:
        """As ``outputs``, each with its classes."""
        raw, is_probability = self._raw(part)
        pairs = self._pairs(part, raw)
        readings = [self._reading(part, pair, is_probability, len(pairs) > 1) for pair in pairs]
        return [
            replace(reading, output=replace(reading.output, class_names=names))
            for reading in readings
            for names in [names_of_output(part.class_names, reading.output.path)]
        ]

    def reader(self, part: Part) -> tuple[list[Output], Callable[[Arrays], Arrays]]:
        """Return its outputs for a part, and what predicts other inputs in the form of these outputs.

        Of several outputs that returns a dict by name, or a list. It raises ValueError for predictions
        of another form, or of a class that neither the targets nor the predictions of the part have.

        Raises:
            SpecError: as ``outputs``.
        """
        readings = self.read(part)

        def read(x: Arrays) -> Arrays:
            size = len(next(array for _, array in leaves(x)))
            other = replace(part, x=x, size=size, whole={})
            pairs = self._pairs(other, self._raw(other)[0])
            arrays = [
                _like(reading, _in_rows(pair.raw), size, part.name)
                for reading, pair in zip(readings, pairs, strict=True)
            ]
            if len(readings) == 1 and not readings[0].output.name:
                return arrays[0]
            if pairs[0].is_named:
                return {pair.name: array for pair, array in zip(pairs, arrays, strict=True)}
            return [arrays[i] for i in np.argsort([pair.place for pair in pairs])]

        return [reading.output for reading in readings], read

    def refusal(self, text: str) -> SpecError:
        """Return the error of its spec."""
        spec = self.spec
        return SpecError(f"{spec.file}:{spec.line}: {spec.name}: {text}")

    def _raw(self, part: Part) -> tuple[Arrays, bool]:
        """Return what it predicts for a part, and whether these are probabilities."""
        if isinstance(self.model, Predictions):
            return self._values(part), False
        x = inputs_for(self.model, part) if self.is_fitted_here else inputs_of(part)
        are_several = not isinstance(part.y, np.ndarray | None)
        is_number = self.spec.task == "regression" or _is_regressor(self.model)
        if hasattr(self.model, "predict_proba") and not is_number:
            return _arrays_of(self.model.predict_proba(x), part.size, are_several), True
        return _arrays_of(self.model.predict(x), part.size, are_several), False

    def _values(self, part: Part) -> Arrays:
        assert isinstance(self.model, Predictions)
        if part.name != "test":
            raise self.refusal(
                f"the predictions are those of test, and {part.name} has none: leave out the gate"
            )
        try:
            values = read_predictions(self.model, self.spec.root, part)
        except (OSError, ValueError, ImportError) as error:
            raise self.refusal(f"predictions: {error}") from error
        file = self.model.values if isinstance(self.model.values, str | Path) else None
        for path, array in leaves(values):
            of = f" of {path}" if path else ""
            of += f" in {file}" if file is not None else ""
            if len(array) != part.size:
                raise self.refusal(
                    f"predictions{of}: {len(array)} rows for {part.size} samples of test; write one for "
                    "each, in their order, or join them by id="
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argmax(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)))
                raise self.refusal(
                    f"predictions{of}: row {row} is {array[row]}; every sample needs a finite prediction"
                )
        return values

    def _pairs(self, part: Part, raw: Arrays) -> list[_Pair]:
        """Return what is predicted beside the targets it belongs to: by name, else by place."""
        if part.y is None:
            raise self.refusal(f"{part.name} has no targets (y): return (x, y)")
        y: Arrays = part.y
        if isinstance(y, np.ndarray) and isinstance(raw, Mapping):
            y = part.by_column("y") or y  # a frame of targets
        predicted = dict(leaves(raw))
        names = list(predicted)
        listed = ", ".join(names)
        if not names:
            raise self.refusal(
                "it predicts an empty dict or list; return an array, a row per sample"
            )
        if isinstance(y, np.ndarray):
            if len(names) != 1:
                how = "a dict by these names" if isinstance(raw, Mapping) else "a tuple of as many"
                raise self.refusal(
                    f"it predicts {len(names)} outputs, {listed}, and {part.name} has one array of "
                    f"targets: return y as {how}, or predict the one that belongs to them"
                )
            return [_Pair("", "", 0, False, y, predicted[names[0]])]
        targets = dict(leaves(y))
        if isinstance(raw, np.ndarray):
            if len(targets) != 1:
                raise self.refusal(
                    f"it predicts one array, and {part.name} has the targets {', '.join(targets)}: "
                    "return a dict of predictions by these names"
                )
            ((path, target),) = targets.items()
            return [_Pair("", path, 0, False, target, raw)]
        is_named = isinstance(raw, Mapping)
        known = list(getattr(self.model, "output_names", None) or ())
        if not is_named and len(known) == len(names):
            predicted = dict(zip(known, predicted.values(), strict=True))
            paths = known if isinstance(y, Mapping) else names
            names = known
        else:
            paths = names
        if missing := [path for path in targets if path not in paths]:
            raise self.refusal(
                f"it predicts {listed}, and {part.name} has the targets {', '.join(targets)}: "
                f"{', '.join(missing)} cannot be paired; return predictions and y as dicts by the same "
                "names, or both as tuples"
            )
        by_path = dict(zip(paths, names, strict=True))
        used = [name for path, name in by_path.items() if path in targets]
        places = {name: place for place, name in enumerate(sorted(used) if is_named else used)}
        return [
            _Pair(
                by_path[path],
                path,
                places[by_path[path]],
                is_named,
                target,
                predicted[by_path[path]],
            )
            for path, target in targets.items()
        ]

    def _reading(
        self, part: Part, pair: _Pair, is_probability: bool, is_of_several: bool
    ) -> Reading:
        raw, y = _in_rows(pair.raw), pair.y
        of = f" of {pair.name}" if pair.name else ""
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if len(raw) != len(y):
            raise self.refusal(
                f"it predicts {len(raw)} rows{of} for {len(y)} samples of {part.name}"
            )
        declared = self.spec.task
        if isinstance(declared, Mapping):
            declared = declared.get(pair.path)
        task = declared or _task_of(y, raw, is_probability or _is_classifier(self.model))
        if task is None:
            write = f'{{"{pair.path}": "binary"}}' if is_of_several else '"binary"'
            raise self.refusal(
                f"it cannot be told what {self.name} predicts{of}: y is {_form(y)}, predicted is "
                f'{_form(raw)}; write task={write}, "multiclass", "multilabel" or "regression" in mt.spec'
            )
        classes = None
        if task in ("binary", "multiclass"):
            classes = _classes(_own_classes(self.model, pair, is_of_several), y, raw)
        output = self._of_task(task, y, raw, classes, of)
        output = replace(output, name=pair.name, path=pair.path, place=pair.place)
        weights = dict(leaves(part.sample_weight))
        weight = weights.get(pair.path, weights.get(""))
        if weight is not None and weight.ndim == 1 and (weight == 0).any():
            output = replace(output, counted=weight != 0)
        return Reading(output, classes)

    def _of_task(self, task: str, y: Array, raw: Array, classes: Array | None, of: str) -> Output:
        if task in ("regression", "quantiles"):
            kind = OutputTask.REGRESSION if task == "regression" else OutputTask.OTHER
            if y.dtype.kind not in "biuf" or raw.dtype.kind not in "biuf":
                raise self.refusal(
                    f"y{of} is {_form(y)}, predicted is {_form(raw)}: these are no numbers"
                )
            if kind is OutputTask.REGRESSION and y.shape != raw.shape:
                raise self.refusal(
                    f"y{of} is {_form(y)}, predicted is {_form(raw)}: not a number for each"
                )
            return Output("", "", kind, False, y, raw.astype(float))
        if task == "multilabel":
            if y.shape != raw.shape:
                raise self.refusal(
                    f"y{of} is {_form(y)}, predicted is {_form(raw)}: not a label for each"
                )
            is_hard = raw.dtype.kind in "biu"
            shares = raw.astype(float) if is_hard else raw
            return Output("", "", OutputTask.MULTILABEL, False, y, shares, is_hard=is_hard)
        assert classes is not None
        if y.ndim == 2:
            true = y.argmax(axis=1)
        else:
            true = _coded(y, classes)
            if (true < 0).any():
                label = y[int(np.argmax(true < 0))]
                known = ", ".join(map(str, classes[:10].tolist()))
                raise self.refusal(f"test{of} has the class {label}, which is none of: {known}")
        if raw.ndim == 1 and raw.dtype.kind == "f" and not _are_whole(raw):
            if len(classes) > 2 or (true > 1).any():
                raise self.refusal(
                    f"y{of} is {_form(y)} of {len(classes)} classes, predicted is {_form(raw)}: not a "
                    "probability for each class"
                )
            return Output("", "", OutputTask.BINARY, False, true, raw)
        if raw.ndim == 1:
            are_alike = (raw.dtype.kind in "SUO") == (y.dtype.kind in "SUO")
            if not are_alike and not np.isin(raw.astype(str), y.astype(str)).any():
                raise self.refusal(
                    f"y{of} is {_form(y)} and holds {y.tolist()[0]!r}, predicted is {_form(raw)} and holds "
                    f"{raw.tolist()[0]!r}: they have no class in common"
                )
            coded = _coded(raw, classes)
            if (coded < 0).any():
                raise self.refusal(
                    f"it predicts the class{of} {raw[int(np.argmax(coded < 0))]}, which y has none of"
                )
            sure = np.eye(max(len(classes), 2))[coded]
            return Output("", "", OutputTask.MULTICLASS, False, true, sure, is_hard=True)
        if int(true.max(initial=0)) >= raw.shape[1]:
            raise self.refusal(
                f"test{of} has the class {int(true.max())}, predicted is {_form(raw)}: not a column for each "
                "class"
            )
        return Output("", "", OutputTask.MULTICLASS, False, true, raw)


def inputs_of(part: Part) -> Arrays:
    """Return the inputs of a part as the data function returned them: a frame as a frame again."""
    columns = part.by_column()
    if not columns:
        return part.x
    import pandas as pd

    return pd.DataFrame(columns)


def rehearse_predictor(given: GivenPredictor, loaded: LoadedData) -> None:
    """Have a predictor predict a few samples before anything is judged.

    Raises:
        SpecError: it does not fit the data, or a gate names a metric it does not give; every problem
            found is listed.
    """
    spec, test = given.spec, loaded.test
    is_fixed = isinstance(given.model, Predictions)
    if test.stream is not None:
        raise given.refusal("data: test is a stream, which only a Keras model reads; return arrays")
    few = test if is_fixed else test.take(np.arange(min(FIRST_SAMPLES, test.size)))
    outputs = _outputs(given, few, "test" if is_fixed else "the first samples of test")
    names = score_names(given, outputs)
    problems = [
        *_tasks_of_no_output(spec, outputs),
        *threshold_problems_of(spec, outputs, given.model),
        *gate_problems(spec, names, resources=()),
        *point_problems(spec, outputs),
        *_unfit_gates(given, is_fixed),
        *_gates_without_dummy(spec, outputs, loaded.train),
    ]
    if problems:
        raise given.refusal("".join(f"\n  {problem}" for problem in problems).removeprefix("\n  "))


def score_names(given: GivenPredictor, outputs: Sequence[Output]) -> list[str]:
    """Return the names of the scores that a predictor with these outputs has."""
    names = report_names(outputs, given.spec.asked_metrics)
    names += [
        f"{output.prefix}{SHARE_RIGHT}"
        for output in outputs
        if output.task is not OutputTask.REGRESSION and answers_of(output) is not None
    ]
    if given.is_fitted_here:
        names += [f"{o.prefix}{FITTED_LOSS}" for o in outputs if sample_losses(o) is not None]
    return names


def _outputs(given: GivenPredictor, part: Part, what: str) -> list[Output]:
    """Return the outputs for a part.

    Raises:
        SpecError: as ``GivenPredictor.outputs``; or what the predictor raised.
    """
    try:
        return given.outputs(part)
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        shapes = ", ".join(
            f"x{'.' + path if path else ''} {array.shape}" for path, array in leaves(part.x)
        )
        raise given.refusal(
            f"{given.name} cannot predict {what}: {shapes}.\n  It says: {error_line(error)}"
        ) from error


def _tasks_of_no_output(spec: Spec, outputs: Sequence[Output]) -> Iterator[str]:
    paths = [output.path for output in outputs if output.path]
    named = spec.task if isinstance(spec.task, Mapping) else {}
    for name in named:
        if name not in paths:
            has = (
                f"the targets are {', '.join(paths)}" if paths else "there is one array of targets"
            )
            yield f"task[{typed(name)}]: there is no such output: {has}"


def _unfit_gates(given: GivenPredictor, is_fixed: bool) -> Iterator[str]:
    if given.spec.exports and not given.is_fitted_here:
        yield f"exports: {given.name} is no Keras model, and only these are converted; leave exports out"
    measured = MEASURED_HERE if given.is_fitted_here else ()
    for index, gate in enumerate(given.spec.gates):
        where = f"gates[{index}]: {gate!r}"
        if isinstance(gate, Behaviour):
            if is_fixed:
                yield (
                    f"{where}: predictions that were made elsewhere say nothing of other samples; return "
                    "what made them, an object with predict(x), or leave the gate out"
                )
        elif gate.measure.key in RESOURCES and gate.measure.key not in measured:
            yield f"{where}: {WITHOUT_RESOURCE[gate.measure.key]}"
        elif gate.measure.subject is Subject.GAP and is_fixed:
            yield f"{where}: there are no predictions of train; leave it out"


def _gates_without_dummy(spec: Spec, outputs: Sequence[Output], train: Part) -> Iterator[str]:
    known = _targets_by_path(train)
    for index, gate in enumerate(spec.gates):
        if isinstance(gate, Behaviour) or gate.measure.subject is not Subject.GAIN_OVER_DUMMY:
            continue
        if any(output.task is OutputTask.OTHER for output in outputs):
            why = (
                "nothing but what trained it knows what a dummy of several numbers for one predicts"
            )
        elif missing := [output.path for output in outputs if output.path not in known]:
            listed = ", ".join(filter(None, missing))
            why = f"train has no targets{' ' if listed else ''}{listed} for a dummy to learn from"
        else:
            continue
        yield f"gates[{index}]: {gate!r}: {why}; leave it out"


def digest_of_predictor(given: GivenPredictor, loaded: LoadedData) -> str:
    """Return the sha256 of what a predictor holds and predicts for test, by which runs are known.

    One that cannot be compared with others is known by its predictions alone. Where gates probe it
    beside test, that is not enough: this then begins with ``UNCOMPARABLE`` and says why. What it predicts
    for validation counts where that chooses its threshold.
    """
    held = given.identity
    if held.startswith(UNCOMPARABLE):
        if any(isinstance(gate, Behaviour) for gate in given.spec.gates):
            return held
        held = ""
    digest = hashlib.sha256(held.encode())
    for output in _outputs(given, loaded.test, "test"):
        named = f" {output.name}" if output.name else ""
        digest.update(f"{given.name} {output.task.value} {output.is_hard}{named}".encode())
        digest.update(f"{output.predicted.dtype}{output.predicted.shape}".encode())
        digest.update(np.ascontiguousarray(output.predicted).tobytes())
    if isinstance(given.spec.threshold, Threshold):
        for output in given.outputs(loaded.validation):
            digest.update(np.ascontiguousarray(output.predicted).tobytes())
    return digest.hexdigest()


def score_predictor(given: GivenPredictor, loaded: LoadedData, task: RefitTask) -> RefitResult:
    """Score a predictor on test, as a refit is scored."""
    started = monotonic()
    try:
        result = _scored(given, loaded, task.weights)
    except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
        seconds = monotonic() - started
        return RefitResult({}, {}, {}, GIVEN, seconds, failure_of(error))
    return replace(result, seconds=monotonic() - started)


def predictor_scores(given: GivenPredictor, loaded: LoadedData) -> dict[str, float]:
    """Return the scores of a predictor, gaps that gates ask for among them."""
    return dict(_scored(given, loaded, None).scores)


def _scored(given: GivenPredictor, loaded: LoadedData, weights: Path | None) -> RefitResult:
    result, outputs = score_outputs(given, loaded)
    if weights is not None:
        weights.parent.mkdir(parents=True, exist_ok=True)
        write_predictions(weights, outputs)
        take_cautions()  # of what ended before it could be told of
        warn_of_weak_slices(result.samples, loaded.test)
        note = write_examples(given.spec, loaded.test, outputs, weights.with_name(EXAMPLES))
        result = replace(
            result,
            checks=tuple(predictor_checks(given, loaded.test, outputs)),
            cautions=take_cautions(),
            note="; ".join(filter(None, [result.note, note])) or None,
        )
    return replace(result, model={"kind": PREDICTOR, "name": given.name})


def score_outputs(
    given: GivenPredictor, loaded: LoadedData
) -> tuple[RefitResult, Sequence[Output]]:
    """Return what a predictor scores on test, what gates ask for besides, and what it predicts there.

    Raises:
        SpecError: as ``GivenPredictor.outputs``, or no threshold can be chosen.
    """
    spec, test, asked = given.spec, loaded.test, given.spec.asked_metrics
    gates = [gate for gate in spec.gates if isinstance(gate, Gate)]
    readings = given.read(test)
    outputs, chosen_on = [reading.output for reading in readings], loaded.validation
    points = points_of(spec, chosen_on, lambda: given.outputs(chosen_on), outputs)
    outputs = at_points(outputs, points)
    masks = slice_masks(spec.slices, test.x, test.y, test) if spec.slices else {}
    has_loss = given.is_fitted_here
    scores, tables, own = _scores(outputs, asked, test.metadata, has_loss)
    targets = _targets(readings, loaded.train)
    samples = task_samples(outputs, targets, masks, own, asked)
    for output in outputs:
        samples = None if samples is None else _with_accuracy(samples, output)
        if samples is not None and has_loss:
            samples = _with_loss(samples, output)
    samples = None if samples is None else as_they_depend(samples, test, test.groups)
    notes = [*note_on_width(outputs, asked), *notes_on_points(points, outputs)]
    undefined = dict(own.undefined)
    for measure in {gate.measure.key: gate.measure for gate in gates}.values():
        if measure.subject is Subject.GAP:
            train = loaded.train
            decided = at_points(given.outputs(train), points)
            on_train = _scores(decided, asked, train.metadata, has_loss)[0]
            scores[measure.key] = on_train[measure.metric] - scores[measure.metric]
        elif measure.subject is Subject.GAIN_OVER:
            try:
                scores[measure.key] = strong_gain(measure.metric, loaded.train, test, outputs)
            except (Exception, SystemExit) as error:  # noqa: BLE001  outputs that it does not take
                undefined[measure.key] = failure_of(error)
        elif measure.subject is Subject.GAIN_OVER_DUMMY:
            try:
                score = functools.partial(_scores, has_loss=has_loss)
                scores[measure.key] = _gain(
                    outputs, targets, scores, measure.metric, asked, test, score
                )
            except (Exception, SystemExit) as error:  # noqa: BLE001  a metric of the author's
                undefined[measure.key] = failure_of(error)
    result = RefitResult(
        *(scores, tables, {}, GIVEN, 0.0),
        samples=None if samples is None else pack_samples(samples),
        note="; ".join(notes) or None,
        unmeasured=undefined,
        thresholds={name or "output": point.thresholds for name, point in points.items()},
    )
    return result, outputs


def score_part_of(given: GivenPredictor, part: Part, more: Sequence[str] = ()) -> dict[str, float]:
    """Return what a predictor scores on a part, without a threshold of its own; ``more`` are usual metrics."""
    asked = {**dict.fromkeys(more), **given.spec.asked_metrics}
    return _scores(given.outputs(part), asked, part.metadata, given.is_fitted_here)[0]


def sample_losses(output: Output) -> Array | None:
    """Return the loss on each sample, None where it is not known how sure the predictions are.

    That of classes is scikit-learn's ``log_loss``, of labels the mean of theirs, of numbers the squared error.
    """
    if output.is_hard or output.task is OutputTask.OTHER:
        return None
    predicted = output.predicted.astype(float)
    if output.task is OutputTask.REGRESSION:
        errors: Array = np.square(predicted - output.y).reshape(len(predicted), -1).mean(axis=1)
        return errors
    least = np.finfo(output.predicted.dtype if output.predicted.dtype.kind == "f" else float).eps
    shares = predicted.clip(least, 1 - least)
    if output.task is OutputTask.MULTICLASS:
        true = output.y if output.y.ndim == 1 else output.y.argmax(axis=1)
        of_classes: Array = -np.log(shares[np.arange(len(shares)), true.astype(int)])
        return of_classes
    true = output.y.reshape(shares.shape) > 0.5
    losses: Array = -np.where(true, np.log(shares), np.log(1 - shares))
    return losses if losses.ndim == 1 else losses.mean(axis=1)


def write_predictions(path: Path, outputs: Sequence[Output]) -> None:
    """Write what outputs predict, to a file of arrays."""
    with path.open("wb") as file:
        if len(outputs) == 1:
            np.save(file, outputs[0].predicted, allow_pickle=False)
        else:
            np.savez(file, *[output.predicted for output in outputs])


def _scores(
    outputs: Sequence[Output], asked: Mapping[str, Any], metadata: Any, has_loss: bool = False
) -> tuple[dict[str, float], Mapping[str, Any], TaskScores]:
    reported, tables = report([*outputs])
    own = task_scores(outputs, asked, metadata)
    scores = {**reported, **own.numbers}
    for output in outputs:
        right = _right(output)
        if right is not None:
            is_known = len(right) and np.isfinite(output.predicted).all()
            share = float(right.mean()) if is_known else math.nan
            scores = {f"{output.prefix}{SHARE_RIGHT}": share, **scores}
        losses = sample_losses(output) if has_loss else None
        if losses is not None:
            counted = losses[output.rows]
            scores[f"{output.prefix}{FITTED_LOSS}"] = (
                float(counted.mean()) if len(counted) else math.nan
            )
    return scores, tables, own


def _gain(
    outputs: Sequence[Output],
    train: Mapping[str, Target],
    scores: Mapping[str, float],
    metric: str,
    asked: Mapping[str, Any],
    test: Part,
    scores_of: Callable[..., tuple[dict[str, float], Mapping[str, Any], TaskScores]],
) -> float:
    """Return the gain of a score over that of a dummy, as ``gain`` of a Keras model.

    Raises:
        ValueError: the metric is not defined of what a dummy or a perfect model predicts.
    """

    def score(predictions: Sequence[Array], whose: str) -> float:
        # A dummy has no threshold to choose: its shares are those of the classes.
        replaced = [
            replace(o, predicted=p, point=None) for o, p in zip(outputs, predictions, strict=True)
        ]
        numbers, _, own = scores_of(replaced, asked, test.metadata)
        if metric not in numbers:
            why = own.undefined.get(metric)
            raise ValueError(
                f"{metric} is not defined of {whose}{'' if why is None else f': {why.reason}'}"
            )
        return numbers[metric]

    if metric not in scores:
        raise ValueError(f"{metric} is not defined of what it predicts")
    dummies = [score(constant, "a dummy") for constant in dummy_predictions(outputs, train)]
    perfect = score([perfect_predictions(output) for output in outputs], "perfect predictions")
    return gain(scores[metric], dummies, perfect)


def _right(output: Output) -> Array | None:
    """Return which samples that count have the right class, or all labels right; None of numbers."""
    answers = answers_of(output)
    if answers is None or answers.task not in ("binary", "multiclass", "multilabel"):
        return None
    right = answers.truth == answers.labels
    return np.asarray(right.all(axis=1) if right.ndim > 1 else right)


def _with_accuracy(samples: Samples, output: Output) -> Samples:
    right, name = _right(output), f"{output.prefix}{SHARE_RIGHT}"
    if right is None or not np.isfinite(output.predicted).all():
        return samples
    return _with_values(samples, output, name, right)


def _with_loss(samples: Samples, output: Output) -> Samples:
    losses = sample_losses(output)
    if losses is None or not np.isfinite(output.predicted).all():
        return samples
    return _with_values(samples, output, f"{output.prefix}{FITTED_LOSS}", losses[output.rows])


def _with_values(samples: Samples, output: Output, name: str, values: Array) -> Samples:
    """Return the samples with the value of a metric on each that counts."""
    if output.rows.all():
        return replace(samples, values={**samples.values, name: as_kept(values)})
    whole = np.zeros(samples.size)
    whole[output.rows] = values
    return replace(
        samples,
        values={**samples.values, name: as_kept(whole)},
        weights={**samples.weights, name: output.rows.astype(np.float32)},
    )


def _targets(readings: Sequence[Reading], train: Part) -> dict[str, Target]:
    """Return the targets of train, coded as those of test, by path; nothing where there are none."""
    targets = _targets_by_path(train)
    coded = {
        reading.output.path: reading.target(targets[reading.output.path])
        for reading in readings
        if reading.output.path in targets
    }
    return {path: target for path, target in coded.items() if target is not None}


def _targets_by_path(part: Part) -> dict[str, Array]:
    """Return the targets of a part in memory by path; of a frame also by column."""
    if not part.size or part.stream is not None:
        return {}
    return part.by_column("y") | dict(leaves(part.y))


def predictor_checks(
    given: GivenPredictor, test: Part, outputs: Sequence[Output]
) -> Iterator[Verdict]:
    """Yield whether a predictor predicts the same twice."""
    name = "integrity.predict_twice"
    if isinstance(given.model, Predictions):
        return
    with contextlib.suppress(Exception):  # it has predicted once
        pairs = [
            (one.predicted, again.predicted)
            for one, again in zip(outputs, given.outputs(test), strict=True)
        ]
        apart = max(float(np.abs(again - one).max(initial=0.0)) for one, again in pairs)
        is_same = all(
            float(np.abs(again - one).max(initial=0.0))
            <= 1e-6 * max(1.0, float(np.abs(one).max(initial=0.0)))
            for one, again in pairs
        )
        outcome = Outcome.PASSED if is_same else Outcome.FAILED
        reason = f"{test.size} samples predicted twice: at most {apart:.3g} apart"
        yield check_verdict(Area.MODEL, name, outcome, apart, None, reason)


def check_kept_estimator(again: GivenPredictor, test: Part, outputs: Sequence[Output]) -> Verdict:
    """Return whether the estimator in its file predicts what the fitted one did."""
    name = "integrity.round_trip"
    apart = max(
        float(np.abs(other.predicted - one.predicted).max(initial=0.0))
        for one, other in zip(outputs, again.outputs(test), strict=True)
    )
    outcome = Outcome.PASSED if apart == 0 else Outcome.FAILED
    reason = f"loaded again, {test.size} samples predicted: at most {apart:.3g} apart"
    return check_verdict(Area.MODEL, name, outcome, apart, 0.0, reason)


# What is predicted


def _arrays_of(returned: Any, size: int, are_several: bool) -> Arrays:
    """Return what a predictor returned as arrays: one, or those of several outputs by name or in order.

    Raises ValueError for what is no array.

    For one array of targets a tuple of one array is that array, and a list of (n, 2) for labels (n, k).

    Args:
        returned: what ``predict`` or ``predict_proba`` returned.
        size: how many samples it was asked for.
        are_several: whether there are several targets, so that a list is of several outputs.
    """
    if isinstance(returned, Mapping):
        return {str(name): _arrays_of(one, size, False) for name, one in returned.items()}
    if not isinstance(returned, list | tuple):
        return _numbers_of(returned)
    if are_several:
        return [_arrays_of(one, size, False) for one in returned]
    are_outputs = len(returned) != size and all(np.shape(one)[:1] == (size,) for one in returned)
    if are_outputs and len(returned) == 1:
        return _numbers_of(returned[0])
    if are_outputs and len(returned) > 1:
        if isinstance(returned, list) and all(np.shape(one) == (size, 2) for one in returned):
            return np.stack([np.asarray(one)[:, 1] for one in returned], axis=1)
        return [_numbers_of(one) for one in returned]
    return _numbers_of(returned)


def _numbers_of(returned: Any) -> Array:
    array = np.asarray(returned)
    if array.ndim == 0:
        what = "None" if returned is None else f"{typed(returned):.40}"
        raise ValueError(f"it returned {what}, and no array with a row for each sample")
    return array.astype(np.float32) if array.dtype.kind == "f" and array.itemsize < 4 else array


def _like(reading: Reading, raw: Array, size: int, part: str) -> Array:
    """Return predictions of other samples in the form of those that were read.

    Raises:
        ValueError: they have another form, or name a class that the part has none of.
    """
    output, classes = reading.output, reading.classes
    is_coded = output.is_hard and output.task is OutputTask.MULTICLASS
    form = () if is_coded else output.predicted.shape[1:]
    if raw.shape != (size, *form):
        raise ValueError(
            f"it predicts {_form(raw)} for {size} samples, and {_form(output.predicted)} for all of {part}"
        )
    if not is_coded:
        return raw.astype(output.predicted.dtype, copy=False)
    assert classes is not None
    coded = _coded(raw, classes)
    if (coded < 0).any():
        raise ValueError(
            f"it predicts the class {raw[int(np.argmax(coded < 0))]}, which {part} has none of"
        )
    return np.eye(output.predicted.shape[1])[coded]


def _in_rows(raw: Array) -> Array:
    """Return predictions as (n, k), or (n,) for a single one of each sample."""
    raw = raw.reshape(len(raw), -1) if raw.ndim > 2 or raw.shape[1:] == (1,) else raw
    return raw[:, 0] if raw.shape[1:] == (1,) else raw


def _task_of(y: Array, raw: Array, is_classifier: bool) -> str | None:
    """Return the task that targets and predictions show, None where they could be of several."""
    are_labels = y.dtype.kind in "biuSUO" or _are_whole(y)
    if y.ndim == 2 and raw.ndim == 2:
        if y.shape != raw.shape or not np.isin(y, (0, 1)).all():
            return None if is_classifier else "regression"
        is_one_hot = (y.sum(axis=1) == 1).all() and y.shape[1] > 1
        if is_one_hot and np.allclose(raw.sum(axis=1), 1, atol=1e-3):
            return "multiclass"
        return "multilabel"
    if y.ndim != 1:
        return None
    if raw.ndim == 2:
        if are_labels and (is_classifier or np.allclose(raw.sum(axis=1), 1, atol=1e-3)):
            return "multiclass"
        return "quantiles" if y.dtype.kind == "f" and not are_labels else None
    if is_classifier or raw.dtype.kind in "SUO" or y.dtype.kind in "SUO":
        return "multiclass"
    if not are_labels:
        return "regression"
    if raw.dtype.kind in "biu" and y.dtype.kind in "biu":
        return "multiclass"
    if np.isin(y, (0, 1)).all() and ((raw >= 0) & (raw <= 1)).all():
        return "binary"
    return None


def _own_classes(model: Any, pair: _Pair, is_of_several: bool) -> Array | None:
    """Return the classes that a predictor names, as scikit-learn does: of several outputs a list or a dict."""
    classes = getattr(model, "classes_", None)
    if is_of_several and isinstance(classes, Mapping):
        classes = classes.get(pair.name)
    elif is_of_several and isinstance(classes, list | tuple) and len(classes) > pair.place:
        classes = None if pair.is_named else classes[pair.place]
    elif is_of_several:
        return None
    is_listed = isinstance(classes, np.ndarray) and classes.ndim == 1
    return np.asarray(classes) if is_listed else None


def _classes(classes: Array | None, y: Array, raw: Array) -> Array:
    """Return the classes in the order of their columns."""
    if classes is not None:
        return classes
    if raw.ndim == 2:
        return np.arange(raw.shape[1])
    if raw.dtype.kind == "f" and not _are_whole(raw):
        return np.unique(y) if y.dtype.kind in "SUO" else np.arange(max(2, int(y.max()) + 1))
    if y.dtype.kind in "SUO" or raw.dtype.kind in "SUO":
        return np.unique(np.concatenate([y.astype(str), raw.astype(str)]))
    return np.arange(int(max(y.max(initial=0), raw.max(initial=0), 1)) + 1)


def _coded(labels: Array, classes: Array) -> Array:
    """Return the place of each label among the classes, -1 of one that is none."""
    if classes.dtype.kind in "SUO":
        labels, classes = labels.astype(str), classes.astype(str)
    order = np.argsort(classes)
    places = np.searchsorted(classes[order], labels).clip(0, len(classes) - 1)
    found = classes[order][places] == labels
    return np.where(found, order[places], -1)


def _are_whole(array: Array) -> bool:
    return array.dtype.kind in "biu" or (
        array.dtype.kind == "f" and bool((np.mod(array, 1) == 0).all())
    )


def _is_classifier(model: Any) -> bool:
    return _kind(model) == "classifier"


def _is_regressor(model: Any) -> bool:
    return _kind(model) == "regressor"


def _kind(model: Any) -> str | None:
    """Return what scikit-learn says an estimator of its form is."""
    try:
        if base.is_classifier(model):
            return "classifier"
        return "regressor" if base.is_regressor(model) else None
    except Exception:  # noqa: BLE001  any object may be given
        return None


def _form(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}"


def notes_on_predictors(spec: Spec, models: Sequence[GivenPredictor]) -> tuple[str, ...]:
    """Say what the user should know of given predictors before they are judged."""
    notes = []
    if spec.unused_fields:
        listed = ", ".join(spec.unused_fields)
        notes.append(f"{listed} of its protocol are for models that are trained; this one is given")
    names = ", ".join(dict.fromkeys(model.name for model in models))
    notes.append(f"{names}: no Keras model; what is kept of it is what it predicts for test")
    unknown = next((m.identity for m in models if m.identity.startswith(UNCOMPARABLE)), None)
    if unknown is not None:
        why = unknown.removeprefix(UNCOMPARABLE).rpartition(" [")[0]
        probed = any(isinstance(gate, Behaviour) for gate in spec.gates)
        so = (
            "; behaviour gates probe it elsewhere, so that no recorded run is served"
            if probed
            else ""
        )
        notes.append(f"{names} is known by its predictions for test alone ({why}){so}")
    return tuple(notes)
