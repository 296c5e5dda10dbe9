"""Look up the recorded run of an unchanged spec, and judge it by today's gates."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modeltune.ground import (
    Deadline,
    HistoryError,
    InvalidRunError,
    ModeltuneError,
    StoreUrl,
    error_line,
    first_line,
    monotonic,
)
from modeltune.harness.conclusion import (
    LATENCY,
    allowance_of,
    judge_beside,
    recorded_measurements,
)
from modeltune.harness.engines import lend_engine_alone, note_idle_limits
from modeltune.harness.executors import discard_event, lend_data
from modeltune.harness.explanations import explain
from modeltune.histories import (
    RECENT,
    artifact_path,
    baselines,
    foreign_files,
    open_store,
    references,
    samples_of,
    with_rescored,
)
from modeltune.judgement import Strictness, silence, status_of
from modeltune.records import (
    BehaviourFacts,
    Family,
    Listener,
    MetricFacts,
    Outcome,
    References,
    RescoreResult,
    Run,
    RunStatus,
    exports_of,
    without_samples,
)
from modeltune.specs import (
    GATES,
    UNCOMPARABLE,
    Behaviour,
    By,
    Gate,
    On,
    Reference,
    Spec,
    Subject,
    changed_parts,
    gates_identity,
    recorded_identity,
    run_identity,
)

if TYPE_CHECKING:
    from modeltune.engine import LoadedData
    from modeltune.histories import Store
    from modeltune.records import GivenModels, Summary


@dataclass(frozen=True, eq=False)
class Lookup:
    """What came of looking for a recorded run: the run, judged by today's gates, or why not one.

    ``data`` are what the spec's data function returned for the comparison: a run that trains
    after all is given them, so that it need not call the function again. It took ``seconds``.
    """

    run: Run | None = None
    reason: str = ""
    data: LoadedData | None = None
    seconds: float = 0.0


def look_up(
    spec: Spec,
    fixtures: Mapping[str, object],
    store: str | StoreUrl,
    strictness: Strictness,
    rejudge: bool | str,
    deadline: Deadline = Deadline(),
    listen: Listener = discard_event,
    is_apart: bool = True,
    family: Family | None = None,
) -> Lookup:
    """Load a spec's data, and look for the recorded run that a run on them would repeat.

    This imports NumPy, but no Keras: data that are arrays are compared without it. They are loaded
    as ``lend_data`` does, and a model that is given as ``lend_engine_alone`` does.

    Raises:
        HistoryError: the history cannot be read.
    """
    with open_store(store) as history:
        scratch = history.folder / "scratch"
    if not is_apart:
        # Before anything is loaded, which may hang.
        note_idle_limits(spec, "while a recorded run is looked up without workers", listen)
    with contextlib.ExitStack() as stack:
        how = scratch, listen, deadline, is_apart
        what = "data do"
        try:
            if spec.is_given:
                engine = stack.enter_context(lend_engine_alone(spec, fixtures, *how))
                began = monotonic()
                prints, seconds, take = engine.load()[1], monotonic() - began, engine.loaded
                what = "model does"
                prints |= given_prints(engine.identify())
            else:
                data = stack.enter_context(lend_data(spec, fixtures, *how))
                prints, seconds, take = dict(data.fingerprints), data.seconds, data.take
        except (Exception, SystemExit) as error:  # noqa: BLE001  the run that follows meets and records it
            said = first_line(error) if isinstance(error, ModeltuneError) else error_line(error)
            return Lookup(reason=f"its {what} not load: {said}")
        with open_store(store) as history:
            run = find_reusable(spec, history, prints, strictness, rejudge, family)
        if isinstance(run, Run):
            return Lookup(run)
        taken = None
        if not rejudge:
            with contextlib.suppress(ModeltuneError):  # the run that follows loads them itself
                taken = take()
        return Lookup(reason=run, data=taken, seconds=seconds)


def given_prints(given: GivenModels) -> dict[str, str]:
    """Return the fingerprints of given models, by which a run is known besides its data."""
    return {f"model/{number}": digest for number, digest in enumerate(given.digests, 1)}


def find_reusable(
    spec: Spec,
    history: Store,
    prints: Mapping[str, str],
    strictness: Strictness = Strictness(),
    rejudge: bool | str = False,
    family: Family | None = None,
) -> Run | str:
    """Return the latest run that today's spec would repeat, judged by its gates, or why none fits.

    Such a run was searched to its end, and everything its scores depend on is the same: search,
    fit, validation, code, versions and data. Its gates may have been others: today's are judged
    on the recorded scores. A gate on a metric that was not recorded is an error, as it would be
    after training again; a run that did not measure the gap or gain a gate asks for does not fit.

    A run fits although its weights are gone; a note of the run says so then.

    Args:
        spec: the spec as it is today.
        history: the store it is recorded in.
        prints: the fingerprints of its data as it is today, ``LoadedData.fingerprints``.
        strictness: which outcomes are red.
        rejudge: take a run whatever ended its search; an id: that run only.
        family: the specs that share the error rate of its comparisons.

    Raises:
        HistoryError: the history cannot be read.
    """
    today = run_identity(spec) | dict(prints)
    for name, part in today.items():
        if part.startswith(UNCOMPARABLE):
            return f"{name} is {part}"
    same: list[str] = []
    others: list[str] = []
    for summary in history.runs(spec.id, limit=RECENT, root=spec.root):
        if isinstance(rejudge, str) and summary.id != rejudge:
            continue
        if summary.cached or summary.status not in (RunStatus.PASSED, RunStatus.FAILED):
            continue
        if difference := _difference(today, summary):
            others.append(difference)
            continue
        try:
            run = history.run(summary.id)
        except InvalidRunError as error:
            others.append(str(error))
            continue
        silenced = {check.gate for check in run.checks if check.outcome is Outcome.WAIVED}
        heard = sorted(silenced - spec.checks.silenced)
        missing = [gate for gate in spec.gates if _is_to_be_measured(gate, run, spec)]
        if run.search.get("cut_short") and not rejudge:
            same.append(f"the search of run {run.id} was cut short")
        elif heard:
            same.append(
                f"run {run.id} has silenced {', '.join(heard)}, which today's spec does not"
            )
        elif foreign := foreign_files(run):
            others.append(f"run {run.id} is refused: {'; '.join(foreign)}")
        elif missing:
            listed = ", ".join(map(repr, missing))
            same.append(f"run {run.id} did not measure what {listed} judges")
        else:
            return _judge_today(run, spec, history, prints, strictness, family)
    others += history.invalid.values()
    return next(iter(same + others), "no finished run of this spec is recorded")


def _difference(today: Mapping[str, str], summary: Summary) -> str:
    """Say what differs between a recorded run and one of today; empty when nothing does."""
    recorded = recorded_identity(summary.fingerprints)
    if not recorded:
        return f"run {summary.id} does not record its code: an older modeltune recorded it"
    recorded |= {
        name: digest
        for name, digest in summary.fingerprints.items()
        if name.startswith(("data/", "model/"))
    }
    names = changed_parts(today, recorded)
    return f"{', '.join(names)} changed since run {summary.id}" if names else ""


def _is_to_be_measured(gate: Gate | Behaviour, run: Run, spec: Spec) -> bool:
    """Tell a gate on what a run measures only when a gate asks for it, and this run did not."""
    if isinstance(gate, Behaviour):
        is_known = any(
            isinstance(v.facts, BehaviourFacts) and v.facts.demand == gate.demand and v.details
            for v in run.verdicts
        )
        return not is_known or _gates_differ(run, spec)
    measure = gate.measure
    if measure.export is not None and exports_of(run).get(measure.export) is None:
        return True
    if measure.key == LATENCY and measure.export is None:
        # A ratio holds for the model it was measured beside.
        path = baselines.find(spec)
        if LATENCY not in run.scores:
            return path is not None
        accepted = baselines.read_or_none(path)
        return accepted is None or accepted.run != run.baseline
    if isinstance(measure.slices, By):
        # The groups of a run are kept where a gate asked for them.
        rules = [v.facts.slices for v in run.verdicts if isinstance(v.facts, MetricFacts)]
        kept = {rule.name for rule in rules if rule is not None and rule.is_grouped}
        if "samples" not in run.files or measure.slices.name not in kept:
            return True
    is_slice_by_code = isinstance(measure.slices, By) and measure.slices.function is not None
    is_slice_by_code = is_slice_by_code or isinstance(measure.slices, On)
    is_by_code = is_slice_by_code or measure.function is not None
    if is_by_code and ("samples" not in run.files or _gates_differ(run, spec)):
        return True
    from modeltune.records import (
        is_usual,
    )  # NumPy, which looking up a run of other gates does without

    if is_usual(measure.metric) and measure.subject is Subject.METRIC:
        # Predictions are kept for those that gates were judged by, and older runs have none.
        asked = {v.facts.metric for v in run.verdicts if isinstance(v.facts, MetricFacts)}
        is_by_samples = measure.slices is not None or isinstance(gate.bound, Reference)
        return measure.metric not in asked and (is_by_samples or measure.metric not in run.scores)
    is_on_demand = measure.subject is Subject.GAIN_OVER or (
        measure.subject is not Subject.METRIC and measure.metric in run.scores
    )
    return is_on_demand and measure.key not in run.scores


def _gates_differ(run: Run, spec: Spec) -> bool:
    """Tell whether what the functions in gates do has changed since."""
    today = {f"{GATES}{name}": part for name, part in gates_identity(spec).items()}
    return any(run.fingerprints.get(name) != part for name, part in today.items())


def _judge_today(
    run: Run,
    spec: Spec,
    history: Store,
    prints: Mapping[str, str],
    strictness: Strictness,
    family: Family | None,
) -> Run:
    kept, notes, samples = run.artifact, run.notes, None
    try:
        samples = samples_of(run, history)
    except HistoryError as error:
        notes = (*notes, f"its samples cannot be read: {error}")
    past = references(spec, history, prints, run.id)
    notes = (*notes, *history.invalid.values())
    past = with_rescored(past, _not_rescored(past))
    allowance = allowance_of(spec, history, run.id, run.fingerprints, family, past, discard_event)
    measured = recorded_measurements(run, spec, samples, history)
    judgement = judge_beside(run.id, past, spec, measured, history, allowance)
    if kept is not None:
        path = artifact_path(history.folder, kept, run.id)
        # Its sha256 is checked when it is loaded: reading a large model takes its time.
        if not path.is_file() or path.stat().st_size != kept.bytes:
            how = "are gone or changed; run the spec without reuse to train them again"
            notes = (*notes, f"the weights of run {run.id} ({path}) {how}")
    checks = silence(run.checks, spec.checks.silenced)
    status = status_of(judgement.verdicts, strictness, checks)
    files = {name: file for name, file in run.files.items() if name != "examples" or spec.examples}
    verdicts = explain(judgement.verdicts, spec, run, measured, past, history, strictness)
    if not spec.examples:
        verdicts = tuple(map(without_samples, verdicts))
    return replace(
        run,
        file=spec.file,  # It may have been recorded in another checkout, whose settings are its own.
        verdicts=verdicts,
        checks=checks,
        baseline=judgement.baseline,
        advice=judgement.advice,
        files=files,
        status=status,
        strict=strictness.is_strict,
        notes=notes,
        cached=True,
    )


def _not_rescored(past: References) -> dict[str, RescoreResult]:
    """Return a problem for each model that only a run could score on today's data."""
    why = RescoreResult(problem="that takes a run without reuse")
    recorded = [run for runs in past.values() if not isinstance(runs, str) for run in runs]
    return {run.run: why for run in recorded if run.rescored}
