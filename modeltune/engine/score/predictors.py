"""Score predictors that are no Keras models, and predictions made elsewhere. No Keras is needed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import base

from modeltune.engine.data import Arrays, LoadedData, Part, leaves
from modeltune.engine.score.operating_points import point_problems
from modeltune.engine.score.prediction_files import read_predictions
from modeltune.engine.score.slice_masks import slice_masks
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
    note_on_width,
    task_samples,
    task_scores,
)
from modeltune.engine.score.unmeasured_gates import gate_problems
from modeltune.ground import SpecError, error_line
from modeltune.records import (
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
    pack_samples,
)
from modeltune.specs import RESOURCES, Behaviour, Gate, Predictions, Spec, Subject

GIVEN = "given, not trained here"
"""What trained a model that is trained already."""

SHARE_RIGHT = "accuracy"
"""The share of samples whose class is right, or all of whose labels are, of any classifier."""

FIRST_SAMPLES = 8
"""Samples that a predictor predicts before anything is judged."""


@dataclass(frozen=True, eq=False)
class GivenPredictor:
    """A predictor as a build function without arguments returns it, and what it is for.

    Args:
        model: an object with ``predict``, or predictions.
        spec: it belongs to.
    """

    model: Any
    spec: Spec

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.model).__name__

    def output(self, part: Part) -> Output:
        """Return what it predicts for a part beside the targets.

        Raises:
            SpecError: it cannot be told what it predicts, or that does not belong to the targets.
        """
        y = part.y
        if not isinstance(y, np.ndarray):
            what = "no targets (y)" if y is None else "several targets"
            raise self.refusal(f"{part.name} has {what}; a predictor has one output: return (x, y)")
        if isinstance(self.model, Predictions):
            return self._output(part, y, self._values(part), is_probability=False)
        raw, is_probability = self._predicted(part)
        return self._output(part, y, raw, is_probability)

    def reader(self, part: Part) -> tuple[Output, Callable[[Arrays], Array]]:
        """Return its output for a part, and what predicts other inputs in the form of that output.

        The latter raises ValueError for predictions of another form, or of a class that neither the
        targets nor the predictions of the part have.

        Raises:
            SpecError: as ``output``.
        """
        output = self.output(part)
        classes: Array | None = None
        if output.is_hard and output.task is OutputTask.MULTICLASS:
            classes = _classes(self.model, part.y, _in_rows(self._predicted(part)[0]))
        form = output.predicted.shape[1:] if classes is None else ()

        def read(x: Arrays) -> Array:
            size = len(next(array for _, array in leaves(x)))
            raw = _in_rows(self._predicted(replace(part, x=x, size=size, whole={}))[0])
            if raw.shape != (size, *form):
                raise ValueError(
                    f"it predicts {_form(raw)} for {size} samples, and {_form(output.predicted)} for all "
                    f"of {part.name}"
                )
            if classes is None:
                return raw.astype(output.predicted.dtype, copy=False)
            coded = _coded(raw, classes)
            if (coded < 0).any():
                label = raw[int(np.argmax(coded < 0))]
                raise ValueError(f"it predicts the class {label}, which {part.name} has none of")
            return np.eye(output.predicted.shape[1])[coded]

        return output, read

    def refusal(self, text: str) -> SpecError:
        """Return the error of its spec."""
        spec = self.spec
        return SpecError(f"{spec.file}:{spec.line}: {spec.name}: {text}")

    def _values(self, part: Part) -> Array:
        assert isinstance(self.model, Predictions)
        if part.name != "test":
            raise self.refusal(
                f"the predictions are those of test, and {part.name} has none: leave out the gate"
            )
        try:
            values = read_predictions(self.model, self.spec.root, part)
        except (OSError, ValueError, ImportError) as error:
            raise self.refusal(f"predictions: {error}") from error
        if len(values) != part.size:
            raise self.refusal(
                f"predictions: {len(values)} rows for {part.size} samples of test; write one for each, "
                "in their order, or join them by id="
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)))
            raise self.refusal(
                f"predictions: row {row} is {values[row]}; every sample needs a finite prediction"
            )
        return values

    def _predicted(self, part: Part) -> tuple[Any, bool]:
        """Return what it predicts for the inputs, and whether these are probabilities."""
        x = inputs_of(part)
        is_number = self.spec.task == "regression" or _is_regressor(self.model)
        if hasattr(self.model, "predict_proba") and not is_number:
            return _numbers_of(self.model.predict_proba(x)), True
        return _numbers_of(self.model.predict(x)), False

    def _output(self, part: Part, y: Array, raw: Array, is_probability: bool) -> Output:
        raw = _in_rows(raw)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if len(raw) != len(y):
            raise self.refusal(f"it predicts {len(raw)} rows for {len(y)} samples of {part.name}")
        task = self.spec.task or _task_of(y, raw, is_probability or _is_classifier(self.model))
        if task is None:
            raise self.refusal(
                f"it cannot be told what {self.name} predicts: y is {_form(y)}, predicted is "
                f'{_form(raw)}; write task="binary", "multiclass", "multilabel" or "regression" in mt.spec'
            )
        output = self._of_task(task, y, raw)
        weight = part.sample_weight
        if isinstance(weight, np.ndarray) and weight.ndim == 1 and (weight == 0).any():
            output = replace(output, counted=weight != 0)
        return output

    def _of_task(self, task: str, y: Array, raw: Array) -> Output:
        if task in ("regression", "quantiles"):
            kind = OutputTask.REGRESSION if task == "regression" else OutputTask.OTHER
            if y.dtype.kind not in "biuf" or raw.dtype.kind not in "biuf":
                raise self.refusal(
                    f"y is {_form(y)}, predicted is {_form(raw)}: these are no numbers"
                )
            if kind is OutputTask.REGRESSION and y.shape != raw.shape:
                raise self.refusal(
                    f"y is {_form(y)}, predicted is {_form(raw)}: not a number for each"
                )
            return Output("", "", kind, False, y, raw.astype(float))
        if task == "multilabel":
            if y.shape != raw.shape:
                raise self.refusal(
                    f"y is {_form(y)}, predicted is {_form(raw)}: not a label for each"
                )
            is_hard = raw.dtype.kind in "biu"
            shares = raw.astype(float) if is_hard else raw
            return Output("", "", OutputTask.MULTILABEL, False, y, shares, is_hard=is_hard)
        classes = _classes(self.model, y, raw)
        if y.ndim == 2:
            true = y.argmax(axis=1)
        else:
            true = _coded(y, classes)
            if (true < 0).any():
                label = y[int(np.argmax(true < 0))]
                known = ", ".join(map(str, classes[:10].tolist()))
                raise self.refusal(f"test has the class {label}, which is none of: {known}")
        if raw.ndim == 1 and raw.dtype.kind == "f" and not _are_whole(raw):
            if len(classes) > 2 or (true > 1).any():
                raise self.refusal(
                    f"y is {_form(y)} of {len(classes)} classes, predicted is {_form(raw)}: not a "
                    "probability for each class"
                )
            return Output("", "", OutputTask.BINARY, False, true, raw)
        if raw.ndim == 1:
            coded = _coded(raw, classes)
            if (coded < 0).any():
                raise self.refusal(
                    f"it predicts the class {raw[int(np.argmax(coded < 0))]}, which y has none of"
                )
            sure = np.eye(max(len(classes), 2))[coded]
            return Output("", "", OutputTask.MULTICLASS, False, true, sure, is_hard=True)
        if int(true.max(initial=0)) >= raw.shape[1]:
            raise self.refusal(
                f"test has the class {int(true.max())}, predicted is {_form(raw)}: not a column for each "
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
    try:
        output = given.output(few)
    except SpecError:
        raise
    except Exception as error:
        shapes = ", ".join(
            f"x{'.' + path if path else ''} {array.shape}" for path, array in leaves(few.x)
        )
        raise given.refusal(
            f"{given.name} cannot predict the first samples of test: {shapes}.\n  It says: "
            f"{error_line(error)}"
        ) from error
    names = report_names([output], spec.asked_metrics)
    if output.task is not OutputTask.REGRESSION and answers_of(output) is not None:
        names = [SHARE_RIGHT, *names]
    problems = [*gate_problems(spec, names), *point_problems(spec, [output])]
    problems += [*_unfit_gates(spec, is_fixed)]
    if problems:
        raise given.refusal("".join(f"\n  {problem}" for problem in problems).removeprefix("\n  "))


def _unfit_gates(spec: Spec, is_fixed: bool) -> Iterator[str]:
    for index, gate in enumerate(spec.gates):
        where = f"gates[{index}]: {gate!r}"
        if isinstance(gate, Behaviour):
            if is_fixed:
                yield (
                    f"{where}: predictions that were made elsewhere say nothing of other samples; return "
                    "what made them, an object with predict(x), or leave the gate out"
                )
        elif gate.measure.key in RESOURCES:
            yield f"{where}: it is measured of Keras models only; leave it out"
        elif gate.measure.subject is Subject.GAIN_OVER_DUMMY:
            yield f"{where}: a dummy is scored by the metrics of a Keras model; leave it out"
        elif gate.measure.subject is Subject.GAP and is_fixed:
            yield f"{where}: there are no predictions of train; leave it out"


def digest_of_predictor(given: GivenPredictor, loaded: LoadedData) -> str:
    """Return the sha256 of what a predictor is called and predicts for test, by which runs are known."""
    output = given.output(loaded.test)
    digest = hashlib.sha256(f"{given.name} {output.task.value} {output.is_hard}".encode())
    digest.update(f"{output.predicted.dtype}{output.predicted.shape}".encode())
    digest.update(np.ascontiguousarray(output.predicted).tobytes())
    return digest.hexdigest()


def score_predictor(given: GivenPredictor, loaded: LoadedData, task: RefitTask) -> RefitResult:
    """Score a predictor on test, as a refit is scored."""
    started = time.monotonic()
    try:
        result = _scored(given, loaded, task.weights)
    except (Exception, SystemExit) as error:  # noqa: BLE001  reported with its traceback by validate
        seconds = time.monotonic() - started
        return RefitResult({}, {}, {}, GIVEN, seconds, failure_of(error))
    return replace(result, seconds=time.monotonic() - started)


def predictor_scores(given: GivenPredictor, loaded: LoadedData) -> dict[str, float]:
    """Return the scores of a predictor, gaps that gates ask for among them."""
    return dict(_scored(given, loaded, None).scores)


def _scored(given: GivenPredictor, loaded: LoadedData, weights: Path | None) -> RefitResult:
    spec, test, asked = given.spec, loaded.test, given.spec.asked_metrics
    gates = [gate for gate in spec.gates if isinstance(gate, Gate)]
    output = given.output(test)
    masks = slice_masks(spec.slices, test.x, test.y, test) if spec.slices else {}
    scores, tables, own = _scores(output, asked, test.metadata)
    targets = _targets(given, loaded.train)
    samples = task_samples([output], targets, masks, own, asked)
    samples = None if samples is None else _with_accuracy(samples, output)
    notes = [*note_on_width([output], asked)]
    for measure in {gate.measure.key: gate.measure for gate in gates}.values():
        if measure.subject is Subject.GAP:
            train = loaded.train
            on_train = _scores(given.output(train), asked, train.metadata)[0]
            scores[measure.key] = on_train[measure.metric] - scores[measure.metric]
    if weights is not None:
        weights.parent.mkdir(parents=True, exist_ok=True)
        with weights.open("wb") as file:
            np.save(file, output.predicted, allow_pickle=False)
    return RefitResult(
        *(scores, tables, {}, GIVEN, 0.0),
        samples=None if samples is None else pack_samples(samples),
        checks=() if weights is None else tuple(_checks(given, test, output)),
        model={"kind": PREDICTOR, "name": given.name},
        note="; ".join(notes) or None,
        unmeasured=own.undefined,
    )


def _scores(
    output: Output, asked: Mapping[str, Any], metadata: Any
) -> tuple[dict[str, float], Mapping[str, Any], TaskScores]:
    reported, tables = report([output])
    own = task_scores([output], asked, metadata)
    scores = {**reported, **own.numbers}
    right = _right(output)
    if right is not None:
        is_known = len(right) and np.isfinite(output.predicted).all()
        scores = {SHARE_RIGHT: float(right.mean()) if is_known else math.nan, **scores}
    return scores, tables, own


def _right(output: Output) -> Array | None:
    """Return which samples that count have the right class, or all labels right; None of numbers."""
    answers = answers_of(output)
    if answers is None or answers.task not in ("binary", "multiclass", "multilabel"):
        return None
    right = answers.truth == answers.labels
    return np.asarray(right.all(axis=1) if right.ndim > 1 else right)


def _with_accuracy(samples: Samples, output: Output) -> Samples:
    right = _right(output)
    if right is None or not np.isfinite(output.predicted).all():
        return samples
    if output.rows.all():
        return replace(samples, values={**samples.values, SHARE_RIGHT: as_kept(right)})
    whole = np.zeros(samples.size)
    whole[output.rows] = right
    return replace(
        samples,
        values={**samples.values, SHARE_RIGHT: as_kept(whole)},
        weights={**samples.weights, SHARE_RIGHT: output.rows.astype(np.float32)},
    )


def _targets(given: GivenPredictor, train: Part) -> dict[str, Target]:
    """Return the classes that train has, coded as those of test; nothing where there are none."""
    y = train.y
    if not train.size or not isinstance(y, np.ndarray) or y.dtype.kind not in "biuf":
        return {}
    classes = getattr(given.model, "classes_", None)
    if isinstance(classes, np.ndarray) and classes.ndim == 1 and y.ndim == 1:
        y = _coded(y, classes)
    return {"": Target(y)}


def _checks(given: GivenPredictor, test: Part, output: Output) -> Iterator[Verdict]:
    """Yield whether it predicts the same twice, and whether its probabilities are some."""
    name = "integrity.predict_twice"
    if isinstance(given.model, Predictions):
        return
    with contextlib.suppress(Exception):  # it has predicted once
        again = given.output(test).predicted
        apart = float(np.abs(again - output.predicted).max(initial=0.0))
        is_same = apart <= 1e-6 * max(1.0, float(np.abs(output.predicted).max(initial=0.0)))
        outcome = Outcome.PASSED if is_same else Outcome.FAILED
        reason = f"{test.size} samples predicted twice: at most {apart:.3g} apart"
        yield check_verdict(Area.MODEL, name, outcome, apart, None, reason)


# What is predicted


def _numbers_of(returned: Any) -> Array:
    """Return what a predictor returned as an array; a list of (n, 2) for labels as (n, k)."""
    if isinstance(returned, list) and returned and all(np.ndim(one) == 2 for one in returned):
        return np.stack([np.asarray(one)[:, -1] for one in returned], axis=1)
    array = np.asarray(returned)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.itemsize < 4 else array


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


def _classes(model: Any, y: Array, raw: Array) -> Array:
    """Return the classes in the order of their columns."""
    classes = getattr(model, "classes_", None)
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
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
    return tuple(notes)
