"""What runs where another backend than TensorFlow computes, as far as its name alone decides."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from modeltune.engine.backends.choice import note_on_backend, why_no_training
from modeltune.engine.start import start_engine
from modeltune.ground.errors import SpecError
from tests.support.small_models import spec_of


def test_of_tensorflow_there_is_nothing_to_note() -> None:
    assert note_on_backend() is None
    assert why_no_training() is None


def test_a_backend_that_only_predicts_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(SpecError, match='backend "numpy", which does not train; set one of KERAS'):
        start_engine(spec_of(), {}, tmp_path)
