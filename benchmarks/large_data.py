"""Large data: what loading and checking them takes, in memory over their size and in seconds.

    python benchmarks/large_data.py [--gib 0.1] [--rows 1000000] [--against FOLDER]

For images of so many GiB, for a table of so many rows of 20 columns, and for one of which validation and test
are cut, it prints the memory of the process that holds the data over their size, at its peak and once they
are checked, and the seconds of loading and checks beside one epoch of a small model, with their share of it.
``--against`` measures another checkout of modeltune as well, such as an earlier one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def images(gib: float) -> tuple[Any, Any]:
    """Return square images of 64 pixels in float32, and labels."""
    import numpy as np

    count = int(gib * 2**30 / (64 * 64 * 3 * 4))
    numbers = np.random.default_rng(0)
    x = numbers.random((count, 64, 64, 3), dtype=np.float32)
    return x, np.arange(count) % 10


def table(rows: float) -> tuple[Any, Any]:
    """Return rows of 20 columns in float32, and labels."""
    import numpy as np

    numbers = np.random.default_rng(0)
    return numbers.random((int(rows), 20), dtype=np.float32), np.arange(int(rows)) % 2


KINDS = {"images": images, "table": table, "cut": table}


def measure(kind: str, size: float) -> dict[str, float]:
    """Load and check data of a kind, then train an epoch; memory is above what the imports take."""
    import keras
    import psutil

    import modeltune as mt
    from modeltune.engine.data.checks import check_data
    from modeltune.engine.data.loading import load_data

    making = 0.0

    def spec_of(data: Any) -> Any:
        protocol = mt.spec(data=data, search=mt.RandomSearch(mt.maximize("val_loss"), max_trials=1),
                           validation=mt.Holdout(seeds=1))  # fmt: skip
        return protocol(lambda hp: None)

    def made() -> mt.Data:
        nonlocal making
        began = time.perf_counter()
        x, y = KINDS[kind](size)
        making = time.perf_counter() - began
        if kind == "cut":
            return mt.Data((x, y))
        ends = 0, 7 * len(x) // 10, 85 * len(x) // 100, len(x)
        return mt.Data(*((x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)))

    few = spec_of(mt.Data(table(100)))
    check_data(load_data(few), few.checks)  # imports what it needs
    spec = spec_of(made)
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    loaded = load_data(spec)
    loading = time.perf_counter() - began - making
    began = time.perf_counter()
    check_data(loaded, spec.checks)
    checks = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = psutil.Process().memory_info().rss
    held = sum(part.x.nbytes + part.y.nbytes for part in loaded.parts)
    x = loaded.train.x
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            *([keras.layers.Conv2D(8, 3, activation="relu")] if kind == "images" else []),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy")
    few = 64
    model.fit(loaded.train.x[:few], loaded.train.y[:few], batch_size=32, verbose=0)
    began = time.perf_counter()
    model.fit(loaded.train.x, loaded.train.y, batch_size=32, verbose=0)
    epoch = time.perf_counter() - began
    return {
        "gib": held / 2**30,
        "peak": (peak - before) / held,
        "memory": (memory - before) / held,
        "loading": loading,
        "checks": checks,
        "epoch": epoch,
    }


def main() -> None:
    """Measure each kind in a process of its own, for each checkout, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gib", type=float, default=0.1)
    arguments.add_argument("--rows", type=float, default=1_000_000)
    arguments.add_argument("--against", action="append", default=[], metavar="FOLDER")
    arguments.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.measure:
        kind, size = chosen.measure
        print(json.dumps(measure(kind, float(size))))
        return
    print(
        "checkout  kind     GiB  peak/size  held/size  loading s  checks s  epoch s  checks/epoch  both/epoch"
    )
    for checkout in (*chosen.against, str(ROOT)):
        for kind, size in (("images", chosen.gib), ("table", chosen.rows), ("cut", chosen.rows)):
            done = subprocess.run(
                [sys.executable, __file__, "--measure", kind, str(size)],
                env={**os.environ, "PYTHONPATH": checkout, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.PIPE,
                check=True,
            )
            told = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{'this' if checkout == str(ROOT) else 'other':8}  {kind:6}  {told['gib']:5.2f}  "
                f"{told['peak']:9.2f}  {told['memory']:9.2f}  {told['loading']:9.2f}  "
                f"{told['checks']:8.2f}  {told['epoch']:7.2f}  {told['checks'] / told['epoch']:12.1%}  "
                f"{(told['loading'] + told['checks']) / told['epoch']:10.1%}"
            )


if __name__ == "__main__":
    main()
