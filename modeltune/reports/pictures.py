"""A run as picture files, SVG or PNG: the charts of report.html; sole importer of matplotlib."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modeltune.ground import ModeltuneError
from modeltune.records import Confusion, Json, Run, confusion_from_json
from modeltune.reports.filenames import file_name
from modeltune.reports.html_charts import charts
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import clean, gated_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png")

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

MOST_CLASSES_DRAWN = 200
"""Classes of a confusion matrix that is drawn."""


def draw_pictures(reported: ReportedRun, kind: str) -> Mapping[str, bytes]:
    """Return the pictures of a run by file name: ``spec_digits.py.mlp-search.svg``, ...

    They are ``search`` (score by trial and the best so far), ``curves`` (of trials and of
    refits), ``confusion`` or ``residuals`` (per output; predicted against real), and ``trend``
    (past runs with the baseline and gates' bounds): those there is something to show of. What
    is too much for one is said in its title.

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
            classes = [row.get("class") for row in table.get("per_class", ())]
            file = f"confusion-{output}" if len(run.task_report) > 1 else "confusion"
            part = _part(min(counts.classes, MOST_CLASSES_DRAWN), counts.classes, "classes")
            title = f"{run.spec}: {file.replace('-', ' of ', 1)}"
            yield file, _confusion(title, counts, classes, part)
    for numbers in data["numbers"]:
        name = numbers["name"]
        file = f"residuals-{name}" if len(data["numbers"]) > 1 else "residuals"
        title = f"{run.spec}: predicted against real{f', {name}' if name else ''}"
        yield file, _residuals(title, numbers)
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
    trials = _part(len(curves["trials"]), sum(bool(t.curve) for t in run.trials), "trials")
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
    figure = _figure(title, 1, 2, 4.0, 3.6)
    against, residuals = figure.axes
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
