"""How long a search takes with modeltune and with stock keras-tuner: python benchmarks/search.py"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import modeltune as mt
from modeltune.harness.executors.interface import discard_event
from modeltune.specs.objectives import Direction
from modeltune.specs.searches import Hyperband, Search

SIDES = ("stock", "modeltune")
COLUMNS = ["workload", "trials / epochs", "pairs", "stock s", "modeltune s", "ratio"]
COLUMNS += ["stock score", "modeltune score", "target"]
VALIDATION = 0.25
"""The share of the scikit-learn digits kept for validation: 1347 images train, 450 validate."""


Samples: TypeAlias = tuple[np.ndarray, np.ndarray]
Data: TypeAlias = tuple[Samples, Samples]
"""The samples to train on, and those held out for validation."""


@dataclass(frozen=True)
class Settings:
    """The settings of a measurement; all processes share ``folder``, which is removed at the end.

    The seed is 1 or more: keras-tuner takes 0 for none.
    """

    folder: Path
    seed: int = 1
    quick: bool = False
    workers: int = 2
    fashion: Path | None = None
    workout: Path | None = None


@dataclass(frozen=True)
class Workload:
    """One search: the model, data and oracle that both sides use."""

    build: Callable[[Any], Any]
    data: Callable[[], Data]
    search: Search
    batch_size: int
    epochs: int = 1
    """Epochs of each trial; Hyperband sets them itself."""


@dataclass(frozen=True)
class Measurement:
    """The result of one search: wall seconds, best score, trials, epochs, and how they trained."""

    seconds: float
    score: float
    trials: int
    epochs: int
    trained_by: Mapping[str, int]


def digits(settings: Settings) -> Workload:
    """Real 8 x 8 digits, the perceptron the README opens with and its learning rate, Hyperband."""
    return _perceptron(
        settings,
        units=lambda hp: hp.Int("units", 32, 256, step=32),
        rate=lambda hp: hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
    )


def many_shapes(settings: Settings) -> Workload:
    """The same digits with 61 widths and three learning rates: hardly two models of one shape."""
    return _perceptron(
        settings,
        units=lambda hp: hp.Int("units", 32, 512, step=8),
        rate=lambda hp: hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4]),
    )


def transfer(settings: Settings) -> Workload:
    """A head on a frozen InceptionV3 cut at mixed5: synthetic 128 x 128 images of 22 classes."""
    import keras

    size, classes = (128, 128, 3), 22
    weights = settings.folder / "mixed5.weights.h5"

    def backbone() -> Any:
        full = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=size)
        return keras.Model(full.input, full.get_layer("mixed5").output, name="backbone")

    def head(hp: Any) -> Any:
        frozen = backbone()
        frozen.load_weights(weights)
        frozen.trainable = False
        images = keras.Input(size)
        x = keras.layers.GlobalAveragePooling2D()(frozen(images, training=False))
        for number in (1, 2):
            units = hp.Int(f"units_{number}", 64, 512, step=64)
            x = keras.layers.Dense(units, activation="relu")(x)
        outputs = keras.layers.Dense(classes, activation="softmax")(x)
        return _classifier(keras.Model(images, outputs), hp.Choice("learning_rate", [1e-3, 1e-4]))

    def images() -> Data:
        random = np.random.default_rng(1)
        y = np.arange(256 + 64) % classes
        colours = random.uniform(size=(classes, 1, 1, 3))
        x = (colours[y] + random.normal(0, 0.3, (len(y), *size))).astype("float32")
        return (x[:256], y[:256]), (x[256:], y[256:])

    if not weights.exists():
        keras.utils.set_random_seed(1)
        backbone().save_weights(weights)
    objective = mt.minimize("val_loss")
    if settings.quick:
        search: Search = mt.RandomSearch(objective, max_trials=2, seed=settings.seed)
        return Workload(head, images, search, batch_size=64, epochs=2)
    search = mt.Hyperband(objective, max_epochs=10, factor=3, seed=settings.seed)
    return Workload(head, images, search, batch_size=64)


def fashion(settings: Settings) -> Workload:
    """60000 train and 10000 validation images of 28 x 28: many short steps."""
    import keras

    def mlp(hp: Any) -> Any:
        model = keras.Sequential(
            [
                keras.Input((28, 28)),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu"),
                keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5, step=0.1)),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        return _classifier(model, hp.Choice("learning_rate", [3e-3, 1e-3, 3e-4]))

    def images() -> Data:
        random = np.random.default_rng(1)
        if settings.fashion is None:
            y = np.arange(900) % 10
            patterns = random.uniform(0, 255, (10, 28, 28))
            x = (patterns[y] + random.normal(0, 255, (900, 28, 28))).clip(0, 255).astype("uint8")
        else:
            with np.load(settings.fashion) as arrays:
                x, y = arrays["x"], arrays["y"]
        x = x.astype("float32") / 255
        held_out = np.arange(len(x)) % 5 == 0

        def repeated(rows: np.ndarray, count: int) -> Samples:
            chosen = random.permutation(np.resize(np.flatnonzero(rows), count))
            return x[chosen], y[chosen]

        return repeated(~held_out, 60_000), repeated(held_out, 10_000)

    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=4, seed=settings.seed)
    return Workload(mlp, images, search, batch_size=32, epochs=3)


def lstm(settings: Settings) -> Workload:
    """The next value after 3200 sequences of 7 steps with 5 features: two LSTM layers, Hyperband."""
    import keras

    def regression(hp: Any) -> Any:
        model = keras.Sequential(
            [
                keras.Input((7, 5)),
                keras.layers.LSTM(hp.Int("units_1", 16, 64, step=16), return_sequences=True),
                keras.layers.LSTM(hp.Int("units_2", 16, 64, step=16)),
                keras.layers.Dense(1),
            ]
        )
        rate = hp.Choice("learning_rate", [1e-2, 1e-3])
        model.compile(keras.optimizers.Adam(rate), loss="mse", metrics=["mae"])
        return model

    def sequences() -> Data:
        x, y = _series() if settings.workout is None else _sets(settings.workout)
        rows = np.random.default_rng(1).permutation(len(x))[:3200]
        cut = len(rows) * 4 // 5
        return (x[rows[:cut]], y[rows[:cut]]), (x[rows[cut:]], y[rows[cut:]])

    search = mt.Hyperband(mt.minimize("val_loss"), max_epochs=10, factor=3, seed=settings.seed)
    return Workload(regression, sequences, search, batch_size=64)


def learning_rate(settings: Settings) -> Workload:
    """Twelve learning rates for one small convolutional model of the digits."""
    import keras

    def cnn(hp: Any) -> Any:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(16, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        return _classifier(model, hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"))

    def images() -> Data:
        (x, y), (other_x, other_y) = _digits()
        return (x[..., None], y), (other_x[..., None], other_y)

    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=12, seed=settings.seed)
    return Workload(cnn, images, search, batch_size=32, epochs=3)


def cnn(settings: Settings) -> Workload:
    """A small convolutional model in 12 trials of 12 epochs: how two processes share the work."""
    import keras

    def model(hp: Any) -> Any:
        made = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dropout(hp.Choice("dropout", [0.1, 0.3])),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        return _classifier(made, hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"))

    workload = learning_rate(settings)
    return replace(workload, build=model, epochs=12)


WORKLOADS: Mapping[str, tuple[Callable[[Settings], Workload], float]] = {
    "digits": (digits, 10),
    "many-shapes": (many_shapes, 10),
    "transfer": (transfer, 12),
    "fashion": (fashion, 2),
    "lstm": (lstm, 3),
    "learning-rate": (learning_rate, 3),
    "cnn": (cnn, 3),
}
"""Every workload, and how many times faster than stock it should be."""


def stock(name: str, settings: Settings) -> Measurement:
    """Search with unchanged keras-tuner, without display and TensorBoard."""
    import keras
    import keras_tuner

    workload = WORKLOADS[name][0](settings)
    train, validation = workload.data()
    keras.utils.set_random_seed(settings.seed)
    search = workload.search
    direction = "max" if search.objective.direction is Direction.MAX else "min"
    arguments: dict[str, Any] = {
        "objective": keras_tuner.Objective(search.objective.metric, direction),
        "seed": search.seed,
        "directory": tempfile.mkdtemp(dir=settings.folder),
        "overwrite": True,
    }
    started = time.perf_counter()
    if isinstance(search, Hyperband):
        arguments |= {"max_epochs": search.max_epochs, "factor": search.factor}
        tuner = keras_tuner.Hyperband(workload.build, **arguments)
    else:
        arguments["max_trials"] = search.planned_trials
        tuner = keras_tuner.RandomSearch(workload.build, **arguments)
    tuner.search(
        *train,
        validation_data=validation,
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        verbose=0,
    )
    seconds = time.perf_counter() - started
    values = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    epochs = sum(
        one.get("tuner/epochs", workload.epochs) - one.get("tuner/initial_epoch", 0)
        for one in values
    )
    best = tuner.oracle.get_best_trials(1)[0].score
    return Measurement(seconds, best, len(values), epochs, {"model.fit": len(values)})


SPEC = """\
from pathlib import PosixPath

from search import WORKLOADS, Settings, protocol

workload = WORKLOADS[{name!r}][0]({settings!r})
measured = protocol(workload)(workload.build)
"""
"""A spec file, because a trial process imports a spec by its file and name."""


WORKERS = {"learning-rate": 1}
"""The number of modeltune's trial processes, for workloads where it is not two."""


def protocol(workload: Workload) -> Any:
    """Return a workload's declaration, to decorate its build function with."""

    def data() -> mt.Data:
        train, validation = workload.data()
        x, y = validation
        return mt.Data(train, validation, test=(x[:32], y[:32]))

    fit = mt.Fit(epochs=workload.epochs, batch_size=workload.batch_size)
    return mt.spec(data=data, search=workload.search, fit=fit)


def modeltune(name: str, settings: Settings) -> Measurement:
    """Search as ``modeltune.harness.pipeline.run`` does, between its data and its validation phase."""
    from modeltune.harness.engines import lend_engine
    from modeltune.harness.search import SearchProgress, Tuner, search

    scratch = Path(tempfile.mkdtemp(dir=settings.folder))
    (scratch / "spec_measured.py").write_text(SPEC.format(name=name, settings=settings))
    sys.path.append(str(scratch))
    spec = importlib.import_module("spec_measured").measured
    (scratch / "scratch").mkdir()
    progress = SearchProgress()
    with lend_engine(spec, {}, settings.workers, scratch, discard_event) as (engine, executor):
        engine.load()
        started = time.perf_counter()
        if failure := engine.begin(scratch).failure:
            sys.exit(f"the default candidate does not train: {failure.traceback}")
        best = search(spec, Tuner(engine, executor, scratch), discard_event, progress)
        seconds = time.perf_counter() - started
    epochs = sum(trial.epochs for trial in progress.trials)
    paths = dict(Counter(trial.trained_by for trial in progress.trials))
    assert best.score is not None
    return Measurement(seconds, best.score, len(progress.trials), epochs, paths)


def measure(side: str, name: str, settings: Settings) -> Measurement:
    """Run one side of a workload in a fresh process, whose clock starts after imports and loading."""
    options = asdict(settings)
    arguments = ["--quick"] if options.pop("quick") else []
    arguments += [f"--{key}={value}" for key, value in options.items() if value is not None]
    done = subprocess.run(
        [sys.executable, __file__, f"--side={side}", f"--only={name}", *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{side} {name} failed:\n{done.stdout}{done.stderr}")
    measured = Measurement(**json.loads(done.stdout.splitlines()[-1]))
    print(f"  {name} seed {settings.seed} {side}: {measured}", file=sys.stderr, flush=True)
    return measured


def row(name: str, target: float, measurements: Mapping[str, Sequence[Measurement]]) -> str:
    """Return a workload's line of the table; the ratio is the median of the pairs' ratios."""
    ratios = [
        one.seconds / other.seconds for one, other in zip(*measurements.values(), strict=True)
    ]
    seconds = [statistics.median(one.seconds for one in measurements[side]) for side in SIDES]
    scores = [statistics.median(one.score for one in measurements[side]) for side in SIDES]
    work = [f"{measurements[side][0].trials} / {measurements[side][0].epochs}" for side in SIDES]
    trained = work[0] if work[0] == work[1] else "; ".join(work)
    ratio = statistics.median(ratios)
    cells = [
        name,
        trained,
        str(len(ratios)),
        *(f"{value:.1f}" for value in seconds),
        f"{ratio:.2f}",
        *(f"{value:.4g}" for value in scores),
        f"{target:g}: {'yes' if ratio >= target else 'NO'}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure the workloads, or (with --side, as a child process) one side of one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORKLOADS, help="measure this workload alone")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs, each with its seed")
    parser.add_argument("--quick", action="store_true", help="transfer: 2 trials of 2 epochs")
    parser.add_argument(
        "--workers",
        type=int,
        help="trial processes of modeltune (default: the workload's); 0: none",
    )
    parser.add_argument("--fashion", type=Path, help="an .npz of x (n, 28, 28) and y (n,)")
    parser.add_argument("--workout", type=Path, help="a .csv of weight-training sets")
    parser.add_argument("--seed", type=int, default=1, help="of the first pair; 1 or more")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed < 1 or options.repeat < 1 or (options.workers or 0) < 0:
        parser.error("--seed and --repeat are 1 or more, --workers 0 or more")

    def settings(folder: Path, seed: int, name: str) -> Settings:
        # A process that trains finds the files, whatever folder it is in.
        files = (file and file.absolute() for file in (options.fashion, options.workout))
        workers = WORKERS.get(name, 2) if options.workers is None else options.workers
        return Settings(folder, seed, options.quick, workers, *files)

    if options.side:
        run = stock if options.side == "stock" else modeltune
        print(
            json.dumps(
                asdict(run(options.only, settings(options.folder, options.seed, options.only)))
            )
        )
        return
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("tensorflow", "keras", "keras-tuner")
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load} before; {versions}\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for name in [options.only] if options.only else WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            measurements: dict[str, list[Measurement]] = {side: [] for side in SIDES}
            for seed in range(options.seed, options.seed + options.repeat):
                for side in SIDES:
                    measurements[side].append(
                        measure(side, name, settings(Path(folder), seed, name))
                    )
        print(row(name, WORKLOADS[name][1], measurements), flush=True)
    if options.quick:
        print(
            "\n--quick: transfer is a random search of 2 trials of 2 epochs, not Hyperband(10, 3)."
        )


def _perceptron(
    settings: Settings, units: Callable[[Any], int], rate: Callable[[Any], float]
) -> Workload:
    import keras

    def mlp(hp: Any) -> Any:
        model = keras.Sequential(
            [
                keras.Input((8, 8)),
                keras.layers.Flatten(),
                keras.layers.Dense(units(hp), activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        return _classifier(model, rate(hp))

    search = mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=10, factor=3, seed=settings.seed)
    return Workload(mlp, _digits, search, batch_size=32)


def _classifier(model: Any, learning_rate: float) -> Any:
    import keras

    optimizer = keras.optimizers.Adam(learning_rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    loaded = load_digits()
    x, other_x, y, other_y = train_test_split(
        loaded.images.astype("float32") / 16,
        loaded.target,
        test_size=VALIDATION,
        random_state=1,
        stratify=loaded.target,
    )
    return (x, y), (other_x, other_y)


def _series() -> Samples:
    """Return windows of five noisy waves of different periods, and the first wave's next value."""
    random = np.random.default_rng(1)
    times = np.arange(3200 + 7)[:, None]
    waves = np.sin(times / np.array([3, 5, 7, 11, 13])) + random.normal(0, 0.1, (len(times), 5))
    windows = np.lib.stride_tricks.sliding_window_view(waves[:-1], 7, axis=0)
    return windows.transpose(0, 2, 1).astype("float32"), waves[7:, :1].astype("float32")


def _sets(file: Path) -> Samples:
    """Return windows of seven sets of one exercise, and the weight of the set that follows."""
    import pandas as pd

    log = pd.read_csv(file, parse_dates=["Date"]).sort_values("Date", kind="stable")
    numbers = log[["Weight", "Reps", "Set Order"]].apply(pd.to_numeric, errors="coerce")
    day = (log["Date"] - log["Date"].min()).dt.days
    numbers = numbers.assign(day=day, pause=day.groupby(log["Exercise Name"]).diff()).fillna(0)
    scaled = ((numbers - numbers.mean()) / numbers.std()).astype("float32")
    x, y = [], []
    for _, sets in scaled.groupby(log["Exercise Name"]):
        values = sets.to_numpy()
        for end in range(7, len(values)):
            x.append(values[end - 7 : end])
            y.append(values[end, :1])
    return np.stack(x), np.stack(y)


if __name__ == "__main__":
    main()
