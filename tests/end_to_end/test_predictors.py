"""Any predictor and predictions made elsewhere are judged as given models are, without TensorFlow."""

from __future__ import annotations

import http.server
import json
import pickle
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.example import Example

SPEC = """
import pickle
import sys
import numpy as np
import modeltune as mt

def points():
    y = np.arange(120) % 3
    x = np.random.default_rng(0).normal(size=(120, 2)) + 2.0 * y[:, None]
    return x, y

def data():
    return mt.Data(test=points())

GATES = [
    mt.metric("accuracy") >= 0.5,
    mt.metric("accuracy") >= mt.baseline - 0.01,
    mt.metric("log_loss") <= mt.baseline + 0.01,
    mt.metric("recall").per_class(min_n=10) >= 0.2,
]

@mt.spec(data=data, gates=GATES, metrics=["top_2"])
def net():
    with open("model.pkl", "rb") as file:
        return pickle.load(file)
"""

LOADED = """
import sys

def pytest_unconfigure():
    with open("loaded.txt", "w") as file:
        file.write(" ".join({name.partition(".")[0] for name in sys.modules}))
"""

HEAVY = {"tensorflow", "keras", "keras_tuner", "jax", "torch"}


def classifier(c: float = 1.0) -> LogisticRegression:
    y = np.arange(300) % 3
    x = np.random.default_rng(1).normal(size=(300, 2)) + 2.0 * y[:, None]
    return LogisticRegression(C=c).fit(x, y)


@pytest.fixture
def given(example: Example) -> Example:
    project = example.with_spec(SPEC)
    (project.write() / "model.pkl").write_bytes(pickle.dumps(classifier()))
    return project


def test_no_process_imports_tensorflow_where_no_keras_model_is_involved(given: Example) -> None:
    probing = SPEC.replace("GATES = [", "GATES = [mt.invariant(np.copy), ")
    watching = probing.replace(
        "        return pickle.load(file)",
        "        model = pickle.load(file)\n    with open('child.txt', 'w') as file:\n"
        "        file.write(' '.join({name.partition('.')[0] for name in sys.modules}))\n"
        "    return model",
    )
    done = given.with_files({"conftest.py": LOADED, "spec_a.py": watching}).run_pytest_apart()
    done.assert_outcomes(passed=1)
    for file in ("loaded.txt", "child.txt"):
        loaded = set((given.path / file).read_text().split())
        assert "modeltune" in loaded
        assert not loaded & HEAVY


def test_a_fitted_classifier_is_scored_recorded_and_held_against_its_baseline(
    given: Example,
) -> None:
    from sklearn import metrics

    given.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    (run,) = given.history()
    y = np.arange(120) % 3
    x = np.random.default_rng(0).normal(size=(120, 2)) + 2.0 * y[:, None]
    model = classifier()
    shares, labels = model.predict_proba(x), model.predict(x)
    expected = {
        "accuracy": metrics.accuracy_score(y, labels),
        "f1": metrics.f1_score(y, labels, average="macro"),
        "log_loss": metrics.log_loss(y, shares),
        "roc_auc": metrics.roc_auc_score(y, shares, multi_class="ovr"),
        "mcc": metrics.matthews_corrcoef(y, labels),
        "top_2": metrics.top_k_accuracy_score(y, shares, k=2),
    }
    for name, value in expected.items():
        assert run.scores[name].mean == pytest.approx(value, abs=1e-9), name
    assert "artifact_bytes" not in run.scores
    shown = json.loads((given.path / ".modeltune" / run.files["examples"].path).read_text())
    assert shown["wrong"] == (labels != y).sum()
    # One that shrinks its probabilities predicts the same classes, and its log loss is worse.
    (given.path / "model.pkl").write_bytes(pickle.dumps(classifier(c=0.002)))
    worse = given.run_pytest("--modeltune-reuse")
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["*no recorded run was reused: model/1 changed since run *"])
    (verdict,) = [v for v in worse.reported[0]["verdicts"] if "log_loss" in v["gate"]]
    assert verdict["outcome"] == "failed"
    assert verdict["details"]["test"] == "paired bootstrap"


def test_the_run_of_a_predictor_replays_and_is_not_exported(given: Example) -> None:
    given.run_pytest()
    (run,) = given.history()
    status, printed = given.run_modeltune("replay", run.id)
    assert status == 0, printed
    for target in ("out.keras", "out.weights.h5"):
        status, printed = given.run_modeltune("export", run.id, target)
        assert status == 1
        assert "LogisticRegression is no Keras model and is not kept" in printed
        assert not (given.path / target).exists()


PREDICTIONS = SPEC.replace(
    "test=points()", "test=({'id': np.arange(120), 'x': points()[0]}, points()[1])"
)


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ('mt.Predictions("all.csv", id="id")', None),
        ('mt.Predictions("all.npy")', None),
        (
            'mt.Predictions("none.csv")',
            "*predictions: there is no file */none.csv; it is looked for from*",
        ),
        (
            'mt.Predictions("all.csv", id="key")',
            "*all.csv has no column 'key' (id=); it has id, a, b, c*",
        ),
        ('mt.Predictions("twice.csv", id="id")', "*twice.csv: id is there twice: 7*"),
        (
            'mt.Predictions("few.csv", id="id")',
            "*few.csv: no prediction for 20 of the 120 samples of test: id 100, 101, 102*",
        ),
        (
            'mt.Predictions(np.load("all.npy")[:100])',
            "*predictions: 100 rows for 120 samples of test; write one for each*",
        ),
        (
            'mt.Predictions(np.where(np.arange(120)[:, None] == 5, np.nan, np.load("all.npy")))',
            "*predictions: row 5 is [[]nan nan nan[]]; every sample needs a finite prediction*",
        ),
        ("3", "*net returned a int; return a trained keras.Model, an object with predict(x), *"),
    ],
)
def test_predictions_are_joined_or_refused_before_anything_is_judged(
    given: Example, returned: str, line: str | None
) -> None:
    x = np.random.default_rng(0).normal(size=(120, 2)) + 2.0 * (np.arange(120) % 3)[:, None]
    shares = classifier().predict_proba(x)
    np.save(given.path / "all.npy", shares)
    rows = [f"{n},{','.join(map(repr, row))}" for n, row in enumerate(shares.tolist())]
    for name, chosen in (("all", rows[::-1]), ("twice", [*rows, rows[7]]), ("few", rows[:100])):
        (given.path / f"{name}.csv").write_text("\n".join(["id,a,b,c", *chosen]))
    text = PREDICTIONS.replace("return pickle.load(file)", f"return {returned}")
    done = given.with_spec(text).run_pytest()
    if line is not None:
        assert done.exit_code != 0
        done.stdout.fnmatch_lines([line])
        return
    done.assert_outcomes(passed=1)
    (run,) = given.history()
    labels = shares.argmax(axis=1)
    assert run.scores["accuracy"].mean == pytest.approx(
        (labels == np.arange(120) % 3).mean(), abs=1e-12
    )


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ("__import__('os')._exit(3)", "*exited with status 3*during identify*"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "*SIGSEGV*"),
    ],
    ids=["exit", "crash"],
)
def test_a_predictor_that_ends_its_process_ends_its_run_and_not_pytest(
    given: Example, monkeypatch: pytest.MonkeyPatch, returned: str, line: str
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest --modeltune-workers=auto")
    text = SPEC.replace("return pickle.load(file)", f"return {returned}")
    after = text + "\ndef test_after(): pass\n"
    done = given.with_spec(after).run_pytest_apart()
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines([line])


UNFIT = """
class Scorer:
    def predict(self, x):
        return x[:, 0]

@mt.spec(data=data, gates=[{gates}], task={task})
def other():
    return Scorer()
"""


@pytest.mark.parametrize(
    ("gates", "task", "line"),
    [
        (
            "",
            "None",
            '*it cannot be told what Scorer predicts: y is int64 of shape (8,), predicted*task="binary"*',
        ),
        (
            'mt.metric("acuracy") >= 0',
            '"regression"',
            '*gates?0?: mt.metric("acuracy") >= 0: no metric "acuracy" in *',
        ),
        (
            "mt.invariant(abs)",
            '"regression"',
            "*gates?0?: mt.invariant(abs): the default tolerance is a part of the target's spread in train, "
            "and there is no train; write tolerance=*",
        ),
        (
            'mt.directional(9, "up", by=1.0, tolerance=0.1)',
            '"regression"',
            "*gates?0?: mt.directional(9*: there is no column 9: a sample has 2",
        ),
        (
            'mt.metric("parameters") <= 3',
            '"regression"',
            "*only the weights of a Keras model are counted; return the number from a metric of your own*",
        ),
        (
            'mt.metric("latency_ratio") <= 1.2',
            '"regression"',
            "*an accepted predictor is not kept, for what loads one runs its code; time both in a test of*",
        ),
        (
            'mt.metric("artifact_bytes") <= 9',
            '"regression"',
            "*bound its size in a test of your own*",
        ),
        ('mt.metric("flops") <= 9', '"regression"', "*only the operations of a Keras model are*"),
        (
            'mt.gain_over_dummy("mae") >= 0',
            '"regression"',
            "*train is None, but gates?0?, * compares with it; return mt.Data(train=(x, y), test=...)*",
        ),
        ("", '{"kind": "binary"}', "*it cannot be told what Scorer predicts*"),
    ],
)
def test_what_a_predictor_does_not_give_is_refused(
    given: Example, gates: str, task: str, line: str
) -> None:
    text = SPEC.partition("@mt.spec")[0] + UNFIT.format(gates=gates, task=task)
    done = given.with_spec(text).run_pytest()
    assert done.exit_code != 0
    done.stdout.fnmatch_lines([line])


BEHAVIOURS = """
class Scale:
    "Predicts labels of text, of a frame, and no probabilities."

    def __init__(self, leaning):
        self.leaning = leaning

    def predict(self, x):
        assert list(x.columns) == ["width", "height"]
        wide = x["width"] + self.leaning * x["height"] > 1
        return np.where(wide, "wide", "narrow")

def frame():
    import pandas as pd
    x, _ = points()
    y = np.where(x[:, 0] > 1, "wide", "narrow")
    return mt.Data(test=(pd.DataFrame(dict(width=x[:, 0], height=x[:, 1])), y))

def taller(x, severity):
    return x + np.array([0, severity])

def twice(predict, x):
    return bool((predict(np.stack([x, x])) == predict(x)).all())

CASES = [(np.array([9.0, 0.0]), lambda p: p.argmax() == 1), (np.array([0.0, 9.0]), 0)]

LABELS = [mt.invariant(taller), mt.metamorphic(twice), mt.minimum_functionality(CASES)]

@mt.spec(data=frame, gates=LABELS)
def steady():
    return Scale(0.0)

@mt.spec(data=frame, gates=LABELS)
def leaning():
    return Scale(1.0)

@mt.spec(data=data, gates=[mt.directional(0, "up", by=1.0, of=2), mt.directional(0, "down", by=1.0, of=2)])
def shares():
    with open("model.pkl", "rb") as file:
        return pickle.load(file)

class Number:
    def predict(self, x):
        return x[:, 0] * 10

def numbers():
    x, _ = points()
    return mt.Data(train=(x, x[:, 1]), validation=(x, x[:, 1]), test=(x, x[:, 1]))

def shifted(x):
    return x + 0.001

@mt.spec(data=numbers, gates=[mt.invariant(shifted), mt.invariant(taller, tolerance=0.001)], task="regression")
def number():
    return Number()
"""


def test_behaviour_gates_hold_predictors_to_what_they_say(given: Example) -> None:
    done = given.with_spec(SPEC.partition("@mt.spec")[0] + BEHAVIOURS).run_pytest()
    assert {run.spec: [v.outcome.value for v in run.verdicts] for run in given.history()} == {
        "spec_a.py::steady": ["passed"] * 3,
        "spec_a.py::leaning": ["failed", "passed", "failed"],
        "spec_a.py::shares": ["passed", "failed"],
        "spec_a.py::number": ["passed", "passed"],
    }
    done.stdout.fnmatch_lines(
        [
            "test?*? taller severity *: 0 (1.00) -> 1 (1.00)",
            "case?1?: expected 0, predicted 1 (1.00)",
            "test?*? column 0 raised by *: P(2) * -> *, must not go up",
        ]
    )


def test_behaviour_gates_on_predictions_are_refused_before_the_run(given: Example) -> None:
    text = SPEC.replace("GATES = [", "GATES = [mt.invariant(np.negative),")
    text = text.replace("return pickle.load(file)", "return mt.Predictions(np.eye(3)[points()[1]])")
    done = given.with_spec(text).run_pytest()
    assert done.exit_code != 0
    done.stdout.fnmatch_lines(
        [
            "*gates?0?: mt.invariant(negative): predictions that were made elsewhere say nothing of other "
            "samples; return what made them, an object with predict(x), or leave the gate out*"
        ]
    )
    (run,) = given.history()
    assert (run.status.value, run.scores) == ("error", {})


SEVERAL = """
def several():
    x, y = points()
    targets = {"kind": y, "height": x[:, 1]}
    return mt.Data(train=(x, targets), validation=(x, targets), test=(x, targets))

class Both:
    def predict(self, x):
        kind = np.eye(3)[(x[:, 0] / 2).round().clip(0, 2).astype(int)]
        return {"kind": kind, "height": x[:, 1] + 0.1}

@mt.spec(
    data=several,
    gates=[
        mt.metric("kind_accuracy") >= mt.baseline - 0.01,
        mt.metric("height_mae") <= mt.baseline + 0.01,
        mt.metric("kind_recall").per_class(min_n=10) >= 0.2,
        mt.gap("kind_accuracy") <= 0.1,
        mt.gain_over_dummy("kind_accuracy") >= 0.3,
        mt.gain_over_dummy("height_mae") >= 0.9,
        mt.directional(1, "up", by=1.0, output="height"),
        mt.directional(1, "down", by=1.0, output="height"),
        mt.invariant(np.copy, output="kind"),
        mt.metamorphic(both),
    ],
    metrics=["kind_top_2"],
)
def pair():
    return Both()
"""


def test_a_predictor_of_several_outputs_is_judged_by_gates_on_each(given: Example) -> None:
    head = SPEC.partition("@mt.spec")[0]
    text = f"{head}\ndef both(predict, x):\n    return set(predict(x)) == {{'kind', 'height'}}\n{SEVERAL}"
    down = 'mt.directional(1, "down", by=1.0, output="height"),'
    given.with_spec(text.replace(down, "")).run_pytest("--modeltune-accept").assert_outcomes(
        passed=1
    )
    done = given.with_spec(text).run_pytest()
    run, *_ = given.history()
    outcomes = {verdict.gate: verdict.outcome.value for verdict in run.verdicts}
    assert [gate for gate, outcome in outcomes.items() if outcome != "passed"] == [down[:-1]]
    done.stdout.fnmatch_lines(["test?*? column 1 raised by *: * -> *, must not go up"])
    assert run.scores["height_mae"].mean == pytest.approx(0.1)
    assert run.scores["kind_top_2"].mean <= 1


FRAMES = """
def frame():
    import pandas as pd
    x, y = points()
    return mt.Data(test=(pd.DataFrame({"width": x[:, 0], "height": x[:, 1]}), x[:, 0]))

class Wide:
    def predict(self, x):
        return np.asarray(x["width"])

@mt.spec(
    data=frame,
    gates=[
        mt.directional("height", "up", by=1.0, tolerance=0.1),
        mt.directional("width", "down", by=1.0, tolerance=0.1),
        mt.directional(0, "down", by=2.0, tolerance=0.1),
    ],
    task="regression",
)
def wide():
    return Wide()

@mt.spec(data=frame, gates=[mt.directional("depth", "up", by=1.0, tolerance=0.1)], task="regression")
def deep():
    return Wide()
"""


def test_columns_of_a_frame_are_probed_and_told_by_their_names(given: Example) -> None:
    done = given.with_spec(SPEC.partition("@mt.spec")[0] + FRAMES).run_pytest()
    done.stdout.fnmatch_lines(
        [
            "test?*? width raised by *: * -> *, must not go up",
            "  width * -> *",
            "test?*? column 0 (width) raised by *: * -> *, must not go up",
            '*gates?0?: *: there is no column "depth": the columns are width, height*',
        ]
    )


RUINOUS = """
import os

def dies(x):
    os._exit(3)

def dies_later(x):
    if x[0] == points()[0][40, 0]:
        os._exit(7)
    return x

@mt.spec(data=data, gates=[mt.invariant(dies), mt.invariant(dies_later), mt.invariant(np.copy)])
def net():
    with open("model.pkl", "rb") as file:
        return pickle.load(file)
"""


def test_a_transform_that_ends_its_process_costs_a_predictor_its_own_gate(
    given: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest --modeltune-workers=auto")
    text = SPEC.partition("@mt.spec")[0] + RUINOUS
    given.with_spec(text).run_pytest_apart().assert_outcomes(failed=1)
    (run,) = given.history()
    assert [(v.outcome.value, v.reason.partition(",")[0]) for v in run.verdicts] == [
        ("error", "its process exited with status 3"),
        ("error", "its process exited with status 7"),
        ("passed", "held in all there are 120 examples"),
    ]


SERVED = """
import json
import os
import urllib.request

class Endpoint:
    def __init__(self, url):
        self.url = url

    def predict_proba(self, x):
        asked = urllib.request.Request(self.url, json.dumps(x.tolist()).encode())
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return np.asarray(json.load(answer))

@mt.spec(data=data, gates=[*GATES, mt.invariant(np.copy)])
def served():
    return Endpoint(os.environ["NET_URL"])
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Serve the classifier on this machine, until it is empty; yields how many samples it was asked for."""
    model, asked = classifier(), list[int]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            x = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(len(x))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(model.predict_proba(x).tolist()).encode())

        def log_message(self, *message: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("NET_URL", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()
        thread.join()


def test_a_served_model_is_judged_as_the_one_behind_it_and_said_when_it_is_gone(
    given: Example, served: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given.with_spec(SPEC.partition("@mt.spec")[0] + SERVED)
    given.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    (run,) = given.history()
    y = np.arange(120) % 3
    x = np.random.default_rng(0).normal(size=(120, 2)) + 2.0 * y[:, None]
    assert run.scores["accuracy"].mean == (classifier().predict(x) == y).mean()
    assert max(served) == 120
    monkeypatch.setenv("NET_URL", "http://127.0.0.1:9")
    gone = given.run_pytest()
    gone.stdout.fnmatch_lines(
        [
            "*served: Endpoint cannot predict the first samples of test: x (8, 2).",
            "  It says: URLError: *",
        ]
    )


def test_an_accepted_predictor_is_not_scored_on_data_that_grew_and_that_is_said(
    given: Example,
) -> None:
    given.run_pytest("--modeltune-accept").assert_outcomes(passed=1)
    given.with_spec(SPEC.replace("return x, y", "return x[1:], y[1:]")).run_pytest()
    run, *_ = given.history()
    verdict = next(v for v in run.verdicts if "accuracy" in v.gate and "baseline" in v.gate)
    assert verdict.outcome.value == "invalid"
    assert verdict.reason == (
        f"the accepted run {run.baseline[:8] if run.baseline else ''} was measured on other test data, "
        "and of a predictor only what it predicted is kept, for loading it again would run its code; have "
        "the build function return the accepted one, accept that run on today's data, then return the new "
        "one"
    )
