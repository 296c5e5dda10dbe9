"""Reuse: the recorded run of an unchanged spec, under today's gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError
from modeltune.harness.conclusion import LATENCY, judged_against, measured_of
from modeltune.histories import RECENT, baselines, references, samples_of, with_rescored
from modeltune.judgement import Strictness, status_of
from modeltune.records import References, Rescored, Run, RunStatus
from modeltune.specs import (
    GATES,
    UNCOMPARABLE,
    Behaviour,
    Gate,
    On,
    Spec,
    Subject,
    changed,
    gates_identity,
    recorded_identity,
    run_identity,
)

if TYPE_CHECKING:
    from modeltune.histories import Store
    from modeltune.records import Summary


def reused(
    spec: Spec,
    history: Store,
    prints: Mapping[str, str],
    strictness: Strictness = Strictness(),
    rejudge: bool | str = False,
) -> Run | str:
    """Return the latest run that today's spec would repeat, judged anew, or why there is none.

    Such a run was searched to its end, and all its scores depend on is the same: search, fit,
    validation, code, versions and data. Its gates may have been others: they are judged on
    the recorded scores. A gate on a metric that is not among them is an error, as it would be
    after training again; one on a gap or a gain that was not measured is no reuse.

    The verdict is served although the weights are gone; a note of the run says so then.

    Args:
        spec: the spec as it is today.
        history: the store it is recorded in.
        prints: the fingerprints of its data as it is today, ``LoadedData.fingerprints``.
        strictness: which outcomes are red.
        rejudge: judge a run whatever ended its search; of an id, that run only.

    Raises:
        HistoryError: the history cannot be read.
    """
    today = run_identity(spec) | dict(prints)
    for name, part in today.items():
        if part.startswith(UNCOMPARABLE):
            return f"{name} is {part}"
    same: list[str] = []
    others: list[str] = []
    for summary in history.runs(spec.id, limit=RECENT):
        if isinstance(rejudge, str) and summary.id != rejudge:
            continue
        if summary.cached or summary.status not in (RunStatus.PASSED, RunStatus.FAILED):
            continue
        if difference := _difference(today, summary):
            others.append(difference)
            continue
        run = history.run(summary.id)
        missing = [gate for gate in spec.gates if _is_to_be_measured(gate, run, spec)]
        if run.search.get("cut_short") and not rejudge:
            same.append(f"the search of run {run.id} was cut short")
        elif missing:
            listed = ", ".join(map(repr, missing))
            same.append(f"run {run.id} did not measure what {listed} judges")
        else:
            return _judged(run, spec, history, prints, strictness)
    return next(iter(same + others), "no finished run of it is recorded")


def _difference(today: Mapping[str, str], summary: Summary) -> str:
    """Return in what a run differs from one of today, in words; nothing when it does not."""
    recorded = recorded_identity(summary.fingerprints)
    if not recorded:
        return f"run {summary.id} does not say what it was made of: an older modeltune recorded it"
    recorded |= {
        name: digest for name, digest in summary.fingerprints.items() if name.startswith("data/")
    }
    names = changed(today, recorded)
    return f"{', '.join(names)} changed since run {summary.id}" if names else ""


def _is_to_be_measured(gate: Gate | Behaviour, run: Run, spec: Spec) -> bool:
    """Tell a gate on what is only measured when a gate asks for it, of a metric that there is."""
    if isinstance(gate, Behaviour):
        demands = {verdict.details.get("demand") for verdict in run.verdicts}
        return gate.demand not in demands or _gates_differ(run, spec)
    measure = gate.measure
    if measure.key == LATENCY:
        # A ratio holds for the model it was measured beside.
        path = baselines.find(spec)
        if LATENCY not in run.scores:
            return path is not None
        accepted = baselines.read_or_none(path)
        return accepted is None or accepted.run != run.baseline
    if isinstance(measure.slices, On):
        return "samples" not in run.files or _gates_differ(run, spec)
    is_on_demand = measure.subject is not Subject.METRIC and measure.metric in run.scores
    return is_on_demand and measure.key not in run.scores


def _gates_differ(run: Run, spec: Spec) -> bool:
    """Tell whether what the functions in gates do has changed since."""
    today = {f"{GATES}{name}": part for name, part in gates_identity(spec).items()}
    return any(run.fingerprints.get(name) != part for name, part in today.items())


def _judged(
    run: Run, spec: Spec, history: Store, prints: Mapping[str, str], strictness: Strictness
) -> Run:
    kept, notes, samples = run.artifact, run.notes, None
    try:
        samples = samples_of(run, history)
    except HistoryError as error:
        notes = (*notes, f"its samples are not at hand: {error}")
    past = references(spec, history, prints, run.id)
    past = with_rescored(past, _not_rescored(past))
    judged = judged_against(past, spec, measured_of(run, spec, samples), history)
    if kept is not None:
        path = history.folder / kept.path
        # Its sha256 is checked when it is loaded: reading a large model takes its time.
        if not path.is_file() or path.stat().st_size != kept.bytes:
            how = "are gone or changed; run the spec without reuse to make them anew"
            notes = (*notes, f"the weights of run {run.id} ({path}) {how}")
    status = status_of(judged.verdicts, strictness, run.checks)
    files = {name: file for name, file in run.files.items() if name != "examples" or spec.examples}
    return replace(
        run,
        **vars(judged),
        files=files,
        status=status,
        strict=strictness.is_strict,
        notes=notes,
        cached=True,
    )


def _not_rescored(past: References) -> dict[str, Rescored]:
    """Return for each model that would have to be scored on today's data that it was not."""
    why = Rescored(problem="that takes a run without reuse")
    listed = [p for pasts in past.values() if not isinstance(pasts, str) for p in pasts]
    return {each.run: why for each in listed if each.rescored}
