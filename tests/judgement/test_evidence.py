"""Which evidence a comparison rests on: seeds where there are enough, else samples, else nothing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from modeltune.judgement import evidence as module
from modeltune.judgement.evidence import (
    SCORED_REPLICATES,
    Evidence,
    classes_to_judge,
    compare_evidence,
    group_replicates,
    is_other_slice,
)
from modeltune.judgement.significance import REPLICATES, Bootstrap, McNemar, StudentT, resamples
from modeltune.records.runs import Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Question

N = 60
RANDOM = np.random.default_rng(7)
LABELS = RANDOM.integers(0, 3, N)
LABELS[7] = 3
"""The true classes of the test part; one is so rare that many a resample is without it."""


def predicted(refits: int, share: float) -> Any:
    """Return classes of which about this share are right."""
    return np.where(RANDOM.random((refits, N)) < share, LABELS, RANDOM.integers(0, 3, (refits, N)))


def classifier(refits: int, share: float = 0.8, seeds: Sequence[int] | None = None) -> Evidence:
    """Return what refits of a classifier left: accuracy, loss and the report, told by samples."""
    predictions = predicted(refits, share)
    right = predictions == LABELS
    loss = np.where(right, 0.1, 2.0) + RANDOM.random((refits, N)).round(3)
    samples = Samples(
        N,
        refits,
        {"": LABELS},
        {"": predictions},
        {"": [0, 1, 2, 3]},
        {"accuracy": right, "loss": loss.astype(np.float32)},
        {"dark": np.arange(N) % 2 == 0},
    )
    return evidence(samples, ("accuracy", "loss", "precision", "recall", "f1"), seeds)


def regressor(refits: int, noise: float = 1.0) -> Evidence:
    truth = np.linspace(0, 5, 2 * N).reshape(N, 2).astype(np.float32)
    predictions = (truth + noise * RANDOM.normal(size=(refits, N, 2))).astype(np.float32)
    samples = Samples(
        N, refits, {"": truth}, {"": predictions}, {}, {}, {"dark": np.arange(N) % 2 == 0}
    )
    return evidence(samples, ("mae", "mse", "rmse", "r2", "explained_variance"), None)


def evidence(samples: Samples, names: Sequence[str], seeds: Sequence[int] | None) -> Evidence:
    scores = {
        name: Scores(tuple(samples.score(name, refit) or 0.0 for refit in range(samples.refits)))
        for name in names
    }
    refits = tuple((seed, None) for seed in seeds or range(samples.refits))
    return Evidence(scores, refits, samples)


def untold(whole: Evidence) -> Evidence:
    """Return the evidence without its samples."""
    return replace(whole, samples=None)


# Which evidence

KINDS: list[tuple[str, str, int, int, str]] = [
    # what is compared, by how many refits of this run and of the recorded one, by which test
    ("accuracy", "told", 3, 3, "crossed t"),
    ("accuracy", "told", 5, 5, "Welch's t over seeds"),
    ("accuracy", "told", 5, 3, "crossed t"),
    ("accuracy", "other seeds", 3, 3, "crossed t"),
    ("accuracy", "untold", 3, 3, "paired t over seeds"),
    ("accuracy", "untold", 4, 3, "Welch's t over seeds"),
    ("accuracy", "told", 1, 1, "exact McNemar"),
    ("accuracy", "told", 3, 1, "exact McNemar"),
    ("accuracy", "told", 1, 3, "exact McNemar"),
    ("accuracy", "told", 3, 2, "exact McNemar"),  # of the first refits, whose weights are kept
    ("accuracy", "told", 2, 2, "paired bootstrap"),
    ("loss", "told", 1, 1, "paired bootstrap"),
    ("loss", "told", 2, 2, "paired bootstrap"),
    ("loss", "told", 3, 3, "crossed t"),
    ("f1", "told", 1, 1, "paired bootstrap"),
    ("f1", "told", 2, 2, "paired bootstrap"),
    ("f1", "told", 3, 1, "paired bootstrap"),
    ("f1", "told", 3, 3, "crossed t"),
    ("r2", "told", 1, 1, "paired bootstrap"),
    ("r2", "told", 3, 3, "Welch's t over seeds"),
    ("accuracy", "untold", 2, 2, "paired t over seeds"),
    ("accuracy", "untold", 2, 3, "Welch's t over seeds"),
    ("accuracy", "untold", 1, 1, "a point"),
    ("accuracy", "untold", 3, 1, "a point"),
    ("accuracy", "untold then", 1, 1, "a point"),
    ("auc", "told", 1, 1, "a point"),  # no mean over samples, and not of the report
    ("auc", "told", 3, 1, "a point"),
    ("auc", "told", 2, 2, "paired t over seeds"),
    ("auc", "told", 3, 3, "paired t over seeds"),
]


@pytest.mark.parametrize(("metric", "how", "mine", "theirs", "test"), KINDS)
def test_the_evidence_is_the_best_that_both_have(
    metric: str, how: str, mine: int, theirs: int, test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "modeltune.judgement.evidence.resamples", lambda n: resamples(n, replicates=60)
    )
    # Which of two tests finds more depends on what was drawn.
    monkeypatch.setattr(sys.modules[__name__], "RANDOM", np.random.default_rng(7))
    make = regressor if metric == "r2" else classifier
    now, then = make(mine), make(theirs)
    if metric == "auc":
        auc = [Scores(tuple(RANDOM.random(count))) for count in (mine, theirs)]
        now, then = replace(now, scores={"auc": auc[0]}), replace(then, scores={"auc": auc[1]})
    if how == "other seeds":
        then = replace(then, refits=tuple((seed, None) for seed in range(7, 7 + theirs)))
    if how == "untold":
        now, then = untold(now), untold(then)
    if how == "untold then":
        then = untold(then)
    compared = compare_evidence(metric, 1, now, then)
    assert ("a point" if compared.comparison is None else compared.comparison.test) == test
    if compared.comparison is not None:
        is_recipe = "seeds" in test or test == "crossed t"
        assert compared.comparison.question is (
            Question.RECIPE_ON_NEW_DATA
            if test == "crossed t"
            else Question.RECIPE
            if is_recipe
            else Question.ARTIFACT
        )
        assert compared.comparison.n == (mine if is_recipe else N)
        assert compared.comparison.delta == pytest.approx(
            compared.candidate - compared.reference, abs=1e-6
        )
    is_first = test in ("exact McNemar", "paired bootstrap") and mine != theirs
    counts = (1, 1) if is_first else (mine, theirs)
    for value, side, count in zip(
        (compared.candidate, compared.reference), (now, then), counts, strict=True
    ):
        assert value == pytest.approx(np.mean(side.scores[metric].values[:count]))


@pytest.mark.parametrize(
    ("fields", "lack"),
    [
        ({}, "one refit, and single samples do not tell this metric"),
        (
            {"clusters": np.arange(N) // 2},
            "one refit, and single samples do not tell this metric, so that their groups are not looked at",
        ),
        (
            {"is_ordered": True},
            "one refit, and single samples do not tell this metric, so that their blocks are not looked at",
        ),
    ],
    ids=["samples", "groups", "blocks"],
)
def test_a_metric_without_values_of_samples_says_what_becomes_of_groups(
    fields: dict[str, Any], lack: str
) -> None:
    now, then = classifier(1), classifier(1)
    assert now.samples is not None
    now = replace(now, scores={"auc": Scores((0.8,))}, samples=replace(now.samples, **fields))
    compared = compare_evidence("auc", 1, now, replace(then, scores={"auc": Scores((0.9,))}))
    assert (compared.comparison, compared.lack) == (None, lack)


@pytest.mark.parametrize("metric", ["accuracy", "loss", "f1"])
@pytest.mark.parametrize("what", ["another truth", "another order", "fewer samples"])
@pytest.mark.parametrize(("refits", "test"), [(1, None), (2, "paired t over seeds")])
def test_samples_of_another_truth_are_never_paired(
    metric: str, what: str, refits: int, test: str | None
) -> None:
    now, then = classifier(refits), classifier(refits)
    samples = then.samples
    assert samples is not None
    truth = {
        "another truth": np.where(np.arange(N) == 30, (LABELS + 1) % 3, LABELS),
        "another order": LABELS[::-1],
        "fewer samples": LABELS[:-1],
    }[what]
    size = len(truth)
    other = replace(
        samples,
        size=size,
        truth={"": truth},
        predicted={"": samples.predicted[""][:, :size]},
        values={name: values[:, :size] for name, values in samples.values.items()},
    )
    compared = compare_evidence(metric, 1, now, replace(then, samples=other))
    assert (compared.comparison and compared.comparison.test) == test


# What is computed of it


def test_outcomes_are_counted_where_they_differ() -> None:
    now, then = classifier(1, 0.6), classifier(1, 0.9)
    assert now.samples is not None
    assert then.samples is not None
    mine, theirs = (side.values["accuracy"][0] for side in (now.samples, then.samples))
    comparison = compare_evidence("accuracy", 1, now, then).comparison
    assert comparison == McNemar(int((theirs & ~mine).sum()), int((mine & ~theirs).sum()), N)
    dark = compare_evidence("accuracy", 1, now.on("dark"), then.on("dark")).comparison
    assert isinstance(dark, McNemar)
    assert (dark.n, dark.lost) == (N // 2, int((theirs & ~mine)[::2].sum()))
    ones = compare_evidence("accuracy", 1, now.on(1), then.on(1)).comparison
    assert isinstance(ones, McNemar)
    assert (ones.n, ones.won) == ((LABELS == 1).sum(), int((mine & ~theirs)[LABELS == 1].sum()))
    # A share that is to be small: what was lost is won.
    comparison = compare_evidence("accuracy", -1, now, then).comparison
    assert comparison == McNemar(int((mine & ~theirs).sum()), int((theirs & ~mine).sum()), N)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("refits", [1, 2])
def test_values_are_compared_by_their_difference_on_each_sample(sign: int, refits: int) -> None:
    now, then = classifier(refits), classifier(refits)
    assert now.samples is not None
    assert then.samples is not None
    differences = now.samples.values["loss"].mean(0, float) - then.samples.values["loss"].mean(
        0, float
    )
    comparison = compare_evidence("loss", sign, now, then).comparison
    assert isinstance(comparison, Bootstrap)
    assert comparison.delta == pytest.approx(sign * differences.mean())
    expected = sign * np.concatenate([differences[picks].mean(axis=1) for picks in resamples(N)])
    assert comparison.replicates == pytest.approx(np.sort(expected))


def sklearn_on(metric: str, samples: Samples, refit: int, rows: Any, label: int | None) -> float:
    """Return what scikit-learn makes of these rows, NaN where the class is not among them."""
    truth, predictions = samples.truth[""][rows], samples.predicted[""][refit][rows]
    numbers: dict[str, Callable[..., float]] = {
        "mae": metrics.mean_absolute_error,
        "mse": metrics.mean_squared_error,
        "rmse": metrics.root_mean_squared_error,
        "r2": metrics.r2_score,
        "explained_variance": metrics.explained_variance_score,
    }
    if metric == "rmse":
        return math.sqrt(metrics.mean_squared_error(truth, predictions))
    if metric in numbers:
        return float(numbers[metric](truth, predictions))
    if label is not None and label not in truth:
        return math.nan
    labels = np.unique(truth) if label is None else [label]
    score = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }[metric]
    return float(score(truth, predictions, labels=labels, average="macro", zero_division=0))


@pytest.mark.parametrize(
    ("metric", "rows"),
    [
        *((metric, rows) for metric in ("precision", "recall", "f1") for rows in (None, "dark", 2)),
        *((metric, rows) for metric in ("mae", "rmse", "r2") for rows in (None, "dark")),
        ("mse", None),
        ("explained_variance", None),
    ],
)
@pytest.mark.parametrize(("sign", "refits"), [(1, 1), (-1, 2)])
def test_a_report_on_a_resample_is_scikit_learns(
    metric: str, rows: str | int | None, sign: int, refits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "modeltune.judgement.evidence.resamples", lambda n: resamples(n, replicates=60)
    )
    make = classifier if metric in ("precision", "recall", "f1") else regressor
    now, then = make(refits, 0.7).on(rows), make(refits, 0.4).on(rows)
    assert now.samples is not None
    assert then.samples is not None
    comparison = compare_evidence(metric, sign, now, then).comparison
    assert isinstance(comparison, Bootstrap)
    label = rows if isinstance(rows, int) else None
    within = np.arange(N) if rows != "dark" else np.arange(N)[::2]
    expected = []
    for picks in resamples(len(within), replicates=60):
        for pick in picks:
            sides = [
                np.mean([sklearn_on(metric, side, r, within[pick], label) for r in range(refits)])
                for side in (now.samples, then.samples)
            ]
            expected.append(sign * (sides[0] - sides[1]))
    assert comparison.replicates == pytest.approx(np.sort(expected), abs=1e-6)
    whole = [
        np.mean([sklearn_on(metric, side, r, within, label) for r in range(refits)])
        for side in (now.samples, then.samples)
    ]
    assert comparison.delta == pytest.approx(sign * (whole[0] - whole[1]), abs=1e-6)
    assert comparison.n == {None: N, "dark": N // 2, 2: (LABELS == 2).sum()}[rows]


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
@pytest.mark.parametrize("refits", [1, 2])
def test_many_rows_are_resampled_by_their_classes_to_the_same_spread(
    metric: str, refits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    truth = random.integers(-1, 3, 400)
    named = np.where(random.random((2, refits, 400)) < 0.7, truth, random.integers(0, 3, 400))
    named = np.maximum(named, 0)
    one, other = (
        evidence(Samples(400, refits, {"": truth}, {"": side}, {"": [0, 1, 2]}), (metric,), None)
        for side in named
    )
    spreads, pairs = [], []
    for most in (1000, 0):
        monkeypatch.setattr(module, "MOST_RESAMPLED", most)
        drawn = group_replicates(metric, one, 0)
        spreads.append((float(np.mean(drawn)), float(np.std(drawn))))
        compared = compare_evidence(metric, 1, one, other).comparison
        assert isinstance(compared, Bootstrap)
        replicates = compared.replicates
        pairs.append((float(np.mean(replicates)), float(np.std(replicates))))
    assert len(drawn) == SCORED_REPLICATES
    for (mean, spread), (other_mean, other_spread) in (spreads, pairs):
        assert other_mean == pytest.approx(mean, abs=spread / 5)
        assert other_spread == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
def test_many_rows_that_are_all_alike_give_the_value_itself(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_RESAMPLED", 0)
    ones = np.ones(50, int)
    never = evidence(
        Samples(50, 1, {"": ones}, {"": 0 * ones[None]}, {"": [0, 1]}), (metric,), None
    )
    always = evidence(Samples(50, 1, {"": ones}, {"": ones[None]}, {"": [0, 1]}), (metric,), None)
    assert set(group_replicates(metric, never, 0)) == {0.0}
    assert set(group_replicates(metric, always, 0)) == {1.0}


def test_a_resample_without_the_class_is_left_out() -> None:
    truth = np.array([0] * 9 + [1])
    predictions = np.array([[0] * 8 + [1, 1]])
    samples = Samples(10, 1, {"": truth}, {"": predictions}, {"": [0, 1]})
    other = replace(samples, predicted={"": truth[None]})
    now, then = (Evidence({}, ((0, None),), side, 1) for side in (samples, other))
    comparison = compare_evidence("precision", 1, now, then).comparison
    assert isinstance(comparison, Bootstrap)
    without = sum(int((picks == 9).sum(axis=1).astype(bool).sum()) for picks in resamples(10))
    assert len(comparison.replicates) == without < REPLICATES
    assert np.isfinite(comparison.replicates).all()


def test_seeds_are_paired_by_their_seed_and_fold() -> None:
    now, then = untold(classifier(3)), untold(classifier(3))
    mine, theirs = (np.array(side.scores["loss"].values) for side in (now, then))
    compared = compare_evidence("loss", -1, now, then)
    assert isinstance(compared.comparison, StudentT)
    t = stats.ttest_rel(theirs, mine, alternative="less")
    assert compared.comparison.p_worse == pytest.approx(t.pvalue)
    assert compared.comparison.delta == pytest.approx(theirs.mean() - mine.mean())
    assert (compared.candidate, compared.reference) == pytest.approx((mine.mean(), theirs.mean()))
    folds = tuple((0, fold) for fold in range(3))
    unpaired = compare_evidence("loss", -1, replace(now, refits=folds), then).comparison
    assert unpaired is not None
    t = stats.ttest_ind(theirs, mine, alternative="less", equal_var=False)
    assert unpaired.p_worse == pytest.approx(t.pvalue)


@pytest.mark.parametrize("k", [3, 5])
def test_folds_vary_more_than_they_seem_to(k: int) -> None:
    """Nadeau and Bengio: the variance of the mean over k folds is v (1/k + 1/(k - 1))."""
    now, then = untold(classifier(k)), untold(classifier(k))
    folds = tuple((0, fold) for fold in range(k))
    now, then = replace(now, refits=folds), replace(then, refits=folds)
    mine, theirs = (np.array(side.scores["accuracy"].values) for side in (now, then))
    comparison = compare_evidence("accuracy", 1, now, then, overlap=1 / (k - 1)).comparison
    differences = mine - theirs
    error = math.sqrt(differences.var(ddof=1) * (1 / k + 1 / (k - 1)))
    assert comparison is not None
    assert comparison.p_worse == pytest.approx(stats.t.cdf(differences.mean() / error, k - 1))
    plain = compare_evidence("accuracy", 1, now, then).comparison
    assert plain is not None
    assert abs(plain.p_worse - 0.5) > abs(comparison.p_worse - 0.5)


def test_folds_of_other_folds_are_corrected_too() -> None:
    now, then = untold(classifier(4)), untold(classifier(3))
    mine, theirs = (np.array(side.scores["accuracy"].values) for side in (now, then))
    comparison = compare_evidence("accuracy", 1, now, then, overlap=0.5).comparison
    assert isinstance(comparison, StudentT)
    assert comparison.variances == pytest.approx((mine.var(ddof=1) * 3, theirs.var(ddof=1) * 2.5))


# Slices and classes


def test_what_a_slice_measured_comes_from_its_samples() -> None:
    whole = classifier(2)
    assert whole.samples is not None
    right = whole.samples.values["accuracy"]
    assert whole.on(None).values("accuracy") == whole.scores["accuracy"].values
    assert whole.on("dark").values("accuracy") == pytest.approx(right[:, ::2].mean(axis=1))
    assert whole.on(1).values("accuracy") == pytest.approx(right[:, LABELS == 1].mean(axis=1))
    assert whole.on("unknown").values("accuracy") == ()
    assert whole.on("dark").values("auc") == ()
    assert untold(whole).on("dark").values("accuracy") == ()
    assert whole.on(1).mask("accuracy").sum() == (LABELS == 1).sum()


def test_a_slice_is_another_one_when_it_has_other_samples_of_the_same_test_part() -> None:
    dark = classifier(1).on("dark")
    assert dark.samples is not None
    other = replace(dark.samples, slices={"dark": np.arange(N) % 2 == 1})
    assert is_other_slice(dark, replace(dark, samples=other))
    assert not is_other_slice(dark, dark)
    # A stream in another order has its slices in that order too.
    shuffled = replace(other, truth={"": LABELS[::-1]})
    assert not is_other_slice(dark, replace(dark, samples=shuffled))


@pytest.mark.parametrize("metric", ["auc", "mae"])
def test_a_metric_that_is_no_mean_is_not_judged_by_class(metric: str) -> None:
    samples = classifier(1).samples
    assert samples is not None
    with pytest.raises(LookupError, match="not a mean over samples"):
        classes_to_judge(metric, samples)
    for name in ("accuracy", "loss", "precision", "recall", "f1"):
        assert classes_to_judge(name, samples) == [0, 1, 2, 3]
