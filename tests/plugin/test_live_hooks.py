"""What runs in workers of pytest-xdist is shown by the controller, and -q shows nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from enum import StrEnum
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
import xdist.newhooks

import modeltune as mt
from modeltune.plugin.live_hooks import LiveHooks
from modeltune.plugin.live_terminal import LiveDisplay, Terminal
from modeltune.plugin.xdist_internals import CHANNEL
from modeltune.records.events import Note, TaskProgress
from tests.support.terminals import BEST, FINISHED, SEARCH, Plugins, Writer


class Channel:
    """A way between two processes that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.heard: Any = None
        self.is_closed = False

    def setcallback(self, heard: Any, endmarker: object) -> None:
        self.heard = heard

    def send(self, message: bytes) -> None:
        if self.is_closed:
            raise OSError("cannot send (already closed?)")
        self.sent.append(message)


def calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[object, ...]]:
    """Return what a method of LiveDisplay will be called with."""
    calls: list[tuple[object, ...]] = []
    method = getattr(LiveDisplay, name)

    def noted(display: LiveDisplay, *arguments: object) -> None:
        calls.append(arguments)
        method(display, *arguments)

    monkeypatch.setattr(LiveDisplay, name, noted)
    return calls


class Config(SimpleNamespace):
    """What the hooks ask of pytest's configuration."""

    verbosity = 0

    def get_verbosity(self) -> int:
        return self.verbosity


def test_what_workers_tell_is_said_until_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Log(StringIO):
        """Where all that a worker told is written while the session cannot end."""

        def write(self, text: str) -> int:
            assert hooks._receiving.locked() or text == "F\n"
            return super().write(text)

    log = Log()
    writer = Writer(log, "..")
    began, ended = calls(monkeypatch, "begin"), calls(monkeypatch, "end")
    plugins = Plugins(terminalreporter=SimpleNamespace(_tw=writer))
    channel = Channel()
    config: Any = Config(pluginmanager=plugins)
    node: Any = SimpleNamespace(
        gateway=SimpleNamespace(id="gw0", newchannel=lambda: channel), workerinput={}
    )
    hooks = LiveHooks(config)
    hooks.pytest_configure_node(node)
    assert node.workerinput == {CHANNEL: channel}
    session = hooks.pytest_runtestloop()
    next(session)

    # Workers without specs leave pytest alone, as does every thread but its own.
    hooks.pytest_xdist_node_collection_finished()
    channel.heard(pickle.dumps((None, None)))
    assert writer.file is log
    hooks.pytest_xdist_node_collection_finished()
    assert isinstance(writer.file, Terminal)
    for event in (None, SEARCH, TaskProgress(1, None, 5, None, 0.0), FINISHED):
        channel.heard(pickle.dumps(("spec_a.py::mlp", event)))
    writer.file.write("F\n")
    assert (began, ended) == ([("gw0", "spec_a.py::mlp")], [])
    channel.heard(None)  # the worker has died
    assert ended == [("gw0",)]

    with pytest.raises(StopIteration):
        session.send(True)
    # Workers do not know that it is over.
    for event in (None, SEARCH):
        channel.heard(pickle.dumps(("spec_a.py::mlp", event)))
    channel.heard(None)
    assert writer.file is log
    assert log.getvalue().splitlines() == [
        "",
        "spec_a.py::mlp: RandomSearch, up to 8 trials, max val_accuracy",
        "spec_a.py::mlp: trial 1/8: 0.9 in 2 epochs, best 0.9 (trial 1), 14s left",
        "F",
    ]


def test_a_worker_goes_on_when_its_controller_is_gone() -> None:
    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel})
    worker = LiveHooks(config)
    # An execnet channel is nothing that other plugins could make JSON of.
    assert config.workerinput == {}
    worker.tell(SEARCH)
    channel.is_closed = True
    worker.tell(SEARCH)
    assert [pickle.loads(message)[1] for message in channel.sent] == [SEARCH]


def test_nothing_of_a_spec_file_s_own_travels_to_the_controller() -> None:
    class Metric(StrEnum):
        """What cannot be pickled without this function."""

        ACCURACY = "val_accuracy"

    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel})
    worker = LiveHooks(config)
    search = replace(SEARCH.search, objective=mt.maximize(Metric.ACCURACY), hyperparameters=Metric)
    trial = replace(BEST, values={"metric": Metric.ACCURACY}, curve={Metric.ACCURACY: (0.9,)})
    worker.tell(replace(SEARCH, search=search))
    worker.tell(replace(FINISHED, trial=trial, best=trial))
    assert [pickle.loads(message)[1] for message in channel.sent] == [SEARCH, FINISHED]


def test_a_worker_without_a_channel_tells_nobody() -> None:
    config: Any = Config(workerinput={})
    LiveHooks(config).tell(Note("as under another xdist, or an older controller"))


def test_other_plugins_make_json_of_what_a_worker_is_given() -> None:
    class Other:
        """A plugin that was registered before ours, and would be called after it."""

        def pytest_configure_node(self, node: Any) -> None:
            json.dumps(node.workerinput)

    config: Any = Config(pluginmanager=Plugins(terminalreporter=SimpleNamespace()))
    node = SimpleNamespace(gateway=SimpleNamespace(id="gw0", newchannel=Channel), workerinput={})
    plugins = pytest.PytestPluginManager()
    plugins.add_hookspecs(xdist.newhooks)
    plugins.register(Other())
    plugins.register(LiveHooks(config))
    plugins.hook.pytest_configure_node(node=node)
    assert [*node.workerinput] == [CHANNEL]


def test_nothing_is_said_under_q() -> None:
    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel}, verbosity=-1)
    LiveHooks(config).tell(SEARCH)
    assert channel.sent == []
    node: Any = SimpleNamespace(workerinput={})
    without_terminal: Any = Config(pluginmanager=Plugins())
    for controller in (config, without_terminal):
        LiveHooks(controller).pytest_configure_node(node)
        assert node.workerinput == {}
    # Without plugins there is nobody to print it.
    LiveHooks(cast(pytest.Config, Config(verbosity=-1))).tell(SEARCH)
