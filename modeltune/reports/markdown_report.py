"""Runs as GitHub-flavoured Markdown, for a step summary or a pull request; prints nothing."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar

from modeltune.ground import count_of
from modeltune.records import (
    FITTED,
    Json,
    Outcome,
    Regression,
    Run,
    Scores,
    Trial,
    Verdict,
    number_of,
)
from modeltune.reports.annotations import is_red
from modeltune.reports.counterexamples import counterexamples
from modeltune.reports.drops import drop_groups, parts_line, samples_line
from modeltune.reports.error_rates import false_alarms
from modeltune.reports.exports import EXPORT_HEADERS, export_rows
from modeltune.reports.progress import duration
from modeltune.reports.rankings import HEADERS, Ranking, ranking_rows, ranking_title
from modeltune.reports.tables import (
    MISSING,
    clean,
    cuts,
    distinct,
    headline,
    mean_std,
    number,
    operating_point,
    outcome_codes,
    parse_objective,
    phases,
    seconds,
)
from modeltune.specs import Direction

_T = TypeVar("_T")

MOST_BYTES = 64_000
"""GitHub takes 65 536 characters as a comment."""

MOST_TRIALS = 20

MOST_LINES = 12
"""Lines of a traceback: the innermost frames and the error stand at its end."""

LONGEST_LINE = 610
"""Characters of one text in a table: a name of 300 and a value of 300 are whole."""

_PROSE = re.compile(r"""(?:[A-Za-z0-9 ,;%()=+"'/±-]|[.:](?=\s|$)|(?<=\d)\.(?=\d))+""")
"""Text that GitHub shows as it is: without a link, mention, emoji or emphasis."""


@dataclass(frozen=True)
class _Block:
    """A part of the page that is shown whole or left out; ``what`` names it then."""

    what: str
    text: str


def markdown(runs: Sequence[Run], rankings: Sequence[Ranking] = ()) -> str:
    """Return the page over these runs, red ones first, in less than 64 000 bytes of UTF-8.

    Names and messages are shown literally, whatever they hold. What does not fit is left out,
    details of single runs first, and the page says what and how much.
    """
    ordered = sorted(runs, key=lambda run: run.passed)
    blocks = [_Block("heading", _heading(ordered)), _Block("list of runs", _overview(ordered))]
    blocks += [_Block("ranking of a protocol", _ranking(one)) for one in rankings]
    blocks += [_Block("error", _error(run)) for run in ordered if run.error]
    codes = outcome_codes(ordered)
    blocks += [
        _Block("table of gates", _gates(ordered)),
        _Block("codes of outcomes", _prose(codes) if codes else ""),
        _Block("table of changes", _changes(ordered)),
        *(_Block("explanation of a drop", text) for run in ordered for text in _drops(run)),
        *(_Block("detail of a run", _details(run)) for run in ordered),
    ]
    return _page([block for block in blocks if block.text])


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in which every text is shown literally, whatever it holds; empty of no rows."""
    return _table(headers, rows, lambda row: [*map(_prose, row)], "row", MOST_BYTES, len(rows))


def markdown_text(text: str) -> str:
    """Return a text on a line, shown literally."""
    return _prose(text)


def _page(blocks: Sequence[_Block]) -> str:
    kept: list[str] = []
    left_out: Counter[str] = Counter()
    room = MOST_BYTES - 500  # for the last line
    for block in blocks:
        text = "\n".join(line.rstrip() for line in block.text.splitlines())
        if (size := _size(text) + 2) > room:
            left_out[block.what] += 1
        else:
            kept.append(text)
            room -= size
    if left_out:
        named = ", ".join(f"{what} ({count})" for what, count in left_out.items())
        kept.append(f"Too long for GitHub, left out: {named}. report.json has all of it.")
    return "\n\n".join(kept) + "\n"


def _heading(runs: Sequence[Run]) -> str:
    return f"## modeltune: {headline(runs)}"


def _overview(runs: Sequence[Run]) -> str:
    def row(run: Run) -> list[str]:
        objective = parse_objective(run.objective)
        tested = objective.test_metric if objective else run.objective
        status = run.status.value if run.passed else f"**{run.status.value}**"
        seconds = run.durations.data + run.durations.search + run.durations.validation
        return [
            status + (" (cached)" if run.cached else ""),
            _code(run.spec),
            f"{_code(tested)} {mean_std(run.scores.get(tested))}",
            number(run.best.score if run.best else None),
            f"{len(run.completed_trials)}/{len(run.trials)}",
            _code(run.baseline or ""),
            duration(seconds) if math.isfinite(seconds) else number(seconds),
        ]

    headers = ["status", "spec", "tested", "search's best", "trials", "baseline", "time"]
    return _table(headers, runs, row, "run", 14_000)


def _ranking(ranking: Ranking) -> str:
    table = markdown_table(HEADERS, ranking_rows(ranking))
    lines = [f"### {_prose(ranking_title(ranking))}", "", table, *map(_prose, ranking.left_out)]
    return "\n".join(lines)


def _error(run: Run) -> str:
    return f"Error of this run:\n\n{_fence([run.spec, *(run.error or '').splitlines()], 3_000)}"


def _gates(runs: Sequence[Run]) -> str:
    """Return every gate and every red check: red ones first, then others that did not pass."""
    judged = [(run, verdict) for run in runs for verdict in run.verdicts]
    judged += [(run, check) for run in runs for check in run.checks if is_red(run, check)]

    def rank(pair: tuple[Run, Verdict]) -> int:
        return 0 if is_red(*pair) else 1 if pair[1].outcome is not Outcome.PASSED else 2

    headers = ["spec", "gate", "measured", "bound", "outcome", "reason"]
    ordered = sorted(judged, key=rank)
    return _table(
        headers, ordered, lambda pair: [_code(pair[0].spec), *_verdict(*pair)], "gate", 20_000
    )


def _verdict(run: Run, verdict: Verdict) -> list[str]:
    measured, bound = distinct(verdict.measured, verdict.bound)
    red = is_red(run, verdict)
    outcome = f"**{verdict.outcome.value}**" if red else verdict.outcome.value
    reason = _prose(verdict.reason)
    if verdict.section is not None:
        reason += f" ({number_of(verdict.gate)}: {_code(verdict.section)})"
    return [_code(verdict.gate), measured, bound, outcome, reason]


def _changes(runs: Sequence[Run]) -> str:
    """Return what the gates measured beside the recorded runs they were compared with."""
    changes = [
        (run, verdict, verdict.regression)
        for run in runs
        for verdict in run.verdicts
        if verdict.regression is not None and verdict.measured is not None
    ]

    def row(change: tuple[Run, Verdict, Regression]) -> list[str]:
        run, verdict, regression = change
        delta, (low, high) = regression.delta, regression.interval
        return [
            _code(run.spec),
            _code(verdict.gate),
            _code(regression.reference),
            *distinct(regression.reference_value, verdict.measured),
            f"{number(abs(delta))} {'better' if delta > 0 else 'worse'}" if delta else "0",
            f"{number(low)} to {number(high)}",
        ]

    headers = ["spec", "gate", "compared with", "then", "now", "change", "interval of the change"]
    table = _table(headers, changes, row, "comparison", 8_000)
    rates = list(dict.fromkeys(filter(None, map(false_alarms, runs))))
    chances = "".join(f"\n\nFalse alarms: {_prose(rate)}." for rate in rates)
    return f"Changed since (more is better):\n\n{table}{chances}" if table else ""


def _drops(run: Run) -> Iterator[str]:
    """Yield for each recorded run that red gates were held against what changed, and where it got worse."""
    for group in drop_groups(run):
        lines = [f"### {_prose(f'What changed since {group.label}')}", "", _code(run.spec), ""]
        lines += [f"- {_prose(line)}" for line in group.changes or ["nothing that is recorded"]]
        lines += [f"- {_prose(f'not known: {line}')}" for line in group.untold]
        for verdict, drop in group.drops:
            worse = [line for line in (parts_line(drop), samples_line(drop)) if line]
            if worse:
                lines += ["", f"Where it got worse, by {_code(verdict.gate)}:", ""]
                lines += [f"- {_prose(line)}" for line in worse]
        yield "\n".join(lines)


def _details(run: Run) -> str:
    sections = [section for section in _sections(run) if section]
    if not sections:
        return ""
    # The only text outside of tables and fences. Markdown is not read on this line.
    spec = html.escape(_clip(run.spec)) or MISSING
    summary = f"<summary><code>{spec}</code>: {run.status.value}</summary>"
    return "\n\n".join([f"<details>\n{summary}", *sections, "</details>"])


def _sections(run: Run) -> Iterator[str]:
    checks = [check for check in run.checks if check.outcome is not Outcome.PASSED]
    headers = ["check", "measured", "bound", "outcome", "reason"]
    yield _table(headers, checks, lambda check: _verdict(run, check), "check", 6_000)
    missed = tuple(gate for gate in run.verdicts if gate.outcome is not Outcome.PASSED)
    pictures = list(counterexamples(replace(run, verdicts=missed)))
    yield "\n\n".join(_fence(text.splitlines(), 3_000) for text in pictures[:5])
    if len(pictures) > 5:
        yield _more(len(pictures) - 5, "counter-example")

    def score(pair: tuple[str, Scores]) -> list[str]:
        name, scores = pair
        values = ", ".join(number(value) for value in scores.values[:20])
        left = len(scores.values) - 20
        return [
            _code(name),
            mean_std(scores),
            f"{values} {_more(left, 'refit')}" if left > 0 else values,
        ]

    yield _table(
        ["metric", "on test", "of each refit"], [*run.scores.items()], score, "metric", 5_000
    )
    exports = export_rows(run)
    yield _table(EXPORT_HEADERS, exports, lambda row: [*map(_prose, row)], "export", 4_000)
    if run.best:
        title = "value" if run.best.trial is None else f"best value (trial {run.best.trial})"
        values = [(name, _value(value)) for name, value in run.best.values.items()]
        yield _table([title, ""], values, lambda pair: [*map(_code, pair)], "value", 4_000)
    yield _trials(run)
    yield _traceback(run)
    facts = [fact for fact in _facts(run) if clean(fact[1])]
    yield _table(["run", ""], facts, lambda fact: [fact[0], _code(fact[1])], "fact", 4_000)


def _trials(run: Run) -> str:
    trials = run.trials
    if len(trials) > MOST_TRIALS:
        objective = parse_objective(run.objective)
        sign = 1 if objective and objective.direction is Direction.MIN else -1

        def loss(trial: Trial) -> float:
            is_finite = trial.score is not None and math.isfinite(trial.score)
            return sign * trial.score if is_finite and trial.score is not None else math.inf

        trials = tuple(sorted(run.trials, key=loss))

    def row(trial: Trial) -> list[str]:
        return [
            f"{trial.id} (best)" if run.best and run.best.trial == trial.id else str(trial.id),
            trial.status.value,
            number(trial.score),
            "-" if trial.trained_by == FITTED else str(trial.epochs),
            _code(", ".join(f"{name}={_value(value)}" for name, value in trial.values.items())),
            _prose(trial.reason or ""),
        ]

    headers = ["trial", "status", "score", "epochs", "values", "reason"]
    return _table(headers, trials, row, "trial", 9_000, MOST_TRIALS)


def _traceback(run: Run) -> str:
    """Return where the first failed trial raised: the end of its traceback, and how to see others."""
    failed = [trial for trial in run.trials if trial.traceback is not None]
    if not failed:
        return ""
    lines = (failed[0].traceback or "").splitlines()
    end = lines[-MOST_LINES:]
    cut = f", the last {len(end)} of {len(lines)} lines" if len(end) < len(lines) else ""
    title = (
        f"where trial {failed[0].id} failed{cut}; modeltune show {run.id} --trial N shows trial N:"
    )
    return _fence([title, *end], 3_000)


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """Yield a few facts about where the numbers come from."""
    yield "id", run.id
    yield "objective", run.objective
    yield "search", str(run.search.get("kind") or "")
    samples = {name: part.get("samples") for name, part in run.data.items() if _is_object(part)}
    yield "samples", ", ".join(f"{name} {size}" for name, size in samples.items() if size)
    if reads := run.data.get("test_reads"):
        yield "test part", f"has given {count_of(reads, 'verdict')}, this one included"
    for cut in cuts(run):
        yield "cut", cut
    for name, table in run.task_report.items():
        of = f" of {name}" if len(run.task_report) > 1 else ""
        yield f"operating point{of}", operating_point(table) if _is_object(table) else ""
    yield "time", ", ".join(f"{phase} {seconds(spent)} s" for phase, spent in phases(run).items())
    versions = run.environment.get("versions")
    if _is_object(versions):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    devices = run.environment.get("devices")
    yield "devices", ", ".join(map(str, devices)) if isinstance(devices, list | tuple) else ""
    dirty = " and uncommitted changes" if run.environment.get("git_dirty") else ""
    revision = run.environment.get("git_revision")
    yield "commit", f"{revision}{dirty}" if revision else ""
    for note in run.notes[:10]:
        yield "note", note
    for advice in run.advice[:10]:
        yield "advice", advice


def _table(
    headers: Sequence[str],
    things: Sequence[_T],
    row: Callable[[_T], Sequence[str]],
    what: str,
    room: int,
    most: int = 200,
) -> str:
    """Return a table of as many things as there is room for, and how many are not shown."""
    if not things:
        return ""
    lines = [_row(headers), _row(["---"] * len(headers))]
    room -= _size("\n".join(lines))
    for thing in things[:most]:
        line = _row(row(thing))
        room -= _size(line) + 1
        if room < 0:
            break
        lines.append(line)
    left = len(things) - (len(lines) - 2)
    return "\n".join(lines) + (f"\n\n{_more(left, what)}" if left else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """Return a cell as plain text where nothing in it could mean anything else to GitHub."""
    cell = _clip(text)
    return cell if _PROSE.fullmatch(cell) else _code(text)


def _code(text: str) -> str:
    """Return a cell that shows a text literally: in code, GitHub links and mentions nothing."""
    cell = _clip(text)
    # Parsers of tables disagree about a backslash before an escaped pipe.
    parts = re.split(r"(\\+\|)", cell)
    return "".join(_span(part) for part in parts if part) or MISSING


def _span(text: str) -> str:
    if text.endswith("\\|"):
        return f"<code>{'&#92;' * (len(text) - 1)}&#124;</code>"
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    # A space at either end would be taken for padding.
    ends = {text[0], text[-1]}
    pad = " " if "`" in ends or (ends == {" "} and text.strip()) else ""
    fence = "`" * (longest + 1)
    return fence + pad + text.replace("|", "\\|") + pad + fence


def _fence(lines: Sequence[str], room: int) -> str:
    """Return lines as a block of code, as many as there is room for."""
    kept = []
    for line in lines:
        # Spaces are kept: they are the pixels of an image.
        row = " ".join(map(clean, line[: 20 * LONGEST_LINE].split(" "))).rstrip()
        row = row if len(row) <= LONGEST_LINE else f"{row[: LONGEST_LINE - 3]}..."
        room -= _size(row) + 1
        if room < 0:
            break
        kept.append(row)
    if len(kept) < len(lines):
        kept.append(_more(len(lines) - len(kept), "line"))
    longest = max((len(ticks) for line in kept for ticks in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *kept, fence])


def _clip(text: str) -> str:
    # Text far beyond the end is not cleaned.
    cell = " ".join(clean(text[: 20 * LONGEST_LINE]).split())
    return cell if len(cell) <= LONGEST_LINE else f"{cell[: LONGEST_LINE - 3]}..."


def _more(count: int, what: str) -> str:
    return f"and {count} more {what}" + ("" if count == 1 else "s")


def _value(value: bool | int | float | str) -> str:
    return value if isinstance(value, str) else repr(value)


def _is_object(value: Any) -> TypeGuard[Mapping[str, Json]]:
    return isinstance(value, Mapping)


def _size(text: str) -> int:
    return len(text.encode())
