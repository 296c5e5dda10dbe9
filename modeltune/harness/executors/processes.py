"""Run tasks in processes forked from a warm server; one that dies, hangs or grows is replaced."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from modeltune.ground import (
    CodeError,
    HistoryError,
    ModeltuneError,
    SearchError,
    first_line,
    make_folder,
    mark_folder,
    open_own,
    open_regular,
    refuse_link,
    remove_marked,
    require_supported_system,
    try_lock,
    wait_for_lock,
)
from modeltune.harness.executors.interface import discard_event, underway
from modeltune.harness.executors.worker import (
    Birth,
    Descriptor,
    FitProgress,
    RemoteError,
    serve_engine,
)
from modeltune.records import Failure, Listener, Result, Task, TrialTask, failure_result, own_values
from modeltune.specs import Spec, search_identity

if TYPE_CHECKING:
    from modeltune.engine import LoadedData

LOOK = 0.5
"""Seconds between two checks of the time and memory of busy processes."""

GROWTH = 2**30
"""Bytes by which a process may grow beyond its first task before a fresh one replaces it."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Keeps the server at one thread until it forks; TensorFlow starts its own in each process."""


def warm_up(*also: str) -> None:
    """Start the server unless it runs already; it imports Keras, and the modules in ``also``, meanwhile."""
    require_supported_system()
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


def auto(threads: int) -> int:
    """Return how many processes with this many threads keep the machine's cores busy; at least 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1, cores // (threads * sharing))


class NotPortableError(Exception):
    """The spec or a fixture cannot be passed to another process: says why."""


def start_process(birth: Birth, in_main: bool) -> Process:
    """Start a process that runs an engine."""
    context = multiprocessing.get_context("forkserver")
    pipe, other = context.Pipe()
    process = context.Process(target=serve_engine, args=(other, birth))
    with contextlib.nullcontext() if in_main else main_left_alone():
        process.start()
    other.close()
    return Process(process, pipe)


class Process:
    """A process that runs an engine, and the pipe to it."""

    def __init__(self, process: ForkServerProcess, pipe: Connection):
        assert process.pid is not None  # it was started
        self.pid: int = process.pid
        self.pipe = pipe
        self.peak = 0
        self._process = process
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
        if not self.pipe.poll():
            # The process has ended, though processes it has started may keep the pipe open.
            raise EOFError
        try:
            answer = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(answer, RemoteError):
            raise answer.error
        return answer

    def memory(self) -> int:
        """Return the bytes that this process and those it has started hold; 0 if it is dead."""
        total = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        self.peak = max(self.peak, total)
        return total

    def kill(self) -> None:
        """Kill the process and all it has started; return when it is gone."""
        family = self._family()
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.join()
        self.pipe.close()

    def end(self) -> str:
        """Return in words how the process ended, and the most memory it was seen to hold."""
        self._process.join()
        code = self._process.exitcode or 0
        how = f"exited with status {code}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"{how}, peak memory {self.peak / 2**20:.0f} MiB"

    def _family(self) -> list[psutil.Process]:
        try:
            process = self._observed
            return [process, *process.children(recursive=True)] if process else []
        except psutil.Error:
            return []


class Remote:
    """An engine in another process, called like one in this process; its data go to all others."""

    def __init__(self, process: Process, others: Processes, folder: Path):
        self._process = process
        self._others = others
        self._folder = folder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            self._process.send(name, *arguments)
            return self.answer(name)

        return call

    def load(self, loaded: LoadedData | None = None) -> Any:
        """As ``Engine.load``; all processes then map what this process or the engine's has loaded.

        Streams cannot be handed over: each process loads them itself.
        """
        from modeltune.engine import is_shareable, write_parts

        if loaded is not None and is_shareable(loaded):
            written = write_parts(loaded, self._folder)
            description, fingerprints = loaded.description, loaded.fingerprints
            self._process.send("take", written, fingerprints)
            self.answer("take")
        else:
            self._process.send("load")
            description, fingerprints = self.answer("load")
            self._process.send("share", self._folder)
            written = self.answer("share")
        self._others.tell("take", written, fingerprints)
        return description, fingerprints

    def answer(self, name: str) -> Any:
        """Wait for the answer to a call.

        Raises:
            ModeltuneError: what it raised.
            SearchError: the process has died.
        """
        self._process.memory()
        while not wait([self._process.pipe, self._process.sentinel], LOOK):
            self._process.memory()
        try:
            return self._process.receive()
        except EOFError:
            end = self._process.end()
            raise SearchError(f"the process that holds the data {end}, during {name}") from None


class _Worker:
    """A process, its task, and how many answers it owes before that of the task."""

    def __init__(self, process: Process, preparations: list[tuple[Any, ...]], deaths: int = 0):
        self.process = process
        self.task: Task | None = None
        self.is_announced = False
        self.deaths = deaths
        self.unanswered = 1  # it reports when it has started
        self._since = self._looked = 0.0
        self._states: set[Path] = set()
        self._candidates: set[str] = set()
        self._settled: int | None = None
        for name, *arguments in preparations:
            self.prepare(name, *arguments)

    @property
    def seconds(self) -> float:
        """How long the task has been under way."""
        return 0.0 if self.unanswered else time.monotonic() - self._since

    def prepare(self, name: str, *arguments: object) -> None:
        """Call a method of the engine that returns nothing."""
        self.unanswered += 1
        self.process.send(name, *arguments)

    def note_answer(self) -> None:
        """Note that a preparation is done."""
        self.unanswered -= 1
        self._since = time.monotonic()

    def perform(self, task: Task) -> None:
        """Begin a task."""
        self.task, self.is_announced = task, False
        self._since = self._looked = time.monotonic()
        self.process.memory()
        self.process.send("perform", task)
        self._candidates.add(_candidate(task))
        if isinstance(task, TrialTask) and task.keep_state is not None:
            self._states.add(task.keep_state)

    def is_due(self) -> bool:
        """Tell whether to check its time and memory now, however often it reports."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        return True

    def choose(self, queue: deque[Task]) -> Task:
        """Return the task to take next: one whose model this process has, else a new one, else any.

        A process may keep the model of a candidate that it has trained, with its compiled steps.
        """

        def rank(task: Task) -> int:
            state = task.continue_from if isinstance(task, TrialTask) else None
            if state in self._states or (state is None and _candidate(task) in self._candidates):
                return 0
            return 1 if state is None else 2

        return min(queue, key=rank)

    def has_grown(self) -> bool:
        """Tell whether the process holds much more than after its first task."""
        held = self.process.memory()
        self._settled = held if self._settled is None else self._settled
        return held - self._settled > GROWTH


class Processes:
    """An executor over a fixed number of processes.

    Args:
        start: starts a process.
        slots: how many processes run at once.
        minutes: a task that takes longer fails, and its process is killed; None: no limit.
        memory: bytes; a process that holds more is killed, and its task fails.
        listen: called with the progress of every task.
    """

    def __init__(
        self,
        start: Callable[[], Process],
        slots: int,
        minutes: float | None,
        memory: float,
        listen: Listener = discard_event,
    ):
        self._start = start
        self._slots = slots
        self._seconds = math.inf if minutes is None else 60 * minutes
        self._memory = memory
        self._listen = listen
        self._preparations: list[tuple[Any, ...]] = []
        self._queue: deque[Task] = deque()
        self._finished: deque[tuple[Task, Result]] = deque()
        self._kills: Counter[str] = Counter()
        self._workers: list[_Worker] = []
        try:
            for _ in range(slots):
                self._workers.append(_Worker(start(), []))
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """How many processes run tasks."""
        return self._slots

    def tell(self, name: str, *arguments: object) -> None:
        """Call a method of the engine in every process, also in those started later."""
        self._preparations.append((name, *arguments))
        for worker in self._workers:
            worker.prepare(name, *arguments)

    def submit(self, task: Task) -> None:
        """Give a task to the next free process."""
        self._queue.append(task)
        self._assign()

    def wait(self) -> tuple[Task, Result]:
        """Return the next finished task and its result; if its process died, the result says so."""
        while not self._finished:
            self._assign()
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy:
                raise IndexError("no task was submitted")
            self._announce(busy)
            ready = wait([c for b in busy for c in (b.process.pipe, b.process.sentinel)], LOOK)
            for worker in busy:
                if worker.process.pipe in ready or worker.process.sentinel in ready:
                    self._receive(worker)
                if worker.task is not None and worker in self._workers and worker.is_due():
                    self._check(worker)
        return self._finished.popleft()

    def withdraw(self) -> list[Task]:
        """Take back the tasks that wait for a free process."""
        withdrawn = list(self._queue)
        self._queue.clear()
        return withdrawn

    def close(self) -> None:
        """Kill all processes, whatever they are doing."""
        for worker in self._workers:
            worker.process.kill()

    def _assign(self) -> None:
        for worker in self._workers:
            while worker.task is None and self._queue:
                task = worker.choose(self._queue)
                self._queue.remove(task)
                if self._kills[_candidate(task)] < 2:
                    worker.perform(task)
                else:
                    reason = "two processes died training these values: not tried again"
                    self._finished.append((task, failure_result(task, Failure(reason), 0.0)))

    def _announce(self, busy: list[_Worker]) -> None:
        """Report the tasks that have begun; a task waits until its process is prepared."""
        for worker in busy:
            if not worker.is_announced and not worker.unanswered and worker.task is not None:
                worker.is_announced = True
                self._listen(underway(worker.task, worker.seconds))

    def _receive(self, worker: _Worker) -> None:
        """Receive one message of a process: an epoch, a result, the end of a preparation or of itself."""
        task = worker.task
        assert task is not None
        try:
            result = worker.process.receive()
        except EOFError:
            self._bury(worker, task)
            return
        except ModeltuneError as error:
            if worker.unanswered:
                raise
            # Such as sys.exit() in the code of the spec's author.
            text = str(error)
            result = failure_result(task, Failure(first_line(text), text), worker.seconds)
        if worker.unanswered:
            worker.note_answer()
            return
        if isinstance(result, FitProgress):
            self._listen(underway(task, worker.seconds, result.epoch, result.value))
            return
        self._finished.append((task, result))
        worker.task = None
        if worker.has_grown():
            self._replace(worker)

    def _check(self, worker: _Worker) -> None:
        """Kill a process whose task takes too long or that holds too much memory."""
        held = worker.process.memory()
        if worker.seconds > self._seconds:
            self._fail(worker, f"took longer than trial_minutes={self._seconds / 60:g}")
        elif held > self._memory:
            limit = f"the limit of {self._memory / 2**30:.1f} GiB"
            self._fail(worker, f"its process held {held / 2**30:.1f} GiB, more than {limit}")

    def _bury(self, worker: _Worker, task: Task) -> None:
        end = worker.process.end()
        if worker.unanswered:
            worker.deaths += 1
            if worker.deaths > 1:
                raise SearchError(f"a trial process {end}, before it could train anything")
        else:
            self._kills[_candidate(task)] += 1
        if self._kills[_candidate(task)] > 1:
            self._fail(worker, f"its process {end}, for the second time")
            return
        # Another program may have taken the memory: try once more, in a fresh process.
        self._queue.appendleft(task)
        self._replace(worker)

    def _fail(self, worker: _Worker, reason: str) -> None:
        assert worker.task is not None
        self._finished.append(
            (worker.task, failure_result(worker.task, Failure(reason), worker.seconds))
        )
        self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        deaths = worker.deaths if worker.unanswered else 0  # in a row, before one could train
        fresh = _Worker(self._start(), self._preparations, deaths)
        self._workers[self._workers.index(worker)] = fresh


@contextlib.contextmanager
def process_executor(
    spec: Spec,
    fixtures: Mapping[str, object],
    features: Path,
    slots: int,
    scratch: Path,
    listen: Listener = discard_event,
) -> Iterator[tuple[Remote, Processes]]:
    """Lend an engine in a process of its own, and an executor over ``slots`` other processes.

    Args:
        scratch: where the data lie while the processes need them.
        listen: called with the progress of every task.

    Raises:
        NotPortableError: the spec or a fixture cannot be passed to another process.
    """
    birth = _birth(spec, fixtures, features)
    in_main = spec.module == "__main__"
    limit = spec.search.trial_gigabytes
    memory = psutil.virtual_memory().available * 0.9 if limit is None else limit * 2**30
    warm_up()
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(_folder(scratch))
        first = start_process(birth, in_main)
        stack.callback(first.kill)
        others = Processes(
            lambda: start_process(birth, in_main), slots, spec.search.trial_minutes, memory, listen
        )
        stack.callback(others.close)
        engine = Remote(first, others, data)
        try:
            engine.answer("start")
        except CodeError as error:
            raise NotPortableError(str(error)) from error
        yield engine, others


@contextlib.contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    """Lend a folder and remove it afterwards; remove also folders that killed processes left.

    The folder is locked until this process ends, however it ends.

    Raises:
        HistoryError: it cannot be made.
    """
    try:
        make_folder(scratch)
        refuse_link(scratch)
        for left in scratch.glob("data-*/lock"):
            with contextlib.suppress(OSError), open_regular(left, through_links=False) as lock:
                if try_lock(lock):
                    remove_marked(left.parent)
        made = Path(tempfile.mkdtemp(dir=scratch))
        mark_folder(made)
    except OSError as error:
        raise HistoryError(
            f"{scratch} cannot be written ({error}); make the folder writable, or name another "
            "--modeltune-store"
        ) from error
    folder = made.with_name(f"data-{made.name}")
    with open_own(made / "lock") as lock:
        wait_for_lock(lock)
        # Others see it under this name only when it is locked.
        made.rename(folder)
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                remove_marked(folder)


def _birth(spec: Spec, fixtures: Mapping[str, object], features: Path) -> Birth:
    try:
        declared = pickle.dumps((spec, dict(fixtures)))
    except Exception as error:
        raise NotPortableError(f"{type(error).__name__}: {error}") from error
    return Birth(
        declared=declared,
        code=search_identity(spec),
        features=features,
        environ=dict(os.environ),
        folder=os.getcwd(),
        path=list(sys.path),
        output=(Descriptor(1), Descriptor(2)),
        warnings=list(warnings.filters),
    )


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


def _candidate(task: Task) -> str:
    return json.dumps(sorted(own_values(task.hyperparameters["values"]).items()))
