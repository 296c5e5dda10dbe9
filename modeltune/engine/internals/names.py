"""Private names of other libraries: declared, looked up before use, and done without when missing."""

from __future__ import annotations

import enum
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any


class Feature(enum.Enum):
    """What needs private names of a library; the value says what happens where one is missing."""

    EPOCH_GRAPH = "every step is taken by model.fit"
    COMPILED_POOL = "the steps of every model are compiled anew"
    FROZEN_PREFIX = "frozen layers run in every epoch"
    LAYER_SHAPES = "no output shapes of layers are recorded"
    INTEGRITY = "integrity.evaluate compares no metric"
    ASSETS = "vocabularies that layers learn are not kept with the weights"
    SAMPLE_VALUES = (
        "compiled metrics have no value per sample, outputs are paired by their names, and masked "
        "steps count"
    )
    KERNELS = "TensorFlow makes its kernels anew for every model"
    SOURCES = "augmented tf.data pipelines are not known by what they are made of"
    GRADIENTS = "TensorFlow keeps the gradients of finished models in memory"
    READS = "trials count as different even if they differ in values that no build reads"
    PROPOSALS = "keras-tuner may propose the same model again"
    ALONE = "Keras imports TensorFlow where another backend computes"
    RUNGS = "Hyperband keeps the states of all its trials until the search ends"


@dataclass(frozen=True)
class Name:
    """A private name, what has it, and the features that need it.

    ``owner`` is a module by its full name, or one of the library's ``examples``.
    """

    owner: str
    name: str
    features: tuple[Feature, ...]

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


@dataclass(frozen=True, eq=False)
class Library:
    """A library with every private name of it that we use.

    ``examples`` make one object of each kind that has such names: what only instances have
    cannot be found in a class.
    """

    package: str
    names: tuple[Name, ...]
    examples: Mapping[str, Callable[[], Any]]

    def why_not(self, feature: Feature) -> str | None:
        """Return why a feature is off, as "keras 3.15.1 has no layer._nodes"; None when it is on.

        The names of a feature are looked up once in a process, when it is first asked for.
        """
        if feature not in self._reasons:
            self._reasons[feature] = self._look_up(feature)
        return self._reasons[feature]

    def note(self) -> str | None:
        """Say which names are missing and what happens instead; None when all are there."""
        effects: dict[str, list[str]] = {}
        for feature in Feature:
            if reason := self.why_not(feature):
                effects.setdefault(reason, []).append(feature.value)
        return "; ".join(f"{r}, so {' and '.join(e)}" for r, e in effects.items()) or None

    @functools.cached_property
    def _reasons(self) -> dict[Feature, str | None]:
        """Why features are off, as far as they have been asked for."""
        return {}

    def _look_up(self, feature: Feature) -> str | None:
        needed = [name for name in self.names if feature in name.features]
        owners = {owner: self._owner(owner) for owner in {name.owner for name in needed}}
        missing = [str(name) for name in needed if not _has(owners[name.owner], name.name)]
        version = f"{self.package} {metadata.version(self.package)}"
        return f"{version} has no {', '.join(missing)}" if missing else None

    def _owner(self, owner: str) -> Any:
        """Return the module or an example of this name, None where no example can be made."""
        try:
            return self.examples[owner]() if owner in self.examples else owner
        except Exception:  # noqa: BLE001  of a newer version anything may be different
            return None


def private(owner: Any, name: str) -> Any:
    """Return a private attribute of a library's object, or of the module of that full name.

    Raises:
        AttributeError, ImportError: there is none; ask ``Library.why_not`` before.
    """
    return getattr(importlib.import_module(owner) if isinstance(owner, str) else owner, name)


def _has(owner: Any, name: str) -> bool:
    try:
        private(owner, name)
    except (AttributeError, ImportError):
        return False
    return True
