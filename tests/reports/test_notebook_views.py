"""Below a cell stands a page in a frame: as in the report, of bounded size, without access to the notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from modeltune.records import Outcome, Run, Verdict
from modeltune.reports.comparison import Contrast, RunComparison
from modeltune.reports.notebook_views import (
    HIGHEST,
    comparison_view,
    history_view,
    run_view,
    verdict_view,
)
from modeltune.reports.reported_run import ReportedRun
from tests.support.browser import chromium
from tests.support.histories import DIGITS
from tests.support.hostile import HOSTILE, hostile_run
from tests.support.reported_runs import classifier, past, summary


@dataclass
class Tags(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    source: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(view: str) -> Tags:
    """Return the page in the frame of a view, whose own elements are a line and the frame."""
    around = Tags(view)
    assert [tag for tag, _ in around.tags] == ["p", "code", "iframe"]
    frame = around.tags[-1][1]
    assert frame["sandbox"] in ("", "allow-scripts")
    return Tags(str(frame["srcdoc"]))


def views(run: Run) -> Iterator[tuple[str, str]]:
    """Yield every kind of view of a run."""
    yield "run", run_view(ReportedRun(run))
    for verdict in (*run.verdicts[:1], *run.checks[:1]):
        yield "verdict", verdict_view(verdict)
    yield "comparison", comparison_view(RunComparison(DIGITS, run, Contrast()))
    yield "history", history_view([summary(run), summary(DIGITS)], said=[run.spec])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_name_leaves_its_place(text: str) -> None:
    plain = {kind: page_of(view).tags for kind, view in views(hostile_run("plain"))}
    for kind, view in views(hostile_run(text)):
        page = page_of(view)
        tags = [tag for tag, _ in page.tags]
        if kind != "run" and text.strip():
            assert tags == [tag for tag, _ in plain[kind]], kind
        for tag, attributes in page.tags:
            assert tag not in ("iframe", "link", "object", "base") or kind == "run"
            assert not any(name.startswith("on") for name in attributes)
            assert not re.match(r"https?:|javascript:", str(attributes.get("src") or ""))


def test_a_verdict_shows_its_row_and_a_check_its_own() -> None:
    page = page_of(verdict_view(DIGITS.verdicts[0]))
    for text in ('mt.metric("accuracy") >= 0.95', "failed", "0.94999", "1e-05 below the bound"):
        assert text in page.text
    assert "check" in page_of(verdict_view(DIGITS.checks[0])).text
    nameless = Verdict("mt.metric(1)", Outcome.ERROR, None, None, "")
    assert "mt.metric(1)" in page_of(verdict_view(nameless)).text


def test_a_comparison_and_a_history_show_the_tables_of_the_report() -> None:
    other = replace(DIGITS, id="other", scores={})
    page = page_of(comparison_view(RunComparison(DIGITS, other, Contrast())))
    for text in (DIGITS.id, "other", "metrics on test", "accuracy", "only A measured it"):
        assert text in page.text
    listed = past(DIGITS)
    page = page_of(history_view(listed, said=["and more"]))
    assert all(run.id in page.text for run in listed)
    assert f"{DIGITS.spec}: accuracy over {len(listed)}: from" in page.text
    assert "and more" in page.text
    assert "No run" in page_of(history_view([], said=["No run is recorded yet."])).text


def test_a_thousand_runs_and_trials_make_a_frame_of_bounded_size() -> None:
    many = replace(DIGITS, trials=DIGITS.trials[1:] * 3_000)
    assert len(run_view(ReportedRun(many))) < 1_500_000
    frame = history_view([summary(DIGITS)] * 50)
    assert f"height: {HIGHEST}px" in frame
    assert len(frame) < 100_000


def test_the_charts_of_a_run_are_drawn_in_its_frame_and_request_nothing(tmp_path: Path) -> None:
    page = tmp_path / "notebook.html"
    page.write_text(f"<!DOCTYPE html><body>{run_view(classifier())}</body>", encoding="utf-8")
    with chromium(tmp_path / "profile") as browser:
        browser.open(page)
        with browser.inside("iframe"):
            browser.run("document.querySelector('figure[data-chart]').scrollIntoView()")
            browser.wait_for("document.querySelectorAll('.uplot canvas').length > 0")
        assert browser.messages() == []
        requested = {url for url in browser.requested() if not url.startswith(("data:", "about:"))}
    assert requested == {page.as_uri()}
