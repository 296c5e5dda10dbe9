"""report.html: runs as one page that needs no network, scripts only for charts and sorting; prints nothing."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune.records import (
    FITTED,
    ClassNames,
    Confusion,
    Drop,
    ImageChange,
    Json,
    Outcome,
    Run,
    Trial,
    Verdict,
    confusion_from_json,
)
from modeltune.reports.annotations import is_red
from modeltune.reports.class_names import class_names
from modeltune.reports.comparison import Section, differences
from modeltune.reports.counterexamples import counterexample_of, counterexamples, grey
from modeltune.reports.drops import (
    DropGroup,
    drop_groups,
    part_text,
    parts_line,
    sample_text,
    samples_line,
)
from modeltune.reports.error_rates import false_alarms
from modeltune.reports.exports import EXPORT_HEADERS, export_rows
from modeltune.reports.html_charts import best_so_far, charts, mean, spread_places
from modeltune.reports.progress import duration
from modeltune.reports.rankings import HEADERS, Ranking, ranking_rows, ranking_title
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.slice_bars import SliceBar, SliceGroup, slice_groups
from modeltune.reports.tables import (
    MISSING,
    PHASE_HEADERS,
    clean,
    distinct,
    flat,
    gated_metrics,
    headline,
    kept_file,
    mean_std,
    number,
    operating_point,
    outcome_codes,
    parse_objective,
    phase_rows,
    preparation,
    tested_metric,
    tracebacks_of,
)
from modeltune.specs import Direction

if TYPE_CHECKING:
    from jinja2 import Environment, Template

LONGEST_TEXT = 2_000
"""The most characters of one text on a line; an error may have ten times as many."""

MOST_CLASSES = 30
"""The most classes of a confusion matrix that is shown whole; with more, the most frequent confusions are listed."""

MOST_PAIRS = 20

MOST_BARS = 60
"""The most slices of a gate that have a bar: the worst ones."""

MOST_ROWS = 300
"""The most rows of a table of trials, classes, slices or layers."""

MOST_TRACEBACKS = 10
"""Different tracebacks of failed trials that are shown, each once for all trials it ended."""

SPARK = 120
"""The most points of a line in a table: more could not be told apart."""

WIDEST_ROW = 20
"""Numbers of a row that is shown beside a sample that got worse."""

MOST_OPEN = 4
"""Runs that are unfolded when the page opens, red ones first."""

ICONS = {
    **dict.fromkeys(("passed", "completed", "accepted", "right"), "pass"),
    **dict.fromkeys(("failed", "invalid", "error", "wrong"), "fail"),
    **dict.fromkeys(("warned", "waived", "interrupted", "crashed"), "warn"),
}
"""The sign and colour of an outcome or status, beside its word; of others "open"."""

_HERE = Path(__file__).parent


def html(reported: Sequence[ReportedRun], rankings: Sequence[Ranking] = ()) -> str:
    """Return the page over these runs, red ones first.

    Names and messages are shown literally, whatever they hold. Where there is too much to show, some is left out, and the page says so.
    """
    ordered = sorted(reported, key=lambda one: one.run.passed)
    parts = [_Part(f"run-{i}", one, len(ordered)) for i, one in enumerate(ordered, start=1)]
    script, style = _script(), page_style()
    return page_template().render(
        counts=headline([one.run for one in ordered]),
        is_red=any(not one.run.passed for one in ordered),
        parts=parts,
        opened={part.id for part in parts[:MOST_OPEN]},
        rankings=[(ranking_title(one), ranking_rows(one), one.left_out) for one in rankings],
        ranking_headers=HEADERS,
        most_rows=MOST_ROWS,
        phase_headers=PHASE_HEADERS,
        export_headers=EXPORT_HEADERS,
        most_tracebacks=MOST_TRACEBACKS,
        codes=outcome_codes([one.run for one in ordered]),
        attention=[(part, verdict) for part in parts for verdict in part.red],
        script=script,
        style=style,
        policy=policy(style, script),
    )


def policy(style: str, script: str = "") -> str:
    """Return the Content-Security-Policy of a page with this style and script, and no others."""
    scripts = [f"script-src '{_digest(script)}'"] if script else []
    return "; ".join(
        (
            "default-src 'none'",
            *scripts,
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@lru_cache(maxsize=2)
def page_template(name: str = "report.html") -> Template:
    """Return the template of a page; the first call imports Jinja, and compiles it unless it has been before."""
    return _environment().get_template(name)


def _environment() -> Environment:
    import jinja2

    from modeltune.reports.compiled_templates import CompiledTemplates

    folder = _HERE / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=CompiledTemplates(folder, "escaped-trimmed"),
    )
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "separators": (",", ":"),
        "sort_keys": False,
    }
    environment.globals["FITTED"] = FITTED
    environment.filters |= {
        "text": _text,
        "lines": _lines,
        "number": number,
        "mean_std": mean_std,
        "duration": lambda value: duration(value) if math.isfinite(value) else number(value),
        "key": _key,
        "part_text": part_text,
        "tested": tested_metric,
        "typed": lambda value: value if isinstance(value, str) else repr(value),
        "icon": lambda word: ICONS.get(word, "open"),
    }
    return environment


def _script() -> str:
    files = ("vendor/uPlot.iife.min.js", "templates/report.js")
    return "\n".join((_HERE / file).read_text(encoding="utf-8") for file in files)


def page_style() -> str:
    """Return the style sheets of a page."""
    files = ("vendor/uPlot.min.css", "templates/report.css")
    return "\n".join((_HERE / file).read_text(encoding="utf-8") for file in files)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@dataclass(frozen=True, eq=False)
class _Part:
    """What the template shows of one run; ``id`` is its anchor, ``of`` how many runs there are."""

    id: str
    reported: ReportedRun
    of: int

    @property
    def run(self) -> Run:
        return self.reported.run

    @cached_property
    def charts(self) -> dict[str, Json]:
        return charts(self.reported, self.of)

    @cached_property
    def tested(self) -> str:
        return tested_metric(self.run.objective)

    @cached_property
    def red(self) -> list[Verdict]:
        """The gates and checks that make the run red."""
        return [v for v in (*self.run.verdicts, *self.run.checks) if is_red(self.run, v)]

    @cached_property
    def verdicts(self) -> list[VerdictView]:
        return [VerdictView(self.run, verdict) for verdict in self.run.verdicts]

    @cached_property
    def checks(self) -> list[VerdictView]:
        """The checks, those that did not pass first."""
        checks = [VerdictView(self.run, check) for check in self.run.checks]
        return sorted(checks, key=lambda check: check.verdict.outcome is Outcome.PASSED)

    @cached_property
    def compared(self) -> list[VerdictView]:
        """The gates that were compared with another run, with the result."""
        return [judged for judged in self.verdicts if judged.forest]

    @cached_property
    def slices(self) -> list[_SliceTable]:
        """The slices of gates, with a bar of each."""
        return [_SliceTable(group) for group in slice_groups(self.run, self.reported.samples)]

    @cached_property
    def spark(self) -> Spark | None:
        return self.trend(self.tested)

    @cached_property
    def trends(self) -> list[Spark]:
        return [spark for name in gated_metrics(self.run) if (spark := self.trend(name))]

    def trend(self, metric: str) -> Spark | None:
        """Return the means of a metric over past runs, None when there are no two."""
        means = [mean(summary, metric) for summary in reversed(self.reported.past)]
        return spark_of(metric, means)

    @cached_property
    def search_spark(self) -> Spark | None:
        return spark_of("best score so far", best_so_far(self.run))

    @cached_property
    def parameters(self) -> list[str]:
        """The names of all hyperparameters, none when there are too many for columns."""
        names = dict.fromkeys(name for trial in self.run.trials for name in trial.values)
        return list(names) if len(names) <= 8 else []

    @cached_property
    def trials(self) -> list[Trial]:
        """The trials in order, the best ones of too many."""
        trials = list(self.run.trials)
        if len(trials) <= MOST_ROWS:
            return trials
        objective = parse_objective(self.run.objective)
        sign = 1 if objective and objective.direction is Direction.MIN else -1

        def loss(trial: Trial) -> float:
            known = trial.score is not None and math.isfinite(trial.score)
            return sign * trial.score if known and trial.score is not None else math.inf

        return sorted(trials, key=loss)[:MOST_ROWS]

    @property
    def false_alarms(self) -> str:
        """How often its gates against recorded runs fail by chance."""
        return false_alarms(self.run)

    @cached_property
    def raised(self) -> Mapping[str, str]:
        """Where the author's metrics raised, by gate."""
        return dict(list(tracebacks_of(self.run).items())[:MOST_TRACEBACKS])

    @cached_property
    def tracebacks(self) -> list[_Traceback]:
        """Where trials failed: each traceback once, with the trials that ended so, the first first."""
        ended: dict[str, list[Trial]] = {}
        for trial in self.run.trials:
            if trial.traceback is not None:
                ended.setdefault(trial.traceback, []).append(trial)
        return [_Traceback(text, trials) for text, trials in ended.items()]

    @cached_property
    def refits(self) -> list[Mapping[str, Json]]:
        recorded = self.run.validation.get("refits")
        refits = recorded if isinstance(recorded, list | tuple) else []
        return [refit for refit in refits if isinstance(refit, Mapping)]

    @property
    def phases(self) -> list[list[str]]:
        """The phases of refits that have several, the columns as ``PHASE_HEADERS``."""
        return phase_rows(self.run)[:MOST_ROWS]

    @cached_property
    def exports(self) -> list[list[str]]:
        """What became of each export, the columns as ``EXPORT_HEADERS``."""
        return export_rows(self.run)

    @cached_property
    def tasks(self) -> list[_Task]:
        """What each output's report has: classes, a confusion matrix, or numbers."""
        tasks = [
            _task(name, table, class_names(self.run, name))
            for name, table in self.run.task_report.items()
            if isinstance(table, Mapping)
        ]
        return [task for task in tasks if task.rows or task.matrix or task.pairs]

    @cached_property
    def samples(self) -> list[_Sample]:
        documents = self.reported.examples.get("samples", ())
        samples = [_sample(sample, self.run) for sample in documents if isinstance(sample, Mapping)]
        return [sample for sample in samples if sample.inputs or sample.outputs]

    @cached_property
    def drops(self) -> list[_DropView]:
        """What explains the red comparisons with recorded runs, by these."""
        documents = [self.reported.examples.get(name, ()) for name in ("worse", "samples")]
        shown = {
            str(sample.get("index")): [_input(name, x) for name, x in _entries(sample.get("x"))]
            for listed in documents
            if isinstance(listed, list | tuple)
            for sample in listed
            if isinstance(sample, Mapping)
        }
        return [_DropView(group, shown) for group in drop_groups(self.run)]

    @cached_property
    def features(self) -> int:
        """The length of the row that every sample is, 0 when samples are no rows of one length."""
        rows = [[x["kind"] for x in sample.inputs] == ["row"] for sample in self.samples]
        if not rows or not all(rows):
            return 0
        shapes = [
            (len(sample.inputs[0]["values"]), [output["name"] for output in sample.outputs])
            for sample in self.samples
        ]
        return shapes[0][0] if all(shape == shapes[0] for shape in shapes) else 0

    @cached_property
    def differences(self) -> list[Section]:
        """What differs from the reference, first the aspects in which anything does."""
        reference = self.reported.reference
        if reference is None:
            return []
        _, *sections = differences(reference, self.run, self.reported.contrast)
        return sorted(sections, key=lambda section: not section.rows)

    @cached_property
    def layers(self) -> list[Mapping[str, Json]]:
        layers = self.run.model.get("layers")
        recorded = layers if isinstance(layers, list | tuple) else []
        return [layer for layer in recorded if isinstance(layer, Mapping)][:MOST_ROWS]

    @cached_property
    def preparation(self) -> str | None:
        """What was fitted on train before models were built."""
        return preparation(self.run)

    @cached_property
    def facts(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """All other recorded facts, by topic."""
        run = self.run
        validation = {name: value for name, value in run.validation.items() if name != "refits"}
        files = {"weights": run.artifact, **run.files}
        kept = {name: kept_file(file) for name, file in files.items() if file}
        documents: dict[str, Mapping[str, Json]] = {
            "environment": run.environment,
            "data": run.data,
            "search": run.search,
            "fit": run.fit,
            "validation": validation,
            "fingerprints": run.fingerprints,
            "files": kept,
        }
        groups = [(title, list(flat(document))) for title, document in documents.items()]
        return [(title, entries) for title, entries in groups if entries]


@dataclass(frozen=True, eq=False)
class _DropView:
    """What explains the drops against a recorded run; ``shown`` has inputs of test samples by their row."""

    group: DropGroup
    shown: Mapping[str, list[Mapping[str, Any]]]

    @property
    def drops(self) -> list[tuple[Verdict, Drop, str, list[tuple[str, list[Mapping[str, Any]]]]]]:
        """By gate what is known of it, how many samples got worse, and these: their text, and pictures of them."""
        return [
            (
                verdict,
                drop,
                samples_line(drop).partition(":")[0],
                [(sample_text(one), self._images(one.row)) for one in drop.samples],
            )
            for verdict, drop in self.group.drops
            if parts_line(drop) or drop.samples
        ]

    def _images(self, row: int) -> list[Mapping[str, Any]]:
        inputs = self.shown.get(str(row), [])
        return [x for x in inputs if x["kind"] != "row" or len(x["values"]) <= WIDEST_ROW]


@dataclass(frozen=True, eq=False)
class _Traceback:
    """A traceback and the trials it ended."""

    text: str
    trials: list[Trial]

    @property
    def numbers(self) -> str:
        """The numbers of the trials, the first twenty of more."""
        numbers = ", ".join(str(trial.id) for trial in self.trials[:20])
        more = len(self.trials) - 20
        return f"{numbers} and {more} more" if more > 0 else numbers


@dataclass(frozen=True, eq=False)
class _SliceTable:
    """Slices with their bars, which share one scale."""

    group: SliceGroup

    @cached_property
    def rows(self) -> list[tuple[str, str, str, str, str, _Bar | None]]:
        """By slice: its name, samples, measured, bound, outcome and bar."""
        rows = []
        for place, bar in enumerate(self.group.bars):
            result = bar.result
            numbers = distinct(result.measured, result.bound)
            drawn = self._bar(bar) if place < MOST_BARS else None
            rows.append((result.slice, str(result.n), *numbers, result.outcome.value, drawn))
        return rows

    def _bar(self, bar: SliceBar) -> _Bar | None:
        measured, bound = bar.result.measured, bar.result.bound
        if measured is None or not math.isfinite(measured):
            return None
        words = number(measured)
        interval = ""
        ends = None
        if bar.low is not None and bar.high is not None:
            interval = f"{number(bar.low, 3)} to {number(bar.high, 3)}"
            words += f", between {number(bar.low, 3)} and {number(bar.high, 3)}"
            ends = (self._at(bar.low), self._at(bar.high))
        known = bound is not None and math.isfinite(bound)
        limit = self._at(bound) if bound is not None and known else None
        words += f"; bound {number(bound)}" if known else ""
        start, end = sorted((self._at(0.0), self._at(measured)))
        return _Bar(start, round(end - start, 1), ends, limit, interval, words)

    def _at(self, value: float) -> float:
        """Return where a value is drawn, between 3 and 197."""
        low, high = self.group.ends
        share = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        return round(3 + 194 * share, 1)


@dataclass(frozen=True)
class _Bar:
    """A bar as SVG has it: its start and width, the ends of its interval, its bound."""

    start: float
    width: float
    ends: tuple[float, float] | None
    bound: float | None
    interval: str
    words: str


@dataclass(frozen=True, eq=False)
class VerdictView:
    """A gate or check of a run."""

    run: Run
    verdict: Verdict

    @property
    def is_red(self) -> bool:
        return is_red(self.run, self.verdict)

    @property
    def numbers(self) -> tuple[str, str]:
        return distinct(self.verdict.measured, self.verdict.bound)

    @cached_property
    def counterexample(self) -> str:
        if self.verdict.outcome is Outcome.PASSED:
            return ""
        return "\n".join(counterexamples(replace(self.run, verdicts=(self.verdict,))))

    @cached_property
    def pictures(self) -> list[list[list[list[int]]]]:
        """The images of a counter-example, each before and after: rows of shades up to 255."""
        example = counterexample_of(self.verdict) if self.counterexample else None
        return [
            _shades([image for image in (change.before, change.after) if image is not None])
            for change in (example.shown if example else ())
            if isinstance(change, ImageChange)
        ]

    @cached_property
    def forest(self) -> _Forest | None:
        """The change since the run it was compared with, and its interval; None without a comparison."""
        regression = self.verdict.regression
        if regression is None or not math.isfinite(regression.delta):
            return None
        low, high = regression.interval
        if sum(map(math.isfinite, (low, high, regression.margin))) < 2:
            return None
        return _Forest(
            regression.reference,
            *distinct(regression.reference_value, self.verdict.measured),
            regression.delta,
            low,
            high,
            allowed=0.0 - regression.margin,
        )


def _shades(images: Sequence[Sequence[Any]]) -> list[list[list[int]]]:
    """Return images as shades between the lowest and the highest value of all."""
    levels = [grey(image) for image in images]
    known = [v for image in levels for row in image for v in row if math.isfinite(v)]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def shade(value: float) -> int:
        if not math.isfinite(value) or not high / 2 > low / 2:
            return 0
        return round(255 * (value / 2 - low / 2) / (high / 2 - low / 2))

    return [[[shade(value) for value in row] for row in image] for image in levels]


@dataclass(frozen=True)
class _Forest:
    """A change and its interval; more is better, ``allowed`` is how far it may drop."""

    reference: str
    then: str
    now: str
    delta: float
    low: float
    high: float
    allowed: float

    def at(self, value: float) -> float:
        """Return where a value is drawn, between 0 and 200."""
        ends = [v for v in (self.low, self.high, self.allowed, self.delta, 0.0) if math.isfinite(v)]
        low, high = min(ends), max(ends)
        if not high > low:
            return 100.0
        share = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        return round(10 + 180 * share, 1)

    @property
    def words(self) -> str:
        if self.delta == 0:
            return "no change"
        return f"{number(abs(self.delta))} {'better' if self.delta > 0 else 'worse'}"


@dataclass(frozen=True)
class Spark:
    """A line of values: its points as SVG has them, one list of a stretch without gaps."""

    name: str
    stretches: list[str]
    last: tuple[float, float]
    words: str


def spark_of(name: str, values: Sequence[float | None]) -> Spark | None:
    """Return the line of these values, None when fewer than two are known."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    stretches: list[list[tuple[float, float]]] = [[]]
    for place in spread_places(len(values), SPARK):
        value = values[place]
        if value is None or not math.isfinite(value):
            stretches.append([])
            continue
        # Halves, for the distance between two floats may be too large for a third.
        height = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.5
        x = 3 + 114 * place / (len(values) - 1)
        stretches[-1].append((round(x, 1), round(25 - 22 * height, 1)))
    words = (
        f"{clean(name)} over {len(values)}: from {number(known[0])} to {number(known[-1])}, "
        f"lowest {number(low)}, highest {number(high)}"
    )
    drawn = [stretch for stretch in stretches if stretch]
    lines = [" ".join(f"{x:g},{y:g}" for x, y in stretch) for stretch in drawn]
    return Spark(name, lines, drawn[-1][-1], words)


@dataclass(frozen=True)
class _Task:
    """An output's report; ``pairs`` are the most frequent confusions where ``matrix`` is too large.

    ``point`` says from where on it says yes, "" where that was neither chosen nor declared.
    """

    name: str
    task: str
    classes: list[str]
    rows: list[tuple[str, ...]]
    numbers: bool
    of: int
    matrix: list[list[tuple[str, str]]]
    pairs: list[tuple[str, str, int]]
    point: str = ""


def _task(name: str, table: Mapping[str, Json], names_of: ClassNames) -> _Task:
    per_class = table.get("per_class")
    listed = per_class if isinstance(per_class, list | tuple) else []
    rows_of_classes = [row for row in listed if isinstance(row, Mapping)]
    named = [names_of.label(row.get("class")) for row in rows_of_classes]
    names = ("precision", "recall", "f1", "support")
    by_class: list[tuple[str, ...]] = [
        (label, *(number(_float(row.get(key))) for key in names))
        for label, row in zip(named, rows_of_classes, strict=True)
    ]
    if len(by_class) > MOST_ROWS:
        # A class that test has none of is not the worst one.
        scores = [
            (row.get("support") == 0, _float(row.get("f1")) or 0.0) for row in rows_of_classes
        ]
        worst = sorted(range(len(scores)), key=scores.__getitem__)[:MOST_ROWS]
        by_class = [by_class[place] for place in worst]
    numbers = not by_class
    if numbers:
        by_class = [
            (key, number(score), "", "", "")
            for key, value in table.items()
            if key != "task" and (score := _float(value)) is not None
        ]
    confusion = confusion_from_json(table.get("confusion")) or Confusion(0)
    if confusion.classes != len(named):
        named = [names_of.label(place) for place in range(confusion.classes)]
    matrix: list[list[tuple[str, str]]] = []
    pairs: list[tuple[str, str, int]] = []
    if confusion.classes <= MOST_CLASSES:
        matrix = [
            [(str(count), _shade(count, sum(row), i == j)) for j, count in enumerate(row)]
            for i, row in enumerate(confusion.corner(MOST_CLASSES))
        ]
    else:
        most = itertools.islice(confusion.wrong(), MOST_PAIRS)
        pairs = [(named[i], named[j], count) for i, j, count in most]
    task = str(table.get("task", ""))
    point = operating_point(table)
    return _Task(name, task, named, by_class, numbers, len(rows_of_classes), matrix, pairs, point)


def _shade(count: int, total: int, is_right: bool) -> str:
    """Return the class of a cell by its share of the row, in ten steps."""
    step = max(0, min(9, math.ceil(9 * count / total))) if total > 0 else 0
    return f"{'r' if is_right else 'w'}{step}" if count else "w0"


@dataclass(frozen=True)
class _Sample:
    """A test sample to look at: its inputs by kind, and what was true and predicted by output."""

    index: str
    verdict: str
    inputs: list[Mapping[str, Any]]
    outputs: list[Mapping[str, str]]


def _sample(sample: Mapping[str, Json], run: Run) -> _Sample:
    wrong = sample.get("is_wrong")
    verdict = {True: "wrong", False: "right"}.get(wrong, "") if isinstance(wrong, bool) else ""
    return _Sample(
        str(sample.get("index", MISSING)),
        verdict,
        [_input(name, x) for name, x in _entries(sample.get("x"))],
        [
            _output(name, output, class_names(run, name))
            for name, output in _entries(sample.get("outputs"))
        ],
    )


def _entries(document: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for name, value in document.items() if isinstance(document, Mapping) else ():
        if isinstance(value, Mapping):
            yield name, value


def _input(name: str, x: Mapping[str, Json]) -> Mapping[str, Any]:
    kind = x.get("kind")
    document: dict[str, Any] = {"name": name, "kind": kind}
    if kind == "image":
        png = x.get("png")
        # Base64 of a PNG's first bytes and nothing else: it stands in an attribute.
        is_png = isinstance(png, str) and re.fullmatch(r"iVBORw0KGgo[A-Za-z0-9+/]+={0,2}", png)
        sides = [x.get(side) for side in ("width", "height")]
        document |= {"png": png if is_png else None, "size": " by ".join(map(str, sides))}
    elif kind == "text":
        document["text"] = str(x.get("text", ""))
    elif kind == "row":
        values = x.get("values")
        document["values"] = [
            str(cell) if (value := _float(cell)) is None else number(value)
            for cell in (values if isinstance(values, list | tuple) else ())
        ]
    else:
        document["text"] = ", ".join(
            f"{key} {value}" for key, value in x.items() if key != "kind" and value is not None
        )
    return document


def _output(name: str, output: Mapping[str, Json], names: ClassNames) -> Mapping[str, str]:
    confidence, error = _float(output.get("confidence")), _float(output.get("error"))
    return {
        "name": "" if name == "output" else name,
        "truth": _answer(output.get("truth"), names),
        "predicted": _answer(output.get("predicted"), names),
        "sure": "" if confidence is None else f"{confidence:.0%}",
        "error": "" if error is None else number(error),
    }


def _answer(value: Json, names: ClassNames) -> str:
    """Return what was true or predicted, empty where there are too many places to list."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        answer = ", ".join(_answer(part, names) or MISSING for part in value[:20])
        return answer + (", …" if len(value) > 20 else "")
    known = _float(value)
    if known is None or isinstance(value, str):
        return str(value)
    return names.label(value) if isinstance(value, int) else number(known)


def _float(value: Any) -> float | None:
    """Return a number of a document, which may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    """Return text on one line, without control characters."""
    text = str(value)
    line = " ".join(clean(text[: 2 * LONGEST_TEXT]).split())
    if len(line) > LONGEST_TEXT:
        line = f"{line[:LONGEST_TEXT]}… ({len(text) - LONGEST_TEXT} more characters)"
    return line or MISSING


def _lines(text: str) -> str:
    """Return text line by line, its spaces kept: they may be pixels."""
    kept = [" ".join(map(clean, line.split(" "))).rstrip() for line in _clip(text).splitlines()]
    return "\n".join(kept)


def _clip(text: str) -> str:
    most = 10 * LONGEST_TEXT
    return text if len(text) <= most else f"{text[:most]}…\n({len(text) - most} more characters)"


def _key(value: Any) -> str:
    """Return what a cell is sorted by: its number with all digits, empty of none."""
    key = _float(value)
    return "" if key is None or math.isnan(key) else repr(key)
