"""Images are read from a folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.utils import save_img

import modeltune as mt
from modeltune.specs import image_folders


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which paths start."""
    monkeypatch.setattr(image_folders, "root_of_module", lambda _: tmp_path)
    return tmp_path / "pets"


def save(place: Path, shade: int, number: int = 0) -> None:
    place.mkdir(parents=True, exist_ok=True)
    save_img(place / f"{number}.png", np.full((6, 8, 3), shade), scale=False)


def read(**fields: Any) -> Any:
    return mt.image_folder("pets", **({"image_size": (3, 4)} | fields))()


def test_folders_are_classes_by_name(pets: Path) -> None:
    for number in range(2):
        save(pets / "dog", 255, number)
    save(pets / "cat", 0)
    data = read()
    x, y = data.train
    assert (x.shape, x.dtype, x[0].max(), x[1].min()) == ((3, 3, 4, 3), np.float32, 0, 1)
    assert (y.tolist(), list(data.class_names)) == ([0, 1, 1], ["cat", "dog"])
    assert data.validation is data.test is None, "cut from train by modeltune"
    assert read(color_mode="grayscale").train[0].shape == (3, 3, 4, 1)


def test_folders_of_parts_are_the_parts(pets: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            save(pets / part / name, 9)
    data = read()
    assert (len(data.train[1]), len(data.test[1]), data.validation) == (2, 2, None)
    save(pets / "test" / "cow", 9)
    with pytest.raises(mt.DataError, match="has the class 'cow', which train lacks"):
        read()


def test_a_folder_without_images_is_one_error(pets: Path) -> None:
    with pytest.raises(mt.DataError, match="there is no folder"):
        read()
    (pets / "cat").mkdir(parents=True)
    with pytest.raises(mt.DataError, match="has 1 folders; each class needs one of its own"):
        read()
    (pets / "dog").mkdir()
    with pytest.raises(mt.DataError, match="there is no image below"):
        read()
    (pets / "dog" / "half.png").write_bytes(b"\x89PNG")
    with pytest.raises(mt.DataError, match=r"half\.png cannot be read"):
        read()


@pytest.mark.parametrize(
    "fields", [{"image_size": 32}, {"image_size": (3, 0)}, {"color_mode": "bgr"}]
)
def test_a_size_or_mode_that_is_none_is_refused(fields: Any) -> None:
    with pytest.raises(TypeError, match=r"mt\.image_folder: "):
        read(**fields)
