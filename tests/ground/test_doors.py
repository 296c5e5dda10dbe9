"""A door lists what is loaded: whatever walks over the attributes of every module imports nothing by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modeltune.ground.doors import door
from tests.support.example import Example

WALK = """
import doctest, inspect, sys
from unittest import mock

HEAVY = "modeltune pandas numpy keras tensorflow sqlalchemy scipy".split()

def walk(*more):
    before = {*sys.modules}
    for module in [*map(sys.modules.get, before), *more]:
        for name in dir(module):  # as freezegun does
            getattr(module, name, None)
        if getattr(module, "__name__", "").startswith(("modeltune", "spec_")):
            inspect.getmembers(module)
            mock.create_autospec(module)
            doctest.DocTestFinder(exclude_empty=False).find(module)
            for value in vars(module).values():
                inspect.unwrap(value)
                inspect.isabstract(value), inspect.iscoroutinefunction(value)
                getattr(value, "__file__", None), getattr(value, "__path__", None)
    new = {*sys.modules} - before
    return sorted(name for name in new if name.partition(".")[0] in HEAVY)
"""
"""What of ours and of heavy libraries is imported by walking over the attributes of all modules."""


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WALK + code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_walking_over_every_module_of_ours_imports_nothing() -> None:
    doors = "modeltune.plugin, modeltune.histories, modeltune.harness, modeltune.engine"
    assert printed(f"import inspect, modeltune.reports, {doors}\nprint(walk())") == "[]\n"


def test_a_door_lists_a_name_once_its_module_is_loaded() -> None:
    code = "import modeltune as mt\nprint(dir(mt))\nmt.Fit\nprint(walk(), dir(mt))"
    before, after = printed(code).splitlines()
    assert (before, after) == ("[]", "[] ['Fit']")


def test_a_name_has_one_home() -> None:
    with pytest.raises(ValueError, match=r"^nets lists Net twice$"):
        door("nets", {"nets": ("Net",), "layers": ("Layer", "Net")})


@pytest.mark.parametrize("arguments", [["test_walk.py"], []], ids=["without specs", "with specs"])
def test_a_session_whose_tests_walk_over_every_module_stays_light(
    example: Example, arguments: list[str]
) -> None:
    test = "\ndef test_walk():\n    assert walk() == []\n"
    spec = (
        "import keras, numpy as np, modeltune as mt\nfrom keras import layers\nVALUE = mt.Fit()\n"
    )
    project = example.with_files({"test_walk.py": WALK + test, "spec_a.py": spec})
    project.run_pytest_apart("-p", "no:hypothesispytest", *arguments).assert_outcomes(passed=1)
