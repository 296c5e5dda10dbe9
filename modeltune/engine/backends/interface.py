"""What a run asks of whatever computes for Keras."""

from __future__ import annotations

from typing import Protocol

from modeltune.records import Json


class Backend(Protocol):
    """A library that computes for Keras, in this process."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that compute, which tell their versions."""

    @property
    def steps_eagerly(self) -> bool:
        """Whether a single step is done sooner when it is not compiled."""

    def set_up(self, threads: int) -> None:
        """Have it compute with so many threads and find its devices, which it may log.

        Where it has begun with others, it goes on with these.
        """

    def threads(self) -> dict[str, Json]:
        """Return how many threads it computes with."""

    def devices(self, cpu: str) -> list[str]:
        """Return the devices it trains on, "GPU: its name"; ``cpu`` is the name of the processor."""

    def notes(self) -> list[str]:
        """Return what is slower or not available, in words that follow "Keras computes with jax, so "."""
