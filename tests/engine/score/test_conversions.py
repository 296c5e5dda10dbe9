"""A layer that has no form in a file is named, and so is what cannot be exported before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data import load_data
from modeltune.engine.score.conversions import make_export, scores_of_exports, unfit_exports
from modeltune.engine.score.export_runtime import ExportRuntime, caller_of, inputs_by_name


class Odd(keras.layers.Layer):
    """An operation that LiteRT does not have."""

    def call(self, x: Any) -> Any:
        return tf.math.erfinv(tf.clip_by_value(x, -0.9, 0.9))


X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def of_rows() -> mt.Data:
    return mt.Data((X, Y))


def of_texts() -> mt.Data:
    return mt.Data((np.array([["a"], ["b"]] * 30), Y))


def only_test() -> mt.Data:
    return mt.Data(test=(X, Y))


def classifier(*hidden: Any, inputs: Any = None) -> Any:
    softmax = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((4,)) if inputs is None else inputs, *hidden, softmax])
    model.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def spec(data: Any, **exports: Any) -> Any:
    @mt.spec(data=data, exports=exports)
    def model() -> Any: ...

    return model


def test_the_layer_that_cannot_be_converted_is_named_inside_another_model_too(
    tmp_path: Path,
) -> None:
    inner = keras.Sequential([keras.Input((4,)), Odd(name="strange")], name="inner")
    model, declared = classifier(inner), spec(of_rows, lite=mt.LiteRT())
    loaded = load_data(declared, {})
    result = make_export(declared, "lite", model, loaded, {}, tmp_path / "model.tflite")
    assert result.file is None
    assert result.failure is not None
    reason = "cannot be converted to LiteRT: its operation Erfinv has no form in LiteRT"
    assert result.failure.reason == f'layer "strange" (Odd) {reason}'
    assert not list(tmp_path.glob("layer-*"))


def test_a_kept_file_scores_again_what_it_scored(tmp_path: Path) -> None:
    model, declared = classifier(), spec(of_rows, lite=mt.LiteRT())
    loaded, file = load_data(declared, {}), tmp_path / "model.tflite"
    result = make_export(declared, "lite", model, loaded, {}, file)
    assert result.failure is None
    again = scores_of_exports(declared, model, loaded, {}, {"lite": file})
    assert again == {f'{name}.of("lite")': value for name, value in result.scores.items()}
    evaluated = model.evaluate(loaded.test.x, loaded.test.y, verbose=0, return_dict=True)
    assert {name: result.scores[name] for name in evaluated} == pytest.approx(evaluated, rel=1e-5)
    file.write_bytes(b"no model")
    with pytest.raises(mt.SpecError, match="the export 'lite' cannot be run"):
        scores_of_exports(declared, model, loaded, {}, {"lite": file})


@pytest.mark.parametrize(
    ("data", "inputs", "words"),
    [
        (of_texts, None, 'exports["lite"]: test x holds texts; make numbers of them'),
        (only_test, None, 'exports["lite"].quantize: "int8" needs rows of train'),
        (of_rows, keras.Input(batch_shape=(20, 4)), "the model takes batches of 20 alone"),
        (of_rows, None, None),
    ],
    ids=["texts", "no train", "fixed batch", "fits"],
)
def test_what_cannot_be_exported_is_said_before_anything_is_trained(
    data: Any, inputs: Any, words: str | None
) -> None:
    declared = spec(data, lite=mt.LiteRT(quantize="int8"))
    problems = list(unfit_exports(declared, classifier(inputs=inputs), load_data(declared, {})))
    assert len(problems) == (words is not None)
    assert all(words is not None and words in problem for problem in problems)


def runtime(*outputs: str) -> ExportRuntime:
    """Return a file with two inputs, whose outputs are the sums of both by their places."""

    def run(arrays: Any) -> Any:
        both = arrays["age"] + 10 * arrays["income"]
        return {name: both + 100 * place for place, name in enumerate(outputs)}

    kinds = {"income": np.dtype("float32"), "age": np.dtype("float32")}
    return ExportRuntime("test", kinds, outputs, run)


def two_inputs() -> Any:
    age, income = keras.Input((1,), name="age"), keras.Input((1,), name="income")
    return keras.Model([income, age], keras.layers.Add()([age, income]))


def test_several_inputs_and_outputs_are_matched_by_name_or_not_at_all() -> None:
    model, one, two = two_inputs(), np.array([[1.0]]), np.array([[2.0]])
    # By the names of a dict, or the order of the model's inputs.
    for x in ({"age": one, "income": two}, (two, one)):
        run = caller_of(runtime("output_1", "output_0"), model, (one, one))
        assert [float(array[0, 0]) for array in run(x)] == [121.0, 21.0]
    run = caller_of(runtime("price", "kind"), model, {"kind": one, "price": one})
    assert {n: float(a[0, 0]) for n, a in run((two, one)).items()} == {"price": 21.0, "kind": 121.0}
    with pytest.raises(ValueError, match="cannot be matched with the arrays"):
        inputs_by_name(model, {"years": one, "money": two}, ["age", "income"])
    with pytest.raises(ValueError, match="return a dict of outputs by name"):
        caller_of(runtime("left", "right"), model, (one, one))
