"""A build function without arguments returns a trained model: it is judged as it is, to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from modeltune.records import Question, Regression
from tests.support.example import RULES, Example

GIVEN = (
    RULES
    + """
def only_test():
    data = blobs().train
    return mt.Data(test=data)

@mt.spec(data=only_test, gates=[mt.metric("accuracy") >= 0.9, mt.metric("accuracy") >= mt.baseline])
def shipped():
    return keras.models.load_model("models/0.keras")
"""
)


@pytest.fixture(scope="module")
def trained(keras_is_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three models that tell the blobs apart, after 30, 31 and 32 epochs."""
    folder = tmp_path_factory.mktemp("trained")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(
        keras.optimizers.Adam(0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = blobs()
    for number, epochs in enumerate([30, 1, 1]):
        model.fit(x, y, epochs=epochs, batch_size=60, verbose=0)
        model.save(folder / f"{number}.keras")
    return folder


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return the data of ``RULES``."""
    y = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 2)) + 3.0 * y[:, None]
    return x.astype("float32"), y


@pytest.fixture
def given(project: Example, trained: Path) -> Example:
    """Return a project with a spec whose model comes from a file."""
    shutil.copytree(trained, project.path / "models")
    return project.with_spec(GIVEN)


def test_the_model_that_ships_is_the_one_that_is_judged(given: Example) -> None:
    model = keras.models.load_model(given.path / "models/0.keras")
    done = given.run_pytest()
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        [
            "*::shipped: trained already, nothing is searched or trained",
            "  scoring 1 trained model",
            "  refit 1/1 (model 1): accuracy * on test*",
        ]
    )
    (run,) = given.history()
    expected = model.evaluate(*blobs(), verbose=0, return_dict=True)
    assert run.scores["accuracy"].values == (pytest.approx(expected["accuracy"], abs=0),)
    assert run.scores["loss"].values == (pytest.approx(expected["loss"], rel=1e-6),)
    assert run.trials == ()
    assert run.data["samples"] == {"test": 60}
    # What is kept and exported are its weights, to the bit.
    status, printed = given.run_modeltune("export", run.id, "exported.keras")
    assert status == 0, printed
    exported = keras.models.load_model(given.path / "exported.keras")
    for one, other in zip(model.get_weights(), exported.get_weights(), strict=True):
        assert np.array_equal(one, other)
    status, printed = given.run_modeltune("replay", run.id)
    assert status == 0, printed


def test_a_model_is_known_by_what_it_has_learned_and_not_by_its_path(given: Example) -> None:
    given.run_pytest()
    (given.path / "models/0.keras").rename(given.path / "elsewhere.keras")
    moved = given.with_spec(GIVEN.replace("models/0", "elsewhere"))
    moved.run_pytest("--modeltune-reuse").stdout.fnmatch_lines(["*passed (cached)*"])
    (given.path / "models/1.keras").rename(given.path / "elsewhere.keras")
    again = moved.run_pytest("--modeltune-reuse")
    again.stdout.fnmatch_lines(["*no recorded run was reused: model/1 changed since run *"])
    again.stdout.no_fnmatch_line("*cached*")


def test_several_models_are_refits_of_a_recipe(given: Example) -> None:
    listed = 'return [keras.models.load_model(f"models/{n}.keras") for n in range(3)]'
    given.with_spec(
        GIVEN.replace('return keras.models.load_model("models/0.keras")', listed)
    ).run_pytest().assert_outcomes(passed=1)
    (run,) = given.history()
    assert len(run.scores["accuracy"].values) == 3
    assert len(set(run.scores["loss"].values)) == 3
    assert run.validation["models"] == 3


WRONG = {
    "no such file": (
        GIVEN.replace("models/0", "models/none"),
        "*spec_a.py:*: shipped: the model cannot be loaded: *models/none.keras*",
    ),
    "no model": (
        GIVEN.replace('keras.models.load_model("models/0.keras")', "3"),
        "*shipped returned a int; return a trained keras.Model, an object with predict(x), *",
    ),
    "another input": (
        GIVEN.replace(
            "return mt.Data(test=data)", "return mt.Data(test=(data[0][:, :1], data[1]))"
        ),
        "*shipped: the model cannot score the first batch of test: x (8, 1), y (8,); it takes (None, 2)*",
    ),
    "no such metric": (
        GIVEN.replace('"accuracy") >= 0.9', '"acuracy") >= 0.9'),
        '*gates?0?: mt.metric("acuracy") >= 0.9: no metric "acuracy" in *',
    ),
    "train is needed": (
        GIVEN.replace('mt.metric("accuracy") >= 0.9', 'mt.gap("accuracy") <= 0.1'),
        '*data: train is None, but gates?0?, mt.gap("accuracy") <= 0.1, compares with it; *',
    ),
    "no test": (
        GIVEN.replace("test=data", "validation=data"),
        "*data: test is None, and a given model is scored on nothing else; return mt.Data(test=(x, y))*",
    ),
    "a search of its own": (
        GIVEN.replace("@mt.spec(", "@mt.spec(search=mt.GridSearch(mt.maximize('val_loss')), "),
        "*search: the build function takes no argument, so that its model is trained already: *",
    ),
    "a default for hp": (
        GIVEN.replace("def shipped():", "def shipped(hp=None):"),
        "*model: shipped has a default for hp: write shipped(hp) to have hyperparameters, or *",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_judged_is_told_before_anything_is(given: Example, name: str) -> None:
    text, line = WRONG[name]
    done = given.with_spec(text).run_pytest()
    assert done.exit_code != 0
    done.stdout.fnmatch_lines([line])
    assert "Traceback" not in done.output


def test_a_file_from_elsewhere_is_held_to_the_gates_of_a_spec(given: Example) -> None:
    rules = (
        RULES
        + """
@spec(gates=[mt.metric("accuracy") >= 0.9])
def dense(hp):
    raise NotImplementedError
"""
    )
    given = given.with_spec(rules)
    status, printed = given.run_modeltune("check", "models/0.keras", "--spec=spec_a.py::dense")
    assert status == 0, printed
    (run,) = given.history()
    assert run.spec == "spec_a.py::dense"
    assert (
        f"the model is given, in {given.path / 'models/0.keras'}; nothing was trained" in run.notes
    )
    # The part that is cut for its runs is cut for it too.
    assert run.data["samples"] == {"train": 36, "validation": 12, "test": 12}
    assert run.trials == ()
    # The spec builds another model, if any.
    (given.path / "models/0.keras").unlink()
    status, printed = given.run_modeltune("replay", run.id)
    assert status == 0, printed


def test_a_file_is_compared_with_the_model_that_the_accepted_search_kept(given: Example) -> None:
    rules = (
        RULES
        + """
@spec(
    search=None, validation=mt.Holdout(epochs=1, seeds=2), gates=[mt.metric("accuracy") >= mt.baseline]
)
def dense(hp):
    return compiled(hp)
"""
    )
    given = given.with_spec(rules)
    given.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    status, printed = given.run_modeltune("check", "models/0.keras", "--spec=spec_a.py::dense")
    (verdict,) = given.history()[0].verdicts
    assert verdict.outcome.value in ("passed", "inconclusive"), printed
    assert isinstance(verdict.details, Regression)
    assert verdict.details.question is Question.ARTIFACT, verdict.reason
    assert status == 0, printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["models/0.keras"], "say which spec it is held to: --spec model_specs/spec_x.py::net"),
        (["none.keras", "--spec=spec_a.py::shipped"], "none.keras does not exist; name a model"),
        (["none.skops"], "say which spec it is held to: --spec model_specs/spec_x.py::net"),
        (
            ["spec_a.py", "--spec=spec_a.py::shipped"],
            "spec_a.py is no .keras and no .skops file; name a model",
        ),
        (
            ["models/0.keras", "--spec=spec_b.py::net"],
            "--spec spec_b.py::net: there is no such spec",
        ),
    ],
)
def test_a_wrong_file_or_spec_is_named(given: Example, arguments: list[str], line: str) -> None:
    given.write()
    status, printed = given.run_modeltune("check", *arguments)
    assert status == 1
    assert line in printed


def test_under_a_protocol_for_others_its_training_is_left_out_and_said(given: Example) -> None:
    text = GIVEN.replace("@mt.spec(data=only_test", "rules = spec(data=only_test").replace(
        "def shipped", "\n@rules\ndef shipped"
    )
    done = given.with_spec(text).run_pytest()
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        ["*search, fit, validation of its protocol are for models that are trained; *"]
    )


OWN = (
    RULES
    + """
import functools
from sklearn.metrics import fbeta_score, roc_auc_score

def cost(y_true, y_pred):
    wrong = y_pred.argmax(axis=1) != y_true
    return 5.0 * (wrong & (y_true == 1)) + 3.0 * (wrong & (y_true == 0))

def kappa(y_true, y_pred):
    right = y_pred.argmax(axis=1) == y_true
    return float(2 * right.mean() - 1)

def broken(y_true, y_pred):
    return y_pred[:, 7]

def left(x):
    return x[:, 0] < 1.5

GATES = [
    mt.metric(cost) <= mt.baseline,
    mt.metric(kappa) >= mt.baseline - 0.01,
    mt.metric(kappa).on("left", left, min_n=10) >= -1,
    mt.metric(functools.partial(fbeta_score, beta=2)) >= 0,
    mt.metric(roc_auc_score) >= 0.5,
    mt.metric("roc_auc") >= mt.baseline - 0.5,
    mt.metric("brier") <= mt.baseline + 0.5,
]

@mt.spec(data=mt.Data(test=blobs().train), gates=GATES)
def shipped():
    return keras.models.load_model("models/0.keras")
"""
)


def test_metrics_of_ones_own_and_the_usual_numbers_are_judged_beside_the_baseline(
    given: Example,
) -> None:
    from sklearn import metrics

    first = given.with_spec(OWN)
    first.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    (run,) = first.history()
    x, y = blobs()
    shares = keras.models.load_model(given.path / "models/0.keras").predict(x, verbose=0)
    labels = shares.argmax(axis=1)
    expected = {
        "fbeta_score(beta=2)": metrics.fbeta_score(y, labels, beta=2),
        "roc_auc_score": metrics.roc_auc_score(y, shares[:, 1]),
        "roc_auc": metrics.roc_auc_score(y, shares[:, 1]),
        "log_loss": metrics.log_loss(y, shares[:, 1]),
        "brier": metrics.brier_score_loss(y, shares[:, 1]),
        "mcc": metrics.matthews_corrcoef(y, labels),
        "kappa": metrics.cohen_kappa_score(y, labels),
    }
    for name, value in expected.items():
        assert run.scores[name].mean == pytest.approx(value, abs=1e-9), name

    # The same model again: nothing has become worse, and what raises is its own gate's error.
    text = OWN.replace("GATES = [", "GATES = [\n    mt.metric(broken) >= 0,")
    again = first.with_spec(text).run_pytest()
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*IndexError*", "*return y_pred[[]:, 7[]]*"])
    verdicts = {v["gate"]: v for v in again.reported[0]["verdicts"]}
    assert verdicts["mt.metric(broken) >= 0"]["outcome"] == "error"
    tests = {gate: (v["details"] or {}).get("test") for gate, v in verdicts.items()}
    assert tests["mt.metric(cost) <= mt.baseline"] == "paired bootstrap"
    assert tests["mt.metric(kappa) >= mt.baseline - 0.01"] == "paired bootstrap"
    assert tests['mt.metric("roc_auc") >= mt.baseline - 0.5'] == "DeLong"
    assert tests['mt.metric("brier") <= mt.baseline + 0.5'] == "paired bootstrap"
    outcomes = {v["outcome"] for gate, v in verdicts.items() if "broken" not in gate}
    assert outcomes == {"passed"}

    # Another definition is nothing to compare with.
    changed = first.with_spec(OWN.replace("5.0 * (wrong", "6.0 * (wrong")).run_pytest()
    changed.stdout.fnmatch_lines(["*invalid*cost is computed differently than by *"])
