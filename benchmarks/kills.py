"""Does a killed run, started again, end like an uninterrupted one? python benchmarks/kills.py

Runs of all four searches are killed (SIGKILL) at random instants, uniform over the duration of an
uninterrupted run, and started again until they end by themselves. Then trials (except for their
seconds), best values, scores and weights must be those of the uninterrupted run, the history must be
intact, the scratch folder empty, and no process may be left. The next kill starts from nothing.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from itertools import pairwise
from pathlib import Path

from modeltune.engine.quiet import quietly
from modeltune.records.runs import Run
from modeltune.specs.spec_type import Spec

sys.path.append(str(Path(__file__).parent.parent))
with quietly():
    from tests.support.killed_runs import SPECS, attempt, check_same, finished, killed_until_done


MOST = 4
"""How often one run is killed before it may end."""


def kill(
    spec: Spec, workers: int, kills: int, expected: Run | None, dice: random.Random, folder: Path
) -> tuple[float, int, Run]:
    """Kill runs of a spec ``kills`` times in all.

    Returns:
        The seconds of an uninterrupted run, this run, and how many runs were killed.

    Raises:
        AssertionError: a run did not end like ``expected``, by default the uninterrupted run.
    """
    seconds = attempt(spec, workers, folder / "uninterrupted").seconds
    (run,) = finished(folder / "uninterrupted")
    expected = expected or run
    # Nor may the number of processes make a difference.
    check_same(run, expected)
    instants, runs = iter(lambda: dice.uniform(0, seconds), None), 0
    while kills:
        runs += 1
        own, most = folder / str(runs), min(kills, MOST)
        kills -= killed_until_done(spec, workers, own, expected, instants, most)
    return seconds, runs, run


def main() -> int:
    """Print a line for each search and number of workers; return 1 when a run ended differently."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="in all; default: 100")
    parser.add_argument("--seed", type=int, default=0, help="draws the instants; default: 0")
    options = parser.parse_args()
    dice, failed = random.Random(options.seed), False
    combinations = [(spec, workers) for workers in (0, 2) for spec in SPECS]
    ends = [options.kills * n // len(combinations) for n in range(len(combinations) + 1)]
    uninterrupted: dict[str, Run] = {}
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    print("search     workers  seconds uninterrupted  kills  runs killed  equal")
    for (spec, workers), (begin, end) in zip(combinations, pairwise(ends), strict=True):
        kills, own = end - begin, folder / f"{spec.name}-{workers}"
        line = f"{spec.name:10} {workers:7}"
        try:
            expected = uninterrupted.get(spec.name)
            seconds, runs, run = kill(spec, workers, kills, expected, dice, own)
        except AssertionError:
            traceback.print_exc()
            print(f"{line}  see {own!s:<17} {kills:6}               NO", flush=True)
            failed = True
        else:
            uninterrupted[spec.name] = run
            print(f"{line} {seconds:22.1f} {kills:6} {runs:12}  yes", flush=True)
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
