"""A run's report says how often its gates fail by chance, in words of the error rate they share."""

from __future__ import annotations

from dataclasses import replace

import pytest

import modeltune as mt
from modeltune.records.families import Family, FamilyKind
from modeltune.records.verdicts import Regression
from modeltune.reports.error_rates import false_alarms
from modeltune.reports.markdown_report import markdown
from modeltune.reports.tables import show
from tests.support.histories import DIGITS
from tests.support.verdicts import regression, verdict_on

GATE = mt.metric("accuracy") >= mt.baseline - 0.01


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (
            regression(),
            "the gates of this spec against earlier runs, all together, fail by chance in 5 of 100 commits at "
            "most; sequential=True in the spec holds that for all commits against one baseline together",
        ),
        (
            regression(family=Family(FamilyKind.SESSION, 20)),
            "some gate against earlier runs of the session's 20 specs fails by chance in 5 of 100 sessions at "
            "most; sequential=True in the spec holds that for all sessions against one baseline together",
        ),
        (
            regression(family=Family(FamilyKind.FDR, 20)),
            "of the specs that a session fails against earlier runs, 5 % are false alarms, on average; "
            "sequential=True in the spec holds that for all sessions against one baseline together",
        ),
        (
            regression(look=7),
            "look 7 at this baseline: over all looks, however many, the chance of a false alarm is 5 % at most",
        ),
        (
            regression(look=7, family=Family(FamilyKind.SESSION, 20)),
            "look 7 at this baseline: over all looks, however many, the chance of a false alarm is 5 % at most, "
            "for all specs of a session together",
        ),
    ],
)
def test_it_names_the_rate_that_holds(compared: Regression, said: str) -> None:
    run = replace(DIGITS, verdicts=(verdict_on(GATE, measured=0.95, bound=0.95, details=compared),))
    assert false_alarms(run) == said
    assert f"false alarms\n{said}" in show(run)
    assert said.replace("=", "\\=") in markdown([run]) or said in markdown([run])


def test_a_run_without_comparisons_has_no_rate() -> None:
    run = replace(DIGITS, verdicts=(verdict_on(mt.metric("accuracy") >= 0.9),))
    assert not false_alarms(run)
    assert "false alarms" not in show(run).lower()
