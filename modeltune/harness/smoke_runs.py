"""Exercise a spec end to end in seconds, and record nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from modeltune.ground import Deadline, sqlite_url
from modeltune.harness.pipeline import run
from modeltune.records import Event, Listener, Run, RunRecorded
from modeltune.specs import Spec

SMOKE_ROWS = 256
"""The most samples of each part: several batches of the usual sizes, and a second of training."""


def smoke(
    spec: Spec,
    *,
    listen: Listener,
    fixtures: Mapping[str, object] | None = None,
    workers: int | str = 0,
    deadline: Deadline = Deadline(),
) -> Run:
    """Run a spec as ``run`` does, with one trial, one epoch and at most ``SMOKE_ROWS`` samples of each part.

    Of a stream all is read, as it cannot be cut into rows. The history of this run is in a folder of
    its own, which is removed: nobody is told that a run was recorded.

    Returns:
        The run, with what each gate would have said of so short a training.

    Raises:
        SpecError, DataError, SearchError: as ``run`` does.
    """

    def tell(event: Event) -> None:
        if not isinstance(event, RunRecorded):
            listen(event)

    with tempfile.TemporaryDirectory(prefix="modeltune-", ignore_cleanup_errors=True) as folder:
        return run(
            spec.small(SMOKE_ROWS),
            fixtures=fixtures,
            store=sqlite_url(Path(folder) / "history.db"),
            workers=workers,
            deadline=deadline,
            listen=tell,
        )
