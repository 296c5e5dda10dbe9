"""Reset names and random states, so that a candidate does not depend on those before it."""

from __future__ import annotations

import keras

from modeltune.engine.backends import is_tensorflow
from modeltune.engine.internals import TENSORFLOW, Feature, SeedWatch, kernels_kept


class Kernels:
    """Whether TensorFlow's kernels, made since it last dropped them, may hold random states."""

    def __init__(self) -> None:
        self.may_be_random = True
        self.watch = SeedWatch(self._note_seed)

    def _note_seed(self) -> None:
        self.may_be_random = True


KERNELS = Kernels()
"""The kernels of this process."""


def start_anew(seed: int) -> None:
    """Reset names and random states for the next candidate, as ``clear_session`` and a seed do.

    Both make TensorFlow drop every kernel and what it has prepared for compiled steps, which
    costs a third of a small trial's time. Only kernels with a random state have to go, so
    all others are kept. Keras's own layers keep their random states in variables.
    """
    if not is_tensorflow() or TENSORFLOW.why_not(Feature.KERNELS):
        _clear(seed)
        return
    KERNELS.watch.begin()
    if KERNELS.may_be_random:
        _clear(seed)
        KERNELS.may_be_random = False
        return
    with kernels_kept():
        _clear(seed)


def _clear(seed: int) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
