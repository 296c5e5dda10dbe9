"""Declare how the best values are validated: refits under several seeds, or cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from modeltune.ground import Problem, as_typed, is_integer, is_positive_number, typed


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


OfValues: TypeAlias = Callable[[Any], Any]
"""A function of the hyperparameters ``hp`` of the best values, as the build function gets them."""


@dataclass(frozen=True, repr=False)
class FineTune:
    """A second phase of each refit, in which frozen layers are trained too, slowly.

    The search, and the first phase of each refit, train what the build function leaves trainable:
    the head on a frozen base. Then the frozen layers from ``from_layer`` on are unfrozen, in the
    order in which ``model.summary()`` lists them, the model is compiled again with a fresh optimizer
    of the same kind at ``learning_rate``, and trained on under fresh callbacks. A frozen
    ``BatchNormalization`` stays frozen and so keeps what it has learned of its inputs
    (https://keras.io/guides/transfer_learning/).

    Each argument may be a function of the best values:
    ``learning_rate=lambda hp: hp.get("learning_rate") / 100``.

    Args:
        from_layer: the name of the first layer to unfreeze, of one in a nested model too, with the
            names of the models around it where several have that name: "resnet50/conv5_block1_out".
            None: all frozen layers.
        epochs: epochs of this phase, after those of the first.
        learning_rate: of this phase; it replaces a schedule too.
    """

    from_layer: str | OfValues | None = None
    epochs: int | OfValues = 5
    learning_rate: float | OfValues = 1e-5

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        named = self.from_layer is None or (isinstance(self.from_layer, str) and self.from_layer)
        if not (named or callable(self.from_layer)):
            yield (
                "from_layer",
                f"{typed(self.from_layer)}: write the name of a layer, or None for all",
            )
        if not (is_integer(self.epochs) and self.epochs >= 1) and not callable(self.epochs):
            yield "epochs", f"{typed(self.epochs)}: write 1 or more"
        if not is_positive_number(self.learning_rate) and not callable(self.learning_rate):
            yield (
                "learning_rate",
                f"{typed(self.learning_rate)}: write a number above 0, such as 1e-5, or a function: "
                'lambda hp: hp.get("learning_rate") / 100',
            )

    @property
    def functions(self) -> tuple[OfValues, ...]:
        """The functions of the best values among the arguments."""
        values = (self.from_layer, self.epochs, self.learning_rate)
        return tuple(value for value in values if callable(value))

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class Holdout:
    """Refit on train under several seeds, and score each refit on test.

    The refits' callbacks watch the validation part.

    Args:
        epochs: epochs of each refit; None for as many as the search's longest trial.
        seeds: the number of refits; their seeds are 0, 1, ...
        fine_tune: how each refit goes on to train frozen layers; None: it does not.
        ensemble: how many of the best trials' models are averaged too, at least 2. Their average is
            judged and kept in place of the winner alone where it is proven better on validation.
    """

    epochs: int | None = None
    seeds: int = 3
    fine_tune: FineTune | None = None
    ensemble: int | None = None

    label: ClassVar[str] = "holdout"

    def refits(self) -> tuple[Refit, ...]:
        """Return the refits in the order in which their scores are recorded."""
        return tuple(Refit(seed) for seed in range(self.seeds))

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        yield from _problems(self)

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class KFold:
    """Cross-validate on train and validation together, and score each refit on test.

    Folds are seeded and stratified by class label; with ``mt.Data(groups=...)`` of whole groups, and with
    ``ordered=True`` each is held out after the rows that are trained on. A refit trains on k - 1 folds, and its
    callbacks watch the remaining fold. Gates judge its scores on test; its scores on the
    remaining fold are recorded as ``fold_<metric>``.

    Args:
        k: the number of folds, at least 2.
        epochs: epochs of each refit; None for as many as the search's longest trial.
        seeds: how often the cross-validation is repeated, each time shuffled by another seed.
        fine_tune: how each refit goes on to train frozen layers; None: it does not.
        ensemble: as of ``mt.Holdout``; each fold has an average of its own, and the remaining folds show
            whether it is better.
    """

    k: int = 5
    epochs: int | None = None
    seeds: int = 1
    fine_tune: FineTune | None = None
    ensemble: int | None = None

    label: ClassVar[str] = "kfold"

    def refits(self) -> tuple[Refit, ...]:
        """Return the refits in the order in which their scores are recorded."""
        return tuple(Refit(seed, fold) for seed in range(self.seeds) for fold in range(self.k))

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if not is_integer(self.k) or self.k < 2:
            yield "k", f"{self.k!r}: write 2 or more"
        yield from _problems(self)

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
    fine_tune: ClassVar[FineTune | None] = None
    ensemble: ClassVar[int | None] = None

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


def _problems(validation: Holdout | KFold) -> Iterator[Problem]:
    epochs, seeds, fine_tune = validation.epochs, validation.seeds, validation.fine_tune
    if epochs is not None and (not is_integer(epochs) or epochs < 1):
        yield (
            "epochs",
            f"{epochs!r}: write 1 or more, or None for as many as the search's longest trial",
        )
    if not is_integer(seeds) or seeds < 1:
        yield "seeds", f"{seeds!r}: write 1 or more"
    if isinstance(fine_tune, FineTune):
        for field, text in fine_tune.problems():
            yield f"fine_tune.{field}", text
    elif fine_tune is not None:
        yield "fine_tune", f"{typed(fine_tune)}: write mt.FineTune(...)"
    ensemble = validation.ensemble
    if ensemble is not None and (not is_integer(ensemble) or ensemble < 2):
        yield "ensemble", f"{typed(ensemble)}: write 2 or more, or None"
