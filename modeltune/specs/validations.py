"""Declare how the best values are validated: refits under several seeds, or cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from modeltune.ground import Problem, as_typed, is_integer


@dataclass(frozen=True)
class Refit:
    """One fit of the best values: its seed, and its fold if there are folds.

    That of a model which is trained already is its place among those given.
    """

    seed: int
    fold: int | None = None
    is_given: bool = False

    @property
    def name(self) -> str:
        """``seed 0``, or ``seed 0, fold 1``: users see folds, and given models, counted from 1."""
        if self.is_given:
            return f"model {self.seed + 1}"
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold + 1}")


@dataclass(frozen=True, repr=False)
class Holdout:
    """Refit on train under several seeds, and score each refit on test.

    The refits' callbacks watch the validation part.

    Args:
        epochs: epochs of each refit; None for as many as the search's longest trial.
        seeds: the number of refits; their seeds are 0, 1, ...
    """

    epochs: int | None = None
    seeds: int = 3

    label: ClassVar[str] = "holdout"

    def refits(self) -> tuple[Refit, ...]:
        """Return the refits in the order in which their scores are recorded."""
        return tuple(Refit(seed) for seed in range(self.seeds))

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        yield from _problems(epochs=self.epochs, seeds=self.seeds)

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class KFold:
    """Cross-validate on train and validation together, and score each refit on test.

    Folds are seeded and stratified by class label. A refit trains on k - 1 folds, and its
    callbacks watch the remaining fold. Gates judge its scores on test; its scores on the
    remaining fold are recorded as ``fold_<metric>``.

    Args:
        k: the number of folds, at least 2.
        epochs: epochs of each refit; None for as many as the search's longest trial.
        seeds: how often the cross-validation is repeated, each time shuffled by another seed.
    """

    k: int = 5
    epochs: int | None = None
    seeds: int = 1

    label: ClassVar[str] = "kfold"

    def refits(self) -> tuple[Refit, ...]:
        """Return the refits in the order in which their scores are recorded."""
        return tuple(Refit(seed, fold) for seed in range(self.seeds) for fold in range(self.k))

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if not is_integer(self.k) or self.k < 2:
            yield "k", f"{self.k!r}: write 2 or more"
        yield from _problems(epochs=self.epochs, seeds=self.seeds)

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class Scoring:
    """Score models that are trained already on test, each as one refit of a recipe.

    A spec whose build function takes no argument has this validation.
    """

    models: int = 1

    label: ClassVar[str] = "scoring"
    epochs: ClassVar[int | None] = None

    @property
    def seeds(self) -> int:
        """As many as there are models."""
        return self.models

    def refits(self) -> tuple[Refit, ...]:
        """Return one refit per model, in the order in which they are given."""
        return tuple(Refit(number, is_given=True) for number in range(self.models))

    def problems(self) -> Iterator[Problem]:
        """Yield nothing: no author writes one."""
        yield from ()

    def __repr__(self) -> str:
        return as_typed(self)


Validation: TypeAlias = Holdout | KFold | Scoring


def _problems(epochs: object, seeds: object) -> Iterator[Problem]:
    if epochs is not None and (not is_integer(epochs) or epochs < 1):
        yield (
            "epochs",
            f"{epochs!r}: write 1 or more, or None for as many as the search's longest trial",
        )
    if not is_integer(seeds) or seeds < 1:
        yield "seeds", f"{seeds!r}: write 1 or more"
