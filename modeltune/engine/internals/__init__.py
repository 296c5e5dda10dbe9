"""Private names of Keras, TensorFlow and keras-tuner: one module each, and no use of them elsewhere.

Each module declares the names it uses and which features need them. Where the installed
version lacks one, the features that need it are off: whoever uses a feature asks
``why_not`` first and takes the plain path, and the run says so in a note. Nothing here
trains, searches or decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.internals import keras_internals, tensorflow_internals
    from modeltune.engine.internals.keras_internals import KERAS
    from modeltune.engine.internals.keras_tuner_internals import (
        KERAS_TUNER,
        ProposalHooks,
        ReadHooks,
        rungs,
    )
    from modeltune.engine.internals.names import Feature
    from modeltune.engine.internals.tensorflow_internals import TENSORFLOW, SeedWatch, kernels_kept

__all__ = [
    "KERAS",
    "KERAS_TUNER",
    "TENSORFLOW",
    "Feature",
    "ProposalHooks",
    "ReadHooks",
    "SeedWatch",
    "keras_internals",
    "kernels_kept",
    "rungs",
    "tensorflow_internals",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": (
            "keras_internals",
            "tensorflow_internals",
        ),
        "keras_internals": ("KERAS",),
        "keras_tuner_internals": (
            "KERAS_TUNER",
            "ProposalHooks",
            "ReadHooks",
            "rungs",
        ),
        "names": ("Feature",),
        "tensorflow_internals": (
            "SeedWatch",
            "TENSORFLOW",
            "kernels_kept",
        ),
    },
)
