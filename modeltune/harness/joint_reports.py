"""Judge the runs of several report.json files as one session: those of jobs that a suite was split over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import MEBIBYTE, ModeltuneError, first_line, read_json
from modeltune.judgement import compared_specs, family_of, judge_family
from modeltune.records import SCHEMA, Family, FamilyKind, Regression, Run, from_json

LARGEST_REPORT = 512 * MEBIBYTE

MOST_SPECS = 1_000_000
MOST_LOOKS = 1_000_000_000
"""A report that says more was not written by a session."""


@dataclass(frozen=True, eq=False)
class JointJudgement:
    """The runs of several reports, judged together; ``family`` is None where each spec has its own error rate."""

    runs: tuple[Run, ...]
    family: Family | None


def judge_reports(paths: Sequence[Path]) -> JointJudgement:
    """Judge the runs of several report.json files as one family of the kind that they were judged in.

    A spec that one of the jobs collected and did not end shares the error rate as well.

    Raises:
        ModeltuneError: a file is no report of this schema, two have the same spec, or they were
            judged in families of different kinds.
    """
    reports = {path: _runs_in(path) for path in paths}
    if len(reports) < len(paths):
        twice = next(path for path in paths if list(paths).count(path) > 1)
        raise ModeltuneError(f"{twice} is named twice; name each report once")
    files: dict[str, Path] = {}
    for path, runs in reports.items():
        for run in runs:
            if run.spec in files:
                where = "twice" if files[run.spec] == path else f"and in {files[run.spec]}"
                raise ModeltuneError(
                    f"{path}: {run.spec} is in it {where}; each spec is judged once: leave out one report"
                )
            files[run.spec] = path
    families = {path: family_of(runs) for path, runs in reports.items()}
    kinds = {
        path: FamilyKind.SPEC if family is None else family.kind
        for path, family in families.items()
        if family is not None
        or any(verdict.regressions for run in reports[path] for verdict in run.verdicts)
    }
    if len(set(kinds.values())) > 1:
        first, *others = kinds
        other = next(path for path in others if kinds[path] is not kinds[first])
        raise ModeltuneError(
            f'{first} was judged under family = "{kinds[first]}" and {other} under "{kinds[other]}"; '
            "give all jobs the same [tool.modeltune] and run them again"
        )
    every = tuple(run for runs in reports.values() for run in runs)
    kind = next(iter(kinds.values()), FamilyKind.SPEC)
    if kind is FamilyKind.SPEC:
        return JointJudgement(every, None)
    counts = [
        compared_specs(runs) if (own := families[path]) is None else own.specs
        for path, runs in reports.items()
    ]
    family = Family(kind, max(sum(counts), 1))
    return JointJudgement(judge_family(every, family), family)


def _runs_in(path: Path) -> list[Run]:
    try:
        document = read_json(path, LARGEST_REPORT)
    except OSError as error:
        raise ModeltuneError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModeltuneError(f"{path} is no report.json: {first_line(error)}") from error
    is_report = isinstance(document, dict) and isinstance(document.get("runs"), list)
    if not is_report or not isinstance(document.get("schema"), int):
        raise ModeltuneError(f"{path} is no report.json of modeltune: it has no schema and runs")
    if document["schema"] != SCHEMA:
        raise ModeltuneError(
            f"{path} has schema {document['schema']}, and schema {SCHEMA} is judged: give all jobs the "
            "modeltune that judges, and run them again"
        )
    runs = []
    for number, data in enumerate(document["runs"], 1):
        try:
            run = from_json(data)
            for verdict in run.verdicts:
                for regression in verdict.regressions:
                    _require_comparison(regression)
            runs.append(run)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
            raise ModeltuneError(
                f"{path}: run {number} is not as modeltune writes runs: {why}"
            ) from error
    return runs


def _require_comparison(regression: Regression) -> None:
    """Raise ValueError where a comparison has numbers that none has."""
    family, look = regression.family, regression.look
    problems = {
        "alpha": not 1e-9 < regression.alpha < 1,
        "p_adjusted": not 0 <= regression.p_adjusted <= 1,
        "look": look is not None and not 1 <= look <= MOST_LOOKS,
        "specs": family is not None and not 1 <= family.specs <= MOST_SPECS,
    }
    if wrong := [name for name, is_wrong in problems.items() if is_wrong]:
        raise ValueError(f"{', '.join(wrong)} of a comparison cannot be that")
