"""Declare a search: keras-tuner's four oracles with their arguments."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from modeltune.ground import Problem, as_typed, is_integer, is_positive_number, typed
from modeltune.specs.objectives import Objective


@dataclass(frozen=True)
class Rung:
    """One round of a Hyperband bracket: how many trials train, from which epoch to which."""

    bracket: int
    round: int
    trials: int
    initial_epoch: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """The arguments that all four searches share.

    Args:
        objective: ``mt.maximize(name)`` or ``mt.minimize(name)``; the fit must log this metric.
        seed: an integer from 0 to 2**32 - 2; the same seed proposes the same trials.
        max_minutes: stop proposing trials after so many minutes, then validate.
        hyperparameters, tune_new_entries, allow_new_entries: as in keras-tuner:
            a ``keras_tuner.HyperParameters`` that overrides part of the space.
        max_retries_per_trial: how often a failed trial is trained again, under other seeds.
        max_consecutive_failed_trials: stop the search after so many failures in a row; None
            continues (keras-tuner stops after 3 and loses the search).
        trial_minutes: end a trial or refit that takes longer, together with its process. It also
            bounds the rehearsal before the search, the slices of gates, and each examination of
            the tuned model that gates ask for.
        trial_gigabytes: end a process of the run that uses more memory, also the one that holds
            the data; None for 0.9 of the memory that is free.
        data_minutes: end a data function that takes longer, and the run with it. A stream of unknown
            length that has not ended by then, or within 5 minutes if this is None, is refused.
        window: how far the search may run ahead: counted from the oldest trial without a score,
            it proposes at most so many trials. Proposals then do not depend on the number of
            trial processes; processes beyond the window have nothing to do.
        deterministic: False proposes a trial whenever any trial ends, without a window. This
            keeps processes busier, but the proposals then depend on how long each trial takes.
    """

    objective: Objective = dataclasses.field(kw_only=False)
    seed: int = 0
    max_minutes: float | None = None
    hyperparameters: object = None
    tune_new_entries: bool = True
    allow_new_entries: bool = True
    max_retries_per_trial: int = 0
    max_consecutive_failed_trials: int | None = None
    trial_minutes: float | None = None
    trial_gigabytes: float | None = None
    data_minutes: float | None = None
    window: int = 4
    deterministic: bool = True

    label: ClassVar[str]
    """The short name used in test ids: ``mlp[hyperband]``."""

    @property
    @abstractmethod
    def planned_trials(self) -> int | None:
        """The number of trials an undisturbed search runs, or None when the space decides."""

    @abstractmethod
    def own_problems(self) -> Iterator[Problem]:
        """Yield every broken field of this kind of search with its remedy."""

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if isinstance(self.objective, str):
            yield (
                "objective",
                f'"{self.objective}" has no direction; write mt.maximize("{self.objective}")'
                f' or mt.minimize("{self.objective}")',
            )
        elif not isinstance(self.objective, Objective):
            yield (
                "objective",
                f"{self.objective!r} is not an objective; write mt.maximize(name) or mt.minimize(name)",
            )
        elif not isinstance(self.objective.metric, str) or not self.objective.metric:
            yield "objective", f"{self.objective.metric!r} is not a metric name; write a string"
        if not is_integer(self.seed) or not 0 <= self.seed < 2**32 - 1:
            yield "seed", f"{self.seed!r}: write an integer from 0 to 2**32 - 2"
        for name in ("max_minutes", "trial_minutes", "trial_gigabytes", "data_minutes"):
            value = getattr(self, name)
            if value is not None and not is_positive_number(value):
                unit = name.partition("_")[2]
                yield name, f"{value!r}: write a positive number of {unit}, or None"
        if not is_integer(self.window) or self.window < 1:
            yield "window", f"{self.window!r}: write 1 or more"
        if not isinstance(self.deterministic, bool):
            yield "deterministic", f"{self.deterministic!r}: write True or False"
        if not is_integer(self.max_retries_per_trial) or self.max_retries_per_trial < 0:
            yield "max_retries_per_trial", f"{self.max_retries_per_trial!r}: write 0 or more"
        failures = self.max_consecutive_failed_trials
        if failures is not None and (not is_integer(failures) or failures < 1):
            yield "max_consecutive_failed_trials", f"{failures!r}: write 1 or more, or None"
        if self.hyperparameters is not None and not hasattr(self.hyperparameters, "get_config"):
            yield (
                "hyperparameters",
                f"{typed(self.hyperparameters)}: write a keras_tuner.HyperParameters, or None",
            )
        if self.hyperparameters is None:
            for name in ("tune_new_entries", "allow_new_entries"):
                if not getattr(self, name):
                    yield (
                        name,
                        "False needs a space to restrict the search to; pass hyperparameters as well",
                    )
        yield from self.own_problems()

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class NoSearch(Search):
    """Search nothing: the default values are validated. A spec that declares no search has this one.

    With ``is_given`` there are no values: the model is trained already.
    """

    is_given: bool = False

    label = "none"

    @property
    def planned_trials(self) -> int:
        return 0

    def own_problems(self) -> Iterator[Problem]:
        yield from ()


@dataclass(frozen=True, repr=False)
class RandomSearch(Search):
    """Draw ``max_trials`` different candidates at random."""

    max_trials: int = 10

    label = "random"

    @property
    def planned_trials(self) -> int:
        return self.max_trials

    def own_problems(self) -> Iterator[Problem]:
        yield from _max_trials_problem(self.max_trials)


@dataclass(frozen=True, repr=False)
class GridSearch(Search):
    """Try every combination once, in order; ``max_trials=None`` covers the whole space.

    As in keras-tuner, a Float without a step and a log-sampled Int contribute ten values of
    their range and their default.
    """

    max_trials: int | None = None

    label = "grid"

    @property
    def planned_trials(self) -> int | None:
        return self.max_trials

    def own_problems(self) -> Iterator[Problem]:
        if self.max_trials is not None:
            yield from _max_trials_problem(self.max_trials)


@dataclass(frozen=True, repr=False)
class BayesianOptimization(Search):
    """Propose by a Gaussian process, after ``num_initial_points`` random trials.

    Args:
        num_initial_points: random trials at the start; None for three per hyperparameter.
        alpha: the assumed noise variance of a normalised score.
        beta: the weight of exploration in the confidence bound ``mean - beta * std``.
    """

    max_trials: int = 10
    num_initial_points: int | None = None
    alpha: float = 1e-4
    beta: float = 2.6

    label = "bayesian"

    @property
    def planned_trials(self) -> int:
        return self.max_trials

    def own_problems(self) -> Iterator[Problem]:
        yield from _max_trials_problem(self.max_trials)
        points = self.num_initial_points
        if points is not None and (not is_integer(points) or points < 1):
            yield "num_initial_points", f"{points!r}: write 1 or more, or None"
        for name in ("alpha", "beta"):
            if not is_positive_number(getattr(self, name)):
                yield name, f"{getattr(self, name)!r}: write a positive number"


@dataclass(frozen=True, repr=False)
class Hyperband(Search):
    """Train many candidates briefly and promote the best thirds (``factor=3``) to more epochs.

    The schedule follows keras-tuner's formula (Li et al., 2018, "Hyperband"). With
    R = ``max_epochs`` and f = ``factor`` there are floor(log_f R) + 1 brackets; bracket b starts
    ceil(ceil(1 + log_f R) / (b + 1) * f**b) candidates at ceil(R / f**b) epochs.
    """

    max_epochs: int = 100
    factor: int = 3
    hyperband_iterations: int = 1

    label = "hyperband"

    @property
    def schedule(self) -> tuple[Rung, ...]:
        """The rungs of all iterations, in the order in which their brackets start."""
        brackets, epochs = 0, float(self.max_epochs)
        while epochs >= 1:
            epochs /= self.factor
            brackets += 1
        final = math.ceil(1 + math.log(self.max_epochs, self.factor))

        def epochs_of(bracket: int, round_: int) -> int:
            return math.ceil(self.max_epochs / float(self.factor) ** (bracket - round_))

        return self.hyperband_iterations * tuple(
            Rung(
                bracket,
                round_,
                trials=math.ceil(final / (bracket + 1) * float(self.factor) ** (bracket - round_)),
                initial_epoch=epochs_of(bracket, round_ - 1) if round_ else 0,
                epochs=epochs_of(bracket, round_),
            )
            for bracket in reversed(range(brackets))
            for round_ in range(bracket + 1)
        )

    @property
    def planned_trials(self) -> int:
        return sum(rung.trials for rung in self.schedule)

    @property
    def planned_epochs(self) -> int:
        """The epochs an undisturbed search trains; a promoted trial counts its new epochs only."""
        return sum(rung.trials * (rung.epochs - rung.initial_epoch) for rung in self.schedule)

    def own_problems(self) -> Iterator[Problem]:
        if not is_integer(self.max_epochs) or self.max_epochs < 1:
            yield "max_epochs", f"{self.max_epochs!r}: write 1 or more"
        if not is_integer(self.factor) or self.factor < 2:
            yield "factor", f"{self.factor!r}: write 2 or more"
        if not is_integer(self.hyperband_iterations) or self.hyperband_iterations < 1:
            yield "hyperband_iterations", f"{self.hyperband_iterations!r}: write 1 or more"


def _max_trials_problem(max_trials: object) -> Iterator[Problem]:
    if not is_integer(max_trials) or max_trials < 1:
        yield "max_trials", f"{max_trials!r}: a search needs at least one trial; write 1 or more"
