"""Before training it is said which drop a gate finds, by the rule that will judge it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import modeltune as mt
from modeltune.judgement import gate_power
from modeltune.judgement.gate_power import (
    GatePower,
    Noise,
    PastRun,
    check_power,
    mcnemar_drop,
    power_of_gates,
)
from modeltune.judgement.significance import McNemar, decide, p_violated
from modeltune.records import Outcome
from modeltune.records.runs import Scores
from modeltune.records.samples import Samples
from modeltune.records.scored_rows import ScoredRows
from modeltune.records.verdicts import Unit

ALONE = [(0, None)]
GATE: Any = mt.metric("accuracy") >= mt.baseline - 0.01


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, draws in (("DRAWS", 100), ("SEARCH_DRAWS", 40), ("DRAWS_TRIED", 20)):
        monkeypatch.setattr(gate_power, name, draws)


def power(gate: Any, rows: ScoredRows, refits: Any = ALONE, **known: Any) -> GatePower:
    (found,) = power_of_gates([gate], rows, refits, **known)
    return found


def test_the_drop_that_is_said_is_found_in_four_of_five_draws_by_the_rule_itself() -> None:
    said = power(
        mt.metric("accuracy") >= mt.baseline - 0.02, ScoredRows(1000), noise=Noise(0.06, 0.0, 0.0)
    )
    assert said.drop is not None
    random = np.random.default_rng(0)
    failed = 0
    for _ in range(2000):
        shares = [(0.06 + said.drop) / 2, (0.06 - said.drop) / 2]
        lost, won, _ = random.multinomial(1000, [*shares, 1 - sum(shares)])
        test = McNemar(int(lost), int(won), 1000)
        failed += decide(test, 0.02, p_violated(test, 0.02)) is Outcome.FAILED
    assert 0.78 < failed / 2000 < 0.82


def test_without_a_margin_it_is_the_power_of_mcnemars_exact_test() -> None:
    drop = mcnemar_drop(500, 0.1, 0.05)
    assert drop is not None
    lost = (0.1 + drop) / 2
    counts = np.arange(501)
    critical = stats.binom.isf(0.05, counts, 0.5) + 1
    found = stats.binom.sf(critical - 1, counts, lost / 0.1)
    assert float(stats.binom.pmf(counts, 500, 0.1) @ found) == pytest.approx(0.8, abs=1e-3)
    assert mcnemar_drop(3, 0.1, 0.05) is None  # three samples never prove anything


def test_groups_that_are_alike_find_less_than_as_many_samples() -> None:
    groups = ScoredRows(600, np.arange(600) // 10)
    noise = Noise(0.1, 0.7, 0.0)
    single, grouped = power(GATE, ScoredRows(600), noise=noise), power(GATE, groups, noise=noise)
    assert single.drop is not None
    assert grouped.drop is not None
    assert grouped.drop > 1.5 * single.drop
    assert (grouped.n, grouped.unit) == (60, Unit.GROUPS)
    few = power(GATE, ScoredRows(600, np.arange(600) // 60))
    assert (few.drop, few.is_blind) == (None, True)
    assert "20 groups" in few.remedy


def test_a_margin_within_the_noise_is_warned_of_with_what_would_do() -> None:
    blind = power(GATE, ScoredRows(300))
    (warning,) = check_power([blind])
    assert warning.outcome is Outcome.WARNED
    assert "allows 0.01: about " in warning.reason
    assert "test samples" in blind.remedy
    needed = int(blind.remedy.split()[1])
    assert not power(GATE, ScoredRows(needed + needed // 20)).is_blind
    assert check_power([power(mt.metric("accuracy") >= mt.baseline - 0.1, ScoredRows(300))]) == ()
    # A gate that allows no drop has no margin that could be too small.
    assert not power(mt.metric("accuracy") >= mt.baseline, ScoredRows(300)).is_blind


def test_more_seeds_find_more_and_are_proposed() -> None:
    noise = Noise(0.02, 0.0, 0.006)
    three = power(GATE, ScoredRows(1000), [(k, None) for k in range(3)], noise=noise)
    ten = power(GATE, ScoredRows(1000), [(k, None) for k in range(10)], noise=noise)
    assert three.by_chance is not None
    assert ten.by_chance is not None
    assert three.by_chance > 1.5 * ten.by_chance
    assert three.remedy.endswith("seeds")


def test_noise_is_taken_from_a_recorded_run() -> None:
    random = np.random.default_rng(0)
    values = random.random((2, 400)) < 0.8
    samples = Samples(400, 2, {"": np.zeros(400, int)}, values={"accuracy": values})
    past = PastRun("run 1a2b", {"accuracy": Scores((0.8, 0.8))}, samples)
    known = power(GATE, ScoredRows(400), past=[past])
    assert "from run 1a2b" in known.basis
    differ = 100 * float(np.mean(values[0] != values[1]))
    assert f"{differ:.3g} %" in known.basis
    assumed = power(GATE, ScoredRows(400))
    assert "assumed" in assumed.basis
    # A run that was repeated is the same model twice.
    same = Samples(400, 2, {"": np.zeros(400, int)}, values={"accuracy": values[[0, 0]]})
    twice = PastRun("run 1a2b", {"accuracy": Scores((0.8, 0.8))}, same)
    assert power(GATE, ScoredRows(400), past=[twice]).basis == assumed.basis
    assert known.drop is not None
    assert assumed.drop is not None
    assert known.drop > assumed.drop


def test_a_run_that_came_to_be_worse_tells_nothing_of_noise() -> None:
    accepted = np.arange(400) % 5 > 0
    as_good, worse = accepted.copy(), accepted.copy()
    as_good[:40] ^= True  # 32 lost and 8 won; and 24 more won
    as_good[100:140:5] ^= True
    as_good[200:280:5] ^= True
    worse[:100] = False
    known, assumed = (
        power(GATE, ScoredRows(400), past=[run_of("run 1a2b", one), run_of("run 3c4d", accepted)])
        for one in (as_good, worse)
    )
    assert "from run 1a2b and run 3c4d: two equal models differ on 16 %" in known.basis
    assert assumed.basis == power(GATE, ScoredRows(400)).basis


def run_of(label: str, values: Any) -> PastRun:
    samples = Samples(400, 1, {"": np.zeros(400, int)}, values={"accuracy": values[None]})
    return PastRun(label, {"accuracy": Scores((float(values.mean()),))}, samples)


def test_of_slices_it_is_the_smallest_and_all_share_the_alpha() -> None:
    labels = np.repeat([0, 1], [900, 100])
    per_class = mt.metric("accuracy").per_class(min_n=30) >= mt.baseline - 0.05
    of_classes = power(per_class, ScoredRows(1000, labels=labels))
    assert (of_classes.where, of_classes.n) == ("class 1", 100)
    alone = power(GATE, ScoredRows(1000))
    beside, _ = power_of_gates(
        [GATE, mt.metric("accuracy") >= mt.previous - 0.02], ScoredRows(1000), ALONE
    )
    assert alone.drop is not None
    assert beside.drop is not None
    assert beside.drop > alone.drop


@pytest.mark.parametrize(("gate", "rows", "why"), [
    (mt.metric("loss") <= mt.baseline + 0.1, ScoredRows(100), "loss is no share of right samples"),
    (GATE, ScoredRows(0), "stream, whose size is known once it is read"),
    (mt.metric("accuracy").on("vip", lambda x: x) >= mt.baseline, ScoredRows(9), "no slice with enough"),
])  # fmt: skip
def test_what_nothing_can_be_said_of_says_why(gate: Any, rows: ScoredRows, why: str) -> None:
    unknown = power(gate, rows)
    assert not unknown.is_told
    assert why in str(unknown)
    assert not unknown.is_blind


def test_gates_on_numbers_have_no_power() -> None:
    assert power_of_gates([mt.metric("accuracy") >= 0.9], ScoredRows(100), ALONE) == ()
