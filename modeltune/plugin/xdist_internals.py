"""All that we use of pytest-xdist, and of execnet below it, though it is not documented.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import pytest

from modeltune.ground import MissingNameError, private_name

CHANNEL = "modeltune_events"
"""Under this key a worker finds its channel to the controller in what xdist hands to it."""

XDIST_NAMES = {
    "gateway": "gateway",  # of xdist's node: execnet's connection to a worker
    "name": "id",  # of a gateway
    "open": "newchannel",  # of a gateway
    "call": "setcallback",  # of a channel
    "input": "workerinput",  # of a node, and of the configuration in its worker
}
"""What xdist and execnet call what we use, by our words for it."""

QUEUE_NAMES = {
    "queue": "torun",  # of the plugin that runs a worker's tests: what it has still to run
    "items": "_items",  # of its queue: the places of tests in the session, in order
    "next": "nextitem_index",  # of the plugin: the place it has already taken out of its queue
}
"""What xdist calls what tells a worker's next tests, by our words for it."""


class Channel(Protocol):
    """A worker's way to the controller, inside xdist's connection to wherever it runs."""

    def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            OSError: the controller is gone.
        """


def open_channel(node: Any, receive: Callable[[str, bytes | None], None]) -> None:
    """Give a worker that is about to start a channel to this process.

    Args:
        node: xdist's, of the worker.
        receive: called in a thread with the worker's name and each message, None when the worker
            is gone.

    Raises:
        MissingNameError: xdist or execnet has another name by now.
    """
    gateway = _find(node, "gateway")
    worker = _find(gateway, "name", "execnet")
    handed = _find(node, "input")
    channel = _find(gateway, "open", "execnet")()
    _find(channel, "call", "execnet")(partial(receive, worker), endmarker=None)
    handed[CHANNEL] = channel


def take_channel(config: pytest.Config) -> Channel | None:
    """Return this worker's channel, None where there could be none."""
    # Taken out: other plugins may make JSON of what is in there.
    channel: Channel | None = getattr(config, XDIST_NAMES["input"], {}).pop(CHANNEL, None)
    return channel


def is_still_to_run(config: pytest.Config, place: int) -> bool:
    """Tell whether this worker has still to run the test at this place; True where that is not known."""
    for plugin in config.pluginmanager.get_plugins():
        if hasattr(plugin, QUEUE_NAMES["queue"]):
            try:
                queue = private_name("pytest-xdist", plugin, QUEUE_NAMES["queue"])
                items = private_name("pytest-xdist", queue, QUEUE_NAMES["items"])
                place_of_next = private_name("pytest-xdist", plugin, QUEUE_NAMES["next"])
            except MissingNameError:
                return True
            return place in [*items, place_of_next]
    return True


def _find(owner: object, word: str, library: str = "pytest-xdist") -> Any:
    return private_name(library, owner, XDIST_NAMES[word])
