"""What several tests of training replace: the pool of compiled steps, and training itself."""

from __future__ import annotations

from typing import Any

import pytest

from modeltune.engine.fit import compiled_pool, epoch_graph


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every model trained on steps of its own: what is shared would be rehearsed first."""
    monkeypatch.setattr(compiled_pool, "key_of", lambda model, like: None)


@pytest.fixture
def untrained(alone: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Do all that a trial does but take its steps, and list the models that would take them."""
    models: list[Any] = []

    def fit(model: Any, *data: Any, **options: Any) -> epoch_graph.FitResult:
        models.append(model)
        return epoch_graph.FitResult({"loss": [1.0], "val_loss": [1.0]}, "graph")

    monkeypatch.setattr(epoch_graph, "fit_graph", fit)
    return models
