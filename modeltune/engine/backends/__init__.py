"""What computes under Keras: TensorFlow, JAX or PyTorch, and what has to be done with each in its own way.

Here belong threads, devices, versions, and what a backend cannot do. Keras decides once, when it
is imported, which of them a process uses; the others are not imported. Nothing here trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.backends.choice import (
        backend,
        is_tensorflow,
        note_on_backend,
        why_no_training,
        why_only_numbers,
    )
    from modeltune.engine.backends.interface import Backend
    from modeltune.engine.backends.lazy_tensorflow import tf

__all__ = [
    "Backend",
    "backend",
    "is_tensorflow",
    "note_on_backend",
    "tf",
    "why_no_training",
    "why_only_numbers",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "interface": ("Backend",),
        "choice": (
            "backend",
            "is_tensorflow",
            "note_on_backend",
            "why_no_training",
            "why_only_numbers",
        ),
        "lazy_tensorflow": ("tf",),
    },
)
