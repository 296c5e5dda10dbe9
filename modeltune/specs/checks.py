"""Declare how severe each check of the data is, and which checks are silenced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modeltune.ground import Problem, as_typed, is_finite_number, typed
from modeltune.specs.gates import Severity

CHECKS = ("overlap", "duplicates", "constant_features", "labels", "drift")
"""The checks that every run has a verdict on, in the order of these."""

SEVERITIES = (*CHECKS, "leaking_feature")
"""The checks that a spec says the severity of."""

CHECK_NUMBERS: Mapping[str, str] = {
    "checks.overlap": "MT101",
    "checks.duplicates": "MT102",
    "checks.constant_features": "MT103",
    "checks.labels": "MT104",
    "checks.drift": "MT105",
    "checks.streams": "MT106",
    "checks.weights": "MT107",
    "checks.broadcast": "MT108",
    "checks.preparation": "MT109",
    "checks.leaking_feature": "MT110",
    "checks.order": "MT111",
    "checks.test_reads": "MT112",
    "search.ranges": "MT201",
    "search.space": "MT202",
    "search.exhausted": "MT203",
    "search.seeds": "MT204",
    "search.refit": "MT205",
    "search.bounds": "MT206",
    "model.names": "MT301",
    "model.own_fit": "MT302",
    "integrity.evaluate": "MT303",
    "integrity.round_trip": "MT304",
    "integrity.predict_twice": "MT305",
    "integrity.single_row": "MT306",
    "integrity.probabilities": "MT307",
    "loss is finite (always on)": "MT308",
    "integrity.exports": "MT309",
    "model.weak_slices": "MT310",
    "gates.power": "MT801",
}
"""By its name the number of each check. Both stay as they are: histories and scripts hold them."""

NEVER_OFF = "loss is finite (always on)"
"""The check that cannot be silenced: a model that cannot be measured is never green."""


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
        leaking_feature: a single column of train that alone predicts the target.
        off: the names or numbers of checks that are silenced, these or any other: ``["MT206"]``,
            ``["search.bounds"]``. What they find is recorded as waived, and makes no run red.
    """

    overlap: Severity | str | None = None
    duplicates: Severity | str = "warn"
    constant_features: Severity | str = "warn"
    labels: Severity | str = "warn"
    drift: Severity | str = "warn"
    max_drift: float = 0.15
    leaking_feature: Severity | str = "warn"
    off: Sequence[str] = ()

    label = "checks"

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        for name in SEVERITIES:
            value = getattr(self, name)
            is_open = name == "overlap" and value is None
            if not _is_severity(value) and value != "off" and not is_open:
                yield name, f'{typed(value)}: write "fail", "warn" or "off"'
        if not is_finite_number(self.max_drift) or not 0 < self.max_drift < 1:
            yield "max_drift", f"{typed(self.max_drift)}: write a distance between 0 and 1"
        for text in silence_problems(self.off):
            yield "off", text

    def severity(self, check: str, is_grave: bool = False) -> Severity:
        """Return the severity of a check as an enum member.

        Args:
            check: its name.
            is_grave: whether it found what makes a run red where nothing is declared.
        """
        declared = getattr(self, check)
        if declared is None or declared == "off":
            return Severity.FAIL if is_grave else Severity.WARN
        return Severity(declared)

    @property
    def silenced(self) -> frozenset[str]:
        """The names of the checks that are silenced."""
        own = (f"checks.{name}" for name in SEVERITIES if getattr(self, name) == "off")
        return frozenset((*own, *(check_name(code) for code in self.off)))

    def __repr__(self) -> str:
        severities = {name: getattr(self, name) for name in SEVERITIES}
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
    severities: dict[str, Any] = dict.fromkeys(SEVERITIES, Severity(value).value)
    return Checks(**severities)


def check_name(code: str) -> str:
    """Return the name of a check by its name or number: ``search.bounds`` for ``MT206``."""
    return next((name for name, number in CHECK_NUMBERS.items() if number == code), code)


def silence_problems(codes: object) -> Iterator[str]:
    """Yield why these do not name checks that can be silenced."""
    if isinstance(codes, str) or not isinstance(codes, list | tuple | set | frozenset):
        yield f'{typed(codes)}: write a list of names or numbers of checks, such as ["MT206"]'
        return
    for code in codes:
        name = check_name(code) if isinstance(code, str) else code
        if name == NEVER_OFF:
            yield f"{typed(code)}: a loss that is not finite is red whatever is silenced; leave it out"
        elif not isinstance(name, str) or name not in CHECK_NUMBERS:
            listed = ", ".join(f"{number} {name}" for name, number in CHECK_NUMBERS.items())
            yield f"{typed(code)} is no check; the checks are {listed}"


def _is_severity(value: object) -> bool:
    return isinstance(value, Severity) or value in ("fail", "warn")
