"""What all declarations share: they print as they were typed, and check numbers alike."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Problem: TypeAlias = tuple[str, str]
"""A broken field and what is wrong with it: ("search.objective", "... write ...")."""


def as_typed(declaration: DataclassInstance) -> str:
    """Return the call that makes this declaration, without defaults: ``mt.Holdout(epochs=30)``."""
    arguments = []
    for field in dataclasses.fields(declaration):
        value = getattr(declaration, field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            positional = not field.kw_only and field.name == "objective"
            arguments.append(typed(value) if positional else f"{field.name}={typed(value)}")
        elif not _is_default(value, field):
            arguments.append(f"{field.name}={typed(value)}")
    return f"mt.{type(declaration).__name__}({', '.join(arguments)})"


def typed(value: object) -> str:
    """Return a value as a spec author types it: double quotes, functions by name, no addresses."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        inner = ", ".join(typed(item) for item in value)
        if isinstance(value, tuple):
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        return f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{typed(k)}: {typed(v)}" for k, v in value.items()) + "}"
    if isinstance(value, functools.partial):
        keywords = (f"{name}={typed(item)}" for name, item in value.keywords.items())
        return (
            f"functools.partial({', '.join([*map(typed, (value.func, *value.args)), *keywords])})"
        )
    if callable(value) and hasattr(value, "__name__"):
        return "lambda: ..." if value.__name__ == "<lambda>" else str(value.__name__)
    if isinstance(value, float) and not is_finite_number(value):
        return f'float("{value}")'
    if type(value).__repr__ is object.__repr__:
        # Its repr has an address, which differs from run to run.
        config = value.get_config() if hasattr(value, "get_config") else ...
        return f"{type(value).__name__}({'...' if config is ... else typed(config)})"
    return repr(value)


def is_integer(value: object) -> TypeGuard[int]:
    """Tell an integer from a bool, a float and everything else."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite_number(value: object) -> TypeGuard[float]:
    """Tell a number a float can hold from NaN, the infinities, a bool and everything else."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )


def is_positive_number(value: object) -> TypeGuard[float]:
    """Tell a finite number above zero."""
    return is_finite_number(value) and value > 0


def _is_default(value: object, field: dataclasses.Field[object]) -> bool:
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        return False
    return type(value) is type(default) and value == default
