"""A pytest that a signal stops, once it has shown a certain line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


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
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *arguments],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background job, as CI may be, ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout
        shown, family = [], []
        for line in process.stdout:
            shown.append(line)
            if line.startswith(at):
                family = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(sent)
                break
        shown += process.stdout.readlines()
    return Stopped(process.returncode, shown, family)
