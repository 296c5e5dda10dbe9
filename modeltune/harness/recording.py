"""Record a run: what is known of it so far is kept, whatever ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune.ground import HistoryError, ModeltuneError, UnrecordableError, typed
from modeltune.harness.conclusion import Judged
from modeltune.harness.search import Found
from modeltune.histories import Store, drop, keep, names_of, pending
from modeltune.judgement import Strictness, not_measured, status_of
from modeltune.records import (
    ARCHITECTURE,
    EXAMPLES,
    Durations,
    Event,
    Json,
    Listener,
    Note,
    Run,
    RunRecorded,
    RunStatus,
    Scores,
    plain,
)
from modeltune.specs import Direction, Spec, Verdict, fingerprints

if TYPE_CHECKING:
    from modeltune.records import Samples


@contextlib.contextmanager
def recording(run_id: str, spec: Spec, history: Store, listen: Listener) -> Iterator[Recording]:
    """Lend a recording and record it at the end: as it was judged, or as what ended it early.

    Raises:
        HistoryError: the run could not be recorded. An error or interrupt that ended the
            run is raised instead, with a note that says so.
    """
    record = Recording(run_id, spec, history, listen)
    try:
        yield record
    except BaseException as error:
        record.fail(error)
        try:
            record.record()
        except HistoryError as unrecorded:
            # What ended the run, an interrupt above all, is not to be hidden by this.
            listen(Note(text := f"this run could not be recorded: {unrecorded}"))
            for note in (text, *unrecorded.__notes__):
                error.add_note(note)
        raise
    record.record()


class Recording:
    """A run as far as it has come."""

    def __init__(self, run_id: str, spec: Spec, history: Store, listen: Listener):
        self.id = run_id
        self.found = Found([])
        self._spec = spec
        self._history = history
        self._tell = listen
        self._run: Run | None = None
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
            "fingerprints": fingerprints(spec),
        }

    def set(self, **fields: Any) -> None:
        """Add what is now known."""
        self._fields |= fields

    def loaded(self, description: Mapping[str, Json], prints: Mapping[str, str]) -> None:
        """Add what the data is."""
        self.set(data=description, fingerprints=self._fields["fingerprints"] | prints)

    def validated(
        self,
        scores: Mapping[str, Scores],
        tables: Mapping[str, Json],
        refits: Sequence[Mapping[str, Json]],
        model: Mapping[str, Json],
    ) -> None:
        """Add what validation measured, and how the tuned model is built."""
        self.set(scores=scores, task_report=tables, model=model)
        self._fields["validation"]["refits"] = list(refits)

    def checked(self, checks: Sequence[Verdict]) -> None:
        """Add what checks of the data and of the model found."""
        self.set(checks=(*self._fields.get("checks", ()), *checks))

    def judged(self, judged: Judged, strictness: Strictness) -> None:
        """Add what gates came to, and whether the run is green."""
        status = status_of(judged.verdicts, strictness, self._fields.get("checks", ()))
        self.set(**vars(judged), status=status, strict=strictness.is_strict)

    def keep(self, weights: Path, samples: Samples | None) -> None:
        """Copy the validated model beside the history, before the row that names its files."""
        folder = self._history.folder
        weights_name, architecture_name, samples_name, examples_name = names_of(self.id)
        kept = keep(folder, weights_name, lambda path: shutil.copyfile(weights, path))
        files = {}
        beside = {"architecture": (ARCHITECTURE, architecture_name)}
        if self._spec.examples:
            # Those of an interrupted run may be there although none are wanted any more.
            beside["examples"] = EXAMPLES, examples_name
        for kind, (file, name) in beside.items():
            source = weights.with_name(file)
            if source.exists():
                files[kind] = keep(folder, name, partial(shutil.copyfile, source))
        if samples is not None:
            from modeltune.records import packed

            text = json.dumps(packed(samples), allow_nan=False)
            files["samples"] = keep(
                folder, samples_name, lambda path: path.write_text(text, encoding="utf-8")
            )
        self.set(artifact=kept, files=files)

    def drop_lost(self, runs: Sequence[str]) -> None:
        """Remove the weights of those earlier runs that were killed between weights and row."""
        if not runs:
            return
        # Before the history: a flush records a run first, and then it waits no more.
        kept = {path.stem for path in pending.waiting(self._history.folder)}
        kept |= self._history.known(runs).keys()
        for run in runs:
            if run not in kept:
                for name in names_of(run):
                    drop(self._history.folder, name)

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
        # What was trained is not lost with the history: its ledger stays, as after an interrupt.
        goes_on = interrupted or isinstance(error, HistoryError)
        text = (
            str(error) if isinstance(error, ModeltuneError) else f"{type(error).__name__}: {error}"
        )
        reason = "interrupted" if interrupted else text.partition("\n")[0]
        if goes_on:
            self.listen(Note("interrupted: the same command goes on after what has finished"))
        self.set(
            status=RunStatus.INTERRUPTED if goes_on else RunStatus.ERROR,
            error=text.rstrip(": "),
            verdicts=not_measured(self._spec.gates, reason),
        )

    def record(self) -> None:
        """Record the run as known now, with the trials found so far.

        Raises:
            HistoryError: it is not recorded; a note says where it waits to be, if it can ever be.
        """
        durations = Durations(**self._durations)
        trials, notes = tuple(self.found.trials), tuple(self._notes)
        if self.found.cut_short:
            self._fields["search"]["cut_short"] = self.found.cut_short
        run = Run(**self._fields, trials=trials, durations=durations, notes=notes)
        try:
            self._history.record(run)
        except HistoryError as error:
            error.add_note(text := self._not_recorded(run, error))
            self._tell(Note(text))
            raise
        self._run = run
        self._tell(RunRecorded(run))

    def _not_recorded(self, run: Run, error: HistoryError) -> str:
        """Keep a run that may be recorded later, and say in a line where it waits and for what."""
        named = f"run {run.id} of {run.spec} ({run.status.value}) is not recorded"
        if isinstance(error, UnrecordableError):
            return (
                f"{named} and never can be as it is, so that it does not wait either; "
                "mend what has no place in a record, and run its spec again"
            )
        try:
            path = pending.spool(self._history, run)
        except HistoryError as unkept:
            return f"{named}, nor could it be kept to be recorded later: {unkept}"
        command = pending.command(self._history.identity)
        return f"{named}, but waits in {path}; to record it: {command}"

    @property
    def run(self) -> Run:
        """The recorded run; there is none before ``record``."""
        assert self._run is not None
        return self._run


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
