"""Annotations point at a gate's own line, and no text of ours is obeyed by a runner."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.reports.annotations import annotate, command, gate_lines, inert, is_red, root_of
from modeltune.reports.tables import clean, failure, gate_table, show, summary_table, undecided
from tests.support.histories import DIGITS, runs
from tests.support.hostile import HOSTILE, hostile_run

SPEC = """\
import keras
import modeltune as mt

FLOOR = 0.8

on_digits = mt.spec(
    data=None,
    gates=[
        mt.metric('accuracy') >= .95,
        mt.metric(
            "accuracy"
        ) >= mt.baseline - 1e-2,
        mt.metric("parameters") <= 50_000,
        mt.metric("auc") >= FLOOR,
        (mt.metric("f1") >= 0.9).waive(until="2027-01-31", reason="why"),
    ],
)


@mark
@on_digits
def mlp(hp):
    return None


@mt.spec(gates=[mt.metric("accuracy") >= 0.95])
def cnn(hp):
    return None


wide = on_digits(lambda hp: None)
"""

GATES = [
    'mt.metric("accuracy") >= 0.95',
    'mt.metric("accuracy") >= mt.baseline - 0.01',
    'mt.metric("parameters") <= 50000',
    'mt.metric("auc") >= 0.8',
    '(mt.metric("f1") >= 0.9).waive(until="2027-01-31", reason="why")',
]
LINES = (9, 10, 13, 14, 15)


def of_file(path: Path, name: str, gates: list[str], text: str = SPEC) -> Run:
    """Return a run of a spec whose gates have all failed."""
    path.write_text(text)
    verdicts = tuple(Verdict(gate, Outcome.FAILED, 0.5, 0.9, "below") for gate in gates)
    return Run("a", "", f"{path.name}::{name}", str(path), RunStatus.FAILED, "maximize a",
               verdicts=verdicts)  # fmt: skip


def is_command(line: str) -> bool:
    """Tell whether a runner obeys a line: as actions/runner's ActionCommand parses it."""
    return line.strip().startswith("::") or "##[" in line


@pytest.mark.parametrize(
    ("name", "gates", "spec_line", "lines"),
    [
        ("mlp", GATES, 20, LINES),
        ("mlp[hyperband]", GATES[:3], 20, LINES[:3]),
        ("wide", GATES, 31, LINES),
        ("cnn", GATES[:1], 26, (26,)),
        # Parametrized gates are found elsewhere in the file, a computed one is not.
        ("cnn[a]", [GATES[2], "mt.metric(\"loss\") <= 1"], 26, (13, 26)),
        ("gone", GATES[:1], 1, (9,)),
    ],
)  # fmt: skip
def test_a_gate_has_its_own_line(
    tmp_path: Path, name: str, gates: list[str], spec_line: int, lines: tuple[int, ...]
) -> None:
    assert gate_lines(of_file(tmp_path / "spec_a.py", name, gates)) == (spec_line, lines)


@pytest.mark.parametrize(
    ("imports", "written", "gate"),
    [
        ("import modeltune", "modeltune.metric('a') >= 1", 'mt.metric("a") >= 1'),
        ("from modeltune import metric as m", "m(name='a')>=1.0", 'mt.metric("a") >= 1.0'),
        ("import modeltune as mt", "0.5 <= mt.metric('a').mean", 'mt.metric("a") >= 0.5'),
        ("import modeltune as mt", "mt.gap('a').worst < 0.1", 'mt.gap("a").worst < 0.1'),
        ("import modeltune as mt", "mt.metric('a', severity='fail') > 0", 'mt.metric("a") > 0'),
        (
            "import modeltune as mt",
            "mt.metric('a').per_class(20) >= .5",
            'mt.metric("a").per_class(min_n=20) >= 0.5',
        ),
        (
            "import modeltune as mt",
            "mt.metric('a').by('region', function=decade, min_n=30).gap <= .1",
            'mt.metric("a").by("region", decade).gap <= 0.1',
        ),
        (
            "import modeltune as mt",
            "mt.metric('a').on('dark', lambda x, y: x < 3) > .5",
            'mt.metric("a").on("dark", lambda: ...) > 0.5',
        ),
        (
            "import modeltune as mt",
            "mt.invariant(np.fliplr, max_violation=0.1, examples=3)",
            "mt.invariant(fliplr, max_violation=0.1, examples=3)",
        ),
        (
            "from modeltune import *",
            "mt.directional(2, 'up', tolerance=1, by=2)",
            'mt.directional(2, "up", by=2, tolerance=1)',
        ),
    ],
)
def test_a_gate_is_found_however_it_was_written(
    tmp_path: Path, imports: str, written: str, gate: str
) -> None:
    text = f"{imports}\n@mt.spec(gates=[\n  other,\n  {written},\n])\ndef m(hp): ...\n"
    run = of_file(tmp_path / "spec_a.py", "m", ["other", gate], text)
    assert gate_lines(run) == (2, (3, 4))


def test_gates_of_one_text_have_a_line_each(tmp_path: Path) -> None:
    text = 'import modeltune as mt\n@mt.spec(gates=[\n mt.gap("a") < 1,\n mt.gap("a") < 1])\ndef m(hp): ...\n'
    run = of_file(tmp_path / "spec_a.py", "m", ['mt.gap("a") < 1'] * 2, text)
    assert gate_lines(run) == (2, (3, 4))


@pytest.mark.parametrize(
    "text", ["def broken(", "\0", "x = " + "(" * 5000, "@a\n@b", "gates = gates\n"]
)
def test_a_file_that_cannot_be_read_has_a_first_line(tmp_path: Path, text: str) -> None:
    assert gate_lines(of_file(tmp_path / "spec_a.py", "m", GATES[:1], text)) == (1, (1,))
    assert gate_lines(replace(DIGITS, file="nowhere\0.py"))[0] == 1


def test_the_spec_file_is_never_imported(tmp_path: Path) -> None:
    run = of_file(tmp_path / "spec_a.py", "mlp", GATES, f"raise SystemExit\n{SPEC}")
    assert gate_lines(run)[1] == tuple(line + 1 for line in LINES)


def test_red_gates_are_errors_and_open_ones_warnings(tmp_path: Path) -> None:
    folder = tmp_path / "models, and: 100%"
    folder.mkdir()
    run = of_file(folder / "spec_a.py", "mlp", GATES)
    outcomes = (
        Outcome.INCONCLUSIVE,
        Outcome.FAILED,
        Outcome.WARNED,
        Outcome.PASSED,
        Outcome.WAIVED,
    )
    verdicts = tuple(
        replace(verdict, outcome=outcome)
        for verdict, outcome in zip(run.verdicts, outcomes, strict=True)
    )
    checks = (
        Verdict("checks.overlap", Outcome.FAILED, 2.0, 0.0, "2 rows\nof test"),
        Verdict("checks.drift", Outcome.INCONCLUSIVE, None, None, "not looked at"),
    )
    file = "file=models%2C and%3A 100%25/spec_a.py"
    assert [*annotate([replace(run, verdicts=verdicts, checks=checks)], tmp_path)] == [
        f"::error {file},line=10,title=spec_a.py%3A%3Amlp%3A failed::"
        'mt.metric("accuracy") >= mt.baseline - 0.01: measured 0.5: below',
        f"::error {file},line=20,title=spec_a.py%3A%3Amlp%3A failed::"
        "checks.overlap: measured 2: 2 rows of test (MT101: CHECKS.md#checksoverlap)",
        f"::warning {file},line=9,title=spec_a.py%3A%3Amlp%3A inconclusive::"
        'mt.metric("accuracy") >= 0.95: measured 0.5: below',
        f"::warning {file},line=13,title=spec_a.py%3A%3Amlp%3A warned::"
        'mt.metric("parameters") <= 50000: measured 0.5: below',
    ]


def test_what_ended_a_run_is_said_once(tmp_path: Path) -> None:
    run = of_file(tmp_path / "spec_a.py", "cnn", GATES)
    run = replace(run, status=RunStatus.ERROR, error="ValueError: 100%\n  of it")
    assert [*annotate([run], tmp_path)] == [
        "::error file=spec_a.py,line=26,title=spec_a.py%3A%3Acnn%3A error::"
        "ValueError: 100%25%0A  of it"
    ]


@pytest.mark.parametrize(
    ("status", "strict", "red"),
    [
        (RunStatus.PASSED, False, False),
        (RunStatus.PASSED, True, False),  # of a run that became the baseline
        (RunStatus.FAILED, True, True),
        (RunStatus.FAILED, False, False),
    ],
)
def test_an_open_question_is_red_under_strict(status: RunStatus, strict: bool, red: bool) -> None:
    verdict = Verdict("h", Outcome.NO_BASELINE, 0.5, None, "none")
    run = replace(DIGITS, status=status, strict=strict, verdicts=(verdict,))
    assert is_red(run, verdict) is red
    assert not is_red(replace(run, verdicts=(), checks=(verdict,)), verdict)


def test_what_could_not_be_compared_with_the_last_baseline_is_green_in_the_next() -> None:
    verdict = Verdict("h", Outcome.INVALID, 0.5, None, "other data")
    run = replace(DIGITS, status=RunStatus.PASSED, verdicts=(verdict,), checks=())
    assert [line.partition(" ")[0] for line in annotate([run], Path("/"))] == ["::warning"]


def test_github_is_told_no_more_than_it_shows(tmp_path: Path) -> None:
    run = of_file(tmp_path / "spec_a.py", "mlp", GATES * 3)
    warned = tuple(replace(verdict, outcome=Outcome.WARNED) for verdict in run.verdicts[:11])
    lines = [*annotate([run, replace(run, verdicts=warned)], tmp_path)]
    assert [line.partition(" ")[0] for line in lines] == (
        ["::error"] * 10 + ["::warning"] * 10 + ["::notice"]
    )
    assert lines[-1] == (
        "::notice title=modeltune::the report has 5 more errors and 1 more warning: GitHub shows "
        "only 10 of each"
    )


def test_a_file_is_named_as_the_repository_knows_it(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (folder := tmp_path / "models").mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert root_of(folder, None) == root_of(tmp_path, str(tmp_path / "gone")) == tmp_path
    assert root_of(folder, str(folder)) == folder
    (line,) = annotate([of_file(link / "spec_a.py", "cnn", GATES[:1])], folder)
    assert "file=spec_a.py," in line
    (line,) = annotate([of_file(tmp_path / "spec_a.py", "cnn", GATES[:1])], folder)
    assert f"file={tmp_path}/spec_a.py," in line


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.ERROR])
def test_hostile_names_stay_inside_their_command(text: str, status: RunStatus) -> None:
    commands = [*annotate([hostile_run(text, status)], Path("/nowhere"))]
    assert commands
    for line in commands:
        match = re.fullmatch(r"::(error|warning) file=([^,:]*),line=\d+,title=([^,:]*)::(.*)", line)
        assert match, line
        assert not re.search(r"%(?!25|0A|3A|2C)", line)
        assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert "##[" not in line or line.startswith("::")
        # The runner reads literally what we meant.
        title = match[3].replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        assert title.startswith(clean(text))
    assert command("error", "a\r\nb", {"title": "%:,"}) == "::error title=%25%3A%2C::a%0Ab"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_inert_in_what_a_terminal_shows(text: str) -> None:
    for status in RunStatus:
        run = hostile_run(text, status)
        for block in (
            show(run),
            failure(run),
            gate_table(run),
            summary_table([run]),
            undecided([run]),
        ):
            kinds = {unicodedata.category(character) for character in block.replace("\n", "")}
            assert not kinds & {"Cc", "Cf", "Cs"}
            block.encode()
            log = inert(block)
            assert not [line for line in log.splitlines() if is_command(line)]
            assert log.replace("\u200b", "") == block


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_is_obeyed(text: str) -> None:
    assert not [line for line in inert(text).splitlines() if is_command(line)]


@given(st.lists(runs, max_size=2))
def test_every_run_can_be_annotated(several: list[Run]) -> None:
    for line in annotate(several, Path("/nowhere")):
        assert re.fullmatch(r"::(error|warning|notice) [^:]*::.*", line)
        line.encode()
