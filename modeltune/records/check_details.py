"""What each check of data, search and model has measured, besides the number its verdict shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True)
class Overlap:
    """Rows that two parts of the data share.

    Args:
        shares: by pair ("test in train") the share of the first part's rows.
        distinct_train_rows: how many rows of train differ, None when no rows are shared.
    """

    KIND: ClassVar[str] = "overlap"

    shares: Mapping[str, float]
    distinct_train_rows: int | None = None


@dataclass(frozen=True)
class Duplicates:
    """Rows of train that repeat an earlier one, and how many of them have another target."""

    KIND: ClassVar[str] = "duplicates"

    repeated: int
    conflicting: int = 0


@dataclass(frozen=True)
class ConstantFeatures:
    """How many columns or inputs never vary in train."""

    KIND: ClassVar[str] = "constant_features"

    constant: int


@dataclass(frozen=True)
class ClassCounts:
    """By output ("y") and part the number of rows of each class."""

    KIND: ClassVar[str] = "labels"

    outputs: Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class Distance:
    """How far a feature's distributions in train and test are apart, and its chance."""

    feature: str
    method: str
    distance: float
    p: float


@dataclass(frozen=True)
class Drift:
    """Features that are distributed differently in train and test.

    Args:
        train_rows, test_rows: how many rows were compared; ``sampled`` when there are more.
        seed: which rows and columns were drawn.
        compared: how many features were compared.
        not_compared: those that are no numbers.
        features: those that differ by more than chance, the farthest first.
    """

    KIND: ClassVar[str] = "drift"

    train_rows: int
    test_rows: int
    sampled: bool
    seed: int
    compared: int
    not_compared: tuple[str, ...] = ()
    features: tuple[Distance, ...] = ()


@dataclass(frozen=True)
class MetricPair:
    """A metric as the report has it, and as it follows from the model's predictions."""

    reported: float
    predictions: float


@dataclass(frozen=True)
class MetricPairs:
    """By compiled metric its value in the report beside that of the predictions."""

    KIND: ClassVar[str] = "evaluate"

    metrics: Mapping[str, MetricPair]


@dataclass(frozen=True)
class RefitScores:
    """The objective of the winner in the search, and of each refit."""

    KIND: ClassVar[str] = "refit"

    search: float
    refits: tuple[float, ...]


@dataclass(frozen=True)
class AtBound:
    """A hyperparameter of the winner at an end of its range."""

    name: str
    value: float
    bound: float
    low: float
    high: float


@dataclass(frozen=True)
class WinnerAtBounds:
    """The hyperparameters at an end, of so many that have a range."""

    KIND: ClassVar[str] = "bounds"

    at_bound: tuple[AtBound, ...]
    ranges: int


CheckDetails: TypeAlias = (
    Overlap
    | Duplicates
    | ConstantFeatures
    | ClassCounts
    | Drift
    | MetricPairs
    | RefitScores
    | WinnerAtBounds
)
