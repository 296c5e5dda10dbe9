"""Output fits where it goes: a terminal is as wide as it says, a pipe takes anything."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios

import pytest

from modeltune.cli.output import room


@pytest.mark.parametrize(("told", "columns"), [("", 47), ("60", 60), ("0", 47), ("wide", 47)])
def test_columns_are_those_that_are_told_else_those_of_the_terminal(
    told: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 47, 0, 0))
    monkeypatch.setenv("COLUMNS", told)
    with os.fdopen(outer), os.fdopen(inner, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert room() == columns


def test_what_is_no_terminal_takes_any_width(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert room() is None
