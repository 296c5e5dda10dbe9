"""Say before training which drop a regression gate finds: by the rule that will judge it, and what is known of noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from modeltune.judgement.evidence import Evidence, compare_evidence
from modeltune.judgement.group_flips import FEWEST_GROUPS
from modeltune.judgement.significance import ALPHA, POWER, TOLERANCE, decide, p_violated
from modeltune.records import (
    Area,
    Array,
    Json,
    Outcome,
    RefitId,
    Regression,
    Samples,
    ScoredRows,
    Scores,
    Unit,
    Verdict,
    check_verdict,
)
from modeltune.specs import By, Gate, On, Operator, PerClass, Reference, Statistic

if TYPE_CHECKING:
    from modeltune.judgement.significance import Comparison
    from modeltune.specs import Behaviour

POWER_CHECK = "gates.power"

DRAWS = 400
"""Pairs of models that are drawn; the share of drops that is found is then right to two points."""

MOST_SAMPLES, MOST_GROUPS = 2000, 120
"""Samples, and groups, of a draw; how far noise reaches falls with the square root of how many there are."""

MOST_OF_SEVERAL = 400
"""Samples of a draw of several refits each: two are compared on 2000 resamples."""

SEEDS_TRIED, DRAWS_TRIED = (3, 5, 10, 20), 50
"""The seeds that are tried for what would help, and the pairs that are drawn of each."""


@dataclass(frozen=True)
class Noise:
    """How much two models of one recipe differ, by which no drop can be seen.

    Args:
        discordance: the share of samples on which one is right and the other wrong.
        correlation: of that on two samples of a group, or on a sample and the next in time.
        seed_std: the standard deviation of a metric over seeds beyond what ``discordance`` explains.
        source: where that is known from, in words.
    """

    discordance: float = 0.1
    correlation: float = 0.3
    seed_std: float = 0.005
    source: str = "assumed"

    def __str__(self) -> str:
        return f"{self.source}: two equal models differ on {100 * self.discordance:.3g} % of the samples"


@dataclass(frozen=True, eq=False)
class PastRun:
    """A recorded run by which noise is known: its label, its scores and samples, what its gates compared."""

    label: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    samples: Samples | None = None
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class GatePower:
    """Which drop a gate finds with a probability of ``POWER``.

    Args:
        gate: as it was typed.
        margin: the drop it allows; None where that depends on a value that is not known yet.
        drop: the smallest true drop that it finds so often; None where none is, or nothing can be said.
        by_chance: the same, were the margin 0: how far noise reaches. Of ``.within`` the smallest margin
            within which equal models are proven to be the same.
        n, unit: the samples or groups there are, of the smallest slice where the gate has several.
        refits: how many there are on either side.
        basis: where noise is known from, or why nothing can be said.
        where: the slice, class or group that has the fewest, "" of a gate on all samples.
        remedy: what would do, "" where the margin is not too small.
        is_told: whether anything can be said.
    """

    gate: str
    margin: float | None
    n: int
    unit: Unit
    refits: int
    where: str = ""
    drop: float | None = None
    by_chance: float | None = None
    basis: str = ""
    remedy: str = ""
    is_told: bool = True

    def plain(self) -> dict[str, Json]:
        """Return it for JSON."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "unit": self.unit.value,
            "is_blind": self.is_blind,
        }

    @property
    def is_blind(self) -> bool:
        """Whether noise, and not the margin, decides which drops are found."""
        if not self.is_told or self.margin is None or self.margin <= 0:
            return False
        return self.by_chance is None or self.by_chance > self.margin

    @property
    def evidence(self) -> str:
        """What the gate is judged by, in words."""
        what = "groups" if self.unit is Unit.GROUPS else "test samples"
        of = f" of {self.where}" if self.where else ""
        return f"{self.n} {what}{of}" + f", {self.refits} refits a side" * (self.refits > 1)

    def __str__(self) -> str:
        if not self.is_told:
            return f"{self.gate}: nothing can be said yet: {self.basis}"
        finds = "no drop at all" if self.drop is None else f"drops of {self.drop:.2g} or more"
        return f"{self.gate} finds {finds} by {self.evidence} ({self.basis})"


def power_of_gates(
    gates: Sequence[Gate | Behaviour],
    rows: ScoredRows,
    refits: Sequence[RefitId],
    past: Sequence[PastRun] = (),
    *,
    folds: int | None = None,
    looks: int = 1,
    noise: Noise | None = None,
    effort: float = 1.0,
) -> tuple[GatePower, ...]:
    """Return which drop each gate finds that holds the tuned model against recorded runs; no other has an entry.

    The drop is found where the rule that will judge the run fails it: pairs of equal models are drawn with
    the noise that is known, compared by ``compare_evidence``, and of each pair the drop is computed
    from which on it fails. A share of right samples without groups, of one refit a side, is computed
    instead: McNemar's test rejects by the number of discordant samples, over whose distribution its power
    is summed (Connor, Biometrics 43, 1987, 207-211). Holm's procedure is allowed for as if no other gate failed.

    Args:
        gates: of the spec.
        rows: what is known of the test part.
        refits: seed and fold of each refit of the validation.
        past: recorded runs on the same test part, the newest first.
        folds: k of a cross-validation.
        looks: at how many stages of an escalation the gates may be judged.
        noise: of a share of right samples, in place of what the runs tell or is assumed.
        effort: the share of the draws that are made. The standard error of 80 % in n draws is
            sqrt(0.8 * 0.2 / n): with all of them 2 to 3 points, with a fifth of them 4 to 6.
    """
    held = [gate for gate in gates if isinstance(gate, Gate) and gate.measure.export is None]
    held = [gate for gate in held if isinstance(gate.bound, Reference)]
    held = [gate for gate in held if gate.measure.statistic is Statistic.MEAN]
    parts = [_parts(gate, rows) for gate in held]
    alpha = ALPHA / looks / max(1, sum(map(len, parts)))
    overlap = 0.0 if folds is None else 1 / (folds - 1)
    return tuple(
        _power(gate, of_gate, Design(tuple(refits), alpha, overlap, effort), past, noise)
        for gate, of_gate in zip(held, parts, strict=True)
    )


def check_power(powers: Sequence[GatePower]) -> tuple[Verdict, ...]:
    """Return one warning of all gates whose margin lies within the noise; nothing where none does."""
    blind = [power for power in powers if power.is_blind]
    if not blind:
        return ()
    listed = "; ".join(f"{power}, and allows {power.margin:.2g}: {power.remedy}" for power in blind)
    reason = f"{listed}. Smaller drops are mostly not found"
    count = float(len(blind))
    return (check_verdict(Area.GATES, POWER_CHECK, Outcome.WARNED, count, 0.0, reason),)


@dataclass(frozen=True)
class Design:
    """The refits on either side, the level of the test, and how far the training parts of folds overlap.

    ``effort`` is the share of the draws that are made.
    """

    refits: tuple[RefitId, ...]
    alpha: float
    overlap: float
    effort: float = 1.0

    def share_of(self, draws: int) -> int:
        """Return how many of so many draws are made."""
        return max(20, round(draws * self.effort))


def _parts(gate: Gate, rows: ScoredRows) -> list[tuple[str, ScoredRows]]:
    """Return the slices that a gate is judged on, with what is known of their samples."""
    slices = gate.measure.slices
    if slices is None:
        return [("", rows)]
    masks: dict[str, Array] = {}
    if isinstance(slices, PerClass) and rows.labels is not None:
        masks = {f"class {label}": rows.labels == label for label in np.unique(rows.labels)}
    elif isinstance(slices, On) and slices.name in rows.slices:
        masks = {f'slice "{slices.name}"': rows.slices[slices.name]}
    elif isinstance(slices, By) and slices.name in rows.slices:
        values = rows.slices[slices.name]
        masks = {f'{slices.name} "{value}"': values == value for value in sorted(set(values))}
    large = {name: mask for name, mask in masks.items() if np.sum(mask) >= slices.min_n}
    return [(name, rows.on(mask)) for name, mask in large.items()]


def _power(
    gate: Gate,
    parts: Sequence[tuple[str, ScoredRows]],
    design: Design,
    past: Sequence[PastRun],
    noise: Noise | None,
) -> GatePower:
    assert isinstance(gate.bound, Reference)
    key, refits = gate.measure.key, len(design.refits)
    value = next((run.scores[key].mean for run in past if key in run.scores), None)
    margin = _margin(gate, value)
    if not parts:
        basis = "no slice with enough test samples is known before the run"
        return GatePower(repr(gate), margin, 0, Unit.SAMPLES, refits, basis=basis, is_told=False)
    where, rows = min(parts, key=lambda part: part[1].units)
    known = GatePower(repr(gate), margin, rows.units, rows.unit, refits, where)
    if not rows.size:
        basis = "the test part is a stream, whose size is known once it is read"
        return replace(known, basis=basis, is_told=False)
    noise = noise or noise_of(key, past, rows)
    if noise is not None or _is_share(key):
        noise = noise or _assumed(rows)
        # Two refits are compared on resamples, which takes as long.
        draws = DRAWS // 2 if refits == 2 else DRAWS
        reach = _reach(rows, design, noise, design.share_of(draws))
        by_chance, drop = _drops(gate, reach, rows, design, noise, margin)
        known = replace(known, basis=str(noise), drop=drop, by_chance=by_chance)
        return replace(known, remedy=_remedy(known, gate, rows, design, noise, reach.unit))
    recorded = _recorded(gate, past)
    if recorded is None:
        basis = (
            f"{key} is no share of right samples, and how far it varies is known once this gate has compared "
            "two runs"
        )
        return replace(known, basis=basis, is_told=False)
    label, old = recorded
    assert old.detectable is not None
    is_counted = old.unit is rows.unit is not Unit.BLOCKS
    by_chance = old.detectable * (math.sqrt(old.n / rows.units) if is_counted else 1.0)
    quantiles = special.ndtri(POWER), special.ndtri(design.alpha)
    drop = max(
        by_chance, (margin or 0.0) + float(quantiles[0] / (quantiles[0] - quantiles[1])) * by_chance
    )
    known = replace(known, drop=drop, by_chance=by_chance, basis=f"by what {label} could tell")
    more = "more seeds" if old.unit is Unit.SEEDS else _more_units(known)
    return replace(known, remedy=more if known.is_blind else "")


def _margin(gate: Gate, value: float | None) -> float | None:
    """Return the drop that a gate allows, None where it depends on a value that is not known."""
    assert isinstance(gate.bound, Reference)
    if gate.margin is not None:
        return gate.margin
    sign = 1 if gate.operator.wants_more else -1
    ends = [sign * (base - gate.bound.bound_at(base)) for base in (0.0, 1.0)]
    if value is not None and math.isfinite(value):
        return sign * (value - gate.bound.bound_at(value))
    return ends[0] if abs(ends[0] - ends[1]) <= TOLERANCE else None


def _is_share(metric: str) -> bool:
    """Tell by its name a metric that is the share of right samples."""
    return metric.rpartition("_")[2] in ("accuracy", "acc")


# What is known of noise


def _assumed(rows: ScoredRows) -> Noise:
    noise = Noise()
    if rows.is_ordered:
        return replace(noise, correlation=0.5)
    return noise if rows.clusters is not None else replace(noise, correlation=0.0)


def _are_alike(first: Array, second: Array) -> bool:
    """Tell whether two models may be equal, by McNemar's test: one that came to be worse tells nothing of noise."""
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    return bool((lost - won) ** 2 <= special.chdtri(1, ALPHA) * (lost + won))


def noise_of(metric: str, past: Sequence[PastRun], rows: ScoredRows) -> Noise | None:
    """Return how much models differ in a metric that is right or wrong on each sample; None: not known.

    By two refits of a run or, where there is one each, by two runs on the same samples of which none is
    proven worse.
    """
    known = [
        (run, run.samples.values[metric])
        for run in past
        if run.samples is not None and metric in run.samples.values
    ]
    known = [(run, values) for run, values in known if values.dtype == bool]
    stacked = next(((run.label, values) for run, values in known if len(values) > 1), None)
    if stacked is None and len(known) > 1 and known[0][1].shape == known[1][1].shape:
        both = " and ".join(run.label for run, _ in known[:2])
        pair = np.concatenate([values[:1] for _, values in known[:2]])
        if _are_alike(*pair):
            stacked = both, pair
    if stacked is None:
        return None
    label, values = stacked
    if rows.chosen is not None and rows.chosen.shape == values.shape[1:]:
        values = values[:, rows.chosen]
    pairs = [
        values[i].astype(np.int8) - values[j].astype(np.int8)
        for i in range(len(values))
        for j in range(i)
    ]
    discordance = min(float(np.mean([np.mean(np.abs(pair)) for pair in pairs])), 0.5)
    if not discordance:
        return None  # such as a run that was repeated: the same model twice tells nothing
    correlation = 0.0
    if rows.clusters is not None and len(rows.clusters) == values.shape[1]:
        correlation = float(np.mean([_within(pair, rows.clusters) for pair in pairs]))
    elif rows.is_ordered:
        correlation = float(np.mean([_to_the_next(pair) for pair in pairs]))
    several = [run.scores[metric].std for run in past if metric in run.scores]
    spreads = [std for std in several if std is not None]
    explained = discordance / (2 * values.shape[1])
    variance = float(np.mean(np.square(spreads))) if spreads else explained + Noise.seed_std**2
    seed_std = math.sqrt(max(0.0, variance - explained))
    return Noise(discordance, float(np.clip(correlation, 0.0, 0.95)), seed_std, f"from {label}")


def _within(differences: Array, clusters: Array) -> float:
    """Return the correlation of two samples' differences within a group, by all pairs of them."""
    places = np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(places, differences), np.bincount(places)
    pairs, squares = float(np.sum(sizes * (sizes - 1))), float(np.sum(np.square(differences)))
    if not pairs or not squares:
        return 0.0
    return (float(np.sum(np.square(sums))) - squares) / pairs / (squares / len(differences))


def _to_the_next(differences: Array) -> float:
    squares = float(np.sum(np.square(differences, dtype=np.float64)))
    return float(np.sum(differences[1:] * differences[:-1], dtype=np.float64)) / (squares or 1.0)


def _recorded(gate: Gate, past: Sequence[PastRun]) -> tuple[str, Regression] | None:
    """Return what the gate of a recorded run compared, and whose it was."""
    for run in past:
        for verdict in run.verdicts:
            found = verdict.regression
            if verdict.gate == repr(gate) and found is not None and found.detectable:
                return run.label, found
    return None


# How far noise reaches


@dataclass(frozen=True, eq=False)
class NoiseReach:
    """Of pairs of equal models the measured difference, and the ends of its interval; each (draws,)."""

    deltas: Array
    lows: Array
    highs: Array
    unit: Unit | None


_REACHES: dict[Any, NoiseReach] = {}


def _reach(rows: ScoredRows, design: Design, noise: Noise, draws: int) -> NoiseReach:
    """Return how far apart equal models are measured, computed once for equal situations."""
    sizes: tuple[int, ...] = ()
    if rows.clusters is not None:
        sizes = tuple(np.bincount(np.unique(rows.clusters, return_inverse=True)[1]).tolist())
    key = (rows.size, sizes, rows.is_ordered, design, replace(noise, source=""), draws)
    if key not in _REACHES:
        if len(_REACHES) >= 64:
            _REACHES.clear()
        _REACHES[key] = _drawn_reach(rows, design, noise, draws)
    return _REACHES[key]


def _drawn_reach(rows: ScoredRows, design: Design, noise: Noise, draws: int) -> NoiseReach:
    few, scale = _fewer(rows, design)
    # As far as fewer samples enlarge the noise of the samples, that of the seeds is enlarged too.
    noise = replace(noise, seed_std=noise.seed_std * scale)
    random = np.random.default_rng(0)
    deltas, lows, highs, unit = [], [], [], None
    for _ in range(draws):
        comparison = _drawn_pair(few, design, noise, random)
        if comparison is None:
            continue
        low, high = comparison.interval(design.alpha)
        deltas.append(comparison.delta / scale)
        lows.append(low / scale)
        highs.append(high / scale)
        unit = comparison.unit
    return NoiseReach(np.array(deltas), np.array(lows), np.array(highs), unit)


def _fewer(rows: ScoredRows, design: Design) -> tuple[ScoredRows, float]:
    """Return fewer samples where there are more than a draw takes, and how much farther their noise reaches."""
    most = MOST_SAMPLES if len(design.refits) == 1 or rows.is_ordered else MOST_OF_SEVERAL
    if rows.clusters is None:
        size = min(rows.size, most)
        return replace(rows, size=size), math.sqrt(rows.size / size) if size else 1.0
    places = np.unique(rows.clusters, return_inverse=True)[1]
    groups = int(places.max(initial=-1)) + 1
    if groups <= MOST_GROUPS:
        return replace(rows, clusters=places), 1.0
    kept = np.random.default_rng(0).permutation(groups)[:MOST_GROUPS]
    chosen = places[np.isin(places, kept)]
    sizes, all_sizes = np.bincount(chosen, minlength=groups)[kept], np.bincount(places)
    spread = math.sqrt(np.sum(sizes**2)) / sizes.sum()
    scale = spread / (math.sqrt(np.sum(all_sizes**2)) / all_sizes.sum())
    return ScoredRows(len(chosen), np.sort(chosen), False), scale


def _drawn_pair(
    rows: ScoredRows,
    design: Design,
    noise: Noise,
    random: np.random.Generator,
    drop: float = 0.0,
) -> Comparison | None:
    """Return the comparison of two models, the candidate worse by ``drop``; None where there is none.

    A share of the samples, twice ``discordance``, is hard: the reference is right on those with a chance of
    a half, and both on all others always. With the correlation r a sample is as its group with a chance of
    sqrt(r), or as the one before it with a chance of r.
    """
    n, of = rows.size, np.arange(rows.size)
    if rows.clusters is not None:
        first = np.unique(rows.clusters, return_index=True, return_inverse=True)
        is_shared = random.random(n) < math.sqrt(noise.correlation)
        of = np.where(is_shared, first[1][first[2]], of)
    elif rows.is_ordered:
        is_own = random.random(n) >= noise.correlation
        of = np.maximum.accumulate(np.where(is_own, of, 0))
    share = 2 * min(0.5, max(noise.discordance, drop))
    hard, count = (random.random(n) < share)[of], len(design.refits)
    chance = 0.5 + random.normal(0, noise.seed_std, (2, count, 1)) / share
    chance[0] -= drop / share
    right = ~hard | (random.random((2, count, n)) < chance)[:, :, of]
    sides = []
    for values in right:
        samples = Samples(
            *(n, count, {"": np.zeros(n, int)}),
            values={"right": values},
            clusters=rows.clusters,
            is_ordered=rows.is_ordered,
        )
        scores = {"right": Scores(tuple(values.mean(axis=1).tolist()))}
        sides.append(Evidence(scores, design.refits, samples))
    candidate, reference = sides
    return compare_evidence("right", 1, candidate, reference, design.overlap).comparison


def _drops(
    gate: Gate,
    reach: NoiseReach,
    rows: ScoredRows,
    design: Design,
    noise: Noise,
    margin: float | None,
) -> tuple[float | None, float | None]:
    """Return the drop that is found were the margin 0, and the one that is found."""
    if not len(reach.deltas) or not np.isfinite(reach.highs).all():
        return None, None
    allowed = margin or 0.0
    if gate.operator is Operator.WITHIN:
        ends = np.maximum(reach.highs, -reach.lows)
        return _often(ends), _often(reach.highs + allowed)
    if allowed < 0:
        return _often(reach.highs), max(0.0, _often(reach.highs + allowed))
    if reach.unit is Unit.SAMPLES and len(design.refits) == 1:
        drop = mcnemar_drop(rows.size, noise.discordance, design.alpha, allowed)
        return mcnemar_drop(rows.size, noise.discordance, design.alpha), drop
    by_chance, drop = (
        _often(of) for of in (reach.highs, np.maximum(reach.highs, reach.deltas + allowed))
    )
    if drop <= MOST_SHIFTED * noise.discordance:
        return by_chance, drop
    searched = _searched_drop(rows, design, noise, allowed, drop)
    return min(by_chance, by_chance * searched / drop), searched


def _often(drops: Array) -> float:
    return float(np.quantile(drops, POWER))


MOST_SHIFTED = 0.4
"""The share of ``discordance`` up to which a drop only shifts what is measured of equal models."""


SEARCH_DRAWS = 200
"""Pairs that are drawn at each drop that is tried."""


def _searched_drop(
    rows: ScoredRows, design: Design, noise: Noise, margin: float, most: float
) -> float:
    """Return the drop that fails with a probability of ``POWER``, where so large a drop changes how noisy it is."""
    few, scale = _fewer(rows, design)
    noise = replace(noise, seed_std=noise.seed_std * scale)

    def is_found(drop: float) -> bool:
        random, failed = np.random.default_rng(1), 0
        draws = design.share_of(SEARCH_DRAWS)
        for _ in range(draws):
            comparison = _drawn_pair(few, design, noise, random, min(drop * scale, 0.5))
            if comparison is not None:
                p = p_violated(comparison, margin * scale)
                failed += decide(comparison, margin * scale, p, design.alpha) is Outcome.FAILED
        return failed >= POWER * draws

    low, high = max(margin, 0.7 * most), most
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return (low + high) / 2


@cache
def mcnemar_drop(n: int, discordance: float, alpha: float, margin: float = 0.0) -> float | None:
    """Return the true drop that fails with a probability of ``POWER``, by McNemar's exact test; None: none does.

    A drop is itself disagreement: where it is larger than ``discordance``, all discordant samples are lost.
    """

    def power(drop: float) -> float:
        share = min(1.0, max(discordance, drop))
        middle, spread = n * share, math.sqrt(n * share * (1 - share))
        low, high = math.floor(middle - 6 * spread), math.ceil(middle + 6 * spread)
        counts = np.arange(max(0, low), min(n, high) + 1)
        # The fewest lost of so many discordant samples that are significant, and more than the margin.
        fewest = np.maximum(_fewest_lost(counts, alpha), np.floor((counts + n * margin) / 2) + 1)
        found = special.bdtrc(fewest - 1, counts, (share + drop) / (2 * share))
        found = np.where(fewest > counts, 0.0, np.where(fewest <= 0, 1.0, found))
        logs = (
            special.gammaln(n + 1)
            - special.gammaln(counts + 1)
            - special.gammaln(n - counts + 1)
            + special.xlogy(counts, share)
            + special.xlog1py(n - counts, -share)
        )
        return float(np.exp(logs) @ found)

    low, high = 0.0, 1.0
    if n < 1 or power(high) < POWER:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _fewest_lost(counts: Array, alpha: float) -> Array:
    """Return by the number of discordant samples how many lost ones McNemar's exact test rejects, (k,)."""
    low, high = np.zeros(len(counts)), counts + 1.0  # one more than there are: never
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        is_rare = special.bdtrc(middle - 1, counts, 0.5) <= alpha
        low, high = np.where(is_rare, low, middle), np.where(is_rare, middle, high)
    return np.asarray(high)


# What would help


def _remedy(
    known: GatePower,
    gate: Gate,
    rows: ScoredRows,
    design: Design,
    noise: Noise,
    unit: Unit | None,
) -> str:
    if not known.is_blind:
        return ""
    remedies = [] if unit is Unit.SEEDS else [_more_units(known)]
    remedies += _more_seeds(known, gate, rows, design, noise)
    what = "groups" if rows.unit is Unit.GROUPS else "test samples"
    more = f"more {what} and more seeds, or a larger margin"
    return ", or ".join(filter(None, remedies)) or more


def _more_units(known: GatePower) -> str:
    """Say how many samples or groups would do, were they like those there are."""
    if not known.is_blind or not known.margin:
        return ""
    if known.by_chance is None:
        return (
            f"{FEWEST_GROUPS} groups, or more" if known.unit is Unit.GROUPS else "more test samples"
        )
    needed = math.ceil(known.n * (known.by_chance / known.margin) ** 2)
    return f"about {needed} {'groups' if known.unit is Unit.GROUPS else 'test samples'}"


def _more_seeds(
    known: GatePower, gate: Gate, rows: ScoredRows, design: Design, noise: Noise
) -> Iterator[str]:
    """Yield the number of seeds that would do, where one of those tried does."""
    seeds = {seed for seed, _ in design.refits}
    folds = sorted({fold for _, fold in design.refits}, key=str)
    for count in SEEDS_TRIED:
        if count <= len(seeds) or known.margin is None:
            continue
        refits = tuple((seed, fold) for seed in range(count) for fold in folds)
        more = replace(design, refits=refits)
        reach = _reach(rows, more, noise, more.share_of(DRAWS_TRIED))
        ends = reach.highs
        if gate.operator is Operator.WITHIN:
            ends = np.maximum(reach.highs, -reach.lows)
        if len(ends) and np.isfinite(ends).all() and _often(ends) <= known.margin:
            yield f"{count} seeds"
            return
