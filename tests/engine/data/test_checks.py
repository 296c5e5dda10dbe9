"""What is wrong with data is found before the search, counted, and shown by its rows."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import datasets

import modeltune as mt
from modeltune.engine.data import loading
from modeltune.engine.data.checks import (
    _ks,
    _total_variation,
    check_data,
    check_weights,
    row_hashes,
)
from modeltune.engine.data.cuts import RowOrder
from modeltune.engine.data.loading import LoadedData, Part, load_data
from modeltune.records.check_details import ClassCounts, Drift, Duplicates, Overlap
from modeltune.records.plain_data import plain
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.checks import CHECKS, Checks
from tests.support.small_models import spec_of
from tests.support.verdicts import details_of


def numbers(rows: int, seed: int = 0, shape: tuple[int, ...] = (6,)) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, *shape))


def part(name: str, x: Any, y: Any = None) -> Part:
    size = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return Part(name, size, name, x=x, y=np.arange(size) % 3 if y is None else y)


def loaded(train: Any, validation: Any = None, test: Any = None) -> LoadedData:
    """Return parts of x, or of (x, y); what is not given has nothing wrong with it."""
    shape = np.shape(train[0] if isinstance(train, tuple) else train)[1:]
    parts = {
        "train": train,
        "validation": numbers(30, 1, shape) if validation is None else validation,
        "test": numbers(30, 2, shape) if test is None else test,
    }
    return loaded_parts(
        *(part(n, *(one if isinstance(one, tuple) else (one,))) for n, one in parts.items())
    )


def loaded_parts(train: Part, validation: Part, test: Part) -> LoadedData:
    return LoadedData(train, validation, test)


def verdict(check: str, data: LoadedData, severity: str = "warn", **options: Any) -> Verdict:
    verdicts = check_data(data, Checks(**{check: severity, **options}))
    named = {one.gate.removeprefix("checks."): one for one in verdicts}
    assert [name for name in named if name in CHECKS] == [name for name in CHECKS if name in named]
    assert "streams" in named or [*named] == [*CHECKS]
    json.dumps(plain([one.details for one in verdicts]), allow_nan=False)
    return named[check] if check in named else named["streams"]


def random_split(x: Any, y: Any, seed: int) -> LoadedData:
    rows = np.random.default_rng(seed).permutation(len(x))
    cut = np.split(rows, [int(0.6 * len(x)), int(0.8 * len(x))])
    return loaded(*((x[one], y[one]) for one in cut))


# all checks


def framed(change: Callable[[pd.DataFrame, pd.DataFrame], None]) -> LoadedData:
    """Return frames for several inputs and outputs, of which ``change`` has changed test."""

    def frames(rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        index = np.arange(rows)
        x = pd.DataFrame({"city": np.where(index % 2, "Bonn", "Ulm"), "rooms": index % 5})
        y = pd.DataFrame({"kind": index % 3, "rare": index % 7 == 0, "price": np.sqrt(index)})
        return x, y

    def data() -> mt.Data:
        test = frames(600)
        change(*test)
        return mt.Data(frames(600), frames(600), test)

    return load_data(spec_of(data=data), {})


def test_columns_of_frames_are_checked_as_what_they_are() -> None:
    def nothing(x: pd.DataFrame, y: pd.DataFrame) -> None:
        pass

    def without_classes(x: pd.DataFrame, y: pd.DataFrame) -> None:
        y["kind"], y["rare"] = y["kind"] + 1, False

    def others(x: pd.DataFrame, y: pd.DataFrame) -> None:
        x["rooms"], y["price"] = x["rooms"] + 3, y["price"] + 9

    for check in ("constant_features", "labels", "drift"):
        assert verdict(check, framed(nothing)).outcome is Outcome.PASSED
    labels = verdict("labels", framed(without_classes))
    assert labels.reason == (
        "train has no row of class 3 (200 test rows) of y.kind; "
        "test has no row of class 0 (200 train rows) of y.kind; "
        "test has no row of class 1 (86 train rows) of y.rare"
    )
    assert {*details_of(labels, ClassCounts).outputs} == {"y.kind", "y.rare"}
    drift = verdict("drift", framed(others))
    assert [one.feature for one in details_of(drift, Drift).features] == ["x.rooms", "y.price"]
    assert details_of(drift, Drift).not_compared == ("x.city (object)",)


def test_one_hot_targets_in_a_frame_are_one_output() -> None:
    def one_hot(rows: int) -> tuple[Any, pd.DataFrame]:
        return numbers(rows), pd.DataFrame(np.eye(3)[np.arange(rows) % 3], columns=[*"abc"])

    data = load_data(spec_of(data=lambda: mt.Data(one_hot(30), one_hot(30), one_hot(30))), {})
    assert {*details_of(verdict("labels", data), ClassCounts).outputs} == {"y"}


def test_data_with_nothing_wrong_pass_every_check() -> None:
    for one in check_data(loaded(numbers(90)), Checks()):
        assert one.outcome is Outcome.PASSED, one


@pytest.mark.parametrize("check", CHECKS)
def test_a_finding_is_as_severe_as_declared(check: str) -> None:
    x = numbers(300)
    x[:, 2] = 1
    x[5] = x[3]
    test = x[:80] + 9 * np.eye(6)[3]
    data = loaded((x, np.arange(300) % 2), x[:9], (test, np.full(80, 7)))
    assert verdict(check, data).outcome is Outcome.WARNED
    assert verdict(check, data, "fail").outcome is Outcome.FAILED


def test_a_check_that_crashes_is_an_error_and_the_others_go_on() -> None:
    data = loaded(numbers(90), test=({"a": numbers(30)}, np.arange(30) % 3))
    outcomes = {one.gate: one for one in check_data(data, Checks())}
    assert outcomes["checks.drift"].outcome is Outcome.ERROR
    assert "KeyError" in outcomes["checks.drift"].reason
    assert outcomes["checks.labels"].outcome is Outcome.PASSED


# overlap


def test_rows_of_test_in_train_are_counted_and_shown() -> None:
    train = numbers(1100)
    test = numbers(360, 5)
    test[[3, 7]] = train[[1024, 2]]
    overlap = verdict("overlap", loaded(train, test=test))
    assert overlap.measured == 2 / 360
    assert overlap.reason == (
        "2 of 360 test rows are also in train: test[3] = train[1024], test[7] = train[2]. "
        "Remedy: keep rows that are equal, or come from one source, in one part"
    )


def test_every_pair_of_parts_is_compared() -> None:
    train, validation, test = numbers(50), numbers(20, 1), numbers(10, 2)
    validation[0], test[4] = train[9], validation[5]
    overlap = verdict("overlap", loaded(train, validation, test))
    assert "1 of 20 validation rows is also in train: validation[0] = train[9]" in overlap.reason
    assert "1 of 10 test rows is also in validation: test[4] = validation[5]" in overlap.reason
    shares = {"test in train": 0.0, "validation in train": 0.05, "test in validation": 0.1}
    assert details_of(overlap, Overlap).shares == shares
    assert overlap.measured == 0.1


@given(
    planted=st.sets(st.integers(0, 29), max_size=30),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(["float64", "float32", "int16", "U9"]),
)
@settings(max_examples=40)
def test_as_many_rows_as_planted_are_found_in_any_order(
    planted: set[int], seed: int, dtype: str
) -> None:
    distinct = np.arange(110)[:, None] * np.array([1, 3])
    train, test = distinct[:80].astype(dtype), distinct[80:].astype(dtype)
    test[sorted(planted)] = train[: len(planted)]
    rng = np.random.default_rng(seed)
    validation = (numbers(9) * 1e4 + 1e5).astype(int)[:, :2].astype(dtype)
    data = loaded(rng.permutation(train), validation, rng.permutation(test))
    overlap = verdict("overlap", data)
    assert overlap.measured == len(planted) / 30
    assert (overlap.outcome is Outcome.PASSED) is not bool(planted)


@pytest.mark.parametrize(
    ("train", "test"),
    [("float64", "float32"), ("uint8", "float32"), ("uint8", "int64"), ("float32", "float16")],
)
def test_equal_rows_are_found_whatever_their_dtype(train: str, test: str) -> None:
    x = np.arange(40).reshape(20, 2) / (1 if "int" in train + test else 7)
    data = loaded(x.astype(train), x[:1].astype(train) + 99, x[5:7].astype(train).astype(test))
    assert verdict("overlap", data).measured == 1


def test_long_rows_that_differ_in_one_value_are_not_equal() -> None:
    """Some of a long row's values are looked at first; those of these rows are the same."""
    images = np.zeros((300, 32, 32))
    images[np.arange(300), np.arange(300) // 32 + 3, np.arange(300) % 32] = 1
    train, rest = images[:200], images[200:]
    assert verdict("overlap", loaded(train, rest[:50], rest[50:])).outcome is Outcome.PASSED
    assert verdict("duplicates", loaded(train)).outcome is Outcome.PASSED
    again = np.concatenate([train, -0.0 * train[:1] + train[7:8]])
    assert "train[200] = train[7]" in verdict("duplicates", loaded(again)).reason
    found = verdict(
        "overlap",
        loaded(
            {"a": train, "b": train[:, 0]},
            test={"a": train[3:5], "b": train[3:5, 0]},
            validation={"a": rest, "b": rest[:, 0]},
        ),
    )
    assert (
        "2 of 2 test rows are also in train: test[0] = train[3], test[1] = train[4]" in found.reason
    )


def test_minus_zero_is_zero() -> None:
    assert (row_hashes(np.array([[0.0, 1.0]])) == row_hashes(np.array([[-0.0, 1.0]]))).all()


def test_rows_that_agree_in_one_of_two_inputs_do_not_overlap() -> None:
    def inputs(rows: int, seed: int) -> Any:
        return {"same": np.zeros((rows, 2)), "own": numbers(rows, seed)}

    data = LoadedData(part("train", inputs(9, 0)), part("validation", inputs(9, 1)), part("test", inputs(9, 2)))  # fmt: skip
    assert verdict("overlap", data).outcome is Outcome.PASSED
    data.test.x["own"][2] = data.train.x["own"][1]
    assert verdict("overlap", data).measured == 1 / 9


def test_text_is_compared_as_text() -> None:
    train = np.array(["to be", "or not", "to be at all"])
    test = np.array(["or not", "that is"], dtype=object)
    overlap = verdict("overlap", loaded(train, np.array(["a question"]), test))
    assert "test[0] = train[1]" in overlap.reason


def test_rows_of_few_distinct_values_may_be_equal_by_chance() -> None:
    x = np.arange(90)[:, None] % 4
    overlap = verdict("overlap", loaded(x, x[:9], x[:30]))
    assert overlap.reason.endswith("But train has only 4 distinct rows: chance makes rows equal")


# duplicates


def test_repeated_rows_are_counted_and_shown() -> None:
    x = numbers(40)
    x[[8, 20]] = x[3]
    duplicates = verdict("duplicates", loaded((x, np.full(40, 1))))
    assert duplicates.measured == 2 / 40
    assert duplicates.reason == (
        "2 of 40 train rows repeat an earlier one: train[8] = train[3], train[20] = train[3]; "
        "all with the same target"
    )


def test_repeated_rows_with_conflicting_labels_are_said() -> None:
    x, y = numbers(40), np.zeros(40, int)
    x[[8, 20]], y[20] = x[3], 4
    duplicates = verdict("duplicates", loaded((x, y)))
    assert "1 of them with conflicting labels: train[20] is 4, train[3] is 0" in duplicates.reason
    assert duplicates.details == Duplicates(2, 1)


def test_repeated_rows_may_conflict_in_a_number() -> None:
    x, y = numbers(40), numbers(40, 1, ())
    x[8] = x[3]
    duplicates = verdict("duplicates", loaded((x, y)))
    assert "1 of them with conflicting targets: train[8] and train[3]" in duplicates.reason


def test_rows_of_different_lengths_repeat_and_are_constant_as_others_are() -> None:
    words = tf.ragged.constant([["a", "b"], ["a"], ["b"], ["a", "b"]])
    data = load_data(spec_of(data=mt.Data(*[words] * 3)))
    assert "1 of 4 train rows repeats an earlier one: train[3] = train[0]" in (
        verdict("duplicates", data).reason
    )
    assert verdict("constant_features", data).outcome is Outcome.PASSED
    assert "there are no numbers in x (ragged)" in verdict("drift", data).reason
    data = load_data(spec_of(data=mt.Data(*[tf.ragged.constant([[1, 2]] * 4)] * 3)))
    assert verdict("constant_features", data).reason == "x is the same in every row of train"


def test_ragged_targets_are_checked_as_far_as_they_can_be() -> None:
    y = tf.ragged.constant([[1, 2], [1], [2], [1, 2]])
    x = np.array([[0.0], [1.0], [0.0], [0.0]])
    data = load_data(spec_of(data=mt.Data(*[(x, y)] * 3)))
    assert "1 of them with conflicting targets: train[2] and train[0]" in (
        verdict("duplicates", data).reason
    )
    assert verdict("labels", data).reason == "y holds no class labels"
    assert Outcome.ERROR not in {one.outcome for one in check_data(data, Checks())}


def test_rows_without_targets_repeat_all_the_same() -> None:
    x = numbers(40)
    x[3] = x[0]
    data = load_data(spec_of(data=mt.Data(x, numbers(30, 1), numbers(30, 2))))
    assert verdict("duplicates", data).reason == (
        "1 of 40 train rows repeats an earlier one: train[3] = train[0]; there are no targets"
    )
    assert verdict("labels", data).reason == "there are no targets"


@given(seed=st.integers(0, 2**16), repeats=st.integers(0, 20))
@settings(max_examples=30)
def test_the_order_of_rows_does_not_change_how_many_repeat(seed: int, repeats: int) -> None:
    x = np.concatenate([numbers(40), numbers(40)[:repeats]])
    rows = np.random.default_rng(seed).permutation(len(x))
    assert details_of(verdict("duplicates", loaded(x[rows])), Duplicates).repeated == repeats


# constant features


def test_a_column_that_never_varies_is_named() -> None:
    x, test = numbers(40), numbers(30, 2)
    x[:, 1], x[:, 4], test[:, 1] = 2.5, 0, 2.5
    constant = verdict("constant_features", loaded(x, test=test))
    assert constant.measured == 2
    assert constant.reason == (
        "2 of 6 columns of x are constant in train: [:, 1] is always 2.5, [:, 4] is always 0.0; "
        "[:, 4] takes other values in test"
    )


def test_pixels_may_be_constant() -> None:
    x = numbers(40, shape=(6, 6, 1))
    x[:, 0] = 0
    assert verdict("constant_features", loaded(x)).outcome is Outcome.PASSED


@pytest.mark.parametrize("value", [0, np.arange(36).reshape(6, 6, 1)])
def test_images_that_are_all_the_same_are_not_fine(value: Any) -> None:
    constant = verdict("constant_features", loaded(numbers(40, shape=(6, 6, 1)) * 0 + value))
    assert constant.outcome is Outcome.WARNED
    assert "x is the same in every row of train" in constant.reason


@pytest.mark.parametrize("x", [np.full(40, "word"), np.full(40, "word", object), np.ones((40, 1))])
def test_an_input_of_one_value_is_constant(x: Any) -> None:
    data = loaded(x, x[:9], x[:9])
    assert verdict("constant_features", data).measured == 1


def test_one_of_several_inputs_is_named() -> None:
    inputs = {"age": numbers(40, shape=(1,)), "flag": np.ones((40, 1))}
    data = loaded_parts(*(part(name, inputs) for name in ("train", "validation", "test")))
    assert "x.flag is the same" in verdict("constant_features", data).reason


# labels


def test_a_class_that_train_lacks_is_named() -> None:
    y = np.arange(90) % 3
    test = np.array([0, 1, 2, 7, 7])
    labels = verdict("labels", loaded((numbers(90), y), test=(numbers(5, 2), test)))
    assert labels.measured == 1
    assert labels.reason == "train has no row of class 7 (2 test rows)"
    assert details_of(labels, ClassCounts).outputs["y"]["test"] == {"0": 1, "1": 1, "2": 1, "7": 2}


def test_a_class_that_test_lacks_is_named() -> None:
    labels = verdict("labels", loaded(numbers(90), test=(numbers(4, 2), np.array([0, 1, 0, 1]))))
    assert labels.reason == "test has no row of class 2 (30 train rows)"


def test_a_class_that_only_validation_has_is_named() -> None:
    data = loaded(numbers(90), validation=(numbers(4, 2), np.array([0, 1, 2, 3])))
    assert verdict("labels", data).reason == "train has no row of class 3 (1 validation row)"


@pytest.mark.parametrize(
    "kind",
    [
        lambda y: np.eye(4)[y],
        lambda y: np.array(["ant", "bee", "cow", "dog"])[y],
        lambda y: y[:, None],
        lambda y: y.astype("uint8"),
    ],
    ids=["one-hot", "text", "column", "uint8"],
)
def test_classes_are_counted_however_they_are_written(kind: Any) -> None:
    y = np.arange(90) % 3
    test = (numbers(8, 2), kind(np.arange(8) % 4))
    labels = verdict("labels", loaded((numbers(90), kind(y)), (numbers(9, 1), kind(y[:9])), test))
    assert labels.measured == 1
    assert "(2 test rows)" in labels.reason


@pytest.mark.parametrize("y", [numbers(90, 3, ()), np.arange(90) * 17])
def test_numbers_to_regress_on_are_no_classes(y: Any) -> None:
    data = loaded((numbers(90), y), (numbers(30, 1), y[:30] + 1), (numbers(30, 2), y[30:60] + 2))
    labels = verdict("labels", data)
    assert (labels.outcome, labels.reason) == (Outcome.PASSED, "y holds no class labels")


# drift


def test_a_shifted_feature_is_named_with_its_distance() -> None:
    x, test = numbers(900), numbers(300, 2)
    test[:, 4] += 1
    drift = verdict("drift", loaded(x, test=test))
    assert drift.reason.startswith("1 of 7 features and targets differ between train and test: x[:, 4] by 0.")  # fmt: skip
    expected = stats.ks_2samp(x[:, 4], test[:, 4], method="asymp")
    assert drift.measured == pytest.approx(expected.statistic)
    (feature,) = details_of(drift, Drift).features
    assert feature.feature == "x[:, 4]"
    assert feature.p < 1e-9


def test_a_small_shift_that_is_real_is_harmless() -> None:
    x, test = numbers(9000), numbers(9000, 2)
    test[:, 4] += 0.2
    drift = verdict("drift", loaded(x, test=test))
    assert drift.outcome is Outcome.PASSED
    assert 0.05 < (drift.measured or 0) < 0.15
    assert verdict("drift", loaded(x, test=test), max_drift=0.05).outcome is Outcome.WARNED


def test_shares_of_classes_drift() -> None:
    y, test = np.arange(900) % 3, np.repeat([0, 0, 1, 2], 75)
    drift = verdict("drift", loaded((numbers(900), y), test=(numbers(300, 2), test)))
    assert "y by 0.17 (total variation)" in drift.reason


def test_coded_values_drift_where_their_order_says_nothing() -> None:
    x = np.arange(900)[:, None] % 4
    test = np.repeat([0, 0, 3, 3, 1, 2], 50)[:, None]
    drift = verdict("drift", loaded(x, x[:30], test))
    assert "x by 0.17 (total variation)" in drift.reason


def test_darker_images_drift() -> None:
    x = np.abs(numbers(600, shape=(5, 5, 1)))
    test = np.abs(numbers(200, 2, (5, 5, 1)))
    assert verdict("drift", loaded(x, test=test)).outcome is Outcome.PASSED
    drift = verdict("drift", loaded(x, test=0.6 * test))
    assert "mean of x by" in drift.reason


def test_text_does_not_drift_but_its_labels_do() -> None:
    words = np.array([f"word {n}" for n in range(900)])
    drift = verdict("drift", loaded((words[:600], np.arange(600) % 2), words[:9], (words[600:], np.zeros(300, int))))  # fmt: skip
    assert drift.outcome is Outcome.WARNED
    assert details_of(drift, Drift).not_compared == ("x (<U8)",)


def test_large_parts_are_sampled_and_say_so() -> None:
    drift = verdict("drift", loaded(numbers(6000)))
    details = details_of(drift, Drift)
    assert (details.train_rows, details.sampled) == (5000, True)
    assert details.seed == 0


@pytest.mark.parametrize("name", ["digits", "wine", "diabetes", "breast_cancer"])
@pytest.mark.parametrize("kind", ["float64", "int16"])
def test_a_random_split_does_not_drift(name: str, kind: str) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    for seed in range(20):
        drift = verdict("drift", random_split(x.astype(kind), y, seed), max_drift=0.001)
        assert drift.outcome is Outcome.PASSED, drift


def test_a_random_split_of_many_features_does_not_drift() -> None:
    for seed in range(3):
        x = numbers(300, seed, (784,))
        drift = verdict("drift", random_split(x, np.arange(300) % 10, seed))
        assert drift.outcome is Outcome.PASSED, drift


def test_a_split_by_order_drifts() -> None:
    x, y = datasets.load_wine(return_X_y=True)
    data = loaded((x[:100], y[:100]), (x[100:130], y[100:130]), (x[130:], y[130:]))
    drift = verdict("drift", data)
    assert drift.outcome is Outcome.WARNED
    assert "Remedy: split the data at random" in drift.reason
    # Nobody draws rows in time at random.
    in_time = verdict("drift", replace(data, order=RowOrder(is_ordered=True)))
    assert "Remedy: train on what is nearer in time" in in_time.reason


@given(seed=st.integers(0, 2**16), shift=st.floats(0, 3))
@settings(max_examples=30)
def test_our_distance_is_scipys_and_our_p_no_smaller(seed: int, shift: float) -> None:
    train, test = numbers(80, seed, ()).round(1), (numbers(50, seed + 1, ()) + shift).round(1)
    ours, theirs = _ks("x", train, test), stats.ks_2samp(train, test, method="exact")
    assert ours.distance == pytest.approx(theirs.statistic)
    assert ours.p >= theirs.pvalue * 0.999
    swapped = _ks("x", test, train)
    assert (swapped.distance, swapped.p) == pytest.approx((ours.distance, ours.p))


def test_total_variation_has_the_p_of_the_chi_squared_test() -> None:
    train, test = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [20, 20, 20])
    ours = _total_variation("y", train, test)
    table = [[50, 30, 20], [20, 20, 20]]
    assert ours.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert ours.distance == pytest.approx((abs(0.5 - 1 / 3) + abs(0.3 - 1 / 3) + abs(0.2 - 1 / 3)) / 2)  # fmt: skip


def test_values_too_rare_for_a_test_count_as_one() -> None:
    train, test = np.r_[np.zeros(60, int), 1:41], np.r_[np.zeros(30, int), 41:61]
    assert _total_variation("y", train, test).p == 1
    expected = stats.chi2_contingency([[60, 40], [10, 40]], correction=False).pvalue
    assert _total_variation("y", train, np.r_[np.zeros(10, int), 41:81]).p == pytest.approx(
        expected
    )


def test_a_column_of_rare_whole_numbers_is_compared_by_its_order() -> None:
    years = np.arange(1970, 2040)[:, None]
    drift = verdict("drift", loaded(years[:45], years[:9], years[45:]))
    assert "x by 1.00 (KS)" in drift.reason


# streams


def streamed(rows: int, seed: int, labels: int = 3) -> Any:
    x, y = numbers(rows, seed), np.arange(rows) % labels
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(rows, seed=seed).batch(8)


def loaded_by_us(**parts: Any) -> LoadedData:
    spec = mt.spec(data=mt.Data(**parts), search=mt.GridSearch(mt.maximize("val_accuracy")))
    return load_data(spec(lambda hp: None))


def test_what_streams_leave_unchecked_is_one_line() -> None:
    data = loaded_by_us(train=streamed(90, 0), validation=streamed(30, 1), test=streamed(30, 2))
    (one,) = check_data(data, Checks())
    assert (one.gate, one.outcome) == ("checks.streams", Outcome.INCONCLUSIVE)
    assert one.reason == (
        "streamed data are not checked for rows in both parts (test in train, validation in train, "
        "test in validation), rows that repeat an earlier one, inputs that never vary, classes that "
        "one part lacks, except by the lowest and highest label, features that drift from train to "
        "test; return arrays to have them checked"
    )


def noisy(stream: Any) -> Any:
    return stream.map(lambda x, y: (x + tf.random.normal(tf.shape(x), dtype=x.dtype), y))


def test_a_test_stream_that_changes_is_found_and_an_augmented_train_stream_is_not() -> None:
    data = loaded_by_us(
        train=noisy(streamed(90, 0)), validation=streamed(30, 1), test=streamed(30, 2)
    )
    (one,) = check_data(data, Checks())
    assert one.outcome is Outcome.INCONCLUSIVE
    parts = {"train": streamed(90, 0), "validation": streamed(30, 1)}
    data = loaded_by_us(**parts, test=noisy(streamed(30, 2)))
    (one,) = check_data(data, Checks())
    assert one.outcome is Outcome.WARNED
    assert one.reason.startswith(
        "test yields other samples each time it is read, so that scores are not of the same samples; "
    )


def test_a_stream_that_is_another_is_found_in_any_order() -> None:
    data = loaded_by_us(train=streamed(90, 0), validation=streamed(30, 1), test=streamed(30, 1))
    overlap = verdict("overlap", data)
    assert overlap.outcome is Outcome.WARNED
    assert "test is validation: both streams yield the same samples" in overlap.reason


def test_labels_of_a_stream_beyond_those_of_train_are_found() -> None:
    data = loaded_by_us(
        train=streamed(90, 0), validation=streamed(30, 1), test=streamed(30, 2, labels=5)
    )
    labels = verdict("labels", data, "fail")
    assert labels.outcome is Outcome.FAILED
    assert labels.reason == "test has labels 0 to 4 in y, train only 0 to 2"


def test_parts_in_memory_are_checked_beside_a_stream() -> None:
    train, test = numbers(90), numbers(30, 2)
    arrays = {"train": (train, np.arange(90) % 3), "test": (test, np.arange(30) % 3)}
    data = loaded_by_us(**arrays, validation=streamed(30, 1))
    overlap = verdict("overlap", data)
    assert overlap.outcome is Outcome.INCONCLUSIVE
    assert (overlap.gate, overlap.measured) == ("checks.overlap", 0.0)
    assert details_of(overlap, Overlap).shares == {"test in train": 0.0}
    assert overlap.reason == "no row of one part is in another, of test in train"
    assert details_of(verdict("labels", data), ClassCounts).outputs["y"]["test"] == {
        "0": 10,
        "1": 10,
        "2": 10,
    }
    assert verdict("drift", data).outcome is Outcome.PASSED
    unchecked = "rows in both parts (validation in train, test in validation), y of a stream"
    assert check_data(data, Checks())[-1].reason == (
        f"streamed data are not checked for {unchecked}; return arrays to have them checked"
    )
    test[0] = train[4]
    data = loaded_by_us(**arrays, validation=streamed(30, 1))
    assert "test[0] = train[4]" in verdict("overlap", data).reason
    assert unchecked in check_data(data, Checks())[-1].reason


@given(
    st.integers(1, 30) | st.just(600),
    st.sampled_from(["uint8", "int16", "float32", "float64", "complex64", "bool"]),
    st.integers(0, 2**32 - 1),
)
def test_law_rows_have_one_hash_if_and_only_if_they_are_equal(
    columns: int, dtype: str, seed: int
) -> None:
    """Few values, so that rows differ in a sign, an exchange or a shift."""
    values = np.random.default_rng(seed).integers(-1, 2, (60, columns)).astype(dtype)
    different = {row.tobytes() for row in values + values.dtype.type(0)}
    assert len(np.unique(row_hashes(values))) == len(different)


def test_a_row_has_one_hash_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = numbers(50, 1)
    whole = row_hashes(rows)
    monkeypatch.setattr(loading, "CHUNK_BYTES", rows[0].nbytes * 7)
    assert (row_hashes(rows) == whole).all()
    assert (row_hashes(np.asfortranarray(rows)) == whole).all()


@pytest.mark.parametrize("shape", [(4096, 32, 32), (2**17, 32)], ids=["images", "table"])
def test_large_data_are_held_once(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CHUNK_BYTES", 2**16)
    x = np.random.default_rng(0).random(shape, dtype=np.float32)  # 16 MiB
    y = np.arange(len(x)) % 2
    cut = np.split(np.arange(len(x)), [7 * len(x) // 10, 17 * len(x) // 20])
    data = mt.Data(*((x[rows[0] : rows[-1] + 1], y[rows[0] : rows[-1] + 1]) for rows in cut))
    spec = spec_of(data=data)
    check_data(load_data(spec), spec.checks)  # imports what it needs
    verdicts, peak, _ = _memory_of(lambda: check_data(load_data(spec), spec.checks))
    assert {one.outcome for one in verdicts} == {Outcome.PASSED}
    assert peak < x.nbytes / 4


def test_large_data_that_are_cut_are_copied_once_and_then_held_once() -> None:
    shape = 4096, 32, 32  # 16 MiB

    def made() -> mt.Data:
        x = np.random.default_rng(0).random(shape, dtype=np.float32)
        return mt.Data((x, np.arange(len(x)) % 2))

    spec = spec_of(data=made)
    load_data(spec)  # imports what it needs
    data, peak, held = _memory_of(lambda: load_data(spec))
    size = sum(part.x.nbytes for part in data.parts)
    assert size == 4 * np.prod(shape)
    assert peak < 2.2 * size
    assert held < 1.1 * size


def _memory_of(function: Callable[[], Any]) -> tuple[Any, int, int]:
    """Return a result, the most memory allocated meanwhile, and what it holds, in bytes."""
    tracemalloc.start()
    try:
        result = function()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, peak, held


def test_weights_that_train_nothing_are_warned_of() -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    part = (x, y, np.zeros(20))
    data = load_data(spec_of(data=mt.Data(part, part, part)))
    check = check_weights(data, {0: 1.0, 7: 2.0})
    assert check is not None
    assert check.outcome is Outcome.WARNED
    assert check.reason.startswith(
        "fit.class_weight has weights for 7, but train has no row of such a class; "
        "train sample_weight is zero in every row, so no row counts; validation "
    )
    whole = load_data(spec_of(data=mt.Data((x, y), (x, y), (x, y))))
    assert check_weights(whole, {0: 1.0, 1: 2.0}) is None


@pytest.mark.parametrize("targets", ["classes", "floats", "one-hot"])
def test_weights_of_a_class_that_a_stream_lacks_are_warned_of_as_of_arrays(targets: str) -> None:
    x, labels = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    y = {"classes": labels, "floats": labels[:, None] * 1.0, "one-hot": np.eye(8)[labels]}[targets]
    part = (x, y)
    stream = tf.data.Dataset.from_tensor_slices(part).batch(6)
    streams, arrays = (
        load_data(spec_of(data=mt.Data(train, part, part))) for train in (stream, part)
    )
    check = check_weights(streams, {0: 1.0, 7: 2.0})
    assert check == check_weights(arrays, {0: 1.0, 7: 2.0})
    assert check is not None
    assert check_weights(streams, {0: 1.0, 1: 2.0}) is None
