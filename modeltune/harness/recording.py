"""Record a run: a draft gathers what is known of it, and is recorded whatever ends the run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeltune.ground import (
    HistoryError,
    ModeltuneError,
    NoTrialError,
    UnrecordableError,
    count_of,
    error_line,
    error_text,
    first_line,
    is_disk_full,
    message_of,
    monotonic,
    says_disk_full,
    typed,
)
from modeltune.harness.conclusion import Judgement
from modeltune.harness.resuming import no_space
from modeltune.harness.search import SearchProgress
from modeltune.harness.validation import ValidationResult
from modeltune.histories import (
    TEST_PART,
    Ledger,
    Store,
    baselines,
    drop,
    export_files_in,
    is_shared,
    keep,
    left_runs,
    name_of_export,
    names_of,
    pending,
)
from modeltune.judgement import (
    Strictness,
    check_cautions,
    check_reads,
    not_measured,
    silence,
    status_of,
)
from modeltune.records import (
    ARCHITECTURE,
    EXAMPLES,
    Artifact,
    Best,
    Caution,
    Durations,
    Event,
    ExportResult,
    Json,
    Listener,
    Note,
    Run,
    RunRecorded,
    RunStatus,
    Verdict,
    from_json,
    plain,
    to_json,
)
from modeltune.specs import Direction, Spec, fingerprints

if TYPE_CHECKING:
    from modeltune.records import Samples


@contextlib.contextmanager
def recorded_at_end(
    run_id: str, spec: Spec, history: Store, listen: Listener
) -> Iterator[RunDraft]:
    """Lend a draft, and record the run at the end: as it was judged, or as what ended it early.

    Raises:
        HistoryError: the run could not be recorded. An error or interrupt that ended the
            run is raised instead, with a note that says so.
    """
    draft = RunDraft(first_draft(run_id, spec), spec, history, listen)
    try:
        yield draft
    except BaseException as error:
        plainer = _plainer(error, history)
        draft.fail(plainer or error)
        try:
            draft.record()
        except HistoryError as unrecorded:
            # What ended the run, an interrupt above all, is not to be hidden by this.
            text = f"this run could not be recorded: {unrecorded}"
            _unfailing(listen)(Note(text))
            for note in (text, *unrecorded.__notes__):
                (plainer or error).add_note(note)
        if plainer is not None:
            raise plainer from error
        raise
    draft.record()


def _plainer(error: BaseException, history: Store) -> HistoryError | None:
    """Return what to raise for an error that the disk is to blame for; None for any other.

    A library that writes for us, such as h5py, says it in its own way and with its own traceback.
    """
    if isinstance(error, HistoryError) or not isinstance(error, Exception):
        return None
    if is_disk_full(error):
        line = next(
            (line for line in message_of(error).splitlines() if says_disk_full(line)),
            error_line(error),
        )
        return no_space(line.strip(), history.folder)
    return None


def first_draft(run_id: str, spec: Spec) -> Run:
    """Return the record of a run of which nothing but its declaration is known."""
    verb = "maximize" if spec.search.objective.direction is Direction.MAX else "minimize"
    return Run(
        id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=spec.id,
        file=spec.file,
        status=RunStatus.ERROR,
        objective=f"{verb} {spec.search.objective.metric}",
        search=_declaration(spec.search),
        fit=_declaration(spec.fit),
        validation=_declaration(spec.validation),
        fingerprints=fingerprints(spec),
    )


class RunDraft:
    """A run as far as it has come: ``run`` is its record if it ended now.

    ``progress`` holds the trials that have finished; they become part of ``run`` when it is
    recorded.
    """

    def __init__(self, run: Run, spec: Spec, history: Store, listen: Listener):
        self.run = run
        self.progress = SearchProgress()
        self._spec = spec
        self._history = history
        self._tell = listen
        self._seconds: dict[str, float] = {}
        self._cautions: list[Caution] = []
        self._cautions_of_refits: Sequence[Caution] = ()

    def add_environment(self, environment: Mapping[str, Json]) -> None:
        """Add what numbers depend on besides the spec."""
        self.run = replace(self.run, environment=environment)

    def add_data(self, description: Mapping[str, Json], prints: Mapping[str, str]) -> None:
        """Add what the data are."""
        all_prints = {**self.run.fingerprints, **prints}
        self.run = replace(self.run, data=description, fingerprints=all_prints)

    def add_reads(self, limit: int | None) -> None:
        """Add how many runs were judged on the test part, this one included; warn beyond the limit."""
        if (part := self.run.fingerprints.get(TEST_PART)) is None:
            return
        try:
            reads = self._history.reads_of(TEST_PART, part) + 1
        except HistoryError as error:
            self.note(f"how many verdicts the test part has given is not known: {error}")
            return
        self.run = replace(self.run, data={**self.run.data, "test_reads": reads})
        self.add_checks(check_reads(reads, limit))

    def add_models(self, spec: Spec, prints: Mapping[str, str]) -> None:
        """Add which models are given, and how many."""
        all_prints = {**self.run.fingerprints, **prints}
        validation = _declaration(spec.validation)
        self.run = replace(self.run, fingerprints=all_prints, validation=validation)

    def add_best(self, best: Best) -> None:
        """Add the winner of the search."""
        self.run = replace(self.run, best=best)

    def add_choice(self, record: Mapping[str, Json]) -> None:
        """Add whether the average of the best trials was chosen, and why."""
        validation = {**self.run.validation, "ensemble_choice": plain(record)}
        self.run = replace(self.run, validation=validation)

    def add_validation(self, result: ValidationResult) -> None:
        """Add what validation measured, how the tuned model is built, and the checks on it."""
        environment = dict(self.run.environment)
        if policy := result.model.get("dtype_policy"):
            # A build may set another one than the spec, for all layers or for some.
            environment["dtype_policy"] = policy
        self.run = replace(
            self.run,
            environment=environment,
            scores=result.scores,
            task_report=result.tables,
            model=result.model,
            validation={**self.run.validation, "refits": list(result.refits)},
        )
        self.add_checks(result.checks)
        self._cautions_of_refits = result.cautions

    def add_checks(self, checks: Sequence[Verdict]) -> None:
        """Add verdicts on the data or the model that no gate asks for, as far as they are not silenced."""
        told = silence(checks, self._spec.checks.silenced)
        self.run = replace(self.run, checks=(*self.run.checks, *told))

    def add_cautions(self, cautions: Sequence[Caution]) -> None:
        """Tell what is to be warned of before anything is trained; the record has it as checks."""
        for caution in cautions:
            if caution.check in self._spec.checks.silenced:
                continue
            self._tell(Note(f"{caution.check}: {caution.text}"))
        self._cautions += cautions

    def add_judgement(self, judgement: Judgement, strictness: Strictness) -> None:
        """Add the verdicts of the gates, and whether the run is green."""
        self.run = replace(
            self.run,
            verdicts=judgement.verdicts,
            baseline=judgement.baseline,
            advice=judgement.advice,
            status=status_of(judgement.verdicts, strictness, self.run.checks),
            strict=strictness.is_strict,
        )

    def keep(
        self,
        weights: Path,
        samples: Samples | None,
        exports: Mapping[str, ExportResult] = MappingProxyType({}),
    ) -> None:
        """Copy the validated model beside the history, before the row that names its files."""
        folder = self._history.folder
        weights_name, architecture_name, samples_name, examples_name = names_of(self.run.id)
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
            from modeltune.records import LARGEST_UNPACKED, pack_samples

            if samples.memory > LARGEST_UNPACKED:
                size = f"{samples.memory / 2**30:.1f} GiB"
                self.note(
                    f"what it predicts on each test sample is not kept: it takes {size}, more than "
                    f"the {LARGEST_UNPACKED >> 30} that are read again"
                )
                samples = None
        if samples is not None:
            text = json.dumps(pack_samples(samples), allow_nan=False)
            files["samples"] = keep(
                folder, samples_name, lambda path: path.write_text(text, encoding="utf-8")
            )
        for export, result in exports.items():
            files |= self._kept_export(export, result, samples is not None)
        self.run = replace(self.run, artifact=kept, files=files)

    def _kept_export(
        self, name: str, result: ExportResult, with_samples: bool
    ) -> dict[str, Artifact]:
        """Copy the file of an export, and write what it predicts on each test sample."""
        folder, run = self._history.folder, self.run.id
        files: dict[str, Artifact] = {}
        if result.file is not None:
            target = name_of_export(run, name, result.file.suffix)
            files[f"export-{name}"] = keep(folder, target, partial(shutil.copyfile, result.file))
        if result.samples is not None and with_samples:
            text = json.dumps(result.samples, allow_nan=False)
            target = name_of_export(run, name, ".samples.json")
            files[f"export-{name}-samples"] = keep(
                folder, target, lambda path: path.write_text(text, encoding="utf-8")
            )
        return files

    def listen(self, event: Event) -> None:
        """Pass an event on; notes stay with the run."""
        if isinstance(event, Note):
            self.run = replace(self.run, notes=(*self.run.notes, event.text))
        self._tell(event)

    def note(self, text: str) -> None:
        """Tell the user something, and keep it with the run."""
        self.listen(Note(text))

    @contextlib.contextmanager
    def phase(self, name: str, spent: float = 0.0) -> Iterator[None]:
        """Measure the seconds of a phase, also of one that is cut short; some may be ``spent``."""
        started = monotonic()
        try:
            yield
        finally:
            self._seconds[name] = spent + monotonic() - started

    def fail(self, error: BaseException) -> None:
        """Record why the run ended early; every gate says that it was not measured."""
        is_interrupt = not isinstance(error, Exception | SystemExit)
        # What was trained is not lost with the history: its ledger stays, as after an interrupt.
        resumes = is_interrupt or isinstance(error, HistoryError)
        text = message_of(error) if isinstance(error, ModeltuneError) else error_text(error)
        self._tell = _unfailing(self._tell)
        if resumes:
            self.note("interrupted: the same command resumes after the trials that have finished")
        elif self.progress.trials and not isinstance(error, NoTrialError):
            self.note("the same command resumes after the trials that have finished")
        reason = "interrupted" if is_interrupt else first_line(text)
        self.run = replace(
            self.run,
            status=RunStatus.INTERRUPTED if resumes else RunStatus.ERROR,
            error=text,
            verdicts=not_measured(self._spec.gates, reason),
        )

    def record(self) -> None:
        """Record the run as known now, with the trials found so far.

        Raises:
            HistoryError: it is not recorded; a note says where it waits to be, if it can ever be.
        """
        cut_short = self.progress.cut_short
        cautions = (*self._cautions, *self.progress.all_cautions, *self._cautions_of_refits)
        run = self.run = replace(
            self.run,
            checks=(
                *self.run.checks,
                *silence(check_cautions(cautions), self._spec.checks.silenced),
            ),
            trials=tuple(self.progress.trials),
            search={**self.run.search, **({"cut_short": cut_short} if cut_short else {})},
            durations=Durations(**self._seconds),
        )
        try:
            self._history.record(run)
        except HistoryError as error:
            text = self._not_recorded(run, error)
            error.add_note(text)
            self._tell(Note(text))
            raise
        self._tell(RunRecorded(run))

    def _not_recorded(self, run: Run, error: HistoryError) -> str:
        """Keep a run that may be recorded later, and say in a line where it waits and for what."""
        named = f"run {run.id} of {run.spec} ({run.status.value}) is not recorded"
        if isinstance(error, UnrecordableError):
            return (
                f"{named} and never can be, so it does not wait either; mend what has no place in a "
                "record, and run its spec again"
            )
        try:
            path = pending.spool(self._history, run)
        except HistoryError as unkept:
            return f"{named}, and could not be kept to be recorded later: {unkept}"
        command = pending.flush_command(self._history.identity)
        return f"{named}, but waits in {path}; to record it: {command}"


def _unfailing(listen: Listener) -> Listener:
    """Return a listener that survives what it raises, such as one that prints to a closed terminal."""

    def tell(event: Event) -> None:
        with contextlib.suppress(Exception):
            listen(event)

    return tell


def keep_beginning(ledger: Ledger, draft: RunDraft, spec: Spec, history: Store) -> None:
    """Keep with the ledger what is known of a run whose search begins; see ``record_crashed``."""
    verdicts = not_measured(spec.gates, "the run ended before it was recorded")
    begun = replace(draft.run, status=RunStatus.CRASHED, verdicts=verdicts)
    ledger.put(f"run {begun.id}", {"history": history.identity, "run": to_json(begun)})


def record_crashed(history: Store, listen: Listener) -> None:
    """Record the runs that ended unrecorded, as when they are killed, by what their ledgers keep of them.

    They stay to be resumed. Whoever wrote into the scratch folder wrote these records: one that is
    no record of a run that crashed is left alone.
    """
    left = list(left_runs(history.folder / "scratch"))
    if not left:
        return
    waiting = {path.stem for path in pending.waiting(history.folder)}
    ended = waiting | history.known([run.id for run in left]).keys()
    for one in left:
        if one.id in ended:
            continue
        try:
            if one.begun["history"] != history.identity:
                continue
            run = from_json(one.begun["run"])
        except (ModeltuneError, KeyError, TypeError, ValueError, AttributeError):
            continue
        if run.id != one.id or run.status is not RunStatus.CRASHED:
            continue
        kept = f"{count_of(one.trials, 'finished trial')} {'is' if one.trials == 1 else 'are'} kept"
        # Killed, most likely; but no history, and no waiting file, could be written either.
        error = f"it ended before it could be recorded, as a run that is killed; {kept}"
        run = replace(run, error=error, artifact=None, files={}, scores={}, trials=(), best=None)
        try:
            history.record(run)
        except HistoryError as unrecorded:
            listen(Note(f"run {run.id} of {run.spec} crashed and is not recorded: {unrecorded}"))
        else:
            listen(Note(f"run {run.id} of {run.spec} is recorded as crashed: {error}"))


def drop_lost(history: Store, runs: Sequence[str], specs: Path) -> None:
    """Remove the files of those runs that were killed between their files and their row.

    Args:
        history: where they would be recorded. While others keep files beside it, none is removed.
        runs: the runs that a ledger names, which anybody may have written.
        specs: the folder of the spec file, whose baselines may name runs that are recorded nowhere.
    """
    if not runs or is_shared(history):
        return
    # Before the history: a flush records a run first, and then it waits no more.
    kept = {path.stem for path in pending.waiting(history.folder)}
    known = history.known(runs).items()
    # Nothing of a crashed run is named by its record.
    kept |= {run for run, status in known if status is not RunStatus.CRASHED}
    kept |= set().union(*baselines.run_ids_in(specs))
    for run in runs:
        if run not in kept:
            for name in (*names_of(run), *export_files_in(history.folder, run)):
                drop(history.folder, name)


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
