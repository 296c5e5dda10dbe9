"""Tell what is a stream, how long it is and whether it ends, and have Keras read it in this process."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modeltune.ground import monotonic

MOST_BATCHES = 10_000_000
"""A stream that says it has more batches is as good as endless."""

MOST_ROUNDS = 200
"""A stream of unknown length that yields the same batches so often has no end."""

FEW_BATCHES = 20
"""Where there are fewer different batches, they are counted as so many: rows may well be alike."""

MINUTES = 5.0
"""How long a stream of unknown length may take to end where the spec sets no ``data_minutes``."""

MARGIN = 10.0
"""Seconds before the end of ``data_minutes``, half of them at most, at which a stream is told to have
no end: at their end its process is killed."""


def is_dataset(value: Any) -> bool:
    """Tell whether a value is a ``tf.data.Dataset``, without loading TensorFlow."""
    return hasattr(value, "element_spec") and hasattr(value, "cardinality")


def is_py_dataset(value: Any) -> bool:
    """Tell whether a value is a ``keras.utils.PyDataset``, without loading Keras."""
    return hasattr(value, "__getitem__") and hasattr(type(value), "num_batches")


def is_batch_function(value: Any) -> bool:
    """Tell whether a value is a ``BatchFunction``, without loading Keras."""
    return bool(getattr(value, "yields_in_order", False))


def length_of(stream: Any) -> float | None:
    """Return how many batches a stream says it has: infinity if it has no end, None if it cannot tell."""
    if is_dataset(stream):
        batches: float | None = int(stream.cardinality())
        if batches == -2:
            return None
        batches = math.inf if batches == -1 else batches
    elif is_batch_function(stream):
        # Its end shows when it is read.
        return None if stream.num_batches is None else int(stream.num_batches)
    else:
        batches = math.inf if stream.num_batches is None else int(stream.num_batches)
    return math.inf if batches is None or batches > MOST_BATCHES else batches


def raw_batches(stream: Any, most: int | None = None) -> Iterator[Any]:
    """Return the batches of a stream in order, the first ``most`` of them; None: all."""
    if is_dataset(stream) or is_batch_function(stream):
        return itertools.islice(stream, most)
    length = length_of(stream)
    assert length is not None  # only the others cannot tell
    numbers = itertools.count() if math.isinf(length) else range(int(length))
    return (stream[number] for number in itertools.islice(numbers, most))


@dataclass(frozen=True)
class ReadingLimit:
    """The moment on the monotonic clock when a stream of unknown length has to end, and the limit in words."""

    at: float
    name: str

    @classmethod
    def from_now(cls, data_minutes: float | None) -> ReadingLimit:
        """Return the limit that a spec sets, or the usual one."""
        if data_minutes is None:
            return cls(monotonic() + 60 * MINUTES, f"{MINUTES:g} minutes")
        seconds = 60 * data_minutes
        seconds -= min(MARGIN, seconds / 2)
        return cls(monotonic() + seconds, f"data_minutes={data_minutes:g}")


class EndWatch:
    """Tells when a stream of unknown length is held to be endless."""

    def __init__(self, limit: ReadingLimit):
        self._limit = limit
        self._batches = 0
        self._different: set[int] = set()

    def note(self, batch: int) -> str | None:
        """Note a batch by its digest; return why the stream is held to be endless, None while it is not."""
        self._batches += 1
        self._different.add(batch)
        if self._batches >= MOST_ROUNDS * max(len(self._different), FEW_BATCHES):
            return (
                f"has yielded its {len(self._different)} different batches over and over, "
                f"{self._batches} in all"
            )
        if monotonic() > self._limit.at:
            return f"has yielded {self._batches} batches within {self._limit.name}"
        return None


@contextlib.contextmanager
def read_here(streams: Sequence[Any]) -> Iterator[None]:
    """Have Keras read PyDatasets with ``use_multiprocessing`` in this process meanwhile, by one thread.

    One, since what they keep for themselves, such as an open file, was meant to be of one process.
    """
    with contextlib.ExitStack() as stack:
        for stream in streams:
            if uses_processes(stream):
                before = stream.use_multiprocessing, stream.workers
                stack.callback(_set_reading, stream, *before)
                _set_reading(stream, False, min(1, stream.workers))
        yield


def uses_processes(stream: Any) -> bool:
    """Tell whether Keras would read a stream in processes of its own."""
    return (
        is_py_dataset(stream)
        and bool(getattr(stream, "use_multiprocessing", False))
        and stream.workers > 0
    )


def _set_reading(stream: Any, use_multiprocessing: bool, workers: int) -> None:
    stream.use_multiprocessing, stream.workers = use_multiprocessing, workers
