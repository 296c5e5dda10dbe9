"""What ``mt.Data`` refuses when it is written."""

from __future__ import annotations

import pytest

import modeltune as mt

X, Y = [[0.0], [1.0]], [0, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cat", "class_names is 'cat'; write a list of texts"),
        ([], r"class_names is \[\]"),
        ([0, 1], r"class_names is \[0, 1\]"),
        (["cat", "dog", "cat"], "class_names names two classes 'cat'"),
        ({"animal": "cat"}, r"class_names\['animal'\] is 'cat'"),
        (3, "class_names is 3"),
    ],
)
def test_class_names_that_are_none_are_refused(names: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        mt.Data(train=(X, Y), class_names=names)  # type: ignore[arg-type]


def test_class_names_are_kept_by_output() -> None:
    assert mt.Data(train=(X, Y)).names_by_output == {}
    assert mt.Data(train=(X, Y), class_names=("a", "b")).names_by_output == {"": ("a", "b")}
    named = {"animal": ["cat", "dog"]}
    assert mt.Data(train=(X, Y), class_names=named).names_by_output == named
