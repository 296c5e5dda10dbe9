"""Gather what is to be warned of while this process trains a model, for the result to tell."""

from __future__ import annotations

from modeltune.records import Caution

_cautions: dict[Caution, None] = {}


def caution(check: str, text: str) -> None:
    """Warn of what a check has found in the training under way; the same is told once."""
    _cautions[Caution(check, text)] = None


def take_cautions() -> tuple[Caution, ...]:
    """Return once what was warned of since it was last asked."""
    taken = tuple(_cautions)
    _cautions.clear()
    return taken
