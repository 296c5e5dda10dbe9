"""A project whose specs run in a moment: pytest, harness and history are real, training is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

import modeltune.judgement.significance  # noqa: F401
from tests.support.scripted_sessions import OPTIONS

# A pytest inside this one forgets what it has imported; NumPy and SciPy cannot be imported twice.

CONFTEST = f"""
import contextlib
import sys

sys.path.insert(0, {str(Path(__file__).parents[2])!r})

def pytest_configure(config):
    from tests.support.scripted_runs import scripting

    training = contextlib.ExitStack()
    training.enter_context(scripting(config.rootpath / "trained.txt"))
    config.add_cleanup(training.close)
"""

SPECS = """
import modeltune as mt

on_nothing = mt.spec(
    data=lambda: None,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    fit=mt.Fit(tensorboard={tensorboard}),
    validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= 0.5],
)

@on_nothing
def mlp(hp):
    raise NotImplementedError

@on_nothing
def cnn(hp):
    raise NotImplementedError
"""

__all__ = ["CONFTEST", "OPTIONS", "project"]


def project(pytester: pytest.Pytester, conftest: str = "", tensorboard: bool = False) -> Path:
    """Write the project, ``conftest`` beside its own; return its folder."""
    pytester.makepyprojecttoml("[project]\nname = 'scripted'\nversion = '0'\n")
    pytester.makeconftest(CONFTEST + conftest)
    specs = pytester.mkdir("model_specs")
    (specs / "spec_scripted.py").write_text(SPECS.format(tensorboard=tensorboard), encoding="utf-8")
    return pytester.path
