"""Write curves and hyperparameters of recorded trials and refits for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from modeltune.records import Event, Json, Listener, Note, Trial, TrialFinished
from modeltune.reports import file_name
from modeltune.specs import Spec

TENSORBOARD_FOLDER = "tensorboard"

OBJECTIVE = "objective"
"""The tag of a trial's score, which is a column of the HParams page."""


def run_folder(store: Path, spec: str, run: str) -> Path:
    """Return the folder for a run's events: ``tensorboard/<spec>/<run>`` beside its store."""
    return store / TENSORBOARD_FOLDER / file_name(spec) / file_name(run)


def folder_of(spec: Spec, store: Path, run: str) -> Path | None:
    """Return where a run's events go, None when its spec asks for none."""
    return run_folder(store, spec.id, run) if spec.fit.tensorboard else None


def following(listen: Listener, folder: Path | None) -> Listener:
    """Return a listener that writes each finished trial, and passes every event on to ``listen``.

    The first failure to write becomes a note; the listener raises nothing. Without a folder
    nothing is written.
    """
    if folder is None:
        return listen
    failures: list[Exception] = []

    def write_and_pass_on(event: Event) -> None:
        listen(event)
        if isinstance(event, TrialFinished) and not failures:
            try:
                write_trial(folder, event.trial)
            except Exception as error:  # noqa: BLE001  a missing picture must not end a run
                failures.append(error)
                listen(_note(error))

    return write_and_pass_on


def write_refits(
    folder: Path | None, refits: Sequence[Mapping[str, Json]], listen: Listener
) -> None:
    """Write the learning curves of a validation's refits, as the run records them.

    A failure to write becomes a note; nothing is raised. Without a folder nothing is written.
    """
    if folder is None:
        return
    try:
        for refit in refits:
            name = f"refit-seed-{refit['seed']}"
            if refit["fold"] is not None:
                name += f"-fold-{refit['fold'] + 1}"
            _write_curves(folder / name, refit["curve"], 0, refit["seconds"], time.time())
    except Exception as error:  # noqa: BLE001  a missing picture must not end a run
        listen(_note(error))


def write_trial(folder: Path, trial: Trial) -> None:
    """Write a trial's curves by epoch, counted from 1, and its row on the HParams page.

    The curves of a trial that continues another one begin after the inherited epochs. Metrics on
    validation are written as a separate run, ``trial-3/validation`` beside ``trial-3/train``, so
    that one chart shows both.

    Raises:
        OSError: the files cannot be written.
    """
    from modeltune.harness.trackers.event_files import (
        scalar,
        session_end,
        session_start,
        write_events,
    )

    place, ended = folder / f"trial-{trial.id}", time.time()
    _write_curves(place, trial.curve, trial.initial_epoch, trial.seconds, ended)
    began = ended - trial.seconds
    events = [session_start(trial.values, began)]
    if trial.score is not None:
        epoch = trial.best_epoch or trial.initial_epoch + trial.epochs
        events.append(scalar(OBJECTIVE, trial.score, epoch, ended))
    events.append(session_end(trial.status, ended))
    write_events(place, events, began)


def _write_curves(
    place: Path,
    curve: Mapping[str, Sequence[float]],
    inherited: int,
    seconds: float,
    ended: float,
) -> None:
    """Write the curves on train and on validation, with the epochs evenly spaced in time."""
    from modeltune.harness.trackers.event_files import scalar, write_events

    for part, prefix in (("train", ""), ("validation", "val_")):
        events = []
        for metric, values in curve.items():
            if metric.startswith("val_") != bool(prefix):
                continue
            one = seconds / max(len(values), 1)
            for epoch, value in enumerate(values, start=1):
                at = ended - one * (len(values) - epoch)
                events.append(scalar(metric.removeprefix(prefix), value, inherited + epoch, at))
        if events:
            write_events(place / part, events, ended - seconds)


def _note(error: Exception) -> Note:
    return Note(f"TensorBoard's files are incomplete: {error}")
