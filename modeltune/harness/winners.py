"""The winner of a recorded run: its model, for use outside of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modeltune.engine import quietly
from modeltune.ground import HistoryError, StoreUrl
from modeltune.harness.cached_runs import look_up
from modeltune.harness.replay import kept_refit, kept_weights, refuse_unkept
from modeltune.histories import open_store, verify
from modeltune.judgement import Strictness
from modeltune.records import ESTIMATOR, PREDICTOR, Run, values_of_kept
from modeltune.specs import Predictions, Spec


def newest_run(spec: Spec, fixtures: Mapping[str, object], store: str | StoreUrl) -> Run:
    """Return the newest recorded run of the spec's code and data of today, judged by today's gates.

    Raises:
        HistoryError: there is none; says why. Or the history cannot be read.
    """
    lookup = look_up(spec, fixtures, store, Strictness(), rejudge=False)
    if lookup.run is None:
        raise HistoryError(lookup.reason)
    return lookup.run


def winner_of(run: Run, spec: Spec, fixtures: Mapping[str, object], store: str | StoreUrl) -> Any:
    """Return the Keras model of a run, with the weights it kept, compiled, or its estimator or predictor.

    A model is made of its kept architecture; where that does not make it, the spec builds it again,
    in this process, to which the model belongs. An estimator is the fitted one that was kept. A predictor is what the build function returns today.

    Raises:
        ModeltuneError: the run kept no model, or it cannot be made again; says why.
    """
    if run.model.get("kind") == PREDICTOR:
        return _predictor(run, spec)
    with open_store(store, create=False) as history:
        weights = kept_weights(run, history)
        if run.model.get("kind") == ESTIMATOR:
            return _estimator(run, spec, fixtures, weights)
        if (kept := run.files.get("architecture")) is not None:
            architecture = verify(history.folder, kept, run.id)
            with quietly():
                from modeltune.engine import of_architecture

                model = of_architecture(architecture, weights)
            if not isinstance(model, str):
                return model
    with quietly():
        from modeltune.engine import load_data, rebuilt_model
    values, seed = values_of_kept(run), kept_refit(run, spec).seed
    with rebuilt_model(spec, values, seed, weights, load_data(spec, fixtures).test) as model:
        return model


def _estimator(run: Run, spec: Spec, fixtures: Mapping[str, object], weights: Path) -> Any:
    refuse_unkept(run)
    with quietly():
        from modeltune.engine import Engine
    engine = Engine(spec, fixtures, weights.parent)
    engine.load()
    return engine.estimator(values_of_kept(run), weights)


def _predictor(run: Run, spec: Spec) -> Any:
    from modeltune.engine import load_given

    given = load_given(spec)
    place = kept_refit(run, spec).seed
    if place >= len(given):
        raise HistoryError(
            f"{spec.name} returns {len(given)} predictors, and run {run.id} is of number {place + 1}"
        )
    if isinstance(given[place], Predictions):
        raise HistoryError(
            f"{spec.name} returns predictions that were made elsewhere, which predict no other samples; "
            "return what made them, an object with predict(x)"
        )
    return given[place]
