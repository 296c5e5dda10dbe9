"""A spec is known whatever its item is called: parameters of other plugins are no part of its name."""

from __future__ import annotations

import pytest

from modeltune.plugin.items import SpecItem
from tests.support.example import Example, scripted_source

REPEATED = """
import pytest

def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("again")
    metafunc.parametrize("again", range(2), ids=["1-2", "2-2"])
"""
"""As pytest-flakefinder and pytest-repeat do it, before or after the spec's own parameters."""

AUTOUSED = """
import pytest

@pytest.fixture(autouse=True, params=[1, 2])
def again(request): ...
"""

COPIED = """
import copy

def pytest_collection_modifyitems(items):
    for item in list(items):
        other = copy.copy(item)
        other.name = f"{item.name}-again"
        items.append(other)
"""

MADE_ANEW = """
import pytest

def pytest_collection_modifyitems(items):
    for item in list(items):
        name = f"{item.name}-again"
        items.append(pytest.Function.from_parent(item.parent, name=name, callobj=item.obj))
"""

RENAMED = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name, obj):
    made = yield
    for item in made if isinstance(made, list) else ():
        item.name = f"{item.name} (renamed)"
    return made
"""

MARKS = """
@pytest.mark.parametrize("gates", [[], []], ids=["low", "high"])
@pytest.mark.parametrize("search", [mt.RandomSearch(mt.minimize("loss")), mt.GridSearch(mt.minimize("loss"))])
"""

HIDDEN = "pytest.HIDDEN_PARAM" if hasattr(pytest, "HIDDEN_PARAM") else "'hidden'"
"""The id of a parameter that is no part of an item's name: pytest has one from 8.4 on."""

HIDING = """
import pytest
from modeltune.plugin.pytest_internals import calls_of

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc):
    parametrize = metafunc.parametrize

    def hiding(*args, **kwargs):
        parametrize(*args, **kwargs)
        for _, _, ids in calls_of(metafunc):
            ids[:] = [each for each in ids if each != "hidden"]

    metafunc.parametrize = hiding
    return (yield)
"""
"""What pytest 8.4 does, for older ones: it leaves the id out of the list of an item's ids."""

TWO_BY_TWO = ["random-low", "random-high", "grid-low", "grid-high"]


def ids(
    example: Example, plugin: str, marks: str = "", conftest: str = ""
) -> list[tuple[str, str]]:
    """Return what each item is called, and the id of its spec."""
    spec = scripted_source("net").replace("\n@on_nothing", f"{marks}\n@on_nothing")
    example = example.with_spec(spec.replace("import modeltune", "import pytest\nimport modeltune"))
    project = example.with_files({"foreign.py": plugin, "conftest.py": conftest})
    project.write()
    items, _ = project.pytester.inline_genitems("-p", "foreign", "spec_a.py")
    assert all(isinstance(item, SpecItem) for item in items)
    return [(item.name, item.spec.id) for item in items if isinstance(item, SpecItem)]


@pytest.fixture(autouse=True)
def _foreign_plugin(scripted: Example) -> None:
    scripted.pytester.syspathinsert(scripted.path)


@pytest.mark.parametrize(
    "plugin",
    [
        REPEATED,
        REPEATED.replace("\ndef", "\n@pytest.hookimpl(tryfirst=True)\ndef"),
        REPEATED.replace("\ndef", "\n@pytest.hookimpl(trylast=True)\ndef"),
        AUTOUSED,
        RENAMED,
    ],
    ids=["generated", "first", "last", "autoused", "renamed"],
)
def test_items_that_a_plugin_multiplies_or_renames_are_of_one_spec(
    scripted: Example, plugin: str
) -> None:
    assert {spec for _, spec in ids(scripted, plugin)} == {"spec_a.py::net"}
    named = ids(scripted, plugin, MARKS)
    assert {spec for _, spec in named} == {f"spec_a.py::net[{each}]" for each in TWO_BY_TWO}
    assert len(named) == (4 if plugin is RENAMED else 8)


@pytest.mark.parametrize("plugin", [COPIED, MADE_ANEW], ids=["copied", "made anew"])
def test_items_that_a_plugin_makes_of_items_run_their_spec(scripted: Example, plugin: str) -> None:
    project = scripted.with_spec(scripted_source("net")).with_files({"foreign.py": plugin})
    done = project.run_pytest("-p", "foreign")
    done.assert_outcomes(passed=2)
    assert [run.spec for run in done.history] == ["spec_a.py::net"] * 2


def test_repeated_items_are_still_called_as_pytest_calls_them(scripted: Example) -> None:
    assert [name for name, _ in ids(scripted, REPEATED)] == ["net[1-2]", "net[2-2]"]


def test_a_hidden_id_is_no_part_of_a_name(scripted: Example) -> None:
    hidden = REPEATED.replace('"1-2", "2-2"', f"{HIDDEN}, '2'").replace("range(2)", "[1, 2]")
    conftest = "" if hasattr(pytest, "HIDDEN_PARAM") else HIDING
    marks = MARKS.replace('ids=["low", "high"]', f'ids=[{HIDDEN}, "high"]')
    assert {spec for _, spec in ids(scripted, hidden, marks, conftest)} == {
        f"spec_a.py::net[{each}]" for each in ["random", "random-high", "grid", "grid-high"]
    }


def test_parameters_of_the_author_s_own_fixtures_are_part_of_the_name(scripted: Example) -> None:
    author = "import pytest\n@pytest.fixture(autouse=True, params=['cpu', 'gpu'])\ndef device(request): ..."
    named = ids(scripted, REPEATED, conftest=author)
    assert {spec for _, spec in named} == {"spec_a.py::net[cpu]", "spec_a.py::net[gpu]"}
    assert len(named) == 4


def test_a_repeated_spec_keeps_its_baseline(scripted: Example) -> None:
    gates = 'gates=[mt.metric("accuracy") >= 0.5]'
    spec = scripted_source("net")
    project = scripted.with_files({"foreign.py": REPEATED})
    against = spec.replace(gates, 'gates=[mt.metric("accuracy") >= mt.baseline]')
    assert against != spec
    project.with_spec(against).run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)

    done = project.run_pytest("-p", "foreign", "--modeltune-strict")

    done.assert_outcomes(passed=2)
    assert [run.verdicts[0].outcome.value for run in done.history][:2] == ["passed", "passed"]
    assert {run.spec for run in done.history} == {"spec_a.py::net"}


INDIRECT = """
import pytest, modeltune as mt

@pytest.fixture
def gates(request):
    return [mt.metric("accuracy") >= request.param]
"""


@pytest.mark.parametrize("indirect", ["indirect=True", "indirect=['gates']"])
def test_an_indirect_field_is_what_its_fixture_makes_of_the_parameter(
    scripted: Example, indirect: str
) -> None:
    marks = f'@pytest.mark.parametrize("gates", [0.25, 0.99], {indirect})\n@on_nothing'
    spec = scripted_source("net").replace("@on_nothing", marks)
    spec = spec.replace("import modeltune", "import pytest\nimport modeltune")

    done = scripted.with_files({"conftest.py": INDIRECT}).with_spec(spec).run_pytest()

    done.assert_outcomes(passed=1, failed=1)
    gates = {run.spec: [verdict.gate for verdict in run.verdicts] for run in done.history}
    assert gates == {
        "spec_a.py::net[0.25]": ['mt.metric("accuracy") >= 0.25'],
        "spec_a.py::net[0.99]": ['mt.metric("accuracy") >= 0.99'],
    }


def test_an_indirect_field_that_is_none_is_refused_by_name(scripted: Example) -> None:
    marks = '@pytest.mark.parametrize("gates", [0.25], indirect=True)\n@on_nothing'
    spec = scripted_source("net").replace("@on_nothing", marks)
    spec = spec.replace("import modeltune", "import pytest\nimport modeltune")
    wrong = INDIRECT.replace("return", "return 3 #")

    done = scripted.with_files({"conftest.py": wrong}).with_spec(spec).run_pytest()

    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        ["*spec_a.py:*: net[[]0.25[]] has 1 problem:", "*gates: 3: write a list*"]
    )
