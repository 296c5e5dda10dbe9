"""Check the data before the search: leaks, repeats, constants, missing classes, drift."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from scipy import special

from modeltune.engine.data.loading import (
    Arrays,
    LoadedData,
    Part,
    chunks,
    class_labels,
    leaves,
    map_arrays,
)
from modeltune.engine.data.ragged import RaggedArray
from modeltune.ground import DataError, error_line, holm
from modeltune.records import (
    Area,
    Array,
    CheckDetails,
    ClassCounts,
    ConstantFeatures,
    Distance,
    Drift,
    Duplicates,
    Outcome,
    Overlap,
    Verdict,
    check_verdict,
    names_of_output,
)
from modeltune.specs import CHECKS, Checks, Severity

MOST_NAMED = 3
"""How many rows, columns or classes a reason names at most."""

LONG_ROW = 512
"""Bytes above which rows are hashed one by one, and by some of their values first."""

SOME = 64
"""Values of a long row by which it mostly differs from all others."""

DRIFT_ROWS = 5_000
"""Rows of a part that are compared; with so many, chance alone moves no feature by 0.05."""

DRIFT_COLUMNS = 2_000
"""Columns of an input that are compared."""

DRIFT_SEED = 0
"""The seed that draws rows and columns where there are more."""

DRIFT_ALPHA = 0.0001
"""The chance of reporting a drift where there is none, over all features together (Holm)."""

FEW_VALUES = 50
"""Features of whole numbers with at most so many values are compared as classes."""

FEW_CLASSES = 20
"""Integer targets with at most so many values are classes, however few the rows."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check; ``bad`` is None when streams leave the question open.

    ``unchecked`` names what they leave open: "rows that repeat an earlier one". What ``is_grave`` is red
    unless the spec says otherwise.
    """

    bad: bool | None
    measured: float | None
    bound: float | None
    reason: str
    details: CheckDetails | None = None
    unchecked: str = ""
    is_grave: bool = False


def check_data(loaded: LoadedData, checks: Checks) -> tuple[Verdict, ...]:
    """Return one verdict per check, in the order of the fields of Checks; raise nothing.

    Bad data are WARNED or FAILED, by the severity of the check, and a check that raises is an
    ERROR. What streams leave unchecked is in one verdict, "checks.streams"; a check that they leave
    open has its own one, INCONCLUSIVE, only if it has measured something.
    """
    rows, named = _Rows(loaded), _by_columns(loaded)
    checks_by_name: dict[str, Callable[[], CheckResult]] = {
        "overlap": lambda: _overlap(loaded, rows),
        "duplicates": lambda: _duplicates(loaded.train, rows),
        "constant_features": lambda: _constant_features(named),
        "labels": lambda: _labels(named),
        "drift": lambda: _drift(named, checks.max_drift),
    }
    verdicts: list[Verdict] = []
    unchecked: dict[str, str] = {}
    # All of them compare parts with train, which a given model may have none of.
    for name in CHECKS if loaded.train.size else ():
        try:
            result = checks_by_name[name]()
        except Exception as error:  # noqa: BLE001  odd data make an odd error, which the verdict names
            reason = f"the check raised {error_line(error)}"
            verdicts.append(_verdict(name, checks.severity(name), Outcome.ERROR, reason))
            continue
        finally:
            if name == "duplicates":
                rows.clear()  # the checks that follow need none
        if result.unchecked:
            unchecked[name] = result.unchecked
        if result.bad is None and result.details is None:
            continue
        severity = checks.severity(name, result.is_grave)
        outcome = _outcome(result.bad, severity)
        verdicts.append(_verdict(name, severity, outcome, result.reason, result))
    return *verdicts, *_on_streams(loaded, unchecked, checks)


def _by_columns(loaded: LoadedData) -> LoadedData:
    """Return the data with the columns of frames, by name, where the frame's array hides what they are.

    Those are frames of targets but one-hot ones, and frames of columns that are not all numbers.
    """

    arrays = [part for part in loaded.parts if part.stream is None]
    kinds = []
    for kind in ("x", "y"):
        train = getattr(loaded.train, kind)
        if not isinstance(train, np.ndarray) or train.ndim != 2 or train.shape[1] < 2:
            continue
        columns = [{column.name for column in part.frames.get(kind, ())} for part in arrays]
        are_alike = all(names and names == columns[0] for names in columns)
        if are_alike and (train.dtype.hasobject or (kind == "y" and class_labels(train) is None)):
            kinds.append(kind)
    by_name: dict[str, Any] = {}
    try:
        for part in arrays:
            changed: dict[str, Any] = {kind: part.by_column(kind) for kind in kinds}
            by_name[part.name] = replace(part, **changed)
    except DataError:
        # A column that is not of its dtype: a model that takes columns is told when it gets them.
        return loaded
    return replace(loaded, **by_name)


def _on_streams(
    loaded: LoadedData, unchecked: Mapping[str, str], checks: Checks
) -> Iterator[Verdict]:
    """Yield one verdict on streams, if there are any: what they change, and what they leave open."""
    varying = [p.name for p in (loaded.validation, loaded.test) if p.varies]
    if not varying and not unchecked:
        return
    sentences = []
    if varying:
        verb = "yields" if len(varying) == 1 else "yield"
        sentences.append(
            f"{' and '.join(varying)} {verb} other samples each time {'it is' if len(varying) == 1 else 'they are'}"
            " read, so that scores are not of the same samples; augment and draw in train only"
        )
    if unchecked:
        sentences.append(
            f"streamed data are not checked for {', '.join(unchecked.values())}; "
            "return arrays to have them checked"
        )
    is_strict = any(checks.severity(name) is Severity.FAIL for name in unchecked or CHECKS)
    severity = Severity.FAIL if is_strict else Severity.WARN
    outcome = _outcome(True, severity) if varying else Outcome.INCONCLUSIVE
    yield _verdict("streams", severity, outcome, ". ".join(sentences))


def _outcome(is_bad: bool | None, severity: Severity) -> Outcome:
    if is_bad is None:
        return Outcome.INCONCLUSIVE
    if not is_bad:
        return Outcome.PASSED
    return Outcome.FAILED if severity is Severity.FAIL else Outcome.WARNED


def _verdict(
    name: str, severity: Severity, outcome: Outcome, reason: str, result: CheckResult | None = None
) -> Verdict:
    measured, bound, details = (
        (result.measured, result.bound, result.details) if result else (None, None, None)
    )
    return check_verdict(
        Area.DATA, f"checks.{name}", outcome, measured, bound, reason, details, severity=severity
    )


def check_weights(loaded: LoadedData, class_weight: Mapping[Any, Any] | None) -> Verdict | None:
    """Warn of weights that train nothing: of classes that are not there, or all of them zero.

    None where there is nothing to warn of. The weights of a stream's samples are kept by nobody.
    """
    sentences: list[str] = []
    by_index = class_weight and not any(isinstance(name, str) for name in class_weight)
    if class_weight and by_index and (known := _classes_of(loaded.train)) is not None:
        called = names_of_output(loaded.class_names, "").label
        others = [called(key) for key in class_weight if key not in known]
        if others:
            sentences.append(
                f"fit.class_weight has weights for {_enumerate(others)}, but train has no row of "
                "such a class"
            )
    for part in loaded.parts:
        for path, weights in leaves(part.sample_weight):
            if weights.dtype.kind in "iubf" and weights.size and not weights.any():
                name = _array_name("sample_weight", path)
                sentences.append(f"{part.name} {name} is zero in every row, so no row counts")
    if not sentences:
        return None
    return check_verdict(
        Area.DATA,
        "checks.weights",
        Outcome.WARNED,
        float(len(sentences)),
        0.0,
        "; ".join(sentences),
        severity=Severity.WARN,
    )


def _classes_of(part: Part) -> Collection[float] | None:
    """Return the classes that a part has rows of; None where its targets are no classes."""
    if part.stream is not None:
        return part.classes
    labels = class_labels(part.y)
    if labels is None or labels.dtype.kind not in "iubf":
        return None
    return set(np.unique(labels).tolist())


class _Rows:
    """The row hashes of the parts in memory, each part's computed once, on first use.

    They are kept in ascending order, for a row number each would take as much memory again. The
    rows of a few hashes are found by hashing the part once more.

    Of long rows, such as images, a hash is that of some values of a row, if those of no other row
    are the same; else it is that of the whole row. So rows have one hash if and only if they are
    equal, and most of them are not read whole.
    """

    def __init__(self, loaded: LoadedData):
        self._parts = {
            part.name: part for part in loaded.parts if part.stream is None
        }  # fmt: skip
        self._sorted: dict[str, Array] = {}

    def sorted(self, name: str) -> Array:
        """Return one hash per row of a part's x, all inputs together, in ascending order."""
        if name not in self._sorted:
            part = self._parts[name]
            hashes = np.empty(part.size, np.uint64)
            for rows in _row_chunks(part.x):
                hashes[rows] = self._hashes(part.x, rows)
            hashes.sort()
            self._sorted[name] = hashes
        return self._sorted[name]

    def clear(self) -> None:
        """Forget the hashes, for the memory they take; they are computed again when needed."""
        self._sorted.clear()

    def distinct(self, name: str) -> int:
        """Return how many rows of a part differ from each other."""
        hashes = self.sorted(name)
        return 1 + int(np.count_nonzero(hashes[1:] != hashes[:-1]))

    def having(self, name: str, hashes: Array) -> Iterator[tuple[Array, Array]]:
        """Yield (row numbers, their hashes), chunk by chunk, of the rows that have one of these hashes.

        Args:
            name: of a part in memory.
            hashes: in ascending order, at least one.
        """
        x = self._parts[name].x
        for rows in _row_chunks(x):
            own = self._hashes(x, rows)
            found = np.flatnonzero(_are_among(own, hashes))
            if len(found):
                yield rows.start + found, own[found]

    def _hashes(self, x: Arrays, rows: slice) -> Array:
        hashes = row_hashes(_some_values_of(x, rows), self._dtypes)
        if len(self._ambiguous):
            alike = np.flatnonzero(_are_among(hashes, self._ambiguous))
            if len(alike):
                whole = map_arrays(operator.itemgetter(rows.start + alike), x)
                hashes[alike] = row_hashes(whole, self._dtypes)
        return hashes

    @cached_property
    def _dtypes(self) -> dict[str, Any]:
        """The dtype in which all parts are compared, by the path of an input."""
        dtypes: dict[str, list[Any]] = {}
        for part in self._parts.values():
            for path, array in leaves(part.x):
                dtypes.setdefault(path, []).append(array.dtype)
        return {path: _same_dtype(own) for path, own in dtypes.items()}

    @cached_property
    def _ambiguous(self) -> Array:
        """The hashes of some values that several rows of all parts have, in ascending order."""
        inputs = [part.x for part in self._parts.values()]
        if not any(_is_long(array) for x in inputs for _, array in leaves(x)):
            return np.zeros(0, np.uint64)
        hashes = np.concatenate(
            [
                row_hashes(_some_values_of(x, rows), self._dtypes)
                for x in inputs
                for rows in _row_chunks(x)
            ]
        )
        hashes.sort()
        return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _row_chunks(x: Arrays) -> Iterator[slice]:
    """Yield slices that together are all rows of an input, or of several, as ``chunks`` does."""
    return chunks(*(array for _, array in leaves(x)))


def _is_long(array: Array) -> bool:
    return not array.dtype.hasobject and array[:1].nbytes > LONG_ROW


def _some_values_of(x: Arrays, rows: slice) -> Arrays:
    """Return ``SOME`` values of each of these rows where they are long, (rows, ``SOME``); else all."""

    def some(array: Array) -> Array:
        if not _is_long(array):
            return array[rows]
        values = array[rows].reshape(len(array[rows]), -1)
        return values[:, _some_places(values.shape[1])]

    return map_arrays(some, x)


@cache
def _some_places(size: int) -> Array:
    return _draw(np.random.default_rng(DRIFT_SEED), size, SOME)


def _are_among(hashes: Array, known: Array) -> Array:
    """Tell of each hash whether it is among the known ones, which are in ascending order."""
    among: Array = known[np.searchsorted(known, hashes).clip(max=len(known) - 1)] == hashes
    return among


def row_hashes(arrays: Arrays, dtypes: Mapping[str, Any] | None = None) -> Array:
    """Return one hash per row over all arrays, each cast to the dtype of its path first.

    Shape (rows,), 64 bits each: of a million unequal rows two have one hash by chance once in forty
    million data sets. The bytes of a row are mixed eight at a time, each with its place, by the
    finalizer of SplitMix64 (https://doi.org/10.1145/2714064.2660195), and added up. The hashes of
    another process may be others.
    """
    named = dict(leaves(arrays))
    hashes = np.zeros(len(next(iter(named.values()))), np.uint64)
    for path, array in named.items():
        dtype = (dtypes or {}).get(path, array.dtype)
        space: Array | None = None
        for rows in chunks(array):
            if dtype.kind in "fc" and space is None:
                space = np.empty(array[rows].shape, dtype)
            words = _row_words(array[rows], dtype, space)
            places = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _STEP
            part = _mix(words + places).sum(axis=1, dtype=np.uint64)
            hashes[rows] = _mix((hashes[rows] + _STEP) ^ part)
    return hashes


_STEP = np.uint64(0x9E3779B97F4A7C15)
"""The odd number next to 2**64 over the golden ratio."""


def _mix(words: Array) -> Array:
    """Change every bit of each word by every other; one to one, and in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _row_words(array: Array, dtype: Any, space: Array | None = None) -> Array:
    """Return the bytes of each row as 64-bit words; rows that are equal in this dtype have equal ones.

    ``space`` holds a copy of as many rows or more: without, each copy of floats takes new memory,
    which the system clears first.
    """
    size = len(array)
    if dtype.kind in "OUS":
        texts = ("\0".join(map(_text, row)).encode() for row in array.reshape(size, -1))
        digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
        return np.frombuffer(digests, np.uint64).reshape(size, 1)
    rows = np.ascontiguousarray(array, dtype)
    if dtype.kind in "fc":
        rows = np.add(
            rows, dtype.type(0), out=None if space is None else space[:size]
        )  # -0.0 is 0.0
    rows = rows.reshape(size, -1)
    octets = rows.view(np.uint8) if rows.size else np.zeros((size, 0), np.uint8)
    if octets.shape[1] > LONG_ROW:
        # Python's own hash of bytes is faster there than several passes over all words.
        return np.fromiter((hash(row.tobytes()) for row in octets), np.int64, size).view(np.uint64)[
            :, None
        ]
    if missing := -octets.shape[1] % 8:
        octets = np.pad(octets, ((0, 0), (0, missing)))
    return octets.view(np.uint64)


def _text(value: object) -> str:
    if isinstance(value, RaggedArray):
        return f"[{','.join(map(_text, value))}]"
    if not isinstance(value, np.ndarray):
        return f"{value}"
    # str() of a long array leaves out its middle.
    return f"{value.tolist()}" if value.dtype.hasobject else value.tobytes().hex()


def _same_dtype(dtypes: Sequence[Any]) -> Any:
    """Return the dtype in which to compare values of these dtypes: the coarsest for floats."""
    if any(dtype.kind in "OUS" for dtype in dtypes):
        return np.dtype(object)
    floats = [dtype for dtype in dtypes if dtype.kind == "f"]
    if floats and all(dtype.kind in "biuf" for dtype in dtypes):
        return min(floats, key=lambda dtype: int(dtype.itemsize))
    return np.result_type(*dtypes)


def _overlap(loaded: LoadedData, rows: _Rows) -> CheckResult:
    pairs = (
        (loaded.test, loaded.train),
        (loaded.validation, loaded.train),
        (loaded.test, loaded.validation),
    )
    sentences: list[str] = []
    split_groups: list[str] = []
    open_pairs: list[str] = []
    shares: dict[str, float] = {}
    for part, other in pairs:
        if not part.size or not other.size:
            continue
        name = f"{part.name} in {other.name}"
        split_groups += _split_groups(part, other)
        if part.stream is not None or other.stream is not None:
            if part.content and part.content == other.content:
                shares[name] = 1.0
                sentences.append(
                    f"{part.name} is {other.name}: both streams yield the same samples"
                )
            else:
                open_pairs.append(name)
            continue
        mine = rows.sorted(part.name)
        shared = mine[_are_among(mine, rows.sorted(other.name))]
        shares[name] = len(shared) / part.size
        if len(shared):
            examples = [
                f"{part.name}[{a}] = {other.name}[{b}]"
                for a, b in _first_twins(rows, part.name, other.name, shared)
            ]
            are = "is" if len(shared) == 1 else "are"
            sentences.append(
                f"{len(shared)} of {part.size} {part.name} rows {are} also in {other.name}: "
                f"{_enumerate(examples, len(shared))}"
            )
    measured = max(shares.values()) if shares else None
    unchecked = f"rows in both parts ({', '.join(open_pairs)})" if open_pairs else ""
    details = Overlap(shares) if shares else None
    if split_groups:
        advice = (
            "Remedy: keep each group in one part, or return train alone and have the others cut"
        )
        reason = f"{'; '.join([*split_groups, *sentences])}. {advice}"
        return CheckResult(True, measured, 0.0, reason, details, unchecked, is_grave=True)
    if sentences:
        advice = "Remedy: keep rows that are equal, or come from one source, in one part"
        distinct: int | None = None
        if loaded.train.stream is None:
            distinct = rows.distinct("train")
            if distinct <= loaded.train.size // 2:
                advice = f"But train has only {distinct} distinct rows: chance makes rows equal"
        reason = f"{'; '.join(sentences)}. {advice}"
        return CheckResult(True, measured, 0.0, reason, Overlap(shares, distinct), unchecked)
    if open_pairs:
        reason = f"no row of one part is in another, of {', '.join(shares)}"
        return CheckResult(None, measured, 0.0, reason, details, unchecked)
    return CheckResult(False, measured, 0.0, "no row of one part is in another", details)


def _split_groups(part: Part, other: Part) -> Iterator[str]:
    """Yield a sentence if some groups are in both parts."""
    if part.groups is None or other.groups is None:
        return
    shared = np.intersect1d(part.groups, other.groups)
    if len(shared):
        rows = int(np.isin(part.groups, shared).sum())
        groups, are = ("group", "is") if len(shared) == 1 else ("groups", "are")
        yield (
            f"{len(shared)} {groups} of {part.name}, with {_rows(rows, part.name)}, {are} also in {other.name}"
        )


def _first_twins(rows: _Rows, part: str, other: str, shared: Array) -> Iterator[tuple[int, int]]:
    """Yield the first rows of a part that are in another, each with the first such row of that."""
    found: list[tuple[int, int]] = []
    for numbers, hashes in rows.having(part, shared):
        found += zip(numbers[:MOST_NAMED].tolist(), hashes[:MOST_NAMED].tolist(), strict=True)
        if len(found) >= MOST_NAMED:
            break
    found = found[:MOST_NAMED]
    wanted = {own for _, own in found}
    first: dict[int, int] = {}
    for numbers, hashes in rows.having(other, np.array(sorted(wanted), np.uint64)):
        for own in wanted - first.keys():
            if len(places := np.flatnonzero(hashes == own)):
                first[own] = int(numbers[places[0]])
        if len(first) == len(wanted):
            break
    for row, own in found:
        yield row, first[own]


def _duplicates(train: Part, rows: _Rows) -> CheckResult:
    if train.stream is not None:
        return CheckResult(None, None, 0.0, "", unchecked="rows that repeat an earlier one")
    hashes = rows.sorted("train")
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(repeated):
        return CheckResult(False, 0.0, 0.0, "no row of train repeats another", Duplicates(0))
    numbers, own = map(np.concatenate, zip(*rows.having("train", repeated), strict=True))
    _, first, places = np.unique(own, return_index=True, return_inverse=True)
    firsts = numbers[first[places.reshape(-1)]]
    is_repeat = firsts != numbers
    again, earlier = numbers[is_repeat], firsts[is_repeat]
    twins = [f"train[{a}] = train[{b}]" for a, b in _pairs(again, earlier)]
    reason = (
        f"{len(again)} of {train.size} train rows {'repeats' if len(again) == 1 else 'repeat'} an "
        f"earlier one: {_enumerate(twins, len(again))}; "
    )
    conflicts = 0
    if train.has_targets:
        targets = row_hashes(train.y)
        differs = targets[again] != targets[earlier]
        conflicts = int(np.count_nonzero(differs))
        again, earlier = again[differs], earlier[differs]
    if conflicts:
        labels, called = class_labels(train.y), names_of_output(train.class_names, "").label
        examples = [
            f"train[{a}] and train[{b}]"
            if labels is None
            else f"train[{a}] is {called(labels[a])}, train[{b}] is {called(labels[b])}"
            for a, b in _pairs(again, earlier)
        ]
        word = "targets" if labels is None else "labels"
        reason += f"{conflicts} of them with conflicting {word}: {_enumerate(examples, conflicts)}"
    else:
        reason += "all with the same target" if train.has_targets else "there are no targets"
    repeats = int(np.count_nonzero(is_repeat))
    return CheckResult(True, repeats / train.size, 0.0, reason, Duplicates(repeats, conflicts))


def _pairs(again: Array, earlier: Array) -> Iterator[tuple[int, int]]:
    """Yield as many pairs of row numbers as a reason names."""
    return zip(again[:MOST_NAMED].tolist(), earlier[:MOST_NAMED].tolist(), strict=True)


def _constant_features(loaded: LoadedData) -> CheckResult:
    train = loaded.train
    if train.stream is not None:
        return CheckResult(None, None, 0.0, "", unchecked="inputs that never vary")
    sentences: list[str] = []
    count = 0
    if train.size < 2:
        return CheckResult(False, 0.0, 0.0, "train has only one row, so nothing can vary")
    tests = {} if loaded.test.stream is not None else dict(leaves(loaded.test.x))
    for path, array in leaves(train.x):
        name = _array_name("x", path)
        if isinstance(array, RaggedArray):
            if len(set(map(_text, array))) == 1:
                count += 1
                sentences.append(f"{name} is the same in every row of train")
            continue
        constant = _is_constant(array)
        if array.ndim <= 2 and not constant.all():
            columns = [int(column) for column in np.flatnonzero(constant)]
            count += len(columns)
            if columns:
                examples = [f"[:, {c}] is always {array[0, c]}" for c in columns]
                verb = "is" if len(columns) == 1 else "are"
                sentences.append(
                    f"{len(columns)} of {array.shape[1]} columns of {name} {verb} constant in "
                    f"train: {_enumerate(examples)}"
                )
                if (test := tests.get(path)) is not None and test.shape[1:] == array.shape[1:]:
                    here = test[:, columns] != array[:1, columns]
                    varying = np.flatnonzero(here.any(axis=0))
                    if len(varying):
                        others = [f"[:, {columns[v]}]" for v in varying]
                        verb = "takes" if len(others) == 1 else "take"
                        sentences.append(f"{_enumerate(others)} {verb} other values in test")
        elif constant.all() and np.size(array[0]):
            count += 1
            what = f" ({array[0]})" if np.size(array[0]) == 1 else ""
            sentences.append(f"{name} is the same in every row of train{what}")
    if sentences:
        return CheckResult(True, float(count), 0.0, "; ".join(sentences), ConstantFeatures(count))
    return CheckResult(False, 0.0, 0.0, "every input varies in train", ConstantFeatures(0))


def _is_constant(array: Array) -> Array:
    """Return, in the shape of one row, which of its values are the same in every row."""
    same = np.ones(array.shape[1:], bool)
    for rows in chunks(array):
        if not same.any():
            break
        same &= np.asarray(array[rows] == array[:1], bool).all(axis=0)
    return same


def _labels(loaded: LoadedData) -> CheckResult:
    sentences: list[str] = []
    left_open: list[str] = []
    counted: dict[str, dict[str, dict[str, int]]] = {}
    missing = outputs = 0
    if not loaded.train.has_targets:
        return CheckResult(False, 0.0, 0.0, "there are no targets", ClassCounts(counted))
    if loaded.train.stream is not None or loaded.test.stream is not None:
        ranges = [f"{name} {text}" for name, text in _beyond(loaded)]
        missing += len(ranges)
        sentences += ranges
        left_open.append("classes that one part lacks, except by the lowest and highest label")
    classes = {part.name: _classes(part, loaded.train) for part in loaded.parts}
    for path, in_train in classes["train"].items():
        counts = {name: outputs[path] for name, outputs in classes.items() if path in outputs}
        if len(counts) < len(classes):
            left_open.append(f"{_array_name('y', path)} of a stream")
        outputs += 1
        table = {name: dict(sorted(labels.items())) for name, labels in counts.items()}
        if len(in_train) <= FEW_VALUES:
            counted[_array_name("y", path)] = {
                name: {str(label): count for label, count in labels.items()}
                for name, labels in table.items()
            }
        output = f" of {_array_name('y', path)}" if path else ""
        called = names_of_output(loaded.class_names, path).label
        for name in ("validation", "test"):
            lacking = [label for label in table.get(name, {}) if label not in in_train]
            missing += len(lacking)
            if lacking:
                examples = [
                    f"{called(label)} ({_rows(table[name][label], name)})" for label in lacking
                ]
                sentences.append(
                    f"train has no row of class{_es(lacking)} {_enumerate(examples)}{output}"
                )
        if "test" in table:
            absent = [label for label in table["train"] if label not in table["test"]]
            missing += len(absent)
            if absent:
                examples = [
                    f"{called(label)} ({_rows(in_train[label], 'train')})" for label in absent
                ]
                sentences.append(
                    f"test has no row of class{_es(absent)} {_enumerate(examples)}{output}"
                )
    details, unchecked = ClassCounts(counted), ", ".join(left_open)
    if sentences:
        return CheckResult(True, float(missing), 0.0, "; ".join(sentences), details, unchecked)
    if left_open:
        reason = "train and test have the same classes"
        return CheckResult(None, 0.0, 0.0, reason, details if counted else None, unchecked)
    if not outputs:
        return CheckResult(False, 0.0, 0.0, "y holds no class labels", details)
    return CheckResult(False, 0.0, 0.0, "train and test have the same classes", details)


def _classes(part: Part, train: Part) -> dict[str, dict[Any, int]]:
    """Return how often each class occurs in a part in memory, for each output of class labels."""
    if part.stream is not None or train.stream is not None:
        return {}
    targets = dict(leaves(part.y))
    counts_by_path = {}
    for path, y in leaves(train.y):
        labels = class_labels(y)
        if labels is None or not _are_classes(labels):
            continue
        own = labels if part is train else _labels_like(targets[path], y)
        values, counts = np.unique(_comparable(own), return_counts=True)
        counts_by_path[path] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return counts_by_path


def _labels_like(y: Array, train: Array) -> Array:
    """Return a part's labels, read as those of train: 0., 1., 2. alone would not be labels."""
    labels = class_labels(y)
    if labels is not None:
        return labels
    return y.argmax(axis=1) if train.ndim == 2 and train.shape[1] > 1 else y.reshape(-1)


def _comparable(labels: Array) -> Array:
    """Return labels that can be sorted, with 1, 1.0 and True as the same label."""
    if labels.dtype.kind in "USO":
        return labels.astype(str)
    whole = labels.dtype.kind != "f" or bool((labels % 1 == 0).all())
    return labels.astype(np.int64, copy=False) if whole else labels


def _are_classes(labels: Array) -> bool:
    """Tell classes from counts and other integers to regress on: those have many values."""
    if labels.dtype.kind in "USOb":
        return True
    return len(np.unique(labels)) <= max(FEW_CLASSES, len(labels) // 10)


def _beyond(loaded: LoadedData) -> Iterator[tuple[str, str]]:
    """Yield (part, text) for parts with labels below train's lowest or above its highest."""
    for path, (low, high) in loaded.train.labels.items():
        if high - low >= max(FEW_CLASSES, loaded.train.size // 10):
            continue
        for part in (loaded.validation, loaded.test):
            own_low, own_high = part.labels.get(path, (low, high))
            if own_low < low or own_high > high:
                text = (
                    f"has labels {own_low} to {own_high} in {_array_name('y', path)}, "
                    f"train only {low} to {high}"
                )
                yield part.name, text


def _drift(loaded: LoadedData, max_drift: float) -> CheckResult:
    train, test = loaded.train, loaded.test
    if train.stream is not None or test.stream is not None:
        unchecked = "features that drift from train to test"
        return CheckResult(None, None, max_drift, "", unchecked=unchecked)
    rng = np.random.default_rng(DRIFT_SEED)
    rows = [_draw(rng, part.size, DRIFT_ROWS) for part in (train, test)]
    distances: list[Distance] = []
    left_out: list[str] = []
    others = {"x": dict(leaves(test.x)), "y": dict(leaves(test.y))}
    for kind, arrays in (("x", train.x), ("y", train.y)):
        for path, array in leaves(arrays):
            name = _array_name(kind, path)
            other = others[kind][path]
            labels = class_labels(array) if kind == "y" else None
            if labels is not None and _are_classes(labels):
                pair = array[rows[0]], other[rows[1]]
                compared = [_comparable(_labels_like(one, array)) for one in pair]
                distances.append(_total_variation(name, *compared))
            elif array.dtype.kind in "biuf":
                distances += _feature_distances(rng, name, (array, rows[0]), (other, rows[1]))
            else:
                is_ragged = isinstance(array, RaggedArray)
                left_out.append(f"{name} ({'ragged' if is_ragged else array.dtype})")
    details = Drift(
        train_rows=len(rows[0]),
        test_rows=len(rows[1]),
        sampled=len(rows[0]) < train.size or len(rows[1]) < test.size,
        seed=DRIFT_SEED,
        compared=len(distances),
        not_compared=tuple(left_out),
    )
    if not distances:
        reason = f"nothing to compare: there are no numbers in {', '.join(left_out)}"
        return CheckResult(False, None, max_drift, reason, details)
    chances = holm([one.p for one in distances])
    real = [
        (one, chance) for one, chance in zip(distances, chances, strict=True) if chance <= DRIFT_ALPHA
    ]  # fmt: skip
    real.sort(key=lambda pair: -pair[0].distance)
    far = [(one, chance) for one, chance in real if one.distance > max_drift]
    largest = tuple(replace(one, p=chance) for one, chance in real[:FEW_VALUES])
    details = replace(details, features=largest)
    measured = real[0][0].distance if real else 0.0
    which = "features and targets" if len(distances) > 1 else "feature"
    if not far:
        reason = f"none of {len(distances)} {which} differs by more than {max_drift:g}"
        if not real:
            reason = f"none of {len(distances)} {which} differs by more than chance"
        return CheckResult(False, measured, max_drift, reason, details)
    examples = [f"{one.feature} by {one.distance:.2f} ({one.method})" for one, _ in far]
    reason = (
        f"{len(far)} of {len(distances)} {which} differ between train and test: "
        f"{_enumerate(examples)}; up to {max_drift:g} is harmless. Remedy: "
    )
    if loaded.order.is_ordered:
        reason += (
            "train on what is nearer in time, or give and predict differences instead of levels"
        )
    else:
        reason += "split the data at random, or find out where test comes from"
    return CheckResult(True, measured, max_drift, reason, details)


def _feature_distances(
    rng: np.random.Generator,
    name: str,
    train: tuple[Array, Array],
    test: tuple[Array, Array],
) -> Iterator[Distance]:
    """Yield the distance of every column; for images and the like, of summaries of a sample.

    Args:
        rng: draws the columns where there are many.
        name: what the array is called.
        train: an array and the rows of it that are compared, which are not copied all at once.
        test: the same.
    """
    if train[0].ndim > 2:
        summaries = zip(_SUMMARIES, _per_row(*train), _per_row(*test), strict=True)
        for summary, one, other in summaries:
            yield _ks(f"{summary.__name__} of {name}", one, other)
        return
    columns = 1 if train[0].ndim < 2 else train[0].shape[1]
    has_columns = columns > 1
    for column in _draw(rng, columns, DRIFT_COLUMNS):
        one, other = (
            array[rows] if array.ndim < 2 else array[rows, column] for array, rows in (train, test)
        )
        feature = f"{name}[:, {column}]" if has_columns else name
        # If most values are rare, their shares show no difference, but their order does.
        if one.dtype.kind in "biu" and len(np.unique(one)) <= min(FEW_VALUES, len(other) // 10):
            yield _total_variation(feature, one, other)
        else:
            yield _ks(feature, one, other)


_SUMMARIES: tuple[Callable[..., Any], ...] = (np.mean, np.std, np.min, np.max)


def _per_row(array: Array, rows: Array) -> list[Array]:
    """Return each summary of these rows, which are read once."""
    summaries: list[list[Array]] = [[] for _ in _SUMMARIES]
    for some in chunks(array):
        chosen = rows[(rows >= some.start) & (rows < some.stop)]
        numbers = array[chosen].reshape(len(chosen), -1)
        if numbers.dtype.kind == "f" and numbers.dtype.itemsize < 4:
            numbers = numbers.astype(np.float64)
        for summary, values in zip(_SUMMARIES, summaries, strict=True):
            values.append(summary(numbers, axis=1))
    return [np.concatenate(values) for values in summaries]


def _ks(feature: str, train: Array, test: Array) -> Distance:
    """Return the two-sample Kolmogorov-Smirnov statistic; ties make its p too large, never too small."""
    one, other = np.sort(train), np.sort(test)
    values = np.concatenate([one, other])
    shares = [np.searchsorted(a, values, side="right") / len(a) for a in (one, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    samples = len(one) * len(other) / (len(one) + len(other))
    return Distance(feature, "KS", distance, float(special.kolmogorov(distance * samples**0.5)))


def _total_variation(feature: str, train: Array, test: Array) -> Distance:
    """Return half the sum of the differences of the shares, with the p of the chi-squared test.

    Values too rare for this test, with fewer than 5 expected in either part, count as one value.
    """
    method = "total variation"
    values, places = np.unique(np.concatenate([train, test]), return_inverse=True)
    places = places.reshape(-1)
    counts = np.stack(
        [np.bincount(p, minlength=len(values)) for p in np.split(places, [len(train)])]
    )  # fmt: skip
    expected = counts.sum(axis=0) * min(len(train), len(test)) / len(places)
    order = np.argsort(-expected, kind="stable")
    common = int((expected >= 5).sum())
    pooled = counts[:, order[common:]].sum(axis=1, keepdims=True)
    counts = counts[:, order[:common]]
    if expected[order[common:]].sum() >= 5:
        counts = np.concatenate([counts, pooled], axis=1)
    elif common:
        counts = np.concatenate([counts[:, :-1], counts[:, -1:] + pooled], axis=1)
    if counts.shape[1] < 2:
        return Distance(feature, method, 0.0, 1.0)
    sizes = np.array([[len(train)], [len(test)]])
    means = counts.sum(axis=0) * sizes / len(places)
    chi2 = float(((counts - means) ** 2 / means).sum())
    distance = float(np.abs(counts[0] / len(train) - counts[1] / len(test)).sum() / 2)
    return Distance(feature, method, distance, float(special.chdtrc(counts.shape[1] - 1, chi2)))


def _draw(rng: np.random.Generator, size: int, most: int) -> Array:
    """Return all indices, or a sorted draw of ``most`` of them."""
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))


def _array_name(kind: str, path: str) -> str:
    return f"{kind}.{path}" if path else kind


def _rows(count: int, part: str) -> str:
    return f"{count} {part} row{'' if count == 1 else 's'}"


def _es(items: Sequence[object]) -> str:
    return "" if len(items) == 1 else "es"


def _enumerate(items: Sequence[str], count: int | None = None) -> str:
    """Return the first items and how many more there are; ``count`` where not all are in ``items``."""
    listed, count = ", ".join(items[:MOST_NAMED]), len(items) if count is None else count
    return listed if count <= MOST_NAMED else f"{listed}, ... ({count - MOST_NAMED} more)"
