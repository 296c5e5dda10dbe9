"""Run the specs of a backend's contract in processes and in one, then export and replay a run of the former."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

import modeltune as mt
from modeltune.cli import main
from modeltune.histories import open_store

IN_PROCESSES = "sqlite:///.modeltune/history.db"
ALONE = "sqlite:///alone.db"


def run_in_processes() -> str:
    """Run all specs in processes of their own, none of which imports another backend; return the id of one run."""
    assert pytest.main(["-q", "-p", "no:cacheprovider", "--modeltune-workers=2"]) == 0
    importlib.import_module("model_specs.spec_kinds").only_one_backend()
    with open_store(IN_PROCESSES, create=False) as store:
        return next(run.id for run in store.runs() if run.spec.endswith("::texts"))


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
    run_alone(run_in_processes())
