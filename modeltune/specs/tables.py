"""Declare a table as the data of a spec: a frame, a CSV or Parquet file, or a function that returns one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modeltune.ground import DataError, error_line, first_names, typed
from modeltune.specs.datasets import Data
from modeltune.specs.frames import (
    class_codes,
    module_of_caller,
    read_frame,
    root_of_module,
    shown_source,
    typed_column,
)
from modeltune.specs.text_numbers import CategoryNumbers, TextNumbers, has_text_tensors

NO_CATEGORY = "(missing)"
"""What stands for a category that is not known."""

MOST_ONE_HOT = 100
"""The categories of a column that get a number each; of more, each gets a learned vector."""


def table(
    source: Any,
    *,
    target: str | Sequence[str],
    categorical: Sequence[str] = (),
    weight: str | None = None,
    groups: str | None = None,
    time: str | None = None,
) -> Table:
    """Return a data function that reads a table, a row per sample.

    ``x`` is a dict by column of arrays of shape ``(n, 1)``: float32 of numbers, dates (days since 1970), durations
    (days) and truth values, text of categories. A missing number is 0 and told by another column, ``age is missing``; a missing
    category is ``"(missing)"``. Nothing of it is fitted. A build function with a second argument gets what was
    fitted on train::

        @mt.spec(data=mt.table("loans.csv", target="default"), ...)
        def net(hp, prepared):
            inputs = prepared.inputs()  # a dict of keras.Input by column
            x = prepared.encode(inputs)  # one tensor, (batch, width)
            ...

    Validation and test are cut as of any other data, by ``groups`` and ``time`` as by those of ``mt.Data``.

    Args:
        source: a pandas or Polars frame, the path of a ``.csv`` or ``.parquet`` file from the project's root, or a
            function that returns a frame.
        target: the column to predict, or several of them, which are one target of that width. Text and truth
            values become class numbers in the order of their names, which reports then show.
        categorical: columns of numbers that are names of something. Columns of text are categories anyway.
        weight: the column of sample weights.
        groups: a column, such as a patient; no group is in two parts, or in two folds of ``mt.KFold``. It is no
            input, and is in the metadata.
        time: a column to order rows by; validation and test are the latest rows, and ``mt.KFold`` trains on what
            comes before the rows it holds out. Text is read as dates (2026-11-30). It is no input, and is in the
            metadata.

    Raises:
        TypeError: an argument is of another kind.
        DataError: when called, if the table cannot be read or lacks a column, or a target is missing.
    """
    targets = (
        (target,) if isinstance(target, str) or not isinstance(target, Sequence) else (*target,)
    )
    named: dict[str, object] = {"weight": weight, "groups": groups, "time": time}
    for name, value in named.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"mt.table: {name} is {typed(value)}; write the name of a column")
    if not targets or not all(isinstance(name, str) for name in targets):
        raise TypeError(
            f"mt.table: target is {typed(target)}; write the name of a column, or a list"
        )
    if isinstance(categorical, str):
        raise TypeError(f"mt.table: categorical is {typed(categorical)}; write a list of columns")
    if groups is not None and time is not None:
        raise TypeError(
            "mt.table: groups and time are both given, and parts are cut by one of them; leave one out"
        )
    module = module_of_caller()
    return Table(source, targets, tuple(categorical), weight, groups, time, module)


@dataclass(frozen=True, eq=False)
class Table:
    """A data function: called, it reads a table. ``mt.table`` makes it.

    It knows the module it stands in, and not its folder: the same data function is equal on any machine.
    """

    source: Any
    targets: tuple[str, ...]
    categorical: tuple[str, ...]
    weight: str | None
    groups: str | None
    time: str | None
    module: str = field(repr=False)

    @property
    def __name__(self) -> str:
        return f"table(target={', '.join(self.targets)})"

    def __call__(self) -> Data:
        """Read the table.

        Raises:
            DataError: as ``table``.
        """
        frame = read_frame(self._what, self.source, root_of_module(self.module))
        self._check(frame)
        if self.time is not None:
            rows = self._in_time(frame[self.time]).sort_values(kind="stable").index
            frame = frame.loc[rows].reset_index(drop=True)
        apart = [name for name in (self.groups, self.time) if name is not None]
        left_out = {*self.targets, *apart} | ({self.weight} if self.weight else set())
        x: dict[str, Any] = {}
        for name in frame.columns:
            if name not in left_out:
                x |= self._column(name, frame[name])
        if not x:
            raise DataError(
                f"{self._what}: no column is left as input; it has {first_names(frame.columns)}"
            )
        y, names = self._target(frame)
        arrays = [x, y]
        if self.weight is not None:
            arrays.append(self._numbers(self.weight, frame[self.weight], "sample weights"))
        prepare = TableEncoding({name: array.dtype.kind in "OSU" for name, array in x.items()})
        return Data(
            tuple(arrays),
            metadata=frame[apart] if apart else None,
            class_names=names,
            prepare=prepare,
            groups=None if self.groups is None else frame[self.groups].to_numpy(),
            ordered=self.time is not None,
        )

    @property
    def _what(self) -> str:
        return f"mt.table({shown_source(self.source)})"

    def _check(self, frame: Any) -> None:
        named: dict[str, Sequence[str | None]] = {
            "target": self.targets, "categorical": self.categorical, "weight": [self.weight],
            "groups": [self.groups], "time": [self.time],
        }  # fmt: skip
        for argument, names in named.items():
            for name in names:
                if name is not None and name not in frame.columns:
                    raise DataError(
                        f"{self._what}: {argument}={name!r} is no column; it has {first_names(frame.columns)}"
                    )
        for argument in ("target", "weight", "groups", "time"):
            for name in named[argument]:
                if name is not None and (missing := int(frame[name].isna().sum())):
                    raise DataError(
                        f"{self._what}: {argument} {name!r} is missing in {missing} of {len(frame)} rows; "
                        "leave these rows out"
                    )

    def _column(self, name: str, column: Any) -> dict[str, Any]:
        """Return the input of a column, and of one of numbers whether each is missing if some are."""
        import numpy as np
        import pandas as pd

        # A name of Keras's has none.
        name, column_name = name.replace("/", "_"), name
        column = typed_column(column)
        if pd.api.types.is_timedelta64_dtype(column):
            column = column / pd.Timedelta(days=1)
        if pd.api.types.is_datetime64_any_dtype(column):
            column = (column - pd.Timestamp(0, tz=column.dt.tz)) / pd.Timedelta(days=1)
        is_number = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        if column_name in self.categorical or not is_number:
            texts = [NO_CATEGORY if pd.isna(value) else str(value) for value in column]
            return {name: np.array(texts, dtype=object)[:, None]}
        missing = column.isna().to_numpy()
        numbers = np.where(missing, 0.0, column.fillna(0).to_numpy("float64"))
        inputs = {name: numbers.astype("float32")[:, None]}
        if missing.any():
            inputs[told_by(name)] = missing.astype("float32")[:, None]
        return inputs

    def _in_time(self, column: Any) -> Any:
        """Return what rows are ordered by: text as the dates it stands for."""
        import pandas as pd

        if not (pd.api.types.is_string_dtype(column) or column.dtype == object):
            return column
        try:
            return pd.to_datetime(column, format="ISO8601")
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self._what}: time {self.time!r} is text and no dates as 2026-11-30; convert it in a function "
                f"that returns the frame ({error_line(error)})"
            ) from error

    def _numbers(self, name: str, column: Any, what: str) -> Any:
        try:
            return column.to_numpy("float32")
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self._what}: {what} {name!r} are no numbers: {error_line(error)}"
            ) from error

    def _target(self, frame: Any) -> tuple[Any, tuple[str, ...] | None]:
        """Return the targets, and what classes are called if they are no numbers."""
        import numpy as np
        import pandas as pd

        if len(self.targets) > 1:
            columns = [self._numbers(name, frame[name], "targets") for name in self.targets]
            return np.stack(columns, axis=1), None
        column = frame[self.targets[0]]
        if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            return class_codes(column.to_numpy())
        if pd.api.types.is_integer_dtype(column):
            return column.to_numpy("int64"), None
        return column.to_numpy("float32"), None


def told_by(name: str) -> str:
    """Return the name of the input that tells whether a number of a column is missing."""
    return f"{name} is missing"


@dataclass(frozen=True)
class TableEncoding:
    """Fits on train what encodes the columns of a table: ``prepare`` of its data.

    Args:
        is_text: by input whether it is of categories.
    """

    is_text: Mapping[str, bool]

    __name__ = "mt.table"

    def __call__(self, train: Any) -> PreparedTable:
        """Return what is fitted on the inputs of a train part."""
        import numpy as np

        x = train[0]
        means: dict[str, float] = {}
        variances: dict[str, float] = {}
        vocabularies: dict[str, tuple[str, ...]] = {}
        for name, is_text in self.is_text.items():
            if is_text:
                values = sorted({str(value) for value in x[name].reshape(-1)})
                vocabularies[name] = tuple(values)
            elif name not in map(told_by, self.is_text):
                known = x[name][x[told_by(name)] == 0] if told_by(name) in x else x[name]
                known = known.astype(np.float64)
                means[name] = float(known.mean()) if known.size else 0.0
                # As Keras's Normalization has it; a column that does not vary stays 0.
                variances[name] = float(known.var()) if known.size else 0.0
        return PreparedTable(tuple(self.is_text), means, variances, vocabularies)


@dataclass(frozen=True)
class PreparedTable:
    """What was fitted on the train part of a table: means and variances of numbers, categories of text.

    Each call of ``encode`` makes new Keras layers that hold it, so that a model keeps it when it is exported.

    Args:
        names: the inputs, in their order.
        means, variances: of the numbers that are known, by input.
        vocabularies: the categories of train by input, sorted.
    """

    names: tuple[str, ...]
    means: Mapping[str, float]
    variances: Mapping[str, float]
    vocabularies: Mapping[str, tuple[str, ...]]

    @cached_property
    def numbers(self) -> TextNumbers:
        """What puts the places of categories in the place of texts, for a backend without tensors of texts."""
        return TextNumbers(
            {name: CategoryNumbers(known) for name, known in self.vocabularies.items()}
        )

    def inputs(self) -> dict[str, Any]:
        """Return a new ``keras.Input`` of shape ``(1,)`` for each column, by its name.

        A category is a text, with JAX and PyTorch its place in the vocabulary.
        """
        import keras

        of_category = "string" if has_text_tensors() else "int32"
        return {
            name: keras.Input(
                (1,), name=name, dtype=of_category if name in self.vocabularies else None
            )
            for name in self.names
        }

    def encode(self, inputs: Mapping[str, Any]) -> Any:
        """Return one tensor of shape ``(batch, width)`` behind fitted layers.

        A number is normalised to mean 0 and variance 1 on train, and 0 where it is missing. A category gets one
        number of its own, up to ``MOST_ONE_HOT`` of a column, else a learned vector; one that train does
        not have is told from all others.
        """
        from keras import layers

        tensors = []
        for name in self.names:
            if name in self.vocabularies:
                tensors.append(self._category(name, inputs[name]))
            elif name in self.means:
                scale = layers.Normalization(mean=self.means[name], variance=self.variances[name])
                number = scale(inputs[name])
                if told_by(name) in self.names:
                    is_known = layers.Rescaling(-1.0, 1.0)(inputs[told_by(name)])
                    number = layers.Multiply()([number, is_known])
                tensors.append(number)
            else:
                tensors.append(inputs[name])
        return layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]

    def _category(self, name: str, column: Any) -> Any:
        from keras import layers

        vocabulary, are_texts = list(self.vocabularies[name]), has_text_tensors()
        if len(vocabulary) <= MOST_ONE_HOT:
            one_hot = (
                layers.StringLookup(vocabulary=vocabulary, output_mode="one_hot")
                if are_texts
                else layers.CategoryEncoding(len(vocabulary) + 1, output_mode="one_hot")
            )
            return one_hot(column)
        places = layers.StringLookup(vocabulary=vocabulary)(column) if are_texts else column
        width = round(len(vocabulary) ** 0.5)
        return layers.Flatten()(layers.Embedding(len(vocabulary) + 1, width)(places))
