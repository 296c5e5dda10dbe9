"""Reports: runs as text, Markdown, HTML, JSON and pictures.

Every module here renders what it is given. None prints, reads a history or decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.reports.annotations import annotate, inert, root_of
    from modeltune.reports.columns import cut, width
    from modeltune.reports.comparison import (
        Contrast,
        Difference,
        RunComparison,
        comparison_report,
        differences,
    )
    from modeltune.reports.family_tables import family_table
    from modeltune.reports.filenames import file_name
    from modeltune.reports.formats import comparison_as, history_as, run_as, trial_as
    from modeltune.reports.html_report import html, page_template
    from modeltune.reports.json_report import write, write_whole
    from modeltune.reports.markdown_report import markdown
    from modeltune.reports.notebook_views import (
        comparison_view,
        history_view,
        run_view,
        verdict_view,
    )
    from modeltune.reports.pictures import draw_pictures, require_matplotlib
    from modeltune.reports.power_tables import power_table
    from modeltune.reports.progress import RunProgress, follow, heartbeat, lines, live
    from modeltune.reports.rankings import RankedRun, Ranking, ranking_text, rankings_text
    from modeltune.reports.replays import Replay, disagreements, recorded_scores, replay_report
    from modeltune.reports.reported_run import ReportedRun
    from modeltune.reports.tables import (
        TREND,
        all_cuts,
        clean,
        failure,
        gated_metrics,
        headline,
        history_table,
        parse_objective,
        show,
        show_trial,
        spec_trends,
        summary_table,
        trends,
        undecided,
    )

__all__ = [
    "TREND",
    "Contrast",
    "Difference",
    "RankedRun",
    "Ranking",
    "Replay",
    "ReportedRun",
    "RunComparison",
    "RunProgress",
    "all_cuts",
    "annotate",
    "clean",
    "comparison_as",
    "comparison_report",
    "comparison_view",
    "cut",
    "differences",
    "disagreements",
    "draw_pictures",
    "failure",
    "family_table",
    "file_name",
    "follow",
    "gated_metrics",
    "headline",
    "heartbeat",
    "history_as",
    "history_table",
    "history_view",
    "html",
    "inert",
    "lines",
    "live",
    "markdown",
    "page_template",
    "parse_objective",
    "power_table",
    "ranking_text",
    "rankings_text",
    "recorded_scores",
    "replay_report",
    "require_matplotlib",
    "root_of",
    "run_as",
    "run_view",
    "show",
    "show_trial",
    "spec_trends",
    "summary_table",
    "trends",
    "trial_as",
    "undecided",
    "verdict_view",
    "width",
    "write",
    "write_whole",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "annotations": (
            "annotate",
            "inert",
            "root_of",
        ),
        "columns": (
            "cut",
            "width",
        ),
        "comparison": (
            "Contrast",
            "Difference",
            "RunComparison",
            "comparison_report",
            "differences",
        ),
        "filenames": ("file_name",),
        "formats": (
            "comparison_as",
            "history_as",
            "run_as",
            "trial_as",
        ),
        "html_report": ("html", "page_template"),
        "family_tables": ("family_table",),
        "json_report": (
            "write",
            "write_whole",
        ),
        "markdown_report": ("markdown",),
        "notebook_views": (
            "comparison_view",
            "history_view",
            "run_view",
            "verdict_view",
        ),
        "pictures": (
            "draw_pictures",
            "require_matplotlib",
        ),
        "progress": (
            "RunProgress",
            "follow",
            "heartbeat",
            "lines",
            "live",
        ),
        "power_tables": ("power_table",),
        "rankings": ("Ranking", "RankedRun", "ranking_text", "rankings_text"),
        "replays": (
            "Replay",
            "disagreements",
            "recorded_scores",
            "replay_report",
        ),
        "reported_run": ("ReportedRun",),
        "tables": (
            "TREND",
            "all_cuts",
            "clean",
            "failure",
            "gated_metrics",
            "headline",
            "history_table",
            "parse_objective",
            "show",
            "show_trial",
            "spec_trends",
            "summary_table",
            "trends",
            "undecided",
        ),
    },
)
