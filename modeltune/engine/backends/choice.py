"""Which backend computes in this process: Keras has decided when it was imported."""

from __future__ import annotations

import importlib

import keras

from modeltune.engine.backends.interface import Backend

TRAINS = {
    "tensorflow": ("on_tensorflow", "OnTensorFlow"),
    "jax": ("on_jax", "OnJax"),
    "torch": ("on_torch", "OnTorch"),
}
"""Backends that train, and the classes behind them."""


def backend() -> Backend:
    """Return the backend of this process; nothing of another is imported."""
    module, name = TRAINS.get(keras.backend.backend(), ("on_other", "OnOther"))
    chosen: Backend = getattr(
        importlib.import_module(f"modeltune.engine.backends.{module}"), name
    )()
    return chosen


def note_on_backend() -> str | None:
    """Say what is slower or not available with the backend of this process; None with TensorFlow."""
    if is_tensorflow():
        return None
    slower = [
        "model.fit takes every step by itself",
        *backend().notes(),
        "frozen layers run in every epoch",
        "flops are not counted",
        "losses and metrics that broadcast targets are not found",
    ]
    return f"Keras computes with {keras.backend.backend()}: {'; '.join(slower)}"


def why_only_numbers() -> str | None:
    """Say why inputs and targets have to be arrays of numbers; None with TensorFlow, where they need not."""
    if is_tensorflow():
        return None
    name = keras.backend.backend()
    return f"Keras has no tensors of texts, or of rows of different lengths, with {name}"


def is_tensorflow() -> bool:
    """Tell whether Keras computes with TensorFlow: only there are graphs and datasets of it."""
    return bool(keras.backend.backend() == "tensorflow")


def why_no_training() -> str | None:
    """Say that the backend only predicts, and what to do; None where it trains."""
    name = keras.backend.backend()
    if name in TRAINS:
        return None
    listed = ", ".join(f"KERAS_BACKEND={one}" for one in TRAINS)
    return f'Keras computes with its backend "{name}", which does not train; set one of {listed}'
