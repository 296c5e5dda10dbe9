"""Exports of a run: what they need before anything trains, what gates judge of them, and what is kept."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modeltune.ground import HistoryError, SpecError, typed
from modeltune.histories import Store, baselines, samples_of
from modeltune.judgement import Measurements
from modeltune.records import (
    Area,
    ExportRecord,
    ExportResult,
    Outcome,
    Past,
    RefitId,
    Run,
    Scores,
    Verdict,
    check_verdict,
    exports_of,
)
from modeltune.specs import Spec

if TYPE_CHECKING:
    from modeltune.records import Samples

CHECK = "integrity.exports"


def require_runtimes(spec: Spec) -> None:
    """Refuse exports that cannot be made, or run, with what is installed.

    Raises:
        SpecError: says what to install.
    """
    for name, export in spec.exports.items():
        # LiteRT's own interpreter is in TensorFlow, too.
        needed = [one for one in export.PACKAGES if one != "ai-edge-litert"]
        lacking = [one for one in needed if importlib.util.find_spec(one) is None]
        if lacking:
            raise SpecError(
                f"{spec.id}: exports[{typed(name)}]: {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} "
                f'not installed; pip install "modeltune[{export.FORMAT}]"'
            )


def export_paths(spec: Spec, weights: Path) -> dict[str, Path]:
    """Return by name the files, beside the kept weights, that exports are written to."""
    return {
        name: weights.with_name(f"export-{name}{export.SUFFIX}")
        for name, export in spec.exports.items()
    }


def tuned_model(run: str, measured: Measurements) -> Past:
    """Return the tuned model whose weights a run keeps, for its exports to be compared with."""
    samples = None
    if measured.samples is not None:
        from modeltune.records import first_refit

        samples = first_refit(measured.samples)
    return Past(
        run,
        "the tuned model",
        {name: Scores(one.values[:1]) for name, one in measured.scores.items()},
        measured.refits[:1],
        samples,
    )


def measured_exports(
    records: Mapping[str, ExportRecord],
    samples: Mapping[str, Samples | str | None],
    refits: tuple[RefitId, ...],
    class_names: object,
) -> dict[str, Measurements | str]:
    """Return by name what was measured of each export, or why nothing was.

    Args:
        records: what became of them.
        samples: by name what each did on every test sample; why they cannot be read, as a str.
        refits: of the run, the first of which is exported.
        class_names: of the data.
    """
    return {
        name: _measured(name, record, samples.get(name), refits, class_names)
        for name, record in records.items()
    }


def _measured(
    name: str,
    record: ExportRecord,
    samples: Samples | str | None,
    refits: tuple[RefitId, ...],
    class_names: object,
) -> Measurements | str:
    if record.problem is not None:
        return f'the export "{name}" was not measured: {record.problem}'
    if isinstance(samples, str):
        return f'the export "{name}" cannot be judged: {samples}'
    scores = {metric: Scores((value,)) for metric, value in record.scores.items()}
    intervals = {}
    if record.bytes is not None:
        scores["artifact_bytes"] = Scores((float(record.bytes),))
    if record.latency_ratio is not None:
        scores["latency_ratio"] = Scores(record.latency_ratio[:1])
        intervals["latency_ratio"] = record.latency_ratio
    return Measurements(
        scores,
        refits[:1],
        samples,
        intervals=intervals,
        unmeasured={
            metric: (Outcome.ERROR, f"{metric} has no value: {why}")
            for metric, why in record.unmeasured.items()
            if metric not in scores
        },
        class_names=class_names,
    )


def unpacked_samples(results: Mapping[str, ExportResult]) -> dict[str, Samples | str | None]:
    """Return by name what exports did on each test sample."""
    from modeltune.records import unpack_samples

    return {
        name: None if result.samples is None else unpack_samples(result.samples)
        for name, result in results.items()
    }


def check_exports(records: Mapping[str, ExportRecord]) -> tuple[Verdict, ...]:
    """Return the verdict on the exports of a run: red where one is not made, whatever gates ask for."""
    if not records:
        return ()
    wrong = {name: one.problem for name, one in records.items() if one.problem is not None}
    outcome = Outcome.FAILED if wrong else Outcome.PASSED
    reason = "; ".join(f'"{name}": {problem}' for name, problem in wrong.items())
    if not wrong:
        reason = f"{', '.join(records)}: converted, and run on test by their own runtimes"
    return (check_verdict(Area.MODEL, CHECK, outcome, None, None, reason),)


def recorded_exports(run: Run, history: Store) -> dict[str, Measurements | str]:
    """Return what a recorded run measured of its exports, as ``measured_exports``."""
    records, samples = exports_of(run), dict[str, "Samples | str | None"]()
    for name in records:
        try:
            samples[name] = samples_of(run, history, export=name)
        except HistoryError as error:
            samples[name] = str(error)
    names = run.data.get("class_names")
    return measured_exports(records, samples, baselines.refits_of(run), names)
