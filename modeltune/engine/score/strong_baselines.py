"""Fit a strong model of scikit-learn that nobody tuned, and tell how much better a model is. No Keras is needed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from modeltune.engine.data import Part, RaggedArray, leaves
from modeltune.engine.score.task_report import Output, OutputTask, classes_of, decisions
from modeltune.ground import SpecError
from modeltune.records import Array
from modeltune.specs import Gate, Spec, Subject

LARGEST_SAMPLE = 4096
"""Numbers of a sample that a strong baseline takes; an image is that many pixels in a row."""

MOST_FITTED_NUMBERS = 2_000_000
"""Numbers of train that it is fitted to, and most rows: of more, rows drawn at random. It takes seconds."""

MOST_FITTED_ROWS = 20_000

MOST_CATEGORIES = 255
"""Different texts of a column that are categories; a column of more holds texts."""

MOST_TARGETS = 10
"""Targets, or labels, of a sample, each of which has a model of its own."""

FEW_NUMBERS = 100_000
"""Numbers of train that one thread takes."""

ITERATIONS = 100
"""Rounds of boosting, fewer where it stops early; of many classes each round is a tree for each."""


def check_strong_baselines(spec: Spec, train: Part, test: Part) -> None:
    """Refuse data that a strong baseline of a gate cannot take, before anything is trained.

    Raises:
        SpecError: names the gate, and what to do.
    """
    for index, gate in enumerate(spec.gates):
        if not isinstance(gate, Gate) or gate.measure.subject is not Subject.GAIN_OVER:
            continue
        why = _refusal(train, "train") or _refusal(test, "test")
        if why is not None:
            raise SpecError(f"gates[{index}]: {gate!r}: {why}")


def strong_gain(name: str, train: Part, test: Part, outputs: Sequence[Output]) -> float:
    """Return how much better a model is on test than a strong baseline that is fitted to train.

    That is the share of right samples minus the baseline's, and of numbers R2 minus the baseline's: 0
    where both are as good, below 0 where the baseline is better. A sample with several labels is right
    where all are; R2 of several targets is their mean.

    Args:
        name: "hist_gradient_boosting" or "knn".
        train: what the baseline is fitted to.
        test: what both are scored on.
        outputs: what the model predicts for test.

    Raises:
        SpecError: there is no such baseline for outputs or data like these.
    """
    if len(outputs) != 1 or outputs[0].task is OutputTask.OTHER:
        raise SpecError("it takes a model of one output that predicts classes, labels or numbers")
    (output,) = outputs
    why = _refusal(train, "train") or _refusal(test, "test")
    if why is not None:
        raise SpecError(why)
    rows = output.rows
    taken = _rows_of(train)
    is_of_numbers = output.task is OutputTask.REGRESSION
    y_train, y_test = (_targets(part, output, is_of_numbers) for part in (train, test))
    x_train, x_test = _features(train, test, taken)
    model = _fitted(name, x_train, y_train[taken], is_of_numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that train has not
        predicted = np.asarray(model.predict(x_test))[rows]
    if is_of_numbers:
        own = output.numbers.reshape(len(rows), -1)[rows]
        return _r2(y_test[rows], own) - _r2(y_test[rows], predicted)
    return float(_right(output)[rows].mean()) - _share_equal(y_test[rows], predicted)


def _refusal(part: Part, name: str) -> str | None:
    """Return why a part cannot be learnt from, None where it can."""
    if part.stream is not None:
        return f"{name} is a stream; return arrays, or leave the gate out"
    if not part.size:
        return f"{name} has no samples for the baseline; return some, or leave the gate out"
    if part.y is None:
        return f"{name} has no targets (y) for the baseline to learn from; leave the gate out"
    if len(list(leaves(part.y))) != 1:
        return "it takes a model of one output, and y has several arrays; leave the gate out"
    width = 0
    for path, array in leaves(part.x):
        what = f"x.{path}" if path else "x"
        if isinstance(array, RaggedArray):
            return f"{name} {what} has rows of different lengths; pad them, or leave the gate out"
        if array.dtype.kind in "OUS":
            many = array.ndim > 2 or (array.ndim == 2 and array.shape[1] > 1)
            if many or len(np.unique(array.reshape(-1).astype(str))) > MOST_CATEGORIES:
                return (
                    f"{name} {what} holds texts, and the baseline takes numbers and at most "
                    f"{MOST_CATEGORIES} categories; encode them in the data function, or leave the gate out"
                )
        elif array.dtype.kind not in "buif":
            return f"{name} {what} is of {array.dtype}; return numbers, or leave the gate out"
        width += int(np.prod(array.shape[1:], dtype=int))
    if width > LARGEST_SAMPLE:
        return (
            f"a sample of {name} has {width} numbers, and the baseline takes {LARGEST_SAMPLE}, an image as "
            "its pixels; make it smaller in the data function, or leave the gate out"
        )
    return None


def _rows_of(train: Part) -> Array:
    """Return the rows that the baseline is fitted to: all, or some of many, drawn alike each time."""
    width = sum(int(np.prod(array.shape[1:], dtype=int)) for _, array in leaves(train.x))
    most = min(MOST_FITTED_ROWS, max(200, MOST_FITTED_NUMBERS // max(1, width)))
    if train.size <= most:
        return np.arange(train.size)
    return np.sort(np.random.default_rng(0).choice(train.size, most, replace=False))


def _targets(part: Part, output: Output, is_of_numbers: bool) -> Array:
    """Return the targets of a part: classes (n,), labels (n, k) or numbers (n, k)."""
    ((_, y),) = leaves(part.y)
    y = np.asarray(y)
    if is_of_numbers:
        y = y.reshape(len(y), -1).astype(np.float64)
    elif output.task is OutputTask.MULTICLASS and y.ndim == 2 and y.shape[1] > 1:
        y = y.argmax(axis=1)
    elif output.task is not OutputTask.MULTILABEL:
        y = y.reshape(len(y), -1)
        y = y[:, 0] if y.shape[1] == 1 else y
    if y.ndim > 1 and y.shape[1] > MOST_TARGETS:
        raise SpecError(f"a sample has {y.shape[1]} targets, and it takes {MOST_TARGETS} at most")
    return y


def _features(train: Part, test: Part, rows: Array) -> tuple[Array, Array]:
    """Return the inputs of some rows of train, and of test, as numbers: (n, k). Categories are one-hot."""
    columns: list[tuple[Array, Array]] = []
    for (_, of_train), (_, of_test) in zip(leaves(train.x), leaves(test.x), strict=True):
        one, other = np.asarray(of_train[rows]), np.asarray(of_test[:])
        if one.dtype.kind in "OUS":
            known = np.unique(one.reshape(-1).astype(str))
            one, other = (
                (array.reshape(-1, 1).astype(str) == known).astype(np.float32)
                for array in (one, other)
            )
        columns.append(
            (one.reshape(len(one), -1).astype(np.float32), other.reshape(len(other), -1))
        )
    return (
        np.concatenate([one for one, _ in columns], axis=1),
        np.concatenate([other.astype(np.float32) for _, other in columns], axis=1),
    )


def _fitted(name: str, x: Array, y: Array, is_of_numbers: bool) -> Any:
    from sklearn import ensemble, impute, multioutput, neighbors, pipeline, preprocessing

    if name == "knn":
        nearest = (
            neighbors.KNeighborsRegressor if is_of_numbers else neighbors.KNeighborsClassifier
        )(n_neighbors=min(5, len(x)))
        steps = impute.SimpleImputer(keep_empty_features=True), preprocessing.StandardScaler()
        model = pipeline.make_pipeline(*steps, nearest)
    else:
        boosting = (
            ensemble.HistGradientBoostingRegressor
            if is_of_numbers
            else ensemble.HistGradientBoostingClassifier
        )
        rounds = ITERATIONS if is_of_numbers else ITERATIONS * 10 // len(np.unique(y))
        model = boosting(
            max_iter=max(1, min(ITERATIONS, rounds)), early_stopping=False, random_state=0
        )
        if y.ndim > 1 and y.shape[1] > 1:
            several = (
                multioutput.MultiOutputRegressor
                if is_of_numbers
                else multioutput.MultiOutputClassifier
            )
            model = several(model)
    with _threads(x):
        return model.fit(x, y[:, 0] if y.ndim > 1 and y.shape[1] == 1 else y)


def _threads(x: Array) -> AbstractContextManager[object]:
    """Return a context in which few numbers are computed by one thread: others would wait for each other."""
    if x.size > FEW_NUMBERS:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limited: AbstractContextManager[object] = threadpool_limits(1)
    return limited


def _right(output: Output) -> Array:
    """Return which samples a model has right, bool of shape (n,)."""
    if output.task is OutputTask.MULTICLASS:
        true, answers = classes_of(output)
    else:
        true, answers = output.y.astype(bool), decisions(output, output.predicted).astype(bool)
    size = len(output.y)
    equal: Array = (true.reshape(size, -1) == answers.reshape(size, -1)).all(axis=1)
    return equal


def _share_equal(truth: Array, predicted: Array) -> float:
    return float((truth.reshape(len(truth), -1) == predicted.reshape(len(truth), -1)).all(1).mean())


def _r2(truth: Array, predicted: Array) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(truth, predicted.reshape(truth.shape)))
