"""The rows of one spec's runs, those among them that an earlier modeltune recorded by file name alone."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from modeltune.histories.schema import runs
from modeltune.specs import address_by_name, split_address

_LONGEST_PATH = 4096

_MORE = 200
"""How many rows are read at once where the first ones turned out to be of other specs."""


def newest(
    connection: sa.Connection,
    chosen: sa.Select[Any],
    spec: str | None = None,
    root: Path | None = None,
    limit: int | None = None,
) -> list[sa.Row[Any]]:
    """Return the rows of runs newest first, of all specs or of one.

    Args:
        chosen: a query for columns of ``runs``, among them ``seq``, ``spec`` and ``file``.
        spec: the address of the spec.
        root: the root of its project. Today an address has the path of its file; runs that were
            recorded by the name of the file alone count if their file is that of the spec.
        limit: at most this number of rows.
    """
    if spec is None or root is None:
        wanted = chosen if spec is None else chosen.where(runs.c.spec == spec)
        return list(connection.execute(wanted.order_by(runs.c.seq.desc()).limit(limit)).all())
    by_name = address_by_name(spec)
    is_of_spec = functools.cache(functools.partial(_is_of_spec, spec, root))
    of_the_file = (
        row
        for row in _rows(connection, chosen.where(runs.c.spec == by_name), limit)
        # What is no text is of no file, and the caller says so.
        if not isinstance(row.file, str) or is_of_spec(row.file)
    )
    if by_name == spec:
        return list(itertools.islice(of_the_file, limit))
    by_path = _rows(connection, chosen.where(runs.c.spec == spec), limit)
    # What is no number is no run, and the caller says so.
    both = heapq.merge(
        by_path, of_the_file, key=lambda row: -row.seq if isinstance(row.seq, int) else 0
    )
    return list(itertools.islice(both, limit))


def todays_address(spec: str, file: str, root: Path) -> str:
    """Return the address today of a spec that was recorded by the name of its file alone.

    It is what was recorded if the file is not in this project any more.
    """
    name, item = split_address(spec)
    if not item or name != Path(file).name:
        return spec
    path = _path_here(file, root)
    return spec if path is None else f"{path}::{item}"


def _is_of_spec(spec: str, root: Path, file: str) -> bool:
    """Tell whether a run that was recorded by the name of its file alone is of a spec of today."""
    path = split_address(spec)[0]
    here = _path_here(file, root) if Path(file).name == Path(path).name else None
    if here is not None or Path(root, file) == root / path:
        return here in (path, None)
    # Of a file that is gone, the name is all there is.
    return "/" not in path and not is_file(root / path)


def _path_here(file: str, root: Path) -> str | None:
    """Return the path in this project of a recorded file, None when it is not there.

    It may have been recorded elsewhere, in another clone: then it is the file of this project to
    which as much of its path as possible leads.
    """
    place = Path(root, file)
    if len(file) > _LONGEST_PATH or ".." in place.parts:
        return None
    tails = [Path(*place.parts[start:]) for start in range(1, len(place.parts))]
    if root in place.parents:
        tails = [place.relative_to(root)]
    return next((tail.as_posix() for tail in tails if is_file(root / tail)), None)


def is_file(path: Path) -> bool:
    """Tell whether there is a file; none has a name longer than names of files may be."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _rows(
    connection: sa.Connection, chosen: sa.Select[Any], limit: int | None
) -> Iterator[sa.Row[Any]]:
    """Yield rows newest first; with a limit, read them in portions: a history may have many.

    The first portion is as many as are asked for, which is enough unless some are of another spec.
    """
    ordered = chosen.order_by(runs.c.seq.desc())
    if limit is None:
        yield from connection.execute(ordered)
        return
    portion = limit
    rows = connection.execute(ordered.limit(portion)).all()
    while rows:
        yield from rows
        if len(rows) < portion:
            return
        portion = max(limit, _MORE)
        rows = connection.execute(ordered.limit(portion).where(runs.c.seq < rows[-1].seq)).all()
