"""Replay a recorded run or export its model, with the run's own weights, checked by digest."""

from __future__ import annotations

import contextlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modeltune.engine import quietly
from modeltune.ground import (
    DataError,
    HistoryError,
    ModeltuneError,
    SearchError,
    SpecError,
    error_text,
    write_durably,
)
from modeltune.harness.engines import lend_engine_alone
from modeltune.harness.run_differences import differing_code
from modeltune.histories import Store, copy_to, verify
from modeltune.records import (
    ESTIMATOR,
    PREDICTOR,
    Artifact,
    Event,
    Json,
    Note,
    OperatingPoint,
    Run,
    Values,
    export_file,
    exports_of,
    from_plain,
    of_export,
    plain,
    values_of_kept,
)
from modeltune.reports import Replay, recorded_scores
from modeltune.specs import (
    Holdout,
    KFold,
    LiteRT,
    Onnx,
    Refit,
    Scoring,
    Spec,
    Validation,
    changed_parts,
    run_identity,
)

MODEL, WEIGHTS = ".keras", ".weights.h5"
"""How the names of files end to which Keras writes a whole model, and its weights alone."""

SKOPS = ".skops"
"""How the name of a file of skops ends, to which an estimator is written."""

POINT = ".operating_point.json"
"""How the name of the file ends that keeps the threshold of an exported model."""


def kept_weights(run: Run, history: Store) -> Path:
    """Return the file of the run's own weights, whose digest is the recorded one.

    Raises:
        HistoryError: none were kept, or the file is missing or was changed.
    """
    if run.artifact is None or run.best is None:
        raise HistoryError(
            f"run {run.id} of {run.spec} kept no model: it ended as {run.status.value}"
        )
    return verify(history.folder, run.artifact, run.id)


def refuse_unkept(run: Run) -> None:
    """Refuse a run whose estimator was not kept.

    Raises:
        HistoryError: says why there is none, and what to do.
    """
    if why := run.model.get("not_kept"):
        raise HistoryError(f"run {run.id} of {run.spec} kept no estimator, for {why}")


def check_target(target: Path) -> None:
    """Refuse a file name that no model is written to, or a file that exists.

    Raises:
        HistoryError: it is refused; says what to write instead.
    """
    if not target.name.endswith((MODEL, WEIGHTS, SKOPS)):
        raise HistoryError(
            f"{target}: Keras writes a model to a file that ends in {MODEL}, and its weights alone to "
            f"one that ends in {WEIGHTS}; an estimator is written to one that ends in {SKOPS}"
        )
    _refuse_existing(target)


def _refuse_existing(target: Path) -> None:
    """Refuse a file that exists, or whose folder does not."""
    if target.exists() or target.is_symlink():
        raise HistoryError(f"{target} exists; name another file, nothing is overwritten")
    if not target.absolute().parent.is_dir():
        raise HistoryError(f"{target}: there is no folder {target.absolute().parent}")


def export_kept(run: Run, history: Store, target: Path) -> str | tuple[str, ...]:
    """Write the model from its kept architecture, or its weights alone.

    Returns:
        Notes on what was written; or, as a str, why the spec has to build the model.

    Raises:
        HistoryError: a file of the run is missing or was changed, or the target is refused.
    """
    check_target(target)
    if run.model.get("kind") == PREDICTOR:
        raise HistoryError(
            f"run {run.id} of {run.spec}: {run.model.get('name')} is no Keras model and is not kept, only "
            "what it predicted; it is where the spec's build function takes it from"
        )
    is_estimator = run.model.get("kind") == ESTIMATOR
    if is_estimator != target.name.endswith(SKOPS):
        name = run.model.get("name") if is_estimator else "a Keras model"
        ending = SKOPS if is_estimator else f"{MODEL} or {WEIGHTS}"
        raise HistoryError(
            f"run {run.id} of {run.spec}: {name} is written to a file that ends in {ending}"
        )
    weights = kept_weights(run, history)
    check_point_file(run, target)
    if is_estimator:
        return (*_copy_estimator(run, history, weights, target), *write_points(run, target))
    if is_of_weights(target):
        return (*_write_weights(run, history, weights, target), *write_points(run, target))
    kept = run.files.get("architecture")
    if kept is None:
        return "its architecture was not kept"
    architecture = verify(history.folder, kept, run.id)
    with quietly():
        from modeltune.engine import of_architecture

        model = of_architecture(architecture, weights)
    if isinstance(model, str):
        return f"its architecture alone does not make it ({model})"
    return (*_write(model, target), *write_points(run, target))


def copy_export(run: Run, history: Store, name: str, target: Path) -> tuple[str, ...]:
    """Write the kept file of a run's export to a new file; return notes on it.

    Raises:
        HistoryError: the run has no such export, its file is missing or was changed, or the target is
            refused.
    """
    exports = exports_of(run)
    if name not in exports:
        known = ", ".join(exports) or "none"
        raise HistoryError(f"run {run.id} of {run.spec} has no export {name!r}; it has: {known}")
    kept = export_file(run, name)
    if kept is None:
        why = exports[name].problem or "its file was not kept"
        raise HistoryError(f"run {run.id} of {run.spec}: the export {name!r} was not made: {why}")
    suffix = Path(kept.path).suffix
    if not target.name.endswith(suffix):
        raise HistoryError(
            f"{target}: the export {name!r} is {exports[name].declared}; name a file that ends in {suffix}"
        )
    _refuse_existing(target)
    check_point_file(run, target)
    verify(history.folder, kept, run.id)
    _write_new(target, lambda path: copy_to(history.folder, kept, run.id, path))
    return write_points(run, target)


def point_file(target: Path) -> Path:
    """Return the file beside an exported model that says from where on it says yes."""
    endings = (WEIGHTS, MODEL, SKOPS, LiteRT.SUFFIX, Onnx.SUFFIX)
    ending = next((end for end in endings if target.name.endswith(end)), "")
    return target.with_name(f"{target.name.removesuffix(ending)}{POINT}")


def check_point_file(run: Run, target: Path) -> None:
    """Refuse to write a model whose operating point has no place beside it.

    Raises:
        HistoryError: there is such a file already.
    """
    beside = point_file(target)
    if points_of_run(run) and (beside.exists() or beside.is_symlink()):
        raise HistoryError(f"{beside} exists; name another file, nothing is overwritten")


def points_of_run(run: Run) -> dict[str, Json]:
    """Return by output from where on the kept model of a run says yes, where that was chosen or declared."""
    return {
        name: table["operating_point"]
        for name, table in run.task_report.items()
        if isinstance(table, Mapping) and "operating_point" in table
    }


def write_points(run: Run, target: Path) -> tuple[str, ...]:
    """Write beside an exported model from where on it says yes; return notes on it.

    Raises:
        HistoryError: the file cannot be written.
    """
    points = points_of_run(run)
    if not points:
        return ()
    beside = point_file(target)
    document = {"run": run.id, "spec": run.spec, "model": target.name, "outputs": points}
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    _write_new(beside, lambda path: path.write_text(text, encoding="utf-8"))
    said = []
    for name, point in points.items():
        of = f" of {name}" if len(points) > 1 else ""
        words = from_plain(OperatingPoint, point).in_words
        said.append(
            f"operating point{of}: {words}, in {beside}: the model itself gives probabilities"
        )
    return tuple(said)


def is_of_weights(target: Path) -> bool:
    """Tell whether a file is to hold weights alone, by its name."""
    return target.name.endswith(WEIGHTS)


def is_of_estimator(target: Path) -> bool:
    """Tell whether a file is to hold an estimator, by its name."""
    return target.name.endswith(SKOPS)


def export(
    spec: Spec, fixtures: Mapping[str, object], run: Run, history: Store, target: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the model that the spec builds today from the run's values.

    Returns:
        The code that changed since, and notes on what was written.

    Raises:
        ModeltuneError: nothing was written; says why.
    """
    check_target(target)
    check_point_file(run, target)
    notes: list[str] = []
    with _lend_engine(spec, fixtures, run, history, notes) as (engine, weights, values):
        engine.load()
        seed = kept_refit(run, spec).seed

        def save(path: Path) -> None:
            notes.extend(engine.write_model(values, seed, weights, path.absolute()))

        _write_new(target, save)
    notes += write_points(run, target)
    return differing_code(run_identity(spec), run)[0], tuple(notes)


def rescore_run(spec: Spec, fixtures: Mapping[str, object], run: Run, history: Store) -> Replay:
    """Score the model that the spec builds today from the run's values, with the run's weights.

    Raises:
        ModeltuneError: the data changed, or the model cannot be rebuilt.
    """
    recorded, heard = recorded_scores(run), list[str]()
    # A file was held to the gates of a spec that builds another model, of any shape.
    is_of_file = run.validation.get("kind") == Scoring.__name__ and not spec.is_given
    refuse_unkept(run)
    with contextlib.ExitStack() as stack:
        ending = SKOPS if run.model.get("kind") == ESTIMATOR else MODEL
        file = Path(stack.enter_context(tempfile.TemporaryDirectory()), f"given{ending}")
        spec = spec.with_file(file) if is_of_file else spec
        code, notes = differing_code(run_identity(spec), run)
        try:
            engine, weights, values = stack.enter_context(
                _lend_engine(spec, fixtures, run, history, heard)
            )
            _refuse_other_data(run, engine.load()[1], engine.is_told_apart)
            if is_of_file:
                _write_given(
                    spec, run, history, file
                )  # Keras starts here, with all processes begun
            validation = None if spec.is_given else _validation(run)
            again, random = engine.score_again(
                values, kept_refit(run, spec), validation, weights, list(recorded)
            )
            if "artifact_bytes" in recorded:
                again["artifact_bytes"] = float(weights.stat().st_size)
            files = {
                name: verify(history.folder, file, run.id) for name, file in _made(run).items()
            }
            if files:
                for name, path in files.items():
                    again[of_export("artifact_bytes", name)] = float(path.stat().st_size)
                refit = kept_refit(run, spec)
                points = run.validation["refits"][0].get("thresholds", {})
                again |= engine.score_exports(values, refit, validation, weights, files, points)
        except ModeltuneError as error:
            since = f"; code changed since: {', '.join(code)}" if code else ""
            raise HistoryError(f"{error}{since}") from error
    random = [name for name in random if name in again]
    return Replay(again, code, (*notes, *heard), tuple(random))


def _made(run: Run) -> dict[str, Artifact]:
    """Return the kept files of a run's exports by name."""
    files = {name: export_file(run, name) for name in exports_of(run)}
    return {name: file for name, file in files.items() if file is not None}


def _write_given(spec: Spec, run: Run, history: Store, file: Path) -> None:
    """Write the model that a run kept of the file it was given to a new file of that kind.

    Raises:
        HistoryError: its architecture does not make it; says what to do.
    """
    weights, kept = kept_weights(run, history), run.files.get("architecture")
    if file.name.endswith(SKOPS):
        file.write_bytes(weights.read_bytes())  # digests of it were compared
        return
    model: Any = "its architecture was not kept"
    if kept is not None:
        architecture = verify(history.folder, kept, run.id)
        with quietly():
            from modeltune.engine import of_architecture

            model = of_architecture(architecture, weights)
    if isinstance(model, str):
        raise HistoryError(
            f"run {run.id} of {run.spec} judged a file, and the model in it cannot be made of what was "
            f"kept: {model}; hold the file to the spec again: modeltune check FILE.keras --spec {spec.id}"
        )
    _write(model, file)


@contextlib.contextmanager
def _lend_engine(
    spec: Spec, fixtures: Mapping[str, object], run: Run, history: Store, notes: list[str]
) -> Iterator[tuple[Any, Path, Values]]:
    """Lend an engine of the spec, the verified file of the run's weights, and the run's values.

    Data and model are loaded in a process of its own: nothing that this does ends this process. What
    the user should know of that is added to ``notes``.
    """

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    weights = kept_weights(run, history).absolute()
    with (
        tempfile.TemporaryDirectory() as folder,
        lend_engine_alone(spec, fixtures, Path(folder, "data"), listen) as engine,
    ):
        yield engine, weights, values_of_kept(run)


def kept_refit(run: Run, spec: Spec) -> Refit:
    """Return the refit whose weights were kept."""
    refits = run.validation.get("refits", ())
    kept = run.artifact.refit if run.artifact else 0
    if kept >= len(refits):
        return Refit(spec.search.seed)
    return Refit(refits[kept]["seed"], refits[kept]["fold"])


def _validation(run: Run) -> Validation:
    """Return the run's validation, as far as it determines the data of a refit."""
    return KFold(run.validation["k"]) if run.validation.get("kind") == "KFold" else Holdout()


def _refuse_other_data(
    run: Run, fingerprints: Mapping[str, str], is_told_apart: Callable[[], bool]
) -> None:
    recorded = {
        name: print_ for name, print_ in run.fingerprints.items() if name.startswith("data/")
    }
    changed = changed_parts(recorded, fingerprints)
    others = [name.removeprefix("data/") for name in changed]
    if others == ["train"] and not is_told_apart():
        from modeltune.engine import DECLARE

        raise HistoryError(
            f"run {run.id} of {run.spec} cannot be replayed: its train stream yields other samples "
            f"each time it is read, and what it is made of cannot be told; {DECLARE}"
        )
    if others:
        raise HistoryError(
            f"run {run.id} of {run.spec} cannot be replayed: its data changed since, "
            f"{', '.join(others)}; restore them, or check out the commit it ran at"
            + (f", {revision[:10]}" if (revision := run.environment.get("git_revision")) else "")
        )


def _write(model: Any, target: Path) -> tuple[str, ...]:
    """Write a model to a new ``.keras`` file that Keras loads again, whole or not at all."""
    notes: tuple[str, ...] = ()

    def save(path: Path) -> None:
        nonlocal notes
        from modeltune.engine import save_model

        notes = save_model(model, path)

    with quietly():
        _write_new(target, save)
    return notes


def _copy_estimator(run: Run, history: Store, weights: Path, target: Path) -> tuple[str, ...]:
    """Copy the file of a run's estimator, and say what whoever loads it has to trust."""
    refuse_unkept(run)
    assert run.artifact is not None  # its path is ``weights``
    artifact = run.artifact
    _write_new(target, lambda path: copy_to(history.folder, artifact, run.id, path))
    with quietly():
        from modeltune.engine import parts_in_file

        parts = parts_in_file(weights)
    return (f"load it with skops.io.load({target.name!r}, trusted={parts!r})",)


def _write_weights(run: Run, history: Store, weights: Path, target: Path) -> tuple[str, ...]:
    """Copy the file of a run's weights, and say whether the kept architecture loads it."""
    assert run.artifact is not None  # its path is ``weights``
    artifact, kept = run.artifact, run.files.get("architecture")
    _write_new(target, lambda path: copy_to(history.folder, artifact, run.id, path))
    with quietly():
        from modeltune.engine import of_architecture, vocabularies

        if names := vocabularies(weights):
            return (
                f"a weights file of Keras holds no vocabulary: adapt {', '.join(names)} again, or "
                f"export to a file that ends in {MODEL}",
            )
        if kept is not None:
            model = of_architecture(verify(history.folder, kept, run.id), weights)
            if not isinstance(model, str):
                return ("loaded again into the model of its kept architecture",)
    return ("not loaded again: that takes the model its spec builds",)


def _write_new(target: Path, write: Callable[[Path], object]) -> None:
    draft = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        write_durably(target, draft, write, is_new=True)
    except FileExistsError as error:
        raise HistoryError(f"{target} exists; name another file, nothing is overwritten") from error
    except HistoryError as error:
        raise HistoryError(f"{target} is not written: {error}") from error
    except (DataError, SearchError, SpecError):
        raise  # of the model, not of the file
    except Exception as error:
        # It may come from get_config of the user's classes, or from a full disk.
        text = f"{target} cannot be written: {' '.join(error_text(error).split())}"
        raise HistoryError(text) from error


def replay_to_json(replayed: Replay) -> Json:
    """Return the result of a replay as strict JSON data."""
    return plain(replayed)


def replay_from_json(data: Json) -> Replay:
    """Return what ``replay_to_json`` wrote."""
    again = {metric: float(value) for metric, value in data["again"].items()}
    return Replay(again, tuple(data["code"]), tuple(data["notes"]), tuple(data["random"]))
