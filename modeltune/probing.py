"""Probe a trained model for a behaviour: draw examples, predict in batches, shrink what violates it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from modeltune.behaviours import Behaviour, Kind, Probed
from modeltune.declarations import is_finite_number, is_integer, typed
from modeltune.loading import Array, Arrays, Part, concatenate, leaves, map_arrays
from modeltune.runs import Json, plain
from modeltune.scoring import Output, Task, predict
from modeltune.training import Model

if TYPE_CHECKING:
    import hypothesis

BATCH = 32
"""How many samples one call predicts; the last batch is filled up, so that one graph does for all."""

STREAMED = 512
"""How many samples of a stream are held to draw from."""

LEVELS = 1000
"""In how many steps severities that are not whole numbers go from one end to the other."""

FAR = 3 * 2**90
"""Where the integers that Hypothesis draws begin.

Close to 0 it prefers small ones, and once in twenty a constant seen in the modules that
happen to be loaded, so that draws would differ between processes. Far out it is uniform.
"""

TOLERATED = 0.05
"""How far a number may move: this part of the standard deviation of the target in train."""

UNNOTICED = 1e-3
"""How far a prediction may move against its direction: a probability, or a part of that deviation."""

FLOAT32_STEPS = 16 * 2.0**-23
"""Rounding of a float32 prediction, as part of its value."""

PIXELS = 64
"""An image is shown up to this width and height."""

VALUES = 50
"""So many differing values of a row are shown."""


class Point(NamedTuple):
    """What is tried: a test row (or a case), and how strongly it is transformed, if it is."""

    row: int
    severity: float | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """One point tried; of a violation also the predictions before and after, and it in words."""

    point: Point
    is_violation: bool
    before: Json = None
    after: Json = None
    text: str = ""


Try: TypeAlias = Callable[[Sequence[Point]], list[Finding]]
"""Try points together; the findings are in their order."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of how many rows: a row's sample, what becomes of it, and the asking."""

    rows: int
    sample: Callable[[int], Arrays]
    changed: Callable[[Point], Arrays]
    attempt: Try


class NotProbed(Exception):
    """Why a behaviour could not be probed, for the person at the keyboard."""


def probe(
    behaviour: Behaviour,
    model: Model,
    test: Part,
    train: Part,
    seed: int,
    known: Sequence[Json] = (),
) -> Probed:
    """Return what was tried on the model and the smallest counter-example found.

    ``known`` are counter-examples of earlier runs, tried first; one whose row is no longer
    the same is left out. Equal arguments give equal results. A transform or a model that
    cannot be used gives an ``error``; nothing is raised.
    """
    try:
        return _probe(behaviour, model, test, train, seed, known)
    except NotProbed as error:
        return Probed(error=str(error))


def _probe(
    behaviour: Behaviour, model: Model, test: Part, train: Part, seed: int, known: Sequence[Json]
) -> Probed:
    part = _held(test)
    predictor = Predictor(model, part.x)
    output = _first_look(predictor, part, behaviour)
    tolerance = None if output is None else _tolerance(behaviour, output, train)
    largest = None if tolerance is None else float(np.max(tolerance))
    question = _question(behaviour, predictor, part, output, tolerance)
    tried = Tried(question.attempt)
    space = Space.of(behaviour, question.rows)
    is_rate = behaviour.max_violation is not None

    earlier = []
    for number, point in enumerate(_still_there(known, space, question), start=1):
        finding = tried([point])[0]
        if finding.is_violation and not is_rate:
            shown = _counterexample(behaviour, question, finding, known=True)
            return Probed(number, 1, False, largest, shown)
        earlier += [finding] if finding.is_violation else []

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
        points = _drawn(space, wanted, seed)
    examples, violations = 0, list[Finding]()
    for start in range(0, len(points), BATCH):
        batch = points[start : start + BATCH]
        examples += len(batch)
        violations += [finding for finding in tried(batch) if finding.is_violation]
        if violations and not is_rate and not is_case:
            break
    is_exhaustive = is_all and examples == len(points)
    if not violations:
        return Probed(examples, 0, is_exhaustive, largest)
    found = min(violations, key=lambda finding: _weight(finding.point))
    if earlier:
        found = earlier[0]
    elif not is_all:
        found = _shrunk(space, found, tried, seed)
    shown = _counterexample(behaviour, question, found, known=bool(earlier))
    return Probed(examples, len(violations), is_exhaustive, largest, shown)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model that predicts samples in batches of two fixed sizes, and knows its test rows."""

    model: Model
    x: Arrays
    known: dict[int, Arrays] = field(default_factory=dict)

    def rows(self, rows: Sequence[int]) -> list[Arrays]:
        """Return what the model predicts for test rows, each predicted once."""
        if missing := [row for row in dict.fromkeys(rows) if row not in self.known]:
            found = self.samples([self.sample(row) for row in missing])
            self.known.update(zip(missing, found, strict=True))
        return [self.known[row] for row in rows]

    def sample(self, row: int) -> Arrays:
        """Return a copy of one row: what a transform does in place stays with it."""
        return map_arrays(lambda array: np.array(array[row, ...]), self.x)

    def samples(self, samples: Sequence[Arrays]) -> list[Arrays]:
        """Return what the model predicts for each sample."""
        predicted: list[Arrays] = []
        size = 1 if len(samples) == 1 else BATCH
        for start in range(0, len(samples), size):
            window = list(samples[start : start + size])
            filled = window + window[-1:] * (size - len(window))
            try:
                batch = map_arrays(np.asarray, self.model.predict_on_batch(_stacked(filled)))
            except Exception as error:
                raise NotProbed(f"the model cannot predict: {_said(error)}") from error
            predicted += [_row(batch, i) for i in range(len(window))]
        return predicted


@dataclass(frozen=True, eq=False)
class Tried:
    """Try points, each one once: what has been found stays found, so no search is led astray."""

    attempt: Try
    findings: dict[Point, Finding] = field(default_factory=dict)

    def __call__(self, points: Sequence[Point]) -> list[Finding]:
        if new := [point for point in dict.fromkeys(points) if point not in self.findings]:
            self.findings.update(zip(new, self.attempt(new), strict=True))
        return [self.findings[point] for point in points]


@dataclass(frozen=True)
class Space:
    """All points that can be drawn: rows, and severities in steps from the one nearest 0.

    ``ends`` are where the steps lead to, one end or two; none without a severity.
    """

    rows: int
    start: float = 0.0
    ends: tuple[float, ...] = ()
    levels: int = 0
    is_whole: bool = False
    first: int = 0

    @classmethod
    def of(cls, behaviour: Behaviour, rows: int) -> Space:
        if not _has_severity(behaviour):
            return cls(rows)
        low, high = behaviour.span
        start = min(max(low, 0), high)
        ends = tuple(end for end in (high, low) if end != start) or (start,)
        is_whole = is_integer(low) and is_integer(high)
        longest = max(abs(end - start) for end in ends)
        levels = int(longest) if is_whole else LEVELS if longest else 0
        # Raising a feature by nothing is no question.
        first = 1 if behaviour.kind is Kind.DIRECTIONAL else 0
        return cls(rows, start, ends, levels, is_whole, first)

    @property
    def size(self) -> int:
        return self.rows * max(1, len(self.ends)) * (self.levels - self.first + 1)

    def at(self, level: int, end: int, row: int) -> Point:
        """Return the point at a level on the way to an end."""
        if not self.ends:
            return Point(row)
        part = (self.ends[end] - self.start) * level / max(1, self.levels)
        # 0.3, not 0.30000000000000004: a severity is read, and typed again, by people.
        severity = float(f"{self.start + part:.12g}")
        return Point(row, round(severity) if self.is_whole else severity)

    def all(self) -> list[Point]:
        """Return every point, the smallest severities first."""
        ends = range(max(1, len(self.ends)))
        levels = range(self.first, self.levels + 1)
        every = (
            self.at(level, e, row) for level in levels for e in ends for row in range(self.rows)
        )
        return list(dict.fromkeys(every))

    def by_chance(self, chance: random.Random) -> Point:
        """Return a point drawn evenly."""
        level, end = (
            chance.randint(self.first, self.levels),
            chance.randrange(max(1, len(self.ends))),
        )
        return self.at(level, end, chance.randrange(self.rows))

    def holds(self, point: Point) -> bool:
        """Tell whether a point of an earlier run could be drawn here."""
        if not 0 <= point.row < self.rows or (point.severity is None) != (not self.ends):
            return False
        if point.severity is None:
            return True
        inside = min(self.start, *self.ends) <= point.severity <= max(self.start, *self.ends)
        is_nothing = self.first == 1 and point.severity == self.start
        return inside and not is_nothing and (is_integer(point.severity) or not self.is_whole)


def _drawn(space: Space, wanted: int, seed: int) -> list[Point]:
    """Return different points, drawn by Hypothesis; one in nine is as severe as can be.

    It draws them by the batch: of single ones every fourth would be the simplest there is.
    """
    import hypothesis
    from hypothesis import strategies

    span = space.levels - space.first

    @strategies.composite
    def one(draw: Callable[[Any], Any]) -> Point:
        level = space.first + min(span, _integer(draw, span + span // 8))
        end = _integer(draw, max(0, len(space.ends) - 1))
        return space.at(level, end, _integer(draw, space.rows - 1))

    points: dict[Point, None] = {}
    size = min(BATCH, wanted)
    with _without_traces():
        for part in range(8):  # later batches repeat some of what earlier ones held
            batches = 1 + math.ceil((wanted - len(points)) / size)

            @_settings(hypothesis.Phase.generate, max_examples=batches)
            @hypothesis.seed(f"{seed}.{part}")
            @hypothesis.given(strategies.lists(one(), min_size=size, max_size=size))
            def draw(batch: list[Point]) -> None:
                points.update(dict.fromkeys(batch))

            draw()
            if len(points) >= wanted:
                break
    return list(points)[:wanted]


def _shrunk(space: Space, found: Finding, tried: Tried, seed: int) -> Finding:
    """Return the violation that Hypothesis shrinks this one to: lowest severity, then first row."""
    import hypothesis
    from hypothesis import strategies

    end, top = _place(space, found.point)

    @strategies.composite
    def points(draw: Callable[[Any], Any]) -> Point:
        # Most of each range is the place of what was found: Hypothesis draws that at once,
        # and has only what is smaller to go to.
        span = top - space.first
        level = space.first + min(span, _integer(draw, 8 * span))
        row = min(found.point.row, _integer(draw, 8 * found.point.row))
        point = space.at(level, end, row)
        same = level == top and row == found.point.row
        return found.point if same else point

    def violates(point: Point) -> bool:
        try:
            return tried([point])[0].is_violation
        except NotProbed:
            return False  # Something was found already; this is not smaller.

    settings = _settings(hypothesis.Phase.generate, hypothesis.Phase.shrink, max_examples=100)
    with _without_traces():
        try:
            chance = random.Random(seed)
            point = hypothesis.find(points(), violates, settings=settings, random=chance)
        except hypothesis.errors.NoSuchExample:  # at odds of 1 to 10^60
            return found
    return tried([point])[0]


def _integer(draw: Callable[[Any], Any], most: int) -> int:
    """Draw a whole number from 0, the simplest, to most."""
    from hypothesis import strategies

    return int(draw(strategies.integers(FAR, FAR + most))) - FAR


def _settings(*phases: hypothesis.Phase, max_examples: int) -> hypothesis.settings:
    import hypothesis

    return hypothesis.settings(
        max_examples=max_examples,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Have Hypothesis keep what it writes out of the user's folder.

    Even without a database it keeps the constants of loaded modules in ``.hypothesis``.
    """
    from hypothesis import configuration

    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory(prefix="modeltune-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def _place(space: Space, point: Point) -> tuple[int, int]:
    """Return the end and level of a point; of one between two levels the higher."""
    if point.severity is None or not space.levels:
        return 0, space.levels
    end = max(
        range(len(space.ends)),
        key=lambda e: (space.ends[e] - space.start) * (float(point.severity or 0) - space.start),
    )
    distance = abs((point.severity - space.start) / (space.ends[end] - space.start))
    return end, min(space.levels, math.ceil(distance * space.levels - 1e-6))


def _weight(point: Point) -> tuple[float, int]:
    return abs(point.severity or 0), point.row


def _held(part: Part) -> Part:
    """Return the part in memory; of a stream the first samples of one shape."""
    if part.stream is None:
        return part
    held: Part | None = None
    for x, y, _ in part.batches(BATCH):
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
        raise NotProbed(f"{part.name} yields no batch")
    return held.take(np.arange(min(held.size, STREAMED)))


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape[1:] for _, array in leaves(arrays)]


def _first_look(predictor: Predictor, part: Part, behaviour: Behaviour) -> Output | None:
    """Return the output that is meant, as it is on the first rows; predict these twice.

    None for a relation over all of several outputs.
    """
    rows = list(range(min(part.size, BATCH)))
    once = predictor.rows(rows)
    for row, (one, other) in enumerate(
        zip(once, predictor.samples([predictor.sample(r) for r in rows]), strict=True)
    ):
        for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
            if not np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True):
                at = int(np.argmax(~np.isclose(a, b, rtol=1e-3, atol=1e-5).reshape(-1)))
                raise NotProbed(
                    f"the model predicts test[{row}] as {a.reshape(-1)[at]:.6g} and then as "
                    f"{b.reshape(-1)[at]:.6g}: something in it is random at inference, so no "
                    "behaviour can be shown"
                )
    try:
        outputs = predict(predictor.model, part.take(np.resize(rows, BATCH)), BATCH).outputs
    except Exception as error:
        raise NotProbed(f"the model cannot predict: {_said(error)}") from error
    names = [output.name for output in outputs]
    if behaviour.output is not None:
        if behaviour.output not in names:
            named = ", ".join(name or "a single one without a name" for name in names)
            raise NotProbed(f'the model has no output "{behaviour.output}"; its outputs: {named}')
        return outputs[names.index(behaviour.output)]
    if len(outputs) == 1:
        return outputs[0]
    if behaviour.kind is Kind.METAMORPHIC:
        return None
    raise NotProbed(
        f"the model has the outputs {', '.join(names)}; say which is meant: output={typed(names[0])}"
    )


def _tolerance(behaviour: Behaviour, output: Output, train: Part) -> Array | None:
    """Return how far a prediction may move; None where classes or a relation are compared."""
    is_direction = behaviour.kind is Kind.DIRECTIONAL
    if behaviour.kind is Kind.METAMORPHIC or not (_is_number(output) or is_direction):
        return None
    if behaviour.tolerance is not None:
        return np.asarray(float(behaviour.tolerance))
    if not _is_number(output):
        return np.asarray(UNNOTICED)
    target = dict(leaves(_held(train).y)).get(output.path)
    if target is None or target.dtype.kind not in "biuf":
        raise NotProbed("the target in train holds no numbers to derive it from; write tolerance=")
    numbers = target.astype(np.float64)
    per_column = numbers.std(axis=0)
    is_alike = per_column.size == 1 or per_column.shape == output.predicted.shape[1:]
    spread = per_column if is_alike else numbers.std()
    return np.asarray((UNNOTICED if is_direction else TOLERATED) * spread)


def _question(
    behaviour: Behaviour,
    predictor: Predictor,
    part: Part,
    output: Output | None,
    tolerance: Array | None,
) -> Question:
    if behaviour.kind is Kind.METAMORPHIC:
        return _relation(behaviour, predictor, part.size, output)
    if output is None:
        raise NotProbed("the model has no output with a target")
    if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY:
        return _cases(behaviour, predictor, output, tolerance)
    return _change(behaviour, predictor, part.size, output, tolerance)


def _change(
    behaviour: Behaviour,
    predictor: Predictor,
    rows: int,
    output: Output,
    tolerance: Array | None,
) -> Question:
    """Ask what the prediction becomes when a row is transformed or its feature raised."""
    changed = _changed(behaviour, predictor)
    score = _score(behaviour, output) if behaviour.kind is Kind.DIRECTIONAL else None
    said = _subject(behaviour)

    def attempt(points: Sequence[Point]) -> list[Finding]:
        before = predictor.rows([point.row for point in points])
        after = predictor.samples([changed(point) for point in points])
        findings = []
        for point, raw_before, raw_after in zip(points, before, after, strict=True):
            one, other = (_of(output, predictor.model, raw) for raw in (raw_before, raw_after))
            if score is None:
                is_violation, moved = _moved(output, one, other, tolerance)
            else:
                is_violation, moved = _fell(behaviour, output, score, one, other, tolerance)
            if is_violation:
                severity = "" if point.severity is None else f" {_number(point.severity)}"
                text = f"test[{point.row}] {said}{severity}: {moved}"
                said_before, said_after = (_prediction(output, p, score) for p in (one, other))
                findings.append(Finding(point, True, said_before, said_after, text))
            else:
                findings.append(Finding(point, False))
        return findings

    return Question(rows, predictor.sample, changed, attempt)


def _subject(behaviour: Behaviour) -> str:
    if behaviour.kind is Kind.DIRECTIONAL:
        return f"{behaviour.name} raised by"
    return behaviour.name if not _has_severity(behaviour) else f"{behaviour.name} severity"


def _relation(
    behaviour: Behaviour, predictor: Predictor, rows: int, output: Output | None
) -> Question:
    """Ask whether the author's relation holds for a row."""

    def ask(point: Point, raw: Arrays) -> Finding:
        where, said = f"test[{point.row}] {behaviour.name}", ""
        try:
            held = behaviour.subject(
                lambda given: _predicted(predictor, given), predictor.sample(point.row)
            )
        except NotProbed:
            raise
        except AssertionError as error:
            held, said = False, next(iter(str(error).splitlines()), "")
        except Exception as error:
            raise NotProbed(f"{where} raised {_said(error)}") from error
        if held is None or (isinstance(held, bool | np.bool_) and held):
            return Finding(point, False)
        if not isinstance(held, bool | np.bool_):
            raise NotProbed(f"{where} returned {_kind_of(held)}; return True or False, or assert")
        before = None if output is None else _of(output, predictor.model, raw)
        text = f"{where} does not hold{f': {said}' if said else ''}"
        return Finding(point, True, _prediction(output, before), None, text)

    def attempt(points: Sequence[Point]) -> list[Finding]:
        raws = predictor.rows([point.row for point in points])
        return [ask(point, raw) for point, raw in zip(points, raws, strict=True)]

    return Question(rows, predictor.sample, lambda _: None, attempt)


def _predicted(predictor: Predictor, given: Arrays) -> Arrays:
    """Predict one sample, or a batch of samples, as a relation passes them."""
    sample = predictor.sample(0)
    pairs = list(zip(leaves(sample), leaves(_arrays_like(given, sample)), strict=False))
    if pairs and all(one.ndim + 1 == array.ndim for (_, one), (_, array) in pairs):
        shaped = _arrays_like(given, sample)
        size = len(next(array for _, array in leaves(shaped)))
        rows = [_row(shaped, i) for i in range(size)]
        if not rows:
            raise NotProbed("predict was given a batch of no samples")
        return _stacked(predictor.samples([_checked(r, sample, "predict was given") for r in rows]))
    return predictor.samples([_checked(given, sample, "predict was given")])[0]


def _cases(
    behaviour: Behaviour, predictor: Predictor, output: Output, tolerance: Array | None
) -> Question:
    """Ask whether the model does what is expected of it in the author's cases."""
    like = predictor.sample(0)
    cases = _called(behaviour) if callable(behaviour.subject) else list(behaviour.subject)
    if not cases:
        raise NotProbed(f"{behaviour.name} returned no case")
    samples = [_checked(x, like, f"case[{i}] is") for i, (x, _) in enumerate(cases)]

    def attempt(points: Sequence[Point]) -> list[Finding]:
        raws = predictor.samples([samples[point.row] for point in points])
        findings = []
        for point, raw in zip(points, raws, strict=True):
            predicted = _of(output, predictor.model, raw)
            expected = cases[point.row][1]
            where = f"case[{point.row}]"
            if _is_expected(where, output, expected, predicted, tolerance):
                findings.append(Finding(point, False))
                continue
            text = f"{where}: expected {_wanted(expected)}, predicted {_worded(output, predicted)}"
            findings.append(Finding(point, True, None, _prediction(output, predicted), text))
        return findings

    return Question(len(cases), samples.__getitem__, lambda _: None, attempt)


def _called(behaviour: Behaviour) -> list[tuple[Any, Any]]:
    try:
        given = behaviour.subject()
    except Exception as error:
        raise NotProbed(f"{behaviour.name}() raised {_said(error)}") from error
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise NotProbed(f"{behaviour.name}() returned {_kind_of(given)}; return arrays (x, y)")
    x, y = (map_arrays(np.asarray, each) for each in given)
    sizes = {len(array) if array.ndim else -1 for _, array in (*leaves(x), *leaves(y))}
    if len(sizes) != 1 or -1 in sizes or not isinstance(y, np.ndarray):
        raise NotProbed(f"{behaviour.name}() returned x and y of different numbers of samples")
    return [(_row(x, i), y[i]) for i in range(sizes.pop())]


def _is_expected(
    where: str, output: Output, expected: Any, predicted: Array, tolerance: Array | None
) -> bool:
    if callable(expected):
        try:
            answer = expected(predicted)
        except AssertionError:
            return False
        except Exception as error:
            raise NotProbed(f"{where}: {typed(expected)} raised {_said(error)}") from error
        if not isinstance(answer, bool | np.bool_):
            raise NotProbed(
                f"{where}: {typed(expected)} returned {_kind_of(answer)}; return True or False"
            )
        return bool(answer)
    decision = _decided(output, predicted)
    wanted = np.asarray(expected)
    if wanted.dtype.kind not in "biuf" or wanted.size != decision.size:
        what = "a number" if _is_number(output) else "the number of a class"
        raise NotProbed(f"{where}: {_wanted(expected)} is expected; write {what} or a function")
    wanted = wanted.reshape(decision.shape)
    if not np.isfinite(predicted).all():
        return False
    if _is_number(output):
        return bool((np.abs(decision - wanted) <= _slack(tolerance, decision, wanted)).all())
    if (
        output.task is Task.MULTICLASS
        and not ((wanted >= 0) & (wanted < predicted.shape[-1])).all()
    ):
        raise NotProbed(
            f"{where}: {_wanted(expected)} is expected, but the model's classes are 0 to "
            f"{predicted.shape[-1] - 1}"
        )
    return bool((decision == wanted).all())


def _wanted(expected: Any) -> str:
    if callable(expected):
        return typed(expected)
    array = np.asarray(expected)
    return typed(array.item()) if array.size == 1 else typed(array.tolist())


def _changed(behaviour: Behaviour, predictor: Predictor) -> Callable[[Point], Arrays]:
    """Return what changes the sample of a point, and refuses what is no sample after it."""
    sample = predictor.sample(0)
    function = behaviour.subject
    if not callable(function):
        function = _raise(behaviour, sample)
    has_severity = _has_severity(behaviour)

    def changed(point: Point) -> Arrays:
        at = "" if point.severity is None else f" at severity {_number(point.severity)}"
        where = f"{behaviour.name} on test[{point.row}]{at}"
        x = predictor.sample(point.row)
        try:
            returned = function(x, point.severity) if has_severity else function(x)
        except Exception as error:
            raise NotProbed(f"{where} raised {_said(error)}") from error
        return _checked(returned, sample, f"{where} returned")

    return changed


def _raise(behaviour: Behaviour, sample: Arrays) -> Callable[[Arrays, float], Arrays]:
    """Return what adds an amount to a column, or to an input by its name."""
    feature = behaviour.subject
    if isinstance(feature, str):
        if not isinstance(sample, Mapping) or feature not in sample:
            has = f"are {', '.join(sample)}" if isinstance(sample, Mapping) else "have no names"
            raise NotProbed(f'there is no input "{feature}": the inputs {has}')
        array = sample[feature]
    else:
        if not isinstance(sample, np.ndarray):
            raise NotProbed(
                f"column {feature} is in one of several inputs; write an input's name, or a "
                "function (x, amount) -> x"
            )
        if sample.ndim == 0 or not -sample.shape[-1] <= feature < sample.shape[-1]:
            columns = sample.shape[-1] if sample.ndim else 0
            raise NotProbed(f"there is no column {feature}: a sample has {columns}")
        array = sample
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = getattr(array, "dtype", type(array).__name__)
        raise NotProbed(f"{behaviour.name} holds {kind}, to which nothing can be added")
    if array.dtype.kind != "f" and not is_integer(behaviour.by):
        raise NotProbed(
            f"{behaviour.name} holds whole numbers ({array.dtype}); write a whole number for "
            f"by={behaviour.by!r}"
        )

    def raised(values: Array, amount: float) -> Array:
        if array.dtype.kind == "f":
            return np.asarray(values + amount)
        # 250 + 10 is not 4: whole numbers end at the largest of their dtype.
        most = int(np.iinfo(array.dtype).max)
        return np.minimum(values.astype(object) + amount, most).astype(array.dtype)

    def add(x: Arrays, amount: float) -> Arrays:
        if isinstance(feature, str):
            return {**x, feature: raised(x[feature], amount)}
        x[..., feature] = raised(x[..., feature], amount)
        return x

    return add


def _has_severity(behaviour: Behaviour) -> bool:
    """Tell whether a function is to be called with a severity: it must take two arguments."""
    if behaviour.kind is Kind.DIRECTIONAL:
        return True
    if behaviour.kind is not Kind.INVARIANT:
        return False
    if isinstance(behaviour.strength, tuple | list):
        return True
    try:
        parameters = inspect.signature(behaviour.subject).parameters.values()
    except (TypeError, ValueError):
        return False  # a ufunc such as np.negative has none
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(needed) >= 2


def _checked(given: Any, sample: Arrays, said: str) -> Arrays:
    """Return given as arrays of the sample's structure, shape and dtype, or say what differs."""
    arrays = _arrays_like(given, sample)
    got, wanted = dict(leaves(arrays)), dict(leaves(sample))
    if set(got) != set(wanted):
        inputs = ", ".join(wanted) or "a single array"
        raise NotProbed(f"{said} {_kind_of(given)}; a sample is {inputs}")
    for path, array in wanted.items():
        other, of = got[path], f' for "{path}"' if path else ""
        if array.dtype.kind in "USO":
            continue
        if other.dtype.hasobject:
            raise NotProbed(f"{said} {_kind_of(given)}{of}; a sample is an array of {array.dtype}")
        if other.shape != array.shape:
            raise NotProbed(
                f"{said} an array of shape {other.shape}{of}; a sample's is {array.shape}"
            )
        # Computing with a Python or NumPy number widens: Keras would narrow it again as well.
        if not np.can_cast(other.dtype, array.dtype, "same_kind"):
            raise NotProbed(
                f"{said} {other.dtype}{of}; a sample is {array.dtype}: end with .astype(x.dtype)"
            )
        if other.dtype.kind == "f" and not np.isfinite(other).all():
            kind = "NaN" if np.isnan(other).any() else "infinite values"
            raise NotProbed(f"{said} {kind}{of}")

    def cast(path: str, array: Array) -> Array:
        # Text keeps its own length: that of the sample's dtype would cut it.
        dtype = wanted[path].dtype
        return array.astype(str if dtype.kind == "U" else dtype, copy=False)

    return _filled(sample, {path: cast(path, array) for path, array in got.items()})


def _arrays_like(given: Any, sample: Arrays) -> Arrays:
    """Return given as arrays, lists of numbers too where a sample is a single array."""
    if isinstance(sample, Mapping | tuple | list):
        is_alike = isinstance(given, Mapping) == isinstance(sample, Mapping)
        if not is_alike or not isinstance(given, Mapping | tuple | list):
            return np.asarray(given, dtype=object)
        if isinstance(given, Mapping):
            return {str(key): np.asarray(value) for key, value in given.items()}
        return [np.asarray(value) for value in given]
    try:
        return np.asarray(given)
    except ValueError:
        return np.asarray(None)


def _filled(sample: Arrays, arrays: Mapping[str, Array]) -> Arrays:
    """Return the sample's structure, its arrays replaced by those of the same paths."""
    paths = iter([path for path, _ in leaves(sample)])
    return map_arrays(lambda _: arrays[next(paths)], sample)


def _stacked(samples: Sequence[Arrays]) -> Arrays:
    first = samples[0]
    columns = zip(*([array for _, array in leaves(sample)] for sample in samples), strict=True)
    stacked = dict(zip([p for p, _ in leaves(first)], map(np.stack, columns), strict=True))
    return _filled(first, stacked)


def _row(batch: Arrays, row: int) -> Arrays:
    return map_arrays(lambda array: array[row, ...], batch)


def _of(output: Output, model: Model, raw: Arrays) -> Array:
    """Return this output of what the model predicted for one sample."""
    named = dict(leaves(raw))
    if not isinstance(raw, Mapping) and isinstance(raw, list | tuple):
        named = dict(zip(model.output_names, named.values(), strict=True))
    return np.asarray(named[output.name])


def _is_number(output: Output) -> bool:
    return output.task in (Task.REGRESSION, Task.OTHER)


def _probabilities(output: Output, predicted: Array) -> Array:
    numbers = predicted.astype(np.float64)
    if not output.from_logits or not np.isfinite(numbers).all():
        return numbers
    if output.task is Task.MULTICLASS:
        powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-numbers)))


def _decided(output: Output, predicted: Array) -> Array:
    """Return the class or classes an output names, as the report counts them, or the numbers."""
    if output.task is Task.MULTICLASS:
        return np.asarray(predicted.argmax(-1))
    if output.task in (Task.BINARY, Task.MULTILABEL):
        threshold = 0.0 if output.from_logits else 0.5
        return np.asarray(predicted > threshold).astype(int)
    return predicted.astype(np.float64)


def _confidence(output: Output, predicted: Array) -> float | None:
    """Return the probability of what is predicted, of an output that names a single class."""
    if output.task is Task.MULTICLASS and predicted.ndim == 1:
        return float(_probabilities(output, predicted).max())
    if output.task is Task.BINARY and predicted.size == 1:
        positive = float(_probabilities(output, predicted).reshape(-1)[0])
        return positive if _decided(output, predicted).item() else 1 - positive
    return None


def _moved(
    output: Output, before: Array, after: Array, tolerance: Array | None
) -> tuple[bool, str]:
    """Tell whether a prediction differs, and how, in words."""
    one, other = _decided(output, before), _decided(output, after)
    text = f"{_worded(output, before)} -> {_worded(output, after)}"
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return True, f"{text}, not finite"
    if not _is_number(output):
        return bool((one != other).any()), text
    distance, slack = np.abs(one - other), _slack(tolerance, one, other)
    at = int(np.argmax(distance - slack))
    moved = f"moved by {distance.flat[at]:.4g}, allowed are {slack.flat[at]:.4g}"
    return bool((distance > slack).any()), f"{text}, {moved}"


def _slack(tolerance: Array | None, one: Array, other: Array) -> Array:
    """Return how far two predictions may be apart: a tolerance of 0 still allows for rounding."""
    rounding = FLOAT32_STEPS * np.maximum(np.abs(one), np.abs(other))
    return np.asarray(rounding if tolerance is None else tolerance + rounding)


def _fell(
    behaviour: Behaviour,
    output: Output,
    score: Callable[[Array], float],
    one: Array,
    other: Array,
    tolerance: Array | None,
) -> tuple[bool, str]:
    """Tell whether a score moved against its direction, and how, in words."""
    before, after = score(one), score(other)
    whose = "" if _is_number(output) else f"P({1 if behaviour.of is None else behaviour.of}) "
    text = f"{whose}{before:.6g} -> {after:.6g}"
    if not (math.isfinite(before) and math.isfinite(after)):
        return True, f"{text}, not finite"
    against = "down" if behaviour.direction == "up" else "up"
    allowed = np.broadcast_to(0.0 if tolerance is None else tolerance, one.shape)
    slack = float(allowed.reshape(-1)[behaviour.of or 0]) if _is_number(output) else allowed.max()
    slack = float(slack) + FLOAT32_STEPS * max(abs(before), abs(after))
    wrong = before - after if against == "down" else after - before
    return wrong > slack, f"{text}, must not go {against}"


def _score(behaviour: Behaviour, output: Output) -> Callable[[Array], float]:
    """Return what reads the number that has a direction from one prediction."""
    task, of = output.task, behaviour.of
    width = int(np.prod(output.predicted.shape[1:], dtype=int))
    if task is Task.BINARY:
        if of not in (None, 0, 1):
            raise NotProbed(f"of={of}: the model says yes or no; write 0 or 1")
        return lambda p: abs((of == 0) - float(_probabilities(output, p).reshape(-1)[0]))
    if of is None and width > 1:
        what = "classes" if task in (Task.MULTICLASS, Task.MULTILABEL) else "columns"
        raise NotProbed(
            f"the model predicts {width} {what}; say which has the direction: of=0 to of={width - 1}"
        )
    if of is not None and of >= width:
        raise NotProbed(f"of={of}: the model predicts 0 to {width - 1}")
    return lambda p: float(_probabilities(output, p).reshape(-1)[of or 0])


def _worded(output: Output, predicted: Array) -> str:
    """Return a prediction in words: "7 (0.91)", "151.2", or the first of several."""
    decision = _decided(output, predicted).reshape(-1)
    if not np.isfinite(predicted).all():
        return "nan" if np.isnan(predicted).any() else "inf"
    if len(decision) > 6:
        digest = hashlib.sha256(np.ascontiguousarray(decision).tobytes()).hexdigest()[:8]
        return f"{len(decision)} values #{digest}"
    probability = _confidence(output, predicted)
    said = ", ".join(f"{value:.6g}" for value in decision)
    said = said if len(decision) == 1 else f"[{said}]"
    return said if probability is None else f"{said} ({probability:.2f})"


def _still_there(known: Sequence[Json], space: Space, question: Question) -> Iterator[Point]:
    """Yield the points of earlier runs whose rows are the same today."""
    for example in known:
        row, severity = example.get("row"), example.get("severity")
        if not is_integer(row) or not (severity is None or is_finite_number(severity)):
            continue
        point = Point(row, severity)
        if space.holds(point) and example.get("row_digest") == _digest(question.sample(row)):
            yield point


def _counterexample(
    behaviour: Behaviour, question: Question, found: Finding, *, known: bool
) -> Mapping[str, Json]:
    """Return what to keep and show of a violation, once it has come out the same again."""
    once, twice = question.changed(found.point), question.changed(found.point)
    pairs = zip(leaves(once), leaves(twice), strict=True)
    is_same = all(np.array_equal(one, other) for (_, one), (_, other) in pairs)
    if not is_same or not question.attempt([found.point])[0].is_violation:
        raise NotProbed(
            f"{found.text}; tried again it came out differently: {behaviour.name} is random. "
            "Draw what is random in it from a generator with a fixed seed"
        )
    x = question.sample(found.point.row)
    example: Json = plain(
        {
            "part": "case" if behaviour.kind is Kind.MINIMUM_FUNCTIONALITY else "test",
            "row": found.point.row,
            "severity": found.point.severity,
            "row_digest": _digest(x),
            "before": found.before,
            "after": found.after,
            "shown": [*_shown(x, once)],
            "text": found.text,
            "known": known,
        }
    )
    assert isinstance(example, dict)
    return example


def _prediction(
    output: Output | None, predicted: Array | None, score: Callable[[Array], float] | None = None
) -> Json:
    """Return a prediction as JSON, with the probability of what it is, or of what has a direction."""
    if output is None or predicted is None:
        return None
    decision = _decided(output, predicted)
    value = decision.item() if decision.size == 1 else _rounded(decision)
    if score is None or _is_number(output):
        return {"prediction": value, "probability": _confidence(output, predicted)}
    return {"prediction": value, "probability": score(predicted)}


def _shown(x: Arrays, x_after: Arrays) -> Iterator[Json]:
    """Yield what to show of each input: an image, the values that differ, or a summary.

    Without an ``after``, the sample as it is.
    """
    changed = dict(leaves(x_after))
    for path, before in leaves(x):
        after = changed.get(path)
        if after is not None and np.array_equal(before, after):
            continue
        shape = list(before.shape)
        what: dict[str, Json] = {"input": path, "shape": shape}
        is_small = before.dtype.kind in "biuf" and all(side <= PIXELS for side in shape[:2])
        if before.ndim in (2, 3) and is_small and (before.ndim == 2 or shape[2] <= 4):
            yield {**what, "kind": "image", "before": _rounded(before), "after": _rounded(after)}
        elif before.ndim <= 1 and before.size:
            flat = before.reshape(-1)
            other = None if after is None else after.reshape(-1)
            places = np.arange(flat.size) if other is None else np.flatnonzero(flat != other)
            values = [
                {
                    "at": int(at) if before.ndim else None,
                    "before": _rounded(flat[at]),
                    "after": None if other is None else _rounded(other[at]),
                }
                for at in places[:VALUES]
            ]
            yield {**what, "kind": "values", "values": values, "differ": len(places)}
        else:
            summary: dict[str, Json] = {"before": _summary(before), "after": _summary(after)}
            yield {**what, "kind": "summary", **summary}


def _summary(array: Array | None) -> Json:
    if array is None:
        return None
    said: dict[str, Json] = {"digest": _digest(array)}
    if array.dtype.kind in "biuf" and array.size:
        numbers = array.astype(np.float64)
        said |= {name: _rounded(getattr(numbers, name)()) for name in ("min", "mean", "max")}
    return said


def _rounded(array: Any) -> Json:
    """Return numbers as JSON to five digits, anything else as text."""
    if array is None:
        return None
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = np.array([float(f"{v:.5g}") for v in array.reshape(-1)]).reshape(array.shape)
        return array.tolist()
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


def _number(value: float) -> str:
    return f"{value:.12g}"


def _kind_of(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _said(error: BaseException) -> str:
    """Return an exception's type and first line."""
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}{f': {line}' if line else ''}"
