"""Numbers in the place of texts, for a backend of Keras that has no tensors of texts.

They are those that Keras's ``TextVectorization`` and ``StringLookup`` give: a model is the same with either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
"""What ``TextVectorization`` leaves out of a text."""

NOTHING, UNKNOWN = 0, 1
"""The numbers of no word and of an unknown one, before those that are known."""


def words_of(text: str | bytes) -> list[bytes]:
    """Return the words of a text as ``TextVectorization`` has them by default.

    It puts letters of ASCII in lower case, leaves out punctuation, and splits at white space of ASCII.
    """
    return _bytes(text).lower().translate(None, PUNCTUATION).split()


def commonest_words(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """Return the most frequent words in the order in which ``TextVectorization.adapt`` numbers them."""
    counts = Counter(word for text in texts for word in words_of(text))
    ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    return tuple(word.decode() for word in ordered[:most])


@dataclass(frozen=True)
class WordNumbers:
    """The numbers of words of a vocabulary: of its first one 2, of any other word 1, of none 0.

    Args:
        vocabulary: the words.
        length: the words of a text that are kept, its first ones; shorter texts end with 0.
    """

    vocabulary: Sequence[str]
    length: int

    def __call__(self, texts: Any) -> Any:
        """Return the numbers of texts of shape (n, 1): int32, (n, length)."""
        import numpy as np

        numbers = np.full((len(texts), self.length), NOTHING, np.int32)
        for row, text in enumerate(texts.reshape(-1)):
            known = [self._number.get(word, UNKNOWN) for word in words_of(text)[: self.length]]
            numbers[row, : len(known)] = known
        return numbers

    @cached_property
    def _number(self) -> dict[bytes, int]:
        return {_bytes(word): number for number, word in enumerate(self.vocabulary, UNKNOWN + 1)}


@dataclass(frozen=True)
class CategoryNumbers:
    """The places of categories in a list, from 1; of any other 0.

    Args:
        categories: their names.
    """

    categories: Sequence[str]

    def __call__(self, names: Any) -> Any:
        """Return the places of names: int32, of the same shape."""
        import numpy as np

        places = [self._place.get(_bytes(name), 0) for name in names.reshape(-1)]
        return np.array(places, np.int32).reshape(names.shape)

    @cached_property
    def _place(self) -> dict[bytes, int]:
        return {_bytes(name): place for place, name in enumerate(self.categories, 1)}


ValueNumbers: TypeAlias = WordNumbers | CategoryNumbers
"""What gives numbers to the texts of an input."""


@dataclass(frozen=True)
class TextNumbers:
    """Puts numbers in the place of the texts of some inputs.

    Args:
        of_inputs: what gives them, by the name of the input.
    """

    of_inputs: Mapping[str, ValueNumbers]

    def __call__(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs, a dict of arrays by name, with numbers for these texts."""
        return {
            name: self.of_inputs[name](array)
            if name in self.of_inputs and array.dtype.kind in "OUS"
            else array
            for name, array in x.items()
        }

    def to_json(self) -> list[dict[str, Any]]:
        """Return it as plain data, an entry for each input."""
        return [
            {"input": name, "words": list(numbers.vocabulary), "length": numbers.length}
            if isinstance(numbers, WordNumbers)
            else {"input": name, "categories": list(numbers.categories)}
            for name, numbers in self.of_inputs.items()
        ]

    @classmethod
    def from_json(cls, data: Any) -> TextNumbers:
        """Return what ``to_json`` gave.

        Raises:
            ValueError: the data are none of it.
        """
        try:
            return cls(
                {
                    str(one["input"]): WordNumbers(_texts(one["words"]), int(one["length"]))
                    if "words" in one
                    else CategoryNumbers(_texts(one["categories"]))
                    for one in data
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no numbers of texts: {error!r}") from error

    def in_words(self) -> list[str]:
        """Say of each input which numbers a model takes in it."""
        return [
            f'"{name}" takes numbers of words, int32 of shape (n, {numbers.length}): 0 is no word, 1 an '
            "unknown one, 2 the first that is known"
            if isinstance(numbers, WordNumbers)
            else f'"{name}" takes numbers of categories, int32 of shape (n, 1): 0 is an unknown one, 1 the first'
            for name, numbers in self.of_inputs.items()
        ]


def has_text_tensors() -> bool:
    """Tell whether Keras has tensors of texts in this process: with TensorFlow alone."""
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts is expected")
    return tuple(values)
