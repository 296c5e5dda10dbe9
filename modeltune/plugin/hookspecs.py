"""The hook other plugins and conftest.py files are told of recorded runs by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from modeltune.records import Run


def pytest_modeltune_run_recorded(run: Run, folder: Path, config: pytest.Config) -> None:
    """Take note of a run that is in the history: log it elsewhere, tell a chat, draw it.

    Called once per run, after it was recorded, however it ended, where pytest itself runs:
    under pytest-xdist in the controller. Not called of a run served from the history. What
    is raised is shown at the end of the session, and changes no outcome. Take only those
    arguments that are needed.

    Args:
        run: everything that was recorded, ``modeltune.records.runs.Run``.
        folder: what ``run.artifact.path`` and ``run.files[...].path`` are relative to.
        config: pytest's.
    """
