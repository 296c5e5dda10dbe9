"""A pytest that a signal stops, once it has shown a certain line."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support import forked


@dataclass(frozen=True)
class Stopped:
    """How it ended, the lines it showed, and its descendants at the moment of the signal."""

    status: int
    shown: list[str]
    family: list[psutil.Process]


def stopped(
    folder: Path,
    *arguments: str,
    at: str,
    sent: signal.Signals = signal.SIGINT,
    environ: Mapping[str, str] | None = None,
) -> Stopped:
    """Run pytest in a folder until a line begins with ``at``, send it a signal, and wait for its end.

    One that ends before it shows that line gets no signal.
    """
    process = forked.Forked(forked.pytest, *arguments, folder=folder, environ=environ)
    shown, family = [], []
    for line in process.output:
        shown.append(line)
        if line.startswith(at):
            family = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, sent)
            break
    status, rest = process.end()
    return Stopped(status, [*shown, *rest.splitlines(keepends=True)], family)
