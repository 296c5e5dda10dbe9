"""report.json: every run of a session as strict JSON, for other programs to read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from modeltune.runs import SCHEMA, Json


def write(path: Path, runs: Sequence[Json]) -> None:
    """Write the report of these runs (as ``runs.to_json`` gives them), replacing the last one whole."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(
        {"schema": SCHEMA, "created": created, "runs": list(runs)}, indent=1, allow_nan=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
