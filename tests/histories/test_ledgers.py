"""What a ledger has acknowledged is there again, whatever cut the writer short."""

from __future__ import annotations

import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.ground.bounded_files import parse_json
from modeltune.ground.errors import HistoryError
from modeltune.ground.own_folders import MARK
from modeltune.histories import ledgers
from modeltune.histories.ledgers import (
    ASIDE,
    LEDGER_FILE,
    Ledger,
    Ledgers,
    left_runs,
    open_ledger,
    state_of,
)

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


def test_a_search_that_begins_again_reads_each_result_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path, 5)
    lines: list[bytes] = []

    def counted(line: bytes) -> Any:
        lines.append(line)
        return parse_json(line)

    monkeypatch.setattr(ledgers, "parse_json", counted)
    begun(tmp_path, "b")
    assert [sum(b'"trial %d"' % number in line for line in lines) for number in range(5)] == [1] * 5


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
    first, rmdir = OPEN.pop(), os.rmdir

    def meanwhile(folder: str, **options: Any) -> None:
        monkeypatch.setattr(os, "rmdir", rmdir)
        ledger, _ = begun(tmp_path, "b")
        ledger.put("trial 1", {"score": 1})
        rmdir(folder, **options)

    monkeypatch.setattr(os, "rmdir", meanwhile)
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


# What others have put there.


def line(text: bytes) -> bytes:
    """Return a line with a checksum that fits, as anybody can write it."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


FORGED: dict[str, bytes] = {
    "a checksum that does not fit": b'00000000 {"key": "trial 9", "value": 1}\n',
    "no checksum": b'{"key": "trial 9", "value": 1}\n',
    "no text": b"\xff\xfe\n",
    "a list": line(b"[1]"),
    "a number": line(b"1"),
    "no key": line(b'{"value": 1}'),
    "no value": line(b'{"key": "trial 9"}'),
    "another key": line(b'{"key": ["trial 9"], "value": 1}'),
    "runs that are none": line(b'{"key": "runs", "value": 3}'),
    "runs with a path": line(b'{"key": "runs", "value": ["../../x"]}'),
    "a search that is none": line(b'{"key": "search", "value": {"spec": 1, "identity": {}}}'),
    "an identity that is none": line(b'{"key": "search", "value": {"spec": "a", "identity": 1}}'),
    "deep nesting": line(b'{"key": "trial 9", "value": ' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
    "not a number": line(b'{"key": "trial 9", "value": NaN}'),
    "many digits": line(b'{"key": "trial 9", "value": ' + b"1" * 5000 + b"}"),
    "a key twice": line(b'{"key": "trial 9", "key": "trial 8", "value": 1}'),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_damaged_ledger_is_set_aside_and_what_is_before_the_damage_counts(
    tmp_path: Path, kind: str
) -> None:
    finished(tmp_path, 2)
    (path,) = tmp_path.glob(f"*/{LEDGER_FILE}")
    path.write_bytes(
        damaged := path.read_bytes() + FORGED[kind] + line(b'{"key": "a", "value": 1}')
    )
    assert state_of(path.parent).damage

    ledger, said = begun(tmp_path, "b")

    assert ledger.count("trial ") == 2
    assert ledger.get("runs") == ["a", "b"]
    (aside,) = tmp_path.glob(f"{ASIDE}*")
    assert aside.read_bytes() == damaged
    assert said is not None
    assert said.startswith(f"{path} is damaged (line 5: ")
    assert said.endswith(
        f"all of it was set aside as {aside.name}; resumes after 2 finished trials"
    )


def _foreign(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_text("mine")


def _in_the_place_of_its_file(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.mkdir()
        make(path / LEDGER_FILE)

    return put


PLANTED: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("mine"),
    "a link to a folder": lambda path: path.symlink_to(path.parents[1] / "elsewhere"),
    "a pipe": os.mkfifo,
    "a folder of others": _foreign,
    "a pipe as its file": _in_the_place_of_its_file(os.mkfifo),
    "a folder as its file": _in_the_place_of_its_file(Path.mkdir),
    "an endless device as its file": _in_the_place_of_its_file(
        lambda path: path.symlink_to("/dev/zero")
    ),
    "a link as its file": _in_the_place_of_its_file(
        lambda path: path.symlink_to(path.parents[2] / "elsewhere" / "mine")
    ),
    "a text as its file": _in_the_place_of_its_file(lambda path: path.write_text("mine\n" * 9)),
    "a large file": _in_the_place_of_its_file(
        lambda path: (path.touch(), os.truncate(path, 1 << 40))
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_lies_in_the_place_of_a_ledger_is_set_aside_and_nothing_is_lost(
    tmp_path: Path, kind: str
) -> None:
    scratch = tmp_path / "scratch"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    folder = begun(scratch)[0].folder
    OPEN.pop().close()
    PLANTED[kind](folder)
    before = folder.lstat()

    ledger, said = begun(scratch, "b")
    ledger.put("trial 0", 1)

    assert said is not None
    assert said.startswith(f"{folder} cannot be resumed (")
    (aside,) = scratch.glob(f"{ASIDE}*")
    assert said.endswith(f"set aside as {aside.name}")
    assert aside.lstat().st_ino == before.st_ino
    OPEN.pop().close()
    assert os.listdir(scratch) == [aside.name]
    assert os.listdir(tmp_path / "elsewhere") == ["mine"]
    assert (tmp_path / "elsewhere" / "mine").read_text() == "mine"
    # It is in nobody's way.
    assert begun(scratch, "c")[1] is None


def test_links_in_the_folder_of_an_interrupted_search_lead_no_writer_out_of_it(
    tmp_path: Path,
) -> None:
    ledger, _ = begun(tmp_path / "scratch", "a")
    ledger.put("run a", {})
    ledger.put("trial 0", 1)
    OPEN.pop().close(drop=False)
    (path,) = tmp_path.glob(f"scratch/*/{LEDGER_FILE}")
    assert [left.id for left in left_runs(tmp_path / "scratch")] == ["a"]
    (tmp_path / "elsewhere").mkdir()
    (path.parent / "states").symlink_to(tmp_path / "elsewhere")
    ledger, said = begun(tmp_path / "scratch", "b")
    assert "(states in it is a link, a pipe or a device)" in str(said)
    assert ledger.count("trial ") == 0
    assert not (ledger.folder / "states").exists()
    # Nor is what was set aside an interrupted search, though its ledger can be read.
    OPEN.pop().close(drop=False)
    (aside,) = (tmp_path / "scratch").glob(f"{ASIDE}*")
    for run, code in (("c", "1"), ("d", "2")):
        assert begun(tmp_path / "scratch", run, code=code)[1] is None
        OPEN.pop().close(drop=False)
    assert (aside / LEDGER_FILE).exists()
    assert (aside / "states").is_symlink()
    assert list(left_runs(tmp_path / "scratch")) == []


def test_no_search_begins_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HistoryError, match=r"scratch.* it is a link to .*elsewhere"):
        begun(tmp_path / "scratch")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_other_searches_are_looked_at_and_neither_written_nor_removed_unless_they_are_ours(
    tmp_path: Path,
) -> None:
    """A search of this spec that has become another is dropped, if its ledger is whole."""
    elsewhere = tmp_path / "elsewhere"
    finished(elsewhere, 2)
    (outside,) = elsewhere.glob("*")
    finished(tmp_path / "scratch", 2)
    (other,) = (tmp_path / "scratch").glob(f"*/{LEDGER_FILE}")
    with other.open("ab") as file:
        file.write(FORGED["a list"])
    (tmp_path / "scratch" / "0123").symlink_to(outside)
    (tmp_path / "scratch" / "4567").mkdir()
    (tmp_path / "scratch" / "4567" / LEDGER_FILE).symlink_to(outside / LEDGER_FILE)
    gone = tmp_path / "scratch" / "gone-fishing"
    gone.mkdir()
    (gone / "trout").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    begun(tmp_path / "scratch", "b", code="2")

    assert {path: path.read_bytes() for path in before} == before


def test_a_ledger_of_an_earlier_modeltune_resumes_and_goes(tmp_path: Path) -> None:
    """It has no mark; what it says is mark enough."""
    finished(tmp_path, 2)
    (mark,) = tmp_path.glob(f"*/{MARK}")
    mark.unlink()
    ledger, said = begun(tmp_path, "b")
    assert (ledger.count("trial "), said) == (2, "resumes after 2 finished trials")
    OPEN.pop().close(drop=False)
    mark.unlink()
    begun(tmp_path, "c", code="2")
    assert [path.parent for path in tmp_path.glob(f"*/{LEDGER_FILE}")] != [mark.parent]
    assert not mark.parent.exists()


def test_a_result_that_would_be_too_large_to_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, _ = begun(tmp_path)
    monkeypatch.setattr(ledgers, "LONGEST_LINE", 300)
    ledger.put("trial 0", "x" * 1000)
    ledger.put("trial 1", "x")
    assert ledger.get("trial 0") == "x" * 1000
    OPEN.pop().close(drop=False)
    ledger, said = begun(tmp_path, "b")
    assert (ledger.get("trial 0"), ledger.get("trial 1")) == (None, "x")
    assert said == "resumes after 1 finished trial"
