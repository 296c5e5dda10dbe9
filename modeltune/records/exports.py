"""What became of an export: its size, what its file scores by its own runtime, and how fast that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modeltune.records.plain_data import Json, from_plain, plain
from modeltune.records.runs import Artifact, Run
from modeltune.records.tasks import ExportResult

EXPORTS = "exports"
"""The key under which the record of the kept model has its exports."""


@dataclass(frozen=True)
class ExportRecord:
    """What a run keeps of an export.

    Args:
        declared: as the spec declares it, ``mt.LiteRT(quantize="int8")``.
        runtime: what ran the file, with its version; "" where none did.
        bytes: the size of the file; None where there is none.
        scores: what the file scores on test, by metric.
        latency_ratio: the time of one sample by the file over that by the tuned model, with the ends of
            its 90 % interval.
        problem: why there is no file, or nothing was measured of it; None where all is well.
        unmeasured: by metric why it has no value.
    """

    declared: str
    runtime: str = ""
    bytes: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    latency_ratio: tuple[float, float, float] | None = None
    problem: str | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)


def export_record(declared: str, result: ExportResult) -> ExportRecord:
    """Return what is kept of an export that was made just now."""
    return ExportRecord(
        declared,
        result.runtime,
        None if result.file is None else result.file.stat().st_size,
        result.scores,
        result.latency_ratio,
        None if result.failure is None else result.failure.reason,
        {name: failure.reason for name, failure in result.unmeasured.items()},
    )


def exports_to_json(records: Mapping[str, ExportRecord]) -> Json:
    """Return exports by name as the record of the kept model has them."""
    return plain(records)


def exports_of(run: Run) -> dict[str, ExportRecord]:
    """Return the exports of a run by name; none where its spec declared none, or it ended before."""
    return from_plain(dict[str, ExportRecord], run.model.get(EXPORTS) or {})


def of_export(metric: str, name: str) -> str:
    """Return how a metric of an export is called beside those of the tuned model."""
    return f'{metric}.of("{name}")'


def export_file(run: Run, name: str) -> Artifact | None:
    """Return the kept file of an export, None where it was not made."""
    return run.files.get(f"export-{name}")
