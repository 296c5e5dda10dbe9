"""The story of a run: load, search, validate, judge, record."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

# TensorFlow logs its view of the machine to stderr when it is imported, below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modeltune.config import default_store
from modeltune.dry_run import dry_run
from modeltune.environments import environment
from modeltune.errors import HistoryError
from modeltune.events import Event, Listener, Note
from modeltune.executors.inline import Inline
from modeltune.histories.store import Store, open_store
from modeltune.judging import judge, status_of
from modeltune.ledgers import Ledgers
from modeltune.loading import load
from modeltune.oracles import Oracle
from modeltune.recording import recording
from modeltune.reports.progress import lines
from modeltune.resuming import TRIALS, Resuming, refits_of
from modeltune.runs import Run, RunStatus
from modeltune.searching import search
from modeltune.sources import identity
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
        _ledgers(history.folder / "scratch", run_id if keep_trials else None) as ledgers,
        recording(run_id, spec, history, listen or _print) as record,
    ):
        record.set(environment=environment(Path(spec.file).parent, spec.fit.dtype_policy))
        with record.phase("data"):
            loaded = load(spec, fixtures)
        record.loaded(loaded.description, loaded.fingerprints)
        ledger, said = ledgers.begin(
            spec.id, identity(spec) | loaded.fingerprints, run_id, partial(_is_ended, history)
        )
        if said:
            record.listen(Note(said))
        features = history.folder / "features"

        with record.phase("search"):
            oracle = Oracle(spec.search, ledger.folder)
            if failure := dry_run(spec, loaded, oracle):
                record.listen(Note(f"the default candidate does not train: {failure.reason}"))
            # The test part stays here.
            parts = loaded.train, loaded.validation
            training = Inline(partial(train_trial, spec, *parts, features=features))
            trials = Resuming(training, ledger, TRIALS)
            best = search(spec, oracle, trials, ledger.folder, record.listen, record.found)
        record.set(best=best)

        with record.phase("validation"):
            refits = Resuming(
                Inline(partial(refit, spec, loaded, features=features)), ledger, refits_of(spec)
            )
            winner, weights = oracle.space_at(best.values), ledger.folder / "refit.weights.h5"
            validated = validate(spec, winner, refits, weights, record.listen)
        record.validated(validated.scores, validated.tables, validated.refits)

        verdicts = judge(spec.gates, validated.scores, spec.id)
        if not spec.gates:
            record.listen(Note("no gates declared: nothing was demanded of this model"))
        record.keep(weights)
        record.set(verdicts=verdicts, status=status_of(verdicts, strict))
    return record.run


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


def _is_ended(history: Store, run_id: str) -> bool:
    """Tell whether a run is in the history, and not as an interrupted one."""
    try:
        return history.run(run_id).status is not RunStatus.INTERRUPTED
    except HistoryError:
        return False


def _print(event: Event) -> None:
    for line in lines(event):
        sys.stderr.write(f"{line}\n")
