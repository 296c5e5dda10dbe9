"""The story of a run: load, search, validate, judge, record."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# TensorFlow logs its view of the machine to stderr when it is imported, below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modeltune.config import default_store
from modeltune.declarations import typed
from modeltune.dry_run import dry_run
from modeltune.environments import environment
from modeltune.errors import ModeltuneError
from modeltune.events import Event, Listener, Note, RunRecorded
from modeltune.executors.inline import Inline
from modeltune.histories.artifacts import keep
from modeltune.histories.store import open_store
from modeltune.judging import judge, not_measured, status_of
from modeltune.loading import load
from modeltune.objectives import Direction
from modeltune.oracles import Oracle, ReadHyperParameters
from modeltune.reports.progress import lines
from modeltune.runs import Best, Durations, Json, Run, RunStatus, plain
from modeltune.searches import Hyperband
from modeltune.searching import Found, best_trial, search
from modeltune.specs import Spec
from modeltune.training import Trained, TrialTask, train_trial
from modeltune.validating import RefitTask, Refitted, refit, validate


def run(
    spec: Spec,
    *,
    fixtures: Mapping[str, object] | None = None,
    store: str | None = None,
    strict: bool = False,
    keep_trials: bool = False,
    listen: Listener | None = None,
) -> Run:
    """Search, validate and judge a spec as its test item would, and record the run.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        store: where to record, as a database URL; default: as ``--modeltune-store``.
        strict: gates that cannot be decided (no baseline, inconclusive) are red too.
        keep_trials: keep the search's scratch folder.
        listen: called with every event; default: print progress lines to stderr.

    Returns:
        The recorded run; look at ``run.passed``, ``run.scores`` and ``run.verdicts``.

    Raises:
        SpecError, DataError, SearchError: what keeps the spec from being judged; the
            attempt is recorded with status "error" first.
        HistoryError: the run could not be recorded.
    """
    draft = _Draft(spec, listen or _print)
    with open_store(store or default_store()) as history:
        scratch = history.folder / "scratch" / draft.id
        found = Found([])
        try:
            with draft.phase("data"):
                loaded = load(spec, fixtures)
            draft.set(data=loaded.description, fingerprints=_sources(spec) | loaded.fingerprints)
            draft.set(environment=environment(Path(spec.file).parent, spec.fit.dtype_policy))
            with draft.phase("search"):
                oracle = Oracle(spec.search, scratch)
                if failure := dry_run(spec, loaded, oracle):
                    draft.listen(Note(f"the default candidate does not build: {failure.reason}"))
                train, validation = loaded.train, loaded.validation
                trials = Inline[TrialTask, Trained](
                    lambda task: train_trial(spec, train, validation, task)
                )
                search(spec, oracle, trials, scratch, draft.listen, found)
            best = best_trial(spec, found.trials)
            assert best is not None  # else search has raised
            assert best.score is not None
            draft.set(best=Best(best.id, best.score, best.values))
            with draft.phase("validation"):
                refits = Inline[RefitTask, Refitted](lambda task: refit(spec, loaded, task))
                winner = ReadHyperParameters.of(oracle.space)
                winner.values = dict(best.values)
                epochs = spec.validation.epochs or longest(spec)
                weights = scratch / "refit.weights.h5"
                validated = validate(spec, winner, refits, epochs, weights, draft.listen)
            draft.set(scores=validated.scores, task_report=validated.tables)
            draft.set(validation=_declaration(spec.validation) | {"refits": list(validated.refits)})
            verdicts = judge(spec.gates, validated.scores, spec.id)
            if not spec.gates:
                draft.listen(Note("no gates declared: nothing was demanded of this model"))
            name = f"artifacts/{draft.id}.weights.h5"
            artifact = keep(history.folder, name, lambda path: _move(weights, path))
            draft.set(verdicts=verdicts, artifact=artifact, status=status_of(verdicts, strict))
        except BaseException as error:
            draft.fail(error)
            raise
        finally:
            draft.set(trials=tuple(found.trials))
            history.record(recorded := draft.run())
            draft.listen(RunRecorded(recorded))
            if not keep_trials:
                shutil.rmtree(scratch, ignore_errors=True)
    return recorded


def longest(spec: Spec) -> int:
    """Return the epochs of the search's longest trial."""
    return spec.search.max_epochs if isinstance(spec.search, Hyperband) else spec.fit.epochs


class _Draft:
    """The run as far as it has come; whatever ends it, what is known so far is recorded."""

    def __init__(self, spec: Spec, listen: Listener):
        self.id = secrets.token_hex(8)
        self._spec = spec
        self._tell = listen
        self._durations: dict[str, float] = {}
        self._notes: list[str] = []
        verb = "maximize" if spec.search.objective.direction is Direction.MAX else "minimize"
        self._fields: dict[str, Any] = {
            "id": self.id,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "spec": spec.id,
            "file": spec.file,
            "status": RunStatus.ERROR,
            "objective": f"{verb} {spec.search.objective.metric}",
            "search": _declaration(spec.search),
            "fit": _declaration(spec.fit),
            "validation": _declaration(spec.validation),
            "fingerprints": _sources(spec),
        }

    def set(self, **fields: Any) -> None:
        """Add what is now known."""
        self._fields |= fields

    def listen(self, event: Event) -> None:
        """Pass an event on; notes stay with the run."""
        if isinstance(event, Note):
            self._notes.append(event.text)
        self._tell(event)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the seconds of a phase, also of one that is cut short."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._durations[name] = time.monotonic() - started

    def fail(self, error: BaseException) -> None:
        """Record why the run ended early; every gate says that it was not measured."""
        interrupted = not isinstance(error, Exception)
        text = (
            str(error) if isinstance(error, ModeltuneError) else f"{type(error).__name__}: {error}"
        )
        reason = "interrupted" if interrupted else text.splitlines()[0]
        self.set(
            status=RunStatus.INTERRUPTED if interrupted else RunStatus.ERROR,
            error=text.rstrip(": "),
            verdicts=not_measured(self._spec.gates, reason),
        )

    def run(self) -> Run:
        """Return the run as known now."""
        durations = Durations(**self._durations)
        return Run(**self._fields, durations=durations, notes=tuple(self._notes))


def _declaration(declaration: Any) -> dict[str, Json]:
    """Return a declaration's arguments as JSON data; what has no JSON form is kept as typed."""
    arguments: dict[str, Json] = {"kind": type(declaration).__name__}
    for field in dataclasses.fields(declaration):
        value = getattr(declaration, field.name)
        try:
            arguments[field.name] = plain(value)
        except TypeError:
            arguments[field.name] = typed(value)
    return arguments


def _sources(spec: Spec) -> dict[str, str]:
    """Return a sha256 of the spec as typed and of the source of its model and data functions."""
    texts = {"spec": repr(spec)}
    for name, code in (("source", spec.model), ("data_source", spec.data)):
        defined = code if inspect.isroutine(code) else type(code)
        try:
            texts[name] = inspect.getsource(defined)
        except (OSError, TypeError):
            texts[name] = repr(defined)
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)


def _print(event: Event) -> None:
    for line in lines(event):
        sys.stderr.write(f"{line}\n")
