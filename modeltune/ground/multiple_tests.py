"""Several tests at once: Holm's procedure, and what each of several specs may spend of one error rate."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the given order; none is below its own p-value.

    Rejecting what is at most alpha keeps the chance of any false rejection at alpha, however the
    tests depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979, 65-70). SciPy's
    ``false_discovery_control`` controls the share of false rejections instead.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return tuple(adjusted)


def holm_level(specs: Sequence[Sequence[float]], count: int, alpha: float) -> float:
    """Return what each p-value is held against so that any false rejection has a chance of alpha at most.

    Each of ``count`` specs has an equal share of alpha. That of a spec whose tests are all rejected goes
    to the others, as in Holm's procedure, which this is where every spec has one test. The tests may
    depend on each other in any way (Bretz et al., Statistics in Medicine 28, 2009, 586-604).

    Args:
        specs: by spec the p-values of its tests, adjusted by ``holm`` among themselves.
        count: how many specs there are, those that are not known yet among them.
        alpha: the chance of any false rejection, over all specs.
    """
    level = alpha / count
    while True:
        done = sum(bool(tests) and max(tests) <= level for tests in specs)
        higher = alpha / max(count - done, 1)
        if higher <= level:
            return level
        level = higher


def false_discovery_level(specs: Sequence[Sequence[float]], count: int, alpha: float) -> float:
    """Return what each p-value is held against so that a share of alpha of the alarms is false, on average.

    Benjamini and Hochberg's procedure chooses specs by their smallest p-values (Journal of the Royal
    Statistical Society B 57, 1995, 289-300), which may depend on each other positively; the tests of
    a chosen spec are held against the chosen specs' share (Benjamini & Bogomolov, ibid. 76, 2014,
    297-318). The arguments are those of ``holm_level``.
    """
    smallest = sorted(min(tests) for tests in specs if tests)
    chosen = [rank for rank, p in enumerate(smallest, 1) if p <= alpha * (rank / count)]
    # At least an equal share, to the last digit: what was held against that stays rejected.
    return max(alpha / count, alpha * (max(chosen, default=1) / count))
