"""Replay a recorded run or export its model, with the run's own weights, checked by digest."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeltune.engine import quietly
from modeltune.ground import HistoryError, ModeltuneError, write_durably
from modeltune.harness.run_differences import differing_code
from modeltune.histories import Store, verify
from modeltune.records import Json, Run, plain
from modeltune.reports import Replay, recorded_scores
from modeltune.specs import Holdout, KFold, Refit, Spec, Validation, changed_parts, run_identity

SUFFIX = ".keras"


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


def check_target(target: Path) -> None:
    """Refuse a file name that Keras does not write to, or a file that exists.

    Raises:
        HistoryError: it is refused; says what to write instead.
    """
    if target.suffix != SUFFIX:
        raise HistoryError(f"{target}: Keras writes a model to a file that ends in {SUFFIX}")
    if target.exists() or target.is_symlink():
        raise HistoryError(f"{target} exists; name another file, nothing is overwritten")
    if not target.absolute().parent.is_dir():
        raise HistoryError(f"{target}: there is no folder {target.absolute().parent}")


def export_kept(run: Run, history: Store, target: Path) -> str | None:
    """Write the model from its kept architecture; return why that is not possible, or None.

    Raises:
        HistoryError: a file of the run is missing or was changed, or the target is refused.
    """
    check_target(target)
    weights = kept_weights(run, history)
    kept = run.files.get("architecture")
    if kept is None:
        return "its architecture was not kept"
    architecture = verify(history.folder, kept, run.id)
    with quietly():
        from modeltune.engine import of_architecture

        model = of_architecture(architecture, weights)
    if isinstance(model, str):
        return f"its architecture alone does not make it ({model})"
    _write(model, target)
    return None


def export(
    spec: Spec, fixtures: Mapping[str, object], run: Run, history: Store, target: Path
) -> tuple[str, ...]:
    """Write the model that the spec builds today from the run's values; return what code changed.

    Raises:
        ModeltuneError: nothing was written; says why.
    """
    check_target(target)
    with _lend_model(spec, fixtures, run, history) as (model, _):
        _write(model, target)
    return differing_code(run_identity(spec), run)[0]


def rescore_run(spec: Spec, fixtures: Mapping[str, object], run: Run, history: Store) -> Replay:
    """Score the model that the spec builds today from the run's values, with the run's weights.

    Raises:
        ModeltuneError: the data changed, or the model cannot be rebuilt.
    """
    code, notes = differing_code(run_identity(spec), run)
    try:
        with _lend_model(spec, fixtures, run, history, is_of_same_data=True) as (model, loaded):
            from modeltune.engine import scores_again

            recorded = recorded_scores(run)
            as_then = spec.with_fields(validation=_validation(run))
            again = scores_again(as_then, model, loaded, _refit(run, spec), recorded)
            if "artifact_bytes" in recorded:
                again["artifact_bytes"] = float(kept_weights(run, history).stat().st_size)
    except ModeltuneError as error:
        since = f"; code changed since: {', '.join(code)}" if code else ""
        raise HistoryError(f"{error}{since}") from error
    return Replay(again, code, notes)


@contextlib.contextmanager
def _lend_model(
    spec: Spec,
    fixtures: Mapping[str, object],
    run: Run,
    history: Store,
    is_of_same_data: bool = False,
) -> Iterator[tuple[Any, Any]]:
    """Lend a run's model, rebuilt by its spec, and the data; Keras reads verified files only."""
    weights = kept_weights(run, history)
    assert run.best is not None  # a run without a winner has no weights
    with quietly():
        from modeltune.engine import load_data, rebuilt_model
    loaded = load_data(spec, fixtures)
    if is_of_same_data:
        _refuse_other_data(run, loaded.fingerprints)
    seed = _refit(run, spec).seed
    with rebuilt_model(spec, run.best.values, seed, weights, loaded.test) as model:
        yield model, loaded


def _refit(run: Run, spec: Spec) -> Refit:
    """Return the refit whose weights were kept."""
    refits = run.validation.get("refits", ())
    kept = run.artifact.refit if run.artifact else 0
    if kept >= len(refits):
        return Refit(spec.search.seed)
    return Refit(refits[kept]["seed"], refits[kept]["fold"])


def _validation(run: Run) -> Validation:
    """Return the run's validation, as far as it determines the data of a refit."""
    return KFold(run.validation["k"]) if run.validation.get("kind") == "KFold" else Holdout()


def _refuse_other_data(run: Run, today: Mapping[str, str]) -> None:
    recorded = {
        name: print_ for name, print_ in run.fingerprints.items() if name.startswith("data/")
    }
    others = [name.removeprefix("data/") for name in changed_parts(recorded, today)]
    if others:
        raise HistoryError(
            f"run {run.id} of {run.spec} cannot be replayed: its data changed since, "
            f"{', '.join(others)}; restore them, or check out the commit it ran at"
            + (f", {revision[:10]}" if (revision := run.environment.get("git_revision")) else "")
        )


def _write(model: Any, target: Path) -> None:
    """Write a model to a new ``.keras`` file, whole or not at all."""
    draft = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        with quietly():
            write_durably(target, draft, model.save, is_new=True)
    except FileExistsError as error:
        raise HistoryError(f"{target} exists; name another file, nothing is overwritten") from error
    except Exception as error:
        # It may come from get_config of the user's classes, or from a full disk.
        message = " ".join(str(error).split())
        text = f"{target} cannot be written: {type(error).__name__}: {message}"
        raise HistoryError(text) from error


def replay_to_json(replayed: Replay) -> Json:
    """Return the result of a replay as strict JSON data."""
    return plain(replayed)


def replay_from_json(data: Json) -> Replay:
    """Return what ``replay_to_json`` wrote."""
    again = {metric: float(value) for metric, value in data["again"].items()}
    return Replay(again, tuple(data["code"]), tuple(data["notes"]))
