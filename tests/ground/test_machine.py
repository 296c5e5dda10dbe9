"""What a container allows counts, not what its machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from modeltune.ground import usable_cores, usable_memory

GIB = 2**30

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
V1_GROUPS = "4:memory:{group}\n3:cpu,cpuacct:{group}\n0::/\n"


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the machine 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))


def written(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(group: str, files: Mapping[str, str]) -> dict[str, str]:
    named = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": V2_MOUNT, **named}


def v1(group: str, root: str, files: Mapping[str, str]) -> dict[str, str]:
    return {
        "proc/self/cgroup": V1_GROUPS.format(group=group),
        "proc/self/mountinfo": V1_MOUNTS.format(root=root),
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }


CPU = "cpu,cpuacct"

CORES = {
    "no control groups": ({}, 64),
    "docker --cpus=2": (v2("/", {"cpu.max": "200000 100000\n"}), 2),
    "docker --cpus=1.5": (v2("/", {"cpu.max": "150000 100000\n"}), 1),
    "docker --cpus=0.5": (v2("/", {"cpu.max": "50000 100000\n"}), 1),
    "no quota": (v2("/", {"cpu.max": "max 100000\n"}), 64),
    "a group around": (v2("/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}), 3),
    "the least of several": (
        v2("/a/b", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "300000 100000"}),
        2,
    ),
    "damaged": (v2("/", {"cpu.max": "many of them"}), 64),
    "version 1": (
        v1("/docker/1", "/docker/1", {f"{CPU}/cpu.cfs_quota_us": "400000", f"{CPU}/cpu.cfs_period_us": "100000"}),
        4,
    ),
    "version 1, no quota": (
        v1("/", "/", {f"{CPU}/cpu.cfs_quota_us": "-1", f"{CPU}/cpu.cfs_period_us": "100000"}),
        64,
    ),
    "version 1, below the machine's": (
        v1("/slurm/7", "/", {f"{CPU}/slurm/7/cpu.cfs_quota_us": "500000", f"{CPU}/slurm/7/cpu.cfs_period_us": "100000"}),
        5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CORES)
def test_quotas_of_control_groups_limit_the_cores(tmp_path: Path, case: str) -> None:
    files, cores = CORES[case]
    assert usable_cores(written(tmp_path, files)) == cores


def test_cores_that_this_process_may_not_use_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert usable_cores(written(tmp_path, CORES["docker --cpus=2"][0])) == 1


MEMORY = {
    "no control groups": ({}, 100 * GIB),
    "docker --memory=4g": (
        v2("/", {"memory.max": f"{4 * GIB}", "memory.current": f"{GIB}", "memory.stat": "anon 1"}),
        3 * GIB,
    ),
    "pages of files": (
        v2(
            "/",
            {
                "memory.max": f"{4 * GIB}",
                "memory.current": f"{4 * GIB}",
                "memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            },
        ),
        2 * GIB,
    ),
    "no limit": (v2("/", {"memory.max": "max", "memory.current": f"{GIB}"}), 100 * GIB),
    "a soft limit": (
        v2("/", {"memory.max": "max", "memory.high": f"{2 * GIB}", "memory.current": f"{GIB}"}),
        GIB,
    ),
    "used up": (v2("/", {"memory.max": "4096", "memory.current": "8192"}), 0),
    "version 1": (
        v1(
            "/docker/1",
            "/docker/1",
            {
                "memory/memory.limit_in_bytes": f"{8 * GIB}",
                "memory/memory.usage_in_bytes": f"{GIB}",
            },
        ),
        7 * GIB,
    ),
    "version 1, no limit": (
        v1(
            "/",
            "/",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "1",
            },
        ),
        100 * GIB,
    ),
}


@pytest.mark.parametrize("case", MEMORY)
def test_limits_of_control_groups_limit_the_memory(tmp_path: Path, case: str) -> None:
    files, free = MEMORY[case]
    assert usable_memory(100 * GIB, written(tmp_path, files)) == free
