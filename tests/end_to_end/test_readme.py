"""The README's spec runs as it stands there, and prints what the README says it prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics

import modeltune as mt
from tests.support import forked
from tests.support.example import Example, scripted_source

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the examples in a language, as they stand there."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def masked(line: str) -> str:
    """Replace what differs from machine to machine: measured numbers, seconds, who ended first."""
    line = re.sub(r", (\d+m )?\S+ left$", "", line.rstrip())
    return re.sub(r"\d+(\.\d+)?s\b|\d\.\d+|trial \d+\)|seed \d", "#", line)


def test_the_readme_opens_with_a_spec_that_runs_and_shows_its_real_output(
    pytester: pytest.Pytester,
) -> None:
    for block in blocks("python"):
        if path := re.match(r"# (model_specs/\w+\.py)\n", block):
            file = pytester.path / path[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(block, encoding="utf-8")
    (pytester.path / "model_specs/__init__.py").touch()
    example = next(block for block in blocks("") if block.startswith("$ pytest model_specs/"))

    status, output = forked.Command(forked.pytest, "model_specs/", folder=pytester.path).end()

    assert status == pytest.ExitCode.OK, output
    printed = [masked(line) for line in output.splitlines()]
    position = 0
    for line in example.splitlines()[1:]:
        if line.strip() in ("", "..."):
            continue
        assert masked(line) in printed[position:], f"not printed, or not here: {line}"
        if not re.match(r"  trial \d+/", line):
            # Trials that run at once may end in any order.
            position = printed.index(masked(line), position) + 1


def test_every_option_in_the_readme_exists(pytester: pytest.Pytester) -> None:
    helped = pytester.runpytest("--help").stdout.str()
    for option in set(re.findall(r"--modeltune-[a-z-]+", README)):
        assert option in helped, f"{option} is in the README, not in pytest --help"


def test_the_gallery_holds_the_readmes_spec() -> None:
    gallery = (Path(__file__).parents[2] / "model_specs/spec_digits.py").read_text("utf-8")
    spec = next(block for block in blocks("python") if "spec_digits.py" in block)

    def code(text: str) -> str:
        # The formatter wraps the gallery's code and ends lists with a comma.
        return re.sub(r"\s+|,(?=\s*[\])])|#.*", "", text.partition("on_digits =")[2])

    assert code(spec) in code(gallery)


def selection_rate(y_true: Any, y_pred: Any) -> Any:
    return y_pred > 0.5


def test_every_list_of_gates_in_the_readme_can_be_declared() -> None:
    listed = [block for block in blocks("python") if "gates = [" in block]
    for block in listed:
        names: dict[str, Any] = {
            "mt": mt,
            "brighten": lambda x, severity: x + severity,
            "shift": lambda x, severity: x,
            "relation": lambda predict, x: True,
            "blank": 0.0,
            "selection_rate": selection_rate,
            "sklearn": sklearn,
        }
        exec(block, names)
        search = mt.RandomSearch(mt.maximize("val_accuracy"))
        mt.spec(data=lambda: mt.Data(()), search=search, gates=names["gates"])
    assert len(listed) >= 3


def test_the_logger_in_the_readme_is_told_scores_curves_and_gates(
    scripted: Example,
) -> None:
    (example,) = [text for text in blocks("python") if "pytest_modeltune_run_recorded" in text]
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
