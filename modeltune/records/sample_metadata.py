"""What else is known of each test sample, as far as a metric of the author's needs it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from modeltune.records.answers import Array

LONGEST_KEPT_TEXT = 200
"""Characters of a text that is kept."""

MOST_KNOWN = 2**18
"""Values of all columns that are kept."""


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of n texts: the different ones, and the place among them of each, int of shape (n,)."""

    labels: tuple[str, ...]
    codes: Array


@dataclass(frozen=True, eq=False)
class SampleMetadata:
    """The columns of numbers and of texts that are known of n samples.

    Columns of anything else, and texts that are missing or long, are not kept.
    """

    numbers: Mapping[str, Array] = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: Any) -> SampleMetadata | None:
        """Return what is kept of a frame; None where it holds too many values."""
        if frame.size > MOST_KNOWN:
            return None
        numbers: dict[str, Array] = {}
        texts: dict[str, Texts] = {}
        for place, column in enumerate(map(str, frame.columns)):
            values = np.asarray(frame.iloc[:, place])
            if values.dtype.kind in "biuf":
                numbers[column] = values
                continue
            listed = values.tolist()
            if all(isinstance(value, str) and len(value) <= LONGEST_KEPT_TEXT for value in listed):
                labels = tuple(sorted(set(listed)))
                places = {label: number for number, label in enumerate(labels)}
                texts[column] = Texts(labels, np.array([places[value] for value in listed], int))
        return cls(numbers, texts)

    @cached_property
    def frame(self) -> Any:
        """The columns as a pandas frame."""
        import pandas as pd

        columns = {
            **self.numbers,
            **{name: np.array(one.labels, object)[one.codes] for name, one in self.texts.items()},
        }
        return pd.DataFrame(columns)
