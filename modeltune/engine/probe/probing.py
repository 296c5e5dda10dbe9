"""Probe a trained model for a behaviour: draw points, predict in batches, keep a violation."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modeltune.engine.data import Arrays, Part, RaggedArray, concatenate, leaves, map_arrays
from modeltune.engine.probe.points import (
    PointResult,
    PointSpace,
    ResultCache,
    TryPoints,
    draw_points,
    shrink,
    weight,
)
from modeltune.engine.probe.predictions import (
    Predictor,
    confidence,
    describe_change,
    fell,
    in_words,
    is_number,
    output_of,
    read_decision,
    score_of,
    slack_of,
)
from modeltune.engine.probe.sources import PredictorSource, source_of
from modeltune.engine.probe.transforms import (
    PREDICTION_BATCH,
    Point,
    ProbeError,
    arrays_like,
    as_sample,
    in_digits,
    row_of,
    stack,
    takes_severity,
    transform_of,
    type_in_words,
)
from modeltune.engine.score import Output, OutputTask, Points
from modeltune.ground import error_line, is_finite_number, is_integer, message_of, typed
from modeltune.records import (
    Array,
    Counterexample,
    ImageChange,
    InputChange,
    Json,
    Probe,
    RowChange,
    SummaryChange,
    ValueChange,
    plain,
)
from modeltune.specs import Behaviour, Kind, Spec

if TYPE_CHECKING:
    from modeltune.engine.fit import Model

STREAMED = 512
"""Samples of a stream that are kept in memory to draw from."""

TOLERATED = 0.05
"""How far a number may move, as a part of the standard deviation of the target in train."""

UNNOTICED = 1e-3
"""How far a prediction may move against its direction: in probability, or as part of that deviation."""

PIXELS = 64
"""The largest width and height of an image that is shown."""

VALUES = 50
"""How many differing values of a row are shown."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A behaviour on a model: how many rows there are, a row's sample, and how points are tried."""

    rows: int
    sample: Callable[[int], Arrays]
    changed: Callable[[Point], Arrays]
    attempt: TryPoints


def probe(
    behaviour: Behaviour,
    model: Model | PredictorSource,
    test: Part,
    train: Part,
    seed: int,
    known: Sequence[Counterexample] = (),
    decided: Points | None = None,
) -> Probe:
    """Try a behaviour on a model; return how often it was violated, and the smallest counter-example.

    ``known`` are counter-examples of earlier runs. They are tried first, except those whose row
    has changed. ``decided`` is from where on the model's outputs say yes. Equal arguments give equal results. A transform or a model that cannot be used
    gives an ``error``; nothing is raised.
    """
    try:
        return _probe(behaviour, model, test, train, seed, known, decided or {})
    except ProbeError as error:
        return Probe(error=str(error))


def _probe(
    behaviour: Behaviour,
    model: Model | PredictorSource,
    test: Part,
    train: Part,
    seed: int,
    known: Sequence[Json],
    decided: Points,
) -> Probe:
    part = _held(test)
    for _, array in leaves(part.x):
        if (
            isinstance(array, RaggedArray)
            and len(array.inner_shape) > 1
            and None in array.inner_shape[1:]
        ):
            raise ProbeError(
                "x is ragged in several dimensions, and such rows are not changed; pad all but one"
            )
    names = [column.name for column in part.frames.get("x", ())]
    columns = names if isinstance(part.x, np.ndarray) else []
    predictor = Predictor(source_of(model, part), part.x, columns, points=decided)
    output = _first_look(predictor, part, behaviour)
    tolerance = None if output is None else _tolerance(behaviour, output, train)
    largest = None if tolerance is None else float(np.max(tolerance))
    experiment = _experiment(behaviour, predictor, part, output, tolerance)
    results_of = ResultCache(experiment.attempt)
    space = PointSpace.of(behaviour, experiment.rows)
    is_rate = behaviour.max_violation is not None
    keep = partial(_counterexample, behaviour, experiment, columns)

    earlier = []
    for number, point in enumerate(_unchanged_points(known, space, experiment), start=1):
        result = results_of([point])[0]
        if result.is_violation and not is_rate:
            counterexample = keep(result, known=True)
            return Probe(number, 1, False, largest, counterexample)
        earlier += [result] if result.is_violation else []

    is_case = behaviour.kind is Kind.MINIMUM_FUNCTIONALITY
    wanted = behaviour.sample_size
    is_all = is_case or (not is_rate and space.size <= wanted)
    if is_all:
        points = space.all()
    elif is_rate:
        # A rate needs independent draws; those of Hypothesis avoid what was drawn before.
        chance = random.Random(seed)
        points = [space.by_chance(chance) for _ in range(wanted)]
    else:
        points = draw_points(space, wanted, seed)
    examples, violations = 0, list[PointResult]()
    for start in range(0, len(points), PREDICTION_BATCH):
        batch = points[start : start + PREDICTION_BATCH]
        examples += len(batch)
        violations += [result for result in results_of(batch) if result.is_violation]
        if violations and not is_rate and not is_case:
            break
    is_exhaustive = is_all and examples == len(points)
    if not violations:
        return Probe(examples, 0, is_exhaustive, largest)
    smallest = min(violations, key=lambda result: weight(result.point))
    if earlier:
        smallest = earlier[0]
    elif not is_all:
        smallest = shrink(space, smallest, results_of, seed)
    counterexample = keep(smallest, known=bool(earlier))
    return Probe(examples, len(violations), is_exhaustive, largest, counterexample)


def behaviour_problems(
    spec: Spec, model: Model | PredictorSource, few: Part, train: Part
) -> Iterator[str]:
    """Try every behaviour gate once, on samples in memory; yield why one cannot be tried.

    Args:
        train: whose targets' spread is that of the default tolerance.
    """
    for index, gate in enumerate(spec.gates):
        is_known = few.has_targets and not few.has_ragged_targets
        if isinstance(gate, Behaviour) and (is_known or gate.kind is Kind.METAMORPHIC):
            # A single example, whatever share of them may violate it.
            once = replace(gate, max_violation=None, examples=1)
            if error := probe(once, model, few, train, spec.search.seed).error:
                yield f"gates[{index}]: {gate!r}: {error}"


def without_inputs(probe: Probe) -> Probe:
    """Return what came of a behaviour without the sample that violates it, known by its row still."""
    if probe.counterexample is None:
        return probe
    return replace(probe, counterexample=replace(probe.counterexample, shown=()))


def _held(part: Part) -> Part:
    """Return the part in memory; of a stream, its first samples as long as they have one shape."""
    if part.stream is None:
        return part
    held: Part | None = None
    for x, y, _ in part.batches(PREDICTION_BATCH):
        size = len(next(array for _, array in leaves(x)))
        batch = replace(part, stream=None, x=x, y=y, size=size)
        if held is None:
            held = batch
        elif _shapes(x) == _shapes(held.x) and _shapes(y) == _shapes(held.y):
            joined = (concatenate(held.x, x), concatenate(held.y, y))
            held = replace(held, x=joined[0], y=joined[1], size=held.size + size)
        if held.size >= STREAMED:
            break
    if held is None:
        raise ProbeError(f"{part.name} yields no batch")
    return held.take(np.arange(min(held.size, STREAMED)))


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape[1:] for _, array in leaves(arrays)]


def _first_look(predictor: Predictor, part: Part, behaviour: Behaviour) -> Output | None:
    """Predict the first rows twice, and return the output that the behaviour is about.

    None for a relation over all of several outputs.
    """
    rows = list(range(min(part.size, PREDICTION_BATCH)))
    once = predictor.rows(rows)
    for row, (one, other) in enumerate(
        zip(once, predictor.samples([predictor.sample(r) for r in rows]), strict=True)
    ):
        for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
            if not np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True):
                at = int(np.argmax(~np.isclose(a, b, rtol=1e-3, atol=1e-5).reshape(-1)))
                raise ProbeError(
                    f"the model predicts test[{row}] as {a.reshape(-1)[at]:.6g} and then as "
                    f"{b.reshape(-1)[at]:.6g}: something in it is random at inference, so no "
                    "behaviour can be shown"
                )
    try:
        outputs = predictor.outputs
    except Exception as error:
        raise ProbeError(f"the model cannot predict: {error_line(error)}") from error
    names = [output.name for output in outputs]
    if behaviour.output is not None:
        if behaviour.output not in names:
            named = ", ".join(name or "a single one without a name" for name in names)
            raise ProbeError(f'the model has no output "{behaviour.output}"; its outputs: {named}')
        return outputs[names.index(behaviour.output)]
    if len(outputs) == 1:
        return outputs[0]
    if behaviour.kind is Kind.METAMORPHIC:
        return None
    if not names:
        raise ProbeError("the model has no output with a target")
    raise ProbeError(
        f"the model has the outputs {', '.join(names)}; say which is meant: output={typed(names[0])}"
    )


def _tolerance(behaviour: Behaviour, output: Output, train: Part) -> Array | None:
    """Return how far a prediction may move; None where classes or a relation are compared."""
    is_direction = behaviour.kind is Kind.DIRECTIONAL
    if behaviour.kind is Kind.METAMORPHIC or not (is_number(output) or is_direction):
        return None
    if behaviour.tolerance is not None:
        return np.asarray(float(behaviour.tolerance))
    if not is_number(output):
        return np.asarray(UNNOTICED)
    if not train.size and train.stream is None:
        raise ProbeError(
            "the default tolerance is a part of the target's spread in train, and there is no train; "
            "write tolerance="
        )
    held = _held(train)
    target = (held.by_column("y") | dict(leaves(held.y))).get(output.path)
    if target is None or target.dtype.kind not in "biuf":
        raise ProbeError(
            "the default tolerance is a part of the target's spread in train, and this target "
            "holds no numbers; write tolerance="
        )
    numbers = target.astype(np.float64)
    per_column = numbers.std(axis=0)
    is_alike = per_column.size == 1 or per_column.shape == output.predicted.shape[1:]
    spread = per_column if is_alike else numbers.std()
    return np.asarray((UNNOTICED if is_direction else TOLERATED) * spread)


def _experiment(
    behaviour: Behaviour,
    predictor: Predictor,
    part: Part,
    output: Output | None,
    tolerance: Array | None,
) -> Experiment:
    if behaviour.kind is Kind.METAMORPHIC:
        return _relation(behaviour, predictor, part.size, output)
    if output is None:
        raise ProbeError("the model has no output with a target")
    if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY:
        return _cases(behaviour, predictor, output, tolerance)
    return _change(behaviour, predictor, part.size, output, tolerance)


def _change(
    behaviour: Behaviour,
    predictor: Predictor,
    rows: int,
    output: Output,
    tolerance: Array | None,
) -> Experiment:
    """Ask what the prediction becomes when a row is transformed or its feature raised."""
    changed = transform_of(behaviour, predictor.sample, predictor.columns)
    score = score_of(behaviour, output) if behaviour.kind is Kind.DIRECTIONAL else None
    subject = _subject(behaviour, predictor.columns)

    def attempt(points: Sequence[Point]) -> list[PointResult]:
        before = predictor.rows([point.row for point in points])
        after = predictor.samples([changed(point) for point in points])
        results = []
        for point, raw_before, raw_after in zip(points, before, after, strict=True):
            one, other = (output_of(output, raw) for raw in (raw_before, raw_after))
            if score is None:
                is_violation, how = describe_change(output, one, other, tolerance)
            else:
                is_violation, how = fell(behaviour, output, score, one, other, tolerance)
            if is_violation:
                severity = "" if point.severity is None else f" {in_digits(point.severity)}"
                text = f"test[{point.row}] {subject}{severity}: {how}"
                shown_before, shown_after = (_prediction(output, p, score) for p in (one, other))
                results.append(PointResult(point, True, shown_before, shown_after, text))
            else:
                results.append(PointResult(point, False))
        return results

    return Experiment(rows, predictor.sample, changed, attempt)


def _subject(behaviour: Behaviour, columns: Sequence[str]) -> str:
    if behaviour.kind is Kind.DIRECTIONAL:
        named = is_integer(behaviour.subject) and columns
        name = f" ({columns[behaviour.subject]})" if named else ""
        return f"{behaviour.name}{name} raised by"
    return behaviour.name if not takes_severity(behaviour) else f"{behaviour.name} severity"


def _relation(
    behaviour: Behaviour, predictor: Predictor, rows: int, output: Output | None
) -> Experiment:
    """Ask whether the author's relation holds for a row."""

    def ask(point: Point, raw: Arrays) -> PointResult:
        where, message = f"test[{point.row}] {behaviour.name}", ""
        try:
            holds = behaviour.subject(
                lambda samples: _predict(predictor, samples), predictor.sample(point.row)
            )
        except ProbeError:
            raise
        except AssertionError as error:
            holds, message = False, next(iter(message_of(error).splitlines()), "")
        except Exception as error:
            raise ProbeError(f"{where} raised {error_line(error)}") from error
        if holds is None or (isinstance(holds, bool | np.bool_) and holds):
            return PointResult(point, False)
        if not isinstance(holds, bool | np.bool_):
            raise ProbeError(
                f"{where} returned {type_in_words(holds)}; return True or False, or assert"
            )
        before = None if output is None else output_of(output, raw)
        text = f"{where} does not hold{f': {message}' if message else ''}"
        return PointResult(point, True, _prediction(output, before), None, text)

    def attempt(points: Sequence[Point]) -> list[PointResult]:
        raws = predictor.rows([point.row for point in points])
        return [ask(point, raw) for point, raw in zip(points, raws, strict=True)]

    return Experiment(rows, predictor.sample, lambda _: None, attempt)


def _predict(predictor: Predictor, samples: Arrays) -> Arrays:
    """Predict one sample, or a batch of samples, as a relation passes them."""
    sample = predictor.sample(0)
    pairs = list(zip(leaves(sample), leaves(arrays_like(samples, sample)), strict=False))
    if pairs and all(one.ndim + 1 == array.ndim for (_, one), (_, array) in pairs):
        shaped = arrays_like(samples, sample)
        size = len(next(array for _, array in leaves(shaped)))
        rows = [row_of(shaped, i) for i in range(size)]
        if not rows:
            raise ProbeError("predict was given a batch of no samples")
        return stack(predictor.samples([as_sample(r, sample, "predict was given") for r in rows]))
    return predictor.samples([as_sample(samples, sample, "predict was given")])[0]


def _cases(
    behaviour: Behaviour, predictor: Predictor, output: Output, tolerance: Array | None
) -> Experiment:
    """Ask whether the model does what is expected of it in the author's cases."""
    like = predictor.sample(0)
    cases = _cases_from(behaviour) if callable(behaviour.subject) else list(behaviour.subject)
    if not cases:
        raise ProbeError(f"{behaviour.name} returned no case")
    samples = [as_sample(x, like, f"case[{i}] is") for i, (x, _) in enumerate(cases)]

    def attempt(points: Sequence[Point]) -> list[PointResult]:
        raws = predictor.samples([samples[point.row] for point in points])
        results = []
        for point, raw in zip(points, raws, strict=True):
            predicted = output_of(output, raw)
            expected = cases[point.row][1]
            where = f"case[{point.row}]"
            if _is_expected(where, output, expected, predicted, tolerance):
                results.append(PointResult(point, False))
                continue
            text = f"{where}: expected {_expectation(expected)}, predicted {in_words(output, predicted)}"
            results.append(PointResult(point, True, None, _prediction(output, predicted), text))
        return results

    return Experiment(len(cases), samples.__getitem__, lambda _: None, attempt)


def _cases_from(behaviour: Behaviour) -> list[tuple[Any, Any]]:
    try:
        cases = behaviour.subject()
    except Exception as error:
        raise ProbeError(f"{behaviour.name}() raised {error_line(error)}") from error
    if not isinstance(cases, tuple | list) or len(cases) != 2:
        raise ProbeError(
            f"{behaviour.name}() returned {type_in_words(cases)}; return arrays (x, y)"
        )
    try:
        x, y = (map_arrays(np.asarray, arrays) for arrays in cases)
    except ValueError:
        raise ProbeError(
            f"{behaviour.name}() returned rows of different lengths; write a list of (x, y)"
        ) from None
    sizes = {len(array) if array.ndim else -1 for _, array in (*leaves(x), *leaves(y))}
    if len(sizes) != 1 or -1 in sizes or not isinstance(y, np.ndarray):
        raise ProbeError(f"{behaviour.name}() returned x and y of different numbers of samples")
    return [(row_of(x, i), y[i]) for i in range(sizes.pop())]


def _is_expected(
    where: str, output: Output, expected: Any, predicted: Array, tolerance: Array | None
) -> bool:
    if callable(expected):
        try:
            answer = expected(predicted)
        except AssertionError:
            return False
        except Exception as error:
            raise ProbeError(f"{where}: {typed(expected)} raised {error_line(error)}") from error
        if not isinstance(answer, bool | np.bool_):
            raise ProbeError(
                f"{where}: {typed(expected)} returned {type_in_words(answer)}; return True or False"
            )
        return bool(answer)
    decision = read_decision(output, predicted)
    wanted = np.asarray(expected)
    if wanted.dtype.kind not in "biuf" or wanted.size != decision.size:
        what = "a number" if is_number(output) else "the number of a class"
        raise ProbeError(
            f"{where}: {_expectation(expected)} is expected; write {what} or a function"
        )
    wanted = wanted.reshape(decision.shape)
    if not np.isfinite(predicted).all():
        return False
    if is_number(output):
        return bool((np.abs(decision - wanted) <= slack_of(tolerance, decision, wanted)).all())
    if (
        output.task is OutputTask.MULTICLASS
        and not ((wanted >= 0) & (wanted < predicted.shape[-1])).all()
    ):
        raise ProbeError(
            f"{where}: {_expectation(expected)} is expected, but the model's classes are 0 to "
            f"{predicted.shape[-1] - 1}"
        )
    return bool((decision == wanted).all())


def _expectation(expected: Any) -> str:
    if callable(expected):
        return typed(expected)
    array = np.asarray(expected)
    return typed(array.item()) if array.size == 1 else typed(array.tolist())


def _unchanged_points(
    known: Sequence[Counterexample], space: PointSpace, experiment: Experiment
) -> Iterator[Point]:
    """Yield the points of earlier runs whose rows are the same today."""
    for example in known:
        row, severity = example.row, example.severity
        if row is None or not (severity is None or is_finite_number(severity)):
            continue
        point = Point(row, severity)
        if space.holds(point) and example.row_digest == _digest(experiment.sample(row)):
            yield point


def _counterexample(
    behaviour: Behaviour,
    experiment: Experiment,
    columns: Sequence[str],
    violation: PointResult,
    *,
    known: bool,
) -> Counterexample:
    """Return what is kept and shown of a violation, after it has come out the same again."""
    once, twice = experiment.changed(violation.point), experiment.changed(violation.point)
    pairs = zip(leaves(once), leaves(twice), strict=True)
    is_same = all(np.array_equal(one, other) for (_, one), (_, other) in pairs)
    if not is_same or not experiment.attempt([violation.point])[0].is_violation:
        raise ProbeError(
            f"{violation.text}; a second try gave another result: {behaviour.name} is random. "
            "Draw its random numbers from a generator with a fixed seed"
        )
    x = experiment.sample(violation.point.row)
    return Counterexample(
        text=violation.text,
        part="case" if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY else "test",
        row=violation.point.row,
        severity=violation.point.severity,
        row_digest=_digest(x),
        before=plain(violation.before),
        after=plain(violation.after),
        shown=tuple(_input_changes(x, once, columns)),
        known=known,
    )


def _prediction(
    output: Output | None, predicted: Array | None, score: Callable[[Array], float] | None = None
) -> Json:
    """Return a prediction as JSON, with the probability of what it is, or of what has a direction."""
    if output is None or predicted is None:
        return None
    decision = read_decision(output, predicted)
    value = decision.item() if decision.size == 1 else _round(decision)
    if score is None or is_number(output):
        return {"prediction": value, "probability": confidence(output, predicted)}
    return {"prediction": value, "probability": score(predicted)}


def _input_changes(x: Arrays, x_after: Arrays, columns: Sequence[str]) -> Iterator[InputChange]:
    """Yield what to show of each input: an image, the values that differ, or a summary.

    Without an ``after``, the sample as it is. ``columns`` are the names of a row's values.
    """
    changed = dict(leaves(x_after))
    for path, before in leaves(x):
        after = changed.get(path)
        if after is not None and np.array_equal(before, after):
            continue
        shape = before.shape
        is_small = before.dtype.kind in "biuf" and all(side <= PIXELS for side in shape[:2])
        if before.ndim in (2, 3) and is_small and (before.ndim == 2 or shape[2] <= 4):
            yield ImageChange(path, _round(before), _round(after), shape)
        elif before.ndim <= 1 and before.size and (after is None or after.shape == shape):
            flat = before.reshape(-1)
            other = None if after is None else after.reshape(-1)
            places = np.arange(flat.size) if other is None else np.flatnonzero(flat != other)
            values = tuple(
                ValueChange(
                    int(at) if before.ndim else None,
                    _round(flat[at]),
                    None if other is None else _round(other[at]),
                    columns[at] if len(columns) == flat.size else None,
                )
                for at in places[:VALUES]
            )
            yield RowChange(path, values, len(places), shape)
        else:
            yield SummaryChange(path, _summary(before), _summary(after), shape)


def _summary(array: Array | None) -> Json:
    if array is None:
        return None
    summary: dict[str, Json] = {"digest": _digest(array)}
    if array.dtype.kind in "biuf" and array.size:
        numbers = array.astype(np.float64)
        summary |= {name: _round(getattr(numbers, name)()) for name in ("min", "mean", "max")}
    return summary


def _round(array: Any) -> Json:
    """Return numbers as JSON to five digits, anything else as text."""
    if array is None:
        return None
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = np.array([float(f"{v:.5g}") for v in array.reshape(-1)]).reshape(array.shape)
        # As it is recorded: NaN is a text there.
        return plain(array.tolist())
    return array.tolist() if array.dtype.kind in "biu" else array.astype(str).tolist()


def _digest(sample: Arrays) -> str:
    """Return what recognises a sample: a hash of its values, shapes and dtypes."""
    digest = hashlib.sha256()
    for path, array in leaves(sample):
        digest.update(f"{path}:{array.dtype}:{array.shape};".encode())
        if array.dtype.hasobject:
            digest.update("\0".join(map(str, array.reshape(-1))).encode())
        else:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
