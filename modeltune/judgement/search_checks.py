"""Check a search by its winner: do refits reach its score, and is it at the end of a range?"""

from __future__ import annotations

import functools
import math
import statistics
import struct
from collections.abc import Mapping, Sequence

from modeltune.records import (
    Area,
    AtBound,
    HyperParameters,
    Json,
    Outcome,
    RefitScores,
    Scores,
    Values,
    Verdict,
    WinnerAtBounds,
    check_verdict,
)
from modeltune.specs import RESOURCES, Direction

_verdict = functools.partial(check_verdict, Area.SEARCH)

SMALL_NOISE = 0.1
"""The noise of a score to be maximized, between 0 and 1, that is small enough to say so much at least."""

AT_BOUND = 0.01
"""The share of a range at either end that counts as its bound."""

FEWEST_VALUES = 4
"""Of fewer values most are ends: a winner there says nothing."""


def check_refit(
    search_score: float,
    refit_values: Sequence[float],
    direction: Direction,
    rows: int | None = None,
) -> Verdict:
    """Tell whether refits reach the search's best score, and by how much they miss it.

    The optimism, search minus mean of the refits where larger is better, is the measured
    number. The best of many trials is drawn by luck as well as by merit, so some is to be
    expected; WARNED when it exceeds the 99 % prediction interval of one more refit,
    t * std * sqrt(1 + 1/k), or three standard errors of a share where there is one refit.

    Args:
        search_score: the objective of the winner in the search.
        refit_values: the objective of each refit, chosen among its epochs as the search does.
        direction: which way is better.
        rows: the rows of the validation part when the objective is a share of them, such as
            an accuracy; None otherwise.

    Returns:
        INCONCLUSIVE where the noise is not known, or so large that even a perfect score of the
        search would be within it.
    """
    gate = "search.refit"
    if not refit_values or not all(math.isfinite(v) for v in (search_score, *refit_values)):
        listed = ", ".join(f"{value:.6g}" for value in refit_values) or "nothing"
        reason = f"not comparable: the search scored {search_score:.6g}, the refits {listed}"
        return _verdict(gate, Outcome.ERROR, None, None, reason)
    mean = statistics.fmean(refit_values)
    sign = 1 if direction is Direction.MAX else -1
    optimism = sign * (search_score - mean)
    noise = _noise(mean, refit_values, rows)
    count = f"{len(refit_values)} refit{'s' if len(refit_values) > 1 else ''}"
    compared = f"the search scored {search_score:.6g}, {count} {mean:.6g} on average"
    details = RefitScores(search_score, tuple(refit_values))
    if optimism <= 0:
        reason = f"{compared}: not worse than the search"
        return _verdict(gate, Outcome.PASSED, optimism, noise, reason, details)
    if noise is None:
        reason = f"{compared}; one refit does not tell how far seeds are apart: validate with 3"
        return _verdict(gate, Outcome.INCONCLUSIVE, optimism, None, reason, details)
    if optimism <= noise and noise >= _telling_noise(mean, search_score, refit_values, direction):
        reason = (
            f"{compared}: {optimism:.4g} worse; these refits tell nothing, for one more could lie "
            f"{noise:.4g} off, and even a perfect score would be within that noise: validate with "
            "more seeds"
        )
        return _verdict(gate, Outcome.INCONCLUSIVE, optimism, noise, reason, details)
    if optimism <= noise:
        reason = f"{compared}: {optimism:.4g} worse, within the noise of {noise:.4g}"
        return _verdict(gate, Outcome.PASSED, optimism, noise, reason, details)
    reason = (
        f"{compared}: {optimism:.4g} worse, more than the noise of {noise:.4g}; the search's "
        "score is optimistic: trust the refits, or search with more validation rows"
    )
    return _verdict(gate, Outcome.WARNED, optimism, noise, reason, details)


def _noise(mean: float, values: Sequence[float], rows: int | None) -> float | None:
    """Return how far below the refits one more fit may lie by chance; None of a single number."""
    is_share = rows is not None and rows > 0 and 0 <= mean <= 1
    if len(values) < 2:
        # Even a share next to 0 or 1 may change by one row.
        return 3 * math.sqrt(max(mean * (1 - mean), 1 / rows) / rows) if is_share and rows else None
    from scipy.special import stdtrit

    spread = (
        float(stdtrit(len(values) - 1, 0.99))
        * statistics.stdev(values)
        * math.sqrt(1 + 1 / len(values))
    )
    # Where refits agree by luck, one row and the rounding of float32 remain as noise.
    step = 1 / rows if is_share and rows else 0.0
    return max(spread, step + 1e-6 * abs(mean))


def _telling_noise(
    mean: float, search_score: float, values: Sequence[float], direction: Direction
) -> float:
    """Return the noise from which on no score of a search could stand out; infinite if one always can.

    Scores to be maximized that are all between 0 and 1 are taken to end at 1, such as an
    accuracy or an AUC; those to be minimized that are all positive, at 0. Noise of less than
    ``SMALL_NOISE`` of that range tells enough, wherever it ends, where the score is maximized.
    """
    known = [*values, search_score]
    if direction is Direction.MAX and all(0 <= value <= 1 for value in known):
        return max(1 - mean, SMALL_NOISE)
    if direction is Direction.MIN and all(value >= 0 for value in known):
        return mean
    return math.inf


def check_bounds(
    best_values: Values, space: HyperParameters, trials: Sequence[Values] = ()
) -> Verdict:
    """Tell whether the winner sits at an end of a range, where a better value may lie beyond.

    Ranges are those of ``hp.Int`` and ``hp.Float`` and the numbers of an ordered
    ``hp.Choice``, of ``FEWEST_VALUES`` or more. The end is the last value a step reaches, or the
    outermost hundredth of the range, on a logarithmic scale where that is how it is searched.
    Nothing lies beyond 0, where a range begins, nor beyond 1 in one of fractions from 0 to 1.

    Args:
        best_values: the winner's values.
        space: the configuration of the ``keras_tuner.HyperParameters``.
        trials: the values of all trials, to say how many were there.
    """
    gate = "search.bounds"
    sentences: list[str] = []
    at_bound: list[AtBound] = []
    ranges = 0
    for entry in space["space"]:
        config = entry["config"]
        name = config["name"]
        if name not in best_values or not _is_active(config, best_values):
            continue
        bounds = _range(entry["class_name"], config)
        if bounds is None:
            continue
        ranges += 1
        value = best_values[name]
        assert isinstance(value, int | float)  # that is what has a range
        low, high = bounds
        place = _place(float(value), low, high, config.get("sampling"))
        if AT_BOUND < place < 1 - AT_BOUND:
            continue
        bound = low if place <= AT_BOUND else high
        if bound == 0 == low or (bound == high == 1 and low == 0):
            continue  # rates, shares and counts end there
        end = "lowest" if bound == low else "highest"
        there = sum(1 for values in trials if values.get(name) == value)
        of = f" ({there} of {len(trials)} trials there)" if trials else ""
        sentences.append(f"{name} = {value:g} is the {end} of {low:g} to {high:g}{of}")
        at_bound.append(AtBound(name, value, bound, low, high))
    details = WinnerAtBounds(tuple(at_bound), ranges)
    if sentences:
        reason = f"{'; '.join(sentences)}. A better value may lie beyond: widen the range"
        return _verdict(gate, Outcome.WARNED, float(len(sentences)), 0.0, reason, details)
    reason = "the winner is inside all ranges" if ranges else "no hyperparameter has a range"
    return _verdict(gate, Outcome.PASSED, 0.0, 0.0, reason, details)


def check_space(space: HyperParameters) -> Verdict | None:
    """Warn of what keras-tuner accepts without a word: defaults out of range, names of two kinds.

    Args:
        space: the configuration of the ``keras_tuner.HyperParameters``.
    """
    kinds: dict[str, set[str]] = {}
    sentences: list[str] = []
    for entry in space["space"]:
        kind, config = entry["class_name"], entry["config"]
        name, default = config["name"], config.get("default")
        kinds.setdefault(name, set()).add(kind)
        if kind in ("Int", "Float") and isinstance(default, int | float):
            low, high = config["min_value"], config["max_value"]
            if not low <= default <= high:
                sentences.append(
                    f"the default {default:g} of {name} is outside {low:g} to {high:g}"
                )
    for name, several in kinds.items():
        if len(several) > 1:
            listed = " and ".join(sorted(several))
            sentences.append(f"{name} is declared as {listed}; give each a name of its own")
    if not sentences:
        return None
    return _verdict(
        "search.space", Outcome.WARNED, float(len(sentences)), 0.0, "; ".join(sentences)
    )


def check_seeds(
    refits: Sequence[tuple[int, int | None]], scores: Mapping[str, Scores]
) -> Verdict | None:
    """Warn of refits whose seeds change nothing: all their scores are equal to the last bit.

    Their spread is 0 not because the model is steady, but because each refit is the same one.

    Args:
        refits: the seed of each refit, and its fold; of several folds each is compared with itself.
        scores: by name one value for each refit.
    """
    places: dict[int | None, list[int]] = {}
    for place, (_, fold) in enumerate(refits):
        places.setdefault(fold, []).append(place)
    seeds = list(dict.fromkeys(seed for seed, _ in refits))
    measured = [score.values for name, score in scores.items() if name not in RESOURCES]
    if len(seeds) < 2 or not measured:
        return None
    for values in measured:
        for same_fold in places.values():
            if len({struct.pack("<d", values[place]) for place in same_fold}) > 1:
                return None
    reason = (
        f"{len(refits)} refits under the seeds {', '.join(map(str, seeds))} have the same scores to "
        "the last bit: the seeds change nothing, so a spread of 0 is no spread. Look for a seed that "
        "the build or the fit sets itself, or for weights that are loaded and not trained"
    )
    return _verdict("search.seeds", Outcome.WARNED, 0.0, None, reason)


def _is_active(config: Json, values: Values) -> bool:
    conditions = (c["config"] for c in config.get("conditions", ()) if c["class_name"] == "Parent")
    return all(values.get(c["name"]) in c["values"] for c in conditions)


def _range(kind: str, config: Json) -> tuple[float, float] | None:
    """Return the lowest and highest value a hyperparameter can take; None when it has no range."""
    if kind == "Choice":
        values = set(config["values"])
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if not config.get("ordered") or len(numbers) < len(values):
            return None
        if len(numbers) < FEWEST_VALUES:
            return None
        return min(numbers), max(numbers)
    if kind not in ("Int", "Float"):
        return None
    low, high, step = config["min_value"], config["max_value"], config.get("step")
    steps = math.inf if kind == "Float" else high - low
    if step is not None and config.get("sampling") in ("log", "reverse_log"):
        steps = math.floor(math.log(high / low, step) + 1e-8)
        reached = low * step**steps
        low, high = (low, reached) if config["sampling"] == "log" else (high + low - reached, high)
    elif step is not None:
        steps = math.floor((high - low) / step + 1e-8)
        high = low + steps * step
    return (low, high) if high > low and steps >= FEWEST_VALUES - 1 else None


def _place(value: float, low: float, high: float, sampling: str | None) -> float:
    """Return where in a range a value is, from 0 to 1, on the scale it is searched on."""
    if sampling == "log" and low > 0:
        return math.log(value / low) / math.log(high / low)
    if sampling == "reverse_log" and low > 0:
        return 1 - math.log((high + low - value) / low) / math.log(high / low)
    return (value - low) / (high - low)
