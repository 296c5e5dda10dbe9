"""Order the items of specs whose gates compare with other specs: those run first. PYTEST_DONT_REWRITE"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modeltune.plugin.items import SpecItem


def with_others_first(items: Sequence[pytest.Item], specs: Sequence[SpecItem]) -> list[pytest.Item]:
    """Return items in their order, but those that others compare with before these.

    Raises:
        pytest.UsageError: specs compare with each other in a circle.
    """
    made = set(map(id, specs))
    chosen: dict[str, SpecItem] = {}
    for item in items:
        if id(item) in made:
            chosen[item.spec.id] = item  # type: ignore[attr-defined,assignment]
    ordered: dict[int, pytest.Item] = {}

    def add(item: SpecItem, above: tuple[str, ...]) -> None:
        if item.spec.id in above:
            circle = [*above[above.index(item.spec.id) :], item.spec.id]
            raise pytest.UsageError(
                f"mt.other: {' waits for '.join(circle)}, so that none of them can run first; take the gate "
                "out of one of them"
            )
        if id(item) in ordered:
            return
        for other in item.spec.others:
            if other.id in chosen:
                add(chosen[other.id], (*above, item.spec.id))
        ordered[id(item)] = item

    for item in items:
        if id(item) in made:
            add(item, ())  # type: ignore[arg-type]
        else:
            ordered[id(item)] = item
    return list(ordered.values())


def others_of(item: SpecItem, specs: Sequence[SpecItem]) -> list[SpecItem]:
    """Return the items of this session that an item's gates compare with."""
    ids = {other.id for other in item.spec.others}
    return [one for one in specs if one.spec.id in ids and one in item.session.items]
