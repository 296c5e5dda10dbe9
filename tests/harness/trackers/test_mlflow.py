"""MLflow: what a real server has of a run, and that no trouble with it is trouble for the run."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow  # noqa: F401  a pytest inside this one must find it imported
import pytest
from mlflow import MlflowClient

from modeltune.ground.errors import ModeltuneError
from modeltune.ground.masked_urls import MaskedUrl
from modeltune.harness.trackers.mlflow import Unreachable, log
from modeltune.histories.artifacts import keep
from modeltune.plugin.mlflow_plugin import MlflowPlugin
from modeltune.records.json_form import from_json
from modeltune.records.runs import Run, RunStatus, Scores, Trial, TrialStatus
from tests.support.example import Example, scripted_source
from tests.support.hostile import HOSTILE, hostile_run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an MLflow server of this machine's own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--workers=1"]
    command += [f"--artifacts-destination={folder}/artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            if "running on" in line or "Listening at" in line:  # uvicorn, gunicorn
                break
        else:
            pytest.fail(f"mlflow server did not start:\n{(folder / 'output.txt').read_text()}")
        # A full pipe would stop the server.
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        drain.join()
        process.stdout.close()


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Return a client; what a test logs is in an experiment of its own."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return MlflowClient(server)


def logged(client: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the one run of an experiment that has no parent, and its child runs by name."""
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} <= {
        parent.info.run_id
    }
    return parent, children


def history_of(client: Any, run: Any, metric: str) -> list[tuple[int, float]]:
    points = client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in points)


def test_a_session_logs_its_run_trials_gates_model_and_report(
    scripted: Example, client: Any, server: str, request: pytest.FixtureRequest
) -> None:
    project = scripted.with_files({"model_specs/spec_scripted.py": scripted_source("mlp")})
    done = project.run_pytest(f"--modeltune-mlflow={server}")
    assert done.exit_code == 0
    assert "a plugin failed" not in done.output, done.output
    (run,) = done.history
    assert run.artifact
    assert run.best
    weights = (project.path / ".modeltune" / run.artifact.path).read_bytes()
    parent, children = logged(client, request.node.name)
    assert parent.info.run_name == run.spec == "model_specs/spec_scripted.py::mlp"
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"name": run.best.values["name"]}
    assert parent.data.metrics["accuracy"] == run.scores["accuracy"].mean
    assert parent.data.metrics["accuracy.std"] == run.scores["accuracy"].std
    assert history_of(client, parent, "accuracy.refit") == [(0, 0.75), (1, 0.75)]
    tags = parent.data.tags
    assert tags["modeltune.run"] == run.id
    assert tags["gate.1"].startswith('passed: mt.metric("accuracy") >= 0.5, measured 0.75: ')
    assert {*children} == {f"trial {trial.id}" for trial in run.trials} | {
        "refit seed 0",
        "refit seed 1",
    }
    for trial in run.trials:
        child = children[f"trial {trial.id}"]
        assert child.data.params == dict(trial.values)
        assert history_of(client, child, "objective") == [(trial.best_epoch, trial.score)]
        curve = trial.curve["val_accuracy"]
        expected = list(enumerate(curve, start=trial.initial_epoch + 1))
        assert history_of(client, child, "val_accuracy") == expected
    run_id = parent.info.run_id
    kept = client.download_artifacts(run_id, f"model/{Path(run.artifact.path).name}")
    assert Path(kept).read_bytes() == weights
    report = json.loads(Path(client.download_artifacts(run_id, "report/report.json")).read_text())
    assert from_json(report["runs"][0]) == run
    page = Path(client.download_artifacts(run_id, "report/report.md")).read_text()
    assert "spec_scripted.py" in page
    html = Path(client.download_artifacts(run_id, "report/report.html")).read_text()
    assert run.id in html


TRIAL = Trial(
    0, TrialStatus.FAILED, {"units": 32}, None, "out of memory", 0, 0, None, None, 1.0, 7, {}, "fit"
)
RUN = Run(
    "0a1b", "2026-11-20T21:10:00+00:00", "spec_a.py::b", "spec_a.py", RunStatus.ERROR, "min x"
)


def test_what_went_wrong_is_logged_as_such(
    tmp_path: Path, client: Any, server: str, request: pytest.FixtureRequest
) -> None:
    interrupted = replace(TRIAL, id=1, status=TrialStatus.COMPLETED, score=math.nan, best_epoch=2)
    scores = {"loss": Scores((math.nan, math.inf))}
    run = replace(RUN, trials=(TRIAL, interrupted), scores=scores, error="no\nway")
    log(run, tmp_path, server)
    parent, children = logged(client, request.node.name)
    assert parent.info.status == "FAILED"
    assert parent.data.tags["modeltune.status"] == "error"
    assert parent.data.tags["modeltune.error"] == "no\nway"
    assert children["trial 0"].info.status == "FAILED"
    assert children["trial 0"].data.tags["modeltune.reason"] == "out of memory"
    assert children["trial 1"].info.status == "FINISHED"
    assert math.isnan(children["trial 1"].data.metrics["objective"])


def test_a_value_too_long_for_mlflow_is_cut_and_said_to_be(
    tmp_path: Path, client: Any, server: str, request: pytest.FixtureRequest
) -> None:
    values: dict[str, str | int] = {"layout": "x" * 7000, **{f"p{i}": i for i in range(150)}}
    log(replace(RUN, trials=(replace(TRIAL, values=values),)), tmp_path, server)
    _, children = logged(client, request.node.name)
    data = children["trial 0"].data
    assert data.params["layout"].endswith("x... (7000 characters)")
    assert len(data.params) == 151, "MLflow takes 100 at a time"
    assert data.tags["modeltune.cut"] == "layout"


def test_hostile_names_are_logged_and_told_apart(
    tmp_path: Path, client: Any, server: str, request: pytest.FixtureRequest
) -> None:
    names = [text for text in HOSTILE.values() if text != ""]
    trial = replace(TRIAL, values=dict.fromkeys(names, "v"), curve=dict.fromkeys(names, (0.5,)))
    worst = hostile_run("../../<b>\0\ud800'; DROP TABLE runs; --")
    run = replace(worst, trials=(trial,), artifact=None, files={}, validation={})
    log(run, tmp_path, server)
    parent, children = logged(client, request.node.name)
    assert parent.info.run_name == "../../<b>\\x00\\ud800'; DROP TABLE runs; --"
    data = children["trial 0"].data
    assert len(data.params) == len(data.metrics) == len({*names})
    assert "fine" not in data.params
    assert {"1e3", "con"} <= data.params.keys(), "a name MLflow takes stays as it is"


def test_a_model_that_was_changed_since_is_not_logged(
    tmp_path: Path, client: Any, server: str, request: pytest.FixtureRequest
) -> None:
    kept = keep(tmp_path, "artifacts/0a1b.weights.h5", lambda path: path.write_bytes(b"weights"))
    (tmp_path / kept.path).write_bytes(b"Weights")
    with pytest.raises(
        ModeltuneError, match=r"the run is logged only in part: .*was changed since"
    ):
        log(replace(RUN, artifact=kept), tmp_path, server)
    parent, _ = logged(client, request.node.name)
    assert parent.info.status == "KILLED"
    assert not client.list_artifacts(parent.info.run_id, "model")


def test_a_server_that_is_down_costs_a_line_and_no_run(scripted: Example) -> None:
    project = scripted.with_files({"spec_scripted.py": scripted_source("mlp", "cnn")})
    uri = f"http://somebody:secret@127.0.0.1:{free_port()}"
    done = project.run_pytest("-q", f"--modeltune-mlflow={uri}")
    assert done.exit_code == 0
    (line,) = [line for line in done.lines if "a plugin failed" in line]
    assert "http://127.0.0.1:" in line
    assert "does not answer" in line
    assert "secret" not in done.output + done.stderr.str()
    assert ", ".join(run.id for run in done.history[::-1]) in line


def test_a_server_that_says_nothing_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"

        def page(run: Run, name: str) -> str:
            raise AssertionError("a page is made for nobody")

        plugin = MlflowPlugin(lambda run: MaskedUrl(uri), page)
        with pytest.raises(Unreachable, match="timed out") as first:
            plugin.pytest_modeltune_run_recorded(RUN, tmp_path)
    with pytest.raises(Unreachable) as second:
        plugin.pytest_modeltune_run_recorded(RUN, tmp_path)
    assert second.value is first.value


def test_a_server_that_refuses_is_asked_again_for_the_next_run(tmp_path: Path) -> None:
    asked = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(401)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        plugin = MlflowPlugin(
            lambda run: MaskedUrl(f"http://127.0.0.1:{server.server_port}"), lambda run, name: ""
        )
        try:
            for count in (1, 2):
                try:
                    # A run that ended in an error is logged while this goes its way.
                    raise FileNotFoundError("the data")
                except FileNotFoundError:
                    with pytest.raises(ModeltuneError, match=r"refuses: .*401") as refused:
                        plugin.pytest_modeltune_run_recorded(RUN, tmp_path)
                assert "the data" not in str(refused.value)
                assert not isinstance(refused.value, Unreachable)
                assert len(asked) == count
        finally:
            server.shutdown()
            thread.join()


def test_without_the_client_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(Unreachable, match=r"pip install 'modeltune\[mlflow\]'"):
        log(RUN, tmp_path, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("setting", "option", "expected"),
    [
        ("", None, None),
        ('mlflow = "http://team"', None, "http://team"),
        ('mlflow = "http://team"', "http://own", "http://own"),
        ('mlflow = "http://team"', "", None),
    ],
)
def test_the_option_comes_before_the_setting(
    scripted: Example, setting: str, option: str | None, expected: str | None
) -> None:
    pytester = scripted.pytester
    pytester.makepyprojecttoml(f"[tool.modeltune]\n{setting}\n")
    options = [] if option is None else [f"--modeltune-mlflow={option}"]
    config = pytester.parseconfigure(*options)
    session: Any = config.pluginmanager.getplugin("modeltune-session")
    run = replace(RUN, file=str(pytester.path / "spec_a.py"))
    assert session.mlflow(run) == (expected and MaskedUrl(expected))


@pytest.mark.parametrize(
    "uri",
    ["http://me:hunter2@127.0.0.1:word", "http://me:hunter2@[::1", "http://me:hunter2@127.0.0.1:0"],
)
def test_an_address_that_is_none_is_a_line_without_its_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no address like http") as refused:
        log(RUN, tmp_path, uri)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("uri", ["sqlite:///runs/m.db", "sqlite:////var/m.db", "http://host:1/"])
def test_an_address_without_a_password_reaches_the_client_as_it_is(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    def refuse(tracking_uri: str) -> Any:
        addresses.append(tracking_uri)
        raise ConnectionRefusedError

    monkeypatch.setattr("mlflow.MlflowClient", refuse)
    with pytest.raises(Unreachable, match="does not answer"):
        log(RUN, tmp_path, uri)
    assert addresses == [uri]


@pytest.mark.parametrize("uri", ["postgresql://me:hunter2@host/runs"])
def test_a_database_with_a_password_is_refused_by_a_line_without_it(
    uri: str, tmp_path: Path
) -> None:
    with pytest.raises(Unreachable, match="leave it to the driver") as refused:
        log(RUN, tmp_path, uri)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_user_and_password_reach_the_server_and_nothing_that_mlflow_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_error(401)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of the user")
    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(ModeltuneError) as refused:
                log(RUN, tmp_path, f"http://me:hunter%202@127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert asked == [f"Basic {base64.b64encode(b'me:hunter 2').decode()}"]
    assert refused.value.__traceback__
    below = refused.value.with_traceback(refused.value.__traceback__.tb_next)
    shown = traceback.TracebackException.from_exception(below, capture_locals=True)
    assert "hunter" not in "".join(shown.format())
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "of the user"


def test_our_own_variables_are_gone_afterwards(tmp_path: Path) -> None:
    before = dict(os.environ)
    with pytest.raises(Unreachable):
        log(RUN, tmp_path, f"http://127.0.0.1:{free_port()}")
    assert dict(os.environ) == before
