"""What reports and comparisons read in the free documents of a run, checked where a run is read.

A document holds what it likes besides: a later modeltune may write more, and a spec's declaration
has arguments of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modeltune.records.exports import EXPORTS, ExportRecord
from modeltune.records.operating_points import OperatingPoint
from modeltune.records.plain_data import Json, from_plain

DOCUMENTS = ("search", "fit", "validation", "data", "environment", "task_report", "model")
"""The fields of a run that are documents."""


@dataclass(frozen=True)
class _Phase:
    name: str
    epochs: int
    seconds: float
    trained_by: str
    curve: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    from_layer: str | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class _Refit:
    seed: int
    fold: int | None
    curve: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    phases: tuple[_Phase, ...] = ()


@dataclass(frozen=True)
class _Member:
    trial: int
    score: float
    values: Mapping[str, bool | int | float | str]


@dataclass(frozen=True)
class _Choice:
    is_ensemble: bool
    reason: str
    members: tuple[_Member, ...]


@dataclass(frozen=True)
class _Prepared:
    by: str
    samples: int
    seconds: float


@dataclass(frozen=True)
class _Layer:
    name: str
    kind: str
    shape: tuple[int | None, ...] | None
    parameters: int
    trainable: bool
    depth: int = 0


@dataclass(frozen=True)
class _Class:
    # A field's name cannot be "class", which is a keyword.
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    support: int | None = None


@dataclass(frozen=True)
class _Cells:
    classes: int
    true: tuple[int, ...]
    predicted: tuple[int, ...]
    counts: tuple[int, ...]
    left_out: int = 0


_TYPES: Mapping[str, Mapping[str, Any]] = {
    "validation": {"kind": str, "k": int, "refits": tuple[_Refit, ...], "ensemble_choice": _Choice},
    "environment": {
        "git_revision": str | None,
        "git_dirty": bool | None,
        "versions": Mapping[str, str | None],
        "devices": tuple[str, ...],
    },
    "search": {"kind": str},
    "data": {
        "class_names": Mapping[str, tuple[str, ...]],
        "prepared": _Prepared,
        "test_reads": int,
    },
    "model": {
        "parameters": int,
        "trainable": int,
        "layers": tuple[_Layer, ...],
        "layers_total": int,
        EXPORTS: Mapping[str, ExportRecord],
    },
}

_TABLE: dict[str, Any] = {
    "per_class": tuple[_Class, ...],
    "confusion": tuple[tuple[int | None, ...], ...] | None,
    "operating_point": OperatingPoint,
}
"""What the report of an output may have, whose name is that of the output."""


DOCUMENT_KEYS = frozenset({"confusion", "operating_point", "per_class"}.union(*_TYPES.values()))
"""The keys under which a document has something of a certain type, if it has them."""


def document_from_json(name: str, data: Json) -> Mapping[str, Json]:
    """Return a document of a run as it is, once what is read in it has the type it is read as.

    Raises:
        TypeError, ValueError: it is no object, or has something else under a key that is read.
    """
    document = from_plain(dict[str, Any], data)
    _check(document, _TYPES.get(name, {}))
    if name == "task_report":
        for table in document.values():
            if isinstance(table, Mapping):
                is_sparse = isinstance(table.get("confusion"), Mapping)
                _check(table, _TABLE | ({"confusion": _Cells} if is_sparse else {}))
    return document


def _check(document: Mapping[str, Json], types: Mapping[str, Any]) -> None:
    for key in types.keys() & document.keys():
        try:
            from_plain(types[key], document[key])
        except (KeyError, TypeError, ValueError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"has under {key} what no run records there: {why}") from error
