"""Lend a run its engine and the executor that trains, in other processes or in this one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeltune.engine import quietly
from modeltune.ground import Deadline
from modeltune.harness.executors import Executor, discard_event
from modeltune.records import Listener, Note
from modeltune.specs import Spec


@contextlib.contextmanager
def lend_engine(
    spec: Spec,
    fixtures: Mapping[str, object],
    workers: int | str,
    folder: Path,
    listen: Listener,
    deadline: Deadline = Deadline(),
) -> Iterator[tuple[Any, Executor[Any, Any]]]:
    """Lend the engine of a run and what trains its tasks; a note says when it is not as asked.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        workers: how many processes train, "auto" as many as keep the cores busy; 0: this one.
        folder: the store's folder, in which processes share the data and layers their outputs.
        listen: told how far each task is.
        deadline: when the run has to be done.
    """
    features = folder / "features"
    if workers != 0 and _is_copied(spec):
        from modeltune.engine import start_engine
        from modeltune.harness.executors import lend_engine_copy

        with lend_engine_copy(
            spec, start_engine(spec, fixtures, features), listen, deadline
        ) as lent:
            yield lent
        return
    if workers != 0:
        from modeltune.harness.executors import NotPortableError, auto, process_executor

        slots = auto(spec.fit.threads) if workers == "auto" else int(workers)
        if spec.is_given:
            slots = 1  # which loads it once; scoring takes less than another process
        _load_meanwhile()
        with contextlib.ExitStack() as stack:
            try:
                engine, executor = stack.enter_context(
                    process_executor(
                        spec, fixtures, features, slots, folder / "scratch", listen, deadline
                    )
                )
            except NotPortableError as error:
                listen(Note(f"trained in this process: {error}"))
            else:
                yield engine, executor
                return
    from modeltune.harness.executors import Inline, Local

    with quietly():
        from modeltune.engine import start_engine

    note_idle_limits(spec, "in a run without workers", listen)
    with quietly():
        # TensorFlow looks for devices, and says what it does not find.
        own = start_engine(spec, fixtures, features)
    yield Local(own), Inline(own.perform, listen)


def note_idle_limits(spec: Spec, where: str, listen: Listener) -> None:
    """Tell that the limits which a spec declares limit nothing there, if it declares any."""
    if any((spec.search.trial_minutes, spec.search.trial_gigabytes, spec.search.data_minutes)):
        names = "trial_minutes, trial_gigabytes and data_minutes"
        listen(Note(f"{names} limit nothing {where}"))


@contextlib.contextmanager
def lend_engine_alone(
    spec: Spec,
    fixtures: Mapping[str, object],
    scratch: Path,
    listen: Listener = discard_event,
    deadline: Deadline = Deadline(),
    is_apart: bool = True,
) -> Iterator[Any]:
    """Lend an engine that loads data and models and trains nothing, in a supervised process.

    Where the spec cannot be passed on to another process, it is in this one, and a note says so.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        scratch: a folder for the data.
        listen: told what the user should know of the supervision.
        deadline: when the work has to be done.
        is_apart: False has the engine in this process, where a debugger can follow.
    """
    from modeltune.harness.executors import Local, NotPortableError, process_executor

    if is_apart and _is_copied(spec):
        from modeltune.engine import start_engine
        from modeltune.harness.executors import lend_engine_copy

        made = start_engine(spec, fixtures, scratch)
        with lend_engine_copy(spec, made, listen, deadline) as (copy, _):
            yield copy
        return
    with contextlib.ExitStack() as stack:
        if is_apart:
            try:
                lent = process_executor(spec, fixtures, scratch, 0, scratch, listen, deadline)
                engine, _ = stack.enter_context(lent)
            except NotPortableError as error:
                listen(
                    Note(f"its model is loaded in pytest's own process, without limits: {error}")
                )
            else:
                yield engine
                return
        with quietly():
            from modeltune.engine import start_engine

            own = start_engine(spec, fixtures, scratch)
        yield Local(own)


def _load_meanwhile() -> None:
    """Import what hands over data and judges, while the server of processes still imports Keras."""
    from modeltune.engine import read_parts
    from modeltune.judgement import compare_evidence

    _ = read_parts, compare_evidence  # taken from a door, which loads them


def _is_copied(spec: Spec) -> bool:
    """Tell whether a spec's engine needs no Keras, so that a copy of this process can have it."""
    from modeltune.engine import needs_keras
    from modeltune.harness.executors import can_be_copied

    return not needs_keras(spec) and can_be_copied()
