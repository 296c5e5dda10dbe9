"""A run keeps test samples to look at: the most wrong first, as they are and as they were taken for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.score import refit, shown_samples
from modeltune.engine.score.shown_samples import BYTES, CHARACTERS, OTHERS, SIDE, WORST, examples
from modeltune.engine.score.task_report import Output, OutputTask
from modeltune.harness.recording import RunDraft, first_draft
from modeltune.harness.resuming import refit_notation
from modeltune.histories.artifacts import verify
from modeltune.histories.find_references import samples_of
from modeltune.histories.store import open_store
from modeltune.records.events import Event
from modeltune.records.runs import Run
from modeltune.records.tasks import EXAMPLES, RefitTask
from tests.support.small_models import LABELS, PIXELS, dense, spec_of, values


def output(task: OutputTask, y: Any, predicted: Any, name: str = "", **fields: Any) -> Output:
    facts: dict[str, Any] = {"path": name, "from_logits": False} | fields
    predicted = np.asarray(predicted, np.float32)
    return Output(name, task=task, y=np.asarray(y), predicted=predicted, **facts)


def shown(*outputs: Output, x: Any = None, stream: Any = None) -> Any:
    """Return the examples of a part whose inputs are the numbers of its rows, unless given."""
    size = len(outputs[0].y)
    x = np.arange(size)[:, None] if x is None else x
    y = {one.name: one.y for one in outputs} if outputs[0].name else outputs[0].y
    part = Part("test", size, "", x=x, y=y, stream=stream)
    return examples(part, list(outputs))


def classified(y: list[int], predicted: list[int], sure: list[float]) -> Output:
    """Return an output that is this sure of the classes it predicts, of three."""
    scores = np.repeat((1 - np.asarray(sure))[:, None] / 2, 3, axis=1)
    scores[np.arange(len(y)), predicted] = sure
    return output(OutputTask.MULTICLASS, y, scores)


def indices(document: Any) -> list[int]:
    return [sample["index"] for sample in document["samples"]]


def answers(document: Any, name: str = "output") -> list[tuple[Any, ...]]:
    """Return truth, prediction, confidence and error of each sample."""
    return [tuple(sample["outputs"][name].values())[1:] for sample in document["samples"]]


# which


def test_wrong_classes_come_first_the_surest_at_the_top_then_right_ones() -> None:
    document = shown(classified([0, 1, 2, 0, 1], [0, 0, 2, 1, 2], [0.9, 0.5, 0.8, 0.75, 0.75]))
    assert (document["format"], document["refit"], document["of"], document["wrong"]) == (
        1,
        0,
        5,
        3,
    )
    assert indices(document) == [3, 4, 1, 0, 2]
    assert [sample["is_wrong"] for sample in document["samples"]] == [True] * 3 + [False] * 2
    assert answers(document) == [
        (0, 1, 0.75, None),
        (1, 2, 0.75, None),
        (1, 0, 0.5, None),
        (0, 0, 0.9, None),
        (2, 2, 0.8, None),
    ]
    assert document["samples"][0]["outputs"]["output"]["task"] == "multiclass"


def test_no_more_are_kept_than_are_looked_at_the_right_ones_from_all_over() -> None:
    y = np.arange(300) % 3
    wrong = np.arange(300) < 100
    document = shown(classified(list(y), list((y + wrong) % 3), [0.6] * 300))
    assert document["wrong"] == 100
    assert indices(document)[:WORST] == list(range(WORST))
    right = indices(document)[WORST:]
    assert len(right) == OTHERS
    assert (right[0], right[-1]) == (100, 299)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0.4, 1)), min_size=1, max_size=80
    )
)
def test_no_wrong_sample_that_is_left_out_was_surer_than_one_that_is_shown(
    rows: list[tuple[int, int, float]],
) -> None:
    y, predicted, sure = map(list, zip(*rows, strict=True))
    document = shown(classified(y, predicted, sure))
    wrong = {n for n, (a, b) in enumerate(zip(y, predicted, strict=True)) if a != b}
    first = [s for s in document["samples"] if s["is_wrong"]]
    assert document["samples"][: len(first)] == first
    assert {s["index"] for s in first} <= wrong
    assert len(first) == min(len(wrong), WORST)
    least = min((s["outputs"]["output"]["confidence"] for s in first), default=1)
    left_out = wrong - {s["index"] for s in first}
    assert all(sure[n] <= least + 1e-5 for n in left_out)
    assert not {s["index"] for s in document["samples"][len(first) :]} & wrong
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_numbers_come_by_their_absolute_error() -> None:
    document = shown(output(OutputTask.REGRESSION, [1.0, 2.0, 3.0], [[1.5], [-2.0], [4.0]]))
    assert (document["wrong"], indices(document)) == (None, [1, 2, 0])
    assert answers(document) == [(2, -2, None, 4), (3, 4, None, 1), (1, 1.5, None, 0.5)]
    assert {sample["is_wrong"] for sample in document["samples"]} == {None}


def test_columns_and_outputs_are_held_against_their_own_spread() -> None:
    # A kilogram is more of an error here than a metre.
    columns = output(OutputTask.REGRESSION, [[0, 1000], [2, 3000]], [[0, 1010], [1, 3000]], "table")
    assert indices(shown(columns)) == [1, 0]
    assert [error for *_, error in answers(shown(columns), "table")] == [0.5, 0.005]
    large = output(OutputTask.REGRESSION, [0, 5000], [1000, 5000], "large")
    small = output(OutputTask.REGRESSION, [0, 1], [0, 0.4], "small")
    assert indices(shown(large, small)) == [1, 0]


def test_places_that_do_not_count_do_not_widen_the_spread() -> None:
    counted = np.array([[True, True, False], [True, False, False], [True, True, False]])
    y, predicted = [[0, 100, 0], [1, 0, 0], [2, 102, 0]], [[1, 100, 5], [1, 0, 5], [2, 105, 5]]
    steps = output(OutputTask.REGRESSION, y, predicted, counted=counted)
    assert indices(shown(steps)) == [2, 0, 1]
    assert answers(shown(steps))[0][-1] == pytest.approx(1.5)


def test_a_wrong_class_comes_before_any_error() -> None:
    kind = output(OutputTask.BINARY, [0, 1, 1], [[0.4], [0.1], [0.8]], "kind")
    size = output(OutputTask.REGRESSION, [0, 1, 2], [9, 1, 2], "size")
    document = shown(kind, size)
    assert (document["wrong"], indices(document)) == (1, [1, 0, 2])
    assert answers(document, "kind") == [(1, 0, 0.9, None), (0, 0, 0.6, None), (1, 1, 0.8, None)]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(
            output(OutputTask.BINARY, [1, 0], [2.0, -1.0], from_logits=True),
            [(1, 1, 0.880797, None), (0, 0, 0.731059, None)],
            id="logits",
        ),
        pytest.param(
            output(OutputTask.MULTICLASS, [1, 0], [[0.0, 9.0], [3.0, 2.0]]),
            [(1, 1, None, None), (0, 0, None, None)],
            id="scores that are no probabilities",
        ),
        pytest.param(
            output(
                OutputTask.MULTICLASS, np.eye(3)[[2, 0]], [[1, 2, 0], [3, 0, 0]], from_logits=True
            ),
            [(2, 1, 0.665241, None), (0, 0, 0.909443, None)],
            id="one-hot",
        ),
        pytest.param(
            output(
                OutputTask.MULTILABEL, [[1, 0, 1], [0, 1, 1]], [[0.9, 0.2, 0.7], [0.6, 0.9, 0.1]]
            ),
            [([1, 2], [0, 1], 0.9, None), ([0, 2], [0, 2], 0.7, None)],
            id="labels",
        ),
        pytest.param(
            output(
                OutputTask.MULTICLASS,
                [[[0, 1]], [[1, 1]]],
                [[[[1, 0], [0, 1]]], [[[1, 0], [0, 1]]]],
            ),
            [(None, None, None, 0.5), (None, None, None, 0)],
            id="a class per pixel",
        ),
        pytest.param(
            output(OutputTask.REGRESSION, np.zeros((2, 5, 5)), [np.ones((5, 5)), np.zeros((5, 5))]),
            [(None, None, None, 1), (None, None, None, 0)],
            id="a number per pixel",
        ),
        pytest.param(
            output(OutputTask.OTHER, np.array(["a", "b"]), [[1, 2], [3, 4]]),
            [("a", [1, 2], None, None), ("b", [3, 4], None, None)],
            id="anything else",
        ),
    ],
)
def test_each_task_says_what_it_predicted(made: Output, expected: list[Any]) -> None:
    assert answers(shown(made)) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_have_no_examples(value: float) -> None:
    assert shown(output(OutputTask.REGRESSION, [1.0, 2.0], [value, 2.0])) is None


# what they are


def inputs(x: Any) -> list[Any]:
    """Return what is shown of the first input of each row, in the order of the rows."""
    size = len(x)
    document = shown(output(OutputTask.REGRESSION, np.zeros(size), np.arange(size, 0, -1)), x=x)
    return [sample["x"][""] for sample in document["samples"]]


def pixels(image: Any) -> Any:
    image_array = tf.io.decode_png(base64.b64decode(image["png"])).numpy()
    assert image_array.shape[:2] == (image["height"], image["width"])
    return image_array


STEPS = np.linspace(0, 1, 2 * 5 * 6 * 3).reshape(2, 5, 6, 3)


@pytest.mark.parametrize(
    ("x", "of_255"),
    [
        pytest.param(STEPS, STEPS * 255, id="0 to 1"),
        pytest.param((STEPS * 255).astype("uint8"), np.floor(STEPS * 255), id="bytes"),
        pytest.param(STEPS * 200.0, STEPS * 200, id="0 to 255"),
        pytest.param(STEPS * 7 - 3, STEPS * 255, id="standardised"),
        pytest.param((STEPS > 0.5)[..., :1], (STEPS > 0.5)[..., :1] * 255, id="a mask"),
        pytest.param(STEPS[..., 0], STEPS[..., :1] * 255, id="grey without an axis"),
        pytest.param(np.full((2, 4, 4, 4), 300.0), np.zeros((2, 4, 4, 4)), id="one colour"),
    ],
)
def test_images_are_kept_as_they_look(x: Any, of_255: Any) -> None:
    kept = inputs(x)
    assert {image["kind"] for image in kept} == {"image"}
    for image, expected in zip(kept, of_255, strict=True):
        np.testing.assert_allclose(pixels(image), expected, atol=0.51)


def test_a_large_image_is_made_small_by_its_longest_side() -> None:
    x = np.zeros((1, 300, 150, 1))
    x[:, 150:] = 1
    (image,) = inputs(x)
    image_array = pixels(image)
    assert image_array.shape == (SIDE, SIDE // 2, 1)
    assert image_array[: SIDE // 2 - 1].max() == 0
    assert image_array[SIDE // 2 + 1 :].min() == 255


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.array(["<b>one</b>"]), {"kind": "text", "text": "<b>one</b>"}),
        (np.array([["é".encode(), b"\xff"][:1]], object), {"kind": "text", "text": "é"}),
        (np.array([b"\xff"]), {"kind": "text", "text": "\ufffd"}),
        (np.array(["x" * 401]), {"kind": "text", "text": "x" * CHARACTERS + "…"}),
        (np.array(["x" * 400]), {"kind": "text", "text": "x" * CHARACTERS}),
        (np.array([[1 / 3, 2.0]]), {"kind": "row", "values": [0.333333, 2]}),
        (np.array([[True, False]]), {"kind": "row", "values": [True, False]}),
        (np.array([["a", "b"]]), {"kind": "row", "values": ["a", "b"]}),
        (np.array([7]), {"kind": "row", "values": [7]}),
        (
            np.arange(65.0)[None],
            {"kind": "array", "shape": [65], "dtype": "float64", "min": 0, "max": 64, "mean": 32},
        ),
        (
            np.arange(18)[None].reshape(1, 3, 6),
            {"kind": "array", "shape": [3, 6], "dtype": "int64", "min": 0, "max": 17, "mean": 8.5},
        ),
        (
            np.array([["a"] * 65]),
            {"kind": "array", "shape": [65], "dtype": "<U1", "min": None, "max": None, "mean": None},
        ),
    ],
)  # fmt: skip
def test_texts_and_rows_are_kept_as_they_are_and_the_rest_in_figures(x: Any, expected: Any) -> None:
    assert inputs(x) == [expected]


def test_several_inputs_are_told_apart_by_their_names() -> None:
    x = {"picture": np.zeros((2, 4, 4)), "words": (np.array(["a", "b"]), np.array([1.5, 2]))}
    document = shown(output(OutputTask.REGRESSION, [0.0, 0.0], [0.0, 1.0]), x=x)
    first = document["samples"][0]["x"]
    assert {name: value["kind"] for name, value in first.items()} == {
        "picture": "image",
        "words.0": "text",
        "words.1": "row",
    }
    assert (first["words.0"]["text"], first["words.1"]["values"]) == ("b", [2])


def test_too_much_to_keep_is_cut_from_the_end() -> None:
    noise = np.random.default_rng(0).random((40, 64, 64, 3))
    document = shown(output(OutputTask.REGRESSION, np.zeros(40), np.arange(40)), x=noise)
    assert 0 < len(document["samples"]) < WORST + OTHERS
    assert indices(document) == list(range(39, 39 - len(document["samples"]), -1))
    assert len(json.dumps(document)) < BYTES + 1000
    assert (
        shown(output(OutputTask.OTHER, [0], [0]), x={str(n): np.ones((1, 64)) for n in range(999)})
        is None
    )


# streams


def stream(x: Any, y: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(7)


def test_a_stream_is_read_again_for_the_samples_that_are_shown() -> None:
    y = np.arange(50.0)
    made = output(OutputTask.REGRESSION, y, np.where(y % 10 == 3, 100, y))
    document = shown(made, stream=stream(y[:, None], y))
    assert indices(document)[:5] == [3, 13, 23, 33, 43]
    for sample in document["samples"]:
        assert sample["x"][""]["values"] == [sample["index"]]


@pytest.mark.parametrize("y", [np.arange(50.0)[::-1], np.arange(43.0)], ids=["order", "length"])
def test_a_stream_that_yields_other_targets_than_before_has_no_examples(y: Any) -> None:
    made = output(OutputTask.REGRESSION, np.arange(50.0), np.zeros(50))
    assert shown(made, stream=stream(y[:, None], y)) is None


# of a run


def pictures() -> mt.Data:
    images = PIXELS.reshape(-1, 8, 8)
    ends = slice(0, 200), slice(200, 300), slice(300, 450)
    return mt.Data(*((images[rows], LABELS[rows]) for rows in ends))


def build(hp: Any) -> Any:
    hp.Choice("unused", [1, 2])
    return dense(layers.Flatten(), layers.Dense(10, activation="softmax"), shape=(8, 8))


def ran(spec: Any, folder: Path, **options: Any) -> Run:
    events: list[Event] = []
    store = f"sqlite:///{folder / 'history.db'}"
    return mt.run(spec, store=store, listen=events.append, **options)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Run, Path]:
    spec = spec_of(build, pictures(), validation=mt.Holdout(seeds=2))
    folder = tmp_path_factory.mktemp("recorded")
    return spec, ran(spec, folder), folder


def test_a_run_keeps_what_the_kept_refit_got_wrong(recorded: Any) -> None:
    spec, run, folder = recorded
    document = json.loads(verify(folder, run.files["examples"], run.id).read_text())
    test = load_data(spec).test
    with open_store(f"sqlite:///{folder / 'history.db'}") as store:
        samples = samples_of(run, store)
    assert samples is not None
    predicted = samples.predicted[""][0]
    assert document["wrong"] == (predicted != test.y).sum() > WORST
    assert document["of"] == 150
    assert len(document["samples"]) == WORST + OTHERS
    for sample in document["samples"]:
        row, answer = sample["index"], sample["outputs"]["output"]
        assert (answer["truth"], answer["predicted"]) == (test.y[row], predicted[row])
        expected = np.rint(test.x[row] * 255)
        np.testing.assert_array_equal(pixels(sample["x"][""])[..., 0], expected)


def test_a_run_says_how_its_model_is_built(recorded: Any) -> None:
    _, run, _ = recorded
    assert run.model["parameters"] == run.model["trainable"] == run.scores["parameters"].mean == 650
    shapes = [(layer["kind"], layer["shape"]) for layer in run.model["layers"]]
    assert shapes == [("Flatten", [None, 64]), ("Dense", [None, 10])]


def test_a_spec_that_wants_no_examples_is_the_same_run_without_them(recorded: Any) -> None:
    spec, run, folder = recorded
    private = spec.with_fields(examples=False)
    served = ran(private, folder, reuse=True)
    assert (served.id, served.cached) == (run.id, True)
    assert run.files.keys() - served.files.keys() == {"examples"}
    anew = ran(private, folder)
    assert anew.scores == run.scores
    assert anew.files.keys() == served.files.keys()
    assert len([*folder.glob("artifacts/*.examples.json")]) == 1


def test_examples_left_by_an_interrupted_run_are_not_kept_when_none_are_wanted_any_more(
    recorded: Any, tmp_path: Path
) -> None:
    spec, _, _ = recorded
    weights = tmp_path / "refit.weights.h5"
    for file in (weights, weights.with_name(EXAMPLES)):
        file.touch()
    with open_store(f"sqlite:///{tmp_path / 'history.db'}") as history:
        for wanted in (True, False):
            wanting = spec.with_fields(examples=wanted)
            draft = RunDraft(first_draft(f"{wanted}".lower(), wanting), wanting, history, print)
            draft.keep(weights, None)
    assert [file.name for file in tmp_path.glob("artifacts/*.json")] == ["true.examples.json"]


def test_a_refit_is_not_lost_over_its_examples(
    recorded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        raise OSError("this stream can be read twice only")

    spec, _, _ = recorded
    monkeypatch.setattr(shown_samples, "examples", broken)
    (tmp_path / EXAMPLES).write_text("of an earlier refit")
    config = values(unused=1).get_config()
    task = RefitTask(spec.validation.refits()[0], config, 1, tmp_path / "refit.weights.h5")
    done = refit.train_refit(spec, load_data(spec), task)
    assert done.failure is None
    assert done.note == (
        "the run keeps no examples, because choosing them failed: "
        "OSError: this stream can be read twice only"
    )
    assert (tmp_path / "refit.weights.h5").exists()
    assert not (tmp_path / EXAMPLES).exists()
    notation = refit_notation(spec)
    assert notation.read(task, json.loads(json.dumps(notation.write(task, done)))) == done
