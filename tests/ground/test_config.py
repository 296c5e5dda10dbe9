"""pyproject.toml is read strictly: a setting is understood or refused, never ignored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeltune.ground.config import Config, default_store, project_of, project_root
from modeltune.ground.errors import SpecError
from modeltune.ground.store_urls import sqlite_url

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)


def test_without_settings_all_are_none(tmp_path: Path) -> None:
    assert set(vars(project_of(tmp_path).config).values()) == {None}
    for text in ('[project]\ndependencies = ["modeltune"]\n', "tool = 3  # not modeltune's"):
        (tmp_path / "pyproject.toml").write_text(text)
        assert project_of(tmp_path).config == Config()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.modeltune]\nworkers = 3\nstore = "sqlite:///a.db"\nkeep_trials = true\n'
        'report = "out"\nstrict = false\nbudget = "1h30m"\nreuse = true\n'
        "examples = false\njunit_properties = false\n"
        'family = "session"\ntest_reads = 200\n'
    )
    assert project_of(tmp_path).config == Config(
        workers=3,
        store=sqlite_url(tmp_path / "a.db"),
        keep_trials=True,
        report="out",
        strict=False,
        budget="1h30m",
        reuse=True,
        examples=False,
        junit_properties=False,
        family="session",
        test_reads=200,
    )


@pytest.mark.parametrize("workers", [0, 1, 64])
def test_any_number_of_processes_may_be_asked_for(tmp_path: Path, workers: int) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.modeltune]\nworkers = {workers}\n")
    assert project_of(tmp_path).config.workers == workers


@pytest.mark.parametrize(
    "text",
    ['[tool.modeltune]\nworkers = "auto"', 'tool.modeltune.workers = "auto"',
     '[tool]\nmodeltune = {workers = "auto"}', '[ tool . "modeltune" ]\nworkers = "auto"'],
)  # fmt: skip
def test_every_spelling_of_the_table_counts(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert project_of(tmp_path).config.workers == "auto"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("worker = 2", 'worker: unknown key; did you mean "workers"? '
         "The keys are workers, store, keep_trials, report, strict, budget, reuse, mlflow, examples, junit_properties, family, test_reads, checks_off"),
        ("keep-trials = true", 'keep-trials: unknown key; did you mean "keep_trials"? '
         "The keys are workers, store, keep_trials, report, strict, budget, reuse, mlflow, examples, junit_properties, family, test_reads, checks_off"),
        ("colour = 1", "colour: unknown key; The keys are workers, store, keep_trials, report, strict, budget, reuse, mlflow, examples, junit_properties, family, test_reads, checks_off"),
        ("workers = -1", 'workers: an integer; write "auto", or 0 or more'),
        ("workers = true", 'workers: a boolean; write "auto", or 0 or more'),
        ("workers = 1.5", 'workers: a float; write "auto", or 0 or more'),
        ('workers = "2"', 'workers: a string; write "auto", or 0 or more'),
        ("budget = 30", 'budget: an integer; write a time such as "90s", "30m" or "1h30m"'),
        ('budget = "soon"', 'budget: a string; write a time such as "90s", "30m" or "1h30m"'),
        ('budget = "0s"', 'budget: a string; write a time such as "90s", "30m" or "1h30m"'),
        ('family = "suite"', 'family: a string; write "spec", "session" or "fdr"'),
        ("family = true", 'family: a boolean; write "spec", "session" or "fdr"'),
        ("test_reads = 0", "test_reads: an integer; write how many runs, 1 or more, such as 200"),
        ("test_reads = 2.5", "test_reads: a float; write how many runs, 1 or more, such as 200"),
        ("test_reads = true", "test_reads: a boolean; write how many runs, 1 or more, such as 200"),
        ("reuse = 1", "reuse: an integer; write true or false"),
        ("strict = 1", "strict: an integer; write true or false"),
        ('keep_trials = "no"', "keep_trials: a string; write true or false"),
        ("report = 2026-11-20", 'report: a date or time; write a folder such as ".modeltune/report"'),
        ('store = ["postgresql://me:hunter2@host/x"]',
         'store: an array; write a URL such as "sqlite:///.modeltune/history.db"'),
        ('store = {url = "x"}',
         'store: a table; write a URL such as "sqlite:///.modeltune/history.db"'),
        ('store = ""', 'store: a string; write a URL such as "sqlite:///.modeltune/history.db"'),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_remedy(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.modeltune]\n{line}\n")
    with pytest.raises(SpecError) as refused:
        project_of(tmp_path)
    assert str(refused.value) == f"{path}: [tool.modeltune] has 1 problem:\n  {message}"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.modeltune]\nx = 1\nstrict = 1\n")
    with pytest.raises(SpecError, match=r"has 2 problems:\n  x: .*\n  strict: "):
        project_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[tool.modeltune]\nstrict = yes\n", "is not valid TOML: .*line 2"),
        (
            b"tool.modeltune = 3\n",
            r"tool.modeltune is an integer; write a \[tool.modeltune\] table",
        ),
        (b"# modeltune\n# \xff\n", r"is not UTF-8 \(byte 0xff in line 2\), .*; save it as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(SpecError, match=f"{tmp_path}/pyproject.toml.* ?{message}"):
        project_of(tmp_path)


def test_a_file_that_does_not_mention_us_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("this is not TOML")
    assert project_of(tmp_path).config == Config()


def test_the_history_is_beside_the_nearest_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "model_specs"
    inner.mkdir(parents=True)
    assert default_store(inner).reveal() == f"sqlite:///{inner}/.modeltune/history.db"
    (tmp_path / "project" / "pyproject.toml").write_text("")
    assert project_root(inner) == tmp_path / "project"
    monkeypatch.chdir(inner)
    assert default_store().reveal() == f"sqlite:///{tmp_path}/project/.modeltune/history.db"


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("sqlite:///runs.db", "sqlite:///ROOT/runs.db"),
        ("sqlite+pysqlite:///runs.db", "sqlite+pysqlite:///ROOT/runs.db"),
        ("sqlite:////data/runs.db", "sqlite:////data/runs.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql:///runs", "postgresql:///runs"),
        ("postgresql://team@host/runs", "postgresql://team@host/runs"),
    ],
)
def test_a_configured_relative_path_belongs_to_the_project(
    tmp_path: Path, configured: str, expected: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.modeltune]\nstore = "{configured}"\n')
    (tmp_path / "inner").mkdir()
    assert default_store(tmp_path / "inner").reveal() == expected.replace("ROOT", str(tmp_path))


def test_the_environment_comes_before_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.modeltune]\nnonsense = 1\n")
    monkeypatch.setenv("MODELTUNE_STORE", "postgresql://team@host/runs")
    assert default_store(tmp_path).reveal() == "postgresql://team@host/runs"


def test_reading_no_settings_loads_no_parser() -> None:
    code = (
        "import sys, pathlib; from modeltune.ground.config import project_of; "
        "project_of(pathlib.Path('/')); print('tomllib' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("value", ["[" * 10_000 + "]" * 10_000, "9" * 5000])
def test_a_value_that_no_parser_takes_is_one_error(tmp_path: Path, value: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.modeltune]\nworkers = {value}\n")
    with pytest.raises(SpecError, match=r"pyproject\.toml (cannot be read|is not valid TOML): "):
        project_of(tmp_path)


def test_a_file_too_large_to_be_settings_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    os.truncate(tmp_path / "pyproject.toml", 1 << 40)
    with pytest.raises(SpecError, match=r"pyproject\.toml cannot be read: it has .* bytes"):
        project_of(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    with pytest.raises(SpecError, match=r"pyproject\.toml cannot be read: .*it is a pipe"):
        project_of(tmp_path)


def test_checks_that_are_silenced_are_a_list_and_projects_stay_keys(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.modeltune]\nchecks_off = ["MT206", "search.refit"]\n')
    project = project_of(tmp_path)
    assert {project: project.config.checks_off} == {project: ("MT206", "search.refit")}
    path.write_text('[tool.modeltune]\nchecks_off = "MT206"\n')
    with pytest.raises(
        SpecError, match=r'checks_off: a string; write a list of checks such as \["MT206"\]'
    ):
        project_of(tmp_path)
