"""How much of the machine this process may use: cores and memory, also inside a container."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")

UNLIMITED = 2**60
"""Bytes; version 1 of control groups writes "no limit" as a number larger than this."""


def usable_cores(root: Path = ROOT) -> int:
    """Return how many cores this process may keep busy; at least 1.

    That is the least of the machine's cores, those it is pinned to, and the whole cores in the
    quotas of its control groups: a container started by ``docker run --cpus=2`` has 2.

    Args:
        root: where ``proc`` and ``sys`` are found.
    """
    cores = float(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    for folder in _groups("cpu", root):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not period:
            quota, period = (_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        with contextlib.suppress(ValueError, ZeroDivisionError):
            # "max" and -1 are none.
            if (share := int(quota) / int(period)) > 0:
                cores = min(cores, share)
    return max(1, math.floor(cores))


def usable_memory(free: int, root: Path = ROOT) -> int:
    """Return the bytes of memory this process may still take, of those the machine has free.

    The limits of its control groups may leave less. Pages of files that can be given back count as
    free, as they do for the machine.

    Args:
        free: what the machine has free, in bytes.
        root: as of ``usable_cores``.
    """
    names = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.high", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in _groups("memory", root):
        for limit_name, used_name, cached_name in names:
            with contextlib.suppress(ValueError):
                limit, used = int(_text(folder / limit_name)), int(_text(folder / used_name))
                facts = dict(
                    line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines()
                )
                if limit < UNLIMITED:
                    free = min(free, limit - used + int(facts.get(cached_name, 0)))
    return max(0, free)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, and of those around them.

    See https://man7.org/linux/man-pages/man7/cgroups.7.html and proc_pid_mountinfo(5).
    """
    paths: dict[str, str] = {}  # by controller; version 2 has the empty name
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        paths |= dict.fromkeys(controllers.split(","), group)
    for line in _text(root / "proc/self/mountinfo").splitlines():
        place, _, system = line.partition(" - ")
        mount, kind = place.split(" "), system.split(" ")
        if len(mount) < 5 or len(kind) < 3:
            continue
        path: str | None = None
        if kind[0] == "cgroup2":
            path = paths.get("")
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            path = paths.get(controller)
        if path is None:
            continue
        top = root / mount[4].lstrip("/")
        # A container sees its own group as the top, whatever the machine calls it.
        inside = PurePosixPath(path)
        with contextlib.suppress(ValueError):
            inside = inside.relative_to(mount[3])
        folder = top / str(inside).lstrip("/")
        around = [folder, *folder.parents]
        yield from around[: around.index(top) + 1] if ".." not in inside.parts else [top]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
