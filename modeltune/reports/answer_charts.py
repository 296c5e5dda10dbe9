"""What charts of a model's answers draw: curves, bins and tables from what a run keeps per sample; prints nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modeltune.records import Json
from modeltune.reports.chart_numbers import label, short
from modeltune.reports.class_names import class_names
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import number

if TYPE_CHECKING:
    import numpy as np

    from modeltune.records import Answers, Array, Samples

SCORE_BINS = 15
"""Bins of equal width of scores: those of ``ece``, where the scores are probabilities."""

MOST_POINTS = 200
"""The most points of a curve; fewer where a page has many curves."""

ROOM, ROOM_OF_ALL = 2_000, 30_000
"""How many points the curves of one run, and of all runs of a page, may take."""

FEWEST_POINTS = 24
"""The fewest points of a curve, however little room there is."""

MOST_OUTPUTS = 4
"""The most outputs of a model whose answers are drawn."""

MOST_RANKED_CLASSES = 10
"""The most classes or labels that are each drawn against the rest: those with the most samples."""

SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Shares of the samples whose error is listed."""

ERROR_POINTS = 101
"""Points of the curve of errors."""


def answer_charts(reported: ReportedRun, runs: int, left_out: list[str]) -> list[Json]:
    """Return by classified output what its charts draw, on a page of so many runs.

    Each has the ``output``, a ``note`` on what is not drawn, and ``classes``: of class 1 of two, of each
    label, and of each of several classes against the rest

    - ``roc``: false positive rate ``x``, recall ``y`` and the score ``at`` each point, as scikit-learn's
      ``roc_curve``; the first point has no score;
    - ``pr``: recall ``x``, precision ``y`` and score ``at``, as its ``precision_recall_curve``, by rising recall;
    - ``bins``: the samples of the class and the others by their score, with the mean score and the
      share that is of the class where scores are probabilities, as its ``calibration_curve``;
    - ``thresholds``: rows of threshold, recall, precision, F1, false positive rate and samples;
    - ``point``: where a run that chose a threshold says yes: ``threshold``, ``recall``, ``precision``,
      ``false_positive_rate`` and the ``row`` of the table that it is; None of a run that chose none;
    - ``words``: each chart in words.

    A curve of many samples has some of its points, exactly, the first and the last among them. What the
    baseline answered is beside each, None where that is not kept.
    """
    samples = reported.samples
    charts: list[Json] = []
    outputs = list(_outputs(reported))
    if len(outputs) > MOST_OUTPUTS:
        left_out.append(f"{MOST_OUTPUTS} of {len(outputs)} outputs have charts of their answers")
    for name, task in outputs[:MOST_OUTPUTS]:
        prefix = "" if name == "output" else f"{name}_"
        is_kept = samples is not None and prefix in samples.truth and prefix in samples.predicted
        answers = samples.chart_answers(prefix) if samples is not None and is_kept else None
        note = ""
        if not is_kept:
            what = "residuals" if task == "regression" else "curves"
            note = f"No {what}: what was predicted on each test sample is not kept."
        elif answers is None and task != "regression":
            note = (
                "No curves: no probabilities are kept. The model gives none, they are too many, or the "
                "run was recorded by a version that kept them for gates only."
            )
        if note:
            charts.append({"output": label(name), "note": note, "classes": []})
        if note or answers is None:
            continue
        if answers.task not in ("binary", "multiclass", "multilabel"):
            continue
        charts.append(_output(reported, name, prefix, answers, runs * len(outputs), left_out))
    return charts


def _outputs(reported: ReportedRun) -> Iterator[tuple[str, str]]:
    """Yield the name and the task of each output that a run reports."""
    for name, table in reported.run.task_report.items():
        task = table.get("task") if isinstance(table, Mapping) else None
        if task in ("binary", "multiclass", "multilabel", "regression"):
            yield name, str(task)


def _output(
    reported: ReportedRun,
    name: str,
    prefix: str,
    answers: Answers,
    shares_of_room: int,
    left_out: list[str],
) -> Json:
    import numpy as np

    before, is_other = _baseline(reported, prefix, answers)
    size, truth = len(answers.truth), answers.truth
    kind, kinds = ("label", "labels") if answers.task == "multilabel" else ("class", "classes")
    names = class_names(reported.run, name)
    if answers.task == "binary":
        columns, of = [1], 1
    else:
        of = answers.scores.shape[1]
        counts = truth.sum(axis=0) if truth.ndim == 2 else np.bincount(truth, minlength=of)[:of]
        columns = sorted(np.argsort(-counts, kind="stable")[:MOST_RANKED_CLASSES].tolist())
    if len(columns) < of:
        left_out.append(
            f"curves are drawn of the {len(columns)} of {of} {kinds} that test has most of"
        )
    room = min(ROOM, ROOM_OF_ALL // max(shares_of_room, 1)) // max(len(columns), 1)
    points = max(FEWEST_POINTS, min(MOST_POINTS, room))
    notes: list[str] = []
    classes: list[Json] = []
    for column in columns:
        one = answers.of_class(column)
        positives = int((one.truth == 1).sum())
        if positives in (0, size):
            whose = "all" if positives and size else "none"
            notes.append(
                f"no curves of {kind} {names.label(column)}: {whose} of {size} test samples are of it"
            )
            continue
        other = None if before is None else before.of_class(column)
        if other is not None and int((other.truth == 1).sum()) in (0, len(other.truth)):
            other = None
        classes.append(
            {
                "name": label(f"{kind} {names.label(column)}"),
                **_class(one, other, points, _chosen(reported, prefix, answers.task, column)),
            }
        )
    if any(len(one[curve]["x"]) == points for one in classes for curve in ("roc", "pr")):
        left_out.append(f"a curve has up to {points} of its points, each as it is")
    if classes and not classes[0]["bins"]["is_probability"]:
        notes.append("no reliability diagram: the predictions are no probabilities")
    if before is not None and is_other:
        notes.append("the baseline answered other test samples")
    return {
        "output": label(name),
        "note": ". ".join(f"{note[0].upper()}{note[1:]}" for note in notes)
        + ("." if notes else ""),
        "classes": classes,
    }


def _baseline(reported: ReportedRun, prefix: str, answers: Answers) -> tuple[Answers | None, bool]:
    """Return what the baseline answered, None where it is not kept, and whether on other samples."""
    import numpy as np

    samples = reported.baseline_samples
    if samples is None or reported.baseline is None or prefix not in samples.truth:
        return None, False
    before = samples.chart_answers(prefix)
    if (
        before is None
        or before.task != answers.task
        or before.scores.shape[1:] != answers.scores.shape[1:]
    ):
        return None, False
    return before, not np.array_equal(before.truth, answers.truth)


def _chosen(reported: ReportedRun, prefix: str, task: str, column: int) -> float | None:
    """Return the threshold from which on the first refit says yes; None where it chose none."""
    known = {} if reported.samples is None else reported.samples.thresholds
    if prefix not in known or task not in ("binary", "multilabel"):
        return None
    of_refit = known[prefix].reshape(len(known[prefix]), -1)[:1].reshape(-1)
    place = column if task == "multilabel" else 0
    return float(of_refit[place]) if place < len(of_refit) else None


def _class(
    one: Answers, other: Answers | None, points: int, chosen: float | None = None
) -> dict[str, Json]:
    ranking = _Ranking(one)
    rows, point = ranking.thresholds(chosen)
    before = None if other is None else _Ranking(other)
    bins = ranking.bins(SCORE_BINS)
    return {
        "samples": len(one.truth),
        "share": short([ranking.positives / len(one.truth)])[0],
        "roc": {
            **ranking.roc(points),
            "area": short([ranking.area])[0],
            "baseline": None
            if before is None
            else {**_bare(before.roc(points)), "area": short([before.area])[0]},
        },
        "pr": {
            **ranking.precision_recall(points),
            "area": short([ranking.average_precision])[0],
            "baseline": None
            if before is None
            else {
                **_bare(before.precision_recall(points)),
                "area": short([before.average_precision])[0],
            },
        },
        "bins": {
            **bins,
            "baseline": None if before is None else _reliability(before.bins(SCORE_BINS)),
        },
        "thresholds": rows,
        "point": point,
        "words": {
            "roc": ranking.roc_words(before) + _point_words(point, "false_positive_rate"),
            "pr": ranking.precision_recall_words(before) + _point_words(point, "precision"),
            "reliability": _reliability_words(bins),
            "scores": ranking.score_words(),
        },
    }


def _point_words(point: Json, beside: str) -> str:
    if point is None:
        return ""
    return (
        f"; at the threshold of this run, {number(point['threshold'])}: recall {number(point['recall'])}, "
        f"{beside.replace('_', ' ')} {number(point[beside])}"
    )


def _bare(curve: Mapping[str, Json]) -> dict[str, Json]:
    return {"x": curve["x"], "y": curve["y"]}


def _reliability(bins: Mapping[str, Json]) -> Json:
    known = [(m, s) for m, s in zip(bins["mean"], bins["share"], strict=True) if m is not None]
    return {"x": [m for m, _ in known], "y": [s for _, s in known]}


class _Ranking:
    """The binary answers of a class by falling score: what curves and tables are read from."""

    def __init__(self, one: Answers):
        import numpy as np

        scores, truth = one.scores, one.truth == 1
        order = np.argsort(-scores, kind="stable")
        ranked, hit = scores[order], truth[order]
        # Equal scores are on one side of any threshold: the last of each decides.
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self.truth, self.scores = truth, scores
        self.cuts = ranked[last]
        self.right = np.cumsum(hit)[last]
        self.wrong = last + 1 - self.right
        self.positives, self.negatives = int(self.right[-1]), int(self.wrong[-1])

    @property
    def area(self) -> float:
        """The area under the ROC curve, by trapezes."""
        x, y = self._rates()
        return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())

    @property
    def average_precision(self) -> float:
        recall, precision = self._precision()
        return float(((recall[1:] - recall[:-1]) * precision[1:]).sum())

    def _rates(self) -> tuple[Array, Array]:
        import numpy as np

        x = np.concatenate([[0.0], self.wrong / self.negatives])
        return x, np.concatenate([[0.0], self.right / self.positives])

    def _precision(self) -> tuple[Array, Array]:
        import numpy as np

        recall = np.concatenate([[0.0], self.right / self.positives])
        return recall, np.concatenate([[1.0], self.right / (self.right + self.wrong)])

    def roc(self, most: int) -> dict[str, Json]:
        x, y = self._rates()
        return self._thin(x, y, most)

    def precision_recall(self, most: int) -> dict[str, Json]:
        recall, precision = self._precision()
        return self._thin(recall, precision, most)

    def _thin(self, x: Array, y: Array, most: int) -> dict[str, Json]:
        """Return some of a curve's points, spread evenly over the way along it."""
        import numpy as np

        places = np.arange(len(x))
        # Within a stretch along an axis only the ends are seen.
        level, upright = np.diff(y) == 0, np.diff(x) == 0
        inner = (level[:-1] & level[1:]) | (upright[:-1] & upright[1:])
        places = places[np.concatenate([[True], ~inner, [True]])]
        if len(places) > most:
            steps = np.abs(np.diff(x[places])) + np.abs(np.diff(y[places]))
            way = np.concatenate([[0.0], np.cumsum(steps)])
            chosen = np.searchsorted(way, np.linspace(0.0, way[-1], most)[:-1])
            places = places[np.unique(np.append(chosen, len(places) - 1))]
        cuts = [None if place == 0 else float(self.cuts[place - 1]) for place in places]
        return {"x": short(x[places].tolist()), "y": short(y[places].tolist()), "at": short(cuts)}

    def bins(self, count: int) -> dict[str, Json]:
        """Return the samples by score in bins of equal width; the upper end of a bin belongs to it."""
        import numpy as np

        low, high = float(self.scores.min()), float(self.scores.max())
        is_probability = low >= 0 and high <= 1 + 1e-6
        if is_probability:
            low, high = 0.0, 1.0
        elif not high > low:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, count + 1)
        place = np.searchsorted(edges[1:-1], self.scores)
        of_class = np.bincount(place, self.truth, count)
        every = np.bincount(place, minlength=count)
        total = np.bincount(place, self.scores.astype(np.float64), count)
        known = every > 0
        safe = np.maximum(every, 1)

        def where_known(values: Array) -> list[Any]:
            return short(
                v if k else None for v, k in zip(values.tolist(), known.tolist(), strict=True)
            )

        return {
            "is_probability": is_probability,
            "edges": short(edges.tolist()),
            "of": of_class.astype(int).tolist(),
            "others": (every - of_class).astype(int).tolist(),
            "mean": where_known(total / safe),
            "share": where_known(of_class / safe),
        }

    def thresholds(self, chosen: float | None = None) -> tuple[list[list[Any]], Json]:
        """Return rows of threshold, recall, precision, F1, false positive rate and samples, and the chosen one.

        A sample whose score is at least the threshold is taken to be of the class. The thresholds are the
        tenths where scores are probabilities, else the deciles of the scores, and the chosen one.
        """
        import numpy as np

        low, high = float(self.scores.min()), float(self.scores.max())
        if low >= 0 and high <= 1 + 1e-6:
            cuts = np.arange(1, 10) / 10
        else:
            cuts = np.unique(np.quantile(self.scores, np.arange(1, 10) / 10))
        if chosen is not None and math.isfinite(chosen):
            cuts = np.unique(np.append(cuts, chosen))
        rows, point = [], None
        for cut in cuts.tolist():
            # How many of the falling scores are at least this one.
            place = int(np.count_nonzero(self.cuts >= cut))
            right = int(self.right[place - 1]) if place else 0
            wrong = int(self.wrong[place - 1]) if place else 0
            taken = right + wrong
            f1 = 2 * right / (taken + self.positives)
            precision = right / taken if taken else None
            rows.append(
                [
                    *short(
                        [float(cut), right / self.positives, precision, f1, wrong / self.negatives]
                    ),
                    taken,
                ]
            )
            if cut == chosen:
                named = ("threshold", "recall", "precision", "f1", "false_positive_rate")
                point = {"row": len(rows) - 1, **dict(zip(named, rows[-1], strict=False))}
        return rows, point

    def recall_at(self, rate: float) -> float:
        """Return the largest recall whose false positive rate is at most so large."""
        x, y = self._rates()
        return float(y[x <= rate].max())

    def precision_at(self, recall: float) -> float:
        """Return the largest precision whose recall is at least so large."""
        x, y = self._precision()
        return float(y[1:][x[1:] >= recall].max())

    def roc_words(self, before: _Ranking | None) -> str:
        beside = f", baseline {number(before.area)}" if before else ""
        points = ", ".join(
            f"{number(self.recall_at(rate))} at {rate}" for rate in (0.01, 0.05, 0.1)
        )
        return f"area {number(self.area)}{beside}; recall by false positive rate: {points}"

    def precision_recall_words(self, before: _Ranking | None) -> str:
        beside = f", baseline {number(before.average_precision)}" if before else ""
        points = ", ".join(
            f"{number(self.precision_at(recall))} at {recall}" for recall in (0.5, 0.8, 0.95)
        )
        return f"average precision {number(self.average_precision)}{beside}; precision by recall: {points}"

    def score_words(self) -> str:
        import numpy as np

        mine, others = (np.median(self.scores[rows]) for rows in (self.truth, ~self.truth))
        return (
            f"{self.positives} samples of the class, median score {number(float(mine))}; "
            f"{self.negatives} others, median score {number(float(others))}"
        )


def _reliability_words(bins: Mapping[str, Json]) -> str:
    known = [
        (abs(m - s), m, s, a + b)
        for m, s, a, b in zip(bins["mean"], bins["share"], bins["of"], bins["others"], strict=True)
        if m is not None
    ]
    total = sum(n for *_, n in known)
    away = sum(gap * n for gap, _, _, n in known) / total
    _, mean, share, n = max(known)
    return (
        f"predicted and real share are {number(away, 3)} apart on average; most where {number(mean)} is predicted "
        f"and {number(share)} is real, {n} samples"
    )


# Numbers


def error_charts(
    samples: Samples, before: Samples | None, prefix: str, column: int
) -> dict[str, Json] | None:
    """Return the errors of a target column: by share of the samples the largest absolute error, and a table.

    ``x`` and ``y`` are the points of the curve, ``baseline`` those of the accepted run; ``rows`` are share,
    error (predicted minus true) and absolute error, as NumPy's ``quantile``. None where there are no errors.
    """
    import numpy as np

    error = _errors(samples, prefix, column)
    if error is None:
        return None
    shares = np.linspace(0.0, 1.0, ERROR_POINTS)
    absolute = np.abs(error)
    old = None if before is None else _errors(before, prefix, column)
    rows = zip(SHARES, np.quantile(error, SHARES), np.quantile(absolute, SHARES), strict=True)
    middle, most = (float(v) for v in np.quantile(absolute, (0.5, 0.9)))
    beside = "" if old is None else f"; baseline {number(float(np.median(np.abs(old))))}"
    return {
        "x": short(shares.tolist()),
        "y": short(np.quantile(absolute, shares).tolist()),
        "baseline": None
        if old is None
        else {"x": short(shares.tolist()), "y": short(np.quantile(np.abs(old), shares).tolist())},
        "rows": [short(map(float, row)) for row in rows],
        "words": f"half of the absolute errors are at most {number(middle)}{beside}; nine of ten at most {number(most)}",
    }


def _errors(samples: Samples, prefix: str, column: int) -> np.ndarray[Any, Any] | None:
    import numpy as np

    truth, predicted = samples.truth.get(prefix), samples.predicted.get(prefix)
    if truth is None or predicted is None or truth.dtype.kind != "f" or not len(predicted):
        return None
    if predicted.shape[1:] != truth.shape or column >= truth.shape[1]:
        return None
    error = predicted[0, :, column].astype(np.float64) - truth[:, column]
    error = error[np.isfinite(error)]
    return error if len(error) else None
