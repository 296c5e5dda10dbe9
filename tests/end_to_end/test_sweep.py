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


def test_every_number_of_an_array_is_compared() -> None:
    sweep = runpy.run_path(str(BENCHMARKS / "sweep.py"))
    name = "metric F1Score by object, softmax, labels one-hot"
    (case,) = (case for case in sweep["single_outputs"]() if case.name == name)
    differences, has_values = sweep["differences"](case)
    assert differences == []
    assert len(has_values) == len(["loss", "f1_score_0", "f1_score_1", "f1_score_2"])
