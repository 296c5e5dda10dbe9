"""What one output of a model answered on a part, and the report of it by its task. No Keras is needed."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, softmax
from sklearn import metrics

from modeltune.records import (
    CLASS_METRICS,
    NUMBER_METRICS,
    Answers,
    Array,
    ClassNames,
    Json,
    OperatingPoint,
    confusion_to_json,
    plain,
    usual_metric,
    usual_names,
)


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

    Args:
        name: Keras's name, "" for a single output.
        path: where its targets are in ``y``.
        task, from_logits: what its loss and its last layer say about it.
        y, predicted: arrays with a row per sample.
        place: which of the model's predictions it is, in the order of ``keras.tree.flatten``.
        counted: which samples, steps or pixels count, bool in the leading dimensions of
            ``predicted``; None: all. Those that are masked, that the loss ignores or that have no
            weight do not count.
        loss: Keras's name of its loss in lower case without underscores, "" of none.
        is_hard: whether classes were predicted and nothing about how sure they are.
        point: from which probability on it says yes; None: above 0.5, and of two columns the larger one.
        class_names: what its classes, or labels, are called.
    """

    name: str
    path: str
    task: OutputTask
    from_logits: bool
    y: Array
    predicted: Array
    place: int = 0
    counted: Array | None = None
    loss: str = ""
    is_hard: bool = False
    point: OperatingPoint | None = None
    class_names: ClassNames = field(default_factory=ClassNames)

    @property
    def prefix(self) -> str:
        """The beginning of its report metrics' names; empty for a single output."""
        return f"{self.name}_" if self.name else ""

    @property
    def threshold(self) -> float:
        """The value above which a prediction of yes or no means yes, where no other point was chosen."""
        return 0.0 if self.from_logits else 0.5

    @property
    def numbers(self) -> Array:
        """The predictions on the scale of the targets, where these are numbers: of logits, shares."""
        return expit(self.predicted) if self.from_logits else self.predicted

    @property
    def rows(self) -> Array:
        """Which samples count at least in one place, bool of shape (n,)."""
        if self.counted is None:
            return np.ones(len(self.predicted), bool)
        return np.asarray(self.counted.reshape(len(self.counted), -1).any(axis=1))


@dataclass(frozen=True)
class Target:
    """An output's targets in a part, and which of them count; None: all, as in ``Output``."""

    y: Array
    counted: Array | None = None

    @property
    def kept(self) -> Array:
        """The targets that count, in one dimension more than the places have."""
        return self.y if self.counted is None else self.y[self.counted]


def report(outputs: list[Output]) -> tuple[dict[str, float], dict[str, Json]]:
    """Return the report's metrics by name, and the tables behind them by output.

    For classification these are precision, recall and F1 of each class with its support, their
    macro averages, the confusion matrix (rows: true class) and the operating point. For regression they are MAE,
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
        if output.point is not None:
            table = {**table, "operating_point": plain(output.point)}
        tables[output.name or "output"] = {"task": output.task.value, **table}
    return numbers, tables


def report_names(outputs: Iterable[Output], asked: Iterable[str] = ()) -> list[str]:
    """Return the names of the metrics that these outputs have whatever their model is compiled with.

    Of those whose name holds a number, as ``top_7``, any other than the report's is to be asked for.
    """
    asked, names = tuple(asked), []
    for output in outputs:
        task, width = output.task, output.predicted.shape[-1] if output.predicted.ndim > 1 else 1
        own = [*_report_names(task), *usual_names(task_name(output), width)]
        known = [
            name.removeprefix(output.prefix) for name in asked if name.startswith(output.prefix)
        ]
        own += [n for n in known if n not in own and usual_metric(task_name(output), n) is not None]
        names += [f"{output.prefix}{name}" for name in own]
    return names


def _report_names(task: OutputTask) -> tuple[str, ...]:
    if task is OutputTask.OTHER:
        return ()
    return NUMBER_METRICS if task is OutputTask.REGRESSION else CLASS_METRICS


def task_name(output: Output) -> str:
    """Return the task of an output as ``Answers`` name it, "other" where there are none."""
    y, predicted = output.y, output.predicted
    if output.task is OutputTask.MULTICLASS and predicted.shape[-1] == 2:
        return "binary"
    if output.task is not OutputTask.OTHER:
        return str(output.task.value)
    # Several numbers for one are quantiles, if a gate takes them for such.
    is_several = y.dtype.kind == "f" and predicted.ndim == 2 and predicted.shape[1] > 1
    return "quantiles" if is_several and y.size == len(y) == len(predicted) else "other"


def answers_of(output: Output) -> Answers | None:
    """Return the answers of an output at the places that count; None where nothing tells what they are."""
    task = task_name(output)
    if task == "other":
        return None
    if task == "quantiles":
        return Answers(task, output.y.reshape(-1), output.predicted, output.y.reshape(-1))
    if output.task is OutputTask.REGRESSION:
        true, numbers = columns_of(output)
        one = true.shape[1:] == (1,)
        true, numbers = (a[:, 0] if one else a for a in (true, numbers))
        return Answers(task, true, numbers, numbers)
    shares = output.predicted
    if output.from_logits or shares.dtype not in (np.float32, np.float64):
        shares = probabilities(output, shares)
    if output.task is OutputTask.MULTILABEL:
        width = shares.shape[-1]
        true, shares, labels = (
            rows_of(output, array, width)
            for array in (output.y, shares, decisions(output, output.predicted))
        )
        sure = None if output.is_hard else shares
        return Answers(task, true > 0.5, sure, labels, output.class_names)
    true, labels = (rows_of(output, array, 1)[:, 0] for array in classes_of(output))
    width = 1 if output.task is OutputTask.BINARY else shares.shape[-1]
    shares = rows_of(output, shares, width)[:, 0] if width == 1 else rows_of(output, shares, width)
    sure = None if output.is_hard else shares
    return Answers(task, true, sure, labels, output.class_names)


def probabilities(output: Output, predicted: Array) -> Array:
    """Return an output's predictions as probabilities; unchanged if they are not logits."""
    numbers = predicted.astype(np.float64)
    if not output.from_logits or not np.isfinite(numbers).all():
        return numbers
    return np.asarray(
        softmax(numbers, axis=-1) if output.task is OutputTask.MULTICLASS else expit(numbers)
    )


def decisions(output: Output, predicted: Array) -> Array:
    """Return what predictions of an output mean: the class of each row, or of each label whether it is there.

    Returns:
        int of the shape without the axis of the classes; of yes or no, and of labels, bool of the shape.
    """
    if output.task is OutputTask.MULTICLASS:
        if output.point is None:
            return np.asarray(predicted.argmax(-1))
        return (probabilities(output, predicted)[..., 1] >= output.point.thresholds[0]).astype(int)
    if output.point is None:
        return np.asarray(predicted > output.threshold)
    return np.asarray(probabilities(output, predicted) >= np.array(output.point.thresholds))


def classes_of(output: Output) -> tuple[Array, Array]:
    """Return the true and the predicted class at each place, those that do not count among them."""
    y = output.y
    if output.task is OutputTask.BINARY:
        predicted = decisions(output, output.predicted).reshape(-1).astype(int)
        return y.reshape(-1).astype(int), predicted
    true = y.argmax(-1) if is_one_hot(output) else y
    return true.reshape(-1).astype(int), decisions(output, output.predicted).reshape(-1)


def is_one_hot(output: Output) -> bool:
    """Tell whether targets have a column for each class, as ``categorical_crossentropy`` takes them."""
    y, width = output.y, output.predicted.shape[-1]
    return y.ndim == output.predicted.ndim and y.shape[-1] == width and width > 1


def _classification(output: Output) -> tuple[dict[str, float], dict[str, Json]]:
    if output.task is OutputTask.MULTILABEL:
        width = output.predicted.shape[-1]
        classes = list(range(width))
        true = rows_of(output, output.y, width).astype(int)
        predicted = rows_of(output, decisions(output, output.predicted), width).astype(int)
        confusion: Json = None
    else:
        true, predicted = (rows_of(output, array, 1)[:, 0] for array in classes_of(output))
        count = 2 if output.task is OutputTask.BINARY else output.predicted.shape[-1]
        classes = list(range(count))
        confusion = confusion_to_json(_cells(true, predicted, count), count)
    if len(true):
        scores = metrics.precision_recall_fscore_support(
            true, predicted, labels=classes, zero_division=0.0
        )
    else:
        scores = tuple(np.zeros((4, len(classes))))
    precision, recall, f1, support = scores
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


def _cells(true: Array, predicted: Array, classes: int) -> Iterator[tuple[int, int, int]]:
    """Yield the samples of each (true, predicted) class there is; labels that are no class are none's."""
    known = (true >= 0) & (true < classes)
    places, counts = np.unique(true[known] * classes + predicted[known], return_counts=True)
    for place, count in zip(places.tolist(), counts.tolist(), strict=True):
        yield *divmod(place, classes), count


def _regression(output: Output) -> tuple[dict[str, float], dict[str, Json]]:
    """Return the metrics of numbers: one column per number of a sample.

    Where only some steps of a sample count, these are pooled: one column per number of a step.
    """
    true, predicted = columns_of(output)
    if not len(true):
        return dict.fromkeys(NUMBER_METRICS, math.nan), {}
    true = true.astype(np.float64)
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


def columns_of(output: Output) -> tuple[Array, Array]:
    """Return the targets and predictions of numbers: a row per sample, or per step that counts."""
    y = output.y.reshape(output.predicted.shape)
    if output.counted is None:
        return y.reshape(len(y), -1), output.numbers.reshape(len(y), -1)
    size = int(output.counted.sum())
    true, predicted = (array[output.counted].reshape(size, -1) for array in (y, output.numbers))
    return true, predicted


def rows_of(output: Output, array: Array, width: int) -> Array:
    """Return the places of an array that count, as rows of ``width`` values."""
    if output.counted is None:
        return array.reshape(-1, width)
    rank = output.counted.ndim
    whole = array.reshape((*output.predicted.shape[:rank], -1, width))
    return whole[output.counted].reshape(-1, width)
