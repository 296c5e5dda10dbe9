"""Describe where a run happens: versions, git revision, devices, dtype policy."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

from modeltune.ground import text_of
from modeltune.records import Json

KERAS_PACKAGES = (
    "keras",
    "tensorflow",
    "keras_tuner",
    "keras_hub",
    "keras_nlp",
    "keras_cv",
    "tf_keras",
)
"""Packages that a build function of a Keras model leads to."""

PACKAGES = ("modeltune", "keras", "keras-tuner", "numpy", "scikit-learn", "pytest")

SAFE_KERAS = (3, 15, 1)
"""The first Keras that guards against hostile weight files."""


def environment(
    folder: Path, dtype_policy: str | None, sources: Sequence[str] = ("*.py",)
) -> dict[str, Json]:
    """Describe what numbers depend on besides the spec; ``folder`` and ``sources`` as of ``git_revision``."""
    import keras

    from modeltune.engine.backends import backend

    computing = backend()
    return {
        **machine(folder, _versions_of(computing.modules), sources),
        "devices": computing.devices(_cpu()),
        "backend": keras.backend.backend(),
        "dtype_policy": dtype_policy or keras.config.dtype_policy().name,
        "threads": computing.threads(),
        # Its kernels sum in another order than TensorFlow's own.
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }


def machine(
    folder: Path, versions: Mapping[str, str], sources: Sequence[str] = ("*.py",)
) -> dict[str, Json]:
    """Describe what numbers of any model depend on, with ``versions`` besides those of our packages.

    ``folder`` and ``sources`` are as of ``git_revision``.
    """
    return {
        "versions": {"python": platform.python_version(), **_versions(), **versions},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        **git_revision(folder, sources),
    }


def old_keras() -> str | None:
    """Say that the installed Keras is older than what modeltune asks for; None if it is not.

    pip does not keep others from installing an older one afterwards.
    """
    import keras

    version = str(keras.__version__)
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])
    if numbers >= SAFE_KERAS:
        return None
    return (
        f"Keras {version} follows links out of weight files and can be made to hang by one; use "
        f"{'.'.join(map(str, SAFE_KERAS))} or newer, and until then open no weights of others"
    )


def git_revision(folder: Path, sources: Sequence[str] = ("*.py",)) -> dict[str, Json]:
    """Return the commit and whether the code differs from it; both None outside of git.

    Dirty are changed tracked files anywhere, and files of code in the folder that are not
    tracked, ``sources`` by their patterns: a run of them cannot be repeated from the commit.
    """
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return {"git_revision": None, "git_dirty": None}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    untracked = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", *sources)
    return {"git_revision": revision, "git_dirty": bool(changed or untracked)}


def commit_time(folder: Path) -> datetime | None:
    """Return when the commit that a folder is at was made, by its committer's clock; None outside of git."""
    text = _git(folder, "log", "-1", "--format=%cI")
    return datetime.fromisoformat(text) if text else None


def git_problem(folder: Path) -> str | None:
    """Say why git tells nothing of the repository that a folder is in; None if it does, or there is none."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    try:
        done = _run_git(folder, "rev-parse", "--git-dir")
    except OSError as error:
        reason = f"git cannot be run: {error.strerror}"
    else:
        if done.returncode == 0:
            return None
        # "detected dubious ownership in repository at ..." and how to allow it, for one.
        reason = " ".join(text_of(done.stderr).split()) or f"git ended with {done.returncode}"
    return f"git_revision and git_dirty are not recorded: {reason}"


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _versions_of(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of what computes, as its modules tell them.

    Distributions have other names: tensorflow-cpu, tf-nightly, a build of one's own.
    """
    modules = ((name, sys.modules.get(name)) for name in names)
    found = ((name, getattr(module, "__version__", None)) for name, module in modules)
    return {name: str(version) for name, version in found if version is not None}


def _cpu() -> str:
    """Return the name of the processor: kernels are chosen by its instruction set."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        models = []
    return models[0] if models else platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = _run_git(folder, *arguments)
    except OSError:
        return None
    return text_of(done.stdout).strip() if done.returncode == 0 else None


def _run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
