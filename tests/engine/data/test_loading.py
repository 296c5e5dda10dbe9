"""Data is called for, checked part by part, cut where parts are missing, and fingerprinted."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data import streams
from modeltune.engine.data.loading import LoadedData, class_labels, concatenate, leaves, load_data
from modeltune.engine.data.ragged import RaggedArray
from modeltune.engine.score.refit import parts_of
from tests.support.small_models import spec_of

X = np.arange(80, dtype="float32").reshape(40, 2)
Y = np.arange(40) % 2


def loaded(data: Any, fixtures: dict[str, object] | None = None, **fields: Any) -> LoadedData:
    return load_data(spec_of(data=data, **fields), fixtures)


def batched(x: Any = X, y: Any = Y, size: int = 16) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


def with_hole(row: int) -> np.ndarray:
    x = X.copy()
    x[row, 1] = np.nan
    return x


class Batches(keras.utils.PyDataset):
    """A PyDataset over arrays that counts what is read of it."""

    def __init__(self, x: Any = X, y: Any = Y, size: int = 16):
        super().__init__()
        self.x, self.y, self.size, self.read = x, y, size, 0

    @property
    def num_batches(self) -> int:
        return -(-len(self.x) // self.size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.read += 1
        rows = slice(index * self.size, (index + 1) * self.size)
        return self.x[rows], self.y[rows]


class Endless(Batches):
    num_batches = None  # type: ignore[assignment]


# what a data function asks for and returns


def test_a_data_function_gets_the_fixtures_it_names() -> None:
    def scaled(scale: float) -> mt.Data:
        return mt.Data((X * scale, Y))

    part = loaded(scaled, {"scale": 3.0}).train
    assert part.x.max() > X.max()


def test_a_fixture_nobody_passes_is_named() -> None:
    def scaled(scale: float) -> mt.Data:
        raise AssertionError

    with pytest.raises(mt.SpecError, match=r"data: scaled asks for scale; .*fixtures=\{'scale'"):
        loaded(scaled)


def test_what_the_data_function_raises_passes_through() -> None:
    def absent() -> mt.Data:
        raise FileNotFoundError("train.csv")

    with pytest.raises(FileNotFoundError, match=r"train\.csv"):
        loaded(absent)


PART = (X, Y)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing returned": (lambda: None, "<lambda> returned None; return mt.Data(train"),
    "another type": (lambda: (X, Y), "<lambda> returned a tuple; return mt.Data(train"),
    "no train": (lambda: mt.Data(None), "train is None; return mt.Data(train=(x, y), ...)"),
    "part of none": (lambda: mt.Data(PART, (), PART), "validation is a tuple of 0; a part is"),
    "a part without targets beside others": (
        lambda: mt.Data(PART, (X,), PART),
        "validation y has sample shape nothing, train y has ()",
    ),
    "part of four": (lambda: mt.Data((X, Y, Y, Y)), "train is a tuple of 4; a part is"),
    "part of another type": (lambda: mt.Data(PART, PART, "x.csv"), "test is a str; a part is"),
    "no target": (lambda: mt.Data((X, {})), "train y is None or holds no array"),
    "no features": (lambda: mt.Data(PART, ((), Y), PART), "validation x is None or holds no"),
    "empty": (lambda: mt.Data(PART, PART, (X[:0], Y[:0])), "test is empty; it holds 0 samples"),
    "a number": (lambda: mt.Data((X, 3)), "train y is the single value 3; pass an array"),
    "NaN": (lambda: mt.Data(PART, (with_hole(7), Y)), "validation x holds NaN, first in row 7"),
    "infinite": (lambda: mt.Data((X, Y - np.inf)), "train y holds infinite values, first in row 0"),
    "lengths": (lambda: mt.Data((X, Y[:9])), "different numbers of samples: x 40, y 9"),
    "weights": (lambda: mt.Data((X, Y, Y[1:] * 1.0)), "x 40, y 40, sample_weight 39"),
    "length of one input": (
        lambda: mt.Data(({"a": X, "b": X[:3]}, Y)),
        "different numbers of samples: x.a 40, x.b 3, y 40",
    ),
    "shape": (
        lambda: mt.Data(PART, PART, (X[:, :1], Y)),
        "test x has sample shape (1,), train x has (2,)",
    ),
    "structure": (
        lambda: mt.Data(PART, ({"a": X}, Y), PART),
        "validation x has sample shape nothing, train x has (2,)",
    ),
    "too few to cut": (lambda: mt.Data((X[:2], Y[:2])), "holds only 2 samples, too few to cut"),
    "unbatched": (
        lambda: mt.Data(tf.data.Dataset.from_tensor_slices((X, Y)), PART, PART),
        "train is not batched; end the dataset with .batch(n)",
    ),
    "unbatched one-hot": (
        lambda: mt.Data(tf.data.Dataset.from_tensor_slices((X, np.eye(5)[Y])), PART, PART),
        "train yields a batch of different sizes: x 2, y 5; is the dataset batched",
    ),
    "endless": (
        lambda: mt.Data(PART, batched().repeat(), PART),
        "validation is an endless stream; set mt.Fit(validation_steps=n), or end it with .take(n)",
    ),
    "endless PyDataset": (
        lambda: mt.Data(PART, PART, Endless()),
        "test is an endless stream; give it a num_batches",
    ),
    "endless train": (
        lambda: mt.Data(batched().repeat(), PART, PART),
        "train is an endless stream; set mt.Fit(steps_per_epoch=n), the batches of an epoch, or end",
    ),
    "as good as endless": (
        lambda: mt.Data(PART, PART, batched().repeat(10**9)),
        "test is an endless stream; end it with .take(n)",
    ),
    "empty dataset": (
        lambda: mt.Data(PART, PART, batched().take(0)),
        "test is empty; it yields no batch",
    ),
    "dataset of four": (
        lambda: mt.Data(PART, PART, tf.data.Dataset.from_tensor_slices((X, Y, Y, Y)).batch(4)),
        "test yields a tuple of 4; a batch is x, (x,), (x, y) or (x, y, sample_weight)",
    ),
    "NaN in a later batch": (
        lambda: mt.Data(PART, PART, batched(with_hole(39))),
        "test x holds NaN, first in row 39",
    ),
    "shape of a dataset": (
        lambda: mt.Data(PART, PART, batched(X[:, :1])),
        "test x has sample shape (1,), train x has (2,)",
    ),
    "validation beside a dataset": (
        lambda: mt.Data(batched(), None, PART),
        "validation is missing and can only be cut from arrays, but train is a _BatchDataset",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_unusable_data_is_refused_by_part(case: str) -> None:
    data, message = WRONG[case]
    with pytest.raises(mt.DataError) as refused:
        loaded(data)
    assert str(refused.value).startswith("tests/support/small_models.py::softmax: data: ")
    assert message in str(refused.value)


def test_folds_cannot_be_cut_from_a_dataset() -> None:
    with pytest.raises(mt.DataError, match=r"KFold needs arrays .* but train is a _BatchDataset"):
        loaded(mt.Data(batched(), (X, Y), (X, Y)), validation=mt.KFold(k=3))


def test_there_are_no_more_folds_than_samples() -> None:
    part = (X[:2], Y[:2])
    with pytest.raises(mt.DataError, match=r"hold 4 samples, too few for KFold\(k=5\)"):
        loaded(mt.Data(part, part, part), validation=mt.KFold(k=5))


# what is accepted


def test_several_inputs_and_outputs_keep_their_structure() -> None:
    x, y = {"left": X, "right": X[:, :1]}, (Y, Y * 2.5)
    part = loaded(mt.Data((x, y))).train
    assert list(part.x) == ["left", "right"]
    assert [array.shape for _, array in leaves(part.y)] == [(24,), (24,)]
    assert set(part.shapes) == {"x.left", "x.right", "y.0", "y.1"}


def test_the_columns_of_a_frame_keep_their_dtypes() -> None:
    values = {
        "age": np.arange(40, dtype="int32"),
        "income": np.arange(40, dtype="float32"),
        "kids": pd.array([1, 2] * 20, dtype="Int64"),
        "vip": [True, False] * 20,
        "city": ["rome", "oslo"] * 20,
        "zone": pd.Categorical([7, 8] * 20),
    }
    data = loaded(mt.Data((pd.DataFrame(values), Y)))
    columns = data.test.by_column()
    kinds = ["int32", "float32", "int64", "bool", "object", "int64"]
    assert [array.dtype.name for array in columns.values()] == kinds
    assert columns["city"][0] in ("rome", "oslo")
    assert loaded(mt.Data(PART)).train.by_column() == {}


def test_a_missing_value_of_a_column_of_whole_numbers_is_refused_by_its_name() -> None:
    frame = pd.DataFrame({"kids": pd.array([1, None] * 20, dtype="Int64"), "city": ["a"] * 40})
    part = loaded(mt.Data(*[(frame, Y)] * 3)).train
    with pytest.raises(
        mt.DataError, match=r"train x: column kids \(Int64\) has values that are no"
    ):
        part.by_column()


@pytest.mark.parametrize("stream", [batched, Batches])
def test_a_stream_is_counted_and_its_labels_seen_to_the_last_batch(stream: Any) -> None:
    y = np.append(Y[:-1], 9)
    part = loaded(mt.Data(stream(X, y), (X, Y), (X, Y))).train
    assert (part.size, part.labels) == (40, {"": (0, 9)})


def test_dimensions_a_dataset_leaves_open_are_not_compared() -> None:
    def padded(longest: int) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices(([[1.0] * longest] * 4, [0, 1, 0, 1]))
        ragged = rows.map(lambda x, y: (tf.reshape(x, tf.cast([longest], tf.int32) + 0 * y), y))
        return ragged.padded_batch(2, ([None], []))

    data = loaded(mt.Data(padded(3), padded(5), padded(3)))
    assert [part.size for part in (data.train, data.validation, data.test)] == [4, 4, 4]


def test_whole_float_labels_have_a_range_and_fractions_have_none() -> None:
    data = loaded(mt.Data((X, Y.astype("float32")), (X, Y / 2), (X, Y)))
    assert data.train.labels == {"": (0.0, 1.0)}
    assert data.validation.labels == {}


def elements(of: Any, as_stream: bool) -> Any:
    """Return arrays as a part, or as a stream that yields batches of them."""
    return tf.data.Dataset.from_tensor_slices(of).batch(16) if as_stream else of


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
@pytest.mark.parametrize(
    ("of", "shapes"),
    [
        (X, {"x"}),
        ((X,), {"x"}),
        ({"a": X, "b": Y}, {"x.a", "x.b"}),
        (((X, X, Y),), {"x.0", "x.1", "x.2"}),
        (((X, X, X), Y), {"x.0", "x.1", "x.2", "y"}),
        ((X, Y, Y + 1), {"x", "y", "sample_weight"}),
    ],
    ids=["x", "(x,)", "dict", "triples", "triples with y", "x, y and weights"],
)
def test_a_part_is_taken_apart_as_keras_does(of: Any, shapes: set[str], as_stream: bool) -> None:
    part = loaded(mt.Data(*[elements(of, as_stream)] * 3)).train
    x, y, weight = next(part.batches(16))
    expected = keras.utils.unpack_x_y_sample_weight(of)
    for own, given in zip((x, y, weight), expected, strict=True):
        assert (own is None) == (given is None)
        for (_, one), (_, other) in zip(leaves(own), leaves(given), strict=True):
            assert np.array_equal(one, other[:16])
    assert (part.size, set(part.shapes)) == (40, shapes)
    assert part.has_targets == (y is not None)


@pytest.mark.parametrize(
    "batch", [lambda x: x, lambda x: (x,), lambda x: {"a": x}], ids=["x", "(x,)", "dict"]
)
def test_a_pydataset_may_yield_inputs_alone(batch: Any) -> None:
    class Inputs(Batches):
        def __getitem__(self, index: int) -> Any:
            return batch(super().__getitem__(index)[0])

    part = loaded(mt.Data(Inputs(), Inputs(), Inputs())).train
    assert (part.size, part.has_targets) == (40, False)


def test_inputs_alone_are_cut_and_folded(tmp_path: Any) -> None:
    data = loaded(mt.Data(X))
    assert data.cuts[0].endswith("not stratified: there is no y, seed 0")
    folds = spec_of(data=mt.Data(X), validation=mt.KFold(k=4))
    parts = parts_of(folds, data, folds.validation.refits()[1])
    assert (parts.train.size, parts.watched.size, parts.train.y) == (24, 8, None)


# functions that yield batches, and columns of other libraries


@pytest.mark.parametrize(
    "of",
    [(X, Y), [X, Y], {"a": X, "b": Y}, (X, Y, Y + 1)],
    ids=["tuple", "list", "dict", "weights"],
)
def test_a_function_that_yields_batches_is_read_again_and_again(of: Any) -> None:
    calls = []

    def batches() -> Any:
        calls.append(1)
        for start in range(0, 40, 16):
            rows = slice(start, start + 16)
            yield keras.tree.map_structure(operator.itemgetter(rows), of)

    data = loaded(mt.Data(batches, batches, batches))
    as_dataset = mt.Data(*[elements(tuple(of) if isinstance(of, list) else of, True)] * 3)
    assert data.fingerprints == loaded(as_dataset).fingerprints
    assert data.train.size == 40
    again = [sum(len(leaf) for _, leaf in leaves(x)) for x, _, _ in data.train.batches(16)]
    assert len(again) == 3
    assert len(calls) > 3


def test_what_yields_once_or_nothing_is_one_error() -> None:
    def batches() -> Any:
        yield X, Y

    def nothing() -> Any:
        yield from ()

    def fails() -> Any:
        raise OSError("no such disk")
        yield

    other = (X, Y)
    for train, message in [
        (
            batches(),
            r"train is a generator, which can be read once only; return the function .*=batches",
        ),
        (nothing, "train is empty; nothing yields no batch"),
        (fails, "train is the function fails, which raised OSError: no such disk"),
        (lambda of: of, "which raised TypeError: .*; write one without arguments that yields"),
    ]:
        with pytest.raises(mt.DataError, match=message):
            loaded(mt.Data(train, other, other))


class Column(Sequence[Any]):
    """A column as Hugging Face's datasets 5 have it: a lazy sequence, no array."""

    def __init__(self, values: Sequence[Any]):
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]


class Rows:
    """A data set as Hugging Face's are, besides its columns."""

    column_names: Any = ("text", "label")
    num_rows: Any = 40
    shape = (40, 2)


def test_columns_of_other_libraries_are_arrays() -> None:
    x = {
        "text": Column([f"text {n}" for n in range(40)]),
        "image": Column(list(np.zeros((40, 4, 5, 3)))),
    }
    data = loaded(mt.Data((x, Column(Y.tolist()))))
    assert {name: (a.dtype.kind, a.shape[1:]) for name, a in data.train.x.items()} == {
        "text": ("U", ()), "image": ("f", (4, 5, 3)),
    }  # fmt: skip
    assert data.train.y.dtype.kind == "i"


def test_a_data_set_whose_target_nobody_names_is_refused() -> None:
    with pytest.raises(
        mt.DataError, match="train is a Rows with the columns text, label, and nothing says"
    ):
        loaded(mt.Data(Rows()))
    splits = type("Splits", (dict, Rows), {"column_names": {"train": [], "test": []}})
    with pytest.raises(
        mt.DataError, match=r"train is a Splits of train, test; return columns of each"
    ):
        loaded(mt.Data(splits(train=Rows())))
    with pytest.raises(mt.DataError, match="train holds a list whose rows have different lengths"):
        loaded(mt.Data(({"ids": [[1, 2], [3]] * 20}, Y)))


# streams without an end


def of_unknown_length(made: Callable[[], Any]) -> Any:
    signature = tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int64)
    return tf.data.Dataset.from_generator(made, output_signature=signature)


def round_and_round() -> Any:
    while True:
        yield X[:16], Y[:16]
        yield X[16:32], Y[16:32]


def ever_new() -> Any:
    for seed in itertools.count():
        yield np.random.default_rng(seed).normal(size=(16, 2)), Y[:16]


STEPS = mt.Fit(steps_per_epoch=5)


@pytest.mark.parametrize(
    "stream",
    [
        lambda: batched().repeat(),
        Endless,
        lambda: of_unknown_length(round_and_round),
        lambda: of_unknown_length(ever_new),
    ],
    ids=["repeated", "PyDataset", "round and round", "ever new"],
)
def test_an_endless_train_stream_is_read_for_one_epoch(stream: Any) -> None:
    data = loaded(mt.Data(stream(), (X, Y), (X, Y)), fit=STEPS)
    sizes = [len(y) for _, y, _ in data.train.batches(99)]
    assert len(sizes) == 5
    assert data.train.size == sum(sizes)
    assert data.notes[0] == (
        "train: an endless stream, in epochs of 5 batches; its first 5, of "
        f"{data.train.size} samples, were checked, and it is known by them"
    )


def test_a_train_stream_that_ends_is_read_to_its_end_whatever_an_epoch_has() -> None:
    data = loaded(mt.Data(batched(), (X, Y), (X, Y)), fit=mt.Fit(steps_per_epoch=1))
    assert (data.train.size, data.train.steps, data.notes) == (40, 1, ())


@pytest.mark.parametrize("stream", [Endless, lambda: batched().repeat(), batched])
def test_the_first_batches_of_a_validation_stream_are_validation(stream: Any) -> None:
    data = loaded(mt.Data((X, Y), stream(), (X, Y)), fit=mt.Fit(validation_steps=2))
    for _ in range(2):
        read = [x for x, _, _ in data.validation.batches(99)]
        assert np.array_equal(np.concatenate(read), X[:32])


@pytest.mark.parametrize("validation", [(X, Y), None])
def test_arrays_have_no_validation_steps(validation: Any) -> None:
    with pytest.raises(
        mt.DataError, match=r"fit\.validation_steps=2 counts .* but validation is arr"
    ):
        loaded(mt.Data((X, Y), validation, (X, Y)), fit=mt.Fit(validation_steps=2))


def test_a_stream_that_goes_round_and_round_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_ROUNDS", 3)
    with pytest.raises(mt.DataError) as refused:
        loaded(mt.Data((X, Y), (X, Y), of_unknown_length(round_and_round)))
    assert str(refused.value).partition("data: ")[2] == (
        "test has yielded its 2 different batches over and over, 60 in all, and nothing says that it "
        "ends; end it with .take(n). If it does end, say after how many batches, with "
        ".apply(tf.data.experimental.assert_cardinality(n))"
    )


@pytest.mark.parametrize("minutes", [1e-4, None])
def test_a_stream_that_is_ever_new_is_found_out_in_time(
    minutes: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MINUTES", 2e-4)
    search = mt.RandomSearch(mt.maximize("val_accuracy"), data_minutes=minutes)
    limit = "0.0002 minutes" if minutes is None else "data_minutes=0.0001"
    with pytest.raises(
        mt.DataError, match=rf"train has yielded \d+ batches within {limit}, and no"
    ):
        loaded(mt.Data(of_unknown_length(ever_new), (X, Y), (X, Y)), search=search)


def test_a_stream_of_unknown_length_that_ends_is_read_to_its_end() -> None:
    many = tf.data.Dataset.from_tensor_slices(([[1.0, 1.0]] * 500, [1] * 500)).batch(1)
    assert loaded(mt.Data((X, Y), (X, Y), many.filter(lambda x, y: True))).test.size == 500


def test_a_stream_that_does_not_end_when_it_is_read_again_is_known_to_vary() -> None:
    ends = iter([True, False])

    def made() -> Any:
        rows = round_and_round()
        return itertools.islice(rows, 3) if next(ends) else rows

    assert loaded(mt.Data((X, Y), (X, Y), of_unknown_length(made))).test.varies


# processes of a stream's own


def test_that_a_stream_has_no_processes_of_its_own_is_one_note() -> None:
    parts = []
    for _ in range(2):
        parts.append(Batches())
        parts[-1].workers, parts[-1].use_multiprocessing = 2, True
    (note,) = loaded(mt.Data(parts[0], Batches(), parts[1])).notes
    assert note.startswith("train, test: use_multiprocessing of a PyDataset is left out, since")


# what identifies a stream


def augmented(source: tf.data.Dataset) -> tf.data.Dataset:
    """Return a pipeline that yields other samples each time, and is shuffled."""
    return (
        source.shuffle(40, reshuffle_each_iteration=True)
        .map(lambda x, y: (x + tf.random.normal([2], dtype=x.dtype), y), num_parallel_calls=2)
        .batch(8, drop_remainder=True)
        .prefetch(1)
    )


def fingerprint(train: Any, **options: Any) -> str:
    return loaded(mt.Data(train, (X, Y), (X, Y), **options)).train.fingerprint


def slices(x: Any = X) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((x, Y))


def test_an_augmented_train_stream_is_known_by_the_elements_it_is_made_of() -> None:
    before = fingerprint(augmented(slices()))
    assert fingerprint(augmented(slices())) == before
    tf.random.set_seed(3)
    assert fingerprint(augmented(slices())) == before
    assert fingerprint(augmented(slices().repeat(2).concatenate(slices()))) != before
    assert fingerprint(augmented(slices(X + 1))) != before


def test_a_shuffled_stream_stays_the_same_whatever_it_leaves_out() -> None:
    parts = [
        loaded(mt.Data(slices().shuffle(40).batch(7, drop_remainder=True), (X, Y), (X, Y))).train
        for _ in range(2)
    ]
    assert len({part.content for part in parts}) == 2
    assert len({part.fingerprint for part in parts}) == 1
    assert fingerprint(slices().batch(8)) == fingerprint(slices().batch(5))


def test_a_single_sample_that_a_long_shuffled_stream_leaves_out_is_found() -> None:
    numbers = np.arange(1001.0)
    many = tf.data.Dataset.from_tensor_slices((numbers, numbers % 2)).shuffle(1001, seed=1)
    part = (numbers, numbers % 2)
    data = loaded(mt.Data(many.batch(1000, drop_remainder=True), part, part))
    assert data.train.varies
    assert not loaded(mt.Data(many.batch(1000), part, part)).train.varies


def gathered(x: Any, noise: float = 1.0) -> tf.data.Dataset:
    """Return a pipeline whose data are all held by its function."""
    rows = tf.data.Dataset.range(40).shuffle(40)
    return rows.map(
        lambda i: (
            tf.gather(x, i) + noise * tf.random.normal([2], dtype="float64"),
            tf.gather(Y, i),
        )
    ).batch(8)


def read_from(folder: Any) -> tf.data.Dataset:
    """Return a pipeline whose function names the files that it reads."""

    def read(x: Any, label: Any) -> Any:
        name = tf.strings.join([f"{folder}/", tf.strings.as_string(label)])
        text = tf.io.decode_raw(tf.io.read_file(name), tf.uint8)
        return x + tf.cast(text, x.dtype), label

    return augmented(slices().map(read))


def scaled(mean: float) -> tf.data.Dataset:
    """Return a pipeline whose layers hold a mean, and the state of random numbers."""
    layers = [
        keras.layers.Normalization(mean=mean, variance=1.0),
        keras.layers.GaussianNoise(0.1),
    ]

    def prepare(x: Any, label: Any) -> Any:
        return keras.Sequential(layers)(x, training=True), label

    return slices().batch(8).map(prepare)


def in_table(value: str) -> tf.data.Dataset:
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1], tf.int64), [value, "1"])
    table = tf.lookup.StaticHashTable(keys, "9")
    number = slices().map(lambda x, y: (x + tf.strings.to_number(table[y], x.dtype), y))
    return augmented(number)


X64 = X.astype("float64")


@pytest.mark.parametrize(
    "made",
    [
        lambda x: gathered(x),
        lambda x: gathered(tf.constant(x)),
        lambda x: scaled(float(x[0, 0])),
        lambda x: augmented(slices(x).enumerate().map(lambda _, row: row)),
    ],
    ids=["array of a function", "tensor of a function", "layer", "numbered"],
)
def test_what_the_functions_of_an_augmenting_stream_hold_identifies_it(
    made: Callable[[Any], tf.data.Dataset],
) -> None:
    data = [loaded(mt.Data(made(x), (X, Y), (X, Y))) for x in (X64, X64.copy(), X64 + 1)]
    prints = [one.train.fingerprint for one in data]
    assert prints[0] == prints[1] != prints[2]
    assert {one.notes for one in data} == {
        ("train: yields other samples each time it is read; known by the elements it is made of",)
    }


def test_a_shuffled_stream_of_a_function_is_known_by_its_samples() -> None:
    one, other = gathered(X64, 0.0), gathered(X64 + 1, 0.0)
    assert fingerprint(one) == fingerprint(one) == fingerprint(batched(X64))
    assert fingerprint(one) != fingerprint(other)


def test_a_file_name_in_a_source_stands_for_what_is_in_the_file(tmp_path: Any) -> None:
    def read(name: Any, label: Any) -> Any:
        text = tf.io.decode_raw(tf.io.read_file(name), tf.uint8)
        return tf.cast(tf.reshape(text, [2]), tf.float64), label

    def made(folder: str, content: bytes) -> tf.data.Dataset:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(content)
        names = [str(tmp_path / folder / "a")] * 40
        return augmented(tf.data.Dataset.from_tensor_slices((names, Y)).map(read))

    before = fingerprint(made("one", b"12"))
    assert fingerprint(made("two", b"12")) == before
    assert fingerprint(made("three", b"13")) != before


def generated() -> tf.data.Dataset:
    signature = (tf.TensorSpec((2,), tf.float64), tf.TensorSpec((), tf.int64))
    return augmented(
        tf.data.Dataset.from_generator(
            lambda: zip(X, Y.astype("int64"), strict=True), output_signature=signature
        )
    )


class Noisy(Batches):
    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x + np.random.default_rng().normal(size=x.shape), y


def beside_a_generator() -> tf.data.Dataset:
    both = tf.data.Dataset.zip((slices(X64), generated().unbatch()))
    return both.map(lambda ours, theirs: (ours[0] + theirs[0], ours[1])).batch(8)


def in_python() -> tf.data.Dataset:
    def add(x: Any, y: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(lambda row: row + X[0], [x], x.dtype), [2]), y

    return augmented(slices(X64).map(add))


@pytest.mark.parametrize(
    "kind", ["generator", "py_dataset", "generator of two", "python", "table", "files"]
)
def test_an_augmenting_stream_that_does_not_tell_its_data_is_known_by_its_version(
    kind: str, tmp_path: Any
) -> None:
    for label in "01":
        (tmp_path / label).write_text("12")
    streams: dict[str, Callable[[], Any]] = {
        "generator": generated,
        "py_dataset": lambda: Noisy(X, Y),
        "generator of two": beside_a_generator,
        "python": in_python,
        "table": lambda: in_table("2"),
        "files": lambda: read_from(tmp_path),
    }
    made = streams[kind]
    data = loaded(mt.Data(made(), (X, Y), (X, Y)))
    (sentence,) = data.notes
    assert data.cuts == ()
    assert sentence.startswith("train: yields other samples each time it is read, and what it ")
    assert 'with mt.Data(..., version="2026-11")' in sentence
    assert fingerprint(made(), version="1") == fingerprint(made(), version="1")
    assert fingerprint(made(), version="1") != fingerprint(made(), version="2")


def test_a_stream_whose_first_batches_happen_to_come_out_equal_is_found_to_vary() -> None:
    class LateNoise(Batches):
        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return (x if index == 0 else x + np.random.default_rng().normal(size=x.shape)), y

    assert loaded(mt.Data((X, Y), LateNoise(), (X, Y))).validation.varies
    assert not loaded(mt.Data((X, Y), Batches(), (X, Y))).validation.varies


def test_a_version_does_not_hide_that_test_changes() -> None:
    parts = [augmented(slices()) for _ in range(3)]
    data = loaded(mt.Data(*parts, version="1"))
    assert data.test.varies
    assert data.test.fingerprint == data.test.content


@pytest.mark.parametrize("version", [1, "", " "])
def test_a_version_is_a_text(version: Any) -> None:
    with pytest.raises(TypeError, match="write a text that changes with the data"):
        mt.Data((X, Y), version=version)


# cuts


def test_missing_parts_are_a_fifth_of_train_each_and_lose_no_row() -> None:
    data = loaded(mt.Data((X, Y)))
    assert data.description["samples"] == {"train": 24, "validation": 8, "test": 8}
    rows = np.concatenate([part.x[:, 0] for part in (data.train, data.validation, data.test)])
    assert sorted(rows) == sorted(X[:, 0])


def test_the_size_of_a_given_part_does_not_change_the_cut() -> None:
    huge = (np.tile(X, (9, 1)), np.tile(Y, 9))
    data = loaded(mt.Data((X, Y), test=huge))
    assert (data.train.size, data.validation.size) == (32, 8)


def test_a_cut_keeps_the_shares_of_classes() -> None:
    y = np.repeat([0, 1], [30, 10])
    data = loaded(mt.Data((X, y)))
    for part in (data.train, data.validation, data.test):
        assert part.y.mean() == 0.25


@pytest.mark.parametrize(
    ("y", "how"),
    [
        (Y, "stratified by class"),
        (np.eye(2)[Y], "stratified by class"),
        (Y[:, None] * 1.0, "stratified by class"),
        (Y * 0.7, "not stratified: y holds no class labels"),
        (np.append(Y[:-1], 5), "not stratified: 3 classes, the rarest has 1"),
    ],
    ids=["integers", "one-hot", "sigmoid", "regression", "rare class"],
)
def test_a_cut_is_said(y: Any, how: str) -> None:
    cuts = loaded(mt.Data((X, y))).description["cuts"]
    assert cuts == [
        f"test: 8 of 40 samples cut from train, {how}, seed 0",
        f"validation: 8 of 32 samples cut from train, {how}, seed 0",
    ]


def test_a_cut_follows_the_seed_of_the_search() -> None:
    def cut(seed: int) -> str:
        search = mt.RandomSearch(mt.maximize("val_accuracy"), seed=seed)
        return loaded(mt.Data((X, Y)), search=search).test.fingerprint

    assert cut(1) == cut(1) != cut(2)


def test_sample_weights_are_cut_with_their_samples() -> None:
    data = loaded(mt.Data((X, Y, X[:, 0])))
    for part in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(part.sample_weight, part.x[:, 0])


# fingerprints


def test_a_fingerprint_is_of_the_values() -> None:
    def fingerprint(x: Any = X, y: Any = Y, *weight: Any) -> str:
        return loaded(mt.Data((x, y, *weight), (X, Y), (X, Y))).fingerprints["data/train"]

    changed = X.copy()
    changed[-1, -1] += 1
    assert fingerprint() == fingerprint(X.copy(order="F"))
    others = [
        fingerprint(changed),
        fingerprint(X.astype("float64")),
        fingerprint(X, Y[::-1].copy()),
        fingerprint(X, Y, Y * 1.0),
    ]
    assert len({fingerprint(), *others}) == 5


def test_a_reshuffling_dataset_keeps_its_fingerprint() -> None:
    def fingerprint(dataset: Any) -> str:
        return loaded(mt.Data(dataset, (X, Y), (X, Y))).train.fingerprint

    def shuffled(y: Any = Y) -> Any:
        return tf.data.Dataset.from_tensor_slices((X, y)).shuffle(40).batch(7)

    assert fingerprint(shuffled()) == fingerprint(shuffled()) == fingerprint(batched())
    assert fingerprint(shuffled(np.roll(Y, 1))) != fingerprint(shuffled())
    assert fingerprint(batched()) == fingerprint(Batches())
    swapped = batched(X, np.roll(Y, 1))
    assert fingerprint(swapped) != fingerprint(batched())


# pieces


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array([[0.0], [1.0]]), [0, 1]),
        (np.array([[0, 1], [1, 0]]), [1, 0]),
        (np.array([[1, 1], [1, 0]]), None),
        (np.array([0.5, 1.0]), None),
        (np.zeros((2, 3, 3), int), None),
        ({"a": np.array([0, 1])}, None),
    ],
    ids=["strings", "sigmoid", "one-hot", "multilabel", "numbers", "masks", "several"],
)
def test_class_labels_of(y: Any, labels: list[Any] | None) -> None:
    classes = class_labels(y)
    assert (classes if classes is None else classes.tolist()) == labels


def test_batches_of_arrays_come_in_order() -> None:
    part = dataclasses.replace(loaded(mt.Data((X, Y), (X, Y), (X, Y))).train, sample_weight=Y)
    sizes, xs = zip(*((len(x), x) for x, _, _ in part.batches(16)), strict=True)
    assert sizes == (16, 16, 8)
    np.testing.assert_array_equal(np.concatenate(xs), X)


def test_structures_join_sample_by_sample() -> None:
    joined = concatenate({"a": (X, Y)}, {"a": (X, Y)})
    assert [array.shape for _, array in leaves(joined)] == [(80, 2), (80,)]


# sparse and ragged data


@pytest.mark.parametrize(
    "kind", [sp.csr_matrix, sp.coo_array, tf.sparse.from_dense], ids=["csr", "coo", "tensor"]
)
def test_a_sparse_matrix_is_trained_on_as_the_array_it_stands_for(kind: Any) -> None:
    part = kind(X), Y
    whole, sparse = (loaded(mt.Data(p, p, p)).train for p in ((X, Y), part))
    assert np.array_equal(sparse.x, X)
    assert sparse.fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            sp.csr_matrix((40, 2**30), dtype="float32"),
            "train holds a csr_matrix of shape (40, 1073741824), which would take 160.0 GiB in memory",
        ),
        ({1: "a" * 5000}, " more characters); pass an array"),
    ],
    ids=["large", "other"],
)
def test_what_is_no_array_is_refused_without_its_content(x: Any, message: str) -> None:
    with pytest.raises(mt.DataError) as refused:
        loaded(mt.Data((np.array(x, object) if isinstance(x, dict) else x, Y)))
    assert message in str(refused.value)
    assert len(str(refused.value)) < 1000


def ragged(first: float = 1.0) -> Any:
    rows = [[first], *([float(row)] * (1 + row % 3) for row in range(1, 40))]
    return tf.ragged.constant(rows)


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
def test_rows_of_different_lengths_are_samples(as_stream: bool) -> None:
    part = loaded(mt.Data(*[elements((ragged(), Y), as_stream)] * 3)).train
    other = loaded(mt.Data(*[elements((ragged(2.0), Y), as_stream)] * 3)).train
    assert (part.size, part.shapes) == (40, {"x": (None,), "y": ()})
    assert part.fingerprint != other.fingerprint
    x = next(part.batches(16))[0]
    assert [len(row) for row in x[:4]] == [1, 2, 3, 1]
    # The ends of rows count, not only the numbers in them.
    one, two = (
        loaded(
            mt.Data(*[(tf.RaggedTensor.from_row_splits(X[:3, 0], [0, end, 3]), Y[:2])] * 3)
        ).train
        for end in (1, 2)
    )
    assert one.fingerprint != two.fingerprint


def test_rows_of_different_lengths_are_cut_and_joined() -> None:
    data = loaded(mt.Data((ragged(), Y)))
    joined = concatenate(data.train.x, data.test.x)
    assert isinstance(joined, RaggedArray)
    assert joined.lengths.sum() == sum(map(len, data.train.x)) + sum(map(len, data.test.x))


def test_rows_of_rows_of_different_lengths_are_samples() -> None:
    def rows(last: list[list[float]]) -> Any:
        return tf.ragged.constant([[], [[1.0], [2.0, 3.0]], last], ragged_rank=2)

    y = np.arange(3)
    parts = [
        loaded(mt.Data(*[(rows(last), y)] * 3)).train
        for last in ([[4.0], [5.0]], [[4.0, 5.0]], [[4.0], [5.0]])
    ]
    # The ends of all rows count, not only the numbers in them.
    one, two, again = (part.fingerprint for part in parts)
    assert one == again != two
    assert parts[0].shapes == {"x": (None, None), "y": ()}
    taken = parts[0].take(np.array([2, 1])).x
    assert [[[*inner] for inner in row] for row in taken] == [[[4.0], [5.0]], [[1.0], [2.0, 3.0]]]
    with pytest.raises(mt.DataError, match="train x holds NaN, first in row 2"):
        loaded(mt.Data(*[(rows([[4.0, np.nan]]), y)] * 3))


def test_ragged_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(mt.DataError, match="train x holds NaN, first in row 0"):
        loaded(mt.Data((ragged(np.nan), Y)))
    with pytest.raises(mt.DataError, match="train y holds NaN, first in row 0"):
        loaded(mt.Data((X, ragged(np.nan))))


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
def test_targets_may_be_ragged(as_stream: bool) -> None:
    parts = [elements((X, ragged(first)), as_stream) for first in (1.0, 2.0)]
    one, other = (loaded(mt.Data(part, part, part)).train for part in parts)
    assert one.has_ragged_targets
    assert one.has_targets
    assert (one.labels, one.shapes["y"]) == ({}, (None,))
    assert one.fingerprint != other.fingerprint


def test_class_names_are_recorded_and_a_label_without_a_name_is_refused() -> None:
    names = ["cat", "dog"]

    def labels(*values: int) -> mt.Data:
        part = np.zeros((len(values), 2), "f4"), np.array(values)
        return mt.Data(part, part, part, class_names=names)

    named = loaded(lambda: labels(0, 1, 1))
    assert named.description["class_names"] == {"": names}
    with pytest.raises(
        mt.DataError,
        match="class_names has 2 names, for the labels 0 to 1, but train has the label 2",
    ):
        loaded(lambda: labels(0, 1, 2))


def test_of_a_small_spec_each_part_has_rows_of_every_class_and_is_the_same_each_time() -> None:
    y = np.repeat([0, 1, 2], [700, 280, 20])

    def data() -> mt.Data:
        return mt.Data(train=(np.arange(1000.0)[:, None], y))

    one, other = (load_data(spec_of(data=data).small(100)) for _ in range(2))
    assert {part.name: part.size for part in one.parts} == dict.fromkeys(
        ("train", "validation", "test"), 100
    )
    assert all(set(part.y.tolist()) == {0, 1, 2} for part in one.parts)
    assert one.fingerprints == other.fingerprints
    assert not set(one.train.x[:, 0]) & set(one.test.x[:, 0])
