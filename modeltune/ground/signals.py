"""Signals that ask a process to end: they interrupt a run as Ctrl-C does, so that it is recorded."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")
"""Signals by which schedulers, containers and closed terminals end a process, by name."""


@contextlib.contextmanager
def ending_signals_interrupt() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt here, as Ctrl-C does.

    Only what would end the process is changed: a signal that is ignored, as under nohup, or that
    somebody handles stays as it is. Once one has come, the others are ignored: who ends a process
    often sends several. Does nothing in another thread than the main one, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not every system has both.
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    changed = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in changed:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
