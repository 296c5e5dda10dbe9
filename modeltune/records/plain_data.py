"""Values as strict JSON data, and back: dataclasses, enums, tuples, numbers that are not finite."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

_T = TypeVar("_T")

Json: TypeAlias = Any
"""None, bool, int, finite float, str, and lists and string-keyed dicts of these."""

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How JSON data hold the numbers that JSON has no notation for."""


def plain(value: Any) -> Json:
    """Return a value as strict JSON data.

    Enum members become their values, dataclasses objects, tuples lists, and numbers that are not
    finite "nan", "inf" and "-inf". A dataclass with a class attribute ``KIND`` is one of several
    that may stand in its place: its object says so under "kind".

    Raises:
        TypeError: the value, or one inside it, is of another type.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": value.KIND} if hasattr(value, "KIND") else {}
        fields = dataclasses.fields(value)
        return {**kind, **{field.name: plain(getattr(value, field.name)) for field in fields}}
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in a run record")


def from_plain(kind: type[_T], data: Json) -> _T:
    """Return the value of this type that ``plain`` wrote, equal in every part.

    A field that is missing has its default; a key that no field has is left out: a later
    modeltune may add some.

    Raises:
        KeyError, TypeError, ValueError: it is not what ``plain`` writes of the type.
    """
    reader: Callable[[Json], _T] = reader_of(typing.cast(Any, kind))
    return reader(data)


def as_number(data: Json) -> float:
    """Return the number that ``plain`` wrote: "nan", "inf" and "-inf" are numbers again.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(data, str):
        if data not in NOT_FINITE:
            raise ValueError(f"{data!r} is no number")
        return NOT_FINITE[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise TypeError(f"{data!r} is no number")
    return data


@functools.cache
def reader_of(kind: Any) -> Any:
    """Return the function that reads values of a type; made once, as runs hold many of a kind."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda data: data
    if kind is float:
        return as_number
    if origin in (typing.Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin in (collections.abc.Mapping, dict):
        read = reader_of(arguments[1])
        return lambda data: {_as(str, key): read(item) for key, item in _as(dict, data).items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if issubclass(kind, enum.Enum):
        return kind
    return functools.partial(_as, kind)


def _as(kind: type[_T], data: Json) -> _T:
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise TypeError(f"{data!r:.100} is no {kind.__name__}")
    return data


def _union_reader(members: tuple[Any, ...]) -> Callable[[Json], Any]:
    some = tuple(member for member in members if member is not types.NoneType)
    kinds = {member.KIND: reader_of(member) for member in some if hasattr(member, "KIND")}
    read = reader_of(some[0]) if len(some) == 1 else None

    def reader(data: Json) -> Any:
        if data is None and len(some) < len(members):
            return None
        if kinds:
            if not isinstance(data, Mapping):
                raise TypeError(f"{data!r:.100} is none of {', '.join(kinds)}")
            return kinds[data["kind"]](data)
        if read is not None:
            return read(data)
        # Where "inf" may be a text, the number is an object.
        if isinstance(data, Mapping) and float in some:
            return as_number(data["float"])
        if not isinstance(data, some):
            raise TypeError(f"{data!r:.100} is none of {', '.join(m.__name__ for m in some)}")
        return data

    return reader


def _tuple_reader(members: tuple[Any, ...]) -> Callable[[Json], Any]:
    if members[1:] == (...,):
        read = reader_of(members[0])
        return lambda data: tuple([read(item) for item in _as(list, data)])
    readers = [reader_of(member) for member in members]
    return lambda data: tuple(
        read(item) for read, item in zip(readers, _as(list, data), strict=True)
    )


def _dataclass_reader(kind: Any) -> Callable[[Json], Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {field.name: reader_of(hints[field.name]) for field in fields}
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def reader(data: Json) -> Any:
        if not isinstance(data, Mapping):
            raise TypeError(f"{data!r:.100} is no {kind.__name__}")
        return kind(
            **{
                name: read(data[name])
                for name, read in readers.items()
                if name in data or name in required
            }
        )

    return reader
