"""What a page or a picture shows of one run: its record, and what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeltune.records import Json, Run, Summary
from modeltune.reports.comparison import Contrast

if TYPE_CHECKING:
    from modeltune.records import Samples


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run with its past.

    Args:
        run: the record.
        past: the last runs of its spec up to this one, newest first, itself among them.
        samples: what happened on each test sample.
        examples: test samples to look at, wrong ones first, as the run's file "examples" has them.
        reference: the run it is compared with: the accepted run that its gates were compared
            with, else the run before it.
        contrast: the differences that the two records alone do not show.
        missing: what could not be read, and why.
        baseline_samples: what the baseline did on each test sample, None where that is not kept.
    """

    run: Run
    past: tuple[Summary, ...] = ()
    samples: Samples | None = None
    examples: Mapping[str, Json] = field(default_factory=dict)
    reference: Run | None = None
    contrast: Contrast = field(default_factory=Contrast)
    missing: tuple[str, ...] = ()
    baseline_samples: Samples | None = None

    @property
    def baseline(self) -> Run | None:
        """The accepted run it was held against, None when there was none or it is not at hand."""
        is_accepted = self.reference is not None and self.reference.id == self.run.baseline
        return self.reference if is_accepted else None
