"""Groups of test samples: each is judged, what is between them by chance is no failure, and none vanishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import modeltune as mt
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.measurements import Measurements
from modeltune.judgement.significance import compare_groups
from modeltune.records.past import Past
from modeltune.records.runs import Scores
from modeltune.records.sample_metadata import SampleMetadata
from modeltune.records.samples import Groups, Samples
from modeltune.records.verdicts import Outcome, SliceResults, Verdict
from tests.support.verdicts import details_of

HIT = mt.metric("hit")


def samples(shares: Mapping[str, tuple[int, int]]) -> Samples:
    """Return the samples of one refit: by group how many there are and on how many it is right."""
    texts = [name for name, (size, _) in shares.items() for _ in range(size)]
    right = [row < hits for size, hits in shares.values() for row in range(size)]
    return Samples(
        len(texts),
        1,
        {"": np.ones(len(texts), int)},
        {"": np.array([right]).astype(int)},
        {"": [0, 1]},
        {"hit": np.array([right])},
        groups={"region": Groups.of(np.array(texts, object))},
    )


def verdict(gate: Any, now: Samples, *pasts: Past, **scores: float) -> Verdict:
    values = scores or {"hit": float(now.values["hit"].mean())}
    measured = Measurements(
        {name: Scores((value,)) for name, value in values.items()}, ((0, None),), now
    )
    (only, *_) = judge([gate], measured, "spec_a.py::m", {"baseline": list(pasts)} if pasts else {})
    return only


def accepted(then: Samples, **fields: Any) -> Past:
    scores = {"hit": Scores((float(then.values["hit"].mean()),))}
    return Past("0a1b", "the accepted run 0a1b", scores, ((0, None),), then, **fields)


def outcomes(of: Verdict) -> list[tuple[str, Outcome]]:
    return [(part.slice, part.outcome) for part in details_of(of, SliceResults).slices]


# Each group


def test_every_group_is_judged_and_the_worst_comes_first() -> None:
    judged = verdict(
        HIT.by("region") >= 0.8, samples({"north": (100, 95), "south": (100, 70), "west": (9, 9)})
    )
    assert judged.outcome is Outcome.FAILED
    assert judged.measured == pytest.approx(0.7)
    assert outcomes(judged) == [
        ('region "south"', Outcome.FAILED),
        ('region "west"', Outcome.INCONCLUSIVE),
        ('region "north"', Outcome.PASSED),
    ]
    assert judged.reason == (
        'region "south" (n=100): hit is 0.1 below the bound (1 of 3 slices failed); '
        'too small to judge: "west"'
    )
    assert [part.group for part in details_of(judged, SliceResults).slices] == [
        "south",
        "west",
        "north",
    ]


def test_a_group_that_is_too_small_is_no_pass() -> None:
    now = samples({"north": (100, 95), "west": (9, 9)})
    assert verdict(HIT.by("region") >= 0.8, now).outcome is Outcome.INCONCLUSIVE
    assert verdict(HIT.by("region", min_n=9) >= 0.8, now).outcome is Outcome.PASSED


def test_each_group_is_compared_with_itself_then() -> None:
    then = samples({"north": (200, 190), "south": (200, 190)})
    now = samples({"north": (200, 190), "south": (200, 120)})
    judged = verdict(HIT.by("region") >= mt.baseline - 0.02, now, accepted(then))
    assert judged.outcome is Outcome.FAILED
    assert outcomes(judged) == [
        ('region "south"', Outcome.FAILED),
        ('region "north"', Outcome.PASSED),
    ]
    assert judged.regression is not None
    assert judged.regression.n == 200


def test_a_report_metric_of_a_group_is_scikit_learn_s_on_its_rows() -> None:
    random = np.random.default_rng(1)
    texts = np.array(["a", "b"], object)[random.integers(0, 2, 300)]
    truth, predicted = random.integers(0, 2, 300), random.integers(0, 2, 300)
    now = Samples(
        300,
        1,
        {"": truth},
        {"": predicted[None]},
        {"": [0, 1]},
        groups={"region": Groups.of(texts)},
    )
    judged = verdict(mt.metric("f1").by("region") >= 0.0, now, f1=0.5)
    for part in details_of(judged, SliceResults).slices:
        rows = texts == part.group
        expected = metrics.f1_score(truth[rows], predicted[rows], average="macro")
        assert part.measured == pytest.approx(expected, abs=1e-12)


def cost(y_true: Any, y_pred: Any, metadata: Any) -> float:
    """Return the share of what samples weigh that is wrong: no mean over samples."""
    weight = metadata["weight"].to_numpy()
    return float(weight[(y_pred > 0.5) != y_true].sum() / weight.sum())


def weighed(wrong: Any, weight: Any = None) -> Samples:
    size = len(wrong)
    known = None if weight is None else SampleMetadata({"weight": weight})
    shares = np.where(wrong, 0.0, 1.0)
    return Samples(
        size,
        1,
        {"": np.ones(size, int)},
        {"": (~wrong).astype(int)[None]},
        {"": [0, 1]},
        outputs={"": shares[None]},
        groups={"region": Groups.of(np.array(["a", "b"], object).repeat(size // 2))},
        metadata=known,
    )


def test_a_metric_of_one_s_own_gets_what_is_known_of_the_samples_it_is_resampled_on() -> None:
    weight = np.r_[np.full(150, 1.0), np.full(150, 9.0)]
    worse, better = np.arange(300) % 3 == 0, np.arange(300) % 10 == 0
    now, then = weighed(worse, weight), weighed(better)  # a baseline file has no metadata
    scores = {"cost": Scores((0.1,))}
    past = Past("0a1b", "the accepted run 0a1b", scores, ((0, None),), then)
    gate = mt.metric(cost) <= mt.baseline
    judged = verdict(gate, now, past, cost=1 / 3)
    assert judged.outcome is Outcome.FAILED
    assert judged.regression is not None
    assert judged.regression.test == "paired bootstrap"
    by = verdict(mt.metric(cost).by("region") <= mt.baseline, now, past, cost=1 / 3)
    assert by.outcome is Outcome.FAILED
    for part in details_of(by, SliceResults).slices:
        assert part.measured == pytest.approx(50 / 150)
        assert part.regression is not None
        assert part.regression.reference_value == pytest.approx(15 / 150)
    untold = verdict(gate, replace(now, metadata=None), past, cost=1 / 3)
    assert "point estimate only" in untold.reason


# What is new, and what is gone


def test_a_group_that_is_new_or_gone_is_said() -> None:
    then = samples({"north": (100, 95), "west": (100, 95)})
    now = samples({"north": (100, 95), "south": (100, 95)})
    past = replace(accepted(then), rescored=True, groups={"region": ("north", "west")}, samples=now)
    judged = verdict(HIT.by("region") >= 0.8, now, past)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert judged.reason.endswith(
        '"south" new since the accepted run 0a1b; "west" gone since the accepted run 0a1b'
    )
    assert dict(outcomes(judged))['region "west"'] is Outcome.INCONCLUSIVE
    held = verdict(HIT.by("region") >= mt.baseline, now, past)
    assert '"south" new since' in held.reason


def test_a_group_that_the_run_compared_with_had_not_has_no_baseline() -> None:
    then = samples({"north": (100, 95)})
    now = samples({"north": (100, 95), "south": (100, 95)})
    judged = verdict(HIT.by("region") >= mt.baseline, now, accepted(then))
    assert judged.outcome is Outcome.NO_BASELINE
    assert judged.reason.startswith(
        'region "south" is new: the accepted run 0a1b had no sample of it; accept a newer run'
    )


def test_a_group_of_other_samples_than_then_is_not_comparable() -> None:
    now = samples({"north": (100, 95), "south": (100, 95)})
    texts = np.array(["south", "north"], object).repeat(100)
    then = replace(now, groups={"region": Groups.of(texts)})
    judged = verdict(HIT.by("region") >= mt.baseline, now, accepted(then))
    assert judged.outcome is Outcome.INVALID
    assert "it has other samples than in the accepted run 0a1b" in judged.reason


# Between groups


@pytest.mark.parametrize(
    ("gate", "shares", "expected", "measured"),
    [
        (HIT.by("region").gap <= 0.1, {"a": (100, 90), "b": (100, 85)}, Outcome.PASSED, 0.05),
        (HIT.by("region").gap <= 0.1, {"a": (100, 90), "b": (100, 78)}, Outcome.INCONCLUSIVE, 0.12),
        (HIT.by("region").gap <= 0.1, {"a": (500, 450), "b": (500, 300)}, Outcome.FAILED, 0.3),
        (HIT.by("region").ratio >= 0.8, {"a": (100, 90), "b": (100, 80)}, Outcome.PASSED, 8 / 9),
        (
            HIT.by("region").ratio >= 0.8,
            {"a": (100, 90), "b": (100, 70)},
            Outcome.INCONCLUSIVE,
            7 / 9,
        ),
        (HIT.by("region").ratio >= 0.8, {"a": (500, 450), "b": (500, 250)}, Outcome.FAILED, 5 / 9),
        (HIT.by("region").ratio >= 0.8, {"a": (50, 0), "b": (50, 0)}, Outcome.PASSED, 1.0),
    ],
)
def test_what_is_between_groups_fails_only_beyond_chance(
    gate: Any, shares: dict[str, tuple[int, int]], expected: Outcome, measured: float
) -> None:
    judged = verdict(gate, samples(shares))
    assert judged.outcome is expected, judged.reason
    assert judged.measured == pytest.approx(measured)
    between = details_of(judged, SliceResults).between
    assert (between is None) == (expected is Outcome.PASSED)
    if between is not None:
        assert (between.lowest, between.highest, between.groups) == ("b", "a", 2)
    if expected is Outcome.INCONCLUSIVE:
        assert between is not None
        assert between.settle is not None
        assert between.settle > 100
        assert f"about {between.settle} samples in each of the two would settle it" in judged.reason


@pytest.mark.parametrize(
    ("fields", "unit"),
    [({"clusters": np.arange(200) // 2}, "groups"), ({"is_ordered": True}, "blocks")],
)
def test_between_groups_what_would_settle_it_is_counted_in_what_is_resampled(
    fields: dict[str, Any], unit: str
) -> None:
    now = replace(samples({"a": (100, 90), "b": (100, 78)}), **fields)
    judged = verdict(HIT.by("region").gap <= 0.1, now)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert f"{unit} in each of the two would settle it" in judged.reason


def test_between_groups_a_small_one_counts_neither_way_and_is_said() -> None:
    now = samples({"a": (100, 90), "b": (100, 88), "c": (5, 0)})
    judged = verdict(HIT.by("region").gap <= 0.1, now)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert judged.measured == pytest.approx(0.02)
    assert '"c" too small to judge' in judged.reason
    assert ('region "c"', Outcome.INCONCLUSIVE) in outcomes(judged)


def test_nothing_is_between_one_group() -> None:
    judged = verdict(HIT.by("region").gap <= 0.1, samples({"a": (100, 90), "b": (5, 0)}))
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert "two are compared" in judged.reason


def test_a_metric_computed_of_all_samples_is_resampled_within_groups() -> None:
    random = np.random.default_rng(2)
    texts = np.array(["a", "b"], object).repeat(150)
    truth = random.integers(0, 2, 300)
    wrong = np.r_[random.random(150) < 0.05, random.random(150) < 0.45]
    now = Samples(
        300,
        1,
        {"": truth},
        {"": np.where(wrong, 1 - truth, truth)[None]},
        {"": [0, 1]},
        groups={"region": Groups.of(texts)},
    )
    judged = verdict(mt.metric("f1").by("region").gap <= 0.1, now, f1=0.7)
    assert judged.outcome is Outcome.FAILED
    assert verdict(mt.metric("f1").by("region").gap <= 0.4, now, f1=0.7).outcome in (
        Outcome.PASSED,
        Outcome.INCONCLUSIVE,
    )


def test_a_ratio_of_negative_values_is_no_number() -> None:
    now = replace(
        samples({"a": (50, 40), "b": (50, 40)}),
        values={"hit": np.linspace(-1, -0.5, 100, dtype=np.float32)[None]},
    )
    judged = verdict(HIT.by("region").ratio >= 0.8, now)
    assert judged.outcome is Outcome.ERROR
    assert "judge their .gap" in judged.reason


@pytest.mark.parametrize("groups", [2, 5, 20])
@pytest.mark.parametrize(("bound", "is_ratio"), [(0.0, False), (0.05, False), (0.95, True)])
def test_equal_groups_fail_in_one_run_of_twenty_at_most(
    groups: int, bound: float, is_ratio: bool
) -> None:
    random = np.random.default_rng(3)
    size, draws, failed = 200, 100, 0
    for _ in range(draws):
        values = random.binomial(size, 0.8, groups) / size
        replicates = random.binomial(size, values, (400, groups)) / size
        test = compare_groups(values, replicates, np.full(groups, size), bound, is_ratio)
        failed += test.p <= 0.05
    # 5 of 100 are expected where the bound is 0, and 10 or more are one chance in 35.
    assert failed < 10


def test_groups_without_any_error_of_few_samples_prove_nothing() -> None:
    replicates = np.tile([1.0, 0.0], (100, 1))
    test = compare_groups([1.0, 0.0], replicates, [3, 3], 0.1, is_ratio=False)
    assert test.p == pytest.approx(0.125)


def test_without_the_groups_the_gate_says_so() -> None:
    now = replace(samples({"a": (50, 40)}), groups={})
    judged = verdict(HIT.by("region") >= 0.5, now)
    assert judged.outcome is Outcome.ERROR
    assert "were not kept" in judged.reason
