"""Say how often the gates of a run fail by chance."""

from __future__ import annotations

from modeltune.ground import count_of
from modeltune.records import FamilyKind, Run


def false_alarms(run: Run) -> str:
    """Return how often the gates of a run that compare with recorded runs fail by chance; empty of none."""
    compared = next((one for verdict in run.verdicts for one in verdict.regressions), None)
    if compared is None:
        return ""
    each = "session" if compared.family is not None else "commit"
    if compared.look is not None:
        text = (
            f"look {compared.look} at this baseline: over all looks, however many, the chance of a false "
            "alarm is 5 % at most"
        )
        return f"{text}, for all specs of a session together" if each == "session" else text
    if compared.family is None:
        text = "the gates of this spec against earlier runs, all together, fail by chance in 5 of 100 commits at most"
    elif compared.family.kind is FamilyKind.FDR:
        text = "of the specs that a session fails against earlier runs, 5 % are false alarms, on average"
    else:
        text = (
            f"some gate against earlier runs of the session's {count_of(compared.family.specs, 'spec')} "
            "fails by chance in 5 of 100 sessions at most"
        )
    return f"{text}; sequential=True in the spec holds that for all {each}s against one baseline together"
