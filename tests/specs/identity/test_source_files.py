"""What is found in a file for one of its specs is not looked for again for each of the others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from modeltune.specs.identity.parts import search_identity
from modeltune.specs.spec_type import Spec

HEAD = """
import modeltune as mt

on_nothing = mt.spec(
    data=lambda: None,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
    validation=mt.Holdout(seeds=1),
)
"""

ONE = """

@on_nothing
def model_{number}(hp):
    return [hp.Int("units", 1, {number} + 1), *range({number})]
"""


def calls_to_identify(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many functions are called to identify each spec of a file that has so many."""
    name = f"spec_of_{count}"
    path = folder / f"{name}.py"
    path.write_text(HEAD + "".join(ONE.format(number=number) for number in range(count)))
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    specs: list[Any] = [value for value in vars(module).values() if isinstance(value, Spec)]
    assert len(specs) == count
    calls, before = 0, sys.getprofile()

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        identities = {str(search_identity(spec)) for spec in specs}
    finally:
        sys.setprofile(before)
    assert len(identities) == count
    return calls


def test_eight_times_as_many_specs_take_eight_times_as_long_to_collect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (calls_to_identify(tmp_path, count, monkeypatch) for count in (25, 200))
    assert many < 8.8 * few, many / few
