"""A run is as red as the worst of its verdicts, and strictness decides on open questions."""

from __future__ import annotations

import pytest

from modeltune.judgement.run_status import Strictness, status_of
from modeltune.records.runs import RunStatus
from modeltune.records.verdicts import Outcome, Verdict


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_one_red_verdict_makes_the_run_red(outcome: Outcome, strict: bool, first: bool) -> None:
    good = Verdict("g", Outcome.PASSED, 1.0, 1.0, "")
    other = Verdict("h", outcome, 1.0, 1.0, "")
    # Whoever accepts a first baseline is not to be stopped by having none, and by that only.
    red = outcome.is_red(strict) and not (first and outcome is Outcome.NO_BASELINE)
    for verdicts in ([good, other], [other, good]):
        status = status_of(verdicts, Strictness(strict, is_first_allowed=first))
        assert status is (RunStatus.FAILED if red else RunStatus.PASSED)
