"""The numbers report.html draws: thinned and rounded, as JSON data; prints nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modeltune.records import FITTED, Json, MetricFacts, Outcome, Run, Summary, Trial
from modeltune.reports.answer_charts import MOST_OUTPUTS, answer_charts, error_charts
from modeltune.reports.chart_numbers import label, short
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import gated_metrics, number, parse_objective
from modeltune.specs import Direction, Statistic

ROOM = 24_000
"""How many numbers the learning curves of one run may take on a page: some 170 KB."""

ROOM_OF_ALL = 150_000
"""How many the learning curves of all runs may take together."""

POINTS = 1_000
"""The most test samples drawn of a regression."""

MOST_TRIALS_DRAWN = 1_000
"""The most trials drawn of a search."""

MOST_CURVES = 300
"""The most trials whose learning curves are drawn."""

FEWEST = 8
"""The fewest epochs drawn of a curve, however little room there is."""

MOST_VALUES = 12
"""The most hyperparameters with a chart of their own."""

MOST_METRICS = 6
"""The most metrics whose trend is drawn."""

MOST_COLUMNS = 4
"""The most target columns of a regression that are drawn."""


def charts(reported: ReportedRun, runs: int) -> dict[str, Json]:
    """Return what the charts of a run draw, on a page of so many runs.

    The keys: ``search`` (of each trial drawn its place in the order of the search, its score,
    the best so far, its values), ``curves`` (of trials and refits: the epochs drawn, and by
    metric a value for each), ``numbers`` (true and predicted, and the errors of all samples),
    ``answers`` (as ``answer_charts``), ``trends`` (by metric, the oldest first), and
    ``left_out``, in words.
    """
    run = reported.run
    left_out: list[str] = []
    drawn = {
        "search": _search(run, left_out),
        "curves": _curves(run, min(ROOM, ROOM_OF_ALL // max(runs, 1)), left_out),
        "numbers": list(_numbers(reported, left_out)),
        "answers": answer_charts(reported, runs, left_out),
        "trends": list(_trends(reported, left_out)),
    }
    if len(_names(run)) > MOST_VALUES:
        left_out.append(f"{MOST_VALUES} of {len(_names(run))} hyperparameters have a chart")
    return {**drawn, "left_out": left_out}


def best_so_far(run: Run) -> list[float | None]:
    """Return the best finite score up to each trial, all None of an unknown objective."""
    objective = parse_objective(run.objective)
    best: float | None = None
    so_far = []
    for trial in run.trials:
        if objective and trial.score is not None and math.isfinite(trial.score):
            better = max if objective.direction is Direction.MAX else min
            best = trial.score if best is None else better(best, trial.score)
        so_far.append(best)
    return so_far


def _search(run: Run, left_out: list[str]) -> Json:
    objective = parse_objective(run.objective)
    best = next(
        (i for i, trial in enumerate(run.trials) if run.best and trial.id == run.best.trial), None
    )
    places = sorted(
        {*spread_places(len(run.trials), MOST_TRIALS_DRAWN), *([] if best is None else [best])}
    )
    if len(places) < len(run.trials):
        left_out.append(f"the search shows {len(places)} of {len(run.trials)} trials")
    trials, so_far = [run.trials[place] for place in places], best_so_far(run)
    return {
        "metric": label(objective.metric if objective else run.objective),
        "places": [place + 1 for place in places],
        "ids": [trial.id for trial in trials],
        "scores": short(trial.score for trial in trials),
        "so_far": short(so_far[place] for place in places),
        "seconds": short(trial.seconds for trial in trials),
        "best": None if best is None else places.index(best),
        "values": [_values(name, trials) for name in _names(run)[:MOST_VALUES]],
    }


def _names(run: Run) -> list[str]:
    return list(dict.fromkeys(name for trial in run.trials for name in trial.values))


def _values(name: str, trials: Sequence[Trial]) -> Json:
    """Return a hyperparameter's value of each trial: a number, or the place among its levels."""
    values = [trial.values.get(name) for trial in trials]
    known_values = [value for value in values if value is not None]
    if all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in known_values
    ):
        numbers = short(values)
        known = [value for value in numbers if value is not None]
        is_log = bool(known) and min(known) > 0 and max(known) >= 50 * min(known)
        return {"name": label(name), "log": is_log, "levels": None, "at": numbers}
    levels = sorted({str(value) for value in known_values})
    places = {level: place for place, level in enumerate(levels)}
    at = [None if value is None else places[str(value)] for value in values]
    return {
        "name": label(name),
        "log": False,
        "levels": [label(level) for level in levels],
        "at": at,
    }


def _curves(run: Run, room: int, left_out: list[str]) -> Json:
    """Return the learning curves of trials and refits, as many epochs as there is room for.

    Those of the best trial and of the refits are the last to be thinned. Where the fewest
    epochs of all others are too many, there are curves of some, from all over the search. An
    estimator that its own fit has fitted has none: what it scored once is no curve.
    """
    refits = [refit for refit in run.validation.get("refits") or () if isinstance(refit, Mapping)]
    first = [_curve_of(refit) for refit in refits]
    with_curves = [t for t in run.trials if t.curve and t.trained_by != FITTED]
    best = [t for t in with_curves if run.best and t.id == run.best.trial]
    others = [t for t in with_curves if not run.best or t.id != run.best.trial]
    named = [*first, *(t.curve for t in best)]
    most = max(FEWEST, _epochs_within(named, room // 2))
    rest = room - sum(_size(curve, most) for curve in named)
    least = max((_size(t.curve, FEWEST) for t in others), default=0)
    count = min(MOST_CURVES, max(rest, 0) // max(least, 1))
    if count < len(others):
        left_out.append(f"{count + len(best)} of {len(with_curves)} trials show their curves")
        others = [others[place] for place in spread_places(len(others), count)]
    fewer = max(FEWEST, _epochs_within([t.curve for t in others], rest))
    if cut := sum(any(len(v) > fewer for v in t.curve.values()) for t in others):
        left_out.append(f"the curves of {cut} trials show up to {fewer} of their epochs")
    if any(len(v) > most for curve in named for v in curve.values()):
        left_out.append(f"the curves of the best trial and of the refits show up to {most} epochs")
    objective = parse_objective(run.objective)
    ids = {t.id for t in (*best, *others)}
    drawn = [t for t in with_curves if t.id in ids]
    metrics = dict.fromkeys(name for c in [*(t.curve for t in drawn), *first] for name in c)
    return {
        "objective": label(objective.metric if objective else ""),
        "metrics": [label(name) for name in metrics],
        "trials": [
            {
                "name": f"trial {t.id}",
                "best": t in best,
                **_drawing(t.curve, t.initial_epoch, most if t in best else fewer),
            }
            for t in drawn
        ],
        "refits": [
            {"name": label(_refit(refit)), "best": False, **_drawing(curve, 0, most)}
            for refit, curve in zip(refits, first, strict=True)
            if curve
        ],
    }


def _size(curve: Mapping[str, Sequence[Any]], most: int) -> int:
    """Return how many numbers it takes to show so many epochs of a curve."""
    return sum(min(len(values), most) for values in curve.values())


def _curve_of(refit: Mapping[str, Json]) -> dict[str, list[Any]]:
    curve = refit.get("curve")
    if not isinstance(curve, Mapping) or refit.get("trained_by") == FITTED:
        return {}
    return {name: list(v) for name, v in curve.items() if isinstance(v, list | tuple)}


def _refit(refit: Mapping[str, Json]) -> str:
    fold = refit.get("fold")
    place = "" if not isinstance(fold, int) else f", fold {fold + 1}"
    return f"seed {refit.get('seed')}{place}"


def _epochs_within(curves: Iterable[Mapping[str, Sequence[Any]]], room: int) -> int:
    """Return the largest number of epochs per curve at which all have no more numbers than ``room``."""
    lengths = sorted(len(values) for curve in curves for values in curve.values())
    for place, length in enumerate(lengths):
        share = room // (len(lengths) - place)
        if length > share:
            return share
        room -= length
    return lengths[-1] if lengths else 0


def _drawing(curve: Mapping[str, Sequence[Any]], initial_epoch: int, most: int) -> Json:
    """Return a curve by metric with the epochs that are drawn, the first and the last among them."""
    epochs = max((len(values) for values in curve.values()), default=0)
    places = spread_places(epochs, most)
    return {
        "epochs": [min(initial_epoch + place + 1, 2**53) for place in places],
        "values": {
            label(name): short(values[place] if place < len(values) else None for place in places)
            for name, values in curve.items()
        },
    }


def spread_places(count: int, most: int) -> list[int]:
    """Return so many of the places from 0, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    if most < 2:
        return [0] * most
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _numbers(reported: ReportedRun, left_out: list[str]) -> Iterator[Json]:
    """Yield the true and the predicted values of the kept refit, by target column."""
    samples, before = reported.samples, reported.baseline_samples
    if samples is None:
        return
    prefixes = [
        prefix
        for prefix, truth in samples.truth.items()
        if truth.ndim == 2 and truth.dtype != bool and prefix in samples.predicted
    ]
    if len(prefixes) > MOST_OUTPUTS:
        left_out.append(f"the numbers of {MOST_OUTPUTS} of {len(prefixes)} outputs are drawn")
    for prefix in prefixes[:MOST_OUTPUTS]:
        truth = samples.truth[prefix]
        predicted, columns = samples.predicted[prefix][0], truth.shape[1]
        places = spread_places(len(truth), POINTS)
        name = label(prefix.removesuffix("_"))
        if len(places) < len(truth):
            left_out.append(f"{len(places)} of {len(truth)} test samples are drawn")
        if columns > MOST_COLUMNS:
            left_out.append(f"{MOST_COLUMNS} of {columns} target columns are drawn")
        for column in range(min(columns, MOST_COLUMNS)):
            place = f"column {column}" if columns > 1 else ""
            yield {
                "name": " ".join(filter(None, (name, place))),
                "truth": short(float(truth[i, column]) for i in places),
                "predicted": short(float(predicted[i, column]) for i in places),
                "errors": error_charts(samples, before, prefix, column),
            }


def _trends(reported: ReportedRun, left_out: list[str]) -> Iterator[Json]:
    """Yield the means of every gated metric over past runs, and the bounds of its gates."""
    run, baseline = reported.run, reported.baseline
    runs = reported.past[::-1]
    metrics = gated_metrics(run)
    if len(metrics) > MOST_METRICS and len(runs) > 1:
        left_out.append(f"{MOST_METRICS} of {len(metrics)} metrics have their trend drawn")
    for metric in metrics[:MOST_METRICS]:
        accepted = baseline.scores.get(metric) if baseline else None
        yield {
            "metric": label(metric),
            "runs": [label(past_run.id)[:8] for past_run in runs],
            "days": [label(past_run.created[:16].replace("T", " ")) for past_run in runs],
            "means": short(mean(past_run, metric) for past_run in runs),
            "stds": short(_std(past_run, metric) for past_run in runs),
            "this": next((i for i, past_run in enumerate(runs) if past_run.id == run.id), None),
            "accepted": next(
                (i for i, past_run in enumerate(runs) if baseline and past_run.id == baseline.id),
                None,
            ),
            "baseline": short([accepted.mean if accepted else None])[0],
            "bounds": list(_bounds(run, metric)),
        }


def _bounds(run: Run, metric: str) -> Iterator[Json]:
    """Yield the bounds of the gates on the mean of a metric; bounds of slices do not apply to it."""
    for verdict in run.verdicts:
        facts = verdict.facts
        is_known = verdict.bound is not None and verdict.outcome is not Outcome.ERROR
        if not is_known or not isinstance(facts, MetricFacts) or facts.key != metric:
            continue
        if facts.statistic is Statistic.MEAN and facts.slices is None:
            bound = short([verdict.bound])[0]
            yield {"at": bound, "text": f"gate {facts.comparison.value} {number(verdict.bound)}"}


def mean(summary: Summary, metric: str) -> float | None:
    """Return the mean of a metric in a past run, None where it was not measured."""
    return summary.scores[metric].mean if metric in summary.scores else None


def _std(summary: Summary, metric: str) -> float | None:
    return summary.scores[metric].std if metric in summary.scores else None
