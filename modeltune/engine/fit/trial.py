"""Train one trial: build its model, load the state it continues from, fit it, save its state."""

from __future__ import annotations

from pathlib import Path

from modeltune.engine.data import Part
from modeltune.engine.fit.candidate import trainable
from modeltune.engine.fit.cautions import take_cautions
from modeltune.engine.fit.feature_files import take_notes
from modeltune.engine.fit.fitting import FitPlan, fit, not_finite, take_phases
from modeltune.engine.fit.input_texts import input_tensors
from modeltune.engine.fit.model_inputs import for_model
from modeltune.engine.fit.model_structure import predict_batch
from modeltune.engine.fit.states import load_state, save_state
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import monotonic
from modeltune.records import TrialResult, TrialTask, failure_of
from modeltune.specs import Spec


def train_trial(
    spec: Spec, train: Part, validation: Part, task: TrialTask, features: Path | None = None
) -> TrialResult:
    """Train one candidate; whatever it raises becomes its failure.

    ``features`` is the folder that keeps the outputs of frozen layers, for any trial and
    run; without one they are kept in memory.
    """
    started = monotonic()
    take_cautions()  # of what ended before it could be told of
    take_phases()
    hp = ReadHyperParameters.of(task.hyperparameters)
    plan = FitPlan(
        spec,
        hp,
        train,
        validation,
        task.epochs,
        task.seed,
        initial_epoch=task.initial_epoch,
        features=features,
    )
    try:
        with trainable(plan, task) as candidate:
            model = candidate.model
            if task.continue_from is not None:
                if not model.built:
                    x = next(for_model(model, train).batches(1))[0]
                    predict_batch(model, input_tensors(model, x))
                load_state(model, task.continue_from)
            curve, trained_by = fit(plan, candidate)
            failure = not_finite(spec, curve, task.initial_epoch)
            if task.keep_state is not None and failure is None:
                save_state(model, task.keep_state)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a candidate raises is its own failure
        curve, trained_by = {}, "not trained"
        failure = failure_of(error)
    seconds = monotonic() - started
    read = frozenset(hp.read)
    return TrialResult(
        curve,
        trained_by,
        seconds,
        hp.get_config(),
        read,
        failure,
        note=take_notes(),
        cautions=(*hp.cautions(spec.search), *take_cautions()),
        phases=take_phases(),
    )
