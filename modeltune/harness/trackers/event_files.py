"""Write event files for TensorBoard: scalars by step, and rows of its HParams page."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import (
    RecordWriter,
)

from modeltune.ground import is_finite_number, make_folder
from modeltune.records import TrialStatus, Values
from modeltune.reports import clean

# TensorBoard's own writers need TensorFlow, which the pytest process does not load.


def scalar(tag: str, value: float, step: int, at: float) -> Event:
    """Return a point of a chart, ``at`` in seconds since 1970; TensorBoard stores a float32."""
    summary = Summary()
    summary.value.add(tag=clean(tag), simple_value=value)
    return Event(wall_time=at, step=step, summary=summary)


def session_start(values: Values, at: float) -> Event:
    """Return the event that opens a row of the HParams page, with the hyperparameters."""
    info = SessionStartInfo(start_time_secs=at)
    for name, value in values.items():
        entry = info.hparams[clean(name)]
        if isinstance(value, bool):
            entry.bool_value = value
        elif is_finite_number(value):
            entry.number_value = value
        else:
            # The page shows nothing for an infinity as a number, because JSON has none.
            entry.string_value = clean(str(value))
    data = HParamsPluginData(session_start_info=info)
    return _about_session(metadata.SESSION_START_INFO_TAG, data, at)


def session_end(status: TrialStatus, at: float) -> Event:
    """Return the event that closes a row of the HParams page, with success or failure."""
    is_completed = status is TrialStatus.COMPLETED
    result = api_pb2.STATUS_SUCCESS if is_completed else api_pb2.STATUS_FAILURE
    data = HParamsPluginData(session_end_info=SessionEndInfo(status=result, end_time_secs=at))
    return _about_session(metadata.SESSION_END_INFO_TAG, data, at)


def write_events(folder: Path, events: Iterable[Event], at: float) -> None:
    """Write an event file in one piece; TensorBoard shows the folder as one run.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    records = RecordWriter(content)
    for event in (Event(wall_time=at, file_version="brain.Event:2"), *events):
        records.write(event.SerializeToString())
    make_folder(folder)
    # TensorBoard looks for "tfevents" in the name, and reads files in the order of their names.
    (folder / f"events.out.tfevents.{at:010.0f}.modeltune").write_bytes(content.getvalue())


def _about_session(tag: str, data: HParamsPluginData, at: float) -> Event:
    summary = Summary()
    about = metadata.create_summary_metadata(data)
    summary.value.add(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    return Event(wall_time=at, summary=summary)
