"""A search's identity changes with the code behind it, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modeltune.sources import identity
from modeltune.specs import Spec

SPEC = """
import json
import modeltune as mt
import mine_elsewhere
from mine_beside import layer

@mt.spec(data=lambda: None, search=mt.RandomSearch(mt.maximize("a")), gates=[])
def model(hp): return layer(hp)
"""


@dataclass
class Project:
    folder: Path

    def identity(self) -> dict[str, str]:
        names = ("spec_mine", "mine_beside", "mine_elsewhere")
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        spec: Spec = importlib.import_module("spec_mine").model
        return identity(spec)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    specs, elsewhere = tmp_path / "specs", tmp_path / "src"
    for folder in (specs, elsewhere, specs / ".venv"):
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
    (specs / "spec_mine.py").write_text(SPEC)
    (specs / "mine_beside.py").write_text("def layer(hp): ...")
    (elsewhere / "mine_elsewhere.py").write_text("depth = 1")
    yield Project(tmp_path)
    for name in ("spec_mine", "mine_beside", "mine_elsewhere"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "file", ["specs/spec_mine.py", "specs/mine_beside.py", "src/mine_elsewhere.py"]
)
def test_changed_code_is_another_search(project: Project, file: str) -> None:
    before = project.identity()
    path = project.folder / file
    path.write_text(path.read_text() + "\n# changed")
    after = project.identity()
    assert {name for name in before if before[name] != after[name]} == {"code"}


@pytest.mark.parametrize("file", ["specs/notes.txt", "specs/.venv/lib.py"])
def test_other_files_are_not(project: Project, file: str) -> None:
    before = project.identity()
    (project.folder / file).write_text("1")
    assert project.identity() == before


def test_search_and_fit_are_told_apart(project: Project) -> None:
    before = project.identity()
    path = project.folder / "specs/spec_mine.py"
    path.write_text(path.read_text().replace('"a")', '"a"), seed=1'))
    after = project.identity()
    assert {name for name in before if before[name] != after[name]} == {"code", "search"}
