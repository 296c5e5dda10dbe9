"""Count the test samples that the accepted model had right and this one has wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from modeltune.judgement.measurements import Case, Measurements
from modeltune.records import MOST_SAMPLES, Outcome, Past, References, Scores, Verdict
from modeltune.specs import NEGATIVE_FLIPS, On, Source

if TYPE_CHECKING:
    from modeltune.records import Array, Samples


def with_flips(
    measured: Measurements, metrics: Collection[str], references: References
) -> Measurements:
    """Return what a run measured with the negative flips among these metrics, or with why there are none.

    A sample flips where the kept model of the accepted run names its class, or all its labels, and a refit
    of this run does not; its share is the rate of negative flips of Yan et al., Positive-Congruent Training,
    CVPR 2021.
    """
    for metric in metrics:
        if not metric.endswith(NEGATIVE_FLIPS) or metric in measured.scores:
            continue
        found = _flips(measured.samples, metric, references)
        if isinstance(found, tuple):
            unmeasured: Mapping[str, tuple[Outcome, str]] = {
                **(measured.unmeasured or {}),
                metric: found,
            }
            measured = replace(measured, unmeasured=unmeasured)
            continue
        measured = replace(measured, samples=found)
        scores = Scores(tuple(found.score(metric, refit) or 0.0 for refit in range(found.refits)))
        measured = replace(measured, scores={**measured.scores, metric: scores})
    return measured


def is_of_pinned_samples(case: Case) -> bool:
    """Tell a gate on the flips of a named slice: these very samples are meant, however few they are."""
    return case.key.endswith(NEGATIVE_FLIPS) and isinstance(case.gate.measure.slices, On)


def with_flipped_samples(case: Case, verdict: Verdict) -> Verdict:
    """Return a failed verdict on flips with the test samples that flip in any refit, by their rows."""
    samples = case.measured.samples
    if verdict.outcome is not Outcome.FAILED or not case.key.endswith(NEGATIVE_FLIPS):
        return verdict
    if samples is None or case.key not in samples.values:
        return verdict
    flips = samples.values[case.key].any(axis=0) & case.evidence().mask(case.key)
    if case.key in samples.weights:
        flips &= samples.weights[case.key] > 0
    rows = flips.nonzero()[0].tolist()
    more = f" and {len(rows) - MOST_SAMPLES} more" if len(rows) > MOST_SAMPLES else ""
    listed = ", ".join(map(str, rows[:MOST_SAMPLES]))
    which = f"test sample{'' if len(rows) == 1 else 's'} {listed}{more}"
    return replace(verdict, reason=f"{verdict.reason}; right before and wrong now: {which}")


def _flips(
    samples: Samples | None, metric: str, references: References
) -> Samples | tuple[Outcome, str]:
    """Return the samples with the flips as values of the metric, or the outcome of its gates and why."""
    prefix, pasts = metric.removesuffix(NEGATIVE_FLIPS), references.get(Source.BASELINE.value, ())
    if isinstance(pasts, str) or not pasts:
        return Outcome.NO_BASELINE, pasts if isinstance(pasts, str) else "nothing is accepted yet"
    past = pasts[0]
    if past.problem:
        return Outcome.INVALID, past.problem
    now = None if samples is None else right_answers(samples, prefix)
    if samples is None or now is None:
        reason = "no sample is right or wrong: the output has no classes, or its predictions are not kept"
        return Outcome.ERROR, reason
    then = _of_past(past, samples, prefix)
    if then is None:
        return (
            Outcome.INVALID,
            f"{past.label} has no predictions for these test samples; accept a run on today's data",
        )
    is_counted = _counted(samples, prefix)
    flipped = then[:1] & ~now & is_counted
    weights = dict(samples.weights)
    if not is_counted.all():
        weights[metric] = is_counted.astype("float32")
    return replace(samples, values={**samples.values, metric: flipped}, weights=weights)


def _of_past(past: Past, samples: Samples, prefix: str) -> Array | None:
    """Return on which of the same samples a recorded run was right, None where they are others."""
    from modeltune.records import are_same_truth

    then = past.samples
    if then is None or then.size != samples.size or prefix not in then.truth:
        return None
    if not are_same_truth(then.truth[prefix], samples.truth[prefix]):
        return None
    return right_answers(then, prefix)


def right_answers(samples: Samples, prefix: str) -> Array | None:
    """Return on which samples each refit of an output is right, bool of shape (refits, n); None of numbers."""
    import numpy as np

    truth, predicted = samples.truth.get(prefix), samples.predicted.get(prefix)
    if truth is None or predicted is None or truth.dtype.kind == "f":
        return None
    if predicted.shape[1:] != truth.shape:  # in samples of others they need not belong together
        return None
    is_right = np.asarray(predicted == truth)
    return is_right if truth.ndim == 1 else np.asarray(is_right.all(axis=2))


def _counted(samples: Samples, prefix: str) -> Array:
    """Return which samples have a class, bool of shape (n,)."""
    import numpy as np

    truth = samples.truth[prefix]
    return np.asarray(truth >= 0) if truth.ndim == 1 else np.ones(len(truth), bool)
