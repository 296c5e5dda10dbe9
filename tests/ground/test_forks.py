"""A copy of a process ends where it would go on as if it were the process."""

from __future__ import annotations

import os

import pytest

from modeltune.ground import copies_end_here


@pytest.mark.parametrize("raises", [False, True])
def test_only_the_process_itself_goes_on(raises: bool) -> None:
    copy = 0
    with copies_end_here():
        copy = os.fork()
        if raises and not copy:
            raise SystemExit(3)
    assert copy, "the copy went on"
    assert os.waitpid(copy, 0) == (copy, 0)
