"""Probing: the behaviour of a tuned model at points that Hypothesis draws.

Here belong the drawing of points, the transformation of samples and the reading of
predictions. Whether what was seen is acceptable is judged elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.probe.hypothesis_internals import what_hypothesis_lacks
    from modeltune.engine.probe.probing import behaviour_problems, probe, without_inputs
    from modeltune.engine.probe.sources import PredictorSource

__all__ = [
    "PredictorSource",
    "behaviour_problems",
    "probe",
    "what_hypothesis_lacks",
    "without_inputs",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "hypothesis_internals": ("what_hypothesis_lacks",),
        "probing": ("behaviour_problems", "probe", "without_inputs"),
        "sources": ("PredictorSource",),
    },
)
