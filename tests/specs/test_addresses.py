"""A spec's address is the path of its file from the root of its project, and its item."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeltune.specs.addresses import address_by_name, path_in_project, root_of_file, split_address


@pytest.mark.parametrize(
    ("address", "path", "item"),
    [
        ("spec_a.py::net", "spec_a.py", "net"),
        ("full/spec_a.py::net[grid]", "full/spec_a.py", "net[grid]"),
        ("full/spec_a.py::net[a::b]", "full/spec_a.py", "net[a::b]"),
        ("full/spec_a.py::net[a/b]", "full/spec_a.py", "net[a/b]"),
        ("odd::folder/spec_a.py::net", "odd::folder/spec_a.py", "net"),
        ("no address", "no address", ""),
    ],
)
def test_an_address_is_a_path_and_an_item(address: str, path: str, item: str) -> None:
    assert split_address(address) == (path, item)


def test_an_address_by_name_has_no_folder() -> None:
    assert address_by_name("a/full/spec_a.py::net[x/y]") == "spec_a.py::net[x/y]"
    assert address_by_name("spec_a.py::net") == "spec_a.py::net"
    assert address_by_name("a/b") == "a/b"


def made(folder: Path, *names: str) -> str:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name == ".git" else path.touch()
    return str(folder / "one" / "specs" / "spec_a.py")


@pytest.mark.parametrize(
    ("there", "path"),
    [
        (["pyproject.toml"], "one/specs/spec_a.py"),
        (["one/pyproject.toml"], "specs/spec_a.py"),
        # A package of a repository with several: the whole is the project.
        (["pyproject.toml", "one/pyproject.toml", "two/pyproject.toml"], "one/specs/spec_a.py"),
        (["one/.git", "one/pyproject.toml", "pyproject.toml"], "specs/spec_a.py"),
        ([".git", "one/pyproject.toml"], "specs/spec_a.py"),
        ([".git"], "one/specs/spec_a.py"),
    ],
    ids=["project", "package", "packages", "a repository in a project", "one package", "git"],
)
def test_the_root_is_the_outermost_project_in_the_repository(
    tmp_path: Path, there: list[str], path: str
) -> None:
    file = made(tmp_path, *there)
    assert path_in_project(file, root_of_file(file, tmp_path / "one" / "specs")) == path


def test_without_a_project_the_root_is_pytests_or_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "full" / "spec_a.py")
    monkeypatch.chdir(tmp_path)
    assert root_of_file(file, tmp_path / "full") == tmp_path / "full"
    assert root_of_file(file) == tmp_path
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert root_of_file(f"{file}2") == tmp_path / "full"
