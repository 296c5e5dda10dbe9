"""Commands in processes of their own that have Keras from the start, where its import proves nothing."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from modeltune.harness.executors import worker
from modeltune.harness.executors.supervision import main_left_alone, warm_up


class Command:
    """A process forked from the server that trial processes are forked from, and what it shows.

    Every process it starts holds the writing end of ``output`` too, unless it has other ends for
    its stdout and stderr: so ``output`` ends once none is left, whatever has become of parents.
    """

    def __init__(
        self,
        main: Callable[..., object],
        *arguments: object,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        terminal: int | None = None,
    ):
        """Start a function of a module, in a folder, with this environment in place of ours.

        On a ``terminal`` it leads a session of its own, and there is no output but there.
        """
        reading, writing = os.pipe()
        shown = worker.Descriptor(writing if terminal is None else terminal)
        passed = shown, terminal is not None, folder, dict(environ or os.environ), main, arguments
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_begin, args=passed)
        warm_up()
        with main_left_alone():
            self._process.start()
        os.close(writing)
        self.output = open(reading, encoding="utf-8", errors="replace")  # noqa: SIM115  closed at the end

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    def end(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and what has not been read of the output."""
        with self.output:
            rest = self.output.read()
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode, rest


@dataclass(frozen=True)
class Interruption:
    """How it ended, the lines it showed, and its descendants at the moment of the signal."""

    status: int
    lines: list[str]
    family: list[psutil.Process]


def interrupt(
    folder: Path,
    *arguments: str,
    at: str,
    sent: signal.Signals = signal.SIGINT,
    environ: Mapping[str, str] | None = None,
) -> Interruption:
    """Run pytest in a folder until a line begins with ``at``, send it a signal, and wait for its end.

    One that ends before it shows that line gets no signal.
    """
    process = Command(pytest, *arguments, folder=folder, environ=environ)
    lines, family = [], []
    for line in process.output:
        lines.append(line)
        if line.startswith(at):
            family = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, sent)
            break
    status, rest = process.end()
    return Interruption(status, [*lines, *rest.splitlines(keepends=True)], family)


def pytest(*arguments: str) -> None:
    """Do what ``python -m pytest`` does; workers of xdist are forked too."""
    if any(argument.startswith("-n") for argument in arguments):
        from execnet.gateway_io import Popen2IOMaster

        # Forked from what has no pytest yet.
        warm_up()
        forkserver.ensure_running()
        setattr(Popen2IOMaster, "__init__", _start_worker)  # noqa: B010  of another type
    sys.argv = ["pytest", *arguments]
    sys.path.insert(0, os.getcwd())
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


class Worker:
    """What execnet needs of a subprocess: here one that is forked, and has Keras."""

    def __init__(self, code: str):
        """Run code in a process with pipes for its stdin and stdout."""
        (read, self_in), (self_out, written) = os.pipe(), os.pipe()
        context = multiprocessing.get_context("forkserver")
        pipes = worker.Descriptor(read), worker.Descriptor(written)
        self._process = context.Process(target=_run_code, args=(code, *pipes))
        with main_left_alone():
            self._process.start()
        os.close(read)
        os.close(written)
        self.stdin, self.stdout = os.fdopen(self_in, "wb"), os.fdopen(self_out, "rb")
        self.kill = self._process.kill

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


def _start_worker(io: Any, arguments: Sequence[str], execmodel: Any) -> None:
    from execnet.gateway_base import Popen2IO

    io.popen = Worker(arguments[-1])
    Popen2IO.__init__(io, io.popen.stdin, io.popen.stdout, execmodel=execmodel)


def _run_code(code: str, stdin: worker.Descriptor, stdout: worker.Descriptor) -> None:
    for number, stream in enumerate((stdin, stdout)):
        os.dup2(stream.number, number)
        os.close(stream.number)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    exec(code, {})


def modeltune(*arguments: str) -> None:
    """Do what the command ``modeltune`` does; a pytest that it starts is forked from it."""
    from modeltune.cli import commands, main

    sys.argv = ["modeltune", *arguments]
    setattr(commands, "subprocess", SimpleNamespace(run=_fork_pytest))  # noqa: B010  not exported
    sys.exit(main())


def _fork_pytest(
    command: Sequence[str], check: bool, env: Mapping[str, str], capture_output: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Do what ``subprocess.run`` does with a ``python -m pytest``."""
    assert command[:3] == [sys.executable, "-m", "pytest"]
    assert not check
    with tempfile.TemporaryFile() as output:
        shown = output.fileno() if capture_output else None
        arguments = shown, Path.cwd(), env, pytest, command[3:]
        child = multiprocessing.get_context("fork").Process(target=_become_into, args=arguments)
        child.start()
        child.join()
        output.seek(0)
        assert child.exitcode is not None
        return subprocess.CompletedProcess(command, child.exitcode, output.read(), b"")


def _become_into(output: int | None, *arguments: Any) -> None:
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    _become(*arguments)


def script(path: str) -> None:
    """Do what ``python -W ignore path`` does."""
    warnings.simplefilter("ignore")
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")


def _begin(
    output: worker.Descriptor,
    is_terminal: bool,
    folder: Path,
    environ: dict[str, str],
    main: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    for number in (0, 1, 2) if is_terminal else (1, 2):
        os.dup2(output.number, number)
    os.close(output.number)
    if is_terminal:
        os.setsid()
        sys.stdin = os.fdopen(0, closefd=False)
    _become(folder, environ, main, arguments)


def _become(
    folder: Path,
    environ: Mapping[str, str],
    main: Callable[..., object],
    arguments: Sequence[object],
) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # The server ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    util.spawnv_passfds = fork_a_server  # type: ignore[assignment]
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    main(*arguments)


def fork_a_server(path: bytes, arguments: list[str], descriptors: list[int]) -> int:
    """Fork what was to be a new Python: the server for trials, without another eight-second import."""
    if pid := os.fork():
        return pid
    try:
        kept = [0, 1, 2, *sorted(descriptors)]
        for last, following in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(last + 1, following)
        exec(arguments[-1], {})
    finally:
        os._exit(0)
