"""A run as picture files, SVG or PNG: the charts of report.html; sole importer of matplotlib."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeltune.ground import ModeltuneError
from modeltune.records import FITTED, Confusion, Json, Outcome, Run, confusion_from_json
from modeltune.reports.class_names import class_names
from modeltune.reports.filenames import file_name
from modeltune.reports.html_charts import charts
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.slice_bars import SliceGroup, slice_groups
from modeltune.reports.tables import clean, gated_metrics, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png")

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#B4B4B4", "#333333"
"""Colours that those who do not see some can tell apart (Okabe and Ito)."""

STYLE: Any = {
    # A name with dollars in it is a name, no formula.
    "text.parse_math": False,
    # Text stays text: small, to be searched for, and in the fonts of whoever looks.
    "svg.fonttype": "none",
    # The same run gives the same bytes.
    "svg.hashsalt": "modeltune",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

MOST_PANELS = 4
"""Metrics whose curves are drawn."""

MOST_WRITTEN = 20
"""Classes of a confusion matrix whose cells hold their counts."""

MOST_BARS_DRAWN = 40
"""Slices of a gate that have a bar, the worst ones."""

MOST_CLASSES_DRAWN = 200
"""Classes of a confusion matrix that is drawn."""


def draw_pictures(reported: ReportedRun, kind: str) -> Mapping[str, bytes]:
    """Return the pictures of a run by file name: ``spec_digits.py.mlp-search.svg``, ...

    They are ``search`` (score by trial and the best so far), ``curves`` (of trials and of
    refits), ``confusion``, ``roc``, ``precision-recall``, ``reliability`` and ``scores`` (per
    classified output), ``residuals`` (per output or column: predicted against real, residuals
    and the quantiles of the error), ``slices`` (per gate or metric), and ``trend`` (past runs with
    the baseline and gates' bounds): those there is something to show of. What is too much for
    one is said in its title.

    Args:
        reported: the run and what lies beside it.
        kind: "svg" or "png".

    Raises:
        ModeltuneError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib as mpl

    pictures = {}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # What the font cannot draw is a box in a PNG; the names are in the other reports.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        for what, figure in _figures(reported):
            content = io.BytesIO()
            stamp = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(content, format=kind, dpi=150, metadata=stamp)
            pictures[f"{file_name(f'{reported.run.spec}-{what}')}.{kind}"] = content.getvalue()
    return pictures


def require_matplotlib() -> None:
    """Raise a ModeltuneError that names the extra when matplotlib is not installed."""
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise ModeltuneError(
            f"pictures are drawn by matplotlib ({error}): pip install 'modeltune[pictures]'"
        ) from error


def _figures(reported: ReportedRun) -> Iterator[tuple[str, Figure]]:
    run, data = reported.run, charts(reported, 1)
    if any(score is not None for score in data["search"]["scores"]):
        part = _part(len(data["search"]["ids"]), len(run.trials), "trials")
        yield "search", _search(run.spec, data["search"], part)
    if data["curves"]["metrics"]:
        yield "curves", _curves(run, data["curves"])
    for output, table in run.task_report.items():
        if isinstance(table, Mapping) and (counts := confusion_from_json(table.get("confusion"))):
            names = class_names(run, output)
            classes = [names.label(row.get("class")) for row in table.get("per_class", ())]
            file = f"confusion-{output}" if len(run.task_report) > 1 else "confusion"
            part = _part(min(counts.classes, MOST_CLASSES_DRAWN), counts.classes, "classes")
            title = f"{run.spec}: {file.replace('-', ' of ', 1)}"
            yield file, _confusion(title, counts, classes, part)
    for group in data["answers"]:
        if group["classes"]:
            yield from _answers(run.spec, group, len(data["answers"]) > 1)
    for numbers in data["numbers"]:
        name = numbers["name"]
        file = f"residuals-{name}" if len(data["numbers"]) > 1 else "residuals"
        title = f"{run.spec}: predicted against real{f', {name}' if name else ''}"
        yield file, _residuals(title, numbers)
    groups = slice_groups(run, reported.samples)
    for place, slices in enumerate(groups, start=1):
        part = _part(MOST_BARS_DRAWN, len(slices.bars), "slices")
        file = f"slices-{place}" if len(groups) > 1 else "slices"
        yield file, _slices(f"{run.spec}: {slices.title}", slices, part)
    if any(len(trend["runs"]) > 1 for trend in data["trends"]):
        part = _part(len(data["trends"]), len(gated_metrics(run)), "metrics")
        yield "trend", _trend(run.spec, data["trends"], part)


def _part(drawn: int, of: int, what: str) -> str:
    """Return in words that a picture does not have all there is, empty when it does."""
    return f" ({drawn} of {of} {what})" if drawn < of else ""


def _figure(
    title: str, rows: int, columns: int, width: float, height: float, part: str = ""
) -> Figure:
    """Return a figure of so many panels, each of this size in inches; ``part`` ends its title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    heading = _text(title, max(20, round(13 * width * columns) - len(part)))
    figure.suptitle(f"{heading}{part}", x=0.01, ha="left", fontsize=11, color=INK)
    figure.subplots(rows, columns, squeeze=False)
    return figure


def _search(spec: str, search: Json, part: str) -> Figure:
    figure = _figure(f"{spec}: search", 1, 1, 7, 3.6, part)
    (axes,) = figure.axes
    ids, scores = search["ids"], search["scores"]
    drawn = [(i, score) for i, score in zip(ids, scores, strict=True) if score is not None]
    numbers, heights = zip(*drawn, strict=True)
    axes.scatter(numbers, heights, s=22, color=BLUE, alpha=0.8, label="trial", zorder=3)
    failed = [i for i, score in zip(ids, scores, strict=True) if score is None]
    if failed:
        # At the lower edge, whatever the scores are.
        axes.scatter(
            failed,
            [0.02] * len(failed),
            transform=axes.get_xaxis_transform(),
            marker="x",
            color=ORANGE,
            label="without a score",
        )
    so_far = [(i, best) for i, best in zip(ids, search["so_far"], strict=True) if best is not None]
    if so_far:
        axes.step(
            *zip(*so_far, strict=True), where="post", color=ORANGE, lw=1.5, label="best so far"
        )
    if search["best"] is not None and scores[search["best"]] is not None:
        best = search["best"]
        axes.scatter(
            ids[best], scores[best], s=90, facecolors="none", edgecolors=INK, label="best", zorder=4
        )
    _label(axes, "trial", search["metric"])
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)
    return figure


def _curves(run: Run, curves: Json) -> Figure:
    """Draw a column per metric: trials above, refits below, train dashed beside validation."""
    named = [metric.removeprefix("val_") for metric in curves["metrics"]]
    objective = curves["objective"].removeprefix("val_")
    metrics_in_order = sorted(dict.fromkeys(named), key=lambda name: name != objective)
    metrics = metrics_in_order[:MOST_PANELS]
    trials = _part(
        len(curves["trials"]),
        sum(bool(t.curve) and t.trained_by != FITTED for t in run.trials),
        "trials",
    )
    part = f"{_part(len(metrics), len(metrics_in_order), 'metrics')}{trials}"
    rows = [name for name in ("trials", "refits") if any(c["values"] for c in curves[name])]
    title = f"{run.spec}: learning curves"
    figure = _figure(title, len(rows), len(metrics), 4.2, 3.0, part)
    for place, axes in enumerate(figure.axes):
        row, metric = rows[place // len(metrics)], metrics[place % len(metrics)]
        for curve in sorted(curves[row], key=lambda candidate: bool(candidate["best"])):
            _draw_curve(axes, curve, metric, is_strong=curve["best"] or row == "refits")
        axes.set_title("trials of the search" if row == "trials" else row)
        _label(axes, "epoch", metric)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="best")
    return figure


def _draw_curve(axes: Axes, curve: Json, metric: str, is_strong: bool) -> None:
    """Draw a metric on validation and on train; of a faint curve the first of these it has."""
    has_both = f"val_{metric}" in curve["values"] and metric in curve["values"]
    known = axes.get_legend_handles_labels()[1]
    for name, colour, line in ((f"val_{metric}", BLUE, "-"), (metric, ORANGE, "--")):
        values = curve["values"].get(name)
        if values is None or (has_both and name == metric and not is_strong):
            continue
        points = [float("nan") if value is None else value for value in values]
        whose = "best trial" if curve["best"] else "refit"
        part = "" if not has_both else ", train" if name == metric else ", validation"
        axes.plot(
            curve["epochs"],
            points,
            line,
            color=colour if is_strong else GREY,
            lw=1.6 if is_strong else 0.8,
            # A line through fewer points would hardly be seen.
            marker="o" if len(points) < 3 else None,
            ms=3,
            label=whose + part if is_strong and whose + part not in known else None,
        )


def _confusion(title: str, confusion: Confusion, classes: Sequence[Json], part: str) -> Figure:
    """Draw each true class's row as shares of its samples, so that rare ones are seen too."""
    counts = confusion.corner(MOST_CLASSES_DRAWN)
    size = len(counts)
    inches = min(max(3.2, 0.42 * size + 1.2), 9.0)
    figure = _figure(title, 1, 1, inches, inches, part)
    (axes,) = figure.axes
    totals = [max(total, 1) for total in confusion.totals(size)]
    shares = [[count / total for count in row] for row, total in zip(counts, totals, strict=True)]
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.grid(visible=False)
    step = -(-size // 40)
    places = list(range(0, size, step))
    names = [_text(str(classes[i] if i < len(classes) else i), 14) for i in places]
    is_long = max(map(len, names)) > 3
    axes.set_xticks(places, names, rotation=90 if is_long else 0)
    axes.set_yticks(places, names)
    if size <= MOST_WRITTEN:
        for i, row in enumerate(shares):
            for j, share in enumerate(row):
                colour = "white" if share > 0.5 else INK if share else GREY
                count = str(counts[i][j])
                axes.text(j, i, count, ha="center", va="center", color=colour, fontsize=8)
    _label(axes, "predicted", "true")
    return figure


def _residuals(title: str, numbers: Json) -> Figure:
    pairs = [
        (truth, predicted)
        for truth, predicted in zip(numbers["truth"], numbers["predicted"], strict=True)
        if truth is not None and predicted is not None
    ]
    errors = numbers["errors"]
    figure = _figure(title, 1, 3 if errors else 2, 4.0, 3.6)
    against, residuals, *more = figure.axes
    if errors:
        _error_quantiles(more[0], errors)
    if not pairs:
        return figure
    truth, predicted = zip(*pairs, strict=True)
    against.scatter(truth, predicted, s=10, color=BLUE, alpha=0.5, linewidths=0)
    against.axline((truth[0], truth[0]), slope=1, color=INK, lw=1, ls="--")
    _label(against, "real", "predicted")
    residuals.scatter(
        predicted, [p - t for t, p in pairs], s=10, color=BLUE, alpha=0.5, linewidths=0
    )
    residuals.axhline(0, color=INK, lw=1, ls="--")
    _label(residuals, "predicted", "predicted - real")
    return figure


def _error_quantiles(axes: Axes, errors: Json) -> None:
    if errors["baseline"]:
        axes.plot(
            errors["baseline"]["x"],
            errors["baseline"]["y"],
            "--",
            color=GREEN,
            lw=1,
            label="baseline",
        )
    axes.plot(errors["x"], errors["y"], color=BLUE, lw=1.6, label="this run")
    axes.set_ylim(bottom=0)
    _label(axes, "share of the samples", "absolute error, up to")
    if errors["baseline"]:
        axes.legend(loc="upper left")


def _answers(spec: str, group: Json, is_named: bool) -> Iterator[tuple[str, Figure]]:
    """Yield the pictures of an output's answers: a line of each class, a panel of each for scores."""
    classes, name = group["classes"], group["output"]
    ending, of = (f"-{name}", f" of {name}") if is_named else ("", "")
    yield f"roc{ending}", _class_curves(f"{spec}: ROC curve{of}", classes, "roc")
    title = f"{spec}: precision and recall{of}"
    yield f"precision-recall{ending}", _class_curves(title, classes, "pr")
    if classes[0]["bins"]["is_probability"]:
        yield f"reliability{ending}", _reliability(f"{spec}: reliability{of}", classes)
    columns = min(len(classes), 3)
    figure = _figure(f"{spec}: scores{of}", -(-len(classes) // columns), columns, 4.0, 2.6)
    for axes, one in zip(figure.axes, classes, strict=False):
        _scores(axes, one)
    for axes in figure.axes[len(classes) :]:
        axes.set_visible(False)
    yield f"scores{ending}", figure


@dataclass(frozen=True)
class _Line:
    """How the curve of a class is drawn, by its place, and faintly behind it that of the baseline."""

    place: int
    name: str

    def draw(self, axes: Axes, x: Sequence[float], y: Sequence[float], **how: Any) -> None:
        dash = "-" if self.place < len(CYCLE) else "-."
        colour = CYCLE[self.place % len(CYCLE)]
        axes.plot(x, y, dash, color=colour, lw=1.5, label=self.name, zorder=3, **how)

    def draw_point(self, axes: Axes, point: Json, kind: str) -> None:
        """Draw where a run that chose a threshold is on its curve."""
        x, y = ("false_positive_rate", "recall") if kind == "roc" else ("recall", "precision")
        if point[y] is not None:
            colour = CYCLE[self.place % len(CYCLE)]
            axes.plot(point[x], point[y], "D", color=colour, mfc="white", ms=6, mew=1.6, zorder=5)

    def draw_behind(self, axes: Axes, before: Json, classes: int, **how: Any) -> None:
        if before:
            colour = GREEN if classes == 1 else CYCLE[self.place % len(CYCLE)]
            axes.plot(before["x"], before["y"], "--", color=colour, alpha=0.4, lw=1, **how)


def _name_baseline(axes: Axes, classes: Sequence[Json], kind: str, **how: Any) -> None:
    """Name the baseline once, after all classes."""
    if any(one[kind]["baseline"] for one in classes):
        colour = GREEN if len(classes) == 1 else GREY
        axes.plot([], [], "--", color=colour, lw=1, label="baseline", **how)


def _class_curves(title: str, classes: Sequence[Json], kind: str) -> Figure:
    figure = _figure(title, 1, 1, 5.4, 4.2)
    (axes,) = figure.axes
    # Between two points precision is that of the one with more recall, as scikit-learn draws it.
    line: Any = {"drawstyle": "steps-pre"} if kind == "pr" else {}
    if kind == "roc":
        axes.axline((0, 0), slope=1, color=GREY, lw=1, ls=":")
    for place, one in enumerate(classes):
        curve = one[kind]
        drawn = _Line(place, f"{one['name']} ({number(curve['area'], 3)})")
        drawn.draw(axes, curve["x"], curve["y"], **line)
        drawn.draw_behind(axes, curve["baseline"], len(classes), **line)
        if one["point"]:
            drawn.draw_point(axes, one["point"], kind)
    _name_baseline(axes, classes, kind, **line)
    if any(one["point"] for one in classes):
        axes.plot([], [], "D", color=INK, mfc="none", ms=5, label="operating point", ls="")
    if kind == "roc":
        _label(axes, "false positive rate", "recall")
    else:
        _label(axes, "recall", "precision")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    what = "area" if kind == "roc" else "average precision"
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=what, title_fontsize=8)
    return figure


def _reliability(title: str, classes: Sequence[Json]) -> Figure:
    figure = _figure(title, 1, 1, 5.4, 4.2)
    (axes,) = figure.axes
    axes.axline((0, 0), slope=1, color=GREY, lw=1, ls=":")
    for place, one in enumerate(classes):
        bins = one["bins"]
        known = [i for i, mean in enumerate(bins["mean"]) if mean is not None]
        means, shares = ([bins[key][i] for i in known] for key in ("mean", "share"))
        drawn = _Line(place, one["name"])
        drawn.draw(axes, means, shares, marker="o", ms=3.5)
        drawn.draw_behind(axes, bins["baseline"], len(classes))
    _name_baseline(axes, classes, "bins")
    _label(axes, "mean score of a bin", "share of the class")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _scores(axes: Axes, one: Json) -> None:
    bins = one["bins"]
    for counts, colour, label in (
        (bins["of"], BLUE, one["name"]),
        (bins["others"], ORANGE, "others"),
    ):
        shares = [count / sum(counts) for count in counts]
        axes.stairs(shares, bins["edges"], color=colour, fill=True, alpha=0.25)
        axes.stairs(shares, bins["edges"], color=colour, lw=1.4, label=label)
    _label(axes, "score", "share of its samples")
    axes.legend(loc="upper center")


def _slices(title: str, group: SliceGroup, part: str) -> Figure:
    bars = group.bars[:MOST_BARS_DRAWN]
    figure = _figure(title, 1, 1, 7, max(1.6, 0.28 * len(bars) + 0.8), part)
    (axes,) = figure.axes
    for place, bar in enumerate(bars):
        result, measured = bar.result, bar.result.measured
        if measured is None or not math.isfinite(measured):
            continue
        colour = ORANGE if result.outcome is Outcome.FAILED else BLUE
        axes.barh(place, measured, height=0.6, color=colour, alpha=0.75)
        if bar.low is not None and bar.high is not None:
            ends = [[max(measured - bar.low, 0.0)], [max(bar.high - measured, 0.0)]]
            axes.errorbar([measured], [place], xerr=ends, color=INK, lw=1.2, capsize=2.5)
        if result.bound is not None and math.isfinite(result.bound):
            axes.plot([result.bound] * 2, [place - 0.42, place + 0.42], ":", color=INK, lw=1.5)
    names = [_text(f"{bar.result.slice} (n={bar.result.n})", 30) for bar in bars]
    axes.set_yticks(range(len(bars)), names)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(*group.ends)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("measured, with its 95 % interval where it has one; dotted: the bound")
    return figure


def _trend(spec: str, trends: Json, part: str) -> Figure:
    figure = _figure(f"{spec}: past runs", len(trends), 1, 7, 2.6, part)
    for axes, trend in zip(figure.axes, trends, strict=True):
        # A run without the metric is a gap in the line.
        means = [math.nan if mean is None else mean for mean in trend["means"]]
        axes.errorbar(
            range(len(means)),
            means,
            [std or 0.0 for std in trend["stds"]],
            color=BLUE,
            marker="o",
            ms=4,
            lw=1.2,
            elinewidth=0.8,
            capsize=2,
        )
        for marked, colour, label in (
            ("this", ORANGE, "this run"),
            ("accepted", GREEN, "accepted"),
        ):
            place = trend[marked]
            if place is not None and trend["means"][place] is not None:
                axes.scatter(
                    place, trend["means"][place], s=70, color=colour, zorder=4, label=label
                )
        if trend["baseline"] is not None:
            axes.axhline(trend["baseline"], color=GREEN, lw=1, ls="--", label="baseline")
        for bound in trend["bounds"]:
            if bound["at"] is not None:
                axes.axhline(bound["at"], color=INK, lw=1, ls=":", label=_text(bound["text"], 30))
        step = -(-len(trend["runs"]) // 10)
        places = list(range(0, len(trend["runs"]), step))
        names = [
            f"{_text(trend['runs'][i], 10)}\n{_text(trend['days'][i][:10], 10)}" for i in places
        ]
        axes.set_xticks(places, names, fontsize=7)
        _label(axes, "", trend["metric"])
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(_text(x, 30))
    axes.set_ylabel(_text(y, 30))
    if x in ("trial", "epoch"):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = axes.get_xlim()
        if high - low < 1:
            # Of a single trial or epoch.
            axes.set_xlim(low - 0.5, high + 0.5)


def _text(text: str, longest: int) -> str:
    """Return text as XML and a chart take it, cut where it would push the chart aside."""
    cleaned = re.sub("[\ufffe\uffff]", "?", clean(text))
    return cleaned if len(cleaned) <= longest else f"{cleaned[: longest - 1]}…"
