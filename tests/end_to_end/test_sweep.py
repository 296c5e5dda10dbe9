"""A part of the sweep over Keras's losses, metrics, labels and structures: nothing differs."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

EVERY = 397
"""Which combinations are tried here: every so many. The benchmark tries all."""


def test_no_combination_of_a_small_sweep_differs_from_keras_or_scikit_learn() -> None:
    sweep = runpy.run_path(str(BENCHMARKS / "sweep.py"))
    cases = [*sweep["single_outputs"](), *sweep["several_outputs"]()][::EVERY]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        counts, found = sweep["sweep"](cases)
    assert found == []
    assert counts["compared"] > len(cases) / 4
