"""Find the recorded runs that a spec's bounds name, and whether a run can be compared with them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError, first_line, first_names, parse_json, project_name
from modeltune.histories import baselines
from modeltune.histories.artifacts import artifact_path, contents, verify
from modeltune.histories.store import Store
from modeltune.records import (
    Artifact,
    KeptModel,
    Past,
    References,
    RescoreResult,
    Run,
    RunStatus,
    Scores,
    Summary,
)
from modeltune.specs import (
    PROJECT,
    UNCOMPARABLE,
    Gate,
    Reference,
    Scoring,
    Source,
    Spec,
    baseline,
    changed_parts,
    recorded_identity,
    run_identity,
)

if TYPE_CHECKING:
    from modeltune.records import Samples

TEST_PART = "data/test"
TRAIN_PART = "data/train"

ONLY_PREDICTIONS = (
    "of a predictor only what it predicted is kept, for loading it again would run its code; have the build "
    "function return the accepted one, accept that run on today's data, then return the new one"
)
"""Why an accepted predictor is not scored on other data, and what to do."""

PREDICTIONS_BEGIN = (b"\x93NUMPY", b"PK\x03\x04")
"""How a file of arrays begins: of one output, of several."""

RECENT = 100
"""How many runs of a spec are searched, newest first: a history may hold a hundred thousand.

Cached runs and runs that ended early are among them, though nothing is compared with those."""


def references(spec: Spec, history: Store, prints: Mapping[str, str], run_id: str) -> References:
    """Return the runs that the spec's gates name; a run that cannot be compared with has a problem.

    Args:
        spec: the spec as it is today.
        history: the store.
        prints: the fingerprints of today's data.
        run_id: the run to be judged; only runs recorded before it are found.
    """
    kind = baselines.declared_validation_kind(spec.validation)
    references_by_name: dict[str, Sequence[Past] | str] = {}
    named = _references_of(spec)
    # Several bounds choose from the same runs.
    limit = RECENT + max(reference.runs or 1 for reference in named)
    earlier = functools.cache(functools.partial(_earlier, history, spec, run_id, limit))
    # The accepted run comes from a file, even when the history cannot be read.
    with history.reading() if len(named) > 1 else contextlib.nullcontext():
        for reference in named:
            if reference.source is Source.OTHER:
                other = reference.other.in_project(spec.root)
                references_by_name[reference.name] = [_run_of_other(other, spec, history, prints)]
            elif reference.source is Source.BASELINE:
                past = accepted_run(spec)
                if past is None:
                    command = f'modeltune accept {run_id} --reason "..."'
                    words = f"nothing is accepted yet; to accept this run: {command}"
                    references_by_name[reference.name] = words
                    continue
                references_by_name[reference.name] = [
                    _comparable(past, spec, history, prints, kind)
                ]
            else:
                pasts = _recorded_runs(reference, spec, history, prints, kind, earlier())
                references_by_name[reference.name] = pasts
    return references_by_name


def _earlier(history: Store, spec: Spec, run_id: str, limit: int | None) -> Sequence[Summary]:
    """Return the last runs of a spec recorded before this one, newest first."""
    listed = history.runs(spec.id, limit, root=spec.root)
    ids = [run.id for run in listed]
    before = listed[ids.index(run_id) + 1 :] if run_id in ids else listed
    return _of_project(before, spec.root)


def _of_project(recorded: Sequence[Summary], root: Path) -> list[Summary]:
    """Return the runs that may be of the project in a folder.

    Projects that share a history may have specs of the same path. A run that was recorded without
    the name of its project, by an earlier modeltune for instance, may be of any.
    """
    name = project_name(root)
    return [run for run in recorded if name in (None, run.fingerprints.get(PROJECT, name))]


def to_rescore(references: References, folder: Path) -> dict[str, KeptModel]:
    """Return by run id the accepted models to be scored on today's test part."""
    return {
        past.run: KeptModel(
            artifact_path(folder, past.architecture, past.run),
            artifact_path(folder, past.weights, past.run),
            _thresholds(past),
        )
        for pasts in references.values()
        if not isinstance(pasts, str)
        for past in pasts
        if past.rescored and past.problem is None and past.architecture and past.weights
    }


def _thresholds(past: Past) -> dict[str, tuple[float, ...]]:
    """Return by output from where on the kept model of a run says yes, where that was chosen."""
    known = {} if past.samples is None else past.samples.thresholds
    return {
        prefix.removesuffix("_") or "output": tuple(map(float, of_refits[0]))
        for prefix, of_refits in known.items()
        if of_refits.ndim == 2 and len(of_refits)
    }


def with_rescored(references: References, rescored: Mapping[str, RescoreResult]) -> References:
    """Return the references with the scores of kept models on today's test part put in."""

    def rescore(past: Past) -> Past:
        from modeltune.records import unpack_samples

        if not past.rescored or past.problem:
            return past
        # A model that was not scored today must not be compared by its scores on other data.
        today = rescored.get(past.run, RescoreResult(problem="it was not scored"))
        if today.problem:
            problem = (
                f"{past.problem_on_other_data}; its model does not run on today's: {today.problem}"
            )
            return replace(past, problem=problem)
        return replace(
            past,
            scores={
                # The file's size stays; every other score is from today's data, or is left out.
                **{
                    name: past.scores[name]
                    for name in ("artifact_bytes", "flops")
                    if name in past.scores
                },
                **{name: Scores((value,)) for name, value in today.scores.items()},
            },
            samples=None if today.samples is None else unpack_samples(today.samples),
            groups={}
            if past.samples is None
            else {name: groups.labels for name, groups in past.samples.groups.items()},
            refits=past.refits[:1],
        )

    return {
        source: pasts if isinstance(pasts, str) else [rescore(past) for past in pasts]
        for source, pasts in references.items()
    }


def accepted_model(spec: Spec, folder: Path) -> KeptModel | str | None:
    """Return the accepted model's files, why they cannot be used, or None: nothing is accepted."""
    past = accepted_run(spec)
    if past is None:
        return None
    return past.problem or _kept_model(past, folder)


def samples_of(run: Run, history: Store, export: str | None = None) -> Samples | None:
    """Return what a recorded run predicted for each test sample, None when that was not kept.

    With ``export`` it is what that export of the run predicted.

    Raises:
        HistoryError: the file is gone or was changed.
    """
    kept = run.files.get("samples" if export is None else f"export-{export}-samples")
    if kept is None:
        return None
    from modeltune.records import unpack_samples

    text = contents(history.folder, kept, run.id)
    try:
        return unpack_samples(parse_json(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        path = history.folder / kept.path
        raise HistoryError(f"{path} does not hold samples: {first_line(error)}") from error


def _references_of(spec: Spec) -> list[Reference]:
    """Return what the spec's bounds refer to, and always the baseline: reports name it."""
    bounds = [
        gate.bound
        for gate in spec.gates
        if isinstance(gate, Gate) and isinstance(gate.bound, Reference)
        if gate.bound.source is not Source.TUNED
    ]
    return list({reference.name: reference for reference in [baseline, *bounds]}.values())


def accepted_run(spec: Spec) -> Past | None:
    """Return the accepted run as its file has it, with its problem where that cannot be read; None: there is none."""
    path = baselines.find(spec)
    if path is None:
        return None
    try:
        accepted = baselines.read_baseline(path)
    except HistoryError as error:
        return Past("", "the accepted run", problem=str(error))
    is_whole = accepted.samples and (accepted.samples.values or accepted.samples.truth)
    unchecked = "" if is_whole else ", whose file has no samples to check its scores by"
    return Past(
        run=accepted.run,
        label=f"the accepted run {accepted.run[:8]}{unchecked}",
        scores=accepted.scores,
        refits=accepted.refits,
        samples=accepted.samples,
        weights=accepted.weights,
        architecture=accepted.architecture,
        fingerprints=accepted.fingerprints,
        validation=accepted.validation,
        accepted=accepted.accepted,
    )


def _recorded_runs(
    reference: Reference,
    spec: Spec,
    history: Store,
    prints: Mapping[str, str],
    kind: str,
    earlier: Sequence[Summary],
) -> Sequence[Past] | str:
    """Return the previous run, or the last n: those on today's test data if there are any."""
    is_median, count = reference.source is Source.MEDIAN, reference.runs or 1
    finished = [run for run in earlier if _counts(run)]
    # A red run is a reference only when there is no green one.
    finished = ([run for run in finished if run.status is RunStatus.PASSED] or finished)[:count]
    if not finished:
        return "no earlier run of this spec is recorded"
    same = [run for run in finished if run.fingerprints.get(TEST_PART) == prints.get(TEST_PART)]
    chosen = (same or finished[:1]) if is_median else finished
    label = f", of the last {len(chosen)} nearest to their median" if len(chosen) > 1 else ""
    pasts = []
    for run in history.whole(summary.id for summary in chosen):
        name = f"run {run.id[:8]}{label}" if is_median else f"the previous run {run.id[:8]}"
        problem, samples = None, None
        try:
            samples = samples_of(run, history)
        except HistoryError as error:
            problem = str(error)
        past = Past(
            run=run.id,
            label=name,
            scores=run.scores,
            refits=baselines.refits_of(run),
            samples=samples,
            problem=problem,
            weights=run.artifact,
            architecture=run.files.get("architecture"),
            fingerprints=run.fingerprints,
            validation=baselines.validation_kind(run),
        )
        pasts.append(_comparable(past, spec, history, prints, kind))
    return pasts


def _run_of_other(other: Spec, spec: Spec, history: Store, prints: Mapping[str, str]) -> Past:
    """Return the newest finished run of another spec, with its problem where it cannot be compared with."""
    run_it = f"run it: pytest {other.id}"
    recent = history.runs(other.id, RECENT, root=other.root)
    finished = [run for run in _of_project(recent, other.root) if _counts(run)]
    if not finished:
        problem = f"{other.id} has no finished run to compare with; {run_it}"
        return Past("", f"the run of {other.name}", problem=problem)
    (run,) = history.whole([finished[0].id])
    label = f"{other.name} (run {run.id[:8]})"
    past = Past(
        run=run.id,
        label=label,
        scores=run.scores,
        refits=baselines.refits_of(run),
        fingerprints=run.fingerprints,
        validation=baselines.validation_kind(run),
        is_of_other=True,
    )
    unlike = _problem_of_other(past, other, spec, prints)
    if unlike is not None:
        return replace(past, problem=f"{label} {unlike}; {run_it}")
    try:
        return replace(past, samples=samples_of(run, history))
    except HistoryError as error:
        return replace(past, problem=str(error))


def _problem_of_other(past: Past, other: Spec, spec: Spec, prints: Mapping[str, str]) -> str | None:
    """Return why a run of another spec cannot be compared with, None where it can."""
    recorded, today = recorded_identity(past.fingerprints), run_identity(other)
    changed = [
        name
        for name in changed_parts(today, recorded)
        if not today.get(name, "").startswith(UNCOMPARABLE)
    ]
    # Which fields the item of a parametrized spec has shows where it is run.
    if recorded and changed and "[" not in other.name:
        return f"is of other code: {first_names(changed)} changed since"
    if past.fingerprints.get(TEST_PART) != prints.get(TEST_PART):
        return "was measured on other test data; give both specs the same data"
    kind = baselines.declared_validation_kind(spec.validation)
    if past.validation != kind and not _is_of_one_given_model(past, spec, kind):
        return (
            f"was validated by {past.validation}, and this one by {kind}, so that their scores cannot be "
            "compared; give both specs the same validation"
        )
    return None


def recent(spec: Spec, history: Store) -> list[Summary]:
    """Return the last finished runs of a spec that were trained, newest first."""
    return [run for run in history.runs(spec.id, RECENT, root=spec.root) if _counts(run)]


def look_of(
    spec: Spec, history: Store, run_id: str, prints: Mapping[str, str], accepted: str | None
) -> tuple[int, bool]:
    """Return how often a spec was judged against its baseline, this time included, and whether that is known.

    A run that repeats an earlier one, of the same code, data and gates, is no further look: it has
    the number of that one. The number is not known where the history has no earlier look, nor the
    accepted run: another history may have both.

    Args:
        spec: the spec as it is today.
        history: the store.
        run_id: the run to be judged; only runs recorded before it are looks.
        prints: all its fingerprints.
        accepted: the id of the accepted run, None before the first.
    """
    with history.reading():
        earlier = [run for run in _earlier(history, spec, run_id, None) if _counts(run)]
        compared = history.baselines([run.id for run in earlier])
        is_known = accepted is None or bool(history.known([accepted]))
    looks: dict[tuple[tuple[str, str], ...], None] = {}
    for run in reversed(earlier):
        if compared[run.id] == accepted:
            looks[tuple(sorted(run.fingerprints.items()))] = None
    today = tuple(sorted(prints.items()))
    if today in looks:
        return 1 + list(looks).index(today), True
    return 1 + len(looks), is_known or bool(looks)


def _counts(run: Summary) -> bool:
    return run.status in (RunStatus.PASSED, RunStatus.FAILED) and not run.cached


def _comparable(
    past: Past, spec: Spec, history: Store, prints: Mapping[str, str], kind: str
) -> Past:
    """Return the run, marked if its model must be scored on today's data, or with its problem."""
    if past.problem:
        return past
    if past.validation != kind and not _is_of_one_given_model(past, spec, kind):
        problem = (
            f"{past.label} was validated by {past.validation}, this one by {kind}: their scores cannot "
            "be compared; accept a run of today's validation"
        )
        return replace(past, problem=problem)
    if past.fingerprints.get(TEST_PART) == prints.get(TEST_PART):
        return past
    kept = _kept_model(past, history.folder)
    if kept == ONLY_PREDICTIONS:
        return replace(past, problem=f"{past.problem_on_other_data}, and {ONLY_PREDICTIONS}")
    if isinstance(kept, str):
        problem = (
            f"{past.problem_on_other_data}, and its model cannot be scored on today's: {kept}; "
            "accept a run on today's data"
        )
        return replace(past, problem=problem)
    if past.fingerprints.get(TRAIN_PART) != prints.get(TRAIN_PART):
        on = "on today's test data, some of which it may have been trained on"
    else:
        on = "on today's test data"
    return replace(past, rescored=True, label=f"{past.label}, its model {on}")


def _is_of_one_given_model(past: Past, spec: Spec, kind: str) -> bool:
    """Tell whether one of two runs scored a single model that was trained elsewhere.

    All validations score on test, so that this model is compared with the one that the other run kept,
    sample by sample.
    """
    given = baselines.declared_validation_kind(Scoring())
    refits = {kind: len(spec.validation.refits()), past.validation: len(past.refits)}
    return refits.get(given) == 1


def _kept_model(past: Past, folder: Path) -> KeptModel | str:
    """Return the files of a run's model, checked by their digests, or why they cannot be used."""
    files: list[Path] = []
    kept: Sequence[tuple[str, Artifact | None]] = (
        ("how it is built", past.architecture),
        ("its weights", past.weights),
    )
    for name, artifact in kept:
        if artifact is None:
            is_predictor = past.weights is not None and _holds_predictions(folder, past)
            return ONLY_PREDICTIONS if is_predictor else f"{name} was not kept"
        try:
            files.append(verify(folder, artifact, past.run))
        except HistoryError as error:
            return str(error)
    return KeptModel(files[0], files[1])


def _holds_predictions(folder: Path, past: Past) -> bool:
    """Tell whether the file that a run kept holds what a predictor predicted, and no weights."""
    assert past.weights is not None
    try:
        with verify(folder, past.weights, past.run).open("rb") as file:
            return file.read(len(PREDICTIONS_BEGIN[0])).startswith(PREDICTIONS_BEGIN)
    except (HistoryError, OSError):
        return False
