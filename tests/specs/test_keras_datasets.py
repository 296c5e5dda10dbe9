"""Keras's data sets: its own loaders read small files in the formats of its cache."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.src.backend import config
from keras.src.utils import file_utils

import modeltune as mt
from modeltune import DataError

ROWS = 6
RNG = np.random.default_rng(0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Keras's files; small ones are taken for whole, and nothing is downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setattr(file_utils, "validate_file", lambda *args, **options: True)
    monkeypatch.setattr(file_utils, "urlretrieve", _offline)
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def loaded(name: str, **options: Any) -> Any:
    """Call the data function of a data set."""
    return mt.keras_dataset(name, **options)()


def _offline(origin: str, *args: object) -> None:
    raise OSError("Temporary failure in name resolution")


def _pixels(*shape: int) -> Any:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    pixels.flat[0] = 255
    return pixels


def _save(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def _save_mnist(cache: Path) -> None:
    x, y = _pixels(ROWS, 28, 28), np.arange(ROWS, dtype=np.uint8)
    _save(cache / "mnist.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])


def _save_texts(path: Path, **parts: tuple[list[list[int]], list[int]]) -> None:
    arrays: dict[str, Any] = {}
    for name, (texts, labels) in parts.items():
        x = np.empty(len(texts), dtype=object)
        x[:] = texts
        arrays |= {f"x{name}": x, f"y{name}": np.array(labels)}
    _save(path, **arrays)


def test_images_are_shares_with_one_channel_axis_and_the_loaders_test_part(cache: Path) -> None:
    _save_mnist(cache)
    data = loaded("mnist")
    (x, y), (x_test, y_test) = data.train, data.test
    assert (x.shape, x.dtype, x.max()) == ((ROWS, 28, 28, 1), np.float32, 1)
    assert (y.tolist(), x_test.shape, y_test.tolist()) == ([*range(ROWS)], (2, 28, 28, 1), [0, 1])
    assert data.validation is None, "cut from train by modeltune"
    assert list(data.class_names) == [str(digit) for digit in range(10)]


def test_scaling_and_the_channel_axis_can_be_left_out(cache: Path) -> None:
    _save_mnist(cache)
    x, _ = loaded("mnist", scale=False, channel_axis=False).train
    assert (x.shape, x.dtype, x.max()) == ((ROWS, 28, 28), np.uint8, 255)


def test_fashion_mnist_is_read_from_its_four_files(cache: Path) -> None:
    folder = cache / "fashion-mnist"
    folder.mkdir()
    for part, rows in (("train", 3), ("t10k", 2)):
        pixels = _pixels(rows, 28, 28)
        for kind, header, content in (("3", 16, pixels), ("1", 8, np.arange(rows, dtype=np.uint8))):
            with gzip.open(
                folder / f"{part}-images-idx3-ubyte.gz"
                if kind == "3"
                else folder / f"{part}-labels-idx1-ubyte.gz",
                "wb",
            ) as file:
                file.write(bytes(header) + content.tobytes())
    data = loaded("fashion_mnist")
    assert (data.train[0].shape, data.test[0].shape) == ((3, 28, 28, 1), (2, 28, 28, 1))
    assert data.class_names[:2] == ("T-shirt/top", "Trouser")


def _save_cifar(
    cache: Path, archive: str, folder: str, files: dict[str, dict[bytes, object]]
) -> None:
    with tarfile.open(cache / archive, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            raw = pickle.dumps(content)
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))


@pytest.mark.parametrize(("mode", "highest"), [("fine", 100), ("coarse", 20)])
def test_cifar100_has_fine_or_coarse_classes(cache: Path, mode: str, highest: int) -> None:
    def part(rows: int) -> dict[bytes, object]:
        labels = {b"fine_labels": [99] * rows, b"coarse_labels": [19] * rows}
        return {b"data": _pixels(rows, 3072), **labels}

    files = {"train": part(4), "test": part(2)}
    _save_cifar(cache, "cifar-100-python-target_archive", "cifar-100-python", files)
    data = loaded("cifar100", label_mode=mode)
    assert data.train[0].shape == (4, 32, 32, 3)
    assert data.train[1].tolist() == [highest - 1] * 4, "one label a row, no column of labels"
    assert len(set(data.class_names)) == highest


def test_cifar10_is_read_from_its_batches(cache: Path) -> None:
    # Keras's loader knows of no other number of rows.
    batch = {b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [9] * 10_000}
    files = dict.fromkeys((*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"), batch)
    _save_cifar(cache, "cifar-10-batches-py-target_archive", "cifar-10-batches-py", files)
    data = loaded("cifar10", scale=False)
    assert (data.train[0].shape, data.test[0].shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert (data.train[1].shape, data.class_names[9]) == ((50_000,), "truck")


def test_texts_are_padded_in_front_to_one_length(cache: Path) -> None:
    texts = ([[7, 8, 9], [5]], [1, 0])
    _save_texts(cache / "imdb.npz", _train=texts, _test=texts)
    x, y = loaded("imdb", maxlen=3, num_words=11).train
    # Keras shuffles, begins each text with 1, counts words from 3 on, and 2 are rarer words.
    assert sorted(map(tuple, x.tolist())) == [(0, 1, 8), (10, 2, 2)]
    assert (x.dtype, sorted(y.tolist())) == (np.int32, [0, 1])
    longest, _ = loaded("imdb", maxlen=None).train
    assert longest.shape == (2, 4)


def test_reuters_keeps_the_loaders_fifth_for_test(cache: Path) -> None:
    _save_texts(cache / "reuters.npz", **{"": ([[n] for n in range(1, 11)], [*range(10)])})
    data = loaded("reuters", maxlen=2)
    assert (data.train[0].shape, data.test[0].shape) == ((8, 2), (2, 2))
    assert len(set(data.class_names)) == 46


def test_columns_are_divided_by_fixed_numbers_so_that_no_part_tells_of_another(cache: Path) -> None:
    rows = RNG.uniform(1, 5, (10, 13))
    _save(cache / "boston_housing.npz", x=rows, y=np.arange(10.0))
    scaled, as_is = (
        loaded("boston_housing"),
        loaded("boston_housing", scale=False),
    )
    ratio = as_is.train[0] / scaled.train[0]
    assert np.allclose(ratio, ratio[0]), "the same for every row"
    assert np.allclose(as_is.test[0] / scaled.test[0], ratio[0]), "and part"
    assert (scaled.train[0].dtype, scaled.train[1].dtype, scaled.class_names) == ("f4", "f4", None)


@pytest.mark.parametrize(
    "name", ["mnist", "cifar10", "cifar100", "imdb", "reuters", "boston_housing"]
)
def test_without_the_file_one_error_says_which_to_place_where(cache: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        loaded(name)
    text = str(caught.value)
    assert text.count("; place https://") == 1
    assert f" at {cache}" in text
    assert "Temporary failure in name resolution" in text


def test_all_files_of_a_data_set_are_named(cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        loaded("fashion_mnist")
    assert str(caught.value).count(f" at {cache / 'fashion-mnist'}/") == 4


def test_the_files_named_are_those_that_keras_reads(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(origin: str, path: str, *args: object) -> None:
        asked.append(f"place {origin} at {path}")
        Path(path).write_bytes(gzip.compress(bytes(16)))
        if "fashion" not in path or "t10k-images" in path:
            raise OSError("offline")

    monkeypatch.setattr(file_utils, "urlretrieve", ask)
    for name in (
        "mnist",
        "cifar10",
        "cifar100",
        "imdb",
        "reuters",
        "boston_housing",
        "fashion_mnist",
    ):
        asked.clear()
        with pytest.raises(DataError) as caught:
            loaded(name)
        assert asked
        assert all(line in str(caught.value) for line in asked)


def test_a_file_that_keras_rejects_is_said_to_be_no_such_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_utils, "validate_file", lambda *args, **options: False)
    (cache / "mnist.npz").write_bytes(b"half a file")
    with pytest.raises(
        DataError, match=r"mnist\.npz, which was there and is not what Keras expects"
    ):
        loaded("mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fashion-mnist"}, "did you mean 'fashion_mnist'"),
        ({"name": "california_housing"}, "write one of boston_housing, cifar10"),
        ({"name": 3}, "name is 3"),
        ({"name": "mnist", "maxlen": 10}, "mnist has no texts"),
        ({"name": "imdb", "maxlen": 0}, "maxlen is 0; write a whole number from 1 on"),
        ({"name": "imdb", "num_words": True}, "num_words is True"),
        ({"name": "mnist", "label_mode": "coarse"}, "only cifar100 has"),
        ({"name": "cifar100", "label_mode": "rough"}, 'write "fine" or "coarse"'),
        ({"name": "mnist", "scale": 255}, "scale is 255; write True or False"),
    ],
)
def test_an_argument_without_meaning_is_refused_when_it_is_written(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message.replace("(", r"\(")):
        mt.keras_dataset(**arguments)  # type: ignore[arg-type]
