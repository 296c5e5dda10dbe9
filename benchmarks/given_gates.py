"""What does a gate on a model that exists cost beside doing it by hand? ``python benchmarks/given_gates.py``

The models are fitted on the digits first. Then two pairs take turns, the start of their processes
included: a spec of a pickled scikit-learn pipeline beside a plain pytest test that loads and scores it,
and a spec of a ``.keras`` file beside a plain script that loads and evaluates it. Seconds of processors
are those of all processes that a side has started. Both sides run with compiled files.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

PR_SET_CHILD_SUBREAPER = 36

BARE = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "xdist", "anyio")]
"""Other plugins are off on both sides: they would hide what is ours."""

FIT = """
import pickle
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x, y = load_digits(return_X_y=True)
pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
pipeline.fit(x[:1000], y[:1000])
open("model.pickle", "wb").write(pickle.dumps(pipeline))
np.savez("test.npz", x=x[1000:], y=y[1000:])

keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((64,)),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(10, activation="softmax"),
])
model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:1000], y[:1000], epochs=15, verbose=0)
model.save("digits.keras")
"""

PLAIN_TEST = """
import pickle
import numpy as np
from sklearn.metrics import accuracy_score

def test_accuracy():
    kept = np.load("test.npz")
    model = pickle.loads(open("model.pickle", "rb").read())
    assert accuracy_score(kept["y"], model.predict(kept["x"])) >= 0.9
"""

PLAIN_SCRIPT = """
import keras
import numpy as np

kept = np.load("test.npz")
model = keras.models.load_model("digits.keras")
scores = model.evaluate(kept["x"], kept["y"], verbose=0, return_dict=True)
assert scores["accuracy"] >= 0.9
"""

SPEC = """
import pickle
import keras
import numpy as np
import modeltune as mt

def data():
    kept = np.load("test.npz")
    return mt.Data(test=(kept["x"], kept["y"]))

GATES = [mt.metric("accuracy") >= 0.9, mt.metric("accuracy") >= mt.baseline - 0.01]
"""

SPEC_OF_PREDICTOR = f"""{SPEC.replace("import keras", "")}
@mt.spec(data=data, task="multiclass", gates=GATES)
def shipped():
    return pickle.loads(open("model.pickle", "rb").read())
"""

SPEC_OF_KERAS = f"""{SPEC}
@mt.spec(data=data, gates=GATES)
def shipped():
    return keras.models.load_model("digits.keras")
"""


@dataclass(frozen=True)
class Cost:
    """Seconds that a side took."""

    processors: float
    wall: float


@dataclass(frozen=True)
class Pair:
    """A gate, what does the same by hand, and how many times the latter's seconds the gate may take."""

    name: str
    plain: Sequence[str]
    gate: Sequence[str]
    most: float


PAIRS = (
    Pair(
        "a scikit-learn pipeline, beside a plain test",
        ["-m", "pytest", "-q", *BARE, "-pno:modeltune", "test_plain.py"],
        ["-m", "pytest", "-q", *BARE, "spec_predictor.py"],
        1.5,
    ),
    Pair(
        "a Keras model, beside a plain script",
        ["plain.py"],
        ["-m", "pytest", "-q", *BARE, "spec_keras.py"],
        1.3,
    ),
)


def cost(arguments: Sequence[str], folder: Path) -> Cost:
    """Run Python, and wait also for the processes that it has left to end by themselves."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(spent, wall)


def main() -> int:
    """Measure both pairs; the exit code says whether both are within what they may take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("scikit-learn", "Keras"), default="")
    options = parser.parse_args()
    if sys.platform == "linux":
        # The server that processes are forked from ends by itself once pytest has ended.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    are_within = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        for file, text in (
            ("fit.py", FIT),
            ("test_plain.py", PLAIN_TEST),
            ("plain.py", PLAIN_SCRIPT),
            ("spec_predictor.py", SPEC_OF_PREDICTOR),
            ("spec_keras.py", SPEC_OF_KERAS),
        ):
            (folder / file).write_text(text)
        cost(["fit.py"], folder)
        for pair in PAIRS:
            if options.only not in pair.name:
                continue
            cost([*pair.gate, "--modeltune-accept"], folder)  # and writes the .pyc files
            cost(pair.plain, folder)
            rounds = [
                (cost(pair.plain, folder), cost(pair.gate, folder)) for _ in range(options.rounds)
            ]
            print(f"{pair.name}: medians of {options.rounds} rounds")
            for what in ("processors", "wall"):
                plain, gate = ([getattr(side[n], what) for side in rounds] for n in (0, 1))
                ratios = [b / a for a, b in zip(plain, gate, strict=True)]
                ratio = statistics.median(ratios)
                print(
                    f"  {what:<10} by hand {statistics.median(plain):.2f} s, gate "
                    f"{statistics.median(gate):.2f} s: {ratio:.2f} times "
                    f"({min(ratios):.2f} to {max(ratios):.2f}); at most {pair.most}"
                )
                are_within &= ratio <= pair.most
    return 0 if are_within else 1


if __name__ == "__main__":
    sys.exit(main())
