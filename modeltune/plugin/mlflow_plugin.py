"""Log every recorded run to the MLflow server that was named, through the hook for plugins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeltune.ground import MaskedUrl
    from modeltune.records import Run


class MlflowPlugin:
    """A pytest plugin that logs recorded runs.

    Args:
        uri: returns the server's address for a run that is recorded; None: log it nowhere.
        page: returns a report of a run by its file name; None if it cannot be rendered.
    """

    def __init__(
        self,
        uri: Callable[[Run], MaskedUrl | None],
        page: Callable[[Run, str], str | None],
    ):
        self._uri = uri
        self._page = page
        self._unreachable: dict[MaskedUrl, Exception] = {}

    def pytest_modeltune_run_recorded(self, run: Run, folder: Path) -> None:
        """Log the run; a server that has not answered once is not tried again."""
        if not (uri := self._uri(run)):
            return
        if uri in self._unreachable:
            raise self._unreachable[uri]
        from modeltune.harness.trackers import mlflow

        try:
            pages = {name: partial(self._page, run, name) for name in ("report.md", "report.html")}
            mlflow.log(run, folder, uri, pages)
        except mlflow.Unreachable as error:
            self._unreachable[uri] = error
            raise
