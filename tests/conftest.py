"""Hypothesis draws the same examples in every run, so that a red law stays red."""

import sys
from collections.abc import Iterator

import hypothesis
import pytest

hypothesis.settings.register_profile("laws", derandomize=True, deadline=None, max_examples=100)
hypothesis.settings.load_profile("laws")


@pytest.fixture(autouse=True)
def compiled_models_of_one_test() -> Iterator[None]:
    """Have no test train on steps that another has compiled."""
    yield
    if (reuse := sys.modules.get("modeltune.reuse")) is not None:
        reuse.POOL.clear()


@pytest.fixture(autouse=True)
def alone_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what runs inside a test neither share cores with those who run the tests, nor tell their CI."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
