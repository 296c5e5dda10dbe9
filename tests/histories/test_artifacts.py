"""An artifact exists whole or not at all, and is trusted only as long as its hash holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeltune.ground.errors import HistoryError, InvalidRunError
from modeltune.histories.artifacts import (
    artifact_path,
    contents,
    export_files_in,
    is_artifact_name,
    keep,
    verify,
)
from modeltune.records.runs import Artifact

pytestmark = pytest.mark.filterwarnings("error")

RUN = "20261120-211000-0a1b2c3d"
NAME = f"artifacts/{RUN}.weights.h5"
WEIGHTS = b"weights" * 1000


def write(path: Path) -> None:
    """Write what Keras would."""
    path.write_bytes(WEIGHTS)


def files(folder: Path) -> list[str]:
    """Return all files below the folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_kept_file_is_named_by_its_hash_and_size(tmp_path: Path) -> None:
    artifact = keep(tmp_path, NAME, write, refit=2)
    assert artifact == Artifact(NAME, hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS), 2)
    assert verify(tmp_path, artifact, RUN) == tmp_path / NAME
    assert (tmp_path / NAME).read_bytes() == WEIGHTS
    assert files(tmp_path) == [NAME]


def test_it_is_written_under_another_name_with_the_suffix_keras_insists_on(tmp_path: Path) -> None:
    names = []

    def look(path: Path) -> None:
        names.append(path)
        assert not (tmp_path / NAME).exists()
        write(path)

    keep(tmp_path, NAME, look)
    assert names[0].name.endswith(".weights.h5")
    assert names[0].parent == tmp_path / "artifacts"


@pytest.mark.parametrize("failure", [RuntimeError("no space in h5py"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_nothing_and_is_heard(
    tmp_path: Path, failure: BaseException
) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise failure

    with pytest.raises(type(failure)):
        keep(tmp_path, NAME, fail)
    assert files(tmp_path) == []


def test_a_full_disk_is_said_with_path_and_free_space(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        HistoryError, match=r"h5 cannot be written: .*No space.* \(\d+ bytes free\)"
    ):
        keep(tmp_path, NAME, fail)
    assert files(tmp_path) == []


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be written"):
        keep(tmp_path, NAME, lambda _: None)


def test_an_artifact_is_never_overwritten(tmp_path: Path) -> None:
    artifact = keep(tmp_path, NAME, write)
    with pytest.raises(HistoryError) as refused:
        keep(tmp_path, NAME, lambda path: path.write_bytes(b"other"))
    assert (
        str(refused.value) == f"{tmp_path / NAME} exists already; an artifact is never overwritten"
    )
    verify(tmp_path, artifact, RUN)


@settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, len(WEIGHTS) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_found(tmp_path: Path, place: int, bit: int) -> None:
    artifact = Artifact(NAME, hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS), 0)
    changed = bytearray(WEIGHTS)
    changed[place] ^= 1 << bit
    (tmp_path / "artifacts").mkdir(exist_ok=True)
    (tmp_path / artifact.path).write_bytes(changed)
    with pytest.raises(HistoryError, match="was changed since it was recorded: 7000 bytes"):
        verify(tmp_path, artifact, RUN)


def test_a_cut_or_missing_file_is_found(tmp_path: Path) -> None:
    artifact = keep(tmp_path, NAME, write)
    (tmp_path / NAME).write_bytes(WEIGHTS[:-1])
    with pytest.raises(HistoryError) as refused:
        verify(tmp_path, artifact, RUN)
    recorded = hashlib.sha256(WEIGHTS).hexdigest()[:12]
    assert str(refused.value) == (
        f"{tmp_path / NAME} was changed since it was recorded: 6999 bytes, "
        f"recorded 7000 bytes with sha256 {recorded}...; restore it, or run the spec again"
    )
    (tmp_path / NAME).unlink()
    with pytest.raises(
        HistoryError, match="is missing, so its run cannot be replayed; restore it, or run"
    ):
        verify(tmp_path, artifact, RUN)


HOSTILE = [
    "../x.h5",
    "/etc/passwd",
    "a/../../x",
    "",
    ".",
    "a//b",
    ".hidden",
    "a\0b",
    "a b",
    "a\n",
    "ä",
    "conftest.py",
    "spec_digits.py",
    "history.db-journal",
    "history.db-wal",
    "pending/x.py",
    "pending/../conftest.py",
    "scratch/ledger.jsonl",
    "features/x.npy",
    "artifacts/histories.txt",
    "artifacts/conftest.py",
    f"artifacts/{RUN}",
    f"artifacts/{RUN}.weights.h5.py",
    f"artifacts/{RUN.upper()}.weights.h5",
    f"artifacts/sub/{RUN}.weights.h5",
    f"artifacts\\{RUN}.weights.h5",
    f"C:artifacts/{RUN}.weights.h5",
    f"/artifacts/{RUN}.weights.h5",
    f"./artifacts/{RUN}.weights.h5",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no artifact name"):
        keep(tmp_path / "store", name, write)
    with pytest.raises(InvalidRunError, match="none that modeltune keeps for a run of its id"):
        verify(tmp_path / "store", Artifact(name, "", 0, 0), RUN)
    assert files(tmp_path) == []


def test_swapped_files_are_found(tmp_path: Path) -> None:
    one = keep(tmp_path, "artifacts/one.weights.h5", write)
    two = keep(tmp_path, "artifacts/two.weights.h5", lambda path: path.write_bytes(WEIGHTS[::-1]))
    with pytest.raises(HistoryError, match="was changed"):
        verify(tmp_path, replace(one, path=two.path), "two")


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def linked_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(path.parent.with_name("elsewhere"))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def foldered(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [linked, linked_folder, piped, foldered])
def test_a_file_is_read_where_it_was_kept_and_never_through_something_else(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    artifact = keep(tmp_path, NAME, write)
    change(tmp_path / NAME)
    for read in (verify, contents):
        with pytest.raises(HistoryError, match=r"link|no file|directory"):
            read(tmp_path, artifact, RUN)


def test_no_other_run_s_file_is_read_for_a_run(tmp_path: Path) -> None:
    other = keep(tmp_path, "artifacts/other.weights.h5", write)
    with pytest.raises(InvalidRunError, match=r'it names the file "artifacts/other.weights.h5"'):
        verify(tmp_path, other, RUN)
    # An id that would be a path names no files at all.
    for run in ("..", "../other", "a/b", "", "A", "a\0", "-a", "x" * 65):
        with pytest.raises(InvalidRunError):
            verify(tmp_path, Artifact(f"artifacts/{run}.weights.h5", "", 0, 0), run)


def test_nothing_is_read_whole_that_is_larger_than_a_run_writes(tmp_path: Path) -> None:
    # The row is a stranger's: it says how large the file is, and its digest fits.
    path = tmp_path / f"artifacts/{RUN}.examples.json"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(17 << 20)  # a hole: no byte of it is on the disk
    digest = hashlib.sha256(bytes(17 << 20)).hexdigest()
    artifact = Artifact(f"artifacts/{RUN}.examples.json", digest, 17 << 20, 0)
    with pytest.raises(HistoryError, match="more than the 16777216 that modeltune writes"):
        contents(tmp_path, artifact, RUN)
    assert verify(tmp_path, artifact, RUN) == path


@pytest.mark.parametrize(
    ("ending", "is_own"),
    [
        ("export-lite.tflite", True),
        ("export-a_1.onnx", True),
        ("export-lite.samples.json", True),
        ("export-Lite.tflite", False),
        ("export-lite.py", False),
        ("export-../../x.onnx", False),
        (f"export-{'a' * 33}.onnx", False),
    ],
)
def test_the_exports_of_a_run_are_files_of_its_own(
    ending: str, is_own: bool, tmp_path: Path
) -> None:
    name = f"artifacts/{RUN}.{ending}"
    assert is_artifact_name(name) is is_own
    if not is_own:
        with pytest.raises(InvalidRunError, match="none that modeltune keeps"):
            artifact_path(tmp_path, Artifact(name, "0" * 64, 1, 0), RUN)
        return
    artifact = keep(tmp_path, name, write)
    assert artifact_path(tmp_path, artifact, RUN).read_bytes() == WEIGHTS
    with pytest.raises(InvalidRunError, match="none that modeltune keeps"):
        artifact_path(tmp_path, artifact, "another")
    assert export_files_in(tmp_path, RUN) == [name]
    assert export_files_in(tmp_path, "another") == []
