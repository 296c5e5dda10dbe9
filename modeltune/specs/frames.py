"""Read what users declare tables and series by: frames, files and functions that return frames."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modeltune.ground import DataError, error_line
from modeltune.specs.addresses import root_here, root_of_file


def module_of_caller() -> str:
    """Return the name of the module that calls the function that calls this one.

    A data function keeps it in place of a folder, so that it is equal on any machine.
    """
    return str(sys._getframe(2).f_globals.get("__name__"))


def root_of_module(module: str) -> Path:
    """Return the root of the project that a module is in; of a notebook, of the working directory."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return root_here() if file is None else root_of_file(file)


def shown_source(source: Any) -> str:
    """Return how a message calls a source."""
    shown = f'"{source}"' if isinstance(source, str | Path) else type(source).__name__
    return str(getattr(source, "__name__", shown))


def read_frame(what: str, source: Any, root: Path) -> Any:
    """Return a pandas frame with names of text, and rows counted from 0.

    Args:
        what: begins each message.
        source: a frame or column of pandas, or one of another library that has ``to_pandas`` (Polars, Arrow, Hugging
            Face's datasets); the path of a ``.csv`` or ``.parquet`` file; or a function that returns a frame.
        root: the folder that a path starts from.

    Raises:
        DataError: it cannot be read, is none of these, or has no rows or two columns of one name.
    """
    import pandas as pd

    frame: Any
    try:
        if isinstance(source, str | Path):
            path = root / source
            if not path.is_file():
                raise DataError(
                    f"{what}: there is no file {path}; it is looked for from the project's root"
                )
            readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
            if path.suffix not in readers:
                raise DataError(f"{what}: {path.name} is neither .csv nor .parquet")
            frame = readers[path.suffix](path)
        else:
            frame = source() if callable(source) else source
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{what}: it cannot be read: {error_line(error)}") from error
    for method in ("collect", "to_frame", "to_pandas"):
        # A lazy frame of Polars, a single column, and a frame of another library than pandas.
        frame = getattr(frame, method)() if hasattr(frame, method) else frame
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"{what}: it is a {type(frame).__name__}, and no frame; write a frame, the path of a .csv or "
            ".parquet file, or a function that returns a frame"
        )
    if not len(frame):
        raise DataError(f"{what}: it has no rows")
    frame = frame.rename(columns=str).reset_index(drop=True)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{what}: two columns are called {twice[0]!r}; rename one")
    return frame


def frame_of(columns: Mapping[str, Any]) -> Any:
    """Return a pandas frame of arrays by the names of their columns."""
    import pandas as pd

    return pd.DataFrame(columns)


def typed_column(column: Any) -> Any:
    """Return a column of Python's truth values, dates or decimals as one of numbers or dates; any other as it is.

    Other libraries, and files, give these as objects where some are missing.
    """
    import datetime
    from decimal import Decimal

    import pandas as pd

    if column.dtype != object:
        return column
    known = column.dropna()
    kinds = set(map(type, known))
    if kinds and kinds <= {bool, Decimal}:
        return column.astype("float64")
    if kinds == {datetime.date}:
        return pd.to_datetime(column)
    return column


def class_codes(labels: Any) -> tuple[Any, tuple[str, ...]]:
    """Return labels of text as numbers, int64 of shape (n,), in the order of their names; and the names."""
    import numpy as np

    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    return codes.reshape(-1).astype("int64"), tuple(map(str, names))
