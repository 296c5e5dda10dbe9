"""Lend data to pytest's own process: loaded in a copy of it, supervised as the processes of a run."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modeltune.ground import Deadline, monotonic
from modeltune.harness.executors.interface import discard_event
from modeltune.harness.executors.lent_folders import lend_folder
from modeltune.harness.executors.processes import (
    Limits,
    NotPortableError,
    answer_of,
    process_executor,
)
from modeltune.harness.executors.socket_folder import choose_socket_folder
from modeltune.harness.executors.supervision import (
    Process,
    Supervisor,
    allowed_memory,
    file_in_memory,
)
from modeltune.harness.executors.tempfile_internals import (
    lend_temporary_folder,
    make_temporary_files_in,
)
from modeltune.harness.executors.worker import serve_data
from modeltune.records import Listener, Note
from modeltune.specs import Spec

if TYPE_CHECKING:
    from modeltune.engine import LoadedData

RUNTIMES = ("tensorflow.python", "jax._src", "torch._C")
"""What starts threads that a copy of their process lacks: there its calls would wait for ever."""


class LentData(Protocol):
    """The data of a spec, in this process or in another."""

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """As ``LoadedData.fingerprints``."""

    @property
    def seconds(self) -> float:
        """How long loading took."""

    def take(self) -> LoadedData | None:
        """Return the data, which stay when they are lent no more; None of streams in another process.

        Call it once.

        Raises:
            ModeltuneError: they cannot be passed on, as when a disk is full.
        """


@dataclass(frozen=True)
class _Here:
    """Data in this process."""

    loaded: LoadedData
    seconds: float

    @property
    def fingerprints(self) -> Mapping[str, str]:
        return self.loaded.fingerprints

    def take(self) -> LoadedData:
        return self.loaded


@dataclass(frozen=True)
class _Apart:
    """Data in another process, from which arrays are mapped."""

    fingerprints: Mapping[str, str]
    seconds: float
    take: Callable[[], LoadedData | None]


class _Owner:
    """What the other process has and does."""

    def __init__(self, load: Callable[[], LoadedData]):
        self._load = load
        self._loaded: LoadedData | None = None

    def load(self) -> Mapping[str, str]:
        """Load the data; return their fingerprints."""
        self._loaded = self._load()
        return self._loaded.fingerprints

    def share(self, folder: Path) -> bytes | None:
        """As ``Engine.share``."""
        from modeltune.engine import is_shareable, write_parts

        assert self._loaded is not None  # load comes first
        return write_parts(self._loaded, folder) if is_shareable(self._loaded) else None


@contextlib.contextmanager
def lend_data(
    spec: Spec,
    fixtures: Mapping[str, object],
    scratch: Path,
    listen: Listener = discard_event,
    deadline: Deadline = Deadline(),
    is_apart: bool = True,
) -> Iterator[LentData]:
    """Lend the data of a spec; whatever loading them does, this process goes on.

    They are loaded in a copy of this process, under the limits of a run. Where a copy could not
    use what is loaded here, such as TensorFlow, they are loaded in a process of a run. Only where
    the spec cannot be passed on to one, which a note says, they are loaded in this process.

    Args:
        spec: its data function is called.
        fixtures: what that asks for by argument name.
        scratch: a folder for the data, once they are taken; what killed processes left there is removed.
        listen: told what the user should know of the supervision.
        deadline: when the run has to be done.
        is_apart: False loads in this process, where a debugger can follow.

    Raises:
        ModeltuneError: the data cannot be loaded; what the data function raised itself, if they
            were to be loaded in this process.
    """
    from modeltune.engine import load_data

    def load() -> LoadedData:
        return load_data(spec, fixtures)

    began = monotonic()
    with contextlib.ExitStack() as stack:
        if is_apart and not can_be_copied():
            try:
                lent = process_executor(spec, fixtures, scratch, 0, scratch, listen, deadline)
                engine, _ = stack.enter_context(lent)
            except NotPortableError as error:
                listen(
                    Note(f"its data are loaded in pytest's own process, without limits: {error}")
                )
                is_apart = False
            else:
                prints = engine.load()[1]
                yield _Apart(prints, monotonic() - began, engine.loaded)
                return
        if not is_apart:
            loaded = load()
            yield _Here(loaded, monotonic() - began)
            return
        limits = Limits(spec.search.trial_minutes, spec.search.data_minutes, deadline)
        supervisor = Supervisor(allowed_memory(spec.search.trial_gigabytes))

        def tell_notes() -> None:
            for note in supervisor.notes():
                listen(Note(note))

        supervisor.open()
        stack.callback(supervisor.close)
        temporary = stack.enter_context(lend_temporary_folder())
        process, demands = start_copy(serve_data, _Owner(load), temporary)
        supervisor.watch(process)
        stack.callback(supervisor.end, process)
        stack.callback(demands.close)

        def take() -> LoadedData | None:
            from modeltune.engine import read_parts

            demands.send(stack.enter_context(lend_folder(scratch, "data")))
            written = answer_of(process, "share", limits.on_rest(), tell_notes)
            return None if written is None else read_parts(written)

        prints = answer_of(process, "load", limits.on_data(), tell_notes)
        yield _Apart(prints, monotonic() - began, take)


def can_be_copied() -> bool:
    """Tell whether a copy of this process can load data as this process can."""
    return sys.platform == "linux" and not any(name in sys.modules for name in RUNTIMES)


def start_copy(
    serve: Callable[..., None], owner: object, temporary: Path | None
) -> tuple[Process, Connection]:
    """Fork a process that serves what ``owner`` has; return it and the pipe of demands.

    ``serve`` is called there with the pipes of answers and demands, the file that says where the
    process was when it dies, and the owner; its temporary files are made in ``temporary``.
    """
    choose_socket_folder()
    context = get_context("fork")
    # Pipes of one direction are no sockets, which pytest-socket may refuse.
    receiving, answers = context.Pipe(duplex=False)
    listening, demands = context.Pipe(duplex=False)
    stack = file_in_memory()
    arguments = (serve, answers, listening, stack.fileno(), owner)
    process = context.Process(target=_serve, args=(receiving, demands, temporary, *arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns of other threads, such as that which draws progress: none is needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    answers.close()
    listening.close()
    return Process(process, receiving, stack), demands


def _serve(
    receiving: Connection,
    demands: Connection,
    temporary: Path | None,
    serve: Callable[..., None],
    *arguments: Any,
) -> None:
    # The ends of the other process: a pipe is at its end when nobody holds them.
    receiving.close()
    demands.close()
    make_temporary_files_in(temporary)
    serve(*arguments)
