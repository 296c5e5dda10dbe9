"""Hypothesis draws the same examples in every run, so that a red law stays red."""

import enum
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hypothesis
import pytest

# As the engine does; but a test may import TensorFlow first, and with it JAX, which sets another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from tests.support.example import Example
    from tests.support.postgres import Server

hypothesis.settings.register_profile("laws", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.register_profile("few", derandomize=True, deadline=None, max_examples=10)
hypothesis.settings.load_profile("laws")


MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 * 2**30:
    # Where temporary folders lie, unless one is named: what a test writes durably, thousands of
    # times, then waits for no disk.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

ENGINE, HISTORIES = (Path(__file__).parent / name for name in ("engine", "histories"))

LONG = [
    f"test_{name}.py"
    for name in [
        "guide",
        "selftest",
        "epoch_graph",
        "accepting",
        "kills",
        "predictors",
        "workers",
        "supervision",
        "replay",
        "refit",
        "oracles",
        "compiled_pool",
        "frozen_prefix",
        "resuming",
        "given_models",
        "sessions",
    ]
]
"""What takes longest, a minute or two each; begun first, so that workers end at the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; ``--no-loadscope-reorder`` leaves it so."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name members of our enumerations, which print as mere words, by their type too."""
    return f"{type(val).__name__}.{val.name}" if isinstance(val, enum.Enum) else None


def pytest_collection_finish() -> None:
    """Spare the collector what the imports made, and have it begin as seldom as in a trial's process."""
    if "tensorflow" in sys.modules:
        lean_graphs().note_no_stacks()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def lean_graphs() -> ModuleType:
    """Return what spares TensorFlow work; it imports TensorFlow."""
    from tests.support import lean_graphs

    return lean_graphs


def forget_compiled_models() -> None:
    if (reuse := sys.modules.get("modeltune.engine.fit.compiled_pool")) is not None:
        reuse.POOL.clear()


@pytest.fixture(scope="module", autouse=True)
def compiled_models_of_one_file() -> Iterator[None]:
    """Have no test train on steps that one of another file has compiled."""
    yield
    forget_compiled_models()


@pytest.fixture(scope="module", autouse=True)
def graphs_of_one_file(request: pytest.FixtureRequest) -> None:
    """Have TensorFlow optimise its graphs only where tests are about the last bit of what they train."""
    if "tensorflow" in sys.modules:
        lean_graphs().leave_as_traced(ENGINE / "fit" not in request.path.parents)


@pytest.fixture(scope="module", autouse=True)
def empty_histories_of_one_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the migrations run only in tests that are about what becomes of a history."""
    is_about_them = HISTORIES in request.path.parents or request.path.name == "test_kills.py"
    if is_about_them or "alembic" not in sys.modules:
        yield
        return
    from tests.support import empty_histories

    with empty_histories.copied():
        yield


@pytest.fixture(autouse=True)
def compiled_models_of_one_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have no test of the engine train on steps that another has compiled."""
    yield
    if ENGINE in request.path.parents:
        forget_compiled_models()


@pytest.fixture(autouse=True)
def alone_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what runs inside a test neither share cores with those who run the tests, nor tell their CI."""
    for name in ("PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_WORKER", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def keras_is_loaded() -> None:
    """Import Keras before pytester notes what to forget."""
    from tests.support.example import load_keras

    load_keras()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def script_is_loaded() -> None:
    """Import what a scripted run needs before pytester notes what to forget."""
    from tests.support.example import load_script

    load_script()


@pytest.fixture
def example(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> "Example":
    """Return a project without specs, for sessions in processes of their own."""
    from tests.support.example import IN_PROCESS, ROOT, Example

    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", IN_PROCESS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    return Example(pytester, {"pyproject.toml": ""})


@pytest.fixture
def project(keras_is_loaded: None, example: "Example") -> "Example":
    """Return a project without specs; a pytest inside this one trains in its own process."""
    return example


@pytest.fixture
def scripted(script_is_loaded: None, example: "Example") -> "Example":
    """Return a project whose specs are trained by a script: for what is not about models."""
    return replace(example, is_scripted=True)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Server]":
    """Yield a PostgreSQL server; a test that stops it starts it again."""
    from tests.support.postgres import serving

    with serving() as server:
        yield server
