"""Probing finds what violates a behaviour, shrinks it, and says so when nothing can be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import modeltune.specs.behaviours as mt
from modeltune.engine.data.loading import Part
from modeltune.engine.probe.probing import probe
from modeltune.judgement.behaviour_verdicts import judge_behaviour
from modeltune.records.plain_data import from_plain, plain
from modeltune.records.probes import (
    Counterexample,
    ImageChange,
    Probe,
    RowChange,
    SummaryChange,
    ValueChange,
)
from modeltune.records.verdicts import Outcome
from modeltune.specs.behaviours import Behaviour
from tests.support import forked

ZEROS = np.zeros((300, 4), np.float32)
LABELS = np.zeros(300, int)


def brighter(x: Any, severity: float) -> Any:
    return x + severity


def part(x: Any = ZEROS, y: Any = LABELS, name: str = "test") -> Part:
    return Part(name, len(y), "", x=x, y=y)


def linear(
    weights: Any,
    bias: Any = 0.0,
    *,
    activation: str = "softmax",
    loss: str = "sparse_categorical_crossentropy",
    shape: tuple[int, ...] = (4,),
) -> Any:
    """Return a model of one dense layer with these weights, one column per output."""
    kernel = np.asarray(weights, np.float32)
    layers = [keras.layers.Flatten()] if len(shape) > 1 else []
    last = keras.layers.Dense(kernel.shape[1], activation=activation)
    model = keras.Sequential([keras.Input(shape), *layers, last])
    last.set_weights([kernel, np.broadcast_to(np.float32(bias), kernel.shape[1:])])
    model.compile("sgd", loss=loss)
    return model


def bright_above(threshold: float, shape: tuple[int, ...] = (4,)) -> Any:
    """Return a model that says 1 of samples whose mean is above the threshold, else 0."""
    size = int(np.prod(shape))
    return linear([[0, 10 / size]] * size, [0, -10 * threshold], shape=shape)


def number(weights: Any) -> Any:
    return linear(np.reshape(weights, (-1, 1)), activation="linear", loss="mse")


def probed(
    behaviour: Behaviour,
    model: Any,
    test: Part | None = None,
    known: Any = (),
    seed: int = 0,
    train: Part | None = None,
) -> Probe:
    test = test or part()
    result = probe(behaviour, model, test, train or test, seed, known)
    assert from_plain(Probe, json.loads(json.dumps(plain(result), allow_nan=False))) == result
    assert list(behaviour.problems()) == []
    return result


def example(result: Probe) -> Counterexample:
    assert result.error is None
    assert result.counterexample is not None
    return result.counterexample


def severity_of(violation: Counterexample) -> float:
    assert violation.severity is not None
    return violation.severity


@pytest.mark.parametrize("seed", range(5))
def test_a_violation_shrinks_to_the_smallest_severity_and_the_first_row(seed: int) -> None:
    x = ZEROS.copy()
    x[:40] = -5  # these rows do not flip at any severity
    violation = example(probed(mt.invariant(brighter), bright_above(0.3), part(x), seed=seed))
    assert 0.3 < severity_of(violation) <= 0.301
    assert violation.row == 40
    assert violation.text == "test[40] brighter severity 0.301: 0 (0.95) -> 1 (0.50)"
    assert (violation.before["prediction"], violation.after["prediction"]) == (0, 1)


def test_whole_severities_stay_whole_and_end_at_the_first_that_flips() -> None:
    severities = []

    def step(x: Any, severity: int) -> Any:
        severities.append(severity)
        return x + severity / 10

    violation = example(probed(mt.invariant(step, severity=(1, 400)), bright_above(3.45)))
    assert (violation.severity, violation.row) == (35, 0)
    assert {type(severity) for severity in severities} == {int}
    assert min(severities) >= 1
    assert max(severities) <= 400


@pytest.mark.parametrize(
    ("span", "severity"), [((-1.0, 1.0), 0.0), ((-1.0, -0.2), -0.2), ((0.2, 1.0), 0.2)]
)
def test_the_severity_nearest_zero_is_the_smallest(
    span: tuple[float, float], severity: float
) -> None:
    always = mt.invariant(lambda x, s: x + 1, severity=span)
    assert example(probed(always, bright_above(0.5))).severity == severity


def test_a_violation_on_the_negative_side_shrinks_towards_zero() -> None:
    darker = mt.invariant(brighter, severity=(-1.0, 1.0))
    violation = example(probed(darker, bright_above(-0.2505)))
    assert violation.severity == -0.251
    assert violation.row == 0


def test_an_invariant_model_holds_in_all_examples() -> None:
    blind = linear(np.zeros((4, 2)), [0, 1])
    result = probed(mt.invariant(brighter), blind)
    assert result == Probe(examples=200)
    assert judge_behaviour(mt.invariant(brighter), result).outcome is Outcome.PASSED


def test_a_small_space_is_tried_completely_in_order() -> None:
    behaviour = mt.invariant(brighter, severity=(0, 3))
    assert probed(behaviour, bright_above(4), part(ZEROS[:20], LABELS[:20])) == Probe(
        80, 0, is_exhaustive=True
    )
    result = probed(behaviour, bright_above(1.5), part(ZEROS[:20], LABELS[:20]))
    assert (example(result).severity, example(result).row) == (2, 0)
    assert not result.is_exhaustive


def test_the_most_severe_is_drawn_though_seldom_by_chance() -> None:
    only_the_end = mt.invariant(lambda x, s: x + (s == 1.0), examples=100)
    for seed in range(8):
        assert example(probed(only_the_end, bright_above(0.5), seed=seed)).severity == 1.0


def test_draws_reach_every_part_of_rows_and_severities() -> None:
    drawn: list[tuple[float, float]] = []

    def note(x: Any, severity: float) -> Any:
        drawn.append((float(x[0]), severity))
        return x

    x = np.repeat(np.arange(3000, dtype=np.float32)[:, None], 4, axis=1)
    probed(mt.invariant(note, examples=400), bright_above(1e6), part(x, np.zeros(3000, int)))
    rows, severities = np.array(drawn).T
    assert len(drawn) == len(set(drawn)) == 400
    assert np.histogram(rows, 3, (0, 3000))[0].min() > 90
    assert np.histogram(severities, 3, (0, 1))[0].min() > 80


def test_a_transform_that_takes_only_the_sample_has_no_severity() -> None:
    x = np.arange(1200, dtype=np.float32).reshape(300, 4) / 1200
    violation = example(probed(mt.invariant(np.flip, examples=50), linear([[0, 1], [0, 0], [0, 0], [1, 0]]), part(x)))  # fmt: skip
    assert violation.severity is None
    assert violation.row == 0
    assert violation.text.startswith("test[0] flip: 0 (0.50) -> 1 (0.50)")
    ufunc = mt.invariant(np.negative, examples=300)
    assert probed(ufunc, bright_above(9)) == Probe(300, is_exhaustive=True)


def test_equal_seeds_draw_the_same_and_others_do_not() -> None:
    def drawn(seed: int, behaviour: Behaviour) -> list[float]:
        severities.clear()
        probed(behaviour, bright_above(0.9), seed=seed)
        return list(severities)

    severities: list[float] = []

    def noting(x: Any, severity: float) -> Any:
        severities.append(severity)
        return x + severity

    for behaviour in (mt.invariant(noting), mt.invariant(noting, max_violation=0.2)):
        once = drawn(3, behaviour)
        assert drawn(3, behaviour) == once
        assert drawn(4, behaviour) != once


def test_a_known_counterexample_is_tried_first() -> None:
    behaviour, model = mt.invariant(brighter), bright_above(0.3)
    first = example(probed(behaviour, model))
    known = replace(first, row=7, severity=0.9)
    again = probed(behaviour, model, known=[known])
    assert (again.examples, again.violations) == (1, 1)
    assert (example(again).row, example(again).severity) == (7, 0.9)
    assert example(again).known
    assert judge_behaviour(behaviour, again).reason.endswith("known from an earlier run")
    held = replace(first, severity=0.1)
    assert probed(behaviour, model, known=[held, known]).examples == 2


@pytest.mark.parametrize(
    "change",
    [
        {"row_digest": "0123456789abcdef"},
        {"row": 300},
        {"row": -1},
        {"row": None},
        {"severity": 1.5},
        {"severity": None},
    ],
)
def test_a_known_counterexample_that_no_longer_applies_is_left_out(change: Any) -> None:
    behaviour, model = mt.invariant(brighter), bright_above(0.3)
    first = probed(behaviour, model)
    known = replace(example(first), **{"severity": 0.9} | change)
    assert probed(behaviour, model, known=[known]) == first


def test_a_known_counterexample_that_holds_now_passes() -> None:
    known = example(probed(mt.invariant(brighter), bright_above(0.3)))
    assert probed(mt.invariant(brighter), bright_above(2), known=[known]) == Probe(200)


def test_a_known_counterexample_does_not_count_in_a_rate() -> None:
    behaviour, model = mt.invariant(brighter, max_violation=0.2), bright_above(0.3)
    first = probed(behaviour, model)
    known = replace(example(first), row=7, severity=0.9)
    again = probed(behaviour, model, known=[known])
    assert (again.examples, again.violations) == (first.examples, first.violations)
    assert (example(again).row, example(again).known) == (7, True)


@pytest.mark.parametrize(
    ("threshold", "outcome"),
    [(0.95, Outcome.PASSED), (0.8, Outcome.INCONCLUSIVE), (0.5, Outcome.FAILED)],
)
def test_a_rate_is_judged_by_its_bounds(threshold: float, outcome: Outcome) -> None:
    behaviour = mt.invariant(brighter, max_violation=0.2)
    result = probed(behaviour, bright_above(threshold))
    assert result.examples == 200
    assert result.violations / 200 == pytest.approx(1 - threshold, abs=0.08)
    assert judge_behaviour(behaviour, result).outcome is outcome
    assert threshold < severity_of(example(result)) <= threshold + 0.001 + 1e-6
    assert example(result).row == 0


@pytest.mark.parametrize(("direction", "holds"), [("up", True), ("down", False)])
def test_a_monotone_model_goes_one_way(direction: str, holds: bool) -> None:
    behaviour = mt.directional(2, direction, by=2.0, of=1)
    model = linear([[0, 0], [0, 0], [0, 3], [0, 0]], shape=(4,))
    result = probed(behaviour, model)
    assert (judge_behaviour(behaviour, result).outcome is Outcome.PASSED) is holds
    if not holds:
        violation = example(result)
        assert 0 < severity_of(violation) <= 0.004
        assert violation.text.startswith("test[0] column 2 raised by 0.00")
        assert ": P(1) 0.5 -> 0.50" in violation.text
        assert violation.text.endswith(", must not go up")
        change = violation.shown[0]
        assert isinstance(change, RowChange)
        (values,) = change.values
        assert values == ValueChange(2, 0.0, violation.severity)


def test_a_feature_is_raised_by_more_than_nothing() -> None:
    result = probed(mt.directional(0, "up", by=2, of=1), bright_above(9), part(ZEROS[:20], LABELS[:20]))  # fmt: skip
    assert result == Probe(40, is_exhaustive=True, tolerance=0.001)


def test_a_model_that_turns_back_is_found() -> None:
    peak = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: -((x[:, :1] - 1) ** 2))])  # fmt: skip
    peak.compile("sgd", loss="mse")
    y = np.zeros(300, np.float32)
    behaviour = mt.directional(0, "up", by=4, tolerance=0.01)
    violation = example(probed(behaviour, peak, part(y=y)))
    assert (violation.severity, violation.row) == (3, 0)
    assert violation.text == "test[0] column 0 raised by 3: -1 -> -4, must not go down"
    assert probed(mt.directional(0, "up", by=2), peak, part(y=y)).violations == 0


def test_a_binary_output_has_the_direction_of_its_yes_unless_told() -> None:
    model = linear([[1], [0], [0], [0]], activation="sigmoid", loss="binary_crossentropy")
    assert probed(mt.directional(0, "up", by=1.0), model).violations == 0
    assert probed(mt.directional(0, "down", by=1.0, of=0), model).violations == 0
    assert probed(mt.directional(0, "up", by=1.0, of=0), model).violations > 0


def test_logits_are_read_as_the_loss_reads_them() -> None:
    model = linear([[1], [0], [0], [0]], -0.3, activation="linear")
    model.compile("sgd", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    violation = example(probed(mt.invariant(brighter), model))
    assert 0.3 < severity_of(violation) <= 0.301
    assert violation.before == {"prediction": 0, "probability": pytest.approx(0.5744, abs=1e-4)}


def test_dict_inputs_are_transformed_and_raised_by_name() -> None:
    age, dose = keras.Input((1,), name="age"), keras.Input((3,), name="dose")
    summed = keras.layers.Concatenate()([age, dose])
    last = keras.layers.Dense(1)
    model = keras.Model({"age": age, "dose": dose}, last(summed))
    last.set_weights([np.array([[2], [-1], [0], [0]], "float32"), np.array([0], "float32")])
    model.compile("sgd", loss="mse")
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(300, n)).astype("float32") for name, n in (("age", 1), ("dose", 3))}
    y = rng.normal(size=300).astype("float32")
    assert probed(mt.directional("age", "up", by=1.0), model, part(x, y)).violations == 0
    violation = example(probed(mt.directional("dose", "up", by=1.0), model, part(x, y)))
    assert [change.input for change in violation.shown] == ["dose"]

    def older(x: Any, severity: float) -> Any:
        x["age"] += severity
        return x

    violation = example(probed(mt.invariant(older, tolerance=1.0), model, part(x, y)))
    assert 0.5 < severity_of(violation) <= 0.501
    assert violation.row == 0
    assert [change.input for change in violation.shown] == ["age"]
    unknown = probed(mt.directional("size", "up", by=1.0), model, part(x, y))
    assert unknown.error == 'there is no input "size": the inputs are age, dose'
    column = probed(mt.directional(0, "up", by=1.0), model, part(x, y))
    assert column.error is not None
    assert "write an input's name" in column.error


def test_a_number_may_move_by_a_part_of_the_spread_in_train() -> None:
    y = np.tile(np.array([-2, 2], "float32"), 150)
    model = number([1, 0, 0, 0])
    result = probed(mt.invariant(brighter), model, part(y=y))
    assert result.tolerance == pytest.approx(0.1)
    assert 0.1 < severity_of(example(result)) <= 0.101
    assert example(result).text == (
        "test[0] brighter severity 0.101: 0 -> 0.101, moved by 0.101, may move by 0.1"
    )
    wide = probed(mt.invariant(brighter, tolerance=0.5), model, part(y=y))
    assert 0.5 < severity_of(example(wide)) <= 0.501
    exact = mt.invariant(lambda x: x[::-1], tolerance=0)
    assert probed(exact, number([1 / 3] * 4), part(ZEROS + 0.1, y)).violations == 0


def test_each_column_of_an_output_has_its_own_spread() -> None:
    y = np.tile(np.array([[-1, -100], [1, 100]], "float32"), (150, 1))
    model = linear([[0, 1], [0, 0], [0, 0], [0, 0]], activation="linear", loss="mse")
    assert probed(mt.invariant(brighter), model, part(y=y)).violations == 0
    other = linear([[1, 0], [0, 0], [0, 0], [0, 0]], activation="linear", loss="mse")
    assert 0.05 < severity_of(example(probed(mt.invariant(brighter), other, part(y=y)))) <= 0.051
    assert probed(mt.directional(0, "up", by=1.0), model, part(y=y)).error == (
        "the model predicts 2 columns; say which has the direction: of=0 to of=1"
    )


CASES: list[tuple[Any, Any]] = [
    ([0, 0, 0, 0], 0),
    (np.ones(4), 1),
    ([1, 1, 1, 0], lambda p: p[1] > 0.9),
]


def test_every_case_must_hold() -> None:
    behaviour = mt.minimum_functionality(CASES)
    assert probed(behaviour, bright_above(0.3)) == Probe(3, is_exhaustive=True)
    result = probed(behaviour, bright_above(0.9))
    assert (result.examples, result.violations) == (3, 1)
    assert example(result).text == "case[2]: expected lambda: ..., predicted 0 (0.82)"
    assert example(result).part == "case"
    again = probed(behaviour, bright_above(2), known=[example(result)])
    assert (again.examples, example(again).row) == (1, 2)
    assert judge_behaviour(behaviour, result).outcome is Outcome.FAILED


def test_a_function_may_return_the_cases() -> None:
    behaviour = mt.minimum_functionality(
        lambda: (np.eye(4, dtype=np.float32), np.array([1, 2, 3, 5], "float32")), tolerance=0.5
    )
    violation = example(probed(behaviour, number([1, 2, 3, 4]), part(y=LABELS / 1.0)))
    assert violation.text == "case[3]: expected 5.0, predicted 4"
    rate = mt.minimum_functionality(
        lambda: (np.repeat(ZEROS, 3, axis=0), np.arange(900) % 30 == 0), max_violation=0.1
    )
    passed = probed(rate, bright_above(0.3))
    assert (passed.examples, passed.violations) == (900, 30)
    assert judge_behaviour(rate, passed).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([(np.zeros(3), 0)], "case[0] is an array of shape (3,); a sample's is (4,)"),
        ([(np.zeros(4), 7)], "case[0]: 7 is expected, but the model's classes are 0 to 1"),
        (
            [(np.zeros(4), "cat")],
            'case[0]: "cat" is expected; write the number of a class or a function',
        ),
        (
            [(np.zeros(4), lambda p: 0.3)],
            "case[0]: lambda: ... returned a float; return True or False",
        ),
        (lambda: 3, "lambda: ...() returned a int; return arrays (x, y)"),
        (
            lambda: (np.zeros((2, 4)), np.zeros(3)),
            "lambda: ...() returned x and y of different numbers of samples",
        ),
        (lambda: 1 / 0, "lambda: ...() raised ZeroDivisionError: division by zero"),
    ],
)
def test_cases_that_cannot_be_asked_are_named(cases: Any, message: str) -> None:
    assert probed(mt.minimum_functionality(cases), bright_above(0.3)).error == message


def test_a_relation_holds_or_names_the_first_row() -> None:
    x = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
    x[:5] = 0

    def even(predict: Any, x: Any) -> bool:
        return bool(abs(predict(x)[0] - predict(-x)[0]) < 1e-4)

    def odd(predict: Any, x: Any) -> None:
        both = predict(np.stack([x, -x]))
        assert both.shape == (2, 1)
        assert abs(both[0] - both[1]) < 1e-4, "not odd\nat all"

    y = np.zeros(300, np.float32)
    flat = number([0, 0, 0, 0])
    assert probed(mt.metamorphic(even), flat, part(x, y)).violations == 0
    result = probed(mt.metamorphic(even), number([1, 2, 3, 4]), part(x, y))
    assert example(result).text == "test[5] even does not hold"
    assert example(result).before["prediction"] == pytest.approx(float(x[5] @ [1, 2, 3, 4]))
    result = probed(mt.metamorphic(odd), number([1, 2, 3, 4]), part(x, y))
    assert example(result).text == "test[5] odd does not hold: not odd"


def test_a_relation_that_cannot_be_asked_is_named() -> None:
    def vague(predict: Any, x: Any) -> Any:
        return predict(x)

    def broken(predict: Any, x: Any) -> Any:
        return predict(x[:2])

    def crashing(predict: Any, x: Any) -> Any:
        raise KeyError("nose")

    model = bright_above(0.3)
    errors = {f: probed(mt.metamorphic(f), model).error for f in (vague, broken, crashing)}
    assert errors == {
        vague: "test[0] vague returned a ndarray; return True or False, or assert",
        broken: "predict was given an array of shape (2,); a sample's is (4,)",
        crashing: "test[0] crashing raised KeyError: 'nose'",
    }


def crash(x: Any, severity: float) -> Any:
    if severity > 0.5:
        raise ValueError("too much\nfor me")
    return x


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (crash, " raised ValueError: too much"),
        (lambda x, s: x[:2], " returned an array of shape (2,); a sample's is (4,)"),
        (
            lambda x, s: x.astype(complex),
            " returned complex128; a sample is float32: end with .astype(x.dtype)",
        ),
        (lambda x, s: x / np.float32(np.nan), " returned NaN"),
        (lambda x, s: x + np.inf, " returned infinite values"),
        (lambda x, s: None, " returned None; a sample is an array of float32"),
        (lambda x, s: {"a": x}, " returned a dict; a sample is an array of float32"),
    ],
)
def test_a_transform_that_breaks_the_sample_is_named(transform: Any, message: str) -> None:
    result = probed(mt.invariant(transform, severity=(0.0, 1.0)), bright_above(9))
    assert result.error is not None
    name = getattr(transform, "__name__", "").replace("<lambda>", "lambda: ...")
    assert result.error.startswith(f"{name} on test[")
    assert " at severity " in result.error
    assert result.error.endswith(message)
    assert judge_behaviour(mt.invariant(transform), result).outcome is Outcome.ERROR


def test_whole_numbers_stay_what_they_are() -> None:
    x = np.full((300, 4), 100, np.uint8)
    model = bright_above(130)
    violation = example(probed(mt.invariant(brighter, severity=(0, 100)), model, part(x)))
    assert (violation.severity, violation.row) == (31, 0)
    violation = example(probed(mt.directional(0, "down", by=50, of=1), bright_above(101), part(x)))
    assert violation.severity == 2
    full = np.full((300, 4), 250, np.uint8)
    assert probed(mt.directional(0, "up", by=50, of=1), bright_above(240), part(full)) == Probe(200, tolerance=0.001)  # fmt: skip
    half = probed(mt.directional(0, "up", by=0.5, of=1), model, part(x))
    assert half.error == "column 0 holds whole numbers (uint8); write a whole number for by=0.5"
    widened = probed(mt.invariant(lambda x, s: x * 0.9), model, part(x))
    assert widened.error is not None
    assert widened.error.endswith("returned float64; a sample is uint8: end with .astype(x.dtype)")


def test_float64_is_narrowed_as_keras_would() -> None:
    result = probed(mt.invariant(lambda x, s: x + np.float64(s)), bright_above(9))
    assert result == Probe(200)


def test_a_transform_in_place_leaves_the_data_alone() -> None:
    x = ZEROS.copy()

    def fill(x: Any, severity: float) -> Any:
        x[:] = severity
        return x

    assert example(probed(mt.invariant(fill), bright_above(0.3), part(x))).severity == 0.301
    assert not x.any()


def test_a_model_that_is_random_at_inference_is_an_error() -> None:
    class Noise(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + keras.random.normal(keras.ops.shape(x))

    model = keras.Sequential([keras.Input((4,)), Noise(), keras.layers.Dense(2)])
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    result = probed(mt.invariant(brighter), model)
    assert result.error is not None
    assert result.error.startswith("the model predicts test[0] as ")
    assert "random at inference" in result.error


def test_a_transform_that_is_random_is_an_error() -> None:
    rng = np.random.default_rng(0)
    shaken = mt.invariant(lambda x, s: x + rng.normal(size=4))
    result = probed(shaken, bright_above(0.3))
    assert result.error is not None
    assert "lambda: ... is random" in result.error
    shaken = mt.invariant(lambda x, s: x + 1 + abs(rng.normal(size=4)))
    assert "lambda: ... is random" in f"{probed(shaken, bright_above(0.3)).error}"
    turns = iter(range(10**6))
    moody = mt.metamorphic(lambda predict, x: next(turns) != 70)
    assert "is random" in f"{probed(moody, bright_above(0.3)).error}"


def test_predictions_that_are_not_finite_violate() -> None:
    logarithm = keras.Sequential(
        [keras.Input((4,)), keras.layers.Lambda(lambda x: keras.ops.log(1 - x[:, :1]))]
    )
    logarithm.compile("sgd", loss="mse")
    behaviour = mt.invariant(brighter, severity=(0, 3), tolerance=10)
    violation = example(probed(behaviour, logarithm, part(y=LABELS / 1.0)))
    assert violation.severity == 1
    assert violation.text == "test[0] brighter severity 1: 0 -> inf, not finite"


def two_outputs() -> Any:
    inputs = keras.Input((4,))
    first = keras.layers.Dense(1, name="first", kernel_initializer="ones")(inputs)
    second = keras.layers.Dense(1, name="second", kernel_initializer="zeros")(inputs)
    model = keras.Model(inputs, [first, second])
    model.compile("sgd", loss=["mse", "mse"])
    return model


def test_one_of_several_outputs_is_named() -> None:
    y = (LABELS / 1.0, LABELS / 1.0)
    test = Part("test", 300, "", x=ZEROS, y=y)
    model = two_outputs()
    assert probed(mt.invariant(brighter), model, test).error == (
        'the model has the outputs first, second; say which is meant: output="first"'
    )
    assert probed(mt.invariant(brighter, output="second"), model, test).violations == 0
    assert probed(mt.invariant(brighter, output="first"), model, test).violations > 0
    assert probed(mt.invariant(brighter, output="third"), model, test).error == (
        'the model has no output "third"; its outputs: first, second'
    )

    def differ(predict: Any, x: Any) -> bool:
        first, second = predict(x)
        return bool(first != second)

    violation = example(probed(mt.metamorphic(differ), model, test))
    assert (violation.row, violation.before) == (0, None)


def test_an_image_is_shown_before_and_after() -> None:
    x = np.zeros((300, 8, 8, 1), np.float32)
    violation = example(probed(mt.invariant(brighter), bright_above(0.3, (8, 8, 1)), part(x)))
    (image,) = violation.shown
    assert isinstance(image, ImageChange)
    assert image.shape == (8, 8, 1)
    assert np.asarray(image.before).shape == (8, 8, 1)
    assert (np.asarray(image.after) == 0.301).all()


def test_what_is_too_large_to_show_is_summed_up() -> None:
    x = np.zeros((40, 80, 80), np.float32)
    model = bright_above(0.3, (80, 80))
    (summary,) = example(probed(mt.invariant(brighter), model, part(x, LABELS[:40]))).shown
    assert isinstance(summary, SummaryChange)
    assert (summary.before["max"], summary.after["mean"]) == (0.0, 0.301)
    assert summary.before["digest"] != summary.after["digest"]


def test_text_is_transformed_too() -> None:
    look_up = keras.layers.StringLookup(vocabulary=["good", "bad"], output_mode="one_hot")
    model = keras.Sequential([keras.Input((1,), dtype="string"), look_up])
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    longer = mt.invariant(lambda x: np.array([f"very {word}" for word in x]))
    words, labels = np.array([["good"], ["bad"]] * 20), np.array([1, 2] * 20)
    violation = example(probed(longer, model, part(words, labels)))
    change = violation.shown[0]
    assert isinstance(change, RowChange)
    assert change.values == (ValueChange(0, "good", "very good"),)


def test_of_a_stream_the_first_samples_are_probed() -> None:
    stream = tf.data.Dataset.from_tensor_slices((np.zeros((900, 4), np.float32), np.zeros(900, int)))  # fmt: skip
    test = Part("test", 900, "", stream=stream.batch(50))
    result = probed(mt.invariant(brighter), bright_above(0.3), test)
    assert (example(result).row, example(result).severity) == (0, 0.301)
    again = probed(mt.invariant(brighter), bright_above(0.3), test, known=[example(result)])
    assert again.examples == 1


def test_a_model_that_cannot_predict_is_an_error() -> None:
    result = probed(mt.invariant(brighter), bright_above(0.3, (5,)))
    assert result.error is not None
    assert result.error.startswith("the model cannot predict: ")


def test_an_untrained_model_shows_early_what_cannot_be_asked() -> None:
    model = linear(np.zeros((4, 3)))
    assert probed(mt.directional(0, "up", by=1.0), model).error == (
        "the model predicts 3 classes; say which has the direction: of=0 to of=2"
    )
    assert probed(mt.directional(9, "up", by=1.0, of=0), model).error == (
        "there is no column 9: a sample has 4"
    )


def test_samples_are_predicted_in_batches_and_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear(np.zeros((4, 2)), [0, 1])
    sizes: list[int] = []
    predict_on_batch = model.predict_on_batch

    def counted(x: Any) -> Any:
        sizes.append(len(x))
        return predict_on_batch(x)

    monkeypatch.setattr(model, "predict_on_batch", counted)
    probed(mt.invariant(brighter), model, part(ZEROS[:32], LABELS[:32]))
    # Three looks at the first rows, then 200 transformed samples.
    assert sizes == [32] * (3 + 7)


def first_probe() -> None:
    assert probed(mt.invariant(brighter), bright_above(0.3)).violations


def test_nothing_is_left_in_the_folder_nor_said_by_the_first_probe_of_a_process(
    tmp_path: Path,
) -> None:
    assert forked.Command(first_probe, folder=tmp_path).end() == (0, "")
    assert list(tmp_path.iterdir()) == []


LENGTHS = [1 + row % 3 for row in range(40)]


class MeanOfRow(keras.layers.Layer):
    """The mean of each row of a ragged tensor."""

    def call(self, inputs: Any) -> Any:
        return tf.reshape(tf.reduce_mean(inputs, axis=1), (-1, 1))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape[0], 1


def ragged_part(x: Any = None) -> Part:
    rows = tf.ragged.constant([[float(place) for place in range(length)] for length in LENGTHS])
    y = np.array([float(length) for length in LENGTHS])
    stream = tf.data.Dataset.from_tensor_slices((rows if x is None else x, y)).batch(40)
    (batch,) = Part("test", 40, "", stream=stream).batches(40)
    return part(*batch[:2])


def mean_of_row() -> Any:
    rows = keras.Input((None,), ragged=True)
    model = keras.Model(rows, MeanOfRow()(rows))
    model.compile("sgd", loss="mse")
    return model


def test_rows_of_different_lengths_are_changed_also_in_length() -> None:
    def backwards(x: Any) -> Any:
        return x[::-1]

    def shorter(x: Any) -> Any:
        return x[: max(1, len(x) - 1)]

    model, test = mean_of_row(), ragged_part()
    result = probed(mt.invariant(backwards), model, test)
    assert (result.error, result.violations, result.is_exhaustive) == (None, 0, True)
    violation = example(probed(mt.invariant(shorter, tolerance=0.1), model, test))
    assert violation.text == "test[1] shorter: 0.5 -> 0, moved by 0.5, may move by 0.1"
    (shown,) = violation.shown
    assert isinstance(shown, SummaryChange)
    result = probed(mt.directional(lambda x, amount: x + amount, "up", by=2), model, test)
    assert (result.error, result.violations) == (None, 0)
    cases = [([3.0], 3.0), ([1.0, 2.0, 3.0, 4.0], 2.5)]
    assert probed(mt.minimum_functionality(cases), model, test).violations == 0
    taken = mt.metamorphic(lambda predict, x: predict(x) == predict([*x, *x]))
    assert probed(taken, model, test).violations == 0


def test_what_is_not_done_to_rows_of_different_lengths_is_said() -> None:
    model, test = mean_of_row(), ragged_part()
    error = probed(mt.directional(0, "up", by=2), model, test).error
    assert error is not None
    assert error.startswith("column 0 is none of rows of different lengths; write a function")
    error = probed(mt.invariant(lambda x: x[None]), model, test).error
    assert error is not None
    assert error.endswith("an array of shape (1, 1); a sample's is (None,)")
    rows = tf.ragged.constant([[[1.0], [2.0, 3.0]]] * 40)
    error = probed(mt.invariant(lambda x: x), model, ragged_part(rows)).error
    assert error == (
        "x is ragged in several dimensions, and such rows are not changed; pad all but one"
    )
