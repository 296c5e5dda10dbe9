"""Training: a candidate is built and fitted, as whole epochs in one graph where that is exact.

Here belong building, fitting, what makes a fit fast, and the weights it leaves. What a
trained model is worth is found in ``score``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.fit import frozen_prefix
    from modeltune.engine.fit.architectures import architecture_of, model_of
    from modeltune.engine.fit.candidate import lend_model, surroundings, trainable
    from modeltune.engine.fit.cautions import caution, take_cautions
    from modeltune.engine.fit.compiled_pool import Candidate
    from modeltune.engine.fit.ensembles import build, members_in
    from modeltune.engine.fit.epoch_graph import Model
    from modeltune.engine.fit.epoch_progress import report_epochs_to
    from modeltune.engine.fit.estimators import (
        TWO_KINDS,
        Estimator,
        OtherKindBuild,
        average_of,
        budget_of,
        fit_estimator,
        inputs_for,
        is_estimator,
        no_budget,
        note_on_fields,
        refusals,
    )
    from modeltune.engine.fit.feature_files import take_notes
    from modeltune.engine.fit.fitting import (
        FitPlan,
        fit,
        logged_numbers,
        not_finite,
        take_phases,
    )
    from modeltune.engine.fit.hypermodel_fit import overrides_fit
    from modeltune.engine.fit.input_texts import (
        input_tensors,
        numbers_of,
        string_tensor,
        text_inputs,
        with_text_inputs,
    )
    from modeltune.engine.fit.layer_assets import (
        assets_of,
        read_assets,
        vocabularies,
        without_assets,
    )
    from modeltune.engine.fit.model_inputs import data_for_model, for_model
    from modeltune.engine.fit.model_structure import (
        can_evaluate,
        can_predict,
        fixed_batch,
        is_from_logits,
        is_of_keras,
        keeps_state,
        predict_batch,
        reset_states,
    )
    from modeltune.engine.fit.pretrained_weights import note_on_trained, starting_weights
    from modeltune.engine.fit.second_phase import SecondPhase, fine_tuning
    from modeltune.engine.fit.shared_state import SEED_STATE
    from modeltune.engine.fit.states import load_weights, save_weights
    from modeltune.engine.fit.trial import train_trial

__all__ = [
    "SEED_STATE",
    "TWO_KINDS",
    "Candidate",
    "Estimator",
    "FitPlan",
    "Model",
    "OtherKindBuild",
    "SecondPhase",
    "architecture_of",
    "assets_of",
    "average_of",
    "budget_of",
    "build",
    "can_evaluate",
    "can_predict",
    "caution",
    "data_for_model",
    "fine_tuning",
    "fit",
    "fit_estimator",
    "fixed_batch",
    "for_model",
    "frozen_prefix",
    "input_tensors",
    "inputs_for",
    "is_estimator",
    "is_from_logits",
    "is_of_keras",
    "keeps_state",
    "lend_model",
    "load_weights",
    "logged_numbers",
    "members_in",
    "model_of",
    "no_budget",
    "not_finite",
    "note_on_fields",
    "note_on_trained",
    "numbers_of",
    "overrides_fit",
    "predict_batch",
    "read_assets",
    "refusals",
    "report_epochs_to",
    "reset_states",
    "save_weights",
    "starting_weights",
    "string_tensor",
    "surroundings",
    "take_cautions",
    "take_notes",
    "take_phases",
    "text_inputs",
    "train_trial",
    "trainable",
    "vocabularies",
    "with_text_inputs",
    "without_assets",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": ("frozen_prefix",),
        "architectures": ("architecture_of", "model_of"),
        "candidate": (
            "lend_model",
            "surroundings",
            "trainable",
        ),
        "compiled_pool": ("Candidate",),
        "ensembles": (
            "build",
            "members_in",
        ),
        "epoch_graph": ("Model",),
        "epoch_progress": ("report_epochs_to",),
        "cautions": (
            "caution",
            "take_cautions",
        ),
        "estimators": (
            "TWO_KINDS",
            "Estimator",
            "OtherKindBuild",
            "average_of",
            "budget_of",
            "fit_estimator",
            "inputs_for",
            "is_estimator",
            "no_budget",
            "note_on_fields",
            "refusals",
        ),
        "feature_files": ("take_notes",),
        "fitting": (
            "FitPlan",
            "fit",
            "logged_numbers",
            "not_finite",
            "take_phases",
        ),
        "hypermodel_fit": ("overrides_fit",),
        "layer_assets": (
            "assets_of",
            "read_assets",
            "vocabularies",
            "without_assets",
        ),
        "model_inputs": (
            "data_for_model",
            "for_model",
        ),
        "model_structure": (
            "can_evaluate",
            "can_predict",
            "fixed_batch",
            "is_from_logits",
            "is_of_keras",
            "keeps_state",
            "predict_batch",
            "reset_states",
        ),
        "second_phase": ("SecondPhase", "fine_tuning"),
        "shared_state": ("SEED_STATE",),
        "pretrained_weights": (
            "note_on_trained",
            "starting_weights",
        ),
        "states": (
            "load_weights",
            "save_weights",
        ),
        "input_texts": (
            "input_tensors",
            "numbers_of",
            "string_tensor",
            "text_inputs",
            "with_text_inputs",
        ),
        "trial": ("train_trial",),
    },
)
