"""Where the probabilities of an output become decisions, and what was known when that was chosen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatingPoint:
    """From which probability on an output says yes. Lists have one entry, of labels one for each.

    Args:
        thresholds: a sample is of class 1, or has a label, where its probability is at least this.
        rule: as it was declared: ``mt.threshold(maximize="f1")``, or a number.
        part: the part of the data it was chosen on, None of a number that was declared.
        samples: how many that part has.
        positives: how many of them are of class 1, or have the label.
        scores: what the metric, or the cost, came to there; None where a label's was not chosen.
        low, high: between which 90 % of the thresholds are that resamples of the part choose; None where
            they were not drawn, as for a function.
    """

    thresholds: tuple[float, ...]
    rule: str
    part: str | None = None
    samples: int = 0
    positives: tuple[int, ...] = ()
    scores: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    @property
    def in_words(self) -> str:
        """In a phrase from where on it says yes."""
        few = ", ".join(f"{one:.4g}" for one in self.thresholds[:6])
        more = len(self.thresholds) - 6
        labels = "" if len(self.thresholds) == 1 else " (label by label)"
        chosen = "declared" if self.part is None else f"{self.rule} on {self.part}"
        return f"yes from {few}{f' and {more} more' if more > 0 else ''} on{labels}, {chosen}"
