"""What every declaration shares: it prints as it was typed and names its broken fields."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Problem: TypeAlias = tuple[str, str]
"""A broken field and what is wrong with it: ("search.objective", "... write ...")."""


def as_typed(declaration: DataclassInstance) -> str:
    """Return the call that makes this declaration, defaults left out: ``mt.Holdout(epochs=30)``."""
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
    """Return a value the way a spec author types it: double quotes, functions by name."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        inner = ", ".join(typed(item) for item in value)
        if isinstance(value, tuple):
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        return f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{typed(k)}: {typed(v)}" for k, v in value.items()) + "}"
    if callable(value) and hasattr(value, "__name__"):
        return "lambda: ..." if value.__name__ == "<lambda>" else str(value.__name__)
    return repr(value)


def is_integer(value: object) -> TypeGuard[int]:
    """Tell an integer from a bool, a float and everything else."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_positive_number(value: object) -> TypeGuard[float]:
    """Tell a finite number above zero."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_default(value: object, field: dataclasses.Field[object]) -> bool:
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        return False
    return type(value) is type(default) and value == default
