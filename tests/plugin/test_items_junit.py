"""What pytest's --junitxml tells of a run: as properties of its testcase, whatever things are called."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from _pytest.junitxml import bin_xml_escape

from modeltune.plugin.items import properties
from modeltune.records.runs import Run, RunStatus, Scores
from modeltune.records.verdicts import Outcome, Verdict
from tests.support.example import Example, source
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


def cases(project: Example) -> dict[str, dict[str, str]]:
    """Return every testcase's properties by its name, as another program reads them."""
    tree = ElementTree.parse(project.path / "junit.xml")
    return {
        case.attrib["name"]: {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
        for case in tree.iter("testcase")
    }


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
    project.run_pytest("--junitxml=junit.xml", "--modeltune-accept")
    first = cases(project)["dense"]
    assert first["modeltune.status"] == "passed"
    assert float(first["modeltune.accuracy"]) <= 1
    assert first['modeltune.gate[mt.metric("accuracy") >= 0]'].startswith("passed: ")
    gate = 'modeltune.gate[mt.metric("accuracy") >= mt.baseline - 9]'
    assert first[gate].startswith("no_baseline: ")
    assert not {"modeltune.baseline", "modeltune.cached"} & first.keys()
    assert cases(project)["test_b"] == {}

    project.run_pytest("--junitxml=junit.xml", "--modeltune-reuse")
    again = cases(project)["dense"]
    assert again["modeltune.cached"] == "true"
    assert again["modeltune.baseline"] == first["modeltune.run"]
    assert again[gate].startswith("passed: ")


@pytest.mark.parametrize("processes", [0, 1])
def test_hostile_names_are_told_literally_in_xml_that_others_read(
    project: Example, processes: int
) -> None:
    mark = "@pytest.mark.parametrize('fit', [mt.Fit(epochs=n + 1) for n in range({})], ids=str)"
    mark = mark.format(len(HOSTILE)).replace("ids=str", f"ids=map(str, range({len(HOSTILE)}))")
    project = project.with_spec(source().replace("\n@spec(", f"\n{mark}\n@spec("))
    project = project.with_files({"conftest.py": FAKED})
    run = project.run_pytest_apart if processes else project.run_pytest
    done = run("--junitxml=junit.xml", "-q", *(["-n1"] if processes else []))
    assert done.exit_code == 1
    by_name = cases(project)
    assert len(by_name) == len(HOSTILE)
    for number, text in enumerate(map(escaped, HOSTILE.values())):
        facts = by_name[f"dense[{number}]"]
        value = bin_xml_escape(text)  # before 9.1 pytest spells emoji out
        assert facts["modeltune.run"] == facts["modeltune.baseline"] == value
        assert facts["modeltune.status"] == "failed"
        assert facts[f"modeltune.{text}"] == "0.55"
        assert facts[f"modeltune.gate[{text}]"] in (f"failed: {value}", f"warned: {value}")


def test_gates_of_one_name_and_a_score_named_like_a_fact_are_all_told() -> None:
    verdicts = tuple(Verdict("g", outcome, None, None, "why") for outcome in Outcome)
    run = Run("1", "", "s", "f", RunStatus.FAILED, "", {"run": Scores((0.5,))}, verdicts)
    facts = list(properties(run))
    assert [value for name, value in facts if name == "modeltune.run"] == ["1", "0.5"]
    gates = [value.partition(":")[0] for name, value in facts if "gate[" in name]
    assert gates == [outcome.value for outcome in Outcome]
