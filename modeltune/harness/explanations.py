"""Explain red comparisons with recorded runs: what changed since, where it got worse, on which samples."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune.ground import HistoryError, first_line
from modeltune.harness.run_differences import changes_since
from modeltune.histories import Store, baselines
from modeltune.judgement import Measurements, Strictness
from modeltune.records import (
    EXAMPLES,
    Best,
    Change,
    Drop,
    MetricFacts,
    Outcome,
    Past,
    References,
    Run,
    RunStatus,
    Verdict,
)
from modeltune.specs import Gate, Reference, Source, Spec

if TYPE_CHECKING:
    from modeltune.records import Groups

MOST_SHOWN = 100_000
"""Bytes that the samples which got worse take in a run's file of examples."""


def explain(
    verdicts: Sequence[Verdict],
    spec: Spec,
    run: Run,
    measured: Measurements,
    past: References,
    history: Store,
    strictness: Strictness,
    columns: Callable[[], Mapping[str, Groups]] = dict,
) -> tuple[Verdict, ...]:
    """Return the verdicts, each red or warned comparison with a recorded run with what explains it.

    Args:
        verdicts: on the gates of the spec, in their order.
        spec: as it is today.
        run: as far as it is known.
        measured: by it.
        past: the runs that bounds name.
        history: where they may be recorded whole.
        strictness: which outcomes are red.
        columns: returns what else is known of each test sample, by column.
    """
    changes: dict[str, tuple[tuple[Change, ...], tuple[str, ...]]] = {}
    explained = []
    for place, verdict in enumerate(verdicts):
        gate = spec.gates[place] if place < len(spec.gates) else None
        compared = _compared(gate, verdict, past) if isinstance(gate, Gate) else None
        is_told = strictness.is_red(verdict) or verdict.outcome is Outcome.WARNED
        if compared is None or not is_told or verdict.outcome is Outcome.NO_BASELINE:
            explained.append(verdict)
            continue
        if compared.run not in changes:
            changes[compared.run] = _changes(compared, spec, run, history)
        drop = Drop(compared.run, compared.label, *changes[compared.run])
        if compared.problem is None:
            from modeltune.judgement import with_parts_and_samples  # NumPy, which few verdicts need

            drop = with_parts_and_samples(drop, verdict, measured, compared, columns())
        explained.append(verdict.with_drop(drop))
    return tuple(explained)


def _compared(gate: Gate, verdict: Verdict, past: References) -> Past | None:
    """Return the run that a gate was held against, None of a gate on a number alone."""
    facts = verdict.facts
    if not isinstance(facts, MetricFacts) or facts.export is not None:
        return None  # an export is held beside the model that it was made of
    name = None
    if isinstance(gate.bound, Reference):
        name = gate.bound.name
    elif facts.needs_baseline:
        name = Source.BASELINE.value
    pasts = past.get(name, ()) if name is not None else ()
    if isinstance(pasts, str) or not pasts:
        return None
    regression = verdict.regression
    same = (one for one in pasts if regression is not None and one.run == regression.reference)
    return next(same, pasts[0])


def _changes(
    compared: Past, spec: Spec, run: Run, history: Store
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return what changed since a run, and what cannot be told of it."""
    if compared.run:
        try:
            return changes_since(history.run(compared.run), run), ()
        except HistoryError:
            pass  # another machine, or another history, ran it
    accepted = baselines.read_or_none(baselines.find(spec))
    if accepted is None or accepted.run != compared.run:
        return (), (f"what changed: {compared.label} cannot be read",)
    kept = Run(
        id=accepted.run,
        created=accepted.created,
        spec=accepted.spec,
        file=run.file,
        status=RunStatus.PASSED,
        objective=accepted.objective,
        scores=accepted.scores,
        best=Best(None, None, accepted.values),
        fingerprints=accepted.fingerprints,
        environment=accepted.versions,
    )
    sources = {
        "source": "the source of the model",
        "data_source": "the source of the data function",
    }
    changes = [
        Change("code", words)
        for name, words in sources.items()
        if name in kept.fingerprints and kept.fingerprints[name] != run.fingerprints.get(name)
    ]
    data = [
        Change("data", f"{name.removeprefix('data/')} part")
        for name, digest in kept.fingerprints.items()
        if name.startswith("data/") and run.fingerprints.get(name) != digest
    ]
    told = changes_since(kept, run, ("best values", "versions", "environment"))
    untold = (
        "which other code files, and which settings of search, fit and validation changed: run "
        f"{compared.run[:8]} is not in this history, and its baseline file does not hold them"
    )
    return (*changes, *data, *told), (untold,)


def metadata_columns(
    engine: Any, listen: Callable[[str], object]
) -> Callable[[], Mapping[str, Groups]]:
    """Return a function that asks an engine once what else is known of each test sample, by column.

    ``listen`` is told in words why that cannot be told: a run is not lost over it.
    """

    @functools.cache
    def columns() -> Mapping[str, Groups]:
        try:
            known: Mapping[str, Groups] = engine.test_columns()
        except Exception as error:  # noqa: BLE001  its process may have died
            listen(f"where it got worse is told without metadata: {first_line(error)}")
            return {}
        return known

    return columns


def show_worse_samples(
    verdicts: Sequence[Verdict], weights: Path, engine: Any, listen: Callable[[str], object]
) -> None:
    """Add the test samples that red comparisons list to the file of examples beside the weights.

    Args:
        verdicts: with what explains them.
        weights: the file of the tuned model.
        engine: has the data.
        listen: told in words why they cannot be shown.
    """
    path = weights.with_name(EXAMPLES)
    drops = [verdict.drop for verdict in verdicts if verdict.drop is not None]
    rows = list(dict.fromkeys(sample.row for drop in drops for sample in drop.samples))
    if not rows or not path.is_file():
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        known = {sample["index"] for sample in document["samples"]}
        document["worse"] = []
        left = MOST_SHOWN
        for entry in engine.shown_rows([row for row in rows if row not in known]):
            left -= len(json.dumps(entry))
            if left > 0:
                document["worse"].append(entry)
        path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    except Exception as error:  # noqa: BLE001  a stream is the author's code, and the run is not lost over it
        listen(f"the samples that got worse are listed without their inputs: {first_line(error)}")
