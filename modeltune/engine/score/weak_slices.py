"""Look for slices of the test part on which a model is weak: found on one half of it, proven on the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from modeltune.engine.data import Part
from modeltune.engine.fit import caution
from modeltune.ground import error_line, holm, typed
from modeltune.records import Array, Json, Samples, unpack_samples

WEAK_SLICES = "model.weak_slices"

FALSE_WARNINGS = 0.05
"""How often a model without weak slices may be warned of."""

MOST_SLICED_COLUMNS = 20
"""Columns of a source that are searched; wider inputs are no table that somebody reads."""

MOST_SLICED_VALUES = 12
"""Values of a column that are slices of their own, the most frequent first."""

MOST_SEARCHED = 5_000
"""Samples that slices are looked for among."""

MOST_PROVEN = 3
"""Slices that are carried over to the other half."""

FEWEST_SAMPLES = 20
"""Samples that a slice has on each half, and that are outside of it."""

FEWEST_UNITS = 10
"""Groups, or blocks in time, that a slice reaches on each half."""

LARGER, APART = 1.5, 0.1
"""How many times the error outside of a weak slice its own is, or how much larger a share of errors."""

MOST_SHARED = 0.7
"""The share of samples that two slices have in common from which they are one."""

LONGEST_VALUE = 60
"""Characters of a text that names a slice."""


@dataclass(frozen=True, eq=False)
class SliceColumn:
    """What is known of each sample of the test part: its values, and how an author writes it.

    ``is_listed`` tells that its values are slices of their own, as those of texts are.
    """

    name: str
    code: str
    values: Any
    is_listed: bool

    def take(self, rows: Array) -> Any:
        """Return the values of these rows."""
        return self.values.iloc[rows] if hasattr(self.values, "iloc") else self.values[rows]


@dataclass(frozen=True)
class Condition:
    """A column compared with a value, ``symbol`` being ``==``, ``!=``, ``>`` or ``<=``."""

    column: SliceColumn
    symbol: str
    value: Any

    def mask(self) -> Array:
        """Return which samples fulfil it, bool of shape (n,), as its ``code`` does."""
        found = np.asarray(self._compared())
        if found.dtype == bool:
            return found
        return np.asarray(self._compared().fillna(False), bool)

    @property
    def code(self) -> str:
        """The expression to type."""
        text = f"{self.column.code} {self.symbol} {typed(self.value)}"
        if isinstance(self.value, bool) and getattr(self.column.values.dtype, "kind", "O") == "b":
            text = f"{'' if self.value == (self.symbol == '==') else '~'}{self.column.code}"
        # Of columns with missing values pandas compares with a third answer.
        is_plain = np.asarray(self._compared()).dtype == bool
        return text if is_plain else f"({text}).fillna(False)"

    def __str__(self) -> str:
        return f"{self.column.name} {self.symbol.replace('==', 'is').replace('!=', 'is not')} {self.value}"

    def _compared(self) -> Any:
        values = self.column.values
        if self.symbol == "==":
            return values == self.value
        if self.symbol == "!=":
            return values != self.value
        return values > self.value if self.symbol == ">" else values <= self.value


@dataclass(frozen=True)
class WeakSlice:
    """A slice by one or two conditions on x, or on the metadata, as ``argument`` says."""

    argument: str
    conditions: tuple[Condition, ...]

    def mask(self) -> Array:
        """Return which samples are in it, bool of shape (n,)."""
        masks = [condition.mask() for condition in self.conditions]
        return masks[0] if len(masks) == 1 else masks[0] & masks[1]

    @property
    def code(self) -> str:
        """What is typed after a metric: ``.on(name, select)``."""
        parts = [condition.code for condition in self.conditions]
        text = parts[0] if len(parts) == 1 else " & ".join(f"({part})" for part in parts)
        name = " and ".join(map(str, self.conditions))
        return f".on({typed(name)}, lambda {self.argument}: {text})"


@dataclass(frozen=True)
class Weakness:
    """How much larger errors are in a slice than outside, on samples that it was not chosen by.

    ``p`` is the one-sided p-value of "not larger", ``size`` how many samples the slice has of these.
    """

    inside: float
    outside: float
    size: int
    p: float


def warn_of_weak_slices(packed: Json, part: Part) -> None:
    """Warn of slices of the test part on which the scored model is weak.

    A sample's error is whether it is wrong, the share of its labels that are, or the distance of a number.

    Args:
        packed: what a refit did on each test sample; nothing is looked for where it is None.
        part: the test part, with its metadata; a stream is not searched.
    """
    if packed is None or part.stream is not None:
        return
    try:
        samples = unpack_samples(packed)
        for prefix in samples.truth:
            errors = sample_errors(samples, prefix)
            if errors is None:
                continue
            is_share = samples.truth[prefix].dtype.kind != "f"
            found = weak_slices(errors, sources(part), is_share, samples.clusters, part.is_ordered)
            for one, weakness in found:
                of = f"{prefix.removesuffix('_')}: " if prefix else ""
                caution(WEAK_SLICES, f"{of}{_sentence(weakness, is_share)}: {one.code}")
    except Exception as error:  # noqa: BLE001  a model that was scored is not lost
        caution(WEAK_SLICES, f"the search raised {error_line(error)}")


def _sentence(weakness: Weakness, is_share: bool) -> str:
    inside, outside = (
        f"{100 * error:.3g} % wrong" if is_share else f"a mean error of {error:.3g}"
        for error in (weakness.inside, weakness.outside)
    )
    return f"{inside} on {weakness.size} samples, {outside} on others, p = {weakness.p:.1g}"


def sample_errors(samples: Samples, prefix: str) -> Array | None:
    """Return the first refit's error on each sample, float64 of shape (n,), NaN of those that do not count.

    None where predictions are not kept beside the truth.
    """
    truth, predicted = samples.truth[prefix], samples.predicted.get(prefix)
    if predicted is None or not len(predicted) or predicted.shape[1:] != truth.shape:
        return None
    if truth.dtype.kind == "f":
        apart = np.abs(predicted[0].astype(np.float64) - truth)
        return np.asarray(apart.reshape(len(truth), -1).mean(axis=1))
    wrong = (predicted[0] != truth).astype(np.float64)
    if truth.ndim > 1:
        return np.asarray(wrong.reshape(len(truth), -1).mean(axis=1))
    return np.where(truth >= 0, wrong, np.nan)


# What slices are made of


def sources(part: Part) -> dict[str, list[SliceColumn]]:
    """Return by the argument of a slice's function the columns it can choose by."""
    by_argument = {"metadata": _of_metadata(part.metadata), "x": _of_inputs(part)}
    return {
        argument: columns
        for argument, columns in by_argument.items()
        if 0 < len(columns) <= MOST_SLICED_COLUMNS
    }


def _of_metadata(frame: Any) -> list[SliceColumn]:
    if frame is None:
        return []
    columns = [
        _column(str(label), f"metadata[{typed(label)}]", frame.iloc[:, place])
        for place, label in enumerate(frame.columns)
        if isinstance(label, str | int)
    ]
    return [column for column in columns if column is not None]


def _of_inputs(part: Part) -> list[SliceColumn]:
    """Return the columns of a table: of a frame or a matrix, or inputs of one number each."""
    whole, size = part.whole.get("x", part.x), part.size
    columns: list[SliceColumn | None] = []
    if "x" in part.frames:
        columns += [_column(k, f"x[{typed(k)}]", values) for k, values in part.by_column().items()]
    elif (
        isinstance(whole, np.ndarray) and whole.ndim == 2 and whole.shape[1] <= MOST_SLICED_COLUMNS
    ):
        for place in range(whole.shape[1]):
            columns.append(_column(f"column {place}", f"x[:, {place}]", whole[:, place]))
    elif isinstance(whole, Mapping):
        for name, values in whole.items():
            if isinstance(values, np.ndarray) and values.shape in ((size,), (size, 1)):
                flat = ".reshape(-1)" * (values.ndim == 2)
                columns.append(_column(str(name), f"x[{typed(name)}]{flat}", values.reshape(-1)))
    return [column for column in columns if column is not None]


def _column(name: str, code: str, values: Any) -> SliceColumn | None:
    """Return a column of numbers, of texts or of True and False; None of anything else."""
    kind = getattr(values.dtype, "kind", "O")
    if kind in "fiu":
        if kind != "f" and len(np.unique(np.asarray(values[:MOST_SEARCHED]))) <= MOST_SLICED_VALUES:
            return SliceColumn(name, code, values, True)
        return SliceColumn(name, code, values, False)
    # Whether an object is a text shows in the values that there are.
    known = [value for value in np.asarray(values[:MOST_SEARCHED], object) if _is_there(value)]
    if all(isinstance(value, str | bool | np.bool_) for value in known):
        return SliceColumn(name, code, values, True)
    return None


def _is_there(value: Any) -> bool:
    if value is None or type(value).__name__ == "NAType":  # no comparison with that tells anything
        return False
    return not (isinstance(value, float) and math.isnan(value))


# The search, and the proof


def weak_slices(
    errors: Array,
    columns: Mapping[str, Sequence[SliceColumn]],
    is_share: bool,
    clusters: Array | None = None,
    is_ordered: bool = False,
) -> list[tuple[WeakSlice, Weakness]]:
    """Return the slices on which errors are larger than elsewhere, at most ``MOST_PROVEN``.

    Slices are looked for on one half of the samples: each value of a column of texts, and the nodes of
    shallow trees. The few with the largest errors are judged on the other half, by Fisher's exact test
    or, where errors are numbers or samples depend on each other, by the difference's standard error over groups
    or blocks; Holm's procedure over these keeps the chance of any false warning at ``FALSE_WARNINGS``. A slice is
    weak where its error is also ``LARGER`` times that of the others, or by ``APART`` of a share above it.

    Args:
        errors: of each sample, float64 of shape (n,); NaN of those that do not count.
        columns: by the argument of a slice's function what it can choose by.
        is_share: whether errors are shares of what is wrong, from 0 to 1.
        clusters: the number of each sample's group, int of shape (n,); halves keep groups whole.
        is_ordered: whether samples are in time: the first half is searched, the second judged.
    """
    counted = np.isfinite(errors)
    searched = _searched_half(len(errors), clusters, is_ordered)
    first, second = np.flatnonzero(searched & counted), np.flatnonzero(~searched & counted)
    if min(len(first), len(second)) < 2 * FEWEST_SAMPLES:
        return []
    units = _units(errors, clusters, is_ordered)
    looked_at = first
    if len(first) > MOST_SEARCHED:
        picked = np.random.default_rng(0).choice(len(first), MOST_SEARCHED, replace=False)
        looked_at = first[np.sort(picked)]
    found: list[tuple[float, WeakSlice, Array]] = []
    for argument, known in columns.items():
        for conditions in _candidates(known, errors, looked_at):
            one = WeakSlice(argument, conditions)
            mask = one.mask()
            score = _score(errors[first], mask[first])
            is_wide = all(_reaches(mask, rows, units) for rows in (first, second))
            if is_wide and score > 0 and _is_large(errors[first], mask[first], is_share):
                found.append((score, one, mask))
    found.sort(key=lambda scored: (-scored[0], scored[1].code))
    carried: list[tuple[WeakSlice, Array]] = []
    for _, one, mask in found:
        if len(carried) < MOST_PROVEN and not any(_are_one(mask, other) for _, other in carried):
            carried.append((one, mask))
    proven = [
        weakness_of(errors[second], mask[second], None if units is None else units[second])
        for _, mask in carried
    ]
    adjusted = holm([weakness.p for weakness in proven])
    return [
        (one, Weakness(weakness.inside, weakness.outside, weakness.size, p))
        for (one, mask), weakness, p in zip(carried, proven, adjusted, strict=True)
        if p <= FALSE_WARNINGS and _is_large(errors[second], mask[second], is_share)
    ]


def weakness_of(errors: Array, inside: Array, units: Array | None = None) -> Weakness:
    """Compare errors in a slice with those of the others, with its p-value for one-sided "not larger".

    Of errors that are 0 or 1 of independent samples the test is Fisher's (The Design of Experiments, 1935).
    Else it is Student's t of the difference by its standard error over groups or blocks (Liang & Zeger,
    Biometrika 73, 1986, 13-22), with the degrees of freedom of Satterthwaite.

    Args:
        errors: float64 of shape (n,).
        inside: which samples are in the slice, bool of shape (n,).
        units: the number of each sample's group or block, (n,); None where samples are independent.
    """
    one, other = errors[inside], errors[~inside]
    if units is None and np.isin(errors, (0, 1)).all():
        p = _fisher(int(one.sum()), len(one), int(errors.sum()), len(errors))
        return Weakness(float(one.mean()), float(other.mean()), len(one), p)
    influences = np.where(
        inside, (errors - one.mean()) / len(one), (other.mean() - errors) / len(other)
    )
    if units is not None:
        influences = np.bincount(np.unique(units, return_inverse=True)[1], influences)
    squares = np.square(influences)
    total, delta = float(squares.sum()), float(one.mean() - other.mean())
    if not total:
        p = 0.0 if delta > 0 else 1.0
    else:
        freedom = max(total**2 / float(squares @ squares), 2.0)
        error = math.sqrt(total * freedom / (freedom - 1))
        p = float(special.stdtr(freedom - 1, -delta / error))
    return Weakness(float(one.mean()), float(other.mean()), len(one), p)


def _fisher(wrong_inside: int, inside: int, wrong: int, n: int) -> float:
    """Return the chance of so many wrong samples in the slice, were they drawn from all."""
    k = np.arange(wrong_inside, min(wrong, inside) + 1)

    def chosen(of: Any, some: Any) -> Any:
        return special.gammaln(of + 1) - special.gammaln(some + 1) - special.gammaln(of - some + 1)

    # Fewer than there are places outside is impossible.
    k = k[wrong - k <= n - inside]
    logs = chosen(wrong, k) + chosen(n - wrong, inside - k) - chosen(n, inside)
    return min(1.0, float(np.exp(logs).sum()))


def _searched_half(n: int, clusters: Array | None, is_ordered: bool) -> Array:
    """Return which samples slices are looked for on, bool of shape (n,); the others judge."""
    if is_ordered:
        return np.arange(n) < n // 2
    random = np.random.default_rng(0)
    if clusters is None:
        return np.asarray(random.permutation(n) < n // 2)
    places = np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(places)
    order = random.permutation(len(sizes))
    is_searched = np.zeros(len(sizes), bool)
    is_searched[order] = np.cumsum(sizes[order]) <= n // 2
    return np.asarray(is_searched[places])


def _units(errors: Array, clusters: Array | None, is_ordered: bool) -> Array | None:
    """Return what each sample is in that is independent of others, int of shape (n,); None: itself."""
    if clusters is not None:
        return clusters
    if not is_ordered:
        return None
    # Blocks of n^(1/3) samples leave what is within them dependent on its neighbours: twice that.
    return np.asarray(np.arange(len(errors)) // max(1, math.ceil(2 * len(errors) ** (1 / 3))))


def _reaches(mask: Array, rows: Array, units: Array | None) -> bool:
    inside = rows[mask[rows]]
    if min(len(inside), len(rows) - len(inside)) < FEWEST_SAMPLES:
        return False
    return units is None or len(np.unique(units[inside])) >= FEWEST_UNITS


def _score(errors: Array, inside: Array) -> float:
    """Return by how many standard errors a slice's errors are above those of the others."""
    one, other = errors[inside], errors[~inside]
    if min(len(one), len(other)) < FEWEST_SAMPLES:
        return 0.0
    spread = float(np.var(errors)) * (1 / len(one) + 1 / len(other))
    return float(one.mean() - other.mean()) / math.sqrt(spread) if spread else 0.0


def _is_large(errors: Array, inside: Array, is_share: bool) -> bool:
    one, other = float(errors[inside].mean()), float(errors[~inside].mean())
    return one > 0 and (one >= LARGER * other or (is_share and one - other >= APART))


def _are_one(mask: Array, other: Array) -> bool:
    return int((mask & other).sum()) > MOST_SHARED * int((mask | other).sum())


# What is tried


def _candidates(
    columns: Sequence[SliceColumn], errors: Array, rows: Array
) -> Iterator[tuple[Condition, ...]]:
    """Yield the conditions of slices: values of columns, and the nodes of shallow trees."""
    features: list[tuple[SliceColumn, Any]] = []
    numbers: list[Array] = []
    for column in columns:
        if column.is_listed:
            for value in _frequent(column, rows):
                condition = Condition(column, "==", value)
                yield (condition,)
                features.append((column, value))
                numbers.append(condition.mask()[rows].astype(np.float64))
            continue
        taken = np.asarray(_as_floats(column.take(rows)), np.float64)
        is_number = np.isfinite(taken)
        if is_number.sum() >= 2 * FEWEST_SAMPLES:
            features.append((column, None))
            numbers.append(np.where(is_number, taken, np.median(taken[is_number])))
    if not features:
        return
    table, wrong = np.stack(numbers, axis=1), errors[rows]
    yield from _nodes(features, table, wrong)
    for place, (column, _) in enumerate(features):
        if not column.is_listed:
            yield from _nodes(features[place : place + 1], table[:, [place]], wrong)


def _as_floats(values: Any) -> Any:
    if hasattr(values, "to_numpy"):
        return values.to_numpy(np.float64, na_value=np.nan)
    return values


def _frequent(column: SliceColumn, rows: Array) -> list[Any]:
    """Return the values of a column that many samples have, the most frequent first."""
    counts: dict[Any, int] = {}
    for value in np.asarray(column.take(rows), object).tolist():
        if _is_there(value):
            counts[value] = counts.get(value, 0) + 1
    known = [
        value
        for value, count in counts.items()
        if count >= FEWEST_SAMPLES and len(str(value)) <= LONGEST_VALUE
    ]
    return sorted(known, key=lambda value: (-counts[value], str(value)))[:MOST_SLICED_VALUES]


def _nodes(
    features: Sequence[tuple[SliceColumn, Any]], table: Array, errors: Array
) -> Iterator[tuple[Condition, ...]]:
    """Yield the conditions of each node of a tree of two levels that is fitted to the errors."""
    from sklearn.tree import DecisionTreeRegressor

    grown = DecisionTreeRegressor(max_depth=2, min_samples_leaf=FEWEST_SAMPLES, random_state=0)
    tree = grown.fit(table, errors).tree_

    def below(node: int, path: tuple[Condition, ...]) -> Iterator[tuple[Condition, ...]]:
        if path:
            yield _tightest(path)
        left, right = tree.children_left[node], tree.children_right[node]
        if left == right:
            return
        column, value = features[tree.feature[node]]
        threshold = _rounded(float(tree.threshold[node]), table[:, tree.feature[node]], column)
        low, high = ("<=", threshold), (">", threshold)
        if column.is_listed:
            low, high = ("!=", value), ("==", value)
        yield from below(left, (*path, Condition(column, *low)))
        yield from below(right, (*path, Condition(column, *high)))

    yield from below(0, ())


def _tightest(path: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return two conditions as one where the second says all that the first does."""
    if len(path) == 2 and path[0].column is path[1].column:
        first, second = path
        if first.symbol == second.symbol != "!=" or second.symbol == "==":
            return (second,)
    return path


def _rounded(threshold: float, values: Array, column: SliceColumn) -> float | int:
    """Return a threshold with as many digits as tell the values apart, three of their range."""
    if getattr(column.values.dtype, "kind", "f") in "iu":
        return math.floor(threshold)
    span = float(np.ptp(values))
    return round(threshold, 3 - math.ceil(math.log10(span))) if span else threshold
