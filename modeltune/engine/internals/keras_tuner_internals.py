"""Every private name of keras-tuner that we use, most of them methods that we override."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras_tuner

from modeltune.engine.internals.names import Feature, Library, Name, private

KERAS_TUNER = Library(
    "keras-tuner",
    (
        Name("hyperparameters", "_retrieve", (Feature.READS,)),
        Name("hyperparameters", "_get_name", (Feature.READS,)),
        Name("oracle", "_random_values", (Feature.PROPOSALS,)),
        Name("oracle", "_duplicate", (Feature.PROPOSALS,)),
        Name("oracle", "_max_collisions", (Feature.PROPOSALS,)),
        Name("oracle", "_brackets", (Feature.RUNGS,)),
        Name("oracle", "_get_size", (Feature.RUNGS,)),
    ),
    {
        "hyperparameters": keras_tuner.HyperParameters,
        "oracle": lambda: keras_tuner.oracles.HyperbandOracle(
            keras_tuner.Objective("loss", "min"), max_epochs=1, seed=1
        ),
    },
)


class ReadHooks:
    """Mixed into ``HyperParameters``: calls ``value_read`` for every hyperparameter a build asks for."""

    def value_read(self, hyperparameter: Any) -> None:
        """Record that a build got the value of a hyperparameter, which may be inactive."""
        raise NotImplementedError

    def full_name(self, name: str) -> str:
        """Return a name with the name scopes the build is in."""
        full: str = private(self, "_get_name")(name)
        return full

    def _retrieve(self, hp: Any) -> Any:
        value = super()._retrieve(hp)  # type: ignore[misc]
        self.value_read(hp)
        return value


class ProposalHooks:
    """Mixed into an oracle: lets our methods decide which values are repetitions and what to try instead."""

    def is_tried(self, values: dict[str, Any]) -> bool:
        """Tell whether values are not to be proposed again."""
        raise NotImplementedError

    def propose(self, draw: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Return the values to try next; ``draw`` returns random ones, None if all drawn are tried."""
        raise NotImplementedError

    def allow_collisions(self, count: int) -> None:
        """Set how many draws in a row may be repetitions before drawing ends."""
        setattr(self, "_max_collisions", count)  # noqa: B010  declared above by this name

    def random_values(self) -> dict[str, Any] | None:
        """Return what keras-tuner would try next at random: what ``propose`` makes of it."""
        return self._random_values()

    def _duplicate(self, values: dict[str, Any]) -> bool:
        return self.is_tried(values)

    def _random_values(self) -> dict[str, Any] | None:
        return self.propose(super()._random_values)  # type: ignore[misc]


def rungs(hyperband: Any) -> Iterator[tuple[list[str], set[str], int]]:
    """Yield for each rung: the trials of the rung before, which of them it has, and its free places."""
    for bracket in private(hyperband, "_brackets"):
        rounds = bracket["rounds"]
        for number, promoted in enumerate(rounds[1:], start=1):
            size = private(hyperband, "_get_size")(bracket["bracket_num"], number)
            before = [info["id"] for info in rounds[number - 1]]
            yield before, {info["past_id"] for info in promoted}, size - len(promoted)
