"""A run's environment says what its numbers depend on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from modeltune.engine.backends import backend
from modeltune.engine.environments import (
    environment,
    git_problem,
    git_revision,
    old_keras,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "1"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_an_environment_is_strict_json_and_names_its_versions(tmp_path: Path) -> None:
    facts = environment(tmp_path, "mixed_float16")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["keras"] == keras.__version__
    assert facts["dtype_policy"] == "mixed_float16"
    assert facts["devices"][0].startswith(("CPU: ", "GPU: "))


def test_the_version_of_tensorflow_is_what_the_module_says_whatever_its_distribution_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf, "__version__", "9.9-nightly")
    assert environment(tmp_path, None)["versions"]["tensorflow"] == "9.9-nightly"


def test_without_a_policy_of_its_own_a_run_has_keras_current_one(tmp_path: Path) -> None:
    assert environment(tmp_path, None)["dtype_policy"] == keras.config.dtype_policy().name


def test_threads_are_those_tensorflow_computes_with_not_those_asked_for_too_late(
    tmp_path: Path,
) -> None:
    tf.constant(1)  # From now on their number stays.
    before = environment(tmp_path, None)["threads"]
    assert before == {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }
    backend().set_up(before["intra_op"] + 3)
    assert environment(tmp_path, None)["threads"] == before


def test_outside_of_git_there_is_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) == {"git_revision": None, "git_dirty": None}


def test_without_git_there_is_no_revision(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_revision(repository)["git_revision"] is None


def test_why_git_tells_nothing_of_a_repository_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_problem(repository) is None
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    (folder := repository / "models").mkdir()
    assert git_revision(folder) == {"git_revision": None, "git_dirty": None}
    problem = git_problem(folder)
    assert problem is not None
    assert problem.startswith("git_revision and git_dirty are not recorded: ")
    assert f"dubious ownership in repository at '{repository}'" in problem
    assert problem.endswith(f"git config --global --add safe.directory {repository}")

    monkeypatch.setenv("PATH", "")
    assert git_problem(folder) == (
        "git_revision and git_dirty are not recorded: git cannot be run: No such file or directory"
    )


def test_outside_of_git_nothing_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_problem(tmp_path) is None


def test_changed_files_and_untracked_code_are_dirty_other_untracked_files_are_not(
    repository: Path,
) -> None:
    (repository / "notes.txt").write_text("1")
    clean = git_revision(repository)
    assert len(str(clean["git_revision"])) == 40
    assert clean["git_dirty"] is False
    (repository / "spec.py").write_text("1")
    assert git_revision(repository)["git_dirty"] is True
    (repository / "spec.py").unlink()
    subprocess.run(["git", "-C", str(repository), "add", "notes.txt"], check=True)
    assert git_revision(repository)["git_dirty"] is True


def test_the_processor_and_its_kernels_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = environment(tmp_path, None)
    assert facts["cpu"]
    assert facts["cpu"] in facts["devices"][0] or facts["devices"][0].startswith("GPU")
    assert facts["onednn"] is True
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert environment(tmp_path, None)["onednn"] is False


@pytest.mark.parametrize(
    ("version", "is_old"),
    [("3.12.0", True), ("3.15.0", True), ("3.15.1", False), ("3.16.0.dev1", False), ("4.0", False)],
)
def test_a_keras_that_reads_hostile_files_is_named(
    version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras, "__version__", version)
    said = old_keras()
    assert (said is not None) is is_old
    assert said is None or (version in said and "3.15.1 or newer" in said)


def test_a_file_name_in_another_encoding_is_no_hindrance(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = b"J\xfcrgen.py"
    (repository / os.fsdecode(name)).write_text("1")
    for arguments in (["config", "core.quotepath", "false"], ["add", "."]):
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    assert git_revision(repository)["git_dirty"] is True
