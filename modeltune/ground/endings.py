"""Have a process end at once: what Python looks for at its end takes most of an interrupt's time."""

from __future__ import annotations

import contextlib
import gc
import io

_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def end_without_collecting() -> None:
    """Have this process look for no more garbage, at its end too: all that exists stays until then.

    A session with a history holds some hundred thousand objects, which Python visits several times
    and takes apart one by one: half a second of a core, ten on a machine with much else to do. What
    only the collector would close is not closed, so what is written to files is flushed here.
    """
    for thing in gc.get_objects():
        if type(thing) in _WRITERS:
            with contextlib.suppress(ValueError, OSError):  # one is closed, or its disk full
                thing.flush()
    gc.freeze()
