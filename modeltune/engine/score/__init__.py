"""Score trained models: refits, metrics on each part, and checks that the numbers can be trusted.

Here belong metrics, reports by task, samples to look at and the integrity checks of a tuned
model. Gates are judged elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.score.broadcasts import broadcast_cautions
    from modeltune.engine.score.conversions import (
        make_export,
        scores_of_exports,
        unfit_exports,
    )
    from modeltune.engine.score.estimator_files import (
        load_estimator,
        parts_in_file,
        parts_of_estimator,
        write_estimator,
    )
    from modeltune.engine.score.given import digest_of, notes_on_given
    from modeltune.engine.score.given_models import is_keras_model, load_given
    from modeltune.engine.score.latencies import ratio_of_seconds
    from modeltune.engine.score.metric_names import name_cautions
    from modeltune.engine.score.model_files import foreign_names, save_model
    from modeltune.engine.score.operating_points import (
        Points,
        at_points,
        check_threshold,
        kept_points,
        point_problems,
        threshold_problems_of,
    )
    from modeltune.engine.score.outputs import is_loss_of_keras
    from modeltune.engine.score.predictors import (
        GIVEN,
        GivenPredictor,
        check_kept_estimator,
        digest_of_predictor,
        notes_on_predictors,
        predictor_checks,
        predictor_scores,
        rehearse_predictor,
        score_outputs,
        score_part_of,
        score_predictor,
        write_predictions,
    )
    from modeltune.engine.score.rebuilt import (
        of_architecture,
        random_scores,
        rebuilt_model,
        scores_again,
    )
    from modeltune.engine.score.refit import (
        parts_of,
        restore,
        score_given,
        train_refit,
        with_weights,
    )
    from modeltune.engine.score.sample_values import all_metrics
    from modeltune.engine.score.scoring import (
        PartPredictions,
        decided_scores,
        evaluate,
        predict,
        refit_samples,
        targets,
    )
    from modeltune.engine.score.shown_samples import shown_rows, write_examples
    from modeltune.engine.score.slice_masks import (
        check_own_metrics,
        check_slices,
        masks_of,
    )
    from modeltune.engine.score.strong_baselines import check_strong_baselines
    from modeltune.engine.score.task_report import (
        Output,
        OutputTask,
        decisions,
        probabilities,
        report,
        report_names,
    )
    from modeltune.engine.score.task_samples import names_without_samples, task_scores
    from modeltune.engine.score.unmeasured_gates import gate_problems
    from modeltune.engine.score.weak_slices import warn_of_weak_slices

__all__ = [
    "GIVEN",
    "GivenPredictor",
    "Output",
    "OutputTask",
    "PartPredictions",
    "Points",
    "all_metrics",
    "at_points",
    "broadcast_cautions",
    "check_kept_estimator",
    "check_own_metrics",
    "check_slices",
    "check_strong_baselines",
    "check_threshold",
    "decided_scores",
    "decisions",
    "digest_of",
    "digest_of_predictor",
    "evaluate",
    "foreign_names",
    "gate_problems",
    "is_keras_model",
    "is_loss_of_keras",
    "kept_points",
    "load_estimator",
    "load_given",
    "make_export",
    "masks_of",
    "name_cautions",
    "names_without_samples",
    "notes_on_given",
    "notes_on_predictors",
    "of_architecture",
    "parts_in_file",
    "parts_of",
    "parts_of_estimator",
    "point_problems",
    "predict",
    "predictor_checks",
    "predictor_scores",
    "probabilities",
    "random_scores",
    "ratio_of_seconds",
    "rebuilt_model",
    "refit_samples",
    "rehearse_predictor",
    "report",
    "report_names",
    "restore",
    "save_model",
    "score_given",
    "score_outputs",
    "score_part_of",
    "score_predictor",
    "scores_again",
    "scores_of_exports",
    "shown_rows",
    "targets",
    "task_scores",
    "threshold_problems_of",
    "train_refit",
    "unfit_exports",
    "warn_of_weak_slices",
    "with_weights",
    "write_estimator",
    "write_examples",
    "write_predictions",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "broadcasts": ("broadcast_cautions",),
        "conversions": ("unfit_exports", "make_export", "scores_of_exports"),
        "latencies": ("ratio_of_seconds",),
        "unmeasured_gates": ("gate_problems",),
        "weak_slices": ("warn_of_weak_slices",),
        "estimator_files": (
            "load_estimator",
            "parts_in_file",
            "parts_of_estimator",
            "write_estimator",
        ),
        "given": (
            "digest_of",
            "notes_on_given",
        ),
        "given_models": (
            "is_keras_model",
            "load_given",
        ),
        "metric_names": ("name_cautions",),
        "model_files": (
            "foreign_names",
            "save_model",
        ),
        "operating_points": (
            "Points",
            "at_points",
            "check_threshold",
            "kept_points",
            "point_problems",
            "threshold_problems_of",
        ),
        "outputs": ("is_loss_of_keras",),
        "predictors": (
            "GIVEN",
            "GivenPredictor",
            "check_kept_estimator",
            "digest_of_predictor",
            "notes_on_predictors",
            "predictor_checks",
            "predictor_scores",
            "rehearse_predictor",
            "score_outputs",
            "score_part_of",
            "score_predictor",
            "write_predictions",
        ),
        "rebuilt": (
            "of_architecture",
            "random_scores",
            "rebuilt_model",
            "scores_again",
        ),
        "refit": (
            "parts_of",
            "restore",
            "score_given",
            "train_refit",
            "with_weights",
        ),
        "sample_values": ("all_metrics",),
        "scoring": (
            "PartPredictions",
            "decided_scores",
            "evaluate",
            "predict",
            "refit_samples",
            "targets",
        ),
        "shown_samples": ("shown_rows", "write_examples"),
        "slice_masks": ("check_own_metrics", "check_slices", "masks_of"),
        "strong_baselines": ("check_strong_baselines",),
        "task_report": (
            "Output",
            "OutputTask",
            "decisions",
            "probabilities",
            "report",
            "report_names",
        ),
        "task_samples": (
            "names_without_samples",
            "task_scores",
        ),
    },
)
