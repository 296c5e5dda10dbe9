"""The story of a run: load, search, validate, judge, record."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from modeltune.ground import (
    Deadline,
    HistoryError,
    Project,
    SpecError,
    StoreUrl,
    ending_signals_interrupt,
    kernel,
    named_store,
    project_of,
    require_supported_system,
)
from modeltune.harness.acceptance import accept_if_asked, strictness_of
from modeltune.harness.cached_runs import Lookup, given_prints, look_up
from modeltune.harness.conclusion import RunInProgress, check_search, conclude, refuse
from modeltune.harness.engines import lend_engine
from modeltune.harness.ensembles import choose_model
from modeltune.harness.explanations import explain, metadata_columns, show_worse_samples
from modeltune.harness.exports import require_runtimes
from modeltune.harness.power_preview import regression_gates, tell_power
from modeltune.harness.recording import (
    drop_lost,
    keep_beginning,
    record_crashed,
    recorded_at_end,
)
from modeltune.harness.resuming import (
    ResumingExecutor,
    lend_ledgers,
    refit_notation,
    trial_notation,
)
from modeltune.harness.run_differences import (
    note_on_baseline_of_other_backend,
    note_on_random_values,
)
from modeltune.harness.search import Tuner, search
from modeltune.harness.trackers import tensorboard
from modeltune.harness.validation import NO_SPACE, TunedModel, ValidationResult, validate
from modeltune.histories import Acceptance, open_store
from modeltune.records import (
    Best,
    Event,
    Family,
    Listener,
    Note,
    PreparationFinished,
    Run,
    RunRecorded,
    SearchStarted,
)
from modeltune.reports import lines
from modeltune.specs import (
    Refit,
    Spec,
    Validation,
    identity_assumptions,
    search_identity,
    silence_problems,
)


def run(
    spec: Spec,
    *,
    fixtures: Mapping[str, object] | None = None,
    store: str | StoreUrl | None = None,
    strict: bool = False,
    keep_trials: bool = False,
    workers: int | str = 0,
    deadline: Deadline = Deadline(),
    reuse: bool = False,
    rejudge: bool | str = False,
    accept: Acceptance | None = None,
    family: Family | None = None,
    listen: Listener | None = None,
) -> Run:
    """Search, validate and judge a spec as its test item would, and record the run.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        store: where to record, as a database URL; default: MODELTUNE_STORE, else as the nearest
            ``[tool.modeltune]`` above the spec's file says, else ``.modeltune/history.db`` there.
        strict: gates that cannot be decided (no baseline, inconclusive) are red too.
        keep_trials: keep the search's scratch folder.
        workers: how many processes train, "auto" as many as keep the cores busy; 0: this one.
        deadline: when the search has to make room for the validation.
        reuse: return the recorded run of an unchanged spec and its data, judged by today's
            gates and marked ``cached``, instead of another run.
        rejudge: the same, but never train: True for the latest run, or a run's id.
        accept: make the run the baseline of its spec when it may be.
        family: the specs whose comparisons share one error rate with those of this one.
        listen: called with every event; default: print progress lines to stderr, in a notebook keep
            one line in the cell's output up to date.

    Returns:
        The recorded run; look at ``run.passed``, ``run.scores`` and ``run.verdicts``.

    Raises:
        SpecError, DataError, SearchError: what keeps the spec from being judged; the
            attempt is recorded with status "error" first.
        HistoryError: the run could not be recorded. A finished one waits in
            ``.modeltune/pending`` until ``modeltune flush`` records it.
    """
    require_supported_system()
    store = named_store(store) if store else None
    project = project_of(Path(spec.file).parent, Path.cwd())
    store = store or project.store()
    if project.config.examples is False and spec.examples:
        spec = spec.with_fields(examples=False)
    spec = with_checks_off(spec, project)
    run_id, fixtures = secrets.token_hex(8), fixtures or {}
    listen, lookup = listen or _listener(spec), Lookup()
    strictness = strictness_of(spec, strict, accept)
    if reuse or rejudge:
        is_apart = workers != 0
        lookup = look_up(
            spec, fixtures, store, strictness, rejudge, deadline, listen, is_apart, family
        )
        if lookup.run is not None:
            listen(RunRecorded(lookup.run))
            if accept is not None and not accept.later:
                accept_if_asked(lookup.run, spec, store, accept, listen)
            return lookup.run
        if rejudge:
            raise HistoryError(f"{spec.id}: no recorded run was re-judged: {lookup.reason}")
        listen(Note(f"no recorded run was reused: {lookup.reason}"))
    with (
        ending_signals_interrupt(),
        open_store(store) as history,
        lend_ledgers(history.folder / "scratch", run_id if keep_trials else None) as ledgers,
        recorded_at_end(run_id, spec, history, listen) as draft,
        lend_engine(spec, fixtures, workers, history.folder, draft.listen, deadline) as (
            engine,
            executor,
        ),
    ):
        record_crashed(history, draft.listen)
        require_runtimes(spec)
        draft.add_environment(engine.environment())
        for note in (known := engine.notes()):
            draft.note(note)
        for assumption in identity_assumptions(spec):
            draft.note(f"identity of the code: {assumption}")
        if note := note_on_random_values(spec, engine.identity(), history):
            draft.note(note)
        with draft.phase("data", spent=lookup.seconds):
            description, fingerprints = engine.load(lookup.data)
            del lookup  # The engine has its data; another copy would take memory all the run.
            draft.add_data(description, fingerprints)
            draft.add_reads(project.config.test_reads)
            if (prepared := description.get("prepared")) is not None:
                draft.listen(PreparationFinished(spec.id, **prepared))
            for note in engine.notes()[len(known) :]:
                draft.note(note)
            draft.add_checks(engine.check())
        refuse(spec.id, draft.run.checks)
        if regression_gates(spec) and spec.most_rows is None:
            draft.add_checks(
                tell_power(spec, engine.scored_rows(), history, fingerprints, draft.note)
            )
        if spec.is_given:
            given = engine.identify()
            spec = spec.with_models(len(given.digests))
            fingerprints |= given_prints(given)
            draft.add_models(spec, fingerprints)
            for note in given.notes:
                draft.note(note)
            draft.add_cautions(given.cautions)

        identity = search_identity(spec) | fingerprints
        ledger, note = ledgers.begin(spec.id, identity, run_id, history.ended)
        if note:
            draft.note(note)
        keep_beginning(ledger, draft, spec, history)
        drop_lost(history, ledger.get("runs")[:-1], Path(spec.file).parent)
        with draft.phase("search"):
            board = tensorboard.folder_of(spec, history.folder, run_id)
            hear = tensorboard.following(draft.listen, board)
            has_epochs = True
            if not spec.is_given:
                rehearsed = engine.begin(ledger.folder)
                if rehearsed.failure is not None:
                    draft.note(f"the default candidate does not train: {rehearsed.failure.reason}")
                draft.add_cautions(rehearsed.cautions)
                has_epochs = rehearsed.has_epochs
            if spec.is_searched:
                trials = ResumingExecutor(executor, ledger, trial_notation(spec), draft.note)
                tuner = Tuner(engine, trials, ledger.folder)
                best = search(spec, tuner, hear, draft.progress, deadline)
            else:
                hear(SearchStarted(spec.id, spec.search))
                best = Best(None, None, {} if spec.is_given else engine.default_values())
        draft.add_best(best)

        with draft.phase("validation"):
            weights = ledger.folder / "refit.weights.h5"
            space = NO_SPACE if spec.is_given else engine.space_at(best.values)
            tuned = TunedModel(best, space, weights, has_epochs)
            refits = ResumingExecutor(executor, ledger, refit_notation(spec), draft.note)
            told: tuple[Refit, ...] = ()
            if spec.validation.ensemble is not None:
                tried = draft.progress.trials
                choice = choose_model(spec, tuned, tried, engine.space_at, refits, draft.listen)
                tuned, told = choice.tuned, spec.validation.refits()
                draft.add_choice(choice.record)

            def validator(
                validation: Validation, known: Collection[Refit] = ()
            ) -> ValidationResult:
                return validate(spec, tuned, refits, draft.listen, validation, known or told)

            this_run = RunInProgress(
                *(run_id, spec, draft.run.fingerprints, history, draft.listen),
                class_names=description.get("class_names"),
                family=family,
            )
            conclusion = conclude(this_run, tuned, engine, validator)
        for line in history.invalid.values():
            draft.note(line)
        validation = conclusion.validation
        draft.add_validation(validation)
        tensorboard.write_refits(board, validation.refits, draft.listen)
        rows = description["samples"].get("validation", 0)
        draft.add_checks(check_search(spec, tuned, draft.progress.trials, validation, rows))
        if not spec.gates:
            draft.note("no gates declared: nothing was demanded of this model")
        verdicts = explain(
            conclusion.judgement.verdicts,
            *(spec, draft.run, conclusion.measured, conclusion.past, history, strictness),
            columns=metadata_columns(engine, draft.note),
        )
        if spec.examples:
            show_worse_samples(verdicts, tuned.weights, engine, draft.note)
        draft.keep(tuned.weights, validation.samples, conclusion.exports)
        draft.add_judgement(replace(conclusion.judgement, verdicts=verdicts), strictness)
        if note := note_on_baseline_of_other_backend(spec, draft.run):
            draft.note(note)
    if accept is not None and not accept.later:
        accept_if_asked(draft.run, spec, store, accept, listen)
    return draft.run


def with_checks_off(spec: Spec, project: Project) -> Spec:
    """Return a spec with the checks silenced that the settings of its project name.

    Raises:
        SpecError: they name no check, or one that cannot be silenced.
    """
    off = project.config.checks_off
    if off is None:
        return spec
    if problems := list(silence_problems(off)):
        raise SpecError(
            f"{project.root / 'pyproject.toml'}: [tool.modeltune] checks_off: {'; '.join(problems)}"
        )
    return spec.with_fields(checks=replace(spec.checks, off=(*spec.checks.off, *off)))


def _listener(spec: Spec) -> Listener:
    """Return what shows progress where nobody else listens."""
    if kernel() is None:
        return _print
    from modeltune.harness.notebook_line import NotebookLine

    return NotebookLine(spec.id)


def _print(event: Event) -> None:
    for line in lines(event):
        sys.stderr.write(f"{line}\n")
