"""A strong model of scikit-learn that nobody tuned is fitted to train, and a model is held against it on test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neighbors import KNeighborsClassifier

import modeltune as mt
from modeltune.engine.data.loading import Part
from modeltune.engine.data.ragged import RaggedArray
from modeltune.engine.score import strong_baselines
from modeltune.engine.score.strong_baselines import check_strong_baselines, strong_gain
from modeltune.engine.score.task_report import Output, OutputTask
from modeltune.ground.errors import SpecError

NUMBERS = np.random.default_rng(0).permutation(150)
X, Y = (array[NUMBERS] for array in load_iris(return_X_y=True))


def part(x: Any, y: Any, name: str = "train", **fields: Any) -> Part:
    return Part(name, len(y), "", x=x, y=y, **fields)


def classes(y: Any, predicted: Any, task: OutputTask = OutputTask.MULTICLASS) -> Output:
    return Output("", "", task, False, y, np.asarray(predicted, np.float32))


def test_a_model_that_is_the_baseline_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strong_baselines, "ITERATIONS", 3)
    train, test = part(X[:100], Y[:100]), part(X[100:], Y[100:], "test")
    scaled = (X - X[:100].mean(axis=0)) / X[:100].std(axis=0)
    knn = KNeighborsClassifier(5).fit(scaled[:100], Y[:100]).predict(scaled[100:])
    same = classes(Y[100:], np.eye(3)[knn])
    assert strong_gain("knn", train, test, [same]) == 0
    right = classes(Y[100:], np.eye(3)[Y[100:]])
    lost = float(np.mean(knn != Y[100:]))
    assert strong_gain("knn", train, test, [right]) == pytest.approx(lost)
    wrong = classes(Y[100:], np.eye(3)[(Y[100:] + 1) % 3])
    assert strong_gain("hist_gradient_boosting", train, test, [wrong]) < -0.8
    # One-hot targets are the same classes.
    hot = classes(np.eye(3)[Y[100:]], np.eye(3)[knn])
    hot_train, hot_test = (replace(p, y=np.eye(3)[p.y]) for p in (train, test))
    assert strong_gain("knn", hot_train, hot_test, [hot]) == 0


def test_numbers_are_compared_by_r2() -> None:
    x, y = load_diabetes(return_X_y=True)
    train, test = part(x[:300], y[:300, None]), part(x[300:], y[300:, None], "test")
    mean = np.full((142, 1), y[300:].mean())
    of_mean = Output("", "", OutputTask.REGRESSION, False, y[300:, None], mean)
    assert -0.6 < strong_gain("knn", train, test, [of_mean]) < -0.2
    right = replace(of_mean, predicted=y[300:, None])
    assert strong_gain("knn", train, test, [right]) > 0.4


def test_labels_are_right_where_all_are_and_columns_of_texts_are_categories() -> None:
    kind = np.array(["low", "high"])[(X[:, 2] > 4).astype(int)]
    x = {"petal": X[:, 2:3], "kind": kind}
    y = np.stack([X[:, 2] > 4, X[:, 0] > 0], axis=1).astype(int)
    train, test = part(x, y), part(x, y, "test")
    wrong = np.zeros((150, 2))
    of_none = classes(y, wrong, OutputTask.MULTILABEL)
    assert strong_gain("knn", train, test, [of_none]) == -1
    binary = classes(y[:, 0], y[:, :1], OutputTask.BINARY)
    train, test = (replace(p, y=y[:, 0]) for p in (train, test))
    assert strong_gain("knn", train, test, [binary]) == 0


IMAGES = np.zeros((4, 65, 65), np.float32)
RAGGED = np.array([np.zeros(2), np.zeros(3)], object).view(RaggedArray)
TEXTS = np.array([[f"text {n}"] for n in range(300)], object)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (IMAGES, np.zeros(4), "a sample of train has 4225 numbers, and the baseline takes 4096"),
        (TEXTS, np.zeros(300), "train x holds texts"),
        (RAGGED, np.zeros(2), "rows of different lengths"),
        (np.zeros((0, 2)), np.zeros(0), "train has no samples"),
        (np.zeros((4, 2)), {"a": np.zeros(4), "b": np.zeros(4)}, "y has several arrays"),
    ],
    ids=["large images", "texts", "ragged", "empty", "several outputs"],
)
def test_data_that_it_cannot_take_are_refused_before_anything_is_trained(
    x: Any, y: Any, words: str
) -> None:
    @mt.spec(
        data=lambda: None,  # type: ignore[arg-type,return-value]
        search=mt.RandomSearch(mt.maximize("val_accuracy")),
        gates=[mt.gain_over("knn") >= 0],
    )
    def spec(hp: Any) -> Any: ...

    size = len(y) if not isinstance(y, dict) else 4
    train = Part("train", size, "", x=x, y=y)
    with pytest.raises(SpecError, match=words) as refused:
        check_strong_baselines(spec, train, train)
    assert str(refused.value).startswith('gates[0]: mt.gain_over("knn") >= 0: ')
    assert "leave the gate out" in str(refused.value)
