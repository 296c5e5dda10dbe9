"""What do gates on groups of a million test samples take? ``python benchmarks/many_rows.py``

A predictor of two classes, twenty groups. The gates of "within" hold, so that nothing is resampled but
for the intervals of the report; those of "beyond" do not, so that every gap is held against resamples.
Beside them a session without gates. Seconds of processors and the largest process are those of a
whole session of pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

SPEC = """
import os
import numpy as np
import pandas as pd
import modeltune as mt

N = int(os.environ["ROWS"])

def data():
    random = np.random.default_rng(0)
    y = (random.random(N) < 0.4).astype(int)
    x = (y + 0.6 * random.normal(size=N))[:, None]
    names = np.array([f"region {n}" for n in range(20)])
    return mt.Data(test=(x, y), metadata={"test": pd.DataFrame({"region": names[random.integers(0, 20, N)]})})

class Model:
    def predict_proba(self, x):
        p = 1 / (1 + np.exp(-4 * (x[:, 0] - 0.5)))
        return np.stack([1 - p, p], axis=1)

@mt.spec(data=data, task="binary", gates=[
    gate
    for metric in map(mt.metric, ("accuracy", "recall", "f1"))
    for gate in (metric.by("region") >= 0.5, metric.by("region").gap <= float(os.environ["GAP"]))
    if os.environ["GAP"] != "nan"
])
def shipped():
    return Model()
"""

GAPS = {"no gates": "nan", "within": "0.5", "beyond": "0.0001"}


def main() -> None:
    """Print a table of seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000])
    rows = parser.parse_args().rows
    print(
        "| test samples | gates | seconds of processors | largest process, MiB |\n|---|---|---|---|"
    )
    for count in rows:
        for name, gap in GAPS.items():
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "spec_rows.py").write_text(SPEC)
                code = (
                    "import os, resource, subprocess, sys\n"
                    "done = subprocess.run([sys.executable, '-m', 'pytest', '-q', 'spec_rows.py'])\n"
                    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
                    "print('used', used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
                )
                environment = {"PYTHONPATH": str(ROOT), "ROWS": str(count), "GAP": gap}
                done = subprocess.run(
                    [sys.executable, "-c", code],
                    cwd=folder,
                    env=os.environ | environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
            if "1 passed" not in done.stdout:
                sys.exit(done.stdout + done.stderr)
            _, seconds, kib = done.stdout.splitlines()[-1].split()
            print(f"| {count} | {name} | {float(seconds):.1f} | {int(kib) // 1024} |", flush=True)


if __name__ == "__main__":
    main()
