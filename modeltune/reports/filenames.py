"""File and folder names for specs and other things that users name as they like."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

LONGEST_FILE_NAME = 120


def file_name(text: str) -> str:
    """Return the name of one file or folder for a text; different texts have different names.

    What no file name may hold is percent-encoded, ``spec_digits.py::mlp`` is
    ``spec_digits.py.mlp``; of a long name the rest is a digest.
    """
    raw = text.replace("::", ".", 1).encode("utf-8", "surrogatepass")
    # A dot in front would hide the file, or lead out of its folder.
    name = quote(raw, safe="[]()=,+").replace(".", "%2E", raw.startswith(b"."))
    if not name or len(name) > LONGEST_FILE_NAME:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = f"{name[:LONGEST_FILE_NAME]}~{digest}"
    return name
