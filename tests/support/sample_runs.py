"""Runs for tests: one full example, and a Hypothesis strategy for every Run there can be."""

from __future__ import annotations

from modeltune.histories.contract import EXAMPLE as DIGITS
from modeltune.histories.contract import any_run as runs

__all__ = ["DIGITS", "runs"]
