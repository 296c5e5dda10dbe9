"""Write recorded trials and runs for TensorBoard and MLflow.

Here belongs one module per tracker. A failure here changes no outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.harness.trackers import mlflow, tensorboard

__all__ = ["mlflow", "tensorboard"]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": (
            "mlflow",
            "tensorboard",
        ),
    },
)
