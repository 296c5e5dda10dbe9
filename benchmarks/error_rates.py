"""How often a regression gate is wrong, beside "fail if it drops": python benchmarks/error_rates.py

Three tables, all under ``mt.metric("accuracy") >= mt.baseline - 0.01`` at alpha 0.05, a spec's only
gate. The naive rule fails a candidate that measures at least the margin below the reference.

1. Simulated: two classifiers that differ on 6% of the samples; the drop is a part of these.
2. Small Keras models, trained on 500 of scikit-learn's digits under one seed each, one against
   one: is this artifact worse? The 1297 other digits stand for all digits in the world: a model is
   truly worse if it is worse on them. A test part of n digits is drawn from them *with replacement*,
   so that a test on 1000 digits can be repeated thousands of times, and be right or wrong.
3. The same models, a few seeds a side against as many others: is this recipe worse? The worse recipe
   trains on fewer of the 500 digits. Both sides are scored on the same n digits. Our rule asks for new data
   and new seeds where that finds smaller drops (the crossed t), else for new seeds on the same data. Beside it
   stand the crossed t alone, Welch's and the paired t over seeds, a bootstrap that draws both seeds and digits
   (Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1, 2007, 386-411), and the naive rule.

The groups of table 3 are drawn from the trained models again and again, never with a model on both
sides. No seed is on both sides either, so pairing by seed gains nothing here.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from modeltune.judgement.evidence import Evidence, compare_evidence
from modeltune.judgement.significance import ALPHA, McNemar, compare_seeds, decide, p_violated
from modeltune.records import Outcome, Samples, Scores

MARGIN = 0.01
DISCORDANCE = 0.06
TRAINED, EPOCHS, BATCH = 500, 10, 50
RESAMPLES = 400
"""Of seeds and digits together, for the pigeonhole bootstrap."""
SIMPLE = ("crossed t alone", "Welch's t", "paired t", "bootstrap of both", "naive rule")
OUTCOMES = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)

Right = NDArray[np.bool_]
"""Whether each model (row) is right about each digit outside train (column)."""


@dataclass(frozen=True)
class Rates:
    """The outcomes of many comparisons, as shares.

    Of what our rule failed, ``worse`` is the share that is truly worse, and ``beyond`` the share
    that is so by more than the margin.
    """

    ours: dict[Outcome, float]
    naive: float
    worse: float = float("nan")
    beyond: float = float("nan")

    def cells(self) -> list[str]:
        """Return failed, inconclusive and passed by our rule, and failed by the naive one."""
        return [percent(self.ours[outcome]) for outcome in OUTCOMES] + [percent(self.naive)]


def percent(share: float) -> str:
    """Return 0.0312 as 3.1%."""
    return f"{100 * share:.1f}%"


@cache
def outcome_of(lost: int, won: int, n: int) -> Outcome:
    """Judge counts of disagreement; cached, because many draws have the same counts."""
    test = McNemar(lost, won, n)
    return decide(test, MARGIN, p_violated(test, MARGIN))


def rates_of_counts(
    lost: NDArray[np.int64], won: NDArray[np.int64], n: int, drops: NDArray[np.float64]
) -> Rates:
    """Judge draws of n samples each; ``drops`` are the true drops of the pairs they come from."""
    outcomes = np.array([outcome_of(int(b), int(c), n) for b, c in zip(lost, won, strict=True)])
    failed = outcomes == Outcome.FAILED
    return Rates(
        {outcome: float(np.mean(outcomes == outcome)) for outcome in OUTCOMES},
        float(np.mean(lost - won >= MARGIN * n - 1e-9)),
        float((drops[failed] > 0).sum() / max(failed.sum(), 1)),
        float((drops[failed] > MARGIN).sum() / max(failed.sum(), 1)),
    )


def simulated(n: int, drop: float, draws: int, random: np.random.Generator) -> Rates:
    """Return the rates for two classifiers with a true drop, on n samples."""
    shares = [(DISCORDANCE + drop) / 2, (DISCORDANCE - drop) / 2, 1 - DISCORDANCE]
    lost, won, _ = random.multinomial(n, shares, size=draws).T
    return rates_of_counts(lost, won, n, np.full(draws, drop))


def artifacts(
    reference: Right, candidate: Right, n: int, draws: int, random: np.random.Generator
) -> Rates:
    """Return the rates for pairs (row by row) tested on n digits drawn with replacement."""
    lost, won = (reference & ~candidate).mean(axis=1), (candidate & ~reference).mean(axis=1)
    pair = random.integers(0, len(lost), draws)
    shares = np.stack([lost, won, 1 - lost - won], axis=1)[pair]
    counts = random.multinomial(n, shares)
    return rates_of_counts(counts[:, 0], counts[:, 1], n, (lost - won)[pair])


class Resamples:
    """How often seeds and digits are drawn in each resample of both, made once: (B, seeds) twice, and (B, n)."""

    def __init__(self, seeds: int, n: int, random: np.random.Generator):
        counts = [
            random.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float32)
            for size in (seeds, seeds, n)
        ]
        self.of_reference, self.of_candidate, self.of_digits = counts

    def p_worse(self, reference: Right, candidate: Right) -> float:
        """Return the share of resamples on which the candidate is no worse (Owen, 2007)."""
        means = [
            np.einsum("bn,bn->b", drawn @ side.astype(np.float32), self.of_digits) / side.size
            for drawn, side in ((self.of_reference, reference), (self.of_candidate, candidate))
        ]
        return float((1 + np.count_nonzero(means[1] >= means[0])) / (RESAMPLES + 1))


def evidence(right: Right) -> Evidence:
    """Return what a run of these models leaves: (seeds, n)."""
    seeds, n = right.shape
    values = {"accuracy": right}
    samples = Samples(n, seeds, {"": np.zeros(n, int)}, {}, {}, values)
    scores = {"accuracy": Scores(tuple(map(float, right.mean(axis=1))))}
    return Evidence(scores, tuple((seed, None) for seed in range(seeds)), samples)


def recipes(
    reference: Right,
    candidate: Right | None,
    seeds: int,
    n: int,
    draws: int,
    random: np.random.Generator,
) -> list[str]:
    """Return cells for groups of models on n digits; without candidates, for equal recipes.

    Which outcomes our rule comes to, how often it asked for new data and new seeds, and how often that
    question alone and the simple rules fail the candidate; then how often ours and these but the naive one
    fail it where no drop is allowed.
    """
    ours = dict.fromkeys(OUTCOMES, 0)
    crossed = 0
    failed, strictly = np.zeros(len(SIMPLE), int), np.zeros(len(SIMPLE), int)
    resamples = Resamples(seeds, n, random)
    for _ in range(draws):
        digits = random.integers(0, reference.shape[1], n)
        if candidate is None:
            both = reference[random.choice(len(reference), 2 * seeds, replace=False)]
            sides = [both[:seeds], both[seeds:]]
        else:
            sides = [
                side[random.choice(len(side), seeds, replace=False)]
                for side in (reference, candidate)
            ]
        before, after = (side[:, digits] for side in sides)
        pair = compare_evidence("accuracy", 1, evidence(after), evidence(before))
        assert pair.comparison is not None
        assert pair.crossed is not None
        ours[decide(pair.comparison, MARGIN, p_violated(pair.comparison, MARGIN))] += 1
        crossed += pair.comparison is pair.crossed
        if pair.comparison.delta >= 0:
            continue
        means = before.mean(axis=1), after.mean(axis=1)
        p_values = [
            pair.crossed.p_worse,
            compare_seeds(*means, False).p_worse,
            compare_seeds(*means, True).p_worse,
            resamples.p_worse(before, after),
        ]
        failed += pair.comparison.delta < -MARGIN - 1e-9 and np.array([*p_values, 0.0]) <= ALPHA
        strictly += np.array([pair.comparison.p_worse, *p_values]) <= ALPHA
    return [percent(count / draws) for count in (*ours.values(), crossed, *failed, *strictly)]


def trained(models: int, worse: int, digits: int) -> tuple[Right, Right]:
    """Train models on 500 digits and ``worse`` more on fewer, each under its own seed; score all."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    from sklearn.datasets import load_digits

    loaded = load_digits()
    order = np.random.default_rng(1).permutation(len(loaded.target))
    x, y = (loaded.data[order] / 16).astype("float32"), loaded.target[order]

    def build() -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(10)]
        )

    # Only one model is compiled; each fit starts from new weights and a fresh optimizer state.
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss=loss, steps_per_execution=10)
    model.optimizer.build(model.trainable_variables)
    state = [variable.numpy() for variable in model.optimizer.variables]

    def right(seed: int, rows: int) -> Right:
        keras.utils.set_random_seed(seed)
        model.set_weights(build().get_weights())
        for variable, value in zip(model.optimizer.variables, state, strict=True):
            variable.assign(value)
        # Ten shuffled epochs in one: between epochs Keras takes longer than within these.
        random = np.random.default_rng(seed)
        shuffled = np.concatenate([random.permutation(rows) for _ in range(EPOCHS)])
        model.fit(x[shuffled], y[shuffled], batch_size=BATCH, shuffle=False, verbose=0)
        is_right: Right = model.predict_on_batch(x[TRAINED:]).argmax(axis=1) == y[TRAINED:]
        return is_right

    seeds = range(1, models + worse + 1)
    answers = np.array([right(seed, TRAINED if seed <= models else digits) for seed in seeds])
    return answers[:models], answers[models:]


def table(columns: Iterable[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown."""
    columns = list(columns)
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print(flush=True)


OURS = ("failed", "inconclusive", "passed", "failed by the naive rule")


def simulation(draws: int, random: np.random.Generator) -> None:
    """Print table 1 and whether it meets its targets."""
    rates_by_case = {
        (n, drop): simulated(n, drop, draws, random)
        for n in (200, 500, 1000, 2000, 10_000)
        for drop in (0.0, 0.02, 0.03)
    }
    print(f"## 1. Simulated, {percent(DISCORDANCE)} of the samples come out differently")
    print(f"\n{draws} draws a row; margin {MARGIN}, alpha 0.05.")
    rows = ([f"{drop:.2f}", str(n), *rates.cells()] for (n, drop), rates in rates_by_case.items())
    table(("true drop", "n", *OURS), sorted(rows, key=lambda row: (row[0], int(row[1]))))

    equal, two = (
        {n: rates.ours[Outcome.FAILED] for (n, of), rates in rates_by_case.items() if of == drop}
        for drop in (0.0, 0.02)
    )
    targets = [
        (
            "equal models failed, at every n: at most 5%",
            max(equal.values()),
            max(equal.values()) <= 0.05,
        ),
        ("a drop of 0.02 failed, n = 1000: at least 75%", two[1000], two[1000] >= 0.75),
        ("a drop of 0.02 failed, n = 2000: at least 95%", two[2000], two[2000] >= 0.95),
    ]
    table(
        ("target", "measured", "met"),
        ([name, percent(value), "yes" if met else "NO"] for name, value, met in targets),
    )


def digits_as_artifacts(good: Right, bad: Right, draws: int, random: np.random.Generator) -> None:
    """Print table 2: one model against one."""
    first, second = np.array(list(itertools.permutations(range(len(good)), 2))).T
    drop = good[first].mean(axis=1) - good[second].mean(axis=1)
    twice = np.array(list(itertools.product(range(len(good)), range(len(bad))))).T
    worse_drop = good[twice[0]].mean(axis=1) - bad[twice[1]].mean(axis=1)
    two = np.abs(worse_drop - 0.02) < 0.0025
    everything = {
        "equal artifacts: right about equally many of all 1297": (
            good[first[drop == 0]],
            good[second[drop == 0]],
        ),
        "equal recipe, another seed": (good[first], good[second]),
        "worse recipe": (good[twice[0]], bad[twice[1]]),
        "artifacts worse by 0.0175 to 0.0225": (good[twice[0][two]], bad[twice[1][two]]),
    }
    print("## 2. Trained on digits: is this artifact worse? (exact McNemar, Tango)")
    print(f"\n{draws} draws a row, each of one pair and n digits.")
    rows = []
    for name, (reference, candidate) in everything.items():
        mean = float(reference.mean() - candidate.mean())
        for n in (200, 500, 1000, 2000):
            rates = artifacts(reference, candidate, n, draws, random)
            truly = [percent(rates.worse), percent(rates.beyond)]
            pairs = f"{name} ({len(reference)} pairs)"
            rows.append([pairs, f"{abs(mean):.4f}", str(n), *rates.cells(), *truly])
    columns = ("candidates", "mean true drop", "n", *OURS)
    table((*columns, "of those failed by ours, truly worse", "by more than the margin"), rows)


def digits_as_recipes(good: Right, bad: Right, draws: int, random: np.random.Generator) -> None:
    """Print table 3: several seeds against several."""
    print("## 3. Trained on digits: is this recipe worse? (seeds, or seeds and samples)")
    print(f"\n{draws} draws a row, each of the models of both sides and n digits.")
    rows = []
    for name, candidate in (("equal recipe", None), ("worse recipe", bad)):
        mean = 0.0 if candidate is None else float(good.mean() - candidate.mean())
        for seeds, n in itertools.product((3, 4, 5, 10), (200, 500, 1000, 2000)):
            cells = recipes(good, candidate, seeds, n, draws, random)
            rows.append([f"{name}, {mean:.4f}", str(seeds), str(n), *cells])
    ours = (*(str(outcome) for outcome in OUTCOMES), "asked for new data")
    columns = ("candidates, true drop", "seeds a side", "n")
    beside = tuple(f"failed by {name}" for name in SIMPLE)
    until = len(columns) + len(ours) + len(beside)
    table((*columns, *ours, *beside), [row[:until] for row in rows])
    print("The same where no drop is allowed, `>= mt.baseline`: equal recipes that are failed.")
    equal = [[*row[: len(columns)], *row[until:]] for row in rows if row[0].startswith("equal")]
    table((*columns, "ours", *SIMPLE[:-1]), equal)


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=200, help="trained equally; 0: table 1 only")
    parser.add_argument("--worse", type=int, default=100, help="models of the worse recipe")
    parser.add_argument("--digits", type=int, default=300, help="what the worse ones train on")
    parser.add_argument("--draws", type=int, default=20_000, help="a row of tables 1 and 2")
    parser.add_argument("--group-draws", type=int, default=1000, help="a row of table 3")
    parser.add_argument(
        "--bank", help="a file to keep the trained models' answers in, and take them from"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.models and min(options.models // 2, options.worse) < 10:
        parser.error("--models is 20 or more (or 0), --worse 10 or more: a side has up to 10 seeds")
    random = np.random.default_rng(options.seed)
    simulation(options.draws, random)
    if not options.models:
        return
    started = time.perf_counter()
    if options.bank and os.path.exists(options.bank):
        with np.load(options.bank) as bank:
            good, bad = bank["good"], bank["bad"]
    else:
        good, bad = trained(options.models, options.worse, options.digits)
        if options.bank:
            np.savez_compressed(options.bank, good=good, bad=bad)
    seconds = time.perf_counter() - started
    for side, rows in ((good, TRAINED), (bad, options.digits)):
        accuracies = side.mean(axis=1)
        print(
            f"{len(side)} models trained on {rows} digits: mean accuracy {accuracies.mean():.4f}, "
            f"standard deviation over seeds {accuracies.std(ddof=1):.4f}."
        )
    print(
        f"Trained in {seconds:.0f} s; true mean drop of the worse recipe "
        f"{good.mean() - bad.mean():.4f}.\n"
    )
    digits_as_artifacts(good, bad, options.draws, random)
    digits_as_recipes(good, bad, options.group_draws, random)


if __name__ == "__main__":
    main()
