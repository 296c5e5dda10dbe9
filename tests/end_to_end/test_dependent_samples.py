"""Samples that belong together, or follow each other, are compared as what they are worth."""

from __future__ import annotations

import json

import pytest

from tests.support.example import Example

SPEC = """
import numpy as np
import modeltune as mt

GROUPS, EACH = 30, 10
PATIENT = np.repeat([f"p{n}" for n in range(GROUPS)], EACH)
RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, 2, GROUPS * EACH)

def data():
    return mt.Data(test=(np.stack([Y, np.arange(len(Y))], axis=1), Y), HOW)

class Model:
    def predict(self, x):
        return np.where(np.isin(PATIENT[x[:, 1]], WRONG), 1 - x[:, 0], x[:, 0])

@mt.spec(data=data, task="binary", gates=[mt.metric("accuracy") >= mt.baseline - 0.01])
def shipped():
    return Model()
"""

IN_GROUPS = 'groups={"test": PATIENT}'
IN_TIME = "ordered=True"
ALONE = "metadata=None"


def spec(how: str, *wrong: str) -> str:
    return SPEC.replace("HOW", how).replace("WRONG", str(list(wrong)))


THREE = ("p11", "p12", "p13")


@pytest.mark.parametrize(
    ("how", "outcome", "test"),
    [
        # Three patients are worth three, however many scans each has; one bad month is worth one.
        (ALONE, "failed", "exact McNemar on 300 samples"),
        (IN_GROUPS, "inconclusive", "sign-flip test on 30 groups"),
        (IN_TIME, "inconclusive", "sign-flip test on * blocks"),
    ],
    ids=["alone", "in groups", "in time"],
)
def test_a_drop_in_three_patients_is_told_from_one_in_thirty_samples(
    project: Example, how: str, outcome: str, test: str
) -> None:
    project.with_spec(spec(how)).run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    worse = project.with_spec(spec(how, *THREE)).run_pytest()
    (verdict,) = worse.reported[0]["verdicts"]
    assert verdict["outcome"] == outcome
    worse.stdout.fnmatch_lines([f"*is this artifact worse: {test}, p = *"])


def test_the_baseline_file_keeps_the_groups_so_that_leaving_them_out_hides_nothing(
    project: Example,
) -> None:
    project.with_spec(spec(IN_GROUPS)).run_pytest("--modeltune-accept-new")
    (file,) = project.path.glob("**/baselines/**/*.json")
    assert "clusters" in json.loads(file.read_text())["samples"]
    worse = project.with_spec(spec(ALONE, *THREE)).run_pytest()
    worse.stdout.fnmatch_lines(["*sign-flip test on 30 groups*"])
