"""A red comparison with a recorded run says in every report what changed, where it got worse and on which samples."""

from __future__ import annotations

from dataclasses import replace

import modeltune as mt
from modeltune.records.drops import Change, Drop, WorsePart, WorseSample
from modeltune.records.runs import Run
from modeltune.records.verdicts import Outcome, SliceResults
from modeltune.reports.drops import LONGEST_EXPLANATION, drop_lines
from modeltune.reports.html_report import html
from modeltune.reports.markdown_report import markdown
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import failure, show
from tests.support.histories import DIGITS
from tests.support.verdicts import regression, verdict_on

DROP = Drop(
    reference="0a1b",
    label="the accepted run 0a1b",
    changes=(
        Change("code", "model_specs/layers.py"),
        Change("best values", "units", "128", "16"),
        Change("data", "train part"),
    ),
    untold=("which settings of fit changed: the baseline file does not hold them",),
    values="right answers",
    parts=(WorsePart("class 7", 40, 0.95, 0.8), WorsePart('region "<south>"', 20, 1.0, 0.9)),
    flips=12,
    samples=(WorseSample(17, "7", "7", "1"), WorseSample(33, "7", "7", "2")),
)
GATE = mt.metric("accuracy") >= mt.baseline - 0.01
LINES = [
    "what changed since the accepted run 0a1b:",
    "  code: model_specs/layers.py",
    "  best values: units 128 -> 16",
    "  data: train part",
    "  not known: which settings of fit changed: the baseline file does not hold them",
    'where it got worse, by mt.metric("accuracy") >= mt.baseline - 0.01:',
    '  most (right answers): class 7 0.95 -> 0.8 (n=40), region "<south>" 1 -> 0.9 (n=20)',
    "  12 test samples were right and are wrong: #17 (true 7, now 1); #33 (true 7, now 2); and 10 more",
]


def red(*drops: Drop) -> Run:
    verdicts = tuple(
        verdict_on(GATE, Outcome.FAILED, 0.9, 0.95, "worse", regression(drop=drop))
        for drop in drops
    )
    return replace(DIGITS, verdicts=verdicts)


def test_the_terminal_says_it_below_the_gates_in_few_lines() -> None:
    run = red(DROP)
    assert drop_lines(run) == LINES
    assert "\n".join(LINES) in failure(run)
    assert "\n".join(LINES) in show(run)
    # What two gates have in common stands once.
    assert drop_lines(red(DROP, DROP)) == LINES
    many = [replace(DROP, reference=str(number)) for number in range(9)]
    assert len(drop_lines(red(*many))) == LONGEST_EXPLANATION
    assert drop_lines(red(*many))[-1] == "  and 49 more lines in report.md and report.html"


def test_markdown_and_html_show_it_with_the_pictures_of_the_samples() -> None:
    run = red(DROP)
    text = markdown([run])
    assert "### What changed since the accepted run 0a1b" in text
    assert "- code: model" in text.replace("`", "")
    assert "#33 (true 7, now 2)" in text
    picture = {"kind": "image", "png": "iVBORw0KGgoAAAA=", "width": 8, "height": 8}
    examples = {"samples": [], "worse": [{"index": 33, "x": {"": picture}}]}
    page = html([ReportedRun(run, examples=examples)])
    assert "What changed since the accepted run 0a1b" in page
    assert 'alt="#33 (true 7, now 2): 8 by 8 pixels"' in page
    assert "region &#34;&lt;south&gt;&#34; 1 -&gt; 0.9 (n=20)" in page


def test_errors_that_grew_stand_in_the_place_of_flips() -> None:
    grown = replace(DROP, flips=None, parts=(), samples=(WorseSample(4, "2.5", "2.4", "9", 6.4),))
    assert drop_lines(red(grown))[-2:] == [
        "  in no class, slice or group more than elsewhere",
        "  test samples whose error grew most: #4 (true 2.5, then 2.4, now 9, error up by 6.4)",
    ]


def test_what_explains_a_verdict_stands_beside_its_details_whatever_they_are() -> None:
    for details in (None, regression(), SliceResults(())):
        verdict = verdict_on(GATE, Outcome.FAILED, details=details).with_drop(DROP)
        assert verdict.drop == DROP
