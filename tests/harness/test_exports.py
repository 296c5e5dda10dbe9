"""What exports need is said before anything is trained, and what was measured of them is judged."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.harness.exports import (
    check_exports,
    measured_exports,
    require_runtimes,
    tuned_model,
)
from modeltune.judgement import Measurements, judge
from modeltune.records import ExportRecord, Outcome, References, Samples, Scores, Verdict, plain
from modeltune.records.exports import exports_of
from modeltune.records.json_form import from_json, to_json
from modeltune.reports import recorded_scores, show
from tests.support.reported_runs import searched

TRUTH = np.arange(1000) % 2


def answers(wrong: int, refits: int = 1) -> Samples:
    """Return samples of refits that are wrong on the first ones."""
    predicted = TRUTH.copy()
    predicted[:wrong] = 1 - predicted[:wrong]
    is_right = np.stack([predicted == TRUTH] * refits)
    return Samples(
        *(1000, refits, {"": TRUTH}, {"": np.stack([predicted] * refits)}, {"": [0, 1]}),
        values={"accuracy": is_right},
    )


RECORD = ExportRecord(
    "mt.LiteRT()", "LiteRT", 1200, {"accuracy": 0.9, "loss": 2.0}, latency_ratio=(0.3, 0.2, 0.6)
)
REFITS = ((0, None), (1, None), (2, None))


def verdict(gate: Any, record: ExportRecord = RECORD, wrong: int = 100) -> Verdict:
    """Judge a gate of a run whose kept model is wrong on 10 of 1000 samples, its other refits on more."""
    exports = measured_exports({"lite": record}, {"lite": answers(wrong)}, REFITS, None)
    tuned = answers(10, refits=3)
    measured = Measurements(
        {
            "accuracy": Scores((0.99, 0.6, 0.6)),
            "loss": Scores((1.0, 4.0, 4.0)),
            "artifact_bytes": Scores((4000.0,)),
        },
        *(REFITS, tuned),
        exports=exports,
    )
    past: References = {"baseline": "none", "tuned": [tuned_model("1a2b", measured)]}
    (only,) = judge([gate], measured, "spec_a.py::a", past)
    return only


accuracy = mt.metric("accuracy").of("lite")


@pytest.mark.parametrize(
    ("gate", "outcome"),
    [
        (accuracy >= mt.tuned - 0.01, Outcome.FAILED),
        (accuracy >= mt.tuned - 0.12, Outcome.PASSED),
        (accuracy.within(mt.tuned, 0.01), Outcome.FAILED),
        (accuracy.per_class() >= mt.tuned - 0.01, Outcome.FAILED),
        (accuracy >= 0.89, Outcome.PASSED),
        (mt.metric("loss").of("lite") <= mt.tuned + 0.1, Outcome.FAILED),
        (mt.metric("artifact_bytes").of("lite") <= 1200, Outcome.PASSED),
        (mt.metric("artifact_bytes").of("lite") <= mt.tuned * 0.2, Outcome.FAILED),
        (mt.metric("latency_ratio").of("lite") <= 0.7, Outcome.PASSED),
        (mt.metric("latency_ratio").of("lite") <= 0.5, Outcome.INCONCLUSIVE),
        (mt.metric("negative_flips").of("lite") <= 0.08, Outcome.FAILED),
        (mt.metric("f1").of("lite") >= 0.5, Outcome.ERROR),
    ],
    ids=str,
)
def test_an_export_is_a_candidate_beside_the_model_it_is_made_of(
    gate: Any, outcome: Outcome
) -> None:
    assert verdict(gate).outcome is outcome


def test_it_is_compared_on_the_same_samples_with_the_model_that_is_kept() -> None:
    result = verdict(accuracy >= mt.tuned - 0.01)
    assert result.regression is not None
    assert (result.regression.test, result.regression.n) == ("exact McNemar", 1000)
    assert result.regression.reference_value == 0.99  # and not the mean over refits
    assert "worse than the tuned model (0.99)" in result.reason
    # As many errors, on other samples: nothing is worse.
    assert verdict(accuracy >= mt.tuned - 0.01, wrong=10).outcome is Outcome.PASSED


def test_an_export_that_is_not_made_is_red_whether_gates_ask_for_it_or_not() -> None:
    record = ExportRecord("mt.LiteRT()", problem='layer "odd" (Odd) cannot be converted')
    result = verdict(accuracy >= 0.5, record)
    assert result.outcome is Outcome.ERROR
    assert 'layer "odd" (Odd) cannot be converted' in result.reason
    (check,) = check_exports({"lite": record})
    assert (check.outcome, check.outcome.is_red()) == (Outcome.FAILED, True)
    assert check_exports({"lite": RECORD})[0].outcome is Outcome.PASSED
    assert check_exports({}) == ()


def test_what_is_not_installed_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    @mt.spec(data=lambda: mt.Data(()), exports={"o": mt.Onnx(), "lite": mt.LiteRT()})
    def model(hp: Any) -> None: ...

    require_runtimes(model)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "onnx" in name else found(name)
    )
    with pytest.raises(mt.SpecError, match=r"::model: exports.*pip install") as refused:
        require_runtimes(model)
    assert 'exports["o"]: tf2onnx, onnx, onnxruntime are not installed' in str(refused.value)
    assert 'pip install "modeltune[onnx]"' in str(refused.value)


def test_the_record_of_an_export_survives_json_and_is_shown() -> None:
    run = searched()
    run = replace(run, model={**run.model, "exports": plain({"lite": RECORD})})
    again = from_json(json.loads(json.dumps(to_json(run))))
    assert exports_of(again) == {"lite": RECORD}
    replayed = recorded_scores(again)
    assert (replayed['accuracy.of("lite")'], replayed['artifact_bytes.of("lite")']) == (0.9, 1200)
    shown = show(again)
    assert "0.3 (0.2 to 0.6)" in shown
    assert "accuracy 0.9 (tuned" in shown


def test_a_record_that_is_no_export_is_refused() -> None:
    run = searched()
    data = to_json(replace(run, model={"exports": {"lite": {"declared": 3}}}))
    with pytest.raises(ValueError, match="has under exports what no run records there"):
        from_json(data)
