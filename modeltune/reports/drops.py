"""What explains red comparisons with recorded runs, as lines of text; prints nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modeltune.records import Drop, Run, Verdict, WorsePart, WorseSample

LONGEST_EXPLANATION = 24
"""Lines of a terminal that explain a red run."""

MOST_CHANGES_NAMED = 6
"""Changes of an aspect that a line names."""


@dataclass(frozen=True)
class DropGroup:
    """The verdicts of a run that were held against one recorded run, with the drop that each has.

    Args:
        label: how reports call that run.
        changes: a line for each aspect that is not as it was then: "code: spec_a.py::mlp".
        untold: what could not be looked at, and why.
        drops: the verdicts, each with what explains it; the same explanation stands once.
    """

    label: str
    changes: Sequence[str]
    untold: Sequence[str]
    drops: Sequence[tuple[Verdict, Drop]]


def drop_groups(run: Run) -> list[DropGroup]:
    """Return what explains the red comparisons of a run, by the recorded run that they were made with."""
    by_reference: dict[str, list[tuple[Verdict, Drop]]] = {}
    for verdict in run.verdicts:
        if (drop := verdict.drop) is not None:
            by_reference.setdefault(drop.reference, []).append((verdict, drop))
    groups = []
    for drops in by_reference.values():
        told: dict[tuple[object, ...], tuple[Verdict, Drop]] = {}
        for verdict, drop in drops:
            told.setdefault((drop.values, drop.parts, drop.samples), (verdict, drop))
        first = drops[0][1]
        untold = dict.fromkeys(text for _, drop in drops for text in drop.untold)
        groups.append(DropGroup(first.label, _changes(first), list(untold), list(told.values())))
    return groups


def drop_lines(run: Run) -> list[str]:
    """Return what explains the red comparisons of a run in at most ``LONGEST_EXPLANATION`` lines."""
    lines = list(_lines(run))
    if len(lines) <= LONGEST_EXPLANATION:
        return lines
    left = len(lines) - LONGEST_EXPLANATION + 1
    return [
        *lines[: LONGEST_EXPLANATION - 1],
        f"  and {left} more lines in report.md and report.html",
    ]


def _lines(run: Run) -> Iterator[str]:
    for group in drop_groups(run):
        yield f"what changed since {group.label}:"
        for line in group.changes or ["nothing that is recorded"]:
            yield f"  {line}"
        for line in group.untold:
            yield f"  not known: {line}"
        for verdict, drop in group.drops:
            worse = [line for line in (parts_line(drop), samples_line(drop)) if line]
            if worse:
                yield f"where it got worse, by {verdict.gate}:"
                yield from (f"  {line}" for line in worse)


def parts_line(drop: Drop) -> str:
    """Return in which parts it got worse than elsewhere, "" where nothing was looked at."""
    if not drop.values:
        return ""
    if not drop.parts:
        return "in no class, slice or group more than elsewhere"
    return f"most ({drop.values}): {', '.join(map(part_text, drop.parts))}"


def part_text(part: WorsePart) -> str:
    """Return a part with its means: ``class 7 0.95 -> 0.81 (n=40)``."""
    return f"{part.name} {part.then:.4g} -> {part.now:.4g} (n={part.n})"


def samples_line(drop: Drop) -> str:
    """Return which test samples got worse, "" where none did or nothing was looked at."""
    if not drop.samples:
        return ""
    listed = "; ".join(map(sample_text, drop.samples))
    if drop.flips is None:
        return f"test samples whose error grew most: {listed}"
    more = f"; and {drop.flips - len(drop.samples)} more" if drop.flips > len(drop.samples) else ""
    which = "sample was right and is" if drop.flips == 1 else "samples were right and are"
    return f"{drop.flips} test {which} wrong: {listed}{more}"


def sample_text(sample: WorseSample) -> str:
    """Return a sample with what was true and predicted: ``#17 (true 7, now 1)``."""
    facts = [f"true {sample.truth}"] if sample.truth else []
    if sample.then and sample.then != sample.truth:
        facts.append(f"then {sample.then}")
    facts += [f"now {sample.now}"] if sample.now else []
    facts += [f"error up by {sample.loss:.3g}"] if sample.loss is not None else []
    return f"#{sample.row}" + (f" ({', '.join(facts)})" if facts else "")


def _changes(drop: Drop) -> list[str]:
    lines = []
    for aspect, listed in itertools.groupby(drop.changes, key=lambda change: change.aspect):
        changes = list(listed)
        named = [
            change.name
            if change.then is None and change.now is None
            else f"{change.name} {_side(change.then)} -> {_side(change.now)}"
            for change in changes[:MOST_CHANGES_NAMED]
        ]
        more = len(changes) - MOST_CHANGES_NAMED
        lines.append(f"{aspect}: {', '.join(named)}" + (f", and {more} more" if more > 0 else ""))
    return lines


def _side(text: str | None) -> str:
    if text is None:
        return "-"
    return text if len(text) <= 60 else f"{text[:57]}..."
