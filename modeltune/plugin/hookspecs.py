"""The hook that calls other plugins and conftest.py files with every recorded run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from modeltune.records import Run


def pytest_modeltune_run_recorded(run: Run, folder: Path, config: pytest.Config) -> None:
    """Do something with a recorded run: log it elsewhere, post it in a chat, draw it.

    Called once for each run after it was recorded, however it ended; under pytest-xdist in the
    controller. Not called for a run taken from the history. An error that is raised is shown at
    the end of the session, and changes no outcome. An implementation may leave out arguments that
    it does not need.

    Args:
        run: everything that was recorded, ``modeltune.records.runs.Run``.
        folder: what ``run.artifact.path`` and ``run.files[...].path`` are relative to.
        config: pytest's.
    """
