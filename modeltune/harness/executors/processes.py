"""Run tasks in processes forked from a warm server; one that dies, hangs or grows is replaced."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pickle
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune.ground import (
    CodeError,
    Deadline,
    ModeltuneError,
    SearchError,
    error_text,
    first_line,
    monotonic,
    usable_cores,
)
from modeltune.harness.executors.interface import discard_event, underway
from modeltune.harness.executors.lent_folders import lend_folder
from modeltune.harness.executors.supervision import (
    LOOK,
    Limit,
    Process,
    Supervisor,
    allowed_memory,
    warm_up,
)
from modeltune.harness.executors.tempfile_internals import lend_temporary_folder
from modeltune.harness.executors.worker import Birth, Descriptor, FitProgress, SpaceProgress
from modeltune.records import (
    ExamineTask,
    Failure,
    GivenModels,
    IdentifyTask,
    Listener,
    Note,
    RefitTask,
    RehearseTask,
    Result,
    Task,
    TrialTask,
    failure_result,
    own_values,
)
from modeltune.specs import Spec, keras_backend, search_identity

if TYPE_CHECKING:
    from modeltune.engine import LoadedData

GROWTH = 2**30
"""Bytes by which a process may grow beyond its first task before a fresh one replaces it."""


def auto(threads: int) -> int:
    """Return how many processes with this many threads keep the cores busy that we may use; at least 1."""
    sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1, usable_cores() // (threads * sharing))


class EndedProcessError(SearchError):
    """A process that held the data has died, or was killed, during a call.

    Args:
        said: the error in words.
        failure: how the process ended.
        is_condemned: whether it was killed for what it did, which another would do again.
    """

    def __init__(self, said: str, failure: Failure, is_condemned: bool):
        super().__init__(said)
        self.failure = failure
        self.is_condemned = is_condemned


class NotPortableError(Exception):
    """The spec or a fixture cannot be passed to another process: says why."""


@dataclass(frozen=True)
class Limits:
    """How long each kind of work may take.

    Args:
        trial: minutes for each task, and for the slices that gates name; None: no limit.
        data: minutes for the data function; None: no limit.
        deadline: when the run has to be done. What it cannot do without may overdraw that.
    """

    trial: float | None
    data: float | None
    deadline: Deadline

    def on_task(self, since: float | None = None, is_spare: bool = False) -> Limit:
        """Return the limit of a task, or of something like it, that began then; None: now.

        One ``is_spare`` when the run can do without it.
        """
        since = monotonic() if since is None else since
        return self._earliest(since, self.trial, "trial_minutes", is_spare)

    def on_data(self) -> Limit:
        """Return the limit of a data function that begins now."""
        return self._earliest(monotonic(), self.data, "data_minutes")

    def on_rest(self) -> Limit:
        """Return the limit of what else begins now."""
        return self._earliest(monotonic(), None, "")

    def _earliest(
        self, since: float, minutes: float | None, field: str, is_spare: bool = False
    ) -> Limit:
        deadline = self.deadline
        at = deadline.at if is_spare else max(deadline.at, since) + deadline.overdraft
        # Another run may have a larger budget.
        budget = Limit(at, f"the budget of {deadline.budget} allows", is_final=False)
        if minutes is None or since + 60 * minutes > at:
            return budget
        return Limit(since + 60 * minutes, f"{field}={minutes:g}")


class Remote:
    """An engine in other processes, called like one in this process.

    One process loads the data, which all others map, and holds the oracle. What may ruin its
    process, as building, training and transforms may, is done in the processes of the executor.
    """

    def __init__(self, process: Process, others: Processes, folder: Path, limits: Limits):
        self._process = process
        self._others = others
        self._folder = folder
        self._limits = limits
        self._written: bytes | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            return self._call(self._limits.on_rest(), name, *arguments)

        return call

    def load(self, loaded: LoadedData | None = None) -> Any:
        """As ``Engine.load``; all processes then map what this process or the engine's has loaded.

        Streams cannot be handed over: each process loads them itself.
        """
        from modeltune.engine import is_shareable, write_parts

        limit = self._limits.on_data()
        if loaded is not None and is_shareable(loaded):
            written = write_parts(loaded, self._folder)
            description, fingerprints = loaded.description, loaded.fingerprints
            self._call(limit, "take", written, fingerprints)
        else:
            description, fingerprints = self._call(limit, "load")
            written = self._call(self._limits.on_rest(), "share", self._folder)
        self._written = written
        self._others.tell("take", written, fingerprints)
        return description, fingerprints

    def loaded(self) -> LoadedData | None:
        """Return the data, mapped; None of streams, which cannot be handed over. Load them first."""
        from modeltune.engine import read_parts

        return None if self._written is None else read_parts(self._written)

    def check(self) -> Any:
        """As ``Engine.check``."""
        self._call(self._limits.on_task(), "check_slices")
        return self._call(self._limits.on_rest(), "check_data")

    def begin(self, scratch: Path) -> Any:
        """As ``Engine.begin``; a rehearsal that ruins its process is a failure like another."""
        rehearsed = self._others.run(RehearseTask(scratch))
        return self._call(self._limits.on_rest(), "begin", scratch, rehearsed)

    def identify(self) -> Any:
        """As ``Engine.identify``; a model that ruins its process ends the run."""
        if not self._others.slots:
            return self._call(self._limits.on_task(), "identify")
        given: GivenModels = self._others.run(IdentifyTask())
        if given.failure is not None and given.failure.is_final:
            # A transform may have ruined it, which costs no more than its own gate.
            again: GivenModels = self._others.run(IdentifyTask(with_behaviours=False))
            given = given if again.failure is not None else again
        if given.failure is not None:
            raise SearchError(
                _with_trace(f"the model cannot be loaded: {given.failure.reason}", given.failure)
            )
        return given

    def examine(self, task: ExamineTask) -> Any:
        """As ``Engine.examine``."""
        return self._others.run(task)

    def score_again(self, *arguments: object) -> Any:
        """As ``Engine.score_again``."""
        return self._call(self._limits.on_task(), "score_again", *arguments)

    def write_model(self, *arguments: object) -> Any:
        """As ``Engine.write_model``."""
        return self._call(self._limits.on_task(), "write_model", *arguments)

    def answer(self, name: str, limit: Limit) -> Any:
        """As ``answer_of``."""
        return answer_of(self._process, name, limit, self._others.tell_notes)

    def _call(self, limit: Limit, name: str, *arguments: object) -> Any:
        self._process.send(name, *arguments)
        return self.answer(name, limit)


def answer_of(process: Process, name: str, limit: Limit, tell_notes: Callable[[], object]) -> Any:
    """Wait for the answer to a call of a process that holds data, and tell notes meanwhile.

    Raises:
        ModeltuneError: what it raised.
        EndedProcessError: the process has died, or was killed.
    """
    process.limit(limit)
    while not wait([process.pipe, process.sentinel], LOOK):
        tell_notes()
    try:
        return process.receive()
    except EOFError:
        end = process.end()
        said = f"the process that holds the data {end.reason}, during {name}"
        is_condemned = process.condemned is not None
        raise EndedProcessError(_with_trace(said, end), end, is_condemned) from None
    finally:
        process.limit(None)
        tell_notes()


class _Worker:
    """A process, its task, and how many answers it owes before that of the task."""

    def __init__(
        self,
        process: Process,
        limits: Limits,
        preparations: list[tuple[Any, ...]],
        deaths: int = 0,
    ):
        self.process = process
        self.task: Task | None = None
        self.is_announced = False
        self.deaths = deaths
        self.unanswered = 1  # it reports when it has started
        self._limits = limits
        self._since = monotonic()
        self._states: set[Path] = set()
        self._candidates: set[str] = set()
        self._settled: int | None = None
        process.limit(limits.on_rest())
        for name, *arguments in preparations:
            self.prepare(name, *arguments)

    @property
    def seconds(self) -> float:
        """How long the task has been under way."""
        return 0.0 if self.unanswered else monotonic() - self._since

    def prepare(self, name: str, *arguments: object) -> None:
        """Call a method of the engine that returns nothing."""
        self.unanswered += 1
        self.process.send(name, *arguments)

    def note_answer(self, is_spare: bool) -> None:
        """Note that a preparation is done; its task may wait for it, one ``is_spare``."""
        self.unanswered -= 1
        self._since = monotonic()
        if self.unanswered:
            # To take the data it may have to load them.
            self.process.limit(self._limits.on_data())
        else:
            self.limit(is_spare)

    def perform(self, task: Task, is_spare: bool) -> None:
        """Begin a task; one ``is_spare`` that the run can do without."""
        self.task, self.is_announced = task, False
        self._since = monotonic()
        if not self.unanswered:
            self.limit(is_spare)
        self.process.memory()
        self.process.send("perform", task)
        self._candidates.add(_candidate(task))
        if isinstance(task, TrialTask) and task.keep_state is not None:
            self._states.add(task.keep_state)

    def limit(self, is_spare: bool) -> None:
        """Bound the task; without one there is nothing to bound."""
        limit = None if self.task is None else self._limits.on_task(self._since, is_spare)
        self.process.limit(limit)

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
        start: starts a process, which is supervised from then on.
        end: ends one.
        slots: how many processes run at once.
        limits: a task that takes longer fails, and its process is killed.
        notes: returns what the user should know of the supervision since the last call.
        listen: called with the progress of every task.
    """

    def __init__(
        self,
        start: Callable[[], Process],
        end: Callable[[Process], None],
        slots: int,
        limits: Limits,
        notes: Callable[[], Iterable[str]] = tuple,
        listen: Listener = discard_event,
    ):
        self._start = start
        self._end = end
        self._slots = slots
        self._limits = limits
        self._notes = notes
        self._listen = listen
        self._preparations: list[tuple[Any, ...]] = []
        self._queue: deque[Task] = deque()
        self._finished: deque[tuple[Task, Result]] = deque()
        self._kills: Counter[str] = Counter()
        self._is_in_budget = False
        self._workers: list[_Worker] = []
        try:
            for _ in range(slots):
                self._workers.append(_Worker(start(), limits, []))
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

    def run(self, task: Task) -> Any:
        """Return the result of a task while no other has been submitted."""
        self.submit(task)
        return self.wait()[1]

    def wait(self) -> tuple[Task, Result]:
        """Return the next finished task and its result; if its process died, the result says so."""
        while not self._finished:
            self._assign()
            busy = [w for w in self._workers if w.task is not None or w.unanswered]
            if not any(worker.task for worker in busy):
                raise IndexError("no task was submitted")
            self._announce(busy)
            ready = wait([c for b in busy for c in (b.process.pipe, b.process.sentinel)], LOOK)
            self.tell_notes()
            for worker in busy:
                if worker.process.pipe in ready or worker.process.sentinel in ready:
                    self._receive(worker)
        return self._finished.popleft()

    def withdraw(self) -> list[Task]:
        """Take back the tasks that wait for a free process."""
        withdrawn = list(self._queue)
        self._queue.clear()
        return withdrawn

    def hold_trials_to_budget(self) -> None:
        """Bound trials by the budget alone, also those under way: the run can do without them."""
        self._is_in_budget = True
        for worker in self._workers:
            if worker.task is not None and not worker.unanswered:
                worker.limit(self._is_spare(worker.task))

    def tell_notes(self) -> None:
        """Tell what the user should know of the supervision."""
        for note in self._notes():
            self._listen(Note(note))

    def close(self) -> None:
        """Kill all processes, whatever they are doing."""
        for worker in self._workers:
            self._end(worker.process)

    def _assign(self) -> None:
        for worker in self._workers.copy():
            if worker.task is None and self._queue and worker.process.condemned:
                worker = self._replace(worker)
            while worker.task is None and self._queue:
                task = worker.choose(self._queue)
                self._queue.remove(task)
                if self._kills[_candidate(task)] < 2:
                    worker.perform(task, self._is_spare(task))
                else:
                    reason = "two processes died training these values: not tried again"
                    self._finished.append((task, failure_result(task, Failure(reason), 0.0)))

    def _announce(self, busy: list[_Worker]) -> None:
        """Report the tasks that have begun; a task waits until its process is prepared."""
        for worker in busy:
            if not worker.is_announced and not worker.unanswered and worker.task is not None:
                worker.is_announced = True
                self._tell_progress(worker)

    def _tell_progress(self, worker: _Worker, *progress: Any) -> None:
        if isinstance(worker.task, TrialTask | RefitTask):
            self._listen(underway(worker.task, worker.seconds, *progress))

    def _receive(self, worker: _Worker) -> None:
        """Receive one message of a process: an epoch, a result, the end of a preparation or of itself."""
        task = worker.task
        try:
            result = worker.process.receive()
        except EOFError:
            self._bury(worker)
            return
        except ModeltuneError as error:
            if worker.unanswered or task is None:
                raise
            if isinstance(task, RehearseTask | IdentifyTask) and not isinstance(error, CodeError):
                worker.task = None
                raise
            # Such as sys.exit() in the code of the spec's author.
            text = str(error)
            result = failure_result(task, Failure(first_line(text), text), worker.seconds)
        if worker.unanswered:
            worker.note_answer(self._is_spare(task))
            return
        assert task is not None
        if isinstance(result, FitProgress):
            self._tell_progress(worker, result.epoch, result.value)
            return
        if isinstance(result, SpaceProgress):
            assert isinstance(task, RehearseTask)
            worker.task = replace(task, space=result.space)
            return
        self._finished.append((task, result))
        worker.task = None
        worker.process.limit(None)
        if worker.process.condemned or worker.has_grown():
            self._replace(worker)

    def _is_spare(self, task: Task | None) -> bool:
        """Tell whether the run can be judged without this task."""
        return self._is_in_budget and isinstance(task, TrialTask)

    def _bury(self, worker: _Worker) -> None:
        """Replace a process that has ended, and try its task once more unless that is the cause."""
        task, condemned = worker.task, worker.process.condemned
        end = worker.process.end()
        if worker.unanswered:
            worker.deaths += 1
            if condemned or worker.deaths > 1:
                said = f"a trial process {end.reason}, before it could train anything"
                raise SearchError(_with_trace(said, end))
        elif task is not None:
            if not condemned:
                self._kills[_candidate(task)] += 1
            if condemned or self._kills[_candidate(task)] > 1:
                reason = end.reason if worker.process.is_late else f"its process {end.reason}"
                again = "" if condemned else ", for the second time"
                failure = replace(end, reason=f"{reason}{again}")
                self._finished.append((task, failure_result(task, failure, worker.seconds)))
                task = None
        if task is not None:
            # Another program may have taken the memory: try once more, in a fresh process.
            self._queue.appendleft(task)
        self._replace(worker)

    def _replace(self, worker: _Worker) -> _Worker:
        self._end(worker.process)
        deaths = worker.deaths if worker.unanswered else 0  # in a row, before one could train
        fresh = _Worker(self._start(), self._limits, self._preparations, deaths)
        self._workers[self._workers.index(worker)] = fresh
        return fresh


@contextlib.contextmanager
def process_executor(
    spec: Spec,
    fixtures: Mapping[str, object],
    features: Path,
    slots: int,
    scratch: Path,
    listen: Listener = discard_event,
    deadline: Deadline = Deadline(),
) -> Iterator[tuple[Remote, Processes]]:
    """Lend an engine in a process of its own, and an executor over ``slots`` other processes.

    Args:
        slots: how many processes train; 0 for an engine that is only to load and score.
        scratch: where the data lie while the processes need them.
        listen: called with the progress of every task.
        deadline: when the run has to be done.

    Raises:
        NotPortableError: the spec or a fixture cannot be passed to another process.
    """
    birth, search = _birth(spec, fixtures, features), spec.search
    in_main = spec.module == "__main__"
    limits = Limits(search.trial_minutes, search.data_minutes, deadline)
    supervisor = Supervisor(allowed_memory(search.trial_gigabytes))
    warm_up()
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(lend_folder(scratch, "data"))
        birth = replace(birth, temporary=stack.enter_context(lend_temporary_folder()))
        supervisor.open()
        stack.callback(supervisor.close)
        start = partial(supervisor.start, birth, in_main)
        first = start()
        stack.callback(supervisor.end, first)
        others = Processes(start, supervisor.end, slots, limits, supervisor.notes, listen)
        stack.callback(others.close)
        engine = Remote(first, others, data, limits)
        try:
            engine.answer("start", limits.on_rest())
        except CodeError as error:
            raise NotPortableError(str(error)) from error
        yield engine, others


def _birth(spec: Spec, fixtures: Mapping[str, object], features: Path) -> Birth:
    try:
        declared = pickle.dumps((spec, dict(fixtures)))
    except Exception as error:
        raise NotPortableError(error_text(error)) from error
    return Birth(
        declared=declared,
        code=search_identity(spec),
        backend=keras_backend(),
        features=features,
        environ=dict(os.environ),
        folder=os.getcwd(),
        path=list(sys.path),
        output=(Descriptor(1), Descriptor(2)),
        warnings=list(warnings.filters),
        start_method=multiprocessing.get_start_method(),
    )


def _candidate(task: Task) -> str:
    """Return what tasks have in common that ruin their processes in the same way."""
    if isinstance(task, RehearseTask):
        return f"rehearsal in {task.scratch}"
    if isinstance(task, IdentifyTask):
        return f"the given models, {'probed' if task.with_behaviours else 'alone'}"
    values = json.dumps(sorted(own_values(task.hyperparameters["values"]).items()))
    if isinstance(task, ExamineTask):
        parts = [*task.behaviours, *task.rescore, task.faster_than is not None]
        return f"examination {parts} of {values}"
    return values


def _with_trace(said: str, end: Failure) -> str:
    return f"{said}\n{end.traceback}" if end.traceback else said
