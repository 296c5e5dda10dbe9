"""An engine is made without effects; it is started where TensorFlow may be set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeltune.engine import engine
from modeltune.specs.fit import Fit
from tests.support.small_models import spec_of


def test_making_an_engine_does_nothing_and_starting_one_sets_up_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up: list[int] = []
    monkeypatch.setattr(engine, "set_up_tensorflow", set_up.append)
    spec = spec_of(fit=Fit(threads=3))
    engine.Engine(spec, {}, tmp_path / "features")
    assert set_up == []
    engine.start_engine(spec, {}, tmp_path / "features")
    assert set_up == [3]
    assert not list(tmp_path.iterdir())
