"""TensorFlow, imported when something of it is first used: under another backend it never is."""

from __future__ import annotations

from typing import Any


class _TensorFlow:
    """Stands for the module and is answered by it."""

    def __getattr__(self, name: str) -> Any:
        import tensorflow

        return getattr(tensorflow, name)


tf: Any = _TensorFlow()
"""The module ``tensorflow``."""
