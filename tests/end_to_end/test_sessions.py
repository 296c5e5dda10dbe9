"""pytest runs specs for real: what the user sees, every option, exit codes, workers, Ctrl-C."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.example import Example, Session, source
from tests.support.forked import interrupt

HEAVY = "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn scipy jinja2 tabulate alembic"

# Whatever the two refits reach, the first gate is out of reach and the second cannot fail.
RED = source(
    "validation=mt.Holdout(epochs=1, seeds=2), "
    "gates=[mt.metric('accuracy') >= 1.999, mt.metric('loss') <= 1e9, mt.metric('f1') >= mt.baseline]",
    name="deep",
)
# The same of a script, which measures nothing but accuracy, and calls no build function.
HYPERBAND = "search=mt.Hyperband(mt.maximize('val_accuracy'), max_epochs=3), "
SCRIPTED = source(f"{HYPERBAND}gates=[mt.metric('accuracy') >= 0]")
SCRIPTED_UNDECIDED = source(f"{HYPERBAND}gates=[mt.metric('accuracy') >= mt.baseline]")
SCRIPTED_RED = source(
    f"{HYPERBAND}validation=mt.Holdout(seeds=2), "
    "gates=[mt.metric('accuracy') >= 1.999, mt.metric('accuracy') <= 9, mt.metric('accuracy') >= mt.baseline]",
    name="deep",
)
GREEN = source("gates=[mt.metric('accuracy') >= 0]")
ONE = "search=mt.RandomSearch(mt.maximize('val_accuracy'), max_trials=1), "
SHORT = source(f"{ONE}gates=[mt.metric('accuracy') >= 0]")


def files(folder: Path) -> set[str]:
    """Return the names of all files but those pytest's own test plugin writes."""
    paths = (file.relative_to(folder) for file in folder.rglob("*"))
    theirs = ("__pycache__", "runpytest", "stdout", "stderr")
    return {str(file) for file in paths if not any(name in str(file) for name in theirs)}


# what the user sees


def test_a_green_and_a_red_spec_from_the_first_trial_to_the_report(
    project: Example,
) -> None:
    project = project.with_files({"spec_a.py": GREEN, "spec_b.py": RED})
    done = project.run_pytest("--junitxml=junit.xml")
    assert done.exit_code == 1
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.re_match_lines(
        [
            r"spec_a.py::dense: RandomSearch, up to 2 trials, max\w* val_accuracy",
            r"  trial 1/2: [\d.]+ in 1 epoch, best [\d.]+ \(trial 1\), [\d.]+s left",
            r"  trial 2/2: [\d.]+ in 1 epoch, best [\d.]+ \(trial \d\)$",
            r"  validating the best values: 1 refit of 1 epoch",
            r"  refit 1/1 \(seed 0\): accuracy [\d.]+ on test, [\d.]+s",
            r"spec_b.py::deep: RandomSearch, up to 2 trials, max\w* val_accuracy",
            r"_+ deep _+",
            r"gate +measured +bound +outcome +reason",
            r'mt.metric\("accuracy"\) >= 1.999 +[\d.]+ +1.999 +failed +.*below the bound',
            r'mt.metric\("loss"\) <= 1e9|mt.metric\("loss"\) <= 1000000000.0 +[\d.]+ .* passed',
            r'mt.metric\("f1"\) >= mt.baseline +[\d.]+ +- +no_baseline ',
            r"=+ modeltune: 1 failed, 1 passed =+",
            r"maximize val_accuracy",
            r"spec +status +tested accuracy +search's best +trials +seconds",
            r"spec_[ab].py::\w+ +(passed|failed) ",
            r"report: .modeltune/report/report.html, report.md and report.json$",
            r"FAILED spec_b.py::deep - .*",
        ]
    )
    assert "1 refit of" in done.output
    runs = done.reported
    assert [(run["spec"], run["status"]) for run in runs] == [
        ("spec_a.py::dense", "passed"), ("spec_b.py::deep", "failed"),
    ]  # fmt: skip
    outcomes = [verdict["outcome"] for verdict in runs[1]["verdicts"]]
    assert outcomes == ["failed", "passed", "no_baseline"]
    assert {run.id for run in done.history} == {run["id"] for run in runs}
    page = (project.path / ".modeltune" / "report" / "report.md").read_text()
    assert page.startswith("## modeltune: 1 failed, 1 passed\n")
    junit = (project.path / "junit.xml").read_text()
    assert re.search(
        r'<failure message="[^"]*mt.metric\(&quot;accuracy&quot;\) &gt;= 1.999 ', junit
    )
    mean = runs[0]["scores"]["accuracy"]["mean"]
    told = f'<property name="spec_a.py::dense: modeltune.accuracy" value="{mean:.6g}" />'
    assert told in junit
    assert not (project.path / ".modeltune" / "scratch").exists() or not list(
        (project.path / ".modeltune" / "scratch").iterdir()
    )


@pytest.mark.parametrize(
    "arguments", ["-p no:terminal", "-p no:cacheprovider -s -v --tb=no --pdb", "-q --capture=sys"]
)
def test_pytest_s_own_options_do_no_harm(scripted: Example, arguments: str) -> None:
    done = scripted.with_spec(SCRIPTED).run_pytest(*arguments.split())
    assert done.exit_code == 0
    assert [run.status.value for run in done.history] == ["passed"]
    quiet = arguments.startswith(("-q", "-p no:terminal"))
    assert ("trial 1/6" in done.output) is not quiet


def test_what_trains_warns_of_nothing(project: Example) -> None:
    done = project.with_spec(SHORT).run_pytest("-q", "--capture=sys", "-W", "error")
    assert done.exit_code == 0
    assert [run.status.value for run in done.history] == ["passed"]


# options


def test_a_test_s_frozen_time_overdraws_no_budget(scripted: Example) -> None:
    # As freezegun does: every clock of this process stands at one moment, uptime or not.
    conftest = """
        import time
        import pytest

        @pytest.fixture(autouse=True)
        def frozen(monkeypatch):
            for name in ("time", "monotonic", "perf_counter"):
                monkeypatch.setattr(time, name, lambda: 978307200.0)
        """
    project = scripted.with_spec(SCRIPTED).with_files({"conftest.py": conftest})
    project.run_pytest("--modeltune-budget=3m").assert_outcomes(passed=1)


def test_the_report_goes_where_the_option_says(scripted: Example) -> None:
    scripted = scripted.with_spec(SCRIPTED)
    assert scripted.run_pytest("--modeltune-report=out/deep").exit_code == 0
    assert len(scripted.report("out/deep")["runs"]) == 1
    assert not (scripted.path / ".modeltune" / "report").exists()


def test_a_report_that_cannot_be_written_is_not_green(scripted: Example) -> None:
    scripted = scripted.with_files({"spec_a.py": SCRIPTED, "out.py": ""})
    done = scripted.run_pytest("-q", "--modeltune-report=out.py")
    assert done.exit_code == 1
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["modeltune: no report: *out.py*"])


def test_runs_are_recorded_where_the_option_says(scripted: Example) -> None:
    scripted = scripted.with_spec(SCRIPTED)
    url = f"sqlite:///{scripted.path / 'mine' / 'runs.db'}"
    assert scripted.run_pytest(f"--modeltune-store={url}").exit_code == 0
    assert len(scripted.history("mine/runs.db")) == 1
    assert not (scripted.path / ".modeltune" / "history.db").exists()


def test_what_is_undecided_is_green_and_red_under_strict(scripted: Example) -> None:
    scripted = scripted.with_spec(SCRIPTED_UNDECIDED)
    assert scripted.run_pytest().exit_code == 0
    assert scripted.run_pytest("--modeltune-strict").exit_code == 1


def test_the_search_s_scratch_is_kept_on_demand(scripted: Example) -> None:
    scripted = scripted.with_spec(SCRIPTED)
    assert scripted.run_pytest("--modeltune-keep-trials").exit_code == 0
    (scratch,) = (scripted.path / ".modeltune" / "scratch").iterdir()
    assert scratch.name == scripted.history()[0].id


def test_settings_are_read_from_pyproject_and_options_come_first(scripted: Example) -> None:
    scripted = scripted.with_files(
        {
            "pyproject.toml": '[tool.modeltune]\nstore = "sqlite:///runs.db"\nreport = "out"\nstrict = true\nkeep_trials = true'
        }
    )
    scripted = scripted.with_spec(SCRIPTED_UNDECIDED)
    assert scripted.run_pytest("--modeltune-report=first").exit_code == 1
    assert len(scripted.report("first")["runs"]) == len(scripted.history("runs.db")) == 1
    assert list((scripted.path / "scratch").iterdir())
    assert not (scripted.path / "out").exists()


def test_a_subfolder_shares_the_project_s_history_and_report(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = scripted.with_files({"models/pytest.ini": "[pytest]", "models/spec_a.py": SCRIPTED})
    folder = scripted.write() / "models"
    monkeypatch.chdir(folder)
    assert scripted.run_pytest().exit_code == 0
    assert len(scripted.history()) == len(scripted.report()["runs"]) == 1
    assert not (folder / ".modeltune").exists()


@pytest.mark.parametrize("option", ["report", "store", "workers", "budget"])
def test_no_option_takes_the_test_path_for_its_value(project: Example, option: str) -> None:
    assert project.run_pytest(f"--modeltune-{option}").exit_code == 4


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("workers=many", "'many': write \"auto\", or a number of processes, 0 or more"),
        ("workers=-1", "'-1': write \"auto\", or a number of processes, 0 or more"),
        ("workers=1.5", "'1.5': write \"auto\", or a number of processes, 0 or more"),
        ("workers=", "'': write \"auto\", or a number of processes, 0 or more"),
        ("budget=30", '\'30\': write a time such as "90s", "30m" or "1h30m"'),
        ("budget=0m", "'0m': write a time longer than 0"),
    ],
)
def test_a_wrong_option_is_refused_with_advice(project: Example, option: str, advice: str) -> None:
    project = project.with_spec(SHORT)
    done = project.run_pytest(f"--modeltune-{option}")
    assert done.exit_code == 4
    assert advice in done.stderr.str()
    assert not (project.path / ".modeltune").exists()


def test_a_budget_is_shared_and_every_spec_is_judged(scripted: Example) -> None:
    budget = "0.001s"
    scripted = scripted.with_files({"spec_a.py": SCRIPTED, "spec_b.py": SCRIPTED})
    scripted = scripted.with_files({"pyproject.toml": f'[tool.modeltune]\nbudget = "{budget}"\n'})
    for arguments in ((), ("--modeltune-budget=0.002s",)):
        done = scripted.run_pytest(*arguments)
        assert done.exit_code == 0
        time = arguments[0].partition("=")[2] if arguments else budget
        notes = done.output.count(
            f"search stopped after 1 trials: the budget of {time} leaves time for validation only"
        )
        assert notes == 2
    assert [len(run.trials) for run in scripted.history()] == [1] * 4


# GitHub Actions


def in_github(project: Example, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have pytest run as in GitHub Actions; return the file that holds the summary."""
    summary = project.path / "summary.md"
    summary.write_text("before")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def assert_annotated(project: Example, done: Session, file: str) -> None:
    """Check that there are an error and a warning at the gates' own line in this file.

    Another warning says that the refits of a script are equal whatever their seeds.
    """
    lines = (project.path / file).read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(lines) if "1.999" in text)
    commands = [line for line in done.lines if line.startswith("::")]
    assert len(commands) == 3
    assert "CHECKS.md#searchseeds" in commands[2]
    place = rf"file={file},line={line},title={file}%3A%3Adeep%3A"
    assert re.match(
        rf'::error {place} failed::mt.metric\("accuracy"\) >= 1.999: measured [\d.]+: ', commands[0]
    )
    assert re.match(
        rf'::warning {place} no_baseline::mt.metric\("accuracy"\) >= mt.baseline: ', commands[1]
    )


@pytest.mark.parametrize("arguments", ["", "-q"])
def test_in_github_actions_the_page_is_added_and_gates_are_annotated(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    scripted = scripted.with_files({"models/spec_b.py": SCRIPTED_RED})
    summary = in_github(scripted, monkeypatch)
    done = scripted.run_pytest(*arguments.split())
    assert done.exit_code == 1
    assert_annotated(scripted, done, "models/spec_b.py")
    page = (scripted.path / ".modeltune" / "report" / "report.md").read_text()
    assert summary.read_text() == f"before\n{page}"
    assert "**failed**" in page


def test_elsewhere_nothing_is_annotated(scripted: Example) -> None:
    scripted = scripted.with_spec(SCRIPTED_UNDECIDED)
    assert "::warning" not in scripted.run_pytest().output


@pytest.mark.parametrize("kind", ["folder", "full"])
def test_a_summary_that_cannot_be_added_to_is_a_warning(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    scripted = scripted.with_spec(SCRIPTED)
    summary = scripted.path / "summary.md"
    if kind == "folder":
        summary.mkdir()
    else:
        summary.write_bytes(b"x" * 1024 * 1024)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = scripted.run_pytest("-q")
    assert done.exit_code == 0
    done.stdout.fnmatch_lines(["modeltune: nothing added to GITHUB_STEP_SUMMARY: *summary.md*"])
    assert summary.is_dir() or summary.stat().st_size == 1024 * 1024
    assert (scripted.path / ".modeltune" / "report" / "report.md").exists()


def test_what_a_model_raises_is_not_obeyed(
    project: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project = project.with_spec(
        source(ONE, r'raise ValueError("a\n::error::b\n  ::set-env name=a::b\n##[error]c")')
    )
    done = project.run_pytest("-rA", "--tb=short")
    assert done.exit_code == 1
    # It is said, in lines of their own.
    assert any("[error]c" in line for line in done.lines)
    assert not any("##[" in line and "::" not in line[:2] for line in done.lines)
    assert any("::error::b" in line for line in done.lines)
    commands = [line for line in done.lines if line.strip().startswith("::")]
    assert [line.partition(",")[0] for line in commands] == ["::error file=spec_a.py"]


def test_what_a_spec_is_called_is_not_obeyed(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = '@pytest.mark.parametrize("fit", [pytest.param(mt.Fit(epochs=1), id="##[error]x")])'
    scripted = scripted.with_spec(SCRIPTED.replace("\n@spec(", f"\n{mark}\n@spec("))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = scripted.run_pytest()
    assert done.exit_code == 0
    lines = [line for line in done.lines if "[error]x" in line]
    assert len(lines) == 2  # as it began, and in the table at the end
    assert not any("##[" in line for line in lines)


# processes


def test_workers_of_xdist_run_specs_into_one_report(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = in_github(scripted, monkeypatch)
    scripted = scripted.with_files(
        {"spec_a.py": SCRIPTED, "spec_b.py": SCRIPTED_RED, "test_c.py": "def test_c(): ..."}
    )
    options = "--junitxml=junit.xml", "--modeltune-accept-new"
    done = scripted.run_pytest_apart("-n", "2", *options)
    assert done.exit_code == 1
    done.assert_outcomes(passed=2, failed=1)
    assert done.output.count("\naccepted spec_a.py::dense: run ") == 1
    assert [path.name for path in scripted.path.glob("baselines/*")] == ["spec_a.py.dense.json"]
    done.stdout.re_match_lines(
        [
            r'mt.metric\("accuracy"\) >= 1.999 .* failed ',
            "=+ modeltune: 1 failed, 1 passed =+",
        ]
    )
    runs = done.reported
    assert {run["spec"]: run["status"] for run in runs} == {
        "spec_a.py::dense": "passed", "spec_b.py::deep": "failed",
    }  # fmt: skip
    assert {run["id"] for run in runs} == {run.id for run in done.history}
    junit = (scripted.path / "junit.xml").read_text()
    for run in runs:
        name = f"{run['spec']}: modeltune.run"
        assert f'<property name="{name}" value="{run["id"]}" />' in junit
    assert_annotated(scripted, done, "spec_b.py")
    page = (scripted.path / ".modeltune" / "report" / "report.md").read_text()
    assert summary.read_text() == f"before\n{page}"


def test_ctrl_c_ends_with_exit_2_and_a_record_and_the_next_run_goes_on(
    project: Example,
) -> None:
    long = GREEN.replace("max_trials=2", "max_trials=500").replace(
        "[0.1, 0.01]", "[rate / 1000 for rate in range(1, 999)]"
    )
    project = project.with_spec(long)
    first = interrupt(project.write(), at="  trial 2/")
    assert first.status == 2, first.lines
    (run,) = project.history()
    assert run.status.value == "interrupted"
    assert len(run.trials) >= 2
    assert {verdict.outcome.value for verdict in run.verdicts} == {"error"}
    assert [r["status"] for r in project.report()["runs"]] == ["interrupted"]
    assert any(re.match(r"spec_a.py::dense +interrupted ", line) for line in first.lines)

    # The second run takes over what the first has finished, and needs no third.
    second = interrupt(project.write(), "-k", "dense", "-x", at="  note: ")
    note = next(line for line in second.lines if "note: " in line)
    taken_over = re.fullmatch(r"  note: resumes after (\d+) finished trials?\n", note)
    assert taken_over
    # A trial may be kept in the instant before the interrupt, and not be in the record yet.
    assert int(taken_over[1]) in (len(run.trials), len(run.trials) + 1)


# runs without a spec


WITNESS = f"""
import sys
def pytest_unconfigure():
    print("loaded", [name for name in "{HEAVY}".split() if name in sys.modules])
    ours = [name for name in sys.modules if name.partition(".")[0] == "modeltune"]
    print("ours", sorted(ours))
"""


@pytest.mark.parametrize("tests", [{}, {"test_a": "def test_a(): ...\ndef test_b(): assert 0"}])
def test_a_run_without_a_spec_is_left_alone(
    project: Example, tests: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    project = project.with_files({"pyproject.toml": "[tool.modeltune]\nno_such_key = 1\n"})
    for name, text in tests.items():
        project = project.with_files({f"{name}.py": text})
    project = project.with_files({"conftest.py": WITNESS})
    before = files(project.write())
    common = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    with_us = project.run_pytest_apart(*common)
    assert files(project.path) == before
    without = project.run_pytest_apart(*common, "-p", "no:modeltune")
    assert with_us.exit_code == without.exit_code

    def lines_of(result: Session) -> list[str]:
        kept = [line for line in result.lines if not line.startswith(("plugins:", "ours"))]
        return [re.sub(r"in \d.*s", "", line) for line in kept]

    assert lines_of(with_us) == lines_of(without)
    assert not with_us.stderr.lines
    with_us.stdout.fnmatch_lines(
        [
            "loaded []",
            "ours [[]'modeltune', 'modeltune.ground', 'modeltune.ground.clock', "
            "'modeltune.ground.doors', 'modeltune.plugin', "
            "'modeltune.plugin.hookspecs', 'modeltune.plugin.live_hooks', "
            "'modeltune.plugin.mlflow_plugin', 'modeltune.plugin.session', 'modeltune.plugin.tuned_fixture']",
        ]
    )


def test_collecting_specs_loads_nothing_heavy_and_writes_nothing(project: Example) -> None:
    project = project.with_files({"spec_a.py": GREEN, "spec_b.py": RED})
    project = project.with_files({"conftest.py": WITNESS})
    before = files(project.write())
    done = project.run_pytest_apart("--collect-only", "-q", "-p", "no:cacheprovider")
    assert done.exit_code == 0
    done.stdout.fnmatch_lines(["spec_a.py::dense", "spec_b.py::deep", "loaded []"])
    assert files(project.path) == before


def test_the_gallery_is_collected_without_loading_anything_heavy(project: Example) -> None:
    gallery = Path(__file__).parents[2] / "model_specs"
    project = project.with_files({"witness.py": WITNESS})
    done = project.run_pytest_apart(
        "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "witness", str(gallery)
    )
    assert done.exit_code == 0
    done.stdout.fnmatch_lines(
        ["*spec_digits.py::mlp", "*spec_wine.py::classifier*hyperband*", "loaded []"]
    )
