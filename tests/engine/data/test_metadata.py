"""Metadata belong to the samples: parts inherit their rows, and what does not align is told at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data.loading import LoadedData, load_data
from modeltune.engine.data.sharing import read_parts, write_parts
from modeltune.engine.score.refit import parts_of
from tests.support.small_models import spec_of

X = np.arange(80, dtype="float32").reshape(40, 2)
Y = np.arange(40) % 2


def frame(rows: int = 40) -> pd.DataFrame:
    """Return what is known of the samples: the number of each, and its region."""
    return pd.DataFrame(
        {"number": np.arange(rows), "region": ["north", "south"] * (rows // 2)},
        index=np.arange(rows) + 1000,
    )


def loaded(data: mt.Data, **fields: Any) -> LoadedData:
    return load_data(spec_of(data=data, **fields), None)


def test_parts_cut_from_train_inherit_their_rows() -> None:
    data = loaded(mt.Data((X, Y), metadata=frame()))
    for part in data.parts:
        assert len(part.metadata) == part.size
        assert part.metadata["number"].tolist() == (part.x[:, 0] / 2).astype(int).tolist()
        assert part.metadata.index.tolist() == list(range(part.size))


def test_a_frame_by_part_belongs_to_that_part_alone() -> None:
    data = loaded(mt.Data((X, Y), test=(X[:10], Y[:10]), metadata={"test": frame(10)}))
    assert data.train.metadata is None
    assert data.test.metadata["number"].tolist() == list(range(10))


def test_folds_of_train_and_validation_keep_their_rows() -> None:
    spec = spec_of(data=mt.Data((X, Y), metadata=frame()), validation=mt.KFold(4, epochs=1))
    parts = parts_of(spec, load_data(spec, None), spec.validation.refits()[1])
    for part in (parts.train, parts.watched):
        assert part.metadata["number"].tolist() == (part.x[:, 0] / 2).astype(int).tolist()


def test_processes_that_share_data_share_what_is_known_of_them(tmp_path: Any) -> None:
    data = loaded(mt.Data((X, Y), metadata=frame()))
    again = read_parts(write_parts(data, tmp_path / "data"))
    assert again.test.metadata.equals(data.test.metadata)
    assert again.fingerprints == data.fingerprints


def test_they_are_part_of_what_data_are_known_by_and_x_and_y_stay_what_they_are() -> None:
    bare, known = loaded(mt.Data((X, Y))), loaded(mt.Data((X, Y), metadata=frame()))
    assert known.fingerprints.keys() - bare.fingerprints.keys() == {"data/metadata"}
    assert bare.fingerprints.items() < known.fingerprints.items()
    other = frame()
    other.loc[1007, "region"] = "west"
    changed = loaded(mt.Data((X, Y), metadata=other))
    assert changed.fingerprints["data/metadata"] != known.fingerprints["data/metadata"]
    same = loaded(mt.Data((X, Y), metadata=frame().set_index("number", drop=False)))
    assert same.fingerprints == known.fingerprints
    nested = [
        other.assign(tags=pd.Series([[number] for number in range(offset, 40 + offset)]).to_numpy())
        for offset in (0, 1)
    ]
    digests = {
        loaded(mt.Data((X, Y), metadata=one)).fingerprints["data/metadata"] for one in nested
    }
    assert len(digests) == 2


TEST = (X[:10], Y[:10])
WRONG: dict[str, tuple[mt.Data, str]] = {
    "too few rows": (
        mt.Data((X, Y), metadata=frame(38)),
        "metadata has 38 rows for the 40 samples of train; return a pandas frame with one row per sample",
    ),
    "too many for test": (
        mt.Data((X, Y), test=TEST, metadata={"train": frame(), "test": frame(12)}),
        'metadata["test"] has 12 rows for the 10 samples of test',
    ),
    "no frame": (
        mt.Data((X, Y), metadata=["north"] * 40),
        "metadata is a list; return a pandas frame",
    ),
    "none by part": (
        mt.Data((X, Y), metadata={"train": None}),
        'metadata["train"] is None; return a pandas frame',
    ),
    "one for several parts": (
        mt.Data((X, Y), test=TEST, metadata=frame()),
        "metadata is one frame, and there are the parts train, test; return "
        'metadata={"train": ..., "test": ...}',
    ),
    "no such part": (
        mt.Data((X, Y), metadata={"tests": frame()}),
        "metadata['tests'] is of no part; the parts are train, validation, test",
    ),
    "of a part that is cut": (
        mt.Data((X, Y), metadata={"test": frame(8)}),
        'metadata["test"] is of a part that mt.Data does not have',
    ),
    "two columns of a name": (
        mt.Data((X, Y), metadata=pd.concat([frame(), frame()], axis=1)),
        'metadata has two columns "number"; rename one of them',
    ),
    "of a stream": (
        mt.Data(
            (X, Y),
            test=tf.data.Dataset.from_tensor_slices(TEST).batch(5),
            metadata={"test": frame(10)},
        ),
        'metadata["test"] cannot be joined with test, a _BatchDataset',
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_metadata_that_do_not_align_are_told_by_file_field_and_remedy(what: str) -> None:
    data, words = WRONG[what]
    with pytest.raises(mt.DataError) as raised:
        loaded(data)
    assert ": data: metadata" in str(raised.value)
    assert words in str(raised.value)


def test_of_a_given_model_a_frame_alone_is_that_of_test() -> None:
    @mt.spec(data=mt.Data(test=TEST, metadata=frame(10)), gates=[mt.metric("accuracy") >= 0.5])
    def shipped() -> None: ...

    data = load_data(shipped, None)
    assert len(data.test.metadata) == 10
    assert set(data.fingerprints) == {"data/test", "data/metadata"}
