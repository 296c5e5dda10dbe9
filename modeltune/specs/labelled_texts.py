"""Declare texts and their labels as the data of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modeltune.ground import DataError, is_integer, typed
from modeltune.specs.datasets import Data
from modeltune.specs.frames import class_codes
from modeltune.specs.text_numbers import (
    TextNumbers,
    WordNumbers,
    commonest_words,
    has_text_tensors,
)

TEXT = "text"
"""The name of the only input."""


def texts(texts: Any, labels: Any, *, max_tokens: int = 20_000, length: int = 200) -> LabelledTexts:
    """Return a data function of texts, a sample each.

    ``x`` is ``{"text": array of shape (n, 1)}``. Labels of text become class numbers in the order of their names, which
    reports then show; numbers stay what they are. A build function with a second argument gets the words of train::

        @mt.spec(data=mt.texts(reviews, stars), ...)
        def net(hp, prepared):
            inputs = prepared.inputs()  # {"text": a keras.Input of strings}
            x = prepared.encode(inputs)  # numbers of words, (batch, length)
            x = keras.layers.Embedding(prepared.words, 16, mask_zero=True)(x)
            ...

    Args:
        texts: a list, an array or a column of texts.
        labels: as many labels.
        max_tokens: the most frequent words that are known; two numbers of them stand for nothing and for any other word.
        length: the words of a text that are kept, its first ones; shorter texts end with 0.

    Raises:
        TypeError: a number is none.
        DataError: when called, if texts are no texts, or not as many as labels.
    """
    for name, value in (("max_tokens", max_tokens), ("length", length)):
        if not is_integer(value) or value < (3 if name == "max_tokens" else 1):
            raise TypeError(f"mt.texts: {name} is {typed(value)}; write a whole number")
    return LabelledTexts(texts, labels, max_tokens, length)


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """A data function: called, it returns texts and labels. ``mt.texts`` makes it."""

    texts: Any = field(repr=False)
    labels: Any = field(repr=False)
    max_tokens: int
    length: int

    __name__ = "texts"

    def __call__(self) -> Data:
        """Return the texts.

        Raises:
            DataError: as ``texts``.
        """
        import numpy as np

        texts, labels = list(self.texts), np.asarray(self.labels)
        wrong = next((place for place, text in enumerate(texts) if not isinstance(text, str)), None)
        if wrong is not None:
            raise DataError(
                f"mt.texts: text {wrong} is {typed(texts[wrong])}; write texts, and leave out what is missing"
            )
        if len(texts) != len(labels):
            raise DataError(f"mt.texts: there are {len(texts)} texts and {len(labels)} labels")
        if not texts:
            raise DataError("mt.texts: there are no texts")
        names = None
        if labels.dtype.kind in "OSU":
            labels, names = class_codes(labels)
        x = {TEXT: np.array(texts, dtype=object)[:, None]}
        return Data(
            train=(x, labels),
            class_names=names,
            prepare=TextEncoding(self.max_tokens, self.length),
        )


@dataclass(frozen=True)
class TextEncoding:
    """Learns the words of train: ``prepare`` of texts."""

    max_tokens: int
    length: int

    __name__ = "mt.texts"

    def __call__(self, train: Any) -> PreparedTexts:
        """Return the words of a train part, the most frequent first."""
        # Without the two numbers that stand for nothing and for an unknown word.
        words = commonest_words(train[0][TEXT].reshape(-1), self.max_tokens - 2)
        return PreparedTexts(words, self.length)


@dataclass(frozen=True)
class PreparedTexts:
    """The words of a train part. Each call of ``encode`` makes a new Keras layer that holds them.

    Args:
        vocabulary: the words, the most frequent first.
        length: the words of a text that are kept.
    """

    vocabulary: Sequence[str]
    length: int

    @property
    def words(self) -> int:
        """How many numbers words have: of an ``Embedding`` the ``input_dim``."""
        return len(self.vocabulary) + 2

    @cached_property
    def numbers(self) -> TextNumbers:
        """What puts the numbers of words in the place of texts, for a backend without tensors of texts."""
        return TextNumbers({TEXT: WordNumbers(self.vocabulary, self.length)})

    def inputs(self) -> dict[str, Any]:
        """Return a new ``keras.Input`` by its name, ``text``: of strings, with JAX and PyTorch of numbers of words."""
        import keras

        if not has_text_tensors():
            return {TEXT: keras.Input((self.length,), name=TEXT, dtype="int32")}
        return {TEXT: keras.Input((1,), name=TEXT, dtype="string")}

    def encode(self, inputs: dict[str, Any]) -> Any:
        """Return the numbers of the words, integers of shape ``(batch, length)``; 0 is nothing, 1 a word not in train."""
        if not has_text_tensors():
            return inputs[TEXT]
        from keras import layers

        vectorize = layers.TextVectorization(
            vocabulary=list(self.vocabulary), output_sequence_length=self.length
        )
        return vectorize(inputs[TEXT])
