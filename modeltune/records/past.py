"""The recorded runs a regression gate compares with, or why they cannot be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from modeltune.records.runs import Artifact, Scores

if TYPE_CHECKING:
    from modeltune.records.samples import Samples

RefitId: TypeAlias = tuple[int, int | None]
"""Seed and fold of a refit."""


@dataclass(frozen=True, eq=False)
class Past:
    """A recorded run to compare with.

    Args:
        run: its id.
        label: how reports call it: "the accepted run 1a2b3c4d".
        scores: what it measured.
        refits: seed and fold of each value of the scores.
        samples: what it did on each test sample, None when that was not kept.
        problem: why nothing may be compared with it, in words; None when it may.
        weights: its tuned model's weights, to be found in the store's folder.
        architecture: the file that says how that model is built.
        rescored: whether scores and samples are those of its tuned model on today's test
            part, because it was recorded on other data.
        fingerprints: of the data it was measured on, among others.
        validation: how it was validated, as far as only the same compares.
        accepted: when it was accepted, if it was.
        is_of_other: whether it is a run of another spec.
        groups: of a ``rescored`` run the groups that it was measured on, by the name they are by.
    """

    run: str
    label: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    refits: tuple[RefitId, ...] = ()
    samples: Samples | None = None
    problem: str | None = None
    weights: Artifact | None = None
    architecture: Artifact | None = None
    rescored: bool = False
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    validation: str = ""
    accepted: str | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_of_other: bool = False

    def groups_by(self, name: str) -> tuple[str, ...]:
        """Return the groups of the test part it was measured on; none where they were not kept."""
        if self.rescored or self.samples is None:
            return self.groups.get(name, ())
        kept = self.samples.groups.get(name)
        return () if kept is None else kept.labels

    @property
    def problem_on_other_data(self) -> str:
        """The beginning of a sentence on why its scores are not compared as they are."""
        return f"{self.label} was measured on other test data"


References: TypeAlias = Mapping[str, Sequence[Past] | str]
"""By what a bound names ("baseline", "previous", "median(10)"): the runs meant, the newest first,
or why there are none, in words."""
