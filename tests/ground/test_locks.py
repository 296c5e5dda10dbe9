"""Locks: who has one, who finds it taken, when it ends, and what is said where there are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modeltune.ground.locks import is_unlocked, try_lock, wait_for_lock
from tests.support.example import source


def test_a_lock_belongs_to_one_and_ends_when_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as mine:
        assert try_lock(mine)
        with path.open() as other:
            assert not try_lock(other)
            assert not is_unlocked(other)
    with path.open() as other:
        wait_for_lock(other)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding = (
        "import sys; from modeltune.ground import try_lock; file = open(sys.argv[1], 'w');"
        "print(try_lock(file), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        with path.open() as file:
            assert not try_lock(file)
            process.kill()
            process.wait()
            assert try_lock(file)


def test_looking_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as one, path.open() as other:
        assert is_unlocked(one)
        assert is_unlocked(other)
        assert try_lock(other)


WINDOWS = """
import multiprocessing.reduction, os, signal, sys
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios"):
    sys.modules[name] = None
for module, names in {
    os: "fork forkpty killpg setsid sched_getaffinity",
    signal: "SIGKILL",
    multiprocessing.reduction: "DupFd",
}.items():
    for name in names.split():
        delattr(module, name)
import modeltune.ground.locks, types
modeltune.ground.locks.sys = types.SimpleNamespace(platform="win32")
"""
"""Takes away what Linux has and Windows does not; Python and libraries have imported it already."""


def on_windows(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import psutil, pytest, subprocess\n{WINDOWS}\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


UNSUPPORTED = (
    "modeltune runs on Linux and macOS, not on win32; on Windows use the Windows Subsystem for "
    "Linux (WSL)"
)


def test_the_harness_can_be_imported_on_windows(tmp_path: Path) -> None:
    modules = "harness.pipeline harness.executors.processes histories.garbage plugin.items"
    imports = "\n".join(f"import modeltune.{name}" for name in modules.split())
    done = on_windows(imports, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_spec_says_in_one_line_that_a_system_is_not_supported(tmp_path: Path) -> None:
    (tmp_path / "spec_tiny.py").write_text(source(), encoding="utf-8")
    arguments = ["--modeltune-workers=2", "-pno:cacheprovider", "-pno:hypothesispytest"]
    done = on_windows(f"sys.exit(pytest.main({arguments}))", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert UNSUPPORTED in done.stdout.splitlines()
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / ".modeltune").exists()


def test_a_command_that_needs_locks_says_so_too(tmp_path: Path) -> None:
    done = on_windows("from modeltune.cli import main\nsys.exit(main(['selftest']))", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"modeltune: {UNSUPPORTED}\n"
