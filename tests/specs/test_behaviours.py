"""Behaviours print as typed, refuse what cannot be probed, and are judged by what was tried."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune.specs.behaviours as mt
from modeltune.judgement.behaviour_verdicts import CONFIDENCE, examples_to_settle, judge_behaviour
from modeltune.judgement.significance import wilson
from modeltune.records.probes import Counterexample, Probe
from modeltune.records.verdicts import BehaviourResult, Outcome
from modeltune.specs.behaviours import Behaviour, Z
from modeltune.specs.gates import Severity


def rotate(x: Any, severity: float) -> Any:
    return x


def symmetric(predict: Any, x: Any) -> bool:
    return True


def cases() -> Any:
    return [], []


@pytest.mark.parametrize(
    "typed",
    [
        "mt.invariant(rotate)",
        "mt.invariant(rotate, severity=(0, 15), tolerance=0.5)",
        'mt.invariant(rotate, severity="warn", max_violation=0.01)',
        'mt.invariant(rotate, severity=(0.0, 0.5), examples=50, on_violation="warn")',
        'mt.directional(2, "up", by=1.5)',
        'mt.directional("age", "down", by=3, of=1, output="risk")',
        'mt.directional(rotate, "up", by=1, severity="warn")',
        "mt.minimum_functionality(cases, max_violation=0.1)",
        "mt.metamorphic(symmetric, examples=20)",
    ],
)
def test_a_behaviour_prints_as_typed(typed: str) -> None:
    behaviour = eval(typed)
    assert repr(behaviour) == typed
    assert list(behaviour.problems()) == []


def test_cases_print_as_their_number() -> None:
    behaviour = mt.minimum_functionality([([1.0] * 500, 1), ([2.0] * 500, 0)])
    assert repr(behaviour) == "mt.minimum_functionality([2 cases])"
    assert list(behaviour.problems()) == []


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (mt.invariant(rotate), "invariant(rotate)"),
        (mt.directional(2, "up", by=1), "directional(column 2, up)"),
        (mt.directional("age", "down", by=1), "directional(age, down)"),
        (mt.minimum_functionality([(0, 1)]), "minimum_functionality(1 case)"),
        (mt.metamorphic(symmetric), "metamorphic(symmetric)"),
    ],
)
def test_the_short_form_names_the_subject(behaviour: Behaviour, text: str) -> None:
    assert str(behaviour) == text


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (mt.invariant(3), "3 is no transform; write a function (x, severity) -> x"),  # type: ignore[arg-type]
        (mt.invariant(rotate, severity=(1, 0)), "the range is empty; write the lower end first"),
        (mt.invariant(rotate, severity=5), "write a range of numbers (low, high)"),  # type: ignore[arg-type]
        (mt.invariant(rotate, severity=(0, float("nan"))), "write a range of numbers (low, high)"),
        (mt.invariant(rotate, severity="loud"), 'write "fail" or "warn", or a range (low, high)'),
        (mt.invariant(rotate, on_violation="x"), 'on_violation is "x"; write "fail" or "warn"'),
        (mt.invariant(rotate, severity="fail", on_violation="warn"), "write one of them"),
        (mt.invariant(rotate, tolerance=-1), "tolerance=-1: write a number, 0 or more"),
        (mt.invariant(rotate, max_violation=0), "write a share above 0 and below 1"),
        (mt.invariant(rotate, max_violation=1), "write a share above 0 and below 1"),
        (mt.invariant(rotate, examples=0), "examples=0: write 1 or more"),
        (mt.invariant(rotate, output=1), "write the name of one of the model's outputs"),  # type: ignore[arg-type]
        (mt.directional(True, "up", by=1), "write a column's number, an input's name or"),
        (mt.directional(0, "left", by=1), 'the direction is "left"; write "up" or "down"'),
        (mt.directional(0, "up", by=0), "write the largest amount to add, a number above 0"),
        (mt.directional(0, "up", by=1, of=-1), "write the number of a class"),
        (mt.minimum_functionality([]), "the cases are missing; write a list of (x, expected)"),
        (mt.minimum_functionality([1]), "a case is a pair (x, expected)"),  # type: ignore[list-item]
        (mt.minimum_functionality(7), "the cases are missing"),  # type: ignore[arg-type]
        (mt.metamorphic(None), "None is no relation; write a function (predict, x) -> bool"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_declaration_says_what_to_write(behaviour: Behaviour, message: str) -> None:
    ((where, text),) = behaviour.problems()
    assert where == ""
    assert text.startswith(f"{behaviour!r}: ")
    assert message in text
    assert str(behaviour)


def test_a_behaviour_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="judged after training"):
        bool(mt.invariant(rotate))


def test_severity_is_a_range_or_what_a_violation_does() -> None:
    assert mt.invariant(rotate).span == (0.0, 1.0)
    assert mt.invariant(rotate, severity=(0, 15)).span == (0, 15)
    assert mt.invariant(rotate, severity=(0, 15)).severity is Severity.FAIL
    assert mt.invariant(rotate, severity="warn").severity is Severity.WARN
    assert mt.invariant(rotate, severity="warn").span == (0.0, 1.0)
    both = mt.invariant(rotate, severity=(0, 15), on_violation=Severity.WARN)
    assert both.severity is Severity.WARN
    assert repr(both) == 'mt.invariant(rotate, severity=(0, 15), on_violation="warn")'


def test_the_key_outlives_bounds_and_tells_functions_apart() -> None:
    key = mt.invariant(rotate).key
    assert key == mt.invariant(rotate, severity=(0, 3), max_violation=0.1, examples=5).key
    assert key != mt.invariant(symmetric).key
    assert mt.invariant(lambda x: x + 1).key != mt.invariant(lambda x: x + 2).key
    assert mt.invariant(lambda x: x + 1).key == mt.invariant(lambda x: x + 1).key
    assert mt.invariant(partial(rotate, severity=3)).key == (
        "invariant(functools.partial(rotate, severity=3))"
    )
    assert mt.directional(2, "up", by=1).key != mt.directional(2, "down", by=1).key


def test_a_rate_draws_enough_to_be_proven() -> None:
    assert mt.invariant(rotate).sample_size == 200
    assert mt.invariant(rotate, max_violation=0.1).sample_size == 200
    size = mt.invariant(rotate, max_violation=0.01).sample_size
    assert wilson(1, size, CONFIDENCE)[1] <= 0.01 < wilson(0, 267, CONFIDENCE)[1]
    assert mt.invariant(rotate, max_violation=1e-9).sample_size == 10_000
    assert mt.invariant(rotate, max_violation=1e-9, examples=7).sample_size == 7


def counterexample(known: bool = False) -> Counterexample:
    return Counterexample("test[17] rotate severity 3.5: 7 (0.91) -> 1 (0.38)", known=known)


FOR_ALL = mt.invariant(rotate)
RATE = mt.invariant(rotate, max_violation=0.1)


@pytest.mark.parametrize(
    ("behaviour", "probed", "outcome", "measured", "reason"),
    [
        (FOR_ALL, Probe(200), Outcome.PASSED, 0.0, "held in all 200 examples"),
        (FOR_ALL, Probe(1), Outcome.PASSED, 0.0, "held in all 1 example"),
        (
            FOR_ALL,
            Probe(80, is_exhaustive=True),
            Outcome.PASSED,
            0.0,
            "held in all there are 80 examples",
        ),
        (
            FOR_ALL,
            Probe(32, 2, counterexample=counterexample()),
            Outcome.FAILED,
            2.0,
            counterexample().text,
        ),
        (
            FOR_ALL,
            Probe(1, 1, counterexample=counterexample(known=True)),
            Outcome.FAILED,
            1.0,
            f"{counterexample().text}, known from an earlier run",
        ),
        (
            mt.invariant(rotate, severity="warn"),
            Probe(32, 2, counterexample=counterexample()),
            Outcome.WARNED,
            2.0,
            counterexample().text,
        ),
        (FOR_ALL, Probe(error="rotate raised"), Outcome.ERROR, None, "rotate raised"),
        (
            mt.invariant(rotate, severity="warn"),
            Probe(error="rotate raised"),
            Outcome.ERROR,
            None,
            "rotate raised",
        ),
        (FOR_ALL, Probe(), Outcome.ERROR, None, "nothing was tried"),
        (
            RATE,
            Probe(200, 10),
            Outcome.PASSED,
            0.05,
            "10 of 200 examples violate it, one-sided 95% bounds 3.01% and 8.19%; 10% may violate it",
        ),
        (
            RATE,
            Probe(200, 40, counterexample=counterexample()),
            Outcome.FAILED,
            0.2,
            "40 of 200 examples violate it, one-sided 95% bounds 15.8% and 25%; 10% may violate it; "
            + counterexample().text,
        ),
        (
            RATE,
            Probe(200, 16),
            Outcome.INCONCLUSIVE,
            0.08,
            "16 of 200 examples violate it, one-sided 95% bounds 5.38% and 11.7%; 10% may violate it; "
            "some 610 examples would settle it if the share stays",
        ),
        (
            RATE,
            Probe(200, 20),
            Outcome.INCONCLUSIVE,
            0.1,
            "20 of 200 examples violate it, one-sided 95% bounds 7.03% and 14%; 10% may violate it; "
            "the share is on the limit, no number of examples would settle it",
        ),
    ],
)
def test_the_verdict_follows_from_what_was_tried(
    behaviour: Behaviour, probed: Probe, outcome: Outcome, measured: float | None, reason: str
) -> None:
    judged = judge_behaviour(behaviour, probed)
    assert (judged.outcome, judged.measured, judged.reason) == (outcome, measured, reason)
    assert judged.gate == repr(behaviour)
    assert judged.bound == (0.1 if behaviour is RATE else 0.0)
    assert isinstance(judged.details, BehaviourResult)
    assert judged.details.probe == probed


@given(st.integers(1, 5000), st.data())
def test_more_violations_never_turn_a_failure_into_a_pass(examples: int, data: Any) -> None:
    few = data.draw(st.integers(0, examples))
    many = data.draw(st.integers(few, examples))
    order = [Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.FAILED]
    one, other = (judge_behaviour(RATE, Probe(examples, count)).outcome for count in (few, many))
    assert order.index(one) <= order.index(other)


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_the_examples_that_settle_it_do(share: float, limit: float) -> None:
    enough = examples_to_settle(share, limit)
    if enough is None:
        assert abs(share - limit) < 1e-3
        return
    examples = max(enough, 1)
    middle = (share + Z * Z / (2 * examples)) / (1 + Z * Z / examples)
    reach = math.sqrt(share * (1 - share) / examples + (Z / (2 * examples)) ** 2)
    width = Z * reach / (1 + Z * Z / examples)
    assert middle + width <= limit + 1e-9 or middle - width >= limit - 1e-9


def test_declaring_a_behaviour_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, modeltune.specs.behaviours; "
            "print({'numpy', 'keras', 'tensorflow', 'hypothesis'} & {*sys.modules})",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "set()", done.stderr
