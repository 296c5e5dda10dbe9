"""Selftest: plant defects into copies of a spec, run pytest on each, and check that it goes red."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from modeltune.ground import ModeltuneError
from modeltune.harness import auto, warm_up
from modeltune.histories import baselines
from modeltune.records import Json, Outcome, Run, Verdict, from_json

SPEC = '''\
"""The gallery's dense model of handwritten digits, after a search of one short trial."""

import keras
import numpy as np
from sklearn import datasets

import modeltune as mt


def digits():
    """1797 handwritten digits, 8 x 8 pixels in [0, 1], labels 0 to 9."""
    bunch = datasets.load_digits()
    x = (bunch.images / 16).astype("float32")[..., np.newaxis]
    return mt.Data(train=(x, bunch.target))


on_digits = mt.spec(
    data=digits,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1),
    fit=mt.Fit(epochs=5, batch_size=32),
    validation=mt.Holdout(epochs=30, seeds=3),
    gates=[
        mt.metric("accuracy") >= 0.95,
        mt.metric("accuracy") >= mt.baseline - 0.01,
        mt.metric("parameters") <= 50_000,
        mt.gain_over_dummy("accuracy") >= 0.5,
        mt.metric("accuracy").per_class(min_n=30) >= 0.75,
    ],
    checks="fail",
)


@on_digits
def mlp(hp):
    """Two dense layers: the floor every other model must clear."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(hp.Int("units", 32, 256, step=32), activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
'''
"""The spec that defects are planted into: that of the gallery (a test compares them), with more gates."""

SPEC_FILE = "model_specs/spec_digits.py"
SPEC_NODE = f"{SPEC_FILE}::mlp"

SESSION_TIMEOUT = 300.0
"""Seconds after which a pytest that still runs counts as green: it blocked nothing."""

REGRESSION = 'mt.metric("accuracy") >= mt.baseline - 0.01'
GAIN = 'mt.gain_over_dummy("accuracy") >= 0.5'
PER_CLASS = 'mt.metric("accuracy").per_class(min_n=30) >= 0.75'


@dataclass(frozen=True)
class Guard:
    """What has to turn red, and why.

    Args:
        name: a gate or check as reports name it, or in words what refuses the run.
        why: a regular expression that matches a part of the reason.
        outcome: the outcome of the gate or check; None: the run is refused with an error.
    """

    name: str
    why: str
    outcome: Outcome | None = Outcome.FAILED


@dataclass(frozen=True)
class Plant:
    """A defect, and what has to catch it.

    Args:
        name: the defect in words.
        guard: what has to turn red; None where nothing is planted and all must be green.
        edits: text in the spec's source and what replaces it, once each.
        options: of pytest.
        accepted: plant it where the sound spec has run already and was accepted.
        spoil: changes files of the project.
        files: more files of the project, by path.
    """

    name: str
    guard: Guard | None
    edits: Sequence[tuple[str, str]] = ()
    options: Sequence[str] = ()
    accepted: bool = False
    spoil: Callable[[Path], None] = lambda project: None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SessionEnd:
    """How a pytest session on a project ended: its exit code, what it printed, and its run if any."""

    exit_code: int | None
    output: str
    run: Run | None


@dataclass(frozen=True)
class PlantResult:
    """What caught a plant; None if nothing did as it should, and what happened instead."""

    plant: Plant
    caught: str | None
    instead: str
    seconds: float

    def __str__(self) -> str:
        expected = "green" if self.plant.guard is None else "red"
        result = expected
        if self.caught is None:
            result = f"NOT {expected} as it should be: {self.instead}"
        return f"{self.plant.name}: {result} ({self.seconds:.1f}s)"


@dataclass(frozen=True)
class SelftestReport:
    """What became of all plants, in their order."""

    results: tuple[PlantResult, ...]

    def __str__(self) -> str:
        names = ", ".join(result.plant.name for result in self.misses)
        if not names:
            return f"{len(self.results)} sessions, all as they should be"
        return f"not as it should be: {names}"

    @property
    def misses(self) -> tuple[PlantResult, ...]:
        """Defects that nothing caught, and sound specs that were not green."""
        return tuple(result for result in self.results if result.caught is None)


# The defects


def _parts(*defect: str, test: str = "(x_test, y_test)") -> tuple[str, str]:
    """Return the edit that cuts the data by hand and runs these lines on the parts."""
    lines = (
        "y, fold = bunch.target, np.arange(len(x)) % 5",
        "x_train, y_train = x[fold > 1], y[fold > 1]",
        "x_val, y_val = x[fold == 1], y[fold == 1]",
        "x_test, y_test = x[fold == 0], y[fold == 0]",
        *defect,
        f"return mt.Data((x_train, y_train), (x_val, y_val), {test})",
    )
    return "    return mt.Data(train=(x, bunch.target))\n", "".join(f"    {s}\n" for s in lines)


def _swap_weights(project: Path) -> None:
    """Put another model of the same shape and size in place of the accepted one."""
    import h5py

    (weights,) = project.glob(".modeltune/artifacts/*.weights.h5")
    size = weights.stat().st_size

    def reverse(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            item[...] = item[...][::-1]

    with h5py.File(weights, "r+") as file:
        file.visititems(reverse)
    if weights.stat().st_size != size:
        raise ModeltuneError(f"{weights} changed its size, which is no proof of anything")


def _forge(project: Path) -> None:
    """Lower the accuracies in the baseline by hand."""
    path = baselines.path_of(project / SPEC_FILE, "spec_digits.py::mlp")
    path.write_text(json.dumps(_lower_scores(path), indent=1), encoding="utf-8")


def _forge_and_seal(project: Path) -> None:
    """Do the same, and put the digest in that belongs to it."""
    path = baselines.path_of(project / SPEC_FILE, "spec_digits.py::mlp")
    data = _lower_scores(path)
    del data["sha256"]
    # As baselines.py computes it, which is no secret.
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    data["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _lower_scores(path: Path) -> dict[str, Json]:
    data: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    scores = data["scores"]["accuracy"]
    scores["values"] = [value - 0.1 for value in scores["values"]]
    scores["mean"] -= 0.1
    return data


def _edit_samples(project: Path) -> None:
    """Change what is recorded of the accepted run's test samples."""
    (samples,) = project.glob(".modeltune/artifacts/*.samples.json")
    data = json.loads(samples.read_text(encoding="utf-8"))
    data["definitions"] = {}
    samples.write_text(json.dumps(data), encoding="utf-8")


SOUND = Plant(
    "no defect, the first run", None, options=("--modeltune-accept", "--modeltune-reason=sound")
)

ONE_REFIT = ("epochs=30, seeds=3", "epochs=5, seeds=1")
"""Where nothing is compared with an accepted run, one short refit shows as much."""

NAN = ('compile("adam"', "compile(keras.optimizers.Adam(1e30)")

OTHER_TEST = ("train=(x, bunch.target)", "train=(x[100:], bunch.target[100:])")

PLANTS: tuple[Plant, ...] = (
    Plant(
        "train labels are shuffled",
        Guard(GAIN, "below the bound"),
        [_parts("y_train = np.random.default_rng(0).permutation(y_train)"), ONE_REFIT],
    ),
    Plant(
        "36 test rows are in train too",
        Guard("checks.overlap", r"36 of 360 test rows are also in train"),
        [
            _parts(
                "x_train = np.concatenate([x_train, x_test[:36]])",
                "y_train = np.concatenate([y_train, y_test[:36]])",
            ),
            ONE_REFIT,
        ],
    ),
    Plant(
        "the loss is NaN",
        Guard("the search", r"none of 1 trials completed; .* loss is nan", None),
        [NAN],
    ),
    Plant(
        "train lacks a class that test has",
        Guard("checks.labels", r"\b9\b"),
        [
            _parts(
                "x_train, y_train = x_train[y_train != 9], y_train[y_train != 9]",
                "x_val, y_val = x_val[y_val != 9], y_val[y_val != 9]",
            ),
            ONE_REFIT,
        ],
    ),
    Plant(
        "test lacks a class that train has",
        Guard(PER_CLASS, "class 9 has no sample in test"),
        [
            _parts("x_test, y_test = x_test[y_test != 9], y_test[y_test != 9]"),
            ('checks="fail"', 'checks="warn"'),
            ONE_REFIT,
        ],
    ),
    Plant(
        "the model ignores its input",
        Guard(GAIN, "below the bound"),
        [
            ("keras.layers.Flatten(),", "keras.layers.Flatten(), keras.layers.Rescaling(0.0),"),
            ONE_REFIT,
        ],
    ),
    Plant(
        "test has other labels each time it is read",
        Guard("checks.streams", "test yields other samples each time it is read"),
        [
            _parts(
                "import itertools",
                "import tensorflow as tf",
                "passes = itertools.count(1)",
                "def rows():",
                # More of them each time: two passes never score the same by chance.
                "    wrong = 10 * next(passes)",
                "    yield from zip(x_test, [*np.roll(y_test[:wrong], 1), *y_test[wrong:]])",
                "signature = tf.TensorSpec((8, 8, 1)), tf.TensorSpec((), tf.int64)",
                test="tf.data.Dataset.from_generator(rows, output_signature=signature).batch(32)",
            ),
            ONE_REFIT,
        ],
    ),
    Plant(
        "the model draws at inference",
        Guard("integrity.predict_twice", "two predictions of the same"),
        [
            ("keras.layers.Flatten(),", "keras.layers.Flatten(), Noisy(0.01),"),
            ONE_REFIT,
            (
                "    model = keras.Sequential(",
                "    class Noisy(keras.layers.Dropout):\n"
                "        def call(self, inputs, training=None):\n"
                "            return super().call(inputs, training=True)\n\n"
                "    model = keras.Sequential(",
            ),
        ],
    ),
    Plant("no defect, the same run again", None, accepted=True),
    Plant(
        "the model got worse",
        Guard(REGRESSION, r"worse than the accepted run .* p = "),
        [("keras.layers.Flatten(),", "keras.layers.AveragePooling2D(2), keras.layers.Flatten(),")],
        accepted=True,
    ),
    Plant(
        "the accepted weights were swapped",
        Guard(REGRESSION, r"weights\.h5 was changed .*sha256", Outcome.INVALID),
        [OTHER_TEST],
        accepted=True,
        spoil=_swap_weights,
    ),
    Plant(
        "the search space changed, a stale run is judged",
        Guard("--modeltune-rejudge", r"no recorded run was re-judged: .*changed since run", None),
        [("32, 256, step=32", "32, 128, step=32")],
        ["--modeltune-rejudge"],
        accepted=True,
    ),
    Plant(
        "the model changed, a stale run is to be reused",
        Guard("the search", r"none of 1 trials completed; .* loss is nan", None),
        [NAN],
        ["--modeltune-reuse"],
        accepted=True,
    ),
    Plant(
        "the baseline was edited by hand",
        Guard(REGRESSION, "was edited: its digest does not fit", Outcome.INVALID),
        options=["--modeltune-rejudge"],
        accepted=True,
        spoil=_forge,
    ),
    Plant(
        "the baseline was edited, its digest too",
        Guard(REGRESSION, "contradicts itself: accuracy is not what", Outcome.INVALID),
        options=["--modeltune-rejudge"],
        accepted=True,
        spoil=_forge_and_seal,
    ),
    Plant(
        "the recorded samples were edited",
        Guard(PER_CLASS, "the results on single test samples are not known", Outcome.ERROR),
        options=["--modeltune-rejudge"],
        accepted=True,
        spoil=_edit_samples,
    ),
)
"""All plants, in the order of the table; the first ones need no accepted run."""


# The proof


def selftest(
    plants: Sequence[Plant],
    *,
    keep: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> SelftestReport:
    """Plant each defect into a fresh copy of the spec, run pytest there, and look at its result.

    Nothing is read or written outside one folder. As many sessions run at once as there are cores.

    Args:
        plants: what to plant; the sound spec always runs first.
        keep: where the planted projects stay; default: a folder that is removed at the end.
        say: called with a line for each plant that has finished.

    Raises:
        ModeltuneError: the folder is not empty, or cannot be written.
    """
    with _folder(keep) as folder:
        warm_up(*SESSION_MODULES)
        done = {result.plant.name: result for result in _all(plants, folder, say)}
    return SelftestReport(tuple(done[plant.name] for plant in (SOUND, *plants)))


def selftest_table(report: SelftestReport) -> str:
    """Return a table: what was planted, what should catch it, what did, and whether pytest was red."""
    rows = [("planted", "what should catch it", "what did", "red?")]
    for result in report.results:
        guard = result.plant.guard
        expected = ("-", "no") if guard is None else (guard.name, "yes")
        if result.caught is None:
            rows.append((result.plant.name, expected[0], result.instead, "MISSED"))
        else:
            rows.append((result.plant.name, expected[0], result.caught, expected[1]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ruled
    )


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="modeltune-selftest-") as made:
            yield Path(made).resolve()
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        is_empty = not any(keep.iterdir())
    except OSError as error:
        raise ModeltuneError(f"{keep} cannot be used: {error}; name another folder") from error
    if not is_empty:
        raise ModeltuneError(f"{keep} is not empty; name a new folder to keep the projects in")
    yield keep.resolve()


def _all(
    plants: Sequence[Plant], folder: Path, say: Callable[[str], None]
) -> Iterator[PlantResult]:
    """Yield the result of each plant when it has ended, also that of the sound spec's first run."""
    waiting = [plant for plant in (SOUND, *plants) if not plant.accepted]
    after = [plant for plant in plants if plant.accepted]
    sound: Path | None = None
    running: dict[Any, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < auto(threads=1):
                started = _Running(waiting.pop(0), folder, sound)
                running[started.process.sentinel] = started
            ready = wait(list(running), timeout=1.0)
            late = [s for s, session in running.items() if session.seconds > SESSION_TIMEOUT]
            for sentinel in {*ready, *late}:
                ended = running.pop(sentinel)
                result = ended.result()
                say(str(result))
                yield result
                if ended.plant is not SOUND:
                    continue
                if result.caught is not None:
                    sound, waiting = ended.project, [*waiting, *after]
                else:
                    why = "the sound spec was not accepted, so nothing can be planted into it"
                    yield from (PlantResult(plant, None, why, 0.0) for plant in after)
    finally:
        for session in running.values():
            session.end()


class _Running:
    """A pytest session on a planted project, in a process that has imported Keras already."""

    def __init__(self, plant: Plant, folder: Path, sound: Path | None):
        self.plant = plant
        self.project = folder / re.sub(r"\W+", "-", plant.name)
        _lay_out(plant, self.project, sound)
        self._started = time.monotonic()
        context = multiprocessing.get_context("forkserver")
        arguments = [SPEC_NODE, *PYTEST_OPTIONS, *plant.options]
        self.process: BaseProcess = context.Process(
            target=_pytest, args=(str(self.project), arguments)
        )
        self.process.start()

    @property
    def seconds(self) -> float:
        """How long the session has been running."""
        return time.monotonic() - self._started

    def end(self) -> None:
        """Kill the session if it still runs."""
        self.process.kill()
        self.process.join()

    def result(self) -> PlantResult:
        """Return what became of the plant in this session."""
        seconds, code = self.seconds, self.process.exitcode
        self.end()
        output = (self.project / OUTPUT).read_text(encoding="utf-8", errors="replace")
        report = self.project / ".modeltune/report/report.json"
        runs = json.loads(report.read_text(encoding="utf-8"))["runs"] if report.is_file() else []
        session = SessionEnd(code, output, from_json(runs[-1]) if runs else None)
        return PlantResult(self.plant, *caught_by(self.plant, session), seconds)


SESSION_MODULES = (
    *("pytest", "modeltune.plugin.session", "modeltune.plugin.items", "modeltune.harness.pipeline"),
    *(
        "modeltune.harness.conclusion",
        "modeltune.harness.report_files",
        "modeltune.reports.html_report",
    ),
    *(
        "modeltune.reports.markdown_report",
        "modeltune.judgement.significance",
        "alembic.command",
        "sklearn.datasets",
    ),
)
"""Modules that every session imports; the server that sessions are forked from has them."""

OUTPUT = "output.txt"
"""What pytest printed on a project."""

PYTEST_OPTIONS = (
    "--modeltune-workers=0",  # each session has a process of its own already
    "-pno:cacheprovider",
    # Hypothesis would be imported in each session; and there are no assertions to explain.
    "-pno:hypothesispytest",
    "--assert=plain",
)


def _lay_out(plant: Plant, project: Path, sound: Path | None) -> None:
    """Write a project with the spec, and plant the defect into it."""
    if plant.accepted:
        assert sound is not None
        shutil.copytree(sound, project, ignore=shutil.ignore_patterns("report", "__pycache__"))
    source = SPEC
    for old, new in plant.edits:
        if source.count(old) != 1:
            raise ModeltuneError(f"{plant.name}: the spec does not hold {old!r} exactly once")
        source = source.replace(old, new)
    for path, text in {SPEC_FILE: source, "pyproject.toml": "", **plant.files}.items():
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    plant.spoil(project)


def _pytest(project: str, arguments: Sequence[str]) -> None:
    """Run ``python -m pytest`` in a project, free from settings of the place where the selftest runs."""
    printed = os.open(Path(project, OUTPUT), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.chdir(project)
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "MODELTUNE_", "GITHUB_")):
            del os.environ[name]
    sys.argv = ["pytest", *arguments]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


def caught_by(plant: Plant, session: SessionEnd) -> tuple[str | None, str]:
    """Return what caught a plant, None if nothing did as it should, and how the session ended."""
    run, guard = session.run, plant.guard
    verdicts = (*run.verdicts, *run.checks) if run else ()
    red = [verdict for verdict in verdicts if verdict.outcome.is_red()]
    instead = _ending(session, red)
    if guard is None:
        is_green = session.exit_code == 0 and run is not None and run.passed and not red
        if is_green and run is not None and plant.accepted and run.baseline is None:
            return None, "green, but not compared with the accepted run"
        return ("nothing: green" if is_green else None), instead
    if session.exit_code != 1 or (run is not None and run.passed):
        return None, instead
    if guard.outcome is None:
        lines = (run.error or "" if run else session.output).splitlines()
        excerpts = (_excerpt("refused", line, guard.why) for line in lines)
        return next(filter(None, excerpts), None), instead
    for verdict in red:
        if verdict.gate == guard.name and verdict.outcome is guard.outcome:
            caught = _excerpt(verdict.outcome.value, verdict.reason, guard.why)
            if caught is not None:
                return caught, instead
    return None, instead


def _ending(session: SessionEnd, red: Sequence[Verdict]) -> str:
    """Return in words how a session ended."""
    if session.exit_code is None or session.exit_code < 0:
        return f"pytest did not end in {SESSION_TIMEOUT:.0f} s, or was killed"
    end = "green" if session.exit_code == 0 else f"exit {session.exit_code}"
    reasons = [f"{verdict.gate}: {verdict.outcome.value}: {verdict.reason}" for verdict in red]
    if session.run and session.run.error:
        reasons.insert(0, session.run.error)
    if session.run is None:
        reasons.insert(0, session.output.strip().rpartition("\n")[2])
    return _short(f"{end}, {reasons[0]}") if reasons else end


REASON_WIDTH = 80
"""The most characters of a reason in the table."""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= REASON_WIDTH else f"{text[: REASON_WIDTH - 4]} ..."


def _excerpt(outcome: str, text: str, why: str) -> str | None:
    """Return the outcome and the reason, shortened around the match; None if it is another reason."""
    match = re.search(why, text)
    if match is None:
        return None
    if match.end() > REASON_WIDTH:
        text = f"... {text[match.start() :]}"
    return _short(f"{outcome}: {text}")
