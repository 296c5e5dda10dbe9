"""Text from outside is any bytes: names, folders, variables and reasons in another encoding hinder nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.histories.baselines import path_of, read_baseline
from modeltune.histories.store import open_store
from tests.support.example import Example, Session, scripted_source

LATIN = os.fsdecode("Jürgen".encode("latin-1"))
"""As Python holds bytes that are no UTF-8."""


@pytest.fixture
def repository(scripted: Example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Example:
    """Return a project in git, whose user and whose changed file have names in Latin-1."""
    monkeypatch.setenv("HOME", str(tmp_path))
    project = scripted.with_spec(scripted_source())
    project.write()
    (project.path / LATIN).write_text("1")
    for arguments in (["init", "-q"], ["config", "core.quotepath", "false"], ["add", LATIN]):
        subprocess.run(["git", "-C", str(project.path), *arguments], check=True)
    with (project.path / ".git" / "config").open("ab") as config:
        config.write("[user]\n\tname = Jürgen\n\temail = j@x\n".encode("latin-1"))
    return project


def test_a_user_s_name_in_another_encoding_is_who_accepted(repository: Example) -> None:
    done = repository.run_pytest("--modeltune-accept", f"--modeltune-reason=for {LATIN}")
    assert done.exit_code == 0
    baseline = read_baseline(path_of(repository.path / "spec_a.py", "spec_a.py::scripted"))
    assert baseline.by == "Jürgen <j@x>"
    assert baseline.why == f"for {LATIN}"


def test_a_login_name_in_another_encoding_is_who_accepted(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", LATIN)
    project = scripted.with_spec(scripted_source())
    assert project.run_pytest("--modeltune-accept").exit_code == 0
    assert read_baseline(path_of(project.path / "spec_a.py", "spec_a.py::scripted")).by == LATIN


def test_a_folder_in_another_encoding_is_a_folder_like_any_other(
    scripted: Example,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = tmp_path / f"summary-{LATIN}.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(scripted.path))
    monkeypatch.setenv("MODELTUNE_STORE", f"sqlite:///{tmp_path}/{LATIN}/history.db")
    monkeypatch.setenv("MODELTUNE_REPORT", str(tmp_path / LATIN / "report"))
    files = {f"{LATIN}/spec_a.py": scripted_source().replace(">= 0.5", ">= 0.9")}
    files[f"{LATIN}/pyproject.toml"] = ""
    project = scripted.with_files(files)
    project.write()
    monkeypatch.chdir(project.path / LATIN)
    done: Session = project.run_pytest("--junitxml=junit.xml", ".")
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    assert "no report" not in done.output
    assert "nothing added" not in done.output
    with open_store(os.environ["MODELTUNE_STORE"], create=False) as store:
        (run,) = store.runs()
    assert run.file == str(project.path / LATIN / "spec_a.py")
    report = json.loads((tmp_path / LATIN / "report" / "report.json").read_text("utf-8"))
    assert report["runs"][0]["id"] == run.id
    assert run.id in summary.read_text("utf-8")
    capsys.readouterr()
    for command in (["history"], ["show", "-1"], ["report"], ["doctor"], ["gc"]):
        assert main(command) == 0, capsys.readouterr()


def test_a_spec_file_may_declare_its_encoding(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    text = f"# -*- coding: latin-1 -*-\nNAME = 'Jürgen'\n{scripted_source()}"
    source = text.replace(">= 0.5", ">= 0.9").encode("latin-1")
    (scripted.write() / "spec_a.py").write_bytes(source)
    done = scripted.run_pytest()
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    line = 1 + source[: source.index(b"mt.metric")].count(b"\n")
    done.stdout.fnmatch_lines([f"::error file=spec_a.py,line={line},*"])
