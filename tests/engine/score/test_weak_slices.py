"""Weak slices are found, only where there are some, and the code that is printed selects them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from modeltune.engine.data.loading import Column as FrameColumn
from modeltune.engine.data.loading import Part
from modeltune.engine.fit.cautions import take_cautions
from modeltune.engine.score.slice_masks import slice_masks
from modeltune.engine.score.weak_slices import (
    sources,
    warn_of_weak_slices,
    weak_slices,
    weakness_of,
)
from modeltune.records import Samples, pack_samples
from modeltune.specs.gates import On

N = 800
RANDOM = np.random.default_rng(3)
NUMBER = RANDOM.normal(size=N)
REGION = RANDOM.choice(["north", "south", "east", "west"], N)
NORTH = REGION == "north"


def part(x: Any = None, frame: Any = None, **more: Any) -> Part:
    return Part("test", N, "", x=np.zeros((N, 1)) if x is None else x, metadata=frame, **more)


def wrong_on(inside: Any, much: float = 0.5, base: float = 0.05, seed: int = 0) -> Any:
    share = np.where(inside, much, base)
    return (np.random.default_rng(seed).random(N) < share).astype(float)


def selected(code: str, of: Part) -> Any:
    """Return which samples the code selects that a user pastes after a metric."""

    def on(name: str, select: Any) -> Any:
        return slice_masks([On(name, select)], of.x, np.zeros(N), of)[name]

    return eval(code.removeprefix("."), {"on": on})


WITH_MISSING = pd.array([None if one == "east" else one for one in REGION], dtype="string")
KINDS: dict[str, tuple[Part, Any, str]] = {
    "a column of texts": (
        part(frame=pd.DataFrame({"region": REGION})), NORTH,
        '.on("region is north", lambda metadata: metadata["region"] == "north")',
    ),
    "categories": (
        part(frame=pd.DataFrame({"the region": pd.Categorical(REGION)})), NORTH,
        '.on("the region is north", lambda metadata: metadata["the region"] == "north")',
    ),
    "texts of which some are missing": (
        part(frame=pd.DataFrame({"region": WITH_MISSING})), NORTH,
        '.on("region is north", lambda metadata: (metadata["region"] == "north").fillna(False))',
    ),
    "True and False": (
        part(frame=pd.DataFrame({"is_new": NORTH})), NORTH,
        '.on("is_new is True", lambda metadata: metadata["is_new"])',
    ),
    "whole numbers with few values": (
        part(frame=pd.DataFrame({7: RANDOM.integers(0, 5, N)})), None, 'metadata[7] == 3)',
    ),
    "a number": (
        part(frame=pd.DataFrame({"age": NUMBER})), NUMBER > 0.8, 'lambda metadata: metadata["age"] > 0.',
    ),
    "a number that may be missing": (
        part(frame=pd.DataFrame({"age": pd.array(np.where(NUMBER > -1, NUMBER, np.nan), "Float64")})),
        NUMBER > 0.8, '(metadata["age"] > 0.',
    ),
    "two conditions": (
        part(frame=pd.DataFrame({"age": NUMBER, "region": REGION})), NORTH & (NUMBER > 0),
        '(metadata["region"] == "north")',
    ),
    "a matrix": (part(x=np.stack([REGION == "east", NUMBER], axis=1).astype("float32")), NUMBER > 0.8,
        "lambda x: x[:, 1] > 0."),
    "a frame": (
        part(x=np.stack([REGION, NUMBER], axis=1).astype(object),
             frames={"x": (FrameColumn("region", "str"), FrameColumn("age", "float64", "float64"))}),
        NORTH, '.on("region is north", lambda x: x["region"] == "north")',
    ),
    "an input for each column": (
        part(x={"age": NUMBER[:, None], "region": REGION}), NORTH & (NUMBER > 0),
        '(x["age"].reshape(-1) > ',
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_weak_slice_is_found_and_its_code_selects_it(kind: str) -> None:
    of, inside, code = KINDS[kind]
    inside = np.asarray(of.metadata.iloc[:, 0] == 3) if inside is None else inside
    (one, weakness), *_ = weak_slices(wrong_on(inside, 0.7), sources(of), True)
    assert code in one.code
    assert np.array_equal(selected(one.code, of), one.mask())
    assert (one.mask() & inside).sum() > 0.8 * (one.mask() | inside).sum()
    assert weakness.inside > 0.5 > 0.15 > weakness.outside
    assert weakness.p < 0.001


def test_equal_slices_are_rarely_called_weak() -> None:
    of = part(frame=pd.DataFrame({"region": REGION, "age": NUMBER}))
    everywhere = np.zeros(N, bool)
    found = [weak_slices(wrong_on(everywhere, seed=k), sources(of), True) for k in range(20)]
    assert sum(map(bool, found)) <= 2  # 1 expected at most


def test_groups_are_not_counted_as_samples() -> None:
    groups, region = np.arange(N) // 20, REGION[np.arange(N) // 20]
    is_north = region == "north"
    errors = (np.random.default_rng(1).random(40)[groups] < np.where(is_north, 0.4, 0.2)) * 1.0
    alone, grouped = (weakness_of(errors, is_north, units) for units in (None, groups))
    assert alone.inside == grouped.inside > alone.outside == grouped.outside
    assert alone.p < 0.001 < 0.05 < grouped.p
    of = part(frame=pd.DataFrame({"region": region}))
    assert not weak_slices(errors, sources(of), True, groups)


def test_p_values_are_those_of_fishers_exact_test() -> None:
    from scipy.stats import fisher_exact

    errors = wrong_on(NORTH, 0.1)
    table = [[int(errors[rows].sum()), int((1 - errors[rows]).sum())] for rows in (NORTH, ~NORTH)]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert weakness_of(errors, NORTH).p == pytest.approx(expected)


def test_what_is_a_little_worse_is_not_called_weak() -> None:
    errors = np.zeros(N)
    errors[NORTH], errors[~NORTH] = 1.2, 1.0
    errors += np.random.default_rng(0).normal(size=N) / 100
    of = part(frame=pd.DataFrame({"region": REGION}))
    assert not weak_slices(errors, sources(of), False)
    assert weak_slices(np.where(NORTH, 2 * errors, errors), sources(of), False)


def test_a_scored_model_is_warned_of_with_code_to_paste() -> None:
    wrong = wrong_on(NORTH)
    truth = np.zeros(N, int)
    predicted = (truth + wrong).astype(int)[None]
    packed = pack_samples(Samples(N, 1, {"": truth}, {"": predicted}, {"": (0, 1)}))
    take_cautions()
    warn_of_weak_slices(packed, part(frame=pd.DataFrame({"region": REGION})))
    (told,) = take_cautions()
    assert told.check == "model.weak_slices"
    assert told.text.endswith(
        ': .on("region is north", lambda metadata: metadata["region"] == "north")'
    )
    assert "% wrong on" in told.text


@pytest.mark.parametrize("frame", [
    pd.DataFrame({"lists": [[1]] * N, "ids": [f"id {k}" for k in range(N)]}),
    pd.DataFrame({"day": pd.date_range("2026-01-01", periods=N), "none": [None] * N, "far": [np.inf] * N}),
    pd.DataFrame({"one": ["same"] * N, "long": ["x" * 500] * N}),
])  # fmt: skip
def test_columns_that_make_no_slices_are_left_out(frame: pd.DataFrame) -> None:
    assert weak_slices(wrong_on(NORTH), sources(part(frame=frame)), True) == []
    assert not weak_slices(wrong_on(NORTH)[:60], sources(part(frame=frame.iloc[:60])), True)
