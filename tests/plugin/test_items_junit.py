"""What pytest's --junitxml tells of a run: as properties where its family allows them, whatever things are called."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from _pytest.junitxml import bin_xml_escape

from modeltune.plugin.items import properties
from modeltune.records.runs import Run, RunStatus, Scores
from modeltune.records.verdicts import Outcome, Verdict
from tests.support.example import Example, scripted_source, source
from tests.support.hostile import HOSTILE

FAKED = f"""
import sys
from itertools import count
from pathlib import Path
import pytest
sys.path.insert(0, {str(Path(__file__).parents[2])!r})

@pytest.fixture(autouse=True)
def judged_by_nobody(monkeypatch):
    from tests.support.hostile import HOSTILE, hostile_run
    from modeltune import harness
    from modeltune.records.events import RunRecorded

    def run(spec, *, listen, **options):
        text = list(HOSTILE.values())[spec.fit.epochs - 1]
        recorded = hostile_run(text)
        listen(RunRecorded(recorded))
        return recorded

    monkeypatch.setattr(harness, "run", run)
"""
"""A conftest.py under which the n-th spec ends in the run that is named by the n-th hostile text."""


XUNIT2 = Path(__file__).parents[1] / "support" / "xunit2.xsd"


def facts_of(element: ElementTree.Element) -> dict[str, str]:
    """Return the properties of a testcase or testsuite."""
    return {p.attrib["name"]: p.attrib["value"] for p in element.iterfind("properties/property")}


def cases(project: Example, family: str) -> dict[str, dict[str, str]]:
    """Return every testcase's properties by its name, as another program reads them.

    Those of xunit2 are the testsuite's, and the file is as the schema of Jenkins has it.
    """
    file = project.path / "junit.xml"
    tree = ElementTree.parse(file)
    found = {case.attrib["name"]: facts_of(case) for case in tree.iter("testcase")}
    (suite,) = tree.iter("testsuite")
    if family != "xunit2":
        assert not facts_of(suite)
        return found
    xmlschema.XMLSchema(XUNIT2).validate(file)
    for text, value in facts_of(suite).items():
        item, _, name = text.partition(": modeltune.")
        found[item.partition("::")[2]][f"modeltune.{name}"] = value
    return found


def escaped(text: str) -> str:
    """Return text as XML can hold it: what it cannot, as Python writes it."""
    for character in (
        "\0",
        "\x07",
        "\x08",
        "\x0b",
        "\x0c",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\ud800",
    ):
        text = text.replace(character, character.encode("unicode_escape").decode())
    return text


def test_a_testcase_tells_the_run_its_scores_gates_and_baseline(project: Example) -> None:
    gates = "mt.metric('accuracy') >= 0, mt.metric('accuracy') >= mt.baseline - 9"
    text = source(f"gates=[{gates}]")
    project = project.with_files({"spec_a.py": text, "test_b.py": "def test_b(): ..."})
    project.run_pytest("--junitxml=junit.xml", "--modeltune-accept", "-ojunit_family=xunit1")
    first = cases(project, "xunit1")["dense"]
    assert first["modeltune.status"] == "passed"
    assert float(first["modeltune.accuracy"]) <= 1
    assert first['modeltune.gate[mt.metric("accuracy") >= 0]'].startswith("passed: ")
    gate = 'modeltune.gate[mt.metric("accuracy") >= mt.baseline - 9]'
    assert first[gate].startswith("no_baseline: ")
    assert not {"modeltune.baseline", "modeltune.cached"} & first.keys()
    assert cases(project, "xunit1")["test_b"] == {}

    project.run_pytest("--junitxml=junit.xml", "--modeltune-reuse", "-ojunit_family=xunit1")
    again = cases(project, "xunit1")["dense"]
    assert again["modeltune.cached"] == "true"
    assert again["modeltune.baseline"] == first["modeltune.run"]
    assert again[gate].startswith("passed: ")


@pytest.mark.parametrize(("family", "processes"), [("legacy", 0), ("xunit1", 1), ("xunit2", 0)])
def test_hostile_names_are_told_literally_in_xml_that_others_read(
    project: Example, family: str, processes: int
) -> None:
    mark = "@pytest.mark.parametrize('fit', [mt.Fit(epochs=n + 1) for n in range({})], ids=str)"
    mark = mark.format(len(HOSTILE)).replace("ids=str", f"ids=map(str, range({len(HOSTILE)}))")
    project = project.with_spec(source().replace("\n@spec(", f"\n{mark}\n@spec("))
    project = project.with_files({"conftest.py": FAKED})
    run = project.run_pytest_forked if processes else project.run_pytest
    family_option = f"-ojunit_family={family}"
    done = run("--junitxml=junit.xml", "-q", family_option, *(["-n1"] if processes else []))
    assert done.exit_code == 1
    by_name = cases(project, family)
    assert len(by_name) == len(HOSTILE)
    for number, text in enumerate(map(escaped, HOSTILE.values())):
        facts = by_name[f"dense[{number}]"]
        value = bin_xml_escape(text)  # before 9.1 pytest spells emoji out
        assert facts["modeltune.run"] == facts["modeltune.baseline"] == value
        assert facts["modeltune.status"] == "failed"
        assert facts[f"modeltune.{text}"] == "0.55"
        assert facts[f"modeltune.gate[{text}]"] in (f"failed: {value}", f"warned: {value}")


@pytest.mark.parametrize("processes", [0, 1])
def test_pytest_s_own_family_gives_what_jenkins_accepts(scripted: Example, processes: int) -> None:
    red = scripted_source("red").replace(">= 0.5", ">= 0.99")
    broken = scripted_source("broken").replace("@on_nothing", "@pytest.mark.xfail\n@on_nothing")
    scripted = scripted.with_files({
        "spec_a.py": scripted_source("green"), "spec_b.py": red,
        "spec_c.py": f"import pytest\n{broken}",
        "test_d.py": "import pytest\n@pytest.mark.skip\ndef test_d(): ...",
    })  # fmt: skip
    run = scripted.run_pytest_forked if processes else scripted.run_pytest
    run("--junitxml=junit.xml", *(["-n1"] if processes else []))
    told = cases(scripted, "xunit2")
    statuses = {name: facts.get("modeltune.status") for name, facts in told.items()}
    assert statuses == {"green": "passed", "red": "failed", "broken": "passed", "test_d": None}


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_a_setting_keeps_runs_out_of_the_properties(scripted: Example, family: str) -> None:
    settings = "[tool.modeltune]\njunit_properties = false"
    scripted = scripted.with_spec(scripted_source()).with_files({"pyproject.toml": settings})
    scripted.run_pytest("--junitxml=junit.xml", f"-ojunit_family={family}").assert_outcomes(
        passed=1
    )
    assert "propert" not in (scripted.path / "junit.xml").read_text()
    assert cases(scripted, family) == {"scripted": {}}


def test_gates_of_one_name_and_a_score_named_like_a_fact_are_all_told() -> None:
    verdicts = tuple(Verdict("g", outcome, None, None, "why") for outcome in Outcome)
    run = Run("1", "", "s", "f", RunStatus.FAILED, "", {"run": Scores((0.5,))}, verdicts)
    facts = list(properties(run))
    assert [value for name, value in facts if name == "modeltune.run"] == ["1", "0.5"]
    gates = [value.partition(":")[0] for name, value in facts if "gate[" in name]
    assert gates == [outcome.value for outcome in Outcome]
