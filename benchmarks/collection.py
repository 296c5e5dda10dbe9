"""How long collecting specs takes, and what the plugin costs a run without specs: python benchmarks/collection.py"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAVY = "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn scipy"
MOST_FOR_SPECS, MOST_FOR_PLUGIN = 150, 15
"""The milliseconds that each may cost at most."""

BARE = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "xdist", "anyio")]
"""Other plugins are off on both sides: they would hide what is ours (README.md has the cost of Hypothesis)."""

# Tells at the end of a run how many items there were and what it has loaded.
WITNESS = f"""
import sys

def pytest_collection_finish(session):
    session.config.collected = len(session.items)

def pytest_unconfigure(config):
    loaded = [name for name in "{HEAVY}".split() if name in sys.modules]
    sys.__stderr__.write(f"{{config.collected}}:{{','.join(loaded)}}")
"""


@dataclass(frozen=True)
class Measurement:
    """One run of pytest: wall milliseconds, items collected, heavy modules loaded."""

    milliseconds: float
    items: int
    heavy: str


def measure(arguments: Sequence[str], folder: Path) -> Measurement:
    """Run pytest in a fresh process."""
    command = [sys.executable, "-m", "pytest", "-q", *BARE, "-p", "witness"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        # With compiled files, as users have them.
        env=os.environ | {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    milliseconds = (time.perf_counter() - started) * 1000
    if done.returncode:
        sys.exit(f"pytest {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    items, _, heavy = done.stderr.rpartition("\n")[2].partition(":")
    return Measurement(milliseconds, int(items), heavy)


def interleaved(
    runs: Mapping[str, Sequence[str]], folder: Path, rounds: int
) -> dict[str, list[Measurement]]:
    """Measure each run once per round, in turn, so that all see the same machine."""
    for arguments in runs.values():
        measure(arguments, folder)  # writes the .pyc files
    runs_by_name: dict[str, list[Measurement]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, arguments in runs.items():
            runs_by_name[name].append(measure(arguments, folder))
    return runs_by_name


def report(runs_by_name: Mapping[str, Sequence[Measurement]], most: int) -> bool:
    """Print both runs and their difference; return whether it is within the target."""
    medians = []
    for name, measured in runs_by_name.items():
        times = [one.milliseconds for one in measured]
        medians.append(statistics.median(times))
        print(
            f"  {name:<42} {medians[-1]:7.1f} ms  (fastest {min(times):.1f})"
            f"  {measured[0].items} items, heavy modules: {measured[0].heavy or 'none'}"
        )
    difference = medians[1] - medians[0]
    within = difference <= most and not any(one.heavy for one in [*runs_by_name.values()][1])
    print(f"  difference {difference:.1f} ms; at most {most} ms: {'yes' if within else 'NO'}\n")
    return within


def main() -> int:
    """Measure both figures; the exit code says whether both hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--specs", type=Path, default=ROOT / "model_specs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "witness.py").write_text(WITNESS)
        # The same settings for both sides, whatever this repository's are.
        (folder / "pytest.ini").write_text("[pytest]\n")
        specs = ["--collect-only", str(options.specs), "-c", str(folder / "pytest.ini")]
        specs += ["--rootdir", str(options.specs.parent)]
        files = list(options.specs.rglob("spec_*.py"))
        items = measure(specs, folder).items
        plain = folder / "plain"
        plain.mkdir()
        for number in range(items):
            with open(plain / f"test_{number % len(files)}.py", "a") as file:
                file.write(f"def test_{number}():\n    pass\n\n")
        print(f"collecting {items} specs in {len(files)} files, median of {options.rounds} runs")
        specs_found = interleaved(
            {
                "pytest -p no:modeltune --collect-only": [
                    "-p",
                    "no:modeltune",
                    "--collect-only",
                    "plain",
                ],
                "pytest --collect-only model_specs/": specs,
            },
            folder,
            options.rounds,
        )
        specs_within = report(specs_found, MOST_FOR_SPECS)
        print(f"running {items} plain tests, no spec in sight, median of {options.rounds} runs")
        plugin_found = interleaved(
            {
                "pytest -p no:modeltune": ["-p", "no:modeltune", "plain"],
                "pytest": ["plain"],
            },
            folder,
            options.rounds,
        )
        plugin_within = report(plugin_found, MOST_FOR_PLUGIN)
    return 0 if specs_within and plugin_within else 1


if __name__ == "__main__":
    sys.exit(main())
