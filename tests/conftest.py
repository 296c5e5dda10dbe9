"""Hypothesis draws the same examples in every run, so that a red law stays red."""

import gc
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.support.postgres import Server

hypothesis.settings.register_profile("laws", derandomize=True, deadline=None, max_examples=100)
hypothesis.settings.register_profile("few", derandomize=True, deadline=None, max_examples=10)
hypothesis.settings.load_profile("laws")


LONG = (
    *(
        "test_epoch_graph.py",
        "test_kills.py",
        "test_accepting.py",
        "test_compiled_pool.py",
        "test_selftest.py",
    ),
    *("test_frozen_prefix.py", "test_workers.py", "test_plugin.py", "test_resuming.py"),
)
"""What takes longest, a minute or two each; begun first, so that workers end at the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; ``--no-loadscope-reorder`` leaves it so."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Spare the collector what the imports made: Keras collects at every ``clear_session``."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def compiled_models_of_one_test() -> Iterator[None]:
    """Have no test train on steps that another has compiled."""
    yield
    if (reuse := sys.modules.get("modeltune.engine.fit.compiled_pool")) is not None:
        reuse.POOL.clear()


@pytest.fixture(autouse=True)
def alone_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what runs inside a test neither share cores with those who run the tests, nor tell their CI."""
    for name in ("PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project without specs; a pytest inside this one trains in its own process."""
    from tests.support.tiny_specs import IN_PROCESS

    monkeypatch.delenv("MODELTUNE_STORE", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", IN_PROCESS)
    pytester.makepyprojecttoml("")
    return pytester


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Server]":
    """Yield a PostgreSQL server; a test that stops it starts it again."""
    from tests.support.postgres import serving

    with serving() as server:
        yield server
