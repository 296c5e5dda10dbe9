"""The test part as it is before anything is scored on it: its size, and which samples belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from modeltune.records.answers import Array
from modeltune.records.verdicts import Unit


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """What is known of the n samples that models will be scored on.

    Args:
        size: n; 0 of a stream that has not been counted.
        clusters: the group of each by number, int of shape (n,), None where each is independent.
        is_ordered: whether they are in time.
        slices: by name which samples a slice has, bool, or the group each is in, as texts, (n,).
        labels: the class of each, (n,); None where they are no classes.
        chosen: of a slice which samples of the test part these are, bool, None of all.
    """

    size: int
    clusters: Array | None = None
    is_ordered: bool = False
    slices: Mapping[str, Array] = field(default_factory=dict)
    labels: Array | None = None
    chosen: Array | None = None

    @property
    def unit(self) -> Unit:
        """What of them is independent of each other."""
        if self.clusters is not None:
            return Unit.GROUPS
        return Unit.BLOCKS if self.is_ordered else Unit.SAMPLES

    @property
    def units(self) -> int:
        """How many groups there are, or samples."""
        return self.size if self.clusters is None else len(np.unique(self.clusters))

    def on(self, rows: Array) -> ScoredRows:
        """Return what is known of some of the samples, bool of shape (n,)."""
        clusters = None if self.clusters is None else self.clusters[rows]
        return ScoredRows(int(np.count_nonzero(rows)), clusters, self.is_ordered, chosen=rows)
