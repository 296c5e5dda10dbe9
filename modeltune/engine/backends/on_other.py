"""Any other backend of Keras, such as numpy: it predicts with given models."""

from __future__ import annotations

import keras

from modeltune.records import Json


class OnOther:
    """A backend of which no more is known than its name."""

    @property
    def modules(self) -> tuple[str, ...]:
        """As ``Backend.modules``."""
        return (keras.backend.backend(),)

    steps_eagerly = True

    def set_up(self, threads: int) -> None:
        """Leave its threads as they are."""

    def threads(self) -> dict[str, Json]:
        """As ``Backend.threads``."""
        return {}

    def devices(self, cpu: str) -> list[str]:
        """As ``Backend.devices``."""
        return [f"CPU: {cpu}"]

    def notes(self) -> list[str]:
        """As ``Backend.notes``."""
        return []
