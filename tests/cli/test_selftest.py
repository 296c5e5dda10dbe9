"""The selftest sees every defect go red, and says so of one whose guard is disabled."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modeltune.cli import main, selftest
from modeltune.cli.selftest import PLANTS, SOUND, Guard, Plant, SessionEnd, caught_by
from modeltune.ground.errors import ModeltuneError
from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome, Verdict
from tests.support import forked

ROOT = Path(__file__).parents[2]

BY_NAME = {plant.name: plant for plant in PLANTS}

DISABLING = """
from dataclasses import replace
from unittest.mock import patch

from modeltune.engine import data_engine
from modeltune.engine.fit import trial
from modeltune.engine.score import refit
from modeltune.harness import cached_runs
from modeltune.histories import baselines, find_references
from modeltune.records import Outcome

def disable(module, name, instead=lambda *_: None):
    patch.object(module, name, instead).start()

def pass_check(name):
    check_data = data_engine.check_data
    disable(data_engine, "check_data", lambda *arguments: tuple(
        replace(verdict, outcome=Outcome.PASSED) if verdict.gate == name else verdict
        for verdict in check_data(*arguments)
    ))

class AnyDigest(str):
    __hash__ = str.__hash__

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

# This file changes what a spec imports, which must not keep the recorded run from being judged.
disable(cached_runs, "changed_parts", lambda *_: [])
"""
"""The conftest.py of each planted project, before its guard is disabled; a name that is gone ends it."""

MUTANTS = {
    "36 test rows are in train too": 'pass_check("checks.overlap")',
    "the loss is NaN": 'disable(trial, "not_finite"); disable(refit, "not_finite")',
    "train lacks a class that test has": 'pass_check("checks.labels")',
    "the search space changed, a stale run is judged": "",
    "the baseline was edited by hand": """
disable(baselines, "content_digest", lambda data: AnyDigest())
""",
    "the baseline was edited, its digest too": 'disable(baselines, "contradicting_metric")',
    "the recorded samples were edited": """
disable(find_references, "contents", lambda folder, file, run: (folder / file.path).read_bytes())
""",
}
"""By plant what makes its guard say yes to everything."""


def source_of(text: str, name: str) -> str:
    """Return a function of a module without its decorators, as Python reads it."""
    (function,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    function.decorator_list = []
    return ast.dump(function)


def test_every_defect_goes_red_for_its_own_reason(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {
        **os.environ,
        "TMPDIR": str(temporary),
        "MODELTUNE_STORE": "sqlite:///mine.db",
        "PYTEST_ADDOPTS": "--no-such-option",
    }
    status, printed = forked.Command(
        forked.modeltune, "selftest", folder=tmp_path, environ=environ
    ).end()
    assert status == 0, printed
    rows = printed.partition("\nplanted")[2].splitlines()
    for plant in (SOUND, *PLANTS):
        (row,) = (row for row in rows if row.startswith(f"{plant.name}  "))
        assert row.endswith("yes" if plant.guard else "no")
        assert plant.guard is None or plant.guard.name in row
        assert f"  {plant.name}: {'red' if plant.guard else 'green'} (" in printed
    assert printed.splitlines()[-1] == f"{len(PLANTS) + 1} sessions, all as they should be"
    assert [file.name for file in tmp_path.rglob("*")] == ["temporary"]


def without_guards() -> None:
    """Run the selftest on the plants whose guards can be disabled, each without its own."""
    selftest.PLANTS = tuple(
        replace(BY_NAME[name], files={"conftest.py": DISABLING + MUTANTS[name]}) for name in MUTANTS
    )
    forked.modeltune("selftest", "--keep", "kept")


def test_a_guard_that_is_disabled_is_named(tmp_path: Path) -> None:
    status, printed = forked.Command(without_guards, folder=tmp_path).end()
    assert status == 1
    assert "exit 4" not in printed  # no conftest.py failed
    assert f"not as it should be: {', '.join(MUTANTS)}\n" in printed
    for name in MUTANTS:
        assert f"  {name}: NOT red as it should be: " in printed
    assert "no defect, the first run: green (" in printed
    assert len(list((tmp_path / "kept").glob("*/output.txt"))) == len(MUTANTS) + 1


def test_the_spec_is_the_gallery_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = (ROOT / "model_specs/spec_digits.py").read_text("utf-8")
    data = (ROOT / "model_specs/datasets.py").read_text("utf-8")
    assert source_of(selftest.SPEC, "mlp") == source_of(gallery, "mlp")
    assert source_of(selftest.SPEC, "digits") == source_of(data, "digits")
    monkeypatch.syspath_prepend(ROOT)
    from model_specs.spec_digits import mlp

    names: dict[str, object] = {"__name__": "copy"}
    exec(compile(selftest.SPEC, selftest.SPEC_FILE, "exec"), names)
    copy = names["mlp"]
    assert isinstance(copy, type(mlp))
    assert copy.validation == mlp.validation
    assert copy.fit.batch_size == mlp.fit.batch_size
    assert copy.search.objective == mlp.search.objective
    assert {*map(repr, mlp.gates)} <= {*map(repr, copy.gates)}
    guards = {plant.guard.name for plant in PLANTS if plant.guard}
    named = {name for name in guards if name.startswith("mt.")}
    assert named <= {*map(repr, copy.gates)}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_every_edit_is_python_and_changes_the_spec(plant: Plant, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    selftest._lay_out(replace(plant, spoil=lambda project: None), tmp_path / "planted", sound)
    planted = (tmp_path / "planted" / selftest.SPEC_FILE).read_text("utf-8")
    ast.parse(planted)
    assert (planted != selftest.SPEC) is bool(plant.edits)


def test_an_edit_that_finds_nothing_to_replace_is_refused(tmp_path: Path) -> None:
    plant = replace(PLANTS[0], edits=[("not there", "")])
    with pytest.raises(ModeltuneError, match="does not hold 'not there' exactly once"):
        selftest._lay_out(plant, tmp_path, None)


def ended(exit_code: int | None, *verdicts: Verdict, error: str | None = None) -> SessionEnd:
    red = any(verdict.outcome.is_red() for verdict in verdicts)
    status = RunStatus.ERROR if error else RunStatus.FAILED if red else RunStatus.PASSED
    run = Run("1", "", "spec_a.py::m", "", status, "", verdicts=verdicts, error=error)
    return SessionEnd(exit_code, "collected 1 item\nno run was judged", run)


FAILED = Verdict("mt.metric('a') >= 1", Outcome.FAILED, 0.0, 1.0, "a is 1 below the bound")
BY_GATE = Plant("", Guard(FAILED.gate, "below the bound"))
REFUSED = Plant("", Guard("the search", "no trial", None))


@pytest.mark.parametrize(
    ("plant", "session", "caught"),
    [
        (BY_GATE, ended(1, FAILED), "failed: a is 1 below the bound"),
        (BY_GATE, ended(0, FAILED), None),
        (BY_GATE, ended(2, FAILED), None),
        (BY_GATE, ended(None, FAILED), None),
        (BY_GATE, ended(1), None),
        (BY_GATE, ended(1, replace(FAILED, gate="another")), None),
        (BY_GATE, ended(1, replace(FAILED, outcome=Outcome.ERROR)), None),
        (BY_GATE, ended(1, replace(FAILED, reason="not finite")), None),
        (BY_GATE, SessionEnd(1, "below the bound", None), None),
        (REFUSED, ended(1, error="no trial completed"), "refused: no trial completed"),
        (REFUSED, SessionEnd(1, "a line\nno trial", None), "refused: no trial"),
        (REFUSED, ended(1, FAILED), None),
        (SOUND, ended(0), "nothing: green"),
        (SOUND, ended(0, FAILED), None),
        (SOUND, ended(1), None),
        (replace(SOUND, accepted=True), ended(0), None),
        (SOUND, SessionEnd(0, "", None), None),
    ],
)
def test_red_counts_only_for_the_right_reason(
    plant: Plant, session: SessionEnd, caught: str | None
) -> None:
    assert caught_by(plant, session)[0] == caught


@pytest.mark.parametrize(
    ("session", "ending"),
    [
        (ended(0), "green"),
        (ended(None), "pytest did not end in 300 s, or was killed"),
        (ended(1, FAILED), f"exit 1, {FAILED.gate}: failed: a is 1 below the bound"),
        (SessionEnd(4, "\nERROR: no such file\n", None), "exit 4, ERROR: no such file"),
    ],
)
def test_a_miss_says_what_happened_instead(session: SessionEnd, ending: str) -> None:
    assert caught_by(BY_GATE, replace(session))[1] == ending


def test_a_folder_with_something_in_it_is_not_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()
    assert main(["selftest", "--keep", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"modeltune: {tmp_path} is not empty; name a new folder to keep the projects in\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_importing_the_command_loads_no_selftest() -> None:
    code = "import sys, modeltune.cli; sys.exit('modeltune.cli.selftest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
