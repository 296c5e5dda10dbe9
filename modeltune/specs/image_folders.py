"""Declare a folder of images, a folder for each class, as the data of a spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeltune.ground import DataError, error_line, is_integer, typed
from modeltune.specs.datasets import Data
from modeltune.specs.frames import module_of_caller, root_of_module

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
"""How names of images end, as Keras knows them."""

PART_FOLDERS = ("train", "validation", "test")

MODES = {"grayscale": 1, "rgb": 3, "rgba": 4}
"""The channels of each kind of colours."""


def image_folder(
    path: str | Path, *, image_size: tuple[int, int], color_mode: str = "rgb"
) -> ImageFolder:
    """Return a data function that reads the images below a folder, one folder for each class.

    ``x`` is float32 in [0, 1] of shape ``(n, height, width, channels)``, ``y`` the numbers of the classes in the order of their
    folders' names, which reports show. ``path/train``, ``path/validation`` and ``path/test`` are the parts if these are the
    folders there; else each class is a folder of ``path``, and validation and test are cut as of any other data. All images
    are held in memory.

    Args:
        path: from the project's root.
        image_size: height and width that images are scaled to.
        color_mode: "rgb", "rgba" or "grayscale".

    Raises:
        TypeError: a size or a mode is none.
        DataError: when called, if there is no such folder, no image in it, or one that cannot be read.
    """
    is_size = isinstance(image_size, tuple | list) and len(image_size) == 2
    if not is_size or not all(is_integer(side) and side > 0 for side in image_size):
        raise TypeError(
            f"mt.image_folder: image_size is {typed(image_size)}; write (height, width) in pixels"
        )
    if color_mode not in MODES:
        listed = ", ".join(map(typed, MODES))
        raise TypeError(f"mt.image_folder: color_mode is {typed(color_mode)}; write {listed}")
    height, width = image_size
    return ImageFolder(str(path), (height, width), color_mode, module_of_caller())


@dataclass(frozen=True)
class ImageFolder:
    """A data function: called, it reads the images of a folder. ``mt.image_folder`` makes it."""

    path: str
    image_size: tuple[int, int]
    color_mode: str
    module: str = field(repr=False)

    __name__ = "image_folder"

    def __call__(self) -> Data:
        """Read the images.

        Raises:
            DataError: as ``image_folder``.
        """
        what, folder = f'mt.image_folder("{self.path}")', root_of_module(self.module) / self.path
        if not folder.is_dir():
            raise DataError(
                f"{what}: there is no folder {folder}; it is looked for from the project's root"
            )
        below = {place.name: place for place in folder.iterdir() if place.is_dir()}
        roots = {part: below[part] for part in PART_FOLDERS if part in below}
        if set(below) != set(roots) or "train" not in roots:
            roots = {"train": folder}
        names = sorted(place.name for place in roots["train"].iterdir() if place.is_dir())
        if len(names) < 2:
            raise DataError(
                f"{what}: {roots['train']} has {len(names)} folders; each class needs one of its own"
            )
        parts = {part: self._part(what, root, names) for part, root in roots.items()}
        return Data(**parts, class_names=names)

    def _part(self, what: str, root: Path, names: list[str]) -> Any:
        import numpy as np

        others = sorted({place.name for place in root.iterdir() if place.is_dir()} - {*names})
        if others:
            raise DataError(f"{what}: {root} has the class {others[0]!r}, which train lacks")
        files = [
            (file, label)
            for label, name in enumerate(names)
            for file in sorted((root / name).rglob("*"))
            if file.suffix.lower() in ENDINGS
        ]
        if not files:
            raise DataError(f"{what}: there is no image below {root} ({', '.join(ENDINGS)})")
        x = np.empty((len(files), *self.image_size, MODES[self.color_mode]), "float32")
        for place, (file, _) in enumerate(files):
            x[place] = self._image(what, file)
        return x, np.array([label for _, label in files], "int64")

    def _image(self, what: str, file: Path) -> Any:
        from keras.utils import img_to_array, load_img

        try:
            image = load_img(file, color_mode=self.color_mode, target_size=self.image_size)
        except Exception as error:
            raise DataError(f"{what}: {file} cannot be read: {error_line(error)}") from error
        return img_to_array(image) / 255
