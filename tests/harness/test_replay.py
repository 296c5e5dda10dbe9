"""A kept run gives its numbers back, its model leaves as a file, and changed bytes reach no Keras."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune import harness
from modeltune.cli import main
from modeltune.harness.replay import replay_from_json, replay_to_json, rescore_run
from modeltune.histories.store import open_store
from modeltune.records.runs import Artifact, Run, Scores
from modeltune.records.verdicts import Outcome
from modeltune.reports.replays import Replay, disagreements, replay_report
from tests.support import process_specs
from tests.support.example import Example, source
from tests.support.histories import DIGITS

GATES = (
    "gates=[mt.metric('accuracy') >= 0, mt.gap('accuracy') <= 1, "
    "mt.gain_over_dummy('accuracy') >= -9]"
)
TEXT = source(f"validation=mt.Holdout(epochs=2, seeds=2), {GATES}")
CUSTOM = """
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

"""
LEARNED = """
import keras
import keras_tuner
import numpy as np
import modeltune as mt

def labels():
    return np.tile([0, 1], 20)

def texts():
    words = np.random.default_rng(0).choice(["a", "b", "c", "d"], (40, 3))
    x = np.array([" ".join([*row, "no yes".split()[label]]) for row, label in zip(words, labels())])
    return mt.Data((x.astype(object), labels()))

def numbers():
    return mt.Data((np.random.default_rng(0).integers(0, 5, (40, 3)) + 3 * labels()[:, None], labels()))

def declared(data):
    return mt.spec(
        data=data, search=None,
        validation=mt.Holdout(epochs=1, seeds=1), gates=[mt.metric("accuracy") >= 0],
    )

def compiled(model):
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model

def head():
    return keras.layers.Dense(1, activation="sigmoid")

@declared(texts)
def adapted_in_build(hp):
    known = keras.layers.TextVectorization(output_mode="tf_idf")
    known.adapt(texts().train[0])
    text = keras.Input((), dtype="string")
    return compiled(keras.Model(text, head()(known(text))))

class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        size = dict(max_tokens=12, pad_to_max_tokens=True)
        self.known = keras.layers.IntegerLookup(output_mode="multi_hot", **size)
        self.head = head()

    def call(self, x):
        return self.head(self.known(x))

class Adapts(keras_tuner.HyperModel):
    def build(self, hp):
        return compiled(Net())

    def fit(self, hp, model, x, y, **kwargs):
        model.known.adapt(x)
        return model.fit(x, y, **kwargs)

adapted_in_fit = declared(numbers)(Adapts())

@declared(numbers)
def with_code(hp):
    code = keras.layers.Lambda(lambda x: x / 5)
    return compiled(keras.Sequential([keras.Input((3,)), code, head()]))
"""
MODELTUNE = str(Path(sys.executable).with_name("modeltune"))

Modeltune = Callable[..., tuple[int, str, str]]
"""A command in this process: what it returns and prints."""


@pytest.fixture(scope="module")
def recorded(keras_is_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Return a project in which a run of ``TEXT`` is recorded, not to be changed, and the run."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "pyproject.toml").touch()
    file = folder / "spec_a.py"
    file.write_text(TEXT)
    names: dict[str, Any] = {"__name__": "spec_a", "__file__": str(file)}
    exec(compile(TEXT, file, "exec"), names)
    store = f"sqlite:///{folder}/.modeltune/history.db"
    return folder, mt.run(names["dense"], store=store, listen=lambda event: None)


@pytest.fixture
def copied(recorded: tuple[Path, Run], project: Example) -> Run:
    """Return the run, of which the working directory is a copy that may be changed."""
    folder, run = recorded
    shutil.copytree(folder, project.path, dirs_exist_ok=True)
    return run


@pytest.fixture
def modeltune(
    project: Example,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Modeltune:
    """Return what does a command in this process, the pytest it starts included: Keras is here."""

    def pytest_here(
        command: Sequence[str], env: dict[str, str], **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        assert command[:3] == [sys.executable, "-m", "pytest"]
        with monkeypatch.context() as within:
            within.setattr(os, "environ", env)
            done = project.run_pytest(*command[3:])
        # It prints what it has captured.
        capsys.readouterr()
        out, err = done.output.encode(), done.stderr.str().encode()
        return subprocess.CompletedProcess(command, done.exit_code, out, err)

    def do(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with monkeypatch.context() as within:
            within.setattr(subprocess, "run", pytest_here)
            code = main(arguments)
        return code, *capsys.readouterr()

    return do


def trained(project: Example) -> Run:
    """Return the run of a project's spec."""
    done = project.run_pytest()
    assert done.exit_code == 0, done.output
    return done.history[0]


def weights(run: Run) -> Path:
    assert run.artifact is not None
    return Path(".modeltune", run.artifact.path)


def test_the_command_shows_that_recorded_numbers_come_back(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS")
    command = [MODELTUNE, "replay", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"run {copied.id} of spec_a.py::dense, its own weights on today's test part"
    assert {line.split()[0] for line in lines[3:-1]} == {*copied.scores}
    assert {"gap(accuracy)", "gain_over_dummy(accuracy)", "artifact_bytes"} <= {*copied.scores}
    assert all(line.endswith(" same") for line in lines[3:-1])
    assert lines[-1] == f"all {len(copied.scores)} numbers agree with the recorded ones"


def test_a_data_function_that_dies_says_so_and_where(copied: Run, modeltune: Modeltune) -> None:
    dying = "    import os; os.kill(os.getpid(), 11)\n    y = np.arange"
    Path("spec_a.py").write_text(TEXT.replace("    y = np.arange", dying, 1))
    code, out, err = modeltune("replay", "-1")
    assert (code, out) == (1, "")
    assert err.startswith(
        "modeltune: the process that holds the data was killed by signal 11 (SIGSEGV), peak memory "
    )
    assert "in blobs" in err


@pytest.mark.parametrize("command", [["replay", "-1"], ["export", "-1", "out.keras"]], ids=str)
def test_a_build_function_that_dies_ends_the_command_with_one_error(
    copied: Run, modeltune: Modeltune, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # As of a model with code of its own, which the spec has to build.
    monkeypatch.setattr(harness, "export_kept", lambda *arguments: "its architecture has code")
    Path("spec_a.py").write_text(
        TEXT.replace("(hp):", "(hp):\n    import os; os.kill(os.getpid(), 11)")
    )
    code, out, err = modeltune(*command)
    assert (code, out) == (1, "")
    assert "the process that holds the data was killed by signal 11 (SIGSEGV), peak memory " in err
    assert not Path("out.keras").exists()


def test_a_run_on_a_shuffled_stream_that_processes_trained_is_replayed(tmp_path: Path) -> None:
    spec, store = process_specs.with_shuffled_stream, f"sqlite:///{tmp_path}/history.db"
    run = mt.run(spec, store=store, workers=2, listen=lambda event: None)
    assert {trial.status.value for trial in run.trials} == {"completed"}
    (streams,) = (check for check in run.checks if check.gate == "checks.streams")
    # Nothing is wrong with the stream, but rows are not compared.
    assert streams.outcome is Outcome.INCONCLUSIVE
    with open_store(store) as history:
        replayed = rescore_run(spec, {}, run, history)
    assert disagreements(run, replayed) == []
    assert {"accuracy", "loss"} <= {*replayed.again}
    assert (replayed.code, replayed.notes) == ((), ())


def test_other_code_is_named_also_when_its_numbers_come_back(
    copied: Run, modeltune: Modeltune
) -> None:
    Path("spec_a.py").write_text(TEXT.replace("units=2):", "units=1 + 1):"))
    code, out, _ = modeltune("replay", copied.id[:8])
    assert code == 1
    assert out.splitlines()[-2:] == [
        "code changed since: code in spec_a.py",
        f"all {len(copied.scores)} numbers agree with the recorded ones",
    ]


def test_what_is_scored_is_the_model_that_the_spec_builds_today(
    copied: Run, modeltune: Modeltune
) -> None:
    Path("spec_a.py").write_text(TEXT.replace('activation="softmax"', 'activation="softplus"'))
    code, out, _ = modeltune("replay", "-1")
    assert code == 1
    assert "numbers differ from the recorded ones" in out, out
    (line,) = (line for line in out.splitlines() if line.startswith("loss "))
    assert line.endswith(" differs")


def test_what_the_model_measures_no_more_is_named(copied: Run, modeltune: Modeltune) -> None:
    Path("spec_a.py").write_text(TEXT.replace(', metrics=["accuracy"]', ""))
    code, out, _ = modeltune("replay", "-1")
    assert code == 1
    assert (
        "\nnot evaluated again: accuracy, gap(accuracy), gain_over_dummy(accuracy), "
        "which the model that the spec builds today does not measure\n"
    ) in out


def test_a_model_that_the_weights_do_not_fit_is_said(copied: Run, modeltune: Modeltune) -> None:
    Path("spec_a.py").write_text(TEXT.replace("units=2):", "units=3):"))
    code, out, err = modeltune("replay", "-1")
    assert (code, out) == (1, "")
    assert "the spec cannot rebuild the run's model: " in err
    assert err.endswith("; code changed since: code in spec_a.py\n")


def test_other_data_are_refused(copied: Run, modeltune: Modeltune) -> None:
    Path("spec_a.py").write_text(TEXT.replace("3.0 * y", "2.0 * y"))
    assert modeltune("replay", "-1") == (
        1,
        "",
        f"modeltune: run {copied.id} of spec_a.py::dense cannot be replayed: its data changed "
        "since, test, train, validation; restore them, or check out the commit it ran at; "
        "code changed since: the data function\n",
    )


def test_a_spec_that_pytest_does_not_find_is_said(
    project: Example, copied: Run, modeltune: Modeltune
) -> None:
    file = project.path / "spec_a.py"
    file.write_text(source(name="renamed"))
    code, _, err = modeltune("replay", "-1")
    assert code == 1
    assert "not found: " in err
    assert err.splitlines()[-1] == (
        f"modeltune: spec_a.py::dense was not rebuilt: pytest {file}::dense ended with exit code 4, "
        "see above"
    )
    file.unlink()
    _, _, err = modeltune("replay", "-1", "--specs", str(project.path))
    recorded_at = copied.file
    assert err == (
        f"modeltune: {recorded_at}, the file of spec_a.py::dense, is not used: it lies outside "
        f"{project.path}, or in a hidden folder; name another folder: --specs DIR\n"
    )


def test_the_kept_fold_is_scored_on_its_own_parts_under_the_spec_s_fixtures(
    project: Example, modeltune: Modeltune
) -> None:
    """Replay and export what only its spec can build: a layer of the user's, data of a fixture."""
    text = CUSTOM.join(
        source(f"data=given, search=None, validation=mt.KFold(2, epochs=1), {GATES}").split(
            "\ndef compiled", 1
        )
    )
    text = text.replace(
        "class Doubled", "def given(part):\n    return blobs(part)\n\nclass Doubled"
    )
    text = text.replace("    return 2 * x\n\n", "    return 2 * x\n\ndef compiled")
    text = text.replace("keras.Input((2,)), ", "keras.Input((2,)), Doubled(), ")
    conftest = "import pytest\n@pytest.fixture\ndef part(): return slice(50)"
    run = trained(project.with_spec(text).with_files({"conftest.py": conftest}))

    code, out, err = modeltune("replay", "-1")
    assert (code, err) == (0, ""), out + err
    assert {"fold_accuracy", "fold_loss", "fold_f1", "gap(accuracy)"} <= {*run.scores}
    assert {line.split()[0] for line in out.splitlines()[3:-1]} == {*run.scores}
    assert out.splitlines()[-1] == f"all {len(run.scores)} numbers agree with the recorded ones"

    # It is the recorded validation that says what the refit was given.
    edited = text.replace("mt.KFold(2, epochs=1)", "mt.Holdout(epochs=1)")
    project.with_spec(edited).write()
    code, out, _ = modeltune("replay", "-1")
    assert (code, *out.splitlines()[-2:]) == (
        0,
        "the declaration of validation changed since",
        f"all {len(run.scores)} numbers agree with the recorded ones",
    )

    code, out, err = modeltune("export", "-1", "model.keras")
    assert (code, err) == (0, ""), err
    assert out.startswith("written: model.keras (")
    assert f", run {run.id} of spec_a.py::dense\nbuilt by its spec " in out
    assert "because its architecture alone does not make it (TypeError: " in out
    assert (project.path / "model.keras").is_file()

    (project.path / "elsewhere").mkdir()
    shutil.move(project.path / "spec_a.py", project.path / "elsewhere")
    code, _, err = modeltune("export", "-1", "again.keras")
    assert code == 1
    assert "so its spec has to build the model: " in err
    shutil.move(project.path / "conftest.py", project.path / "elsewhere")
    assert modeltune("export", "-1", "again.keras", "--specs", "elsewhere")[0] == 0


def test_an_exported_model_is_compiled_and_scores_what_was_recorded(
    copied: Run, modeltune: Modeltune
) -> None:
    import keras

    from modeltune.engine.data.loading import load_data

    Path("spec_a.py").unlink()

    code, *printed = modeltune("export", "-1", "model.keras")
    assert not code, printed

    size = Path("model.keras").stat().st_size
    assert (code, *printed) == (
        0,
        f"written: model.keras ({size} bytes), run {copied.id} of spec_a.py::dense\n"
        "built by its kept architecture; compiled, with the run's own weights and an optimizer as "
        "before training\n",
        "",
    )
    names: dict[str, Any] = {"__name__": "spec_a"}
    exec(TEXT, names)
    test = load_data(names["dense"]).test
    model = keras.models.load_model("model.keras")
    assert model.optimizer.name == "sgd"
    scores = model.evaluate(test.x, test.y, verbose=0, return_dict=True)
    expected = {name: copied.scores[name].values[0] for name in ("accuracy", "loss")}
    assert scores == pytest.approx(expected)

    before = Path("model.keras").read_bytes()
    message = "modeltune: model.keras exists; name another file, nothing is overwritten\n"
    assert modeltune("export", "-1", "model.keras") == (1, "", message)
    assert Path("model.keras").read_bytes() == before
    assert not [*Path().glob(".*.keras")]


def learned_run(project: Example, name: str) -> tuple[Run, dict[str, Any]]:
    """Return a run of a spec in ``LEARNED``, and the names of that file."""
    done = project.with_spec(LEARNED).run_pytest("-k", name)
    assert done.exit_code == 0, done.output
    names: dict[str, Any] = {"__name__": "spec_a", "__file__": str(project.path / "spec_a.py")}
    exec(compile(LEARNED, project.path / "spec_a.py", "exec"), names)
    return done.history[0], names


def test_what_a_layer_learned_is_in_the_exported_model(
    keras_is_loaded: None, project: Example, modeltune: Modeltune
) -> None:
    import keras

    from modeltune.engine.data.loading import load_data

    run, names = learned_run(project, "adapted_in_build")
    Path("spec_a.py").unlink()

    code, out, err = modeltune("export", "-1", "model.keras")

    assert (code, err) == (0, ""), err
    assert "built by its kept architecture" in out
    test = load_data(names["adapted_in_build"]).test
    model = keras.models.load_model("model.keras")
    score = model.evaluate(keras.ops.convert_to_tensor(test.x.tolist()), test.y, verbose=0)[0]
    assert score == pytest.approx(run.scores["loss"].values[0], rel=1e-4)
    assert modeltune("export", "-1", "model.weights.h5")[1].splitlines()[-1] == (
        "a weights file of Keras holds no vocabulary: adapt StringLookup, TextVectorization again, "
        "or export to a file that ends in .keras"
    )


def test_what_a_subclassed_model_learned_while_fitted_is_replayed_and_exported(
    keras_is_loaded: None, project: Example, modeltune: Modeltune
) -> None:
    import keras

    from modeltune.engine.data.loading import load_data

    run, names = learned_run(project, "adapted_in_fit")

    code, out, err = modeltune("replay", "-1")
    assert (code, err) == (0, ""), out + err
    code, out, err = modeltune("export", "-1", "model.keras")

    assert (code, err) == (0, ""), err
    assert out.splitlines()[-1] == (
        "load it with custom_objects={'Net': Net}, code that is not Keras's own"
    )
    test = load_data(names["adapted_in_fit"]).test
    model = keras.models.load_model("model.keras", custom_objects={"Net": names["Net"]})
    score = model.evaluate(test.x, test.y, verbose=0)[0]
    assert score == pytest.approx(run.scores["loss"].values[0], rel=1e-4)


def test_a_file_that_keras_would_not_load_is_not_written_but_its_weights_are(
    keras_is_loaded: None, project: Example, modeltune: Modeltune
) -> None:
    _, names = learned_run(project, "with_code")

    code, out, err = modeltune("export", "-1", "model.keras")

    assert (code, out) == (1, "")
    assert "model.keras is not written: Keras cannot load the file again: it holds a Lambda" in err
    assert not [*Path().glob("*model.keras")]
    code, out, err = modeltune("export", "-1", "model.weights.h5")
    assert (code, err) == (0, "")
    assert "the run's own weights alone" in out
    with pytest.warns(UserWarning, match="optimizer"):  # whose state is no weight
        names["with_code"](None).load_weights("model.weights.h5")


@pytest.mark.parametrize("how", ["truncated", "swapped", "flipped"])
def test_changed_weights_are_refused_before_keras_is_loaded(copied: Run, how: str) -> None:
    file = weights(copied)
    sound = file.read_bytes()
    changed = {
        "truncated": sound[:-1],
        "swapped": bytes(len(sound)),
        "flipped": sound[:100] + bytes([sound[100] ^ 1]) + sound[101:],
    }[how]
    file.write_bytes(changed)
    code = (
        "import sys; from modeltune.cli import main; "
        "print(main(['replay', '-1']), main(['export', '-1', 'model.keras']), 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1 False\n"
    message = f"{file.absolute()} was changed since it was recorded: {len(changed)} bytes"
    assert done.stderr.count(message) == 2
    assert not Path("model.keras").exists()


def test_a_changed_architecture_is_refused_too(copied: Run, modeltune: Modeltune) -> None:
    file = Path(".modeltune", copied.files["architecture"].path)
    file.write_text(file.read_text().replace("softmax", "sigmoid"))
    code, _, err = modeltune("export", "-1", "model.keras")
    assert code == 1
    assert f"{file.absolute()} was changed since it was recorded" in err


def test_a_run_without_a_model_says_how_it_ended(project: Example, modeltune: Modeltune) -> None:
    with open_store(f"sqlite:///{project.write()}/.modeltune/history.db") as store:
        store.record(replace(DIGITS, artifact=None))
    message = (
        f"modeltune: run {DIGITS.id} of spec_digits.py::mlp kept no model: it ended as failed\n"
    )
    assert modeltune("replay", "-1") == (1, "", message)
    assert modeltune("export", "-1", "model.keras") == (1, "", message)


def test_the_replay_of_a_kept_refit_shows_what_differs() -> None:
    run = replace(
        DIGITS,
        scores={
            "loss": Scores((0.21, 0.19)),
            "accuracy": Scores((0.95, 0.9489)),
            "r2": Scores((float("nan"), 1.0)),
            "latency_ratio": Scores((1.5,)),
        },
        artifact=Artifact("a", "b", 1, 0),
    )
    again = {"loss": 0.2100001, "accuracy": 0.9489, "r2": float("nan")}
    replayed = Replay(again, ("the build function",), ("the version of keras was 3.14, is 3.15",))
    assert disagreements(run, replayed) == ["accuracy"]
    assert (
        replay_report(run, replayed)
        == """\
run 20261120-211000-0a1b2c3d of spec_digits.py::mlp, its own weights on today's test part
metric    recorded    again    difference
--------  ----------  -------  ------------  -------
loss      0.21        0.21     1e-07         same
accuracy  0.95        0.9489   -0.0011       differs
r2        nan         nan      -             same
not evaluated again: latency_ratio, timed beside the model that was accepted then
the version of keras was 3.14, is 3.15
code changed since: the build function
1 of 3 numbers differ from the recorded ones"""
    )


def test_a_random_metric_is_said_to_be_random_and_held_against_nothing() -> None:
    run = replace(
        DIGITS,
        scores={"loss": Scores((0.21,)), "mae": Scores((0.5,))},
        artifact=Artifact("a", "b", 1, 0),
    )
    replayed = Replay({"loss": 0.29, "mae": 0.5}, random=("loss", "fold_loss"))
    assert disagreements(run, replayed) == []
    said = replay_report(run, replayed)
    assert "random: loss: each evaluation of the same weights gives another number" in said
    assert said.endswith("the other 1 number agrees with the recorded ones")
    assert replay_from_json(json.loads(json.dumps(replay_to_json(replayed)))) == replayed
    assert disagreements(run, replace(replayed, again={"loss": 0.29, "mae": 0.6})) == ["mae"]
