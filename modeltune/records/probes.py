"""What was tried on a model's behaviour and what came out, with a counter-example to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from modeltune.records.plain_data import Json


@dataclass(frozen=True)
class ImageChange:
    """An input that is an image: rows of pixels before and after; None where nothing changes it.

    Args:
        input: the input's name, "" of a single one.
        shape: of one sample.
        before, after: nested lists of numbers.
    """

    KIND: ClassVar[str] = "image"

    input: str
    before: Json
    after: Json = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class ValueChange:
    """A value at a place of a row, None of a single number, before and after; its column's name."""

    at: int | None
    before: Json
    after: Json = None
    column: str | None = None


@dataclass(frozen=True)
class RowChange:
    """An input that is a row of values: the first that differ, of so many that ``differ``."""

    KIND: ClassVar[str] = "values"

    input: str
    values: tuple[ValueChange, ...]
    differ: int
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class SummaryChange:
    """An input too large to show: its digest, and its lowest, mean and highest value."""

    KIND: ClassVar[str] = "summary"

    input: str
    before: Json
    after: Json = None
    shape: tuple[int, ...] = ()


InputChange: TypeAlias = ImageChange | RowChange | SummaryChange


@dataclass(frozen=True)
class Counterexample:
    """The smallest violation that was found.

    Args:
        text: all of it in one line.
        part: "test", or "case" where the gate lists its own.
        row: which row of that part; ``row_digest`` recognises its sample in another run.
        severity: how strongly it was transformed, None when nothing is drawn.
        before, after: the model's predictions, as JSON data.
        shown: what changed, input by input.
        known: whether an earlier run had found it.
    """

    text: str
    part: str = "test"
    row: int | None = None
    severity: float | None = None
    row_digest: str | None = None
    before: Json = None
    after: Json = None
    shown: tuple[InputChange, ...] = ()
    known: bool = False


@dataclass(frozen=True)
class Probe:
    """What was tried on a model and what came out; it judges nothing.

    ``examples`` and ``violations`` count what was drawn, without what shrinking tried; a search
    that allows no violation ends at the first batch that holds one. ``error`` says why the
    behaviour could not be tried.
    """

    examples: int = 0
    violations: int = 0
    is_exhaustive: bool = False
    tolerance: float | None = None
    counterexample: Counterexample | None = None
    error: str | None = None
