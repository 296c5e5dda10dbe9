"""Find what was fitted on more than train: scaled columns, layers and transformers of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeltune.engine.data.loading import LoadedData, Part, chunks, leaves
from modeltune.engine.data.ragged import RaggedArray
from modeltune.records import Array

PREPARATION = "checks.preparation"
"""The code of the check."""

SAME_MEANS = 1e-4
"""How far means may lie apart, in standard deviations, that were computed from the same values."""

ZERO_MEAN = 1e-5
"""The same of columns whose mean should be 0: by chance one of ten million has it so exactly."""

ROUNDING = 1e-6
"""How far the ends of a column may lie from 0 and 1."""

MANY_VALUES = 20
"""A column of more different values whose ends are 0 and 1 was scaled to these."""

MOST_TOKENS = 100_000
"""Words of a layer, and texts, that are looked at."""

DEPTH = 4
"""How deep pipelines, containers and models inside of models are looked into."""


@dataclass(frozen=True, eq=False)
class _Moments:
    """Count, mean, variance, lowest and highest value of each column of an array, float64."""

    count: int
    mean: Array
    variance: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, array: Array) -> _Moments:
        columns = array.shape[-1] if array.ndim > 1 else 1
        total, low, high = np.zeros(columns), np.full(columns, np.inf), np.full(columns, -np.inf)
        count = array.size // columns
        for rows in chunks(array):
            values = array[rows].reshape(-1, columns)
            total += values.sum(axis=0, dtype=np.float64)
            low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        mean = total / count
        squares = np.zeros(columns)
        for rows in chunks(array):
            squares += ((array[rows].reshape(-1, columns) - mean) ** 2).sum(axis=0)
        return cls(count, mean, squares / count, low, high)

    def joined(self, other: _Moments) -> _Moments:
        """Return those of both arrays together."""
        count = self.count + other.count
        share = other.count / count
        apart = other.mean - self.mean
        return _Moments(
            count,
            self.mean + share * apart,
            (1 - share) * self.variance + share * other.variance + share * (1 - share) * apart**2,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def over_all(self) -> _Moments:
        """Those of all columns as one."""
        mean = self.mean.mean()
        variance = self.variance.mean() + ((self.mean - mean) ** 2).mean()
        return _Moments(
            self.count * len(self.mean),
            *map(np.atleast_1d, (mean, variance, self.low.min(), self.high.max())),
        )


def preparation_leaks(loaded: LoadedData, fitted: Iterable[Any]) -> Iterator[str]:
    """Yield a sentence on whatever was fitted on rows of validation or test, where that can be told.

    That is of columns that have mean 0 and variance 1, or end at 0 and 1, over more parts than train; of a
    ``Normalization`` whose means are those of more parts; of a lookup that was adapted to words which only
    other parts have; and of transformers of scikit-learn that count the rows they have seen. What was fitted
    on data that no part holds cannot be told, nor what streams yield.

    Args:
        loaded: the data.
        fitted: models, layers, transformers, or containers of these.
    """
    parts = [part for part in loaded.parts if part.stream is None]
    if len(parts) < 2 or parts[0].name != "train":
        return
    unions = _Unions(parts)
    yield from _scaled_columns(unions)
    for one in _pieces(list(fitted), set(), DEPTH):
        kind = type(one).__name__
        if hasattr(one, "n_samples_seen_"):
            yield from _on_rows(kind, one.n_samples_seen_, parts)
        elif kind == "Normalization":
            yield from _on_means(one, unions)
        elif kind in ("StringLookup", "IntegerLookup", "TextVectorization"):
            yield from _on_words(one, kind, parts)


class _Unions:
    """Moments of the inputs of numbers, of train and of each union with other parts, computed when asked for."""

    def __init__(self, parts: list[Part]):
        self._parts = parts
        self._known: dict[str, dict[str, _Moments]] = {}

    def paths(self, axes: int | None = None) -> list[str]:
        """Return the paths of the inputs of numbers; only those with so many axes at most."""
        return [
            path
            for path, array in leaves(self._parts[0].x)
            if not isinstance(array, RaggedArray)
            and array.dtype.kind in "fiu"
            and array.size
            and (axes is None or array.ndim <= axes)
        ]

    def array(self, path: str) -> Array:
        """Return an input of train."""
        return dict(leaves(self._parts[0].x))[path]

    def of(self, path: str) -> tuple[_Moments, dict[str, _Moments]]:
        """Return the moments of train, and of unions that hold other rows by their names."""
        if path not in self._known:
            first, *others = (
                (part.name, _Moments.of(dict(leaves(part.x))[path])) for part in self._parts
            )
            known = {first[0]: first[1]}
            for name, moments in others:
                known |= {f"{union} and {name}": m.joined(moments) for union, m in known.items()}
            known |= dict(others)
            self._known[path] = known
        known = self._known[path]
        return known["train"], {name: m for name, m in known.items() if name != "train"}


def _scaled_columns(unions: _Unions) -> Iterator[str]:
    for path in unions.paths(axes=2):
        train, others = unions.of(path)
        name = f"x.{path}" if path else "x"
        for union, moments in others.items():
            if " and " not in union:
                continue
            n = moments.count
            is_one = np.zeros(len(moments.mean), bool)
            for variance in (1.0, (n - 1) / n):
                is_one |= np.abs(moments.variance - variance) < ZERO_MEAN
            scaled = is_one & (np.abs(moments.mean) < ZERO_MEAN)
            apart = np.abs(train.mean) > 10 * ZERO_MEAN
            if (scaled & apart).any():
                yield (
                    f"{int(scaled.sum())} of {len(scaled)} columns of {name} have mean 0 and variance 1 over "
                    f"{union} together, and not over train: they were scaled by rows that are not train's"
                )
                break
    yield from _stretched_columns(unions)


def _stretched_columns(unions: _Unions) -> Iterator[str]:
    for path in unions.paths(axes=2):
        train, others = unions.of(path)
        varying = train.variance > 0
        if varying.sum() < 2:
            continue
        for union, moments in others.items():
            ends = (np.abs(moments.low) < ROUNDING) & (np.abs(moments.high - 1) < ROUNDING)
            beyond = (train.low > ROUNDING) | (train.high < 1 - ROUNDING)
            if " and " not in union or not ends[varying].all() or not (beyond & varying).any():
                continue
            array = unions.array(path)
            columns = np.flatnonzero(beyond & varying)
            if all(len(np.unique(array[:, column])) > MANY_VALUES for column in columns):
                name = f"x.{path}" if path else "x"
                yield (
                    f"the columns of {name} reach from 0 to 1 over {union} together, and {len(columns)} of "
                    f"{int(varying.sum())} not over train: they were scaled by rows that are not train's"
                )
                break


def _pieces(value: Any, seen: set[int], depth: int) -> Iterator[Any]:
    """Yield what a model, pipeline or container is made of, itself included."""
    if id(value) in seen or depth < 0:
        return
    if isinstance(value, Mapping):
        inner: list[Any] = list(value.values())
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    else:
        seen.add(id(value))
        yield value
        names = ("layers", "preprocessors", "steps", "transformers_", "transformer_list")
        found = (getattr(value, name, None) for name in names)
        inner = [one for one in found if isinstance(one, list | tuple | Mapping)]
    for one in inner:
        # A list is not a level of its own.
        yield from _pieces(one, seen, depth - (not isinstance(one, list | tuple | Mapping)))


def _on_rows(kind: str, count: Any, parts: list[Part]) -> Iterator[str]:
    """Yield a sentence on a transformer that has seen as many rows as train and others have together."""
    seen, sizes = int(np.max(count)), [part.size for part in parts]
    unions = {sizes[0] + more for more in (*sizes[1:], sum(sizes[1:]))}
    if seen in unions:
        yield f"a {kind} was fitted on {seen} rows, and train has {sizes[0]}"


def _on_means(layer: Any, unions: _Unions) -> Iterator[str]:
    """Yield a sentence on a Normalization whose means are those of other rows than train's."""
    if getattr(layer, "mean", None) is None:
        return
    mean = np.asarray(layer.mean, np.float64).reshape(-1)
    variance = np.asarray(layer.variance, np.float64).reshape(-1)
    if not mean.any() and (variance == 1).all():
        return  # it is not adapted yet
    nearest: tuple[float, str] = (SAME_MEANS, "")
    for path in unions.paths():
        train, others = unions.of(path)
        if len(mean) == 1 != len(train.mean):
            train, others = train.over_all, {name: m.over_all for name, m in others.items()}
        if len(mean) != len(train.mean):
            continue
        off_train = _distance(mean, variance, train)
        if off_train < SAME_MEANS / 100:
            return
        for union, moments in others.items():
            off = _distance(mean, variance, moments)
            if off < nearest[0] and off * 10 < off_train:
                nearest = off, union
    if nearest[1]:
        yield f"layer {layer.name} (Normalization) has the means of {nearest[1]}, and not of train"


def _distance(mean: Array, variance: Array, moments: _Moments) -> float:
    """Return how far means and variances lie apart at most, in those of the moments; not of constant columns."""
    varying = moments.variance > 0
    if not varying.any():
        return float("inf")
    scale = moments.variance[varying]
    means = np.abs(mean - moments.mean)[varying] / np.sqrt(scale)
    # A variance over one row less is the same.
    variances = np.abs(variance[varying] / scale - 1) - 1 / moments.count
    return float(max(means.max(), variances.max()))


def _on_words(layer: Any, kind: str, parts: list[Part]) -> Iterator[str]:
    """Yield a sentence on a lookup that was adapted to words, of which some are in other parts than train only."""
    if layer.get_config()["vocabulary"] is not None:
        return  # a list of categories that was written down
    vocabulary = {str(word) for word in layer.get_vocabulary(include_special_tokens=False)}
    if not vocabulary or len(vocabulary) > MOST_TOKENS:
        return
    dtypes = "iu" if kind == "IntegerLookup" else "OUST"
    for path, array in leaves(parts[0].x):
        if isinstance(array, RaggedArray) or array.dtype.kind not in dtypes:
            continue
        words = [_words(layer, kind, dict(leaves(part.x))[path]) for part in parts]
        beyond = vocabulary - words[0]
        if beyond and beyond < vocabulary and beyond <= set().union(*words[1:]):
            shown = ", ".join(map(repr, sorted(beyond)[:3])) + (", ..." if len(beyond) > 3 else "")
            yield (
                f"layer {layer.name} ({kind}) knows {len(beyond)} of {len(vocabulary)} words from validation or test "
                f"alone: {shown}"
            )
            return


def _words(layer: Any, kind: str, array: Array) -> set[str]:
    values = np.unique(array[:MOST_TOKENS].astype(str))
    if kind != "TextVectorization":
        return set(values.tolist())
    vocabulary = layer.get_vocabulary()
    tokens = np.asarray(layer(values))
    places = (
        np.unique(tokens)
        if layer.get_config()["output_mode"] == "int"
        else np.flatnonzero(tokens.any(axis=0))
    )
    return {str(vocabulary[int(place)]) for place in places}
