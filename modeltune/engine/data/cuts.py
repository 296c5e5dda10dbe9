"""Choose the rows of cut parts and of folds: at random, group by group, or in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modeltune.records import Array


@dataclass(frozen=True, eq=False)
class RowOrder:
    """Whether rows are in time, and how many are left out between two parts."""

    is_ordered: bool = False
    gap: int = 0

    def thinned(self, share: float) -> RowOrder:
        """Return the order of rows of which only a share is left."""
        return RowOrder(self.is_ordered, int(np.ceil(self.gap * share)))

    @property
    def fingerprint(self) -> str:
        """What a run is known by besides its data; "" where rows are in no order."""
        return f"rows in time, gap {self.gap}" if self.is_ordered else ""


@dataclass(frozen=True, eq=False)
class RowCut:
    """Which rows are kept and which are cut, both ascending, and how they were chosen."""

    kept: Array
    cut: Array
    how: str


def random_cut(labels: Array | None, unlabelled: str, rows: Array, size: int, seed: int) -> RowCut:
    """Draw rows, stratified by class label where that is possible.

    Args:
        labels: the class of each of these rows, None where there are none.
        unlabelled: why there are none.
        rows: their numbers.
        size: how many are cut.
        seed: of the draw.
    """
    # The import takes a second; only data that lack a part need it.
    from sklearn.model_selection import train_test_split

    how = "stratified by class"
    if labels is None:
        how = f"not stratified: {unlabelled}"
    else:
        _, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2 or len(counts) > min(size, len(rows) - size):
            labels = None
            how = f"not stratified: {len(counts)} classes, the rarest has {counts.min()}"
    kept, drawn = train_test_split(rows, test_size=size, random_state=seed, stratify=labels)
    return RowCut(np.sort(kept), np.sort(drawn), f"{how}, seed {seed}")


def group_cut(groups: Array, labels: Array | None, rows: Array, size: int, seed: int) -> RowCut:
    """Draw whole groups that together have about as many rows.

    Args:
        groups: the group of each of these rows; there are two at least.
        labels, rows, size, seed: as of ``random_cut``.
    """
    present = len(np.unique(groups))
    shares = max(2, min(round(len(rows) / size), present))
    labels = stratifying(labels, shares)
    inside, outside = next(iter(_group_folds(groups, labels, shares, seed)))
    drawn = len(np.unique(groups[outside]))
    by_class = "" if labels is None else ", balanced by class"
    return RowCut(
        rows[inside], rows[outside], f"{drawn} of {present} groups{by_class}, seed {seed}"
    )


def time_cut(rows: Array, size: int, gap: int) -> RowCut:
    """Cut the latest rows, and leave out as many before them as the gap has."""
    last = len(rows) - size
    how = "the latest" + (f", the {gap} before them left out" if gap else "")
    return RowCut(rows[: last - gap], rows[last:], how)


def fold_rows(
    labels: Array | None,
    groups: Array | None,
    order: RowOrder,
    size: int,
    k: int,
    seed: int,
    fold: int,
) -> tuple[Array, Array]:
    """Return the rows that a fold is trained on, and those it holds out.

    Rows in time are held out after those trained on, groups as a whole, and all others at random;
    the latter two balanced by class label where each class has ``k`` rows.

    Args:
        labels: the class of each row, None where there are none.
        groups: the group of each row, None where there are none.
        order: whether rows are in time.
        size: the number of rows.
        k, seed: of the cross-validation; rows in time are drawn by no seed.
        fold: its number, from 0.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    rows = np.arange(size)
    labels = stratifying(labels, k)
    folds: Any
    if order.is_ordered:
        folds = TimeSeriesSplit(k, gap=order.gap).split(rows)
    elif groups is not None:
        folds = _group_folds(groups, labels, k, seed)
    else:
        kind = KFold if labels is None else StratifiedKFold
        folds = kind(k, shuffle=True, random_state=seed).split(rows, labels)
    inside, outside = list(folds)[fold]
    return inside, outside


def most_gap(size: int, k: int) -> int:
    """Return the largest gap with which the first of ``k`` folds in time is trained on a row."""
    return size - k * (size // (k + 1)) - 1


def stratifying(labels: Array | None, shares: int) -> Array | None:
    """Return the labels if each class has a row for each share, else None."""
    is_rare = labels is None or min(np.unique(labels, return_counts=True)[1]) < shares
    return None if is_rare else labels


def _group_folds(groups: Array, labels: Array | None, k: int, seed: int) -> Any:
    """Return folds of whole groups; with one label for all rows they are balanced by their sizes."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows = np.arange(len(groups))
    labels = np.zeros(len(groups), int) if labels is None else labels
    return StratifiedGroupKFold(k, shuffle=True, random_state=seed).split(rows, labels, groups)
