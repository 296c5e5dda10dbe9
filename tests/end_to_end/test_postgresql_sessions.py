"""Sessions that record in a PostgreSQL server: many at once, and one whose server goes away."""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.histories.artifacts import verify
from modeltune.histories.pending import read_pending, waiting
from modeltune.histories.store import open_store
from tests.support import forked
from tests.support.example import Example, scripted_source
from tests.support.postgres import Server
from tests.support.scripted_runs import scripting

OPTIONS = [
    "spec_a.py",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:cacheprovider",
    "--modeltune-workers=0",
]


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with postgres.database() as name:
        yield name


@pytest.fixture
def url(postgres: Server, database: str) -> str:
    return postgres.url(database)


def at_once(folder: Path, urls: Sequence[str]) -> None:
    """Run pytest in eight processes for each URL, all at the same time; all exit with 0.

    They are forked from this process after its own session: importing would take each seconds.
    """
    _session(folder / "warming-up", "sqlite:///history.db")
    del sys.modules["spec_a"]
    gc.collect()
    gc.freeze()
    context = multiprocessing.get_context("fork")
    start = context.Barrier(8 * len(urls))
    sessions = [
        context.Process(
            target=_with_the_others, args=(start, folder / f"project-{kind}-{number}", url)
        )
        for kind, url in enumerate(urls)
        for number in range(8)
    ]
    for process in sessions:
        process.start()
    for process in sessions:
        process.join()
    assert not any(process.exitcode for process in sessions), sessions


def _session(folder: Path, url: str) -> int:
    folder.mkdir()
    os.chdir(folder)
    Path("spec_a.py").write_text(scripted_source())
    Path("pyproject.toml").touch()
    with (
        open("said.txt", "w") as output,
        contextlib.redirect_stdout(output),
        scripting(folder / "log"),
    ):
        return int(pytest.main([*OPTIONS, f"--modeltune-store={url}"]))


def _with_the_others(start: Barrier, folder: Path, url: str) -> None:
    start.wait()
    os._exit(_session(folder, url))


def test_eight_pytest_processes_at_once_lose_nothing_in_a_server_nor_in_a_file(
    url: str, tmp_path: Path
) -> None:
    stores = [url, f"sqlite:///{tmp_path}/team/history.db"]
    ended = forked.Command(at_once, tmp_path, stores, folder=tmp_path).end()
    outputs = "".join(path.read_text() for path in tmp_path.glob("project-*/said.txt"))
    assert ended == (0, ""), outputs
    for kind, url in enumerate(stores):
        with open_store(url, create=False) as store:
            recorded = [store.run(summary.id) for summary in store.runs()]
        assert len(recorded) == 8
        assert all(run.passed and len(run.trials) == 6 for run in recorded)
        assert {run.id for run in recorded} == {
            json.loads(path.read_text())["runs"][0]["id"]
            for path in tmp_path.glob(f"project-{kind}-*/.modeltune/report/report.json")
        }
    assert not list(tmp_path.rglob("pending"))


def test_a_run_whose_server_is_lost_waits_its_session_is_red_and_flush_sends_it_once(
    scripted: Example,
    capsys: pytest.CaptureFixture[str],
    postgres: Server,
    database: str,
    url: str,
) -> None:
    scripted = scripted.with_spec(scripted_source())
    store = f"--modeltune-store={url}"
    try:
        lost = scripted.run_pytest(store, at_the_end=postgres.stop)
        refused = scripted.run_pytest(store)
        assert main(["history", "--store", url]) == 1
        assert main(["flush", "--store", url]) == 1
    finally:
        postgres.start()

    assert lost.exit_code == refused.exit_code == pytest.ExitCode.TESTS_FAILED
    (path,) = waiting(scripted.path / ".modeltune")
    run = read_pending(path).run
    assert run.passed
    assert len(run.trials) == 6
    address = open_store(url).identity
    assert (
        f"  note: run {run.id} of spec_a.py::scripted (passed) is not recorded, but waits in "
        f"{path}; to record it: modeltune flush --store '{address}'"
    ) in lost.lines
    refused.stdout.fnmatch_lines(
        ["*connection to server*; check the URL and that the server is up"]
    )
    # Refused before training.
    assert refused.trained == ()
    count = "SELECT count(*) FROM runs"
    assert postgres.ask(count, database) == [(0,)]

    capsys.readouterr()
    assert main(["flush", "--store", address]) == 0
    assert capsys.readouterr().out.startswith(f"recorded: run {run.id} of spec_a.py::scripted")
    assert main(["flush", "--store", address]) == 0
    assert postgres.ask(count, database) == [(1,)]
    with open_store(url) as opened:
        assert repr(opened.run("-1")) == repr(run)
        assert run.artifact
        verify(opened.folder, run.artifact, run.id)
