"""Exports and the gates on them print as typed, and what is wrong with them is refused with the remedy."""

from __future__ import annotations

from typing import Any

import pytest

import modeltune as mt


@pytest.mark.parametrize(
    "typed",
    [
        "mt.LiteRT()",
        'mt.LiteRT(quantize="int8", samples=50)',
        'mt.LiteRT(quantize="float16")',
        "mt.Onnx(opset=17)",
        'mt.metric("accuracy").of("lite") >= mt.tuned - 0.01',
        'mt.metric("recall").at(precision=0.9).of("lite").by("region").within(mt.tuned, 0.05)',
        'mt.metric("artifact_bytes", severity="warn").of("lite") <= 2000000',
    ],
)
def test_what_was_typed_is_what_is_printed(typed: str) -> None:
    assert repr(eval(typed)) == typed


def declare(**fields: Any) -> str:
    with pytest.raises(mt.SpecError) as refused:
        mt.spec(data=lambda: mt.Data(()), **fields)
    return str(refused.value)


def test_every_field_that_is_wrong_is_named() -> None:
    said = declare(
        exports={"Lite": mt.LiteRT(quantize="int4", samples=0), "o": mt.Onnx(opset=0), "x": 3}
    )
    assert 'exports["Lite"]: it is part of a file\'s name' in said
    assert 'exports["Lite"].quantize: "int4": write one of "int8", "float16", "dynamic"' in said
    assert 'exports["Lite"].samples: 0' in said
    assert 'exports["o"].opset: 0' in said
    assert 'exports["x"]: 3: write mt.LiteRT(...) or mt.Onnx(...)' in said
    assert 'write a dict by name, {"lite": mt.LiteRT()}' in declare(exports=[mt.LiteRT()])


lite = mt.metric("accuracy").of("lite")


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (mt.metric("accuracy").of("lit") >= 0.5, 'declares no export "lit"; declared: "lite"'),
        (lite >= mt.baseline, "an export is held to a number or to mt.tuned"),
        (lite.within(mt.previous, 0.1), "an export is held to a number or to mt.tuned"),
        (lite.std <= 0.1, "one model is exported"),
        (mt.metric("accuracy") >= mt.tuned, "mt.tuned is this run's own model; name an export"),
        (mt.gap("accuracy").of("lite") <= 0.1, "gap is not measured of an export"),
        (mt.metric("parameters").of("lite") <= 9, "hold artifact_bytes"),
        (mt.metric("latency_ratio").of("lite") <= mt.tuned, "a ratio to the tuned model already"),
        (mt.metric("accuracy").of("") >= 0.5, 'write the name of an export, such as .of("lite")'),
    ],
)
def test_a_gate_that_no_export_can_be_held_to_is_refused(gate: Any, words: str) -> None:
    assert words in declare(exports={"lite": mt.LiteRT()}, gates=[gate])


def test_a_gate_of_an_export_says_nothing_of_what_is_searched_for() -> None:
    gates = [lite >= 0.5, mt.metric("f1") >= 0.5]

    @mt.spec(data=lambda: mt.Data(()), exports={"lite": mt.LiteRT()}, gates=gates)
    def model(hp: Any) -> None: ...

    assert model.search.objective.metric == "val_f1"
