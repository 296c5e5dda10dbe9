"""Tell which ranges a build gives anew: keras-tuner keeps the first of a name, and says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

RANGES = "search.ranges"
"""The check that warns of them."""

CHOICE_VALUES = 6
"""Values of a choice that a sentence names."""


def ignored_range(first: Any, later: Any) -> str | None:
    """Return in words that the first of two hyperparameters of a name counts; None if both say the same.

    A default is no range: whichever counts, the search may propose any value.
    """
    kinds = [type(one).__name__ for one in (first, later)]
    configs = [_range_of(one) for one in (first, later)]
    if kinds[0] == kinds[1] and configs[0] == configs[1]:
        return None
    if kinds[0] == kinds[1]:
        ranges = [_words(*pair) for pair in zip(configs, reversed(configs), strict=True)]
    else:
        ranges = [f"{kind} {_words(one)}" for kind, one in zip(kinds, configs, strict=True)]
    return (
        f"{later.name} keeps the first range that a build gave it, {ranges[0]}: {ranges[1]}, which "
        "a build with other values asks for, is ignored"
    )


def _range_of(hyperparameter: Any) -> dict[str, Any]:
    config = hyperparameter.get_config()
    return {
        name: value
        for name, value in config.items()
        if name not in ("name", "default", "conditions")
    }


def _words(config: Mapping[str, Any], other: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return a range in words, its step and scale only where those of the other differ."""
    if "min_value" in config:
        words = f"{config['min_value']:g} to {config['max_value']:g}"
        if config["step"] != other.get("step", config["step"]):
            words += f" by {config['step']:g}" if config["step"] else " without a step"
        if config["sampling"] != other.get("sampling", config["sampling"]):
            words += f", sampled {config['sampling']}"
        return words
    if "values" in config:
        values = list(map(str, config["values"]))
        more = f", ... ({len(values) - CHOICE_VALUES} more)" if len(values) > CHOICE_VALUES else ""
        words = f"[{', '.join(values[:CHOICE_VALUES])}{more}]"
        if config["ordered"] != other.get("ordered", config["ordered"]):
            words += f" {'in order' if config['ordered'] else 'without an order'}"
        return words
    return f"{config['value']}" if "value" in config else "True or False"
