"""Load a spec's data: call its function, check the parts, cut missing ones, fingerprint all."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from modeltune.engine.data.cuts import RowOrder, group_cut, most_gap, random_cut, time_cut
from modeltune.engine.data.group_hints import RowsOfPart, group_hints
from modeltune.engine.data.groups import (
    BatchGroups,
    group_functions,
    group_numbers,
    groups_digest,
    refuse_one_group,
)
from modeltune.engine.data.metadata import PARTS, metadata_digest, metadata_frames
from modeltune.engine.data.ragged import (
    RaggedArray,
    Shape,
    is_ragged_tensor,
    ragged_array,
    sample_shape,
)
from modeltune.engine.data.streams import (
    EndWatch,
    ReadingLimit,
    is_batch_function,
    is_dataset,
    is_py_dataset,
    length_of,
    raw_batches,
    uses_processes,
)
from modeltune.ground import DataError, SpecError, error_line, shorten
from modeltune.records import Array, Json
from modeltune.specs import CUT, Data, Fit, Gate, KFold, Spec, Threshold, data_arguments

Arrays: TypeAlias = Any
"""An array, or a dict, tuple or list of Arrays."""

DECLARE = 'declare which data they are, with mt.Data(..., version="2026-11")'
"""What to do about a stream that nothing else identifies."""

READ_AGAIN = 256
"""Samples of a stream that are read a second time: all are, where these come out otherwise."""

MOST_CLASSES_KEPT = 100_000
"""Classes of a stream that are kept in memory."""

SHORT = 2**48 - 1
"""Selects as much of a sample's digest as is kept in memory."""

PAD = (
    "pad it to one length, as value.to_tensor() does, and mask the padding "
    "(Embedding(..., mask_zero=True))"
)
"""What to do about rows of different lengths."""

MOST_DENSE = 4 * 2**30
"""How many bytes a sparse matrix may take as an array."""


@dataclass(frozen=True)
class Column:
    """A column of a frame: its name, its dtype, and that dtype as NumPy's where it is of numbers."""

    name: str
    dtype: str
    number: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype})"


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the data: arrays in memory, or a stream of batches.

    ``x``, ``y`` and ``sample_weight`` are set for arrays, ``stream`` for a ``tf.data.Dataset``
    or ``PyDataset``. ``y`` is None of data without targets. ``size`` counts samples. ``labels`` maps the path of each output of whole
    numbers ("" if there is only one output) to its (lowest, highest) value. ``shapes`` maps the
    name of each array ("x", "y.mask") to the shape of one sample, with None for a length that
    differs between samples. ``content`` is a digest of the samples that a stream has yielded, in any
    order; it ``varies`` where it yields others when it is read again. ``classes`` are those that a
    stream has yielded, None where its targets are no classes. ``steps`` is how many batches an epoch
    of train has, None for all; where train ``is_endless``, so many are read where else all are.
    Of a stream, ``is_ragged`` tells that it has yielded targets of different lengths.
    ``frames`` maps the name of each array that was a frame to its columns, in order. ``whole`` maps
    "x" and "y" to the array of a frame that a model takes by its columns, which stand in its place.
    ``metadata`` is a pandas frame of what else is known of the samples, a row for each in order.
    ``groups`` are numbers, shape (size,): samples with the same one belong together; of a stream they are
    those of its samples in rising order, and ``groups_of`` gives those of a batch. ``is_ordered`` tells
    that rows are in time. ``class_names`` are
    those of each output that has some, by the path of its targets.
    """

    name: str
    size: int
    fingerprint: str
    labels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    x: Arrays = None
    y: Arrays = None
    sample_weight: Arrays = None
    stream: Any = None
    content: str = ""
    varies: bool = False
    classes: frozenset[int] | None = None
    steps: int | None = None
    is_endless: bool = False
    is_ragged: bool = False
    frames: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    whole: Mapping[str, Array] = field(default_factory=dict)
    metadata: Any = None
    groups: Array | None = None
    groups_of: BatchGroups | None = None
    is_ordered: bool = False
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def has_targets(self) -> bool:
        """Tell whether there is a ``y``, also in what a stream yields."""
        return self.y is not None or any(label.split(".")[0] == "y" for label in self.shapes)

    @property
    def has_ragged_targets(self) -> bool:
        """Tell whether targets are rows of different lengths, which only the model's own loss compares."""
        return self.is_ragged or _are_ragged(self.y)

    def batches(self, batch_size: int) -> Iterator[tuple[Arrays, Arrays, Arrays]]:
        """Yield (x, y, sample_weight) batches in order, each once; the last two may be None."""
        if self.stream is not None:
            yield from _batches(self.stream, most=self.steps if self.is_endless else None)
            return
        bare = replace(self, metadata=None, groups=None)
        for start in range(0, self.size, batch_size):
            window = np.arange(start, min(start + batch_size, self.size))
            batch = bare.take(window)
            yield batch.x, batch.y, batch.sample_weight

    def by_column(self, kind: str = "x") -> dict[str, Array]:
        """Return the columns of x or y, each of its own dtype, by their names; none where it is no frame.

        Raises:
            DataError: a column has values that are no numbers of its dtype, such as missing ones.
        """
        frame = self.whole.get(kind, getattr(self, kind))
        columns = self.frames.get(kind, ())
        if not columns or not isinstance(frame, np.ndarray):
            return {}
        by_name: dict[str, Array] = {}
        for place, column in enumerate(columns):
            values = frame[:, place]
            try:
                by_name[column.name] = values.astype(column.number or values.dtype)
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"data: {self.name} {kind}: column {column} has values that are no such numbers "
                    f"({error_line(error)}); impute missing ones, or convert it in the data function"
                ) from error
        return by_name

    def take(self, rows: Array) -> Part:
        """Return these rows of an array part, in this order."""

        def pick(array: Array) -> Array:
            return array[rows]

        return replace(
            self,
            size=len(rows),
            x=map_arrays(pick, self.x),
            whole={kind: array[rows] for kind, array in self.whole.items()},
            y=map_arrays(pick, self.y),
            sample_weight=map_arrays(pick, self.sample_weight),
            metadata=None
            if self.metadata is None
            else self.metadata.iloc[rows].reset_index(drop=True),
            groups=None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True, eq=False)
class LoadedData:
    """The three parts of a spec's data, ready to train on.

    ``cuts`` are sentences about parts that were cut from train, ``notes`` about how streams are known
    and read. A given model does without train and validation, which then are empty. ``metadata`` is
    a digest of those of all parts. ``class_names`` are those of each output that has some, "" for the
    only one. ``prepare`` is the author's function that fits on train what models need. ``groups`` is
    a digest of which samples belong together, and ``order`` tells whether they are in time.
    """

    train: Part
    validation: Part
    test: Part
    cuts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: str = ""
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    prepare: Callable[[Any], Any] | None = None
    groups: str = ""
    order: RowOrder = field(default_factory=RowOrder)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts there are: a given model needs no other than test."""
        return tuple(part for part in (self.train, self.validation, self.test) if part.size)

    @property
    def description(self) -> dict[str, Json]:
        """What the run record keeps about the data: samples and groups per part, what was cut, class names."""
        named = {output: list(names) for output, names in self.class_names.items()}
        grouped = {
            part.name: len(np.unique(part.groups)) for part in self.parts if part.groups is not None
        }
        return {
            "samples": {part.name: part.size for part in self.parts},
            "cuts": list(self.cuts),
            **({"class_names": named} if named else {}),
            **({"groups": grouped} if grouped else {}),
            **({"ordered": True, "gap": self.order.gap} if self.order.is_ordered else {}),
        }

    @property
    def fingerprints(self) -> dict[str, str]:
        """The sha256 of each part's values, or of what an augmented stream is made of.

        That of a stream does not depend on its order. Metadata have one of their own: a run on the
        same x and y is compared sample by sample whatever is known of these. So have groups and the
        order of rows, by which folds are drawn.
        """
        prints = {f"data/{part.name}": part.fingerprint for part in self.parts}
        beside = {
            "metadata": self.metadata,
            "groups": self.groups,
            "order": self.order.fingerprint,
        }
        return prints | {f"data/{name}": digest for name, digest in beside.items() if digest}


def load_data(spec: Spec, fixtures: Mapping[str, object] | None = None) -> LoadedData:
    """Return the spec's data, after checking every part.

    Args:
        spec: its data function is called.
        fixtures: the arguments of the data function, by name.

    Raises:
        DataError: names the part and what is wrong with it.
        SpecError: the data function has an argument that ``fixtures`` lacks.
    """
    limit = ReadingLimit.from_now(spec.search.data_minutes)
    data = _call(spec, fixtures or {})
    where = f"{spec.id}: data"
    names = [name for name in PARTS if getattr(data, name) is not None]
    grouped = group_functions(where, data.groups, names)
    parts = {
        name: _part(where, name, getattr(data, name), spec.fit, limit, grouped.get(name))
        for name in names
    }
    parts, order = _with_rows(where, data, parts), RowOrder(data.ordered, data.gap)
    named, prepare = data.names_by_output, data.prepare
    if spec.takes_prepared and prepare is None and not spec.is_given:
        raise DataError(
            f"{where}: the build function has a second argument, for what is prepared on train, but "
            "the data prepare nothing; return mt.Data(..., prepare=fit_on_train)"
        )
    if spec.is_given and "train" not in parts:
        return _with_names(where, named, _for_given(spec, where, parts))
    if "train" not in parts:
        raise DataError(f"{where}: train is None; return mt.Data(train=(x, y), ...)")
    parts["train"], note = _identified(parts["train"], data.version)
    notes = [*_notes_on_reading(parts), *([] if note is None else [note])]
    # What the data function returned is held until its arrays are cut, and no longer.
    del data
    missing = [name for name in ("test", "validation") if name not in parts]
    if "validation" in missing:
        _refuse_steps(where, spec.fit.validation_steps)
    cuts = _cut(where, parts, missing, order, spec.search.seed)
    if spec.is_given and isinstance(spec.threshold, Threshold) and "validation" in missing:
        notes.append(
            "the threshold is chosen on a part of train, which a model that is given may have been trained "
            "on: return mt.Data(validation=(x, y), ...) that it has not seen"
        )
    _compare(where, parts)
    if isinstance(spec.validation, KFold):
        _check_folds(where, parts, order, spec.validation.k)
    if spec.most_rows is not None:
        size = parts["train"].size
        parts = {name: _fewer(part, spec) for name, part in parts.items()}
        order = order.thinned(parts["train"].size / size)
    # hashlib and NumPy leave the interpreter to other threads meanwhile.
    with ThreadPoolExecutor(len(parts)) as threads:
        train, validation, test = threads.map(
            _with_fingerprint, (parts[name] for name in ("train", "validation", "test"))
        )
    digest = metadata_digest({part.name: part.metadata for part in (train, validation, test)})
    groups = groups_digest({part.name: part.groups for part in (train, validation, test)})
    if not groups and not order.is_ordered:
        notes += group_hints(
            [
                RowsOfPart(
                    part.name,
                    part.size,
                    part.x,
                    [column.name for column in part.frames.get("x", ())],
                    part.metadata,
                )
                for part in (train, validation, test)
                if part.stream is None and part.size
            ]
        )
    loaded = LoadedData(
        *(train, validation, test, cuts, tuple(notes), digest),
        prepare=prepare,
        groups=groups,
        order=order,
    )
    return _with_names(where, named, loaded)


def _with_names(where: str, named: Mapping[str, Sequence[str]], loaded: LoadedData) -> LoadedData:
    for part in loaded.parts:
        for output, names in named.items():
            lowest, highest = part.labels.get(output, (0, 0))
            if lowest < 0 or highest >= len(names):
                whose = f"class_names[{output!r}]" if output else "class_names"
                raise DataError(
                    f"{where}: {whose} has {len(names)} names, for the labels 0 to {len(names) - 1}, "
                    f"but {part.name} has the label {lowest if lowest < 0 else highest}; name every "
                    "class, in the order of the labels"
                )
    parts = {
        name: replace(getattr(loaded, name), class_names=named)
        for name in ("train", "validation", "test")
    }
    return replace(loaded, class_names=named, **parts)


def _with_rows(where: str, data: Data, parts: Mapping[str, Part]) -> dict[str, Part]:
    """Return the parts with what is known of each of their rows: metadata and groups."""
    sizes = {name: part.size for name, part in parts.items()}
    streams = {
        name: type(part.stream).__name__ for name, part in parts.items() if part.stream is not None
    }
    frames = metadata_frames(where, data.metadata, sizes, streams)
    known = {name: part.groups for name, part in parts.items() if part.groups is not None}
    refuse_one_group(where, known)
    groups = known or group_numbers(where, data.groups, sizes, streams)
    return {
        name: replace(
            part, metadata=frames.get(name), groups=groups.get(name), is_ordered=data.ordered
        )
        for name, part in parts.items()
    }


def _for_given(spec: Spec, where: str, parts: dict[str, Part]) -> LoadedData:
    """Return the data of a model that is trained already, without train."""
    if "test" not in parts:
        raise DataError(
            f"{where}: test is None, and a given model is scored on nothing else; return "
            "mt.Data(test=(x, y))"
        )
    for index, gate in enumerate(spec.gates):
        if isinstance(gate, Gate) and gate.measure.needs_train:
            raise DataError(
                f"{where}: train is None, but gates[{index}], {gate!r}, compares with it; return "
                "mt.Data(train=(x, y), test=...), or leave out the gate"
            )
    _compare(where, parts)
    if spec.most_rows is not None:
        parts = {name: _fewer(part, spec) for name, part in parts.items()}
    parts = {name: _with_fingerprint(part) for name, part in parts.items()}
    return LoadedData(
        Part("train", 0, ""),
        parts.get("validation", Part("validation", 0, "")),
        parts["test"],
        notes=("without train, the data are not checked for overlap, labels and drift",),
        metadata=metadata_digest({name: part.metadata for name, part in parts.items()}),
        groups=groups_digest({name: part.groups for name, part in parts.items()}),
    )


def class_labels(y: Arrays) -> Array | None:
    """Return one class label per sample, or None when ``y`` holds no class labels.

    Labels are integers, strings, zeros and ones, or one-hot rows, and there is one output.
    """
    if not isinstance(y, np.ndarray) or isinstance(y, RaggedArray):
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        # At the first row that is none, the rest is not looked at.
        is_one_hot = all(
            np.isin(y[rows], (0, 1)).all() and (y[rows].sum(axis=1) == 1).all()
            for rows in chunks(y)
        )
        return y.argmax(axis=1) if is_one_hot else None
    if y.ndim > 2 or y.size != len(y):
        return None
    labels = y.reshape(-1)
    if labels.dtype.kind in "iubUSO" or np.isin(labels, (0, 1)).all():
        return labels
    return None


def _are_ragged(arrays: Arrays) -> bool:
    return any(isinstance(array, RaggedArray) for _, array in leaves(arrays))


def map_arrays(function: Callable[[Array], Any], arrays: Arrays) -> Arrays:
    """Apply function to every array of a structure, keeping the structure; None stays None."""
    if arrays is None:
        return None
    if isinstance(arrays, Mapping):
        return {key: map_arrays(function, value) for key, value in arrays.items()}
    if isinstance(arrays, tuple | list):
        return type(arrays)(map_arrays(function, value) for value in arrays)
    return function(arrays)


def leaves(arrays: Arrays, path: str = "") -> Iterator[tuple[str, Array]]:
    """Yield every array of a structure with its path; a single array has the path ""."""
    if arrays is None:
        return
    if isinstance(arrays, Mapping):
        for key, value in arrays.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(arrays, tuple | list):
        for index, value in enumerate(arrays):
            yield from leaves(value, f"{path}.{index}" if path else str(index))
    else:
        yield path, arrays


CHUNK_BYTES = 2**20
"""Bytes of arrays that are copied at a time: large data are held once.

Copies of several MiB take ten times as long for each byte: the system clears memory for each anew.
"""


def chunks(*arrays: Array) -> Iterator[slice]:
    """Yield slices that together are all rows of arrays, each of some ``CHUNK_BYTES``."""
    count = len(arrays[0])
    rows = max(1, CHUNK_BYTES // max(1, sum(array.nbytes for array in arrays) // max(1, count)))
    for start in range(0, count, rows):
        yield slice(start, start + rows)


def concatenate(first: Arrays, second: Arrays) -> Arrays:
    """Join two structures along the samples; they have the same keys and sample shapes, or are None."""
    if first is None:
        return None
    if isinstance(first, Mapping):
        return {key: concatenate(first[key], second[key]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(concatenate(a, b) for a, b in zip(first, second, strict=True))
    return np.concatenate([first, second])


def _call(spec: Spec, fixtures: Mapping[str, object]) -> Data:
    if isinstance(spec.data, Data):
        return spec.data
    name = getattr(spec.data, "__name__", repr(spec.data))
    missing = [p for p in data_arguments(spec.data) if p not in fixtures]
    if missing:
        raise SpecError(
            f"{spec.id}: data: {name} asks for {', '.join(missing)}; pytest passes the fixtures of "
            f"these names, and mt.run takes them as fixtures={{{missing[0]!r}: ...}}"
        )
    data = spec.data(**fixtures)
    if not isinstance(data, Data):
        what = "None" if data is None else f"a {type(data).__name__}"
        raise DataError(
            f"{spec.id}: data: {name} returned {what}; return mt.Data(train, validation, test)"
        )
    return data


def _part(
    where: str,
    name: str,
    value: Any,
    fit: Fit,
    limit: ReadingLimit,
    groups_of: BatchGroups | None,
) -> Part:
    steps = {"train": fit.steps_per_epoch, "validation": fit.validation_steps}.get(name)
    _refuse_others(f"{where}: {name}", value)
    if callable(value) and not is_py_dataset(value) and not is_dataset(value):
        from modeltune.engine.data.batch_functions import dataset_of  # imports TensorFlow

        value = dataset_of(value, f"{where}: {name}")
    if is_dataset(value) or is_py_dataset(value):
        return _stream_part(where, name, value, steps, limit, groups_of)
    if name == "validation":
        _refuse_steps(where, steps)
    unpacked = _unpacked(value)
    if unpacked is None:
        what = f"a {type(value).__name__}"
        if isinstance(value, tuple | list):
            what += f" of {len(value)}"
        raise DataError(
            f"{where}: {name} is {what}; a part is (x, y) or (x, y, sample_weight) of arrays, x alone, "
            "a tf.data.Dataset, a keras.utils.PyDataset, or a function that yields batches"
        )
    x, y, sample_weight = (_arrays(part, f"{where}: {name}") for part in unpacked)
    columns = _columns(x, y, sample_weight)
    for label, array in columns.items():
        if array.ndim == 0:
            what = shorten(" ".join(repr(array.item()).split()))
            raise DataError(f"{where}: {name} {label} is the single value {what}; pass an array")
        _check_finite(f"{where}: {name} {label}", array)
    _check_targets(where, name, x, y)
    sizes = {label: len(array) for label, array in columns.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{label} {size}" for label, size in sizes.items())
        raise DataError(f"{where}: {name} has different numbers of samples: {listed}")
    size = next(iter(sizes.values()))
    if size == 0:
        raise DataError(f"{where}: {name} is empty; it holds 0 samples")
    shapes = {label: sample_shape(array) for label, array in columns.items()}
    frames = {
        label: names
        for label, array in _columns(*unpacked).items()
        if (names := _frame_columns(array))
    }
    groups = None if groups_of is None else groups_of(x, y, sample_weight, size)
    return Part(
        *(name, size, "", {}, shapes, x, y, sample_weight),
        steps=steps,
        frames=frames,
        groups=groups,
    )


def _refuse_others(where: str, value: Any) -> None:
    """Refuse what would be read as something else: a generator, and data sets of Hugging Face."""
    if hasattr(value, "__next__"):
        raise DataError(
            f"{where} is a {type(value).__name__}, which can be read once only; return the function that makes it, "
            "without calling it, mt.Data(train=batches, ...)"
        )
    columns = getattr(value, "column_names", None)
    if not hasattr(value, "num_rows") or columns is None:
        return
    kind = type(value).__name__
    if isinstance(columns, Mapping):
        raise DataError(
            f"{where} is a {kind} of {', '.join(map(str, columns))}; return columns of each, "
            'mt.Data(train=(splits["train"]["text"], splits["train"]["label"]), ...)'
        )
    raise DataError(
        f"{where} is a {kind} with the columns {', '.join(map(str, columns))}, and nothing says which is the "
        'target; return its columns, (dataset["text"], dataset["label"]), or write data=mt.table(dataset, target="label")'
    )


def _refuse_steps(where: str, steps: int | None) -> None:
    if steps is not None:
        raise DataError(
            f"{where}: fit.validation_steps={steps} counts the batches of a stream, but validation is "
            "arrays; leave it out, or return fewer rows"
        )


def _unpacked(value: Any) -> tuple[Any, Any, Any] | None:
    """Return the x, y and sample weights of a part or a batch, as Keras unpacks them; None of others.

    A tuple or list holds one to three of them, in this order. All else is x alone: so are three
    inputs only in a tuple of their own, ``((a, b, c),)``.
    """
    if isinstance(value, tuple | list):
        return (*value, None, None)[:3] if 1 <= len(value) <= 3 else None
    return (value, None, None) if isinstance(value, Mapping) or hasattr(value, "shape") else None


def _frame_columns(value: Any) -> tuple[Column, ...]:
    """Return the columns of a frame; nothing of anything else."""
    if not hasattr(value, "columns") or not hasattr(value, "dtypes"):
        return ()
    return tuple(
        Column(str(name), str(dtype), _number_dtype(dtype))
        for name, dtype in zip(value.columns, value.dtypes, strict=True)
    )


def _number_dtype(dtype: Any) -> str | None:
    """Return NumPy's dtype of the numbers in a column; None of a column of anything else."""
    if str(dtype).startswith("Sparse"):
        dtype = dtype.subtype
    elif hasattr(dtype, "categories"):
        dtype = dtype.categories.dtype
    own = getattr(dtype, "numpy_dtype", dtype)  # of "Int64" of pandas
    return own.name if isinstance(own, np.dtype) and own.kind in "biuf" else None


def _with_fingerprint(part: Part) -> Part:
    """Return an array part with its fingerprint and label ranges; a stream has them already."""
    if part.stream is not None:
        return part
    digest = hashlib.sha256()
    for label, array in _columns(part.x, part.y, part.sample_weight).items():
        dtype = array.inner_dtype if isinstance(array, RaggedArray) else array.dtype
        digest.update(f"{label}:{dtype}:{array.shape};".encode())
        if array.dtype.hasobject:
            digest.update(_bytes(array))
        else:
            for rows in chunks(array):
                digest.update(_bytes(array[rows]))
    return replace(part, fingerprint=digest.hexdigest(), labels=label_ranges(part.y))


def _identified(train: Part, version: str | None) -> tuple[Part, str | None]:
    """Return train with a fingerprint that stays the same, and a sentence about it.

    Of arrays, and of streams that yield the same samples every time, it is that of their values.
    """
    if train.stream is None:
        return train, None
    if version is not None:
        print_ = hashlib.sha256(f"version {version}".encode()).hexdigest()
        return replace(train, fingerprint=print_), f'train: a stream of version "{version}"'
    if not train.varies:
        return train, None
    source = None
    if is_dataset(train.stream):
        # Only such a stream has TensorFlow loaded.
        from modeltune.engine.data.stream_sources import source_digest

        source = source_digest(train.stream)
    yields = "train: yields other samples each time it is read"
    if source is None:
        return train, f"{yields}, and what it is made of cannot be told; {DECLARE}"
    return replace(train, fingerprint=source), f"{yields}; known by the elements it is made of"


def _notes_on_reading(parts: Mapping[str, Part]) -> Iterator[str]:
    """Yield sentences about how streams are read, where that is not as they say."""
    train = parts["train"]
    if train.is_endless:
        yield (
            f"train: an endless stream, in epochs of {train.steps} batches; its first {train.steps}, of "
            f"{train.size} samples, were checked, and it is known by them"
        )
    if names := [part.name for part in parts.values() if uses_processes(part.stream)]:
        yield (
            f"{', '.join(names)}: use_multiprocessing of a PyDataset is left out, since the processes of "
            "a run use the cores already: it is read by one thread of the process that trains. To have "
            "it read by several, write use_multiprocessing=False, workers=n"
        )


def _endless(where: str, name: str, why: str, may_end: bool, stream: Any) -> DataError:
    """Return the error of a stream without an end, or one of which nobody can tell that it has one."""
    remedies = {
        "train": "set mt.Fit(steps_per_epoch=n), the batches of an epoch, or ",
        "validation": "set mt.Fit(validation_steps=n), or ",
    }
    end = "end it with .take(n)" if is_dataset(stream) else "give it a num_batches"
    if is_batch_function(stream):
        end = "have the function end"
    message = f"{where}: {name} {why}; {remedies.get(name, '')}{end}"
    if may_end and is_dataset(stream):
        message += (
            ". If it does end, say after how many batches, with "
            ".apply(tf.data.experimental.assert_cardinality(n))"
        )
    return DataError(message)


def _stream_part(
    where: str,
    name: str,
    stream: Any,
    steps: int | None,
    limit: ReadingLimit,
    groups_of: BatchGroups | None,
) -> Part:
    """Read the stream once: count, check and hash its samples, independently of their order.

    Of validation only the first ``steps`` batches are used. Of a train stream that may be endless
    the first ``steps`` are read here.
    """
    if name == "validation" and steps is not None:
        from modeltune.engine.data.cut_streams import first_batches  # imports Keras

        stream, steps = first_batches(stream, steps), None
    length = length_of(stream)
    is_endless = steps is not None and (length is None or math.isinf(length))
    most = steps if is_endless else None
    if most is None and length == math.inf:
        raise _endless(where, name, "is an endless stream", False, stream)
    watch = EndWatch(limit) if most is None and length is None else None
    size, digest = 0, 0
    first: list[int] = []
    seen: set[int] = set()
    labels: dict[str, tuple[int, int]] = {}
    classes: set[int] | None = set()
    groups: list[Array] = []
    is_ragged = False
    shapes = _declared_shapes(stream)
    for x, y, sample_weight in _batches(stream, f"{where}: {name}", most):
        columns = _columns(x, y, sample_weight)
        if any(array.ndim == 0 for array in columns.values()):
            raise DataError(f"{where}: {name} is not batched; end the dataset with .batch(n)")
        _check_targets(where, name, x, y)
        sizes = {label: len(array) for label, array in columns.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{label} {length}" for label, length in sizes.items())
            raise DataError(
                f"{where}: {name} yields a batch of different sizes: {listed}; "
                "is the dataset batched with .batch(n)?"
            )
        for label, array in columns.items():
            _check_finite(f"{where}: {name} {label}", array, size)
            shape = sample_shape(array)
            shapes[label] = _common(shapes.get(label, shape), shape)
        samples = next(iter(sizes.values()))
        if groups_of is not None:
            groups.append(groups_of(x, y, sample_weight, samples))
        numbers = list(_row_digests(columns, samples))
        batch = sum(numbers)
        digest = (digest + batch) % 2**256
        short = [number & SHORT for number in numbers]
        first += short[: READ_AGAIN - len(first)]
        seen.update(short)
        size += samples
        for path, (low, high) in label_ranges(y).items():
            lowest, highest = labels.get(path, (low, high))
            labels[path] = (min(low, lowest), max(high, highest))
        classes = _more_classes(classes, y)
        is_ragged = is_ragged or _are_ragged(y)
        if watch is not None and (why := watch.note(batch & SHORT)):
            raise _endless(where, name, f"{why}, and nothing says that it ends", True, stream)
    if size == 0:
        raise DataError(f"{where}: {name} is empty; it yields no batch")
    content = f"{digest:064x}"
    varies = _varies(_batches(stream, most=most), first, seen, digest, size)
    return Part(
        name,
        size,
        content,
        labels,
        shapes,
        stream=stream,
        content=content,
        varies=varies,
        classes=None if classes is None else frozenset(classes),
        steps=steps,
        is_endless=is_endless,
        is_ragged=is_ragged,
        # It may yield its samples in another order each time.
        groups=np.sort(np.concatenate(groups)) if groups else None,
        groups_of=groups_of,
    )


def _more_classes(classes: set[int] | None, y: Arrays) -> set[int] | None:
    """Return the classes with those of another batch; None once a batch has none, or there are many."""
    labels = None if classes is None else class_labels(y)
    if classes is None or labels is None or labels.dtype.kind not in "iubf":
        return None
    classes.update(int(label) for label in np.unique(labels))
    return classes if len(classes) <= MOST_CLASSES_KEPT else None


def _row_digests(columns: Mapping[str, Array], samples: int) -> Iterator[int]:
    for row in range(samples):
        sample = hashlib.sha256()
        for label, array in columns.items():
            sample.update(f"{label}:{array.dtype}:{array.shape[1:]};".encode())
            sample.update(_bytes(array[row : row + 1]))
        yield int.from_bytes(sample.digest(), "big")


def _varies(
    batches: Iterator[tuple[Arrays, Arrays, Arrays]],
    first: Sequence[int],
    seen: set[int],
    digest: int,
    size: int,
) -> bool:
    """Tell whether a stream yields other samples when it is read again, in whatever order.

    It is read to its end only if it does not begin with the same samples.

    Args:
        batches: the stream again.
        first: short digests of its first samples, ``READ_AGAIN`` of them if it has as many.
        seen: those of all its samples.
        digest: the sum of all the whole digests.
        size: how many samples it has yielded.
    """
    begin: list[int] = []
    total = read = 0
    for x, y, sample_weight in batches:
        columns = _columns(x, y, sample_weight)
        numbers = list(_row_digests(columns, len(next(iter(columns.values())))))
        short = [number & SHORT for number in numbers]
        read += len(numbers)
        if read > size or not seen.issuperset(short):
            return True
        total = (total + sum(numbers)) % 2**256
        if len(begin) < READ_AGAIN:
            begin += short[: READ_AGAIN - len(begin)]
            if len(begin) == READ_AGAIN and begin == first:
                return False
    return total != digest


def _columns(x: Arrays, y: Arrays, sample_weight: Arrays) -> dict[str, Array]:
    """Return every array of a part or a batch by name: "x", "y.mask"."""
    return {
        f"{kind}.{path}" if path else kind: array
        for kind, arrays in (("x", x), ("y", y), ("sample_weight", sample_weight))
        for path, array in leaves(arrays)
    }


def _check_targets(where: str, name: str, x: Arrays, y: Arrays) -> None:
    for kind, arrays in (("x", x), ("y", y)):
        if not list(leaves(arrays)) and (kind == "x" or arrays is not None):
            raise DataError(
                f"{where}: {name} {kind} is None or holds no array; a part is (x, y), "
                "(x, y, sample_weight), or x alone"
            )


def _declared_shapes(stream: Any) -> dict[str, Shape]:
    """Return the sample shapes that a ``tf.data.Dataset`` declares, with None for open lengths."""
    spec = _unpacked(stream.element_spec) if is_dataset(stream) else None
    if spec is None:
        return {}
    columns: Mapping[str, Any] = _columns(*spec)
    return {label: tuple(c.shape[1:]) for label, c in columns.items() if c.shape.rank}


def _common(one: Shape, other: Shape) -> Shape:
    """Return the shape with None where the two differ; ``other`` if their ranks differ."""
    if len(one) != len(other):
        return other
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def _batches(
    stream: Any, where: str = "data", most: int | None = None
) -> Iterator[tuple[Arrays, Arrays, Arrays]]:
    for batch in raw_batches(stream, most):
        unpacked = _unpacked(batch)
        if unpacked is None:
            what = f"a {type(batch).__name__}"
            if isinstance(batch, tuple | list):
                what += f" of {len(batch)}"
            raise DataError(
                f"{where} yields {what}; a batch is x, (x,), (x, y) or (x, y, sample_weight), and "
                "several inputs are a tuple of their own, ((a, b, c), y)"
            )
        x, y, sample_weight = (_arrays(part, where) for part in unpacked)
        yield x, y, sample_weight


def _arrays(value: Any, where: str) -> Arrays:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): _arrays(item, where) for key, item in value.items()}
    if isinstance(value, tuple) or (
        isinstance(value, list) and value and all(hasattr(item, "shape") for item in value)
    ):
        return type(value)(_arrays(item, where) for item in value)
    kind = type(value).__name__
    if is_ragged_tensor(value):
        return ragged_array(value)
    if kind == "SparseTensor" or (hasattr(value, "toarray") and hasattr(value, "nnz")):
        return _dense(value, kind, where)
    try:
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise DataError(
            f"{where} holds a {kind} whose rows have different lengths; pad them to one, as "
            "keras.utils.pad_sequences does, and mask the padding (Embedding(..., mask_zero=True))"
        ) from error


def _dense(value: Any, kind: str, where: str) -> Array:
    """Return a sparse matrix as an array: Keras trains on both to the same numbers.

    Raises:
        DataError: the array would take more than ``MOST_DENSE`` bytes.
    """
    shape = tuple(int(length) for length in value.shape)
    size = math.prod(shape) * int(getattr(value.dtype, "size", 0) or value.dtype.itemsize)
    if size > MOST_DENSE:
        raise DataError(
            f"{where} holds a {kind} of shape {shape}, which would take {size / 2**30:.1f} GiB in "
            f"memory, more than {MOST_DENSE / 2**30:.0f}; return a keras.utils.PyDataset whose "
            "batches are dense, or fewer columns"
        )
    if hasattr(value, "toarray"):
        return np.asarray(value.toarray())
    import keras  # a SparseTensor has brought TensorFlow with it

    return np.asarray(keras.ops.convert_to_numpy(value))


def _check_finite(label: str, array: Array, first: int = 0) -> None:
    """Refuse NaN and infinity; ``first`` is the number of the array's first row in its part."""
    if isinstance(array, RaggedArray):
        for row, inner in enumerate(array):
            values = inner.inner_values if isinstance(inner, RaggedArray) else inner
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                kind = "NaN" if np.isnan(values).any() else "infinite values"
                raise DataError(
                    f"{label} holds {kind}, first in row {first + row}; "
                    "clean or impute before returning mt.Data"
                )
    if array.dtype.kind != "f" or not array.size:
        return
    for rows in chunks(array):
        bad = ~np.isfinite(array[rows].reshape(len(array[rows]), -1)).all(axis=1)
        if not bad.any():
            continue
        row = rows.start + int(bad.argmax())
        kind = "NaN" if np.isnan(array[row]).any() else "infinite values"
        raise DataError(
            f"{label} holds {kind}, first in row {first + row}; "
            "clean or impute before returning mt.Data"
        )


def label_ranges(y: Arrays) -> dict[str, tuple[int, int]]:
    """Return the lowest and the highest value of each target that holds whole numbers, by its path."""
    return {
        path: (int(array.min()), int(array.max()))
        for path, array in leaves(y)
        if array.size and (array.dtype.kind in "iub" or _is_whole(array))
    }


def _is_whole(array: Array) -> bool:
    # At the first value that is none, the rest is not looked at.
    return array.dtype.kind == "f" and all((array[rows] % 1 == 0).all() for rows in chunks(array))


def _bytes(array: Array) -> bytes | memoryview:
    if isinstance(array, RaggedArray):
        lengths = b"".join(b"%d," % length for length in array.lengths)
        return lengths + b"".join(bytes(_bytes(row)) for row in array)
    if array.dtype.hasobject:
        return "\0".join(map(str, array.reshape(-1))).encode()
    # A view if the values lie side by side already.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _cut(
    where: str, parts: dict[str, Part], missing: Sequence[str], order: RowOrder, seed: int
) -> tuple[str, ...]:
    """Cut missing parts from train, one after the other; return a sentence about each.

    The rows are drawn, so that every part is a copy. Train is copied once, however many are cut.
    """
    if not missing:
        return ()
    train = parts["train"]
    if train.stream is not None:
        raise DataError(
            f"{where}: {missing[0]} is missing and can only be cut from arrays, but train is a "
            f"{type(train.stream).__name__}; return mt.Data(train, validation, test)"
        )
    size = round(CUT * train.size)
    rows = np.arange(train.size)
    cuts: list[str] = []
    for number, name in enumerate(missing):
        _check_cut(where, name, train, rows, size, order, len(missing) - number)
        if order.is_ordered:
            drawn = time_cut(rows, size, order.gap)
        elif train.groups is not None:
            labels, _ = _labels_of(train.y, rows)
            drawn = group_cut(train.groups[rows], labels, rows, size, seed)
        else:
            drawn = random_cut(*_labels_of(train.y, rows), rows, size, seed)
        cuts.append(f"{name}: {len(drawn.cut)} of {len(rows)} samples cut from train, {drawn.how}")
        parts[name] = replace(train.take(drawn.cut), name=name)
        rows = drawn.kept
    parts["train"] = train.take(rows)
    return tuple(cuts)


def _check_cut(
    where: str, name: str, train: Part, rows: Array, size: int, order: RowOrder, parts: int
) -> None:
    """Refuse to cut a part from these rows of train, and ``parts`` in all, where they are too few."""
    remedy = "return mt.Data(train, validation, test)"
    if size < 1 or len(rows) - size < 1:
        raise DataError(
            f"{where}: {name} is missing and train holds only {len(rows)} samples, too few to cut "
            f"it from; {remedy}"
        )
    if len(rows) - size - order.gap < 1:
        raise DataError(
            f"{where}: {name} is missing and train holds only {len(rows)} samples, too few to cut "
            f"{size} from with gap={order.gap} left out before them; {remedy}, or a smaller gap"
        )
    if train.groups is not None and (present := len(np.unique(train.groups[rows]))) <= parts:
        raise DataError(
            f"{where}: {name} is missing and train has only {present} groups, too few to cut "
            f"it from: each part takes one at least; {remedy}, or leave groups out"
        )


def _labels_of(y: Arrays, rows: Array) -> tuple[Array | None, str]:
    """Return the class labels of these rows, or None and why there are none."""
    has_labels = isinstance(y, np.ndarray) and y.ndim <= 2
    labels = class_labels(y[rows]) if has_labels else None
    return labels, "there is no y" if y is None else "y holds no class labels"


def _fewer(part: Part, spec: Spec) -> Part:
    """Return an array part with as many rows as the spec uses at most, drawn as cuts are."""
    most = spec.most_rows
    if most is None or part.stream is not None or part.size <= most:
        return part
    rows = np.arange(part.size)
    return part.take(random_cut(*_labels_of(part.y, rows), rows, most, spec.search.seed).cut)


def _check_folds(where: str, parts: Mapping[str, Part], order: RowOrder, k: int) -> None:
    for name in ("train", "validation"):
        if parts[name].stream is not None:
            raise DataError(
                f"{where}: KFold needs arrays to cut into folds, but {name} is a "
                f"{type(parts[name].stream).__name__}; return arrays, or validate with mt.Holdout"
            )
    samples = parts["train"].size + parts["validation"].size
    if samples < k + order.is_ordered:
        raise DataError(
            f"{where}: train and validation hold {samples} samples, too few for KFold(k={k})"
        )
    if order.is_ordered and order.gap > most_gap(samples, k):
        raise DataError(
            f"{where}: train and validation hold {samples} samples, too few for KFold(k={k}) with "
            f"gap={order.gap}: the first fold would be trained on none; write a smaller k or gap"
        )
    both = {name: parts[name].groups for name in ("train", "validation")}
    if order.is_ordered and any(groups is not None for groups in both.values()):
        raise DataError(
            f"{where}: groups and ordered=True are both given, and a fold of KFold(k={k}) in time would cut groups in "
            "two; leave one of both out, or validate with mt.Holdout"
        )
    grouped = {name: groups for name, groups in both.items() if groups is not None}
    if len(grouped) == 1:
        (known,), (lacking,) = grouped, both.keys() - grouped.keys()
        raise DataError(
            f"{where}: KFold draws its folds from train and validation, and groups has the labels of "
            f'{known} alone; return groups={{"train": ..., "validation": ...}}, of {lacking} too'
        )
    if grouped:
        count = len(np.unique(np.concatenate([*grouped.values()])))
        if count < k:
            raise DataError(
                f"{where}: train and validation have {count} groups, too few for KFold(k={k}), whose "
                "folds hold out one at least each; write a smaller k"
            )


def _compare(where: str, parts: Mapping[str, Part]) -> None:
    """Refuse parts whose features or targets differ in structure or in shape from train's."""
    first, *others = [name for name in ("train", "validation", "test") if name in parts]
    expected = _data_shapes(parts[first])
    for name in others:
        shapes = _data_shapes(parts[name])
        for label in sorted(expected.keys() | shapes.keys()):
            if not _are_compatible(expected.get(label), shapes.get(label)):
                raise DataError(
                    f"{where}: {name} {label} has sample shape {shapes.get(label, 'nothing')}, "
                    f"{first} {label} has {expected.get(label, 'nothing')}"
                )


def _data_shapes(part: Part) -> dict[str, Shape]:
    return {label: s for label, s in part.shapes.items() if not label.startswith("sample_weight")}


def _are_compatible(one: Shape | None, other: Shape | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    return all(a == b or None in (a, b) for a, b in zip(one, other, strict=True))
