"""Gather what reports show of recorded runs, and write report.json, report.md and report.html."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modeltune.ground import (
    HistoryError,
    SpecError,
    StoreUrl,
    first_line,
    parse_json,
    project_of,
)
from modeltune.harness.run_differences import contrast
from modeltune.histories import Store, contents, open_store, samples_of
from modeltune.records import Json, Run, RunStatus, Summary, to_json, without_samples
from modeltune.reports import Contrast, Ranking, ReportedRun
from modeltune.specs import root_here, split_address

if TYPE_CHECKING:
    from modeltune.records import Samples

_T = TypeVar("_T")

PAST_RUNS = 40
"""How many past runs of a spec a report shows."""


def write_reports(
    folder: Path, reported: Sequence[ReportedRun], rankings: Sequence[Ranking] = ()
) -> tuple[list[Path], dict[str, Exception]]:
    """Write every kind of report of these runs into a folder, each file whole.

    What one kind raises costs no other.

    Returns:
        The files that are written; and, by the names of the others, what was raised instead.
    """
    from modeltune.reports import html, markdown, write, write_whole

    runs = [report.run for report in reported]
    kinds: dict[str, Callable[[Path], None]] = {
        "report.json": lambda file: write(file, [to_json(run) for run in runs]),
        "report.md": lambda file: write_whole(file, markdown(runs, rankings)),
        "report.html": lambda file: write_whole(file, html(reported, rankings)),
    }
    written: list[Path] = []
    problems: dict[str, Exception] = {}
    for name, write_kind in kinds.items():
        try:
            write_kind(folder / name)
        except Exception as error:  # noqa: BLE001  said by who calls, once the others are written
            problems[name] = error
        else:
            written.append(folder / name)
    return written, problems


def write_pictures(folder: Path, reported: Sequence[ReportedRun], kind: str) -> list[Path]:
    """Write the pictures of these runs, "svg" or "png", into a folder; return the files.

    When several runs belong to one spec, the file names of each but the first begin with its id.

    Raises:
        ModeltuneError: matplotlib is not installed.
        OSError: a picture cannot be written.
    """
    from modeltune.reports import draw_pictures, file_name

    files: list[Path] = []
    specs = set[str]()
    for report in reported:
        prefix = f"{file_name(report.run.id)}-" if report.run.spec in specs else ""
        specs.add(report.run.spec)
        for name, content in draw_pictures(report, kind).items():
            file = folder / f"{prefix}{name}"
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            files.append(file)
    return files


def newest_runs(history: Store) -> list[str]:
    """Return the id of the last run of every spec, in the order of the specs' names."""
    root = root_here()
    latest = history.latest(history.specs(root), 1, root)
    return [runs[0].id for runs in latest.values() if runs]


def notebook_view(run: Run) -> str:
    """Return a run as a notebook shows it: as report.html does, with its past if it is recorded.

    The history is that of its project; a run that is kept elsewhere is shown by its record alone.
    """
    from modeltune.reports import run_view

    reported = ReportedRun(replace(run, verdicts=tuple(map(without_samples, run.verdicts))))
    with contextlib.suppress(HistoryError, SpecError):
        project = project_of(Path(run.file).parent, Path.cwd())
        examples = project.config.examples is not False
        if examples:
            reported = ReportedRun(run)
        with open_store(project.store(), create=False) as history:
            history.run(run.id)
            reported = _gather_run(reported.run, history, examples)
    return run_view(reported)


def gather(runs: Sequence[Run], url: str | StoreUrl, *, examples: bool = True) -> list[ReportedRun]:
    """Return these runs with what the history and its files know about them.

    Without ``examples`` no test sample is shown, though earlier runs may have kept some.

    A report lists what could not be read: one that lacks something is better than none.
    """
    if not examples:
        runs = [replace(run, verdicts=tuple(map(without_samples, run.verdicts))) for run in runs]
    try:
        with open_store(url, create=False) as history:
            return [_gather_run(run, history, examples) for run in runs]
    except HistoryError as error:
        return [ReportedRun(run, missing=(f"the history: {error}",)) for run in runs]


def _gather_run(run: Run, history: Store, examples: bool) -> ReportedRun:
    missing: list[str] = []

    def read(what: str, reader: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return reader()
        except HistoryError as error:
            missing.append(f"{what}: {error}")
            return otherwise

    nothing: tuple[Summary, ...] = ()
    past = read("earlier runs", lambda: _past(run, history), nothing)
    reference: Run | None = None
    if (baseline := run.baseline) and baseline != run.id:
        reference = read("the baseline", lambda: history.run(baseline), None)
    if reference is None:
        reference = read("the run before it", lambda: _last_judged(run, past, history), None)
    changes = Contrast()
    if reference is not None:
        changes = read("what changed", lambda: contrast(reference, run, history), changes)
    samples = read("predictions on test", lambda: samples_of(run, history), None)
    accepted: Samples | None = None
    if samples is not None and reference is not None and reference.id == run.baseline:
        kept_run = reference
        accepted = read(
            "the predictions of the baseline", lambda: samples_of(kept_run, history), None
        )
    return ReportedRun(
        run,
        past,
        samples,
        read("examples", lambda: _examples(run, history), {}) if examples else {},
        reference,
        changes,
        tuple(dict.fromkeys([*missing, *history.invalid.values()])),
        accepted,
    )


def _past(run: Run, history: Store) -> tuple[Summary, ...]:
    # A run that could not be recorded comes after all recorded ones.
    path = split_address(run.spec)[0]
    # The project the run was made in may be elsewhere on this machine than the working directory.
    is_in_it = Path(run.file).is_absolute() and run.file.endswith(f"/{path}")
    root = Path(run.file.removesuffix(path)) if is_in_it else None
    past = partial(history.runs, run.spec, PAST_RUNS, root=root)
    return tuple(past(until=run.id) or past())


def _last_judged(run: Run, past: Sequence[Summary], history: Store) -> Run | None:
    for earlier in past:
        is_judged = earlier.status in (RunStatus.PASSED, RunStatus.FAILED) and not earlier.cached
        if is_judged and earlier.id != run.id:
            # One that cannot be read is named among what the report lacks.
            for whole in history.whole([earlier.id]):
                return whole
    return None


def _examples(run: Run, history: Store) -> Mapping[str, Json]:
    kept = run.files.get("examples")
    if kept is None:
        return {}
    text, path = contents(history.folder, kept, run.id), history.folder / kept.path
    try:
        examples = parse_json(text)
    except ValueError as error:
        raise HistoryError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(examples, dict) or not isinstance(examples.get("samples"), list):
        raise HistoryError(f"{path} holds no examples")
    return examples
