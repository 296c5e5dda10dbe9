"""The models of one protocol, best first, and which of them are really different from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modeltune.records import Run
from modeltune.reports.tables import clean, mean_std, number, text_table

APART = 0.05
"""The chance that any two equal models of a protocol are said to be different."""

HEADERS = ("", "spec", "run", "status", "tested", "behind the best", "p", "really different")


@dataclass(frozen=True, eq=False)
class RankedRun:
    """A run among those of its protocol.

    Args:
        run: the record.
        is_best: the best of those that passed.
        behind: how much worse its metric is than the best one's, below 0 of a better one that is red;
            None of the best itself, or where there is none.
        p: the two-sided p-value of "it is as good as the best", with Holm's correction over all pairs.
        by: which question this answers and by which test, or why there is no test.
    """

    run: Run
    is_best: bool = False
    behind: float | None = None
    p: float | None = None
    by: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is really different from the best, in words."""
        if self.is_best or self.behind is None:
            return "the best" if self.is_best else "-"
        if self.p is None:
            return f"not known: {self.by.removeprefix('not compared: ')}"
        return f"yes ({self.by})" if self.p <= APART else f"cannot tell ({self.by})"


@dataclass(frozen=True, eq=False)
class Ranking:
    """The runs of a protocol, at most one for each spec, the best first.

    Args:
        protocol: its address, ``model_specs/spec_digits.py::on_digits``.
        metric: what they are ranked by, on test.
        ranked: those with a finite value.
        left_out: a sentence on each that could not be ranked.
    """

    protocol: str
    metric: str
    ranked: tuple[RankedRun, ...]
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> Run | None:
        """The best of those that passed, None where none did."""
        return next((one.run for one in self.ranked if one.is_best), None)


def ranking_rows(ranking: Ranking) -> list[list[str]]:
    """Return a row of ``HEADERS`` for each ranked run."""
    return [
        [
            "best" if one.is_best else "",
            one.run.spec,
            one.run.id,
            one.run.status.value + (" (cached)" if one.run.cached else ""),
            mean_std(one.run.scores.get(ranking.metric)),
            number(one.behind),
            number(one.p),
            one.verdict,
        ]
        for one in ranking.ranked
    ]


def ranking_title(ranking: Ranking) -> str:
    """Return what a ranking is headed with."""
    return f"{ranking.protocol}: {ranking.metric} on test"


def ranking_text(ranking: Ranking, columns: int | None = None) -> str:
    """Return a ranking as text, in so many columns if that is possible."""
    table = text_table(list(HEADERS), ranking_rows(ranking), columns)
    lines = [clean(ranking_title(ranking)), table, *map(clean, ranking.left_out)]
    if ranking.best is None:
        lines.append("no run passed, so that none is the best")
    return "\n".join(lines)


def rankings_text(rankings: Sequence[Ranking]) -> str:
    """Return several rankings as text, each below an empty line; empty of none."""
    return "\n".join(f"\n{ranking_text(one)}" for one in rankings)
