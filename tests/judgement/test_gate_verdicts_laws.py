"""Laws of judgement that hold for every gate, evidence and past, and not only for those we thought of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import modeltune as mt
from modeltune.judgement.bounds import FLOAT32_EPSILON
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.measurements import Measurements
from modeltune.judgement.run_status import status_of
from modeltune.records.past import Past, References
from modeltune.records.probes import Probe
from modeltune.records.runs import RunStatus, Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, SliceResults, Verdict
from modeltune.specs.behaviours import Behaviour
from modeltune.specs.gates import Gate, Measure, Reference, Subject

NAN = math.nan
TODAY = date(2026, 12, 1)
GOODNESS = [Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED]
RED_FOR_GOOD = (Outcome.ERROR, Outcome.INVALID)
"""Outcomes that say something is wrong with the judging: nothing may turn them green."""

Values = tuple[tuple[float, ...], ...]
"""Of each refit a value per sample."""


@dataclass(frozen=True)
class World:
    """What this run and a recorded one measured on the same test samples.

    Without a value per sample a run is told by its refits' scores only.
    """

    truth: tuple[int, ...]
    now: Values
    then: Values
    is_told: bool

    @property
    def measured(self) -> Measurements:
        scores = {"m": Scores(_means(self.now))}
        return Measurements(scores, _seeds(self.now), self._samples(self.now))

    @property
    def past(self) -> Past:
        scores = {"m": Scores(_means(self.then))}
        samples = self._samples(self.then)
        return Past("1a2b", "the accepted run 1a2b", scores, _seeds(self.then), samples)

    def _samples(self, values: Values) -> Samples | None:
        if not self.is_told:
            return None
        array = np.array(values)
        array = array.astype(bool) if np.isin(array, (0, 1)).all() else array.astype(np.float32)
        truth = np.array(self.truth)
        return Samples(
            len(truth),
            len(array),
            {"": truth},
            {"": np.zeros(array.shape, int)},
            {"": (0, 1, 2)},
            {"m": array},
            {"dark": truth > 0},
        )


def is_of_slices(verdict: Verdict) -> bool:
    """Tell whether several slices came to this verdict together."""
    return isinstance(verdict.details, SliceResults) and len(verdict.details.slices) > 1


def _means(values: Values) -> tuple[float, ...]:
    return tuple(float(np.mean(np.array(one, np.float32), dtype=np.float64)) for one in values)


def _seeds(values: Values) -> tuple[tuple[int, None], ...]:
    return tuple((seed, None) for seed in range(len(values)))


outcomes = st.sampled_from([0.0, 1.0])
fractions = st.integers(-20, 20).map(lambda tenths: tenths / 10)


@st.composite
def worlds(draw: st.DrawFn, kind: Any = st.sampled_from([outcomes, fractions])) -> World:
    truth = draw(st.lists(st.integers(0, 2), min_size=1, max_size=12))
    values = draw(kind)

    def refits(count: int) -> Values:
        rows = st.lists(values, min_size=len(truth), max_size=len(truth)).map(tuple)
        return tuple(draw(rows) for _ in range(count))

    now = refits(draw(st.sampled_from([1, 1, 2, 3, 4])))
    then = now if draw(st.booleans()) else refits(draw(st.sampled_from([1, 1, 2, 3, 4])))
    # As many samples as it takes to prove something.
    times = draw(st.sampled_from([1, 1, 5, 20]))
    many = [tuple(row * times for row in side) for side in (now, then)]
    return World(tuple(truth * times), many[0], many[1], draw(st.booleans()))


margins = st.integers(-30, 30).map(lambda hundredths: hundredths / 100)
comparisons = st.sampled_from([">=", "<=", ">", "<"])
statistics = st.sampled_from(["mean", "mean", "worst", "std"])
sources = st.sampled_from([mt.baseline, mt.previous, mt.median(3)])
refinements: st.SearchStrategy[Callable[[Measure], Measure]] = st.sampled_from(
    [
        lambda measure: measure,
        lambda measure: measure.worst,
        lambda measure: measure.per_class(1),
        lambda measure: measure.per_class(1).worst,
        lambda measure: measure.per_class(),
        lambda measure: measure.on("dark", len, 1),
        lambda measure: measure.on("dark", len).worst,
    ]
)


def gate_of(comparison: str, bound: object, refined: Callable[[Measure], Measure]) -> Gate:
    return Gate(refined(mt.metric("m")), comparison, bound)


def judged(gate: Gate, world: World) -> Verdict:
    return one(gate, world.measured, world.past)


def one(gate: Gate, measured: Measurements, past: Past) -> Verdict:
    (verdict, *_) = judge([gate], measured, "s", references_to(past), today=TODAY)
    return verdict


def references_to(*pasts: Past) -> References:
    return dict.fromkeys(("baseline", "previous", "median(3)"), pasts)


def rank(verdict: Verdict) -> int:
    return GOODNESS.index(verdict.outcome)


# Bounds


@given(
    world=worlds(), refined=refinements, comparison=comparisons, pair=st.tuples(margins, margins)
)
def test_law_a_stricter_number_never_judges_better(
    world: World, refined: Callable[[Measure], Measure], comparison: str, pair: tuple[float, float]
) -> None:
    looser, stricter = sorted(pair, reverse=comparison in ("<=", "<"))
    verdicts = [judged(gate_of(comparison, bound, refined), world) for bound in (looser, stricter)]
    assume(verdicts[0].outcome in GOODNESS)  # the metric can be told on slices
    assert rank(verdicts[1]) <= rank(verdicts[0])


@settings(max_examples=150)
@given(
    world=worlds(),
    refined=refinements,
    comparison=comparisons,
    source=sources,
    pair=st.tuples(margins, margins),
)
def test_law_a_stricter_margin_never_judges_better_on_the_same_evidence(
    world: World,
    refined: Callable[[Measure], Measure],
    comparison: str,
    source: Reference,
    pair: tuple[float, float],
) -> None:
    sign = 1 if comparison in (">=", ">") else -1
    stricter, looser = sorted(pair)
    verdicts = []
    for margin in (looser, stricter):
        gate = gate_of(comparison, source - sign * margin, refined)
        verdicts.append(judged(gate, world))
    assume(verdicts[0].outcome in GOODNESS)
    # Slices are decided together: where one must improve, Holm's order is another.
    if verdicts[0].outcome is Outcome.FAILED:
        assert verdicts[1].outcome is not Outcome.PASSED
    if not is_of_slices(verdicts[0]) and stricter * looser > 0:
        assert rank(verdicts[1]) <= rank(verdicts[0])


@given(world=worlds(), refined=refinements, margin=margins.map(abs), source=sources)
def test_law_a_model_never_fails_against_itself(
    world: World, refined: Callable[[Measure], Measure], margin: float, source: Reference
) -> None:
    same = replace(world, then=world.now)
    for comparison, bound in (
        (">=", source - margin),
        ("<=", source + margin),
    ):
        verdict = judged(gate_of(comparison, bound, refined), same)
        is_empty = verdict.measured is None or verdict.details is not None
        assert verdict.outcome in (Outcome.PASSED, Outcome.INCONCLUSIVE) or is_empty, verdict
        if not gate_of(comparison, bound, refined).measure.slices:
            assert verdict.outcome is Outcome.PASSED


# Symmetries


@given(
    world=worlds(st.just(outcomes)),
    refined=refinements,
    comparison=comparisons,
    margin=margins,
    random=st.randoms(use_true_random=False),
)
def test_law_the_order_of_the_samples_does_not_matter(
    world: World,
    refined: Callable[[Measure], Measure],
    comparison: str,
    margin: float,
    random: Any,
) -> None:
    order = list(range(len(world.truth)))
    random.shuffle(order)

    def permuted(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[index] for index in order)

    other = World(
        permuted(world.truth),
        tuple(map(permuted, world.now)),
        tuple(map(permuted, world.then)),
        world.is_told,
    )
    # Two refits of each are compared on resamples, and those are drawn by position.
    assume(not world.is_told or len(world.now) != 2 or len(world.then) < 2)
    assume(not world.is_told or len(world.then) != 2 or len(world.now) < 2)
    gate = gate_of(comparison, mt.baseline - margin, refined)
    before, after = judged(gate, world), judged(gate, other)
    assert before.outcome is after.outcome
    assert before.measured == after.measured


@given(
    world=worlds(),
    refined=refinements,
    comparison=comparisons,
    margin=margins,
    bound=st.sampled_from(["number", "difference", "share"]),
)
def test_law_less_of_a_loss_is_judged_as_more_of_its_negative(
    world: World,
    refined: Callable[[Measure], Measure],
    comparison: str,
    margin: float,
    bound: str,
) -> None:
    def negative(values: Values) -> Values:
        return tuple(tuple(0.0 - value for value in one) for one in values)

    assume(world.measured.samples is None or world.measured.samples.values["m"].dtype != bool)
    mirrored = replace(world, now=negative(world.now), then=negative(world.then))
    bounds: dict[str, tuple[object, object]] = {
        "number": (margin, -margin),
        "difference": (mt.baseline - margin, mt.baseline + margin),
        "share": (mt.baseline * (1 - margin), mt.baseline * (1 + margin)),
    }
    ours, theirs = bounds[bound]
    opposite = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}[comparison]
    before = judged(gate_of(comparison, ours, refined), world)
    after = judged(gate_of(opposite, theirs, refined), mirrored)
    assert before.outcome is after.outcome
    assert before.measured == after.measured or before.measured == -(after.measured or 0)


@given(world=worlds(st.just(outcomes)), comparison=comparisons, margin=margins)
def test_law_a_share_of_errors_is_judged_as_the_share_of_what_is_right(
    world: World, comparison: str, margin: float
) -> None:
    def errors(values: Values) -> Values:
        return tuple(tuple(1 - value for value in one) for one in values)

    other = replace(world, now=errors(world.now), then=errors(world.then))
    opposite = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}[comparison]
    before = judged(Gate(mt.metric("m"), comparison, mt.baseline - margin), world)
    after = judged(Gate(mt.metric("m"), opposite, mt.baseline + margin), other)
    regression = before.regression
    if regression is None or abs(regression.delta + regression.margin) > 1e-9:
        assert before.outcome is after.outcome


# Several gates


@given(world=worlds(), margin=margins)
def test_law_few_samples_never_prove_that_a_recipe_is_worse_for_new_data(
    world: World, margin: float
) -> None:
    assume(world.is_told and min(len(world.now), len(world.then)) > 1)
    regression = judged(mt.metric("m") >= mt.baseline - margin, world).regression
    assert regression is not None
    assert regression.p_on_new_data is not None
    assert 2.0 ** -len(world.truth) <= regression.p_on_new_data <= 1
    assert regression.samples == len(world.truth)


@given(
    world=worlds(),
    gates=st.lists(st.tuples(comparisons, margins, refinements), min_size=1, max_size=4),
    more=st.tuples(comparisons, margins, refinements),
    place=st.integers(0, 4),
)
def test_law_another_gate_never_makes_a_regression_gate_fail(
    world: World, gates: list[Any], more: Any, place: int
) -> None:
    def regression(comparison: str, margin: float, refined: Any) -> Gate:
        return gate_of(comparison, mt.baseline - margin, refined)

    declared = [regression(*arguments) for arguments in gates]
    place = min(place, len(declared))
    longer = [*declared[:place], regression(*more), *declared[place:]]
    references = references_to(world.past)
    alone = judge(declared, world.measured, "s", references)
    together = list(judge(longer, world.measured, "s", references))
    del together[place]
    for before, after in zip(alone, together, strict=True):
        assert before.outcome is after.outcome or (
            (before.outcome, after.outcome) == (Outcome.FAILED, Outcome.INCONCLUSIVE)
        )


# Nothing vanishes, nothing that is not a number is green

numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
rotten = st.sampled_from([NAN, math.inf, -math.inf])
days = st.sampled_from(["2026-11-30", "2026-12-01", "2027-01-31"])


@st.composite
def any_gates(draw: st.DrawFn, may_warn: bool = True, may_be_waived: bool = True) -> Any:
    warn = may_warn and draw(st.booleans())
    if draw(st.integers(0, 5)) == 0:
        limit = draw(st.sampled_from([None, 0.05]))
        gate: Any = mt.invariant(
            np.fliplr, max_violation=limit, on_violation="warn" if warn else "fail"
        )
    else:
        subject = draw(st.sampled_from(Subject))
        name = draw(st.sampled_from(["m", "m", "m", "n", "loss", "f1"]))
        measure = Measure(subject, name, severity="warn" if warn else "fail")
        measure = draw(refinements)(getattr(measure, draw(statistics)))
        bound = draw(margins | sources | sources.map(lambda source: source * 0.98))
        gate = Gate(measure, draw(comparisons), bound)
    if may_be_waived and draw(st.booleans()):
        gate = gate.waive(until=draw(days), reason="known")
    return gate


@st.composite
def any_samples(draw: st.DrawFn) -> Samples:
    size, refits = draw(st.integers(0, 6)), draw(st.integers(1, 4))

    def array(elements: Any, *shape: int) -> Any:
        count = int(np.prod(shape))
        drawn = draw(st.lists(elements, min_size=count, max_size=count))
        return np.array(drawn).reshape(shape)

    values = array(numbers, refits, size).astype(np.float32)
    if draw(st.booleans()):
        values = array(st.booleans(), refits, size).astype(bool)
    return Samples(
        size,
        refits,
        {"": array(st.integers(-1, 2), size).astype(int)},
        {"": array(st.integers(0, 3), refits, size).astype(int)},
        {"": (0, 1, 2)},
        {"m": values},
        {"dark": array(st.booleans(), size).astype(bool)} if draw(st.booleans()) else {},
        draw(st.sampled_from([{}, {"m": "one"}, {"m": "other"}])),
    )


all_scores = st.dictionaries(
    st.sampled_from(["m", "n", "loss", "f1", "gap(m)", "gain_over_dummy(m)"]),
    st.lists(numbers, max_size=4).map(lambda values: Scores(tuple(values))),
)
pasts = st.builds(
    Past,
    run=st.just("1a2b"),
    label=st.just("run 1a2b"),
    scores=all_scores,
    refits=st.integers(0, 4).map(lambda count: tuple((seed, None) for seed in range(count))),
    samples=st.none() | any_samples(),
    problem=st.none() | st.just("it was measured on other data"),
    rescored=st.booleans(),
)
triples = st.tuples(numbers, numbers, numbers)
anything = st.builds(
    Measurements,
    scores=all_scores,
    refits=st.integers(0, 4).map(lambda count: tuple((seed, None) for seed in range(count))),
    samples=st.none() | any_samples(),
    folds=st.none() | st.integers(2, 5),
    intervals=st.none() | st.dictionaries(st.sampled_from(["m", "n"]), triples),
    unmeasured=st.dictionaries(
        st.just("n"), st.sampled_from([(Outcome.NO_BASELINE, "none"), (Outcome.INVALID, "gone")])
    ),
    probes=st.none()
    | st.dictionaries(
        st.sampled_from([mt.invariant(np.fliplr).demand]),
        st.builds(Probe, st.integers(1, 9), st.just(0), error=st.none() | st.just("it raised")),
    ),
)
all_references = st.dictionaries(
    sources, st.just("nothing is accepted yet") | st.lists(pasts, max_size=3)
)


@given(declared=st.lists(any_gates(), max_size=5), measured=anything, references=all_references)
def test_law_every_declared_gate_is_reported_in_its_place_whatever_is_missing(
    declared: list[Gate | Behaviour], measured: Measurements, references: References
) -> None:
    verdicts = judge(declared, measured, "s", references, today=TODAY)
    assert [v.gate for v in verdicts[: len(declared)]] == [repr(gate) for gate in declared]
    loss = measured.scores.get("loss")
    extra = [] if loss is None or loss.is_finite else ["loss is finite (always on)"]
    assert [v.gate for v in verdicts[len(declared) :]] == extra
    assert all(verdict.reason for verdict in verdicts)


@given(declared=st.lists(any_gates(), min_size=1), measured=anything, references=all_references)
def test_law_a_green_verdict_rests_on_finite_numbers(
    declared: list[Gate | Behaviour], measured: Measurements, references: References
) -> None:
    verdicts = judge(declared, measured, "s", references, today=TODAY)
    for verdict in verdicts:
        if verdict.outcome in (Outcome.PASSED, Outcome.WARNED):
            is_empty_slice = verdict.measured is None and verdict.outcome is Outcome.WARNED
            assert is_empty_slice or math.isfinite(verdict.measured or 0.0)
        for part in verdict.details.slices if isinstance(verdict.details, SliceResults) else ():
            if part.measured is not None and not math.isfinite(part.measured):
                assert verdict.outcome.is_red()


@given(
    world=worlds(),
    refined=refinements,
    comparison=comparisons,
    bound=margins | sources,
    value=rotten,
    place=st.integers(0, 3),
    severity=st.sampled_from(["fail", "warn"]),
    is_waived=st.booleans(),
    is_accepted=st.booleans(),
)
def test_law_a_refit_that_is_not_finite_is_red_whatever_allows_it(
    world: World,
    refined: Callable[[Measure], Measure],
    comparison: str,
    bound: Any,
    value: float,
    place: int,
    severity: str,
    is_waived: bool,
    is_accepted: bool,
) -> None:
    rotten_refit = [list(one) for one in world.now]
    rotten_refit[place % len(rotten_refit)] = [value] * len(world.truth)
    gate = Gate(refined(mt.metric("m", severity=severity)), comparison, bound)
    if is_waived:
        gate = gate.waive(until="2027-01-31", reason="known")
    other = replace(world, now=tuple(map(tuple, rotten_refit)))
    references = references_to(world.past) if is_accepted else {}
    (verdict,) = judge([gate], other.measured, "s", references, today=TODAY)
    details = verdict.details
    is_empty = isinstance(details, SliceResults) and details.slices[0].n == 0
    assert verdict.outcome.is_red() or is_empty, verdict


@given(
    world=worlds(),
    refined=refinements,
    comparison=comparisons,
    source=sources,
    value=rotten,
    others=st.lists(worlds(), max_size=2),
)
def test_law_against_a_past_that_is_not_finite_nothing_is_green(
    world: World,
    refined: Callable[[Measure], Measure],
    comparison: str,
    source: Reference,
    value: float,
    others: list[World],
) -> None:
    then = tuple(tuple(value for _ in row) for row in world.then)
    pasts = [another.past for another in others]
    past = replace(world, then=then).past
    gate = gate_of(comparison, source, refined)
    (verdict,) = judge([gate], world.measured, "s", references_to(*pasts, past))
    assert verdict.outcome is not Outcome.PASSED
    if gate.measure.slices is None:
        assert verdict.outcome is Outcome.INVALID


@given(world=worlds(), bound=margins | st.just(mt.baseline), missing=st.integers(0, 2),
       comparison=comparisons, min_n=st.integers(1, 30))  # fmt: skip
def test_law_a_class_that_test_lacks_is_never_green(
    world: World, bound: Any, missing: int, comparison: str, min_n: int
) -> None:
    without = replace(
        world,
        truth=tuple((missing + 1) % 3 if label == missing else label for label in world.truth),
        is_told=True,
    )
    for measure in (mt.metric("m").per_class(min_n), mt.metric("m").per_class(min_n).worst):
        verdict = judged(Gate(measure, comparison, bound), without)
        assert verdict.outcome is Outcome.FAILED
        # Where a failure only warns, it is said all the same.
        warning = judged(Gate(replace(measure, severity="warn"), comparison, bound), without)
        assert warning.outcome in (Outcome.FAILED, Outcome.WARNED)


@settings(max_examples=150)
@given(
    gate=any_gates(may_be_waived=False), until=days, measured=anything, references=all_references
)
def test_law_a_waiver_allows_a_failure_and_nothing_else(
    gate: Gate | Behaviour, until: str, measured: Measurements, references: References
) -> None:
    plain = judge([gate], measured, "s", references, today=TODAY)
    waived = judge(
        [gate.waive(until=until, reason="known")], measured, "s", references, today=TODAY
    )
    before, after = plain[0], waived[0]
    if before.outcome in RED_FOR_GOOD:
        assert after.outcome is before.outcome
    if after.outcome is Outcome.WAIVED:
        assert before.outcome in (Outcome.FAILED, Outcome.WARNED)
        assert until >= "2026-12-01"
        assert f"waived until {until} UTC (known)" in after.reason
    assert after.outcome not in (Outcome.PASSED, Outcome.WARNED)
    if before.outcome is Outcome.PASSED:
        assert status_of(waived) is RunStatus.FAILED
    assert replace(after, gate="", outcome=before.outcome, reason="", facts=None) == replace(
        before, gate="", reason="", facts=None
    ) or not math.isfinite(after.measured or 0.0)  # NaN equals nothing


# What is on the bound


@given(
    hundredths=st.integers(2, 99),
    margin=st.integers(0, 1),
    seeds=st.integers(1, 5),
    comparison=st.sampled_from([">=", "<="]),
)
@example(hundredths=97, margin=1, seeds=3, comparison=">=")
def test_law_a_drop_of_exactly_the_margin_is_allowed_in_float32(
    hundredths: int, margin: int, seeds: int, comparison: str
) -> None:
    """Keras says 0.97 and 0.96 as float32, whose difference is more than 0.01."""
    then, now = (float(np.float32(share / 100)) for share in (hundredths, hundredths - margin))
    sign = 1 if comparison == ">=" else -1
    assert abs(abs(then - now) - margin / 100) <= FLOAT32_EPSILON
    measured = Measurements(
        {"m": Scores((sign * now,) * seeds)}, tuple((seed, None) for seed in range(seeds))
    )
    past = Past("1", "run 1", {"m": Scores((sign * then,) * seeds)}, measured.refits)
    gate = Gate(mt.metric("m"), comparison, mt.baseline - sign * margin / 100)
    assert one(gate, measured, past).outcome is Outcome.PASSED


# What contradicts itself


def test_what_cannot_be_compared_is_an_error_of_its_gate_alone() -> None:
    """A finite score whose samples are not: someone has written into the file."""
    world = World((0, 1), ((0.5, 0.5),), ((0.5, 0.7),), True)
    rotten = replace(world, then=((NAN, NAN),)).past
    past = replace(rotten, scores={"m": Scores((0.5,))})
    gates = [mt.metric("m") >= mt.baseline, mt.metric("m") >= 0.4]
    broken, fine = judge(gates, world.measured, "s", references_to(past))
    assert broken.outcome is Outcome.ERROR
    assert broken.reason.startswith("it cannot be compared with the accepted run 1a2b: ")
    assert fine.outcome is Outcome.PASSED
