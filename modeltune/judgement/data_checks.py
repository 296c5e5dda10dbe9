"""Warn of data that can no longer be judged by as if nobody had seen them."""

from __future__ import annotations

from modeltune.records import Area, Outcome, Verdict, check_verdict


def check_reads(reads: int, limit: int | None) -> tuple[Verdict, ...]:
    """Return a warning where a test part has given more verdicts than it was meant to; nothing without a limit."""
    if limit is None or reads <= limit:
        return ()
    reason = (
        f"this test part gives verdict number {reads} of {limit} that were planned "
        "(test_reads in [tool.modeltune]): whoever chose models by it has fitted them to it; judge on new "
        "samples, and accept a run on those"
    )
    return (
        check_verdict(
            Area.DATA, "checks.test_reads", Outcome.WARNED, float(reads), float(limit), reason
        ),
    )
