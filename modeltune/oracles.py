"""A search as a keras-tuner oracle behind ask and tell; the only importer of keras_tuner."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras_tuner
from keras_tuner.engine import trial as trial_module

from modeltune.errors import SearchError
from modeltune.objectives import Direction, Objective
from modeltune.runs import Values
from modeltune.searches import BayesianOptimization, GridSearch, Hyperband, RandomSearch, Search

HyperParameters: TypeAlias = Any
"""A ``keras_tuner.HyperParameters``: a search space and values of it."""

SEED_FOR_ZERO = 2**32 - 1
"""keras-tuner takes a seed of 0 for none and draws its own; no other seed of ours maps here."""

MAX_COLLISIONS = 2000
"""Draws of values already tried before a space counts as exhausted; keras-tuner gives up after 20."""


class ReadHyperParameters(keras_tuner.HyperParameters):  # type: ignore[misc]
    """Values for one build that remember which of them the build read.

    What was read decides the model: a plain Python ``if`` around ``hp.Int`` leaves
    the names of the other branch unread, so they are no part of the candidate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read: set[str] = set()
        self.values: dict[str, Any]

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> ReadHyperParameters:
        """Return a copy of the space and values that has read nothing."""
        traced: ReadHyperParameters = cls.from_config(hyperparameters.get_config())
        return traced

    def _retrieve(self, hp: Any) -> Any:
        value = super()._retrieve(hp)
        if self.is_active(hp):
            self.read.add(hp.name)
        return value

    def get(self, name: str) -> Any:
        value = super().get(name)
        self.read.add(self._get_name(name))
        return value

    def ensure_active_values(self) -> None:
        """Give active names without a value their default and drop inactive ones.

        keras-tuner's own draws unseeded values, and loses the value of a name that is
        declared in two scopes of which one is inactive.
        """
        active = {}
        for hp in self.space:
            if self.is_active(hp):
                self.values.setdefault(hp.name, hp.default)
                active[hp.name] = self.values[hp.name]
        self.values = active | {n: v for n, v in self.values.items() if n not in self._hps}

    def copy(self) -> ReadHyperParameters:
        # A HyperModel with tunable=False builds from a copy; its reads still count.
        copied = self.of(self)
        copied.read = self.read
        return copied


@dataclass(frozen=True)
class Proposal:
    """A candidate the oracle asks to be trained; ``parent`` is the trial it continues."""

    trial: Any
    epochs: int | None = None
    initial_epoch: int = 0
    parent: str | None = None

    @property
    def id(self) -> str:
        """keras-tuner's id of the trial."""
        return str(self.trial.trial_id)

    @property
    def hyperparameters(self) -> HyperParameters:
        """The space and this candidate's values."""
        return self.trial.hyperparameters

    @property
    def values(self) -> Values:
        """The candidate's values, without keras-tuner's own entries."""
        return own_values(self.trial.hyperparameters.values)


class Oracle:
    """Ask for candidates and tell their scores; one thread owns it.

    Args:
        search: the declaration; its seed makes the proposals reproducible.
        scratch: a folder for keras-tuner's files; nothing is ever read back from it.
    """

    def __init__(self, search: Search, scratch: Path):
        self._search = search
        self._failed: set[str] = set()
        self._asked = 0
        with _keras_tuner():
            self._oracle = _make(search)
            self._oracle._set_project_dir(str(scratch), "oracle")
            self._oracle.verbose = 0

    @property
    def space(self) -> HyperParameters:
        """A copy of the space known so far."""
        return self._oracle.get_space()

    def learn(self, hyperparameters: HyperParameters) -> None:
        """Add the hyperparameters a build has registered to the space.

        Raises:
            SearchError: when the search allows no new entries and the build made one.
        """
        try:
            self._oracle.update_space(hyperparameters)
        except RuntimeError as error:
            raise SearchError(f"search.allow_new_entries is False: {error}") from error

    def ask(self) -> Proposal | None:
        """Return the next candidate, or None when there is none before another tell, or none at all."""
        while True:
            self._asked += 1
            with _keras_tuner():
                trial = self._oracle.create_trial(f"slot-{self._asked}")
            if trial.status != trial_module.TrialStatus.RUNNING:
                return None
            values = trial.hyperparameters.values
            proposal = Proposal(
                trial,
                values.get("tuner/epochs"),
                values.get("tuner/initial_epoch", 0),
                values.get("tuner/trial_id"),
            )
            if proposal.parent not in self._failed:
                return proposal
            # A rung with fewer completed than promoted trials: there is nothing to continue.
            self.tell(proposal, None, trial.hyperparameters, frozenset(), "its parent failed")

    def tell(
        self,
        proposal: Proposal,
        score: float | None,
        hyperparameters: HyperParameters,
        read: frozenset[str],
        reason: str | None = None,
    ) -> None:
        """End a candidate with its score, or with None and a reason when it failed."""
        trial = proposal.trial
        trial.hyperparameters = hyperparameters
        trial.message = reason
        if read:
            self._oracle.remember(hyperparameters.values, read)
        if score is None:
            self._failed.add(proposal.id)
            score = self._oracle.score_of_failure
        trial.status = "FAILED" if score is None else "COMPLETED"
        with _keras_tuner():
            if score is not None:
                self._oracle.update_trial(trial.trial_id, {self._search.objective.metric: score})
            self._oracle.end_trial(trial)
            # end_trial saves before it forgets the trial is ongoing (keras-tuner oracle.py:591).
            self._oracle.save()


def own_values(values: Values) -> dict[str, bool | int | float | str]:
    """Return the user's values: keras-tuner keeps its own under ``tuner/``."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def explore(build: Any, oracle: Oracle) -> Iterator[ReadHyperParameters]:
    """Yield values under which to build so that every conditional scope is entered once.

    The caller builds with what is yielded before asking for the next, as keras-tuner
    does when it first populates a space.
    """
    entered: list[Any] = []
    waiting: list[Any] = []
    hp = ReadHyperParameters.of(oracle.space)
    if hasattr(build, "declare_hyperparameters"):
        build.declare_hyperparameters(hp)
    while True:
        yield hp
        oracle.learn(hp)
        entered += [scope for scope in hp.active_scopes if scope not in entered]
        waiting += [scope for scope in hp.inactive_scopes if scope not in waiting]
        waiting = [scope for scope in waiting if scope not in entered]
        if not waiting:
            return
        hp = ReadHyperParameters.of(oracle.space)
        for condition in waiting[0]:
            hp.values[condition.name] = condition.values[0]
        hp.ensure_active_values()
        entered.append(waiting[0])


class _Remembering:
    """Mixed into each oracle: candidates that read the same values are one candidate."""

    score_of_failure: float | None = None

    def __init__(self, **arguments: Any):
        self._read_values: dict[frozenset[str], set[tuple[Any, ...]]] = defaultdict(set)
        super().__init__(**arguments)
        self._max_collisions = MAX_COLLISIONS

    def remember(self, values: Values, read: frozenset[str]) -> None:
        """Keep what a finished candidate read; it decides whether another is the same."""
        self._read_values[read].add(tuple(values.get(name) for name in sorted(read)))

    def read_by_twin(self, values: Values) -> frozenset[str] | None:
        """Return what a finished candidate read that equals this one in all it read, or None."""
        for read, seen in self._read_values.items():
            if tuple(values.get(name) for name in sorted(read)) in seen:
                return read
        return None

    def _duplicate(self, values: Values) -> bool:
        return super()._duplicate(values) or self.read_by_twin(values) is not None  # type: ignore[misc]


class _RandomOracle(_Remembering, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """keras-tuner's random search, ending only when no unseen values are found."""


class _BayesianOracle(_Remembering, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """keras-tuner's Gaussian process; where it would repeat a candidate, an unseen one is drawn."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["values"] is not None and self._duplicate(response["values"]):
            response = self._random_populate_space()
        return response


class _HyperbandOracle(_Remembering, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """keras-tuner's Hyperband that keeps its schedule in small spaces and beside failures."""

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        # A failed candidate takes the last place of its rung. Left out, as keras-tuner does,
        # each failure would take one promotion from the others.
        worst = -sys.float_info.max if self.objective.direction == "max" else sys.float_info.max
        self.score_of_failure = worst

    def _random_values(self) -> Any:
        values = super()._random_values()
        if values is None:
            # All of a small space has been drawn: draw it again, as sampling with
            # replacement would, instead of ending the search early.
            self._tried_so_far.clear()
            self._read_values.clear()
            values = super()._random_values()
        return values


class _GridOracle(_Remembering, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    """keras-tuner's grid, stepping only through what builds read, each candidate once."""

    def _get_next_combination(self, values: Values) -> dict[str, Any] | None:
        following = self._successor(values)
        while following is not None and self._duplicate(following):
            following = self._successor(following)
        return following

    def _successor(self, values: Values) -> dict[str, Any] | None:
        """Return the lexicographic successor that changes a value its twin has read."""
        hp = self.get_space()
        hp.values = dict(values)
        hp.ensure_active_values()
        read = self.read_by_twin(hp.values)
        active = [entry for entry in hp.space if hp.is_active(entry)]
        for position in reversed(range(len(active))):
            entry = active[position]
            options = _options(entry)
            index = options.index(hp.values[entry.name]) + 1
            if index == len(options) or (read is not None and entry.name not in read):
                continue
            before = {earlier.name: hp.values[earlier.name] for earlier in active[:position]}
            hp.values = {**before, entry.name: options[index]}
            hp.ensure_active_values()
            return dict(hp.values)
        return None

    def _compare(self, a: Values, b: Values) -> int:
        hp = self.get_space()
        hp.values = dict(a)
        hp.ensure_active_values()
        for entry in hp.space:
            if hp.is_active(entry):
                options = _options(entry)
                first = options.index(hp.values[entry.name])
                second = options.index(b.get(entry.name, entry.default))
                if first != second:
                    return -1 if first < second else 1
        return 0


def _options(entry: Any) -> list[Any]:
    return [entry.default, *(value for value in entry.values if value != entry.default)]


def _make(search: Search) -> Any:
    kinds: Mapping[type[Search], Any] = {
        RandomSearch: _RandomOracle,
        GridSearch: _GridOracle,
        BayesianOptimization: _BayesianOracle,
        Hyperband: _HyperbandOracle,
    }
    ours = (
        "objective",
        "seed",
        "max_minutes",
        "max_retries_per_trial",
        "max_consecutive_failed_trials",
    )
    arguments = {
        field.name: getattr(search, field.name)
        for field in dataclasses.fields(search)
        if field.name not in ours
    }
    arguments["hyperparameters"] = ReadHyperParameters.of(
        search.hyperparameters or keras_tuner.HyperParameters()
    )
    return kinds[type(search)](
        objective=_objective(search.objective),
        seed=search.seed or SEED_FOR_ZERO,
        max_consecutive_failed_trials=sys.maxsize,
        **arguments,
    )


def _objective(objective: Objective) -> Any:
    return keras_tuner.Objective(
        objective.metric, "max" if objective.direction is Direction.MAX else "min"
    )


@contextlib.contextmanager
def _keras_tuner() -> Iterator[None]:
    """Keep what keras-tuner and its Gaussian process warn about from the user's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
