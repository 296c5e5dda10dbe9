"""What nothing needs goes, and nothing else: neither what a run names nor what a process is at."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeltune.cli import main
from modeltune.ground.errors import HistoryError
from modeltune.ground.own_folders import MARK, mark_folder
from modeltune.histories import pending
from modeltune.histories.artifacts import keep, leave_word
from modeltune.histories.baselines import accept
from modeltune.histories.doctor import Mark, diagnose
from modeltune.histories.garbage import MIN_AGE, _histories, leftovers, remove_leftover
from modeltune.histories.ledgers import Ledgers
from modeltune.histories.store import Store, open_store
from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome
from tests.support.histories import DIGITS

pytestmark = pytest.mark.filterwarnings("error")


@dataclass
class Project:
    """A project with a history, and what lies beside it."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / ".modeltune"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/history.db"

    def kept(self, name: str, **fields: object) -> Run:
        """Return a run whose files are there; it is not recorded."""

        def file(kind: str) -> object:
            path = f"artifacts/{name}.{kind}"
            return keep(self.folder, path, lambda to: to.write_text(f"{kind} of {name}"))

        files = {"samples": file("samples.json")}
        return replace(DIGITS, id=name, artifact=file("weights.h5"), files=files, **fields)  # type: ignore[arg-type]

    def recorded(self, name: str, **fields: object) -> Run:
        """Return a run whose files are there; it is recorded."""
        run = self.kept(name, **fields)
        with open_store(self.url) as store:
            store.record(run)
        return run

    def made(self, name: str, text: str = "12345") -> Path:
        """Return a file that was written just now."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def all(self) -> set[str]:
        """Return every file."""
        paths = (path for path in self.folder.rglob("*") if path.is_file() or path.is_symlink())
        return {path.relative_to(self.folder).as_posix() for path in paths}

    def collected(self, later: float = 2 * MIN_AGE, also: tuple[str, ...] = ()) -> set[str]:
        """Remove what nothing needs so many seconds from now; return what is gone."""
        before, now = self.all(), time.time() + later
        for leftover in leftovers(self.url, also, now=now):
            assert remove_leftover(leftover, now=now)
        assert not self.all() - before
        return before - self.all()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with an empty history."""
    root = tmp_path_factory.mktemp("empty")
    (root / "pyproject.toml").write_text("")
    open_store(f"sqlite:///{root}/.modeltune/history.db").close()
    return root


@pytest.fixture
def project(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with an empty history, in which we are."""
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    shutil.copytree(empty, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


A, B, C = (letter * 16 for letter in "abc")


def test_files_of_runs_that_were_never_recorded_go_and_those_of_others_stay(
    project: Project,
) -> None:
    project.recorded(A)
    project.recorded(B, status=RunStatus.INTERRUPTED)
    project.kept(C)
    assert project.collected() == {f"artifacts/{C}.weights.h5", f"artifacts/{C}.samples.json"}
    assert project.collected() == set()


@pytest.mark.parametrize(
    "name",
    [
        f"artifacts/{A}.weights.h5",
        f"artifacts/new-{A}.weights.h5",
        f"history.db.{A}{B}.new",
        f"history.db.{A}{B}.new-journal",
        f"pending/new-{A}.json",
        f"features/{A * 4}-0.npy.{A}{B}.tmp",
        f"scratch/{A}/states/1.npz",
        f"scratch/{A}/ledger.jsonl",
        "scratch/tmpabc/0.npy",
        "scratch/data-tmpabc/0.npy",
        f"scratch/gone-{A}{B}/states/1.npz",
    ],
)
def test_what_was_cut_short_goes_once_nobody_has_written_to_it_for_an_hour(
    project: Project, name: str
) -> None:
    path = project.made(name, "")
    if name.startswith("scratch/"):
        mark_folder(project.folder.joinpath(*name.split("/")[:2]))
    if "gone-" not in name:
        assert project.collected(later=0) == set()
    assert name in project.collected()
    assert not path.exists()


@pytest.mark.parametrize(
    "name",
    [
        "artifacts/model.keras",
        "artifacts/notes.txt",
        f"artifacts/{A}",
        "history.db.backup",
        "features/x.npy",
        f"features/x.npy.{A}{B}.tmp",
        f"scratch/{A}/states/1.npz",
        f"scratch/{A}/ledger.jsonl",
        "scratch/tmpabc/0.npy",
        "scratch/data-tmpabc/0.npy",
        "scratch/data-tmpabc/lock",
        "scratch/gone-fishing/trout",
        f"scratch/gone-{A}{B}/trout",
        "report/report.html",
        f"tensorboard/{A}/events",
        "scratch/mine/file",
        "mine.new",
    ],
)
def test_what_modeltune_did_not_write_or_may_use_again_stays(project: Project, name: str) -> None:
    project.made(name)
    assert project.collected() == set()


def test_what_a_waiting_run_names_stays(project: Project) -> None:
    with open_store(project.url) as store:
        pending.spool(store, project.kept(A))
    assert project.collected() == set()


@pytest.mark.parametrize("moment", ["waiting", "files"])
def test_what_is_flushed_while_we_look_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with open_store(project.url) as store:
        pending.spool(store, project.kept(A))
    place = pending if moment == "waiting" else Store
    look = getattr(place, moment)

    def overtaken(*arguments: object) -> object:
        monkeypatch.setattr(place, moment, look)
        answer = look(*arguments)
        assert [is_sent for is_sent, _ in pending.flush(project.url, is_named=True)] == [True]
        return answer

    monkeypatch.setattr(place, moment, overtaken)
    assert project.collected() == {f"pending/{A}.json"}


def test_what_a_baseline_of_the_project_names_stays(project: Project) -> None:
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    run = project.kept(A, verdicts=gates, checks=(), status=RunStatus.PASSED)
    accept(run, None, project.root / "deep" / "model_specs" / "spec_digits.py", why="good")
    # Its row went with an earlier history, the file is in version control.
    assert project.collected() == {f"artifacts/{A}.samples.json"}


def test_what_another_history_in_the_folder_names_stays(project: Project) -> None:
    with open_store(f"sqlite:///{project.folder}/other.db") as other:
        other.record(project.kept(A))
    assert project.collected() == set()


def test_files_of_a_history_on_a_server_wait_until_it_is_asked(project: Project) -> None:
    project.kept(A)
    leave_word(project.folder, "postgresql+psycopg://me:***@host/runs")
    with pytest.raises(HistoryError) as refused:
        leftovers(project.url, now=time.time() + 2 * MIN_AGE)
    assert str(refused.value) == (
        f"{project.folder}/artifacts also holds files of postgresql+psycopg://me@host/runs, and "
        "only that history knows which it needs; add --also postgresql+psycopg://me@host/runs, or "
        "remove histories.txt there if it is gone for good"
    )
    # With a password or without: it is the same history.
    for named in ("postgresql://me:hunter2@host/runs", "postgresql://me@host/runs?password=x"):
        assert _histories(project.url, [named], project.folder)[1:] == [named]


@pytest.mark.parametrize("name", ["other.db", "artifacts/histories.txt"])
def test_nothing_goes_while_a_history_that_may_name_a_file_cannot_be_read(
    project: Project, name: str
) -> None:
    project.kept(A)
    if name == "other.db":
        shutil.copyfile(project.folder / "history.db", project.folder / name)
        os.truncate(project.folder / name, 8192)
    else:
        project.made(name).write_bytes(b"\xff")
    with pytest.raises(HistoryError, match=Path(name).name):
        leftovers(project.url, now=time.time() + 2 * MIN_AGE)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        # It says by its name whose files it needs.
        (f"pending/{A}.json", {f"artifacts/{B}.weights.h5", f"artifacts/{B}.samples.json"}),
        (f"pending/{A}.json.damaged", {f"artifacts/{B}.weights.h5", f"artifacts/{B}.samples.json"}),
        ("pending/x.json", set()),
        ("../specs/baselines/spec_a.py.b.json", set()),
    ],
)
@pytest.mark.parametrize("kind", ["a text", "a pipe"])
def test_what_a_damaged_file_may_name_stays_and_the_rest_goes(
    project: Project, name: str, gone: set[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.kept(A)
    project.kept(B)
    project.made(cut := f"history.db.{A}{B}.new")
    path = project.made(name, "{")
    if kind == "a pipe":
        path.unlink()
        os.mkfifo(path)
    assert project.collected() == {cut} | gone
    assert main(["gc"]) == 0
    said = capsys.readouterr().out
    assert f"left alone: {path.resolve()} " in said


def test_without_a_history_nothing_is_an_orphan(project: Project) -> None:
    project.kept(A)
    (project.folder / "history.db").unlink()
    with pytest.raises(HistoryError, match="there is no history yet"):
        leftovers(project.url, now=time.time() + 2 * MIN_AGE)


# The scratch of searches.


def begun(project: Project, run: str, spec: str = "spec_digits.py::mlp") -> Ledgers:
    """Return the ledger of a search that this process is at."""
    ledgers = Ledgers(project.folder / "scratch")
    ledger, _ = ledgers.begin(spec, {}, run, lambda runs: [])
    ledger.put("trial 0", 1)
    (ledger.folder / "states").mkdir(exist_ok=True)
    (ledger.folder / "states" / "0.npz").write_text("12345")
    return ledgers


def test_a_search_that_goes_on_with_the_next_run_stays(project: Project) -> None:
    begun(project, A).close(drop=False)
    project.recorded(B, status=RunStatus.INTERRUPTED)
    begun(project, B, "spec_digits.py::cnn").close(drop=False)
    assert project.collected() == set()


def test_a_search_whose_run_is_recorded_goes(project: Project) -> None:
    project.recorded(A)
    ledgers = begun(project, A)
    assert ledgers.begun
    folder = f"scratch/{ledgers.begun.folder.name}"
    ledgers.close(drop=False)
    gone = project.collected()
    assert gone == {f"{folder}/{name}" for name in ("ledger.jsonl", MARK, "states/0.npz")}
    assert os.listdir(project.folder / "scratch") == []


def test_a_search_that_the_user_wanted_to_keep_stays(project: Project) -> None:
    project.recorded(A)
    begun(project, A).close(keep_as=A)
    assert project.collected() == set()


def test_what_a_running_process_is_at_stays(project: Project) -> None:
    project.recorded(A)
    live = begun(project, A)
    project.kept(A.replace("a", "d"))
    # It is about to record this one.
    again = begun(project, B, "spec_digits.py::cnn")
    project.kept(B)
    data = project.made("scratch/data-tmpabc/lock")
    mark_folder(data.parent)
    with data.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gone = project.collected()
    assert gone == {f"artifacts/{'d' * 16}.{kind}" for kind in ("weights.h5", "samples.json")}
    live.close(drop=False)
    again.close(drop=False)
    # The next one begun is the same search still: looking at its lock did not take it.
    ledgers = begun(project, C, "spec_digits.py::cnn")
    assert ledgers.begun
    assert ledgers.begun.get("runs") == [B, C]
    ledgers.close()


def test_what_somebody_begins_to_use_after_it_was_found_stays(project: Project) -> None:
    project.recorded(A)
    begun(project, A).close(drop=False)
    file = project.made(f"artifacts/{C}.weights.h5")
    lock = project.made("scratch/data-tmpabc/lock")
    mark_folder(lock.parent)
    now = time.time() + 2 * MIN_AGE
    unused = leftovers(project.url, now=now)
    assert len(unused) == 3
    ledgers = begun(project, A)
    os.utime(file, (now, now))
    before = project.all()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [remove_leftover(leftover, now=now) for leftover in unused] == [False] * 3
    assert project.all() == before
    ledgers.close()


@pytest.mark.parametrize("place", ["artifacts", "scratch/data-tmpabc", f"scratch/{A}"])
def test_what_a_link_leads_to_stays(project: Project, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    mark_folder(outside)
    (project.folder / "artifacts").mkdir()
    (project.folder / "scratch").mkdir()
    link = project.folder / place
    if place == "artifacts":
        link = link / f"{A}.weights.h5"
    link.symlink_to(outside / "mine" if place == "artifacts" else outside)
    project.collected()
    assert (outside / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["scratch", "artifacts", "pending", "features", ".modeltune"])
def test_nothing_goes_behind_a_folder_that_is_a_link(
    project: Project, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be another project's store, or anybody's folder with such names."""
    other = Project(tmp_path / "other")
    for folder in ("tmp", "tmpabc", "data-2024", "gone-fishing", A, f"{B}-{C}"):
        other.made(f"scratch/{folder}/mine")
        other.made(f"scratch/{folder}/lock")
    other.made(f"scratch/{C}/ledger.jsonl")
    begun(other, B).close(drop=False)
    other.kept(A)
    other.made(f"pending/new-{A}.json")
    other.made(f"features/{A * 4}-0.npy.{A}{B}.tmp")
    link = project.folder if name == ".modeltune" else project.folder / name
    target = other.folder if name == ".modeltune" else other.folder / name
    if name == ".modeltune":
        shutil.copyfile(project.folder / "history.db", other.folder / "history.db")
        for place in ("artifacts", "pending", "features"):
            shutil.rmtree(other.folder / place)
        shutil.rmtree(link)
    link.symlink_to(target)
    project.recorded(B) if name == "scratch" else None
    before = other.all()
    assert project.collected() == set()
    assert main(["gc"]) == 0
    assert other.all() == before
    capsys.readouterr()
    main(["doctor"])
    is_said = f"WRONG  {link} is a link to {target}: nothing is written or removed" in (
        capsys.readouterr().out
    )
    assert is_said is (name != ".modeltune")


def test_a_damaged_ledger_is_named_and_stays(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    ledgers = begun(project, A)
    assert ledgers.begun
    path = ledgers.begun.folder / "ledger.jsonl"
    ledgers.close(drop=False)
    project.recorded(A)
    with path.open("ab") as file:
        file.write(b"00000000 {}\n")
    pipe = project.made(f"scratch/{B}/ledger.jsonl")
    pipe.unlink()
    os.mkfifo(pipe)
    mark_folder(pipe.parent)
    before = path.read_bytes()
    assert project.collected() == set()
    for command in ("gc", "doctor"):
        main([command])
        said = capsys.readouterr().out
        assert f"{path} is damaged (line 4: its checksum does not fit)" in said
        assert f"{pipe} is damaged (it is a pipe, a socket or a device, no file)" in said
    assert path.read_bytes() == before


def test_a_search_that_was_set_aside_is_named_and_stays(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(project, A).close(drop=False)
    (search,) = (project.folder / "scratch").iterdir()
    (search / "link").symlink_to(project.folder)
    begun(project, B).close()
    project.recorded(A)
    (aside,) = (project.folder / "scratch").iterdir()
    assert project.collected() == set()
    for command, mark in {"gc": "left alone: ", "doctor": "note   "}.items():
        assert main([command]) == 0
        assert f"{mark}{aside} was set aside" in capsys.readouterr().out
    with (aside / "ledger.jsonl").open("ab") as file:
        file.write(b"00000000 {}\n")
    assert main(["doctor"]) == 0
    assert "sets it aside" not in capsys.readouterr().out


def test_a_folder_that_a_link_replaces_after_it_was_found_stays(
    project: Project, tmp_path: Path
) -> None:
    outside = Project(tmp_path / "outside")
    for place in (outside, project):
        mark_folder(place.made("scratch/data-tmpabc/mine").parent)
        place.made(f"artifacts/{A}.weights.h5")
    now = time.time() + 2 * MIN_AGE
    found = leftovers(project.url, now=now)
    assert len(found) == 2
    before = outside.all()
    for name in ("scratch", "artifacts"):
        (project.folder / name).rename(tmp_path / name)
        (project.folder / name).symlink_to(outside.folder / name)
    for leftover in found:
        with contextlib.suppress(HistoryError):
            remove_leftover(leftover, now=now)
    assert outside.all() == before


# The law.

_runs = st.lists(
    st.tuples(
        st.sampled_from(["recorded", "interrupted", "waits", "lost", "accepted"]),
        # Which of its files, and of its search, are there.
        st.sets(st.sampled_from(["weights.h5", "samples.json", "new", "ledger"])),
        st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=_runs)
def test_nothing_named_ever_goes_and_afterwards_nothing_is_left_over(
    empty: Path, monkeypatch: pytest.MonkeyPatch, states: list[tuple[str, set[str], bool]]
) -> None:
    project = Project(empty.with_name("law"))
    shutil.rmtree(project.root, ignore_errors=True)
    shutil.copytree(empty, project.root)
    monkeypatch.chdir(project.root)
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    named, damaged, live = set(), set(), []
    for number, (state, there, is_live) in enumerate(states):
        name = f"{number:016x}"
        status = RunStatus.INTERRUPTED if state == "interrupted" else RunStatus.PASSED
        run = project.kept(name, status=status, verdicts=gates, checks=())
        files = {"weights.h5", "samples.json"}
        with open_store(project.url) as store:
            if state in ("recorded", "interrupted"):
                store.record(run)
            elif state == "waits":
                pending.spool(store, run)
        if state == "accepted":
            file = project.root / "specs" / "spec_digits.py"
            accept(replace(run, spec=f"spec_digits.py::m{number}"), None, file, why="")
            files = {"weights.h5"}
        for kind in files - there:
            (project.folder / f"artifacts/{name}.{kind}").unlink()
            damaged |= {name} if state in ("recorded", "interrupted", "waits") else set()
        if "new" in there:
            project.made(f"artifacts/new-{name}.weights.h5")
        if "ledger" in there:
            ledgers = begun(project, name, f"spec_digits.py::m{number}")
            if is_live:
                live.append(ledgers)
            else:
                ledgers.close(drop=False)
        if state != "lost":
            named |= {f"artifacts/{name}.{kind}" for kind in files & there}
    before = {path: (project.folder / path).read_bytes() for path in named}

    project.collected()

    assert {path: (project.folder / path).read_bytes() for path in named} == before
    now = time.time() + 2 * MIN_AGE
    assert leftovers(project.url, now=now) == []
    wrong = [
        finding.text for finding in diagnose(project.url, now=now) if finding.mark is Mark.WRONG
    ]
    waits = [name for name, (state, *_) in enumerate(states) if state == "waits"]
    assert bool(wrong) == bool(damaged or waits)
    for ledgers in live:
        assert ledgers.begun
        assert ledgers.begun.folder.is_dir()
        ledgers.close()


# The command.


def test_the_command_says_what_went_and_first_what_would(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    old = time.time() - 2 * MIN_AGE
    for name in (f"artifacts/{A}.weights.h5", f"artifacts/new-{A}.weights.h5"):
        os.utime(project.made(name), (old, old))
    lines = [
        f"{project.folder}/artifacts/{A}.weights.h5 (5 bytes): run {A} is not recorded",
        f"{project.folder}/artifacts/new-{A}.weights.h5 (5 bytes): cut short",
    ]
    assert main(["gc", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *lines,
        "would be removed: 2 files or folders, 0.0 MB",
    ]
    assert main(["gc"]) == 0
    assert capsys.readouterr().out.splitlines() == [*lines, "removed: 2 files or folders, 0.0 MB"]
    assert main(["gc"]) == 0
    assert capsys.readouterr().out == "removed: 0 files or folders, 0.0 MB\n"


def test_the_command_removes_nothing_that_is_fresh(project: Project) -> None:
    project.made(f"artifacts/{A}.weights.h5")
    before = project.all()
    assert main(["gc"]) == 0
    assert project.all() == before
