"""Runs with a past, samples and examples, as report.html and pictures show them."""

from __future__ import annotations

import base64
import math
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import modeltune as mt
from modeltune.records.plain_data import Json
from modeltune.records.probes import ImageChange
from modeltune.records.runs import (
    Best,
    Durations,
    Run,
    RunStatus,
    Scores,
    Summary,
    Trial,
    TrialStatus,
)
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults, Verdict
from modeltune.reports.comparison import Contrast, Difference
from modeltune.reports.reported_run import ReportedRun
from tests.support.hostile import hostile_run
from tests.support.verdicts import regression, verdict_on, violation

METRICS = ("accuracy", "loss", "val_accuracy", "val_loss")


def png(shade: int) -> str:
    """Return an 8 by 8 image in base64, brighter to one corner."""
    rows = b"".join(
        bytes([0, *(min(255, shade * 20 + 12 * (x + y)) for x in range(8))]) for y in range(8)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def curve(draw: random.Random, epochs: int, metrics: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return learning curves that rise, or fall when they are losses."""
    speed, top = draw.uniform(0.02, 0.3), draw.uniform(0.6, 0.98)

    def at(metric: str, epoch: int) -> float:
        height = top * (1 - math.exp(-speed * (epoch + 1))) + draw.gauss(0, 0.008)
        height -= 0.04 if metric.startswith("val_") else 0.0
        return 2.3 * (1 - height) if "loss" in metric else height

    return {metric: tuple(at(metric, epoch) for epoch in range(epochs)) for metric in metrics}


def shift(x: Any, severity: Any) -> Any:
    return x


def searched(trials: int = 12, epochs: int = 8, metrics: Sequence[str] = METRICS) -> Run:
    """Return a run of an image classifier: a search, three refits, gates of every kind."""
    draw = random.Random(0)
    search_trials = []
    for number in range(trials):
        failed = number % 11 == 7
        trained = {} if failed else curve(draw, epochs, metrics)
        scores = trained.get("val_accuracy", ())
        values: dict[str, bool | int | float | str] = {
            "units": draw.choice([32, 64, 96, 128]),
            "rate": 10 ** draw.uniform(-4, -1),
            "activation": draw.choice(["relu", "tanh", "gelu"]),
            "norm": draw.random() < 0.5,
        }
        search_trials.append(
            Trial(
                number,
                TrialStatus.FAILED if failed else TrialStatus.COMPLETED,
                values,
                None if failed else max(scores),
                "loss is not finite" if failed else None,
                len(scores),
                0,
                None,
                None if failed else 1,
                draw.uniform(0.5, 4),
                number,
                trained,
                "graph",
            )
        )
    best = max((t for t in search_trials if t.score is not None), key=lambda t: t.score or 0)
    refits = [
        {"seed": seed, "fold": None, "seconds": 2.5, "trained_by": "graph", "curve": curve(draw, epochs, metrics)}
        for seed in range(3)
    ]  # fmt: skip
    confusion = [[36 if i == j else (i * j) % 3 for j in range(10)] for i in range(10)]
    per_class = [
        {"class": c, "precision": 0.9 + c / 100, "recall": 0.8 + c / 100, "f1": 0.85, "support": 36}
        for c in range(10)
    ]
    return Run(
        id="20261121-120000-0a1b2c3d",
        created="2026-11-21T12:00:00+00:00",
        spec="spec_digits.py::cnn",
        file="model_specs/spec_digits.py",
        status=RunStatus.FAILED,
        objective="maximize val_accuracy",
        scores={
            "accuracy": Scores((0.951, 0.947, 0.949)),
            "loss": Scores((0.21, 0.19, 0.2)),
            "parameters": Scores((48122.0,)),
        },
        verdicts=(
            verdict_on(mt.metric("accuracy") >= 0.93, Outcome.PASSED, 0.949, 0.93, "accuracy is 0.019 above the bound"),
            verdict_on(
                mt.metric("accuracy") >= mt.baseline - 0.005, Outcome.FAILED, 0.949, 0.962,
                "0.018 worse than the baseline (0.967), more than 0.005 allowed: is this recipe worse: "
                "Welch's t on 3 seeds, p = 0.004",
                regression(reference="20261118-120000-00000003", reference_value=0.967,
                           delta=-0.018, interval=(-0.026, -0.01), margin=0.005),
            ),
            verdict_on(
                mt.metric("recall").per_class(min_n=30) >= 0.8, Outcome.INCONCLUSIVE, 0.81, 0.8,
                "class 0 (n=36): cannot tell; 90 samples would",
                SliceResults((SliceResult("class 0", 36, Outcome.INCONCLUSIVE, 0.81, 0.8, "", 0),
                              SliceResult("class 1", 36, Outcome.PASSED, math.nan, 0.8, "", 1))),
            ),
            verdict_on(
                mt.invariant(shift, severity=(0, 2)), Outcome.WARNED, 0.1, 0.05, "row 3: 1 becomes 7",
                violation("row 3: 1 becomes 7",
                          ImageChange("", [[0.0, 1.0], [0.5, 0.0]], [[1.0, 0.0], [0.0, 0.5]])),
            ),
        ),
        best=Best(best.id, best.score or 0.0, best.values),
        trials=tuple(search_trials),
        search={"kind": "RandomSearch", "max_trials": trials},
        fit={"epochs": epochs, "batch_size": 32},
        validation={"kind": "Holdout", "seeds": 3, "refits": refits},
        durations=Durations(0.1, 25.0, 7.5),
        data={"samples": {"train": 1079, "validation": 359, "test": 359}},
        task_report={"output": {"task": "multiclass", "per_class": per_class, "confusion": confusion}},
        environment={"versions": {"keras": "3.15.1", "python": "3.11.7"}, "devices": ["CPU"], "git_revision": "0123456789abcdef"},
        checks=(
            Verdict("checks.overlap", Outcome.WARNED, 2.0, 0.0, "2 rows of test are in train"),
            Verdict("integrity.round_trip", Outcome.PASSED, 0.0, 0.0, "no difference"),
        ),
        advice=("validate with 5 seeds",),
        notes=("test was cut from train",),
        baseline="20261118-120000-00000003",
        model={
            "parameters": 48122, "trainable": 48000, "layers_total": 3,
            "layers": [
                {"name": "features", "kind": "Functional", "shape": [None, 4, 4, 16], "parameters": 160, "trainable": True, "depth": 0},
                {"name": "conv2d", "kind": "Conv2D", "shape": [None, 6, 6, 16], "parameters": 160, "trainable": False, "depth": 1},
                {"name": "dense", "kind": "Dense", "shape": None, "parameters": 47962, "trainable": True, "depth": 0},
            ],
        },
    )  # fmt: skip


def summary(run: Run, seq: int = 1, **fields: Any) -> Summary:
    """Return a run as the history lists it."""
    listed = Summary(
        seq, run.id, run.created, run.spec, run.file, run.status, run.objective,
        run.best.score if run.best else None, run.durations, None, None, run.error, run.cached,
        run.fingerprints, run.scores,
    )  # fmt: skip
    return replace(listed, **fields)


def past(run: Run, count: int = 8) -> tuple[Summary, ...]:
    """Return the runs up to this one, newest first; the fourth is its baseline."""
    earlier = [
        summary(
            run, seq, id=f"202611{14 + seq}-120000-0000000{seq - 1}",
            created=f"2026-11-{14 + seq}T12:00:00+00:00", status=RunStatus.PASSED,
            scores={"accuracy": Scores((0.94 + 0.007 * seq - 0.001 * seq**2,)), "loss": Scores((0.3 / seq,))},
        )
        for seq in range(1, count)
    ]  # fmt: skip
    return (summary(run, count), *reversed(earlier))


EXAMPLES: dict[str, Json] = {
    "format": 1,
    "refit": 0,
    "of": 359,
    "wrong": 2,
    "samples": [
        {
            "index": 17 * place,
            "is_wrong": place < 2,
            "x": {"": {"kind": "image", "png": png(place), "width": 8, "height": 8}},
            "outputs": {
                "output": {
                    "task": "multiclass", "truth": place, "predicted": 7 if place < 2 else place,
                    "confidence": 0.97 - place / 10, "error": None,
                }
            },
        }
        for place in range(6)
    ],
}  # fmt: skip


def answered(task: str, size: int, classes: int = 2, seed: int = 0) -> Samples:
    """Return what a classifier answered that is right more often than not, its probabilities for charts."""
    draw = np.random.default_rng(seed)
    if task == "multilabel":
        labels = draw.random((size, classes)) < 0.3
        shares = 1 / (1 + np.exp(1 - 2 * labels - draw.normal(size=labels.shape)))
        return Samples(
            size, 1, {"": labels}, {"": (shares > 0.5)[None]}, {"": range(classes)},
            chart_outputs={"": shares.astype(np.float32)},
        )  # fmt: skip
    truth = draw.integers(0, classes, size)
    if task == "binary":
        scores = 1 / (1 + np.exp(0.7 - 1.6 * truth - draw.normal(size=size)))
        predicted = (scores > 0.5).astype(int)
    else:
        logits = draw.normal(size=(size, classes)) + 2 * np.eye(classes)[truth]
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        predicted = scores.argmax(axis=1)
    return Samples(
        size, 1, {"": truth}, {"": predicted[None]}, {"": range(classes)},
        chart_outputs={"": scores.astype(np.float32)},
    )  # fmt: skip


def judged(task: str, samples: Samples | None, before: Samples | None = None) -> ReportedRun:
    """Return a run of one output with what it and its baseline answered."""
    run = replace(searched(2, 1), task_report={"output": {"task": task}})
    accepted = None if before is None else replace(run, id=str(run.baseline))
    return ReportedRun(run, (), samples, {}, accepted, baseline_samples=before)


def classifier(run: Run | None = None) -> ReportedRun:
    """Return a red image classifier held against an accepted run."""
    run = run or searched()
    accepted = replace(
        run, id=str(run.baseline), created="2026-11-18T12:00:00+00:00", status=RunStatus.PASSED,
        scores={"accuracy": Scores((0.968, 0.966, 0.967)), "loss": Scores((0.11, 0.12, 0.1))},
        environment={**run.environment, "git_revision": "fedcba9876543210", "versions": {"keras": "3.14.0", "python": "3.11.7"}},
    )  # fmt: skip
    contrast = Contrast(
        {"accuracy": Difference(0.004, "are these recipes different: Welch's t on 3 seeds")},
        ("spec_digits.py::cnn",),
    )
    answers, before = (answered("multiclass", 359, 10, seed) for seed in range(2))
    return ReportedRun(
        run, past(run), answers, EXAMPLES, accepted, contrast, baseline_samples=before
    )


def regressor(samples: int = 2_500) -> ReportedRun:
    """Return a green regression with so many test samples."""
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(samples, 1)).astype(np.float32)
    predicted = truth + draw.normal(scale=0.3, size=truth.shape).astype(np.float32)
    run = replace(
        searched(),
        spec="spec_diabetes.py::progression",
        status=RunStatus.PASSED,
        objective="minimize val_loss",
        verdicts=(verdict_on(mt.metric("loss") <= 0.3, Outcome.PASSED, 0.2, 0.3, "below"),),
        task_report={"output": {"task": "regression", "mae": 0.24, "mse": 0.09, "rmse": 0.3, "r2": 0.91}},
        baseline=None,
    )  # fmt: skip
    rows = [
        {"index": 4, "is_wrong": None, "x": {"": {"kind": "row", "values": [0.5, -1.25]}},
         "outputs": {"output": {"task": "regression", "truth": 1.5, "predicted": 0.2, "confidence": None, "error": 1.3}}},
        {"index": 9, "is_wrong": None, "x": {"": {"kind": "text", "text": "a long text"}, "more": {"kind": "array", "shape": [3, 3, 3], "min": 0, "max": None}},
         "outputs": {"output": {"task": "regression", "truth": [1.0, 2.0], "predicted": [1.0, 2.5], "confidence": None, "error": 0.5}}},
        {"index": 7, "is_wrong": None, "x": {"": {"kind": "text", "text": "of a mask"}},
         "outputs": {"output": {"task": "regression", "truth": None, "predicted": None, "confidence": None, "error": 0.25}}},
    ]  # fmt: skip
    measured = Samples(samples, 1, truth={"": truth}, predicted={"": predicted[None]})
    return ReportedRun(run, past(run), measured, {"of": samples, "wrong": None, "samples": rows})


def hostile(text: str) -> ReportedRun:
    """Return a run in which everything is named so, in its past and its examples too."""
    run = hostile_run(text)
    table = {"per_class": [{"class": text, "f1": 0.5, "support": text}], "confusion": [[1]]}
    known = answered("binary", 20)
    drawn = replace(
        known,
        truth={f"{text}_": known.truth[""]},
        predicted={f"{text}_": known.predicted[""]},
        classes={},
        chart_outputs={f"{text}_": known.chart_outputs[""]},
    )
    run = replace(
        run,
        task_report={text: {"task": "binary", **table}},
        model={"parameters": text, "layers": [{"name": text, "kind": text, "shape": [text]}]},
        validation={"kind": text, "refits": [{"seed": text, "fold": None, "curve": {text: [0.5]}}]},
    )
    answer = {"task": text, "truth": text, "predicted": [text], "confidence": 0.5, "error": None}
    inputs = {
        f"{text}1": {"kind": "image", "png": text, "width": text, "height": text},
        f"{text}2": {"kind": "text", "text": text},
        f"{text}3": {"kind": "row", "values": [text]},
        f"{text}4": {"kind": text, text: text},
    }
    sample = {"index": text, "is_wrong": True, "x": inputs, "outputs": {text: answer}}
    earlier = summary(run, 1, id=f"{text}!", git_revision=text)
    reference = replace(run, id=f"{text}!", search={"kind": f"{text}!"}, trials=())
    contrast = Contrast({text: Difference(0.5, text)}, (text,), (text,))
    return ReportedRun(
        replace(run, baseline=f"{text}!"),
        (summary(run, 2, git_revision=text), earlier),
        drawn,
        {"of": text, "wrong": 1, "samples": [sample]},
        reference,
        contrast,
        (text,),
    )
