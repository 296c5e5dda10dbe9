"""Locks on open files, which end with the process that holds them; not every system has them.

The library filelock was weighed: it empties the file it locks, which for us is a ledger with
results in it, and it cannot tell whether a file is locked without taking the lock.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import IO, Any

from modeltune.ground.errors import ModeltuneError


def is_supported_system() -> bool:
    """Tell whether this system has what runs need: locks on files as Linux and macOS have them."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return False
    return True


def require_supported_system() -> None:
    """Refuse a system that modeltune does not run on.

    Raises:
        ModeltuneError: it is one, such as Windows; says which would do.
    """
    if not is_supported_system():
        raise ModeltuneError(
            f"modeltune runs on Linux and macOS, not on {sys.platform}; on Windows use the Windows "
            "Subsystem for Linux (WSL)"
        )


def wait_for_lock(file: IO[Any]) -> None:
    """Lock an open file for whoever has it open here, once no other process holds the lock.

    The lock ends when the file is closed here and in every process forked meanwhile, or when
    they end.

    Raises:
        OSError: its file system has no locks.
    """
    fcntl = _fcntl()
    fcntl.flock(file, fcntl.LOCK_EX)


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file as ``wait_for_lock`` does, unless it is locked; tell whether it is ours.

    Raises:
        OSError: its file system has no locks.
    """
    fcntl = _fcntl()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_unlocked(file: IO[Any]) -> bool:
    """Tell whether nobody else has locked an open file; several may ask at once.

    Raises:
        OSError: its file system has no locks.
    """
    fcntl = _fcntl()
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Given back at once: a run that begins now would take it for that of another run.
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _fcntl() -> ModuleType:
    """Return the module of Python for locks; imported here, since it does not exist on Windows."""
    require_supported_system()
    import fcntl

    return fcntl
