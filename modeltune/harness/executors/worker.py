"""What runs in a process of its own: an engine that does what it is told through a pipe."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import parent_process, reduction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from modeltune.engine import followed_by
from modeltune.ground import CodeError, ModeltuneError, frames_of_others

PR_SET_PDEATHSIG = 1


class Descriptor:
    """A file descriptor that arrives in a new process as a copy of its own."""

    def __init__(self, number: int):
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (reduction.DupFd(self.number),)


def _detached(duplicate: Any) -> Descriptor:
    return Descriptor(duplicate.detach())


@dataclass(frozen=True)
class Birth:
    """What a new process is given: the pickled spec and fixtures, and its surroundings."""

    declared: bytes
    code: Mapping[str, str]
    features: Path
    environ: Mapping[str, str]
    folder: str
    path: list[str]
    output: tuple[Descriptor, Descriptor]
    warnings: list[Any]


@dataclass(frozen=True)
class Raised:
    """An exception that travels instead of a value."""

    error: ModeltuneError


@dataclass(frozen=True)
class Reached:
    """How far the fit is, said while a task is performed: its answer comes later."""

    epoch: int
    value: float | None


def main(connection: Connection, birth: Birth) -> None:
    """Answer calls of an engine's methods until the pipe is closed."""
    _settle(birth)
    engine: Any = None

    def tell(epoch: int, value: float | None) -> None:
        connection.send(Reached(epoch, value))

    try:
        engine = _engine(birth)
        connection.send(None)
    except Exception as error:  # noqa: BLE001  the one who started this process decides
        connection.send(Raised(_portable(error)))
        return
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        try:
            # Of what is trained during another call nobody asks how far it is.
            following = name == "perform"
            with followed_by(tell) if following else contextlib.nullcontext():
                answer = getattr(engine, name)(*arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001  raised again where it was called
            answer = Raised(_portable(error))
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(answer)


def _settle(birth: Birth) -> None:
    """Make this process like the one that asked for it, and let it not outlive that one."""
    os.setsid()
    for number, descriptor in enumerate(birth.output, start=1):
        os.dup2(descriptor.number, number)
        os.close(descriptor.number)
    threading.Thread(target=_follow, daemon=True).start()
    if sys.platform == "linux":
        # For a process too busy in foreign code to see its parent go.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(birth.environ)
    os.chdir(birth.folder)
    sys.path[:] = birth.path
    # Tracing makes many objects that live: at Python's own rate they are searched for garbage
    # dozens of times in each trial.
    gc.set_threshold(50_000, 20, 100)
    warnings.resetwarnings()
    warnings.filters.extend(birth.warnings)  # type: ignore[attr-defined]


def _follow() -> None:
    """Go with the parent, and take along what this process has started."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _engine(birth: Birth) -> Any:
    from modeltune.engine import Engine
    from modeltune.specs import edited, search_identity

    spec, fixtures = pickle.loads(birth.declared)
    if changed := edited(birth.code, search_identity(spec)):
        raise CodeError(f"{', '.join(changed)} was edited since {spec.file} was collected")
    return Engine(spec, fixtures, birth.features)


def _portable(error: BaseException) -> ModeltuneError:
    """Return an error of ours as it is, another as its traceback from the user's code down."""
    if isinstance(error, ModeltuneError):
        return error
    said = "".join(traceback.format_exception_only(error)).rstrip()
    listed = "".join(traceback.format_list(frames_of_others(error.__traceback__)))
    return CodeError(f"{said}\nTraceback (most recent call last):\n{listed.rstrip()}")
