"""A full disk is told from other errors, whoever met it."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from modeltune.ground import free_space, is_disk_full


def chained(cause: Exception) -> Exception:
    error = RuntimeError("cannot save")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "voll"), True),
        (OSError(errno.EDQUOT, "voll"), True),
        (OSError("Can't write data (errno = 28, error message = 'No space left on device')"), True),
        (chained(OSError(errno.ENOSPC, "voll")), True),
        (OSError(errno.EACCES, "denied"), False),
        (ValueError("full of errors"), False),
    ],
)
def test_a_full_disk_is_known_by_number_or_words(error: Exception, is_full: bool) -> None:
    assert is_disk_full(error) is is_full


def test_free_bytes_are_those_where_a_folder_will_be(tmp_path: Path) -> None:
    assert re.fullmatch(r" \(\d+ bytes free\)", free_space(tmp_path / "not" / "yet"))
