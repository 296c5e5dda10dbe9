"""The story of a run, and what is told of runs that are recorded.

``pipeline.run`` reads as the story: load, search, validate, judge, record. Here belongs what
brings engine, judgement, histories and reports together. pytest and the command line call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.harness import replay
    from modeltune.harness.acceptance import accept_if_asked
    from modeltune.harness.executors import auto, warm_up
    from modeltune.harness.joint_reports import JointJudgement, judge_reports
    from modeltune.harness.pipeline import run
    from modeltune.harness.power_preview import preview_power, regression_gates
    from modeltune.harness.protocol_rankings import ranking_of, rankings_of
    from modeltune.harness.replay import (
        check_target,
        copy_export,
        export_kept,
        is_of_estimator,
        is_of_weights,
        kept_weights,
        replay_from_json,
    )
    from modeltune.harness.report_files import (
        gather,
        newest_runs,
        notebook_view,
        write_pictures,
        write_reports,
    )
    from modeltune.harness.run_differences import compare, contrast
    from modeltune.harness.smoke_runs import smoke
    from modeltune.harness.winners import newest_run, winner_of

__all__ = [
    "JointJudgement",
    "accept_if_asked",
    "auto",
    "check_target",
    "compare",
    "contrast",
    "copy_export",
    "export_kept",
    "gather",
    "is_of_estimator",
    "is_of_weights",
    "judge_reports",
    "kept_weights",
    "newest_run",
    "newest_runs",
    "notebook_view",
    "preview_power",
    "ranking_of",
    "rankings_of",
    "regression_gates",
    "replay",
    "replay_from_json",
    "run",
    "smoke",
    "warm_up",
    "winner_of",
    "write_pictures",
    "write_reports",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": ("replay",),
        "acceptance": ("accept_if_asked",),
        "executors": (
            "auto",
            "warm_up",
        ),
        "pipeline": ("run",),
        "power_preview": ("preview_power", "regression_gates"),
        "protocol_rankings": (
            "ranking_of",
            "rankings_of",
        ),
        "joint_reports": (
            "JointJudgement",
            "judge_reports",
        ),
        "replay": (
            "check_target",
            "copy_export",
            "export_kept",
            "is_of_estimator",
            "is_of_weights",
            "kept_weights",
            "replay_from_json",
        ),
        "report_files": (
            "gather",
            "newest_runs",
            "notebook_view",
            "write_pictures",
            "write_reports",
        ),
        "run_differences": (
            "compare",
            "contrast",
        ),
        "smoke_runs": ("smoke",),
        "winners": (
            "newest_run",
            "winner_of",
        ),
    },
)
