"""Samples survive packing to the bit, refuse what is not theirs, and score as scikit-learn does."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics

from modeltune.records.sample_metadata import SampleMetadata
from modeltune.records.samples import (
    CLASS_METRICS,
    LARGEST_UNPACKED,
    NUMBER_METRICS,
    WIDTH,
    Groups,
    Samples,
    class_metric,
    join_samples,
    label_metric,
    pack_samples,
    unpack_samples,
)

names = st.text("abcdefghij_ é/", max_size=6)
any_float = st.floats(width=32)
integer_types = st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64])


def classes(*shape: int) -> Any:
    return integer_types.flatmap(lambda kind: arrays.arrays(kind, shape))


def floats(*shape: int) -> Any:
    return arrays.arrays(np.float32, shape, elements=any_float)


@st.composite
def all_samples(draw: st.DrawFn) -> Samples:
    n, refits, columns = draw(st.integers(0, 40)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    bools = arrays.arrays(bool, (refits, n))
    return Samples(
        n,
        refits,
        draw(st.dictionaries(names, classes(n) | floats(n, columns), max_size=3)),
        draw(
            st.dictionaries(names, classes(refits, n) | floats(refits, n, columns), max_size=3)
        ),
        draw(st.dictionaries(names, st.lists(st.integers(-1, 99)), max_size=3)),
        draw(st.dictionaries(names, bools | floats(refits, n), max_size=3)),
        draw(st.dictionaries(names, arrays.arrays(bool, n), max_size=3)),
        draw(st.dictionaries(names, names, max_size=3)),
        draw(st.dictionaries(names, floats(n), max_size=3)),
        groups=draw(st.dictionaries(names, st.lists(names, min_size=n, max_size=n).map(groups), max_size=2)),
        chart_outputs=draw(st.dictionaries(names, floats(n) | floats(n, columns), max_size=2)),
        clusters=draw(st.none() | classes(n)),
        is_ordered=draw(st.booleans()),
    )  # fmt: skip


def groups(texts: list[str]) -> Groups:
    return Groups.of(np.array(texts, object))


def same(one: Any, other: Any) -> bool:
    """Tell whether two arrays hold the same values; whole numbers come back as int64."""
    if one.dtype.kind in "iu":
        return bool(other.dtype == np.int64 and np.array_equal(one, other))
    return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())


ALONE = ("size", "refits", "classes", "definitions", "groups", "metadata", "is_ordered")
"""Fields that are no arrays by name."""


def equal(one: Samples, other: Samples) -> bool:
    for field in fields(Samples):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "clusters":
            if (mine is None) != (theirs is None) or not (mine is None or same(mine, theirs)):
                return False
        elif field.name not in ALONE:
            if set(mine) != set(theirs):
                return False
            if not all(same(mine[name], theirs[name]) for name in mine):
                return False
        elif field.name == "groups":
            if {name: (g.labels, g.codes.tolist()) for name, g in mine.items()} != {
                name: (g.labels, g.codes.tolist()) for name, g in theirs.items()
            }:
                return False
        elif mine != theirs:
            return False
    return True


# Packing


@given(samples=all_samples())
def test_law_samples_survive_json_to_the_bit(samples: Samples) -> None:
    text = json.dumps(pack_samples(samples), allow_nan=False)
    assert equal(samples, unpack_samples(json.loads(text)))


@given(samples=all_samples())
def test_law_packing_what_was_unpacked_changes_no_character(samples: Samples) -> None:
    text = json.dumps(pack_samples(samples))
    assert json.dumps(pack_samples(unpack_samples(json.loads(text)))) == text


@given(samples=all_samples())
def test_law_packed_text_is_sorted_and_in_short_lines(samples: Samples) -> None:
    data = pack_samples(samples)
    for part in data.values():
        if isinstance(part, dict):
            assert list(part) == sorted(part)
    for part in ("truth", "predicted", "values", "slices", "weights", "outputs"):
        for array in data.get(part, {}).values():
            *full, last = array["zlib"]
            assert {len(line) for line in full} <= {WIDTH}
            assert 0 < len(last) <= WIDTH == 96
            assert all(line.isascii() and " " not in line for line in array["zlib"])


def test_a_whole_test_part_takes_few_bytes() -> None:
    """10 000 samples of ten classes, three refits: a file that can be reviewed and committed."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 10, 10_000)
    predicted = np.where(random.random((3, 10_000)) < 0.9, truth, 0)
    right = predicted == truth
    samples = Samples(10_000, 3, {"": truth}, {"": predicted}, values={"accuracy": right})
    assert len(json.dumps(pack_samples(samples))) < 35_000


SOME = Samples(
    200,
    2,
    {"": np.arange(200) % 7},
    {"": np.arange(400).reshape(2, 200) % 5},
    {"": list(range(7))},
    {"loss": np.sqrt(np.arange(400, dtype=np.float32)).reshape(2, 200)},
    {"dark": np.arange(200) % 3 == 0},
    {"loss": "mean"},
    outputs={"": np.linspace(0, 1, 2800).reshape(2, 200, 7)},
)
ARRAYS = [
    *(("truth", ""), ("predicted", ""), ("values", "loss"), ("slices", "dark")),
    ("outputs", ""),
]

garblings: st.SearchStrategy[Callable[[str, int, str], str]] = st.sampled_from(
    [
        lambda text, place, _: text[:place],
        lambda text, place, _: text[place + 1 :],
        lambda text, place, _: text[:place] + text[place + 1 :],
        lambda text, place, char: text[:place] + char + text[place:],
        lambda text, place, char: text[:place] + char + text[place + 1 :],
        lambda text, place, _: text[:place] + text[place:][::-1],
        lambda text, _, char: text + char,
    ]
)


@given(
    where=st.sampled_from(ARRAYS),
    garble=garblings,
    place=st.floats(0, 1, exclude_max=True),
    char=st.characters(max_codepoint=400) | st.sampled_from("A=+/\n"),
)
def test_law_text_that_was_garbled_is_a_value_error_or_says_the_same(
    where: tuple[str, str], garble: Any, place: float, char: str
) -> None:
    data = json.loads(json.dumps(pack_samples(SOME)))
    array = data[where[0]][where[1]]
    text = "".join(array["zlib"])
    array["zlib"] = [garble(text, int(place * len(text)), char)]
    try:
        again = unpack_samples(data)
    except ValueError:
        return
    assert equal(again, SOME)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["size"], 199),
        (["refits"], 3),
        (["truth", "", "shape"], [199]),
        (["truth", "", "shape"], [2, 100]),
        (["truth", "", "type"], "|O"),
        (["truth", "", "type"], "<M8[s]"),
        (["truth", "", "type"], "<u8"),
        (["truth", "", "type"], "|S1"),
        (["predicted", "", "shape"], [200, 2]),
        (["values", "loss", "type"], "<f8"),
        (["values", "loss", "zlib"], []),
        (["slices", "dark", "shape"], [201]),
        (["slices", "dark", "shape"], [100]),
        (["slices", "dark", "shape"], [10**13]),  # and is not made room for
        (["slices", "dark", "shape"], [2**40, 2**40]),
    ],
)
def test_what_does_not_fit_together_is_a_value_error(path: list[str], value: Any) -> None:
    data: Any = json.loads(json.dumps(pack_samples(SOME)))
    place = data
    for name in path[:-1]:
        place = place[name]
    assert place[path[-1]] != value
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        unpack_samples(data)


@pytest.mark.parametrize("name", [name for name in pack_samples(SOME) if name != "outputs"])
def test_what_is_missing_is_named(name: str) -> None:
    data = pack_samples(SOME)
    del data[name]
    with pytest.raises(KeyError, match=name):
        unpack_samples(data)


def test_whole_numbers_take_the_bytes_they_need() -> None:
    def kind(most: int, least: int = 0) -> str:
        truth = {"": np.array([least, most])}
        return str(pack_samples(Samples(2, 1, truth))["truth"][""]["type"])

    assert [kind(9), kind(300), kind(70_000), kind(9, -1)] == ["|u1", "<u2", "<u4", "<i8"]


# Scores


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    n = draw(st.integers(1, 30))
    # The truth of a sample that does not count is -1; no model predicts that.
    least = draw(st.sampled_from([0, -1]))
    truth, predicted = (
        draw(arrays.arrays(np.int64, n, elements=st.integers(lowest, 4))) for lowest in (least, 0)
    )
    rows = draw(arrays.arrays(bool, n))
    rows[0] = True
    return truth, predicted, rows


@given(draw=predictions())
def test_law_a_classifier_scores_as_scikit_learn_says(draw: tuple[Any, Any, Any]) -> None:
    truth, predicted, rows = draw
    samples = Samples(len(truth), 2, {"": truth}, {"": np.stack([truth, predicted])})
    counted = rows & (truth >= 0)
    true, answers = truth[counted], predicted[counted]
    if not len(true):
        assert math.isnan(samples.score("f1", 1, rows) or 0.0)
        return
    # As the report of a run, which names the classes of the head.
    labels = np.unique(true)
    expected = metrics.precision_recall_fscore_support(
        true, answers, labels=labels, average="macro", zero_division=0
    )
    for name, theirs in zip(CLASS_METRICS, expected, strict=False):
        assert samples.score(name, 1, rows) == pytest.approx(theirs)
        assert samples.score(name, 0, rows) == 1
    true, answers = truth[truth >= 0], predicted[truth >= 0]
    recalls = metrics.recall_score(true, answers, average="macro", labels=np.unique(true))
    assert samples.score("recall", 1) == pytest.approx(recalls)


@given(draw=predictions(), label=st.integers(0, 4))
def test_law_a_class_scores_as_its_row_of_the_report(
    draw: tuple[Any, Any, Any], label: int
) -> None:
    truth, predicted, _ = draw
    right = (truth == predicted)[None]
    samples = Samples(len(truth), 1, {"": truth}, {"": predicted[None]}, values={"accuracy": right})
    if not (counted := truth >= 0).any():
        return
    report = metrics.classification_report(
        truth[counted], predicted[counted], labels=[label], output_dict=True, zero_division=0
    )[str(label)]
    scored = [samples.class_score(name, 0, label) for name in CLASS_METRICS]
    assert scored == pytest.approx([report["precision"], report["recall"], report["f1-score"]])
    if (truth == label).any():
        assert samples.class_score("accuracy", 0, label) == pytest.approx(report["recall"])


@given(
    data=st.data(),
    n=st.integers(2, 20),
    columns=st.integers(1, 3),
)
def test_law_numbers_score_as_scikit_learn_says(data: Any, n: int, columns: int) -> None:
    tenths = arrays.arrays(
        np.float32, (n, columns), elements=st.integers(-50, 50).map(lambda i: i / 8)
    )
    truth, predicted = data.draw(tenths), data.draw(tenths)
    samples = Samples(n, 1, {"": truth}, {"": predicted[None]})
    expected = {
        "mae": metrics.mean_absolute_error,
        "mse": metrics.mean_squared_error,
        "rmse": lambda *both: math.sqrt(metrics.mean_squared_error(*both)),
        "r2": metrics.r2_score,
        "explained_variance": metrics.explained_variance_score,
    }
    assert list(expected) == list(NUMBER_METRICS)
    for name, theirs in expected.items():
        score = samples.score(name, 0)
        assert score == pytest.approx(theirs(truth.astype(float), predicted.astype(float)))
    assert samples.class_score("mae", 0, 1) is None


@given(values=arrays.arrays(np.float32, (2, 9), elements=st.floats(0, 9, width=32)))
def test_law_a_metric_with_values_is_their_mean(values: Any) -> None:
    samples = Samples(9, 2, values={"loss": values})
    rows = np.arange(9) < 5
    for refit in (0, 1):
        assert samples.score("loss", refit) == pytest.approx(values[refit].mean(dtype=float))
        assert samples.score("loss", refit, rows) == values[refit][rows].mean(dtype=float)
    assert samples.score("auc", 0) is None


def test_values_of_a_compiled_metric_come_before_the_report() -> None:
    """Whoever compiles a metric called "recall" means that one."""
    truth = np.array([0, 0, 1, 1])
    compiled = np.array([[1.0, 1.0, 0.5, 0.5]], np.float32)
    samples = Samples(4, 1, {"": truth}, {"": truth[None]}, values={"recall": compiled})
    assert samples.score("recall", 0) == 0.75
    assert samples.class_score("recall", 0, 1) == 0.5


@pytest.mark.parametrize("metric", [*CLASS_METRICS, "mae", "rmse", "r2", "loss"])
def test_nothing_has_no_score(metric: str) -> None:
    kinds = (
        {"": np.zeros(3, int)} if metric in CLASS_METRICS else {"": np.zeros((3, 1), np.float32)}
    )
    values = {"loss": np.ones((1, 3), np.float32)}
    samples = Samples(3, 1, kinds, {"": kinds[""][None]}, values=values)
    assert math.isnan(samples.score(metric, 0, np.zeros(3, bool)) or 0.0)


def test_outputs_are_told_apart_by_their_prefix() -> None:
    truth = {"digit_": np.array([0, 1, 1]), "ink_": np.ones((3, 1), np.float32)}
    predicted = {"digit_": np.array([[0, 1, 0]]), "ink_": np.full((1, 3, 1), 3, np.float32)}
    samples = Samples(3, 1, truth, predicted)
    assert samples.score("digit_recall", 0) == 0.75
    assert samples.score("ink_mae", 0) == 2
    assert samples.score("digit_mae", 0) is None
    assert samples.score("recall", 0) is None
    assert samples.classified("digit_accuracy") == samples.classified("anything") == "digit_"


def test_which_classes_are_meant_must_be_clear() -> None:
    two = {"a_": np.zeros(2, int), "b_": np.zeros(2, int)}
    assert Samples(2, 1, two).classified("b_accuracy") == "b_"
    with pytest.raises(LookupError, match="several classified outputs"):
        Samples(2, 1, two).classified("accuracy")
    with pytest.raises(LookupError, match="no classes"):
        Samples(2, 1, {"": np.zeros((2, 1), np.float32)}).classified("mae")


# Joining


def refits() -> Iterator[Samples]:
    for seed in range(3):
        random = np.random.default_rng(seed)
        yield replace(
            SOME,
            refits=1,
            predicted={"": random.integers(0, 7, (1, 200))},
            values={"loss": random.random((1, 200)).astype(np.float32)},
            outputs={"": random.random((1, 200, 7))},
        )


def test_refits_are_joined_in_their_order() -> None:
    parts = list(refits())
    together = join_samples(parts)
    assert together is not None
    assert (together.size, together.refits) == (200, 3)
    for refit, one in enumerate(parts):
        assert together.score("loss", refit) == one.score("loss", 0)
        assert together.score("f1", refit) == one.score("f1", 0)
        assert together.score("roc_auc", refit) == one.score("roc_auc", 0)
    assert equal(together, unpack_samples(pack_samples(together)))


def test_charts_are_drawn_from_what_the_first_refit_predicted() -> None:
    draw = np.random.default_rng(0)
    truth, shares = draw.integers(0, 2, 50), draw.random((3, 50))
    one, two, three = (
        Samples(50, 1, {"": truth}, {"": (each > 0.5)[None] * 1}, chart_outputs={"": each})
        for each in shares
    )
    together = join_samples([one, two, three])
    assert together is not None
    together = unpack_samples(pack_samples(together))
    answers = together.chart_answers("")
    assert answers is not None
    assert answers.outputs is not None
    assert answers.outputs.tobytes() == shares[0].tobytes()
    # No gate is judged by them.
    assert together.score("roc_auc", 0) is None
    assert together.memory == one.memory + 2 * 8 * 50


@pytest.mark.parametrize("what", ["truth", "order", "size"])
def test_refits_of_other_samples_are_not_joined(what: str) -> None:
    one, two, three = refits()
    truth = three.truth[""].copy()
    if what == "truth":
        truth[7] += 1
    elif what == "order":
        truth = truth[::-1]
    else:
        truth = truth[:-1]
    other = replace(three, truth={"": truth}, size=len(truth))
    assert join_samples([one, two, other]) is None
    assert join_samples([other, one, two]) is None


def test_only_what_every_refit_tells_is_kept() -> None:
    one, two, _ = refits()
    together = join_samples([one, replace(two, values={})])
    assert together is not None
    assert (list(together.values), list(together.predicted)) == ([], [""])


def test_packing_loads_neither_keras_nor_scikit_learn() -> None:
    """What reads a baseline file is to be as quick as a linter."""
    code = (
        "import sys, modeltune.records.samples; "
        "assert not {'keras', 'tensorflow', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What others have written


def stated(shape: list[int], kind: str = "<f4", content: bytes = b"", size: int = 2) -> Any:
    """Return samples with one metric, whose values say of themselves what they are."""
    text = base64.b64encode(zlib.compress(content)).decode()
    array = {"type": kind, "shape": shape, "zlib": [text]}
    return pack_samples(Samples(size, 1)) | {"values": {"loss": array}}


def test_more_than_the_memory_allowed_is_refused_before_it_is_unpacked() -> None:
    """Its content is no packed data, which would be said first if it were looked at."""
    data = stated([1, 2, 1 << 40])
    data["values"]["loss"]["zlib"] = ["?"]
    with pytest.raises(ValueError, match=f"take more than {LARGEST_UNPACKED} bytes when unpacked"):
        unpack_samples(data)
    # Together too: each of the two would fit.
    one = stated([1, 1000], size=1000, content=bytes(4000))
    two = one | {"truth": {"": one["values"]["loss"] | {"shape": [1000]}}}
    assert unpack_samples(one, 4000).values["loss"].shape == (1, 1000)
    with pytest.raises(ValueError, match="take more than 4000 bytes"):
        unpack_samples(two, 4000)


def test_what_unpacks_to_more_than_it_says_is_refused_before_it_is_unpacked() -> None:
    bomb = stated([1, 2], content=bytes(1 << 28))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not the 8 bytes of 2 values"):
            unpack_samples(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("size", -1), ("size", 1.5), ("size", True), ("size", "2"), ("size", 10**300),
        ("refits", 10**9), ("refits", None), ("truth", []), ("values", None),
        ("values", {"loss": {}}), ("values", {"loss": []}), ("classes", {"": ["a"]}),
        ("classes", {"": [10**300]}), ("classes", []), ("definitions", {"loss": 1}),
        ("values", stated([1, -2])["values"]), ("values", stated([1, 2, 10**300])["values"]),
        ("values", stated([True, 2])["values"]), ("values", stated([1, 2], kind="O")["values"]),
        ("values", stated([1, 2], kind="<f4,<f4")["values"]), ("values", stated([1, 2])["values"]),
        ("values", stated([1, 2], kind=["<f4"])["values"]),  # type: ignore[arg-type]
        ("groups", {"by": {"type": "|u1", "shape": [2], "zlib": ["eJxjYAQAAAMAAg=="]}}),
        ("groups", {"by": []}), ("group_labels", []),
    ],
)  # fmt: skip
def test_what_packing_never_writes_is_refused(part: str, value: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack_samples(stated([1, 2], content=bytes(8)) | {part: value})


@pytest.mark.parametrize(
    ("labels", "codes"), [(["a"], [0, 1]), (["a", 1], [0, 1]), ("ab", [0, 1]), (None, [0, 1])]
)
def test_groups_that_name_no_sample_s_are_refused(labels: Any, codes: list[int]) -> None:
    packed = pack_samples(Samples(2, 1, groups={"by": Groups(("a", "b"), np.array(codes))}))
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack_samples(packed | {"group_labels": {"by": labels}})


FRAME = pd.DataFrame(
    {
        "age": [20, 30, 40],
        "share": [0.1, 0.2, 0.3],
        "is_new": [True, False, True],
        "region": pd.Categorical(["south", "north", "south"]),
        "note": ["a", None, "b"],
        "day": pd.to_datetime(["2026-01-01"] * 3),
    }
)


def test_numbers_and_texts_that_are_known_of_samples_survive_json() -> None:
    known = SampleMetadata.of(FRAME)
    assert known is not None
    whole = Samples(3, 1, {"": np.array([0, -1, 1])}, metadata=known)
    again = unpack_samples(json.loads(json.dumps(pack_samples(whole))))
    kept = FRAME[["age", "share", "is_new", "region"]].astype({"region": object})
    assert again.metadata is not None
    pd.testing.assert_frame_equal(again.metadata.frame[kept.columns], kept, check_dtype=False)
    # A sample that does not count is left out, as of what is predicted.
    assert again.metadata_on()["age"].tolist() == [20, 40]
    assert again.metadata_on(np.array([2, 1, 2]))["age"].tolist() == [40, 40]
    assert SampleMetadata.of(pd.DataFrame(np.zeros((2**17, 3)))) is None


@pytest.mark.parametrize(
    ("part", "value"),
    [("metadata_labels", {"region": ["north"]}), ("metadata_texts", {"region": {}})],
)
def test_metadata_that_packing_never_writes_are_refused(part: str, value: Any) -> None:
    packed = pack_samples(Samples(3, 1, metadata=SampleMetadata.of(FRAME)))
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack_samples(packed | {part: value})


def test_groups_are_in_the_order_of_their_texts() -> None:
    known = groups(["south", "north", "south"])
    assert known.labels == ("north", "south")
    assert known.mask("south").tolist() == [True, False, True]
    assert not known.mask("west").any()


def test_predictions_that_do_not_belong_to_the_truth_report_nothing() -> None:
    truth = np.array([0, 1])
    for predicted in ({}, {"": np.zeros((1, 2, 3), np.float32)}):
        assert Samples(2, 1, {"": truth}, predicted).reported("f1") is None


def test_labels_far_apart_take_no_more_memory_than_others() -> None:
    far = {0: 1 << 40, 1: 3, 2: 1 << 50}
    truth, predicted = np.array([0, 1, 1, 2, 2]), np.array([0, 1, 2, 2, 1])
    place = np.vectorize(far.__getitem__)
    for name in CLASS_METRICS:
        for near, label in far.items():
            assert class_metric(name, place(truth), place(predicted), label) == class_metric(
                name, truth, predicted, near
            )
    # A negative truth is that of a sample that does not count.
    left_out = np.where(truth == 0, -(1 << 40), place(truth))
    assert class_metric("recall", left_out, place(predicted)) == 0.5


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_labels_that_do_not_exclude_each_other_score_as_scikit_learn_s(name: str) -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 40, 5)) < 0.4
    truth[:, 3] = predicted[:, 4] = False  # a column without samples, one that is never predicted
    by_column = dict(
        zip(
            ("precision", "recall", "f1"),
            metrics.precision_recall_fscore_support(truth, predicted, zero_division=0.0),
            strict=False,
        )
    )[name]
    samples = Samples(40, 1, {"": truth}, {"": predicted[None]}, {"": [0, 1, 2, 4]})
    again = unpack_samples(json.loads(json.dumps(pack_samples(samples))))
    for label in range(5):
        assert again.class_score(name, 0, label) == pytest.approx(
            by_column[label], nan_ok=True
        ) or (label == 3)
    present = [0, 1, 2, 4]
    assert again.score(name, 0) == pytest.approx(np.mean(by_column[present]))
    assert label_metric(name, truth, truth) == 1.0
    assert math.isnan(label_metric(name, truth[:, [3]], predicted[:, [3]]))
    assert again.of_class(name, 2).tolist() == truth[:, 2].tolist()


def test_a_mean_over_samples_is_taken_over_those_that_have_the_label() -> None:
    truth = np.array([[True, False], [True, True], [False, True]])
    samples = Samples(
        3, 1, {"": truth}, {"": truth[None]}, {"": [0, 1]}, {"m": np.array([[1.0, 2.0, 6.0]])}
    )
    assert [samples.class_score("m", 0, label) for label in (0, 1)] == [1.5, 4.0]


class Watched(np.ndarray):
    """An array that counts how often the largest value of all twelve is looked for."""

    looks = 0

    def max(self, *arguments: Any, **options: Any) -> Any:
        Watched.looks += self.size == 12
        return super().max(*arguments, **options)


def test_what_kind_of_output_it_is_is_found_once_for_all_resamples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a million samples it takes longer than the score of a thousand of them."""
    monkeypatch.setattr(Watched, "looks", 0)
    truth = (np.arange(12) % 2).view(Watched)
    samples = Samples(12, 1, truth={"": truth}, predicted={"": np.ones((1, 12), int)})
    scores = [samples.score("recall", 0, np.arange(place, 12)) for place in range(1, 7)]
    assert None not in scores
    assert Watched.looks == 1


def test_only_small_arrays_are_made_as_small_as_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = list[int]()
    compress = zlib.compress

    def watched(content: bytes, level: int) -> bytes:
        levels.append(level)
        return compress(content, level)

    monkeypatch.setattr(zlib, "compress", watched)
    for count in (1000, 100_000):
        values = {"accuracy": (np.arange(count) % 3).astype(np.float32)[None]}
        packed = pack_samples(Samples(count, 1, values=values))
        assert np.array_equal(unpack_samples(packed).values["accuracy"], values["accuracy"])
    assert levels == [9, 6]
