"""Declare how severe each check of the data is: overlap, duplicates, labels, drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modeltune.ground import Problem, as_typed, is_finite_number, typed
from modeltune.specs.gates import Severity

CHECKS = ("overlap", "duplicates", "constant_features", "labels", "drift")
"""The checks, in the order of their verdicts."""


@dataclass(frozen=True, repr=False)
class Checks:
    """How severe each check of the data is. Every check always runs, before the search.

    A check with ``"fail"`` makes the run red, one with ``"warn"`` only reports. Streams are
    checked as far as loading has read them.

    Args:
        overlap: rows of test or validation that are also in train, or rows of test in validation; and, of
            data with ``groups``, groups that two parts share, which make the run red unless this is ``"warn"``.
        duplicates: rows of train that repeat an earlier row, with the same target or another.
        constant_features: columns of a table that never vary in train. An input with more axes,
            such as images, is reported only when it is the same in every sample.
        labels: classes of test or validation that train lacks, classes of train that test lacks.
        drift: features and labels that are distributed differently in train and test.
        max_drift: the largest harmless distance of two distributions, from 0 (the same) to 1. For
            numbers it is the Kolmogorov-Smirnov statistic, the largest difference of the two
            cumulative shares; for classes the total variation, half the sum of the differences of
            the shares. A larger distance is reported if chance cannot explain it.
    """

    overlap: Severity | str | None = None
    duplicates: Severity | str = "warn"
    constant_features: Severity | str = "warn"
    labels: Severity | str = "warn"
    drift: Severity | str = "warn"
    max_drift: float = 0.15

    label = "checks"

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        for name in CHECKS:
            value = getattr(self, name)
            if not _is_severity(value) and not (name == "overlap" and value is None):
                yield name, f'{typed(value)}: write "fail" or "warn"'
        if not is_finite_number(self.max_drift) or not 0 < self.max_drift < 1:
            yield "max_drift", f"{typed(self.max_drift)}: write a distance between 0 and 1"

    def severity(self, check: str, is_grave: bool = False) -> Severity:
        """Return the severity of a check as an enum member.

        Args:
            check: its name.
            is_grave: whether it found what makes a run red where nothing is declared.
        """
        declared = getattr(self, check)
        if declared is None:
            return Severity.FAIL if is_grave else Severity.WARN
        return Severity(declared)

    def __repr__(self) -> str:
        severities = {name: getattr(self, name) for name in CHECKS}
        # Print Severity.FAIL as "fail", the shorter way to write it.
        words: dict[str, Any] = {
            name: severity.value
            for name, severity in severities.items()
            if isinstance(severity, Severity)
        }
        return as_typed(dataclasses.replace(self, **words))


def checks_of(value: object) -> object:
    """Return Checks of one severity for ``"fail"``, the default ones for ``"warn"``, and anything else unchanged."""
    if not _is_severity(value):
        return value
    if value in (Severity.WARN, "warn"):
        return Checks()
    severities: dict[str, Any] = dict.fromkeys(CHECKS, Severity(value).value)
    return Checks(**severities)


def _is_severity(value: object) -> bool:
    return isinstance(value, Severity) or value in ("fail", "warn")
