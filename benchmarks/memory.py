"""Does memory stay flat over a long search, in pytest's process and in the trial processes?"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import modeltune as mt
from modeltune.records.events import Event, TrialFinished
from modeltune.specs.spec_type import Protocol, Spec

sys.path.insert(0, str(Path(__file__).parent))  # where trial processes find the specs


def samples() -> mt.Data:
    """Return 1000 samples of 64 features in ten classes."""
    random = np.random.default_rng(1)
    y = random.integers(0, 10, 1000)
    x = (random.normal(size=(1000, 64)) + y[:, None] / 5).astype("float32")
    return mt.Data((x[:600], y[:600]), (x[600:800], y[600:800]), (x[800:], y[800:]))


def declared(trials: int) -> Protocol:
    """Return the protocol of a random search of so many trials."""
    return mt.spec(
        data=samples,
        search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=trials),
        fit=mt.Fit(epochs=1, batch_size=64),
        validation=mt.Holdout(seeds=1),
    )


@declared(200)
def widths(hp: Any) -> Any:
    """A net with another width in nearly every trial: compiled steps are hardly ever shared."""
    return _classifier(hp.Int("units", 8, 2000))


@declared(200)
def large(hp: Any) -> Any:
    """Four million parameters, 48 MB with Adam's moments."""
    hp.Float("unused", 0.0, 1.0)
    return _classifier(2000 + hp.Int("more", 0, 100), hidden=2)


def _classifier(units: int, hidden: int = 1) -> Any:
    import keras

    layers = [keras.layers.Dense(units, activation="relu") for _ in range(hidden)]
    model = keras.Sequential(
        [keras.Input((64,)), *layers, keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measured(spec: Spec, workers: int, trials: int) -> list[tuple[int, int, int]]:
    """Return (trial, MiB here, MiB in all other processes) after every trial."""
    me, memory = psutil.Process(), []
    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=trials)

    def note(event: Event) -> None:
        if isinstance(event, TrialFinished):
            others = sum(_rss(child) for child in me.children(recursive=True))
            memory.append((event.trial.id, _rss(me) >> 20, others >> 20))

    with tempfile.TemporaryDirectory() as folder:
        mt.run(
            spec.with_fields(search=search),
            workers=workers,
            store=f"sqlite:///{folder}/history.db",
            listen=note,
        )
    return memory


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    """Print memory along each search; fail when its second half adds more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 0])
    options = parser.parse_args()
    marks = [max(1, round(options.trials * share)) for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    print(f"| search | processes | {' | '.join(f'MiB at {mark}' for mark in marks)} |")
    print(f"|---|---|{'---|' * len(marks)}")
    grown = []
    # In this process last: it then has TensorFlow in it.
    for workers in options.workers:
        from memory import large as big
        from memory import widths as many

        for spec in (many, big):
            memory = measured(spec, workers, options.trials)
            at = [memory[mark - 1] for mark in marks]
            cells = " | ".join(f"{here} + {others}" for _, here, others in at)
            print(f"| {spec.name} | {workers} | {cells} |", flush=True)
            half, end = (sum(at[number][1:]) for number in (2, 4))
            if end > 1.1 * half:
                grown.append(f"{spec.name} with {workers} processes: {half} to {end} MiB")
    if grown:
        sys.exit(f"memory grew: {', '.join(grown)}")


if __name__ == "__main__":
    main()
