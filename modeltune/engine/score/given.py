"""Tell which Keras models are given that are trained already."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence

import numpy as np

from modeltune.engine.fit import Model, assets_of
from modeltune.engine.score.model_files import own_code
from modeltune.specs import Spec


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
