"""Take one share of the specs: ``--modeltune-shard=2/5``, for jobs that divide a session. PYTEST_DONT_REWRITE"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from modeltune.plugin.tuned_fixture import uses_tuned

if TYPE_CHECKING:
    from modeltune.plugin.items import SpecItem

LOOKED_BACK = 20
"""How many runs of a spec are looked at for one that trained."""

UNKNOWN_SECONDS = 60.0
"""What is expected of a spec where no run of any spec is recorded."""


@dataclass(frozen=True)
class Shard:
    """One of several sessions that divide the specs between them, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_of(text: str) -> Shard:
    """Return the shard that an option names, such as "2/5".

    Raises:
        ValueError: it names none, with what to write.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None:
        raise ValueError(f'{text!r}: write which of how many, such as "2/5"')
    number, of = map(int, match.groups())
    if not 1 <= number <= of:
        known = f'"1/{of}" to "{of}/{of}"' if of else 'at least "1/1"'
        raise ValueError(f"{text!r}: there is no such shard; write {known}")
    return Shard(number, of)


def together(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return names in groups: what needs another one is in its group; needs of others are left out."""
    group_of = {name: {name} for name in names}
    for name, needed in needs.items():
        for other in needed:
            if name in group_of and group_of.get(other, group_of[name]) is not group_of[name]:
                joined = group_of[name] | group_of[other]
                group_of.update(dict.fromkeys(joined, joined))
    kept = {id(group): tuple(sorted(group)) for group in group_of.values()}
    return sorted(kept.values())


def divide(
    groups: Sequence[tuple[str, ...]], seconds: Mapping[str, float], of: int
) -> list[list[str]]:
    """Return the names of each shard: the longest group goes to the shard with the least to do.

    It is Graham's rule (SIAM J. Appl. Math. 17, 1969): no shard takes longer than 4/3 of the best
    division. The same groups and seconds are divided in the same way, in whatever order they come.

    Args:
        seconds: by name how long it took; of others the median is expected.
    """
    known = sorted(seconds.values())
    expected = known[len(known) // 2] if known else UNKNOWN_SECONDS
    weights = {group: sum(seconds.get(name, expected) for name in group) for group in groups}
    shards: list[list[str]] = [[] for _ in range(of)]
    loads = [0.0] * of
    for group in sorted(groups, key=lambda group: (-weights[group], group)):
        least = loads.index(min(loads))
        shards[least] += group
        loads[least] += weights[group]
    return shards


def split_digest(shards: Sequence[Sequence[str]]) -> str:
    """Return a few letters that are equal only where sessions divided the same specs in the same way."""
    text = "\0\0".join("\0".join(sorted(names)) for names in shards)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Division:
    """How a shard's session divided what was collected."""

    shard: Shard
    kept: list[pytest.Item]
    collected: int
    by_durations: bool
    digest: str

    def __str__(self) -> str:
        by = "by recorded durations" if self.by_durations else "no durations are recorded"
        return (
            f"shard {self.shard}: {len(self.kept)} of {self.collected} items ({by}; split {self.digest}, "
            "which has to be the same in every shard)"
        )


def divide_items(
    shard: Shard, items: Sequence[pytest.Item], seconds: Mapping[str, float]
) -> Division:
    """Divide items between shards.

    Items that need each other are in one: a spec and those that its gates compare with, a test that
    uses ``tuned`` and the specs that its file names.

    Args:
        seconds: by node id what its last run took.
    """
    names = [item.nodeid for item in items]
    shards = divide(together(names, _needs(items)), seconds, shard.of)
    mine = set(shards[shard.number - 1])
    kept = [item for item in items if item.nodeid in mine]
    return Division(shard, kept, len(items), bool(seconds), split_digest(shards))


def _needs(items: Sequence[pytest.Item]) -> dict[str, list[str]]:
    from modeltune.plugin.items import SpecItem

    specs = [item for item in items if isinstance(item, SpecItem)]
    by_id = {one.spec.id: one.nodeid for one in specs}
    by_function = defaultdict(list)
    for one in specs:
        by_function[one.spec.id.partition("[")[0]].append(one.nodeid)
    needs = {
        one.nodeid: [by_id[other.id] for other in one.spec.others if other.id in by_id]
        for one in specs
    }
    for item in items:
        if uses_tuned(item):
            named = _specs_named_in(getattr(item, "module", None))
            needs[item.nodeid] = [one for id_ in named for one in by_function.get(id_, [])]
    return needs


def _specs_named_in(module: ModuleType | None) -> list[str]:
    """Return the ids of the specs in a test's module, and in the modules that it imported."""
    from modeltune.specs import Spec

    values = list(vars(module).values()) if module is not None else []
    for value in list(values):
        if isinstance(value, ModuleType) and "modeltune.specs" not in value.__name__:
            values += vars(value).values()
    return sorted({value.id for value in values if isinstance(value, Spec)})


def recorded_seconds(
    items: Sequence[pytest.Item], options_of: Callable[[str], Mapping[str, Any]]
) -> dict[str, float]:
    """Return by node id how long the spec's newest run took that trained; none where there is no history.

    In a git repository only runs count that are older than the commit: those are the same for all
    shards, also where they share a history and one has ended before another begins.

    Args:
        options_of: of the file of a spec, with its "store".

    Raises:
        HistoryError: a history cannot be read.
    """
    from modeltune.engine import commit_time
    from modeltune.ground import NoHistoryError
    from modeltune.histories import open_store
    from modeltune.plugin.items import SpecItem
    from modeltune.records import RunStatus

    by_store: dict[str, list[SpecItem]] = defaultdict(list)
    stores = {}
    for item in items:
        if isinstance(item, SpecItem):
            store = options_of(item.spec.file)["store"]
            stores[str(store)] = store
            by_store[str(store)].append(item)
    commit = cache(commit_time)  # one call of git for each folder
    seconds = {}
    for name, some in by_store.items():
        try:
            history = open_store(stores[name], create=False)
        except NoHistoryError:
            continue
        with history:
            newest = history.latest({item.spec.id for item in some}, LOOKED_BACK)
        for item in some:
            end = commit(Path(item.spec.file).parent)
            took = [
                run.durations.total
                for run in newest[item.spec.id]
                if run.status in (RunStatus.PASSED, RunStatus.FAILED)
                and not run.cached
                and (end is None or datetime.fromisoformat(run.created) < end)
            ]
            if took:
                seconds[item.nodeid] = took[0]
    return seconds
