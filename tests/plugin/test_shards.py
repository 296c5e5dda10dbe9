"""Sessions with --modeltune-shard divide the items between them: each runs in one of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.plugin.shards import Shard, divide, shard_of, together
from tests.support.example import Example, scripted_source

NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=2), unique=True, max_size=12)
NEEDS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.lists(st.text("abcdefgh", min_size=1, max_size=2), max_size=3),
    max_size=6,
)


@given(
    NAMES,
    NEEDS,
    st.dictionaries(st.text("abcdefgh", max_size=2), st.floats(0, 1e4)),
    st.integers(1, 7),
)
def test_every_name_is_in_one_shard_with_all_that_it_needs(
    names: list[str], needs: Mapping[str, Sequence[str]], seconds: Mapping[str, float], of: int
) -> None:
    shards = divide(together(names, needs), seconds, of)
    assert len(shards) == of
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    for shard in shards:
        for name in shard:
            assert {*needs.get(name, ())} & {*names} <= {*shard}
    # The same in whatever order they were collected.
    assert divide(together(names[::-1], needs), seconds, of) == shards


def test_no_shard_is_longer_than_four_thirds_of_the_best_division() -> None:
    seconds = dict(zip("abcde", (6.0, 5.0, 5.0, 4.0, 4.0), strict=True))
    shards = divide([(name,) for name in seconds], seconds, 2)
    longest = max(sum(map(seconds.__getitem__, shard)) for shard in shards)
    assert longest == 14.0 <= 4 / 3 * 13  # the best is 6 + 4 + 4 and 5 + 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2", 'write which of how many, such as "2/5"'),
        ("x/5", 'write which of how many, such as "2/5"'),
        ("0/5", 'there is no such shard; write "1/5" to "5/5"'),
        ("6/5", 'there is no such shard; write "1/5" to "5/5"'),
        ("1/0", 'there is no such shard; write at least "1/1"'),
        ("-1/2", 'write which of how many, such as "2/5"'),
    ],
)
def test_a_shard_that_is_none_is_refused(text: str, why: str) -> None:
    assert shard_of(" 2 / 5") == Shard(2, 5)
    with pytest.raises(ValueError, match=why):
        shard_of(text)


def run(project: Example, shard: str, *arguments: str) -> str:
    """Return the line that says how items were divided."""
    session = project.run_pytest(f"--modeltune-shard={shard}", *arguments)
    assert session.exit_code == 0, session.output
    (told,) = (line for line in session.lines if line.startswith("modeltune: shard"))
    return told


def test_shards_run_each_spec_once_and_those_that_need_each_other_together(
    scripted: Example,
) -> None:
    more = """
from spec_a import a

def test_lent(tuned):
    assert tuned.run(a).passed

def test_plain():
    pass
"""
    compared = """
import modeltune as mt
from spec_a import c, on_nothing

@mt.spec(
    data=on_nothing.data, search=on_nothing.search, validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= mt.other(c) - 0.01],
)
def d(hp):
    raise NotImplementedError
"""
    project = scripted.with_files(
        {
            "conftest.py": "",
            "spec_a.py": scripted_source("a", "b", "c"),
            "spec_b.py": compared,
            "test_more.py": more,
        }
    )
    commit(project)
    told = [
        run(project, f"{number}/4", f"--modeltune-report=report/{number}")
        for number in (1, 2, 3, 4)
    ]
    # The last began when the others had recorded theirs, in the same history.
    assert {line.rpartition("split ")[2] for line in told} == {told[0].rpartition("split ")[2]}
    assert "of 6 items (no durations are recorded; split " in told[0]
    assert sum(int(line.split(": ")[2].split(" of ")[0]) for line in told) == 6
    assert sorted(run.spec.partition("::")[2] for run in project.history()) == ["a", "b", "c", "d"]

    shutil.rmtree(project.path / ".git")
    assert "0 of 6 items (by recorded durations" in run(project, "5/5")


def commit(project: Example) -> None:
    """Commit the project's files, long ago."""
    project.write()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    when = {**os.environ, "GIT_COMMITTER_DATE": "2020-01-01T00:00:00+00:00"}
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], cwd=project.path, env=when, check=True)
