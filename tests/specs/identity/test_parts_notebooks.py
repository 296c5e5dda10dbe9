"""A spec of a notebook depends on what its functions reach in the kernel, whichever cells made it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from modeltune.specs.identity import changed_parts, search_identity

FIRST = """
import modeltune as mt
from sklearn.preprocessing import scale

RATE = 0.1

def helper(x):
    return scale(x) * RATE

def blobs():
    return mt.Data(train=helper)
"""

SPEC = """
class Net:
    '''How it is built.'''

    def build(self, hp):
        '''Build it.'''
        return helper(hp)

net = mt.spec(data=blobs, gates=[mt.metric("loss") <= 1])(Net())
"""


class Notebook:
    """Cells that run one after the other in the namespace of a shell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._cells = 0
        shell = SimpleNamespace(
            user_ns=self.namespace, compile=SimpleNamespace(format_code_name=lambda name: None)
        )
        ipython = ModuleType("IPython")
        vars(ipython)["get_ipython"] = lambda: shell
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        main = ModuleType("__main__")
        main.__dict__.update(self.namespace)
        monkeypatch.setitem(sys.modules, "__main__", main)

    def run(self, cell: str) -> dict[str, str]:
        """Run a cell; return the identity of the spec there is then."""
        self._cells += 1
        # Never the same file: as the text of the cell, so its name.
        exec(compile(cell, f"/tmp/ipykernel_1/{self._cells}.py", "exec"), self.namespace)
        return search_identity(self.namespace["net"]) if "net" in self.namespace else {}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    started = Notebook(monkeypatch)
    started.run(FIRST)
    return started


def test_what_is_not_reached_changes_nothing(notebook: Notebook) -> None:
    before = notebook.run(SPEC)
    assert notebook.run("other = 3") == before
    assert notebook.run(f"# A comment.\n\n\n{SPEC}") == before
    assert notebook.run(SPEC.replace("How it", "That it").replace("<= 1", "<= 2")) == before
    assert notebook.run(FIRST) == before
    # The spec holds the data function it was declared with until it is declared again.
    assert notebook.run("def blobs():\n    return None") == before
    assert notebook.run(SPEC) != before


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        ("RATE = 0.2", ["what is held by the build function", "what is held by the data function"]),
        ("def helper(x):\n    return x", ["the build function", "the data function"]),
    ],
)
def test_what_is_reached_counts_whichever_cell_has_changed_it(
    notebook: Notebook, cell: str, changed: list[str]
) -> None:
    before = notebook.run(SPEC)
    assert {*changed} <= {*changed_parts(before, notebook.run(cell))}


def test_packages_that_are_reached_count_by_their_version(notebook: Notebook) -> None:
    assert "the version of scikit-learn" in notebook.run(SPEC)
