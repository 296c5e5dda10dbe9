"""Specs are test items like any other: selected, marked, parametrized, skipped and reported alike."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import modeltune.harness
from modeltune.ground import PACKAGE
from modeltune.ground.deadlines import Deadline
from modeltune.ground.store_urls import sqlite_url
from modeltune.histories.baselines import Acceptance
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.run_status import status_of
from modeltune.plugin.items import SpecItem, parameter_id
from modeltune.records.events import Listener, RunRecorded
from modeltune.records.runs import Run, Scores
from modeltune.specs.spec_type import Spec
from tests.support.example import Example, Session

RULES = """
import keras
import pytest
import modeltune as mt

def blobs():
    return mt.Data(train=([[0.0]], [0]))

rules = mt.spec(data=blobs, search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1))
red = mt.spec(
    data=blobs,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1),
    gates=[mt.metric("accuracy") >= 0.999],
)
"""


@dataclass
class Harness:
    """A harness that trains nothing: models have accuracy 0.9 unless told; it remembers its calls."""

    specs: list[Spec] = field(default_factory=list)
    fixtures: list[Mapping[str, object]] = field(default_factory=list)
    options: list[Mapping[str, object]] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)

    def run(
        self, spec: Spec, *, fixtures: Mapping[str, object], listen: Listener, **options: Any
    ) -> Run:
        self.specs.append(spec)
        self.fixtures.append(fixtures)
        self.options.append(options)
        scores = {"accuracy": Scores((self.accuracy.get(spec.name, 0.9),))}
        verdicts = judge(spec.gates, scores, spec.id)
        run = Run(
            "0a1b2c", "2026-11-20T21:00:00+00:00", spec.id, spec.file, status_of(verdicts),
            "maximize val_accuracy", scores=scores, verdicts=verdicts,
        )  # fmt: skip
        listen(RunRecorded(run))
        return run

    @property
    def ran(self) -> list[str]:
        return [spec.id for spec in self.specs]


@pytest.fixture(autouse=True)
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    fake = Harness()
    monkeypatch.setattr(modeltune.harness, "run", fake.run)
    return fake


@dataclass(frozen=True)
class Project:
    """An example project whose spec files begin with RULES; its sessions train nothing."""

    example: Example

    def with_specs(self, **sources: str) -> Project:
        """Return the project with these modules; those called spec_... get RULES before them."""
        texts = {
            name: RULES + inspect.cleandoc(text) + "\n" if name.startswith("spec_") else text
            for name, text in sources.items()
        }
        return self.with_files(**{f"{name}.py": text for name, text in texts.items()})

    def with_files(self, **texts: str) -> Project:
        return Project(self.example.with_files(texts))

    def with_ini(self, text: str) -> Project:
        return self.with_files(**{"tox.ini": text})

    def with_conftest(self, text: str) -> Project:
        return self.with_files(**{"conftest.py": text})

    def run(self, *arguments: str, code: int = 0) -> Session:
        done = self.example.run_pytest(*arguments)
        assert done.exit_code == code, done.output
        return done

    def items(self, *arguments: str) -> list[SpecItem]:
        self.example.write()
        items, _ = self.example.pytester.inline_genitems(*arguments)
        return [item for item in items if isinstance(item, SpecItem)]

    def ids(self, *arguments: str) -> list[str]:
        done = self.run("--collect-only", "-q", *arguments)
        return [line for line in done.lines if "::" in line]


@pytest.fixture
def project(example: Example) -> Project:
    return Project(example.with_files({"tox.ini": "[pytest]\n"}))


TWO = """
@rules
def dense(hp):
    "One layer."

@red
def deep(hp): ...
"""


def test_specs_are_collected_by_their_names_beside_ordinary_tests(
    project: Project, harness: Harness
) -> None:
    project = project.with_specs(
        spec_a=TWO + "\ndef test_helper():\n    assert blobs()", test_b="def test_b(): ..."
    )
    assert project.ids() == [
        "spec_a.py::dense", "spec_a.py::deep", "spec_a.py::test_helper", "test_b.py::test_b",
    ]  # fmt: skip
    project.run(code=1).assert_outcomes(passed=3, failed=1)
    assert harness.ran == ["spec_a.py::dense", "spec_a.py::deep"]


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["-k", "dense"], ["dense"]),
        (["-k", "not dense"], ["deep"]),
        (["-m", "slow"], ["deep"]),
        (["-m", "not slow"], ["dense"]),
        (["spec_a.py::deep"], ["deep"]),
        (["spec_a.py::dense", "spec_a.py::deep"], ["dense", "deep"]),
        (["--deselect", "spec_a.py::dense"], ["deep"]),
    ],
)
def test_a_spec_is_selected_as_any_test(
    project: Project, harness: Harness, arguments: list[str], ran: list[str]
) -> None:
    project = project.with_ini("[pytest]\nmarkers = slow")
    project = project.with_specs(spec_a=TWO.replace("@red", "@pytest.mark.slow\n@red"))
    project.example.run_pytest(*arguments)
    assert harness.ran == [f"spec_a.py::{name}" for name in ran]


@pytest.mark.parametrize(
    "internal",
    ["__test__", "protocol", "modeltune", "listen", "options", "SpecItem", "Protocol", "hp"],
)
def test_k_does_not_match_what_the_author_did_not_write(project: Project, internal: str) -> None:
    project = project.with_specs(spec_a=TWO)
    project.run("-k", internal, code=5)


def test_x_stops_at_the_first_red_spec(project: Project, harness: Harness) -> None:
    project = project.with_specs(spec_a="@red\ndef first(hp): ...\n@rules\ndef second(hp): ...")
    project.run("-x", code=1)
    assert harness.ran == ["spec_a.py::first"]


def test_lf_runs_only_the_failed_spec_again(project: Project, harness: Harness) -> None:
    project = project.with_specs(spec_a=TWO)
    project.run(code=1)
    harness.specs.clear()
    project.run("--lf", code=1)
    assert harness.ran == ["spec_a.py::deep"]


@pytest.mark.parametrize("place", ["above", "below"])
@pytest.mark.parametrize(
    ("mark", "outcome"),
    [
        ("skip", {"skipped": 1}),
        ("skipif(True, reason='no GPU')", {"skipped": 1}),
        ("xfail", {"xfailed": 1}),
        ("xfail(raises=AssertionError, strict=True)", {"xfailed": 1}),
        ("xfail(raises=ValueError)", {"failed": 1}),
        ("usefixtures('broken')", {"errors": 1}),
        ("parametrize('search', [mt.GridSearch(mt.minimize('loss'))])", {"failed": 1}),
    ],
)
def test_marks_above_and_below_the_decorator(
    project: Project, place: str, mark: str, outcome: dict[str, int]
) -> None:
    fixture = "@pytest.fixture\ndef broken():\n    raise OSError('no such disk')\n"
    lines = [f"@pytest.mark.{mark}", "@red"]
    lines = lines if place == "above" else lines[::-1]
    project = project.with_specs(spec_a=fixture + "\n".join([*lines, "def deep(hp): ..."]))
    project.example.run_pytest().assert_outcomes(**outcome)


def test_an_unexpected_pass_is_told(project: Project) -> None:
    project = project.with_specs(
        spec_a="@pytest.mark.xfail(strict=True)\n@rules\ndef dense(hp): ..."
    )
    project.run(code=1).stdout.fnmatch_lines(["*XPASS(strict)*"])


def test_marks_of_the_module_and_of_a_hypermodel_class(project: Project, harness: Harness) -> None:
    project = project.with_ini("[pytest]\nmarkers =\n  slow\n  gpu")
    project = project.with_specs(
        spec_a="""
        pytestmark = pytest.mark.slow

        @rules
        class Deep:
            pytestmark = [pytest.mark.gpu]
            def build(self, hp): ...
        """
    )
    (item,) = project.items("-m", "slow and gpu")
    assert [mark.name for mark in item.iter_markers()] == ["gpu", "slow"]
    project.run("-m", "not gpu", code=5)


SEARCHES = """
@pytest.mark.parametrize("search", [
    mt.Hyperband(mt.maximize("auc"), max_epochs=3),
    mt.RandomSearch(mt.maximize("auc")),
    mt.BayesianOptimization(mt.maximize("auc")),
    mt.GridSearch(mt.maximize("auc")),
])
"""


@pytest.mark.parametrize(
    ("mark", "ids"),
    [
        (SEARCHES, ["hyperband", "random", "bayesian", "grid"]),
        (
            "@pytest.mark.parametrize('fit', [mt.Fit(), mt.Fit(epochs=2, batch_size=8)])",
            ["fit", "epochs=2-batch_size=8"],
        ),
        ("@pytest.mark.parametrize('validation', [mt.Holdout(), mt.KFold(k=3)])", ["holdout", "kfold"]),
        (
            "@pytest.mark.parametrize('search', [\n"
            "    mt.RandomSearch(mt.maximize('a')), mt.GridSearch(mt.maximize('a')),\n"
            "    mt.RandomSearch(mt.maximize('a'), max_trials=8, seed=3)])",
            ["random", "grid", "random-seed=3-max_trials=8"],
        ),
        ("@pytest.mark.parametrize('data', [blobs, mt.Data(train=([[0]], [0]))])", ["blobs", "data1"]),
        (
            "@pytest.mark.parametrize('gates', [[], [mt.metric('accuracy') >= 0.1]])",
            ["gates0", "gates1"],
        ),
        (
            "@pytest.mark.parametrize('fit, search', [\n"
            "    (mt.Fit(), mt.GridSearch(mt.minimize('loss'))),\n"
            "    pytest.param(mt.Fit(), mt.RandomSearch(mt.minimize('loss')), id='mine'),\n])",
            ["fit-grid", "mine"],
        ),
        (
            "@pytest.mark.parametrize('fit', [mt.Fit()])\n"
            "@pytest.mark.parametrize('validation', [mt.Holdout(), mt.KFold()])",
            ["holdout-fit", "kfold-fit"],
        ),
        ("@pytest.mark.parametrize('fit', [mt.Fit(), mt.Fit(epochs=2)], ids=['a', 'b'])", ["a", "b"]),
    ],
)  # fmt: skip
def test_parametrize_over_fields_names_items_by_their_declarations(
    project: Project, harness: Harness, mark: str, ids: list[str]
) -> None:
    project = project.with_specs(spec_a=f"{mark.strip()}\n@rules\ndef dense(hp): ...")
    named = [f"spec_a.py::dense[{name}]" for name in ids]
    assert project.ids() == named
    project.run()
    assert harness.ran == named
    harness.specs.clear()
    project.run(named[-1])
    assert harness.ran == named[-1:]


def test_parametrize_varies_the_field_and_nothing_else(project: Project, harness: Harness) -> None:
    project = project.with_specs(spec_a=f"{SEARCHES}@red\ndef dense(hp): ...")
    project.run(code=1)
    assert [type(spec.search).__name__ for spec in harness.specs] == [
        "Hyperband", "RandomSearch", "BayesianOptimization", "GridSearch",
    ]  # fmt: skip
    assert len({spec.gates for spec in harness.specs}) == 1


def test_parametrize_marks_of_the_module_count(project: Project) -> None:
    project = project.with_specs(
        spec_a=f"pytestmark = {SEARCHES.strip()[1:]}\n@rules\ndef dense(hp): ..."
    )
    assert len(project.ids()) == 4


def test_other_values_keep_pytest_s_ids() -> None:
    assert [parameter_id(value) for value in (1, "a", None, [], object())] == [None] * 5


def test_data_asks_for_fixtures_by_name(project: Project, harness: Harness) -> None:
    project = project.with_conftest(
        "import pytest\n"
        "@pytest.fixture(params=['small', 'large'])\ndef size(request):\n    return request.param\n"
        "@pytest.fixture(autouse=True)\ndef everywhere():\n    yield\n    print('torn down')\n"
    )
    project = project.with_specs(
        spec_a="""
        def sized(size, tmp_path, *, part=3): ...

        @mt.spec(data=sized, search=mt.GridSearch(mt.minimize("loss")))
        def dense(hp): ...
        """
    )
    project.run("-s").stdout.fnmatch_lines(["*torn down*"])
    assert harness.ran == ["spec_a.py::dense[small]", "spec_a.py::dense[large]"]
    assert [sorted(fixtures) for fixtures in harness.fixtures] == [["size", "tmp_path"]] * 2
    assert [fixtures["size"] for fixtures in harness.fixtures] == ["small", "large"]


def test_parametrized_data_functions_each_get_their_own_fixtures(
    project: Project, harness: Harness
) -> None:
    project = project.with_specs(
        spec_a="""
        def here(tmp_path): ...
        def there(request, monkeypatch): ...

        @pytest.mark.parametrize("data", [here, pytest.param(there), blobs])
        @rules
        def dense(hp): ...
        """
    )
    project.run()
    assert [sorted(f) for f in harness.fixtures] == [["tmp_path"], ["monkeypatch", "request"], []]


def test_a_fixture_named_like_a_field_is_not_that_field(project: Project, harness: Harness) -> None:
    project = project.with_conftest(
        "import pytest\n@pytest.fixture(params=[1, 2])\ndef data(request):\n    return request.param"
    )
    project = project.with_specs(
        spec_a="""
        def doubled(data): ...

        @mt.spec(data=doubled, search=mt.GridSearch(mt.minimize("loss")))
        def dense(hp): ...
        """
    )
    project.run()
    assert harness.fixtures == [{"data": 1}, {"data": 2}]
    assert {getattr(spec.data, "__name__", None) for spec in harness.specs} == {"doubled"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [("broken", "*OSError: no such disk*"), ("absent", "*'absent' not found*")],
)
def test_a_fixture_that_fails_is_a_setup_error(
    project: Project, harness: Harness, argument: str, message: str
) -> None:
    project = project.with_specs(
        spec_a=f"""
        @pytest.fixture
        def broken():
            raise OSError("no such disk")

        def read({argument}): ...

        @mt.spec(data=read, search=mt.GridSearch(mt.minimize("loss")))
        def dense(hp): ...
        """
    )
    done = project.run(code=1)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*ERROR at setup of dense*", message])
    assert not harness.ran


def test_obj_is_a_function_at_the_place_of_the_build_function(project: Project) -> None:
    project = project.with_specs(spec_a=TWO)
    first, second = project.items()
    assert isinstance(first, pytest.Function)
    assert inspect.getsource(first.obj) == '@rules\ndef dense(hp):\n    "One layer."\n'
    assert inspect.getsource(second.obj) == "@red\ndef deep(hp): ...\n"
    assert inspect.getsourcefile(first.obj) == str(first.path)
    assert (first.obj.__name__, first.obj.__doc__) == ("dense", "One layer.")
    assert first.obj.__module__ == first.module.__name__ == "spec_a"
    line = first.path.read_text().splitlines().index("def dense(hp):")
    assert first.location == ("spec_a.py", line - 1, "dense")
    assert first.fixturenames == []
    assert first.function is first.obj


def test_the_module_still_holds_the_spec(project: Project, harness: Harness) -> None:
    project = project.with_specs(
        spec_a=TWO + "\ndef test_it():\n    assert dense.search.max_trials == 1"
    )
    project.run("-k", "test_it")


def test_conftest_hooks_see_specs_as_items(project: Project, harness: Harness) -> None:
    project = project.with_conftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            items.reverse()

        def pytest_runtest_setup(item):
            item.user_properties.append(("owner", item.obj.__name__))

        def pytest_itemcollected(item):
            if item.name == "dense":
                item.add_marker(pytest.mark.xfail)
        """
    )
    project = project.with_specs(spec_a=TWO)
    done = project.run("--junitxml=junit.xml", code=1)
    done.assert_outcomes(xpassed=1, failed=1)
    assert harness.ran == ["spec_a.py::deep", "spec_a.py::dense"]
    assert '<property name="owner" value="deep"' in (project.example.path / "junit.xml").read_text()


@pytest.mark.parametrize(
    "option", ["--fixtures-per-test", "--setup-plan", "--setup-only", "--fixtures"]
)
def test_options_that_inspect_items_do_not_run_specs(
    project: Project, harness: Harness, option: str
) -> None:
    project = project.with_specs(spec_a=TWO)
    project.run(option)
    assert not harness.ran


def test_a_spec_imported_elsewhere_is_collected_once(project: Project) -> None:
    project = project.with_specs(spec_a=TWO, spec_b="from spec_a import dense, deep as other\n")
    assert project.ids() == ["spec_a.py::dense", "spec_a.py::deep"]
    project.run("spec_b.py", code=5)


def test_a_spec_of_a_module_that_is_no_spec_file_is_collected_where_it_is_first_met(
    project: Project,
) -> None:
    project = project.with_specs(
        models=RULES + TWO,
        spec_a="from models import dense",
        spec_b="from models import dense, deep",
    )
    assert project.ids() == ["spec_a.py::dense", "spec_b.py::deep"]
    (item,) = project.items("spec_a.py")
    assert inspect.getsource(item.obj).startswith("@rules\ndef dense(hp):")


def test_specs_made_by_a_function_have_the_names_they_are_bound_to(
    project: Project, harness: Harness
) -> None:
    make = "\ndef make(units):\n    @rules\n    def dense(hp): ...\n    return dense\n"
    project = project.with_specs(
        spec_a=make.strip() + "\nsmall, large = make(1), make(9)", helpers=RULES + make
    )
    project = project.with_specs(spec_b="from helpers import make\nsmall, large = make(1), make(9)")
    project.run()
    assert harness.ran == [
        "spec_a.py::small", "spec_a.py::large", "helpers.py::small", "helpers.py::large",
    ]  # fmt: skip


def test_two_specs_of_one_name_are_refused_with_both_lines(project: Project) -> None:
    project = project.with_specs(spec_a="@rules\ndef dense(hp): ...\n\n@red\ndef dense(hp): ...")
    lines = (project.example.write() / "spec_a.py").read_text().splitlines()
    first, second = lines.index("@rules") + 1, lines.index("@red") + 1
    project.run(code=2).stdout.fnmatch_lines(
        [f"*spec_a.py: two specs are named dense, in lines {first} and {second}; * rename one"]
    )


def test_one_build_function_under_two_rules_is_fine(project: Project) -> None:
    project = project.with_specs(spec_a="@rules\ndef dense(hp): ...\n\nstrict = red(dense.model)")
    assert project.ids() == ["spec_a.py::dense", "spec_a.py::strict"]


def test_one_name_in_two_files_is_fine(project: Project) -> None:
    project = project.with_specs(
        spec_a=TWO, spec_b="from spec_a import rules\n@rules\ndef dense(hp): ..."
    )
    assert project.ids() == ["spec_a.py::dense", "spec_a.py::deep", "spec_b.py::dense"]


def test_a_spec_inside_a_class_is_refused(project: Project) -> None:
    project = project.with_specs(spec_a="\nclass TestAll:\n    @rules\n    def dense(hp): ...")
    project.run(code=2).stdout.fnmatch_lines(
        ["*spec_a.py:*: dense is declared inside TestAll;*move it out of the class"]
    )


def test_what_a_decorator_above_a_spec_keeps_on_it_is_found_on_its_function(
    project: Project, harness: Harness
) -> None:
    titled = """
def titled(function):  # as Allure does it
    function.__allure_display_name__ = "a title"
    return function

@titled
@rules
def dense(hp): ...
"""
    reader = "def pytest_runtest_setup(item): print(item.obj.__allure_display_name__)"
    done = project.with_specs(spec_a=titled).with_conftest(reader).run("-s")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*a title*"])


def test_a_decorator_that_makes_a_plain_function_of_a_spec_is_refused(project: Project) -> None:
    frozen = """
import functools

def frozen(function):  # as freezegun does it
    @functools.wraps(function)
    def wrapper(*args): ...
    return wrapper

@frozen
@rules
def dense(hp): ...

@rules
@frozen
def cnn(hp): ...
"""
    done = project.with_specs(spec_a=frozen).run("--collect-only", code=2)
    done.stdout.fnmatch_lines(["*spec_a.py:*: dense: a decorator above mt.spec has made a plain *"])
    assert "cnn: a decorator" not in done.output


def test_modeltune_files_says_which_files_hold_specs(project: Project) -> None:
    project = project.with_ini("[pytest]\nmodeltune_files = models_*.py tuned/*.py")
    project = project.with_specs(spec_a=TWO, models_b=RULES + TWO)
    project = project.with_files(**{"tuned/c.py": RULES + TWO})
    assert {item.partition("::")[0] for item in project.ids()} == {"models_b.py", "tuned/c.py"}


@pytest.mark.usefixtures("keras_is_loaded")  # this file is imported as any other
def test_a_spec_file_given_by_name_is_collected_whatever_its_name(project: Project) -> None:
    project = project.with_specs(models=RULES + TWO)
    assert project.ids("models.py") == ["models.py::dense", "models.py::deep"]
    project.run(code=5)


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_relative_imports_work_in_every_import_mode(project: Project, mode: str) -> None:
    spec = "from .rules import rules\n@rules\ndef dense(hp): ..."
    files = {"models/__init__.py": "", "models/spec_a.py": spec, "models/rules.py": RULES}
    project = project.with_files(**files)
    assert project.ids(f"--import-mode={mode}") == ["models/spec_a.py::dense"]


def test_a_broken_parametrized_field_is_named(project: Project) -> None:
    project = project.with_specs(
        spec_a="@pytest.mark.parametrize('search', ['random'])\n@rules\ndef dense(hp): ..."
    )
    project.run(code=2).stdout.fnmatch_lines(
        ["*spec_a.py:*: dense?random? has 1 problem:", '  search: "random": write mt.RandomSearch*']
    )


def test_p_no_modeltune_leaves_spec_files_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS")
    project = project.with_specs(spec_a=TWO)
    project.run("-p", "no:modeltune", code=5)


def test_the_summary_has_all_specs_best_first(project: Project, harness: Harness) -> None:
    harness.accuracy = {"dense": 0.5, "deep": 0.7, "wide": 0.6}
    project = project.with_specs(spec_a=TWO, spec_b="@rules\ndef wide(hp): ...")
    done = project.run(code=1)
    rows = [line.split()[:3] for line in done.lines if re.match(r"spec_\w.py::\w+ +\w+ +0", line)]
    assert rows == [
        ["spec_a.py::deep", "failed", "0.7"],
        ["spec_b.py::wide", "passed", "0.6"],
        ["spec_a.py::dense", "passed", "0.5"],
    ]
    project.run("-q", code=1).stdout.no_fnmatch_line("*= modeltune*")


def test_options_reach_the_harness(project: Project, harness: Harness) -> None:
    project = project.with_specs(spec_a="@rules\ndef dense(hp): ...")
    project.run()
    project.run(
        "--modeltune-strict", "--modeltune-keep-trials", "--modeltune-store=sqlite:///a.db",
        "--modeltune-reuse", "--modeltune-rejudge", "--modeltune-run=0a1b", "--modeltune-accept",
        "--modeltune-reason=first",
    )  # fmt: skip
    project.run("--modeltune-rejudge", "--modeltune-accept-new", "--modeltune-run=")
    default = {
        "store": sqlite_url(project.example.path / ".modeltune" / "history.db"),
        "strict": False,
        "keep_trials": False,
        "workers": 0,
        "reuse": False,
        "rejudge": False,
        "accept": None,
        "family": None,
    }
    assert [without_deadline(options) for options in harness.options] == [
        default,
        {
            "store": sqlite_url(project.example.path / "a.db"),
            "strict": True,
            "keep_trials": True,
            "workers": 0,
            "reuse": True,
            "rejudge": "0a1b",
            "accept": Acceptance("first"),
            "family": None,
        },
        default
        | {"rejudge": True, "accept": Acceptance("passed under --modeltune-accept-new", True)},
    ]


def without_deadline(options: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if name != "deadline"}


@pytest.mark.parametrize(
    ("settings", "arguments", "workers"),
    [
        ("", [], "auto"),
        ("", ["--modeltune-workers=3"], 3),
        ("workers = 2", [], 2),
        ("workers = 2", ["--modeltune-workers=auto"], "auto"),
        ("workers = 2", ["--modeltune-workers=0"], 0),
        ("workers = 2", ["--pdb"], 0),
    ],
)
def test_processes_are_warmed_up_while_specs_are_collected_when_they_will_run(
    project: Project,
    harness: Harness,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    arguments: list[str],
    workers: int | str,
) -> None:
    warmed: list[int] = []
    monkeypatch.setattr(modeltune.harness, "warm_up", lambda: warmed.append(len(harness.options)))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    project = project.with_files(
        **{"pyproject.toml": f"[tool.modeltune]\n{settings}\n[tool.pytest]\n"}
    )
    project = project.with_specs(spec_a=TWO.replace("@red", "@rules"))
    project.run("--collect-only", *arguments)
    assert not warmed
    project.run(*arguments)
    assert [options["workers"] for options in harness.options] == [workers] * 2
    assert {*warmed} == ({0} if workers else set())
    warmed.clear()
    project.run("--modeltune-rejudge", *arguments)
    assert not warmed


@pytest.mark.parametrize("arguments", [["--modeltune-budget=1h30m"], []])
def test_a_budget_is_shared_evenly_by_the_specs_that_are_left(
    project: Project, harness: Harness, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1000.0)
    project = project.with_specs(
        spec_a=TWO.replace("@red", "@rules"), spec_b="@rules\ndef wide(hp): ..."
    )
    project.run("-k", "not deep", *arguments)
    ends = [options["deadline"] for options in harness.options]
    if arguments:
        # Two of three specs run, and neither takes any time here.
        assert ends == [Deadline(1000 + 5400 / 2, "1h30m"), Deadline(1000 + 5400, "1h30m")]
    else:
        assert ends == [Deadline(), Deadline()]


def test_a_budget_in_settings_is_shared_by_the_specs_of_its_project(
    project: Project, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1000.0)
    two = RULES + inspect.cleandoc(TWO.replace("@red", "@rules"))
    one = RULES + "@rules\ndef wide(hp): ..."
    files = {
        "hour/pyproject.toml": '[tool.modeltune]\nbudget = "1h"\n',
        "hour/spec_a.py": two,
        "half/pyproject.toml": '[tool.modeltune]\nbudget = "30m"\n',
        "half/spec_b.py": one,
        "none/pyproject.toml": "",
        "none/spec_c.py": one,
    }
    example = project.example.with_files(files)
    assert example.run_pytest("none", "hour", "half").exit_code == 0
    ends = [options["deadline"] for options in harness.options]
    hour = [Deadline(1000 + 1800, "1h"), Deadline(1000 + 3600, "1h")]
    assert ends == [Deadline(), *hour, Deadline(1000 + 1800, "30m")]
    harness.options.clear()
    assert example.run_pytest("none", "hour", "half", "--modeltune-budget=40m").exit_code == 0
    ends = [options["deadline"] for options in harness.options]
    assert ends == [Deadline(1000 + 2400 / left, "40m") for left in (4, 3, 2, 1)]


def test_an_error_inside_modeltune_shows_one_line_and_how_to_see_more(
    project: Project, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    exec(compile("def run(*_, **__): [][1]", str(PACKAGE / "harness.py"), "exec"), names)
    monkeypatch.setattr(modeltune.harness, "run", names["run"])
    project = project.with_specs(spec_a="@rules\ndef dense(hp): ...")
    done = project.run(code=1)
    done.stdout.fnmatch_lines(
        [
            "IndexError: list index out of range",
            "Raised inside modeltune: --full-trace shows where.",
        ]
    )
    done.stdout.no_fnmatch_line("*.py:[0-9]*")
    project.run("--full-trace", code=1).stdout.fnmatch_lines(["*harness.py:1: IndexError"])


def test_a_file_that_is_no_spec_file_is_not_imported_because_a_run_names_it(
    pytester: pytest.Pytester,
) -> None:
    script = pytester.makepyfile(script="raise SystemExit('imported')")
    result = pytester.runpytest("--modeltune-rejudge", "--modeltune-run=x", f"{script}::mlp")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*script.py: the run names this file, which is no spec file*"])
