"""Log a recorded run to MLflow as a run of its own, with a child run per trial and refit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modeltune.ground import MaskedUrl, ModeltuneError, Secrets, error_text, mask_urls
from modeltune.histories import verify
from modeltune.records import SCHEMA, Json, Run, RunStatus, Trial, TrialStatus, Verdict, to_json
from modeltune.reports import markdown

EXPERIMENT = "modeltune"
"""The experiment when MLFLOW_EXPERIMENT_NAME is not set."""

CLIENT_SETTINGS = {
    # A server that is down then delays a run by half a minute; by default it would be ten.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # pytest prints the messages, and only the named server may learn about a run.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""MLflow's environment variables while we log, except for those that the user has set."""

LONGEST_NAME = 200
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000
"""The most characters that every supported version of MLflow accepts."""

ENDED = {
    RunStatus.PASSED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.ERROR: "FAILED",
    RunStatus.INTERRUPTED: "KILLED",
    RunStatus.CRASHED: "KILLED",
    TrialStatus.COMPLETED: "FINISHED",
    TrialStatus.FAILED: "FAILED",
}
"""MLflow's status for each of ours."""

MlflowClient = Any


class Unreachable(ModeltuneError):
    """MLflow is not installed, or its server does not answer; the text says what to do."""


def log(
    run: Run,
    folder: Path,
    uri: str | MaskedUrl,
    pages: Mapping[str, Callable[[], str | None]] = {},
) -> str:
    """Log a recorded run with its trials, gates, model and reports, and return MLflow's id for it.

    The run belongs to the experiment MLFLOW_EXPERIMENT_NAME (default ``modeltune``). It has the
    best trial's values as parameters, gates as tags ``gate.1``, ``gate.2``, ..., and for each
    metric the mean over refits (``accuracy``), ``accuracy.std``, and the single refits in
    ``accuracy.refit``. Each trial is a child run with its values as parameters, its curves as
    metrics by epoch, and its score as ``objective``. Each refit is a child run with its curves.

    Args:
        run: the run as it is recorded.
        folder: the folder that the paths of the run's artifacts are relative to.
        uri: the tracking server. User and password in it reach MLflow as its environment variables,
            so that nothing of MLflow shows them.
        pages: functions that render further reports, by file name, besides report.json and
            report.md, or another report.md; they are called only once the server has answered.
            One that returns None is left out.

    Raises:
        Unreachable: mlflow is not installed, or the server does not answer.
        ModeltuneError: the server refused, or logging failed before its end; MLflow's run, if
            it exists, then has the status KILLED.
    """
    address, secrets = _without_password(MaskedUrl(uri))
    del uri
    handled = sys.exception()
    with _set_environment(secrets):
        client, experiment = _connect(address, secrets)
        try:
            return _log(client, experiment, run, folder, pages)
        except Exception as error:
            raise ModeltuneError(
                f"the run is logged only in part: {_cause_of(error, secrets, handled)}"
            ) from error


def _log(
    client: MlflowClient,
    experiment: str,
    run: Run,
    folder: Path,
    pages: Mapping[str, Callable[[], str | None]],
) -> str:
    began = _milliseconds(run.created)
    ended = ENDED[run.status]
    with _start_run(client, experiment, run.spec, began, run.durations.total, ended) as parent:
        metrics = dict[str, list[tuple[int, float]]]()
        for name, scores in run.scores.items():
            metrics[name] = [(0, scores.mean)]
            if scores.std is not None:
                metrics[f"{name}.std"] = [(0, scores.std)]
                metrics[f"{name}.refit"] = list(enumerate(scores.values))
        if run.best is not None and run.best.score is not None:
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
    with _start_run(client, experiment, name, began, trial.seconds, status, parent) as child:
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
    with _start_run(client, experiment, name, began, refit["seconds"], "FINISHED", parent) as child:
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
    pages: Mapping[str, Callable[[], str | None]],
) -> None:
    """Log the reports of this run, then the files of its model, after checking their digests."""
    document = {"schema": SCHEMA, "created": run.created, "runs": [to_json(run)]}
    reports: Mapping[str, Callable[[], str | None]] = {
        "report.md": lambda: markdown([run]),
        "report.json": lambda: json.dumps(document, indent=1),
        **pages,
    }
    for name, report in reports.items():
        if (text := report()) is not None:
            client.log_text(parent, text, f"report/{name}")
    for artifact in (run.artifact, run.files.get("architecture")):
        if artifact is not None:
            client.log_artifact(parent, str(verify(folder, artifact, run.id)), "model")


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
    return f"{verdict.outcome.value}: {verdict.gate}{measured}: {verdict.explanation}"


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

    Texts that are too long for MLflow are cut; the tag ``modeltune.cut`` names them.
    """
    from mlflow.entities import Metric, Param, RunTag

    texts = {name: _text(str(value)) for name, value in values.items()}
    cut = [name for name, text in texts.items() if len(text) > LONGEST_PARAMETER]
    tag_texts = {name: _text(text) for name, text in tags.items()}
    cut += [name for name, text in tag_texts.items() if len(text) > LONGEST_TAG]
    if cut:
        tag_texts["modeltune.cut"] = ", ".join(map(_text, cut))
    client.log_batch(
        run,
        [
            Metric(_name(metric), value, at, step)
            for metric, steps in metrics.items()
            for step, value in steps
        ],
        [Param(_name(name), _clip(text, LONGEST_PARAMETER)) for name, text in texts.items()],
        [RunTag(name, _clip(text, LONGEST_TAG)) for name, text in tag_texts.items()],
        synchronous=True,
    )


@contextlib.contextmanager
def _start_run(
    client: MlflowClient,
    experiment: str,
    name: str,
    began: int,
    seconds: float,
    status: str,
    parent: str | None = None,
) -> Iterator[str]:
    """Lend the id of a new run; at the end it gets this status, or KILLED if logging failed."""
    tags = {} if parent is None else {"mlflow.parentRunId": parent}
    title = _clip(_text(name), LONGEST_NAME)
    run = client.create_run(experiment, began, tags, title).info.run_id
    try:
        yield run
    except BaseException:
        with contextlib.suppress(Exception):
            client.set_terminated(run, "KILLED")
        raise
    client.set_terminated(run, status, began + round(1000 * seconds))


def _connect(address: str, secrets: Secrets) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id, once a server has answered."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise Unreachable(
            f"MLflow's client is not installed ({error}): pip install 'modeltune[mlflow]'"
        ) from error
    name = _text(os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)
    handled = sys.exception()
    try:
        client = MlflowClient(tracking_uri=address)
        if (experiment := client.get_experiment_by_name(name)) is None:
            try:
                return client, client.create_experiment(name)
            except MlflowException:
                # Another session may have made it meanwhile.
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return client, experiment.experiment_id
    except Exception as error:
        server, cause = secrets.mask(address), _cause_of(error, secrets, handled)
        # An answer, such as 401 for a wrong password, is not an OSError.
        if any(isinstance(origin, OSError) for origin in _chain(error, handled)):
            raise Unreachable(f"{server} does not answer: {cause}") from error
        raise ModeltuneError(f"{server} refuses: {cause}") from error


def _without_password(uri: MaskedUrl) -> tuple[str, Secrets]:
    """Return the address without user and password, and these as MLflow's environment variables.

    Raises:
        Unreachable: it is no address, or that of a database with a password.
    """
    try:
        parts = urlsplit(uri.reveal())
        user, password, query = parts.username, parts.password, parts.query
        is_address = parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        # The error would show the address.
        raise Unreachable("the MLflow server has no address like http://127.0.0.1:5000")
    hidden = {"query": query} if query else {}
    if not password:
        # As it is: a path in a database's address would lose its slashes.
        return uri.reveal(), Secrets(hidden | ({"user": user} if user else {}))
    if parts.scheme not in ("http", "https"):
        # Only the client of a server takes it from the environment; others show their address.
        raise Unreachable(
            "MLflow would show the password in the address of a database; leave it to the "
            "driver, as a .pgpass file does, or name a server"
        )
    hidden |= {"MLFLOW_TRACKING_USERNAME": unquote(user or "")}
    hidden |= {"MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), Secrets(hidden)


@contextlib.contextmanager
def _set_environment(secrets: Secrets) -> Iterator[None]:
    """Make MLflow give up soon, print nothing and know its user and password.

    What the user's environment says about giving up and printing stays.
    """
    names = [name for name in secrets if name.startswith("MLFLOW_")]
    before = Secrets({name: os.environ[name] for name in names if name in os.environ})
    names += [name for name in CLIENT_SETTINGS if name not in os.environ]
    given = {**CLIENT_SETTINGS, **secrets.reveal()}
    os.environ.update({name: given[name] for name in names})
    del given
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before.reveal())


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, the error it was raised from, and so on to the first one.

    A run that ends in an error is logged while that error is ``handled``: it is no cause of ours.
    """
    current: BaseException | None = error
    while current is not None and current is not handled:
        yield current
        current = current.__cause__ or current.__context__


def _cause_of(error: BaseException, secrets: Secrets, handled: BaseException | None) -> str:
    """Return the first error of a chain in one short line, without the server's password."""
    *_, error = _chain(error, handled)
    return _clip(mask_urls(secrets.mask(" ".join(error_text(error).split()))), 300)


def _milliseconds(created: str) -> int:
    try:
        return round(1000 * datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0


def _name(name: str) -> str:
    """Return a key that MLflow accepts, of letters, digits and ``_ - .``, different for each name."""
    key = re.sub(r"[^\w.-]", "_", name)
    if key == name and name.strip(".") and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[:LONGEST_NAME].lstrip('.')}-{digest}"


def _text(text: str) -> str:
    """Return text that databases accept, with NUL and invalid UTF-8 as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _clip(text: str, longest: int) -> str:
    note = f"... ({len(text)} characters)"
    return text if len(text) <= longest else text[: longest - len(note)] + note
