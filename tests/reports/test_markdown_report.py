"""report.md is what GitHub shows: literal names in whole tables, red first, never too much."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import modeltune as mt
from modeltune.records.json_form import from_json, to_json
from modeltune.records.probes import ImageChange
from modeltune.records.runs import Run, RunStatus, Scores
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.reports.markdown_report import MOST_BYTES, markdown
from modeltune.reports.tables import clean
from tests.support.histories import DIGITS, runs
from tests.support.hostile import HOSTILE, hostile_run
from tests.support.verdicts import regression, verdict_on, violation

# A page links nothing and shows no image, whatever a run is named.
ALLOWED = {
    "h2", "p", "strong", "code", "pre", "details", "summary",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


@dataclass
class Page(HTMLParser):
    """A rendered page: its elements, the cells of its tables, the text of its code."""

    source: str
    tags: set[str] = field(default_factory=set)
    rows: list[list[str]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        # Raw HTML passes as it does on GitHub, and what looks like a link becomes one.
        self.feed(MarkdownIt("gfm-like", {"html": True, "linkify": True}).render(self.source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"class"}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data
        if "code" in self.open:
            self.code[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    handle_pi = unknown_decl = handle_comment


def checked(page: str) -> Page:
    """Render a page that is well-formed and holds only what we put there."""
    assert len(page.encode()) <= MOST_BYTES
    assert not [line for line in page.split("\n") if line != line.rstrip()]
    assert page.endswith("\n")
    # Parsers disagree on two backslashes before a pipe.
    assert not [line for line in page.splitlines() if line[:2] == "| " and "\\\\|" in line]
    parsed = Page(page)
    assert parsed.tags <= ALLOWED
    assert not parsed.open
    return parsed


def tables(page: Page) -> dict[str, list[list[str]]]:
    """Return the tables by their header, each row as long as it."""
    by_header: dict[str, list[list[str]]] = {}
    headers = {"status", "spec", "gate", "check", "metric", "trial", "run", "best value (trial 1)"}
    rows: list[list[str]] = []
    for row in page.rows:
        if row[0] in headers and (len(row) != len(rows[0]) if rows else True):
            rows = by_header.setdefault(", ".join(row), [])
            rows.append(row)
        else:
            assert len(row) == len(rows[0]), row
            rows.append(row)
    return {header: rows[1:] for header, rows in by_header.items()}


def test_the_page_says_what_is_wrong_before_anything_else() -> None:
    details = regression(
        reference="20261119-090000-00000000", reference_value=0.97, delta=-0.02001,
        interval=(-0.03, -0.01),
    )  # fmt: skip
    gate = mt.metric("accuracy") >= mt.baseline - 0.01
    reason = "0.02001 worse than the baseline"
    lost = verdict_on(gate, Outcome.FAILED, 0.94999, 0.96, reason, details)
    red = replace(DIGITS, verdicts=(DIGITS.verdicts[1], lost, DIGITS.verdicts[3]))
    green = replace(
        DIGITS,
        spec="spec_a.py::cnn",
        status=RunStatus.PASSED,
        verdicts=DIGITS.verdicts[1:2],
        cached=True,
        baseline=None,
    )
    top, _, _ = markdown([green, red]).partition("\n\n<details>")
    assert (
        top
        == """\
## modeltune: 1 failed, 1 passed

| status | spec | tested | search's best | trials | baseline | time |
| --- | --- | --- | --- | --- | --- | --- |
| **failed** | `spec_digits.py::mlp` | `accuracy` 0.9496 ± 0.0014 | 0.9611 | 1/2 | `20261119-090000-00000000` | 16s |
| passed (cached) | `spec_a.py::cnn` | `accuracy` 0.9496 ± 0.0014 | 0.9611 | 1/2 | - | 16s |

| spec | gate | measured | bound | outcome | reason |
| --- | --- | --- | --- | --- | --- |
| `spec_digits.py::mlp` | `mt.metric("accuracy") >= mt.baseline - 0.01` | 0.95 | 0.96 | **failed** | 0.02001 worse than the baseline |
| `spec_digits.py::mlp` | `mt.metric("recall").per_class() >= 0.9` | 0.875 | 0.9 | inconclusive | class 7 has 8 of the 30 samples it takes to judge it |
| `spec_digits.py::mlp` | `mt.metric("parameters") <= 50000` | 48122 | 50000 | passed | below |
| `spec_a.py::cnn` | `mt.metric("parameters") <= 50000` | 48122 | 50000 | passed | below |

`codes: failed run MT502, failed MT403, inconclusive MT405, warned MT402, failed trial MT602, in docs/reference/outcomes.md`

Changed since (more is better):

| spec | gate | compared with | then | now | change | interval of the change |
| --- | --- | --- | --- | --- | --- | --- |
| `spec_digits.py::mlp` | `mt.metric("accuracy") >= mt.baseline - 0.01` | `20261119-090000-00000000` | 0.97 | 0.95 | 0.02001 worse | -0.03 to -0.01 |

False alarms: the gates of this spec against earlier runs, all together, fail by chance in 5 of 100 commits at most; sequential=True in the spec holds that for all commits against one baseline together."""
    )


def test_what_is_behind_a_run_is_folded_away() -> None:
    _, _, folded = markdown([DIGITS]).partition("<details>\n")
    assert (
        folded
        == """\
<summary><code>spec_digits.py::mlp</code>: failed</summary>

| check | measured | bound | outcome | reason |
| --- | --- | --- | --- | --- |
| `checks.overlap` | 2 | 0 | warned | 2 rows of test are in train (MT101: `CHECKS.md#checksoverlap`) |

| metric | on test | of each refit |
| --- | --- | --- |
| `loss` | 0.2 ± 0.01 | 0.21, 0.19, 0.2 |
| `accuracy` | 0.9496 ± 0.0014 | 0.9512, 0.9488, 0.9489 |
| `parameters` | 48122 | 48122 |

| best value (trial 1) |  |
| --- | --- |
| `units` | `64` |
| `rate` | `0.001` |
| `norm` | `True` |

| trial | status | score | epochs | values | reason |
| --- | --- | --- | --- | --- | --- |
| 0 | failed | - | 0 | `units=32` | `OOM \\| killed` |
| 1 (best) | completed | 0.9611 | 3 | `units=64, rate=0.001, norm=True` | - |

```text
where trial 0 failed; modeltune show 20261120-211000-0a1b2c3d --trial N shows trial N:
Traceback (most recent call last):
  line 1, in mlp
MemoryError: killed
```

| run |  |
| --- | --- |
| id | `20261120-211000-0a1b2c3d` |
| objective | `maximize val_accuracy` |
| search | `Hyperband` |
| samples | `train 1437` |
| time | `data 0.2 s, search 12.8 s, validation 3.0 s` |
| commit | `0123456789abcdef and uncommitted changes` |
| note | `test was cut from train` |
| note | `second line` |
| advice | `validate with 5 seeds` |

</details>
"""
    )


def test_of_a_long_traceback_the_end_is_shown() -> None:
    text = "\n".join(["Traceback:", *map(str, range(50)), "ValueError: no"])
    trials = (replace(DIGITS.trials[0], traceback=text), DIGITS.trials[1])
    page = checked(markdown([replace(DIGITS, trials=trials)]))
    (block,) = (text for text in page.code if text.startswith("where trial 0 failed"))
    title, *lines = block.splitlines()
    assert title == (
        "where trial 0 failed, the last 12 of 52 lines; "
        f"modeltune show {DIGITS.id} --trial N shows trial N:"
    )
    assert lines == [*map(str, range(39, 50)), "ValueError: no"]


def test_a_counter_example_keeps_its_pixels() -> None:
    image = ImageChange("", [[0.0, 1.0]], [[1.0, 0.0]])
    result = violation("row 3: 1 becomes 7", image)
    verdict = Verdict("mt.invariant(shift)", Outcome.FAILED, 1.0, 0.0, "row 3", details=result)
    page = checked(markdown([replace(DIGITS, verdicts=(verdict,))]))
    assert "row 3: 1 becomes 7\n    @@   @@\n" in page.code


def test_an_error_is_at_the_top() -> None:
    run = replace(DIGITS, status=RunStatus.ERROR, error="ValueError: no\n  data ```", verdicts=())
    page = checked(markdown([run]))
    assert "spec_digits.py::mlp\nValueError: no\n  data ```\n" in page.code


def test_a_red_check_is_among_the_gates() -> None:
    check = replace(DIGITS.checks[0], outcome=Outcome.FAILED)
    page = markdown([replace(DIGITS, verdicts=(), checks=(check,))])
    assert "| `checks.overlap` | 2 | 0 | **failed** |" in page.partition("<details>")[0]


def test_what_strict_makes_red_is_marked() -> None:
    open_gate = Verdict("g", Outcome.NO_BASELINE, 0.5, None, "no accepted run")
    run = replace(DIGITS, verdicts=(open_gate,), strict=True)
    assert "**no_baseline**" in markdown([run])
    assert "| no_baseline |" in markdown([replace(run, status=RunStatus.PASSED)])


def test_no_runs_are_a_page_too() -> None:
    assert markdown([]) == "## modeltune: no runs\n"


def test_the_page_says_what_was_cut_from_train() -> None:
    cut = "test: 40 of 200 samples cut from train, stratified by class, seed 0"
    assert f"| cut | `{cut}` |" in markdown([replace(DIGITS, data={"cuts": [cut]})])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.ERROR])
def test_hostile_names_are_shown_literally(text: str, status: RunStatus) -> None:
    line = " ".join(clean(text).split())
    run = hostile_run(text, status)
    page = checked(markdown([run, from_json(to_json(run))]))
    by_header = tables(page)
    name = line or "-"
    overview = "status, spec, tested, search's best, trials, baseline, time"
    assert [row[1] for row in by_header[overview]] == [name, name]
    assert by_header["spec, gate, measured, bound, outcome, reason"][0] == [
        name, name, "0.5", "0.9", "failed", name,
    ]  # fmt: skip
    changed = "spec, gate, compared with, then, now, change, interval of the change"
    assert by_header[changed][0][:3] == [name] * 3
    assert by_header["check, measured, bound, outcome, reason"][0][0] == name
    assert by_header["metric, on test, of each refit"][0][0] == name
    assert by_header["best value (trial 1), "][0] == [name, name]
    assert by_header["trial, status, score, epochs, values, reason"][0][-2:] == [
        " ".join(clean(f"{text}={text}").split()), name,
    ]  # fmt: skip
    facts = [row for row in by_header["run, "] if row[0] in ("id", "search", "devices", "note")]
    named = ("id", "search", "devices", "note") if line else ()
    assert facts == [[fact, name] for fact in named] * 2
    # In the summary, too, where Markdown is not read.
    assert page.text.count(f"\n{name}: {status.value}\n") == 2


@given(st.lists(runs, max_size=3))
def test_every_run_can_be_shown(several: list[Run]) -> None:
    checked(markdown(several))
    assert markdown([from_json(to_json(run)) for run in several])


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_is_shown_literally(text: str) -> None:
    run = replace(DIGITS, spec=text, verdicts=(Verdict(text, Outcome.FAILED, 1, 2, text),))
    page = checked(markdown([run]))
    line = " ".join(clean(text).split()) or "-"
    table_rows = tables(page)["spec, gate, measured, bound, outcome, reason"]
    assert table_rows == [[line, line, "1", "2", "failed", line]]


@pytest.mark.parametrize("character", ["x", "🎉", "`", "|", "\\|", "<"])
def test_what_does_not_fit_is_counted(character: str) -> None:
    long = character * 3000
    verdicts = tuple(
        Verdict(f"{number} {long}", Outcome.FAILED, 0.1, 0.2, long, details=violation(long))
        for number in range(100)
    )  # fmt: skip
    big = replace(
        hostile_run(long),
        verdicts=verdicts,
        trials=DIGITS.trials * 200,
        scores={f"{number} {long}": Scores((0.5,) * 500) for number in range(50)},
        error="\n".join([long] * 500),
    )
    page = markdown([big] * 10)
    checked(page)
    assert "and " in page
    assert "Too long for GitHub, left out: " in page
    assert "detail of a run (" in page
    assert page.endswith("report.json has all of it.\n")


def test_of_many_runs_the_red_ones_are_kept() -> None:
    green = replace(DIGITS, status=RunStatus.PASSED, verdicts=DIGITS.verdicts[1:2])
    many = [replace(green, spec=f"spec_{number}.py::m") for number in range(1000)]
    page = markdown([*many, DIGITS])
    checked(page)
    assert page.splitlines()[4].startswith("| **failed** | `spec_digits.py::mlp` |")
    rows = len(re.findall("^\\| passed \\|", page, re.MULTILINE))
    assert rows > 50
    assert f"\n\nand {1000 - rows} more runs\n" in page
    assert page.startswith("## modeltune: 1 failed, 1000 passed\n")


def test_of_many_trials_the_best_are_shown() -> None:
    trial = DIGITS.trials[1]
    scores = [math.nan, None, *(number / 100 for number in range(30))]
    trials = tuple(replace(trial, id=i, score=score) for i, score in enumerate(scores))
    most = markdown([replace(DIGITS, trials=trials)])
    least = markdown([replace(DIGITS, trials=trials, objective="minimize val_loss")])
    assert "| 31 | completed | 0.29 |" in most
    assert "| 0 | completed |" not in most
    assert "| 2 | completed | 0 |" in least
    assert "| 31 | completed |" not in least
    assert "\n\nand 12 more trials\n" in most
