"""Score a trained model on a part: Keras's metrics, and a report from aligned predictions."""

from __future__ import annotations

import enum
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from scipy.special import expit, softmax
from sklearn import metrics

from modeltune.engine.data import Arrays, Part, leaves, map_arrays
from modeltune.engine.fit import Model, logged_number
from modeltune.engine.internals import Feature, keras_internals
from modeltune.ground import (
    SpecError,
    error_text,
)
from modeltune.records import CLASS_METRICS, NUMBER_METRICS, Array, Json, Samples
from modeltune.specs import On

CERTAIN = 30.0
"""The logit of a perfect prediction: large enough that every float32 sigmoid is 0 or 1."""


class OutputTask(enum.Enum):
    """The kind of problem that one output of a model solves; it decides its report."""

    MULTICLASS = "multiclass"
    BINARY = "binary"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Output:
    """One output of a model on a part: its targets and its predictions, row by row.

    ``name`` is Keras's name, "" for a single output; ``path`` is where its targets are in ``y``.
    """

    name: str
    path: str
    task: OutputTask
    from_logits: bool
    y: Array
    predicted: Array

    @property
    def prefix(self) -> str:
        """The beginning of its report metrics' names; empty for a single output."""
        return f"{self.name}_" if self.name else ""

    @property
    def threshold(self) -> float:
        """The value above which a prediction of yes or no means yes."""
        return 0.0 if self.from_logits else 0.5


@dataclass(frozen=True, eq=False)
class Predictions:
    """All outputs of a model on a part, with the sample weights and slices of the same rows."""

    outputs: list[Output]
    sample_weight: Arrays
    slices: Mapping[str, Array] = field(default_factory=dict)


def evaluate(model: Model, part: Part, batch_size: int) -> dict[str, float]:
    """Return the scores of ``model.evaluate`` on this part, by Keras's names."""
    if part.stream is not None:
        logs = model.evaluate(part.stream, verbose=0, return_dict=True)
    else:
        logs = model.evaluate(
            part.x,
            part.y,
            sample_weight=part.sample_weight,
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )
    return {name: logged_number(name, value) for name, value in logs.items()}


def predict(model: Model, part: Part, batch_size: int, slices: Sequence[On] = ()) -> Predictions:
    """Return aligned targets, predictions, weights and slices; read every batch exactly once."""
    targets: list[Arrays] = []
    predictions: list[Arrays] = []
    weights: list[Arrays] = []
    chosen: list[dict[str, Array]] = []
    for x, y, sample_weight in part.batches(batch_size):
        targets.append(y)
        predictions.append(map_arrays(np.asarray, model.predict_on_batch(x)))
        weights.append(sample_weight)
        if part.stream is not None:
            chosen.append(_slice_masks(slices, x, y))
    if part.stream is None:
        chosen.append(_slice_masks(slices, part.x, part.y))
    return Predictions(
        _outputs(model, _join(targets), _join(predictions)), _join(weights), _join(chosen)
    )


def check_slices(slices: Sequence[On], part: Part) -> None:
    """Call every slice's function once, before anything is trained.

    Raises:
        SpecError: a function raised, or did not return one True or False per sample.
    """
    if not slices:
        return
    if part.stream is None:
        _slice_masks(slices, part.x, part.y)
        return
    for x, y, _ in part.batches(1):
        _slice_masks(slices, x, y)
        break


def _slice_masks(slices: Sequence[On], x: Arrays, y: Arrays) -> dict[str, Array]:
    """Return, by the name of each slice, which of these samples are in it."""
    size = next(len(array) for _, array in leaves(x))
    masks = {}
    for part in slices:
        where = f'slice "{part.name}": {getattr(part.select, "__name__", part.select)}'
        arguments = (x, y) if _takes_two(part.select) else (x,)
        try:
            mask = np.asarray(part.select(*arguments))
        except (Exception, SystemExit) as error:
            raise SpecError(f"{where} raised {error_text(error)}") from error
        if mask.shape not in ((size,), (size, 1)) or mask.dtype != bool:
            raise SpecError(
                f"{where} returned {mask.dtype} of shape {mask.shape} for {size} samples; "
                "return one True or False per sample"
            )
        masks[part.name] = mask.reshape(-1)
    return masks


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def refit_samples(
    model: Model, test: Predictions, scores: Mapping[str, float], train_labels: Mapping[str, Array]
) -> Samples | None:
    """Return what this refit predicted on each test sample; None if its outputs have no rows.

    The values of a metric are kept only when their mean is the score that Keras reports.

    Args:
        model: its compiled metrics and loss define how values are computed.
        test: the model's predictions on test.
        scores: the scores of ``evaluate`` on test.
        train_labels: the targets of the train part by path.
    """
    sizes = {len(output.y) for output in test.outputs}
    if len(sizes) != 1:
        return None
    (size,) = sizes
    truth: dict[str, Array] = {}
    predicted: dict[str, Array] = {}
    classes: dict[str, list[int]] = {}
    values: dict[str, Array] = {}
    definitions: dict[str, str] = {}
    for output in test.outputs:
        if not np.isfinite(output.predicted).all():
            continue
        if output.task in (OutputTask.MULTICLASS, OutputTask.BINARY):
            true, answers, _ = classes_of(output)
            if len(true) == size:
                truth[output.prefix], predicted[output.prefix] = true, answers[None]
                train = replace(output, y=train_labels[output.path])
                labels = np.union1d(true, _true_classes(train))
                classes[output.prefix] = [int(label) for label in labels]
        elif output.task is OutputTask.REGRESSION:
            shape = (size, -1)
            truth[output.prefix] = output.y.reshape(shape).astype(np.float32)
            predicted[output.prefix] = output.predicted.reshape(shape).astype(np.float32)[None]
    for name, definition, own in _sample_values(model, test):
        definitions[name] = definition
        if own is None or name not in scores or len(own) != size:
            continue
        mean = float(np.mean(own, dtype=np.float64))
        if math.isclose(mean, scores[name], rel_tol=1e-4, abs_tol=1e-6):
            is_right_or_wrong = bool(np.isin(own, (0, 1)).all())
            values[name] = own.astype(bool if is_right_or_wrong else np.float32)[None]
    return Samples(size, 1, truth, predicted, classes, values, test.slices, definitions)


def _sample_values(model: Model, test: Predictions) -> Iterator[tuple[str, str, Array | None]]:
    """Yield (name, definition, values per sample or None) for every compiled metric and the loss.

    Keras may average in another way, so the caller compares the mean of the values.
    """
    functions_known = keras_internals.KERAS.why_not(Feature.SAMPLE_VALUES) is None
    for output in test.outputs:
        for metric in _compiled_metrics(model):
            function = keras_internals.function_of(metric) if functions_known else None
            values = None if function is None else _per_sample(function, output)
            for name in {metric.name, f"{output.prefix}{metric.name}"}:
                yield name, _definition(metric), values
    if len(test.outputs) == 1 and model.loss is not None:
        (output,) = test.outputs
        loss = model.loss
        if isinstance(loss, str):
            loss = keras.losses.get(loss)
        if isinstance(loss, Mapping | list | tuple):
            return
        values = _per_sample(getattr(loss, "call", loss), output)
        if values is not None:
            weight = test.sample_weight
            if isinstance(weight, np.ndarray) and weight.size == len(values):
                values = values * weight.reshape(-1)
            values = values + sum(float(penalty) for penalty in model.losses)
        yield "loss", _definition(loss), values


def _per_sample(function: Callable[..., Any], output: Output) -> Array | None:
    try:
        values = np.asarray(
            function(
                keras.ops.convert_to_tensor(output.y),
                keras.ops.convert_to_tensor(output.predicted),
            )
        )
    except Exception:  # noqa: BLE001  a metric of another output, or one that needs its own state
        return None
    if values.ndim == 0 or len(values) != len(output.y):
        return None
    means: Array = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return means


def _compiled_metrics(model: Model) -> list[Any]:
    compiled: list[Any] = []
    for metric in model.metrics:
        # Keras keeps the compiled metrics in a container that is a metric too.
        compiled += getattr(metric, "metrics", None) or [metric]
    return [metric for metric in compiled if metric.name != "loss"]


def _definition(metric: Any) -> str:
    kind = metric if inspect.isfunction(metric) else type(metric)
    config = metric.get_config() if hasattr(metric, "get_config") else {}
    facts = {name: config[name] for name in sorted(config) if name not in ("name", "dtype")}
    return f"{kind.__module__}.{kind.__qualname__} {json.dumps(facts, default=str)}"


def _true_classes(output: Output) -> Array:
    """Return the classes that occur among an output's targets."""
    if output.task is OutputTask.BINARY:
        return np.unique(output.y.reshape(-1).astype(int))
    one_hot = output.y.ndim == output.predicted.ndim and output.y.shape[-1] > 1
    return np.unique(output.y.argmax(-1) if one_hot else output.y.astype(int))


def report(outputs: list[Output]) -> tuple[dict[str, float], dict[str, Json]]:
    """Return the report's metrics by name, and the tables behind them by output.

    For classification these are precision, recall and F1 of each class with its support, their
    macro averages, and the confusion matrix (rows: true class). For regression they are MAE,
    MSE, RMSE, R2 and explained variance, averaged over the target columns. If a prediction is
    not finite, all metrics are NaN and there is no table.
    """
    numbers: dict[str, float] = {}
    tables: dict[str, Json] = {}
    for output in outputs:
        values: dict[str, float]
        table: dict[str, Json]
        names = _report_names(output.task)
        if not names:
            continue
        if not np.isfinite(output.predicted).all():
            values, table = dict.fromkeys(names, math.nan), {}
        elif output.task is OutputTask.REGRESSION:
            values, table = _regression(output)
        else:
            values, table = _classification(output)
        numbers |= {f"{output.prefix}{name}": value for name, value in values.items()}
        tables[output.name or "output"] = {"task": output.task.value, **table}
    return numbers, tables


def report_names(outputs: list[Output]) -> list[str]:
    """Return the names of the metrics that ``report`` computes for these outputs."""
    return [f"{output.prefix}{name}" for output in outputs for name in _report_names(output.task)]


def dummy_gain(model: Model, train: Part, test: Predictions, score: float, metric: str) -> float:
    """Return (score - dummy) / (perfect - dummy), or NaN if dummy and perfect score the same.

    The dummy always predicts train's class shares, or the better of train's target mean and
    median. Perfect predictions are the targets themselves. The model's own loss and metrics
    score both on the test part.
    """
    y_train = targets(train)
    perfect = _score_of(model, test, [_perfect(o) for o in test.outputs], metric)
    constants = [_constants(o, y_train[o.path]) for o in test.outputs]
    dummies = []
    for choice in range(max(len(options) for options in constants)):
        chosen = [options[min(choice, len(options) - 1)] for options in constants]
        repeated = [_repeat(o, one) for o, one in zip(test.outputs, chosen, strict=True)]
        dummies.append(_score_of(model, test, repeated, metric))
    dummy = min(dummies, key=lambda value: abs(perfect - value))
    return (score - dummy) / (perfect - dummy) if perfect != dummy else math.nan


def targets(part: Part) -> dict[str, Array]:
    """Return every target of a part by its path in ``y``."""
    return dict(leaves(_join([y for _, y, _ in part.batches(8192)])))


def _report_names(task: OutputTask) -> tuple[str, ...]:
    if task is OutputTask.OTHER:
        return ()
    return NUMBER_METRICS if task is OutputTask.REGRESSION else CLASS_METRICS


def _outputs(model: Model, y: Arrays, predicted: Arrays) -> list[Output]:
    """Pair targets with predictions as Keras does: a dict by name, a list or tuple by position."""
    targets, named = dict(leaves(y)), dict(leaves(predicted))
    if not isinstance(predicted, Mapping) and isinstance(predicted, list | tuple):
        names = list(getattr(model, "output_names", None) or [])
        if len(names) == len(named):
            named = dict(zip(names, named.values(), strict=True))
    if isinstance(y, Mapping) or len(targets) != len(named):
        paths = {name: name for name in named if name in targets}
    else:
        paths = dict(zip(named, targets, strict=True))
    losses = _losses(model, list(named))
    return [
        Output(
            name,
            path,
            *_task_of(losses.get(name), targets[path], named[name]),
            targets[path],
            named[name],
        )
        for name, path in paths.items()
    ]


def _losses(model: Model, names: list[str]) -> dict[str, Any]:
    loss = model.loss
    if isinstance(loss, Mapping):
        return dict(loss)
    if isinstance(loss, list | tuple):
        return dict(zip(names, loss, strict=False))
    return dict.fromkeys(names, loss)


def _task_of(loss: Any, y: Array, predicted: Array) -> tuple[OutputTask, bool]:
    """Return an output's task, from its loss if that decides it, else from targets and shapes."""
    name = _loss_name(loss)
    from_logits = bool(getattr(loss, "from_logits", False))
    one_hot = y.shape == predicted.shape and y.ndim > 1 and y.shape[-1] > 1 and _is_one_hot(y)
    if not np.issubdtype(y.dtype, np.number) and y.dtype != bool:
        return OutputTask.OTHER, from_logits
    if "categorical" in name or one_hot:
        return OutputTask.MULTICLASS, from_logits
    if name.startswith("binary"):
        return (
            OutputTask.BINARY
            if predicted.shape[-1] == 1 or predicted.ndim == 1
            else OutputTask.MULTILABEL
        ), from_logits
    if y.dtype.kind in "iub" and predicted.ndim == y.ndim + 1 and predicted.shape[-1] > 1:
        return OutputTask.MULTICLASS, from_logits
    if predicted.size == y.size:
        return OutputTask.REGRESSION, from_logits
    return OutputTask.OTHER, from_logits


def _loss_name(loss: Any) -> str:
    """Return Keras's name of a loss, even if the user has given it another name."""
    if isinstance(loss, str):
        return loss.replace("_", "").lower()
    kind = loss if inspect.isfunction(loss) else type(loss)
    return kind.__name__.replace("_", "").lower()


def _is_one_hot(y: Array) -> bool:
    return bool(np.isin(y, (0, 1)).all() and (y.sum(axis=-1) == 1).all())


def probabilities(output: Output, predicted: Array) -> Array:
    """Return an output's predictions as probabilities; unchanged if they are not logits."""
    numbers = predicted.astype(np.float64)
    if not output.from_logits or not np.isfinite(numbers).all():
        return numbers
    return np.asarray(
        softmax(numbers, axis=-1) if output.task is OutputTask.MULTICLASS else expit(numbers)
    )


def classes_of(output: Output) -> tuple[Array, Array, list[int]]:
    """Return the true and the predicted class of each sample, and all classes of the output."""
    if output.task is OutputTask.BINARY:
        predicted = (output.predicted.reshape(-1) > output.threshold).astype(int)
        return output.y.reshape(-1).astype(int), predicted, [0, 1]
    count = output.predicted.shape[-1]
    one_hot = output.y.shape == output.predicted.shape
    true = output.y.argmax(-1) if one_hot else output.y
    return true.reshape(-1).astype(int), output.predicted.argmax(-1).reshape(-1), list(range(count))


def _classification(output: Output) -> tuple[dict[str, float], dict[str, Json]]:
    if output.task is OutputTask.MULTILABEL:
        width = output.predicted.shape[-1]
        classes = list(range(width))
        true = output.y.reshape(-1, width).astype(int)
        predicted = (output.predicted.reshape(-1, width) > output.threshold).astype(int)
        confusion = None
    else:
        true, predicted, classes = classes_of(output)
        confusion = metrics.confusion_matrix(true, predicted, labels=classes).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        true, predicted, labels=classes, zero_division=0.0
    )
    rows = [
        {"class": c, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for c, p, r, f, n in zip(classes, precision, recall, f1, support, strict=True)
    ]
    # A class without test samples has no recall, so the averages leave it out.
    present = support > 0
    averages = {
        name: float(np.mean(values[present])) if present.any() else math.nan
        for name, values in zip(CLASS_METRICS, (precision, recall, f1), strict=True)
    }
    return averages, {"per_class": rows, "confusion": confusion}


def _regression(output: Output) -> tuple[dict[str, float], dict[str, Json]]:
    true = output.y.reshape(len(output.y), -1)
    true, predicted = true.astype(np.float64), output.predicted.reshape(true.shape)
    few = len(true) < 2
    mse = float(metrics.mean_squared_error(true, predicted))
    values = {
        "mae": float(metrics.mean_absolute_error(true, predicted)),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": math.nan if few else float(metrics.r2_score(true, predicted)),
        "explained_variance": math.nan
        if few
        else float(metrics.explained_variance_score(true, predicted)),
    }
    return values, dict(values)


def _perfect(output: Output) -> Array:
    """Return the predictions of a perfect model: one-hot, 0 or 1, large logits, or the numbers."""
    if output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        return output.y.reshape(output.predicted.shape).astype(np.float32)
    if output.task is OutputTask.MULTICLASS and output.y.shape != output.predicted.shape:
        classes = output.y.reshape(output.predicted.shape[:-1]).astype(int)
        hard = np.eye(output.predicted.shape[-1], dtype=np.float32)[classes]
    else:
        hard = output.y.reshape(output.predicted.shape).astype(np.float32)
    certain: Array = (2 * hard - 1) * CERTAIN if output.from_logits else hard
    return certain


def _repeat(output: Output, constant: Array) -> Array:
    return np.broadcast_to(constant, output.predicted.shape).astype(np.float32)


def _constants(output: Output, y_train: Array) -> list[Array]:
    if output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        numbers = y_train.astype(np.float64)
        shape = output.predicted.shape[1:]
        return [f(numbers, axis=0).reshape(shape) for f in (np.mean, np.median)]
    if output.task is OutputTask.MULTICLASS:
        count = output.predicted.shape[-1]
        if y_train.ndim == output.predicted.ndim and y_train.shape[-1] == count:
            shares = y_train.reshape(-1, count).mean(axis=0)
        else:
            shares = np.bincount(y_train.reshape(-1).astype(int), minlength=count) / y_train.size
        return [np.log(shares + 1e-7) if output.from_logits else shares]
    width = output.predicted.shape[-1] if output.predicted.ndim > 1 else 1
    share = y_train.reshape(-1, width).mean(axis=0)
    odds = (share + 1e-7) / (1 - share + 1e-7)
    return [np.log(odds) if output.from_logits else share]


def _score_of(model: Model, test: Predictions, predictions: list[Array], metric: str) -> float:
    """Return the score of these predictions by the model's own loss and metrics."""
    replaced = [replace(o, predicted=p) for o, p in zip(test.outputs, predictions, strict=True)]
    named = {o.name: keras.ops.convert_to_tensor(o.predicted) for o in replaced}
    targets = {o.name: keras.ops.convert_to_tensor(o.y) for o in replaced}
    if set(named) == {""}:
        y, y_pred = targets[""], named[""]
    elif isinstance(model.loss, Mapping) or all(name in model.output_names for name in named):
        y, y_pred = targets, named
    else:
        y, y_pred = list(targets.values()), list(named.values())
    if metric == "loss":
        loss = model.compute_loss(
            y=y, y_pred=y_pred, sample_weight=test.sample_weight, training=False
        )
        return float(loss)
    model.reset_metrics()
    logs = model.compute_metrics(x=None, y=y, y_pred=y_pred, sample_weight=test.sample_weight)
    model.reset_metrics()
    if metric in logs:
        return logged_number(metric, logs[metric])
    return report(replaced)[0].get(metric, math.nan)


def _join(batches: list[Arrays]) -> Arrays:
    first = batches[0]
    if first is None:
        return None
    if isinstance(first, Mapping):
        return {key: _join([batch[key] for batch in batches]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(_join([batch[i] for batch in batches]) for i in range(len(first)))
    return np.concatenate(batches)
