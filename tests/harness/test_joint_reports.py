"""Reports of several jobs are judged as one session, and what is none is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.cli import main
from modeltune.ground import ModeltuneError
from modeltune.harness.joint_reports import judge_reports
from modeltune.records.families import Family, FamilyKind
from modeltune.records.json_form import to_json
from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome, Regression
from modeltune.reports.json_report import write
from tests.support.histories import DIGITS
from tests.support.verdicts import details_of, regression, verdict_on

GATE = mt.metric("accuracy") >= mt.baseline - 0.01


def run_of(
    spec: str, p: float, kind: FamilyKind | None = FamilyKind.SESSION, specs: int = 1
) -> Run:
    """Return the run of a spec with a drop of this p-value, as the job it was in judged it."""
    family = None if kind is None else Family(kind, specs)
    fails = p <= 0.05 / specs
    details = regression(delta=-0.05, p=p, p_adjusted=p, level=0.05 / specs, family=family)
    verdict = verdict_on(
        GATE, Outcome.FAILED if fails else Outcome.INCONCLUSIVE, 0.91, 0.95, "", details
    )
    status = RunStatus.FAILED if fails else RunStatus.PASSED
    return replace(
        DIGITS,
        id=spec,
        spec=f"spec_a.py::{spec}",
        verdicts=(verdict,),
        checks=(),
        status=status,
        strict=False,
    )


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a report of runs under a name."""

    def report(name: str, *runs: Run) -> Path:
        write(tmp_path / name, [to_json(run) for run in runs])
        return tmp_path / name

    return report


def test_a_job_s_red_gate_is_green_where_all_jobs_share_the_error_rate(
    report: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = report("A.json", run_of("one", 0.03)), report("B.json", run_of("two", 0.5))
    monkeypatch.delenv("COLUMNS", raising=False)

    assert main(["judge", str(a), str(b)]) == 0

    assert capsys.readouterr().out == (
        "spec            gate                                         measured    bound    p     fails at    outcome\n"
        "--------------  -------------------------------------------  ----------  -------  ----  ----------  ------------\n"
        'spec_a.py::one  mt.metric("accuracy") >= mt.baseline - 0.01  0.91        0.95     0.03  0.025       inconclusive\n'
        'spec_a.py::two  mt.metric("accuracy") >= mt.baseline - 0.01  0.91        0.95     0.5   0.025       inconclusive\n'
        "\n"
        "2 specs judged together, any false alarm has a chance of 5 % at most (Holm): 2 inconclusive\n"
    )


def test_what_one_job_leaves_turns_a_gate_of_another_red(
    report: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b = report("A.json", run_of("one", 0.001)), report("B.json", run_of("two", 0.03))

    assert main(["judge", str(a), str(b), "--output", str(tmp_path / "all")]) == 1

    said = capsys.readouterr().out
    assert 'red: spec_a.py::two: failed: mt.metric("accuracy") >= mt.baseline - 0.01' in said
    judged = json.loads((tmp_path / "all" / "report.json").read_text("utf-8"))["runs"]
    assert [run["status"] for run in judged] == ["failed", "failed"]


def test_specs_of_a_job_that_did_not_end_keep_their_share(report: Callable[..., Path]) -> None:
    a = report("A.json", run_of("one", 0.001, specs=1))
    b = report("B.json", run_of("two", 0.03, specs=2))
    judged = judge_reports([a, b])
    assert judged.family == Family(FamilyKind.SESSION, 3)
    assert [run.passed for run in judged.runs] == [False, True]


def test_jobs_whose_specs_have_error_rates_of_their_own_stay_as_they_were_judged(
    report: Callable[..., Path],
) -> None:
    runs = run_of("one", 0.03, None), run_of("two", 0.03, None)
    judged = judge_reports([report("A.json", runs[0]), report("B.json", runs[1])])
    assert (judged.family, judged.runs) == (None, runs)


def test_no_run_is_as_no_test(
    report: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(report("A.json"))]) == 5


OTHER: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "B.json is no report.json: "),
    "another JSON": ([1], "B.json is no report.json of modeltune: it has no schema and runs"),
    "another schema": (
        {"schema": 1, "runs": []},
        "B.json has schema 1, and schema 2 is judged: give all jobs the modeltune that judges",
    ),
    "no run": (
        {"schema": 2, "runs": [{"id": "x"}]},
        "B.json: run 1 is not as modeltune writes runs: ",
    ),
    "a number as a run": (
        {"schema": 2, "runs": [7]},
        "B.json: run 1 is not as modeltune writes runs: ",
    ),
}


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_no_report_is_named(report: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    content, message = OTHER[kind]
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "B.json").write_text(text, "utf-8")
    with pytest.raises(ModeltuneError) as caught:
        judge_reports([report("A.json", run_of("one", 0.5)), tmp_path / "B.json"])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", 0.0), ("alpha", math.nan), ("p_adjusted", -1.0), ("look", 0), ("look", 10**12)],
)
def test_a_comparison_that_nobody_made_is_no_reason_for_anything(
    report: Callable[..., Path], field: str, value: float
) -> None:
    run = run_of("one", 0.5)
    wrong: dict[str, Any] = {field: value}
    details = replace(details_of(run.verdicts[0], Regression), **wrong)
    path = report("A.json", replace(run, verdicts=(replace(run.verdicts[0], details=details),)))
    with pytest.raises(
        ModeltuneError, match=f"A.json: run 1 is not as .*: {field} of a comparison"
    ):
        judge_reports([path])


def test_reports_that_cannot_be_judged_together_are_refused(report: Callable[..., Path]) -> None:
    a, again = report("A.json", run_of("one", 0.5)), report("B.json", run_of("one", 0.5))
    other = report("C.json", run_of("two", 0.5, FamilyKind.FDR))
    for files, message in (
        ([a, again], f"spec_a.py::one is in it and in {a}; each spec is judged once"),
        ([a, a], "A.json is named twice"),
        ([a, other], 'was judged under family = "session" and .*C.json under "fdr"'),
        ([a, Path("gone.json")], "gone.json cannot be read: No such file or directory"),
    ):
        with pytest.raises(ModeltuneError, match=message):
            judge_reports(files)
