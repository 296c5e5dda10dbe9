"""Make one warning for each check that found something while models were built and trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modeltune.records import CHECK_AREAS, Caution, Outcome, Verdict, check_verdict

MOST_FINDINGS = 3
"""How many findings of a check its reason names at most."""

REMEDIES: Mapping[str, str] = {
    "checks.broadcast": (
        "Give the model as many units as there are targets and both one shape (y[:, None]); where it "
        "is meant, as for quantiles, repeat the targets in the loss"
    ),
    "checks.preparation": "Fit it on train alone: mt.Data(..., prepare=function) is called with that",
    "model.names": "Give the metric a name of its own (name=...), or ask for what is meant",
    "model.weak_slices": (
        "Each was found on one half of test, and these are the numbers of the other. Have a gate judge it, "
        'as mt.metric("accuracy") with what is printed, or give train more such samples'
    ),
    "model.own_fit": "Change copies of the data, and train the model that fit is given",
    "search.ranges": (
        "Declare the widest range and cut the value in the build, or declare each range in a "
        "conditional scope of its own"
    ),
}
"""By a check's code what to do, where its findings do not say it themselves."""


def check_cautions(cautions: Iterable[Caution]) -> tuple[Verdict, ...]:
    """Return a warning for each check that found something; each finding counts once.

    A check that this version does not know, as in a ledger that somebody changed, is left out.
    """
    by_check: dict[str, dict[str, None]] = {}
    for caution in cautions:
        if caution.check in CHECK_AREAS:
            by_check.setdefault(caution.check, {})[caution.text] = None
    verdicts = []
    for check, texts in by_check.items():
        named = list(texts)[:MOST_FINDINGS]
        more = f"; ... ({len(texts) - MOST_FINDINGS} more)" if len(texts) > MOST_FINDINGS else ""
        remedy = f". {REMEDIES[check]}" if check in REMEDIES else ""
        reason = f"{'; '.join(named)}{more}{remedy}"
        verdicts.append(
            check_verdict(CHECK_AREAS[check], check, Outcome.WARNED, float(len(texts)), 0.0, reason)
        )
    return tuple(verdicts)
