"""Conclude a run: find what to compare with, examine the tuned model, judge, add seeds if need be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from modeltune.ground import DataError, HistoryError, typed
from modeltune.harness.exports import (
    check_exports,
    export_paths,
    measured_exports,
    recorded_exports,
    tuned_model,
    unpacked_samples,
)
from modeltune.harness.validation import TunedModel, ValidationResult
from modeltune.histories import (
    Store,
    accepted_model,
    baselines,
    look_of,
    recent,
    references,
    to_rescore,
    with_rescored,
)
from modeltune.judgement import (
    Allowance,
    Measurements,
    advise,
    check_bounds,
    check_refit,
    check_seeds,
    check_space,
    judge,
)
from modeltune.records import (
    EXPORTS,
    HYPERMODEL_FIT,
    PREDICTOR,
    Area,
    BehaviourFacts,
    BehaviourResult,
    Counterexample,
    Examination,
    ExamineTask,
    ExportResult,
    Family,
    KeptModel,
    Listener,
    MeasuredInterval,
    MetricFacts,
    Note,
    Outcome,
    Past,
    Probe,
    RaisedError,
    References,
    RefitId,
    RescoreResult,
    Run,
    Scores,
    Trial,
    TrialStatus,
    Verdict,
    check_verdict,
    export_record,
    exports_to_json,
)
from modeltune.specs import (
    Behaviour,
    Direction,
    Gate,
    Holdout,
    KFold,
    Refit,
    Scoring,
    Source,
    Spec,
    Validation,
)

LATENCY = "latency_ratio"


@dataclass(frozen=True)
class Judgement:
    """The verdicts on a run, the id of the accepted run it was compared with, and advice."""

    verdicts: tuple[Verdict, ...]
    baseline: str | None
    advice: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Conclusion:
    """What a run measured and its judgement; an escalation adds refits to the validation.

    ``exports`` are the files that the tuned model was converted to, by name;
    ``measured`` and ``past`` are what it was judged by: of this run, and of those that gates name.
    """

    validation: ValidationResult
    judgement: Judgement
    measured: Measurements
    past: References
    exports: Mapping[str, ExportResult] = field(default_factory=dict)


@dataclass(frozen=True)
class RunInProgress:
    """The run to be judged: its id, its spec and all its fingerprints, those of the data it saw among them.

    ``history`` holds earlier runs to compare it with, and ``listen`` is told how judging goes.
    ``class_names`` are those that its data declare, by output; ``family`` are the specs that share the
    error rate with this one, None where it has its own.
    """

    id: str
    spec: Spec
    fingerprints: Mapping[str, str]
    history: Store
    listen: Listener
    class_names: object = None
    family: Family | None = None


class Validator(Protocol):
    """Refits and scores the tuned model under a validation; nothing is told of ``known`` refits."""

    def __call__(
        self, validation: Validation, known: Collection[Refit] = ()
    ) -> ValidationResult: ...


def conclude(run: RunInProgress, tuned: TunedModel, engine: Any, validate: Validator) -> Conclusion:
    """Validate and judge a run; while gates that seeds can settle are inconclusive, get more seeds.

    Args:
        run: what is judged.
        tuned: the winner of its search.
        engine: examines the tuned model where gates ask for it.
        validate: refits and scores the winner.
    """
    spec, history, listen = run.spec, run.history, run.listen
    looks = looks_of(spec)
    validation = validate(spec.validation)
    past = references(spec, history, run.fingerprints, run.id)
    task, unmeasured = _task(spec, history, past, tuned, validation)
    examined = _examined(task, engine) if task is not None else Examination()
    for note in examined.notes:
        listen(Note(note))
    past = with_rescored(past, examined.rescored)
    exports = {
        name: export_record(typed(spec.exports[name]), result)
        for name, result in examined.exports.items()
    }
    of_exports = measured_exports(
        *(exports, unpacked_samples(examined.exports), _ids(validation), run.class_names)
    )
    allowance = allowance_of(spec, history, run.id, run.fingerprints, run.family, past, listen)
    if isinstance(examined.latency_ratio, str):
        unmeasured[LATENCY] = (Outcome.INVALID, examined.latency_ratio)
    judgement, measured = Judgement((), None, ()), Measurements({})
    for look, seeds in enumerate(looks):
        if look:
            assert not isinstance(spec.validation, Scoring)  # it has no more models
            gates = ", ".join(v.gate for v in judgement.verdicts if _seeds_may_settle(v))
            listen(Note(f"{gates}: inconclusive, so the model is validated under {seeds} seeds"))
            known = replace(spec.validation, seeds=looks[look - 1]).refits()
            validation = validate(replace(spec.validation, seeds=seeds), known)
        measured = _measurements(
            spec, validation, examined, unmeasured, tuned.weights, run.class_names
        )
        measured = replace(measured, exports=of_exports)
        judgement = judge_beside(run.id, past, spec, measured, history, allowance)
        if not any(_seeds_may_settle(verdict) for verdict in judgement.verdicts):
            break
    validation = replace(
        validation,
        scores=measured.scores,
        checks=(*validation.checks, *check_exports(exports)),
        model={**validation.model, **({EXPORTS: exports_to_json(exports)} if exports else {})},
    )
    return Conclusion(validation, judgement, measured, past, examined.exports)


def allowance_of(
    spec: Spec,
    history: Store,
    run_id: str,
    prints: Mapping[str, str],
    family: Family | None,
    past: References,
    listen: Listener,
) -> Allowance:
    """Return what the failures of a spec's comparisons may spend of the 5 %.

    Args:
        spec: the declared model.
        history: it tells how often a sequential spec was judged against its baseline.
        run_id: the run to be judged; it need not be recorded yet.
        prints: all its fingerprints.
        family: the specs that share the error rate.
        past: the recorded runs that its gates name.
        listen: told where earlier looks may not be known.
    """
    if not spec.sequential:
        return Allowance(family)
    accepted = _accepted(past)
    baseline = None if accepted is None else accepted.run
    try:
        look, is_known = look_of(spec, history, run_id, prints, baseline)
    except HistoryError as error:
        # Recording this run fails as well, and is never green.
        listen(
            Note(f"sequential: judged as the first look, for earlier ones are not known: {error}")
        )
        return Allowance(family, 1)
    if not is_known:
        listen(
            Note(
                "sequential: judged as the first look at its baseline, for this history has neither the "
                "accepted run nor an earlier look; keep one history over all commits"
            )
        )
    return Allowance(family, look)


def _accepted(past: References) -> Past | None:
    return None if isinstance(past["baseline"], str) else past["baseline"][0]


def judge_beside(
    run_id: str,
    past: References,
    spec: Spec,
    measured: Measurements,
    history: Store,
    allowance: Allowance,
) -> Judgement:
    """Judge what was measured by today's gates, beside the recorded runs that they name.

    Exports are held beside the tuned model of the run itself, whose id is given.
    """
    beside = past
    if measured.exports:
        beside = {**past, Source.TUNED.value: [tuned_model(run_id, measured)]}
    looks = len(looks_of(spec))
    verdicts = judge(spec.gates, measured, spec.id, beside, looks=looks, allowance=allowance)
    accepted = _accepted(past)
    today = datetime.now(UTC).date()
    try:
        past_runs = recent(spec, history)
    except HistoryError:
        # Advice is no reason to lose a verdict that needs no history.
        past_runs = []
    advice = advise(spec.gates, verdicts, past_runs, accepted, today)
    return Judgement(verdicts, (accepted and accepted.run) or None, advice)


def _task(
    spec: Spec,
    history: Store,
    past: References,
    tuned: TunedModel,
    validation: ValidationResult,
) -> tuple[ExamineTask | None, dict[str, tuple[Outcome, str]]]:
    """Return what to examine, None for nothing, and which metrics cannot be measured, with reasons."""
    behaviours = [gate for gate in spec.gates if isinstance(gate, Behaviour)]
    unmeasured: dict[str, tuple[Outcome, str]] = {}
    faster_than: KeptModel | None = None
    measures = [gate.measure for gate in spec.gates if isinstance(gate, Gate)]
    if any(measure.key == LATENCY and measure.export is None for measure in measures):
        kept = accepted_model(spec, history.folder)
        if kept is None:
            unmeasured[LATENCY] = (Outcome.NO_BASELINE, str(past["baseline"]))
        elif isinstance(kept, str):
            reason = f"the accepted model cannot be timed beside this one: {kept}"
            unmeasured[LATENCY] = (Outcome.INVALID, reason)
        else:
            faster_than = kept
    rescore = to_rescore(past, history.folder)
    if not behaviours and not rescore and faster_than is None and not spec.exports:
        return None, unmeasured
    known = known_counterexamples(history, spec, behaviours)
    demands = tuple(behaviour.demand for behaviour in behaviours)
    # The weights that are kept are those of the first refit.
    decided = validation.refits[0].get("thresholds", {}) if validation.refits else {}
    thresholds = {name: tuple(values) for name, values in decided.items()}
    files = tuned.hyperparameters, tuned.weights
    exports = export_paths(spec, tuned.weights)
    task = ExamineTask(*files, known, rescore, faster_than, demands, thresholds, exports)
    return task, unmeasured


def _examined(task: ExamineTask, engine: Any) -> Examination:
    """Return what an examination finds; when it fails, what each of its parts finds alone.

    A transform that ends its process, or never ends, costs its own gate only.
    """
    examined: Examination = engine.examine(task)
    if examined.failure is None:
        return examined
    reason, parts = examined.failure.reason, task.parts()
    if len(parts) == 1:
        return replace(
            examined,
            probed={demand: Probe(error=reason) for demand in task.behaviours},
            rescored={name: RescoreResult(problem=reason) for name in task.rescore},
            latency_ratio=reason if task.faster_than else None,
            exports={name: ExportResult(failure=examined.failure) for name in task.exports},
        )
    alone = [_examined(part, engine) for part in parts]
    return Examination(
        probed={demand: probe for one in alone for demand, probe in one.probed.items()},
        rescored={name: result for one in alone for name, result in one.rescored.items()},
        latency_ratio=next((one.latency_ratio for one in alone if one.latency_ratio), None),
        exports={name: result for one in alone for name, result in one.exports.items()},
        notes=tuple(dict.fromkeys(note for one in alone for note in one.notes)),
    )


def known_counterexamples(
    history: Store, spec: Spec, behaviours: Sequence[Behaviour]
) -> dict[str, list[Counterexample]]:
    """Return the counter-examples of earlier runs by the behaviour's key, newest first."""
    if not behaviours:
        return {}
    keys = {behaviour.key for behaviour in behaviours}
    known: dict[str, list[Counterexample]] = {}
    for key, counterexample in history.counterexamples(spec.id, spec.root):
        if key in keys and counterexample not in known.setdefault(key, []):
            known[key].append(counterexample)
    return known


def _measurements(
    spec: Spec,
    validation: ValidationResult,
    examined: Examination,
    unmeasured: Mapping[str, tuple[Outcome, str]],
    weights: Path,
    class_names: object,
) -> Measurements:
    scores = dict(validation.scores)
    is_kept = "not_kept" not in validation.model
    if is_kept and validation.model.get("kind") != PREDICTOR:  # else predictions are kept
        scores["artifact_bytes"] = Scores((float(weights.stat().st_size),))
    intervals = {}
    if isinstance(examined.latency_ratio, tuple):
        scores[LATENCY] = Scores(examined.latency_ratio[:1])
        intervals[LATENCY] = examined.latency_ratio
    return Measurements(
        scores=scores,
        refits=_ids(validation),
        samples=validation.samples,
        folds=spec.validation.k if isinstance(spec.validation, KFold) else None,
        intervals=intervals,
        unmeasured={
            **unmeasured,
            **{
                name: (Outcome.ERROR, f"{name} has no value: {failure.reason}")
                for name, failure in validation.unmeasured.items()
                if name not in scores
            },
        },
        tracebacks={
            name: failure.traceback
            for name, failure in validation.unmeasured.items()
            if failure.traceback is not None
        },
        probes=examined.probed,
        class_names=class_names,
    )


def _ids(validation: ValidationResult) -> tuple[RefitId, ...]:
    return tuple((refit["seed"], refit["fold"]) for refit in validation.refits)


def refuse(spec: str, checks: Sequence[Verdict]) -> None:
    """End a run whose data do not pass, before anything is trained on them.

    Raises:
        DataError: naming every check that failed.
    """
    red = [check for check in checks if check.outcome.is_red()]
    if red:
        listed = "; ".join(f"{check.gate}: {check.reason}" for check in red)
        raise DataError(f"{spec}: nothing was trained, the data do not pass: {listed}")


def check_search(
    spec: Spec,
    tuned: TunedModel,
    trials: Sequence[Trial],
    validation: ValidationResult,
    rows: int,
) -> tuple[Verdict, ...]:
    """Return what the refits say about the search, and where in its ranges the winner lies.

    Neither can be asked where nothing was searched. Verdicts on how the ranges are declared and on
    the seeds are added where something in them is to be warned of.

    Args:
        spec: the declared model.
        tuned: the winner of the search.
        trials: all its trials.
        validation: the refits of the winner.
        rows: the size of the validation part, on which the search scored.
    """
    seeds = [(refit["seed"], refit["fold"]) for refit in validation.refits]
    found = [check_space(tuned.hyperparameters)]
    if not spec.is_given:  # no seed has made these
        found.append(check_seeds(seeds, validation.scores))
    warnings = tuple(warning for warning in found if warning is not None)
    if tuned.best.score is None:
        return warnings
    objective = spec.search.objective
    # Those of the phase that trains what the search did.
    first = [_as_searched(refit) for refit in validation.refits]
    curves = [phase["curve"].get(objective.metric, ()) for phase in first]
    if not isinstance(spec.validation, Holdout) or not all(curves):
        reason = f"the refits do not measure {objective.metric} on the rows the search did"
        refitted = check_verdict(
            Area.SEARCH, "search.refit", Outcome.PASSED, None, None, f"not compared: {reason}"
        )
    else:
        values = validation.samples.values if validation.samples else {}
        outcomes = values.get(objective.test_metric)
        is_share = outcomes is not None and outcomes.dtype == bool
        choose = max if objective.direction is Direction.MAX else min
        scores = [choose(curve) for curve in curves]
        refitted = check_refit(
            tuned.best.score, scores, objective.direction, rows if is_share else None
        )
    completed = [trial.values for trial in trials if trial.status is TrialStatus.COMPLETED]
    bounds = check_bounds(tuned.best.values, tuned.hyperparameters, completed)
    return refitted, bounds, *warnings


def _as_searched(refit: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the phase of a refit that trains what the search did; all of it, where its own fit has several."""
    phases = refit.get("phases") or [refit]
    return refit if phases[-1].get("trained_by") == HYPERMODEL_FIT else phases[0]


def recorded_measurements(run: Run, spec: Spec, samples: Any, history: Store) -> Measurements:
    """Return what a recorded run measured, for today's gates to judge."""
    unmeasured = {}
    if LATENCY not in run.scores:
        unmeasured[LATENCY] = (
            Outcome.NO_BASELINE,
            "there was no accepted model to be timed beside",
        )
    intervals = {}
    probes = {}
    tracebacks = {}
    for verdict in run.verdicts:
        facts, details = verdict.facts, verdict.details
        if isinstance(facts, MetricFacts) and facts.export is not None:
            continue  # the record of the export has what was measured of it
        if (
            isinstance(facts, MetricFacts)
            and verdict.outcome is Outcome.ERROR
            and facts.key not in run.scores
        ):
            unmeasured[facts.key] = (Outcome.ERROR, verdict.reason)
            if isinstance(details, RaisedError):
                tracebacks[facts.key] = details.traceback
        if isinstance(facts, MetricFacts) and isinstance(details, MeasuredInterval):
            if verdict.measured is not None:
                intervals[facts.key] = (verdict.measured, details.low, details.high)
        elif isinstance(facts, BehaviourFacts) and isinstance(details, BehaviourResult):
            probes[facts.demand] = details.probe
    return Measurements(
        scores=run.scores,
        refits=baselines.refits_of(run),
        samples=samples,
        folds=spec.validation.k if isinstance(spec.validation, KFold) else None,
        intervals=intervals,
        unmeasured=unmeasured,
        tracebacks=tracebacks,
        probes=probes,
        class_names=run.data.get("class_names"),
        exports=recorded_exports(run, history),
    )


def looks_of(spec: Spec) -> list[int]:
    """Return at which numbers of seeds the gates may be judged: as declared, then twice that, ..."""
    seeds = [spec.validation.seeds]
    most = spec.escalate.max if spec.escalate else 0
    while seeds[-1] < most:
        seeds.append(min(2 * seeds[-1], most))
    return seeds


def _seeds_may_settle(verdict: Verdict) -> bool:
    if verdict.outcome is not Outcome.INCONCLUSIVE:
        return False
    from modeltune.judgement import ENOUGH_SEEDS

    return verdict.regression is not None and verdict.regression.reference_refits >= ENOUGH_SEEDS
