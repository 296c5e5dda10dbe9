"""Declare one of Keras's own data sets as the data of a spec."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from modeltune.ground import DataError, error_line, is_integer, typed
from modeltune.specs.datasets import Data

IMAGES = ("cifar10", "cifar100", "fashion_mnist", "mnist")
TEXTS = ("imdb", "reuters")
TABLES = ("boston_housing",)
KERAS_DATASETS = tuple(sorted(IMAGES + TEXTS + TABLES))
"""The data sets there are, by the name of their module in ``keras.datasets``."""

OF_TEXTS = ("maxlen", "num_words")
"""The arguments that only texts have."""

DOWNLOADS = {
    "boston_housing": ("boston_housing.npz",),
    "cifar10": ("cifar-10-batches-py-target_archive",),
    "cifar100": ("cifar-100-python-target_archive",),
    "fashion_mnist": tuple(
        f"fashion-mnist/{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("labels-idx1", "images-idx3")
    ),
    "imdb": ("imdb.npz",),
    "mnist": ("mnist.npz",),
    "reuters": ("reuters.npz",),
}
"""Where Keras keeps the files of a data set, from the folder ``datasets`` of its cache."""

ORIGINS = {
    "cifar-10-batches-py-target_archive": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "cifar-100-python-target_archive": "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
}
"""Where files come from whose name there is another; the rest lies in ``ORIGIN``."""

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

BOSTON_SCALE = (10, 100, 30, 1, 1, 10, 100, 10, 25, 700, 25, 400, 40)
"""Round numbers near the largest value of each column: no statistic of any part."""

CLASS_NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion_mnist": "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot",
    "imdb": "negative positive",
    "mnist": "0 1 2 3 4 5 6 7 8 9",
    "cifar100": "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab "
    "crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard "
    "lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom "
    "oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine "
    "possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake "
    "spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor "
    "train trout tulip turtle wardrobe whale willow_tree wolf woman worm",
    "cifar100 coarse": "aquatic_mammals fish flowers food_containers fruit_and_vegetables "
    "household_electrical_devices household_furniture insects large_carnivores "
    "large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores "
    "medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2",
    "reuters": "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade "
    "reserves ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold "
    "tin strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem "
    "dlr gas silver wpi hog lead",
}
"""What the classes are called, in the order of their labels; underscores stand for blanks."""


def keras_dataset(
    name: str,
    *,
    scale: bool = True,
    channel_axis: bool = True,
    maxlen: int | None = 200,
    num_words: int | None = 20_000,
    label_mode: str = "fine",
) -> KerasDataset:
    """Return a data function that loads one of Keras's seven data sets by Keras's own loader.

    The loader's test part is the test part; validation is cut from its train part. What is loaded is
    the same in every process and nothing is fitted, so that no part tells of another.

    - ``"cifar10"``, ``"cifar100"``, ``"fashion_mnist"``, ``"mnist"``: images of shape
      ``(height, width, channels)``, float32 in [0, 1], and labels of shape ``(n,)``;
    - ``"imdb"``, ``"reuters"``: texts as rows of ``maxlen`` word numbers, int32, 0 before the text (as
      ``keras.utils.pad_sequences`` pads), and labels of shape ``(n,)``;
    - ``"boston_housing"``: 13 columns, float32, each divided by a fixed round number near its largest
      value, and prices in thousands of dollars. Its authors' column ``B`` is a transformation of a
      share of people by race, for which scikit-learn has given the data set up.

    Args:
        name: the data set, as its module in ``keras.datasets``.
        scale: False leaves pixels whole numbers from 0 to 255, and columns as they are.
        channel_axis: False leaves grey images ``(height, width)``.
        maxlen: the words of a text that are kept, its last ones; None pads all texts to the longest.
        num_words: the most frequent words that are kept, the others being 2; None keeps all.
        label_mode: of cifar100 the 100 ``"fine"`` or the 20 ``"coarse"`` classes.

    Raises:
        TypeError, ValueError: there is no such data set, or it has no such argument.
        DataError: when called, if Keras can neither find the files nor download them; it names the
            files and where to place them.
    """
    if not isinstance(name, str) or name not in KERAS_DATASETS:
        near = difflib.get_close_matches(str(name), KERAS_DATASETS, n=1, cutoff=0.8)
        hint = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(KERAS_DATASETS)}"
        raise ValueError(
            f"mt.keras_dataset: name is {typed(name)}, which Keras does not have; {hint}"
        )
    given: dict[str, Any] = {"maxlen": maxlen, "num_words": num_words}
    for field, value in given.items():
        if value is not None and (not is_integer(value) or value < 1):
            raise ValueError(
                f"mt.keras_dataset: {field} is {typed(value)}; write a whole number from 1 on, or None"
            )
        default = inspect.signature(keras_dataset).parameters[field].default
        if name not in TEXTS and value != default:
            raise ValueError(
                f"mt.keras_dataset: {name} has no texts, so that {field} means nothing"
            )
    if label_mode not in ("fine", "coarse"):
        raise ValueError(
            f'mt.keras_dataset: label_mode is {typed(label_mode)}; write "fine" or "coarse"'
        )
    if label_mode == "coarse" and name != "cifar100":
        raise ValueError(f"mt.keras_dataset: {name} has no coarse classes, only cifar100 has")
    for field, flag in (("scale", scale), ("channel_axis", channel_axis)):
        if not isinstance(flag, bool):
            raise TypeError(f"mt.keras_dataset: {field} is {typed(flag)}; write True or False")
    return KerasDataset(name, scale, channel_axis, maxlen, num_words, label_mode)


class _Loaded(NamedTuple):
    """What a loader of Keras returns."""

    train: tuple[Any, Any]
    test: tuple[Any, Any]


@dataclass(frozen=True)
class KerasDataset:
    """A data function: called, it loads one of Keras's data sets. ``mt.keras_dataset`` makes it."""

    name: str
    scale: bool
    channel_axis: bool
    maxlen: int | None
    num_words: int | None
    label_mode: str

    @property
    def __name__(self) -> str:
        return f"keras_dataset({self.name!r})"

    def __call__(self) -> Data:
        """Load the data set.

        Raises:
            DataError: Keras can neither find the files nor download them, or they are damaged.
        """
        loaded = _load(self)
        prepare: Callable[[Any, int | None], Any] = {
            **dict.fromkeys(IMAGES, self._images),
            **dict.fromkeys(TEXTS, self._texts),
            **dict.fromkeys(TABLES, self._columns),
        }[self.name]
        longest = self._longest(loaded)
        parts = [(prepare(x, longest), self._targets(y)) for x, y in loaded]
        return Data(train=parts[0], test=parts[1], class_names=self.class_names)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What its classes are called, in the order of their labels; None where it has none."""
        key = f"{self.name} coarse" if self.label_mode == "coarse" else self.name
        if key not in CLASS_NAMES:
            return None
        return tuple(one.replace("_", " ") for one in CLASS_NAMES[key].split())

    def _images(self, x: Any, _: int | None) -> Any:
        if self.channel_axis and x.ndim == 3:
            x = x[..., None]
        return x.astype("float32") / 255 if self.scale else x

    def _texts(self, x: Any, longest: int | None) -> Any:
        from keras.utils import pad_sequences

        return pad_sequences(x, maxlen=longest)

    def _columns(self, x: Any, _: int | None) -> Any:
        return (x / BOSTON_SCALE if self.scale else x).astype("float32")

    def _targets(self, y: Any) -> Any:
        return y.astype("float32") if self.name in TABLES else y.reshape(-1).astype("int64")

    def _longest(self, loaded: _Loaded) -> int | None:
        if self.name not in TEXTS or self.maxlen is not None:
            return self.maxlen
        return max(len(text) for x, _ in loaded for text in x)


def _load(wanted: KerasDataset) -> _Loaded:
    loader = importlib.import_module(f"keras.datasets.{wanted.name}").load_data
    options: dict[str, Any] = {}
    if wanted.name in TEXTS:
        options["num_words"] = wanted.num_words
    if wanted.name == "cifar100":
        options["label_mode"] = wanted.label_mode
    # Keras removes a file that is not what it expects where it cannot download another.
    files = _files(wanted.name)
    there = {path for path in files.values() if path.exists()}
    try:
        return _Loaded(*loader(**options))
    except Exception as error:
        advice = [
            f"place {origin} at {path}"
            + (", which was there and is not what Keras expects" if path in there else "")
            for origin, path in files.items()
        ]
        why = f"mt.keras_dataset({wanted.name!r}): Keras cannot load it: {error_line(error)}"
        raise DataError("; ".join([why, *advice])) from error


def _files(name: str) -> dict[str, Path]:
    """Return the paths where Keras looks for the files of a data set, by their addresses."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    if not os.access(home if home.exists() else home.parent, os.W_OK):
        home = Path("/tmp/.keras")  # where Keras itself goes then
    return {
        ORIGINS.get(file, ORIGIN + Path(file).name): home / "datasets" / file
        for file in DOWNLOADS[name]
    }
