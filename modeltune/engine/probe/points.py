"""Draw the points at which a behaviour is tried, and shrink a violation, with Hypothesis."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from modeltune.engine.probe.hypothesis_internals import files_elsewhere
from modeltune.engine.probe.transforms import PREDICTION_BATCH, Point, ProbeError, takes_severity
from modeltune.ground import is_integer
from modeltune.records import Json
from modeltune.specs import Behaviour, Kind

if TYPE_CHECKING:
    import hypothesis

LEVELS = 1000
"""Steps from the smallest severity to the largest, where severities are not whole numbers."""

FAR = 3 * 2**90
"""The smallest integer that Hypothesis is asked for.

Near 0 it prefers small integers, and in one draw of twenty it takes a constant from the modules
that happen to be loaded, so that processes would draw differently. Out here it draws uniformly.
"""


@dataclass(frozen=True, eq=False)
class PointResult:
    """What came of one point; for a violation also both predictions, and a sentence about it."""

    point: Point
    is_violation: bool
    before: Json = None
    after: Json = None
    text: str = ""


TryPoints: TypeAlias = Callable[[Sequence[Point]], list[PointResult]]
"""A function that tries points together and returns their results in the same order."""


@dataclass(frozen=True, eq=False)
class ResultCache:
    """Try each point once and remember its result, so that a search never sees one change."""

    attempt: TryPoints
    results: dict[Point, PointResult] = field(default_factory=dict)

    def __call__(self, points: Sequence[Point]) -> list[PointResult]:
        if new := [point for point in dict.fromkeys(points) if point not in self.results]:
            self.results.update(zip(new, self.attempt(new), strict=True))
        return [self.results[point] for point in points]


@dataclass(frozen=True)
class PointSpace:
    """All points that can be drawn: rows, and severities in steps from the one nearest 0.

    The steps lead to one or two ``ends``; there is none where nothing has a severity.
    """

    rows: int
    start: float = 0.0
    ends: tuple[float, ...] = ()
    levels: int = 0
    is_whole: bool = False
    first: int = 0

    @classmethod
    def of(cls, behaviour: Behaviour, rows: int) -> PointSpace:
        if not takes_severity(behaviour):
            return cls(rows)
        low, high = behaviour.span
        start = min(max(low, 0), high)
        ends = tuple(end for end in (high, low) if end != start) or (start,)
        is_whole = is_integer(low) and is_integer(high)
        longest = max(abs(end - start) for end in ends)
        levels = int(longest) if is_whole else LEVELS if longest else 0
        # Raising a feature by nothing asks nothing.
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
        points = (
            self.at(level, e, row) for level in levels for e in ends for row in range(self.rows)
        )
        return list(dict.fromkeys(points))

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


def draw_points(space: PointSpace, wanted: int, seed: int) -> list[Point]:
    """Return different points, drawn by Hypothesis; one in nine has the highest severity.

    Hypothesis draws whole batches: drawn one by one, every fourth would be the simplest point.
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
    size = min(PREDICTION_BATCH, wanted)
    with files_elsewhere():
        for part in range(8):  # later batches repeat some points of earlier ones
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


def shrink(
    space: PointSpace, violation: PointResult, results: ResultCache, seed: int
) -> PointResult:
    """Return the smallest violation that Hypothesis finds: lowest severity, then first row."""
    import hypothesis
    from hypothesis import strategies

    end, top = _place(space, violation.point)

    @strategies.composite
    def points(draw: Callable[[Any], Any]) -> Point:
        # Most of each range stands for the violation: Hypothesis draws that at once, and can go
        # to smaller points only.
        span = top - space.first
        level = space.first + min(span, _integer(draw, 8 * span))
        row = min(violation.point.row, _integer(draw, 8 * violation.point.row))
        point = space.at(level, end, row)
        same = level == top and row == violation.point.row
        return violation.point if same else point

    def violates(point: Point) -> bool:
        try:
            return results([point])[0].is_violation
        except ProbeError:
            return False  # There is a violation already; this is no smaller one.

    settings = _settings(hypothesis.Phase.generate, hypothesis.Phase.shrink, max_examples=100)
    with files_elsewhere():
        try:
            chance = random.Random(seed)
            point = hypothesis.find(points(), violates, settings=settings, random=chance)
        except hypothesis.errors.NoSuchExample:  # at odds of 1 to 10^60
            return violation
    return results([point])[0]


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


def _place(space: PointSpace, point: Point) -> tuple[int, int]:
    """Return the end and level of a point; between two levels, the higher one."""
    if point.severity is None or not space.levels:
        return 0, space.levels
    end = max(
        range(len(space.ends)),
        key=lambda e: (space.ends[e] - space.start) * (float(point.severity or 0) - space.start),
    )
    distance = abs((point.severity - space.start) / (space.ends[end] - space.start))
    return end, min(space.levels, math.ceil(distance * space.levels - 1e-6))


def weight(point: Point) -> tuple[float, int]:
    """Return the key that orders violations by size: severity, then row."""
    return abs(point.severity or 0), point.row
