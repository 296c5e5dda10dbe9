"""Run the specs of a backend's contract in one process, then export and replay a run of several."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import modeltune as mt
from modeltune.cli import main

ALONE = "sqlite:///alone.db"


def run_alone(recorded: str) -> None:
    """Run a spec in this process; export and replay a recorded run, and predict with what was exported."""
    spec_kinds = importlib.import_module("model_specs.spec_kinds")  # of the project here
    mt.run(spec_kinds.classifier, store=ALONE, workers=0, listen=lambda event: None)
    assert main(["export", recorded, "exported.keras"]) == 0
    assert main(["replay", recorded]) == 0
    predict("exported.keras")
    spec_kinds.only_one_backend()


def predict(file: str) -> None:
    """Load an exported model, and have it predict."""
    import keras
    import numpy as np

    model: Any = keras.saving.load_model(file)
    assert model.predict({"text": np.zeros((3, 4), "int32")}, verbose=0).shape == (3, 1)


if __name__ == "__main__":
    sys.path.insert(0, ".")
    run_alone(sys.argv[1])
