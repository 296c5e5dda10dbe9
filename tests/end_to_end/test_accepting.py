"""From the first run to a regression: accept, compare, rescore, rejudge, as a user types it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import scripted_runs
from tests.support.example import Example, source

ONE = "search=None, "
THREE = f"{ONE}validation=mt.Holdout(epochs=15, seeds=3), "
AGAINST = "gates=[mt.metric('accuracy') >= mt.baseline - 0.05]"
ACCEPTED = source(
    ONE + "gates=[mt.metric('accuracy') >= mt.baseline - 0.05, "
    "mt.metric('loss') <= mt.baseline * 2, mt.metric('f1') >= mt.baseline - 1, "
    "mt.gap('accuracy') <= mt.baseline, mt.metric('artifact_bytes') <= mt.baseline]"
)
"""One spec whose run has what every gate below compares with, so that it is trained once."""
SCRIPTED = "search=mt.Hyperband(mt.maximize('val_accuracy'), max_epochs=3), "
"""What the specs of a ``scripted`` project search by; their models are built by nobody."""
BASELINES = Path("baselines")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder that keeps what a spec of this text left behind when it was accepted."""
    folder = tmp_path_factory.mktemp("accepted")
    texts: list[str] = []

    def of(text: str) -> Path:
        if text not in texts:
            texts.append(text)
        return folder / str(texts.index(text))

    return of


@pytest.fixture
def accepted(project: Example, kept: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return a function that runs a spec, accepts it and returns its baseline.

    The same text is trained once; the tests after that get a copy of all it left behind.
    """

    def accepted(text: str) -> Path:
        left = kept(text)
        if left.exists():
            shutil.copytree(left, project.with_spec(text).write(), dirs_exist_ok=True)
        else:
            accept(project.with_spec(text))
            for name in (".modeltune", BASELINES.name):
                shutil.copytree(project.path / name, left / name)
        (path,) = (project.path / BASELINES).iterdir()
        return path

    return accepted


def verdict(project: Example, number: int = 0) -> dict[str, Any]:
    """Return a verdict of the one run of the last session, from its report."""
    (run,) = project.report()["runs"]
    document: dict[str, Any] = run["verdicts"][number]
    return document


def accept(project: Example) -> Path:
    """Run a project's spec, accept it and return its baseline."""
    result = project.run_pytest("--modeltune-accept-new", "--modeltune-reason=first")
    assert result.exit_code == 0, result.output
    (path,) = (project.path / BASELINES).iterdir()
    return path


def test_a_first_run_says_how_to_accept_it_and_the_command_does(
    project: Example,
) -> None:
    project = project.with_spec(source(ONE + AGAINST))
    project.run_pytest().assert_outcomes(passed=1)
    assert verdict(project)["outcome"] == "no_baseline"
    assert not (project.path / BASELINES).exists()
    command = verdict(project)["reason"].partition("to accept this run: ")[2]
    assert command == f'modeltune accept {project.history()[0].id} --reason "..."'

    status, output = project.run_modeltune(*command.split()[1:-1], "first")

    assert status == 0
    assert output.startswith(f"accepted spec_a.py::dense: run {project.history()[0].id}\n")
    project.run_pytest().assert_outcomes(passed=1)
    assert verdict(project)["outcome"] == "passed"
    assert project.history()[0].baseline == project.history()[1].id


def test_accept_new_leaves_what_is_accepted_and_accept_replaces_it(
    scripted: Example,
) -> None:
    scripted = scripted.with_spec(source(SCRIPTED))
    path = accept(scripted)
    first = path.read_text()

    scripted.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    assert path.read_text() == first
    result = scripted.run_pytest("--modeltune-accept", "--modeltune-reason=again")

    data = json.loads(path.read_text())
    assert data["why"] == "again"
    assert data["run"] == scripted.history()[0].id
    assert data["replaced"] == json.loads(first)["run"]
    result.stdout.fnmatch_lines([f"accepted spec_a.py::dense: run {data['run']}, was *"])


def test_a_red_run_is_not_accepted_and_says_why(scripted: Example) -> None:
    scripted = scripted.with_spec(source(SCRIPTED + "gates=[mt.metric('accuracy') >= 1.5]"))
    result = scripted.run_pytest("--modeltune-accept")

    assert result.exit_code == 1
    assert not (scripted.path / BASELINES).exists()
    result.stdout.fnmatch_lines(["not accepted: * only runs that passed can be; *"])


def test_only_what_ran_is_accepted(scripted: Example) -> None:
    scripted = scripted.with_spec(
        source(SCRIPTED) + f"\n@spec({SCRIPTED})\ndef other(hp): return compiled(hp)\n"
    )
    scripted.run_pytest("-k", "other", "--modeltune-accept").assert_outcomes(passed=1, deselected=1)

    assert [path.name for path in (scripted.path / BASELINES).iterdir()] == ["spec_a.py.other.json"]


def test_a_first_baseline_can_be_accepted_under_strict(scripted: Example) -> None:
    scripted = scripted.with_spec(source(f"{SCRIPTED}validation=mt.Holdout(seeds=3), {AGAINST}"))
    assert scripted.run_pytest("--modeltune-strict").exit_code == 1
    assert scripted.run_pytest("--modeltune-strict", "--modeltune-accept-new").exit_code == 0
    assert scripted.run_pytest("--modeltune-strict").exit_code == 0


def test_a_worse_recipe_is_red_and_the_reason_names_the_question(
    project: Example,
    accepted: Callable[[str], Path],
) -> None:
    sound = source(THREE + AGAINST).replace("[0.1, 0.01]", "[0.1]")
    accepted(sound)
    blind = sound.replace("keras.Input((2,)), ", "keras.Input((2,)), keras.layers.Rescaling(0.0), ")
    project = project.with_spec(blind)

    result = project.run_pytest()

    assert result.exit_code == 1
    regression = verdict(project)
    assert regression["outcome"] == "failed"
    assert regression["details"]["question"] == "recipe_on_new_data"
    asked = "is this recipe worse for new data and new seeds: crossed t on 3 seeds and 12 samples"
    assert asked in regression["reason"]


def test_one_refit_each_is_paired_on_samples(scripted: Example) -> None:
    scripted = scripted.with_spec(source(SCRIPTED + AGAINST))
    accept(scripted)
    scripted.run_pytest().assert_outcomes(passed=1)

    assert verdict(scripted)["details"]["question"] == "artifact"
    assert verdict(scripted)["details"]["test"] == "exact McNemar"


OTHER_DATA = ("np.random.default_rng(0)", "np.random.default_rng(1)")


def test_on_other_test_data_the_accepted_model_is_scored_anew(
    project: Example, accepted: Callable[[str], Path]
) -> None:
    accepted(ACCEPTED)
    project = project.with_spec(source(ONE + AGAINST).replace(*OTHER_DATA))

    project.run_pytest().assert_outcomes(passed=1)

    assert verdict(project)["outcome"] in ("passed", "inconclusive")
    assert verdict(project)["details"]["rescored"] is True
    assert "its model on today's test data" in verdict(project)["reason"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "was changed since"),
    ],
    ids=["gone", "swapped"],
)
def test_on_other_test_data_without_the_accepted_weights_nothing_is_compared(
    project: Example, accepted: Callable[[str], Path], spoil: Any, words: str
) -> None:
    accepted(ACCEPTED)
    (weights,) = (project.path / ".modeltune/artifacts").glob("*.weights.h5")
    spoil(weights)
    project = project.with_spec(source(ONE + AGAINST).replace(*OTHER_DATA))

    assert project.run_pytest().exit_code == 1

    assert verdict(project)["outcome"] == "invalid"
    assert words in verdict(project)["reason"]


def test_what_cannot_be_compared_may_be_replaced_by_who_says_so(scripted: Example) -> None:
    project = scripted.with_spec(source(SCRIPTED + AGAINST))
    accept(project)
    project = project.with_spec(source(SCRIPTED + "validation=mt.KFold(3), " + AGAINST))
    assert project.run_pytest("--modeltune-accept-new").exit_code == 1

    result = project.run_pytest("--modeltune-accept", "--modeltune-reason=folds now")

    assert result.exit_code == 0, result.output
    assert verdict(project)["outcome"] == "invalid"
    assert project.run_pytest().exit_code == 0
    assert verdict(project)["outcome"] == "passed"
    assert "paired t over folds on 3 folds" in verdict(project)["reason"]


def test_a_red_run_does_not_become_what_the_next_is_held_to(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = scripted.with_spec(
        source(SCRIPTED + "gates=[mt.metric('parameters') <= mt.previous]")
    )
    monkeypatch.setitem(scripted_runs.SCORES, "parameters", 6.0)
    project.run_pytest().assert_outcomes(passed=1)
    monkeypatch.setitem(scripted_runs.SCORES, "parameters", 47.0)
    assert project.run_pytest().exit_code == 1

    assert project.run_pytest().exit_code == 1


def test_a_copied_project_accepts_beside_its_own_specs(scripted: Example, tmp_path: Path) -> None:
    scripted = scripted.with_spec(source(SCRIPTED))
    scripted.run_pytest().assert_outcomes(passed=1)
    copied = tmp_path / "copied"
    shutil.copytree(scripted.path, copied)

    status, output = scripted.run_modeltune("accept", "-1", "--reason", "mine", folder=copied)

    assert status == 0, output
    assert (copied / BASELINES / "spec_a.py.dense.json").exists()
    assert not (scripted.path / BASELINES).exists()


def test_a_model_without_an_input_layer_is_validated(
    project: Example, accepted: Callable[[str], Path]
) -> None:
    unbuilt = source(ONE + AGAINST).replace("keras.Input((2,)), ", "")
    accepted(unbuilt)
    project = project.with_spec(unbuilt.replace(*OTHER_DATA))
    project.run_pytest().assert_outcomes(passed=1)
    assert verdict(project)["details"]["rescored"] is True


def test_another_split_is_not_compared(scripted: Example) -> None:
    accept(scripted.with_spec(source(SCRIPTED + AGAINST)))
    project = scripted.with_spec(source(SCRIPTED + "validation=mt.KFold(3), " + AGAINST))

    assert project.run_pytest().exit_code == 1
    assert verdict(project)["outcome"] == "invalid"
    assert "validated by Holdout, this one by KFold(k=3)" in verdict(project)["reason"]


def test_another_definition_of_a_metric_is_not_compared(
    project: Example, accepted: Callable[[str], Path]
) -> None:
    accepted(ACCEPTED)
    other = source(ONE + "gates=[mt.metric('loss') <= mt.baseline * 2]").replace(
        'loss="sparse_categorical_crossentropy"',
        "loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=7)",
    )
    project = project.with_spec(other)

    assert project.run_pytest().exit_code == 1
    assert verdict(project)["outcome"] == "invalid"
    assert "computed differently than by" in verdict(project)["reason"]


def test_an_edited_baseline_is_invalid(scripted: Example) -> None:
    scripted = scripted.with_spec(source(SCRIPTED + AGAINST))
    path = accept(scripted)
    path.write_text(path.read_text().replace('"why": "first"', '"why": "better"'))

    assert scripted.run_pytest().exit_code == 1
    assert verdict(scripted)["outcome"] == "invalid"
    assert f"{path} was edited" in verdict(scripted)["reason"]


def _deep(path: Path) -> None:
    path.write_text('{"format": 1, "run": ' + "[" * 100_000 + "]" * 100_000 + "}")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_a_hostile_baseline_is_invalid_for_its_own_spec_alone(scripted: Example) -> None:
    text = source(SCRIPTED + AGAINST)
    one = text[text.index("@spec(") :]
    names = ["good", "deep", "pipe", "nan", "digits"]
    scripted = scripted.with_spec(
        text[: text.index("@spec(")]
        + "\n\n".join(one.replace("def dense", f"def {name}") for name in names)
    )
    assert scripted.run_pytest("--modeltune-accept-new", "--modeltune-reason=x").exit_code == 0
    paths = {name: scripted.path / BASELINES / f"spec_a.py.{name}.json" for name in names}
    _deep(paths["deep"])
    _pipe(paths["pipe"])
    for name, number in {"nan": "NaN", "digits": "9" * 5000}.items():
        paths[name].write_text(
            paths[name].read_text().replace('"format": 1', f'"format": {number}')
        )

    result = scripted.run_pytest()

    assert result.exit_code == 1
    assert "INTERNALERROR" not in result.output
    verdicts = {
        run["spec"].partition("::")[2]: run["verdicts"][0] for run in scripted.report()["runs"]
    }
    assert verdicts.pop("good")["outcome"] == "passed"
    assert {verdict["outcome"] for verdict in verdicts.values()} == {"invalid"}
    for name, verdict in verdicts.items():
        assert f"{paths[name]} cannot be read (" in verdict["reason"]


def test_a_renamed_spec_finds_its_baseline_and_a_lost_one_is_reported(
    scripted: Example,
) -> None:
    scripted = scripted.with_spec(source(SCRIPTED + AGAINST))
    accept(scripted)
    scripted = scripted.with_spec(source(SCRIPTED + AGAINST, name="renamed"))
    result = scripted.run_pytest()
    assert verdict(scripted)["outcome"] == "no_baseline"
    result.stdout.fnmatch_lines(
        ["unused baseline: baselines/spec_a.py.dense.json: it belongs to no spec*"]
    )

    scripted = scripted.with_spec(
        source(SCRIPTED + AGAINST + ", aliases=['dense']", name="renamed")
    )
    result = scripted.run_pytest()

    assert verdict(scripted)["outcome"] == "passed"
    result.stdout.no_fnmatch_line("unused baseline*")


def test_a_baseline_is_not_called_unused_when_only_part_was_collected(scripted: Example) -> None:
    two = source(SCRIPTED) + f"\n@spec({SCRIPTED})\ndef other(hp): return compiled(hp)\n"
    plugins = {
        "filter.py": "def pytest_collection_modifyitems(items): items[:] = items[1:]",
        "skip.py": "def pytest_ignore_collect(collection_path):\n"
        "    return collection_path.name == 'spec_b.py' or None",
    }
    files = {"spec_b.py": two.replace("def other", "def failing")} | plugins
    scripted.pytester.syspathinsert(scripted.path)
    scripted = scripted.with_spec(two).with_files(files)
    scripted.run_pytest("--modeltune-accept").assert_outcomes(passed=4)
    red = two.replace(
        f"({SCRIPTED})\ndef other", f"({SCRIPTED}gates=[mt.metric('auc') >= 1])\ndef other"
    )
    scripted = scripted.with_spec(red)
    scripted.run_pytest().assert_outcomes(passed=3, failed=1)
    for arguments in (
        *(["--lf"], ["spec_a.py::other"], ["-k", "other"], ["--deselect=spec_a.py::dense"]),
        *(["--ignore=spec_b.py"], ["-p", "filter"], ["-p", "skip"]),
    ):
        result = scripted.run_pytest(*arguments)

        assert result.exit_code in (0, 1), arguments
        result.stdout.no_fnmatch_line("unused baseline*")


def test_a_baseline_of_a_file_in_another_folder_is_not_to_be_removed(scripted: Example) -> None:
    files = {
        "one/spec_x.py": source(SCRIPTED + AGAINST),
        "two/spec_y.py": source(SCRIPTED + AGAINST),
    }
    scripted = scripted.with_files(files)
    scripted.run_pytest("--modeltune-accept").assert_outcomes(passed=2)
    lost = scripted.path / "two" / BASELINES / "spec_x.py.dense.json"
    (scripted.path / "one" / BASELINES / "spec_x.py.dense.json").rename(lost)

    result = scripted.run_pytest("two")

    (said,) = [line for line in result.lines if line.startswith("unused baseline: ")]
    assert "one/spec_x.py::dense is in no file of this folder" in said
    assert "remove" not in said


def test_previous_and_median_look_back_without_accepting(scripted: Example) -> None:
    gates = "gates=[mt.metric('accuracy') >= mt.previous, mt.metric('accuracy') >= mt.median(3)]"
    scripted = scripted.with_spec(source(SCRIPTED + gates))
    scripted.run_pytest()
    assert verdict(scripted, 0)["outcome"] == verdict(scripted, 1)["outcome"] == "no_baseline"

    scripted.run_pytest().assert_outcomes(passed=1)

    assert verdict(scripted, 0)["outcome"] == verdict(scripted, 1)["outcome"] == "passed"


def test_more_seeds_are_bought_only_while_a_gate_is_inconclusive(
    project: Example,
    accepted: Callable[[str], Path],
) -> None:
    noisy = f"{ONE}validation=mt.Holdout(epochs=1, seeds=3), escalate=mt.seeds(max=5), "
    surely, never = (f"gates=[mt.metric('loss') <= mt.baseline{by}]" for by in (" + 9", " - 0.01"))
    accepted(source(noisy + surely))
    project.run_pytest().stdout.no_fnmatch_line("*validated under*")
    assert len(project.history()[0].scores["loss"].values) == 3
    otherwise_begun = "Dense(units, kernel_initializer='he_normal', "
    project = project.with_spec(source(noisy + never).replace("Dense(units, ", otherwise_begun))

    result = project.run_pytest()

    result.stdout.fnmatch_lines(
        ["*note: mt.metric* inconclusive, so the model is validated under 5 seeds"]
    )
    assert verdict(project)["outcome"] == "inconclusive"
    assert "crossed t on 5 seeds against 3 and 12 samples" in verdict(project)["reason"]
    assert verdict(project)["details"]["alpha"] == 0.025  # split over two looks
    assert len(project.history()[0].scores["loss"].values) == 5


def test_rejudging_trains_nothing_and_refuses_what_has_changed(project: Example) -> None:
    text = source(ONE + "gates=[mt.metric('accuracy') >= 0]")
    project = project.with_spec(text)
    assert project.run_pytest("--modeltune-rejudge").exit_code == 1
    project.run_pytest().assert_outcomes(passed=1)

    project = project.with_spec(text.replace("accuracy') >= 0", "accuracy') >= 1.5"))
    result = project.run_pytest("--modeltune-rejudge")
    assert result.exit_code == 1
    assert verdict(project)["outcome"] == "failed"
    assert len(project.history()) == 1

    project = project.with_spec(text.replace('activation="softmax"', 'activation="sigmoid"'))
    result = project.run_pytest("--modeltune-rejudge")
    assert result.exit_code == 1
    result.stdout.fnmatch_lines(["*no recorded run was re-judged: * changed since run *"])
    assert len(project.history()) == 1


def test_check_judges_a_run_of_the_history(project: Example) -> None:
    project = project.with_spec(source(ONE + "gates=[mt.metric('accuracy') >= 0]"))
    project.run_pytest().assert_outcomes(passed=1)

    status, output = project.run_modeltune("check", "-1")
    project = project.with_spec(source(ONE + "gates=[mt.metric('accuracy') >= 1.5]"))
    red, _ = project.run_modeltune("check", "-1")

    assert status == 0, output
    assert "(cached)" in output
    assert red == 1
    assert len(project.history()) == 1


def test_a_leak_is_red_before_anything_is_trained_when_checks_fail(
    project: Example,
) -> None:
    leaked = source(ONE + "checks='fail', gates=[mt.metric('accuracy') >= 0]").replace(
        'return mt.Data(train=(x.astype("float32")[part], y[part]))',
        "x = x.astype('float32'); return mt.Data((x, y), test=(x[:20], y[:20]))",
    )
    project = project.with_spec(leaked)

    result = project.run_pytest()

    assert result.exit_code == 1
    result.stdout.fnmatch_lines(["*nothing was trained, the data do not pass: checks.overlap: *"])
    (run,) = project.history()
    assert run.trials == ()
    assert [verdict.outcome.value for verdict in run.verdicts] == ["error"]
    assert "failed" in [check.outcome.value for check in run.checks]


def test_what_is_not_measured_of_other_data_is_not_compared(
    project: Example, accepted: Callable[[str], Path]
) -> None:
    gates = "gates=[mt.gap('accuracy') <= mt.baseline, mt.metric('artifact_bytes') <= mt.baseline]"
    accepted(ACCEPTED)
    larger = source(ONE + gates).replace(*OTHER_DATA)
    larger = larger.replace(
        "keras.layers.Dense(units,", "keras.layers.Dense(99), keras.layers.Dense(units,"
    )
    project = project.with_spec(larger)

    assert project.run_pytest().exit_code == 1

    assert verdict(project, 0)["outcome"] == "invalid"
    assert "has no value of gap(accuracy)" in verdict(project, 0)["reason"]
    assert verdict(project, 1)["outcome"] == "failed"


SCALE = """
@keras.saving.register_keras_serializable()
class Scale(keras.layers.Layer):
    def call(self, x): return x * 1.0

def compiled("""


def test_on_other_data_an_accepted_model_with_the_user_s_own_layers_is_not_trusted(
    project: Example,
    accepted: Callable[[str], Path],
) -> None:
    """The kept model would be built by today's layer, and a fault in it be no drop."""
    text = source(ONE + AGAINST).replace("def compiled(", SCALE)
    text = text.replace("keras.Input((2,)), ", "keras.Input((2,)), Scale(), ")
    accepted(text)
    project = project.with_spec(text.replace(*OTHER_DATA).replace("x * 1.0", "x * 0.0"))

    assert project.run_pytest().exit_code == 1

    assert verdict(project)["outcome"] == "invalid"
    assert "Scale of it may not be what it was" in verdict(project)["reason"]


def test_a_metric_of_the_report_is_not_one_compiled_under_its_name(
    project: Example,
    accepted: Callable[[str], Path],
) -> None:
    accepted(ACCEPTED)
    text = source(ONE + "gates=[mt.metric('f1') >= mt.baseline - 1]")
    compiled = "keras.metrics.SparseTopKCategoricalAccuracy(k=1, name='f1')"
    project = project.with_spec(
        text.replace('metrics=["accuracy"', f'metrics=["accuracy", {compiled}')
    )

    assert project.run_pytest().exit_code == 1
    assert verdict(project)["outcome"] == "invalid"
    assert "then by the report, not compiled" in verdict(project)["reason"]


def test_what_cannot_be_accepted_is_not_green(scripted: Example) -> None:
    scripted = scripted.with_spec(source(SCRIPTED + AGAINST))
    (scripted.path / BASELINES).write_text("a file where the folder should be")

    result = scripted.run_pytest("--modeltune-strict", "--modeltune-accept-new")

    assert result.exit_code == 1
    result.stdout.fnmatch_lines(["*cannot be written*"])


def test_accept_new_allows_nothing_where_something_is_accepted(
    project: Example, accepted: Callable[[str], Path]
) -> None:
    accepted(ACCEPTED)
    text = source(ONE + "gates=[mt.metric('top') >= mt.baseline]")
    compiled = "keras.metrics.SparseTopKCategoricalAccuracy(k=1, name='top')"
    project = project.with_spec(
        text.replace('metrics=["accuracy"', f'metrics=["accuracy", {compiled}')
    )

    assert project.run_pytest("--modeltune-strict", "--modeltune-accept-new").exit_code == 1
    assert verdict(project)["outcome"] == "no_baseline"


def test_what_was_not_measured_as_it_is_asked_today_is_not_rejudged(project: Example) -> None:
    cases = "mt.minimum_functionality([(np.array([9, 9], 'f4'), 1)])"
    part = "mt.metric('accuracy').on('all', lambda x, y: y >= 0, min_n=1) >= 0"
    text = source(f"{ONE}checks='warn', gates=[{cases}, {part}]")
    project.with_spec(text).run_pytest()
    for change in [("), 1)])", "), 0)])"), ("'all'", "'night'"), ("'warn'", "'fail'")]:
        assert text != text.replace(*change)

        result = project.with_spec(text.replace(*change)).run_pytest("--modeltune-rejudge")

        assert result.exit_code == 1
        result.stdout.fnmatch_lines(["*no recorded run was re-judged*"])


def test_a_latency_without_a_readable_baseline_is_not_served_as_the_first(
    project: Example,
) -> None:
    project = project.with_spec(source(ONE + "gates=[mt.metric('latency_ratio') <= 100]"))
    project.run_pytest().assert_outcomes(passed=1)
    (project.path / BASELINES).mkdir()
    (project.path / BASELINES / "spec_a.py.dense.json").write_text("{")

    assert project.run_pytest("--modeltune-reuse").exit_code == 1
    assert verdict(project)["outcome"] == "invalid"


def test_a_spec_of_the_same_name_in_another_folder_is_another_spec(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = "gates=[mt.metric('accuracy') >= mt.previous, mt.metric('accuracy') >= mt.baseline]"
    files = {f"{folder}/spec_x.py": source(SCRIPTED + gates) for folder in ("full", "smoke")}
    files |= {f"{folder}/__init__.py": "" for folder in ("full", "smoke")} | {"pyproject.toml": ""}
    project = scripted.with_files(files)

    def outcomes() -> list[str]:
        (run,) = project.report()["runs"]
        return [verdict["outcome"] for verdict in run["verdicts"]]

    project.run_pytest("full", "--modeltune-accept-new").assert_outcomes(passed=1)
    project.run_pytest("smoke").assert_outcomes(passed=1)
    assert outcomes() == ["no_baseline", "no_baseline"]
    monkeypatch.chdir(project.path / "full")
    project.run_pytest().assert_outcomes(passed=1)
    assert outcomes() == ["passed", "passed"]
    assert [run.spec for run in project.history()] == [
        "full/spec_x.py::dense", "smoke/spec_x.py::dense", "full/spec_x.py::dense"
    ]  # fmt: skip

    # As an earlier modeltune recorded them.
    with contextlib.closing(sqlite3.connect(project.path / ".modeltune/history.db")) as database:
        database.execute("UPDATE runs SET spec = 'spec_x.py::dense'")
        database.commit()
    monkeypatch.chdir(project.path)
    project.run_pytest("full").assert_outcomes(passed=1)
    assert outcomes() == ["passed", "passed"]
    status, listed = project.run_modeltune("history", "full/spec_x.py::dense")
    assert (status, listed.count("accuracy 0.75")) == (0, 3), listed
    status, refused = project.run_modeltune("history", "spec_x.py::dense")
    assert (status, "full/spec_x.py::dense, smoke/spec_x.py::dense" in refused) == (1, True)
