"""The clock of limits goes on while a test has frozen the time."""

from __future__ import annotations

import time

import pytest

from modeltune.ground import clock


def test_it_goes_on_where_the_clocks_that_tests_replace_stand_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("time", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"):
        monkeypatch.setattr(time, name, lambda: 978307200)
    began = clock.monotonic()
    until = time.process_time() + 1e-4
    while time.process_time() < until:
        pass
    assert 0 < clock.monotonic() - began < 60
