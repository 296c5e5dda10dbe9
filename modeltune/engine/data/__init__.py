"""Data: loaded and cut into parts, shared between processes, and checked before a search.

Here belongs what touches data before a model sees them. Training and scoring do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.data import sharing
    from modeltune.engine.data.checks import check_data
    from modeltune.engine.data.loading import (
        Array,
        Arrays,
        Loaded,
        Part,
        class_labels,
        concatenate,
        leaves,
        load,
        map_arrays,
    )

__all__ = [
    "Array",
    "Arrays",
    "Loaded",
    "Part",
    "check_data",
    "class_labels",
    "concatenate",
    "leaves",
    "load",
    "map_arrays",
    "sharing",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": ("sharing",),
        "checks": ("check_data",),
        "loading": (
            "Array",
            "Arrays",
            "Loaded",
            "Part",
            "class_labels",
            "concatenate",
            "leaves",
            "load",
            "map_arrays",
        ),
    },
)
