"""Say before a run which drops its regression gates can find, by its data and what is recorded of its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError, NoHistoryError, StoreUrl
from modeltune.harness.conclusion import looks_of
from modeltune.histories import TEST_PART, Store, accepted_run, open_store, recent, samples_of
from modeltune.specs import Gate, KFold, Reference, Spec

if TYPE_CHECKING:
    from modeltune.judgement import GatePower, PastRun
    from modeltune.records import ScoredRows, Verdict


def regression_gates(spec: Spec) -> list[Gate]:
    """Return the gates that are held against recorded runs."""
    held = [gate for gate in spec.gates if isinstance(gate, Gate) and gate.measure.export is None]
    return [gate for gate in held if isinstance(gate.bound, Reference)]


EFFORT_OF_A_RUN = 0.2
"""The share of draws for the note of a run, which waits for it; ``modeltune power`` makes all."""


def powers_of(
    spec: Spec,
    rows: ScoredRows,
    history: Store | None,
    prints: Mapping[str, str],
    effort: float = 1.0,
) -> tuple[GatePower, ...]:
    """Return which drop each regression gate finds.

    Args:
        spec: the declared model.
        rows: what is known of its test part, as ``DataEngine.scored_rows`` returns it.
        history: the store, by whose runs noise is known; None where there is none yet.
        prints: the fingerprints of today's data.
        effort: as of ``power_of_gates``.
    """
    from modeltune.judgement import power_of_gates

    return power_of_gates(
        spec.gates,
        rows,
        [(refit.seed, refit.fold) for refit in spec.validation.refits()],
        _past_runs(spec, history, prints),
        folds=spec.validation.k if isinstance(spec.validation, KFold) else None,
        looks=len(looks_of(spec)),
        effort=effort,
    )


def tell_power(
    spec: Spec,
    rows: ScoredRows,
    history: Store,
    prints: Mapping[str, str],
    note: Callable[[str], None],
) -> tuple[Verdict, ...]:
    """Note which drop each regression gate finds; return a warning of those whose margin is too small."""
    from modeltune.judgement import check_power

    powers = powers_of(spec, rows, history, prints, EFFORT_OF_A_RUN)
    for power in powers:
        note(str(power))
    return check_power(powers)


def preview_power(
    spec: Spec, fixtures: Mapping[str, object], store: StoreUrl
) -> tuple[GatePower, ...]:
    """Load the data of a spec and return which drop each of its regression gates finds; nothing is trained.

    Raises:
        DataError, SpecError: the data cannot be loaded, or a slice cannot be made of them.
    """
    from modeltune.engine import DataEngine

    engine = DataEngine(spec, fixtures)
    _, prints = engine.load()
    engine.check_slices()
    rows = engine.scored_rows()
    try:
        with open_store(store, create=False) as history:
            return powers_of(spec, rows, history, prints)
    except NoHistoryError:
        return powers_of(spec, rows, None, prints)


def _past_runs(spec: Spec, history: Store | None, prints: Mapping[str, str]) -> Sequence[PastRun]:
    """Return the newest run on the same test part, and the accepted one; those that cannot be read are left out."""
    from modeltune.judgement import PastRun

    runs: list[PastRun] = []
    accepted = accepted_run(spec)
    test = prints.get(TEST_PART)
    is_known = accepted is not None and accepted.problem is None
    if accepted is not None and is_known and accepted.fingerprints.get(TEST_PART) == test:
        runs.append(PastRun(accepted.label, accepted.scores, accepted.samples))
    if history is None:
        return runs
    try:
        same = [
            r
            for r in recent(spec, history)
            if r.fingerprints.get(TEST_PART) == prints.get(TEST_PART)
        ]
        for run in history.whole(summary.id for summary in same[:1]):
            past = PastRun(f"run {run.id[:8]}", run.scores, samples_of(run, history), run.verdicts)
            runs.insert(0, past)
    except HistoryError:
        return runs  # the run says so where it compares with it
    return runs
