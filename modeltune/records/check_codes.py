"""Every check that no gate asks for: its code, what it looks at, and where it is explained."""

from __future__ import annotations

from collections.abc import Mapping

from modeltune.records.facts import Area
from modeltune.specs import CHECK_NUMBERS, NEVER_OFF

CHECKS_PAGE = "CHECKS.md"
"""The document with a section for each check; it lies beside README.md."""

LOSS_IS_FINITE = NEVER_OFF
"""The code of the check that every run has."""

CHECK_AREAS: Mapping[str, Area] = {
    "checks.overlap": Area.DATA,
    "checks.duplicates": Area.DATA,
    "checks.constant_features": Area.DATA,
    "checks.labels": Area.DATA,
    "checks.drift": Area.DATA,
    "checks.streams": Area.DATA,
    "checks.weights": Area.DATA,
    "checks.broadcast": Area.DATA,
    "checks.preparation": Area.DATA,
    "checks.test_reads": Area.DATA,
    "gates.power": Area.GATES,
    "checks.leaking_feature": Area.DATA,
    "checks.order": Area.DATA,
    "search.ranges": Area.SEARCH,
    "search.space": Area.SEARCH,
    "search.exhausted": Area.SEARCH,
    "search.seeds": Area.SEARCH,
    "search.refit": Area.SEARCH,
    "search.bounds": Area.SEARCH,
    "model.names": Area.MODEL,
    "model.own_fit": Area.MODEL,
    "integrity.evaluate": Area.MODEL,
    "integrity.round_trip": Area.MODEL,
    "integrity.predict_twice": Area.MODEL,
    "integrity.single_row": Area.MODEL,
    "integrity.probabilities": Area.MODEL,
    "integrity.exports": Area.MODEL,
    "model.weak_slices": Area.MODEL,
    LOSS_IS_FINITE: Area.MODEL,
}
"""By its code what each check looks at. Codes stay as they are: histories and scripts hold them."""


OUTCOMES_PAGE = "docs/reference/outcomes.md"
"""The document with a section for each outcome of a gate, run, trial or error."""

GATE_NUMBERS: Mapping[str, str] = {
    "passed": "MT401",
    "warned": "MT402",
    "failed": "MT403",
    "no_baseline": "MT404",
    "inconclusive": "MT405",
    "invalid": "MT406",
    "error": "MT407",
    "waived": "MT408",
}
"""By its name the number of each outcome of a gate or check."""

RUN_NUMBERS: Mapping[str, str] = {
    "passed": "MT501",
    "failed": "MT502",
    "error": "MT503",
    "interrupted": "MT504",
    "crashed": "MT505",
}
"""By its name the number of each status of a run."""

TRIAL_NUMBERS: Mapping[str, str] = {"completed": "MT601", "failed": "MT602"}
"""By its name the number of each status of a trial."""

ERROR_NUMBERS: Mapping[str, str] = {
    "SpecError": "MT701",
    "DataError": "MT702",
    "SearchError": "MT703",
    "HistoryError": "MT704",
    "CodeError": "MT705",
    "ModeltuneError": "MT700",
}
"""By its name the number of each kind of error; others are of the kind that they derive from."""


def number_of_error(error: type[BaseException]) -> str | None:
    """Return the number of an error of ours, that of the nearest kind; None of any other error."""
    return next(
        (ERROR_NUMBERS[kind.__name__] for kind in error.__mro__ if kind.__name__ in ERROR_NUMBERS),
        None,
    )


def outcome_section(number: str) -> str:
    """Return where an outcome is explained: "docs/reference/outcomes.md#mt403"."""
    return f"{OUTCOMES_PAGE}#{number.lower()}"


def number_of(code: str) -> str | None:
    """Return the number of a check by its name: "MT202"; None of an unknown name."""
    return CHECK_NUMBERS.get(code)


def section_of(code: str) -> str | None:
    """Return where a check is explained, such as "CHECKS.md#searchspace"; None of an unknown code.

    The anchor of a heading is made as GitHub makes it: lower case, without punctuation, and "-"
    for a space.
    """
    if code not in CHECK_AREAS:
        return None
    kept = (letter for letter in code.lower() if letter.isalnum() or letter in "_- ")
    return f"{CHECKS_PAGE}#{''.join(kept).replace(' ', '-')}"
