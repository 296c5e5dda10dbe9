"""Gates at a point of a curve, and decisions at a threshold that validation chose: judged, kept and reported."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy.dialects.postgresql  # noqa: F401  sessions here forget it, and SQLAlchemy warns of its second import
from jsonschema import Draft202012Validator
from sklearn import metrics

from modeltune.ground import HistoryError
from modeltune.harness import export_kept
from modeltune.histories import open_store
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


CHOSEN = (
    PEOPLE
    + """
def people():
    x, y, frame = drawn(0)
    return mt.Data(validation=drawn(1)[:2], test=(x, y), metadata={"test": frame})

def money(y_true, y_pred):
    return float(((y_pred != y_true) * (1 + 4 * y_true)).sum())

GATES = [
    mt.metric("accuracy") >= mt.baseline - 0.02,
    mt.metric("recall").per_class() >= 0.3,
    mt.metric("f1").on("early", early) >= 0.3,
    mt.metric("balanced_accuracy").by("region") >= 0.3,
    mt.metric(f1_score) >= 0.3,
    mt.metric("accuracy").at(threshold=0.5) >= 0.3,
]

@mt.spec(data=people, gates=GATES, task="binary", threshold=mt.threshold(maximize="f1"))
def net():
    return Scorer()
"""
)


def test_decisions_are_those_at_the_threshold_that_validation_chose(example: Example) -> None:
    project = example.with_spec(CHOSEN)
    project.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    first = project.run_pytest("--modeltune-rejudge")
    scores, truth, frame = drawn(0)
    chosen_on, known, _ = drawn(1)
    best = max(
        (metrics.f1_score(known, (chosen_on >= cut).astype(int)), cut)
        for cut in np.unique(chosen_on)
    )
    decided = (scores >= best[1]).astype(int)
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    Draft202012Validator(schema).validate(first.report)
    (reported,) = first.reported
    table = reported["task_report"]["output"]
    point = table["operating_point"]
    assert point["thresholds"] == [best[1]]
    assert point["scores"] == [pytest.approx(best[0], abs=1e-9)]
    assert (point["part"], point["samples"], point["positives"]) == (
        "validation",
        400,
        [known.sum()],
    )
    assert point["low"][0] <= best[1] <= point["high"][0]
    assert reported["validation"]["refits"][0]["thresholds"] == {"output": [best[1]]}
    assert table["confusion"] == metrics.confusion_matrix(truth, decided).tolist()
    verdicts = reported["verdicts"]
    assert verdicts[0]["measured"] == pytest.approx(metrics.accuracy_score(truth, decided))
    recalls = metrics.recall_score(truth, decided, average=None)
    assert verdicts[1]["measured"] == pytest.approx(min(recalls))
    early = metrics.f1_score(truth[:200], decided[:200], average="macro")
    assert verdicts[2]["measured"] == pytest.approx(early)
    for part in verdicts[3]["details"]["slices"]:
        rows = (frame["region"] == part["group"]).to_numpy()
        expected = metrics.balanced_accuracy_score(truth[rows], decided[rows])
        assert part["measured"] == pytest.approx(expected)
    assert verdicts[4]["measured"] == pytest.approx(metrics.f1_score(truth, decided))
    assert verdicts[5]["measured"] == pytest.approx(((scores >= 0.5) == truth).mean())
    status, shown = project.run_modeltune("show", reported["id"])
    assert status == 0
    assert f"{best[1]}" in shown
    (baseline,) = project.path.glob("baselines/*.json")
    assert "thresholds" in json.loads(baseline.read_text("utf-8"))["samples"]

    # Another rule is another definition; both sides are compared at their own points.
    other = project.with_spec(CHOSEN.replace('maximize="f1"', "cost=money"))
    again = other.run_pytest("--modeltune-reuse")
    again.stdout.fnmatch_lines(
        ["*no recorded run was reused: code of the threshold, threshold changed since run *"]
    )
    (moved,) = again.reported
    lost = [(money(known, (chosen_on >= cut).astype(int)), -cut) for cut in np.unique(chosen_on)]
    threshold = -min(lost)[1]
    assert moved["task_report"]["output"]["operating_point"]["thresholds"] == [threshold]
    right, before = (scores >= threshold) == truth, decided == truth
    details = moved["verdicts"][0]["details"]
    assert details["test"] == "exact McNemar"
    assert details["delta"] == pytest.approx(right.mean() - before.mean())
    fixed = other.with_spec(CHOSEN.replace('mt.threshold(maximize="f1")', "0.25")).run_pytest()
    assert fixed.reported[0]["task_report"]["output"]["confusion"] == (
        metrics.confusion_matrix(truth, scores >= 0.25).tolist()
    )


def money(y_true: Any, y_pred: Any) -> float:
    """Return what ``CHOSEN`` has decisions cost."""
    return float(((y_pred != y_true) * (1 + 4 * y_true)).sum())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "validation=drawn(1)[:2], ",
            "",
            'threshold: mt.threshold(maximize="f1"): it is chosen on validation, and there is none; return *',
        ),
        (
            "validation=drawn(1)[:2], ",
            "validation=(drawn(1)[0], np.ones(400)), ",
            "*: validation has the class 1.0 only, and a threshold is between two; return samples of both",
        ),
        (
            "return x[:, 0]",
            "return (x[:, 0] > 0.5).astype(int)",
            "*: the model predicts classes, and no probabilities, so that there is no threshold to *",
        ),
        (
            "return x[:, 0]",
            "return x[:, 0] * 9 - 3",
            "*: the predictions are no probabilities: they go*",
        ),
        (
            "return Scorer()",
            "return mt.Predictions(drawn(0)[0][:, 0])",
            "*: it is chosen on validation, and the predictions are those of test; write the threshold *",
        ),
        (
            'maximize="f1"',
            "cost=lambda y_true, y_pred: 1 / 0",
            "*the function raised at a threshold of 0.5: ZeroDivisionError: division by zero",
        ),
        (
            'maximize="f1"',
            "cost=lambda y_true, y_pred: 'much'",
            "*the function raised at a threshold of 0.5: TypeError: it returned <U4 of shape *",
        ),
    ],
)
def test_a_threshold_that_cannot_be_chosen_is_one_error(
    example: Example, old: str, new: str, line: str
) -> None:
    assert old in CHOSEN
    done = example.with_spec(CHOSEN.replace(old, new)).run_pytest()
    assert done.exit_code != 0
    done.stdout.fnmatch_lines([f"*{line}"])


NETWORKS = (
    PEOPLE
    + """
import keras

def people():
    x, y, _ = drawn(0)
    return mt.Data(train=drawn(2)[:2], validation=drawn(1)[:2], test=(x, y))

RULES = dict(
    data=people,
    threshold=mt.threshold(maximize="f1"),
    gates=[mt.metric("accuracy") >= mt.baseline - 0.2, mt.metric("f1").per_class() >= 0.1],
)

def net(units, activation, loss, metrics):
    layer = keras.layers.Dense(units, activation=activation)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile("adam", loss=loss, metrics=metrics)
    return model, layer

@mt.spec(**RULES)
def sigmoid():
    kinds = ["accuracy", keras.metrics.Recall(name="recall"), keras.metrics.AUC(name="auc")]
    kinds += [keras.metrics.Recall(thresholds=0.5, name="recall_at_half")]
    model, layer = net(1, "sigmoid", "binary_crossentropy", kinds)
    layer.set_weights([np.array([[6.0]]), np.array([-4.0])])
    return model

@mt.spec(**RULES)
def logits():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model, layer = net(2, None, loss, ["accuracy"])
    layer.set_weights([np.array([[0.0, 6.0]]), np.array([4.0, 0.0])])
    return model

@mt.spec(**RULES, validation=mt.KFold(2, epochs=1), fit=mt.Fit(batch_size=64))
def trained(hp):
    model, layer = net(1, "sigmoid", "binary_crossentropy", ["accuracy"])
    layer.set_weights([np.array([[6.0]]), np.array([-4.0])])
    return model
"""
)


def test_compiled_metrics_count_the_decisions_of_the_threshold_too(
    project: Example, keras_is_loaded: None
) -> None:
    done = project.with_spec(NETWORKS).run_pytest("--modeltune-accept-new")
    done.assert_outcomes(passed=3)
    scores, truth, _ = drawn(0)
    chosen_on, known, _ = drawn(1)
    best = max(
        (metrics.f1_score(known, (chosen_on >= cut).astype(int)), cut)
        for cut in np.unique(chosen_on)
    )[1]
    decided = (scores >= best).astype(int)
    runs = {run.spec.partition("::")[2]: run for run in project.history()}
    for name in ("sigmoid", "logits"):
        table = runs[name].task_report["output"]
        assert table["confusion"] == metrics.confusion_matrix(truth, decided).tolist()
        (threshold,) = table["operating_point"]["thresholds"]
        assert threshold == pytest.approx(1 / (1 + np.exp(4 - 6 * best)), abs=1e-5)
        accuracy = metrics.accuracy_score(truth, decided)
        assert runs[name].scores["accuracy"].mean == pytest.approx(accuracy, abs=1e-6)
    own = runs["sigmoid"].scores
    assert own["recall"].mean == pytest.approx(metrics.recall_score(truth, decided), abs=1e-6)
    at_half = metrics.recall_score(truth, 6 * scores - 4 > 0)
    assert own["recall_at_half"].mean == pytest.approx(at_half, abs=1e-6)
    assert own["auc"].mean == pytest.approx(metrics.roc_auc_score(truth, scores), abs=0.01)
    checks = {check.gate: check.outcome for check in runs["sigmoid"].checks}
    assert checks["integrity.evaluate"].value == "passed"
    # Each refit chooses its own, on the fold that it was not trained on.
    folds = runs["trained"].validation["refits"]
    assert len({fold["thresholds"]["output"][0] for fold in folds}) == 2
    point = runs["trained"].task_report["output"]["operating_point"]
    assert (point["samples"], point["thresholds"]) == (400, folds[0]["thresholds"]["output"])

    # What is exported keeps it in a file beside, which is not overwritten.
    with open_store(f"sqlite:///{project.path}/.modeltune/history.db") as store:
        target = project.path / "shipped.keras"
        notes = export_kept(runs["sigmoid"], store, target)
        assert not isinstance(notes, str)
        beside = project.path / "shipped.operating_point.json"
        assert f'on, mt.threshold(maximize="f1") on validation, in {beside}' in notes[-1]
        kept = json.loads(beside.read_text("utf-8"))["outputs"]["output"]
        assert kept == runs["sigmoid"].task_report["output"]["operating_point"]
        target.unlink()
        with pytest.raises(HistoryError, match=r"operating_point\.json exists; name another file"):
            export_kept(runs["sigmoid"], store, target)
        assert not target.exists()

    # On other test data the accepted model is scored at its own threshold.
    (chosen,) = runs["sigmoid"].task_report["output"]["operating_point"]["thresholds"]
    moved = NETWORKS.replace("drawn(0)", "drawn(7)").replace(
        'maximize="f1"', 'maximize="specificity"'
    )
    again = project.with_spec(moved).run_pytest("-k", "sigmoid").reported[0]
    scores, truth, _ = drawn(7)
    accepted = (1 / (1 + np.exp(4 - 6 * scores)) >= chosen - 1e-6) == truth
    details = again["verdicts"][0]["details"]
    assert details["rescored"]
    assert details["reference_value"] == pytest.approx(accepted.mean(), abs=1e-6)
    assert again["task_report"]["output"]["operating_point"]["thresholds"][0] > chosen
