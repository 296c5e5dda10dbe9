"""Actions in processes of their own, which strace kills at a system call, or tells that the disk is full."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)
"""Numbers in Linux's linux/prctl.h."""


def in_child(action: Callable[[], object]) -> tuple[int, str]:
    """Run the action in a forked process; return its pid's exit status and what it returned."""
    with tempfile.TemporaryFile("w+") as output:
        with warnings.catch_warnings():
            # Under xdist the process has threads; the child only runs SQLite.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            # A stream of TensorFlow's that nobody holds any more would wait for its threads, which no copy has.
            gc.disable()
            try:
                _allow_tracing()
                output.write(str(action()))
                output.flush()
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitpid(pid, 0)[1]
        output.seek(0)
        return status, output.read()


def _allow_tracing() -> None:
    """Let a child of this process trace it: Debian and Ubuntu by default let only its parents."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        # Fails, to no harm, on a kernel that does not restrict tracing.
        libc.prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


def can_trace() -> bool:
    """Tell whether strace is here and may trace."""
    command = ["strace", "-o", os.devnull, "true"]
    return bool(shutil.which("strace")) and subprocess.run(command, check=False).returncode == 0


# CI installs strace: there a machine that cannot trace is a failure, not a skip.
TRACED = pytest.mark.skipif(
    not can_trace() and "CI" not in os.environ, reason="needs strace and the right to trace"
)


def calls_of(action: Callable[[], object], trace: Path, *syscalls: str) -> list[str]:
    """Run the action in a process of its own; return its calls of these kinds, as strace shows them.

    Some machines know fewer kinds.
    """

    def traced() -> object:
        with subprocess.Popen(
            ["strace", "-y", "-o", trace, "-p", str(os.getpid()),
             "-e", "trace=" + ",".join(f"?{call}" for call in syscalls)],
            stderr=subprocess.PIPE,
        ) as strace:  # fmt: skip
            assert strace.stderr
            assert b"attached" in strace.stderr.readline()
            words = action()
            strace.terminate()
        return words

    status, _ = in_child(traced)
    assert status == 0
    return trace.read_text().splitlines()


def killed_at(syscall: str, nth: int, action: Callable[[], object]) -> tuple[bool, str]:
    """Run the action, SIGKILL it when it enters the nth such call; return (killed, its words)."""

    def traced() -> object:
        with subprocess.Popen(
            ["strace", "-o", os.devnull, "-p", str(os.getpid()), "-e", f"trace={syscall}",
             "-e", f"inject={syscall}:signal=KILL:when={nth}"],
            stderr=subprocess.PIPE,
        ) as strace:  # fmt: skip
            assert strace.stderr
            assert b"attached" in strace.stderr.readline()
            try:
                return action()
            finally:
                strace.terminate()

    status, words = in_child(traced)
    assert status in (0, signal.SIGKILL), f"{syscall} {nth}: child ended with {status}"
    return status == signal.SIGKILL, words


def every_kill(action: Callable[[], object], *syscalls: str, step: int = 1) -> Iterator[str]:
    """Kill the action at every such call, or every ``step``-th; yield what it acknowledged each time."""
    for syscall in syscalls:
        nth, killed = 1, True
        while killed:
            killed, words = killed_at(syscall, nth, action)
            yield words
            nth += step
        assert nth > 2, f"the action never calls {syscall}"


def without_space() -> None:
    """Have the disk be full for SQLite from now on."""
    command = ["strace", "-o", os.devnull, "-p", str(os.getpid()), "-e", "trace=pwrite64"]
    tracing = subprocess.Popen(
        [*command, "-e", "inject=pwrite64:error=ENOSPC"], stderr=subprocess.PIPE
    )
    assert tracing.stderr
    assert b"attached" in tracing.stderr.readline()
