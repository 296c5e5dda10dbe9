"""A refit says what of its scores would be another number next time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from modeltune.engine.data.loading import load_data
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitTask
from tests.support.small_models import dense, digits, spec_of


def test_a_refit_says_which_metrics_are_random(tmp_path: Path) -> None:
    def noisy(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(predicted, axis=-1) + keras.random.uniform(())

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=["accuracy", noisy])

    spec = spec_of(build, digits())
    config = ReadHyperParameters().get_config()
    task = RefitTask(spec.validation.refits()[0], config, 1, tmp_path / "refit.weights.h5")
    done = train_refit(spec, load_data(spec), task)
    assert done.failure is None
    assert (done.note or "").startswith("random: noisy (")
    assert "accuracy" not in (done.note or "")
