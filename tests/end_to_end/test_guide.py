"""The code of the README and of the guide in docs/ runs as it stands there, and prints what they say."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

import modeltune as mt
from modeltune.cli import main
from modeltune.cli.first_files import CI_FILES, first_files
from modeltune.ground import Config
from modeltune.records import Outcome, RunStatus, TrialStatus
from tests.support import forked, guide
from tests.support.example import Example, scripted_source
from tests.support.guide import PAGES, README, ROOT, blocks

DOCS = ROOT / "docs"


def masked(line: str) -> str:
    """Replace what differs from machine to machine: measured numbers, seconds, who ended first."""
    line = re.sub(r", (\d+m )?\S+ left$", "", line.rstrip())
    return re.sub(r"\d+(\.\d+)?s\b|\d\.\d+|trial \d+\)|seed \d", "#", line)


def assert_printed(page: Path, output: str) -> None:
    """Check that a run of pytest printed what a page shows of it, but for measured numbers."""
    example = next(b.text for b in blocks(page, "") if b.text.startswith("$ pytest model_specs/"))
    printed = [masked(line) for line in output.splitlines()]
    position = 0
    for line in example.splitlines()[1:]:
        if line.strip() in ("", "..."):
            continue
        assert masked(line) in printed[position:], f"not printed, or not here: {line}"
        if not re.match(r"  trial \d+/", line):
            # Trials that run at once may end in any order.
            position = printed.index(masked(line), position) + 1


def test_the_readme_opens_with_a_spec_that_runs_and_shows_its_real_output(
    pytester: pytest.Pytester,
) -> None:
    write(pytester.path, guide.files((README,)))

    status, output = forked.Command(forked.pytest, "model_specs/", folder=pytester.path).end()

    assert status == pytest.ExitCode.OK, output
    assert_printed(README, output)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write a project, whose folder of specs is a package."""
    for path, text in {"model_specs/__init__.py": "", **files}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_every_block_of_python_in_the_guide_compiles() -> None:
    listed = [block for page in PAGES for block in blocks(page, "python")]
    for block in listed:
        compile("\n" * block.line + block.text, block.place, "exec")
    assert len(listed) >= 15


def test_every_other_file_in_the_guide_can_be_read() -> None:
    known = {field.name for field in dataclasses.fields(Config)}
    for page in PAGES:
        for block in blocks(page, "toml"):
            settings = tomllib.loads(block.text).get("tool", {}).get("modeltune", {})
            assert known >= settings.keys(), block.place
        for block in blocks(page, "yaml"):
            assert yaml.safe_load(block.text), block.place


def test_every_outcome_and_error_has_its_place_in_the_guide() -> None:
    text = (DOCS / "reference/outcomes.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert sections[: len(Outcome)] == [outcome.value for outcome in Outcome]
    errors = {name for name in mt.__all__ if name.endswith("Error")}
    runs, trials = (
        {f"run {s.value}" for s in RunStatus},
        {f"trial {s.value}" for s in TrialStatus},
    )
    assert {*sections} >= runs | trials | errors


def test_the_guide_runs_as_it_stands_there(pytester: pytest.Pytester) -> None:
    files = guide.files()
    write(pytester.path, {**files, "wandb.py": ""})

    status, output = forked.Command(guide.run_blocks, folder=pytester.path).end()
    assert status == 0, output

    status, output = forked.Command(guide.smoke, folder=pytester.path).end()
    assert status == pytest.ExitCode.OK, output
    for path in files.keys() - guide.files((README,)).keys():
        if re.search(r"/spec_\w+\.py$", path):
            assert f"{path}::" in output, f"no run of {path}"


def test_the_readme_in_portuguese_shows_the_same_code_and_pages() -> None:
    portuguese = ROOT / "README.pt-BR.md"
    assert [b.text for b in blocks(portuguese)] == [b.text for b in blocks(README)]
    pages = [
        set(re.findall(r"\]\(([^)]+)", file.read_text("utf-8"))) - {file.name, other.name}
        for file, other in ((README, portuguese), (portuguese, README))
    ]
    assert pages[0] == pages[1]


def test_the_readme_takes_five_minutes_and_leads_to_pages_that_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") < 200
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert not [link for link in links if not (ROOT / link).is_file()]
    assert len(links) > 10


def scripted_in_ci(folder: Path, ci: str) -> list[str]:
    """Return the commands that a new project runs in CI, as bash passes them to pip and pytest."""
    path = CI_FILES[ci][0]
    jobs = yaml.safe_load((folder / path).read_text("utf-8"))
    steps = jobs["jobs"]["models"]["steps"] if ci == "github" else []
    lines = [step["run"] for step in steps if "run" in step] or jobs["models"]["script"]
    for program in ("pip", "pytest"):
        shim = folder / "bin" / program
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\necho "{program} $*"\n')
        shim.chmod(0o755)
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return [
        subprocess.run(
            ["bash", "-e", "-c", line], cwd=folder, env=environ, capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout.strip()
        for line in lines
    ]  # fmt: skip


def test_a_new_project_passes_by_the_commands_of_its_ci_files(
    pytester: pytest.Pytester, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = pytester.path
    commands = {}
    for ci in CI_FILES:
        assert main(["init", "--ci", ci]) == 0
        commands[ci] = scripted_in_ci(folder, ci)
    install, tested = commands["github"]
    assert commands["gitlab"] == [install, tested]
    assert install == "pip install modeltune"
    program, *arguments = tested.split()
    assert program == "pytest"

    status, output = forked.Command(forked.pytest, *arguments, folder=folder).end()

    assert status == pytest.ExitCode.OK, output
    assert_printed(DOCS / "tutorial.md", output)
    # What both keep with the job.
    assert (folder / "models.xml").is_file()
    assert (folder / ".modeltune/report/report.html").is_file()


def test_the_tutorial_shows_what_a_new_project_gets() -> None:
    shown = guide.files((DOCS / "tutorial.md",))
    for ci, (path, _) in CI_FILES.items():
        for name, text in first_files(ci).items():
            if text:
                expected = f"# {name}\n{text}"
                assert shown[name] == expected, f"{name}, {path}"


def test_every_command_in_the_guide_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [block.text for page in PAGES for block in blocks(page, "")]
    typed = re.findall(r"^(?:\$ )?modeltune (\w+)", "\n".join(texts), re.MULTILINE)
    for name in set(typed):
        with pytest.raises(SystemExit) as done:
            main([name, "--help"])
        assert done.value.code == 0, capsys.readouterr().err
    assert len(set(typed)) > 10


def test_every_option_in_the_guide_exists(pytester: pytest.Pytester) -> None:
    helped = pytester.runpytest("--help").stdout.str()
    for page in PAGES:
        for option in set(re.findall(r"--modeltune-[a-z-]*[a-z]", page.read_text("utf-8"))):
            assert option in helped, f"{option} is in {page.name}, not in pytest --help"


def test_the_gallery_holds_the_readmes_spec() -> None:
    gallery = (ROOT / "model_specs/spec_digits.py").read_text("utf-8")
    spec = guide.files((README,))["model_specs/spec_digits.py"]

    def code(text: str) -> str:
        # The formatter wraps the gallery's code and ends lists with a comma.
        return re.sub(r"\s+|,(?=\s*[\])])|#.*", "", text.partition("on_digits =")[2])

    assert code(spec) in code(gallery)


def test_the_logger_in_the_guide_is_told_scores_curves_and_gates(
    scripted: Example,
) -> None:
    example = guide.files((DOCS / "how_to/trackers.md",))["conftest.py"]
    fake = """
logged = []
class Run:
    def __init__(self, **named):
        logged.append(named)
        self.summary = {}
    def __enter__(self):
        return self
    def __exit__(self, *error):
        logged.append(self.summary)
    def log(self, values):
        logged.append(values)
def init(**named):
    return Run(**named)
"""
    end = """
def pytest_unconfigure(config):
    import wandb
    (config.rootpath / "logged.txt").write_text("\\n".join(map(repr, wandb.logged)))
"""
    project = scripted.with_files(
        {
            "conftest.py": example,
            "model_specs/spec_scripted.py": scripted_source("mlp"),
            "model_specs/conftest.py": end,
            "wandb.py": fake,
        }
    )
    scripted.pytester.syspathinsert(scripted.path)
    done = project.run_pytest()
    assert done.exit_code == 0
    assert "a plugin failed" not in done.output, done.output
    first, *curves, summary = map(
        ast.literal_eval, (project.path / "logged.txt").read_text().splitlines()
    )
    (run,) = done.history
    assert run.best
    assert first["name"] == "model_specs/spec_scripted.py::mlp"
    assert first["config"] == run.best.values
    assert summary == {
        "accuracy": 0.75,
        "artifact_bytes": 7000.0,
        'mt.metric("accuracy") >= 0.5': "passed",
    }
    assert curves == [
        {"epoch": epoch, f"trial {trial.id}/{metric}": value}
        for trial in run.trials
        for metric, values in trial.curve.items()
        for epoch, value in enumerate(values, start=trial.initial_epoch + 1)
    ]
