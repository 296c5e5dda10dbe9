"""Training: a candidate is built and fitted, as whole epochs in one graph where that is exact.

Here belong building, fitting, what makes a fit fast, and the weights it leaves. What a
trained model is worth is found in ``score``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.fit import frozen_prefix
    from modeltune.engine.fit.epoch_graph import Model
    from modeltune.engine.fit.epoch_progress import followed_by
    from modeltune.engine.fit.training import (
        candidate,
        failure_of,
        fit,
        load_weights,
        not_finite,
        number,
        overrides_fit,
        save_weights,
        train_trial,
    )

__all__ = [
    "Model",
    "candidate",
    "failure_of",
    "fit",
    "followed_by",
    "frozen_prefix",
    "load_weights",
    "not_finite",
    "number",
    "overrides_fit",
    "save_weights",
    "train_trial",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": ("frozen_prefix",),
        "epoch_graph": ("Model",),
        "epoch_progress": ("followed_by",),
        "training": (
            "candidate",
            "failure_of",
            "fit",
            "load_weights",
            "not_finite",
            "number",
            "overrides_fit",
            "save_weights",
            "train_trial",
        ),
    },
)
