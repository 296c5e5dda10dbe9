"""Probing: the behaviour of a tuned model at points that Hypothesis draws.

Here belong the drawing of points, the transformation of samples and the reading of
predictions. Whether what was seen is acceptable is judged elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.probe.hypothesis_internals import what_hypothesis_lacks
    from modeltune.engine.probe.probing import probe

__all__ = ["probe", "what_hypothesis_lacks"]

__getattr__, __dir__ = door(
    __name__,
    {
        "hypothesis_internals": ("what_hypothesis_lacks",),
        "probing": ("probe",),
    },
)
