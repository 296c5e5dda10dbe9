"""Save and load models: the whole state of a trial to continue it, or the weights alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.layer_assets import read_assets, write_assets


def save_state(model: Model, path: Path) -> None:
    """Write all variables of model and optimizer, random states among them, to an ``.npz`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = [*model.variables, *model.optimizer.variables]
    np.savez(path, *(np.asarray(variable) for variable in variables))


def load_state(model: Model, path: Path) -> None:
    """Restore what ``save_state`` wrote into a model of the same architecture."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    with np.load(path) as stored:
        values = [stored[name] for name in stored.files]
    for variable, value in zip([*model.variables, *model.optimizer.variables], values, strict=True):
        variable.assign(value)


def save_weights(model: Model, path: Path) -> None:
    """Write weights and assets, without the optimizer's variables, to a ``.weights.h5`` file.

    Assets are what layers keep besides variables, such as the vocabulary of ``TextVectorization``.
    """
    with _without_optimizer(model):
        model.save_weights(path)
    write_assets(model, path)


def load_weights(model: Model, path: Path) -> None:
    """Read what ``save_weights`` wrote into a model of the same architecture.

    Raises:
        ValueError: what the file holds does not fit the model.
    """
    with _without_optimizer(model):
        model.load_weights(path)
    read_assets(model, path)


@contextlib.contextmanager
def _without_optimizer(model: Model) -> Iterator[None]:
    # Keras would write its variables too, three times the file for Adam, and complain about
    # them when it reads the file into a model whose optimizer has not taken a step.
    # A model that Keras loaded without compiling it, as after a compile() of its own, has none.
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer
