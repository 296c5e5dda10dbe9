"""The command says what the history holds, and nothing but one line when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeltune.cli import commands, main
from modeltune.histories import pending
from modeltune.histories.baselines import accept
from modeltune.histories.store import Store, open_store
from modeltune.records.runs import RunStatus, Scores
from modeltune.records.verdicts import Outcome
from modeltune.reports.columns import width
from modeltune.reports.tables import show, show_trial
from tests.support.histories import DIGITS
from tests.support.traced import in_child

pytestmark = pytest.mark.filterwarnings("error")

ROOT = Path(__file__).parents[2]
NO_HISTORY = (
    "No history yet. Write a spec, model_specs/spec_*.py (modeltune init writes a first one), and run: "
    "pytest model_specs/\n"
)


@pytest.fixture(autouse=True)
def _in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(_in_project: None) -> Iterator[Store]:
    """Yield the project's history with two runs."""
    with open_store("sqlite:///.modeltune/history.db") as opened:
        opened.record(DIGITS)
        opened.record(
            replace(
                DIGITS,
                id="20261120-211500-ffffffff",
                created="2026-11-20T21:15:00+00:00",
                spec="spec_digits.py::cnn",
                status=RunStatus.PASSED,
                environment={},
                cached=True,
            )
        )
        yield opened


LISTED = """\
run                       created           spec                 status           tested                    search's best    seconds    commit
------------------------  ----------------  -------------------  ---------------  ------------------------  ---------------  ---------  -----------
20261120-211500-ffffffff  2026-11-20 21:15  spec_digits.py::cnn  passed (cached)  accuracy 0.9496 ± 0.0014  0.9611           16.1       -
20261120-211000-0a1b2c3d  2026-11-20 21:10  spec_digits.py::mlp  failed           accuracy 0.9496 ± 0.0014  0.9611           16.1       0123456789+
"""


@pytest.mark.usefixtures("store")
def test_history_lists_runs_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history"]) == 0
    assert capsys.readouterr() == (LISTED, "")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["spec_digits.py::mlp"], [DIGITS.id]),
        (["--limit", "1"], ["20261120-211500-ffffffff"]),
        (["--limit", "9" * 20], ["20261120-211500-ffffffff", DIGITS.id]),
        (
            ["--store", "sqlite:///.modeltune/history.db"],
            ["20261120-211500-ffffffff", DIGITS.id],
        ),
    ],
)
def test_history_is_narrowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], listed: list[str]
) -> None:
    assert main(["history", *arguments]) == 0
    table, _, _ = capsys.readouterr().out.partition("\n\n")
    assert [line.split()[0] for line in table.splitlines()[2:]] == listed


def test_a_long_history_lists_its_last_runs_and_says_how_many_there_are(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "HISTORY_LIMIT", 2)
    store.record(replace(DIGITS, id="newest"))
    message = "the last 2 of 3 runs; --limit 0 lists all"

    def printed(*arguments: str) -> list[str]:
        assert main(["history", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in printed()[2:4]] == ["newest", "20261120-211500-ffffffff"]
    assert message in printed()
    assert len(printed("--limit", "0")[2:5]) == 3
    assert message not in printed("--limit", "0")
    assert "the last 1 of 2 runs; --limit 0 lists all" in printed(DIGITS.spec, "--limit", "1")
    # As many as there are: nothing is left out.
    assert not any("lists all" in line for line in printed(DIGITS.spec))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["history", "--format", "json"], '{\n "schema": '),
        (["history", "--format", "csv"], "seq,id,created,spec,"),
        (["history", "--format", "markdown"], "| run | created | spec |"),
        (["history", "--format", "latex"], "\\begin{tabular}"),
        (["show", "-2", "--format", "json"], '{\n "schema": '),
        (["show", "-2", "--format", "csv"], "field,value\nid,20261120-211000-0a1b2c3d\n"),
        (["show", "-2", "--format", "markdown"], "## modeltune: 1 failed"),
        (["show", "-2", "--format", "latex"], "\\paragraph{run}"),
        (["show", "-2", "--trial", "0", "--format", "json"], '{\n "schema": '),
        (["compare", "-2", "-1", "--format", "json"], '{\n "schema": '),
        (["compare", "-2", "-1", "--format", "csv"], "section,name,A,B,"),
        (["compare", "-2", "-1", "--format", "markdown"], "|  | run | spec |"),
        (["compare", "-2", "-1", "--format", "latex"], "\\begin{tabular}"),
    ],
)
def test_what_programs_read_holds_nothing_else(
    capsys: pytest.CaptureFixture[str], arguments: list[str], begins: str
) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith(begins)
    assert not err
    if begins.startswith("{"):
        json.loads(out)


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "latex"])
def test_what_else_there_is_to_say_goes_to_stderr(
    store: Store, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "--limit", "1", "--format", form]) == 0
    out, err = capsys.readouterr()
    assert "the last 1 of 2 runs" in err
    assert "the last 1 of 2 runs" not in out
    assert main(["show", "-9", "--format", form]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("modeltune: no run -9")


def test_without_a_history_programs_read_an_empty_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["runs"] == []
    assert err == NO_HISTORY
    assert main(["history", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("seq,id,created,spec,")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("columns", [30, 50, 79])
def test_tables_fit_a_narrow_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (
        ["history"],
        ["show", "-2"],
        ["compare", "-2", "-1"],
        ["show", "-2", "--trial", "1"],
    ):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert max(map(width, out.splitlines())) <= columns, arguments
    assert main(["history", "--format", "json"]) == 0
    json.loads(capsys.readouterr().out)


SPEC_TRENDS = """\
spec                 trend       newest last    first    last    lowest    highest
-------------------  ----------  -------------  -------  ------  --------  ---------
spec_digits.py::mlp  accuracy    ▁█?            0.9496   0.97    0.9496    0.97
spec_digits.py::mlp  parameters  ▅??            48122    48122   48122     48122
"""


def test_the_history_of_all_draws_what_each_spec_is_held_to(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = DIGITS.verdicts[:2]
    better = {"accuracy": Scores((0.97,)), "parameters": Scores((float("nan"),))}
    store.record(replace(DIGITS, id="b", scores=better, verdicts=gates))
    # What ended in an error was not held to anything.
    store.record(replace(DIGITS, id="c", scores={}, verdicts=(), status=RunStatus.ERROR))
    assert main(["history"]) == 0
    # Of the other spec there is a single run.
    assert capsys.readouterr().out.endswith(f"\n\n{SPEC_TRENDS}")


def test_a_run_accepted_under_an_earlier_name_or_file_is_marked(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model_specs").mkdir()
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    run = replace(DIGITS, id="b", status=RunStatus.PASSED, verdicts=gates, checks=())
    run = replace(run, spec="spec_old.py::perceptron", file="model_specs/spec_old.py")
    store.record(run)
    # The file is gone since: its spec is in another, with an alias.
    accept(run, None, tmp_path / run.file, why="good")
    assert main(["history"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("b "))
    assert "passed, accepted" in line


TRENDS = """\
run                       created           spec                 status                tested                    search's best    seconds    commit
------------------------  ----------------  -------------------  --------------------  ------------------------  ---------------  ---------  -----------
e                         2026-11-20 21:10  spec_digits.py::mlp  error                 accuracy -                0.9611           16.1       0123456789+
c                         2026-11-20 21:10  spec_digits.py::mlp  passed                accuracy 0.97             0.9611           16.1       0123456789+
b                         2026-11-20 21:10  spec_digits.py::mlp  passed, accepted      accuracy 0.96             0.9611           16.1       0123456789+
20261120-211000-0a1b2c3d  2026-11-20 21:10  spec_digits.py::mlp  failed, was accepted  accuracy 0.9496 ± 0.0014  0.9611           16.1       0123456789+

trend     last 4    first    last    lowest    highest
--------  --------  -------  ------  --------  ---------
accuracy  ▁▅█?      0.9496   0.97    0.9496    0.97
"""


def test_the_history_of_a_spec_draws_its_gated_metrics_and_marks_what_was_accepted(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model_specs").mkdir()
    file = tmp_path / DIGITS.file
    file.write_text("")
    fields: dict[str, Any] = {"status": RunStatus.PASSED, "baseline": DIGITS.id}
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    for name, accuracy in (("b", 0.96), ("c", 0.97)):
        scores = {"accuracy": Scores((accuracy,))}
        run = replace(DIGITS, id=name, scores=scores, verdicts=gates, checks=(), **fields)
        store.record(run)
        if name == "b":
            accept(run, None, file, why="better")
    store.record(replace(DIGITS, id="e", scores={}, status=RunStatus.ERROR))

    assert main(["history", "spec_digits.py::mlp"]) == 0

    assert capsys.readouterr() == (TRENDS, "")


def test_an_ascii_terminal_gets_ascii(store: Store) -> None:
    store.record(replace(DIGITS, id="b", scores={"accuracy": Scores((0.97, 0.99))}))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from modeltune.cli import main; main()",
            "history",
            "spec_digits.py::mlp",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    text = done.stdout.decode("ascii")
    assert "accuracy 0.98 +- 0.014" in text
    assert "accuracy  _#        0.9496" in text


@pytest.mark.usefixtures("store")
def test_compare_takes_indices_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "-2", "20261120-211500"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(f"A   {DIGITS.id}  spec_digits.py::mlp")
    assert lines[3].startswith("B   20261120-211500-ffffffff  spec_digits.py::cnn")
    assert "metrics on test: same" in lines
    assert "git: unknown for B; with uncommitted changes: A" in lines


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("reference", ["-2", "20261120-2110", DIGITS.id])
def test_show_tells_everything_about_one_run(
    capsys: pytest.CaptureFixture[str], reference: str
) -> None:
    assert main(["show", reference]) == 0
    assert capsys.readouterr() == (show(DIGITS) + "\n", "")


@pytest.mark.usefixtures("store")
def test_show_tells_everything_about_one_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "-2", "--trial", "0"]) == 0
    assert capsys.readouterr() == (show_trial(DIGITS, 0) + "\n", "")


def test_without_a_history_it_says_how_to_get_one_and_makes_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["history"]) == 0
    assert capsys.readouterr() == (NO_HISTORY, "")
    assert os.listdir(tmp_path) == ["pyproject.toml"]


def test_an_empty_history_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    open_store("sqlite:///.modeltune/history.db").close()
    assert main(["history"]) == main(["history", "x"]) == 0
    assert capsys.readouterr() == (NO_HISTORY * 2, "")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "spec_digit.py::mlp"], 'no run of "spec_digit.py::mlp"; did you mean '
         '"spec_digits.py::mlp"? Recorded specs: spec_digits.py::cnn, spec_digits.py::mlp'),
        (["show", "-3"], "no run -3: TMP/.modeltune/history.db holds 2 runs, "
         "counted from -1, the newest"),
        (["show", "-2", "--trial", "2"],
         "run 20261120-211000-0a1b2c3d has no trial 2: its trials are 0 to 1"),
        (["show", "x", "--store", "sqlite:///no.db"],
         "TMP/no.db: there is no history yet; the first run of a spec makes it"),
        (["compare", "-1", "x"], 'no run "x": TMP/.modeltune/history.db holds 2 runs, the newest '
         "20261120-211500-ffffffff of spec_digits.py::cnn; `modeltune history` lists them"),
        (["replay", "-3"], "no run -3: TMP/.modeltune/history.db holds 2 runs, "
         "counted from -1, the newest"),
        (["replay", "-2"], "TMP/.modeltune/artifacts/20261120-211000-0a1b2c3d.weights.h5 is missing, so its "
         "run cannot be replayed; restore it, or run the spec again"),
        (["export", "-1", "model.h5"],
         "model.h5: Keras writes a model to a file that ends in .keras, and its weights alone to one "
         "that ends in .weights.h5; an estimator is written to one that ends in .skops"),
        (["export", "-1", "no/model.keras"], "no/model.keras: there is no folder TMP/no"),
        (["history", "--store", "sqlite:///pyproject.toml"],
         "TMP/pyproject.toml is empty (0 bytes), which no history ever is; "
         "restore a copy, or move the file away to begin a new history"),
        (["history", "--store", "mysql://me:hunter2@host/x"], "a history is kept in sqlite or "
         "postgresql, not in mysql; write sqlite:///path.db or postgresql://user@host/database"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line_on_stderr_and_exit_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr() == ("", f"modeltune: {message.replace('TMP', str(tmp_path))}\n")


def test_broken_settings_are_one_line_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.modeltune]\nstor = 1\n")
    assert main(["history"]) == 1
    assert capsys.readouterr().err == (
        f"modeltune: {tmp_path}/pyproject.toml: [tool.modeltune] has 1 problem: stor: unknown key; "
        'did you mean "store"? The keys are workers, store, keep_trials, report, strict, budget, reuse, mlflow, examples, junit_properties, family, test_reads, checks_off\n'
    )


@pytest.mark.parametrize(
    "arguments", [[], ["tell"], ["show"], ["history", "--limit", "-1"], ["history", "--lim", "1"]]
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: modeltune")


@pytest.mark.parametrize("module", ["modeltune", "modeltune.cli.parser", "modeltune.ground.config"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'pandas', 'sqlalchemy', 'alembic', 'numpy', 'keras', "
        "'tensorflow', 'tabulate', 'pytest'} & {*sys.modules}))"
    ).replace("{{'", "{'")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.usefixtures("store")
def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from modeltune.cli import main; sys.exit(main(['show', '-1']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_command_goes_on_to_its_exit_code_though_the_reader_goes_away(store: Store) -> None:
    for name in ("a", "b"):
        pending.spool(store, replace(DIGITS, id=name))

    def unread(*command: str) -> int:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as sys.stdout:
            return main(command)

    # Runs wait: that is wrong, whoever reads it.
    assert in_child(lambda: unread("doctor")) == (0, "1")
    assert in_child(lambda: unread("flush")) == (0, "0")
    assert {run.id for run in store.runs()} >= {"a", "b"}
    assert pending.waiting(store.folder) == []
