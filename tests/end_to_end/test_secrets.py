"""No password of a URL is in anything that is printed, written or recorded, however errors are shown."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeltune.cli import main
from tests.support.example import Example, Session, scripted_source
from tests.support.postgres import PASSWORD, STRANGER, Server

SECRET = "hunter2"

STYLES = [
    "--full-trace",
    "--showlocals",
    "--tb=long -l -vv",
    "--tb=short -l",
    "--tb=native",
    "--tb=line",
]

ALL_OF_IT = "--full-trace --showlocals -vv"

URLS = {
    "nobody listens": "postgresql://me:hunter2@127.0.0.1:1/runs",
    "in an option": "postgresql://me@127.0.0.1:1/runs?password=hunter2&sslpassword=hunter2",
    "an unknown option": "postgresql://me:hunter2@127.0.0.1:1/runs?colour=red",
    "another database": "mysql://me:hunter2@127.0.0.1/runs",
    "another driver": "postgresql+asyncpg://me:hunter2@127.0.0.1/runs",
    "a port that is a word": "postgresql://me:hunter2@127.0.0.1:word/runs",
    "a port that there is not": "postgresql://me:hunter2@127.0.0.1:70000/runs",
    "no host": "postgresql://me:hunter2@/runs?host=/nowhere",
    "a host that cannot be": f"postgresql://me:hunter2@{'h' * 80}.{'.'}/runs",
    "a password without a host": "postgresql://me:hunter2",
    "an @ in the password": "postgresql://me:p@hunter2@127.0.0.1/runs",
    "no URL": "me:hunter2@127.0.0.1",
    "a file with options": "sqlite:///history.db?password=hunter2",
}

ARGUMENTS = {
    "history": ["--store=URL"],
    "show": ["-1", "--store=URL"],
    "accept": ["-1", "--reason=r", "--store=URL"],
    "check": ["-1", "--store=URL"],
    "compare": ["-2", "-1", "--store=URL"],
    "report": ["--store=URL"],
    "export": ["-1", "m.keras", "--store=URL"],
    "replay": ["-1", "--store=URL"],
    "flush": ["--store=URL"],
    "gc": ["--store=URL"],
    "doctor": ["--store=URL"],
    "merge": ["other.db", "URL"],
}
"""The arguments of every command that takes a store; of ``gc`` and ``doctor`` see ``--also`` too."""

BROKEN = {
    "the driver": "monkeypatch.setattr(psycopg, 'connect', raises)",
    "the engine": "monkeypatch.setattr(sqlalchemy, 'create_engine', raises)",
    "the parser": "monkeypatch.setattr(sqlalchemy, 'make_url', raises)",
    "an interrupt": "monkeypatch.setattr(psycopg, 'connect', interrupted)",
}
"""What raises where the URL is at hand, though nobody expects it to."""


def texts(folder: Path) -> Iterator[str]:
    """Yield what every file of a project holds, but for what the test itself has written."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".py", ".toml"):
            yield path.read_bytes().decode("utf-8", "replace")


def assert_hidden(project: Example, *outputs: str) -> None:
    for text in itertools.chain(outputs, texts(project.path)):
        assert SECRET not in text, text


def session(project: Example, *arguments: str) -> Session:
    ended = project.run_pytest("--junitxml=junit.xml", *arguments)
    assert (project.path / "junit.xml").is_file()
    assert_hidden(project, ended.output, ended.stderr.str())
    return ended


@pytest.fixture
def project(scripted: Example, monkeypatch: pytest.MonkeyPatch) -> Example:
    """Return a project whose sessions also write the summary of a step of GitHub Actions."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(scripted.path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    return scripted.with_spec(scripted_source())


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_store_that_cannot_be_used_is_one_line_without_its_password(
    project: Example, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = session(project, "--full-trace", "-l", "-vv", f"--modeltune-store={url}")
    assert ended.exit_code == pytest.ExitCode.TESTS_FAILED
    assert "Traceback" not in ended.output
    monkeypatch.setenv("MODELTUNE_STORE", url)
    assert session(project).exit_code == pytest.ExitCode.TESTS_FAILED
    capsys.readouterr()
    assert main(["history"]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert SECRET not in err


@pytest.mark.parametrize("url", [URLS["nobody listens"], URLS["a port that is a word"]])
@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_command_says_so_in_a_line_without_the_password(
    project: Example, command: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument.replace("URL", url) for argument in ARGUMENTS[command]]
    project.write()
    # Where nothing waits, nothing is opened.
    assert main([command, *arguments]) == (0 if command == "flush" and "word" not in url else 1)
    if command in ("gc", "doctor"):
        main([command, "--also", url])
    out, err = capsys.readouterr()
    assert_hidden(project, out, err)
    assert "Traceback" not in err
    # What is mistyped is repeated.
    with pytest.raises(SystemExit):
        main([command, *arguments, f"--stor={url}"])
    assert_hidden(project, capsys.readouterr().err)


def test_a_url_where_something_else_belongs_is_not_repeated(
    project: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session(project).exit_code == 0
    capsys.readouterr()
    for command in (["history"], ["show"], ["compare", "-1"]):
        assert main([*command, URLS["nobody listens"]]) == 1
        assert_hidden(project, *capsys.readouterr())


@pytest.mark.parametrize(
    ("broken", "style"),
    [*((name, ALL_OF_IT) for name in BROKEN), *(("the driver", style) for style in STYLES)],
)
def test_no_traceback_shows_the_password_of_a_store(
    project: Example, broken: str, style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conftest = f"""
        import psycopg
        import pytest
        import sqlalchemy

        def raises(*args, **kwargs):
            raise RuntimeError("nobody expects this")

        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        @pytest.fixture(autouse=True)
        def broken(monkeypatch):
            {BROKEN[broken]}
        """
    project = project.with_files({"conftest.py": conftest})
    url = "postgresql://me:hunter2@127.0.0.1:1/runs?sslpassword=hunter2"
    with contextlib.suppress(KeyboardInterrupt):
        ended = session(project, *style.split(), f"--modeltune-store={url}")
        assert ended.exit_code == pytest.ExitCode.TESTS_FAILED
    # Of what was interrupted, too.
    assert_hidden(project, *capsys.readouterr())


def test_no_traceback_of_a_function_that_takes_the_url_shows_the_password(
    project: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = """
        import os
        import pytest
        import modeltune as mt
        from modeltune.histories import open_as_it_is, open_store
        from spec_a import scripted

        CALLS = {
            "run": lambda url: mt.run(scripted, store=url, listen=print),
            "reuse": lambda url: mt.run(scripted, store=url, reuse=True, listen=print),
            "history": lambda url: mt.history(url).frame(),
            "a run": lambda url: mt.history(url).run(-1),
            "compare": lambda url: mt.compare(-1, -2, store=url),
            "open_store": open_store,
            "open_as_it_is": open_as_it_is,
        }

        @pytest.mark.parametrize("url", os.environ["URLS"].split())
        @pytest.mark.parametrize("call", CALLS)
        def test_call(call, url):
            CALLS[call](os.environ[url])
        """
    for name in ("nobody listens", "a port that is a word", "a file with options"):
        monkeypatch.setenv(name.replace(" ", "_"), URLS[name])
    monkeypatch.setenv("URLS", "nobody_listens a_port_that_is_a_word a_file_with_options")
    project = project.with_files({"test_calls.py": calls})
    for style in ("--full-trace", "--tb=long", "--tb=short"):
        # The lambda is the user's own, and so is what it shows of its arguments.
        ended = project.run_pytest("test_calls.py", "--showlocals", "-vv", style)
        ended.assert_outcomes(failed=21)
        ours = [part for part in ended.output.split("\n\n") if "lambda" not in part]
        shown = [part for part in ours if SECRET in part and "modeltune/" in part]
        assert not shown, shown[0]


@pytest.mark.parametrize(
    "settings",
    [
        'store = "postgresql://me:hunter2@host/runs"\nstrict = 1',
        'stor = "postgresql://me:hunter2@host/runs"',
        'store = ["postgresql://me:hunter2@host/runs"]',
        'mlflow = "http://me:hunter2@host:5000"\nstrict = yes',
        'store = "postgresql://me:hunter2@host/runs"\nbudget = "\xff"',
    ],
    ids=["a wrong value", "an unknown key", "an array", "no TOML", "no UTF-8"],
)
def test_wrong_settings_show_no_password(project: Example, settings: str) -> None:
    project = project.with_files({"inner/spec_b.py": scripted_source()})
    text = f"[tool.modeltune]\n{settings}\n"
    (project.write() / "inner" / "pyproject.toml").write_bytes(text.encode("latin-1"))
    for style in (ALL_OF_IT, "--tb=native"):
        # Where pytest begins elsewhere: it would refuse the file itself.
        ended = session(project, "--rootdir=.", "-c", "pyproject.toml", "inner", *style.split())
        assert ended.exit_code == pytest.ExitCode.INTERRUPTED
        assert "inner/pyproject.toml" in ended.output
        assert "Traceback" not in ended.output


def test_nothing_that_is_kept_of_a_run_on_a_server_holds_the_password(
    project: Example, postgres: Server
) -> None:
    assert PASSWORD == SECRET
    project = project.with_spec(scripted_source().replace(">= 0.5", ">= 0.9"))
    with postgres.database() as name:
        postgres.ask(f'ALTER DATABASE "{name}" OWNER TO {STRANGER}')
        url = postgres.url(name, f"{STRANGER}:{PASSWORD}")
        arguments = ("--full-trace", "-l", "-vv", f"--modeltune-store={url}")
        assert session(project, *arguments).exit_code == pytest.ExitCode.TESTS_FAILED
        for table in ("runs", "trials", "scores", "verdicts", "artifacts"):
            assert SECRET not in str(postgres.ask(f"SELECT * FROM {table}", name))
        try:
            lost = project.run_pytest(*arguments, at_the_end=postgres.stop)
        finally:
            postgres.start()
    assert "waits in" in lost.output
    assert list((project.path / ".modeltune" / "pending").glob("*.json"))
    assert_hidden(project, lost.output)
