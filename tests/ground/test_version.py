"""The version that a program can ask for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import modeltune as mt


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert mt.__version__ == project["project"]["version"]
