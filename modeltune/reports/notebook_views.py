"""What a notebook shows below a cell: a run, a verdict, a comparison or a history, as in report.html.

Each is a page of its own in a frame without access to the notebook: its style and its script leave
the notebook alone, and it requests nothing.
"""

from __future__ import annotations

import html as markup
from collections.abc import Sequence

from modeltune.records import CheckFacts, Run, RunStatus, Summary, Verdict
from modeltune.reports.comparison import RunComparison, differences
from modeltune.reports.html_charts import mean
from modeltune.reports.html_report import (
    Spark,
    VerdictView,
    html,
    page_style,
    page_template,
    policy,
    spark_of,
)
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.tables import clean, tested_metric

ROW = 38
"""Pixels of a row of a table, roughly: a frame cannot ask how high its page is."""

HIGHEST = 640
"""Pixels of the highest frame; what is longer is scrolled, and the frame can be pulled larger."""

MOST_TRENDS = 10
"""Specs of a history whose trend is drawn."""


def run_view(reported: ReportedRun) -> str:
    """Return a run with all that report.html shows of it."""
    return _frame(html([reported]), repr(reported.run), HIGHEST, has_script=True)


def verdict_view(verdict: Verdict) -> str:
    """Return one gate or check as a row of the report's table."""
    run = Run("", "", "", "", RunStatus.PASSED, "", verdicts=(verdict,))
    kind = "check" if isinstance(verdict.facts, CheckFacts) else "gate"
    height = 3 * ROW + len(verdict.explanation) // 3
    return _view(str(verdict), height, verdicts_shown={kind: [VerdictView(run, verdict)]})


def comparison_view(comparison: RunComparison) -> str:
    """Return what differs between two runs, section by section."""
    sections = list(differences(comparison.a, comparison.b, comparison.contrast))
    rows = sum(2 + len(section.rows) for section in sections if section.rows)
    return _view(repr(comparison), (rows + 3) * ROW, compared=sections)


def history_view(runs: Sequence[Summary], said: Sequence[str] = ()) -> str:
    """Return runs, newest first, and the trend of each spec; ``said`` is what else is to be told."""
    lines = [line for name in _specs(runs)[:MOST_TRENDS] if (line := _trend(name, runs))]
    rows = 2 + len(runs) + len(lines) + len(said)
    title = f"{len(runs)} runs" if runs else " ".join(said)
    return _view(title, rows * ROW, listed=runs, trends=lines, said=said)


def _specs(runs: Sequence[Summary]) -> list[str]:
    return list(dict.fromkeys(run.spec for run in runs))


def _trend(spec: str, runs: Sequence[Summary]) -> Spark | None:
    own = [run for run in runs if run.spec == spec]
    metric = tested_metric(own[0].objective)
    return spark_of(f"{spec}: {metric}", [mean(run, metric) for run in reversed(own)])


def _view(title: str, height: int, **shown: object) -> str:
    style = page_style()
    nothing: dict[str, object] = {
        "verdicts_shown": {},
        "compared": [],
        "listed": [],
        "trends": [],
        "said": (),
    }
    page = page_template("notebook.html").render(
        {**nothing, **shown}, style=style, policy=policy(style)
    )
    return _frame(page, title, min(height, HIGHEST), has_script=False)


def _frame(page: str, title: str, height: int, *, has_script: bool) -> str:
    """Return a page as a frame of its own origin, under a line for viewers that show no frames."""
    line = markup.escape(clean(title))
    return (
        f"<p><code>{line}</code></p>"
        f'<iframe sandbox="{"allow-scripts" if has_script else ""}" title="modeltune: {line}" '
        f'referrerpolicy="no-referrer" style="width: 100%; height: {height}px; border: 0; '
        f'resize: vertical" srcdoc="{markup.escape(page)}"></iframe>'
    )
