"""MLflow: a recorded run as one of its runs, with a child run per trial; sole importer of mlflow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modeltune.ground import ModeltuneError
from modeltune.histories import verify
from modeltune.records import SCHEMA, Json, Run, RunStatus, Trial, TrialStatus, to_json
from modeltune.reports import markdown
from modeltune.specs import Verdict

EXPERIMENT = "modeltune"
"""The experiment when MLFLOW_EXPERIMENT_NAME says none."""

CLIENT_SETTINGS = {
    # A server that is down holds up a run for half a minute, not for MLflow's own ten.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # pytest prints what there is to say, and nobody is told but the server that was named.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""MLflow's own variables, for as long as it is talked to, where the user has not set them."""

LONGEST_NAME = 200
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000
"""Characters MLflow takes; of a name and of a tag those of all its versions."""

ENDED = {
    RunStatus.PASSED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.ERROR: "FAILED",
    RunStatus.INTERRUPTED: "KILLED",
    TrialStatus.COMPLETED: "FINISHED",
    TrialStatus.FAILED: "FAILED",
}
"""MLflow's words for how something ended."""

MlflowClient = Any


class Unreachable(ModeltuneError):
    """There is no MLflow to talk to: names the server and what to do."""


def log(run: Run, folder: Path, uri: str, pages: Mapping[str, Callable[[], str]] = {}) -> str:
    """Log a recorded run, its trials, gates, model and report, and return MLflow's id of it.

    The run is one of the experiment MLFLOW_EXPERIMENT_NAME (default ``modeltune``). Of each
    trial there is a child run with its values as parameters, its curves as metrics by epoch,
    and ``objective``, its score; of each refit one with its curves. The run has the winner's
    values; per metric the mean over refits (``accuracy``), ``accuracy.std`` and, refit by
    refit, ``accuracy.refit``; gates as tags ``gate.1``, ``gate.2``, ...

    Args:
        run: as it is recorded.
        folder: what its artifacts' paths are relative to.
        uri: of the tracking server.
        pages: what makes more reports, by file name, beside report.md and report.json; asked
            once the server has answered.

    Raises:
        Unreachable: mlflow is not installed, or no server answers there.
        ModeltuneError: it answered, but refused, or not all could be logged; MLflow's run, if
            there is one, is then KILLED.
    """
    with _patience():
        client, experiment = _connected(uri)
        try:
            return _log(client, experiment, run, folder, pages)
        except Exception as error:
            raise ModeltuneError(f"not all of it is logged: {_said(error, uri)}") from error


def _log(
    client: MlflowClient,
    experiment: str,
    run: Run,
    folder: Path,
    pages: Mapping[str, Callable[[], str]],
) -> str:
    began = _milliseconds(run.created)
    ended = ENDED[run.status]
    with _started(client, experiment, run.spec, began, run.durations.total, ended) as parent:
        metrics = dict[str, list[tuple[int, float]]]()
        for name, scores in run.scores.items():
            metrics[name] = [(0, scores.mean)]
            if scores.std is not None:
                metrics[f"{name}.std"] = [(0, scores.std)]
                metrics[f"{name}.refit"] = list(enumerate(scores.values))
        if run.best is not None:
            metrics["objective"] = [(0, run.best.score)]
        values = run.best.values if run.best else {}
        _batch(client, parent, began, values, metrics, _tags(run))
        for trial in run.trials:
            _log_trial(client, experiment, parent, began, trial)
        for refit in run.validation.get("refits", ()):
            _log_refit(client, experiment, parent, began, refit)
        _log_files(client, parent, run, folder, pages)
    return parent


def _log_trial(
    client: MlflowClient, experiment: str, parent: str, began: int, trial: Trial
) -> None:
    name, status = f"trial {trial.id}", ENDED[trial.status]
    with _started(client, experiment, name, began, trial.seconds, status, parent) as child:
        metrics = _by_epoch(trial.curve, trial.initial_epoch)
        if trial.score is not None:
            metrics["objective"] = [(trial.best_epoch or 0, trial.score)]
        tags = {"modeltune.trial": str(trial.id), "modeltune.seed": str(trial.seed)}
        if trial.parent is not None:
            tags["modeltune.continues_trial"] = str(trial.parent)
        if trial.reason is not None:
            tags["modeltune.reason"] = trial.reason
        _batch(client, child, began, trial.values, metrics, tags)


def _log_refit(
    client: MlflowClient, experiment: str, parent: str, began: int, refit: Mapping[str, Json]
) -> None:
    seed, fold = refit["seed"], refit["fold"]
    name = f"refit seed {seed}" + ("" if fold is None else f" fold {fold + 1}")
    with _started(client, experiment, name, began, refit["seconds"], "FINISHED", parent) as child:
        metrics = _by_epoch(
            {
                metric: [float(value) for value in values]
                for metric, values in refit["curve"].items()
            },
            0,
        )
        _batch(client, child, began, {}, metrics, {"modeltune.refit": name})


def _log_files(
    client: MlflowClient,
    parent: str,
    run: Run,
    folder: Path,
    pages: Mapping[str, Callable[[], str]],
) -> None:
    """Log the reports of this run, then its model: files whose digests are those recorded."""
    document = {"schema": SCHEMA, "created": run.created, "runs": [to_json(run)]}
    texts = {"report.md": markdown([run]), "report.json": json.dumps(document, indent=1)}
    texts |= {name: page() for name, page in pages.items()}
    for name, text in texts.items():
        client.log_text(parent, text, f"report/{name}")
    for artifact in (run.artifact, run.files.get("architecture")):
        if artifact is not None:
            client.log_artifact(parent, str(verify(folder, artifact)), "model")


def _tags(run: Run) -> dict[str, str]:
    facts = {
        "modeltune.run": run.id,
        "modeltune.spec": run.spec,
        "modeltune.status": run.status.value,
        "modeltune.objective": run.objective,
        "modeltune.search": json.dumps(run.search),
        "modeltune.fit": json.dumps(run.fit),
        "modeltune.validation": json.dumps(
            {name: value for name, value in run.validation.items() if name != "refits"}
        ),
        "modeltune.baseline": run.baseline,
        "modeltune.error": run.error,
        # Columns of MLflow's own pages.
        "mlflow.source.name": run.file,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run.environment.get("git_revision"),
    }
    gates = {f"gate.{n}": _gate(verdict) for n, verdict in enumerate(run.verdicts, start=1)}
    return {name: str(value) for name, value in facts.items() if value is not None} | gates


def _gate(verdict: Verdict) -> str:
    measured = "" if verdict.measured is None else f", measured {verdict.measured:.6g}"
    return f"{verdict.outcome.value}: {verdict.gate}{measured}: {verdict.reason}"


def _by_epoch(
    curve: Mapping[str, Sequence[float]], inherited: int
) -> dict[str, list[tuple[int, float]]]:
    return {
        metric: list(enumerate(values, start=inherited + 1)) for metric, values in curve.items()
    }


def _batch(
    client: MlflowClient,
    run: str,
    at: int,
    values: Mapping[str, bool | int | float | str],
    metrics: Mapping[str, Sequence[tuple[int, float]]],
    tags: Mapping[str, str],
) -> None:
    """Log parameters, metrics by step and tags in as few requests as MLflow allows.

    What is too long for it is cut, and the tag ``modeltune.cut`` names it.
    """
    from mlflow.entities import Metric, Param, RunTag

    texts = {name: _text(str(value)) for name, value in values.items()}
    cut = [name for name, text in texts.items() if len(text) > LONGEST_PARAMETER]
    told = {name: _text(text) for name, text in tags.items()}
    cut += [name for name, text in told.items() if len(text) > LONGEST_TAG]
    if cut:
        told["modeltune.cut"] = ", ".join(map(_text, cut))
    client.log_batch(
        run,
        [
            Metric(_name(metric), value, at, step)
            for metric, steps in metrics.items()
            for step, value in steps
        ],
        [Param(_name(name), _clipped(text, LONGEST_PARAMETER)) for name, text in texts.items()],
        [RunTag(name, _clipped(text, LONGEST_TAG)) for name, text in told.items()],
        synchronous=True,
    )


@contextlib.contextmanager
def _started(
    client: MlflowClient,
    experiment: str,
    name: str,
    began: int,
    seconds: float,
    status: str,
    parent: str | None = None,
) -> Iterator[str]:
    """Lend the id of a new run, which ends with this status, or KILLED when not all is logged."""
    tags = {} if parent is None else {"mlflow.parentRunId": parent}
    shown = _clipped(_text(name), LONGEST_NAME)
    run = client.create_run(experiment, began, tags, shown).info.run_id
    try:
        yield run
    except BaseException:
        with contextlib.suppress(Exception):
            client.set_terminated(run, "KILLED")
        raise
    client.set_terminated(run, status, began + round(1000 * seconds))


def _connected(uri: str) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id, once a server has answered."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise Unreachable(
            f"MLflow's client is not installed ({error}): pip install 'modeltune[mlflow]'"
        ) from error
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    try:
        client = MlflowClient(tracking_uri=uri)
        if (found := client.get_experiment_by_name(name)) is None:
            try:
                return client, client.create_experiment(name)
            except MlflowException:
                # Another session has made it since.
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        return client, found.experiment_id
    except Exception as error:
        server, said = _masked(uri, uri), _said(error, uri)
        # What a server answers, a wrong password's 401 too, is no error of the system.
        if any(isinstance(each, OSError) for each in _chain(error)):
            raise Unreachable(f"{server} does not answer: {said}") from error
        raise ModeltuneError(f"{server} refuses: {said}") from error


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Have MLflow give up soon and print nothing, unless the user's environment says otherwise."""
    ours = {name: value for name, value in CLIENT_SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on to what was wrong first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _said(error: BaseException, uri: str) -> str:
    """Return what was wrong first, in one line of bearable length, without the server's password."""
    *_, error = _chain(error)
    return _clipped(_masked(" ".join(f"{type(error).__name__}: {error}".split()), uri), 300)


def _masked(text: str, uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return text.replace(uri, "***")
    secrets = {parts.password, unquote(parts.password or ""), parts.query}
    for secret in secrets - {None, ""}:
        text = text.replace(str(secret), "***")
    return text


def _milliseconds(created: str) -> int:
    try:
        return round(1000 * datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0


def _name(name: str) -> str:
    """Return a key MLflow takes, another one for any other name: letters, digits and ``_ - .``."""
    found = re.sub(r"[^\w.-]", "_", name)
    if found == name and name.strip(".") and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{found[:LONGEST_NAME].lstrip('.')}-{digest}"


def _text(text: str) -> str:
    """Return text that databases take: what is no UTF-8, or NUL, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _clipped(text: str, longest: int) -> str:
    said = f"... ({len(text)} characters)"
    return text if len(text) <= longest else text[: longest - len(said)] + said
