"""report.json: every run of a session as strict JSON, for other programs to read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from modeltune.ground import make_folder, write_durably
from modeltune.records import SCHEMA, Json

SCHEMA_FILE = Path(__file__).with_name("report_schema.json")
"""The JSON Schema of report.json (draft 2020-12), which says what each key means."""


def write(path: Path, runs: Sequence[Json]) -> None:
    """Write the report of these runs (as ``to_json`` gives them), replacing the last one whole."""
    write_whole(path, report_text(runs) + "\n")


def report_text(runs: Sequence[Json]) -> str:
    """Return the report of these runs (as ``to_json`` gives them) as strict JSON, in ASCII."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return json_text({"schema": SCHEMA, "created": created, "runs": list(runs)})


def json_text(document: Json) -> str:
    """Return strict JSON data as text, in ASCII: no terminal obeys anything in it."""
    return json.dumps(document, indent=1, allow_nan=False)


def write_whole(path: Path, text: str) -> None:
    """Write a report of any kind, replacing the last one whole."""
    make_folder(path.parent)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    write_durably(path, draft, lambda draft: draft.write_text(text, encoding="utf-8"))
