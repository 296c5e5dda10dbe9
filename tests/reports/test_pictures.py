"""Pictures of a run: what is drawn, by which names, and that hostile names stay text."""

from __future__ import annotations

import math
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import modeltune as mt
from modeltune.cli import main
from modeltune.ground.errors import ModeltuneError
from modeltune.histories.store import open_store
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
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults
from modeltune.reports import pictures as drawing
from modeltune.reports.answer_charts import answer_charts
from modeltune.reports.filenames import file_name
from modeltune.reports.pictures import draw_pictures
from modeltune.reports.reported_run import ReportedRun
from tests.support.hostile import HOSTILE
from tests.support.reported_runs import answered, judged
from tests.support.verdicts import verdict_on

SPEC = "spec_digits.py::mlp"
SVG = "{http://www.w3.org/2000/svg}"


def trial(number: int, score: float | None) -> Trial:
    status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    curve = (
        {} if score is None else {"loss": (0.9, 0.5), "val_loss": (0.95, math.nan), "lr": (1.0,)}
    )
    return Trial(
        number, status, {"units": 8}, score, None, 2, 0, None, 1, 1.0, number, curve, "graph"
    )


def summary(number: int) -> Summary:
    return Summary(
        seq=number,
        id=f"{number}aaaaaaaaaaaaaaa",
        created=f"2026-11-{number:02d}T10:00:00+00:00",
        spec=SPEC,
        file="spec_digits.py",
        status=RunStatus.PASSED,
        objective="minimize val_loss",
        best_score=0.5,
        durations=Durations(),
        git_revision=None,
        git_dirty=None,
        error=None,
        cached=False,
        fingerprints={},
        scores={"loss": Scores((0.5 - number / 100, 0.6 - number / 100))},
    )


PAST = tuple(summary(number) for number in (3, 2, 1))
RUN = Run(
    id=PAST[0].id,
    created=PAST[0].created,
    spec=SPEC,
    file="spec_digits.py",
    status=RunStatus.PASSED,
    objective="minimize val_loss",
    scores=PAST[0].scores,
    verdicts=(verdict_on(mt.metric("loss") <= 0.7, Outcome.PASSED, 0.5, 0.7, "below"),),
    best=Best(1, 0.5, {"units": 8}),
    trials=(trial(0, 0.75), trial(1, 0.5), trial(2, None)),
    validation={"refits": [{"seed": 0, "fold": None, "curve": {"loss": [0.5, 0.25]}}]},
    task_report={
        "output": {"per_class": [{"class": 0}, {"class": 1}], "confusion": [[31, 4], [5, 62]]}
    },
    baseline=PAST[1].id,
)
NUMBERS = np.array([[1.0], [2.0], [4.0]], "float32")
REPORTED = ReportedRun(
    RUN,
    PAST,
    Samples(3, 1, truth={"": NUMBERS}, predicted={"": NUMBERS[None] + 0.5}),
    reference=replace(RUN, id=PAST[1].id, scores=PAST[1].scores),
)


def texts(picture: bytes) -> list[str]:
    """Return what is written in an SVG."""
    return ["".join(element.itertext()) for element in ET.fromstring(picture).iter(f"{SVG}text")]


def test_svg_shows_search_curves_confusion_residuals_and_trend() -> None:
    drawn = draw_pictures(REPORTED, "svg")
    named = {
        name.removeprefix("spec_digits.py.mlp-").removesuffix(".svg"): texts(picture)
        for name, picture in drawn.items()
    }
    assert [*named] == ["search", "curves", "confusion", "residuals", "trend"]
    assert {"trial", "best so far", "without a score", "best", "val_loss"} <= {*named["search"]}
    assert {"trials of the search", "refits", "epoch", "loss", "lr"} <= {*named["curves"]}
    assert {"best trial, validation", "best trial, train", "refit"} <= {*named["curves"]}
    assert {"31", "4", "5", "62", "true", "predicted"} <= {*named["confusion"]}
    errors = {"share of the samples", "absolute error, up to"}
    assert {"real", "predicted", "predicted - real", *errors} <= {*named["residuals"]}
    assert {"this run", "accepted", "baseline", "gate <= 0.7", "2026-11-03"} <= {*named["trend"]}


def test_answers_and_slices_are_drawn_beside_those_of_the_baseline() -> None:
    samples, before = answered("multilabel", 90, 2), answered("multilabel", 90, 2, seed=1)
    results = [
        SliceResult(f"class {label}", 40, outcome, measured, 0.5, "", label)
        for label, outcome, measured in ((0, Outcome.FAILED, 0.4), (1, Outcome.PASSED, 0.7))
    ]
    gate = mt.metric("recall").per_class(min_n=5) >= 0.5
    verdict = verdict_on(gate, Outcome.FAILED, 0.4, 0.5, "", SliceResults(tuple(results)))
    reported = judged("multilabel", samples, before)
    run = replace(reported.run, spec=SPEC, trials=(), validation={}, verdicts=(verdict,))
    drawn = draw_pictures(replace(reported, run=run), "svg")
    named = {
        name.removeprefix("spec_digits.py.mlp-").removesuffix(".svg"): texts(picture)
        for name, picture in drawn.items()
    }
    assert [*named] == ["roc", "precision-recall", "reliability", "scores", "slices"]
    (group,) = answer_charts(replace(reported, run=run), 1, [])
    for name, kind in (("roc", "roc"), ("precision-recall", "pr")):
        legend = {f"{one['name']} ({one[kind]['area']:.3g})" for one in group["classes"]}
        assert legend | {"baseline"} <= {*named[name]}
        assert "operating point" not in named[name]
    assert {"label 0", "label 1", "baseline"} <= {*named["reliability"]}
    assert {"label 0", "label 1", "others"} <= {*named["scores"]}
    assert {"class 0 (n=40)", "class 1 (n=40)"} <= {*named["slices"]}


def test_where_a_run_says_yes_is_drawn_on_its_curves() -> None:
    samples = replace(answered("binary", 60), thresholds={"": np.array([[0.4]])})
    reported = judged("binary", samples)
    drawn = draw_pictures(reported, "svg")
    marked = [name for name, picture in drawn.items() if "operating point" in texts(picture)]
    assert [name.rpartition("cnn-")[2] for name in marked] == ["roc.svg", "precision-recall.svg"]


def test_the_same_run_is_the_same_bytes() -> None:
    run = ReportedRun(replace(RUN, trials=(), validation={}))
    assert draw_pictures(run, "svg") == draw_pictures(run, "svg") != {}


def test_png_has_the_same_pictures() -> None:
    run = replace(RUN, trials=RUN.trials[:1], validation={}, task_report={}, verdicts=())
    drawn = draw_pictures(ReportedRun(run), "png")
    assert [*drawn] == ["spec_digits.py.mlp-search.png", "spec_digits.py.mlp-curves.png"]
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in drawn.values())


def test_outputs_have_pictures_of_their_own() -> None:
    table = {"per_class": [{"class": 0}], "confusion": [[3]]}
    run = replace(RUN, trials=(), validation={}, task_report={"a/b": table, "..": table})
    assert [*draw_pictures(ReportedRun(run), "svg")] == [
        "spec_digits.py.mlp-confusion-a%2Fb.svg",
        "spec_digits.py.mlp-confusion-...svg",
    ]


def test_a_trend_needs_neither_bound_nor_baseline_nor_the_run_itself() -> None:
    run = replace(RUN, id="9a", verdicts=(), trials=(), validation={}, task_report={})
    past = (*(summary(5), summary(4)), replace(summary(3), scores={}), *PAST[1:])
    drawn = draw_pictures(ReportedRun(run, past), "svg")["spec_digits.py.mlp-trend.svg"]
    assert "2026-11-01" in texts(drawn)
    assert "this run" not in texts(drawn)
    # Where one was not measured the line has a gap.
    lines = [path.get("d", "").split() for path in ET.fromstring(drawn).iter(f"{SVG}path")]
    assert any((d.count("M"), d.count("L")) == (2, 2) and "z" not in d for d in lines)


def test_a_title_says_what_is_not_in_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_PANELS", 1)
    monkeypatch.setattr(drawing, "MOST_CLASSES_DRAWN", 1)
    refits = [{"seed": 0, "fold": None, "curve": {"loss": [0.5], "lr": [1.0]}}]
    run = replace(RUN, trials=(), validation={"refits": refits})
    drawn = draw_pictures(ReportedRun(run), "svg")
    curves, confusion = (texts(picture) for picture in drawn.values())
    assert f"{SPEC}: learning curves (1 of 2 metrics)" in curves
    assert any(text.endswith("… (1 of 2 classes)") for text in confusion), "its end is never cut"
    assert "31" in confusion
    assert "62" not in confusion


def test_of_a_run_without_anything_to_draw_there_is_no_picture() -> None:
    empty = Run("0a", "2026-11-20", SPEC, "f", RunStatus.ERROR, "minimize loss", error="no way")
    assert draw_pictures(ReportedRun(empty), "svg") == {}


def test_scores_that_are_no_numbers_are_drawn_as_failures() -> None:
    worst = replace(trial(0, math.inf), curve={"loss": (math.nan, math.inf, -math.inf)})
    run = replace(RUN, trials=(worst, trial(1, 0.5)), validation={}, task_report={})
    search = draw_pictures(ReportedRun(run), "svg")["spec_digits.py.mlp-search.svg"]
    assert "without a score" in texts(search)


@pytest.mark.parametrize(
    "name",
    ["script", "entity", "emphasis", "300 characters", "traversal", "nul", "lone surrogate"],
)
def test_a_hostile_name_is_text_and_leads_nowhere(name: str) -> None:
    text = HOSTILE[name]
    run = replace(
        RUN,
        spec=text,
        objective=f"minimize {text}",
        trials=RUN.trials[:1],
        task_report={},
        validation={},
        scores={},
    )
    run = replace(run, trials=(replace(run.trials[0], curve={}),))
    ((file, picture),) = draw_pictures(ReportedRun(run), "svg").items()
    assert file == f"{file_name(f'{text}-search')}.svg"
    assert Path(file).name == file
    parsed = ET.fromstring(picture)
    assert not {*parsed.iter(f"{SVG}script"), *parsed.iter(f"{SVG}a")}
    plain_text = text.replace("\0", "").replace("\ud800", "?")
    title = texts(picture)[-1]
    assert title == f"{plain_text}: search" or (
        len(title) > 80 and plain_text.startswith(title[:-1])
    )


def test_without_matplotlib_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModeltuneError, match=r"pip install 'modeltune\[pictures\]'"):
        draw_pictures(REPORTED, "svg")


def test_the_command_writes_pictures_beside_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/history.db"
    scored = replace(RUN.trials[0], curve={})
    small = replace(RUN, trials=(scored,), scores={}, validation={}, task_report={}, baseline=None)
    with open_store(url) as store:
        store.record(replace(small, id="1a"))
        store.record(replace(small, id="2a", trials=(), task_report=RUN.task_report))
    command = ["report", "1a", "2a", f"--store={url}", "--pictures=svg"]
    assert main([*command, "--output=out"]) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.svg")}
    assert names == {"spec_digits.py.mlp-search.svg", "2a-spec_digits.py.mlp-confusion.svg"}
    output = capsys.readouterr().out
    assert all(f"written: out/{name}" in output for name in names)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([*command, "--output=none"]) == 1
    assert "pip install 'modeltune[pictures]'" in capsys.readouterr().err
    assert not Path("none").exists()
