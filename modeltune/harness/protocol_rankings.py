"""Rank the models of a protocol, and test which are really different from the best."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from modeltune.ground import HistoryError, StoreUrl, first_names, holm
from modeltune.harness.run_differences import difference_in
from modeltune.histories import TEST_PART, Store, open_store
from modeltune.records import Run, RunStatus
from modeltune.reports import Difference, RankedRun, Ranking, parse_objective

LOOKED_THROUGH = 20
"""How many runs of a spec are looked through for one that finished, newest first."""


def rankings_of(runs: Sequence[Run], url: str | StoreUrl) -> list[Ranking]:
    """Return a ranking of each protocol that several of these runs share; none where the history is gone."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.protocol is not None and parse_objective(run.objective) is not None:
            groups.setdefault((run.protocol, run.objective), []).append(run)
    several = [group for group in groups.values() if len({run.spec for run in group}) > 1]
    if not several:
        return []
    try:
        with open_store(url, create=False) as history:
            return [rank(group, history) for group in several]
    except HistoryError:
        return []  # the reports of the runs say what is wrong with it


def ranking_of(protocol: str, history: Store, root: Path) -> Ranking:
    """Return the ranking of a protocol by the newest finished run of each of its specs.

    Args:
        protocol: its address, or the end of it.
        history: the store.
        root: of the project whose specs are meant.

    Raises:
        HistoryError: no run is of such a protocol, or of more than one.
    """
    newest = []
    for runs in history.latest(history.specs(root), LOOKED_THROUGH, root).values():
        finished = (run for run in runs if run.status in (RunStatus.PASSED, RunStatus.FAILED))
        newest += list(itertools.islice((run for run in finished if not run.cached), 1))
    known = sorted(
        {run.fingerprints["protocol"] for run in newest if "protocol" in run.fingerprints}
    )
    found = [
        one for one in known if one == protocol or one.endswith((f"::{protocol}", f"/{protocol}"))
    ]
    if len(found) != 1:
        what = "is no protocol" if not found else f"is one of {', '.join(found)}"
        raise HistoryError(f'"{protocol}" {what}; recorded are runs of: {first_names(known, 10)}')
    chosen = [run.id for run in newest if run.fingerprints.get("protocol") == found[0]]
    return rank(list(history.whole(chosen)), history)


def rank(runs: Sequence[Run], history: Store) -> Ranking:
    """Rank runs of one protocol by what their objective is on test.

    Every pair is compared as ``modeltune compare`` does, sample by sample or over the seeds. Holm's
    procedure over all pairs keeps the chance that any equal two are told apart at 5 %, though which is the
    best was seen first.
    """
    protocol, objective = runs[0].protocol or "", parse_objective(runs[0].objective)
    assert objective is not None  # of runs that a search, or gates, have judged
    metric = objective.test_metric
    sign = 1 if objective.better(1, than=0) else -1
    known, left_out = [], []
    newest = max(runs, key=lambda run: run.created)
    for run in runs:
        scores = run.scores.get(metric)
        if scores is None or not scores.values or not scores.is_finite:
            left_out.append(f"{run.spec} is not ranked: it has no finite {metric}")
        elif run.objective != newest.objective:
            left_out.append(f"{run.spec} is not ranked: its search would {run.objective}")
        elif run.fingerprints.get(TEST_PART) != newest.fingerprints.get(TEST_PART):
            left_out.append(f"{run.spec} is not ranked: run {run.id} is of other test data")
        else:
            known.append(run)
    known.sort(key=lambda run: -sign * run.scores[metric].mean)
    best = next((run for run in known if run.passed), None)
    pairs = list(itertools.combinations(known, 2))
    differences = [difference_in(metric, one, other, history) for one, other in pairs]
    tested = [place for place, one in enumerate(differences) if one.p is not None]
    adjusted = dict(zip(tested, holm([differences[i].p or 0.0 for i in tested]), strict=True))
    ranked = []
    for run in known:
        if best is None or run is best:
            ranked.append(RankedRun(run, is_best=run is best))
            continue
        place = next(i for i, pair in enumerate(pairs) if run in pair and best in pair)
        behind = sign * (best.scores[metric].mean - run.scores[metric].mean)
        difference: Difference = differences[place]
        ranked.append(RankedRun(run, False, behind, adjusted.get(place), difference.by))
    return Ranking(protocol, metric, tuple(ranked), tuple(left_out))
