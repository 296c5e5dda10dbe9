"""How much faster two trial processes search than one: python benchmarks/workers.py"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from search import WORKLOADS, Settings, measure


def main() -> None:
    """Measure the same search with one and with two processes in turn, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORKLOADS, default="cnn", help="which workload")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs, each with its seed")
    options = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    ratios, scores = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, options.repeat + 1):
            for workers in (1, 2):
                settings = Settings(Path(folder), seed, workers=workers)
                measurement = measure("modeltune", options.only, settings)
                seconds[workers].append(measurement.seconds)
                scores.add((seed, measurement.score))
            ratios.append(seconds[1][-1] / seconds[2][-1])
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    print("| workload | 1 process, s | 2 processes, s | ratio | same best scores |")
    print("|---|---|---|---|---|")
    same = "yes" if len(scores) == options.repeat else "NO"
    print(f"| {options.only} | {one:.1f} | {two:.1f} | {statistics.median(ratios):.2f} | {same} |")


if __name__ == "__main__":
    main()
