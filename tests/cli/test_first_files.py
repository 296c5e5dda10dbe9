"""``modeltune init`` writes the first files of a project, and none over another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.cli.first_files import first_files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("arguments", "ci_file"),
    [
        ([], ".github/workflows/models.yml"),
        (["--ci", "github"], ".github/workflows/models.yml"),
        (["--ci", "gitlab"], ".gitlab-ci.yml"),
    ],
)
def test_a_spec_its_data_and_a_ci_file_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], ci_file: str
) -> None:
    assert main(["init", *arguments]) == 0
    paths = [f"model_specs/{name}.py" for name in ("__init__", "datasets", "spec_first")]
    listed = [f"written: {path}" for path in (*paths, ci_file)]
    assert capsys.readouterr().out.splitlines() == [*listed, "next: pytest model_specs/"]
    assert sorted(files_in(folder)) == sorted([*paths, ci_file])


def test_nothing_is_overwritten_and_what_exists_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in first_files("github"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("mine")
    before = files_in(folder)
    assert main(["init"]) == 0
    assert files_in(folder) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [f"exists, left as it is: {path}" for path in first_files("github")]


def test_a_spec_is_not_written_beside_data_of_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model_specs").mkdir()
    (folder / "model_specs/datasets.py").write_text("mine")
    assert main(["init"]) == 0
    assert not (folder / "model_specs/spec_first.py").exists()
    expected = (
        "not written: model_specs/spec_first.py, which belongs to another model_specs/datasets.py"
    )
    assert expected in capsys.readouterr().out.splitlines()


def test_a_link_to_nowhere_is_not_written_through(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".gitlab-ci.yml").symlink_to(folder / "elsewhere.yml")
    assert main(["init", "--ci", "gitlab"]) == 0
    assert not (folder / "elsewhere.yml").exists()
    assert "exists, left as it is: .gitlab-ci.yml" in capsys.readouterr().out


def test_a_file_in_the_way_of_a_folder_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model_specs").write_text("a file")
    assert main(["init"]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("modeltune: model_specs/__init__.py cannot be written: ")
    assert err.count("\n") == 1


def test_a_ci_file_below_the_root_of_a_repository_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".git").mkdir()
    (folder / "vision").mkdir()
    monkeypatch.chdir(folder / "vision")
    assert main(["init"]) == 0
    said = f".github/workflows/models.yml is read at the root of the repository, {folder}"
    assert said in capsys.readouterr().out
