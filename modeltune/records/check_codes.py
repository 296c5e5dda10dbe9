"""Every check that no gate asks for: its code, what it looks at, and where it is explained."""

from __future__ import annotations

from collections.abc import Mapping

from modeltune.records.facts import Area

CHECKS_PAGE = "CHECKS.md"
"""The document with a section for each check; it lies beside README.md."""

LOSS_IS_FINITE = "loss is finite (always on)"
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


def section_of(code: str) -> str | None:
    """Return where a check is explained, such as "CHECKS.md#searchspace"; None of an unknown code.

    The anchor of a heading is made as GitHub makes it: lower case, without punctuation, and "-"
    for a space.
    """
    if code not in CHECK_AREAS:
        return None
    kept = (letter for letter in code.lower() if letter.isalnum() or letter in "_- ")
    return f"{CHECKS_PAGE}#{''.join(kept).replace(' ', '-')}"
