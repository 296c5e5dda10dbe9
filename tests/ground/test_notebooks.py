"""A notebook is called what the kernel was told, else by the saved cell that runs, else notebook."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeltune.ground.notebooks import is_cell, kernel, notebook_file


def shell(cell: str = "net = 1", **told: Any) -> Any:
    """Return a shell that runs this cell."""
    return SimpleNamespace(
        user_ns=dict(told),
        compile=SimpleNamespace(format_code_name=lambda name: None),
        history_manager=SimpleNamespace(input_hist_raw=["", cell]),
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, in which nobody has told a kernel anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return tmp_path


def in_shell(monkeypatch: pytest.MonkeyPatch, of: object) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: of))


def save(path: Path, *cells: str | Sequence[str]) -> None:
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": c} for c in cells]}))


@pytest.mark.parametrize(
    ("told", "session", "name"),
    [
        ({"__vsc_ipynb_file__": "/elsewhere/digits.ipynb"}, "other.ipynb", "digits.ipynb"),
        ({"__vsc_ipynb_file__": r"c:\Users\me\digits.ipynb"}, "", "digits.ipynb"),
        ({"__session__": "RTC:work/digits.ipynb"}, "", "digits.ipynb"),
        ({}, "work/digits.ipynb", "digits.ipynb"),
        # A console has no file, and whoever sets these may set anything.
        ({"__session__": "Console 1"}, "", "notebook"),
        ({"__session__": 3, "__vsc_ipynb_file__": None}, "", "notebook"),
        ({}, "", "notebook"),
    ],
)
def test_the_name_is_the_one_the_kernel_was_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], session: str, name: str
) -> None:
    in_shell(monkeypatch, shell(**told))
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert notebook_file() == here / name


def test_a_file_that_is_there_keeps_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "work").mkdir()
    save(here / "work" / "digits.ipynb")
    in_shell(monkeypatch, shell(__session__=str(here / "work" / "digits.ipynb")))
    assert notebook_file() == here / "work" / "digits.ipynb"


def test_nobody_told_the_kernel_but_one_notebook_here_holds_the_cell_that_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "broken.ipynb").write_text("{")
    (here / "strange.ipynb").write_text('{"cells": [3, {"source": 4}, {}]}')
    save(here / "a.ipynb", "x = 1")
    save(here / "digits.ipynb", "x = 1", ["net = 1\n", ""])
    first, second = shell("net = 1"), shell("x = 1")
    in_shell(monkeypatch, first)
    assert notebook_file() == here / "digits.ipynb"
    # A notebook does not change its name because the next cell is not saved yet.
    first.history_manager.input_hist_raw.append("y = 1")
    assert notebook_file() == here / "digits.ipynb"
    # Two hold this one.
    in_shell(monkeypatch, second)
    assert notebook_file() == here / "notebook"


def test_a_cell_is_told_from_a_file_that_runs_in_the_same_namespace(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = shell()
    assert not is_cell(typed.user_ns, "<stdin>")  # without IPython
    in_shell(monkeypatch, typed)
    (here / "script.py").touch()
    assert is_cell(typed.user_ns, "/tmp/ipykernel_1/3907846466.py")
    assert not is_cell(typed.user_ns, "script.py")
    assert not is_cell({}, "/tmp/ipykernel_1/3907846466.py")
    # A debugger has written the cell to the file it is called after.
    typed.compile.format_code_name = lambda name: ("Cell", "In[1]")
    assert is_cell(typed.user_ns, "script.py")
    # IPython in a terminal is no kernel.
    assert kernel() is None
    typed.kernel = object()
    assert kernel() is typed
