"""report.html is one file that says what is wrong first, draws what there is, and obeys no name in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings

import modeltune as mt
from modeltune import reports
from modeltune.cli import main
from modeltune.harness import report_files
from modeltune.harness.report_files import gather, write_reports
from modeltune.histories.artifacts import keep
from modeltune.histories.store import open_store
from modeltune.records.confusion import confusion_to_json
from modeltune.records.json_form import from_json, to_json
from modeltune.records.runs import Run, RunStatus, Scores, TrialStatus
from modeltune.records.tasks import FITTED
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults
from modeltune.reports.html_charts import ROOM, charts
from modeltune.reports.html_report import html
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import clean
from modeltune.specs.gates import Gate
from tests.support.browser import Browser, chromium
from tests.support.example import Example
from tests.support.histories import runs
from tests.support.hostile import HOSTILE
from tests.support.reported_runs import METRICS, classifier, hostile, past, regressor, searched
from tests.support.verdicts import verdict_on

FOLDER = Path(reports.__file__).parent

VOID = {"meta", "link", "img", "br"}


@dataclass
class Page(HTMLParser):
    """What a browser finds in a page: elements with the names of their attributes, and texts."""

    source: str
    open: list[str] = field(default_factory=list)
    tags: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    attributes: list[dict[str, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.attributes.append({"": tag, **dict(attrs)})
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.attributes.append({"": tag, **dict(attrs)})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_pi = unknown_decl = handle_comment

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.attributes if attributes[""] == tag]


def content(page: str) -> str:
    """Return a page without its style and its last script, which are the same in all."""
    return re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)


def islands(page: str) -> list[dict[str, object]]:
    documents = re.findall(
        r'<script type="application/json" id="run-\d+-data">(.*?)</script>', page
    )
    return [json.loads(text) for text in documents]


# what the page says


def test_what_is_red_comes_before_anything_else() -> None:
    page = Page(content(html([regressor(), classifier()])))
    text = page.text
    assert "modeltune: 1 failed, 1 passed" in text
    order = [
        "What is red",
        "0.018 worse than the baseline (0.967)",
        "Runs",
        "Gates",
        "Scores on test",
        "Search",
        "Learning curves",
        "Predictions on test",
        "What changed since the baseline",
        "spec_diabetes.py::progression",
    ]
    places = [text.index(heading) for heading in order[:-1]]
    assert places == sorted(places)
    # Of the two runs the red one is first, though it was given last.
    assert text.rindex(order[-1]) > places[-1]


def test_everything_recorded_of_a_run_is_on_the_page() -> None:
    run = classifier().run
    text = Page(content(html([classifier()]))).text
    texts = [
        run.id, run.file, "trial 0", "2 rows of test are in train", "no difference", "validate with 5 seeds",
        "test was cut from train", "row 3: 1 becomes 7", "class 0 (n=36)", "loss is not finite", "1 check passed",
        "0.949 ± 0.002", "0.967 ± 0.001", "-0.026 to -0.01", "keras 3.15.1", "3.14.0", "conv2d", "any \u00d7 6 \u00d7 6 \u00d7 16",
        "Welch's t on 3 seeds", "spec_digits.py::cnn", "fedcba987654..0123456789ab", "2 of 359 wrong",
        "predicted 7 (97%)", "rate", "48122 parameters, 48000 of them trainable",
    ]  # fmt: skip
    missing = [item for item in texts if " ".join(item.split()) not in text]
    assert not missing


def test_an_error_is_shown_whole_and_at_the_top() -> None:
    run = replace(
        searched(2, 1), status=RunStatus.ERROR, verdicts=(), error="ValueError: no\n    data"
    )
    page = html([ReportedRun(run)])
    assert '<pre class="error" tabindex="0">ValueError: no\n    data</pre>' in page
    text = Page(content(page)).text
    assert text.index("ValueError: no data") < text.index("Search")


def test_tracebacks_of_failed_trials_are_folded_away_each_once() -> None:
    run = searched(30, 1)
    failed = [trial.id for trial in run.trials if trial.score is None]
    assert failed == [7, 18, 29]
    texts = {7: "ValueError: <no>\n    x", 18: "KeyError", 29: "ValueError: <no>\n    x"}
    trials = tuple(replace(trial, traceback=texts.get(trial.id)) for trial in run.trials)
    page = html([ReportedRun(replace(run, trials=trials))])
    assert page.count("<summary>Where trial") == 2
    assert (
        "<summary>Where trials 7, 29 failed: loss is not finite</summary>\n"
        '<pre class="error" tabindex="0">ValueError: &lt;no&gt;\n    x</pre>'
    ) in page
    assert '>Where trial 18 failed: loss is not finite</summary>\n<pre class="error"' in page


def test_of_many_tracebacks_some_are_shown_and_the_way_to_the_others() -> None:
    run = searched(1, 1)
    failed = replace(run.trials[0], status=TrialStatus.FAILED, score=None, curve={})
    trials = tuple(replace(failed, id=n, traceback=f"line {n // 25}") for n in range(300))
    text = Page(content(html([ReportedRun(replace(run, trials=trials))]))).text
    listed = ", ".join(map(str, range(20)))
    assert f"Where trials {listed} and 5 more failed: " in text
    assert "line 9" in text
    assert "line 10" not in text
    assert f"Trials failed in 2 more places: modeltune show {run.id} --trial N shows" in text


def test_no_runs_are_a_page_too() -> None:
    assert "modeltune: no runs" in Page(content(html([]))).text


@pytest.mark.parametrize("is_whole", [True, False])
def test_of_many_classes_the_most_frequent_confusions_are_listed(is_whole: bool) -> None:
    counts = [[50 if i == j else 0 for j in range(40)] for i in range(40)]
    counts[3][5], counts[7][1] = 9, 11
    per_class = [{"class": label, "f1": 0.5, "support": 59} for label in range(40)]
    cells = [(i, j, n) for i, row in enumerate(counts) for j, n in enumerate(row) if n]
    # A run of an earlier version has it whole.
    matrix = counts if is_whole else confusion_to_json(cells, 40)
    table = {"task": "multiclass", "per_class": per_class, "confusion": matrix}
    run = replace(searched(2, 1), task_report={"output": table})
    text = Page(content(html([ReportedRun(run)]))).text
    assert "Of 40 classes, the most frequent confusions" in text
    assert "true class predicted samples 7 1 11 3 5 9 Per class" in text
    assert "class precision recall F1 samples 0 - - 0.5 59 1 - -" in text


def test_what_could_not_be_read_is_said() -> None:
    missing = "predictions on test: /x/samples.json is missing"
    text = Page(content(html([ReportedRun(searched(2, 1), missing=(missing,))]))).text
    assert f"Not shown {missing}" in text


def test_samples_come_in_their_order_whatever_they_are() -> None:
    page = Page(content(html([classifier()])))
    images = page.of("img")
    assert [image["alt"] for image in images][:2] == [
        "test sample 0: 8 by 8 pixels",
        "test sample 17: 8 by 8 pixels",
    ]
    assert all(
        f"{image['src']}".startswith("data:image/png;base64,iVBORw0KGgo") for image in images
    )
    rows = Page(content(html([regressor()]))).text
    assert "0 0.5 1 -1.25" in rows
    assert "a long text more shape [3, 3, 3], min 0 true 1, 2 predicted 1, 2.5 error 0.5 #9" in rows
    # Of many places there is neither a truth nor a prediction to be shown.
    assert "of a mask error 0.25 #7" in rows


def test_samples_that_are_rows_of_numbers_are_a_table() -> None:
    def row(index: int, age: float) -> dict[str, object]:
        output = {"truth": 1.5, "predicted": 0.25, "confidence": None, "error": 1.25}
        x = {"kind": "row", "values": [age, 2]}
        return {"index": index, "is_wrong": None, "x": {"": x}, "outputs": {"price": output}}

    samples = {"of": 9, "wrong": None, "samples": [row(4, 0.5), row(2, -7.0)]}
    text = Page(content(html([ReportedRun(searched(2, 1), examples=samples)]))).text
    assert (
        "sample true price predicted error 0 1 4 1.5 0.25 1.25 0.5 2 2 1.5 0.25 1.25 -7 2" in text
    )


# how large it is


def test_fifty_trials_of_a_hundred_epochs_fit_whole() -> None:
    reported = replace(classifier(searched(50, 100)), examples={}, samples=None)
    page = html([reported])
    assert len(page.encode()) < 400_000
    (data,) = islands(page)
    assert data["left_out"] == []
    curves = data["curves"]
    assert isinstance(curves, dict)
    numbers = [len(values) for trial in curves["trials"] for values in trial["values"].values()]
    assert numbers == [100] * 4 * len(reported.run.completed_trials)


def test_what_is_too_much_is_thinned_and_said() -> None:
    metrics = [*METRICS, *(f"metric_{number}" for number in range(20))]
    run = searched(60, 300, metrics)
    page = html([ReportedRun(run)])
    assert len(page.encode()) < 500_000
    (data,) = islands(page)
    curves = data["curves"]
    assert isinstance(curves, dict)
    drawn = [curve for which in ("trials", "refits") for curve in curves[which]]
    assert sum(len(v) for curve in drawn for v in curve["values"].values()) <= 1.1 * ROOM
    # The first and the last epoch stay, and the best trial has more than others.
    assert all((curve["epochs"][0], curve["epochs"][-1]) == (1, 300) for curve in drawn)
    best = next(len(curve["epochs"]) for curve in drawn if curve["best"])
    assert best > next(len(c["epochs"]) for c in curves["trials"] if not c["best"])
    text = Page(content(page)).text
    assert f"the curves of {len(run.completed_trials) - 1} trials show up to" in text
    assert "the curves of the best trial and of the refits show up to" in text


def test_of_thousands_of_trials_some_are_drawn_the_best_among_them() -> None:
    run = searched(5_000, 8)
    page = html([ReportedRun(run)])
    assert len(page.encode()) < 600_000
    (data,) = islands(page)
    search, curves = data["search"], data["curves"]
    assert isinstance(search, dict)
    assert isinstance(curves, dict)
    assert run.best is not None
    assert search["ids"][search["best"]] == run.best.trial
    assert (search["places"][0], search["places"][-1]) == (1, 5_000)
    lists = [search[name] for name in ("ids", "scores", "so_far", "seconds")]
    lists += [item["at"] for item in search["values"]]
    assert {len(item) for item in lists} == {len(search["places"])} <= {1_000, 1_001}
    (best,) = [item for item in curves["trials"] if item["best"]]
    assert best["name"] == f"trial {run.best.trial}"
    assert len(curves["trials"]) == 301
    text = Page(content(page)).text
    assert f"the search shows {len(search['ids'])} of 5000 trials" in text
    assert f"301 of {len(run.completed_trials)} trials show their curves" in text


def test_slices_and_trends_that_are_left_out_are_said_to_be() -> None:
    names = [f"m{place}" for place in range(7)]
    slices = tuple(
        SliceResult(f"class {place}", 9, Outcome.PASSED, 1.0, 0.0, "", place)
        for place in range(301)
    )
    gates = [verdict_on(mt.metric(name) >= 0, Outcome.PASSED, 1, 0) for name in names]
    gates[0] = replace(gates[0], details=SliceResults(slices))
    scores = dict.fromkeys(names, Scores((1.0,)))
    run = replace(searched(2, 1), objective="minimize val_m0", scores=scores, verdicts=(*gates,))
    text = Page(content(html([ReportedRun(run, past(run, 2))]))).text
    assert 'Slices of mt.metric("m0") >= 0 : the first 300 of 301' in text
    assert "class 299" in text
    assert "class 300" not in text
    assert "6 of 7 metrics have their trend drawn" in text


@pytest.mark.parametrize(
    ("gate", "bounds"),
    [
        (mt.metric("accuracy") >= 0.99, ["gate >= 0.99"]),
        (
            mt.metric("accuracy").waive(until="2027-01-31", reason='"odd" (all) >= 2') >= 0.99,
            ["gate >= 0.99"],
        ),
        (mt.metric("accuracy").worst >= 0.99, []),
        (mt.metric("accuracy").per_class(min_n=5) >= 0.99, []),
    ],
)
def test_a_trend_has_the_bounds_of_its_mean_waived_or_not(gate: Gate, bounds: list[str]) -> None:
    verdict = verdict_on(gate, Outcome.WAIVED, 0.9, 0.99)
    run = replace(searched(2, 1), verdicts=(verdict,))
    (trend,) = charts(ReportedRun(run, past(run, 2)), 1)["trends"]
    assert [bound["text"] for bound in trend["bounds"]] == bounds


def test_of_many_test_samples_a_thousand_are_drawn_and_it_is_said() -> None:
    page = html([regressor(samples=2_500)])
    (data,) = islands(page)
    (numbers,) = cast(list[dict[str, Any]], data["numbers"])
    assert len(numbers["truth"]) == len(numbers["predicted"]) == 1_000
    assert "1000 of 2500 test samples are drawn" in page


def test_a_drawn_number_keeps_five_digits() -> None:
    trial = replace(searched(1, 1).trials[0], curve={"loss": (0.123456789, math.nan, 1e-12, 3.0)})
    curves = charts(ReportedRun(replace(searched(1, 1), trials=(trial,))), 1)["curves"]
    assert curves["trials"][0]["values"]["loss"] == [0.12346, None, 1e-12, 3]


# hostile names


@functools.cache
def plain_page() -> Page:
    return Page(content(html([hostile("plain")])))


@pytest.mark.parametrize("text", [item for name, item in HOSTILE.items() if name != "empty"])
def test_a_hostile_name_changes_nothing_but_text(text: str) -> None:
    page, expected = html([hostile(text)]), plain_page()
    parsed = Page(content(page))
    assert parsed.tags == expected.tags
    name = " ".join(clean(text).split()) or "-"
    counted = expected.text.count("plain")
    # Charts cut long names, and lists among the facts are JSON.
    assert parsed.text.count(name) >= 0.75 * counted
    assert [json.dumps(item) for item in islands(page)]


def test_a_run_of_empty_names_is_a_page() -> None:
    assert Page(content(html([hostile("")]))).of("details")


@given(runs)
@settings(max_examples=25)
def test_every_run_can_be_shown(run: Run) -> None:
    again = from_json(to_json(run))
    samples = [
        run.data,
        {"is_wrong": True, "x": {"": run.fit, "x": run.data}, "outputs": {"": run.search}},
    ]
    reported = [
        ReportedRun(run, past(run, 2), examples={"samples": samples}),
        ReportedRun(again, reference=run),
    ]
    page = html(reported)
    assert page.encode()
    assert len(islands(page)) == 2
    Page(content(page))


def test_the_values_of_a_run_without_search_are_text_too() -> None:
    run = classifier().run
    assert run.best is not None
    best = replace(run.best, trial=None, score=None, values={"<b>": "\ud800"})
    page = html([ReportedRun(replace(run, best=best, trials=()))])
    assert "the values are &lt;b&gt;=?." in page
    assert page.encode()


def test_only_what_is_on_the_page_may_run() -> None:
    page = html([classifier()])
    policy = next(m["content"] for m in Page(content(page)).of("meta") if "http-equiv" in m)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script_hash,), (style_hash,) = (
        [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in code]
        for code in (script, style)
    )
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"<[^>]*\s(on\w+|style)=", content(page))


def test_uplot_is_the_released_one() -> None:
    read = (FOLDER / "vendor/README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", read, re.MULTILINE))
    assert set(listed) == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"}
    for name, digest in listed.items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
    assert "uPlot (v1.6.32)" in (FOLDER / "vendor/uPlot.iife.min.js").read_text("utf-8")[:80]


# for everybody


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG 2 has it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out(theme: int) -> None:
    css = (FOLDER / "templates/report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root[^{]*\{(.*?)\}", css, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    on = [
        ("text", "page"),
        ("text", "card"),
        ("text", "soft"),
        ("muted", "page"),
        ("muted", "card"),
        ("muted", "soft"),
        ("link", "card"),
    ]
    on += [(name, f"{name}-soft") for name in ("pass", "fail", "warn", "open")]
    on += [("fail", "card")]
    for text, ground in on:
        low, high = sorted(luminance(colours[name]) for name in (text, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    for line in ("s1", "s2", "s3", "focus"):
        low, high = sorted(luminance(colours[name]) for name in (line, "card"))
        assert (high + 0.05) / (low + 0.05) >= 3, line


def test_a_screen_reader_finds_its_way() -> None:
    page = Page(content(html([classifier(), regressor()])))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(th["scope"] in ("col", "row") for th in page.of("th"))
    assert all(image["alt"] for image in page.of("img"))
    assert page.of("html")[0]["lang"] == "en"
    ids = [attributes["id"] for attributes in page.attributes if "id" in attributes]
    assert len(ids) == len({*ids})
    drawings = [svg for svg in page.of("svg") if svg.get("aria-hidden") != "true"]
    assert drawings
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawings)


# in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "two.html").write_text(html([classifier(), regressor()]), encoding="utf-8")
    return folder


INK = """
    // The share of pixels of each chart that is not as bare as its ground, and whether a series' colour is there.
    const style = getComputedStyle(document.documentElement);
    const hues = ["s1", "s2", "s5"].map((name) => style.getPropertyValue("--" + name).trim());
    return [...document.querySelectorAll("figure[data-chart]")].map((figure) => {
      const canvas = figure.querySelector("canvas");
      if (!canvas) return [figure.dataset.chart, 0, false];
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let ink = 0, hued = false;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3]) ink += 1;
        if (data[i + 3] === 255) {
          const hex = "#" + [0, 1, 2].map((k) => data[i + k].toString(16).padStart(2, "0")).join("");
          hued ||= hues.includes(hex);
        }
      }
      return [figure.dataset.chart, ink / (data.length / 4), hued];
    });
"""

BLUE_COLUMNS = """
    // Where from left to right a canvas has the colour of its first series.
    const canvas = document.querySelector(arguments[0]);
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const blue = getComputedStyle(document.documentElement).getPropertyValue("--s1").trim();
    const found = new Set();
    for (let i = 0; i < data.length; i += 4) {
      const hex = "#" + [0, 1, 2].map((k) => data[i + k].toString(16).padStart(2, "0")).join("");
      if (data[i + 3] === 255 && hex === blue) found.add((i / 4) % canvas.width);
    }
    return [...found].sort((a, b) => a - b);
"""

DRAW_ALL = "dispatchEvent(new Event('beforeprint'));"


def drawn_everywhere(browser: Browser) -> list[tuple[str, float, bool]]:
    browser.run(DRAW_ALL)
    browser.wait_for(
        "document.querySelectorAll('figure[data-chart] canvas').length === document.querySelectorAll('figure[data-chart]').length"
    )
    return [tuple(chart) for chart in browser.run(INK)]


def quiet(browser: Browser, page: Path) -> None:
    """Hold that the console stayed empty, and that nothing but the page was asked for."""
    assert browser.messages() == []
    assert {url for url in browser.requested() if not url.startswith("data:")} == {page.as_uri()}


def test_every_chart_is_drawn_without_a_word_or_a_request(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html")
    charts = drawn_everywhere(browser)
    kinds = {kind for kind, _, _ in charts}
    assert kinds == {
        "search",
        "value",
        "time",
        "best",
        "all",
        "refits",
        "roc",
        "pr",
        "reliability",
        "scores",
        "scatter",
        "residuals",
        "errors",
        "trend",
    }
    bare = [kind for kind, ink, is_hued in charts if ink < 0.01 or not is_hued]
    assert bare == []
    images = browser.run("return [...document.images].map((i) => [i.complete, i.naturalWidth])")
    assert images == [[True, 8]] * 6
    # The counter-example, before and after.
    shades = browser.run(
        "return [...document.querySelectorAll('figure[data-pair] canvas')].map((canvas) => "
        "[...canvas.getContext('2d').getImageData(0, 0, 2, 2).data].filter((_, i) => i % 4 === 0))"
    )
    assert shades == [[0, 255, 128, 0], [255, 0, 0, 128]]
    quiet(browser, pages / "two.html")


def odd_values() -> dict[str, list[bool | int | float | str]]:
    """Return by a parameter's name what the trials of a search had: whatever an axis may be asked to show."""
    draw = random.Random(5)
    spans = {
        "wide": (-9, 3),
        "decades": (-3.2, -0.7),
        "one decade": (-2.95, -2.1),
        "narrow": (-1.5, -1.4),
    }
    values: dict[str, list[bool | int | float | str]] = {
        f"{name} {n}": [10 ** draw.uniform(*ends) for _ in range(12)]
        for name, ends in spans.items()
        for n in range(3)
    }
    return values | {
        "one": [0.003] * 12,
        "negative": [draw.uniform(-5, 5) for _ in range(12)],
        "huge": [10.0 ** (12 - 3 * n) for n in range(12)],
        "whole": [2**n for n in range(12)],
        "zero": [0.0, *(10.0**-n for n in range(11))],
        "not finite": [math.inf, math.nan, *(1.0 + n for n in range(10))],
        "mixed": [True, 1, 0.5, "relu", *("tanh" for _ in range(8))],
    }


def test_any_values_of_parameters_are_drawn(browser: Browser, tmp_path: Path) -> None:
    values, run, reported = odd_values(), searched(), []
    for names in (list(values)[:10], list(values)[10:]):
        trials = [
            replace(trial, values={name: values[name][n] for name in names})
            for n, trial in enumerate(run.trials)
        ]
        reported.append(ReportedRun(replace(run, trials=tuple(trials))))
    page = tmp_path / "odd.html"
    page.write_text(html(reported), encoding="utf-8")
    browser.open(page)
    charts = [chart for chart in drawn_everywhere(browser) if chart[0] == "value"]
    assert len(charts) == len(values)
    assert [kind for kind, ink, is_hued in charts if ink < 0.01 or not is_hued] == []
    quiet(browser, page)


def test_numbers_that_are_all_the_same_stand_in_the_middle_of_their_charts(
    browser: Browser, tmp_path: Path
) -> None:
    reported = regressor(50)
    assert reported.samples is not None
    zeros, ones = np.zeros((50, 1), np.float32), np.ones((1, 50, 1), np.float32)
    same = replace(reported.samples, truth={"": zeros}, predicted={"": ones})
    page = tmp_path / "same.html"
    page.write_text(html([replace(reported, samples=same)]), encoding="utf-8")
    browser.open(page)
    drawn_everywhere(browser)
    for chart in ("scatter", "residuals"):
        canvas = f"figure[data-chart={chart}] canvas"
        columns = browser.run(BLUE_COLUMNS, canvas)
        width = browser.run(f"return document.querySelector('{canvas}').width")
        assert 0.45 < sum(columns) / len(columns) / width < 0.65, chart


def test_an_estimator_has_no_learning_curves() -> None:
    run = searched()
    fitted = [replace(trial, trained_by=FITTED) for trial in run.trials]
    refits = [{"seed": 0, "fold": None, "trained_by": FITTED, "curve": {"val_accuracy": [0.9]}}]
    of_estimator = replace(run, trials=tuple(fitted), validation={"refits": refits})
    assert "Learning curves" in Page(content(html([ReportedRun(run)]))).text
    assert "Learning curves" not in Page(content(html([ReportedRun(of_estimator)]))).text


def trained(run: Run, *curves: dict[str, tuple[float, ...]]) -> ReportedRun:
    """Return the run with these curves alone: of its best trial and of its refits."""
    assert run.best is not None
    (best,) = [trial for trial in run.trials if trial.id == run.best.trial]
    refits = [{"seed": seed, "fold": None, "curve": curve} for seed, curve in enumerate(curves[1:])]
    trials = (replace(best, curve=curves[0]),)
    return ReportedRun(replace(run, trials=trials, validation={"refits": refits}))


def test_curves_are_drawn_of_whatever_metrics_and_epochs_there_are(
    browser: Browser, tmp_path: Path
) -> None:
    run = searched(3, 1)
    page = tmp_path / "curves.html"
    reported = [
        # A fit of the user's own may return its objective and nothing else.
        ReportedRun(searched(3, 1, ["val_accuracy"])),
        trained(run, {"val_accuracy": (0.2, 0.3, math.nan, 0.8, 0.9)}),
        trained(
            replace(run, objective="minimize val_loss"),
            {"val_loss": (0.5,)},
            {"loss": (0.5,)},
            {"val_loss": (0.7, 0.6)},
        ),
    ]
    page.write_text(html(reported), encoding="utf-8")
    browser.open(page)
    bare = [kind for kind, ink, is_hued in drawn_everywhere(browser) if ink < 0.01 or not is_hued]
    assert bare == []
    # What is not finite is a gap in the line: from the second to the fourth of five epochs.
    columns = browser.run(BLUE_COLUMNS, "#run-2 figure[data-chart=best] canvas")
    widest = max(right - left for left, right in itertools.pairwise(columns))
    assert 0.4 < widest / (columns[-1] - columns[0]) < 0.6
    refits = "#run-3 figure[data-chart=refits]"
    browser.keys(f"{refits} .plot", "\ue014", "\ue014")
    readout = browser.run(f"return document.querySelector('{refits} .readout').textContent")
    assert readout == "epoch 2: validation, seed 1 0.6"
    quiet(browser, page)


def test_a_chart_is_drawn_when_it_comes_into_view(browser: Browser, tmp_path: Path) -> None:
    many = tmp_path / "many.html"
    one = replace(classifier(searched(20, 30)), examples={})
    many.write_text(html([one] * 30), encoding="utf-8")
    assert many.stat().st_size < 4_500_000
    browser.open(many)
    browser.run("document.querySelector('#run-30').open = true; location.hash = '#run-30'")
    browser.run("document.querySelector('#run-30 figure').scrollIntoView({behavior: 'instant'})")
    browser.wait_for("document.querySelector('#run-30 canvas')")
    assert browser.run("return document.querySelectorAll('.plot canvas').length") < 20
    assert browser.run("return document.querySelectorAll('details.run[open]').length") == 5
    quiet(browser, many)


def test_a_link_unfolds_its_run_with_charts_as_wide_as_it_is(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "six.html"
    page.write_text(html([ReportedRun(searched(2, 1))] * 6), encoding="utf-8")
    browser.open(page)
    assert not browser.run("return document.querySelector('#run-6').open")
    # Of what is folded away not every browser knows the width. What was printed meanwhile has
    # that of its place once it is seen.
    browser.run(
        "document.styleSheets[0].insertRule('details:not([open]) > :not(summary) { display: none }')"
    )
    browser.run(f"{DRAW_ALL} dispatchEvent(new Event('afterprint'))")
    browser.click('a[href="#run-6"]')
    browser.wait_for("document.querySelector('#run-6').open")
    browser.run("document.querySelector('#run-6 figure').scrollIntoView({behavior: 'instant'})")
    width = "document.querySelector('#run-6 figure {}')?.clientWidth"
    browser.wait_for(f"{width.format('.uplot')} === {width.format('.plot')}")


def test_a_table_is_sorted_by_click_and_by_key(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html")
    # Nothing is to move any more when it is clicked.
    drawn_everywhere(browser)
    trials = "[...document.querySelectorAll('table.sortable')].find((t) => t.tHead.textContent.includes('activation'))"
    browser.run(f"{trials}.id = 'trials'")
    head = "#trials th:nth-child(3) button"
    scores = "return [...document.querySelectorAll('#trials tbody tr')].map((row) => row.cells[2].dataset.key)"
    order = "return [...document.querySelectorAll('#trials th')].slice(1, 4).map((h) => h.getAttribute('aria-sort'))"
    known = [f"{trial.score!r}" for trial in searched().trials if trial.score is not None]
    assert browser.run(order) == ["none"] * 3
    browser.click(head)
    # A trial without a score is last either way.
    assert browser.run(scores) == [*sorted(known, key=float), ""]
    assert browser.run(order) == ["none", "ascending", "none"]
    browser.keys(head, "\n")
    assert browser.run(scores) == [*sorted(known, key=float, reverse=True), ""]
    assert browser.run(order) == ["none", "descending", "none"]
    # Yes and no are sorted as words.
    browser.click("#trials th:nth-child(9) button")
    norms = "return [...document.querySelectorAll('#trials tbody tr')].map((row) => row.cells[8].textContent)"
    assert browser.run(norms) == sorted(f"{trial.values['norm']}" for trial in searched().trials)


def test_arrow_keys_read_a_chart(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html")
    browser.run(
        "document.querySelector('figure[data-chart=best]').scrollIntoView({behavior: 'instant'})"
    )
    browser.wait_for("document.querySelector('figure[data-chart=best] canvas')")
    browser.keys("figure[data-chart=best] .plot", "\ue014", "\ue014")
    read = "return document.querySelector('figure[data-chart=best] .readout').textContent"
    best = searched().best
    assert best is not None
    assert best.trial is not None
    curve = searched().trials[best.trial].curve
    readout = (
        f"epoch 2: train {curve['accuracy'][1]:.4g}, validation {curve['val_accuracy'][1]:.4g}"
    )
    assert browser.run(read) == readout
    # Several trials have the same value: each of them is read.
    units = "figure[data-chart=value][data-at='0']"
    browser.run(f'document.querySelector("{units}").scrollIntoView({{behavior: "instant"}})')
    browser.wait_for(f'document.querySelector("{units} canvas")')
    trials = []
    for _ in searched().trials:
        browser.keys(f"{units} .plot", "\ue014")
        text = browser.run(f'return document.querySelector("{units} .readout").textContent')
        trials.append(text.partition(":")[0])
    assert sorted(trials) == sorted(
        f"trial {trial.id}, {trial.values['units']}" for trial in searched().trials
    )


def test_another_metric_can_be_chosen(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html")
    browser.run(
        "document.querySelector('figure[data-chart=all]').scrollIntoView({behavior: 'instant'})"
    )
    browser.wait_for("document.querySelector('figure[data-chart=all] canvas')")
    chosen = browser.run("return document.querySelector('figure[data-chart=all] select').value")
    assert chosen == "val_accuracy"
    browser.keys("figure[data-chart=all] select", "loss")
    label = "document.querySelector('figure[data-chart=all] .plot').getAttribute('aria-label')"
    browser.wait_for(f"{label}.startsWith('All trials: loss between')")


def test_the_class_of_one_chart_is_that_of_all_charts_of_its_answers(
    browser: Browser, pages: Path
) -> None:
    (data, _) = islands((pages / "two.html").read_text(encoding="utf-8"))
    (group,) = cast(list[dict[str, Any]], data["answers"])
    browser.open(pages / "two.html")
    drawn_everywhere(browser)
    browser.keys("figure[data-chart=roc] select", "class 3")
    of_third = group["classes"][3]
    labels = "return [...document.querySelectorAll('figure[data-chart=roc], figure[data-chart=pr], figure[data-chart=reliability], figure[data-chart=scores]')].map((each) => each.querySelector('.plot').getAttribute('aria-label'))"
    titles = (
        "ROC curve",
        "Precision and recall",
        "Reliability",
        "Scores of the class and of the others",
    )
    assert browser.run(labels) == [
        f"{title}: class 3, {words}. Left and right arrow keys read values."
        for title, words in zip(titles, of_third["words"].values(), strict=True)
    ]
    # Points of the same false positive rate are read one by one.
    browser.keys("figure[data-chart=roc] .plot", *["\ue014"] * 4)
    roc = of_third["roc"]
    assert roc["x"][2] == roc["x"][3]
    readout = browser.run(
        "return document.querySelector('figure[data-chart=roc] .readout').textContent"
    )
    assert readout == (
        f"score {roc['at'][3]:.4g}, false positive rate {roc['x'][3]:.4g}: recall {roc['y'][3]:.4g}"
    )
    quiet(browser, pages / "two.html")


PHONE = 390

OVERFLOW = """
    // A phone widens the window to what does not fit.
    const [width] = arguments;
    const wide = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width + 1
        && !e.closest('.scroll, pre, .signs, .unseen, .skip, .u-over, .u-under, thead'));
    return [document.documentElement.scrollWidth - width, wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 200))];
"""


def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html", width=PHONE, height=844)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    over, wide = browser.run(OVERFLOW, PHONE)
    assert over <= 0, wide
    assert wide == []
    # What can be reached by key can be seen, and cards are still rows of a table.
    hidden = "return [...document.querySelectorAll('th button')].filter((b) => b.getBoundingClientRect().left < 0).length"
    assert browser.run(hidden) == 0
    roles = "return [...document.querySelectorAll('table.cards, table.cards *')].filter((e) => /^T/.test(e.tagName) && !e.role).length"
    assert browser.run(roles) == 0


def test_the_dark_is_dark_and_charts_follow(browser: Browser, pages: Path) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(pages / "two.html", dark=dark)
        browser.run(
            "document.querySelector('figure[data-chart=all]').scrollIntoView({behavior: 'instant'})"
        )
        browser.wait_for("document.querySelector('figure[data-chart=all] canvas')")
        assert next(is_hued for kind, _, is_hued in browser.run(INK) if kind == "all")
        grounds.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(246, 247, 249)", "rgb(18, 22, 28)"]
    # Switched while it is open.
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.command("Emulation.setEmulatedMedia", features=light)
    browser.wait_for("getComputedStyle(document.body).backgroundColor === 'rgb(246, 247, 249)'")
    assert next(is_hued for kind, _, is_hued in browser.run(INK) if kind == "all")


def test_without_scripts_all_but_the_charts_is_there(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html", scripts=False)
    element = browser.command(
        "DOM.getOuterHTML", nodeId=browser.command("DOM.getDocument")["root"]["nodeId"]
    )["outerHTML"]
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.run("return document.body.innerText")
    assert "Charts and sorting need JavaScript" in element
    assert "0.018 worse than the baseline" in text
    assert "<button" not in element
    # Lines of trends are part of the page.
    assert (
        browser.run(
            "return [...document.querySelectorAll('.spark')].filter((s) => s.getBoundingClientRect().width > 50).length"
        )
        >= 2
    )
    assert browser.run(
        "return [...document.querySelectorAll('figure')].every((f) => f.getBoundingClientRect().height === 0)"
    )


def test_paper_has_everything_unfolded_in_light_colours(browser: Browser, pages: Path) -> None:
    browser.open(pages / "two.html", dark=True)
    folded = browser.run("return document.querySelectorAll('details:not([open])').length")
    assert folded > 10
    browser.run(
        "addEventListener('beforeprint', () => { window.printed = ["
        "document.querySelectorAll('details:not([open])').length, document.querySelectorAll('.plot canvas').length,"
        "getComputedStyle(document.documentElement).getPropertyValue('--card').trim()]; });"
    )
    assert len(base64.b64decode(browser.pdf())) > 100_000
    count = browser.run("return document.querySelectorAll('figure[data-chart]').length")
    assert browser.run("return window.printed") == [0, count, "#ffffff"]
    assert browser.run("return document.querySelectorAll('details:not([open])').length") == folded


def test_hostile_names_do_nothing_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "hostile.html"
    page.write_text(html([hostile(text) for text in HOSTILE.values()]), encoding="utf-8")
    browser.open(page, width=PHONE, height=844)
    charts = drawn_everywhere(browser)
    assert len(charts) > 5 * len(HOSTILE)
    title = browser.run("return document.querySelector('#run-1 h2 code').textContent")
    assert title == "<script>alert(1)</script>"
    assert browser.run("return document.querySelectorAll('script').length") == 1 + len(HOSTILE)
    assert browser.run(
        "return [...document.querySelectorAll('a')].every((a) => a.getAttribute('href').startsWith('#'))"
    )
    over, wide = browser.run(OVERFLOW, PHONE)
    assert over <= 0, wide
    quiet(browser, page)


# how it is gathered and written


def recorded(folder: Path, *runs: Run) -> str:
    url = f"sqlite:///{folder}/history.db"
    with open_store(url) as store:
        for run in runs:
            store.record(run)
    return url


def test_what_the_history_knows_is_gathered(tmp_path: Path) -> None:
    run = searched(2, 1)
    accepted = replace(run, id=str(run.baseline), scores={"accuracy": Scores((0.96,))})
    between = replace(run, id="between", status=RunStatus.ERROR)
    later = replace(run, id="later")
    url = recorded(tmp_path, accepted, between, run, later)
    (report,) = gather([run], url)
    assert [past_run.id for past_run in report.past] == [run.id, "between", accepted.id]
    assert report.baseline is not None
    assert report.baseline is report.reference
    assert report.baseline.id == accepted.id
    assert report.missing == ()
    # Without a baseline it is held against the last run that was judged.
    (report,) = gather([replace(run, baseline=None)], url)
    assert report.baseline is None
    assert report.reference is not None
    assert report.reference.id == accepted.id


def test_an_older_run_has_the_past_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_files, "PAST_RUNS", 2)
    run = searched(2, 1)
    listed = [replace(run, id=id) for id in ("first", "second", "third", "fourth", "fifth")]
    url = recorded(tmp_path, *listed)
    waiting = replace(run, id="waits to be recorded")
    reports = gather([listed[1], listed[3], waiting], url)
    assert [[past.id for past in report.past] for report in reports] == [
        ["second", "first"],
        ["fourth", "third"],
        ["fifth", "fourth"],
    ]


def test_a_baseline_that_is_not_recorded_here_is_said_and_leaves_the_run_before(
    tmp_path: Path,
) -> None:
    run = searched(2, 1)
    (report,) = gather([run], recorded(tmp_path, replace(run, id="before"), run))
    assert report.reference is not None
    assert report.reference.id == "before"
    assert report.baseline is None
    (note,) = report.missing
    assert note.startswith(f'the baseline: no run "{run.baseline}": ')


def test_a_report_survives_an_unreadable_history_and_altered_files(tmp_path: Path) -> None:
    run = searched(2, 1)
    kept = keep(tmp_path, f"artifacts/{run.id}.examples.json", lambda path: path.write_text("[]"))
    samples = keep(tmp_path, f"artifacts/{run.id}.samples.json", lambda path: path.write_text("{}"))
    (tmp_path / samples.path).write_text("changed")
    run = replace(run, files={"examples": kept, "samples": samples})
    url = recorded(tmp_path, run)
    (report,) = gather([run], url)
    notes = " ".join(report.missing)
    assert "predictions on test: " in notes
    assert f"{run.id}.samples.json was changed since it was recorded" in notes
    assert f"{run.id}.examples.json holds no examples" in notes
    (tmp_path / "history.db").write_bytes(b"no database at all" * 100)
    files, problems = write_reports(tmp_path / "report", gather([run], url))
    assert problems == {}
    page = Page(content(files[2].read_text(encoding="utf-8"))).text
    assert "Not shown the history: " in page
    assert "history.db" in page
    assert run.verdicts[1].reason in page


def test_the_command_writes_all_reports_of_the_newest_run_of_each_spec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = searched(2, 1)
    other = replace(run, id="other", spec="spec_other.py::mlp", status=RunStatus.PASSED)
    url = recorded(tmp_path, replace(run, id="older"), run, other)
    out = tmp_path / "out"
    assert main(["report", "--store", url, "--output", str(out)]) == 0
    assert capsys.readouterr().out.count("written: ") == 3
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in report["runs"]] == [run.id, "other"]
    assert "## modeltune: 1 failed, 1 inconclusive\n" in (out / "report.md").read_text(
        encoding="utf-8"
    )
    assert "Trend over 2 runs" in (out / "report.html").read_text(encoding="utf-8")
    assert main(["report", "older", "-3", "--store", url, "--output", str(out)]) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in report["runs"]] == ["older"]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = recorded(tmp_path, searched(2, 1))
    assert main(["report", "nothing", "--store", url]) == 1
    assert 'no run "nothing"' in capsys.readouterr().err
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert main(["report", "--store", url, "--output", str(taken)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("modeltune: the report cannot be written: ")
    assert "taken" in error
    assert taken.read_text() == "a file"


IMAGES = """
import keras
import numpy as np
import modeltune as mt

def images():
    draw = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = draw.normal(scale=0.7, size=(90, 8, 8, 1)).astype("float32")
    for row, label in zip(x, y):
        row[2 * label : 2 * label + 3] += 0.6
    return mt.Data(train=(x, y))

@mt.spec(
    data=images,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=3),
    fit=mt.Fit(epochs=3, batch_size=16),
    validation=mt.Holdout(epochs=3, seeds=2),
    gates=[mt.metric("accuracy") >= mt.baseline - 0.5, mt.metric("accuracy") >= 0.999],
)
def stripes(hp):
    model = keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")
    ])
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def test_a_real_session_of_an_image_classifier_is_looked_at(
    browser: Browser, project: Example
) -> None:
    project = project.with_files({"spec_stripes.py": IMAGES.replace("0.999", "0.1")})
    project.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    project = project.with_files({"spec_stripes.py": IMAGES})
    result = project.run_pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["report: .modeltune/report/report.html, report.md and report.json"]
    )
    page = project.path / ".modeltune/report/report.html"
    browser.open(page)
    kinds = {kind for kind, ink, _ in drawn_everywhere(browser) if ink > 0.01}
    answers = {"roc", "pr", "reliability", "scores"}
    assert kinds == {"search", "value", "time", "best", "all", "refits", "trend", *answers}
    baseline = "return document.querySelector('figure[data-chart=roc] .legend').textContent"
    assert "baseline" in browser.run(baseline)
    text = browser.run("return document.body.innerText")
    texts = [
        "1 failed", 'mt.metric("accuracy") >= 0.999', "Trend over 2 runs", "What changed since the baseline",
        "Held against recorded runs", "Flatten", "test: 18 of 90 samples cut from train",
    ]  # fmt: skip
    assert [item for item in texts if item not in text] == []
    # Of 18 test samples the wrong ones come first, every one of them an image.
    marks = browser.run(
        "return [...document.querySelectorAll('.samples li')].map((each) => each.className)"
    )
    assert marks == sorted(marks)
    assert "fail" in marks
    sizes = browser.run("return [...document.images].map((image) => image.naturalWidth)")
    assert sizes == [8] * len(marks)
    quiet(browser, page)
