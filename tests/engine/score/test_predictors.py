"""What a predictor predicts is told from its form and the targets, and refused where it cannot be."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.probe.predictions import output_of
from modeltune.engine.score.prediction_files import read_predictions
from modeltune.engine.score.predictors import (
    GivenPredictor,
    digest_of_predictor,
    inputs_of,
    notes_on_predictors,
    predictor_scores,
    rehearse_predictor,
)
from modeltune.engine.score.task_report import answers_of, task_name
from modeltune.ground import SpecError
from tests.support.small_models import spec_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3))
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
LABELS = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
NUMBERS = X @ [1.0, 2.0, 3.0]
TEXTS = np.array(["cat", "dog", "fox"])[THREE]


def part(y: Any, x: Any = X, **others: Any) -> Part:
    return Part("test", len(y), "", x=x, y=y, **others)


def given(model: Any, **fields: Any) -> GivenPredictor:
    spec = spec_of(**fields)
    return GivenPredictor(model, spec)


def returning(values: Any) -> Any:
    return SimpleNamespace(predict=lambda x: values)


FOREST = RandomForestClassifier(5, random_state=0)
TOLD = {
    "two classes": (FOREST.fit(X, TWO).__class__(5, random_state=0).fit(X, TWO), TWO, "binary"),
    "three classes": (RandomForestClassifier(5, random_state=0).fit(X, THREE), THREE, "multiclass"),
    "classes of text": (
        RandomForestClassifier(5, random_state=0).fit(X, TEXTS),
        TEXTS,
        "multiclass",
    ),
    "one-hot": (returning(np.full((90, 3), 1 / 3)), np.eye(3)[THREE], "multiclass"),
    "labels": (MultiOutputClassifier(LogisticRegression()).fit(X, LABELS), LABELS, "multilabel"),
    "numbers": (RandomForestRegressor(5, random_state=0).fit(X, NUMBERS), NUMBERS, "regression"),
    "counts by a regressor": (
        RandomForestRegressor(5, random_state=0).fit(X, THREE),
        THREE,
        None,
    ),
    "columns of numbers": (returning(X[:, :2]), X[:, 1:], "regression"),
    "probabilities": (returning(np.where(TWO, 0.7, 0.2)), TWO, "binary"),
    "a column": (returning(np.where(TWO, 0.7, 0.2)[:, None]), TWO[:, None], "binary"),
    "predicted classes": (returning(THREE), THREE, "multiclass"),
    "predicted texts": (returning(TEXTS), TEXTS, "multiclass"),
    "quantiles": (returning(NUMBERS[:, None] + [-1, 0, 1]), NUMBERS, "quantiles"),
    "counts": (returning(THREE + 0.5), THREE, None),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_task_is_told_by_what_is_predicted_and_by_the_targets(name: str) -> None:
    model, y, task = TOLD[name]
    if task is None:
        with pytest.raises(SpecError, match=r"it cannot be told what .* predicts: .*write task="):
            given(model).outputs(part(y))[0]
        assert task_name(given(model, task="regression").outputs(part(y))[0]) == "regression"
        return
    assert task_name(given(model).outputs(part(y))[0]) == task


def test_classes_of_text_are_those_of_the_predictors_columns() -> None:
    model, y, _ = TOLD["classes of text"]
    answers = answers_of(given(model).outputs(part(y))[0])
    assert answers is not None
    assert answers.truth.tolist() == THREE.tolist()
    assert np.array_equal(answers.outputs, model.predict_proba(X))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="test has the class owl, which is none of: cat, dog, fox"):
        given(model).outputs(part(np.where(THREE == 0, "owl", y)))[0]


def test_predicted_classes_have_no_probabilities() -> None:
    answers = answers_of(given(returning(THREE)).outputs(part(THREE))[0])
    assert answers is not None
    assert answers.outputs is None
    data = SimpleNamespace(
        validation=Part("validation", 0, ""), test=part(THREE), train=Part("train", 0, "")
    )
    scores = predictor_scores(given(returning(THREE)), data)  # type: ignore[arg-type]
    assert scores["accuracy"] == scores["mcc"] == 1.0
    assert "log_loss" not in scores


def test_a_frame_reaches_a_predictor_as_a_frame() -> None:
    frame = pd.DataFrame({"age": [1.5, 2.5], "town": ["a", "b"]})

    @mt.spec(data=mt.Data(test=(frame, [0, 1])))
    def net() -> Any:
        return returning(0)

    got = inputs_of(load_data(net).test)
    pd.testing.assert_frame_equal(got, frame, check_dtype=False)


@pytest.mark.parametrize(
    ("model", "y", "why"),
    [
        (returning(TWO[:50]), TWO, "it predicts 50 rows for 90 samples of test"),
        (returning(X[:, :2]), THREE, "it cannot be told"),
        (
            FOREST.__class__(5, random_state=0).fit(X, TWO),
            THREE,
            "test has the class 2, which is none of: 0, 1",
        ),
        (returning(X[:, :2]), None, "test has no targets"),
        (
            mt.Predictions(["owl"] * 90),
            THREE,
            "y is int64 of shape .* and holds 1, predicted is <U3 .* holds 'owl': they have no class in com",
        ),
    ],
    ids=["rows", "columns", "classes", "targets", "kinds"],
)
def test_what_does_not_belong_to_the_targets_is_refused(model: Any, y: Any, why: str) -> None:
    one = Part("test", 90, "", x=X, y=y)
    with pytest.raises(SpecError, match=why):
        given(model).outputs(one)[0]


@pytest.mark.parametrize(
    ("values", "id_", "why"),
    [
        (3, None, "3: write an array, or the path of a file"),
        ([0.1], "id", "id='id' names a column of a file; an array has none"),
        ("p.txt", None, "is none of .npy, .csv, .parquet"),
        ("p.npy", "id", "names a column, and a .npy file has none"),
        ("p.csv", None, "its columns are not all numbers: id, p; id= names that of ids"),
        ("p.csv", "id", "x of test has no such column to join by"),
        ([[1], [1, 2]], None, r"\[\[1\], \[1, 2\]\] is no array with a row for each sample"),
        (
            "text.npy",
            None,
            "text.npy cannot be read as .npy: it holds no array of numbers or texts; wri",
        ),
        (
            "objects.npy",
            None,
            "objects.npy cannot be read as .npy: it holds no array of numbers or text",
        ),
        (
            "several.npy",
            None,
            "several.npy holds several arrays, as np.savez writes; write it by np.sav",
        ),
        (
            "text.parquet",
            None,
            "text.parquet cannot be read as .parquet: .*; write it by frame.to_parquet",
        ),
        ("bytes.csv", None, "bytes.csv cannot be read as .csv: UnicodeDecodeError: .*, in UTF-8"),
        (
            "empty.csv",
            None,
            "empty.csv cannot be read as .csv: EmptyDataError: No columns to parse",
        ),
    ],
)
def test_what_are_no_predictions_is_refused(
    tmp_path: Path, values: Any, id_: str | None, why: str
) -> None:
    np.save(tmp_path / "p.npy", np.zeros(2))
    np.save(tmp_path / "objects.npy", np.array([{}, None]))
    with (tmp_path / "several.npy").open("wb") as file:
        np.savez(file, np.zeros(2), np.zeros(2))
    for name, content in {"text.npy": b"a", "text.parquet": b"a", "bytes.csv": b"\xff\xfe"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "p.csv").write_text("id,p\na,0.5\nb,0.6\n")
    with pytest.raises(ValueError, match=why):
        read_predictions(mt.Predictions(values, id_), tmp_path, part(TWO))


# several outputs

KINDS = np.stack([X[:, 0] < -0.5, abs(X[:, 0]) <= 0.5, X[:, 0] > 0.5], axis=1).astype(float)
SEVERAL = {"kind": THREE, "price": NUMBERS}


def several(**outputs: Any) -> Any:
    """Return a predictor that predicts, of each sample, what its first value says."""
    return SimpleNamespace(predict=lambda x: {name: f(x) for name, f in outputs.items()})


def kind_of(x: Any) -> Any:
    return np.eye(3)[np.digitize(x[:, 0], [-0.5, 0.5])]


def price_of(x: Any) -> Any:
    return x @ [1.0, 2.0, 3.0]


def tuple_of(x: Any) -> Any:
    return kind_of(x), price_of(x)


@pytest.mark.parametrize(
    ("model", "y", "expected"),
    [
        (
            several(price=price_of, kind=kind_of, other=price_of),
            SEVERAL,
            {"kind_": ("multiclass", "kind", 0), "price_": ("regression", "price", 1)},
        ),
        (
            SimpleNamespace(predict=tuple_of),
            (THREE, NUMBERS),
            {"0_": ("multiclass", "0", 0), "1_": ("regression", "1", 1)},
        ),
        (
            SimpleNamespace(predict=tuple_of, output_names=["kind", "price"]),
            SEVERAL,
            {"kind_": ("multiclass", "kind", 0), "price_": ("regression", "price", 1)},
        ),
        (
            SimpleNamespace(predict=lambda x: [kind_of(x)]),
            {"kind": THREE},
            None,
        ),
        (SimpleNamespace(predict=lambda x: (kind_of(x),)), THREE, {"": ("multiclass", "", 0)}),
        (SimpleNamespace(predict=kind_of), {"kind": THREE}, {"": ("multiclass", "kind", 0)}),
        (
            mt.Predictions({"kind": kind_of(X), "price": price_of(X)}),
            SEVERAL,
            {"kind_": ("multiclass", "kind", 0), "price_": ("regression", "price", 1)},
        ),
    ],
    ids=["dict", "tuple", "named tuple", "a list beside a dict", "one", "one target", "values"],
)
def test_outputs_are_paired_with_targets_by_name_or_by_place(
    model: Any, y: Any, expected: dict[str, tuple[str, str, int]] | None
) -> None:
    one = Part("test", len(X), "", x=X, y=y)
    if expected is None:
        with pytest.raises(SpecError, match="it predicts 0, and test has the targets kind: kind "):
            given(model).outputs(one)
        return
    outputs = given(model).outputs(one)
    assert {o.prefix: (task_name(o), o.path, o.place) for o in outputs} == expected
    if isinstance(model, mt.Predictions):
        return
    _, read = given(model).reader(one)
    again = read(X[:4])
    for output in outputs:
        assert np.array_equal(output_of(output, again), output.predicted[:4])


@pytest.mark.parametrize(
    ("model", "y", "why"),
    [
        (
            several(kind=kind_of, price=price_of),
            THREE,
            "predicts 2 outputs, kind, price, and test has one array of targets: return y as a dict by",
        ),
        (
            SimpleNamespace(predict=tuple_of),
            THREE,
            "predicts 2 outputs, 0, 1, and test has one array",
        ),
        (
            SimpleNamespace(predict=price_of),
            SEVERAL,
            "predicts one array, and test has the targets kind, price: return a dict of predictions",
        ),
        (
            several(price=price_of),
            SEVERAL,
            "predicts price, and test has the .*: kind cannot be paired",
        ),
        (
            mt.Predictions({"kind": kind_of(X), "price": price_of(X)[:7]}),
            SEVERAL,
            "predictions of price: 7 rows for 90 samples of test",
        ),
        (
            several(kind=price_of, price=price_of),
            SEVERAL,
            'told what SimpleNamespace predicts of kind: .*; write task={"kind": "binary"}, "multiclass"',
        ),
    ],
    ids=["targets", "tuple", "array", "missing", "rows", "task"],
)
def test_outputs_that_belong_to_no_targets_are_refused(model: Any, y: Any, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        given(model).outputs(Part("test", len(X), "", x=X, y=y))


def test_a_frame_of_targets_and_a_file_of_predictions_are_paired_by_column(tmp_path: Path) -> None:
    pd.DataFrame({"price": price_of(X), "kind": THREE}).to_csv(tmp_path / "p.csv", index=False)
    read = read_predictions(mt.Predictions("p.csv"), tmp_path, Part("test", 90, "", x=X, y=SEVERAL))
    assert {name: array.tolist() for name, array in read.items()} == {
        "kind": THREE.tolist(),
        "price": price_of(X).tolist(),
    }
    wanted = {"size": THREE, "kind": THREE}
    with pytest.raises(ValueError, match="has the columns price, kind, and no size: name one for"):
        read_predictions(mt.Predictions("p.csv"), tmp_path, Part("test", 90, "", x=X, y=wanted))

    @mt.spec(data=mt.Data(test=(X, pd.DataFrame({"u": NUMBERS, "v": X[:, 0]}))))
    def net() -> Any:
        return several(v=lambda x: x[:, 0], u=price_of)

    outputs = GivenPredictor(net.model(), net).outputs(load_data(net).test)
    assert [(o.name, float(abs(o.y - o.predicted).max()) < 1e-9) for o in outputs] == [
        ("u", True),
        ("v", True),
    ]


# beyond test


def test_a_gain_is_that_over_what_a_dummy_learns_of_the_targets_of_train() -> None:
    half = slice(0, 45)
    model = several(kind=lambda x: 0.7 * kind_of(x) + 0.1, price=lambda x: price_of(x) + 1)
    gates = [
        mt.gain_over_dummy(name) >= 0
        for name in ("kind_accuracy", "kind_log_loss", "price_mae", "kind_balanced_accuracy")
    ]
    data = SimpleNamespace(
        validation=Part("validation", 0, ""),
        train=Part("train", 45, "", x=X[half], y={k: v[half] for k, v in SEVERAL.items()}),
        test=part(SEVERAL["kind"]),
    )
    data.test = Part("test", 90, "", x=X, y=SEVERAL)
    scores = predictor_scores(given(model, gates=gates), data)  # type: ignore[arg-type]
    shares = np.bincount(THREE[half], minlength=3) / 45
    most = float((shares.argmax() == THREE).mean())
    loss = metrics.log_loss(THREE, np.tile(shares, (90, 1)))
    middles = [np.mean(NUMBERS[half]), np.median(NUMBERS[half])]
    error = min(metrics.mean_absolute_error(NUMBERS, np.full(90, middle)) for middle in middles)
    expected = {
        "kind_accuracy": (scores["kind_accuracy"] - most) / (1 - most),
        "kind_log_loss": (loss - scores["kind_log_loss"]) / loss,
        "price_mae": (error - scores["price_mae"]) / error,
        "kind_balanced_accuracy": (scores["kind_balanced_accuracy"] - 1 / 3) / (1 - 1 / 3),
    }
    for name, gain in expected.items():
        assert scores[f"gain_over_dummy({name})"] == pytest.approx(gain, abs=1e-6), name


def test_a_class_of_text_is_learned_by_a_dummy_as_by_a_predictor() -> None:
    gates = [mt.gain_over_dummy("accuracy") >= 0]
    data = SimpleNamespace(
        validation=Part("validation", 0, ""),
        train=replace(part(TEXTS), name="train"),
        test=part(TEXTS),
    )
    scores = predictor_scores(given(returning(TEXTS), gates=gates), data)  # type: ignore[arg-type]
    assert scores["gain_over_dummy(accuracy)"] == 1.0


@pytest.mark.parametrize("error", [RuntimeError("backend is down"), SystemExit(3)])
@pytest.mark.parametrize("most", [0, 8])
def test_what_a_predictor_raises_is_told_before_anything_is_judged(error: Any, most: int) -> None:
    def predict(x: Any) -> Any:
        if len(x) > most:
            raise error
        return x[:, 0]

    model = given(SimpleNamespace(predict=predict), task="regression")
    data: Any = SimpleNamespace(test=part(X[:, 0]), train=Part("train", 0, ""))
    what = r"test: x \(90" if most else r"the first samples of test: x \(8"
    with pytest.raises(
        SpecError, match=rf"cannot predict {what}, 3\).\n  It says: {type(error).__name__}"
    ):
        (digest_of_predictor if most else rehearse_predictor)(model, data)


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (None, "It says: ValueError: it returned None, and no array with a row for each sample"),
        ("yes", "It says: ValueError: it returned 'yes'|\"yes\", and no array"),
        (0.5, "It says: ValueError: it returned 0.5, and no array"),
        ({}, "it predicts an empty dict or list; return an array"),
        (np.array([object()] * 8), "they have no class in common"),
    ],
    ids=["None", "text", "number", "nothing", "objects"],
)
def test_what_is_no_prediction_is_refused(returned: Any, why: str) -> None:
    data: Any = SimpleNamespace(test=part(THREE), train=Part("train", 0, ""))
    with pytest.raises(SpecError, match=why):
        rehearse_predictor(given(returning(returned)), data)


def test_resources_are_not_listed_among_what_is_measured_of_a_predictor() -> None:
    data: Any = SimpleNamespace(test=part(X[:, 0]), train=Part("train", 0, ""))
    gates = [mt.metric("acuracy") >= 0, mt.metric("flops") <= 3]
    with pytest.raises(SpecError) as told:
        rehearse_predictor(given(returning(X[:8, 0]), task="regression", gates=gates), data)
    first, second = str(told.value).splitlines()
    assert "parameters" not in first
    assert "flops" not in first
    assert "only the operations of a Keras model are counted; leave the gate out" in second


# identity


class Bent:
    """Predicts as its like do for test, and otherwise far from there."""

    def __init__(self, bend: float, lock: Any = None):
        self.bend = bend
        self.lock = lock

    def predict(self, x: Any) -> Any:
        return np.where(x[:, 0] > 100, self.bend, x[:, 0])


def digest(model: Any, **fields: Any) -> str:
    data: Any = SimpleNamespace(test=part(X[:, 0]))
    return digest_of_predictor(given(model, task="regression", **fields), data)


def test_predictors_that_differ_beside_test_are_told_apart() -> None:
    assert digest(Bent(1.0)) == digest(Bent(1.0)) != digest(Bent(2.0))
    values = mt.Predictions(X[:, 0])
    assert digest(values) == digest(mt.Predictions(X[:, 0].copy()))


def test_what_memory_held_between_the_fields_of_a_tree_tells_no_forests_apart() -> None:
    one, other = (RandomForestRegressor(2, random_state=0).fit(X, X[:, 0]) for _ in range(2))
    data: Any = SimpleNamespace(test=part(X[:, 0]))
    assert digest_of_predictor(given(one), data) == digest_of_predictor(given(other), data)
    kind = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    forms = [np.frombuffer(bytes([fill]) * 32, np.uint8).copy().view(kind) for fill in (0, 255)]
    for form in forms:
        form["a"], form["b"] = 1, 2.0
    assert forms[0].tobytes() != forms[1].tobytes()
    assert digest(Bent(1.0, forms[0])) == digest(Bent(1.0, forms[1]))


def test_one_that_cannot_be_compared_is_known_by_its_predictions_unless_it_is_probed() -> None:
    locked = [Bent(bend, threading.Lock()) for bend in (1.0, 2.0)]
    assert digest(locked[0]) == digest(locked[1])
    gates = [mt.invariant(np.copy, tolerance=0.1)]
    assert digest(locked[0], gates=gates).startswith("not comparable: TypeError: cannot pickle")
    assert digest(Bent(1.0), gates=gates) == digest(Bent(1.0))
    told = notes_on_predictors(spec_of(gates=gates), [given(locked[0], gates=gates)])
    assert told[-1].startswith("Bent is known by its predictions for test alone (TypeError: cannot")
    assert told[-1].endswith("probe it elsewhere, so that no recorded run is served")
