"""Signals that ask a process to end interrupt it once, unless somebody has decided otherwise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modeltune.ground import ending_signals_interrupt

ENDING = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    before = [signal.signal(number, signal.SIG_DFL) for number in ENDING]
    yield
    for number, handler in zip(ENDING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("sent", ENDING)
def test_a_signal_interrupts_like_ctrl_c_and_those_after_it_do_nothing(
    sent: signal.Signals,
) -> None:
    cleaned = False

    def end() -> None:
        nonlocal cleaned
        try:
            signal.raise_signal(sent)
        finally:
            for again in ENDING:
                signal.raise_signal(again)
            cleaned = True

    with pytest.raises(KeyboardInterrupt, match=sent.name), ending_signals_interrupt():
        end()
    assert cleaned
    assert [signal.getsignal(number) for number in ENDING] == [signal.SIG_DFL] * 2


def test_what_is_ignored_or_handled_stays_so() -> None:
    heard: list[int] = []

    def hear(number: int, frame: Any) -> None:
        heard.append(number)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    signal.signal(signal.SIGTERM, hear)
    with ending_signals_interrupt():
        for number in ENDING:
            signal.raise_signal(number)
    assert heard == [signal.SIGTERM]


def test_another_thread_leaves_signals_alone() -> None:
    handlers: list[Any] = []

    def look() -> None:
        with ending_signals_interrupt():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]
