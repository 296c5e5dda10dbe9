"""What is known of each sample besides x and y, such as its region: a frame with a row for each."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modeltune.ground import DataError
from modeltune.records import Array, Groups

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")

SHAPE = "return a pandas frame with one row per sample"


def metadata_frames(
    where: str, metadata: Any, sizes: Mapping[str, int], streams: Mapping[str, str]
) -> dict[str, Any]:
    """Return the frame of metadata of each part that has one, its rows numbered from 0.

    Args:
        where: what messages begin with.
        metadata: a frame, of the only part there is, or a dict of frames by part.
        sizes: the samples of each part that the data function returned, before any is cut from train.
        streams: by part what kind of stream it is, where it is one.

    Raises:
        DataError: it is something else, or a frame's rows are not those of its part.
    """
    if metadata is None:
        return {}
    frames = {}
    for name, (label, frame) in _by_part(where, metadata, sizes).items():
        if not _is_frame(frame):
            what = "None" if frame is None else f"a {type(frame).__name__}"
            raise DataError(f"{where}: {label} is {what}; {SHAPE}")
        if name in streams:
            raise DataError(
                f"{where}: {label} cannot be joined with {name}, a {streams[name]}, which may yield its "
                "samples in any order; return arrays, or compute groups of x: .by(name, function)"
            )
        if len(frame) != sizes[name]:
            raise DataError(
                f"{where}: {label} has {len(frame)} rows for the {sizes[name]} samples of {name}; "
                f"{SHAPE} of it, in its order"
            )
        columns = [str(column) for column in frame.columns]
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise DataError(f'{where}: {label} has two columns "{twice}"; rename one of them')
        frames[name] = frame.reset_index(drop=True)
    return frames


def _by_part(where: str, metadata: Any, parts: Collection[str]) -> dict[str, tuple[str, Any]]:
    """Return by part what messages call its frame, and the frame."""
    if not isinstance(metadata, Mapping):
        if not _is_frame(metadata):
            raise DataError(
                f"{where}: metadata is a {type(metadata).__name__}; {SHAPE} of train, or a dict of frames "
                'by part, {"test": frame}'
            )
        if len(parts) > 1:
            listed = ", ".join(f'"{name}": ...' for name in parts)
            raise DataError(
                f"{where}: metadata is one frame, and there are the parts {', '.join(parts)}; return "
                f"metadata={{{listed}}}"
            )
        return dict.fromkeys(parts, ("metadata", metadata))
    return named_parts(where, "metadata", metadata, parts)


def named_parts(
    where: str, field: str, values: Mapping[Any, Any], parts: Collection[str]
) -> dict[str, tuple[str, Any]]:
    """Return by part what messages call its entry in a dict by part, and the entry.

    Raises:
        DataError: it names something that is no part, or one that ``mt.Data`` does not have.
    """
    for name in values:
        if name not in PARTS:
            raise DataError(
                f"{where}: {field}[{name!r}] is of no part; the parts are {', '.join(PARTS)}"
            )
        if name not in parts:
            raise DataError(
                f'{where}: {field}["{name}"] is of a part that mt.Data does not have: one that is cut '
                "from train inherits what its rows have; leave it out"
            )
    return {name: (f'{field}["{name}"]', entry) for name, entry in values.items()}


def joined_metadata(first: Any, second: Any) -> Any:
    """Return two frames of metadata, one after the other; None where one is None."""
    if first is None or second is None:
        return None
    import pandas as pd

    return pd.concat([first, second], ignore_index=True)


def text_codes(values: Any) -> tuple[Array, list[str]]:
    """Return the place of each value among the different ones as texts, and these; -1 of a missing one."""
    import pandas as pd

    values = values if isinstance(values, pd.Series) else np.asarray(values).reshape(-1)
    codes, unique = pd.factorize(values)
    return codes, [str(value) for value in unique]


MOST_GROUPED_VALUES = 50
"""Different values of a column beyond which it is an id or a measurement, and no grouping."""


def columns_of_values(frame: pd.DataFrame) -> dict[str, Groups]:
    """Return which value of each column the rows of a frame have, as texts; not of columns of many values."""
    columns: dict[str, Groups] = {}
    for place, name in enumerate(map(str, frame.columns)):
        codes, labels = text_codes(frame.iloc[:, place])
        if 1 < len(labels) <= MOST_GROUPED_VALUES:
            texts = np.array([*labels, "missing"], object)[codes]
            columns[name] = Groups.of(texts)
    return columns


def metadata_digest(frames: Mapping[str, Any]) -> str:
    """Return the sha256 of metadata by part, "" where no part has any."""
    known = {name: frame for name, frame in frames.items() if frame is not None}
    if not known:
        return ""
    digest = hashlib.sha256()
    for name, frame in known.items():
        for place, column in enumerate(frame.columns):
            values = frame.iloc[:, place]
            digest.update(f"{name}.{column}:{values.dtype}:{len(values)};".encode())
            digest.update(_column_bytes(values))
    return digest.hexdigest()


def _column_bytes(values: pd.Series[Any]) -> bytes:
    from pandas.util import hash_pandas_object

    try:
        hashed = hash_pandas_object(values, index=False)
    except TypeError:  # lists and the like
        hashed = hash_pandas_object(values.astype(str), index=False)
    return hashed.to_numpy().tobytes()


def _is_frame(value: object) -> bool:
    pandas = sys.modules.get("pandas")  # who returns a frame has imported it
    return pandas is not None and isinstance(value, pandas.DataFrame)
