"""Settings and paths belong to the project of a spec, whatever it is called and wherever pytest is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.histories.store import open_store
from tests.support.example import Example, Session, scripted_source

STRICT = '[tool.modeltune]\nstrict = true\nstore = "sqlite:///runs/history.db"\n'

UNDECIDED = scripted_source().replace(">= 0.5", ">= mt.baseline")
"""A spec whose gate has no baseline: red if it is judged strictly."""


def recorded(history: Path) -> list[str]:
    with open_store(f"sqlite:///{history}", create=False) as store:
        return [run.spec.rpartition("/")[2] for run in store.runs()]


@pytest.mark.parametrize("when", ["while it is collected", "while it runs"])
@pytest.mark.parametrize("named_by", ["option", "variable", "settings"])
def test_a_relative_store_is_where_it_was_named_though_the_folder_changes(
    scripted: Example, named_by: str, when: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, arguments, settings = "sqlite:///runs.db", list[str](), ""
    if named_by == "option":
        arguments = [f"--modeltune-store={url}"]
    elif named_by == "variable":
        monkeypatch.setenv("MODELTUNE_STORE", url)
    else:
        settings = f'[tool.modeltune]\nstore = "{url}"\n'
    spec, conftest = scripted_source(), ""
    if when == "while it runs":
        conftest = f"""
            import pytest

            @pytest.fixture(autouse=True)
            def elsewhere(monkeypatch):
                monkeypatch.chdir({str(tmp_path)!r})
            """
    else:
        spec = f"import os\nos.chdir({str(tmp_path)!r})\n{spec}"
    files = {"conftest.py": conftest, "pyproject.toml": settings, "spec_a.py": spec}
    ended = scripted.with_files(files).run_pytest("spec_a.py", *arguments)
    assert ended.exit_code == 0
    assert recorded(scripted.path / "runs.db") == ["spec_a.py::scripted"]
    assert list(tmp_path.iterdir()) == []


def monorepo(scripted: Example) -> Example:
    return scripted.with_files(
        {
            "strict/pyproject.toml": STRICT,
            "strict/model_specs/spec_a.py": UNDECIDED,
            "lax/pyproject.toml": '[tool.modeltune]\nreport = "out"\n',
            "lax/model_specs/spec_b.py": UNDECIDED,
            "other/pyproject.toml": "",
            "other/spec_c.py": UNDECIDED,
        }
    )


PACKAGES = ("strict", "lax", "other")


@pytest.mark.parametrize("order", [PACKAGES, PACKAGES[::-1]], ids="-".join)
def test_each_spec_obeys_the_nearest_settings_above_it_in_whatever_order_they_are_named(
    scripted: Example, order: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    project = monorepo(scripted)
    ended = project.run_pytest("-rA", *order)
    ended.assert_outcomes(passed=2, failed=1)
    assert "FAILED strict/model_specs/spec_a.py::scripted" in ended.output
    assert recorded(project.path / "strict" / "runs" / "history.db") == ["spec_a.py::scripted"]
    assert recorded(project.path / "lax" / ".modeltune" / "history.db") == ["spec_b.py::scripted"]
    assert recorded(project.path / "other" / ".modeltune" / "history.db") == ["spec_c.py::scripted"]
    # Of all three together: it belongs to none of them.
    assert len(ended.reported) == 3
    assert not (project.path / "lax" / "out").exists()


def test_the_header_says_which_settings_are_obeyed_where_there_are_several(
    scripted: Example,
) -> None:
    project = monorepo(scripted)
    ended = project.run_pytest(*PACKAGES)
    (said,) = [n for n, line in enumerate(ended.lines) if line.startswith("collected 3 items")]
    assert ended.lines[said + 1 : said + 4] == [
        "modeltune: specs in strict/model_specs obey [tool.modeltune] in strict/pyproject.toml",
        "modeltune: specs in lax/model_specs obey [tool.modeltune] in lax/pyproject.toml",
        "modeltune: specs in other obey no [tool.modeltune]; their history is in other/.modeltune",
    ]
    assert "[tool.modeltune]" not in project.run_pytest("lax").output


def test_under_xdist_the_end_says_which_settings_are_obeyed(scripted: Example) -> None:
    ended = monorepo(scripted).run_pytest_forked("-n1", "lax", "strict")
    ended.assert_outcomes(passed=1, failed=1)
    ended.stdout.fnmatch_lines_random(
        [
            "modeltune: specs in strict/model_specs obey [[]tool.modeltune] in strict/pyproject.toml",
            "modeltune: specs in lax/model_specs obey [[]tool.modeltune] in lax/pyproject.toml",
        ]
    )
    assert len(ended.reported) == 2


def test_a_run_is_not_compared_with_one_of_another_project_in_the_same_history(
    scripted: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared.db"
    spec = scripted_source().replace(">= 0.5", ">= mt.previous")
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        folder.joinpath("pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
        folder.joinpath("spec_a.py").write_text(spec)
    compared = []
    for name in ("one", "other", "one"):
        monkeypatch.chdir(tmp_path / name)
        scripted.run_pytest(f"--modeltune-store=sqlite:///{shared}")
        with open_store(f"sqlite:///{shared}", create=False) as history:
            run = history.run("-1")
        compared.append((run.spec, run.verdicts[0].outcome.value))
    outcomes = ["no_baseline", "no_baseline", "passed"]
    assert compared == [("spec_a.py::scripted", outcome) for outcome in outcomes]


def test_inside_a_package_the_command_finds_what_pytest_wrote_from_outside(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = monorepo(scripted)
    project.run_pytest(*PACKAGES)
    for folder, spec in (("strict/model_specs", "a"), ("lax", "b"), ("other", "c")):
        monkeypatch.chdir(project.path / folder)
        capsys.readouterr()
        assert main(["history"]) == 0
        assert f"spec_{spec}.py::scripted" in capsys.readouterr().out
        assert main(["report"]) == 0
    assert (project.path / "lax" / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    "name",
    ["feature%2Fgate", "what?", "what?a=b", "a#b", "100%", "a&b;c=d", "me@host", "a b", "é\u0301ß", "~", "'\"$"],
)  # fmt: skip
def test_a_project_of_any_name_is_recorded_and_found_in_its_own_folder(
    scripted: Example,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inner = f"work/{name}"
    project = scripted.with_files(
        {f"{inner}/pyproject.toml": "", f"{inner}/spec_a.py": scripted_source()}
    )
    # What a path would be if it were a URL.
    (project.write() / "work" / "feature").mkdir()
    assert project.run_pytest(inner).exit_code == 0
    assert sorted(path.name for path in (project.path / "work").iterdir()) == sorted(
        {"feature", name}
    )
    assert list((project.path / "work" / "feature").iterdir()) == []
    assert not (project.path / ".modeltune").exists()
    monkeypatch.chdir(project.path / inner)
    (run,) = project.history(f"{inner}/.modeltune/history.db")
    assert run.artifact
    assert Path(".modeltune", run.artifact.path).is_file()
    capsys.readouterr()
    for command in (
        ["history"],
        ["doctor"],
        ["gc"],
        ["merge", "other/copy.db", ".modeltune/history.db"],
    ):
        assert main(command) == 0, capsys.readouterr()
    assert "spec_a.py::scripted" in capsys.readouterr().out
    assert recorded(Path("other", "copy.db")) == ["spec_a.py::scripted"]
    # By the URL that messages show.
    assert main(["history", "--store", f"sqlite:///{Path.cwd()}/other/copy.db"]) == 0


def test_a_path_that_begins_with_a_tilde_is_in_the_home_folder(
    scripted: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = '[tool.modeltune]\nstore = "sqlite:///~/x.db"\nreport = "~/reports"\n'
    project = scripted.with_files({"pyproject.toml": settings, "spec_a.py": scripted_source()})
    assert project.run_pytest().exit_code == 0
    assert recorded(tmp_path / "x.db") == ["spec_a.py::scripted"]
    assert main(["history", "--store", "sqlite:///~/x.db"]) == 0
    assert (tmp_path / "reports" / "report.json").is_file()
    assert not (project.path / "~").exists()


def test_a_variable_moves_the_report(
    scripted: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELTUNE_REPORT", str(tmp_path / "out"))
    settings = '[tool.modeltune]\nreport = "configured"\n'
    project = scripted.with_files({"pyproject.toml": settings, "spec_a.py": scripted_source()})
    assert project.run_pytest().exit_code == 0
    assert (tmp_path / "out" / "report.html").is_file()
    monkeypatch.setenv("MODELTUNE_REPORT", "relative")
    assert main(["report"]) == 0
    assert (project.path / "relative" / "report.html").is_file()
    assert project.run_pytest("--modeltune-report=option").exit_code == 0
    assert (project.path / "option" / "report.html").is_file()
    assert not (project.path / "configured").exists()


def without_report(scripted: Example, *arguments: str) -> Session:
    project = scripted.with_spec(scripted_source()).with_files({"file": ""})
    ended = project.run_pytest("--modeltune-report=file/report", *arguments)
    assert "modeltune: no report: " in ended.output
    return ended


def test_a_report_that_cannot_be_written_is_a_warning_where_the_history_was_asked_for_elsewhere(
    scripted: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/history.db"
    assert without_report(scripted, f"--modeltune-store={store}").exit_code == 0
    assert recorded(tmp_path / "history.db") == ["spec_a.py::scripted"]
    assert without_report(scripted).exit_code == pytest.ExitCode.TESTS_FAILED
    monkeypatch.setenv("MODELTUNE_STORE", store)
    assert without_report(scripted).exit_code == 0
