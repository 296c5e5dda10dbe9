"""A budget is a time as people type it, and its deadline is near when work would not end in time."""

from __future__ import annotations

import math
import time

import pytest

from modeltune.ground.deadlines import Deadline, seconds_of


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h30m15s", 5415),
        ("0.5h", 1800),
        ("1.5m30s", 120),
        ("0h5m", 300),
    ],
)
def test_a_budget_is_the_sum_of_its_parts(budget: str, seconds: float) -> None:
    assert seconds_of(budget) == seconds


@pytest.mark.parametrize(
    "budget", ["", "90", "s", "1d", "1h30", "-5m", "1 h", "1h 30m", "h1", "1,5h", "1..5h", "1H", "5min"]
)  # fmt: skip
def test_what_is_no_time_is_refused_with_advice(budget: str) -> None:
    with pytest.raises(
        ValueError, match=r'write a time such as "90s", "30m" or "1h30m"$'
    ) as refusal:
        seconds_of(budget)
    assert str(refusal.value).startswith(f"{budget!r}: ")


@pytest.mark.parametrize("budget", ["0s", "0h0m", "0.0m"])
def test_no_time_at_all_is_refused(budget: str) -> None:
    with pytest.raises(ValueError, match="write a time longer than 0"):
        seconds_of(budget)


def test_a_deadline_is_near_when_what_is_left_to_do_takes_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [50.0]
    monkeypatch.setattr(time, "clock_gettime", lambda _: now[0])
    deadline = Deadline.after(100, "100s")
    assert deadline == Deadline(150, "100s")
    assert not deadline.is_near(99.5)
    assert deadline.is_near(100)
    now[0] = 149.0
    assert not deadline.is_near(0)
    assert deadline.is_near(2)


@pytest.mark.parametrize(("seconds", "overdraft"), [(1800, 1800), (1, 60), (-5, 60)])
def test_a_budget_is_overdrawn_by_its_own_length_or_a_minute(
    monkeypatch: pytest.MonkeyPatch, seconds: float, overdraft: float
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 50.0)
    assert Deadline.after(seconds, "a while").end == 50 + seconds + overdraft
    assert Deadline().end == math.inf


def test_without_a_budget_no_deadline_is_near() -> None:
    assert not Deadline().is_near(1e300)
