"""Graphs of TensorFlow at less cost, for tests whose point they are not: a third of what these took."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.util import tf_stack


def leave_as_traced(is_left: bool = True) -> None:
    """Have TensorFlow run graphs as they were traced, or optimise each before, as it does by itself.

    They are small and run for a moment. What optimising changes is the last bit of some numbers.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": is_left})


def note_no_stacks() -> None:
    """Have no operation note the calls that made it, a hundred of them under pytest."""
    stack = tf_stack.extract_stack(stacklevel=0)
    tf_stack.extract_stack = lambda stacklevel=1: stack
