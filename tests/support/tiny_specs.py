"""A spec that is searched, refitted and judged in a second, as the source tests write to files."""

from __future__ import annotations

import functools
import importlib
import tempfile
from pathlib import Path

import modeltune as mt

IN_PROCESS = "-p no:hypothesispytest --modeltune-workers=0"
"""What a pytest inside a test is given in PYTEST_ADDOPTS where processes are not the point.

Importing hypothesis, or keras in the server of trial processes, would take its time.
"""

RULES = """
import keras
import numpy as np
import pytest
import modeltune as mt

def blobs(part=slice(None)):
    y = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 2)) + 3.0 * y[:, None]
    return mt.Data(train=(x.astype("float32")[part], y[part]))

def compiled(hp, units=2):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, activation="softmax")])
    rate = hp.Choice("rate", [0.1, 0.01])
    model.compile(
        keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model

def spec(**fields):
    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2)
    standard = {"data": blobs, "search": search, "fit": mt.Fit(epochs=1, batch_size=20)}
    return mt.spec(**{**standard, "validation": mt.Holdout(epochs=1, seeds=1), **fields})
"""


def source(fields: str = "", body: str = "return compiled(hp)", name: str = "dense") -> str:
    """Return a spec file with one spec of these fields and this build function."""
    return f"{RULES}\n@spec({fields})\ndef {name}(hp):\n    {body}\n"


@functools.cache
def load_everything() -> None:
    """Run a spec once, so that a pytest inside this one finds Keras imported.

    ``runpytest_inprocess`` forgets what was imported inside; TensorFlow cannot be imported twice.
    """
    names: dict[str, mt.Spec] = {"__name__": "tests.support.tiny_specs"}  # type: ignore[dict-item]
    exec(compile(source(), __file__, "exec"), names)
    # The end of a session compares with earlier runs, if there are any: by SciPy.
    importlib.import_module("modeltune.judgement.significance")
    with tempfile.TemporaryDirectory() as folder:
        mt.run(
            names["dense"],
            store=f"sqlite:///{Path(folder, 'history.db')}",
            listen=lambda event: None,
        )
