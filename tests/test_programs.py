"""`.ci/programs`: what the tests need of the system is installed, or the line that does is printed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = {
    "make": "make",
    "git": "git",
    "strace": "strace",
    "pg_ctl": "postgresql",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "python3": "python3 python3-venv",
}
"""The programs that are looked for, and Debian's packages with them."""

NAMES = {"python3": "python (3.11 to 3.13, with venv)"}
"""What a program is called in a message, where that is not its name."""

INSTALL = "apt-get install --yes --no-install-recommends"

NOTHING = "exit 0"
BRING_IT = 'case "$*" in *install*) for program in $LACKING; do ln -s /bin/true "{bin}/$program"; done; esac'
NO_INDEX = "exit 100"
COMPILED_WITHOUT = "exit 3"

FREE = '[ "$1" = -n ] && shift; exec "$@"'
WITH_PASSWORD = "echo 'sudo: a password is required' >&2; exit 1"


@dataclass(frozen=True)
class Machine:
    """A folder of programs that is all there is on the PATH, and an empty root folder."""

    root: Path

    @property
    def bin(self) -> Path:
        """The folder on the PATH."""
        return self.root / "bin"

    def have(self, program: str, script: str) -> None:
        """Put a program of our own on the PATH."""
        file = self.bin / program
        file.write_text(f"#!/bin/sh\n{script.replace('{bin}', str(self.bin))}\n")
        file.chmod(0o755)

    def look(self, *, lacking: str = "") -> tuple[int, str, str]:
        """Return how the script ends: its exit code, and what it prints to stdout and stderr."""
        done = subprocess.run(
            [ROOT / ".ci" / "programs", self.root],
            env={"PATH": str(self.bin), "LACKING": lacking},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def installed(self) -> list[str]:
        """Return what apt-get was called with, line by line."""
        log = self.root / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return root's machine, which has everything, and an apt-get that installs what is lacking."""
    made = Machine(tmp_path)
    made.bin.mkdir()
    for tool in ("bash", "env", "dirname", "ln"):
        made.bin.joinpath(tool).symlink_to(str(shutil.which(tool)))
    for program in PACKAGES:
        made.have(program, NOTHING)
    made.have("id", "echo 0")
    apt_get(made, BRING_IT)
    return made


def apt_get(machine: Machine, script: str) -> None:
    """Have an apt-get that notes its arguments, and the answer to questions, before it acts."""
    log = machine.root / "log"
    machine.have("apt-get", f'echo "$DEBIAN_FRONTEND: apt-get $*" >> "{log}"\n{script}')


def test_nothing_is_printed_when_all_is_there(machine: Machine) -> None:
    assert machine.look() == (0, "", "")
    assert machine.installed() == []


def test_a_server_off_the_path_is_enough(machine: Machine) -> None:
    machine.bin.joinpath("pg_ctl").unlink()
    server = machine.root / "usr/lib/postgresql/15/bin/pg_ctl"
    server.parent.mkdir(parents=True)
    server.touch()
    assert machine.look() == (0, "", "")


@pytest.mark.parametrize("program", PACKAGES)
def test_what_is_missing_is_installed(machine: Machine, program: str) -> None:
    machine.bin.joinpath(program).unlink()
    name = NAMES.get(program, program)
    assert machine.look(lacking=program) == (
        0,
        "",
        f"The tests start programs that are not here: {name}\n",
    )
    assert machine.installed() == [
        "noninteractive: apt-get update",
        f"noninteractive: {INSTALL} {PACKAGES[program]}",
    ]


@pytest.mark.parametrize("program", PACKAGES)
def test_a_package_that_does_not_bring_its_program_is_said(machine: Machine, program: str) -> None:
    machine.bin.joinpath(program).unlink()
    name = NAMES.get(program, program)
    assert machine.look(lacking="") == (
        1,
        "",
        f"The tests start programs that are not here: {name}\n"
        f"apt-get installed {PACKAGES[program]}, but these are still not here: {name}\n",
    )


def test_all_are_installed_at_once(machine: Machine) -> None:
    for program in PACKAGES:
        machine.bin.joinpath(program).unlink()
    assert machine.look(lacking=" ".join(PACKAGES))[0] == 0
    assert machine.installed()[1:] == [f"noninteractive: {INSTALL} {' '.join(PACKAGES.values())}"]


def test_a_python_of_another_version_is_none(machine: Machine) -> None:
    machine.have("python3", "exit 1")
    machine.have("python3.12", NOTHING)
    assert machine.look() == (0, "", "")
    machine.bin.joinpath("python3.12").unlink()
    code, _, output = machine.look()
    assert (code, output.splitlines()[0]) == (
        1,
        "The tests start programs that are not here: python (3.11 to 3.13, with venv)",
    )


def test_a_python_that_was_compiled_with_optimisations_goes_first(machine: Machine) -> None:
    def chosen() -> str:
        return subprocess.check_output(
            [ROOT / ".ci" / "python"], env={"PATH": str(machine.bin)}, text=True
        )

    # What asks a Python is answered by its exit code.
    machine.have("python3", COMPILED_WITHOUT)
    assert chosen() == f"{machine.bin}/python3\n"
    machine.have("python3.12", COMPILED_WITHOUT)
    assert chosen() == f"{machine.bin}/python3\n"
    machine.have("python3.11", NOTHING)
    assert chosen() == f"{machine.bin}/python3.11\n"


def test_sudo_installs_where_it_asks_for_no_password(machine: Machine) -> None:
    machine.have("id", "echo 1000")
    machine.have("sudo", FREE)
    machine.have("true", NOTHING)
    machine.bin.joinpath("git").unlink()
    assert machine.look(lacking="git")[0] == 0
    assert machine.installed() == [
        "noninteractive: apt-get update",
        f"noninteractive: {INSTALL} git",
    ]


@pytest.mark.parametrize(
    ("sudo", "line"),
    [
        (WITH_PASSWORD, f"sudo apt-get update && sudo {INSTALL} strace postgresql"),
        (None, f"su -c 'apt-get update && {INSTALL} strace postgresql'"),
    ],
    ids=["sudo", "su"],
)
def test_who_may_not_install_is_told_what_to_type(
    machine: Machine, sudo: str | None, line: str
) -> None:
    machine.have("id", "echo 1000")
    if sudo:
        machine.have("sudo", sudo)
    for program in ("pg_ctl", "strace"):
        machine.bin.joinpath(program).unlink()
    assert machine.look(lacking="pg_ctl strace") == (
        1,
        "",
        "The tests start programs that are not here: strace pg_ctl\n"
        f"Install them, then try again:\n  {line}\n",
    )
    assert machine.installed() == []


def test_a_system_without_apt_is_told_the_packages(machine: Machine) -> None:
    for program in ("apt-get", "chromedriver"):
        machine.bin.joinpath(program).unlink()
    assert machine.look() == (
        1,
        "",
        "The tests start programs that are not here: chromedriver\n"
        "This system has no apt-get. In Debian these packages bring them: chromium-driver\n",
    )


def test_an_apt_that_fails_is_named(machine: Machine) -> None:
    apt_get(machine, NO_INDEX)
    machine.bin.joinpath("git").unlink()
    code, _, output = machine.look()
    assert (code, output.splitlines()[-1]) == (1, "This failed: apt-get update")


@pytest.mark.parametrize("target", ["test", "check"])
def test_make_looks_before_it_does_anything(target: str) -> None:
    assert planned(target)[0] == ".ci/programs"


def test_specs_need_nothing_but_python() -> None:
    assert ".ci/programs" not in planned("specs")


def planned(target: str) -> list[str]:
    """Return the commands of a target, none of which is run."""
    command = ["make", "--dry-run", "--no-print-directory", target]
    return subprocess.check_output(command, cwd=ROOT, text=True, timeout=60).splitlines()
