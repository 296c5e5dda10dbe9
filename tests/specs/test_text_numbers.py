"""Numbers in the place of texts are those that Keras's own layers give with TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from modeltune.specs.tables import PreparedTable
from modeltune.specs.text_numbers import (
    CategoryNumbers,
    TextNumbers,
    WordNumbers,
    commonest_words,
)

TEXTS = [
    "Good, GOOD film!",
    "bad\tfilm\n\nbad [sic] it's -- well-made",
    "Élan vital, ÉCOLE; school\u00a0day x\u2003y \x0bz",
    "日本 語 ÄÖ äö ß",
    "a b c d e f g, a b c; a",
    " ... ",
    "",
]
"""Letters, white space and punctuation in and beyond ASCII."""


@pytest.mark.parametrize("most", [4, 5000])
def test_words_have_the_numbers_of_text_vectorization(most: int) -> None:
    column = np.array(TEXTS, dtype=object)[:, None]
    keras_words = keras.layers.TextVectorization(max_tokens=most + 2, output_sequence_length=5)
    keras_words.adapt(np.array(TEXTS))
    words = commonest_words(TEXTS, most)
    assert list(words) == keras_words.get_vocabulary()[2:]
    numbers = WordNumbers(words, 5)(np.concatenate([column, [["never seen, Film"]]]))
    expected = keras_words(np.array([*TEXTS, "never seen, Film"])[:, None])
    assert numbers.tolist() == np.asarray(expected).tolist()


def test_categories_have_the_places_of_string_lookup() -> None:
    known, column = ("", "Köln", "Oslo", "rio"), np.array([["Oslo"], ["Rio"], ["Köln"], [""]])
    lookup = keras.layers.StringLookup(vocabulary=list(known))
    assert CategoryNumbers(known)(column).tolist() == np.asarray(lookup(column)).tolist()


def backend_without_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


@pytest.mark.parametrize("count", [3, 101], ids=["one_hot", "embedded"])
def test_a_table_is_encoded_alike_with_texts_and_with_their_numbers(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(sorted(f"c{place}" for place in range(count)))
    prepared = PreparedTable(("age", "city"), {"age": 2.0}, {"age": 4.0}, {"city": names})
    x: dict[str, Any] = {
        "age": np.array([[2.0], [4.0]], "float32"),
        "city": np.array([["c1"], ["elsewhere"]], dtype=object),
    }

    def encoded(x: Any) -> Any:
        keras.utils.set_random_seed(1)
        inputs = prepared.inputs()
        model = keras.Model(inputs, prepared.encode(inputs))
        return np.asarray(model({name: keras.ops.convert_to_tensor(x[name]) for name in x}))

    of_texts = encoded({**x, "city": x["city"].astype(str).tolist()})
    backend_without_texts(monkeypatch)
    of_numbers = encoded(prepared.numbers(x))
    np.testing.assert_array_equal(of_numbers, of_texts)


def test_numbers_survive_json_and_say_what_a_model_takes() -> None:
    numbers = TextNumbers(
        {"text": WordNumbers(("good", "bad"), 3), "module": CategoryNumbers(("Köln",))}
    )
    again = TextNumbers.from_json(numbers.to_json())
    assert again == numbers
    assert again.in_words() == [
        '"text" takes numbers of words, int32 of shape (n, 3): 0 is no word, 1 an unknown one, 2 the first '
        "that is known",
        '"module" takes numbers of categories, int32 of shape (n, 1): 0 is an unknown one, 1 the first',
    ]
    others: list[Any] = [None, [{}], [{"input": "text", "words": "good", "length": 3}], {"a": 1}]
    for strange in others:
        with pytest.raises(ValueError, match="no numbers of texts"):
            TextNumbers.from_json(strange)


def test_what_are_numbers_already_stays() -> None:
    x = {"text": np.array([[2, 1, 0]]), "age": np.zeros((1, 1))}
    again = TextNumbers({"text": WordNumbers(("good",), 3)})(x)
    assert again["text"] is x["text"]
    assert again["age"] is x["age"]
