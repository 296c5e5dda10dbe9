"""Specs for tests in several processes: such a process imports them from here by name."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras import layers

import modeltune as mt
from modeltune.specs.spec_type import Protocol
from tests.support.small_models import dense, digits


def data() -> mt.Data:
    return digits()


def broken() -> mt.Data:
    raise LookupError("no such table")


def killed() -> mt.Data:
    os.kill(os.getpid(), signal.SIGKILL)
    return digits()


def different() -> mt.Data:
    import tensorflow as tf

    seed = os.getpid()
    x = np.random.default_rng(seed).normal(size=(32, 64)).astype("float32")
    stream = tf.data.Dataset.from_tensor_slices((x, np.zeros(32, int))).batch(8)
    return mt.Data(stream, stream, stream)


def shuffled() -> mt.Data:
    """Return a train stream that is shuffled and augmented anew each time it is read."""
    import tensorflow as tf

    arrays = digits(train=40, validation=20, test=20)
    train = tf.data.Dataset.from_tensor_slices(arrays.train).shuffle(40)
    noisy = train.map(lambda x, y: (x + tf.random.normal([64]), y), num_parallel_calls=2)
    rest = (
        tf.data.Dataset.from_tensor_slices(part).batch(8)
        for part in (arrays.validation, arrays.test)
    )
    return mt.Data(noisy.batch(8).prefetch(1), *rest)


def untidy() -> mt.Data:
    tempfile.mkdtemp()
    return digits(train=20, validation=10, test=10)


METHODS = ["fork", "forkserver", "spawn"]


def told_method() -> mt.Data:
    """Return data whose size tells how Python starts processes here."""
    return digits(100 + METHODS.index(multiprocessing.get_start_method()))


def declared(**fields: Any) -> Protocol:
    standard: dict[str, Any] = {
        "data": data,
        "search": mt.GridSearch(mt.maximize("val_accuracy")),
        "fit": mt.Fit(epochs=1),
        "validation": mt.Holdout(seeds=1),
    }
    return mt.spec(**(standard | fields))


def classifier() -> Any:
    return dense(layers.Dense(10, activation="softmax"))


@declared()
def steady(hp: Any) -> Any:
    hp.Int("number", 1, 9)
    return classifier()


@declared(data=broken)
def without_data(hp: Any) -> Any:
    return classifier()


@declared(data=killed)
def with_deadly_data(hp: Any) -> Any:
    return classifier()


@declared(data=untidy)
def with_untidy_data(hp: Any) -> Any:
    return classifier()


@declared(data=told_method)
def with_told_method(hp: Any) -> Any:
    return classifier()


@declared(data=shuffled, search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2))
def with_shuffled_stream(hp: Any) -> Any:
    hp.Int("number", 1, 9)
    return classifier()


@declared(data=different)
def with_other_data(hp: Any) -> Any:
    return classifier()


@declared(
    search=mt.GridSearch(mt.maximize("val_accuracy"), trial_minutes=1, trial_gigabytes=0.9),
)
def moody(hp: Any) -> Any:
    """Do what the value says to the process the model is built in."""
    moods = ["well", "raises", "exits", "dies", "hangs", "grows", "forks", "mumbles"]
    behaviour = hp.Choice("behaviour", moods)
    if behaviour == "raises":
        raise ValueError("as announced")
    if behaviour == "mumbles":
        raise Unspeakable
    if behaviour == "forks":
        os.fork()
    if behaviour == "exits":
        sys.exit("enough")
    if behaviour == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "hangs":
        _with_a_child()
    if behaviour == "grows":
        hoard = np.ones(2**28)
        signal.pause()
        hoard.sum()
    return classifier()


class Unspeakable(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


FAULT = "FAULT"
"""The environment variable that names the file which says which fault is next."""

HANGING = ".hangs"
"""Added to the name of that file: what is there once a process hangs."""


def suffer() -> None:
    """Do to this process what the file says, once it has."""
    fault = Path(os.environ[FAULT]).read_text()
    if fault:
        FAULTS[fault]()


def _raise() -> None:
    raise ValueError("as announced")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _recurse() -> None:
    _recurse()


def _lack_memory() -> None:
    raise MemoryError("no room")


def _signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def _grow() -> None:
    hoard = np.ones(2**27)
    signal.pause()
    hoard.sum()


def _hang() -> None:
    Path(os.environ[FAULT] + HANGING).touch()
    signal.pause()


def _keep_python_s_lock() -> None:
    # No other thread of Python's runs meanwhile, not even one that would say it is alive.
    ctypes.PyDLL(None).usleep(900_000)


FAULTS: dict[str, Callable[[], object]] = {
    "raises": _raise,
    "exits": partial(sys.exit, "enough"),
    "interrupts": _interrupt,
    "recurses": _recurse,
    "lacks memory": _lack_memory,
    "leaves": partial(os._exit, 3),
    "segfaults": partial(_signal, signal.SIGSEGV),
    "aborts": os.abort,
    "is killed": partial(_signal, signal.SIGKILL),
    "hangs": _hang,
    "grows": _grow,
    "stops": partial(_signal, signal.SIGSTOP),
    "is busy": _keep_python_s_lock,
}
"""What code of an author may do to its process, by name."""


def faulty_data() -> mt.Data:
    suffer()
    return digits(train=20, validation=10, test=10)


def faulty_slice(x: Any) -> Any:
    suffer()
    return x[:, 0] >= 0


LIMITED = mt.GridSearch(
    mt.maximize("val_accuracy"), trial_minutes=1, data_minutes=1, trial_gigabytes=0.9
)


@declared(data=faulty_data, search=LIMITED)
def with_faulty_data(hp: Any) -> Any:
    return classifier()


@declared(search=LIMITED)
def given_with_fault() -> Any:
    suffer()
    return classifier()


@declared()
def given_without_limits() -> Any:
    suffer()
    return classifier()


@declared(search=LIMITED, gates=[mt.metric("accuracy").on("some", faulty_slice) >= 0])
def with_faulty_slice(hp: Any) -> Any:
    return classifier()


@declared(search=LIMITED)
def with_faulty_build(hp: Any) -> Any:
    if hp.Choice("number", [*range(9)]) == 0:
        suffer()
        raise ValueError("nothing worse has happened")
    return classifier()


@declared(search=LIMITED)
def with_only_faulty_builds(hp: Any) -> Any:
    suffer()
    return classifier()


def faulty_metric(y: Any, predicted: Any) -> Any:
    suffer()
    return predicted[:, 0]


@declared(search=LIMITED)
def with_faulty_metric(hp: Any) -> Any:
    model = classifier()
    if hp.Choice("number", [*range(3)]) == 0:
        model.compile(loss=model.loss, metrics=["accuracy", faulty_metric])
    return model


def unchanged(x: Any) -> Any:
    return x


def faulty_transform(x: Any) -> Any:
    suffer()
    return x


@declared(search=LIMITED, gates=[mt.invariant(faulty_transform), mt.invariant(unchanged)])
def with_faulty_transform(hp: Any) -> Any:
    return classifier()


def _with_a_child() -> None:
    """Wait for ever, as does a child whose number is left in CHILD."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(os.environ["CHILD"]).write_text(str(child.pid))
    signal.pause()


class Looking(keras_tuner.HyperModel):
    """Fail with what it sees of its data."""

    def build(self, hp: Any) -> Any:
        return classifier()

    def fit(self, hp: Any, model: Any, x: Any, y: Any, **arguments: Any) -> Any:
        raise ValueError(f"{type(x).__name__} of {x.shape}, process {os.getppid()}")


looking = declared()(Looking())


@declared(
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3, factor=2, seed=1),
    validation=mt.Holdout(epochs=2, seeds=2),
)
def searched(hp: Any) -> Any:
    """A net whose training draws random numbers."""
    width = hp.Choice("width", [4, 8, 12, 16, 20, 24])
    return dense(
        layers.Dense(width, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    )
