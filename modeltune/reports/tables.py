"""Runs as plain text tables, for the terminal and ``modeltune show``; prints nothing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from modeltune.ground import shorten, typed, without_escapes
from modeltune.records import (
    EXPORTS,
    FITTED,
    GATE_NUMBERS,
    OUTCOMES_PAGE,
    RUN_NUMBERS,
    TRIAL_NUMBERS,
    Artifact,
    ClassNames,
    ConfusionRow,
    Json,
    MetricFacts,
    OperatingPoint,
    Outcome,
    Quantity,
    RaisedError,
    Run,
    RunStatus,
    Scores,
    SliceResult,
    SliceResults,
    Summary,
    Trial,
    TrialStatus,
    Values,
    Verdict,
    averaged_trials,
    confusion_from_json,
    from_plain,
)
from modeltune.reports.class_names import class_names
from modeltune.reports.columns import GAP, NARROWEST, fitting, hanging, width, wrap
from modeltune.reports.counterexamples import counterexamples
from modeltune.reports.drops import drop_lines
from modeltune.reports.error_rates import false_alarms
from modeltune.reports.exports import EXPORT_HEADERS, export_rows
from modeltune.specs import Objective, Severity, maximize, minimize

MISSING = "-"
"""What a table shows where there is no value."""

LONGEST_CELL = 1_000
"""Characters of a cell in a table: a table is as wide in every row as its longest cell."""

LONGEST_FACT = 4_000
"""Characters of a text that stands on a line of its own."""

LONGEST_LIST = 160
"""Characters of a list that stands in a line or a cell: its first values, and how many there are."""

MOST_ROWS, MOST_COLUMNS = 50, 20
"""Rows and columns that are shown of a table inside a recorded document, such as a confusion matrix."""

MOST_WORST, MOST_OTHERS = 20, 3
"""Rows of a large confusion matrix that are shown, and the wrong classes that are named in each."""


def gate_table(run: Run, columns: int | None = None) -> str:
    """Return one row per gate in the order of the spec; empty when it has none."""
    return _verdict_table("gate", run.verdicts, columns)


def trial_table(run: Run, columns: int | None = None) -> str:
    """Return one row per trial in the order of the search, the best one marked with ``*``."""
    rows = [
        [
            f"{trial.id} *" if run.best and run.best.trial == trial.id else str(trial.id),
            trial.status.value,
            number(trial.score),
            _epochs(trial),
            seconds(trial.seconds),
            _values(trial.values),
            trial.reason or "",
        ]
        for trial in run.trials
    ]
    headers = ["trial", "status", "score", "epochs", "seconds", "values", "reason"]
    return text_table(headers, rows, columns)


def summary_table(runs: Sequence[Run]) -> str:
    """Return a table per objective, its runs by the tested metric, best first.

    Runs without a finite score of that metric come last, in the order given.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.objective, []).append(run)
    return "\n\n".join(
        f"{shorten(clean(objective), LONGEST_CELL)}\n{_ranking(objective, group)}"
        for objective, group in groups.items()
    )


def history_table(
    summaries: Sequence[Summary],
    accepted: Mapping[str, str] = {},
    columns: int | None = None,
) -> str:
    """Return one row per run in the order given; empty of none.

    ``accepted`` says by run id what a run is besides its status: "accepted", "was accepted".
    """
    rows = history_rows(summaries, accepted)
    return text_table(HISTORY_HEADERS, rows, columns, optional=OPTIONAL_COLUMNS)


def history_rows(summaries: Sequence[Summary], accepted: Mapping[str, str] = {}) -> list[list[str]]:
    """Return the cells of the table of a history, under ``HISTORY_HEADERS``; see ``history_table``."""
    rows = []
    for summary in summaries:
        tested = tested_metric(summary.objective)
        rows.append(
            [
                summary.id,
                summary.created[:16].replace("T", " "),
                summary.spec,
                summary.status.value
                + (" (cached)" if summary.cached else "")
                + (f", {accepted[summary.id]}" if summary.id in accepted else ""),
                f"{tested} {mean_std(summary.scores.get(tested))}",
                number(summary.best_score),
                seconds(summary.durations.total),
                (summary.git_revision or MISSING)[:10] + ("+" if summary.git_dirty else ""),
            ]
        )
    return rows


HISTORY_HEADERS = [
    "run",
    "created",
    "spec",
    "status",
    "tested",
    "search's best",
    "seconds",
    "commit",
]

OPTIONAL_COLUMNS = ("commit", "seconds", "search's best", "created")
"""What the table of a history leaves out where there is no room, the first one first."""


def trends(
    summaries: Sequence[Summary],
    metrics: Sequence[str],
    bars: str = "▁▂▃▄▅▆▇█",
    columns: int | None = None,
) -> str:
    """Return a line per metric over the runs given newest first: the oldest on the left.

    Only the last ``TREND`` runs are drawn. A run that did not measure the metric, or not as a
    number, is a ``?``; ``bars`` are the levels from the lowest value drawn to the highest.
    """
    drawn = summaries[:TREND][::-1]
    headers = ["trend", f"last {len(drawn)}", *_TREND_NUMBERS]
    return text_table(headers, list(_trend_rows(drawn, metrics, bars)), columns)


def spec_trends(
    latest: Mapping[str, Sequence[Summary]],
    verdicts: Mapping[str, Sequence[Verdict]],
    bars: str = "▁▂▃▄▅▆▇█",
    columns: int | None = None,
) -> str:
    """Return the trends of several specs, each by the metrics that its last judged run had gates on.

    Args:
        latest: the runs of each spec, newest first; a spec with a single run gets no trend.
        verdicts: the verdicts of the judged runs, by run id.
    """
    rows = []
    for spec, summaries in latest.items():
        judged = next((summary for summary in summaries if summary.id in verdicts), None)
        if judged is not None and len(summaries) > 1:
            named = [tested_metric(judged.objective), *map(gated_metric, verdicts[judged.id])]
            metrics = [name for name in dict.fromkeys(named) if name and name in judged.scores]
            drawn = summaries[:TREND][::-1]
            rows += [[spec, *row] for row in _trend_rows(drawn, metrics, bars)]
    return text_table(["spec", "trend", "newest last", *_TREND_NUMBERS], rows, columns)


_TREND_NUMBERS = ["first", "last", "lowest", "highest"]


def _trend_rows(drawn: Sequence[Summary], metrics: Iterable[str], bars: str) -> Iterator[list[str]]:
    for metric in metrics:
        means = [
            summary.scores[metric].mean if metric in summary.scores else math.nan
            for summary in drawn
        ]
        known = [mean for mean in means if math.isfinite(mean)]
        if known:
            numbers = (known[0], known[-1], min(known), max(known))
            yield [metric, sparkline(means, bars), *map(number, numbers)]


TREND = 40
"""How many runs a trend shows: it stands in one line of a terminal."""


def sparkline(values: Sequence[float], bars: str) -> str:
    """Return a character per value, from ``bars`` by its height, ``?`` of one that is not finite."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        # Halves, for the distance between two floats may be too large for a third.
        height = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
        return bars[min(int(height * len(bars)), len(bars) - 1)]

    return "".join(map(bar, values))


def gated_metrics(run: Run) -> list[str]:
    """Return the metric a run was tested by and those of its gates, by the names scores have."""
    named = [tested_metric(run.objective)]
    named += [metric for verdict in run.verdicts if (metric := gated_metric(verdict))]
    return [metric for metric in dict.fromkeys(named) if metric in run.scores]


def gated_metric(verdict: Verdict) -> str | None:
    """Return the metric of a gate, by the name scores have; None for other gates and checks."""
    return verdict.facts.key if isinstance(verdict.facts, MetricFacts) else None


def show(run: Run, columns: int | None = None) -> str:
    """Return everything recorded of a run, in tables of at most so many columns."""
    return "\n\n".join(section for section in _sections(run, columns) if section)


def show_trial(run: Run, trial_id: int, columns: int | None = None) -> str:
    """Return everything recorded of one trial of a run; of a failed one with its traceback.

    Raises:
        LookupError: the run has no trial of this number; names those it has.
    """
    trial = next((trial for trial in run.trials if trial.id == trial_id), None)
    if trial is None:
        raise LookupError(f"run {run.id} has no trial {trial_id}: {_trials_there_are(run)}")
    is_best = run.best is not None and run.best.trial == trial.id
    facts = {
        "run": run.id,
        "spec": run.spec,
        "trial": f"{trial.id} of {len(run.trials)}" + (", the best" if is_best else ""),
        "status": trial.status.value,
        "reason": trial.reason,
        "objective": run.objective,
        "score": None if trial.score is None else number(trial.score),
        "best epoch": None if trial.best_epoch is None else str(trial.best_epoch),
        "values": _values(trial.values),
        "epochs": _epochs(trial),
        "seconds": seconds(trial.seconds),
        "seed": str(trial.seed),
        "trained by": trial.trained_by,
    }
    sections = [
        _facts(((name, value) for name, value in facts.items() if value), columns),
        _with_title("on validation", _fitted_table(trial, columns))
        if trial.trained_by == FITTED
        else _with_title("learning curves", _curve_table(trial.curve, columns)),
        *(
            _with_title(clean(phase.name), _curve_table(phase.curve, columns))
            for phase in trial.phases
        ),
    ]
    if trial.traceback is not None:
        sections.append(
            _with_title(
                "traceback",
                "\n".join(shorten(line, LONGEST_FACT) for line in printable_lines(trial.traceback)),
            )
        )
    elif trial.status is TrialStatus.FAILED:
        sections.append(
            "no traceback: the spec's code raised nothing, or an earlier modeltune that kept no "
            "tracebacks recorded this trial"
        )
    return "\n\n".join(section for section in sections if section)


def _trials_there_are(run: Run) -> str:
    """Return the numbers of a run's trials as ranges: ``its trials are 1 to 4, 6``."""
    numbers = sorted(trial.id for trial in run.trials)
    if not numbers:
        return "it has none"
    ranges = [[numbers[0], numbers[0]]]
    for id_ in numbers[1:]:
        if id_ == ranges[-1][1] + 1:
            ranges[-1][1] = id_
        else:
            ranges.append([id_, id_])
    listed = (f"{low} to {high}" if high > low else str(low) for low, high in ranges)
    return f"its trials are {', '.join(listed)}"


def _curve_table(curve: Mapping[str, tuple[float, ...]], columns: int | None) -> str:
    """Return a row per metric of a trial or phase: its values of the first and last epoch, and between."""
    rows = []
    for metric, values in curve.items():
        known = [value for value in values if math.isfinite(value)]
        ends = (values[0], values[-1]) if values else (None, None)
        extremes = (min(known, default=None), max(known, default=None))
        rows.append([metric, *map(number, (*ends, *extremes)), str(len(values))])
    return text_table(["metric", "first", "last", "lowest", "highest", "epochs"], rows, columns)


def _fitted_table(trial: Trial, columns: int | None) -> str:
    """Return a row per metric of a trial without epochs."""
    rows = [[metric, *map(number, values)] for metric, values in trial.curve.items()]
    return text_table(["metric", "value"], rows, columns)


def failure(run: Run) -> str:
    """Return what to show of a red run: its error, its gates, and the command that shows the rest."""
    error = "\n".join(shorten(clean(line), LONGEST_FACT) for line in (run.error or "").splitlines())
    rest = f"everything about this run: modeltune show {clean(run.id)}"
    noticed = _verdict_table("check", [c for c in run.checks if c.outcome is not Outcome.PASSED])
    red = [verdict for verdict in run.verdicts if verdict.outcome is not Outcome.PASSED]
    pictures = "\n\n".join(_pictures(dataclasses.replace(run, verdicts=tuple(red))))
    texts = (
        _headline(run),
        error,
        gate_table(run),
        _where_gates_raised(run),
        _why_worse(run),
        pictures,
        noticed,
        f"{rest}\n{outcome_codes([run])}",
    )
    return "\n\n".join(text for text in texts if text)


def outcome_codes(runs: Sequence[Run]) -> str:
    """Return the codes of these runs' outcomes that are not passed, and where they are explained; "" of none."""
    words = {run.status.value: RUN_NUMBERS for run in runs if not run.passed}
    told = [f"{word} run {numbers[word]}" for word, numbers in words.items()]
    outcomes = (verdict.outcome for run in runs for verdict in (*run.verdicts, *run.checks))
    named = dict.fromkeys(one.value for one in outcomes if one is not Outcome.PASSED)
    told += [f"{word} {GATE_NUMBERS[word]}" for word in named]
    trials = (trial.status for run in runs for trial in run.trials)
    if TrialStatus.FAILED in trials:
        told.append(f"failed trial {TRIAL_NUMBERS[TrialStatus.FAILED.value]}")
    return f"codes: {', '.join(told)}, in {OUTCOMES_PAGE}" if told else ""


def _why_worse(run: Run, columns: int | None = None) -> str:
    lines = [shorten(clean_indented(line), LONGEST_FACT) for line in drop_lines(run)]
    return "\n".join(hanging("", line, columns) for line in lines)


def undecided(runs: Sequence[Run]) -> str:
    """Return a line for each gate and check that did not pass although the run is green, and advice.

    Gates of a run with the same outcome and reason share a line.
    """
    lines = []
    for run in runs:
        gates: dict[tuple[str, str], list[str]] = {}
        # A check that could not decide is in the run's record only.
        # One that was silenced too.
        silent = (Outcome.INCONCLUSIVE, Outcome.WAIVED)
        checks = [c for c in run.checks if c.outcome not in silent]
        for verdict in (*run.verdicts, *checks) if run.passed else ():
            if verdict.outcome is not Outcome.PASSED:
                shared = (verdict.outcome.value, verdict.explanation)
                gates.setdefault(shared, []).append(verdict.gate)
        lines += [
            f"{outcome}: {clean(run.spec)}: {shorten(clean(', '.join(named)), LONGEST_FACT)}: "
            f"{shorten(clean(reason), LONGEST_FACT)}"
            for (outcome, reason), named in gates.items()
        ]
        lines += [
            f"advice: {clean(run.spec)}: {shorten(clean(text), LONGEST_FACT)}"
            for text in run.advice
        ]
    return "\n".join(lines)


def _verdict_table(name: str, verdicts: Sequence[Verdict], columns: int | None = None) -> str:
    rows = []
    for verdict in verdicts:
        measured, bound = distinct(verdict.measured, verdict.bound)
        rows.append([verdict.gate, measured, bound, verdict.outcome.value, verdict.explanation])
    return text_table([name, "measured", "bound", "outcome", "reason"], rows, columns)


def _headline(run: Run) -> str:
    """Return one line that says what is wrong; a short summary shows nothing else."""
    red = [
        f"{_short(verdict)} (measured {distinct(verdict.measured, verdict.bound)[0]})"
        for verdict in run.verdicts
        if verdict.outcome.is_red(run.strict)
    ]
    checks = [check.gate for check in run.checks if check.outcome.is_red()]
    if run.status is not RunStatus.FAILED or not (red or checks):
        return f"{clean(run.spec)} is {run.status.value}"
    sentences = []
    if red:
        sentences.append(f"red gates ({len(red)} of {len(run.verdicts)}): {', '.join(red)}")
    if checks:
        sentences.append(f"red checks: {', '.join(checks)}")
    return f"{clean(run.spec)}: {shorten(clean('; '.join(sentences)), LONGEST_FACT)}"


def _short(verdict: Verdict) -> str:
    """Return ``accuracy >= 0.95`` for ``mt.metric("accuracy") >= 0.95``."""
    facts = verdict.facts
    if not isinstance(facts, MetricFacts) or facts.quantity in (
        Quantity.GAP,
        Quantity.GAIN_OVER_DUMMY,
        Quantity.GAIN_OVER,
    ):
        return verdict.gate
    warns = ', severity="warn"' if facts.severity is Severity.WARN else ""
    measure = f"mt.metric({typed(facts.metric)}{warns})"
    return verdict.gate.replace(measure, facts.metric, 1)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with at least so many significant digits, whole numbers whole."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return str(value)
    magnitude = abs(value)
    if magnitude >= 1e15:
        return f"{value:.{digits}g}"
    if value == int(value):
        return str(int(value))
    # 12345.678 as 12345.7, where .4g says 1.235e+04.
    whole = len(str(int(magnitude))) + 1 if magnitude >= 1 else 0
    return f"{value:.{max(digits, whole)}g}"


def distinct(measured: float | None, bound: float | None) -> tuple[str, str]:
    """Return both numbers with as many digits as it takes to tell them apart."""
    pairs = ((number(measured, digits), number(bound, digits)) for digits in range(4, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (number(measured), number(bound)))


def mean_std(scores: Scores | None) -> str:
    """Return ``0.9523 ± 0.0041``, the mean alone of a single refit."""
    if scores is None or not scores.values:
        return MISSING
    std = scores.std
    if std is None:
        return number(scores.mean)
    return f"{number(scores.mean)} ± {number(std, 2)}"


def seconds(value: float) -> str:
    """Return seconds to a tenth."""
    return f"{value:.1f}"


def clean(text: str) -> str:
    """Return text on one line, without characters that a terminal would obey.

    Control and format characters go (colours, bells, right-to-left overrides), line
    breaks and tabs become spaces, and lone surrogates, which cannot be printed, ``?``.
    """
    return _printable(" ".join(without_escapes(text).split()))


def clean_indented(line: str) -> str:
    """Return a line as ``clean`` does, with the spaces it begins with."""
    return f"{' ' * (len(line) - len(line.lstrip(' ')))}{clean(line)}"


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, indented as they are, without characters that a terminal would obey."""
    return [_printable(line).rstrip() for line in without_escapes(text).expandtabs().splitlines()]


def _printable(line: str) -> str:
    return "".join(
        "?" if unicodedata.category(character) == "Cs" else character
        for character in line
        if unicodedata.category(character) not in ("Cc", "Cf")
    )


def kept_file(file: Artifact) -> str:
    """Return the path, size and digest of a file of a run, in words."""
    return f"{file.path} ({file.bytes} bytes, sha256 {file.sha256})"


def _sections(run: Run, columns: int | None) -> Iterator[str]:
    best = run.best
    kept = run.artifact
    facts = {
        "run": run.id,
        "spec": run.spec,
        "file": run.file,
        "created": run.created,
        "status": run.status.value + (" (cached)" if run.cached else ""),
        "error": run.error,
        "objective": run.objective,
        "best": best
        and best.trial is not None
        and f"trial {best.trial}, score {number(best.score)}: {_values(best.values)}",
        "ensemble": ", ".join(f"trial {trial}" for trial in averaged_trials(run)),
        "values": best and best.trial is None and _values(best.values),
        "trials": _completed_share(run),
        "seconds": (", ".join(f"{phase} {seconds(spent)}" for phase, spent in phases(run).items())),
        "baseline": run.baseline,
        "artifact": kept
        and f"{kept.path} (refit {kept.refit}, {kept.bytes} bytes, sha256 {kept.sha256})",
        **{name: kept_file(file) for name, file in run.files.items()},
    }
    yield _facts(((name, value) for name, value in facts.items() if value), columns)
    yield _with_title("notes", _lines(run.notes, columns))
    yield _with_title("gates", gate_table(run, columns))
    yield _with_title("false alarms", _lines(list(filter(None, [false_alarms(run)])), columns))
    yield _with_title("where gates raised", _where_gates_raised(run))
    yield _why_worse(run, columns)
    yield _with_title("counter-examples", "\n\n".join(_pictures(run)))
    yield _with_title("slices", _slice_table(run, columns))
    yield _with_title("checks", _verdict_table("check", run.checks, columns))
    yield _with_title("advice", _lines(run.advice, columns))
    yield _with_title("scores on test", _score_table(run, columns))
    yield _with_title("exports", text_table(EXPORT_HEADERS, export_rows(run), columns))
    yield _with_title("trials", trial_table(run, columns))
    yield hanging("", _where_trials_failed(run), columns)
    yield _with_title("phases of the refits", text_table(PHASE_HEADERS, phase_rows(run), columns))
    yield _with_title("model", _model(run, columns))
    for title, document in {
        "task report": _task_report(run),
        "search": run.search,
        "fit": run.fit,
        "validation": _without_phases(run.validation),
        "data": run.data,
        "fingerprints": run.fingerprints,
        "environment": run.environment,
    }.items():
        yield _with_title(title, _document(document, columns))


def _lines(texts: Sequence[str], columns: int | None) -> str:
    left = len(texts) - MOST_ROWS
    more = [f"and {left} more"] if left > 0 else []
    shown = [shorten(clean(text), LONGEST_FACT) for text in texts[:MOST_ROWS]]
    return "\n".join([*(hanging("", text, columns) for text in shown), *more])


def _where_trials_failed(run: Run) -> str:
    """Return the command that shows where a trial failed; nothing of a run without such a trial."""
    failed = next((trial.id for trial in run.trials if trial.traceback is not None), None)
    if failed is None:
        return ""
    return f"where trial {failed} failed: modeltune show {clean(run.id)} --trial {failed}"


def tracebacks_of(run: Run) -> Mapping[str, str]:
    """Return by gate where a metric of the author's raised."""
    return {
        verdict.gate: verdict.details.traceback
        for verdict in run.verdicts
        if isinstance(verdict.details, RaisedError)
    }


def _where_gates_raised(run: Run) -> str:
    return "\n\n".join(
        "\n".join(shorten(line, LONGEST_FACT) for line in printable_lines(f"{gate}\n{text}"))
        for gate, text in list(tracebacks_of(run).items())[:MOST_ROWS]
    )


def _pictures(run: Run) -> Iterator[str]:
    for text in counterexamples(run):
        # Spaces are pixels here.
        yield "\n".join(printable_lines(text))


def slices_of(verdict: Verdict) -> Sequence[SliceResult]:
    """Return the results of a gate on its slices; none for a single slice, whose result is the gate's."""
    slices = verdict.details.slices if isinstance(verdict.details, SliceResults) else ()
    return slices if len(slices) > 1 else ()


def _slice_table(run: Run, columns: int | None) -> str:
    rows = []
    for verdict in run.verdicts:
        for part in slices_of(verdict):
            measured, bound = distinct(part.measured, part.bound)
            outcome = part.outcome.value
            rows.append([verdict.gate, part.slice, str(part.n), measured, bound, outcome])
    return text_table(["gate", "slice", "samples", "measured", "bound", "outcome"], rows, columns)


PHASE_HEADERS = ["refit", "phase", "epochs", "from layer", "learning rate", "seconds", "trained by"]
"""What ``phase_rows`` are of."""


def phase_rows(run: Run) -> list[list[str]]:
    """Return a row for each phase of the refits that were trained in several; none without."""
    rows = []
    for place, refit in enumerate(run.validation.get("refits") or (), start=1):
        for phase in refit.get("phases", ()) if isinstance(refit, Mapping) else ():
            rate = phase.get("learning_rate")
            rows.append(
                [
                    str(place),
                    clean(phase["name"]),
                    str(phase["epochs"]),
                    clean(phase.get("from_layer") or MISSING),
                    MISSING if rate is None else f"{rate:g}",
                    seconds(phase["seconds"]),
                    clean(phase["trained_by"]),
                ]
            )
    return rows


def _without_phases(validation: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return how a run was validated without the phases of its refits, which have a table."""
    refits = validation.get("refits")
    if not isinstance(refits, list | tuple):
        return validation
    kept = [
        {n: v for n, v in r.items() if n != "phases"} if isinstance(r, Mapping) else r
        for r in refits
    ]
    return {**validation, "refits": kept}


def _score_table(run: Run, columns: int | None) -> str:
    rows = [
        [
            metric,
            number(scores.mean) if scores.values else MISSING,
            number(scores.std, 2) if scores.values else MISSING,
            _list([number(value) for value in scores.values]),
        ]
        for metric, scores in run.scores.items()
    ]
    return text_table(["metric", "mean", "std", "values"], rows, columns)


def _model(run: Run, columns: int | None) -> str:
    """Return how the tuned model is built, its first layers one by one."""
    layers = run.model.get("layers") or ()
    rows = [
        [
            "· " * layer.get("depth", 0) + layer["name"],
            layer["kind"],
            MISSING if layer["shape"] is None else _shape(layer["shape"]),
            str(layer["parameters"]),
            "yes" if layer["trainable"] else "no",
        ]
        for layer in layers[:LAYERS]
    ]
    facts = _facts(
        flat({n: fact for n, fact in run.model.items() if n not in ("layers", EXPORTS)}), columns
    )
    headers = ["layer", "kind", "output", "parameters", "trainable"]
    layer_table = text_table(headers, rows, columns)
    cut = f"the first {LAYERS} layers" if len(layers) > LAYERS else ""
    return "\n".join(text for text in (facts, cut, layer_table) if text)


LAYERS = 30
"""How many layers of a model are shown in a terminal."""


def _shape(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if length is None else str(length) for length in shape)


def _ranking(objective: str, runs: Sequence[Run]) -> str:
    tested = tested_metric(objective)
    rows = [
        [
            run.spec,
            run.status.value + (" (cached)" if run.cached else ""),
            mean_std(run.scores.get(tested)),
            number(run.best.score if run.best else None),
            _completed_share(run),
            seconds(run.durations.total),
            " + ".join(seconds(spent) for spent in phases(run).values()),
        ]
        for run in _rank(objective, runs)
    ]
    headers = ["spec", "status", f"tested {tested}", "search's best", "trials", "seconds"]
    return text_table([*headers, f"= {' + '.join(phases(runs[0]))}"], rows)


def phases(run: Run) -> dict[str, float]:
    """Return the seconds of each phase of a run, by the phase's name."""
    spent = run.durations
    return {"data": spent.data, "search": spent.search, "validation": spent.validation}


def cuts(run: Run) -> list[str]:
    """Return a sentence for each part of a run's data that was cut from train, and on what is prepared."""
    sentences = run.data.get("cuts")
    cut = [str(cut) for cut in sentences] if isinstance(sentences, list | tuple) else []
    prepared = preparation(run)
    return cut if prepared is None else [*cut, prepared]


def preparation(run: Run) -> str | None:
    """Return what was fitted on train before models were built, and how long it took; None if nothing was."""
    prepared = run.data.get("prepared")
    if not isinstance(prepared, Mapping):
        return None
    spent = prepared.get("seconds")
    took = f", {seconds(spent)} s" if isinstance(spent, int | float) else ""
    return f"prepared by {prepared.get('by')} on {prepared.get('samples')} samples of train{took}"


def all_cuts(runs: Sequence[Run]) -> str:
    """Return a line for each part that was cut from train; specs whose part was cut alike share it."""
    specs: dict[str, list[str]] = {}
    for run in runs:
        for sentence in cuts(run):
            specs.setdefault(sentence, []).append(run.spec)
    return "\n".join(
        f"{clean(cut)}: {_list(list(map(clean, named)))}" for cut, named in specs.items()
    )


def headline(runs: Sequence[Run]) -> str:
    """Return how many runs ended how; a green one with a gate that is not decided counts as that.

    ``1 failed, 8 passed, 3 without baseline, 2 inconclusive``: red ones first, each run once.
    """
    counts = Counter(_ending(run) for run in runs)
    green = [RunStatus.PASSED.value, WITHOUT_BASELINE, Outcome.INCONCLUSIVE.value]
    names = [*(name for name in counts if name not in green), *green]
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "no runs"


WITHOUT_BASELINE = "without baseline"


def _ending(run: Run) -> str:
    outcomes = {verdict.outcome for verdict in run.verdicts} if run.passed else set()
    if Outcome.INCONCLUSIVE in outcomes:
        return Outcome.INCONCLUSIVE.value
    return WITHOUT_BASELINE if Outcome.NO_BASELINE in outcomes else run.status.value


def _rank(text: str, runs: Sequence[Run]) -> Sequence[Run]:
    objective = parse_objective(text)
    if objective is None:
        return runs

    def loss(run: Run) -> float:
        scores = run.scores.get(objective.test_metric)
        if scores is None or not scores.values or not scores.is_finite:
            return math.inf
        return -scores.mean if objective.better(1, than=0) else scores.mean

    return sorted(runs, key=loss)


def parse_objective(text: str) -> Objective | None:
    """Return the objective a run records as ``maximize val_accuracy``, None of other text."""
    verb, _, metric = text.partition(" ")
    verbs = {"maximize": maximize, "minimize": minimize}
    return verbs[verb](metric) if verb in verbs and metric else None


def tested_metric(objective: str) -> str:
    """Return what a run with this objective is tested by: its metric on test."""
    parsed = parse_objective(objective)
    return parsed.test_metric if parsed else objective


def _completed_share(run: Run) -> str:
    return f"{len(run.completed_trials)}/{len(run.trials)}"


def _epochs(trial: Trial) -> str:
    if trial.trained_by == FITTED:
        return "-"
    if trial.parent is None:
        return str(trial.epochs)
    return f"{trial.epochs} after {trial.initial_epoch} of trial {trial.parent}"


def _values(values: Values) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: bool | int | float | str) -> str:
    # As typed, with all digits: values are copied from here into code.
    return value if isinstance(value, str) else repr(value)


def _document(document: Mapping[str, Json], columns: int | None) -> str:
    """Return a document's values a line each, then a table of each list of records or of lists in it."""
    facts: list[tuple[str, str]] = []
    tables: list[str] = []
    for name, value in _entries(document):
        if _is_list(value) and value and all(isinstance(item, Mapping) for item in value):
            tables.append(_with_title(_title(name, len(value)), _records(value, columns)))
        elif _is_list(value) and value and all(map(_is_list, value)):
            tables.append(_with_title(_title(name, len(value)), _matrix(value, columns)))
        else:
            facts.append((name, _text(value)))
    return "\n".join(text for text in (_facts(facts, columns), *tables) if text)


def _task_report(run: Run) -> Mapping[str, Json]:
    """Return the report of each output with its worst classes where there are many."""
    return {
        name: dict(_worst_of(table, class_names(run, name)))
        if isinstance(table, Mapping)
        else table
        for name, table in run.task_report.items()
    }


def operating_point(table: Mapping[str, Json]) -> str:
    """Return from where on an output says yes, in words; "" where no threshold was chosen or declared."""
    try:
        return from_plain(OperatingPoint, table["operating_point"]).in_words
    except (LookupError, TypeError, ValueError):
        return ""


def _worst_of(table: Mapping[str, Json], names: ClassNames) -> Iterator[tuple[str, Json]]:
    for name, value in table.items():
        if name == "per_class" and _is_list(value):
            rows: list[Json] = [
                {**row, "class": names.label(row["class"])}
                if isinstance(row, Mapping) and "class" in row
                else row
                for row in (_worst_classes(value) if len(value) > MOST_ROWS else value)
            ]
            cut = f", the worst {MOST_ROWS} of {len(value)} by f1" if len(value) > MOST_ROWS else ""
            yield f"{name}{cut}", rows
        elif name == "confusion" and (confusion := confusion_from_json(value)) is not None:
            if confusion.classes <= MOST_COLUMNS:
                yield name, value
            elif rows := confusion.worst_rows(MOST_WORST):
                left = f", without {confusion.left_out} samples" if confusion.left_out else ""
                title = f"{name}, the worst {len(rows)} of {confusion.classes} rows{left}"
                yield title, [_confused(row, names) for row in rows]
        else:
            yield name, value


def _worst_classes(rows: Sequence[Json]) -> list[Json]:
    def f1(row: Json) -> float:
        value = row.get("f1") if isinstance(row, Mapping) else None
        return value if isinstance(value, int | float) and not math.isnan(value) else math.inf

    # A class that test has none of is not the worst one.
    return sorted(
        rows, key=lambda row: (isinstance(row, Mapping) and row.get("support") == 0, f1(row))
    )[:MOST_ROWS]


def _confused(row: ConfusionRow, names: ClassNames) -> dict[str, Json]:
    others = ", ".join(
        f"{names.label(label)} ({count})" for label, count in row.others[:MOST_OTHERS]
    )
    more = len(row.others) - MOST_OTHERS
    return {
        "class": names.label(row.true),
        "samples": row.samples,
        "right": row.right,
        "predicted as": others + (f", {more} more" if more > 0 else ""),
    }


def _title(name: str, rows: int) -> str:
    cut = f", the first {MOST_ROWS} of {rows}" if rows > MOST_ROWS else ""
    return f"{shorten(clean(name), LONGEST_CELL)}{cut}"


def _records(records: Sequence[Mapping[str, Json]], columns: int | None) -> str:
    """Return the first of several records as a table, with a column per entry."""
    flattened = [dict(_entries(record)) for record in records[:MOST_ROWS]]
    names = list(dict.fromkeys(name for record in flattened for name in record))
    rows = [
        [_text(record[name]) if name in record else MISSING for name in names[:MOST_COLUMNS]]
        for record in flattened
    ]
    return _cut_columns(text_table(names[:MOST_COLUMNS], rows, columns), len(names))


def _matrix(matrix: Sequence[Sequence[Json]], columns: int | None) -> str:
    """Return the corner of a list of lists as a table, rows and columns by their places."""
    length = max(map(len, matrix))
    rows = [
        [str(place), *map(_text, row[:MOST_COLUMNS])]
        for place, row in enumerate(matrix[:MOST_ROWS])
    ]
    headers = ["", *map(str, range(min(length, MOST_COLUMNS)))]
    return _cut_columns(text_table(headers, rows, columns), length)


def _cut_columns(text: str, columns: int) -> str:
    return f"{text}\nand {columns - MOST_COLUMNS} more columns" if columns > MOST_COLUMNS else text


def _is_list(value: Json) -> bool:
    return isinstance(value, list | tuple)


def _text(value: Json) -> str:
    """Return a value as JSON, a text as it is; of a long list its first values."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return (
        text
        if len(text) <= LONGEST_LIST or not _is_list(value)
        else _list([json.dumps(item, ensure_ascii=False) for item in value])
    )


def _list(texts: Sequence[str]) -> str:
    """Return texts with commas between; of many the first ones, and how many there are."""
    kept: list[str] = []
    room = LONGEST_LIST
    for text in texts:
        room -= len(text) + 2
        if kept and room < 0:
            return f"{', '.join(kept)}, ... ({len(texts)} in all)"
        kept.append(text)
    return ", ".join(kept)


def _entries(document: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the entries of a document, those of documents inside by ``outer.inner``."""
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def flat(document: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the entries of a document, those of documents inside by ``outer.inner``, as text."""
    for name, value in _entries(document):
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _facts(facts: Iterable[tuple[str, str]], columns: int | None) -> str:
    cleaned = [
        (shorten(clean(name), LONGEST_CELL), shorten(clean(value), LONGEST_FACT))
        for name, value in facts
    ]
    widest = max((len(name) for name, _ in cleaned), default=0)
    return "\n".join(hanging(f"{name:<{widest}}  ", value, columns) for name, value in cleaned)


def _with_title(title: str, text: str) -> str:
    return f"{title}\n{text}" if text else ""


def text_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int | None = None,
    optional: Sequence[str] = (),
) -> str:
    """Return rows under their headers, each cell on one line; empty of none.

    Args:
        columns: how many columns of a terminal there are. Where they are too few, cells have
            several lines; then ``optional`` columns are left out, which a last line says; and where
            that does not do either, each row is a list of its cells.
    """
    if not rows:
        return ""
    import tabulate  # imports tables of all characters' widths, and a session may show no table

    cells = [[shorten(clean(cell), LONGEST_CELL) for cell in row] for row in (headers, *rows)]
    text = tabulate.tabulate(
        cells[1:],
        headers=cells[0],
        tablefmt="simple",
        # Without it a text like "1e3" is shown as the number 1000.
        disable_numparse=True,
    )
    lines = [line.rstrip() for line in text.splitlines()]
    if columns is None or max(map(width, lines)) <= columns:
        return "\n".join(lines)
    return "\n".join(_narrow(cells, max(columns, NARROWEST), optional))


def _narrow(cells: list[list[str]], columns: int, optional: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, headers first, in so many columns; see ``table``."""
    whole, left_out = cells, list[str]()
    while (widths := fitting(cells, columns)) is None:
        spare = next((name for name in optional if name in cells[0]), None)
        if spare is None:
            yield from _stacked(whole, columns)
            return
        place = cells[0].index(spare)
        cells = [[*row[:place], *row[place + 1 :]] for row in cells]
        left_out.append(spare)
    rule = ["-" * room for room in widths]
    for row in (cells[0], rule, *cells[1:]):
        wrapped = [wrap(cell, room) for cell, room in zip(row, widths, strict=True)]
        for line in itertools.zip_longest(*wrapped, fillvalue=""):
            padded = [
                f"{part}{' ' * (room - width(part))}"
                for part, room in zip(line, widths, strict=True)
            ]
            yield (" " * GAP).join(padded).rstrip()
    if left_out:
        yield hanging("no room for: ", ", ".join(left_out), columns)


def _stacked(cells: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Yield the rows of a table one below the other, a line or more for each cell."""
    headers, *rows = cells
    widest = max(map(width, headers))
    for place, row in enumerate(rows):
        if place:
            yield ""
        for name, cell in zip(headers, row, strict=True):
            yield hanging(f"{name}{' ' * (widest - width(name))}  ", cell, columns)
