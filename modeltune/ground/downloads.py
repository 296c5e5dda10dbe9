"""Say which file Keras could not download, and where to place it instead."""

from __future__ import annotations

from pathlib import Path

GET_FILE = "get_file"
"""The function of ``keras.utils`` that downloads weights and data, ``fname`` below ``cache_dir``."""


def failed_download(error: BaseException) -> str | None:
    """Return what to place where after ``keras.utils.get_file`` failed; None where another thing did."""
    place = None
    trace = error.__traceback__
    while trace is not None:
        code, arguments = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if code.co_name == GET_FILE and "keras" in Path(code.co_filename).parts:
            place = arguments
        trace = trace.tb_next
    if place is None or not (place.get("fname") and place.get("origin")):
        return None
    # Where the cache cannot be written, Keras goes elsewhere.
    home = place.get("datadir_base") or place.get("cache_dir") or Path.home() / ".keras"
    path = Path(str(home)).expanduser() / str(place.get("cache_subdir")) / str(place["fname"])
    origin = str(place["origin"])
    why = str(error).removeprefix(f"URL fetch failure on {origin}: ")
    return (
        f"Keras has no {path.name} in its cache and cannot download it ({why}): place {origin} at "
        f"{path}, or build with weights=None"
    )
