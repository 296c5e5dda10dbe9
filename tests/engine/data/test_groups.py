"""Parts that are cut, and folds, keep samples together that belong together; rows in time stay in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data.checks import check_data
from modeltune.engine.data.loading import LoadedData, load_data
from modeltune.engine.data.sharing import read_parts, write_parts
from modeltune.engine.score.refit import parts_of
from modeltune.ground import DataError
from tests.support.small_models import spec_of

X = np.arange(200, dtype="float32")[:, None]
Y = np.arange(200) // 2 % 2
PATIENT = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 5))
"""Of five rows each, which are not side by side."""


def loaded(data: mt.Data, **fields: Any) -> LoadedData:
    return load_data(spec_of(data=data, **fields))


def folds(data: mt.Data, k: int = 4, seeds: int = 1) -> list[tuple[Any, Any]]:
    """Return the rows that each fold is trained on, and those it holds out, by their numbers."""
    spec = spec_of(data=data, validation=mt.KFold(k=k, seeds=seeds))
    parts = load_data(spec)
    both = [parts_of(spec, parts, refit) for refit in spec.validation.refits()]
    return [(numbers(one.train), numbers(one.watched)) for one in both]


def numbers(part: Any) -> Any:
    return part.x[:, 0].astype(int)


@pytest.mark.parametrize("labels", [PATIENT, [f"patient {n}" for n in PATIENT], pd.Series(PATIENT)])
@pytest.mark.parametrize("y", [Y, Y * 0.7])
def test_no_group_is_in_two_parts(labels: Any, y: Any) -> None:
    data = loaded(mt.Data((X, y), groups=labels))
    groups = [set(PATIENT[numbers(part)]) for part in data.parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40
    assert [part.size for part in data.parts] == [120, 40, 40]
    assert [len({*part.groups}) for part in data.parts if part.groups is not None] == [24, 8, 8]
    assert data.description["groups"] == {"train": 24, "validation": 8, "test": 8}
    balanced = ", balanced by class" if y is Y else ""
    assert data.cuts == (
        f"test: 40 of 200 samples cut from train, 8 of 40 groups{balanced}, seed 0",
        f"validation: 40 of 160 samples cut from train, 8 of 32 groups{balanced}, seed 0",
    )


def test_folds_hold_out_whole_groups_and_each_row_once() -> None:
    drawn = folds(mt.Data((X, Y), groups=PATIENT), seeds=2)
    for inside, outside in drawn:
        assert not set(PATIENT[inside]) & set(PATIENT[outside])
        assert Y[outside].mean() == pytest.approx(0.5, abs=0.1)
    first, again = (
        np.sort(np.concatenate([o for _, o in part])) for part in (drawn[:4], drawn[4:])
    )
    assert np.array_equal(first, again)
    assert len(first) == 160 == len(set(first))
    assert not np.array_equal(drawn[0][1], drawn[4][1]), "another seed draws others"


def test_one_large_group_does_not_leave_a_fold_empty() -> None:
    groups = np.append(np.zeros(150, int), np.repeat(np.arange(1, 11), 5))
    assert all(len(o) for _, o in folds(mt.Data((X, Y), test=(X, Y), groups=groups), k=5))


def test_rows_in_time_are_cut_from_the_end_with_a_gap() -> None:
    data = loaded(mt.Data((X, Y), ordered=True, gap=3))
    rows = [numbers(part).tolist() for part in data.parts]
    assert rows == [list(range(114)), list(range(117, 157)), list(range(160, 200))]
    assert data.cuts == (
        "test: 40 of 200 samples cut from train, the latest, the 3 before them left out",
        "validation: 40 of 157 samples cut from train, the latest, the 3 before them left out",
    )
    assert (data.description["ordered"], data.description["gap"]) == (True, 3)


def test_folds_of_rows_in_time_are_trained_on_what_comes_before() -> None:
    drawn = folds(mt.Data((X, Y), ordered=True, gap=3))
    for inside, outside in drawn:
        assert inside.max() + 3 < outside.min()
    assert [len(outside) for _, outside in drawn] == [30] * 4
    assert drawn[-1][1].max() == 156, "test and its gap stay apart"


@pytest.mark.parametrize(
    ("overlap", "outcome"), [(None, "failed"), ("warn", "warned"), ("fail", "failed")]
)
def test_a_group_in_two_parts_is_a_finding(overlap: Any, outcome: str) -> None:
    parts = ((X[:120], Y[:120]), (X[120:160], Y[120:160]), (X[160:], Y[160:]))
    groups = np.append(np.arange(160), np.arange(158, 198))
    by_part = {"train": groups[:120], "validation": groups[120:160], "test": groups[160:]}
    data = loaded(mt.Data(*parts, groups=by_part))
    check = check_data(data, mt.Checks(overlap=overlap))[0]
    assert check.outcome.value == outcome
    assert check.reason == (
        "2 groups of test, with 2 test rows, are also in validation. Remedy: keep each group in one part, or "
        "return train alone and have the others cut"
    )


def test_what_a_run_is_known_by_tells_groups_and_order_but_not_their_names() -> None:
    def prints(**fields: Any) -> dict[str, str]:
        parts = ((X[:120], Y[:120]), (X[120:160], Y[120:160]), (X[160:], Y[160:]))
        return loaded(mt.Data(*parts, **fields)).fingerprints

    plain, groups = prints(), PATIENT[:120]
    grouped = prints(groups=groups)
    assert plain.items() < grouped.items()
    assert prints(groups=[f"p{n}" for n in groups]) == grouped
    assert prints(groups=np.roll(groups, 1)) != grouped
    assert len({str(p) for p in (plain, prints(ordered=True), prints(ordered=True, gap=1))}) == 3


def test_groups_in_time_are_taken_where_nothing_is_cut() -> None:
    parts = ((X[:120], Y[:120]), (X[120:160], Y[120:160]), (X[160:], Y[160:]))
    data = loaded(mt.Data(*parts, groups=lambda x: x[:, 0] // 10, ordered=True))
    assert data.description["groups"] == {"train": 12, "validation": 4, "test": 4}
    assert data.description["ordered"] is True


def test_processes_share_groups_and_a_smoke_run_thins_the_gap(tmp_path: Path) -> None:
    data = loaded(mt.Data((X, Y), groups=PATIENT))
    again = read_parts(write_parts(data, tmp_path / "data"))
    assert again.train.groups is not None
    assert again.train.groups.tolist() == data.train.groups.tolist()  # type: ignore[union-attr]
    assert again.fingerprints == data.fingerprints
    ordered = mt.Data((X, Y), ordered=True, gap=20)
    spec = spec_of(data=ordered, validation=mt.KFold(k=2)).small(24)
    assert load_data(spec).order.gap == 6
    assert parts_of(spec, load_data(spec), spec.validation.refits()[0]).train.size


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": [1, 2]}, "groups has 2 labels for the 200 samples of train; give each row"),
        (
            {"groups": {"train": PATIENT, "test": [1]}},
            r'groups\["test"\] is of a part that mt.Data does not have',
        ),
        ({"groups": {"tets": [1]}}, r"groups\['tets'\] is of no part; the parts are train"),
        ({"groups": {}}, "groups is an empty dict"),
        (
            {"groups": np.where(X[:, 0] == 7, np.nan, X[:, 0])},
            "groups has no label in 1 of 200 rows, first in row 7",
        ),
        ({"groups": ["a", None] * 100}, "groups has no label in 100 of 200 rows, first in row 1"),
        ({"groups": np.ones(200)}, "groups are one group only, '1.0'; leave groups out"),
        ({"groups": np.ones((200, 2))}, r"groups has shape \(200, 2\)"),
        ({"groups": Y}, "test is missing and train has only 2 groups, too few to cut it from"),
        (
            {"ordered": True, "gap": 170},
            "too few to cut 40 from with gap=170 left out before them",
        ),
    ],
)
def test_groups_that_cannot_be_used_are_one_error_before_training(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        loaded(mt.Data((X, Y), **fields))


def test_folds_that_cannot_be_drawn_are_one_error_before_training() -> None:
    test = (X, Y)
    with pytest.raises(DataError, match=r"have 3 groups, too few for KFold\(k=4\)"):
        folds(mt.Data((X, Y), test=test, groups=np.arange(200) % 3))
    with pytest.raises(DataError, match=r"labels of train alone; return groups=.*, of validation"):
        folds(mt.Data((X, Y), test, test, groups=PATIENT))
    with pytest.raises(DataError, match=r"a fold of KFold\(k=4\) in time would cut groups in two"):
        folds(mt.Data((X, Y), test, test, groups=lambda x: x[:, 0] // 9, ordered=True))
    with pytest.raises(DataError, match=r"KFold\(k=4\) with gap=45: the first fold"):
        folds(mt.Data((X, Y), None, test, ordered=True, gap=45))
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with pytest.raises(DataError, match="groups cannot be joined with train, a _BatchDataset"):
        loaded(mt.Data(stream, test, test, groups=PATIENT))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"groups": "patient"}, TypeError, 'groups is "patient"; write an array'),
        (
            {"groups": PATIENT, "ordered": True},
            ValueError,
            "are both given, and validation is missing",
        ),
        ({"ordered": "time"}, TypeError, 'ordered is "time"; write True'),
        ({"gap": 2}, ValueError, "gap=2 is left out between rows in time; write ordered=True too"),
        ({"gap": -1, "ordered": True}, TypeError, "gap is -1; write how many rows"),
        ({"gap": 1.5, "ordered": True}, TypeError, "gap is 1.5"),
    ],
)
def test_a_field_of_another_kind_is_refused_when_it_is_written(
    fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mt.Data((X, Y), **fields)


# Functions of a batch


def stream(rows: Any, seed: int | None = None) -> Any:
    """Return a stream of rows and their patients as a second column, shuffled anew by each reading with a seed."""
    x = np.stack([X[rows, 0], PATIENT[rows]], axis=1)
    samples = tf.data.Dataset.from_tensor_slices((x, Y[rows]))
    if seed is not None:
        samples = samples.shuffle(len(rows), seed)
    return samples.batch(16)


BY_GROUP = [np.flatnonzero(np.isin(PATIENT, which)) for which in np.split(np.arange(40), [24, 32])]


@pytest.mark.parametrize(
    "groups",
    [
        lambda x, y: x[:, 1],
        lambda x: [f"patient {n:g}" for n in x[:, 1]],
        lambda x, y, sample_weight: x[:, 1:],
        dict.fromkeys(("train", "validation", "test"), lambda x: x[:, 1].astype(str).astype(bytes)),
    ],
    ids=["x and y", "x", "weights too", "by part, bytes"],
)
def test_groups_of_streams_are_a_function_of_a_batch(groups: Any) -> None:
    data = loaded(mt.Data(*map(stream, BY_GROUP), groups=groups))
    assert data.description["groups"] == {"train": 24, "validation": 8, "test": 8}
    again = loaded(mt.Data(*(stream(rows, 1) for rows in BY_GROUP), groups=groups))
    assert again.fingerprints == data.fingerprints, "whatever the order"


def test_a_group_in_two_streams_is_a_finding_too() -> None:
    rows = [BY_GROUP[0], BY_GROUP[1], np.append(BY_GROUP[2], BY_GROUP[0][:3])]
    data = loaded(mt.Data(*map(stream, rows), groups=lambda x, y: x[:, 1]))
    check = check_data(data, mt.Checks())[0]
    shared = len(set(PATIENT[BY_GROUP[0][:3]]))
    assert check.outcome.value == "failed"
    assert check.reason.startswith(f"{shared} groups of test, with 3 test rows, are also in train")


def test_a_function_groups_arrays_as_labels_do() -> None:
    x = np.stack([X[:, 0], PATIENT], axis=1)
    ours = loaded(mt.Data((x, Y), groups=lambda x, y: x[:, 1]))
    theirs = loaded(mt.Data((x, Y), groups=PATIENT))
    assert ours.description["groups"] == theirs.description["groups"]
    assert not set(ours.train.x[:, 1]) & set(ours.test.x[:, 1])


def a_group_for_all(x: Any, y: Any) -> Any:
    return np.ones(3)


def nothing_known(x: Any, y: Any) -> Any:
    return np.where(x[:, 0] > 150, np.nan, x[:, 1])


def wrong_key(x: Any, y: Any) -> Any:
    return x["patient"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            a_group_for_all,
            r"groups returned values of shape \(3,\) for a batch of 16 samples; give each row",
        ),
        (nothing_known, "groups has no label in .* rows of a batch, first in row"),
        (wrong_key, "groups raised IndexError.*; write a function of x, or of x and y, of a batch"),
        (lambda x, y: np.zeros(len(x)), "groups are one group only; leave groups out"),
        (
            {"train": lambda x: x[:, 1], "test": PATIENT},
            r'groups\["test"\] are labels, and those of other parts a function',
        ),
        ({"tets": lambda x: x[:, 1]}, r"groups\['tets'\] is of no part"),
    ],
)
def test_a_function_that_gives_no_groups_is_one_error_before_training(
    groups: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        loaded(mt.Data(*map(stream, BY_GROUP), groups=groups))
