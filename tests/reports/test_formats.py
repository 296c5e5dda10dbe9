"""What programs and papers are given: all that is recorded, and no text that means anything to them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from modeltune import reports
from modeltune.histories.frames import runs_csv
from modeltune.records import Scores, Trial, from_json, to_json
from modeltune.reports.comparison import Contrast, Difference
from modeltune.reports.formats import comparison_as, history_as, latex_table, run_as, trial_as
from tests.support.histories import DIGITS
from tests.support.hostile import HOSTILE, hostile_run
from tests.support.reported_runs import summary

SCHEMA = json.loads(Path(reports.__file__).with_name("report_schema.json").read_text())

OTHER = replace(DIGITS, id="other", scores={**DIGITS.scores, "accuracy": Scores((0.9, 0.91, 0.92))})

CONTRAST = Contrast(
    {"accuracy": Difference(0.004, "are these recipes different")}, ("code in a.py",)
)


def test_a_run_as_json_is_its_report() -> None:
    report = json.loads(run_as("json", DIGITS))
    jsonschema.validate(report, SCHEMA)
    assert [from_json(run) for run in report["runs"]] == [DIGITS]


def test_a_run_as_csv_is_every_field_by_its_path() -> None:
    header, *rows = csv.reader(io.StringIO(run_as("csv", DIGITS)))
    assert header == ["field", "value"]
    fields = dict(rows)
    assert fields["status"] == "failed"
    assert fields["scores.accuracy.values"] == "[ 0.9512, 0.9488, 0.9489 ]"
    assert fields["trials.1.values.rate"] == "0.001"
    assert fields["verdicts.0.measured"] == "0.94999"
    trial = dict(csv.reader(io.StringIO(trial_as("csv", DIGITS, DIGITS.trials[1]))))
    assert (trial["spec"], trial["trial.score"]) == (DIGITS.spec, "0.9611")
    assert (
        json.loads(trial_as("json", DIGITS, DIGITS.trials[1]))["trial"]
        == to_json(DIGITS)["trials"][1]
    )


def test_a_comparison_has_its_numbers_as_numbers() -> None:
    document = json.loads(comparison_as("json", DIGITS, OTHER, CONTRAST))
    assert (document["a"]["run"], document["b"]["run"]) == (DIGITS.id, "other")
    accuracy = document["metrics"]["accuracy"]
    assert accuracy["b"]["values"] == [0.9, 0.91, 0.92]
    assert accuracy["difference"] == {"p": 0.004, "by": "are these recipes different"}
    assert document["metrics"]["loss"]["difference"] is None
    assert document["code"] == ["code in a.py"]
    rows = list(csv.DictReader(io.StringIO(comparison_as("csv", DIGITS, OTHER, CONTRAST))))
    (row,) = (row for row in rows if row["name"] == "accuracy")
    assert (row["A"], row["B"], row["p"]) == ("0.9496 ± 0.0014", "0.91 ± 0.01", "0.0040")
    assert {"code that differs", "git"} <= {row["section"] for row in rows}


def test_a_history_has_a_row_per_run_in_every_format() -> None:
    listed = [summary(OTHER), summary(DIGITS)]
    document = json.loads(history_as("json", listed, {"other": "accepted"}))
    assert [(run["id"], run["accepted"]) for run in document["runs"]] == [
        ("other", "accepted"),
        (DIGITS.id, None),
    ]
    assert document["runs"][0]["scores"]["accuracy"]["mean"] == pytest.approx(0.91)
    rows = list(csv.DictReader(io.StringIO(runs_csv(listed))))
    assert next((row["id"], row["accuracy"]) for row in rows) == ("other", "0.91")
    lines = history_as("markdown", listed, {}).splitlines()
    assert lines[0].startswith("| run | created | spec |")
    assert lines[2].startswith("| other | ")
    assert r"0.91 ± 0.01 " in history_as("latex", listed, {})
    assert json.loads(history_as("json", [], {}))["runs"] == []


def texts(text: str) -> Iterator[tuple[str, str]]:
    """Yield each format of each view of a run in which everything is called so."""
    run = hostile_run(text)
    trials = list(run.trials)
    for form in ("json", "csv", "markdown", "latex"):
        yield form, run_as(form, run)
        yield form, trial_as(form, run, trials[1])
        yield form, comparison_as(form, DIGITS, run, Contrast({}, (text,), (text,)))
        if form != "csv":
            yield form, history_as(form, [summary(run)], {text: text})
    yield "csv", runs_csv([summary(run)])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_is_obeyed_by_what_reads_a_format(text: str) -> None:
    for form, shown in texts(text):
        assert all(line.isprintable() for line in shown.split("\n")), form
        if form == "json":
            json.loads(shown)
        elif form == "csv":
            for row in csv.reader(io.StringIO(shown)):
                for cell in row:
                    is_number = re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", cell)
                    assert is_number or not cell.startswith(("=", "+", "-", "@")) or cell == "-"
        elif form == "latex":
            assert unescaped(shown) <= {"&", "\\"}, shown


def unescaped(text: str) -> set[str]:
    """Return the characters that LaTeX obeys in the cells of its tables."""
    for command in (
        r"\begin{tabular}", r"\end{tabular}", r"\hline", r"\paragraph", r"\textasciitilde{}",
        r"\textbackslash{}", r"\ensuremath{<}", r"\ensuremath{>}", r"\^{}", r"\\",
    ):  # fmt: skip
        text = text.replace(command, " ")
    text = re.sub(r"\{l+\}", " ", text)
    text = re.sub(r"\\[&%$#_{}]", " ", text)
    text = re.sub(r"^ \{(.*)\}$", r"\1", text, flags=re.MULTILINE)
    return {character for character in text if character in "&%$#_{}~^\\"}


def test_a_formula_is_a_text_and_a_number_stays_one() -> None:
    trial = replace(DIGITS.trials[1], values={"=cmd": "=1+1", "rate": -0.5})
    assert isinstance(trial, Trial)
    shown = trial_as("csv", replace(DIGITS, trials=(trial,)), trial)
    assert "trial.values.=cmd,'=1+1" in shown
    assert "trial.values.rate,-0.5" in shown


def test_a_latex_table_escapes_its_cells() -> None:
    shown = latex_table(["a_b"], [["50 % & $x^2$ \\input{x}"]])
    assert [" ".join(line.split()) for line in shown.splitlines()[2:5]] == [
        r"a\_b \\",
        r"\hline",
        r"50 \% \& \$x\^{}2\$ \textbackslash{}input\{x\} \\",
    ]
