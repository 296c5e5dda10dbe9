"""The story of a run: load, search, validate, judge, record."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

# TensorFlow logs its view of the machine to stderr when it is imported, below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modeltune.config import default_store
from modeltune.dry_run import dry_run
from modeltune.environments import environment
from modeltune.events import Event, Listener, Note
from modeltune.executors.inline import Inline
from modeltune.histories.store import open_store
from modeltune.judging import judge, status_of
from modeltune.loading import load
from modeltune.oracles import Oracle
from modeltune.recording import recording
from modeltune.reports.progress import lines
from modeltune.runs import Run
from modeltune.searching import search
from modeltune.specs import Spec
from modeltune.training import train_trial
from modeltune.validating import refit, validate


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
    run_id = secrets.token_hex(8)
    with (
        open_store(store or default_store()) as history,
        _scratch(history.folder / "scratch" / run_id, keep_trials) as scratch,
        recording(run_id, spec, history, listen or _print) as record,
    ):
        record.set(environment=environment(Path(spec.file).parent, spec.fit.dtype_policy))
        with record.phase("data"):
            loaded = load(spec, fixtures)
        record.loaded(loaded.description, loaded.fingerprints)

        with record.phase("search"):
            oracle = Oracle(spec.search, scratch)
            if failure := dry_run(spec, loaded, oracle):
                record.listen(Note(f"the default candidate does not train: {failure.reason}"))
            # The test part stays here.
            trials = Inline(partial(train_trial, spec, loaded.train, loaded.validation))
            best = search(spec, oracle, trials, scratch, record.listen, record.found)
        record.set(best=best)

        with record.phase("validation"):
            refits = Inline(partial(refit, spec, loaded))
            winner, weights = oracle.space_at(best.values), scratch / "refit.weights.h5"
            validated = validate(spec, winner, refits, weights, record.listen)
        record.validated(validated.scores, validated.tables, validated.refits)

        verdicts = judge(spec.gates, validated.scores, spec.id)
        if not spec.gates:
            record.listen(Note("no gates declared: nothing was demanded of this model"))
        record.keep(weights)
        record.set(verdicts=verdicts, status=status_of(verdicts, strict))
    return record.run


@contextlib.contextmanager
def _scratch(folder: Path, keep_trials: bool) -> Iterator[Path]:
    """Lend a folder for what a search writes; it goes once the run is recorded."""
    try:
        yield folder
    finally:
        if not keep_trials:
            shutil.rmtree(folder, ignore_errors=True)


def _print(event: Event) -> None:
    for line in lines(event):
        sys.stderr.write(f"{line}\n")
