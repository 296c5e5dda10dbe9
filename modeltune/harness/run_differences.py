"""Contrast two recorded runs: what their metrics' differences amount to, and whose code is other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError
from modeltune.histories import TEST_PART, Store, baselines, samples_of
from modeltune.records import Run
from modeltune.reports import Contrast, Difference
from modeltune.specs import GATES, HELD, UNCOMPARABLE, changed, recorded_identity

if TYPE_CHECKING:
    from modeltune.judgement import Comparison, Evidence

VERSION = "the version of "
"""How the name of a part begins that is a package's version."""

DECLARED = ("search", "fit", "validation")
"""The parts of an identity that are declarations, not code."""

EXACT = ("parameters", "artifact_bytes")
"""What has no noise."""

ASKED = {"artifact": "are these models different", "recipe": "are these recipes different"}
"""What a comparison answers, by its question, where neither run is the one to be held against."""


def contrast(a: Run, b: Run, history: Store) -> Contrast:
    """Return what it takes the samples and identities of two runs to tell.

    A metric is compared by ``comparing.compare``: by seeds when both have three or more, else
    sample by sample. Samples that are gone are noted, not fatal.
    """
    from modeltune.judgement import Evidence

    notes, evidence = [], []
    for name, run in (("A", a), ("B", b)):
        samples = None
        try:
            samples = samples_of(run, history)
        except HistoryError as error:
            notes.append(f"the samples of {name} are not at hand: {error}")
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


def _difference(metric: str, a: Run, b: Run, one: Evidence, other: Evidence) -> Difference:
    from modeltune.judgement import compare

    if reason := _incomparable(metric, a, b, one, other):
        return Difference(None, f"not compared: {reason}")
    if metric in EXACT:
        return Difference(None, "exact")
    k = b.validation.get("k")
    overlap = 1 / (k - 1) if isinstance(k, int) and k > 1 else 0.0
    try:
        # Which direction is better does not matter here: both tails count.
        found = compare(metric, 1, other, one, overlap).comparison
    except ValueError as error:
        return Difference(None, f"not compared: {error}")
    if found is None:
        return Difference(None, "not compared: one value each, and no samples that tell it")
    question = found.question.value
    by = f"{ASKED[question]}: {found.test} on {found.n} "
    by += "samples" if question == "artifact" else "seeds"
    if question == "artifact" and len(a.scores[metric].values) != len(b.scores[metric].values):
        by += ", of the two whose weights are kept"
    return Difference(_two_sided(found), by)


def _two_sided(found: Comparison) -> float:
    """Return twice the smaller tail: a sign turned around swaps the two."""
    from modeltune.judgement import McNemar

    if isinstance(found, McNemar):
        # The exact test, as against 0 when a gate asks; p_above is asymptotic.
        tails = found.p_worse, McNemar(found.won, found.lost, found.n).p_worse
    else:
        tails = found.p_worse, found.p_above(0.0)
    return min(1.0, 2 * min(tails))


def _incomparable(metric: str, a: Run, b: Run, one: Evidence, other: Evidence) -> str | None:
    mine, theirs = a.fingerprints.get(TEST_PART), b.fingerprints.get(TEST_PART)
    if mine != theirs:
        return "measured on different test data"
    if (kind := baselines.kind_of(a)) != baselines.kind_of(b):
        return f"validated by {kind} and by {baselines.kind_of(b)}"
    definitions = [
        side.samples.definitions.get(metric) if side.samples else None for side in (one, other)
    ]
    if None not in definitions and definitions[0] != definitions[1]:
        return f"computed in two ways: {definitions[0]}, and {definitions[1]}"
    return None


def _code(a: Run, b: Run) -> tuple[str, ...] | None:
    """Return the names of the parts of code that differ, None when a run does not say."""
    one, other = (recorded_identity(run.fingerprints) for run in (a, b))
    if not one or not other:
        return None
    versions = {*a.environment.get("versions", {}), *b.environment.get("versions", {})}
    return tuple(
        [
            name + (" (cannot be compared)" if _is_uncomparable(name, one, other) else "")
            for name in changed(one, other)
            if name not in DECLARED and name.removeprefix(VERSION) not in versions
        ]
        + list(_gates(a, b))
    )


def _gates(a: Run, b: Run) -> Iterator[str]:
    one, other = (
        {name: part for name, part in run.fingerprints.items() if name.startswith(GATES)}
        for run in (a, b)
    )
    for name in changed(one, other):
        yield name.removeprefix(GATES)


def _is_uncomparable(name: str, one: dict[str, str], other: dict[str, str]) -> bool:
    sides = (one.get(name, ""), other.get(name, ""))
    return name.startswith(HELD) and any(side.startswith(UNCOMPARABLE) for side in sides)


def differing_code(today: dict[str, str], run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which parts of code are not those a run was made of, and notes on what else differs."""
    recorded = recorded_identity(run.fingerprints)
    if not recorded:
        return (), ("the run does not say of which code it was made: an older modeltune ran it",)
    code, notes = [], []
    for name in changed(today, recorded):
        if _is_uncomparable(name, today, recorded):
            notes.append(f"{name} cannot be compared between processes")
        elif name in DECLARED:
            notes.append(f"{name} declared otherwise since")
        elif name.startswith(VERSION):
            was, now = recorded.get(name, "none"), today.get(name, "none")
            notes.append(f"{name} was {was}, is {now}")
        else:
            code.append(name)
    return tuple(code), tuple(notes)
