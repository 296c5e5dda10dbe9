"""What a ledger has acknowledged is there again, whatever cut the writer short."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.ground.errors import HistoryError
from modeltune.histories.ledgers import LEDGER_FILE, Ledger, Ledgers, open_ledger

IDENTITY = {"search": "random", "code": "1"}


def nobody(run_ids: Sequence[str]) -> list[str]:
    return []


OPEN: list[Ledgers] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close(drop=False)


def begun(
    folder: Path,
    run: str = "a",
    spec: str = "spec_a.py::m",
    ended: Callable[[Sequence[str]], list[str]] = nobody,
    **changed: str,
) -> tuple[Ledger, str | None]:
    OPEN.append(Ledgers(folder))
    return OPEN[-1].begin(spec, IDENTITY | changed, run, ended)


def finished(folder: Path, count: int) -> None:
    """Leave a ledger with so many trials, as a killed process does."""
    ledgers = Ledgers(folder)
    ledger, _ = ledgers.begin("spec_a.py::m", IDENTITY, "a", nobody)
    for number in range(count):
        ledger.put(f"trial {number}", {"score": number})
    ledgers.close(drop=False)


def test_what_was_put_is_there_when_the_search_begins_again(tmp_path: Path) -> None:
    finished(tmp_path, 2)
    ledger, note = begun(tmp_path, "b")
    assert ledger.get("trial 1") == {"score": 1}
    assert ledger.get("trial 2") is None
    assert note == "resumes after 2 finished trials"


@given(st.integers(min_value=0, max_value=10_000), st.binary(max_size=3))
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_takes_more(
    tmp_path_factory: pytest.TempPathFactory, cut: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    finished(folder, 4)
    (path,) = folder.glob(f"*/{LEDGER_FILE}")
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)] + torn)
    kept = whole[: cut % (len(whole) + 1)].count(b"trial")

    with path.open("r+b") as file:
        ledger = open_ledger(path.parent, file)
        # A line is whole with its line break; the cut may lie between the two.
        assert ledger.count("trial ") in (kept, kept - 1)
        ledger.put("trial new", {"score": 9})
    with path.open("r+b") as file:
        again = open_ledger(path.parent, file)
        assert again.get("trial new") == {"score": 9}
        assert again.count("trial ") == ledger.count("trial ")


def test_a_flipped_byte_ends_the_file_before_it(tmp_path: Path) -> None:
    finished(tmp_path, 3)
    (path,) = tmp_path.glob(f"*/{LEDGER_FILE}")
    data = bytearray(path.read_bytes())
    data[data.index(b'"trial 1"') + 3] ^= 1
    path.write_bytes(data)
    with path.open("r+b") as file:
        ledger = open_ledger(path.parent, file)
    assert ledger.get("trial 0") == {"score": 0}
    assert ledger.count("trial ") == 1


def test_another_search_starts_anew_and_says_what_changed(tmp_path: Path) -> None:
    finished(tmp_path, 3)
    ledger, note = begun(tmp_path, "b", code="2")
    assert ledger.count("trial ") == 0
    assert note == (
        "starts from the first trial, without the 3 finished trials of an interrupted search: "
        "code changed"
    )
    assert len(list(tmp_path.glob(f"*/{LEDGER_FILE}"))) == 1


def test_another_spec_s_search_is_left_alone(tmp_path: Path) -> None:
    finished(tmp_path, 3)
    ledger, note = begun(tmp_path, "b", "spec_b.py::m")
    assert (ledger.count("trial "), note) == (0, None)
    assert len(list(tmp_path.glob(f"*/{LEDGER_FILE}"))) == 2


def test_a_recorded_run_is_not_made_again_from_its_ledger(tmp_path: Path) -> None:
    finished(tmp_path, 3)
    ledger, note = begun(tmp_path, "b", ended=lambda runs: [run for run in runs if run == "a"])
    assert (ledger.count("trial "), note) == (0, None)


def test_a_history_that_does_not_say_what_ended_loses_no_trial(tmp_path: Path) -> None:
    def unreadable(runs: Sequence[str]) -> list[str]:
        raise HistoryError(f"{runs} are not to be read")

    finished(tmp_path, 3)
    with pytest.raises(HistoryError, match="'a'"):
        begun(tmp_path, "b", ended=unreadable)
    OPEN.pop().close(drop=False)
    ledger, note = begun(tmp_path, "b")
    assert ledger.count("trial ") == 3
    assert note == "resumes after 3 finished trials"


def hold(folder: Path, held: Any, done: Any) -> None:
    begun(folder)
    held.set()
    done.wait()


def test_two_processes_at_one_search_do_not_share_a_ledger(tmp_path: Path) -> None:
    finished(tmp_path, 1)
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, held, done))
    process.start()
    try:
        assert held.wait(30)
        ledger, note = begun(tmp_path, "b")
        assert ledger.count("trial ") == 0
        assert note == "another process runs the same search; this run starts from the first trial"
        # Not even another search removes it.
        begun(tmp_path, "c", code="2")
        assert len(list(tmp_path.glob(f"*/{LEDGER_FILE}"))) >= 2
    finally:
        done.set()
        process.join()


def test_closing_removes_keeps_under_a_name_or_leaves(tmp_path: Path) -> None:
    begun(tmp_path)
    OPEN.pop().close()
    assert list(tmp_path.iterdir()) == []
    begun(tmp_path)
    OPEN.pop().close("run-1")
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


def test_a_search_that_begins_while_the_last_ledger_goes_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path, "a")
    first, rmtree = OPEN.pop(), shutil.rmtree

    def meanwhile(folder: Path, **options: Any) -> None:
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        ledger, _ = begun(tmp_path, "b")
        ledger.put("trial 1", {"score": 1})
        rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", meanwhile)
    first.close()
    second = OPEN[-1].begun
    assert second is not None
    assert b"trial 1" in (second.folder / LEDGER_FILE).read_bytes()
    OPEN.pop().close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [{}, {"code": "2"}], ids=["same search", "another search"])
def test_what_is_kept_under_a_run_s_name_outlives_the_next_search(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    ledger, _ = begun(tmp_path, "run-1")
    ledger.put("trial 1", {"score": 1})
    OPEN.pop().close("run-1")
    _, note = begun(tmp_path, "run-2", "spec_a.py::m", nobody, **changed)
    assert note is None
    assert (tmp_path / "run-1" / LEDGER_FILE).exists()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file")
    with pytest.raises(HistoryError, match="scratch"):
        begun(tmp_path / "scratch")
