"""Two runs side by side: what differs between them, as text; prints nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from modeltune.ground import in_a_line, later
from modeltune.records import Json, Run, Scores, plain
from modeltune.reports.columns import hanging
from modeltune.reports.exports import export_numbers
from modeltune.reports.tables import MISSING, clean, flat, mean_std, number, text_table

DIGITS = 12
"""How many characters of a digest are shown: enough to tell two apart and to search for one."""

LISTED = 8
"""How many names of unchanged entries are listed."""


@dataclass(frozen=True)
class Difference:
    """What is known about the difference of a metric between two runs.

    ``p`` is the two-sided p-value of "there is no difference", None where nothing can be tested.
    ``by`` says which question it answers and by which test, or why there is no test.
    """

    p: float | None
    by: str


@dataclass(frozen=True)
class Contrast:
    """Differences that the two records alone do not show.

    Args:
        metrics: by name, the difference, for metrics that both runs measured and that differ.
        code: the names of the parts of code that differ, None when a run does not say.
        notes: what could not be looked at, and why.
    """

    metrics: Mapping[str, Difference] = field(default_factory=dict)
    code: tuple[str, ...] | None = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunComparison:
    """Two runs, and what differs between them; printed it is what ``modeltune compare`` shows."""

    a: Run
    b: Run
    contrast: Contrast

    def __repr__(self) -> str:
        aspects = [section.title for section in differences(*self._parts) if section.rows][1:]
        differ = f"{', '.join(aspects)} differ" if aspects else "nothing differs"
        return (
            f"<RunComparison of A, {in_a_line(self.a.id)}, and B, {in_a_line(self.b.id)}: {differ}>"
        )

    def __str__(self) -> str:
        return comparison_report(*self._parts)

    def _repr_html_(self) -> str:
        html: str = later("reports", "comparison_view")(self)
        return html

    @property
    def _parts(self) -> tuple[Run, Run, Contrast]:
        return self.a, self.b, self.contrast


@dataclass(frozen=True)
class Section:
    """A part of a comparison: a table of what differs, or a list when it has no headers.

    ``summary`` stands below the rows, or in their place where nothing differs.
    """

    title: str
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    summary: str = ""


def comparison_report(
    a: Run, b: Run, contrast: Contrast = Contrast(), columns: int | None = None
) -> str:
    """Return what differs between two runs, section by section, and which aspects are the same."""
    sections = [_text(section, columns) for section in differences(a, b, contrast)]
    text = sections[0]
    for before, section in itertools.pairwise(sections):
        # Lines that stand alone stand together.
        text += ("\n\n" if "\n" in before + section else "\n") + section
    return text


def comparison_to_json(a: Run, b: Run, contrast: Contrast = Contrast()) -> Json:
    """Return what differs between two runs as strict JSON data.

    ``a`` and ``b`` say which they are; ``metrics`` have by name both sides' mean, std and values, and
    ``p`` and ``by`` of those that differ; ``sections`` are what the text shows; ``code`` names the
    parts of code that differ, null where a run does not say; ``notes`` what could not be looked at.
    """
    first, *sections = differences(a, b, contrast)
    names = ("run", "spec", "created", "status", "objective")
    one, other = (dict(zip(names, row[1:], strict=True)) for row in first.rows)
    metrics = {}
    for metric in dict.fromkeys([*a.scores, *b.scores]):
        sides = {side: _scores(run.scores.get(metric)) for side, run in (("a", a), ("b", b))}
        difference = contrast.metrics.get(metric)
        tested = None if difference is None else {"p": difference.p, "by": difference.by}
        metrics[metric] = {**sides, "difference": tested}
    return plain(
        {
            "a": one,
            "b": other,
            "metrics": metrics,
            "code": contrast.code,
            "notes": contrast.notes,
            "sections": sections,
        }
    )


def _scores(scores: Scores | None) -> dict[str, Json] | None:
    if scores is None:
        return None
    return {"mean": scores.mean, "std": scores.std, "values": scores.values}


def _text(section: Section, columns: int | None) -> str:
    summary = "\n".join(hanging("", line, columns) for line in section.summary.split("\n"))
    if not section.rows:
        return hanging(f"{section.title}: ", section.summary, columns) if section.title else summary
    rows = text_table(section.headers, section.rows, columns)
    if not section.headers:
        rows = "\n".join(hanging("  ", clean(cell), columns) for (cell,) in section.rows)
    return "\n".join(filter(None, (hanging("", section.title, columns), rows, summary)))


def differences(a: Run, b: Run, contrast: Contrast = Contrast()) -> Iterator[Section]:
    """Yield what differs between two runs: first which they are, then one section per aspect."""
    yield Section(
        "",
        ["", "run", "spec", "created", "status", "objective"],
        [
            [
                name,
                run.id,
                run.spec,
                run.created[:16].replace("T", " "),
                run.status.value,
                run.objective,
            ]
            for name, run in (("A", a), ("B", b))
        ],
    )
    if contrast.notes:
        yield Section("", summary="\n".join(clean(note) for note in contrast.notes))
    yield _metrics(a, b, contrast.metrics)
    exports = [export_numbers(run) for run in (a, b)]
    if any(exports):
        yield _differences("exports", *exports)
    # As typed, with all digits: values are copied from here into code.
    values = [
        {n: v if isinstance(v, str) else repr(v) for n, v in run.best.values.items()}
        if run.best
        else {}
        for run in (a, b)
    ]
    yield _differences("best values", *values)
    yield _differences("gates", _outcomes(a), _outcomes(b))
    for title, one, other in (
        ("search", a.search, b.search),
        ("fit", a.fit, b.fit),
        ("validation", _validation(a), _validation(b)),
        ("data", _data(a), _data(b)),
    ):
        yield _differences(title, one, other)
    if contrast.code is None:
        yield Section(
            "code", summary="unknown: one of the runs does not record the code it was made from"
        )
    elif contrast.code:
        yield Section("code that differs", rows=[[name] for name in contrast.code])
    else:
        yield Section("code", summary="same")
    versions = [run.environment.get("versions", {}) for run in (a, b)]
    yield _differences("versions", *versions)
    yield _differences("environment", _environment(a), _environment(b))
    yield Section("git", summary=_git(a, b))


def _metrics(a: Run, b: Run, differences: Mapping[str, Difference]) -> Section:
    rows: list[list[str]] = []
    same: list[str] = []
    for metric in dict.fromkeys([*a.scores, *b.scores]):
        one, other = a.scores.get(metric), b.scores.get(metric)
        if _is_same(one, other):
            same.append(metric)
            continue
        difference = differences.get(metric, Difference(None, ""))
        by = difference.by
        if one is None or other is None:
            by = f"only {'B' if one is None else 'A'} measured it"
        rows.append(
            [metric, mean_std(one), mean_std(other), _delta(one, other), _p(difference.p), by]
        )
    if not rows:
        return Section("metrics on test", summary="same" if same else "neither run measured any")
    about = _same(same)
    if any(difference.p is not None for difference in differences.values()):
        about += (
            '\np: two-sided, for "there is no difference"; not adjusted for the number of metrics'
        )
    headers = ["metric", "A", "B", "B - A", "p", "question and test"]
    return Section("metrics on test, mean ± std over refits", headers, rows, about.strip("\n"))


def _is_same(one: Scores | None, other: Scores | None) -> bool:
    if one is None or other is None or len(one.values) != len(other.values):
        return False
    pairs = zip(one.values, other.values, strict=True)
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)


def _delta(one: Scores | None, other: Scores | None) -> str:
    if one is None or other is None or not (one.is_finite and other.is_finite):
        return MISSING
    delta = other.mean - one.mean
    return f"{'+' if delta > 0 else ''}{number(delta, 3)}"


def _p(p: float | None) -> str:
    if p is None:
        return MISSING
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _outcomes(run: Run) -> dict[str, str]:
    return {verdict.gate: verdict.outcome.value for verdict in run.verdicts}


def _validation(run: Run) -> dict[str, Json]:
    """Return how a run was validated, with only the seeds and folds of its refits."""
    refits = [
        f"{refit.get('seed')}" + ("" if refit.get("fold") is None else f"/{refit['fold']}")
        for refit in run.validation.get("refits", ())
    ]
    declared = {name: value for name, value in run.validation.items() if name != "refits"}
    return declared | ({"refits (seed/fold)": " ".join(refits)} if refits else {})


def _data(run: Run) -> dict[str, Json]:
    prints = {
        f"{name.removeprefix('data/')} part": digest[:DIGITS]
        for name, digest in run.fingerprints.items()
        if name.startswith("data/")
    }
    # How often the test part was read is no property of the data.
    return {n: v for n, v in {**run.data, **prints}.items() if n != "test_reads"}


def _environment(run: Run) -> dict[str, Json]:
    elsewhere = ("versions", "git_revision", "git_dirty")
    return {name: value for name, value in run.environment.items() if name not in elsewhere}


def _git(a: Run, b: Run) -> str:
    one, other = (run.environment.get("git_revision") for run in (a, b))
    dirty = [name for name, run in (("A", a), ("B", b)) if run.environment.get("git_dirty") is True]
    dirty_note = f"; with uncommitted changes: {' and '.join(dirty)}" if dirty else ""
    if one is None or other is None:
        unknown = " and ".join(name for name, r in (("A", one), ("B", other)) if r is None)
        return f"unknown for {unknown}{dirty_note}"
    if one == other:
        return f"same commit {clean(one[:DIGITS])}{dirty_note}"
    return f"{clean(one[:DIGITS])}..{clean(other[:DIGITS])}{dirty_note}"


def _differences(title: str, one: Mapping[str, Json], other: Mapping[str, Json]) -> Section:
    """Return the entries that differ, or that all are the same."""
    mine, theirs = dict(flat(one)), dict(flat(other))
    names = list(dict.fromkeys([*mine, *theirs]))
    same = [name for name in names if mine.get(name) == theirs.get(name)]
    rows = [
        [name, *_pair(mine.get(name), theirs.get(name))] for name in names if name not in {*same}
    ]
    if not rows:
        return Section(title, summary="same" if same else "none")
    return Section(title, ["", "A", "B"], rows, _same(same))


def _pair(one: str | None, other: str | None) -> Sequence[str]:
    return [MISSING if text is None else text for text in (one, other)]


def _same(names: Sequence[str]) -> str:
    if len(names) > LISTED:
        return f"same: {len(names)} others"
    return f"same: {clean(', '.join(names))}" if names else ""
