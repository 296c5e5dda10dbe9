"""Read files that anybody may have written: regular files only, of bounded size, and strict JSON.

A pipe or a device in the place of a file would be waited for, or read, for ever.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

MEBIBYTE = 1 << 20

DEEPEST = 200
"""How deeply lists and objects may be nested; far below the recursion limit of Python."""

MOST_DIGITS = 300
"""Digits of a whole number; with more it would be no float, which goes to 1.8e308."""


def require_regular(path: Path) -> None:
    """Refuse what is no regular file, such as a link, without opening it.

    Raises:
        OSError: it is something else, or not there.
    """
    _require_regular(path, path.lstat())


def open_regular(path: Path, *, through_links: bool = True) -> BufferedReader:
    """Open a regular file to read its bytes, without ever waiting for anybody.

    Args:
        path: the file.
        through_links: whether the file may be reached by a link of its name.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    # Opening a device may have an effect, so it is looked at first; another may come in between.
    _require_regular(path, os.stat(path, follow_symlinks=through_links))
    return os.fdopen(_opened(path, os.O_RDONLY, through_links), "rb")


def open_own(path: Path, *, appends: bool = False) -> IO[bytes]:
    """Open a file of ours to read, write or lock it, made if it is not there; never through a link.

    Args:
        path: the file.
        appends: whether all that is written goes to its end, wherever that is by then.

    Raises:
        OSError: it cannot be opened, or is something else than a regular file.
    """
    with contextlib.suppress(FileNotFoundError):
        _require_regular(path, path.lstat())
    flags = os.O_RDWR | os.O_CREAT | (os.O_APPEND if appends else 0)
    return os.fdopen(_opened(path, flags, False), "r+b")


def read_bounded(path: Path, largest: int) -> bytes:
    """Return the content of a regular file of at most so many bytes.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Some systems have files that say 0 bytes and hold more.
        content = file.read(largest + 1) if size <= largest else b""
    if size > largest or len(content) > largest:
        raise ValueError(f"it has {max(size, len(content))} bytes, more than the {largest} allowed")
    return content


def read_json(path: Path, largest: int) -> Any:
    """Return what a JSON file of at most so many bytes holds; see ``parse_json``.

    Raises:
        OSError, ValueError: as ``read_bounded`` and ``parse_json``.
    """
    return parse_json(read_bounded(path, largest))


def parse_json(content: bytes) -> Any:
    """Return what a JSON text in UTF-8 holds.

    Raises:
        ValueError: it is no strict JSON, has NaN or a number that no float can hold, has a key
            twice, or is nested more deeply than ``DEEPEST``.
    """
    try:
        # Some editors begin a file with a mark of its byte order.
        value = _DECODER.decode(content.removeprefix(codecs.BOM_UTF8).decode())
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return value
    containers, depth = [value] if isinstance(value, dict | list) else [], 0
    while containers:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
        containers = [
            item
            for container in containers
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
    return value


_TOO_DEEP = f"it is nested more than {DEEPEST} levels deep"


def _opened(path: Path, flags: int, through_links: bool) -> int:
    # Neither flag exists on Windows.
    flags |= getattr(os, "O_NONBLOCK", 0) | (0 if through_links else getattr(os, "O_NOFOLLOW", 0))
    descriptor = os.open(path, flags, 0o666)
    try:
        _require_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    is_link = stat.S_ISLNK(status.st_mode)
    what = "a link" if is_link else "a pipe, a socket or a device"
    raise OSError(errno.ELOOP if is_link else errno.EINVAL, f"it is {what}, no file", str(path))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys: set[str] = set()
        for key, _ in pairs:
            if key in keys:
                raise ValueError(f"it has the key {key[:100]!r} twice")
            keys.add(key)
    return value


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it has the number {text[:100]}, which is too large")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"it has {name}, which is no number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
