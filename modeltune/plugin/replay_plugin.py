"""The pytest plugin that ``modeltune replay`` and ``export`` load: the item of a spec replays a run.

Only pytest can import a spec and set up the fixtures of its data function. Nothing is trained or
recorded. The result goes to a file, apart from what pytest prints. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modeltune.plugin.items import SpecItem
    from modeltune.records import Json

REPLAY_OPTIONS = ("--modeltune-replay", "--modeltune-replay-to", "--modeltune-export")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options that the command passes; users do not see them."""
    for option in REPLAY_OPTIONS:
        parser.addoption(option, help=argparse.SUPPRESS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make spec items replay the run instead of running the spec."""
    from modeltune.plugin.items import SpecItem

    for item in items:
        if isinstance(item, SpecItem):
            vars(item)["runtest"] = partial(_replay, item, config)


def _replay(item: SpecItem, config: pytest.Config) -> None:
    from modeltune.ground import ModeltuneError, default_store
    from modeltune.harness import replay
    from modeltune.histories import open_store
    from modeltune.plugin.items import their_warnings_ignored
    from modeltune.specs import data_arguments

    fixtures = {name: item.funcargs[name] for name in data_arguments(item.spec.data)}
    target = config.getoption("--modeltune-export")
    with their_warnings_ignored(), open_store(default_store(), create=False) as history:
        run = history.run(config.getoption("--modeltune-replay"))
        facts: dict[str, Json]
        try:
            if target is None:
                replayed = replay.rescore_run(item.spec, fixtures, run, history)
                facts = {"replayed": replay.replay_to_json(replayed)}
            else:
                code, notes = replay.export(item.spec, fixtures, run, history, Path(target))
                facts = {"code": list(code), "notes": list(notes)}
        except ModeltuneError as error:
            facts = {"refused": str(error)}
    to = Path(config.getoption("--modeltune-replay-to"))
    to.write_text(json.dumps(facts, allow_nan=False), encoding="utf-8")
