"""Every kind of model is trained and scored to the numbers of plain Keras: the table of kinds, in small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from modeltune.engine.data import load_data
from modeltune.engine.score import train_refit
from modeltune.records import Outcome, RefitTask
from modeltune.specs import Refit, Spec
from tests.support.kinds import KINDS
from tests.support.small_models import values

SEED = 3

ON_ITS_OWN = {
    "steps_of_an_epoch": "model.fit: steps_per_epoch",
    "callback_of_batches": "fit: Slower overrides on_train_batch_end",
    "backbone_and_preprocessor": "fit: Prepared overrides fit",
}
"""What is not trained as a graph of whole epochs."""

IN_KERAS_ORDER = "steps_of_an_epoch", "backbone_and_preprocessor"
"""Where ``model.fit`` gets the arrays, and shuffles them."""


@pytest.fixture(autouse=True)
def policy_of_before() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def scores_of_plain_keras(spec: Spec) -> dict[str, float]:
    """Train by ``model.fit`` alone, step by step, in the order of the same epoch; evaluate on test."""
    keras.config.set_dtype_policy(spec.fit.dtype_policy or "float32")
    keras.utils.set_random_seed(SEED)
    model = spec(values())
    model.run_eagerly, model.jit_compile = True, False  # steps are not traced: it takes less time
    data = load_data(spec)
    is_shuffled = spec.name in IN_KERAS_ORDER
    order = np.random.Generator(np.random.PCG64([SEED, 0])).permutation(data.train.size)
    order = np.arange(data.train.size) if is_shuffled else order
    x, y = keras.tree.map_structure(lambda array: array[order], (data.train.x, data.train.y))
    model.fit(
        x, y, batch_size=8, shuffle=is_shuffled, verbose=0,
        steps_per_epoch=spec.fit.steps_per_epoch, callbacks=[make() for make in spec.fit.callbacks],
    )  # fmt: skip
    scores: dict[str, float] = model.evaluate(
        data.test.x, data.test.y, batch_size=8, verbose=0, return_dict=True
    )
    return scores


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.name)
def test_each_kind_has_the_numbers_of_plain_keras(spec: Spec, tmp_path: Path) -> None:
    task = RefitTask(Refit(SEED, None), values().get_config(), 1, tmp_path / "refit.weights.h5")
    result = train_refit(spec, load_data(spec), task)

    assert result.failure is None
    assert result.trained_by.startswith(ON_ITS_OWN.get(spec.name, "graph"))
    bad = [v for v in result.checks if v.outcome in (Outcome.FAILED, Outcome.ERROR)]
    assert not bad
    half = spec.fit.dtype_policy is not None
    for name, score in scores_of_plain_keras(spec).items():
        assert result.scores[name] == pytest.approx(score, rel=1e-2 if half else 1e-5), name
