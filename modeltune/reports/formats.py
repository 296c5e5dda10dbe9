"""Histories, runs and comparisons in the formats of programs and papers: JSON, CSV, Markdown, LaTeX; prints nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from modeltune.ground import in_a_cell
from modeltune.records import SCHEMA, Json, Run, Summary, Trial, Verdict, plain, to_json
from modeltune.reports.comparison import Contrast, Section, comparison_to_json, differences
from modeltune.reports.json_report import json_text, report_text
from modeltune.reports.markdown_report import markdown, markdown_table, markdown_text
from modeltune.reports.tables import (
    HISTORY_HEADERS,
    clean,
    distinct,
    history_rows,
    mean_std,
    number,
)


def history_as(form: str, runs: Sequence[Summary], accepted: Mapping[str, str]) -> str:
    """Return runs as "json", "markdown" or "latex"; as "csv" they are a frame, see ``histories``."""
    if form == "json":
        return json_text({"schema": SCHEMA, "runs": [_summary(run, accepted) for run in runs]})
    rows = history_rows(runs, accepted)
    if form == "markdown":
        return markdown_table(HISTORY_HEADERS, rows)
    return latex_table(HISTORY_HEADERS, rows)


def run_as(form: str, run: Run) -> str:
    """Return a run as "json" (its report.json), "csv" (a field a line), "markdown" (its report.md) or "latex"."""
    if form == "json":
        return report_text([to_json(run)])
    if form == "csv":
        return _fields_csv(to_json(run))
    if form == "markdown":
        return markdown([run]).rstrip("\n")
    return _latex([*_run_sections(run)])


def trial_as(form: str, run: Run, trial: Trial) -> str:
    """Return one trial of a run in one of the formats."""
    place = next(i for i, other in enumerate(run.trials) if other.id == trial.id)
    document = {"run": run.id, "spec": run.spec, "trial": to_json(run)["trials"][place]}
    if form == "json":
        return json_text({"schema": SCHEMA, **document})
    if form == "csv":
        return _fields_csv(document)
    facts = Section(f"trial {trial.id}", ["", ""], [[*pair] for pair in _fields(document)])
    return _markdown([facts]) if form == "markdown" else _latex([facts])


def comparison_as(form: str, a: Run, b: Run, contrast: Contrast) -> str:
    """Return what differs between two runs in one of the formats."""
    if form == "json":
        return json_text({"schema": SCHEMA, **comparison_to_json(a, b, contrast)})
    sections = list(differences(a, b, contrast))
    if form == "csv":
        return _sections_csv(sections)
    return _markdown(sections) if form == "markdown" else _latex(sections)


def latex_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX tabular in which every text is shown literally; empty of no rows."""
    if not rows:
        return ""
    import tabulate

    cells = [[clean(cell) for cell in row] for row in rows]
    # It escapes what LaTeX would obey.
    return tabulate.tabulate(
        cells, headers=[clean(h) for h in headers], tablefmt="latex", disable_numparse=True
    )


def _latex(sections: Sequence[Section]) -> str:
    return _document(sections, "\\paragraph{{{}}}", "\n", _latex_text, latex_table)


def _markdown(sections: Sequence[Section]) -> str:
    return _document(sections, "### {}", "\n\n", markdown_text, markdown_table)


def _document(
    sections: Sequence[Section],
    heading: str,
    between_lines: str,
    as_text: Callable[[str], str],
    as_table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
) -> str:
    """Return sections one below the other: of each its title, table and summary, as far as it has them."""
    parts = []
    for section in sections:
        title = heading.format(as_text(section.title)) if section.title else ""
        headers = section.headers or ["" for _ in (section.rows[:1] or [[]])[0]]
        summary = between_lines.join(map(as_text, section.summary.splitlines()))
        parts += [title, as_table(headers, section.rows), summary]
    return "\n\n".join(filter(None, parts))


def _latex_text(text: str) -> str:
    import tabulate

    return "".join(tabulate.LATEX_ESCAPE_RULES.get(c, c) for c in clean(text))


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[*map(in_a_cell, row)] for row in rows])
    return text.getvalue().rstrip("\n")


def _fields_csv(document: Mapping[str, Json]) -> str:
    return _csv([["field", "value"], *_fields(document)])


def _fields(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a document holds by its path, as ``trials.0.score``; a list of plain values is one."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _fields(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value):
        for place, item in enumerate(value):
            yield from _fields(item, f"{name}.{place}")
    elif isinstance(value, str):
        yield name, value
    else:
        yield name, " ".join(json_text(value).split())


def _sections_csv(sections: Sequence[Section]) -> str:
    """Return the sections of a comparison as one table; what is not told of a row is empty."""
    columns = ["A", "B", "B - A", "p"]
    rows = [["section", "name", *columns, "note"]]
    for section in sections[1:]:
        for row in section.rows:
            told = dict(zip(section.headers or ["name"], row, strict=True))
            note = told.get("question and test", "")
            rows.append([section.title, row[0], *(told.get(name, "") for name in columns), note])
        rows += [
            [section.title, *[""] * (len(columns) + 1), line]
            for line in section.summary.splitlines()
        ]
    return _csv(rows)


def _run_sections(run: Run) -> Iterator[Section]:
    facts = [
        ["run", run.id],
        ["spec", run.spec],
        ["created", run.created],
        ["status", run.status.value + (" (cached)" if run.cached else "")],
        ["objective", run.objective],
        *([["error", run.error]] if run.error else []),
        *([name, str(value)] for name, value in (run.best.values if run.best else {}).items()),
    ]
    yield Section("run", ["", ""], facts)
    for title, verdicts in (("gate", run.verdicts), ("check", run.checks)):
        headers = [title, "measured", "bound", "outcome", "reason"]
        yield Section(f"{title}s", headers, [*map(_verdict, verdicts)])
    scores = [[name, mean_std(scores)] for name, scores in run.scores.items()]
    yield Section("scores on test", ["metric", "mean ± std"], scores)
    trials = [
        [str(trial.id), trial.status.value, number(trial.score), str(trial.epochs), _told(trial)]
        for trial in run.trials
    ]
    yield Section("trials", ["trial", "status", "score", "epochs", "values"], trials)


def _verdict(verdict: Verdict) -> list[str]:
    numbers = distinct(verdict.measured, verdict.bound)
    return [verdict.gate, *numbers, verdict.outcome.value, verdict.explanation]


def _told(trial: Trial) -> str:
    values = ", ".join(f"{name}={value}" for name, value in trial.values.items())
    return "; ".join(filter(None, (values, trial.reason)))


def _summary(run: Summary, accepted: Mapping[str, str]) -> Json:
    document = plain(run)
    scores = {
        name: {"mean": s.mean, "std": s.std, "values": s.values} for name, s in run.scores.items()
    }
    return {**document, "scores": plain(scores), "accepted": accepted.get(run.id)}
