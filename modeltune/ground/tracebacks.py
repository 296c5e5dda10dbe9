"""Frames of tracebacks that are ours: users are shown their own code, without the way to it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from traceback import FrameSummary
from types import TracebackType

PACKAGE = Path(__file__).parents[1]
"""The folder of modeltune's modules."""


def is_ours(file: str | Path) -> bool:
    """Tell whether a file is a module of modeltune."""
    return PACKAGE in Path(file).parents


def frames_of_others(trace: TracebackType | None) -> list[FrameSummary]:
    """Return the frames of a traceback without ours; all of them if there are no others."""
    return without_ours(traceback.extract_tb(trace))


def without_ours(frames: Sequence[FrameSummary]) -> list[FrameSummary]:
    """Return these frames, outermost first, without ours; all of them if there are no others."""
    others: list[FrameSummary] = []
    is_below_ours = False
    for frame in frames:
        # A context manager of ours that decorates a function calls it from contextlib.
        is_between = is_below_ours and frame.filename == contextlib.__file__
        is_below_ours = is_ours(frame.filename) or is_between
        if not is_below_ours:
            others.append(frame)
    return others or list(frames)
