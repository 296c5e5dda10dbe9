"""How often do our numbers differ from Keras's and scikit-learn's? python benchmarks/sweep.py

Every loss and every metric of Keras, by name, function, object and class, on labels of every shape
that Keras accepts; and every pair of structures of outputs and targets. Each combination is
predicted once by a small fixed model, and compared:

- the values per sample, which are kept only when their mean is the score of ``model.evaluate``:
  every loss and metric that is a mean over samples has some;
- the model's own predictions, scored as a dummy's are, with the score of ``model.evaluate``;
- the report, with scikit-learn on the same predictions;
- the verdict's evidence: every way to write a loss or metric has values per sample, or none has.

What Keras refuses to evaluate, or scores with a number that is not finite, is counted, and not compared.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from sklearn import metrics as sklearn_metrics

from modeltune.engine.data.loading import Part
from modeltune.engine.score.scoring import (
    OF_BATCHES,
    PartPredictions,
    evaluate,
    predict,
    refit_samples,
    score_predictions,
    targets,
)
from modeltune.engine.score.task_report import OutputTask, report

SIZE, BATCH, CLASSES = 22, 8, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(SIZE, 4)).astype("float32")
KINDS = np.arange(SIZE) % CLASSES
NUMBERS = RANDOM.uniform(0.5, 2, (SIZE, 2)).astype("float32")

HEADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "one sigmoid": (
        lambda: keras.layers.Dense(1, activation="sigmoid"),
        {"(n,)": KINDS % 2, "(n, 1)": KINDS[:, None] % 2, "floats (n,)": (KINDS % 2).astype("float32")},
    ),
    "softmax": (
        lambda: keras.layers.Dense(CLASSES, activation="softmax"),
        {"one-hot": np.eye(CLASSES, dtype="float32")[KINDS], "(n,)": KINDS, "(n, 1)": KINDS[:, None]},
    ),
    "two numbers": (
        lambda: keras.layers.Dense(2, activation="softplus"),
        {"(n, 2)": NUMBERS},
    ),
    "one number": (
        lambda: keras.layers.Dense(1, activation="softplus"),
        {"(n,)": NUMBERS[:, 0], "(n, 1)": NUMBERS[:, :1]},
    ),
}  # fmt: skip
"""A last layer, and the labels that a model with it can have."""


@dataclass(frozen=True)
class Case:
    """A model compiled in one way, and the targets it is evaluated on."""

    name: str
    group: str
    outputs: Any
    loss: Any
    metrics: Any
    y: Any
    x: Any = None


def named(module: Any, base: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every loss or metric in a module of Keras, with all the ways to write it."""
    functions = {
        name: thing for name, thing in vars(module).items() if inspect.isfunction(thing)
    }  # fmt: skip
    squeezed = {name.replace("_", ""): name for name in functions}
    for name, kind in vars(module).items():
        if not inspect.isclass(kind) or not issubclass(kind, base) or kind is base:
            continue
        try:
            kind()
        except TypeError:
            continue  # it needs arguments
        ways: dict[str, Any] = {"class name": name, "object": kind, "class": kind}
        if (function := squeezed.get(name.lower())) is not None:
            ways |= {"function name": function, "function": functions[function]}
        yield name, ways


def mixes_a_batch(name: str, head: str, shape: str) -> bool:
    """Tell where Keras scores each target against several predictions of its batch.

    Another batch size then gives another score, so that no value belongs to one sample: the check
    "checks.broadcast" warns of these. The loss makes one-hot rows of whatever labels it gets, the
    metric compares with the place of the largest label in a batch.
    """
    if name == "CategoricalGeneralizedCrossEntropy":
        return head in ("one sigmoid", "one number") or (head, shape) == ("softmax", "(n, 1)")
    return name == "CategoricalAccuracy" and (head, shape) == ("softmax", "(n,)")


def single_outputs() -> Iterator[Case]:
    """Yield every loss and metric, in all forms, on every head and shape of labels."""
    losses, compiled = (
        list(named(module, base))
        for module, base in (
            (keras.losses, keras.losses.Loss),
            (keras.metrics, keras.metrics.Metric),
        )
    )
    for head, (layer, labels) in HEADS.items():
        fitting = {"one sigmoid": "binary_crossentropy"}.get(head, "mse")
        for shape, y in labels.items():
            loss_of_labels = fitting
            if head == "softmax":
                loss_of_labels = (
                    "" if shape == "one-hot" else "sparse_"
                ) + "categorical_crossentropy"
            for kind, things in (("loss", losses), ("metric", compiled)):
                for name, ways in things:
                    if head == "softmax" and name.startswith("Binary"):
                        # Keras takes the logits of the softmax for those of a sigmoid, and
                        # predictions do not show these.
                        continue
                    if mixes_a_batch(name, head, shape):
                        continue
                    for way, thing in ways.items():
                        made = thing() if way == "object" else thing
                        yield Case(
                            f"{kind} {name} by {way}, {head}, labels {shape}",
                            f"{kind} {name}, {head}, labels {shape}",
                            layer,
                            made if kind == "loss" else loss_of_labels,
                            [] if kind == "loss" else [made],
                            y,
                        )


def structures(first: Any, second: Any, names: tuple[str, str]) -> dict[str, Any]:
    """Return two things in every structure that Keras knows for outputs and targets."""
    a, b = names
    return {
        "list": [first, second],
        "tuple": (first, second),
        "dict": {a: first, b: second},
        "dict, other order": {b: second, a: first},
        "nested": {"z": [first], "a": (second,)},
    }


def several_outputs() -> Iterator[Case]:
    """Yield outputs, targets, losses and metrics in every combination of structures."""
    y = KINDS, NUMBERS[:, :1]
    for names in (("kind", "size"), ("size", "kind")):
        heads = structures("softmax", "number", names)
        targets = structures(*y, names)
        losses = structures("sparse_categorical_crossentropy", "mae", names)
        compiled = structures(["accuracy"], ["mse"], names) | {"none": None}
        for one, two, three, four in itertools.product(heads, targets, losses, compiled):
            yield Case(
                f"outputs {one} {names}, targets {two}, losses {three}, metrics {four}",
                "",
                (heads[one], names),
                losses[three],
                compiled[four],
                targets[two],
            )


def model_of(case: Case) -> Any:
    """Return the case's model, with weights that do not depend on the case."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), name="inputs")
    if isinstance(case.outputs, tuple):
        wanted, names = case.outputs
        layers = {
            "softmax": keras.layers.Dense(CLASSES, activation="softmax", name=names[0]),
            "number": keras.layers.Dense(1, activation="softplus", name=names[1]),
        }
        made = {name: layer(inputs) for name, layer in layers.items()}
        outputs = keras.tree.map_structure(made.get, wanted)
    else:
        outputs = case.outputs()(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(None, loss=case.loss, metrics=case.metrics, run_eagerly=True)
    return model


REFUSED, NOT_FINITE = "refused by Keras", "not finite"
"""Why a case is not compared."""


def numbers_in(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of ``model.evaluate`` as numbers, those of an array under "f1_score_0", ..."""
    numbers: dict[str, float] = {}
    for name, score in scores.items():
        array = np.asarray(score)
        for place in np.ndindex(array.shape):
            suffix = [] if array.size == 1 else map(str, place)
            numbers["_".join([name, *suffix])] = float(array[place])
    return numbers


def differences(case: Case) -> tuple[list[str], list[bool]] | str:
    """Return what differs in a case, and which of its scores have values; or why it is not compared."""
    try:
        model = model_of(case)
        expected = model.evaluate(X, case.y, batch_size=BATCH, verbose=0, return_dict=True)
    except Exception:  # noqa: BLE001  whatever Keras raises of what it does not take
        return REFUSED
    numbers = numbers_in(expected)
    if not all(map(math.isfinite, numbers.values())):
        return NOT_FINITE
    part = Part("test", SIZE, "", x=X, y=case.y)
    scores, test = evaluate(model, part, BATCH), predict(model, part, BATCH)
    found = [
        f"{name}: evaluate has {value}, we have {scores.get(name)}"
        for name, value in numbers.items()
        if scores.get(name) != value
    ]
    samples = refit_samples(model, test, scores, targets(model, part, test))
    kept = samples.values if samples else {}
    means = {use.name for use in test.pairing.metrics if is_mean(use.function)}
    if all(is_of_samples(use.function) for use in test.pairing.losses):
        means.add("loss")
    found += [
        f"{name}: there are no values per sample with the mean {numbers.get(name)}"
        for name in sorted(means)
        if name not in kept
    ]
    if len(test.outputs) == len(keras.tree.flatten(test.predicted)):
        for name, value in numbers.items():
            own_predictions = [output.predicted for output in test.outputs]
            again = (
                score_predictions(model, test, own_predictions, name) if in_logs(name) else value
            )
            if not are_close(again, value):
                found.append(f"{name}: scored as a dummy is, the model has {again}, not {value}")
    else:
        found.append(f"{len(test.outputs)} outputs are paired")
    found += report_differences(test)
    return found, [name in kept for name in numbers]


def is_mean(metric: Any) -> bool:
    """Tell whether a metric of Keras is a mean over samples."""
    return isinstance(metric, keras.metrics.MeanMetricWrapper)


def is_of_samples(loss: Any) -> bool:
    """Tell whether a loss of Keras is a mean over samples: circle compares those of a batch, and
    dice and tversky are shares of all places, unless told otherwise.
    """
    name = getattr(getattr(loss, "fn", None), "__name__", "")
    return name not in OF_BATCHES


def in_logs(name: str) -> bool:
    """Tell whether a dummy is scored by this name: the losses of single outputs are not."""
    return name == "loss" or not name.endswith("_loss")


def are_close(one: float, other: float) -> bool:
    """Tell whether two numbers are the same but for the order of float32 sums."""
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5)


def report_differences(test: PartPredictions) -> list[str]:
    """Return how the report differs from scikit-learn, on the predictions of each output."""
    numbers, _ = report(test.outputs)
    found = []
    for output in test.outputs:
        y, predicted = output.y, output.predicted
        is_of_classes = output.task not in (OutputTask.REGRESSION, OutputTask.OTHER)
        if output.task is OutputTask.OTHER or (is_of_classes and (y % 1).any()):
            continue  # no report, or none that means anything
        if output.task is OutputTask.MULTICLASS:
            true = y.argmax(1) if y.shape == predicted.shape else y.reshape(-1)
            told: Any = predicted.argmax(1)
        elif output.task is OutputTask.BINARY:
            true, told = y.reshape(-1), predicted.reshape(-1) > 0.5
        elif output.task is OutputTask.MULTILABEL:
            true, told = y, predicted > 0.5
        else:
            true, told = y.reshape(SIZE, -1), predicted.reshape(SIZE, -1)
        if output.task is OutputTask.REGRESSION:
            theirs = {
                "mae": sklearn_metrics.mean_absolute_error(true, told),
                "mse": sklearn_metrics.mean_squared_error(true, told),
                "r2": sklearn_metrics.r2_score(true, told),
            }
        else:
            labels = np.unique(true) if np.ndim(true) == 1 else None
            scored = sklearn_metrics.precision_recall_fscore_support(
                np.asarray(true).astype(int), np.asarray(told).astype(int),
                labels=labels, average="macro", zero_division=0,
            )  # fmt: skip
            theirs = dict(zip(("precision", "recall", "f1"), scored[:3], strict=True))
        found += [
            f"{output.prefix}{name}: scikit-learn has {value}, we have {numbers[output.prefix + name]}"
            for name, value in theirs.items()
            if not are_close(float(value), numbers[output.prefix + name])
        ]
    return found


def sweep(cases: Sequence[Case]) -> tuple[Counter[str], list[str]]:
    """Return how many combinations there were of each kind, and all differences."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    evidence: dict[str, dict[str, list[bool]]] = {}
    for case in cases:
        answer = differences(case)
        if isinstance(answer, str):
            counts[answer] += 1
            continue
        counts["compared"] += 1
        found += [f"{case.name}: {one}" for one in answer[0]]
        if case.group:
            evidence.setdefault(case.group, {})[case.name] = answer[1]
    for ways in evidence.values():
        for name, known in ways.items():
            if any(
                any(other) and not all(known) and sum(other) > sum(known) for other in ways.values()
            ):
                found.append(f"{name}: no values per sample, though written otherwise it has some")
    return counts, found


def part_of(cases: Sequence[Case], part: int, parts: int) -> list[Case]:
    """Return one of so many parts of the cases; the ways to write one loss or metric stay together."""
    groups = [list(group) for _, group in itertools.groupby(cases, lambda case: case.group or case)]
    first, end = (len(groups) * edge // parts for edge in (part - 1, part))
    return list(itertools.chain.from_iterable(groups[first:end]))


def main() -> None:
    """Print every difference, and how many combinations there were."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="take only every n-th combination")
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="take the K-th of N parts, whose counts add up"
    )
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    cases = [*single_outputs(), *several_outputs()][:: chosen.every]
    cases = part_of(cases, *map(int, chosen.part.split("/")))
    counts, found = sweep(cases)
    print(*found, sep="\n")
    print(f"{len(cases)} combinations: {counts['compared']} compared, "
          f"{counts[REFUSED]} {REFUSED}, {counts[NOT_FINITE]} {NOT_FINITE}; "
          f"{len(found)} differences")  # fmt: skip


if __name__ == "__main__":
    main()
