"""Load models that are trained already, and tell which they are."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence

import keras
import numpy as np

from modeltune.engine.fit import Model, assets_of, surroundings
from modeltune.engine.score.model_files import own_code
from modeltune.ground import SpecError, error_line
from modeltune.specs import Spec


def load_given(spec: Spec) -> list[Model]:
    """Return the trained models that a build function without arguments returns.

    Raises:
        SpecError: it raised, or returned something else; says what.
    """
    where = f"{spec.file}:{spec.line}: {spec.name}"
    try:
        with surroundings(spec, seed=0):
            models = spec.given_models()
    except (Exception, SystemExit) as error:
        raise SpecError(f"{where}: the model cannot be loaded: {error_line(error)}") from error
    if not models:
        raise SpecError(
            f"{where} returned no model; return a trained keras.Model, or a list of them"
        )
    for model in models:
        if not isinstance(model, keras.Model):
            what = "None" if model is None else f"a {type(model).__name__}"
            raise SpecError(
                f"{where} returned {what}; return a trained keras.Model, or a list of them"
            )
    return models


def digest_of(model: Model) -> str:
    """Return the sha256 of how a model is built and compiled, what it has learned, and its own code.

    Classes and functions of Keras's count by name; those of others by their source.
    """
    digest = hashlib.sha256()
    try:
        digest.update(model.to_json().encode())
    except Exception:  # noqa: BLE001  get_config is the user's code: the source below tells as much
        digest.update(type(model).__qualname__.encode())
    for name, code in sorted(own_code(model).items()):
        if not str(getattr(code, "__module__", "")).startswith("keras."):
            digest.update(f"{name}:{_source(code)}".encode())
    for weight in model.weights:
        values = np.asarray(weight)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(assets_of(model))
    return digest.hexdigest()


def notes_on_given(spec: Spec, models: Sequence[Model]) -> tuple[str, ...]:
    """Say what the user should know of given models before they are judged."""
    notes = []
    if spec.given_file is not None:
        notes.append(f"the model is given, in {spec.given_file}; nothing was trained")
    elif spec.unused_fields:
        listed = ", ".join(spec.unused_fields)
        notes.append(f"{listed} of its protocol are for models that are trained; this one is given")
    if not all(model.compiled for model in models):
        notes.append(
            "the model is not compiled: there is no loss, and its scores are those of the report"
        )
    return tuple(notes)


def _source(code: object) -> str:
    try:
        return inspect.getsource(code)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return repr(code) if isinstance(code, type) else type(code).__qualname__
