"""Runs that were recorded by the name of their spec's file alone are found by its path, each by one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from modeltune.ground import HistoryError
from modeltune.histories.schema import runs
from modeltune.histories.spec_rows import newest
from modeltune.histories.store import Store, open_store
from tests.support.histories import DATA, DIGITS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/.modeltune/history.db") as opened:
        yield opened


def made(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def record(store: Store, spec: str, **files: str) -> None:
    """Record a run of the spec by each id, with the file it is given."""
    for id_, file in files.items():
        store.record(replace(DIGITS, id=id_, spec=spec, file=file))


def found(store: Store, spec: str, root: Path, limit: int | None = None) -> str:
    return "".join(run.id for run in store.runs(spec, limit, root=root))


def test_a_spec_finds_its_old_runs_and_not_those_of_another_folder(
    store: Store, tmp_path: Path
) -> None:
    root = made(tmp_path, "full/spec_x.py", "smoke/spec_x.py", "spec_x.py")
    record(
        store,
        "spec_x.py::net",
        a=f"{root}/full/spec_x.py",
        b=f"{root}/smoke/spec_x.py",
        c=f"{root}/spec_x.py",
        d="/home/ci/clone/full/spec_x.py",
        e="/home/ci/clone/spec_x.py",
        f="full/spec_x.py",
    )
    record(store, "full/spec_x.py::net", g=f"{root}/full/spec_x.py")
    assert found(store, "full/spec_x.py::net", root) == "gfda"
    assert found(store, "full/spec_x.py::net", root, limit=2) == "gf"
    assert found(store, "smoke/spec_x.py::net", root) == "b"
    assert found(store, "spec_x.py::net", root) == "ec"
    assert store.count("full/spec_x.py::net", root) == 4
    assert {spec: len(some) for spec, some in store.latest(store.specs(root), 3, root).items()} == {
        "full/spec_x.py::net": 3,
        "spec_x.py::net": 2,
    }


def test_a_deeper_path_with_the_same_end_is_another_spec(store: Store, tmp_path: Path) -> None:
    root = made(tmp_path, "full/spec_x.py")
    made(tmp_path / "more", "full/spec_x.py")
    record(store, "spec_x.py::net", a=f"{root}/more/full/spec_x.py", b="/ci/more/full/spec_x.py")
    assert found(store, "full/spec_x.py::net", root) == ""
    assert found(store, "more/full/spec_x.py::net", root) == "ba"


def test_old_runs_are_found_behind_many_of_another_folder(store: Store, tmp_path: Path) -> None:
    root = made(tmp_path, "full/spec_x.py", "smoke/spec_x.py")
    record(store, "spec_x.py::net", first=f"{root}/full/spec_x.py")
    many = {f"smoke-{number}": f"{root}/smoke/spec_x.py" for number in range(201)}
    bare = replace(DIGITS, trials=(), scores={}, verdicts=(), artifact=None)
    for id_, file in many.items():
        store.record(replace(bare, id=id_, spec="spec_x.py::net", file=file))
    assert found(store, "full/spec_x.py::net", root, limit=1) == "first"


def test_no_more_rows_are_read_than_are_asked_for(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/history.db"
    root = made(tmp_path, "spec_x.py", "full/spec_x.py")
    bare = replace(DIGITS, trials=(), scores={}, verdicts=(), artifact=None, spec="spec_x.py::net")
    with open_store(address) as store:
        for number in range(9):
            store.record(replace(bare, id=str(number), file=f"{root}/spec_x.py"))
    read: list[str] = []
    engine = sa.create_engine(address)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.create_function("noted", 1, read.append)
        columns = runs.c.seq, runs.c.id, runs.c.spec, runs.c.file, sa.func.noted(runs.c.id)
        rows = newest(connection, sa.select(*columns), "spec_x.py::net", root, 3)
        assert [row.id for row in rows] == read == ["8", "7", "6"]
        assert not newest(connection, sa.select(*columns), "full/spec_x.py::net", root, 3)
    engine.dispose()


def test_runs_of_a_file_that_is_gone_are_listed_by_its_name(store: Store, tmp_path: Path) -> None:
    record(store, "spec_gone.py::net", a="/home/anna/old/spec_gone.py")
    assert found(store, "spec_gone.py::net", tmp_path) == "a"
    assert store.specs(tmp_path) == ["spec_gone.py::net"]
    made(tmp_path, "new/spec_gone.py")
    assert found(store, "new/spec_gone.py::net", tmp_path) == ""


def test_a_spec_is_named_by_the_end_of_its_address_if_only_one_ends_so(
    store: Store, tmp_path: Path
) -> None:
    root = made(tmp_path, "full/spec_x.py", "smoke/spec_x.py")
    record(store, "full/spec_x.py::net", a="")
    assert store.find_spec("spec_x.py::net", root) == "full/spec_x.py::net"
    assert store.find_spec("full/spec_x.py::net", root) == "full/spec_x.py::net"
    assert store.find_spec("x.py::net", root) is None
    record(store, "spec_x.py::net", b=f"{root}/smoke/spec_x.py")
    with pytest.raises(HistoryError, match=r"several specs; write one of full/.*, smoke/"):
        store.find_spec("spec_x.py::net", root)


@pytest.mark.parametrize(
    ("database", "spec", "runs"),
    [
        ("history-0001.db", "model_specs/spec_digits.py::mlp", 1),
        ("history-0002.db", "model_specs/spec_digits.py::mlp", 2),
        ("history-0003.db", "model_specs/spec_flowers.py::mlp", 5),
    ],
)
def test_stored_histories_of_earlier_versions_are_found_by_path(
    tmp_path: Path, database: str, spec: str, runs: int
) -> None:
    shutil.copy(DATA / database, tmp_path / "history.db")
    made(tmp_path, spec.partition("::")[0], "other/spec_digits.py", "other/spec_flowers.py")
    with open_store(f"sqlite:///{tmp_path}/history.db") as store:
        assert store.count(spec, tmp_path) == runs
        assert store.count(spec.replace("model_specs", "other"), tmp_path) == 0
