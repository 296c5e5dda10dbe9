"""Private names of other libraries: used where they are, reported where a version lacks them.

Each library has one module of ours, ``..._internals``, that lists all of its private names we use.
What a missing name was good for is then done in a plainer way, and the user reads which it was.
"""

from __future__ import annotations

from importlib import metadata
from types import ModuleType
from typing import Any


class MissingNameError(Exception):
    """The installed version of a library lacks a private name that we use: says both."""


def private_name(library: str, owner: object, name: str) -> Any:
    """Return an attribute that a library has without documenting it.

    Args:
        library: the library as it is installed, such as "pytest".
        owner: its module, class or object that has the attribute.
        name: the attribute.

    Raises:
        MissingNameError: there is none in this version.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        where = owner if isinstance(owner, ModuleType | type) else type(owner)
        raise MissingNameError(
            f"{library} {metadata.version(library)} has no {where.__name__}.{name}"
        ) from None
