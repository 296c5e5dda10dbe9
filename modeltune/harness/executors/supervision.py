"""Processes forked from a warm server, and the thread that supervises every one of them.

Whatever a run waits for, the thread looks at all of its processes twice a second. One that takes
longer or holds more than it may is killed, with what it has started. One that was stopped, as by
SIGSTOP, is continued: the state that the system reports tells it from one that is busy, however
long that holds Python's lock. The server is looked at in the same way.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import IO, Any

import psutil

from modeltune.ground import SearchError, monotonic, require_supported_system, usable_memory
from modeltune.harness.executors.socket_folder import choose_socket_folder
from modeltune.harness.executors.worker import (
    DUMP_STACK,
    Birth,
    Descriptor,
    RemoteError,
    serve_engine,
    stack_of,
)
from modeltune.records import Failure

LOOK = 0.5
"""Seconds between two looks at the processes."""

PATIENCE = 20
"""Looks in a row at which a process was found stopped, after which it is killed."""

DUMP_SECONDS = 0.3
"""How long a process that is to be killed may take to write down where it is."""

KILL_SECONDS = 30.0
"""How long a killed process may take to end, as when its memory is returned, before it is left."""

NOT_KNOWN = 255
"""The exit code that multiprocessing gives a process whose end no server has reported."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Keeps the server at one thread until it forks; TensorFlow starts its own in each process."""


@contextlib.contextmanager
def refused_sockets_told() -> Iterator[None]:
    """Say in one line that pytest-socket refuses what processes talk through, and what to do.

    Raises:
        SearchError: it does.
    """
    try:
        yield
    except Exception as error:
        # Its errors are warnings, too, which a filter may raise instead.
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if frames[-1].f_globals.get("__name__", "").partition(".")[0] != "pytest_socket":
            raise
        raise SearchError(
            "pytest-socket (--disable-socket, --allow-hosts, or a mark or fixture of it) refuses the "
            "Unix sockets through which modeltune reaches its own processes; allow them with "
            "--allow-unix-socket, or train in this process with --modeltune-workers=0"
        ) from None


@refused_sockets_told()
def warm_up(*also: str) -> None:
    """Start the server unless it runs already; it imports Keras, and the modules in ``also``, meanwhile."""
    require_supported_system()
    choose_socket_folder()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["modeltune.harness.executors.warm", *also])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
    # Only these: a copy of all would hold the password of MODELTUNE_STORE in this frame.
    before = {name: os.environ.get(name) for name in ONE_THREAD | quiet}
    os.environ.update(ONE_THREAD | quiet)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def main_left_alone() -> Iterator[None]:
    """Keep multiprocessing from importing the main module, such as pytest's, in a new process."""
    main = sys.modules["__main__"]
    before = dict(vars(main))
    main.__spec__, main.__file__ = None, None
    try:
        yield
    finally:
        vars(main).update(before)
        if "__file__" not in before:
            del main.__file__


def allowed_memory(gigabytes: float | None) -> float:
    """Return the bytes that a process may hold: so many GiB, or 0.9 of what is free.

    What is free is inside a container what it may still take.
    """
    if gigabytes is not None:
        return gigabytes * 2**30
    return usable_memory(psutil.virtual_memory().available) * 0.9


@dataclass(frozen=True)
class Limit:
    """The moment on the monotonic clock when something has to be done, and the limit in words.

    One that is not ``is_final`` says nothing about what takes longer: another run may give it time.
    """

    at: float = math.inf
    name: str = "no limit"
    is_final: bool = True


def _proportional_set_size(process: psutil.Process) -> int:
    """Return the bytes of a process; of those shared by several processes, its part. Linux alone knows."""
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.rss))


@refused_sockets_told()
def start_process(birth: Birth, in_main: bool) -> Process:
    """Start a process that runs an engine."""
    context = multiprocessing.get_context("forkserver")
    pipe, other = context.Pipe()
    stack = file_in_memory()
    birth = replace(birth, stack=Descriptor(stack.fileno()))
    process = context.Process(target=serve_engine, args=(other, birth))
    with contextlib.nullcontext() if in_main else main_left_alone():
        process.start()
    other.close()
    return Process(process, pipe, stack)


class Process:
    """A process that runs an engine, the pipe to it, and the file that says where it died.

    ``condemned`` says why the supervisor has killed it, None as long as it has not; ``is_late``
    that what it did took too long.
    """

    condemned: Failure | None = None
    is_late = False

    def __init__(self, process: BaseProcess, pipe: Connection, stack: IO[bytes]):
        assert process.pid is not None  # it was started
        self.pid: int = process.pid
        self.pipe = pipe
        self.peak = 0
        self._process = process
        self._stack = stack
        self._limit: Limit | None = None
        self._stops = 0
        self._lock = threading.Lock()
        self._observed: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            # It knows this process from a later one of the same number.
            self._observed = psutil.Process(self.pid)

    @property
    def sentinel(self) -> int:
        """The object that ``wait`` reports ready when the process has ended."""
        return self._process.sentinel

    def send(self, name: str, *arguments: object) -> None:
        """Call a method of the engine; ``receive`` returns its answer. Do nothing if the process is dead."""
        with contextlib.suppress(OSError):
            self.pipe.send((name, arguments))

    def receive(self) -> Any:
        """Return the answer to the oldest call, after ``wait`` has seen it or the end of the process.

        Raises:
            ModeltuneError: what the call raised.
            EOFError: the process has died.
        """
        if self.condemned is not None or not self.pipe.poll():
            # The process has ended, though processes it has started may keep the pipe open.
            raise EOFError
        try:
            answer = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(answer, RemoteError):
            raise answer.error
        return answer

    def limit(self, limit: Limit | None) -> None:
        """Bound what the process does from now on, its memory too; None: it does nothing."""
        with self._lock:
            self._limit = limit

    def look(self, memory: float) -> str | None:
        """Kill the process if it is beyond its limit, or holds more bytes than ``memory``.

        Returns:
            What the user should know, None when there is nothing.
        """
        with self._lock:
            if self._observed is None or self.condemned is not None:
                return None
            self._stops = self._stops + 1 if continued(self._observed) else 0
            held = self.memory()
            if held > memory:
                held = self._own_memory()
            if self._stops > PATIENCE:
                self._condemn(Failure("was stopped again whenever it was continued"))
            elif (limit := self._limit) is not None:
                # What has been answered in time may not have been received yet.
                if monotonic() > limit.at and not self.pipe.poll():
                    self.is_late, reason = True, f"took longer than {limit.name}"
                    self._condemn(Failure(reason, is_final=limit.is_final))
                elif held > memory:
                    allowed = f"the limit of {memory / 2**30:.1f} GiB"
                    self._condemn(Failure(f"held {held / 2**30:.1f} GiB, more than {allowed}"))
            return f"process {self.pid} was stopped, and continued" if self._stops == 1 else None

    def memory(self) -> int:
        """Return the bytes that this process and those it has started hold; 0 if it is dead.

        What they share, as copies of a process do, counts in each of them.
        """
        total = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        self.peak = max(self.peak, total)
        return total

    def _own_memory(self) -> int:
        """Return what ``memory`` does, but what several processes share counts once, where that is known.

        It takes a hundred times as long.
        """
        total = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                total += _proportional_set_size(process)
        return total

    def kill(self) -> None:
        """Kill the process and all it has started; return when it is gone, or after ``KILL_SECONDS``."""
        with self._lock:
            self._observed, family = None, self._family()
            self._kill(family)
        # The server reports the end; one that is stopped is continued by the supervisor.
        self._process.join(KILL_SECONDS)
        self.pipe.close()
        self._stack.close()

    def end(self) -> Failure:
        """Return in words how the process ended, what it held at most, and where it was if that is known."""
        self._process.join(KILL_SECONDS)
        code = self._process.exitcode or 0
        peak = f"peak memory {self.peak / 2**20:.0f} MiB"
        how = f"exited with status {code}, {peak}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name}), {peak}"
        elif (
            code == NOT_KNOWN
            and isinstance(self._process, ForkServerProcess)
            and not is_alive(_server)
        ):
            how = "ended with the server that processes are forked from, which was killed"
        end = self.condemned or Failure(how)
        self._stack.seek(0)
        frames = stack_of(self._stack.read().decode(errors="replace"))
        if frames is None:
            return end
        return replace(end, traceback=f"Traceback (most recent call last):\n{frames}{end.reason}\n")

    def _condemn(self, reason: Failure) -> None:
        """Kill the process for this reason, once it has written down where it is."""
        self.condemned = reason
        with contextlib.suppress(OSError):
            os.kill(self.pid, DUMP_STACK)
        until = monotonic() + DUMP_SECONDS
        while not os.fstat(self._stack.fileno()).st_size and monotonic() < until:
            time.sleep(DUMP_SECONDS / 20)
        self._kill(self._family())

    def _kill(self, family: list[psutil.Process]) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _family(self) -> list[psutil.Process]:
        try:
            process = self._observed
            return [process, *process.children(recursive=True)] if process else []
        except psutil.Error:
            return []


def file_in_memory() -> IO[bytes]:
    """Return an empty file that lies in no folder; where the system has none such, a temporary one."""
    if sys.platform == "linux":
        return open(os.memfd_create("stack"), "w+b")
    return tempfile.TemporaryFile()


def continued(process: psutil.Process) -> bool:
    """Continue a process that is stopped, and tell whether it was; one that is traced is left alone."""
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()
            return True
    return False


def is_alive(process: psutil.Process | None) -> bool:
    """Tell whether a process runs, or is stopped."""
    with contextlib.suppress(psutil.Error):
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    return False


class Supervisor:
    """The thread that looks at all processes of a run, from ``open`` to ``close``.

    Args:
        memory: the bytes that a process may hold, with all it has started.
    """

    def __init__(self, memory: float):
        self._memory = memory
        self._processes: list[Process] = []
        self._server: psutil.Process | None = _server
        self._stops = 0
        self._notes: deque[str] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="modeltune", daemon=True)

    def open(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def start(self, birth: Birth, in_main: bool = False) -> Process:
        """Start a process and look at it from now on.

        Args:
            birth: what it starts with.
            in_main: whether the main module is to be imported in it.

        Raises:
            SearchError: the server that processes are forked from dies again and again.
        """
        global _server
        for _ in range(2):
            # Another server, if somebody has killed it, or the system for want of memory.
            warm_up()
            try:
                process = start_process(birth, in_main)
            except (EOFError, ConnectionError):
                continue
            with contextlib.suppress(psutil.Error):
                self._server = _server = psutil.Process(process.pid).parent()
            self.watch(process)
            return process
        raise SearchError(
            "the server that processes are forked from was killed, and the next one too"
        )

    def watch(self, process: Process) -> None:
        """Look at a process that somebody else has started, from now on."""
        self._processes.append(process)

    def end(self, process: Process) -> None:
        """Kill a process and look at it no more; one that was ended before stays so."""
        process.kill()
        with contextlib.suppress(ValueError):
            self._processes.remove(process)

    def notes(self) -> Iterator[str]:
        """Yield what the user should know, each once."""
        while self._notes:
            yield self._notes.popleft()

    def look(self) -> None:
        """Look at the server and at every process."""
        if self._server is not None:
            self._stops = self._stops + 1 if continued(self._server) else 0
            if self._stops == 1:
                self._notes.append(
                    "the server that processes are forked from was stopped, and continued"
                )
            if self._stops > PATIENCE:
                # Its processes end with it.
                with contextlib.suppress(psutil.Error):
                    self._server.kill()
        for process in list(self._processes):
            if note := process.look(self._memory):
                self._notes.append(note)

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            self.look()


_server: psutil.Process | None = None
"""The server, once it has forked a process."""
