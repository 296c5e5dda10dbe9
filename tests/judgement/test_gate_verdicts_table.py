"""What every kind of gate says of every kind of value, against every kind of past: written by hand.

A table is text: a row is a gate or a past, a column what was measured, a cell the outcome. A row
with a direction holds for both: "better" is above the bound under >= and >, below it under <= and
<. What is uniform (a reference is a reference, whichever run it names) is generated around it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.measurements import Measurements
from modeltune.judgement.run_status import Strictness, status_of
from modeltune.records.past import Past
from modeltune.records.probes import Counterexample, Probe
from modeltune.records.runs import RunStatus, Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.behaviours import Behaviour
from modeltune.specs.gates import Gate, Reference

NAN, INF = math.nan, math.inf
TODAY = date(2026, 12, 1)

SIGN = {">=": 1, ">": 1, "<=": -1, "<": -1}
SOURCES = [mt.baseline, mt.previous, mt.median(1), mt.median(10)]
OFFSETS = [0.0, 0.05, -0.05]


def cells(table: str) -> Iterator[tuple[list[str], str, Outcome]]:
    """Yield every cell of a table: its row's names, its column's name, its outcome."""
    lines = [line.partition("#")[0].split() for line in table.strip().splitlines()]
    header, *rows = [line for line in lines if line]
    for row in rows:
        names = row[: len(row) - (len(header) - header.index("|") - 1)]
        outcomes = row[len(names) :]
        assert "|" in names, row
        for column, outcome in zip(header[header.index("|") + 1 :], outcomes, strict=True):
            yield names[:-1], column, Outcome(outcome)


def params(table: str, *others: Sequence[str]) -> Any:
    """Return the cells as parameters of a test, once with each of the others."""
    return [
        pytest.param(*more, *names, column, outcome, id="-".join([*more, *names, column]))
        for names, column, outcome in cells(table)
        for more in itertools.product(*others)
    ]


def verdict(
    gate: Gate | Behaviour, measured: Measurements, past: Past | str | None = None
) -> Verdict:
    """Judge one gate; every reference names the same past."""
    references: dict[str, Any] = {}
    if past is not None:
        pasts = past if isinstance(past, str) else [past]
        references = dict.fromkeys((source.name for source in SOURCES), pasts)
    (only,) = judge([gate], measured, "spec_a.py::a", references, today=TODAY)
    return only


def measured(*values: float, **others: Any) -> Measurements:
    """Return what refits under seeds 0, 1, ... measured as "m"; no value: it was not measured."""
    seeds = tuple((seed, None) for seed in range(len(values)))
    return Measurements({"m": Scores(values)} if values else {}, seeds, **others)


def past(*values: float, **others: Any) -> Past:
    seeds = tuple((seed, None) for seed in range(len(values)))
    scores = {"m": Scores(values)} if values else {}
    return Past("1a2b", "the accepted run 1a2b", **{"scores": scores, "refits": seeds} | others)


# A number as bound

ABSOLUTE = """
                | better  on      worse   nan     inf     -inf    missing
    >=          | passed  passed  failed  failed  failed  failed  error
    >           | passed  failed  failed  failed  failed  failed  error
    <=          | passed  passed  failed  failed  failed  failed  error
    <           | passed  failed  failed  failed  failed  failed  error
"""


@pytest.mark.parametrize(("bound", "comparison", "column", "expected"),
                         params(ABSOLUTE, ["0.9", "0.0", "-10.0", "50"]))  # fmt: skip
def test_against_a_number(bound: str, comparison: str, column: str, expected: Outcome) -> None:
    number = float(bound)
    step = 0.1 * SIGN[comparison]
    values = {"better": number + step, "on": number, "worse": number - step}
    values |= {"nan": NAN, "inf": INF, "-inf": -INF}
    now = measured() if column == "missing" else measured(values[column])
    result = verdict(Gate(mt.metric("m"), comparison, number), now)
    assert result.outcome is expected


# A recorded run as bound, each side one refit: the values are compared as they are

PASTS: dict[str, Past | str] = {
    "positive": past(0.9),
    "zero": past(0.0),
    "negative": past(-10.0),
    "nan": past(NAN),
    "inf": past(INF),
    "absent": "nothing is accepted yet",
    "other-data": past(0.9, problem="it was measured on other test data"),
    "lacks-m": past(scores={"n": Scores((0.9,))}),
    "empty": past(scores={"m": Scores(())}),
}

INCLUSIVE = """
    the past        | better       on           worse        nan     inf     missing
    positive        | passed       passed       failed       failed  failed  error
    zero            | passed       passed       failed       failed  failed  error
    negative        | passed       passed       failed       failed  failed  error  # nothing inverts
    nan             | invalid      invalid      invalid      failed  failed  error  # no number to hold
    inf             | invalid      invalid      invalid      failed  failed  error
    absent          | no_baseline  no_baseline  no_baseline  failed  failed  error
    other-data      | invalid      invalid      invalid      failed  failed  error
    lacks-m         | no_baseline  no_baseline  no_baseline  failed  failed  error  # accept a newer run
    empty           | no_baseline  no_baseline  no_baseline  failed  failed  error
"""

STRICT = """
    the past        | better       on           worse        nan     inf     missing
    positive        | passed       failed       failed       failed  failed  error
    zero            | passed       failed       failed       failed  failed  error
    negative        | passed       failed       failed       failed  failed  error
    nan             | invalid      invalid      invalid      failed  failed  error
    inf             | invalid      invalid      invalid      failed  failed  error
    absent          | no_baseline  no_baseline  no_baseline  failed  failed  error
    other-data      | invalid      invalid      invalid      failed  failed  error
    lacks-m         | no_baseline  no_baseline  no_baseline  failed  failed  error
    empty           | no_baseline  no_baseline  no_baseline  failed  failed  error
"""


@pytest.mark.parametrize(
    ("comparison", "state", "column", "expected"),
    [
        *params(INCLUSIVE, [">=", "<="]),
        *params(STRICT, [">", "<"]),
    ],
)
def test_against_a_recorded_run(
    comparison: str, state: str, column: str, expected: Outcome
) -> None:
    base = {"zero": 0.0, "negative": -10.0}.get(state, 0.9)
    step = 0.1 * SIGN[comparison]
    for source, offset in itertools.product(SOURCES, OFFSETS):
        bound = base + offset
        values = {"better": bound + step, "on": bound, "worse": bound - step}
        values |= {"nan": NAN, "inf": INF}
        now = measured() if column == "missing" else measured(values[column])
        gate = Gate(mt.metric("m"), comparison, source + offset)
        result = verdict(gate, now, PASTS[state])
        assert result.outcome is expected, result


B = mt.baseline
RELATIVE: list[tuple[str, Reference, float, dict[float, str]]] = [
    # more is better: 2 % less is allowed, whatever the sign
    (">=", B * 0.98, 100.0, {98.5: "passed", 98.0: "passed", 97.5: "failed", 200.0: "passed"}),
    (">=", B * 0.98, -100.0, {-101.5: "passed", -102.0: "passed", -102.5: "failed", 5.0: "passed"}),
    (">=", B * 0.98, 0.0, {0.0: "passed", -0.001: "failed", 0.001: "passed"}),  # 2 % of nothing
    # 2 % more is demanded
    (">=", B * 1.02, 100.0, {102.5: "passed", 102.0: "passed", 101.5: "failed"}),
    (">=", B * 1.02, -100.0, {-97.5: "passed", -98.0: "passed", -98.5: "failed", -102.0: "failed"}),
    (">=", B * 1.02, 0.0, {0.0: "passed", -0.001: "failed"}),
    # less is better: 2 % more is allowed
    ("<=", B * 1.02, 100.0, {101.5: "passed", 102.0: "passed", 102.5: "failed", 1.0: "passed"}),
    ("<=", B * 1.02, -100.0, {-98.5: "passed", -98.0: "passed", -97.5: "failed", -200.0: "passed"}),
    ("<=", B * 1.02, 0.0, {0.0: "passed", 0.001: "failed", -0.001: "passed"}),
    # 2 % less is demanded
    ("<=", B * 0.98, 100.0, {97.5: "passed", 98.0: "passed", 98.5: "failed"}),
    ("<=", B * 0.98, -100.0, {-102.5: "passed", -102.0: "passed", -101.5: "failed"}),
    ("<=", B * 0.98, 0.0, {0.0: "passed", 0.001: "failed"}),
    # written the other way round, and with an absolute part
    (">=", 0.98 * B, -100.0, {-102.0: "passed", -102.5: "failed"}),
    (">=", B * 0.98 - 1, 0.0, {-1.0: "passed", -1.5: "failed"}),
    (">=", B * 0.98 - 1, -100.0, {-103.0: "passed", -103.5: "failed"}),
    ("<=", (B + 1) * 1.02, 0.0, {1.0: "passed", 1.02: "passed", 1.03: "failed"}),
    (">", B * 0.98, 100.0, {98.5: "passed", 98.0: "failed"}),
    ("<", B * 1.02, 100.0, {101.5: "passed", 102.0: "failed"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("comparison", "bound", "base", "value", "expected"),
    [
        pytest.param(comparison, bound, base, value, outcome, id=f"{value}{comparison}{base}->{bound!r}")
        for comparison, bound, base, row in RELATIVE
        for value, outcome in row.items()
    ],
)  # fmt: skip
def test_against_a_share_of_a_recorded_run(
    comparison: str, bound: Reference, base: float, value: float, expected: str
) -> None:
    result = verdict(Gate(mt.metric("m"), comparison, bound), measured(value), past(base))
    assert result.outcome.value == expected


# A recorded run as bound, with evidence: one refit on 1000 samples, so many lost and won

SAMPLES = """
    margin  lost   won    | outcome
    0.0     0      0      | passed        # the same model
    0.0     10     20     | passed        # not worse
    0.0     20     17     | inconclusive  # 0.3 % worse, as noise is
    0.0     40     10     | failed        # 3 % worse, as noise is not
    0.0     4      0      | inconclusive  # four samples never prove anything
    0.01    0      0      | passed
    0.01    20     10     | inconclusive  # exactly on the margin: allowed, and not proven
    0.01    20     17     | inconclusive  # within the margin, perhaps
    0.01    5      4      | passed        # within the margin, proven
    0.01    30     15     | failed        # beyond the margin and significant
    0.01    200    185    | inconclusive  # beyond the margin, but models that differ so much ...
    0.01    0      200    | passed        # an improvement never fails
    -0.02   10     60     | passed        # 2 % better demanded, 5 % shown
    -0.02   10     40     | inconclusive
    -0.02   10     10     | failed        # proven to be less than demanded
    -0.02   40     10     | failed
"""


@pytest.mark.parametrize(("margin", "lost", "won", "column", "expected"), params(SAMPLES))
@pytest.mark.parametrize("comparison", [">=", "<="])
def test_against_a_recorded_run_on_the_same_samples(
    comparison: str, margin: str, lost: str, won: str, column: str, expected: Outcome
) -> None:
    then = np.zeros(1000, bool)
    then[: 500 + int(lost)] = True
    now = then.copy()
    now[: int(lost)] = False
    now[1000 - int(won) :] = True
    if comparison == "<=":  # of errors, of which fewer are better
        then, now = ~then, ~now
    reference = past(float(then.mean()), samples=samples_of(then))
    for source in SOURCES:
        bound = source - SIGN[comparison] * float(margin)
        gate = Gate(mt.metric("m"), comparison, bound)
        result = verdict(gate, measured(float(now.mean()), samples=samples_of(now)), reference)
        assert result.outcome is expected, result.reason


SEEDS: list[tuple[str, tuple[float, ...], tuple[float, ...], float, str]] = [
    # what it says, the accepted run's seeds, this run's, the margin, the outcome
    ("the same", (0.90, 0.92, 0.91), (0.90, 0.92, 0.91), 0.0, "passed"),
    ("better", (0.90, 0.92, 0.91), (0.91, 0.93, 0.91), 0.0, "passed"),
    ("worse as seeds vary", (0.90, 0.92, 0.91), (0.92, 0.89, 0.90), 0.0, "inconclusive"),
    ("worse under every seed", (0.90, 0.92, 0.91), (0.86, 0.88, 0.872), 0.0, "failed"),
    ("worse within the margin", (0.90, 0.92, 0.91), (0.895, 0.916, 0.905), 0.01, "passed"),
    ("worse beyond the margin", (0.90, 0.92, 0.91), (0.86, 0.88, 0.872), 0.01, "failed"),
    ("on the margin in float32", (0.9700000286102295,) * 3, (0.9599999785423279,) * 3, 0.01, "passed"),
    ("better by what is demanded", (0.90, 0.92, 0.91), (0.94, 0.96, 0.952), -0.02, "passed"),
    ("better by less", (0.90, 0.92, 0.91), (0.905, 0.926, 0.915), -0.02, "failed"),
    ("seeds of other number", (0.90, 0.92, 0.91), (0.86, 0.88, 0.872, 0.87), 0.0, "failed"),
    ("two seeds are few", (0.90, 0.92), (0.86, 0.91), 0.0, "inconclusive"),
    ("NaN under one seed", (0.90, 0.92, 0.91), (0.90, NAN, 0.91), 0.0, "failed"),
    ("NaN under one seed then", (0.90, NAN, 0.91), (0.90, 0.92, 0.91), 0.0, "invalid"),
]  # fmt: skip


@pytest.mark.parametrize("comparison", [">=", "<="])
@pytest.mark.parametrize(
    ("then", "now", "margin", "expected"), [row[1:] for row in SEEDS], ids=[row[0] for row in SEEDS]
)
def test_against_a_recorded_run_of_several_seeds(
    then: tuple[float, ...],
    now: tuple[float, ...],
    margin: float,
    expected: str,
    comparison: str,
) -> None:
    sign = SIGN[comparison]
    before, measurements = past(*(sign * v for v in then)), measured(*(sign * v for v in now))
    for source in SOURCES:
        gate = Gate(mt.metric("m"), comparison, source - sign * margin)
        result = verdict(gate, measurements, before)
        assert result.outcome.value == expected, result.reason


# A recorded run of several seeds on the same samples: which question decides, and what it comes to

CROSSED: list[tuple[str, int, int, int, float, str, str]] = [
    # what it says, the seeds of each side, samples of 2000 that each model loses on its own and that all
    # lose, the margin, the outcome, and the question that decides
    ("as good", 3, 0, 0, 0.0, "passed", "recipe_on_new_data"),
    ("worse by mistakes of their own", 3, 40, 0, 0.01, "failed", "recipe_on_new_data"),
    ("better by mistakes of their own", 3, -40, 0, 0.01, "passed", "recipe_on_new_data"),
    ("worse on the margin", 3, 20, 0, 0.01, "inconclusive", "recipe_on_new_data"),
    ("worse within the margin", 4, 10, 0, 0.01, "passed", "recipe_on_new_data"),
    ("less than the improvement demanded", 4, 0, 0, -0.01, "failed", "recipe_on_new_data"),
    ("worse on some samples, which only seeds can tell", 3, 0, 40, 0.01, "failed", "recipe"),
    ("many seeds decide by themselves", 5, 40, 0, 0.01, "failed", "recipe"),
    ("models without luck lose four", 3, 0, 4, 0.0, "inconclusive", "recipe_on_new_data"),
    ("models without luck lose many", 5, 0, 40, 0.01, "failed", "recipe_on_new_data"),
    ("two seeds are few", 2, 40, 0, 0.01, "failed", "artifact"),
]  # fmt: skip


def of_seeds(seeds: int, own: int, shared: int, is_lucky: bool, first: int) -> Any:
    """Return on which of 2000 samples each model is right: (seeds, 2000); it is wrong on others than ``first``'s."""
    right = np.ones((seeds, 2000), bool)
    right[:, 1900 : 1900 + shared] = False
    for seed in range(seeds):
        start = first + 100 * seed if is_lucky else 0
        right[seed, start : start + 50 + own + 2 * seed * is_lucky] = False
    return right


@pytest.mark.parametrize("comparison", [">=", "<="])
@pytest.mark.parametrize(
    ("seeds", "own", "shared", "margin", "expected", "question", "is_lucky"),
    [(*row[1:], "without luck" not in row[0]) for row in CROSSED],
    ids=[row[0] for row in CROSSED],
)
def test_against_a_recorded_run_of_several_seeds_on_the_same_samples(
    seeds: int,
    own: int,
    shared: int,
    margin: float,
    expected: str,
    question: str,
    is_lucky: bool,
    comparison: str,
) -> None:
    sides = [
        of_seeds(seeds, 0, 0, is_lucky, 0),
        of_seeds(seeds, own, shared, is_lucky, 900),
    ]
    if comparison == "<=":  # of errors, of which fewer are better
        sides = [~side for side in sides]
    one = samples_of(sides[0][0])
    then, now = (replace(one, refits=seeds, predicted={}, values={"m": side}) for side in sides)
    before = past(*map(float, sides[0].mean(axis=1)), samples=then)
    after = measured(*map(float, sides[1].mean(axis=1)), samples=now)
    for source in SOURCES:
        gate = Gate(mt.metric("m"), comparison, source - SIGN[comparison] * margin)
        result = verdict(gate, after, before)
        assert result.outcome.value == expected, result.reason
        regression = result.regression
        assert regression is not None
        assert regression.question.value == question, result.reason
        assert (regression.samples, str(regression.sample_unit)) == (2000, "samples")
        asked = f"is this recipe worse for new data and new seeds: crossed t on {seeds} seeds and 2000 samples, p = "
        assert asked in result.reason
        if question == "recipe_on_new_data":
            assert regression.p_on_new_data == regression.p


# The same as a recorded run, up to a margin on either side

WITHIN_OF_SAMPLES = """
    margin  lost   won    | outcome
    0.02    0      0      | passed
    0.02    10     12     | passed        # 0.2 % better, proven to be within 2 %
    0.02    12     10     | passed
    0.001   0      0      | inconclusive  # 1000 samples cannot prove a thousandth
    0.02    15     0      | inconclusive  # within the margin, perhaps
    0.02    0      15     | inconclusive
    0.02    60     0      | failed        # proven to be outside, ...
    0.02    0      60     | failed        # ... and being better is no excuse
    0.02    25     0      | inconclusive
    0.02    120    120    | inconclusive  # equal, but models that differ so much ...
"""


@pytest.mark.parametrize(("margin", "lost", "won", "column", "expected"), params(WITHIN_OF_SAMPLES))
def test_to_be_the_same_on_the_same_samples_is_to_be_proven(
    margin: str, lost: str, won: str, column: str, expected: Outcome
) -> None:
    then = np.arange(1000) < 500 + int(lost)
    now = then.copy()
    now[: int(lost)] = False
    now[1000 - int(won) :] = True
    reference = past(float(then.mean()), samples=samples_of(then))
    for source in SOURCES:
        gate = mt.metric("m").within(source, float(margin))
        result = verdict(gate, measured(float(now.mean()), samples=samples_of(now)), reference)
        assert result.outcome is expected, result.reason
        assert "two one-sided tests, exact McNemar on 1000 samples, p = " in result.reason


WITHIN_OF_SEEDS: list[tuple[str, tuple[float, ...], tuple[float, ...], str]] = [
    ("the same", (0.90, 0.92, 0.91), (0.90, 0.92, 0.91), "passed"),
    ("a little worse", (0.90, 0.92, 0.91), (0.899, 0.921, 0.909), "passed"),
    ("a little better", (0.90, 0.92, 0.91), (0.901, 0.919, 0.911), "passed"),
    ("farther than seeds tell", (0.90, 0.92, 0.91), (0.92, 0.89, 0.90), "inconclusive"),
    ("worse under every seed", (0.90, 0.92, 0.91), (0.82, 0.84, 0.832), "failed"),
    ("better under every seed", (0.90, 0.92, 0.91), (0.98, 1.0, 0.992), "failed"),
    ("NaN under one seed", (0.90, 0.92, 0.91), (0.90, NAN, 0.91), "failed"),
    ("NaN under one seed then", (0.90, NAN, 0.91), (0.90, 0.92, 0.91), "invalid"),
]


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [row[1:] for row in WITHIN_OF_SEEDS],
    ids=[row[0] for row in WITHIN_OF_SEEDS],
)
def test_to_be_the_same_over_seeds_is_to_be_proven(
    then: tuple[float, ...], now: tuple[float, ...], expected: str
) -> None:
    result = verdict(mt.metric("m").within(B, 0.01), measured(*now), past(*then))
    assert result.outcome.value == expected, result.reason


@pytest.mark.parametrize(("now", "expected"), [(0.9, "inconclusive"), (0.7, "failed")])
def test_one_number_alone_never_proves_to_be_the_same(now: float, expected: str) -> None:
    result = verdict(mt.metric("m").within(B, 0.01), measured(now), past(0.9))
    assert result.outcome.value == expected
    assert "point estimate only: one refit, and no samples in common" in result.reason


def test_the_class_that_is_farthest_away_is_named_first() -> None:
    labels = np.arange(1000) % 2
    right = np.ones(1000, bool)
    # Class 0 is better by a tenth now, class 1 worse by a fiftieth.
    then, now = right & ~((labels == 0) & (np.arange(1000) < 100)), right.copy()
    now[(labels == 1) & (np.arange(1000) < 20)] = False
    both = [
        replace(samples_of(one), truth={"": labels}, classes={"": [0, 1]}) for one in (then, now)
    ]
    result = verdict(
        mt.metric("m").per_class().within(B, 0.01),
        measured(float(now.mean()), samples=both[1]),
        past(float(then.mean()), samples=both[0]),
    )
    assert result.outcome is Outcome.FAILED
    assert result.reason.startswith("class 0 (n=500): +0.1 against the accepted run 1a2b (0.9)")


EXACTLY_AS_GOOD: list[tuple[str, str]] = [
    (">=", "passed"),
    ("<=", "passed"),
    (">", "inconclusive"),  # better was demanded, and nothing was shown
    ("<", "inconclusive"),
]


@pytest.mark.parametrize(("comparison", "expected"), EXACTLY_AS_GOOD)
@pytest.mark.parametrize("evidence", ["samples", "seeds"])
def test_better_than_the_baseline_is_not_as_good_as_the_baseline(
    comparison: str, expected: str, evidence: str
) -> None:
    gate = Gate(mt.metric("m"), comparison, mt.baseline)
    right = np.arange(100) < 80
    result = (
        verdict(gate, measured(0.8, 0.7, 0.9), past(0.8, 0.7, 0.9))
        if evidence == "seeds"
        else verdict(
            gate, measured(0.8, samples=samples_of(right)), past(0.8, samples=samples_of(right))
        )
    )
    assert result.outcome.value == expected
    assert expected == "passed" or "cannot tell; it is exactly on the bound" in result.reason


MEDIANS: list[tuple[tuple[float, ...], float, str]] = [
    # the runs, this run, m >= their median
    ((0.8, 0.9, 0.7), 0.8, "passed"),
    ((0.8, 0.9, 0.7), 0.79, "failed"),
    ((0.8, 0.9), 0.86, "passed"),  # of an even number it lies between two
    ((0.8, 0.9), 0.85, "passed"),
    ((0.8, 0.9), 0.84, "failed"),
    ((0.1, 0.8, 0.9, 0.99), 0.86, "passed"),
    ((0.1, 0.8, 0.9, 0.99), 0.84, "failed"),
    ((0.8, NAN, 0.9), 0.85, "invalid"),  # a median of what is no number is none
]


@pytest.mark.parametrize(("runs", "value", "expected"), MEDIANS)
@pytest.mark.parametrize("refits", [1, 3])
def test_against_the_median_of_runs(
    runs: tuple[float, ...], value: float, expected: str, refits: int
) -> None:
    gate = mt.metric("m") >= mt.median(10)
    pasts = [past(*[value_then] * refits) for value_then in runs]
    (result,) = judge([gate], measured(*[value] * refits), "s", {"median(10)": pasts})
    assert result.outcome.value == expected, result.reason


# Statistics over refits

STATISTICS: list[tuple[Gate, tuple[float, ...], tuple[float, ...] | None, str]] = [
    # gate, this run's refits, the accepted run's (None: no gate on one)
    (mt.metric("m").worst >= 0.9, (0.95, 0.9), None, "passed"),
    (mt.metric("m").worst >= 0.9, (0.99, 0.89), None, "failed"),
    (mt.metric("m").worst <= 0.9, (0.1, 0.91), None, "failed"),
    (mt.metric("m").worst <= 0.9, (0.1, 0.9), None, "passed"),
    (mt.metric("m").worst > 0.9, (0.95, 0.9), None, "failed"),
    (mt.metric("m").worst >= 0.9, (0.95, NAN), None, "failed"),
    (mt.metric("m").worst <= 0.9, (0.1, -INF), None, "failed"),
    (mt.metric("m").worst >= 0.9, (), None, "error"),
    (mt.metric("m").worst >= mt.baseline, (0.9, 0.8), (0.95, 0.8), "passed"),
    (mt.metric("m").worst >= mt.baseline, (0.9, 0.79), (0.85, 0.8), "failed"),
    (mt.metric("m").worst <= mt.baseline, (0.9, 0.79), (0.85, 0.8), "failed"),
    (mt.metric("m").worst >= mt.baseline, (0.9, 0.8), (0.95, NAN), "invalid"),
    (mt.metric("m").worst >= mt.baseline, (0.9, 0.8), (), "no_baseline"),
    (mt.metric("m").worst >= mt.baseline * 0.9, (0.9, 0.8), (-1.0, -2.0), "passed"),
    (mt.metric("m").std <= 0.1, (0.9, 0.9), None, "passed"),
    (mt.metric("m").std <= 0.1, (0.9, 0.7), None, "failed"),  # 0.141, not the 0.1 of ddof 0
    (mt.metric("m").std <= 0.1, (0.9,), None, "error"),  # of one refit there is none, not 0.0
    (mt.metric("m").std <= 0.1, (0.9, NAN), None, "failed"),
    (mt.metric("m").std <= 0.1, (), None, "error"),
    (mt.metric("m").std <= mt.baseline, (0.9, 0.8), (0.5, 0.3), "passed"),
    (mt.metric("m").std <= mt.baseline, (0.9, 0.6), (0.5, 0.3), "failed"),
    (mt.metric("m").std <= mt.baseline, (0.9, 0.9), (0.5, 0.5), "passed"),
    (mt.metric("m").std <= mt.baseline, (0.9, 0.8), (0.5, 0.5), "failed"),
    (mt.metric("m").std <= mt.baseline * 1.5, (0.9, 0.8), (0.5, 0.5), "failed"),
    (mt.metric("m").std <= mt.baseline + 0.1, (0.9, 0.8), (0.5, 0.5), "passed"),
    (mt.metric("m").std <= mt.baseline, (0.9, 0.8), (0.5,), "invalid"),
    (mt.metric("m").std <= mt.baseline, (0.9,), (0.5, 0.3), "error"),
    (mt.gap("m") <= 0.1, (0.05,), None, "passed"),
    (mt.gap("m") <= 0.1, (0.1,), None, "passed"),
    (mt.gap("m") <= 0.1, (0.15,), None, "failed"),
    (mt.gap("m") <= 0.1, (-0.3,), None, "passed"),  # better on test than on train
    (mt.gap("m") >= -0.1, (-0.3,), None, "failed"),  # suspiciously so
    (mt.gap("m") <= 0.1, (NAN,), None, "failed"),
    (mt.gap("m") <= 0.1, (INF,), None, "failed"),
    (mt.gap("m") <= 0.1, (), None, "error"),
    (mt.gap("m").worst <= 0.1, (0.05, 0.15), None, "failed"),
    (mt.gap("m").std <= 0.1, (0.05,), None, "error"),
    (mt.gap("m") <= mt.baseline, (0.05,), (0.06,), "passed"),
    (mt.gap("m") <= mt.baseline, (0.07,), (0.06,), "failed"),
    (mt.gap("m") <= mt.baseline, (0.07,), (), "no_baseline"),
    (mt.gap("m") <= mt.baseline * 1.02, (-0.1,), (-0.1,), "passed"),
    (mt.gap("m") <= mt.baseline * 1.02, (-0.09,), (-0.1,), "failed"),
    (mt.gap("m") <= mt.baseline * 1.02, (0.0,), (0.0,), "passed"),
    (mt.gain_over_dummy("m") >= 0.1, (0.5,), None, "passed"),
    (mt.gain_over_dummy("m") >= 0.1, (0.0,), None, "failed"),
    (mt.gain_over_dummy("m") >= 0.1, (NAN,), None, "failed"),  # dummy and perfect score the same
    (mt.gain_over_dummy("m") >= 0.1, (), None, "error"),
    (mt.gain_over_dummy("m") >= mt.baseline, (0.5,), (0.6,), "failed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "now", "then", "expected"),
    [
        pytest.param(*row, id=f"{number} {row[0]} {row[1]} {row[2]}")
        for number, row in enumerate(STATISTICS)
    ],
)
def test_statistics_gaps_and_gains(
    gate: Gate, now: tuple[float, ...], then: tuple[float, ...] | None, expected: str
) -> None:
    key = gate.measure.key

    def scores(values: tuple[float, ...]) -> dict[str, Scores]:
        return {key: Scores(values)} if values else {"loss": Scores((0.1,))}

    reference = None if then is None else past(scores=scores(then))
    assert verdict(gate, Measurements(scores(now)), reference).outcome.value == expected


# Slices

LABELS = np.array([0] * 40 + [1] * 40 + [2] * 40)


def samples_of(
    right: Any, truth: Any = None, classes: Sequence[int] = (0,), **others: Any
) -> Samples:
    """Return samples of which one refit has these values of "m"."""
    values = np.asarray(right)[None]
    size = values.shape[1]
    truth = np.zeros(size, int) if truth is None else truth
    return Samples(
        size, 1, {"": truth}, {"": np.zeros((1, size), int)}, {"": classes}, {"m": values}, **others
    )


PER_CLASS = """
    classes 0, 1 and 2       | absolute      none          same          worse
    good    good    good     | passed        no_baseline   passed        inconclusive  # 4 lost: p = 1/16
    good    good    bad      | failed        no_baseline   passed        failed
    bad     bad     bad      | failed        no_baseline   passed        failed
    good    good    on       | passed        no_baseline   passed        failed  # 8 lost: p = 1/256
    good    good    few      | inconclusive  inconclusive  inconclusive  inconclusive
    good    bad     few      | failed        inconclusive  inconclusive  failed
    good    good    none     | failed        failed        failed        failed  # train has the class
    good    bad     none     | failed        failed        failed        failed
    good    few     none     | failed        failed        failed        failed
    good    good    nan      | failed        failed        failed        failed
    bad     good    nan      | failed        failed        failed        failed
"""
"""Classes of 40 samples right in 36 (good), 32 (on) or 8 (bad), few: 10, none: 0; m >= 0.8, or
m >= mt.baseline - 0.05 with nothing accepted, the same model, and one that was right in all."""


def of_classes(states: Sequence[str]) -> Samples:
    rights = {"good": 36, "on": 32, "bad": 8, "few": 10, "none": 0, "nan": 40}
    values, truth = [], []
    for label, state in enumerate(states):
        size = {"few": 10, "none": 0}.get(state, 40)
        one = (np.arange(size) < rights[state]).astype(float)
        values.append(one + (NAN if state == "nan" else 0))
        truth.append(np.full(size, label))
    joined = np.concatenate(values)
    joined = joined if np.isnan(joined).any() else joined.astype(bool)
    return samples_of(joined, np.concatenate(truth), (0, 1, 2))


@pytest.mark.parametrize(("one", "two", "three", "column", "expected"), params(PER_CLASS))
def test_of_classes_the_worst_counts(
    one: str, two: str, three: str, column: str, expected: Outcome
) -> None:
    samples = of_classes([one, two, three])
    measure = mt.metric("m").per_class()
    gate = measure >= 0.8 if column == "absolute" else measure >= mt.baseline - 0.05
    reference: Past | str | None = None
    if column == "none":
        reference = "nothing is accepted yet"
    elif column in ("same", "worse"):
        mine = samples.values["m"][0]
        values = np.ones(samples.size, bool) if column == "worse" else np.nan_to_num(mine)
        reference = past(0.9, samples=samples_of(values, samples.truth[""], (0, 1, 2)))
    result = verdict(gate, measured(0.9, samples=samples), reference)
    assert result.outcome is expected, result.reason


ON_A_SLICE = """
    the slice       | absolute      none          same          worse         newly
    good            | passed        no_baseline   passed        inconclusive  no_baseline
    bad             | failed        no_baseline   passed        failed        no_baseline
    on              | passed        no_baseline   passed        failed        no_baseline
    few             | inconclusive  inconclusive  inconclusive  inconclusive  inconclusive
    empty           | failed        failed        failed        failed        failed
    nan             | failed        failed        failed        failed        failed
    unknown         | error         error         error         error         error
    untold          | error         error         error         error         error
    missing         | error         error         error         error         error
"""
"""As above. newly: the accepted run knew no such slice. unknown: this run does not either; untold:
its samples were not kept; missing: the metric was not measured."""


@pytest.mark.parametrize(("state", "column", "expected"), params(ON_A_SLICE))
def test_on_a_slice(state: str, column: str, expected: Outcome) -> None:
    in_slice = {"empty": 0, "few": 10}.get(state, 40)
    right = {"good": 36, "on": 32, "bad": 8, "few": 10}.get(state, 40)
    values = np.concatenate([np.arange(in_slice) < right, np.arange(60) < 30])
    mask = np.arange(len(values)) < in_slice
    if state == "nan":
        values = np.where(mask, NAN, values)
    slices = {} if state == "unknown" else {"dark": mask}
    samples = None if state == "untold" else samples_of(values, slices=slices)
    measure = mt.metric("m").on("dark", lambda x: x > 0)
    gate = measure >= 0.8 if column == "absolute" else measure >= mt.baseline - 0.05
    reference: Past | str | None = None
    if column == "none":
        reference = "nothing is accepted yet"
    elif column != "absolute":
        before = np.ones(len(values), bool) if column == "worse" else np.nan_to_num(values)
        known = {} if column == "newly" else {"dark": mask}
        reference = past(0.9, samples=samples_of(before, slices=known))
    now = measured(samples=samples) if state == "missing" else measured(0.9, samples=samples)
    result = verdict(gate, now, reference)
    assert result.outcome is expected, result.reason


def test_a_slice_of_other_samples_than_then_is_not_comparable() -> None:
    """Under the same name, what was hard then would be held against what is easy now."""
    right = np.arange(100) < 50
    now = samples_of(right, slices={"dark": right})
    then = samples_of(right, slices={"dark": ~right})
    gate = mt.metric("m").on("dark", lambda x: x > 0) >= mt.baseline
    result = verdict(gate, measured(0.5, samples=now), past(0.5, samples=then))
    assert result.outcome is Outcome.INVALID
    assert result.reason.startswith('slice "dark": it has other samples than in the accepted run')


# A value with an interval: the latency ratio

INTERVALS: list[tuple[str, float, tuple[float, float, float], str]] = [
    # comparison, bound, (value, low, high)
    ("<=", 1.2, (1.0, 0.9, 1.1), "passed"),
    ("<=", 1.2, (1.0, 0.9, 1.2), "passed"),
    ("<=", 1.2, (1.0, 0.9, 1.3), "inconclusive"),
    ("<=", 1.2, (1.25, 1.1, 1.3), "inconclusive"),
    ("<=", 1.2, (1.5, 1.3, 1.6), "failed"),
    ("<", 1.2, (1.0, 0.9, 1.2), "inconclusive"),
    ("<", 1.2, (1.3, 1.2, 1.4), "failed"),
    (">=", 1.2, (1.5, 1.3, 1.6), "passed"),
    (">=", 1.2, (1.0, 0.9, 1.1), "failed"),
    (">", 1.2, (1.5, 1.2, 1.6), "inconclusive"),
    ("<=", 1.2, (NAN, 0.9, 1.1), "failed"),
    ("<=", 1.2, (INF, 0.9, 1.1), "failed"),
    ("<=", 1.2, (1.0, NAN, NAN), "failed"),
    ("<=", 1.2, (1.0, 0.9, INF), "inconclusive"),
    (">=", 1.2, (1.5, -INF, 1.6), "inconclusive"),
    ("<=", 1.2, (1.0, -INF, INF), "inconclusive"),
]


@pytest.mark.parametrize(("comparison", "bound", "interval", "expected"), INTERVALS)
def test_a_value_with_an_interval(
    comparison: str, bound: float, interval: tuple[float, float, float], expected: str
) -> None:
    name = "latency_ratio"
    now = Measurements({name: Scores(interval[:1])}, intervals={name: interval})
    assert verdict(Gate(mt.metric(name), comparison, bound), now).outcome.value == expected


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize("outcome", [Outcome.NO_BASELINE, Outcome.INVALID])
def test_a_value_that_could_not_be_measured_says_why(outcome: Outcome, severity: str) -> None:
    why = {"latency_ratio": (outcome, "the accepted model is gone")}
    gate = mt.metric("latency_ratio", severity=severity) <= 1.2
    result = verdict(gate, Measurements({}, unmeasured=why))
    assert (result.outcome, result.reason) == (outcome, "the accepted model is gone")


# Behaviours

FLIPPED = Counterexample("test[17] flipped: 7 -> 1")
FOR_ALL: list[tuple[Probe | None, str]] = [
    (Probe(200, 0), "passed"),
    (Probe(1, 0, is_exhaustive=True), "passed"),
    (Probe(200, 1, counterexample=FLIPPED), "failed"),
    (Probe(32, 32, counterexample=FLIPPED), "failed"),
    (Probe(0, 0), "error"),  # nothing was tried
    (Probe(200, 0, error="the transform raised"), "error"),
    (Probe(error="NaN was predicted"), "error"),
    (None, "error"),  # it was not probed
]
RATE: list[tuple[Probe | None, str]] = [
    # at most 5 %, by Wilson's 95 % bounds
    (Probe(400, 0), "passed"),
    (Probe(400, 10), "passed"),
    (Probe(400, 20), "inconclusive"),  # on the bound
    (Probe(400, 25), "inconclusive"),
    (Probe(400, 60, counterexample=FLIPPED), "failed"),
    (Probe(10, 0), "inconclusive"),  # too few to prove anything
    (Probe(0, 0), "error"),
    (Probe(400, 0, error="the transform raised"), "error"),
    (None, "error"),
]


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize(
    ("limit", "probed", "expected"),
    [*((None, *row) for row in FOR_ALL), *((0.05, *row) for row in RATE)],
)
def test_behaviours(
    limit: float | None, probed: Probe | None, expected: str, severity: str
) -> None:
    gate = mt.invariant(np.fliplr, max_violation=limit, on_violation=severity)
    now = Measurements({}, probes=None if probed is None else {gate.demand: probed})
    outcome = "warned" if (expected, severity) == ("failed", "warn") else expected
    assert verdict(gate, now).outcome.value == outcome


# Severity, waivers and strictness: of one gate in every state

GATE_STATES: dict[str, tuple[Any, Measurements, Past | str | None]] = {
    "passed": (0.9, measured(0.95), None),
    "failed": (0.9, measured(0.85), None),
    "not-finite": (0.9, measured(NAN), None),
    "missing": (0.9, measured(), None),
    "invalid": (mt.baseline, measured(0.9), PASTS["other-data"]),
    "no_baseline": (mt.baseline, measured(0.9), PASTS["absent"]),
    "inconclusive": (mt.baseline, measured(0.8, 0.9, 0.7), past(0.9, 0.8, 0.9)),
    "regressed": (mt.baseline, measured(0.8, 0.8, 0.8), past(0.9, 0.9, 0.9)),
}

ALLOWANCES = """
    state         | as-is         warn          waived        warn-waived   waiver-over
    passed        | passed        passed        failed        failed        failed  # remove the waiver
    failed        | failed        warned        waived        waived        failed
    regressed     | failed        warned        waived        waived        failed
    not-finite    | failed        failed        failed        failed        failed  # nothing allows NaN
    missing       | error         error         error         error         error
    invalid       | invalid       invalid       invalid       invalid       invalid
    no_baseline   | no_baseline   no_baseline   no_baseline   no_baseline   failed
    inconclusive  | inconclusive  inconclusive  inconclusive  inconclusive  failed
"""


@pytest.mark.parametrize("last_day", ["2026-12-01", "2027-01-31"])
@pytest.mark.parametrize("is_on_the_measure", [False, True])
@pytest.mark.parametrize(("state", "column", "expected"), params(ALLOWANCES))
def test_what_a_severity_or_a_waiver_allows(
    state: str, column: str, expected: Outcome, is_on_the_measure: bool, last_day: str
) -> None:
    bound, now, reference = GATE_STATES[state]
    measure = mt.metric("m", severity="warn" if "warn" in column else "fail")
    until = "2026-11-30" if column == "waiver-over" else last_day
    gate = measure >= bound
    if "waive" in column and is_on_the_measure:
        gate = measure.waive(until=until, reason="data are being relabelled") >= bound
    elif "waive" in column:
        gate = gate.waive(until=until, reason="data are being relabelled")
    result = verdict(gate, now, reference)
    assert result.outcome is expected
    if "waive" in column and result.outcome is Outcome.WAIVED:
        assert "data are being relabelled" in result.reason


WAIVED_BEHAVIOURS = """
    found         | waived        waiver-over
    held          | failed        failed
    violated      | waived        failed
    open          | inconclusive  failed
    broken        | error         error
    untried       | error         error
"""


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize(("state", "column", "expected"), params(WAIVED_BEHAVIOURS))
def test_what_a_waiver_allows_a_behaviour(
    state: str, column: str, expected: Outcome, severity: str
) -> None:
    probed = {
        "held": Probe(400, 0),
        "violated": Probe(400, 60, counterexample=FLIPPED),
        "open": Probe(400, 20),
        "broken": Probe(error="the transform raised"),
        "untried": Probe(),
    }[state]
    gate = mt.invariant(np.fliplr, max_violation=0.05, on_violation=severity)
    until = "2026-11-30" if column == "waiver-over" else "2026-12-01"
    now = Measurements({}, probes={gate.demand: probed})
    waived = gate.waive(until=until, reason="known")
    assert verdict(waived, now).outcome is expected


RUNS = """
    the verdict   | lenient  strict  first-allowed
    passed        | passed   passed  passed
    warned        | passed   passed  passed
    waived        | passed   passed  passed
    failed        | failed   failed  failed
    no_baseline   | passed   failed  passed
    inconclusive  | passed   failed  failed
    invalid       | failed   failed  failed
    error         | failed   failed  failed
"""
STRICTNESS = {
    "lenient": Strictness(),
    "strict": Strictness(True),
    "first-allowed": Strictness(True, is_first_allowed=True),
}


@pytest.mark.parametrize(("name", "column", "expected"), params(RUNS))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_one_verdict_makes_of_a_run(
    name: str, column: str, expected: Outcome, place: int
) -> None:
    verdicts = [Verdict("g", Outcome.PASSED, 1.0, 1.0, "")] * 2
    verdicts.insert(place, Verdict("h", Outcome(name), 1.0, 1.0, ""))
    status = status_of(verdicts, STRICTNESS[column])
    assert status is (RunStatus.PASSED if expected is Outcome.PASSED else RunStatus.FAILED)


def test_no_outcome_is_missing_from_the_table_of_runs() -> None:
    assert {names[0] for names, _, _ in cells(RUNS)} == {outcome.value for outcome in Outcome}
