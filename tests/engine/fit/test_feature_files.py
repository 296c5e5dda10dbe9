"""Features are made once, found again by all that decides them, and never trusted blindly."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.fit import compiled_pool, feature_files, frozen_prefix
from modeltune.engine.score.refit import train_refit
from modeltune.ground.bounded_files import open_regular
from modeltune.records.tasks import RefitTask
from tests.support import forked
from tests.support.frozen_models import conv, images, sequential, spec, trained
from tests.support.small_models import values


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the times features are made rather than read."""
    made: list[str] = []
    original = feature_files._batches

    def counted(prefix: feature_files.Prefix, part: Part) -> Any:
        made.append(part.name)
        return original(prefix, part)

    monkeypatch.setattr(feature_files, "_batches", counted)
    return made


def test_a_refit_uses_the_same_features(tmp_path: Path, calls: list[str]) -> None:
    declared = spec()
    trained(declared, features=tmp_path)
    task = RefitTask(mt.Holdout(seeds=1).refits()[0], values().get_config(), 2, None)
    refitted = train_refit(declared, load_data(declared), task, tmp_path)
    assert refitted.trained_by == "frozen prefix + graph, compiled step reused"
    assert calls == ["train", "validation"]
    assert "accuracy" in refitted.scores


def test_folds_have_their_own_features(
    tmp_path: Path, calls: list[str], untrained: list[Any]
) -> None:
    declared = spec(validation=mt.KFold(3))
    for fold in mt.KFold(3).refits():
        refitted = train_refit(
            declared, load_data(declared), RefitTask(fold, values().get_config(), 1, None), tmp_path
        )
        assert refitted.trained_by == "frozen prefix + graph"
    assert len({*tmp_path.iterdir()}) == len(calls) == 6


def test_features_that_depend_on_the_place_in_a_batch_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    original = feature_files.in_graph

    def by_place(model: Any) -> Any:
        run = original(model)
        return lambda batch: [a + np.arange(len(a)).reshape(-1, 1) for a in run(batch)]

    monkeypatch.setattr(feature_files, "in_graph", by_place)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert "depend on a sample's place in its batch" in result.trained_by
    assert not list(tmp_path.iterdir())


def test_a_cut_that_predicts_other_numbers_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = feature_files._mapped

    def damaged(path: Path, size: int) -> Any:
        array = original(path, size)
        return None if array is None else array + np.float32(1e-3)

    monkeypatch.setattr(feature_files, "_mapped", damaged)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert result.trained_by.endswith("cut in two it predicts other numbers")


def test_large_features_of_small_data_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    monkeypatch.setattr(feature_files, "LARGE", 0)
    monkeypatch.setattr(feature_files, "GROWTH", 0.01)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert "its features would take 0.0 GiB, the data 0.0 GiB" in result.trained_by


def test_a_folder_that_cannot_be_written_costs_only_the_speed(
    tmp_path: Path, untrained: list[Any]
) -> None:
    (tmp_path / "taken").write_text("a file")
    result = trained(spec(), epochs=1, features=tmp_path / "taken")
    assert "its features cannot be written: [Errno" in result.trained_by


# what is kept


def test_a_second_trial_reads_what_the_first_wrote(
    tmp_path: Path, calls: list[str], untrained: list[Any]
) -> None:
    trained(spec(), features=tmp_path)
    kept = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    assert [path.suffix for path in kept] == [".npy"] * 2

    def renamed(hp: Any) -> Any:  # Keras numbers its layers: other names, the same prefix
        conv()
        return sequential(optimizer="sgd")

    trained(spec(renamed), features=tmp_path, seed=6)
    assert calls == ["train", "validation"]
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == kept


def test_a_truncated_file_is_made_again(tmp_path: Path, calls: list[str]) -> None:
    declared = spec()
    first = trained(declared, features=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    calls.clear()
    compiled_pool.POOL.clear()  # or the features it has mapped would do
    for path, content in before.items():
        path.write_bytes(content[:1000])
    again = trained(declared, features=tmp_path)
    assert again.curve == first.curve
    assert again.trained_by == "frozen prefix + graph"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(calls) == 2


@pytest.mark.parametrize("size", [0, 40], ids=["nothing left", "cut in its header"])
def test_a_file_that_holds_no_numbers_is_made_again(
    tmp_path: Path, calls: list[str], untrained: list[Any], size: int
) -> None:
    trained(spec(), epochs=1, features=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    calls.clear()
    compiled_pool.POOL.clear()
    for path, content in before.items():
        path.write_bytes(content[:size])
    trained(spec(), epochs=1, features=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(calls) == 2


def _third(path: Path) -> None:
    content = path.read_bytes()
    third = len(content) // 3
    path.write_bytes(content[:third] + bytes(third) + content[2 * third :])


def _flip(path: Path, place: int) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    # As of a cache that keeps the times of files.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / f"{path.name}.kept"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a third overwritten": _third,
    "a bit in the header": lambda path: _flip(path, 20),
    "a bit in the numbers": lambda path: _flip(path, -100),
    "a bit in the digest": lambda path: _flip(path, -1),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "without a digest": lambda path: os.truncate(path, path.stat().st_size - 32),
    "no numbers": lambda path: path.write_bytes(b"mine"),
    "a pipe": _pipe,
    "a link": _link,
}


@pytest.mark.parametrize("process", ["this process", "another process"])
def test_features_that_were_changed_are_made_again_and_that_is_said_once(
    tmp_path: Path, calls: list[str], untrained: list[Any], process: str
) -> None:
    declared, folder = spec(), tmp_path / "features"
    first = trained(declared, features=folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for change in CHANGES.values():
        calls.clear()
        if process == "another process":
            compiled_pool.POOL.clear()
            feature_files._verified.clear()
        for path in before:
            change(path)
        again = trained(declared, features=folder)
        assert sorted(calls) == ["train", "validation"]
        assert (again.curve, again.note) == (first.curve, feature_files.CHANGED)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert trained(declared, features=folder).note is None


def test_features_are_verified_once_by_each_process_and_read_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    read: list[Path] = []

    class Counted:
        def __init__(self, path: Path):
            self._file = open_regular(path, through_links=False)
            self._path = path

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def fileno(self) -> int:
            return self._file.fileno()

        def read(self, size: int = -1) -> bytes:
            read.append(self._path)
            return self._file.read(size)

    monkeypatch.setattr(feature_files, "open_regular", lambda path, **_: Counted(path))
    for seed in (1, 1, 2):
        compiled_pool.POOL.clear()
        trained(spec(), features=tmp_path, seed=seed)
    assert {*read} == {*tmp_path.iterdir()}
    # The numbers, and what must be the digest.
    assert len(read) == 2 * 2


def test_features_are_not_written_through_links(tmp_path: Path, untrained: list[Any]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "features").symlink_to(tmp_path / "mine")
    result = trained(spec(), epochs=1, features=tmp_path / "features")
    assert "its features cannot be written: " in result.trained_by
    assert "it is a link to" in result.trained_by
    assert os.listdir(tmp_path / "mine") == []


def key(data: mt.Data | None = None, rows: slice = slice(None), **fields: Any) -> str | None:
    declared = spec(data=data)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    cut = frozen_prefix.split(sequential(conv(1, **fields)))
    assert isinstance(cut, frozen_prefix.Split)
    part = load_data(declared).train
    prefix = feature_files._prefix_key(cut.prefix, 32)
    return prefix and feature_files._key(prefix, part.take(np.arange(part.size)[rows]))


def test_the_same_prefix_and_data_have_the_same_key() -> None:
    assert key() == key() is not None


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"activation": "tanh"},
        {"name": "relu", "activation": "tanh"},
        {"dtype": "float16"},
        {"rows": slice(1, None)},
        {"rows": slice(None, None, -1)},
        {"data": images(100)},
    ],
    ids=["weights", "function", "name", "dtype", "rows", "order", "data"],
)
def test_other_weights_data_or_rows_have_another_key(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_parts_are_told_apart_by_their_bytes_and_forgotten_with_the_last_use() -> None:
    before = len(feature_files._descriptions)
    keys = set()
    for number in range(50):
        part = Part("train", 4, "", x=np.frombuffer(number.to_bytes(4, "little"), np.uint8))
        keys |= {feature_files._key("prefix", part), feature_files._key("prefix", part)}
        assert len(feature_files._descriptions) == before + 1
    assert len(keys) == 50
    del part
    assert len(feature_files._descriptions) == before


def test_data_is_hashed_once_and_weights_in_every_trial(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    data, hashed = load_data(spec()), []
    original = feature_files._bytes

    def counted(array: Any) -> Any:
        hashed.append(array.shape)
        return original(array)

    monkeypatch.setattr(feature_files, "_bytes", counted)
    for seed in (1, 1, 2):
        declared = spec(lambda hp, s=seed: sequential(conv(1, seed=s)))
        trained(declared, features=tmp_path, loaded=data)
    assert [shape for shape in hashed if len(shape) == 4 and shape[1] == 16] == [
        (96, 16, 16, 1),
        (48, 16, 16, 1),
    ]
    assert calls == ["train", "validation"] * 2


HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
os.unlink(sys.argv[1])
"""


@contextlib.contextmanager
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its input ends or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.parametrize("end", ["finished", "killed"])
def test_who_needs_features_that_another_process_makes_waits_for_them(
    tmp_path: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    untrained: list[Any],
) -> None:
    data = images()
    trained(spec(data=data), features=tmp_path / "made")
    made = {path.name: path for path in (tmp_path / "made").iterdir()}
    of_train = next(name for name, path in made.items() if len(np.load(path)) == 96)
    calls.clear()
    compiled_pool.POOL.clear()  # or nothing more would be needed than this process has
    (tmp_path / "features").mkdir()
    flock, waited = fcntl.flock, list[str]()
    with holder(tmp_path / "features" / of_train.replace("-0.npy", ".lock")) as process:

        def ends_while_waited_for(file: Any, operation: int) -> None:
            if not waited:
                with pytest.raises(BlockingIOError):
                    flock(file, operation | fcntl.LOCK_NB)
                waited.append(end)
                if end == "killed":
                    (tmp_path / "features" / f"{of_train}.0123.tmp").write_text("what it left")
                    process.kill()
                else:
                    for name, path in made.items():
                        path.rename(tmp_path / "features" / name)
                    assert process.stdin
                    process.stdin.close()
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", ends_while_waited_for)
        result = trained(spec(data=data), features=tmp_path / "features")
    assert (result.trained_by, waited) == ("frozen prefix + graph", [end])
    assert calls == ([] if end == "finished" else ["train", "validation"])
    assert {path.name for path in (tmp_path / "features").iterdir()} == made.keys()


def race(start: Path, features: Path) -> None:
    """Train once told to, and print which features were made here and what came of it."""
    made, original = [], feature_files._batches
    feature_files._batches = lambda prefix, part: (made.append(part.name), original(prefix, part))[
        1
    ]
    sys.stdout.write("ready\n")
    start.read_text()
    result = trained(spec(), features=features)
    sys.stdout.write(json.dumps([made, result.trained_by, result.curve]))


def test_two_processes_make_features_once_between_them(tmp_path: Path) -> None:
    features, starts = tmp_path / "features", [tmp_path / "start-a", tmp_path / "start-b"]
    for start in starts:
        os.mkfifo(start)
    racers = [forked.Command(race, start, features, folder=tmp_path) for start in starts]
    assert [racer.output.readline() for racer in racers] == ["ready\n"] * 2
    for start in starts:
        start.open("w").close()
    results = [json.loads(racer.end()[1].splitlines()[-1]) for racer in racers]
    (made, path, curve), (made_too, path_too, curve_too) = results
    assert sorted(made + made_too) == ["train", "validation"]
    assert (path, curve) == (path_too, curve_too)
    assert path == "frozen prefix + graph"
    assert {file.suffix for file in features.iterdir()} == {".npy"}


def test_features_unused_for_longest_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, middle, old = (tmp_path / f"{letter * 64}-0.npy" for letter in "abc")
    mine = [tmp_path / name for name in ("mine.npy", f"{'d' * 64}.npy", f"{'e' * 64}-0.npz")]
    for age, path in enumerate([new, middle, old, *mine]):
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(feature_files, "KEPT_BYTES", 200)
    feature_files.prune(tmp_path)
    assert {*tmp_path.iterdir()} == {new, middle, *mine}
    # Those that a link leads to are somebody's.
    (tmp_path.parent / "link").symlink_to(tmp_path)
    monkeypatch.setattr(feature_files, "KEPT_BYTES", 0)
    feature_files.prune(tmp_path.parent / "link")
    assert {*tmp_path.iterdir()} == {new, middle, *mine}


def test_features_that_are_read_count_as_used(tmp_path: Path, untrained: list[Any]) -> None:
    trained(spec(), features=tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    trained(spec(), features=tmp_path)
    assert all(path.stat().st_mtime > 1 for path in tmp_path.iterdir())
