"""Make a run the baseline of its spec where the user asked for it."""

from __future__ import annotations

from modeltune.ground import StoreUrl
from modeltune.histories import Acceptance, baselines, open_store, samples_of
from modeltune.judgement import Strictness
from modeltune.records import BaselineAccepted, Listener, Run
from modeltune.specs import Spec


def strictness_of(spec: Spec, strict: bool, acceptance: Acceptance | None) -> Strictness:
    """Return which outcomes are red for a run; one that becomes the baseline needs none before."""
    if acceptance is None:
        return Strictness(strict)
    replaces = not acceptance.only_new
    is_accepted = replaces or baselines.find(spec) is None
    return Strictness(strict, is_accepted, is_other_allowed=replaces)


def accept_if_asked(
    run: Run,
    spec: Spec,
    store: str | StoreUrl,
    acceptance: Acceptance | None,
    listen: Listener,
    doubt: str | None = None,
) -> None:
    """Make a run the baseline of its spec if that was asked for; tell what changed, or why not.

    Args:
        doubt: what speaks against a run that passed.
    """
    present = baselines.find(spec)
    if acceptance is None or (acceptance.only_new and present is not None):
        return
    if reason := baselines.refusal(run) or doubt:
        lines = [f"not accepted: run {run.id} of {run.spec}: {reason}"]
    else:
        with open_store(store) as history:
            lines = baselines.accept(
                run, samples_of(run, history), spec.file, why=acceptance.why, before=present
            )
    listen(BaselineAccepted(tuple(lines)))
