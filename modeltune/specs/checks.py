"""How severe each check of the data is, before the search: overlap, duplicates, labels, drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modeltune.ground import Problem, as_typed, is_finite_number, typed
from modeltune.specs.gates import Severity

CHECKS = ("overlap", "duplicates", "constant_features", "labels", "drift")
"""The checks, in the order in which their verdicts come."""


@dataclass(frozen=True, repr=False)
class Checks:
    """How severe each check of the data is; every check is always made.

    Data in memory are checked before the search, streams as far as loading has read them.
    ``"fail"`` makes the run red, ``"warn"`` only says so.

    Args:
        overlap: rows of test or validation that are also in train, or of test in validation.
        duplicates: rows of train that repeat an earlier one, and what their labels say.
        constant_features: columns of a table that never vary in train; of images and other
            inputs of more axes, only an input that is the same in every sample.
        labels: classes of test or validation that train lacks, classes of train that test lacks.
        drift: features and labels that are distributed differently in train and test.
        max_drift: the largest harmless distance of two distributions, from 0 (the same) to 1:
            the largest difference of the two cumulative shares (Kolmogorov-Smirnov) of a
            number, half the summed differences of the shares (total variation) of a class.
            A larger one counts where chance cannot explain it.
    """

    overlap: Severity | str = "warn"
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
            if not _is_severity(value):
                yield name, f'{typed(value)}: write "fail" or "warn"'
        if not is_finite_number(self.max_drift) or not 0 < self.max_drift < 1:
            yield "max_drift", f"{typed(self.max_drift)}: write a distance between 0 and 1"

    def severity(self, check: str) -> Severity:
        """Return the severity of a check as an enum member."""
        return Severity(getattr(self, check))

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in CHECKS}
        # Either way of writing a severity prints as the shorter one.
        words: dict[str, Any] = {n: s.value for n, s in given.items() if isinstance(s, Severity)}
        return as_typed(dataclasses.replace(self, **words))


def checks_of(value: object) -> object:
    """Return Checks of one severity for ``"fail"`` or ``"warn"``; anything else as it is."""
    if not _is_severity(value):
        return value
    severities: dict[str, Any] = dict.fromkeys(CHECKS, Severity(value).value)
    return Checks(**severities)


def _is_severity(value: object) -> bool:
    return isinstance(value, Severity) or value in ("fail", "warn")
