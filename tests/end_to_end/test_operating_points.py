"""Gates at a point of a curve, and decisions at a threshold that validation chose: judged, kept and reported."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from sklearn import metrics

from modeltune.reports.json_report import SCHEMA_FILE
from tests.support.example import Example

PEOPLE = """
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
import modeltune as mt

def drawn(seed, n=400):
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(int)
    x = np.clip(0.25 * y + 0.6 * random.random(n), 0, 1).round(3)[:, None]
    x[0], y[0] = 0.99, 0
    return x, y, pd.DataFrame({"region": np.array(["north", "south"], object)[np.arange(n) % 2]})

class Scorer:
    def predict(self, x):
        return x[:, 0]

def early(x, y):
    return np.arange(len(x)) < 200
"""

POINTS = (
    PEOPLE
    + """
def people():
    x, y, frame = drawn(0)
    return mt.Data(test=(x, y), metadata=frame)

def money(y_true, y_pred):
    return float(((y_pred != y_true) * (1 + 4 * y_true)).sum())

GATES = [
    mt.metric("recall").at(precision=0.9) >= 0.05,
    mt.metric("recall").at(precision=0.999) >= 0.6,
    mt.metric("accuracy").at(threshold=0.4) >= mt.baseline - 0.01,
    mt.metric("recall").at(false_positive_rate=0.05).by("region") >= 0.1,
    mt.metric("f1").at(threshold=0.4).on("early", early) >= 0.2,
    mt.metric(f1_score).at(threshold=0.4) >= mt.baseline - 0.05,
    mt.metric(money).at(threshold=0.4) <= 400,
]

@mt.spec(data=people, gates=GATES, task="binary", metrics=["precision.at(recall=0.8)"])
def net():
    return Scorer()
"""
)


def drawn(seed: int, n: int = 400) -> tuple[Any, Any, pd.DataFrame]:
    """Return the scores, the truth and the metadata of ``PEOPLE``."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(int)
    x = np.clip(0.25 * y + 0.6 * random.random(n), 0, 1).round(3)
    x[0], y[0] = 0.99, 0
    return x, y, pd.DataFrame({"region": np.array(["north", "south"], object)[np.arange(n) % 2]})


def test_gates_at_a_point_are_judged_as_scikit_learn_computes_them(example: Example) -> None:
    first = example.with_spec(POINTS).run_pytest()
    first.assert_outcomes(failed=1)
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    Draft202012Validator(schema).validate(first.report)
    verdicts = first.reported[0]["verdicts"]
    assert [v["outcome"] for v in verdicts] == [
        *("passed", "failed", "no_baseline", "passed", "passed", "no_baseline", "passed"),
    ]
    scores, truth, frame = drawn(0)
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    assert verdicts[0]["measured"] == pytest.approx(recall[precision >= 0.9].max(), abs=1e-9)
    assert "no threshold has a precision of 0.999: the best is" in verdicts[1]["reason"]
    decided = (scores >= 0.4).astype(int)
    assert verdicts[2]["measured"] == pytest.approx(metrics.accuracy_score(truth, decided))
    assert verdicts[5]["measured"] == pytest.approx(metrics.f1_score(truth, decided), abs=1e-9)
    lost = ((decided != truth) * (1 + 4 * truth)).sum()
    assert verdicts[6]["measured"] == pytest.approx(lost)
    for part in verdicts[3]["details"]["slices"]:
        rows = (frame["region"] == part["group"]).to_numpy()
        fpr, tpr, _ = metrics.roc_curve(truth[rows], scores[rows])
        assert part["measured"] == pytest.approx(tpr[fpr <= 0.05].max(), abs=1e-9)
    early = metrics.f1_score(truth[:200], decided[:200])
    assert verdicts[4]["measured"] == pytest.approx(early, abs=1e-9)
    best = precision[recall >= 0.8].max()
    (run,) = example.history()
    assert run.scores["precision.at(recall=0.8)"].mean == pytest.approx(best, abs=1e-9)

    # Once there is a baseline they are held to it, a share of samples sample by sample.
    passing = example.with_spec(POINTS.replace(">= 0.6", ">= 0.0"))
    passing.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    again = passing.run_pytest("--modeltune-reuse")
    again.stdout.fnmatch_lines(["*(cached)*"])
    tests = [v["details"]["test"] for v in again.reported[0]["verdicts"] if "bas" in v["gate"]]
    assert tests == ["exact McNemar", "paired bootstrap"]


def test_a_point_that_the_model_does_not_have_is_refused_before_anything_is_judged(
    example: Example,
) -> None:
    text = POINTS.replace("return x[:, 0]", "return (x[:, 0] > 0.5).astype(int)")
    done = example.with_spec(text).run_pytest()
    assert done.exit_code != 0
    done.stdout.fnmatch_lines(
        [
            '*gates?0?: mt.metric("recall").at(precision=0.9) >= 0.05: the model predicts classes, and no '
            "probabilities, so that there is no threshold to choose; leave out .at(...)"
        ]
    )
