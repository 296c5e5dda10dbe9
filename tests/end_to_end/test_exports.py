"""A tuned model is converted, run by its real runtimes, judged beside itself, kept and written again."""

from __future__ import annotations

import importlib
import json
import warnings

import pytest
from jsonschema import Draft202012Validator

from modeltune.cli import main
from modeltune.records import Outcome
from modeltune.records.exports import exports_of
from modeltune.reports.json_report import SCHEMA_FILE
from tests.support.example import RULES, Example

SHIPPED = (
    RULES
    + """
GATES = [
    mt.metric("accuracy").of("lite") >= mt.tuned - 0.5,
    mt.metric("loss").of("onnx").within(mt.tuned, 0.01),
    mt.metric("artifact_bytes").of("lite") <= 10_000,
    mt.metric("latency_ratio").of("onnx") <= 1000,
]

@mt.spec(
    data=blobs,
    fit=mt.Fit(epochs=1, batch_size=20),
    validation=mt.Holdout(seeds=2),
    exports={"lite": mt.LiteRT(quantize="int8", samples=8), "onnx": mt.Onnx()},
    gates=GATES,
)
def shipped(hp):
    return compiled(hp)
"""
)


def test_the_tuned_model_and_what_is_shipped_of_it_are_judged_in_one_run(
    project: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Sessions here forget what they import, and none of these can be imported twice.
        for name in ("onnxruntime", "tf2onnx"):
            importlib.import_module(name)
    project = project.with_spec(SHIPPED)
    done = project.run_pytest()
    done.assert_outcomes(passed=1)
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    Draft202012Validator(schema).validate(done.report)
    (run,) = project.history()
    assert [v.outcome for v in run.verdicts] == [Outcome.PASSED] * 4
    exports = exports_of(run)
    assert exports["onnx"].runtime.startswith("onnxruntime")
    # Float32 in another runtime is the same model; the loss of the first of two seeds is its own.
    assert exports["onnx"].scores["loss"] == pytest.approx(run.scores["loss"].values[0], rel=1e-4)
    assert exports["lite"].scores["loss"] == pytest.approx(run.scores["loss"].values[0], abs=0.2)
    assert run.verdicts[1].regression is not None

    # The very file is written again, and what is not one of its exports is refused.
    lite, onnx = run.files["export-lite"], run.files["export-onnx"]
    target = project.path / "model.tflite"
    assert main(["export", run.id, "--as", "lite", str(target)]) == 0
    assert target.stat().st_size == lite.bytes
    assert onnx.path.endswith(f"{run.id}.export-onnx.onnx")
    for name, file, words in (
        ("lite", "model.keras", "name a file that ends in .tflite"),
        ("lite", "model.tflite", "exists; name another file"),
        ("phone", "phone.tflite", "has no export 'phone'; it has: lite, onnx"),
    ):
        assert main(["export", run.id, "--as", name, file]) == 1
        assert words in capsys.readouterr().err

    # Recorded, it is judged by today's gates without being converted again.
    other = project.with_spec(SHIPPED.replace("<= 10_000", "<= 10"))
    again = other.run_pytest("--modeltune-rejudge")
    again.assert_outcomes(failed=1)
    outcomes = [v["outcome"] for v in again.reported[0]["verdicts"]]
    assert outcomes == ["passed", "passed", "failed", "passed"]
