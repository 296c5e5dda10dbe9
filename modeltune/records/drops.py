"""What explains a red comparison with a recorded run: what changed since, where it got worse, on which samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

MOST_SAMPLES = 10
"""How many test samples a drop lists."""


@dataclass(frozen=True)
class Change:
    """Something that is not as it was in the reference; a side is None where it has none, or is not told.

    Args:
        aspect: what it belongs to: "code", "data", "best values", "fit", "versions", ...
        name: which part of it.
        then, now: as text.
    """

    aspect: str
    name: str
    then: str | None = None
    now: str | None = None


@dataclass(frozen=True)
class WorsePart:
    """A class, slice or group of the test part that lost more than the rest.

    Args:
        name: what reports call it.
        n: how many test samples it has.
        then, now: the mean of the drop's ``values`` over them.
    """

    name: str
    n: int
    then: float
    now: float


@dataclass(frozen=True)
class WorseSample:
    """A test sample that got worse, by its row in the test part.

    Args:
        row: from 0.
        truth, then, now: the true answer and those of both kept models, as text; "" where they are not kept.
        loss: by how much its error grew, None of a sample that was right and is wrong.
    """

    row: int
    truth: str = ""
    then: str = ""
    now: str = ""
    loss: float | None = None


@dataclass(frozen=True)
class Drop:
    """What is known about a drop against a recorded run.

    Args:
        reference: the id of the run compared with.
        label: how reports call it: "the accepted run 1a2b3c4d".
        changes: what is not as it was then, code first.
        untold: what could not be looked at, and why.
        values: of what ``parts`` hold the means: "right answers", "absolute error", or the metric.
        parts: where it got worse than elsewhere, the part that lost most first.
        flips: how many test samples were right and are wrong, None where no sample is right or wrong.
        samples: some of these, or those whose error grew most.
    """

    KIND: ClassVar[str] = "drop"

    reference: str
    label: str
    changes: tuple[Change, ...] = ()
    untold: tuple[str, ...] = ()
    values: str = ""
    parts: tuple[WorsePart, ...] = ()
    flips: int | None = None
    samples: tuple[WorseSample, ...] = ()
