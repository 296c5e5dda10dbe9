"""An xdist that has other names for what we use of it: specs run all the same, and one line says so."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
import xdist

from modeltune.plugin.live_hooks import LiveHooks, is_xdist_worker
from modeltune.plugin.xdist_internals import (
    CHANNEL,
    QUEUE_NAMES,
    XDIST_NAMES,
    is_still_to_run,
    take_channel,
)
from tests.support.example import PARAMETRIZED, Example


class Channel:
    """What execnet's has of it."""

    def setcallback(self, callback: object, endmarker: object) -> None:
        """Nobody sends anything."""


class Config(SimpleNamespace):
    """A configuration of pytest's with a terminal reporter."""

    pluginmanager = SimpleNamespace(hasplugin=lambda name: True)

    def get_verbosity(self) -> int:
        return 0


def hooks_with_a_node() -> tuple[LiveHooks, Any]:
    config: Any = Config()
    gateway = SimpleNamespace(id="gw0", newchannel=Channel)
    return LiveHooks(config), SimpleNamespace(gateway=gateway, workerinput={})


def test_a_worker_is_handed_a_channel() -> None:
    hooks, node = hooks_with_a_node()
    hooks.pytest_configure_node(node)
    assert isinstance(node.workerinput[CHANNEL], Channel)
    assert hooks.notes == {}
    config: Any = Config(workerinput=node.workerinput)
    assert is_xdist_worker(config)
    assert isinstance(take_channel(config), Channel)
    assert take_channel(config) is None


@pytest.mark.parametrize("word", XDIST_NAMES)
def test_without_a_name_a_worker_has_no_channel_and_one_note_says_so(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setitem(XDIST_NAMES, word, "of_another_version")
    hooks, node = hooks_with_a_node()
    hooks.pytest_configure_node(node)
    assert node.workerinput == {}
    ((missing, instead),) = hooks.notes.items()
    library, version, rest = missing.split(" ", 2)
    assert version == metadata.version(library)
    assert rest.startswith("has no ")
    assert rest.endswith(".of_another_version")
    assert instead == ["no progress is shown of specs in workers"]
    config: Any = Config(workerinput={CHANNEL: Channel()})
    assert (take_channel(config) is None) == (word == "input")
    assert is_xdist_worker(config)  # xdist itself says so


def test_a_worker_knows_what_it_has_still_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    interactor = SimpleNamespace(torun=SimpleNamespace(_items=[4, 5]), nextitem_index=3)
    config: Any = Config(pluginmanager=SimpleNamespace(get_plugins=lambda: [object(), interactor]))
    assert [is_still_to_run(config, place) for place in (2, 3, 5)] == [False, True, True]
    # Where that is not known, nobody waits for a spec that may come later in the same worker.
    for word in QUEUE_NAMES:
        with monkeypatch.context() as patch:
            patch.setitem(QUEUE_NAMES, word, "of_another_version")
            assert is_still_to_run(config, 2)


def test_no_channel_was_ever_handed_to_this_process() -> None:
    config: Any = Config()
    assert not is_xdist_worker(config)
    assert take_channel(config) is None


CONFTEST = """
from modeltune.plugin import pytest_internals, xdist_internals

xdist_internals.XDIST_NAMES["gateway"] = "of_another_version"
pytest_internals.PYTEST_NAMES["call"] = "of_another_version"
"""


def test_notes_of_a_session_and_of_its_workers_stand_at_its_end(scripted: Example) -> None:
    project = scripted.with_files({"spec_a.py": PARAMETRIZED, "conftest.py": CONFTEST})
    done = project.run_pytest_forked("-n1", "-pno:cacheprovider")
    done.assert_outcomes(passed=1, failed=1)
    notes = {line for line in done.lines if line.startswith("modeltune: ")}
    assert notes == {
        f"modeltune: pytest-xdist {xdist.__version__} has no WorkerController.of_another_version: "
        "no progress is shown of specs in workers",
        f"modeltune: pytest {pytest.__version__} has no Function.of_another_version: "
        "parametrized specs get their fields when they begin to run",
    }
