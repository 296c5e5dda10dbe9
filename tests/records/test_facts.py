"""A verdict's facts say what its gate demands, and whoever reads them needs no text of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.records.facts import (
    BehaviourFacts,
    Facts,
    MetricFacts,
    Quantity,
    ReferenceFacts,
    SliceRule,
    facts_of,
)
from modeltune.records.old_forms import old_verdict
from modeltune.records.plain_data import from_plain, plain
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.behaviours import Behaviour, Kind
from modeltune.specs.gates import (
    Between,
    Gate,
    Measure,
    Operator,
    Severity,
    Source,
    Statistic,
    Waiver,
)

accuracy = mt.metric("accuracy")


def flip(x: Any) -> Any:
    return x


def holds(predict: Any, x: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("gate", "facts"),
    [
        (
            accuracy >= 0.95,
            MetricFacts(Quantity.METRIC, "accuracy", Operator.AT_LEAST, 0.95),
        ),
        (
            mt.metric("parameters") <= 50_000,
            MetricFacts(Quantity.RESOURCE, "parameters", Operator.AT_MOST, 50_000),
        ),
        (
            mt.gap("loss", severity="warn").worst < 0.1,
            MetricFacts(
                Quantity.GAP, "loss", Operator.BELOW, 0.1,
                statistic=Statistic.WORST, severity=Severity.WARN,
            ),
        ),
        (
            mt.gain_over_dummy("accuracy") > -1,
            MetricFacts(Quantity.GAIN_OVER_DUMMY, "accuracy", Operator.ABOVE, -1),
        ),
        (
            accuracy >= mt.baseline * 0.98 - 0.01,
            MetricFacts(
                Quantity.METRIC, "accuracy", Operator.AT_LEAST,
                reference=ReferenceFacts(Source.BASELINE, None, 0.98, -0.01),
            ),
        ),
        (
            (accuracy.per_class(min_n=40) >= 1 + mt.median(10)).waive(until="2027-01-31", reason="r"),
            MetricFacts(
                Quantity.METRIC, "accuracy", Operator.AT_LEAST,
                reference=ReferenceFacts(Source.MEDIAN, 10, 1.0, 1),
                slices=SliceRule(None, 40), waiver=Waiver("2027-01-31", "r"),
            ),
        ),
        (
            accuracy.on("dark", lambda x, y: x > 0).std <= (mt.previous + 1) * 2,
            MetricFacts(
                Quantity.METRIC, "accuracy", Operator.AT_MOST,
                reference=ReferenceFacts(Source.PREVIOUS, None, None, None),
                slices=SliceRule("dark", 30), statistic=Statistic.STD,
            ),
        ),
        (
            accuracy.by("region", min_n=9) >= 0.5,
            MetricFacts(
                Quantity.METRIC, "accuracy", Operator.AT_LEAST, 0.5,
                slices=SliceRule("region", 9, is_grouped=True),
            ),
        ),
        (
            accuracy.by("region").ratio >= 0.8,
            MetricFacts(
                Quantity.METRIC, "accuracy", Operator.AT_LEAST, 0.8,
                slices=SliceRule("region", 30, is_grouped=True, between=Between.RATIO),
            ),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_the_facts_are_what_was_declared(gate: Gate, facts: MetricFacts) -> None:
    assert facts_of(gate) == facts
    assert facts.key == gate.measure.key


def test_the_output_of_a_metric_is_the_one_its_name_begins_with() -> None:
    gate = mt.metric("digit_ink_mae") <= 1
    names = {(): None, ("digit", "digit_ink"): "digit_ink", ("dig",): None, ("digit",): "digit"}
    for outputs, output in names.items():
        facts = facts_of(gate, outputs)
        assert isinstance(facts, MetricFacts)
        assert facts.output == output


def test_the_facts_of_a_behaviour() -> None:
    gate = mt.invariant(flip, max_violation=0.05, output="digit", on_violation="warn")
    waiver = Waiver("2027-01-31", "r")
    assert facts_of(gate.waive(until="2027-01-31", reason="r")) == BehaviourFacts(
        Kind.INVARIANT, gate.key, gate.demand, "digit", 0.05, Severity.WARN, waiver
    )


# Every gate there can be

bounds = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-9, 9),
    st.builds(
        lambda source, factor, offset: source * factor + offset,
        st.sampled_from([mt.baseline, mt.previous, mt.median(3)]),
        st.floats(-2, 2),
        st.floats(-2, 2),
    ),
    st.sampled_from(
        [
            mt.baseline,
            0.5 * mt.median(2),
            mt.previous - 1,
            (mt.baseline - 1) * 2,
            1 + mt.baseline * 2,
        ]
    ),
)
texts = st.text() | st.sampled_from(['"', "\\", ') >= 2 or mt.metric("b"', "{1}", "\\d"])
refined = st.sampled_from(
    [
        lambda measure: measure,
        lambda measure: measure.per_class(),
        lambda measure: measure.worst.per_class(min_n=3),
        lambda measure: measure.on("a, 'b')", flip, min_n=4),
        lambda measure: measure.on("dark", lambda x: x).worst,
        lambda measure: measure.std,
        lambda measure: measure.waive(until="2027-01-31", reason='"odd" (all) >= 2'),
    ]
)


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    subject = draw(st.sampled_from([mt.metric, mt.gap, mt.gain_over_dummy]))
    # "output/metric" names the metric of an output; records of schema 1 are older than that.
    name = draw(texts.filter(lambda text: "/" not in text))
    measure: Measure = subject(name, severity=draw(st.sampled_from(["warn", "fail"])))
    measure = draw(refined)(measure)
    gate = Gate(measure, draw(st.sampled_from([">=", "<=", ">", "<"])), draw(bounds))
    waived: Gate = gate.waive(until="2027-01-31", reason=draw(texts))
    return draw(st.sampled_from([gate, waived]))


def old(gate: Gate | Behaviour, **details: object) -> Verdict:
    """Return the verdict that a record of schema 1 has of the gate."""
    return old_verdict(repr(gate), Outcome.FAILED, 0.5, 0.6, "below", details)


@given(gates())
def test_law_the_text_of_an_old_gate_tells_the_same_facts(gate: Gate) -> None:
    assert repr(old(gate).facts) == repr(facts_of(gate))


@given(gates())
def test_law_facts_survive_json(gate: Gate) -> None:
    facts = facts_of(gate)
    again = from_plain(Verdict, {**plain(old(gate)), "facts": plain(facts)}).facts
    assert repr(again) == repr(facts)


@pytest.mark.parametrize(
    "gate",
    [
        mt.invariant(flip, severity=(0, 2)),
        mt.invariant(flip, severity="warn", output="digit"),
        mt.directional(2, "up", by=1.5, max_violation=0.1).waive(until="2027-01-31", reason="r"),
        mt.minimum_functionality([(1, 2), (3, 4)], on_violation="warn"),
        mt.minimum_functionality([(1, 2)]),
        mt.metamorphic(holds, examples=7),
    ],
    ids=repr,
)
def test_the_text_of_an_old_behaviour_and_its_details_tell_the_same_facts(gate: Behaviour) -> None:
    assert old(gate, key=gate.key, demand=gate.demand).facts == facts_of(gate)


@pytest.mark.parametrize(
    "text",
    [
        "", "g", "1 >= 2", "mt.metric() >= 1", "mt.metric(a) >= 1", "metric('a') >= 1",
        "mt.metric('a')", "mt.metric('a') == 1", "0 <= mt.metric('a') <= 1", "mt.auc('a') >= 1",
        "mt.metric('a').best >= 1", "mt.metric('a') >= 'b'", "mt.metric('a') >= mt.worst",
        "mt.metric('a') >= mt.median(n)", "mt.metric('a').on(name) >= 1", "mt.run('a')",
        "mt.metric('a', severity='no') >= 1", "mt.metric('a').waive(until=1) >= 1",
        "mt.metric('a') >= mt.baseline / 2 if a else 3", "mt.metric('a') >= " + "-" * 9_000 + "1",
        "(" * 300 + "1", "mt.metric('a') >= 1" + " " * 10_001, "\0", "\ud800", "mt[0].a() >= 1",
        "a.b.waive(until='2027-01-31', reason='r')", "mt.invariant(flip, severity='no')",
    ],
)  # fmt: skip
def test_a_text_that_is_no_gate_has_no_facts_and_its_verdict_is_kept(text: str) -> None:
    verdict = old_verdict(text, Outcome.FAILED, 0.5, 0.6, "below", {})
    assert verdict == Verdict(text, Outcome.FAILED, 0.5, 0.6, "below")


def test_every_kind_of_facts_is_told_apart_by_json() -> None:
    for facts in (facts_of(accuracy >= 1), facts_of(mt.invariant(flip))):
        data = plain(facts)
        again: Facts | None = from_plain(
            Verdict, {**plain(old(accuracy >= 1)), "facts": data}
        ).facts
        assert again == facts
