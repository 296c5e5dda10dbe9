"""What runs in a trial process: an engine whose methods are called through a pipe."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import parent_process, reduction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from traceback import FrameSummary
from typing import Any, NoReturn, Protocol

from modeltune.engine import report_epochs_to, report_space_to
from modeltune.ground import (
    CodeError,
    ModeltuneError,
    copies_end_here,
    end_copy_of,
    frames_of_others,
    is_ours,
    without_escapes,
    without_ours,
)
from modeltune.harness.executors.tempfile_internals import make_temporary_files_in
from modeltune.records import HyperParameters, RehearseTask

PR_SET_PDEATHSIG = 1

DUMP_STACK = signal.SIGUSR2
"""Has a process write down where it is, whatever keeps it busy."""


class Descriptor:
    """A file descriptor that can be passed to a new process, which gets a copy."""

    def __init__(self, number: int):
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _detach, (reduction.DupFd(self.number),)


def _detach(duplicate: Any) -> Descriptor:
    return Descriptor(duplicate.detach())


@dataclass(frozen=True)
class Birth:
    """What a new process starts with: the pickled spec and fixtures, and its surroundings.

    When the process dies, ``stack`` is the file that says where it was. ``temporary`` is the folder
    for its temporary files.
    """

    declared: bytes
    code: Mapping[str, str]
    backend: str
    features: Path
    environ: Mapping[str, str] = field(repr=False)  # MODELTUNE_STORE may hold a password
    folder: str
    path: list[str]
    output: tuple[Descriptor, Descriptor]
    warnings: list[Any]
    start_method: str
    stack: Descriptor | None = None
    temporary: Path | None = None


@dataclass(frozen=True)
class RemoteError:
    """The answer to a call that has raised an error."""

    error: ModeltuneError


@dataclass(frozen=True)
class FitProgress:
    """How far a fit is: sent while a task is performed, before its answer."""

    epoch: int
    value: float | None


@dataclass(frozen=True)
class SpaceProgress:
    """The search space as far as a build has declared it: what is known if the build then dies."""

    space: HyperParameters


def serve_engine(connection: Connection, birth: Birth) -> None:
    """Answer calls of an engine's methods until the pipe is closed."""
    _settle(birth)
    engine: Any = None
    process = os.getpid()

    def tell(epoch: int, value: float | None) -> None:
        end_copy_of(process)
        connection.send(FitProgress(epoch, value))

    def tell_space(space: HyperParameters) -> None:
        end_copy_of(process)
        connection.send(SpaceProgress(space))

    try:
        with copies_end_here():
            engine = _engine(birth)
        connection.send(None)
    except BaseException as error:  # noqa: BLE001  whoever started this process decides
        connection.send(RemoteError(_portable(error)))
        return
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        with contextlib.ExitStack() as stack:
            # Only tasks report their progress, not what another call trains.
            if name == "perform":
                stack.enter_context(report_epochs_to(tell))
                if isinstance(arguments[0], RehearseTask):
                    stack.enter_context(report_space_to(tell_space))
            _answer(connection, partial(getattr(engine, name), *arguments))


def serve_data(answers: Connection, demands: Connection, stack: int, data: Sharing) -> None:
    """Load data in a copy of the process that wants them, then share them in the folder that it names.

    When the process dies, ``stack`` is the file that says where it was.
    """
    _end_with_parent()
    _write_stack_to(stack)
    _answer(answers, data.load)
    with contextlib.suppress(EOFError):
        _answer(answers, partial(data.share, demands.recv()))


def serve_calls(answers: Connection, demands: Connection, stack: int, engine: object) -> None:
    """Answer calls of an engine's methods, in a copy of the process that made it, until the pipe is closed.

    When the process dies, ``stack`` is the file that says where it was.
    """
    _end_with_parent()
    _write_stack_to(stack)
    with contextlib.suppress(EOFError):
        while True:
            name, arguments = demands.recv()
            _answer(answers, partial(getattr(engine, name), *arguments))


class Sharing(Protocol):
    """What ``serve_data`` loads."""

    def load(self) -> object:
        """Load the data; the answer says what they are."""

    def share(self, folder: Path) -> object:
        """Write the data into a folder; return how other processes find them."""


def _answer(connection: Connection, call: Callable[[], object]) -> None:
    try:
        with copies_end_here():
            answer = call()
    except BaseException as error:  # noqa: BLE001  raised again where it was called
        # No Ctrl-C reaches this process: a KeyboardInterrupt is the author's own too.
        answer = RemoteError(_portable(error))
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(answer)


def _settle(birth: Birth) -> None:
    """Set up this process like the one that started it, and have it end with that one."""
    _end_with_parent()
    for number, descriptor in enumerate(birth.output, start=1):
        os.dup2(descriptor.number, number)
        os.close(descriptor.number)
    if birth.stack is not None:
        _write_stack_to(birth.stack.number)
    os.environ.clear()
    os.environ.update(birth.environ)
    make_temporary_files_in(birth.temporary)
    os.chdir(birth.folder)
    sys.path[:] = birth.path
    # What the author's code starts, such as a pool, starts as in the process that started this one.
    multiprocessing.set_start_method(birth.start_method, force=True)
    # Tracing makes many objects that stay: with Python's own thresholds they would be searched for
    # garbage dozens of times in each trial.
    gc.set_threshold(50_000, 20, 100)
    warnings.resetwarnings()
    warnings.filters.extend(birth.warnings)  # type: ignore[attr-defined]


def _end_with_parent() -> None:
    """Have this process and what it starts, a group of its own, end with the one that started it."""
    os.setsid()
    threading.Thread(target=_follow, daemon=True).start()
    if sys.platform == "linux":
        # For a process too busy in foreign code to notice the end of its parent.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _write_stack_to(file: int) -> None:
    """Have this process write down where it was when a signal or ``os._exit`` ends it."""
    faulthandler.enable(file=file)
    faulthandler.register(DUMP_STACK, file=file)
    leave, process = os._exit, os.getpid()

    def leave_a_trace(status: int) -> NoReturn:
        if os.getpid() == process:
            faulthandler.dump_traceback(file)
        leave(status)

    os._exit = leave_a_trace


def stack_of(dump: str) -> str | None:
    """Return what ``faulthandler`` wrote of the thread that serves, as a traceback; None if nothing.

    Our frames are left out, as in any traceback.
    """
    served: list[FrameSummary] = []
    for thread in re.split(r"\n(?! *File )", dump):
        found = re.findall(r'^  File "(.*)", line (\d+) in (.*)$', thread, re.MULTILINE)
        frames = [FrameSummary(file, int(line), name) for file, line, name in reversed(found)]
        ours = [number for number, frame in enumerate(frames) if is_ours(frame.filename)]
        # A copy of pytest's process has pytest's frames, and ours, above those that serve.
        serving = [number for number in ours if frames[number].filename == __file__]
        if ours:
            served = frames[(serving or ours)[0] :]
    theirs = [frame for frame in without_ours(served) if not is_ours(frame.filename)]
    return "".join(traceback.format_list(theirs)) or None


def _follow() -> None:
    """Wait for the end of the parent, then kill this process and all it has started."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _engine(birth: Birth) -> Any:
    from modeltune.engine import start_engine
    from modeltune.specs import edited_parts, keras_backend, search_identity

    spec, fixtures = pickle.loads(birth.declared)
    if (ours := keras_backend()) != birth.backend:
        raise CodeError(
            f"Keras is to compute with {birth.backend}, but the processes had been started with {ours} "
            f"before; set KERAS_BACKEND={birth.backend} where pytest is called, not in its code"
        )
    if changed := edited_parts(birth.code, search_identity(spec)):
        raise CodeError(f"{', '.join(changed)} was edited since {spec.file} was collected")
    return start_engine(spec, fixtures, birth.features)


def _portable(error: BaseException) -> ModeltuneError:
    """Return an error of ours as it is, any other as text: its traceback without our frames."""
    if isinstance(error, ModeltuneError):
        return error
    message = without_escapes("".join(traceback.format_exception_only(error))).rstrip()
    frames = "".join(traceback.format_list(frames_of_others(error.__traceback__)))
    return CodeError(f"{message}\nTraceback (most recent call last):\n{frames.rstrip()}")
