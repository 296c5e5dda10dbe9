"""Hold every number of thirty given models against scikit-learn's, and Keras's, on the same predictions.

Predictors of scikit-learn of every task, some of them as ONNX sessions where ``onnxruntime`` and
``skl2onnx`` are installed, predictions as arrays, and Keras models of each kind, whose weights are as
they are built: what is shown is that numbers are equal. ``python benchmarks/given_models.py`` prints
the largest difference of each model, and of all; ``--without-keras`` leaves out those of Keras.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn import clone, ensemble, linear_model, metrics, naive_bayes, neighbors, svm, tree
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modeltune as mt
from modeltune.records import Run

RANDOM = np.random.default_rng(0)
N = 600
X = RANDOM.normal(size=(N, 8)).astype("float32")
NOISE = RANDOM.normal(size=(N, 4))
TWO = (X[:, 0] + NOISE[:, 0] > 0).astype(int)
FIVE = np.digitize(X[:, 0] + NOISE[:, 1], [-1, -0.3, 0.3, 1])
TEXTS = np.array(["ant", "bee", "cat", "dog", "elk"])[FIVE]
LABELS = (X[:, :3] + NOISE[:, :3] > 0.5).astype(int)
NUMBER = X @ np.arange(8) + NOISE[:, 0]
NUMBERS = np.stack([NUMBER, X[:, 1] + NOISE[:, 1]], axis=1)
TRAIN, TEST = slice(0, 300), slice(300, N)

Expected = Mapping[str, Callable[[Any, Any, Any], float]]

CLASSES: Expected = {
    "accuracy": lambda y, p, c: metrics.accuracy_score(y, c),
    "precision": lambda y, p, c: metrics.precision_score(y, c, average="macro", zero_division=0),
    "recall": lambda y, p, c: metrics.recall_score(y, c, average="macro"),
    "f1": lambda y, p, c: metrics.f1_score(y, c, average="macro"),
    "balanced_accuracy": lambda y, p, c: metrics.balanced_accuracy_score(y, c),
    "mcc": lambda y, p, c: metrics.matthews_corrcoef(y, c),
    "log_loss": lambda y, p, c: metrics.log_loss(y, p),
}
BINARY: Expected = {
    **CLASSES,
    "roc_auc": lambda y, p, c: metrics.roc_auc_score(y, p),
    "average_precision": lambda y, p, c: metrics.average_precision_score(y, p),
    "brier": lambda y, p, c: metrics.brier_score_loss(y, p),
    "specificity": lambda y, p, c: metrics.recall_score(y, c, pos_label=0),
}
MULTICLASS: Expected = {
    **CLASSES,
    "roc_auc": lambda y, p, c: metrics.roc_auc_score(y, p, multi_class="ovr"),
    "average_precision": lambda y, p, c: metrics.average_precision_score(y, p),
    "top_3": lambda y, p, c: metrics.top_k_accuracy_score(y, p, k=3),
}
MULTILABEL: Expected = {
    "accuracy": lambda y, p, c: metrics.accuracy_score(y, c),
    "roc_auc": lambda y, p, c: metrics.roc_auc_score(y, p),
    "roc_auc_micro": lambda y, p, c: metrics.roc_auc_score(y, p, average="micro"),
    "average_precision": lambda y, p, c: metrics.average_precision_score(y, p),
    "f1_micro": lambda y, p, c: metrics.f1_score(y, c, average="micro"),
    "f1": lambda y, p, c: metrics.f1_score(y, c, average="macro"),
}
REGRESSION: Expected = {
    "mae": lambda y, p, c: metrics.mean_absolute_error(y, p),
    "mse": lambda y, p, c: metrics.mean_squared_error(y, p),
    "r2": lambda y, p, c: metrics.r2_score(y, p),
    "explained_variance": lambda y, p, c: metrics.explained_variance_score(y, p),
    "median_ae": lambda y, p, c: metrics.median_absolute_error(y, p),
}


def fitted(model: Any, y: Any) -> Any:
    """Return a model fitted on the first half."""
    return model.fit(X[TRAIN], y[TRAIN])


def predictors() -> dict[str, tuple[Any, Any, Expected]]:
    """Return predictors with their targets and what is expected of them."""
    two = {
        "logistic": linear_model.LogisticRegression(),
        "pipeline": make_pipeline(StandardScaler(), linear_model.LogisticRegression()),
        "forest": ensemble.RandomForestClassifier(20, random_state=0),
        "boosting": ensemble.HistGradientBoostingClassifier(max_iter=20),
        "bayes": naive_bayes.GaussianNB(),
        "neighbours": neighbors.KNeighborsClassifier(),
    }
    numbers = {
        "ridge": linear_model.Ridge(),
        "tree": tree.DecisionTreeRegressor(max_depth=5, random_state=0),
        "forest of numbers": ensemble.RandomForestRegressor(20, random_state=0),
        "neighbours of numbers": neighbors.KNeighborsRegressor(),
        "support vectors": svm.SVR(),
    }
    several: dict[str, tuple[Any, Any, Expected]] = {}
    for name, model in two.items():
        several[f"{name}, two classes"] = fitted(model, TWO), TWO, BINARY
        several[f"{name}, five classes"] = fitted(clone(model), FIVE), FIVE, MULTICLASS
    several["classes of text"] = fitted(linear_model.LogisticRegression(), TEXTS), TEXTS, MULTICLASS
    for name in ("logistic", "forest", "neighbours"):
        model = MultiOutputClassifier(type(two[name])())
        several[f"{name}, labels"] = fitted(model, LABELS), LABELS, MULTILABEL
    for name, model in numbers.items():
        several[name] = fitted(model, NUMBER), NUMBER, REGRESSION
    several["two numbers"] = fitted(linear_model.Ridge(), NUMBERS), NUMBERS, REGRESSION
    shares = several["logistic, two classes"][0].predict_proba(X[TEST])
    several["predictions, two classes"] = mt.Predictions(shares[:, 1]), TWO, BINARY
    five = several["forest, five classes"][0].predict_proba(X[TEST])
    several["predictions, five classes"] = mt.Predictions(five.astype("float32")), FIVE, MULTICLASS
    guessed = several["ridge"][0].predict(X[TEST])
    several["predictions of numbers"] = mt.Predictions(guessed), NUMBER, REGRESSION
    return several


class OnnxClasses:
    """An ONNX session that predicts probabilities."""

    def __init__(self, session: Any):
        self.session = session

    def predict_proba(self, x: Any) -> Any:
        """Return the probability of each class, float32."""
        (shares,) = self.session.run(["probabilities"], {"X": x.astype("float32")})
        return np.clip(shares, 0, 1)  # the shares of a forest's trees may add up to 1 + 1e-7


class OnnxNumbers:
    """An ONNX session that predicts numbers."""

    def __init__(self, session: Any):
        self.session = session

    def predict(self, x: Any) -> Any:
        """Return the numbers, float32."""
        (numbers,) = self.session.run(["variable"], {"X": x.astype("float32")})
        return numbers


ONNX = (
    "logistic, two classes", "pipeline, two classes", "forest, two classes", "bayes, five classes",
    "logistic, five classes", "forest, five classes", "ridge", "tree", "two numbers",
)  # fmt: skip
"""Predictors that are judged as ONNX sessions too."""


def onnx_models() -> dict[str, tuple[Any, Any, Expected]]:
    """Return ONNX sessions of predictors; none where the two packages are not installed."""
    if not all(map(importlib.util.find_spec, ("onnxruntime", "skl2onnx"))):
        print("onnxruntime and skl2onnx are not installed: no ONNX session is judged")
        return {}
    onnxruntime, skl2onnx = map(importlib.import_module, ("onnxruntime", "skl2onnx"))
    sessions: dict[str, tuple[Any, Any, Expected]] = {}
    known = predictors()
    for name in ONNX:
        model, y, expected = known[name]
        is_classifier = hasattr(model, "predict_proba")
        options = {id(model): {"zipmap": False}} if is_classifier else None
        written = skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()
        session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
        kind = OnnxClasses if is_classifier else OnnxNumbers
        sessions[f"ONNX, {name}"] = kind(session), y, expected
    return sessions


def keras_models() -> dict[str, tuple[Any, Any, Expected]]:
    """Return Keras models as they are built."""
    import keras

    def dense(units: int, activation: str | None, loss: Any, measured: list[str]) -> Any:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(units, activation)])
        model.compile(loss=loss, metrics=measured)
        return model

    keras.utils.set_random_seed(0)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    own = {name: one for name, one in BINARY.items() if name != "accuracy"}
    several = {name: one for name, one in MULTICLASS.items() if name != "accuracy"}
    labels = {name: one for name, one in MULTILABEL.items() if name != "accuracy"}
    return {
        "Keras, sigmoid": (dense(1, "sigmoid", "binary_crossentropy", ["accuracy"]), TWO, own),
        "Keras, softmax": (
            dense(5, "softmax", "sparse_categorical_crossentropy", ["accuracy"]),
            FIVE,
            several,
        ),
        "Keras, logits": (dense(5, None, logits, ["accuracy"]), FIVE, several),
        "Keras, labels": (dense(3, "sigmoid", "binary_crossentropy", []), LABELS, labels),
        "Keras, numbers": (
            dense(1, None, "mse", ["mae"]),
            NUMBER,
            {k: v for k, v in REGRESSION.items() if k != "mae"},
        ),
    }


def predicted(model: Any, expected: Expected) -> tuple[Any, Any]:
    """Return probabilities or numbers, and classes, as a user would take them from the model."""
    if isinstance(model, mt.Predictions):
        shares = np.asarray(model.values)
    elif hasattr(model, "predict_proba"):
        shares = model.predict_proba(X[TEST])
        if isinstance(shares, list):
            shares = np.stack([one[:, 1] for one in shares], axis=1)
        elif shares.shape[1] == 2:
            shares = shares[:, 1]
    else:
        shares = np.asarray(
            model.predict(X[TEST], **({"verbose": 0} if hasattr(model, "layers") else {}))
        )
        shares = shares[:, 0] if shares.shape[1:] == (1,) else shares
        if hasattr(model, "layers") and getattr(model.loss, "from_logits", False):
            from scipy.special import softmax

            shares = softmax(shares.astype(float), axis=-1)
    if expected is REGRESSION or "mse" in expected:
        return shares, shares
    if "roc_auc_micro" in expected or shares.ndim == 1:
        return shares, (shares > 0.5).astype(int)
    return shares, shares.argmax(axis=1)


def main() -> None:
    """Print the largest difference of each model's numbers."""
    largest, count = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        models = {**predictors(), **onnx_models()}
        if "--without-keras" not in sys.argv:
            models |= keras_models()
        for name, (model, y, expected) in models.items():
            run = judged(model, y, Path(folder))
            shares, classes = predicted(model, expected)
            truth = y[TEST] if y.dtype.kind != "U" else np.searchsorted(np.unique(y), y[TEST])
            apart = {
                metric: abs(run.scores[metric].mean - float(compute(truth, shares, classes)))
                for metric, compute in expected.items()
            }
            worst = max(apart, key=apart.__getitem__)
            count += len(apart)
            largest = max(largest, apart[worst])
            print(
                f"{name:28} {len(apart):3} numbers, largest difference {apart[worst]:.1e} ({worst})",
                flush=True,
            )
    print(f"\n{count} numbers, largest difference {largest:.1e}")


def judged(model: Any, y: Any, folder: Path) -> Run:
    """Return the run of a given model."""

    def net() -> Any:
        return model

    spec = mt.spec(data=mt.Data(test=(X[TEST], y[TEST])))(net)
    return mt.run(spec, store=f"sqlite:///{folder}/history.db", listen=lambda event: None)


if __name__ == "__main__":
    main()
