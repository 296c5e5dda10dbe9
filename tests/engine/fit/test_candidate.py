"""What is said where a model cannot be built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest

import modeltune as mt
from modeltune.engine.fit.candidate import lend_model
from tests.support.small_models import softmax, spec_of, values


def test_weights_that_cannot_be_downloaded_are_named_with_the_place_they_go_to(
    tmp_path: Path,
) -> None:
    origin = (tmp_path / "elsewhere" / "NASNet-mobile.h5").as_uri()

    def build(hp: Any) -> Any:
        # As keras.applications does, whose names for a file differ from that of its address.
        keras.utils.get_file("nasnet_mobile.h5", origin, cache_subdir="models", cache_dir=tmp_path)

    place = tmp_path / "models" / "nasnet_mobile.h5"
    told = (
        f"Keras has no nasnet_mobile.h5 in its cache and cannot .*: place {origin} at {place}, or"
    )
    with pytest.raises(mt.SpecError, match=told), lend_model(spec_of(build), values(), seed=0):
        pass


def test_another_error_of_a_build_is_left_alone() -> None:
    def build(hp: Any) -> Any:
        raise ConnectionError("URL fetch failure on my own server")

    with (
        pytest.raises(ConnectionError, match=re.escape("my own server")),
        lend_model(spec_of(build), values(), seed=0),
    ):
        pass


def test_a_model_class_that_downloads_in_its_constructor_is_told_the_same(tmp_path: Path) -> None:
    class OnBase:
        def __init__(self) -> None:
            origin = (tmp_path / "none.h5").as_uri()
            keras.utils.get_file("base.h5", origin, cache_subdir="models", cache_dir=tmp_path)

        def build(self, hp: Any) -> Any:
            return softmax(hp)

    with pytest.raises(mt.SpecError, match=rf"model: .*place file:.* at {tmp_path}/models/base.h5"):
        spec_of(OnBase)
