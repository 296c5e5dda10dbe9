"""A real Jupyter kernel: runs cells as a notebook does, and returns what it would show of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

PATIENCE = 180
"""Seconds after which a cell is given up."""


@dataclass
class Output:
    """What a notebook shows below a cell.

    ``result`` is the last expression's by media type, ``streams`` are stdout and stderr, ``lines``
    by the id of their display the versions of what was shown and replaced.
    """

    result: dict[str, str] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.result.get("text/plain", "")

    @property
    def html(self) -> str:
        return self.result.get("text/html", "")


class Kernel:
    """A kernel that has been started; ``run`` runs a cell."""

    def __init__(self, client: Any):
        self._client = client

    def run(self, cell: str) -> Output:
        """Run a cell, and return its output; an error of it is raised."""
        output = Output()

        def show(message: Mapping[str, Any]) -> None:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                name = content["name"]
                output.streams[name] = output.streams.get(name, "") + content["text"]
            elif kind == "execute_result":
                output.result = content["data"]
            elif kind in ("display_data", "update_display_data"):
                shown = output.lines.setdefault(content["transient"].get("display_id", ""), [])
                shown.append(content["data"]["text/plain"])

        reply = self._client.execute_interactive(cell, timeout=PATIENCE, output_hook=show)
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"]["traceback"])
        return output


@contextmanager
def kernel(folder: Path, **environment: str) -> Iterator[Kernel]:
    """Lend a kernel whose working directory is a folder, with these variables besides ours."""
    (folder / ".kernel").mkdir()
    manager: Any = KernelManager(
        transport="ipc",
        ip=str(folder / ".kernel" / "socket"),
        connection_file=str(folder / ".kernel" / "connection.json"),
    )
    variables = {**os.environ, **environment}
    # Inside a test a kernel shows nothing of what libraries write past Python.
    variables.pop("PYTEST_CURRENT_TEST", None)
    manager.start_kernel(cwd=str(folder), env=variables)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
