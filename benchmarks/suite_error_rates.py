"""How often a whole suite is red for nothing, and over a hundred commits: python benchmarks/suite_error_rates.py

Every gate is ``mt.metric("accuracy") >= mt.baseline - 0.01`` on n test samples, judged by our own rule
(exact McNemar, alpha 0.05). Models are right on 90% of the samples, and a model and its baseline
disagree about 12%.

1. Sessions of 20 specs, one gate each: all models equal, or some two points worse. Test parts are
   apart, or all specs have one, so that what is hard for one model is hard for the others.
2. A hundred commits in a row, each a new model, all held against one baseline on one test part.
3. Why ``sequential=True`` spends alpha over looks and does not bet: the betting test of Waudby-Smith
   and Ramdas (Journal of the Royal Statistical Society B 86, 2024, 1-27) on the same draws, by sample
   within a commit, and as one wealth over all commits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from modeltune.ground.multiple_tests import false_discovery_level, holm_level
from modeltune.judgement.allowances import share_of_look
from modeltune.judgement.significance import ALPHA, McNemar, decide, p_violated
from modeltune.records.verdicts import Outcome

MARGIN, DROP, ACCURACY = 0.01, 0.02, 0.9
SPECS, COMMITS = 20, 100
SHARED = 0.55
"""How much of what makes a sample hard all models share: so that two disagree about 12%."""

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


def percent(share: float) -> str:
    """Return 0.0312 as 3.1%."""
    return f"{100 * share:.1f}%"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table in Markdown."""
    columns = list(columns)
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print(flush=True)


def right(hardness: Numbers, accuracies: Numbers, random: np.random.Generator) -> Flags:
    """Return whether each model is right on each sample: hardness (n,), accuracies (k,), result (k, n)."""
    own = random.standard_normal((len(accuracies), len(hardness)))
    latent = np.sqrt(SHARED) * hardness + np.sqrt(1 - SHARED) * own
    is_right: Flags = latent < special.ndtri(accuracies)[:, None]
    return is_right


def alarms(baseline: Flags, candidates: Flags) -> Numbers:
    """Return the p-value of each candidate's comparison, 1 where its drop is within the margin; (k,)."""
    lost = np.count_nonzero(baseline & ~candidates, axis=-1)
    won = np.count_nonzero(candidates & ~baseline, axis=-1)
    n = candidates.shape[-1]
    p: Numbers = special.bdtrc(lost - 1, lost + won, 0.5)
    return np.where(lost - won > MARGIN * n + 1e-9, np.where(lost > 0, p, 1.0), 1.0)


def check_rule(random: np.random.Generator) -> None:
    """Hold the vectors above to the judgement itself."""
    hardness = random.standard_normal(500)
    models = right(hardness, np.full(200, ACCURACY), random)
    for candidate, p in zip(models[1:], alarms(models[0], models[1:]), strict=True):
        lost, won = np.sum(models[0] & ~candidate), np.sum(candidate & ~models[0])
        test = McNemar(int(lost), int(won), 500)
        fails = decide(test, MARGIN, p_violated(test, MARGIN)) is Outcome.FAILED
        assert fails == (p <= ALPHA)


def session(worse: int, is_shared: bool, n: int, random: np.random.Generator) -> Numbers:
    """Return the p-values of 20 specs, of which the first ``worse`` are two points worse."""
    values = np.ones(SPECS)
    hardness = random.standard_normal(n)
    for spec in range(SPECS):
        hardness = hardness if is_shared else random.standard_normal(n)
        accuracies = np.array([ACCURACY, ACCURACY - DROP * (spec < worse)])
        baseline, candidate = right(hardness, accuracies, random)
        values[spec] = alarms(baseline, candidate[None])[0]
    return values


def sessions(draws: int, random: np.random.Generator) -> None:
    """Print part 1."""
    print(f"## 1. Sessions of {SPECS} specs\n\n{draws} sessions a row.")
    rules: dict[str, Callable[[Numbers], float]] = {
        "spec": lambda p: ALPHA,
        "session, as a spec ends": lambda p: ALPHA / SPECS,
        "session": lambda p: holm_level([[x] for x in p], SPECS, ALPHA),
        "fdr": lambda p: false_discovery_level([[x] for x in p], SPECS, ALPHA),
    }
    rows = []
    highest = 0.0
    for is_shared in (False, True):
        for n, worse in (
            (1000, 0),
            (1000, 1),
            (1000, 5),
            (1000, 10),
            (4000, 1),
            (4000, 5),
            (4000, 10),
        ):
            p_values = [session(worse, is_shared, n, random) for _ in range(draws)]
            for name, level in rules.items():
                failed = np.array([p <= level(p) for p in p_values])
                false = failed[:, worse:].any(axis=1).mean()
                share = (failed[:, worse:].sum(axis=1) / np.maximum(failed.sum(axis=1), 1)).mean()
                found = failed[:, :worse].mean() if worse else float("nan")
                if name == "session":
                    highest = max(highest, float(false))
                parts = "one" if is_shared else "apart"
                cells = [parts, str(n), str(worse), f"`{name}`" if "," not in name else name]
                rows.append(
                    [*cells, percent(false), percent(share), percent(found) if worse else ""]
                )
    head = (
        "test parts",
        "n",
        "worse specs",
        "family",
        "any false alarm",
        "false share of alarms",
        "worse found",
    )
    table(head, rows)
    print(
        f"The most sessions with a false alarm under `session`: {percent(highest)}; at most 5% is the target.\n"
    )


def stream(n: int, came: int | None, random: np.random.Generator) -> tuple[Numbers, Flags, Flags]:
    """Return the p-values of a hundred commits, two points worse from one on, with the outcomes behind them."""
    accuracies = np.full(COMMITS + 1, ACCURACY)
    if came is not None:
        accuracies[came:] -= DROP
    models = right(random.standard_normal(n), accuracies, random)
    return alarms(models[0], models[1:]), models[0], models[1:]


def commits(draws: int, random: np.random.Generator) -> None:
    """Print part 2."""
    print(f"## 2. {COMMITS} commits in a row, one baseline\n\n{draws} streams a row.")
    looks = np.array([share_of_look(look) for look in range(1, COMMITS + 1)])
    levels = {"each commit": np.full(COMMITS, ALPHA), "`sequential=True`": ALPHA * looks}
    rows = []
    for n in (1000, 4000, 10_000):
        for came in (None, 1, 10, 50):
            p_values = np.array([stream(n, came, random)[0] for _ in range(draws)])
            for name, level in levels.items():
                failed = p_values <= level
                before = failed[:, : COMMITS if came is None else came - 1]
                cells = [str(n), "never" if came is None else f"at commit {came}", name]
                cells += [
                    f"{before.sum(axis=1).mean():.2f}" if before.size else "",
                    percent(before.any(axis=1).mean()),
                ]
                if came is None:
                    rows.append([*cells, "", ""])
                    continue
                after = failed[:, came - 1 :]
                rows.append(
                    [*cells, percent(after[:, 0].mean()), percent(after[:, :10].any(axis=1).mean())]
                )
    head = (
        "n",
        "two points worse",
        "error rate of",
        "false alarms in all",
        "any false alarm",
        "found at once",
        "within ten commits",
    )
    table(head, rows)


def wealth(baseline: Flags, candidates: Flags) -> Numbers:
    """Return the logarithm of the largest wealth within each commit, and at its end: shape (k, 2).

    The bet on the i-th difference d is 1 - lambda d, lambda = min(1/2, sqrt(2 log(1/alpha) / (n v))),
    v the variance of the differences before it (ibid., the predictable plug-in, for values in [-1, 1]).
    """
    differences = candidates.astype(np.float64) - baseline
    n = differences.shape[1]
    seen = np.arange(n) + 1.0
    before = (np.cumsum(differences**2, axis=1) - differences**2 + 0.25) / seen
    bets = np.minimum(0.5, np.sqrt(2 * np.log(1 / ALPHA) / (n * before)))
    grown = np.cumsum(np.log1p(-bets * differences), axis=1)
    return np.stack([grown.max(axis=1), grown[:, -1]], axis=1)


def betting(draws: int, random: np.random.Generator) -> None:
    """Print part 3."""
    print(f"## 3. Betting\n\n{draws} streams a row; n = 1000.")
    looks = np.array([share_of_look(look) for look in range(1, COMMITS + 1)])
    rows = []
    for came in (None, 1, 10, 50):
        found: dict[str, list[Flags]] = {}
        for _ in range(draws):
            p_values, baseline, candidates = stream(1000, came, random)
            highest, last = wealth(baseline, candidates).T
            # As in our rule, a drop within the margin is no alarm.
            beyond = (baseline.mean() - candidates.mean(axis=1)) > MARGIN + 1e-9
            found.setdefault("alpha spending, McNemar", []).append(p_values <= ALPHA * looks)
            found.setdefault("alpha spending, betting", []).append(
                beyond & (highest >= -np.log(ALPHA * looks))
            )
            found.setdefault("one wealth over all commits", []).append(
                beyond & (np.cumsum(last) >= -np.log(ALPHA))
            )
        for name, kept in found.items():
            failed = np.array(kept)
            before = failed[:, : COMMITS if came is None else came - 1]
            cells = [
                "never" if came is None else f"at commit {came}",
                name,
                percent(before.any(axis=1).mean()),
            ]
            cells += (
                ["", ""]
                if came is None
                else [
                    percent(failed[:, came - 1].mean()),
                    percent(failed[:, came - 1 : came + 9].any(axis=1).mean()),
                ]
            )
            rows.append(cells)
    table(
        ("two points worse", "test", "any false alarm", "found at once", "within ten commits"), rows
    )


def main() -> None:
    """Print all three parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1500, help="sessions, and streams, a row")
    draws = parser.parse_args().draws
    random = np.random.default_rng(0)
    check_rule(random)
    models = right(random.standard_normal(200_000), np.full(2, ACCURACY), random)
    print(f"Two models disagree about {percent(np.mean(models[0] != models[1]))} of the samples.\n")
    sessions(draws, random)
    commits(max(1, draws // 5), random)
    betting(max(1, draws // 5), random)


if __name__ == "__main__":
    main()
