"""Multiprocessing can make its sockets wherever temporary files are."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

import pytest

from modeltune.harness.executors.supervision import warm_up


def test_a_long_folder_for_temporary_files_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    # As in a process that has made no socket yet.
    process: Any = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "tempdir", None)
    bound = []

    def start() -> None:
        # As the server for new processes does.
        address = getattr(connection, "arbitrary_address")("AF_UNIX")  # noqa: B009  no stub has it
        with contextlib.closing(connection.Listener(address)):
            bound.append(address)

    monkeypatch.setattr(forkserver, "ensure_running", start)
    warm_up()
    assert len(bound) == 1
    assert tempfile.gettempdir() == str(deep)
