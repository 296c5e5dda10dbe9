"""Only regular files of bounded size are read, without waiting, and only strict JSON is understood."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeltune.ground.bounded_files import (
    DEEPEST,
    MOST_DIGITS,
    open_own,
    open_regular,
    parse_json,
    read_bounded,
    read_json,
)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # A path in full may be too long for a socket.
        folder = os.getcwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(folder)


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": _socket,
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize("read", [lambda path: read_json(path, 100), open_regular, open_own])
def test_what_is_no_regular_file_is_refused_by_name_and_not_waited_for(
    tmp_path: Path, kind: str, read: Callable[[Path], object]
) -> None:
    IRREGULAR[kind](path := tmp_path / "file")
    with pytest.raises(OSError, match="file") as refused:
        read(path)
    assert refused.value.filename == str(path)


def test_a_file_of_ours_is_never_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for name, target in {"link": tmp_path / "mine", "dangling": tmp_path / "new"}.items():
        (tmp_path / name).symlink_to(target)
        with pytest.raises(OSError, match="it is a link"):
            open_own(tmp_path / name)
        with pytest.raises(OSError, match=r"it is a link"):
            open_regular(tmp_path / name, through_links=False)
    assert not (tmp_path / "new").exists()
    assert read_bounded(tmp_path / "link", 4) == b"mine"


def test_a_larger_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    os.truncate(path, 1 << 40)
    with pytest.raises(ValueError, match=rf"it has {1 << 40} bytes, more than the 5 allowed"):
        read_bounded(path, 5)
    # As files of the kernel do, this one says that it is empty.
    with pytest.raises(ValueError, match="more than the 5 allowed"):
        read_bounded(Path("/proc/self/status"), 5)


def test_what_json_writes_is_read_back() -> None:
    value = {"a": [1, -2.5, "é", None, True, 10 ** (MOST_DIGITS - 1)], "b": {"a": {}, "": []}}
    assert parse_json(json.dumps(value, allow_nan=False).encode()) == value


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + "1" + closing * levels).encode()


REFUSED: dict[str, tuple[bytes, str]] = {
    "a list too deep": (nested(DEEPEST + 1), "nested more than 200 levels deep"),
    "a list far too deep": (nested(1_000_000), "nested more than 200 levels deep"),
    "an object too deep": (nested(DEEPEST + 1, '{"a":', "}"), "nested more than 200 levels deep"),
    "an open end": (b"[" * 1_000_000, "nested more than 200 levels deep"),
    "not a number": (b'{"a": NaN}', "it has NaN, which is no number in JSON"),
    "minus infinity": (b"[-Infinity]", "it has -Infinity, which is no number"),
    "a float too large": (b"[1e999]", "it has the number 1e999, which is too large"),
    "an integer too long": (b"1" * 5000, "it has a number of 5000 digits"),
    "a float of an integer": (b"9" * 301, "it has a number of 301 digits"),
    "a key twice": (b'{"b": {"a": 1, "a": 2}}', "it has the key 'a' twice"),
    "no UTF-8": (b'"\xff"', "'utf-8' codec"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "'utf-8' codec"),
    "two marks of byte order": (b"\xef\xbb\xbf" * 2 + b'{"a": 1}', "Expecting value"),
    "nothing": (b"", "Expecting value"),
    "zeros": (b"\0" * 9, "Expecting value"),
    "two values": (b"1 2", "Extra data"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_strict_json_is_one_value_error(kind: str) -> None:
    content, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words):
        parse_json(content)


def test_values_nested_as_deep_as_allowed_are_read() -> None:
    value: Any = parse_json(nested(DEEPEST))
    for _ in range(DEEPEST):
        (value,) = value
    assert value == 1
