"""Count the floating-point operations of a prediction."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import keras

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import Arrays
from modeltune.engine.fit import Model, input_tensors


def flops_of(model: Model, x: Arrays) -> float:
    """Return the floating-point operations of predicting one sample.

    As TensorFlow's profiler counts them in the graph of the model: a multiplication and an addition
    are two; operations that it has no rule for, such as most activations, count none, and the body
    of a loop counts once.

    Args:
        model: a built model.
        x: inputs of one sample, with a row.

    Raises:
        ValueError: Keras computes with something else than TensorFlow.
    """
    if not is_tensorflow():
        raise ValueError(f"it is counted with TensorFlow, and Keras uses {keras.backend.backend()}")
    predict = tf.function(lambda sample: model(sample, training=False))
    graph = predict.get_concrete_function(input_tensors(model, x)).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    with _without_advice():
        return float(tf.compat.v1.profiler.profile(graph, options=options).total_float_ops)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the profiler from logging that what it uses itself is of TensorFlow 1."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
