"""The trial engine: everything that runs inside one process and needs Keras.

It loads data, builds and trains models, scores, examines and probes them, and drives
keras-tuner's oracles. It knows neither processes nor pytest, keeps no history and passes
no verdict on a gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.data import (
        DECLARE,
        LoadedData,
        is_shareable,
        load_data,
        read_parts,
        write_parts,
    )
    from modeltune.engine.data_engine import DataEngine
    from modeltune.engine.engine import Engine
    from modeltune.engine.environments import commit_time
    from modeltune.engine.fit import for_model, report_epochs_to, vocabularies
    from modeltune.engine.quiet import quietly
    from modeltune.engine.score import (
        load_given,
        of_architecture,
        parts_in_file,
        random_scores,
        rebuilt_model,
        save_model,
        scores_again,
    )
    from modeltune.engine.space_progress import report_space_to
    from modeltune.engine.start import needs_keras, start_engine

__all__ = [
    "DECLARE",
    "DataEngine",
    "Engine",
    "LoadedData",
    "commit_time",
    "for_model",
    "is_shareable",
    "load_data",
    "load_given",
    "needs_keras",
    "of_architecture",
    "parts_in_file",
    "quietly",
    "random_scores",
    "read_parts",
    "rebuilt_model",
    "report_epochs_to",
    "report_space_to",
    "save_model",
    "scores_again",
    "start_engine",
    "vocabularies",
    "write_parts",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "data": (
            "DECLARE",
            "LoadedData",
            "is_shareable",
            "load_data",
            "read_parts",
            "write_parts",
        ),
        "data_engine": ("DataEngine",),
        "engine": ("Engine",),
        "environments": ("commit_time",),
        "fit": (
            "for_model",
            "report_epochs_to",
            "vocabularies",
        ),
        "quiet": ("quietly",),
        "score": (
            "load_given",
            "of_architecture",
            "parts_in_file",
            "random_scores",
            "rebuilt_model",
            "save_model",
            "scores_again",
        ),
        "space_progress": ("report_space_to",),
        "start": (
            "needs_keras",
            "start_engine",
        ),
    },
)
