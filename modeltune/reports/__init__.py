"""Reports: runs as text, Markdown, HTML, JSON and pictures.

Every module here renders what it is given. None prints, reads a history or decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.reports.annotations import annotate, inert, root_of
    from modeltune.reports.comparison import (
        Contrast,
        Difference,
        RunComparison,
        comparison_report,
    )
    from modeltune.reports.filenames import file_name
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
    from modeltune.reports.progress import RunProgress, cut, follow, heartbeat, lines, live, width
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
    "Replay",
    "ReportedRun",
    "RunComparison",
    "RunProgress",
    "all_cuts",
    "annotate",
    "clean",
    "comparison_report",
    "comparison_view",
    "cut",
    "disagreements",
    "draw_pictures",
    "failure",
    "file_name",
    "follow",
    "gated_metrics",
    "headline",
    "heartbeat",
    "history_table",
    "history_view",
    "html",
    "inert",
    "lines",
    "live",
    "markdown",
    "page_template",
    "recorded_scores",
    "replay_report",
    "require_matplotlib",
    "root_of",
    "run_view",
    "show",
    "show_trial",
    "spec_trends",
    "summary_table",
    "trends",
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
        "comparison": (
            "Contrast",
            "Difference",
            "RunComparison",
            "comparison_report",
        ),
        "filenames": ("file_name",),
        "html_report": ("html", "page_template"),
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
            "cut",
            "follow",
            "heartbeat",
            "lines",
            "live",
            "width",
        ),
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
            "show",
            "show_trial",
            "spec_trends",
            "summary_table",
            "trends",
            "undecided",
        ),
    },
)
