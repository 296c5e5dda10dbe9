"""Know which backend Keras computes with, without importing Keras."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

DEFAULT_BACKEND = "tensorflow"

BACKEND_PART = "the backend of Keras"
"""The part of an identity that names a backend; that of the default is not named."""

COMPUTING = {"jax": ("jax", "jaxlib"), "torch": ("torch",), "tensorflow": ("tensorflow",)}
"""What computes under a backend, by the names of its packages."""


def keras_backend() -> str:
    """Return the backend that Keras has, or will have once it is imported: "tensorflow", "jax", "torch", ...

    As Keras finds it: the variable KERAS_BACKEND, then ``backend`` in its file keras.json, which
    lies in KERAS_HOME or ~/.keras (https://keras.io/api/utils/config_utils).
    """
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is not None and hasattr(config, "backend"):
        return str(config.backend())
    if told := os.environ.get("KERAS_BACKEND"):
        return told
    home = Path.home() if os.access(Path.home(), os.W_OK) else Path("/tmp")
    folder = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    try:
        configured = json.loads((folder.expanduser() / "keras.json").read_bytes())
        return str(configured.get("backend", DEFAULT_BACKEND))
    except (OSError, ValueError, AttributeError):
        return DEFAULT_BACKEND


def backend_parts() -> dict[str, str]:
    """Return the part of an identity that names the backend; none for the default."""
    name = keras_backend()
    return {} if name == DEFAULT_BACKEND else {BACKEND_PART: name}


def backend_packages() -> tuple[str, ...]:
    """Return the packages that compute under the backend."""
    name = keras_backend()
    return COMPUTING.get(name, (name,))
