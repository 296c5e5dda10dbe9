"""Look for what gives the answer away: a column that alone predicts the target, test rows of an earlier time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from modeltune.engine.data.loading import LoadedData, Part, class_labels, leaves
from modeltune.engine.data.ragged import RaggedArray
from modeltune.records import Area, Array, Outcome, Verdict, check_verdict
from modeltune.specs import Checks, Severity

SUSPECT = 0.999
"""The balanced accuracy, or R2, of one column from which on it is a suspect: data that scikit-learn ships stay below 0.97."""

FEWEST_ROWS, MOST_ROWS = 50, 5_000
"""Rows of train that are looked at: with fewer a column may separate classes by chance."""

MOST_FEATURE_COLUMNS = 200
"""Columns of all inputs together beyond which none is looked at: pixels and embeddings are no features."""

MOST_CLASSES, MOST_VALUES = 20, 50
"""Classes of a target, and different texts of a column, that are looked at."""

NAMED_SUSPECTS = 3


def check_suspects(loaded: LoadedData, checks: Checks) -> Iterator[Verdict]:
    """Yield a verdict on columns that alone predict the target, and one on test rows of an earlier time, if any."""
    found = _leaking_columns(loaded)
    if found:
        _name, score, _measure = found[0]
        listed = ", ".join(
            f"{one} ({kind} {value:.4f})" for one, value, kind in found[:NAMED_SUSPECTS]
        )
        more = f", and {len(found) - NAMED_SUSPECTS} more" if len(found) > NAMED_SUSPECTS else ""
        alone = "column of train predicts" if len(found) == 1 else "columns of train each predict"
        reason = (
            f"{len(found)} {alone} the target alone: {listed}{more}. Is it known when the model is asked, or "
            "does it follow from the answer? Leave out what follows from it"
        )
        yield _verdict(
            "leaking_feature", checks.severity("leaking_feature"), score, SUSPECT, reason
        )
    for column, share, first, last in _earlier_rows(loaded):
        reason = (
            f"{share:.1%} of the test rows are earlier than the last row of train, by {column}: test begins at "
            f"{first.astype('M8[s]')}, train ends at {last.astype('M8[s]')}. Return parts in the order of time, or leave ordered=True out"
        )
        yield _verdict("order", Severity.WARN, share, 0.0, reason)
        return


def _verdict(name: str, severity: Severity, measured: float, bound: float, reason: str) -> Verdict:
    outcome = Outcome.FAILED if severity is Severity.FAIL else Outcome.WARNED
    return check_verdict(
        Area.DATA, f"checks.{name}", outcome, measured, bound, reason, severity=severity
    )


def _leaking_columns(loaded: LoadedData) -> list[tuple[str, float, str]]:
    """Return the columns of train that alone predict its target: name, score and measure, the best first."""
    train = loaded.train
    if train.stream is not None or not train.has_targets or train.size < FEWEST_ROWS:
        return []
    targets = [y for _, y in leaves(train.y)]
    if len(targets) != 1 or loaded.order.is_ordered:
        return []  # of a series the last value is next to the one that follows
    rows = np.linspace(0, train.size - 1, min(train.size, MOST_ROWS)).astype(int)
    (y,) = targets
    labels = class_labels(y)
    if labels is not None:
        values, codes = np.unique(np.asarray(labels[rows]).astype(str), return_inverse=True)
        if not 2 <= len(values) <= MOST_CLASSES or len(values) > len(rows) // 10:
            labels = None
    numbers: Array | None = None
    if labels is None:
        if y.dtype.kind not in "iuf" or y.reshape(len(y), -1).shape[1] != 1:
            return []
        numbers = y.reshape(-1)[rows].astype(np.float64)
        if not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
            return []
    columns = list(_columns(train, rows))
    if len(columns) < 2 or len(columns) > MOST_FEATURE_COLUMNS:
        return []  # a single input is not a feature among others
    found = []
    for name, column in columns:
        score = _balanced_accuracy(column, codes) if numbers is None else _r2(column, numbers)
        if score >= SUSPECT:
            found.append((name, score, "balanced accuracy" if numbers is None else "R2"))
    return sorted(found, key=lambda one: -one[1])


def _columns(part: Part, rows: Array) -> Iterator[tuple[str, Array]]:
    """Yield the columns of tables by name, (n,) each; nothing of images, sequences and ragged rows."""
    for path, array in leaves(part.x):
        name = f"x.{path}" if path else "x"
        if isinstance(array, RaggedArray) or array.ndim > 2:
            continue
        if array.ndim == 2 and array.shape[1] > MOST_FEATURE_COLUMNS:
            continue
        if array.ndim < 2 or array.shape[1] == 1:
            yield name, np.asarray(array[rows]).reshape(-1)
            continue
        for place in range(array.shape[1]):
            yield f"{name}[:, {place}]", np.asarray(array[rows, place])


def _balanced_accuracy(column: Array, codes: Array) -> float:
    """Return the mean recall of the best cuts of a column into as many intervals as classes, or of its texts.

    Of classes that come in several stretches of a column of numbers it is too small.
    """
    classes = int(codes.max()) + 1
    if column.dtype.kind in "OUS":
        texts, places = np.unique(column.astype(str), return_inverse=True)
        if len(texts) > min(MOST_VALUES, len(column) // 10):
            return 0.0
        counts = np.zeros((len(texts), classes))
        np.add.at(counts, (places.reshape(-1), codes), 1)
        predicted = (counts / counts.sum(axis=0)).argmax(axis=1)[places.reshape(-1)]
    elif column.dtype.kind in "biuf":
        numbers = column.astype(np.float64)
        if not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
            return 0.0
        from sklearn.tree import DecisionTreeClassifier

        tree = DecisionTreeClassifier(
            max_leaf_nodes=classes, class_weight="balanced", random_state=0
        )
        predicted = tree.fit(numbers[:, None], codes).predict(numbers[:, None])
    else:
        return 0.0
    return float(np.mean([(predicted[codes == label] == label).mean() for label in range(classes)]))


def _r2(column: Array, numbers: Array) -> float:
    """Return the squared correlation of a column with the target, 0 of texts."""
    if column.dtype.kind not in "biuf":
        return 0.0
    values = column.astype(np.float64)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(values, numbers)[0, 1] ** 2)


def _earlier_rows(loaded: LoadedData) -> Iterator[tuple[str, float, Any, Any]]:
    """Yield by column of time which share of test is earlier than train's last row, where rows are in time."""
    train, test = loaded.train.metadata, loaded.test.metadata
    if not loaded.order.is_ordered or train is None or test is None or not len(train):
        return
    for column in train.columns:
        if column not in test.columns:
            continue
        then, now = (frame[column].to_numpy() for frame in (train, test))
        if then.dtype.kind != "M" or now.dtype.kind != "M":
            continue  # with a time zone they are objects
        share = float((now < then.max()).mean())
        if share > 0:
            yield str(column), share, now.min(), then.max()
