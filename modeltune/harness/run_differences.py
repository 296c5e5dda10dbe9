"""Contrast two recorded runs: whether their metrics differ by more than chance, and what code differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError, default_store, named_store
from modeltune.histories import TEST_PART, Store, baselines, open_store, samples_of
from modeltune.records import Change, Run
from modeltune.reports import Contrast, Difference, RunComparison, differences
from modeltune.specs import (
    BACKEND_PART,
    DEFAULT_BACKEND,
    GATES,
    HELD,
    UNCOMPARABLE,
    Spec,
    changed_parts,
    recorded_identity,
    run_identity,
    search_identity,
)

if TYPE_CHECKING:
    from modeltune.judgement import Comparison, Evidence

VERSION = "the version of "
"""Names of parts that are a package's version begin so."""

DECLARED = ("search", "fit", "validation", "threshold")
"""The parts of an identity that are declarations, not code."""

CANNOT = " (cannot be compared)"
"""What follows the name of a part that is made at random in each process."""

COMMIT_DIGITS = 12
"""How many characters of a commit are shown."""

EXACT = ("parameters", "artifact_bytes", "flops")
"""Metrics without noise."""

QUESTIONS = {
    "artifact": "are these models different",
    "recipe": "are these recipes different",
    "recipe_on_new_data": "are these recipes different for new data and new seeds",
}
"""The question a comparison answers, by its kind, when neither run is the reference."""


def note_on_random_values(spec: Spec, elsewhere: Mapping[str, str], history: Store) -> str | None:
    """Say which values that a spec holds are made at random whenever it is imported; None if none are.

    A base model that is made without a seed, at module level or in the constructor of a HyperModel,
    is the usual one.

    Args:
        spec: as this process has imported it.
        elsewhere: its ``search_identity`` in a process that trains.
        history: where another import of the same code may be recorded.
    """
    here = search_identity(spec)
    both = {name: part for name, part in here.items() if name in elsewhere}
    names, where = _held(changed_parts(both, elsewhere)), "in each process"
    if not names:
        recorded = history.runs(spec.id, limit=1, root=spec.root)
        before = recorded_identity(recorded[0].fingerprints) if recorded else {}
        changed = changed_parts(run_identity(spec), before) if before else []
        names, where = _held(changed), f"since run {recorded[0].id}" if recorded else ""
        if len(names) < len(changed):
            return None  # the code changed too, and may have made other values
    names = [n for n in names if not _is_uncomparable(n, here, elsewhere)]
    if not names:
        return None
    return (
        f"{', '.join(names)} differs {where} although the code is the same, as weights do of a base "
        "model that is made without a seed when the spec is imported: runs are then neither reused, "
        "resumed nor replayed as unchanged; call keras.utils.set_random_seed before it is made, "
        "or make it in build"
    )


def _held(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(HELD)]


def note_on_baseline_of_other_backend(spec: Spec, run: Run) -> str | None:
    """Say that the baseline which judged a run was computed with another backend of Keras.

    None where it was the same, or nothing was judged by a baseline.
    """
    accepted = baselines.read_or_none(baselines.find(spec)) if run.baseline else None
    if accepted is None:
        return None
    theirs, ours = (
        one.get("backend") or DEFAULT_BACKEND for one in (accepted.versions, run.environment)
    )
    if theirs == ours:
        return None
    return (
        f"the accepted run {accepted.run} was computed with {theirs}, this one with {ours}: what differs "
        "may come from that, as their random numbers and their rounding do"
    )


def contrast(a: Run, b: Run, history: Store) -> Contrast:
    """Compare the metrics and the code of two runs by their samples and identities.

    ``judgement.compare_evidence`` compares a metric: by seeds when both runs have three or more, else sample
    by sample. When samples are gone, a note says so.
    """
    from modeltune.judgement import Evidence

    notes, evidence = [], []
    for name, run in (("A", a), ("B", b)):
        samples = None
        try:
            samples = samples_of(run, history)
        except HistoryError as error:
            notes.append(f"the samples of {name} cannot be read: {error}")
        evidence.append(Evidence(dict(run.scores), baselines.refits_of(run), samples))
    one, other = evidence
    both = [
        metric
        for metric in a.scores
        if metric in b.scores and a.scores[metric].values != b.scores[metric].values
    ]
    return Contrast(
        {metric: _difference(metric, a, b, one, other) for metric in both},
        _code(a, b),
        tuple(notes),
    )


def difference_in(metric: str, a: Run, b: Run, history: Store) -> Difference:
    """Compare one metric of two runs, as ``contrast`` does."""
    from modeltune.judgement import Evidence

    evidence = []
    for run in (a, b):
        try:
            samples = samples_of(run, history)
        except HistoryError as error:
            return Difference(None, f"not compared: {error}")
        evidence.append(Evidence(dict(run.scores), baselines.refits_of(run), samples))
    return _difference(metric, a, b, *evidence)


def compare(a: Run | str | int, b: Run | str | int, *, store: str | None = None) -> RunComparison:
    """Return what differs between two runs: metrics with their noise and p, values, data, code, versions.

    Print it to see what ``modeltune compare`` shows; alone in a notebook's cell it is tables.

    Args:
        a: a run, its id or the start of it, or an index: -2 is the last run but one.
        b: the other run.
        store: URL of the history that has them, by default that of ``mt.history()``.

    Raises:
        HistoryError: there is no such run, or the history cannot be read.
    """
    url = named_store(store) if store else default_store()
    del store  # It may carry a password, which a traceback would show.
    with open_store(url, create=False) as history:
        one, other = (run if isinstance(run, Run) else history.run(str(run)) for run in (a, b))
        return RunComparison(one, other, contrast(one, other, history))


def _difference(metric: str, a: Run, b: Run, one: Evidence, other: Evidence) -> Difference:
    from modeltune.judgement import compare_evidence

    if reason := _incomparable(metric, a, b, one, other):
        return Difference(None, f"not compared: {reason}")
    if metric in EXACT:
        return Difference(None, "exact")
    k = b.validation.get("k")
    overlap = 1 / (k - 1) if isinstance(k, int) and k > 1 else 0.0
    try:
        # Which direction is better does not matter here: both tails count.
        pair = compare_evidence(metric, 1, other, one, overlap)
    except ValueError as error:
        return Difference(None, f"not compared: {error}")
    comparison = pair.comparison
    if comparison is None:
        return Difference(None, "not compared: one value each, and no samples that measure it")
    question = comparison.question.value
    by = f"{QUESTIONS[question]}: {comparison.test} on {comparison.n} {comparison.unit.value}"
    if question == "recipe_on_new_data" and pair.crossed is not None:
        by += f" and {pair.crossed.samples} {pair.crossed.sample_unit.value}"
    if question == "artifact" and len(a.scores[metric].values) != len(b.scores[metric].values):
        by += ", of the two whose weights are kept"
    return Difference(_two_sided(comparison), by)


def _two_sided(comparison: Comparison) -> float:
    """Return a two-sided p-value: twice the smaller tail."""
    from modeltune.judgement import McNemar

    if isinstance(comparison, McNemar):
        # The exact test, as for a gate without a margin; p_above is asymptotic.
        swapped = McNemar(comparison.won, comparison.lost, comparison.n)
        tails = comparison.p_worse, swapped.p_worse
    else:
        tails = comparison.p_worse, comparison.p_above(0.0)
    return min(1.0, 2 * min(tails))


def _incomparable(metric: str, a: Run, b: Run, one: Evidence, other: Evidence) -> str | None:
    mine, theirs = a.fingerprints.get(TEST_PART), b.fingerprints.get(TEST_PART)
    if mine != theirs:
        return "measured on different test data"
    if (kind := baselines.validation_kind(a)) != baselines.validation_kind(b):
        return f"validated by {kind} and by {baselines.validation_kind(b)}"
    definitions = [
        side.samples.definitions.get(metric) if side.samples else None for side in (one, other)
    ]
    if None not in definitions and definitions[0] != definitions[1]:
        return f"computed in two ways: {definitions[0]}, and {definitions[1]}"
    return None


ASPECTS = (
    "best values", "data", "fit", "search", "validation", "versions", "environment"
)  # fmt: skip
"""What may have changed between two runs besides code and commit, the likelier cause first."""

MOST_OF_ASPECT = 12
"""Changes of an aspect that are named."""


def changes_since(reference: Run, run: Run, aspects: Sequence[str] = ASPECTS) -> tuple[Change, ...]:
    """Return what is not as it was in an earlier run: code first; how long something took is none.

    Args:
        reference: the earlier run.
        run: the later one.
        aspects: what the earlier one tells besides its code and commit.
    """
    code = [name for name in _code(reference, run) or () if not name.endswith(CANNOT)]
    changes = [Change("code", name) for name in code]
    sections = {one.title: one for one in differences(reference, run)}
    for aspect in aspects:
        for name, then, now in sections[aspect].rows:
            if aspect == "data" and name.endswith(" part"):
                changes.append(Change(aspect, name))  # a digest says no more
            elif not name.endswith("seconds"):
                changes.append(Change(aspect, name, then, now))
    revisions = [one.environment.get("git_revision") for one in (reference, run)]
    if revisions[0] != revisions[1]:
        sides = (None if one is None else str(one)[:COMMIT_DIGITS] for one in revisions)
        changes.append(Change("git", "commit", *sides))
    if run.environment.get("git_dirty") is True:
        changes.append(Change("git", "uncommitted changes"))
    kept: list[Change] = []
    for aspect, listed in itertools.groupby(changes, key=lambda change: change.aspect):
        of_aspect = list(listed)
        kept += of_aspect[:MOST_OF_ASPECT]
        if (more := len(of_aspect) - MOST_OF_ASPECT) > 0:
            kept.append(Change(aspect, f"{more} more"))
    return tuple(kept)


def _code(a: Run, b: Run) -> tuple[str, ...] | None:
    """Return the names of the parts of code that differ, None when a run does not record them."""
    one, other = (recorded_identity(run.fingerprints) for run in (a, b))
    if not one or not other:
        return None
    versions = {*a.environment.get("versions", {}), *b.environment.get("versions", {})}
    return tuple(
        [
            name + (CANNOT if _is_uncomparable(name, one, other) else "")
            for name in changed_parts(one, other)
            if name not in (*DECLARED, BACKEND_PART) and name.removeprefix(VERSION) not in versions
        ]
        + list(_gates(a, b))
    )


def _gates(a: Run, b: Run) -> Iterator[str]:
    one, other = (
        {name: part for name, part in run.fingerprints.items() if name.startswith(GATES)}
        for run in (a, b)
    )
    for name in changed_parts(one, other):
        yield name.removeprefix(GATES)


def _is_uncomparable(name: str, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    sides = (one.get(name, ""), other.get(name, ""))
    return name.startswith(HELD) and any(side.startswith(UNCOMPARABLE) for side in sides)


def differing_code(today: dict[str, str], run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which parts of code changed since a run, and notes on what else differs."""
    recorded = recorded_identity(run.fingerprints)
    if not recorded:
        return (), ("the run does not record its code: an older modeltune ran it",)
    code, notes = [], []
    for name in changed_parts(today, recorded):
        if _is_uncomparable(name, today, recorded):
            notes.append(f"{name} cannot be compared between processes")
        elif name in DECLARED:
            notes.append(f"the declaration of {name} changed since")
        elif name == BACKEND_PART or name.startswith(VERSION):
            absent = DEFAULT_BACKEND if name == BACKEND_PART else "none"
            was, now = recorded.get(name, absent), today.get(name, absent)
            notes.append(f"{name} was {was}, is {now}")
        else:
            code.append(name)
    return tuple(code), tuple(notes)
