"""Where a history is, as a URL whose password nothing prints, and whose paths are absolute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground.errors import ModeltuneError
from modeltune.ground.masked_urls import MaskedUrl

HOME = "~/"
"""A path that begins so is in the user's home folder."""

_SQLITE = re.compile(r"(sqlite(?:\+pysqlite)?):///(.*)", re.DOTALL)


@dataclass(frozen=True)
class StoreUrl:
    """The URL of a history. A path in it is absolute; of a server's runs, files lie in ``project``.

    ``sqlite:///`` is followed by a path as it is on disk, in which nothing is decoded: a folder
    may be named ``feature%2Fgate`` or ``what?``. A path that begins with ``~/`` is in the user's
    home folder, and a relative one is resolved once, when the value is made.
    """

    url: MaskedUrl
    project: Path

    def __repr__(self) -> str:
        return repr(self.url)

    def reveal(self) -> str:
        """Return the URL with its password; see ``MaskedUrl``."""
        return self.url.reveal()

    @property
    def path(self) -> Path | None:
        """The file of a SQLite history; None if the URL names no file, as that of a server.

        What follows a ``?`` in the file's name would be options, and there are none.
        """
        match = _SQLITE.fullmatch(self.reveal())
        text = match[2] if match else ""
        if not text or text == ":memory:" or text.startswith("file:") or "\0" in text:
            return None
        return None if "?" in text.rpartition("/")[2] else Path(text)


def store_url(
    url: str | StoreUrl, *, start: Path | None = None, project: Path | None = None
) -> StoreUrl:
    """Return a URL with absolute paths; a StoreUrl is returned as it is.

    Args:
        url: as the user typed it.
        start: the folder in which a relative path begins; default: the working directory.
        project: the folder whose ``.modeltune`` keeps files of a server's runs; default: ``start``.

    Raises:
        ModeltuneError: the path is in a home folder, and there is none.
    """
    if isinstance(url, StoreUrl):
        return url
    hidden = MaskedUrl(url)
    del url
    start = (start or Path.cwd()).absolute()
    match = _SQLITE.fullmatch(hidden.reveal())
    if match and StoreUrl(hidden, start).path is not None:
        return sqlite_url(absolute_path(match[2], start), match[1])
    return StoreUrl(hidden, project or start)


def sqlite_url(path: Path, scheme: str = "sqlite") -> StoreUrl:
    """Return the URL of the history in a file."""
    path = path.absolute()
    return StoreUrl(MaskedUrl(f"{scheme}:///{path}"), path.parent)


def absolute_path(text: str, start: Path) -> Path:
    """Return a path that a user typed as an absolute one: a relative one begins at ``start``.

    Raises:
        ModeltuneError: the path is in a home folder, and there is none.
    """
    if not text.startswith(HOME):
        return Path(start, text).absolute()
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ModeltuneError(f"{text}: nothing says where the home folder is; set HOME") from None
