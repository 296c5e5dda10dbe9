"""A kept run gives its numbers back, its model leaves as a file, and changed bytes reach no Keras."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sample_runs import DIGITS
from tiny_specs import IN_PROCESS, load_everything, source

from modeltune.cli import main
from modeltune.histories.store import open_store
from modeltune.reports.replays import Replayed, disagreeing, replay
from modeltune.runs import Artifact, Run, Scores

FIELDS = (
    "validation=mt.Holdout(epochs=2, seeds=2), "
    "gates=[mt.metric('accuracy') >= 0, mt.gap('accuracy') <= 1, "
    "mt.gain_over_dummy('accuracy') >= -9]"
)
CUSTOM = """
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

"""
MODELTUNE = str(Path(sys.executable).with_name("modeltune"))


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    load_everything()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", IN_PROCESS)
    pytester.makepyprojecttoml("")
    return pytester


def trained(project: pytest.Pytester, text: str) -> Run:
    """Return the run of a spec file."""
    project.makepyfile(spec_a=text)
    result = project.runpytest()
    assert result.ret == 0, result.stdout.str()
    with open_store(f"sqlite:///{project.path}/.modeltune/history.db") as store:
        return store.run("-1")


def modeltune(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the command came to."""
    return subprocess.run([MODELTUNE, *arguments], capture_output=True, text=True, check=False)


def weights(project: pytest.Pytester, run: Run) -> Path:
    assert run.artifact is not None
    return project.path / ".modeltune" / run.artifact.path


def test_recorded_numbers_come_back_and_other_code_or_data_do_not_pass(
    project: pytest.Pytester,
) -> None:
    text = source(FIELDS)
    run = trained(project, text)

    done = modeltune("replay", "-1")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"run {run.id} of spec_a.py::dense, its own weights on today's test part"
    assert {line.split()[0] for line in lines[3:-1]} == {*run.scores}
    assert {"gap(accuracy)", "gain_over_dummy(accuracy)", "artifact_bytes"} <= {*run.scores}
    assert all(line.endswith(" same") for line in lines[3:-1])
    assert lines[-1] == f"all {len(run.scores)} numbers come back"

    # Other code to the same effect: the numbers do, and it is said.
    file = project.path / "spec_a.py"
    file.write_text(text.replace("units=2):", "units=1 + 1):"))
    done = modeltune("replay", run.id[:8])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "code changed since: code in spec_a.py",
        f"all {len(run.scores)} numbers come back",
    ]

    # To another effect: what is scored is today's model.
    file.write_text(text.replace('activation="softmax"', 'activation="softplus"'))
    done = modeltune("replay", "-1")
    assert done.returncode == 1
    assert "numbers do not come back" in done.stdout, done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("loss "))
    assert line.endswith(" differs")

    # A model that the weights do not fit.
    file.write_text(text.replace("units=2):", "units=3):"))
    done = modeltune("replay", "-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the model of the run cannot be rebuilt by the spec: " in done.stderr
    assert done.stderr.endswith("; code changed since: code in spec_a.py\n")

    file.write_text(text.replace("3.0 * y", "2.0 * y"))
    done = modeltune("replay", "-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"modeltune: run {run.id} of spec_a.py::dense cannot be replayed: its data changed since, "
        "test, train, validation; restore them, or check out the commit it ran at; "
        "code changed since: the data function\n"
    )


def test_a_spec_that_pytest_does_not_find_is_said(project: pytest.Pytester) -> None:
    trained(project, source())
    file = project.path / "spec_a.py"
    file.write_text(source(name="renamed"))
    done = modeltune("replay", "-1")
    assert done.returncode == 1
    assert "not found: " in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"modeltune: spec_a.py::dense was not rebuilt: pytest {file}::dense ended with exit code 4, "
        "see above"
    )
    file.unlink()
    done = modeltune("replay", "-1")
    assert done.stderr == (
        f"modeltune: {file}, the file of spec_a.py::dense, is not there; "
        "name the folder it is in: --specs DIR\n"
    )


def test_a_data_function_gets_its_fixtures_and_a_model_without_architecture_its_spec(
    project: pytest.Pytester,
) -> None:
    text = CUSTOM.join(
        source("data=given, validation=mt.KFold(2, epochs=1)").split("\ndef compiled", 1)
    )
    text = text.replace(
        "class Doubled", "def given(part):\n    return blobs(part)\n\nclass Doubled"
    )
    text = text.replace("    return 2 * x\n\n", "    return 2 * x\n\ndef compiled")
    text = text.replace("keras.Input((2,)), ", "keras.Input((2,)), Doubled(), ")
    project.makeconftest("import pytest\n@pytest.fixture\ndef part(): return slice(50)")
    run = trained(project, text)

    done = modeltune("replay", "-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nnot evaluated again: fold_" in done.stdout

    done = modeltune("export", "-1", "model.keras")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("written: model.keras (")
    assert f", run {run.id} of spec_a.py::dense\nbuilt by its spec " in done.stdout
    assert "for its architecture alone does not make it (TypeError: " in done.stdout
    assert (project.path / "model.keras").is_file()

    shutil.move(project.path / "spec_a.py", project.mkdir("elsewhere"))
    done = modeltune("export", "-1", "again.keras")
    assert done.returncode == 1
    assert "so its spec has to build the model: " in done.stderr
    shutil.move(project.path / "conftest.py", project.path / "elsewhere")
    assert modeltune("export", "-1", "again.keras", "--specs", "elsewhere").returncode == 0


def test_an_exported_model_is_compiled_and_scores_what_was_recorded(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    from modeltune.loading import load

    text = source(FIELDS)
    run = trained(project, text)
    (project.path / "spec_a.py").unlink()
    capsys.readouterr()

    assert main(["export", "-1", "model.keras"]) == 0

    size = (project.path / "model.keras").stat().st_size
    assert capsys.readouterr() == (
        f"written: model.keras ({size} bytes), run {run.id} of spec_a.py::dense\n"
        "built by its kept architecture; the run's own weights, compiled, its optimizer as before "
        "training\n",
        "",
    )
    names = {"__name__": "spec_a"}
    exec(text, names)
    test = load(names["dense"]).test  # type: ignore[arg-type]
    model = keras.models.load_model("model.keras")
    assert model.optimizer.name == "adam"
    scores = model.evaluate(test.x, test.y, verbose=0, return_dict=True)
    recorded = {name: run.scores[name].values[0] for name in ("accuracy", "loss")}
    assert scores == pytest.approx(recorded)

    before = (project.path / "model.keras").read_bytes()
    assert main(["export", "-1", "model.keras"]) == 1
    assert capsys.readouterr().err == (
        "modeltune: model.keras exists; name another file, nothing is overwritten\n"
    )
    assert (project.path / "model.keras").read_bytes() == before
    assert not [*project.path.glob(".*.keras")]


@pytest.mark.parametrize("how", ["truncated", "swapped", "flipped"])
def test_changed_weights_are_refused_before_keras_is_loaded(
    project: pytest.Pytester, how: str
) -> None:
    run = trained(project, source())
    file = weights(project, run)
    sound = file.read_bytes()
    changed = {
        "truncated": sound[:-1],
        "swapped": bytes(len(sound)),
        "flipped": sound[:100] + bytes([sound[100] ^ 1]) + sound[101:],
    }[how]
    file.write_bytes(changed)
    for command in (["replay", "-1"], ["export", "-1", "model.keras"]):
        code = (
            f"import sys; from modeltune.cli import main; code = main({command!r}); "
            "print('keras' in sys.modules); sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "False\n")
        assert f"{file} was changed since it was recorded: {len(changed)} bytes" in done.stderr
    assert not (project.path / "model.keras").exists()


def test_a_changed_architecture_is_refused_too(project: pytest.Pytester) -> None:
    run = trained(project, source())
    file = project.path / ".modeltune" / run.files["architecture"].path
    file.write_text(file.read_text().replace("softmax", "sigmoid"))
    done = modeltune("export", "-1", "model.keras")
    assert done.returncode == 1
    assert f"{file} was changed since it was recorded" in done.stderr


def test_a_run_without_a_model_says_how_it_ended(project: pytest.Pytester) -> None:
    with open_store(f"sqlite:///{project.path}/.modeltune/history.db") as store:
        store.record(replace(DIGITS, artifact=None))
    said = f"modeltune: run {DIGITS.id} of spec_digits.py::mlp kept no model: it ended as failed\n"
    assert modeltune("replay", "-1").stderr == said
    assert modeltune("export", "-1", "model.keras").stderr == said


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
    replayed = Replayed(again, ("the build function",), ("the version of keras was 3.14, is 3.15",))
    assert disagreeing(run, replayed) == ["accuracy"]
    assert (
        replay(run, replayed)
        == """\
run 20261120-211000-0a1b2c3d of spec_digits.py::mlp, its own weights on today's test part
metric    recorded    again    difference
--------  ----------  -------  ------------  -------
loss      0.21        0.21     1e-07         same
accuracy  0.95        0.9489   -0.0011       differs
r2        nan         nan      -             same
not evaluated again: latency_ratio
the version of keras was 3.14, is 3.15
code changed since: the build function
1 of 3 numbers do not come back"""
    )
