"""Score trained models: refits, metrics on each part, and checks that the numbers can be trusted.

Here belong metrics, reports by task, samples to look at and the integrity checks of a tuned
model. Gates are judged elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.score.broadcasts import broadcast_cautions
    from modeltune.engine.score.given import digest_of, load_given, notes_on_given
    from modeltune.engine.score.metric_names import name_cautions
    from modeltune.engine.score.model_files import foreign_names, save_model
    from modeltune.engine.score.outputs import is_loss_of_keras
    from modeltune.engine.score.rebuilt import (
        of_architecture,
        random_scores,
        rebuilt_model,
        scores_again,
    )
    from modeltune.engine.score.refit import restore, score_given, train_refit, with_weights
    from modeltune.engine.score.sample_values import all_metrics
    from modeltune.engine.score.scoring import (
        Predictions,
        check_slices,
        evaluate,
        predict,
        refit_samples,
        targets,
    )
    from modeltune.engine.score.task_report import (
        Output,
        OutputTask,
        probabilities,
        report,
        report_names,
    )
    from modeltune.engine.score.task_samples import names_without_samples, task_scores

__all__ = [
    "Output",
    "OutputTask",
    "Predictions",
    "all_metrics",
    "broadcast_cautions",
    "check_slices",
    "digest_of",
    "evaluate",
    "foreign_names",
    "is_loss_of_keras",
    "load_given",
    "name_cautions",
    "names_without_samples",
    "notes_on_given",
    "of_architecture",
    "predict",
    "probabilities",
    "random_scores",
    "rebuilt_model",
    "refit_samples",
    "report",
    "report_names",
    "restore",
    "save_model",
    "score_given",
    "scores_again",
    "targets",
    "task_scores",
    "train_refit",
    "with_weights",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "broadcasts": ("broadcast_cautions",),
        "given": (
            "digest_of",
            "load_given",
            "notes_on_given",
        ),
        "metric_names": ("name_cautions",),
        "model_files": (
            "foreign_names",
            "save_model",
        ),
        "outputs": ("is_loss_of_keras",),
        "rebuilt": (
            "of_architecture",
            "random_scores",
            "rebuilt_model",
            "scores_again",
        ),
        "refit": (
            "restore",
            "score_given",
            "train_refit",
            "with_weights",
        ),
        "sample_values": ("all_metrics",),
        "scoring": (
            "Predictions",
            "check_slices",
            "evaluate",
            "predict",
            "refit_samples",
            "targets",
        ),
        "task_report": (
            "Output",
            "OutputTask",
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
