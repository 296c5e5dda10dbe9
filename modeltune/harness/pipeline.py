"""The story of a run: load, search, validate, judge, record."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from modeltune.engine import quietly
from modeltune.ground import Deadline, HistoryError, default_store, require_supported_system
from modeltune.harness.cached_runs import reused
from modeltune.harness.conclusion import check_search, conclude, refuse
from modeltune.harness.executors import Executor
from modeltune.harness.recording import recording
from modeltune.harness.resuming import TRIALS, Resuming, refits_of
from modeltune.harness.search import search
from modeltune.harness.trackers import tensorboard
from modeltune.harness.validation import validate
from modeltune.histories import Accept, Ledgers, baselines, open_store, samples_of
from modeltune.judgement import Strictness
from modeltune.records import BaselineAccepted, Event, Listener, Note, Run, RunRecorded
from modeltune.reports import lines
from modeltune.specs import Spec, search_identity


def run(
    spec: Spec,
    *,
    fixtures: Mapping[str, object] | None = None,
    store: str | None = None,
    strict: bool = False,
    keep_trials: bool = False,
    workers: int | str = 0,
    deadline: Deadline = Deadline(),
    reuse: bool = False,
    rejudge: bool | str = False,
    accept: Accept | None = None,
    listen: Listener | None = None,
) -> Run:
    """Search, validate and judge a spec as its test item would, and record the run.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        store: where to record, as a database URL; default: as ``--modeltune-store``.
        strict: gates that cannot be decided (no baseline, inconclusive) are red too.
        keep_trials: keep the search's scratch folder.
        workers: how many processes train, "auto" as many as keep the cores busy; 0: this one.
        deadline: when the search has to make room for the validation.
        reuse: return the recorded run of an unchanged spec and its data, judged by today's
            gates and marked ``cached``, instead of another run.
        rejudge: the same, but never train: True for the latest run, or a run's id.
        accept: make the run the baseline of its spec when it may be.
        listen: called with every event; default: print progress lines to stderr.

    Returns:
        The recorded run; look at ``run.passed``, ``run.scores`` and ``run.verdicts``.

    Raises:
        SpecError, DataError, SearchError: what keeps the spec from being judged; the
            attempt is recorded with status "error" first.
        HistoryError: the run could not be recorded. A finished one waits in
            ``.modeltune/pending`` until ``modeltune flush`` records it.
    """
    require_supported_system()
    run_id, listen = secrets.token_hex(8), listen or _print
    replaces = accept is not None and not accept.only_new
    is_kept = replaces or (accept is not None and baselines.find(spec) is None)
    strictness = Strictness(strict, is_kept, is_other_allowed=replaces)
    if reuse or rejudge:
        found = _recorded(spec, fixtures, store, strictness, rejudge)
        if isinstance(found, Run):
            listen(RunRecorded(found))
            _accepted(found, spec, store, accept, listen)
            return found
        if rejudge:
            raise HistoryError(f"{spec.id}: no recorded run is judged anew: {found}")
        listen(Note(f"not served from the history: {found}"))
    with (
        open_store(store or default_store()) as history,
        _ledgers(history.folder / "scratch", run_id if keep_trials else None) as ledgers,
        recording(run_id, spec, history, listen) as record,
        lend_engine(spec, fixtures or {}, workers, history.folder, listen) as (
            engine,
            executor,
            said,
        ),
    ):
        if said:
            record.listen(Note(said))
        record.set(environment=engine.environment())
        with record.phase("data"):
            description, fingerprints = engine.load()
            record.loaded(description, fingerprints)
            record.checked(checks := engine.check())
        refuse(spec.id, checks)
        shown = tensorboard.run_folder(history.folder, spec.id, run_id)
        told: Listener = record.listen
        if spec.fit.tensorboard:
            told = tensorboard.following(record.listen, shown)
        ledger, said = ledgers.begin(
            spec.id, search_identity(spec) | fingerprints, run_id, history.ended
        )
        if said:
            record.listen(Note(said))
        record.drop_lost(ledger.get("runs")[:-1])

        with record.phase("search"):
            if failure := engine.begin(ledger.folder):
                record.listen(Note(f"the default candidate does not train: {failure.reason}"))
            trials = Resuming(executor, ledger, TRIALS)
            best = search(spec, engine, trials, ledger.folder, told, record.found, deadline)
        record.set(best=best)

        with record.phase("validation"):
            refits = Resuming(executor, ledger, refits_of(spec))
            winner, weights = engine.space_at(best.values), ledger.folder / "refit.weights.h5"
            validated_by = partial(validate, spec, winner, refits, weights, record.listen)
            end = conclude(
                spec,
                validated_by,
                history,
                fingerprints,
                engine,
                winner,
                weights,
                run_id,
                record.listen,
            )
        validated = end.validated
        record.validated(validated.scores, validated.tables, validated.refits, validated.model)
        if spec.fit.tensorboard:
            tensorboard.write_refits(shown, validated.refits, record.listen)
        record.checked(validated.checks)
        record.checked(
            check_search(
                spec,
                best,
                winner,
                record.found.trials,
                validated,
                description["samples"]["validation"],
            )
        )
        if not spec.gates:
            record.listen(Note("no gates declared: nothing was demanded of this model"))
        record.keep(weights, validated.samples)
        record.judged(end.judged, strictness)
    _accepted(record.run, spec, store, accept, listen)
    return record.run


def _recorded(
    spec: Spec,
    fixtures: Mapping[str, object] | None,
    store: str | None,
    strictness: Strictness,
    rejudge: bool | str,
) -> Run | str:
    """Return the recorded run that this one would repeat, or why there is none."""
    from modeltune.engine import load_data

    try:
        prints = load_data(spec, fixtures).fingerprints
    except Exception as error:  # noqa: BLE001  the run that follows meets and records it
        return f"its data do not load: {type(error).__name__}"
    with open_store(store or default_store()) as history:
        return reused(spec, history, prints, strictness, rejudge)


def _accepted(
    run: Run, spec: Spec, store: str | None, accept: Accept | None, listen: Listener
) -> None:
    """Make the run the baseline of its spec, as far as that was asked for and it may be."""
    present = baselines.find(spec)
    if accept is None or (accept.only_new and present is not None):
        return
    if reason := baselines.refusal(run):
        lines = [f"not accepted: run {run.id} of {run.spec}: {reason}"]
    else:
        with open_store(store or default_store()) as history:
            lines = baselines.accept(
                run, samples_of(run, history), spec.file, why=accept.why, before=present
            )
    listen(BaselineAccepted(tuple(lines)))


@contextlib.contextmanager
def lend_engine(
    spec: Spec,
    fixtures: Mapping[str, object],
    workers: int | str,
    folder: Path,
    listen: Listener,
) -> Iterator[tuple[Any, Executor[Any, Any], str | None]]:
    """Lend the engine and what trains, in other processes or this; say why when it is not as asked."""
    features, said = folder / "features", None
    if workers != 0:
        from modeltune.harness.executors import NotPortableError, auto, process_executor

        slots = auto(spec.fit.threads) if workers == "auto" else int(workers)
        with contextlib.ExitStack() as stack:
            try:
                engine, executor = stack.enter_context(
                    process_executor(spec, fixtures, features, slots, folder / "scratch", listen)
                )
            except NotPortableError as error:
                said = f"trained in this process: {error}"
            else:
                yield engine, executor, None
                return
    from modeltune.harness.executors import Inline

    with quietly():
        from modeltune.engine import Engine

    if spec.search.trial_minutes or spec.search.trial_gigabytes:
        limits = "trial_minutes and trial_gigabytes are not enforced in one process"
        said = f"{said}; {limits}" if said else limits
    own = Engine(spec, fixtures, features)
    yield own, Inline(own.perform, listen), said


@contextlib.contextmanager
def _ledgers(folder: Path, keep_as: str | None) -> Iterator[Ledgers]:
    """Lend the ledgers; that of a recorded run goes, that of an interrupted one stays to go on."""
    ledgers, drop = Ledgers(folder), True
    try:
        yield ledgers
    except HistoryError:
        # Trained, but not recorded: the next attempt only needs to record.
        drop = False
        raise
    except BaseException as error:
        drop = isinstance(error, Exception)
        raise
    finally:
        ledgers.close(keep_as, drop)


def _print(event: Event) -> None:
    for line in lines(event):
        sys.stderr.write(f"{line}\n")
