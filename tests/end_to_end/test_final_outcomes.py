"""What is said of a spec, and what is accepted, follows the outcome that pytest reports last."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.support.example import IN_PROCESS, Example, Session, scripted_source

RERUN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        for report in reports:
            if report.failed:
                report.outcome = "rerun"
                item.ihook.pytest_runtest_logreport(report=report)
                break
            item.ihook.pytest_runtest_logreport(report=report)
        item.__dict__["spec"] = item.spec.with_fields(gates=[item.spec.gates[0].measure >= 0.25])
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""
"""As pytest-rerunfailures does it; the second attempt of a spec is judged more kindly."""


def session(
    scripted: Example,
    monkeypatch: pytest.MonkeyPatch,
    mark: str = "",
    *arguments: str,
    **files: str,
) -> Session:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    spec = scripted_source("net").replace("\n@on_nothing", f"\n{mark}\n@on_nothing")
    bound = "0.99" if "strict" not in mark else "0.5"
    spec = spec.replace(">= 0.5", f">= {bound}").replace(
        "import mod", "import pytest\nimport mod", 1
    )
    project = scripted.with_spec(spec).with_files(
        {f"{name}.py": text for name, text in files.items()}
    )
    run = project.run_pytest_forked if "-n1" in arguments else project.run_pytest
    return run("--modeltune-accept-new", "--junitxml=junit.xml", *arguments)


def properties(scripted: Example) -> list[str]:
    tree = ET.parse(scripted.path / "junit.xml")
    return [str(fact.get("name")) for fact in tree.iter("property")]


def test_a_spec_that_another_plugin_runs_again_is_reported_by_its_last_run(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = session(scripted, monkeypatch, conftest=RERUN)
    assert done.exit_code == 0, done.output
    assert [run.status.value for run in done.history] == ["passed", "failed"]
    assert [run["id"] for run in done.reported] == [done.history[0].id]
    assert "::error" not in done.output
    names = properties(scripted)
    assert len(names) == len(set(names))
    assert "spec_a.py::net: modeltune.run" in names
    assert done.output.count("accepted") == 1
    done.stdout.fnmatch_lines([f"accepted spec_a.py::net: run {done.history[0].id}*"])


@pytest.mark.parametrize(
    ("outcome", "processes"),
    [("report.outcome = 'rerun'", 0), ("continue", 0), ("report.outcome = 'rerun'", 1)],
    ids=["rerunfailures", "flaky", "rerunfailures in a worker"],
)
def test_an_attempt_that_did_not_count_tells_no_run_in_its_testcase(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, outcome: str, processes: int
) -> None:
    # pytest-rerunfailures reports a failed attempt to its end, flaky all but its call; each makes
    # a testcase of it.
    logged = "                item.ihook.pytest_runtest_logreport(report=report)\n                break\n"
    again = RERUN.replace(logged, logged.replace("break", "continue"))
    again = again.replace('report.outcome = "rerun"', outcome)
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{IN_PROCESS} -p tests.support.scripted_runs")
    arguments = ["-ojunit_family=xunit1", *(["-n1"] if processes else [])]
    done = session(scripted, monkeypatch, "", *arguments, conftest=again)
    assert done.exit_code == 0, done.output
    tree = ET.parse(scripted.path / "junit.xml")
    told = [
        [fact.get("value") for fact in case.iter("property") if fact.get("name") == "modeltune.run"]
        for case in tree.iter("testcase")
    ]
    assert told == [[], [done.history[0].id]]


def test_an_expected_failure_is_no_error_of_the_change(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = session(scripted, monkeypatch, "@pytest.mark.xfail")
    done.assert_outcomes(xfailed=1)
    assert "::error" not in done.output
    assert not list(scripted.path.glob("baselines/*"))


@pytest.mark.parametrize(
    ("case", "arguments"), [("strict xpass", []), ("teardown", []), ("teardown", ["-n1"])]
)
def test_a_run_that_passed_in_an_item_that_did_not_is_not_accepted(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, case: str, arguments: list[str]
) -> None:
    end = "import pytest\n@pytest.fixture(autouse=True)\ndef end():\n    yield\n    assert 0\n"
    mark = "@pytest.mark.xfail(strict=True)" if case == "strict xpass" else "# strict"
    files = {"conftest": end} if case == "teardown" else {}
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{IN_PROCESS} -p tests.support.scripted_runs")
    done = session(scripted, monkeypatch, mark, *arguments, **files)
    assert done.exit_code == 1, done.output
    assert [run.status.value for run in done.history] == ["passed"]
    assert not list(scripted.path.glob("baselines/*"))
    done.stdout.fnmatch_lines(["not accepted: run * of spec_a.py::net: pytest does not report *"])


def test_the_error_of_a_red_spec_names_its_gates(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = """
def pytest_runtest_makereport(item, call):  # as Allure does it
    if call.excinfo:
        print("shown elsewhere:", call.excinfo.exconly())
"""
    done = session(scripted, monkeypatch, "", "-s", conftest=reader)
    gate = 'mt.metric("accuracy") >= 0.99'
    done.stdout.fnmatch_lines([f"shown elsewhere: *: spec_a.py::net is failed: {gate}"])


@pytest.mark.parametrize("processes", [0, 1], ids=["alone", "xdist"])
def test_plugins_find_the_gates_and_the_place_of_a_red_spec_where_errors_have_theirs(
    scripted: Example, processes: int
) -> None:
    reader = """
import pytest

def shown(report, where):
    if report.when == "call":
        crash = report.longrepr.reprcrash
        print(where, crash.path, crash.lineno, crash.message.partition("\\n")[0])
        assert str(report.longrepr) == crash.message

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item, call):
    report = yield
    shown(report, "made")
    return report

def pytest_runtest_logreport(report):
    shown(report, "logged")
"""
    red = scripted_source("net").replace(">= 0.5", ">= 0.99")
    scripted = scripted.with_files({"conftest.py": reader}).with_spec(red)
    run = scripted.run_pytest_forked if processes else scripted.run_pytest
    options = [f"-n{processes}"] if processes else []
    done = run("-s", "--tb=line", *options)
    place = f"{scripted.path / 'spec_a.py'}"
    line = red.strip().splitlines().index("@on_nothing") + 1
    gates = "*red gates (1 of 1): accuracy >= 0.99 (measured *)*"
    done.stdout.fnmatch_lines([f"*logged {place} {line} {gates}", f"{place}:{line}: {gates}"])
    if not processes:
        done.stdout.fnmatch_lines([f"*made {place} {line} {gates}"])
        refused = run("-s", "--modeltune-rejudge", "--modeltune-store=sqlite:///other.db")
        refused.assert_outcomes(failed=1)
        refused.stdout.fnmatch_lines([f"*logged {place} {line} *no recorded run was re-judged: *"])


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another plugin"])
def test_a_red_spec_is_annotated_once(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    name = "pytest_github_actions_annotate_failures"
    theirs = """
def pytest_runtest_logreport(report):
    if report.failed:
        print(f"::error file=spec_a.py::{report.longrepr}".partition("\\n")[0])
"""
    scripted.pytester.syspathinsert(scripted.path)
    arguments = ["-s", "-p", name] if other else []
    done = session(scripted, monkeypatch, "", *arguments, **{name: theirs})
    (line,) = [line for line in done.lines if "::error file=" in line]
    assert "accuracy" in line
    assert ("file=spec_a.py::" in line) is other
