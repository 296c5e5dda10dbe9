"""What a spec's searches and runs depend on, in digests that stored runs are compared by.

Here belongs reading a user's code and values without running them. What follows from a
difference is decided by whoever compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.specs.identity.backends import BACKEND_PART, DEFAULT_BACKEND, keras_backend
    from modeltune.specs.identity.contents import HELD, UNCOMPARABLE
    from modeltune.specs.identity.parts import (
        GATES,
        PROJECT,
        changed_parts,
        edited_parts,
        fingerprints,
        gates_identity,
        identity_assumptions,
        metric_identity,
        predictor_identity,
        recorded_identity,
        run_identity,
        search_identity,
        uses_package,
    )

__all__ = [
    "BACKEND_PART",
    "DEFAULT_BACKEND",
    "GATES",
    "HELD",
    "PROJECT",
    "UNCOMPARABLE",
    "changed_parts",
    "edited_parts",
    "fingerprints",
    "gates_identity",
    "identity_assumptions",
    "keras_backend",
    "metric_identity",
    "predictor_identity",
    "recorded_identity",
    "run_identity",
    "search_identity",
    "uses_package",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "contents": (
            "HELD",
            "UNCOMPARABLE",
        ),
        "backends": (
            "BACKEND_PART",
            "DEFAULT_BACKEND",
            "keras_backend",
        ),
        "parts": (
            "GATES",
            "changed_parts",
            "edited_parts",
            "PROJECT",
            "fingerprints",
            "gates_identity",
            "identity_assumptions",
            "metric_identity",
            "predictor_identity",
            "recorded_identity",
            "run_identity",
            "search_identity",
            "uses_package",
        ),
    },
)
