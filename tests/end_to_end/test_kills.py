"""What was killed, at whatever instant, ends as if it had not been, once it is started again."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import re
import shutil
import sqlite3
import zlib
from collections import Counter
from pathlib import Path

from modeltune.histories.ledgers import LEDGER_FILE
from tests.support.killed_runs import (
    SPECS,
    attempt,
    check_same,
    finished,
    integrity,
    killed_until_done,
)
from tests.support.scripted_runs import ALL, run
from tests.support.traced import TRACED, calls_of, in_child, killed_at

# Real models, killed whenever; benchmarks/kills.py does the same a hundred times.


def test_a_killed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """That all four searches go on where they were, and without processes, test_resuming.py shows."""
    spec, workers = SPECS[-1], 2
    seconds = attempt(spec, 0, tmp_path / "whole").seconds
    (expected,) = finished(tmp_path / "whole")
    dice = random.Random(f"{spec.name}, {workers}")
    instants = iter(lambda: dice.uniform(0, seconds), None)
    assert killed_until_done(spec, workers, tmp_path / "killed", expected, instants, most=2)


# Every write, and no model: what trains is a script, so that a run takes a moment.

CALLS = (
    *("write", "pwrite64", "sendfile", "copy_file_range", "ftruncate", "fsync", "fdatasync"),
    *("openat", "mkdir", "rename", "renameat", "renameat2", "link", "linkat"),
    *("unlink", "unlinkat", "rmdir"),
)
"""What a run could change its folder with; some machines know fewer."""


LIKE_THE_FIRST = re.compile(r"\b[234]\.npz\b")
"""In the calls for trials that are kept as the first is."""


def calls(folder: Path, log: Path) -> list[tuple[str, int, str]]:
    """Return the calls by which a run changes its folder: name, which of that name, and as traced.

    Of SQLite's writes every 24th, since tests/histories/test_store.py kills it at all of them; and of
    syncs, since a kill takes nothing that only waits for its sync. Of trials the first and the last ones.
    """
    lines = calls_of(functools.partial(run, folder, log), log.with_suffix(".strace"), *CALLS)
    moments, counts, many = [], Counter[str](), 0
    for line in lines:
        call = line.partition("(")[0]
        counts[call] += 1
        is_new = call != "openat" or "O_CREAT" in line
        if str(folder) not in line or not is_new or " = -1 " in line or LIKE_THE_FIRST.search(line):
            continue
        if call in ("pwrite64", "fdatasync", "fsync"):
            many += 1
            if many % 24:
                continue
        moments.append((call, counts[call], line))
    return moments


def kept(folder: Path) -> set[str]:
    """Return what is in the ledger, read without the code that wrote it."""
    workers = set[str]()
    for path in folder.glob(f"scratch/*/{LEDGER_FILE}"):
        for line in path.read_bytes().splitlines():
            checksum, _, text = line.partition(b" ")
            if len(checksum) == 8 and int(checksum, 16) == zlib.crc32(text):
                entry = json.loads(text)
                if entry["key"].startswith(("trial ", "refit ")):
                    workers.add(entry["value"]["trained_by"])
    return workers


def recorded(folder: Path) -> int:
    """Return how many runs are in the history, read by sqlite3 alone."""
    if not (folder / "history.db").exists():
        return 0
    integrity(folder / "history.db")
    with contextlib.closing(sqlite3.connect(folder / "history.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    return int(count)


LEFT = re.compile(r"history\.db\.\w{32}\.new(-journal)?")
"""What stays of a run that was killed while it made an empty history."""


@TRACED
def test_a_run_killed_at_any_write_loses_nothing_it_had_finished(tmp_path: Path) -> None:
    """Kill a run at every call that changes a file or folder of its ledger, weights and history.

    That is: at all writes, syncs, renames, links, removals, new files and new folders, from the
    making of an empty history to the removal of the ledger, but every 24th only of SQLite's own
    writes and of syncs. After each kill the run is started once more, and ends by itself.
    """
    run(tmp_path / "whole", tmp_path / "log")
    assert set((tmp_path / "log").read_text().splitlines()) == ALL
    (expected,) = finished(tmp_path / "whole")
    assert expected.files.keys() == {"architecture", "samples"}
    killable = calls(tmp_path / "traced", tmp_path / "log-traced")
    assert len(killable) > 45
    for number, (call, nth, line) in enumerate(killable):
        folder, first, second = (tmp_path / f"{name}{number}" for name in ("run", "log-a", "log-b"))
        try:
            killed, _ = killed_at(call, nth, functools.partial(run, folder, first))
            assert killed
            # SQLite recovers a history when it is read: what is looked at is a copy.
            copy = tmp_path / f"copy{number}"
            if folder.exists():
                shutil.copytree(folder, copy)
            before, known = recorded(copy), kept(copy)
            begun = first.read_text().splitlines()
            assert before or known >= set(begun[:-1])

            status, _ = in_child(functools.partial(run, folder, second))
            assert status == 0
            # A run that is in the history is over: the next one begins from nothing.
            missing = ALL if before else ALL - known
            assert sorted(second.read_text().splitlines()) == sorted(missing)
            runs = finished(folder)
            assert len(runs) == before + 1
            for ended_run in runs:
                check_same(ended_run, expected)
            files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            left = files - {
                "history.db",
                *(ended_run.artifact.path for ended_run in runs if ended_run.artifact),
                *(file.path for ended_run in runs for file in ended_run.files.values()),
            }
            assert all(map(LEFT.fullmatch, left)), left
        except AssertionError as error:
            error.add_note(f"killed at {line}")
            raise
        shutil.rmtree(folder)
        shutil.rmtree(copy, ignore_errors=True)
