"""Another backend of Keras makes another search, and is found without importing Keras."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from modeltune.specs.identity import backends
from modeltune.specs.identity.backends import backend_packages, backend_parts, keras_backend


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for Keras's file, in a process that has no Keras."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


def test_the_default_is_no_part_of_an_identity(home: Path) -> None:
    assert keras_backend() == "tensorflow"
    assert (backend_parts(), backend_packages()) == ({}, ("tensorflow",))
    (home / "keras.json").write_text("{damaged", "utf-8")
    assert keras_backend() == "tensorflow"


def test_a_backend_is_known_by_its_name_and_what_computes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "keras.json").write_text(json.dumps({"backend": "torch"}), "utf-8")
    assert backend_parts() == {backends.BACKEND_PART: "torch"}
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend_parts() == {backends.BACKEND_PART: "jax"}
    assert backend_packages() == ("jax", "jaxlib")
