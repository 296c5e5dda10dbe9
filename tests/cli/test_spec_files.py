"""A row decides neither which file pytest imports nor where a baseline is written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.cli.spec_files import node_of, spec_file, spec_folder
from modeltune.ground.errors import HistoryError
from modeltune.histories.store import open_store
from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DIGITS

pytestmark = pytest.mark.filterwarnings("error")

NAME = "spec_digits.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project that we are in, beside the folder of a stranger."""
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    root = tmp_path / "project"
    for place in (root / "specs", root / ".modeltune", tmp_path / "stranger"):
        place.mkdir(parents=True)
        (place / NAME).write_text("raise SystemExit('imported')")
    (root / "pyproject.toml").write_text("")
    monkeypatch.chdir(root)
    return root


def at(file: object, spec: str = DIGITS.spec) -> Run:
    """Return a run of a spec in this file."""
    return replace(DIGITS, file=str(file), spec=spec)


@pytest.mark.parametrize("start", ["{root}", "/elsewhere/checkout", "", "checkout"])
def test_a_file_of_this_project_is_found_wherever_it_was_recorded(
    project: Path, start: str
) -> None:
    recorded = Path(start.format(root=project), "specs", NAME)
    run = at(recorded)
    assert spec_file(run, None) == project / "specs" / NAME
    assert spec_folder(run) == project / "specs"


def outside(root: Path) -> str:
    return str(root.parent / "stranger" / NAME)


def by_dots(root: Path) -> str:
    return str(root / "specs" / ".." / ".." / "stranger" / NAME)


def by_link(root: Path) -> str:
    (root / "linked").symlink_to(root.parent / "stranger")
    return str(root / "linked" / NAME)


def by_linked_file(root: Path) -> str:
    (root / "spec_linked.py").symlink_to(root.parent / "stranger" / NAME)
    return str(root / "spec_linked.py")


def restored(root: Path) -> str:
    return str(root / ".modeltune" / NAME)


def relative(root: Path) -> str:
    return f"../stranger/{NAME}"


@pytest.mark.parametrize("place", [outside, by_dots, by_link, by_linked_file, restored, relative])
def test_a_file_elsewhere_is_refused_with_its_path(
    project: Path, place: Callable[[Path], str]
) -> None:
    recorded = place(project)
    with pytest.raises(HistoryError, match=r"is not used: .*; name its folder: --specs DIR") as no:
        spec_file(at(recorded), None)
    assert recorded in str(no.value)
    # Nor are baselines looked for there.
    assert spec_folder(at(recorded)) in (None, project)


@pytest.mark.parametrize(
    "recorded", ["", ".", "/", "a\0b", "\ud800", "x" * 5000, "..", "/dev/null"]
)
def test_what_is_no_path_is_no_file(project: Path, recorded: str) -> None:
    for folder in (None, "specs"):
        with pytest.raises(HistoryError):
            spec_file(at(recorded), folder)


def test_in_a_folder_that_is_named_only_the_file_s_name_counts(project: Path) -> None:
    stranger = project.parent / "stranger"
    assert spec_file(at(f"/anywhere/{NAME}"), str(stranger)) == stranger / NAME
    # One that begins with a dash is a path all the same.
    (project / "-o.py").write_text("")
    assert spec_file(at("-o.py"), ".") == project / "-o.py"
    (project / "spec_link.py").symlink_to(stranger / NAME)
    with pytest.raises(HistoryError, match="is not used"):
        spec_file(at("spec_link.py"), ".")


def test_an_item_is_a_name_and_its_parameters(project: Path) -> None:
    file = project / "specs" / NAME
    for item in ("mlp", "mlp[a::b]", "mlp[1-2]", "größe"):
        assert node_of(at(file, f"{NAME}::{item}"), file) == f"{file}::{item}"
    for spec in (
        "",
        NAME,
        "--co",
        "a::-p evil",
        "a::../x",
        "a::b;c",
        "a::mlp[",
        "a::x y",
    ):
        with pytest.raises(HistoryError, match="names no spec"):
            node_of(at(file, spec), file)


@pytest.mark.parametrize("command", ["replay", "check", "accept"])
def test_no_command_uses_a_file_outside_for_a_row(
    project: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was started"))
    monkeypatch.setattr("modeltune.harness.kept_weights", lambda *_: None)
    green = tuple(replace(verdict, outcome=Outcome.PASSED) for verdict in DIGITS.verdicts)
    passed = replace(DIGITS, status=RunStatus.PASSED, verdicts=green, checks=(), files={})
    with open_store("sqlite:///.modeltune/history.db") as store:
        store.record(replace(passed, id="a", file=outside(project)))
    arguments = ["--reason", "mine"] if command == "accept" else []
    assert main([command, "a", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(
        rf"modeltune: {re.escape(outside(project))}, .* is not used: .*\n", output.err
    )
    assert not [*project.parent.rglob("baselines")]


def test_no_baseline_is_written_through_a_link_that_leads_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    green = tuple(replace(verdict, outcome=Outcome.PASSED) for verdict in DIGITS.verdicts)
    passed = replace(DIGITS, status=RunStatus.PASSED, verdicts=green, checks=(), files={})
    with open_store("sqlite:///.modeltune/history.db") as store:
        store.record(replace(passed, id="a", file=str(project / "specs" / NAME)))
    (project / "specs" / "baselines").symlink_to(project.parent / "stranger")
    assert main(["accept", "a", "--reason", "mine"]) == 1
    assert "leads out of the project" in capsys.readouterr().err
    assert [path.name for path in (project.parent / "stranger").iterdir()] == [NAME]


def test_a_run_of_a_notebook_is_judged_again_there_and_accepted_from_here(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = replace(DIGITS, status=RunStatus.PASSED, verdicts=(), checks=(), files={})
    with open_store("sqlite:///.modeltune/history.db") as store:
        # Nobody had told its name, so there is no such file.
        store.record(
            replace(passed, file=str(project / "specs" / "notebook"), spec="specs/notebook::net")
        )
    assert main(["check", "-1"]) == 1
    assert (
        "is in a notebook, which pytest cannot import: run the notebook, where mt.run(spec, "
        in (capsys.readouterr().err)
    )
    assert main(["accept", "-1", "--reason", "good"]) == 0
    assert (project / "specs" / "baselines" / "notebook.net.json").is_file()
