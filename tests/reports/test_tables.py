"""Tables say what was recorded: no difference hidden, no text obeyed."""

from __future__ import annotations

import math
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import modeltune as mt
from modeltune.records.confusion import confusion_to_json
from modeltune.records.json_form import from_json, to_json
from modeltune.records.runs import Durations, Run, RunStatus, Scores, Summary
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults, Verdict
from modeltune.reports.tables import (
    TREND,
    all_cuts,
    clean,
    distinct,
    failure,
    gate_table,
    gated_metrics,
    headline,
    history_table,
    mean_std,
    number,
    parse_objective,
    show,
    show_trial,
    sparkline,
    summary_table,
    trends,
    trial_table,
    undecided,
)
from tests.support.histories import DIGITS, runs
from tests.support.verdicts import verdict_on

pytestmark = pytest.mark.filterwarnings("error")

law = settings(derandomize=True, deadline=None, max_examples=100)


def scored(spec: str, *accuracy: float, **fields: object) -> Run:
    """Return a passed run of a spec with these accuracies over refits."""
    scores = {"accuracy": Scores(accuracy)} if accuracy else {}
    status = RunStatus.PASSED if accuracy else RunStatus.ERROR
    run = replace(DIGITS, spec=spec, scores=scores, status=status)
    return replace(run, **fields)  # type: ignore[arg-type]


def test_the_gate_table_shows_why() -> None:
    assert (
        gate_table(DIGITS)
        == """\
gate                                    measured    bound    outcome       reason
--------------------------------------  ----------  -------  ------------  ----------------------------------------------------
mt.metric("accuracy") >= 0.95           0.94999     0.95     failed        1e-05 below the bound
mt.metric("parameters") <= 50000        48122       50000    passed        below
mt.metric("auc") >= 0.5                 -           0.5      error         no metric "auc"
mt.metric("recall").per_class() >= 0.9  0.875       0.9      inconclusive  class 7 has 8 of the 30 samples it takes to judge it"""
    )


def test_the_trial_table_marks_the_best_and_says_where_it_continued() -> None:
    assert (
        trial_table(DIGITS)
        == """\
trial    status     score    epochs                seconds    values                           reason
-------  ---------  -------  --------------------  ---------  -------------------------------  ------------
0        failed     -        0                     0.5        units=32                         OOM | killed
1 *      completed  0.9611   3 after 2 of trial 0  12.3       units=64, rate=0.001, norm=True"""
    )


def test_nothing_to_show_is_no_table() -> None:
    bare = Run("a", "", "s", "f", RunStatus.ERROR, "maximize val_accuracy")
    assert gate_table(bare) == trial_table(bare) == history_table([]) == summary_table([]) == ""


def test_the_summary_ranks_by_the_tested_metric_not_by_the_search() -> None:
    best = DIGITS.best
    assert best
    listed = summary_table(
        [
            scored("a.py::lucky", 0.9, best=replace(best, score=0.99)),
            scored("a.py::failed"),
            scored("a.py::good", 0.95, 0.97, best=replace(best, score=0.91), cached=True),
            scored("a.py::broken", math.nan),
            scored("b.py::few", 2.0, objective="minimize val_accuracy"),
            scored("b.py::fewer", 1.0, objective="minimize val_accuracy"),
        ]
    )
    assert (
        listed
        == """\
maximize val_accuracy
spec          status           tested accuracy    search's best    trials    seconds    = data + search + validation
------------  ---------------  -----------------  ---------------  --------  ---------  ------------------------------
a.py::good    passed (cached)  0.96 ± 0.014       0.91             1/2       16.1       0.2 + 12.8 + 3.0
a.py::lucky   passed           0.9                0.99             1/2       16.1       0.2 + 12.8 + 3.0
a.py::failed  error            -                  0.9611           1/2       16.1       0.2 + 12.8 + 3.0
a.py::broken  passed           nan                0.9611           1/2       16.1       0.2 + 12.8 + 3.0

minimize val_accuracy
spec         status    tested accuracy    search's best    trials    seconds    = data + search + validation
-----------  --------  -----------------  ---------------  --------  ---------  ------------------------------
b.py::fewer  passed    1                  0.9611           1/2       16.1       0.2 + 12.8 + 3.0
b.py::few    passed    2                  0.9611           1/2       16.1       0.2 + 12.8 + 3.0"""
    )


def test_an_objective_is_read_as_it_is_recorded() -> None:
    assert repr(parse_objective("maximize val_accuracy")) == 'mt.maximize("val_accuracy")'
    assert repr(parse_objective("minimize my loss")) == 'mt.minimize("my loss")'
    assert parse_objective("val_accuracy") is parse_objective("maximize ") is None


def test_a_run_of_an_unreadable_objective_keeps_its_place() -> None:
    listed = summary_table([scored("b", 1.0, objective="x"), scored("a", 2.0, objective="x")])
    assert [line.split()[0] for line in listed.splitlines()[3:]] == ["b", "a"]


def test_a_sparkline_has_a_bar_per_value_and_no_gap() -> None:
    assert sparkline([1.0, 2.0, 3.0, math.nan, 4.5], "_-=#") == "_-=?#"
    assert sparkline([-1e308, 1e308], "_-=#") == "_#"
    assert sparkline([2.0, 2.0], "_-=#") == "=="
    assert sparkline([math.inf], "_-=#") == "?"
    assert sparkline([], "_-=#") == ""


def test_a_trend_shows_the_last_runs_from_the_oldest() -> None:
    newest_first = [summary(value) for value in (3.0, 2.0, *[1.0] * TREND)]
    assert (
        trends(newest_first, ["accuracy", "auc"], "_-=#")
        == f"""\
trend     last 40                                   first    last    lowest    highest
--------  ----------------------------------------  -------  ------  --------  ---------
accuracy  {"_" * 38}=#  1        3       1         3"""
    )


def summary(accuracy: float) -> Summary:
    return Summary(
        1, "a", "", "s", "f", RunStatus.PASSED, "maximize val_accuracy", None, Durations(), None,
        None, None, False, {}, {"accuracy": Scores((accuracy,))},
    )  # fmt: skip


def test_a_run_s_gated_metrics_are_named_as_its_scores_are() -> None:
    gap = verdict_on(mt.gap("accuracy", severity="warn") <= 0.1, Outcome.PASSED, 0.0, 0.1)
    run = replace(
        DIGITS,
        scores={**DIGITS.scores, "gap(accuracy)": Scores((0.0,))},
        verdicts=(*DIGITS.verdicts, gap),
    )
    assert gated_metrics(run) == ["accuracy", "parameters", "gap(accuracy)"]


def test_show_tells_everything() -> None:
    assert (
        show(
            replace(
                DIGITS, verdicts=DIGITS.verdicts[3:], trials=(), error="bad \x1b[31mday\nat work"
            )
        )
        == """\
run        20261120-211000-0a1b2c3d
spec       spec_digits.py::mlp
file       model_specs/spec_digits.py
created    2026-11-20T21:10:00+00:00
status     failed
error      bad day at work
objective  maximize val_accuracy
best       trial 1, score 0.9611: units=64, rate=0.001, norm=True
trials     0/0
seconds    data 0.2, search 12.8, validation 3.0
baseline   20261119-090000-00000000
artifact   artifacts/20261120-211000-0a1b2c3d.weights.h5 (refit 0, 123 bytes, sha256 """
        + "e3b0" * 16
        + """)
samples    artifacts/20261120-211000-0a1b2c3d.samples.json (45 bytes, sha256 """
        + "c442" * 16
        + """)

notes
test was cut from train
second line

gates
gate                                    measured    bound    outcome       reason
--------------------------------------  ----------  -------  ------------  ----------------------------------------------------
mt.metric("recall").per_class() >= 0.9  0.875       0.9      inconclusive  class 7 has 8 of the 30 samples it takes to judge it

slices
gate                                    slice    samples    measured    bound    outcome
--------------------------------------  -------  ---------  ----------  -------  ------------
mt.metric("recall").per_class() >= 0.9  class 7  8          0.875       0.9      inconclusive
mt.metric("recall").per_class() >= 0.9  class 0  36         1           0.9      passed

checks
check           measured    bound    outcome    reason
--------------  ----------  -------  ---------  ------------------------------------------------------------
checks.overlap  2           0        warned     2 rows of test are in train (MT101: CHECKS.md#checksoverlap)
search.bounds   0           0        passed     the winner is inside all ranges

advice
validate with 5 seeds

scores on test
metric      mean    std     values
----------  ------  ------  ----------------------
loss        0.2     0.01    0.21, 0.19, 0.2
accuracy    0.9496  0.0014  0.9512, 0.9488, 0.9489
parameters  48122   -       48122

model
parameters  48122
layer    kind    output    parameters    trainable
-------  ------  --------  ------------  -----------
dense    Dense   ? x 64    4160          yes

task report
f1.macro  0.95

search
kind              Hyperband
max_epochs        10
objective.metric  val_accuracy

fit
epochs  10

validation
seeds  3

data
train.samples  1437
classes        ["0", "1"]

fingerprints
spec  ab12

environment
git_revision  0123456789abcdef
git_dirty     true
cpus          2"""
    )


def test_the_phases_of_refits_have_a_table_of_their_own() -> None:
    curve = {"loss": [0.5, 0.4, 0.3]}
    phase = {"name": "first", "epochs": 2, "seconds": 1.0, "trained_by": "graph", "curve": curve}
    tuned = {"from_layer": "mixed5", "learning_rate": 1e-5}
    phases = [
        phase,
        phase | {"name": "fine-tuning", "epochs": 1, "seconds": 2.0} | tuned,
    ]
    refit = {"seed": 0, "fold": None, "curve": curve, "phases": phases}
    shown = show(replace(DIGITS, validation={"kind": "Holdout", "refits": [refit]}))
    table = shown.partition("phases of the refits\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split() for line in table[2:]] == [
        ["1", "first", "2", "-", "-", "1.0", "graph"],
        ["1", "fine-tuning", "1", "mixed5", "1e-05", "2.0", "graph"],
    ]
    assert shown.count("fine-tuning") == 1


def test_records_and_matrices_are_shown_as_tables_and_long_lists_by_their_beginning() -> None:
    per_class = [{"class": c, "f1": 0.5} for c in range(60)]
    refits = [{"seed": 0, "curve": {"loss": [0.25] * 100}}, {"seed": 1, "curve": {}}]
    report = {"task": "multiclass", "per_class": per_class, "confusion": [[3, 1], [0, 4]]}
    validation = {"kind": "Holdout", "refits": refits}
    shown = show(replace(DIGITS, task_report={"y": report}, validation=validation))
    assert "\ny.task  multiclass\ny.per_class, the worst 50 of 60 by f1\nclass    f1\n" in shown
    _, _, matrix = shown.partition("\ny.confusion\n")
    assert [line.split() for line in matrix.splitlines()[:4]] == [
        ["0", "1"], ["--", "---", "---"], ["0", "3", "1"], ["1", "0", "4"],
    ]  # fmt: skip
    first = ", ".join(["0.25"] * 26)
    assert "\nrefits\nseed    curve.loss" in shown
    assert f"\n0       {first}, ... (100 in all)" in shown
    assert max(map(len, shown.splitlines())) < 250


def test_of_many_classes_the_worst_are_shown() -> None:
    per_class = [
        {"class": n, "f1": 0.0 if n % 2 else 1 - n / 5000, "support": 1 - n % 2}
        for n in range(5000)
    ]
    counts = [(7, 1, 20), (7, 2, 3), (7, 3, 2), (7, 4, 1), (7, 7, 2), (4999, 0, 9)]
    report = {"per_class": per_class, "confusion": confusion_to_json(counts, 5000)}
    shown = show(replace(DIGITS, task_report={"y": report}))
    _, _, classes = shown.partition("\ny.per_class, the worst 50 of 5000 by f1\n")
    assert classes.splitlines()[2].split()[0] == "4998"
    _, _, matrix = shown.partition("\ny.confusion, the worst 2 of 5000 rows\n")
    rows = [line.split()[0] for line in matrix.splitlines()[:4]]
    assert (rows[0], rows[2:]) == ("class", ["7", "4999"])
    assert "1 (20), 2 (3), 3 (2), 1 more" in matrix.splitlines()[2]
    assert len(shown) < 20_000


def test_names_without_end_are_cut_where_a_run_is_shown() -> None:
    name = "m" * 100_000
    run = replace(
        DIGITS,
        objective=f"maximize {name}",
        notes=(name,) * 1000,
        scores={f"{number}{name}": Scores((0.5,) * 1000) for number in range(3)},
        verdicts=tuple(replace(v, gate=name, reason=name) for v in DIGITS.verdicts),
        trials=tuple(replace(trial, reason=name, traceback=name) for trial in DIGITS.trials),
        task_report={name: [{name: name}] * 1000, "matrix": [[1] * 5000] * 5000},
        data={"cuts": [name] * 1000, "names": [name] * 1000},
        error=name,
    )
    assert len(show(run)) < 500_000
    assert len(show_trial(run, 0)) < 20_000
    assert len(failure(run)) < 50_000
    assert len(summary_table([run, run])) < 50_000
    green = replace(run, status=RunStatus.PASSED, advice=(name,))
    assert len(undecided([green])) < 50_000


def test_the_headline_counts_what_is_undecided_and_each_run_once() -> None:
    green = replace(DIGITS, status=RunStatus.PASSED, verdicts=DIGITS.verdicts[1:2])
    missing = replace(green.verdicts[0], outcome=Outcome.NO_BASELINE)
    new = replace(green, verdicts=(*green.verdicts, missing))
    both = replace(new, verdicts=(*new.verdicts, DIGITS.verdicts[3]))
    assert headline([*[green] * 8, *[new] * 3, both, both]) == (
        "8 passed, 3 without baseline, 2 inconclusive"
    )
    strict = replace(both, status=RunStatus.FAILED)
    assert headline([green, strict, replace(new, status=RunStatus.ERROR)]) == (
        "1 failed, 1 error, 1 passed"
    )
    assert headline([]) == "no runs"


def test_a_part_that_was_cut_from_train_is_told_once_for_all_specs() -> None:
    test = "test: 40 of 200 samples cut from train, stratified by class, seed 0"
    one = replace(DIGITS, data={"cuts": [test]})
    other = replace(one, spec="spec_b.py::cnn", data={"cuts": [test, "validation: 40 of 160"]})
    assert all_cuts([one, other, DIGITS]) == (
        f"{test}: spec_digits.py::mlp, spec_b.py::cnn\nvalidation: 40 of 160: spec_b.py::cnn"
    )


def test_a_run_says_how_to_see_where_a_trial_failed() -> None:
    advice = "where trial 0 failed: modeltune show 20261120-211000-0a1b2c3d --trial 0"
    assert f"\n\n{advice}\n\n" in show(DIGITS)
    completed = replace(DIGITS, trials=DIGITS.trials[1:])
    assert "--trial" not in show(completed)


def test_a_failed_trial_is_shown_with_its_traceback() -> None:
    assert (
        show_trial(DIGITS, 0)
        == """\
run         20261120-211000-0a1b2c3d
spec        spec_digits.py::mlp
trial       0 of 2
status      failed
reason      OOM | killed
objective   maximize val_accuracy
values      units=32
epochs      0
seconds     0.5
seed        7
trained by  graph

traceback
Traceback (most recent call last):
  line 1, in mlp
MemoryError: killed"""
    )


def test_a_completed_trial_is_shown_with_its_score_and_curves() -> None:
    assert (
        show_trial(DIGITS, 1)
        == """\
run         20261120-211000-0a1b2c3d
spec        spec_digits.py::mlp
trial       1 of 2, the best
status      completed
objective   maximize val_accuracy
score       0.9611
best epoch  4
values      units=64, rate=0.001, norm=True
epochs      3 after 2 of trial 0
seconds     12.3
seed        4294967295
trained by  fit

learning curves
metric        first    last    lowest    highest    epochs
------------  -------  ------  --------  ---------  --------
val_accuracy  0.9      0.9611  0.9       0.9611     3

fit 1
metric        first    last    lowest    highest    epochs
------------  -------  ------  --------  ---------  --------
val_accuracy  0.5      nan     0.5       0.5        2

fit 2
metric        first    last    lowest    highest    epochs
------------  -------  ------  --------  ---------  --------
val_accuracy  0.9      0.9611  0.9       0.9611     3"""
    )


def test_a_failed_trial_without_a_traceback_says_why_there_is_none() -> None:
    run = replace(DIGITS, trials=(replace(DIGITS.trials[0], traceback=None),))
    assert show_trial(run, 0).endswith(
        "\n\nno traceback: the spec's code raised nothing, or an earlier modeltune that kept no "
        "tracebacks recorded this trial"
    )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([], "it has none"),
        ([3], "its trials are 3"),
        ([0, 1], "its trials are 0 to 1"),
        ([6, 1, 2, 4, 3], "its trials are 1 to 4, 6"),
    ],
)
def test_an_unknown_trial_is_told_which_there_are(numbers: list[int], message: str) -> None:
    run = replace(DIGITS, trials=tuple(replace(DIGITS.trials[1], id=n) for n in numbers))
    with pytest.raises(LookupError) as raised:
        show_trial(run, 9)
    assert raised.value.args == (f"run {DIGITS.id} has no trial 9: {message}",)


def test_a_red_run_is_shown_by_error_gates_and_the_way_to_the_rest() -> None:
    run = replace(DIGITS, verdicts=DIGITS.verdicts[:1], error="first line\n\n  second")
    assert (
        failure(run)
        == """\
spec_digits.py::mlp: red gates (1 of 1): accuracy >= 0.95 (measured 0.94999)

first line

second

gate                           measured    bound    outcome    reason
-----------------------------  ----------  -------  ---------  ---------------------
mt.metric("accuracy") >= 0.95  0.94999     0.95     failed     1e-05 below the bound

check           measured    bound    outcome    reason
--------------  ----------  -------  ---------  ------------------------------------------------------------
checks.overlap  2           0        warned     2 rows of test are in train (MT101: CHECKS.md#checksoverlap)

everything about this run: modeltune show 20261120-211000-0a1b2c3d
codes: failed run MT502, failed MT403, warned MT402, failed trial MT602, in docs/reference/outcomes.md"""
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.95, "0.95"), (0.123456, "0.1235"), (48122.0, "48122"), (12345.678, "12345.7"),
        (999.96, "1000"), (1234.5, "1234.5"), (1e-7, "1e-07"), (1e22, "1e+22"), (0.0, "0"), (-0.0, "0"),
        (-1.5, "-1.5"), (math.nan, "nan"), (-math.inf, "-inf"), (None, "-"),
    ],
)  # fmt: skip
def test_a_number_is_short_and_plain(value: float | None, text: str) -> None:
    assert number(value) == text


@law
@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_different_numbers_never_look_equal(measured: float, bound: float) -> None:
    assume(measured != bound)
    assert len({*distinct(measured, bound)}) == 2


@law
@given(st.floats(0.5, 1), st.integers(1, 40))
def test_a_failed_gate_never_prints_its_bound_as_measured(bound: float, steps: int) -> None:
    measured = bound
    for _ in range(steps):
        measured = math.nextafter(measured, 0)
    verdict = Verdict("g", Outcome.FAILED, measured, bound, "")
    cells = gate_table(replace(DIGITS, verdicts=(verdict,))).splitlines()[2].split()
    assert cells[1] != cells[2]
    assert float(cells[1]) < float(cells[2]) or float(cells[1]) != bound


@law
@given(st.floats(-1e300, 1e300))
def test_a_number_is_right_to_four_digits(value: float) -> None:
    assert math.isclose(float(number(value)), value, rel_tol=5.1e-4, abs_tol=0)


def test_mean_and_deviation_read_as_one() -> None:
    assert mean_std(Scores((0.5,))) == "0.5"
    assert mean_std(Scores((0.9, 0.91))) == "0.905 ± 0.0071"
    assert mean_std(Scores((0.9, math.nan))) == "nan ± nan"
    assert mean_std(Scores(())) == mean_std(None) == "-"


HOSTILE = ["1e3", "0x10", "\x1b[31mred\x1b[0m", "two\nlines", "tab\there", "\u202egnp.exe",
           "bell\x07", "nul\0", "\ud800", "a | b", "", "x" * 300, "::error::", "  padded  "]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_inert_in_one_row(text: str) -> None:
    verdict = Verdict(text, Outcome.ERROR, None, None, text)
    table = gate_table(replace(DIGITS, verdicts=(verdict,)))
    assert len(table.splitlines()) == 3
    assert table.splitlines()[2].startswith(clean(text).strip())
    table.encode()


def test_a_text_that_looks_like_a_number_stays_as_it_was_typed() -> None:
    table = gate_table(
        replace(DIGITS, verdicts=(Verdict("1e3", Outcome.ERROR, None, None, "0.10"),))
    )
    assert table.splitlines()[2].split() == ["1e3", "-", "-", "error", "0.10"]


@law
@given(runs)
def test_every_run_can_be_shown_and_printed(run: Run) -> None:
    trials = [show_trial(run, trial.id) for trial in run.trials]
    tables = (gate_table(run), trial_table(run), summary_table([run]))
    for text in (show(run), failure(run), *tables, *trials):
        text.encode()
        kinds = {unicodedata.category(character) for character in text.replace("\n", "")}
        assert not kinds & {"Cc", "Cf", "Cs"}
    assert len(gate_table(run).splitlines()) == (len(run.verdicts) + 2 if run.verdicts else 0)
    assert len(trial_table(run).splitlines()) == (len(run.trials) + 2 if run.trials else 0)


def test_tables_load_no_database() -> None:
    code = "import sys, modeltune.reports.tables; print('sqlalchemy' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_gates_that_are_green_without_having_passed_are_told() -> None:
    open_gate = Verdict("g >= mt.baseline", Outcome.NO_BASELINE, 0.5, None, "no accepted run")
    passed = Verdict("h >= 0.1", Outcome.PASSED, 0.5, 0.1, "h is 0.4 above the bound")
    green = replace(DIGITS, status=RunStatus.PASSED, verdicts=(open_gate, passed))
    red = replace(green, status=RunStatus.FAILED)

    # A red run's gates and checks are in its failure; its advice is for any run.
    assert (
        undecided([green, red])
        == """\
no_baseline: spec_digits.py::mlp: g >= mt.baseline: no accepted run
warned: spec_digits.py::mlp: checks.overlap: 2 rows of test are in train (MT101: CHECKS.md#checksoverlap)
advice: spec_digits.py::mlp: validate with 5 seeds
advice: spec_digits.py::mlp: validate with 5 seeds"""
    )


def test_a_check_that_fails_a_run_is_in_its_first_line() -> None:
    passed = (Verdict("h >= 0.1", Outcome.PASSED, 0.5, 0.1, "h is 0.4 above the bound"),)
    failed = replace(DIGITS.checks[0], outcome=Outcome.FAILED)
    run = replace(DIGITS, verdicts=passed, checks=(failed, *DIGITS.checks[1:]))
    assert failure(run).splitlines()[0] == ("spec_digits.py::mlp: red checks: checks.overlap")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_slice_that_is_not_finite_is_shown_also_of_a_recorded_run(value: float) -> None:
    part = SliceResult("class 1", 3, Outcome.FAILED, value, 0.5, "not finite", 1)
    results = SliceResults((part, part))
    verdict = Verdict("g", Outcome.FAILED, value, 0.5, "not finite", details=results)
    run = replace(DIGITS, verdicts=(verdict,))
    row = f"g       class 1  3          {value}         0.5      failed"
    assert row in show(run)
    assert row in show(from_json(to_json(run)))
