"""Searches behind ask and tell, over the oracles of keras-tuner."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import secrets
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import keras_tuner
from keras_tuner.engine import trial as trial_module
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, Float, Int

from modeltune.engine.first_ranges import RANGES, ignored_range
from modeltune.engine.float_ranges import with_upper_end
from modeltune.engine.internals import KERAS_TUNER, Feature, ProposalHooks, ReadHooks, rungs
from modeltune.engine.space_progress import space_listener
from modeltune.ground import SearchError
from modeltune.records import Caution, HyperParameters, Proposal, Values, own_values
from modeltune.specs import (
    BayesianOptimization,
    Direction,
    GridSearch,
    Hyperband,
    NoSearch,
    Objective,
    RandomSearch,
    Search,
)

SearchSpace: TypeAlias = Any
"""A ``keras_tuner.HyperParameters``."""

Draw: TypeAlias = Callable[[], dict[str, Any] | None]
"""Return random values that were not tried before; None when many draws gave none."""

SEED_FOR_ZERO = 2**32 - 1
"""What keras-tuner gets for seed 0, which it takes for no seed; our seeds end below this number."""

MAX_COLLISIONS = 200
"""How many draws in a row may repeat tried values before the rest of the space is tried in order."""


class ReadHyperParameters(ReadHooks, keras_tuner.HyperParameters):  # type: ignore[misc]
    """Values for one build that record which of them the build reads.

    Only those determine the model: in a plain Python ``if`` around ``hp.Int`` the build reads
    no names of the other branch, so these are no part of the candidate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any]
        self._read: set[str] = set()
        self._ignored: dict[str, str] = {}
        self._told = 0
        self._tells_reads = KERAS_TUNER.why_not(Feature.READS) is None

    @classmethod
    def of(cls, hyperparameters: SearchSpace | HyperParameters) -> ReadHyperParameters:
        """Return a copy of hyperparameters, or of their configuration, with nothing read yet."""
        is_config = isinstance(hyperparameters, Mapping)
        # keras-tuner puts objects in the place of the conditions in what it is given.
        config = copy.deepcopy(hyperparameters) if is_config else hyperparameters.get_config()
        traced = cls()
        # Whatever is active depends on the values.
        traced.values = dict(config["values"])
        traced.merge([with_upper_end(entry) for entry in cls.from_config(config).space])
        traced.values = dict(config["values"])
        return traced

    @property
    def names(self) -> frozenset[str]:
        """The names in the space."""
        return frozenset(entry.name for entry in self.space)

    @property
    def read(self) -> frozenset[str]:
        """The names whose values the build has read; all active names where that is not known."""
        if self._tells_reads:
            return frozenset(self._read)
        return frozenset(entry.name for entry in self.space if self.is_active(entry))

    def cautions(self, search: Search) -> tuple[Caution, ...]:
        """Warn of each range that a build asked for under a known name, which keras-tuner ignores.

        Ranges that the search was declared with are there to take the place of the build's own.
        """
        given: SearchSpace = search.hyperparameters
        declared = {entry.name for entry in given.space} if given is not None else set()
        return tuple(
            Caution(RANGES, text) for text, name in self._ignored.items() if name not in declared
        )

    def add_read(self, names: Iterable[str]) -> None:
        """Count these names as read too."""
        self._read.update(names)

    def value_read(self, hyperparameter: Any) -> None:
        if self.is_active(hyperparameter):
            self._read.add(hyperparameter.name)
        self._note_range(hyperparameter)
        listener = space_listener()
        if listener is not None and len(self.space) > self._told:
            self._told = len(self.space)
            listener(self.get_config())

    def _note_range(self, asked: Any) -> None:
        for entry in self.space:
            if entry.name == asked.name and entry.conditions == asked.conditions:
                if (ignored := ignored_range(entry, asked)) is not None:
                    self._ignored[ignored] = asked.name
                return

    def conditional_scope(self, parent_name: str, parent_values: Any) -> Any:
        # What is declared inside depends on the parent, also when the build never asked for it.
        if self._tells_reads:
            self._read.add(self.full_name(parent_name))
        return super().conditional_scope(parent_name, parent_values)

    def get(self, name: str) -> Any:
        value = super().get(name)
        if self._tells_reads:
            self._read.add(self.full_name(name))
        return value

    def ensure_active_values(self) -> None:
        """Give active names without a value their default, and remove inactive names.

        keras-tuner's own draws unseeded values, and loses the value of a name that is
        declared in two scopes of which one is inactive.
        """
        active = {}
        for hp in self.space:
            if self.is_active(hp):
                self.values.setdefault(hp.name, hp.default)
                active[hp.name] = self.values[hp.name]
        names = self.names
        self.values = active | {n: v for n, v in self.values.items() if n not in names}

    def copy(self) -> ReadHyperParameters:
        # A HyperModel with tunable=False builds from a copy; its reads still count.
        copied = self.of(self)
        copied._read = self._read
        copied._ignored = self._ignored
        return copied


class Oracle:
    """Proposes candidates and takes their scores; only one thread may use it.

    Args:
        search: the declaration; its seed makes the proposals reproducible.
        scratch: a folder for keras-tuner's files, which are never read.
    """

    def __init__(self, search: Search, scratch: Path):
        self._search = search
        self._failed: set[str] = set()
        self._trials: dict[str, Any] = {}
        self._slots = 0
        with _keras_tuner():
            self._oracle = _make(search)
            # A tuner tells its oracle the folder; no other public name does. It is a new one, for
            # keras-tuner would resume from what anybody had put into one that is there.
            project = f"oracle-{secrets.token_hex(8)}"
            BaseTuner(self._oracle, directory=str(scratch), project_name=project)
            self._oracle.verbose = 0

    @property
    def space(self) -> SearchSpace:
        """A copy of the space known so far."""
        return self._oracle.get_space()

    def space_at(self, values: Values) -> HyperParameters:
        """Return the space known so far with these values."""
        return {**self.space.get_config(), "values": dict(values)}

    def default_values(self) -> Values:
        """Return the values a build has by default, in the space known so far."""
        hp = ReadHyperParameters.of(self.space)
        hp.values = {}
        hp.ensure_active_values()
        return dict(hp.values)

    def learn(self, hyperparameters: SearchSpace) -> None:
        """Add the hyperparameters a build has registered to the space.

        Raises:
            SearchError: when the search allows no new entries and the build made one.
        """
        if not self._search.allow_new_entries:
            known = self._oracle.hyperparameters.space
            new = [
                entry.name
                for entry in hyperparameters.space
                if not any((k.name, k.conditions) == (entry.name, entry.conditions) for k in known)
            ]
            if new:
                raise SearchError(
                    "search.allow_new_entries is False, but the model asks for "
                    f"{', '.join(dict.fromkeys(new))}; declare that in search.hyperparameters "
                    "under the same conditions, or allow new entries"
                )
        self._oracle.update_space(ReadHyperParameters.of(hyperparameters))

    def ask(self) -> Proposal | None:
        """Return the next candidate; None when another score is needed first, or the search is over."""
        while True:
            self._slots += 1
            with _keras_tuner():
                trial = self._oracle.create_trial(f"slot-{self._slots}")
            if trial.status != trial_module.TrialStatus.RUNNING:
                return None
            values = trial.hyperparameters.values
            proposal = Proposal(
                str(trial.trial_id),
                trial.hyperparameters.get_config(),
                values.get("tuner/epochs"),
                values.get("tuner/initial_epoch", 0),
                values.get("tuner/trial_id"),
            )
            self._trials[proposal.id] = trial
            if isinstance(self._oracle, _Remembering):
                self._oracle.under_way[proposal.id] = proposal.values
            if proposal.parent not in self._failed:
                return proposal
            # A rung with fewer completed than promoted trials: there is nothing to continue.
            self.tell(proposal.id, None, proposal.hyperparameters, reason="its parent failed")

    def tell(
        self,
        proposal: str,
        score: float | None,
        hyperparameters: HyperParameters,
        read: frozenset[str] = frozenset(),
        reason: str | None = None,
    ) -> frozenset[str] | None:
        """End a candidate with its score, or with None and a reason when it failed.

        Returns:
            The ids of the candidates that may still be continued, None when none ever is.

        Raises:
            SearchError: when the search allows no new entries and the candidate made one.
        """
        hp = ReadHyperParameters.of(hyperparameters)
        self.learn(hp)
        failed = score is None or not math.isfinite(score)
        if isinstance(self._oracle, _Remembering):
            # What a candidate read that died early, with its process, is not known.
            self._oracle.remember(proposal, hp.values, None if failed and not read else read)
        if failed:
            self._failed.add(proposal)
            score = self._score_of_failure
        trial = self._trials.pop(proposal)
        trial.hyperparameters = hp
        trial.message = reason
        trial.status = "FAILED" if score is None else "COMPLETED"
        with _keras_tuner():
            if score is not None:
                self._oracle.update_trial(trial.trial_id, {self._search.objective.metric: score})
            self._oracle.end_trial(trial)
        return self._continuable()

    @property
    def _score_of_failure(self) -> float | None:
        """The score of a failed candidate: in Hyperband the worst, so it is last in its rung.

        keras-tuner leaves failures out of the rung; each then costs the others a promotion.
        """
        if not isinstance(self._search, Hyperband):
            return None
        is_max = self._search.objective.direction is Direction.MAX
        return -sys.float_info.max if is_max else sys.float_info.max

    def _continuable(self) -> frozenset[str] | None:
        """Return the candidates a rung may still promote: the best ones, as many as it has places."""
        if not isinstance(self._search, Hyperband):
            return None
        if KERAS_TUNER.why_not(Feature.RUNGS):
            return frozenset(self._oracle.trials)
        waiting: set[str] = set()
        for before, promoted, places in rungs(self._oracle):
            ended = [self._oracle.trials[trial] for trial in before if trial not in promoted]
            completed = [trial for trial in ended if trial.status == "COMPLETED"]
            completed.sort(
                key=lambda trial: trial.score,
                reverse=self._search.objective.direction is Direction.MAX,
            )
            waiting |= {trial.trial_id for trial in completed[:places]}
        return frozenset(waiting)


def explore(build: Any, oracle: Oracle) -> Iterator[ReadHyperParameters]:
    """Yield values to build with, so that every conditional scope is entered once.

    The caller builds with what is yielded before asking for the next, as keras-tuner
    does when it first populates a space. Scopes no candidate can reach are left out.
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
        hp = ReadHyperParameters.of(oracle.space)
        while waiting and (waiting[0] in entered or not _enter(waiting[0], hp)):
            waiting.pop(0)
        if not waiting:
            return
        hp.ensure_active_values()
        entered.append(waiting.pop(0))


def other_choices(hp: ReadHyperParameters) -> Iterator[ReadHyperParameters]:
    """Yield values that differ from these in one hyperparameter, which is one of a few choices."""
    for entry in hp.space:
        for choice in entry.values if isinstance(entry, Choice | Boolean) else ():
            if choice != hp.values.get(entry.name):
                values = {**hp.values, entry.name: choice}
                yield ReadHyperParameters.of({"space": [], "values": values})


def _enter(scope: Any, hp: ReadHyperParameters) -> bool:
    """Set only the values that make the scope active; False when the space has no such values."""
    values = {}
    for condition in scope:
        entries = [entry for entry in hp.space if entry.name == condition.name]
        for value in condition.values:
            if any(value == option for entry in entries for option in _options(entry)):
                values[condition.name] = value
                break
        else:
            return False
    hp.values = values
    return True


class _Remembering(ProposalHooks):
    """Mixed into an oracle: candidates whose builds read the same values count as one candidate.

    A finished candidate covers all candidates with the same values for the names it read.
    One still in training covers those with all its values: what it reads is not known yet.
    """

    hyperparameters: ReadHyperParameters

    def __init__(self, **arguments: Any):
        self.under_way: dict[str, Values] = {}
        self._finished = _Cubes()
        self._exhausted = _Cubes()
        self._size = 0
        super().__init__(**arguments)
        self.allow_collisions(MAX_COLLISIONS)

    def remember(self, trial_id: str, values: Values, read: frozenset[str] | None) -> None:
        """Remember a finished candidate by the values it read; None: it counts as having read all."""
        hp = self.hyperparameters.copy()
        hp.values = own_values(values)
        if read is None:
            hp.ensure_active_values()
            read = frozenset(hp.values)
        # Entries that are not tuned have one value only.
        self._finished.add({name: hp.values[name] for name in read & hp.names & hp.values.keys()})
        self.under_way.pop(trial_id, None)

    def forget(self) -> None:
        """Forget all candidates, so that each can be proposed again."""
        self._finished, self._exhausted = _Cubes(), _Cubes()
        self.under_way.clear()

    def is_tried(self, values: dict[str, Any]) -> bool:
        return self._covering(values) is not None

    def _covering(self, values: Values) -> frozenset[str] | None:
        """Return the names whose values a tried candidate shares; None when no candidate covers these."""
        for covered in (self._finished, self._exhausted):
            if (names := covered.covering(values)) is not None:
                return names
        for others in self.under_way.values():
            if others.items() <= values.items():
                return frozenset(others)
        return None

    def propose(self, draw: Draw) -> dict[str, Any] | None:
        """Return untried values: drawn ones or, where drawing found none, the first of the grid."""
        drawn = draw()
        return self._untried() if drawn is None else drawn

    def _untried(self) -> dict[str, Any] | None:
        """Return the first untried candidate of the grid; None when all were tried."""
        if len(self.hyperparameters.space) > self._size:
            self._size = len(self.hyperparameters.space)
            self._exhausted = _Cubes()
        hp = self.hyperparameters.copy()
        hp.values = {}
        return dict(hp.values) if self._complete(hp, 0) is None else None

    def _complete(self, hp: ReadHyperParameters, position: int) -> frozenset[str] | None:
        """Complete hp.values to an untried candidate, going back where there is none.

        Returns:
            None when hp.values are such a candidate. Else they are as before, and names are
            returned by which all completions are covered: going back, the values of other
            names need not be tried (Gaschnig, 1979, "backjumping").
        """
        covering = self._covering(hp.values)
        if covering is not None or position == len(hp.space):
            return covering
        entry = hp.space[position]
        if entry.name in hp.values or not hp.is_active(entry):
            return self._complete(hp, position + 1)
        reasons = frozenset(condition.name for condition in entry.conditions)
        for option in _options(entry):
            hp.values[entry.name] = option
            covering = self._complete(hp, position + 1)
            if covering is None:
                return None
            del hp.values[entry.name]
            if entry.name not in covering:
                return covering
            reasons |= covering - {entry.name}
        self._exhausted.add({name: hp.values[name] for name in reasons})
        return reasons


class _Cubes:
    """Sets of candidates; each set has all candidates with certain values for certain names."""

    def __init__(self) -> None:
        self._values: dict[frozenset[str], set[tuple[Any, ...]]] = defaultdict(set)

    def add(self, values: Values) -> None:
        """Add the set of all candidates with these values."""
        self._values[frozenset(values)].add(tuple(values[name] for name in sorted(values)))

    def covering(self, values: Values) -> frozenset[str] | None:
        """Return the names of a set that contains these values; None when no set does."""
        for names, known in self._values.items():
            if names <= values.keys() and tuple(values[name] for name in sorted(names)) in known:
                return names
        return None


class _RandomOracle(_Remembering, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """keras-tuner's random search, which ends only after all candidates were tried."""


class _BayesianOracle(_Remembering, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """keras-tuner's Gaussian process, with a random untried candidate in place of a repetition."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # A process over no dimensions cannot be fitted.
        if any(not isinstance(entry, Fixed) for entry in self.hyperparameters.space):
            response: dict[str, Any] = super().populate_space(trial_id)
            if response["values"] is None or not self.is_tried(response["values"]):
                return response
        values = self.random_values()
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}


class _HyperbandOracle(_Remembering, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """keras-tuner's Hyperband, which keeps its schedule in small spaces too."""

    def propose(self, draw: Draw) -> dict[str, Any] | None:
        values = super().propose(draw)
        if values is None:
            # All of a small space has been drawn: draw it again instead of ending early.
            self.forget()
            values = super().propose(draw)
        # keras-tuner takes the values of a space without entries for none at all.
        return {"tuner/round": 0} if values == {} else values


class _GridOracle(_Remembering, keras_tuner.Oracle):  # type: ignore[misc]
    """keras-tuner's grid in its order, restricted to names that builds read, each candidate once."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        values = self._untried()
        if values is not None:
            return {"status": "RUNNING", "values": values}
        return {"status": "IDLE" if self.ongoing_trials else "STOPPED", "values": None}


def _options(entry: Any) -> Iterator[Any]:
    """Yield the values of an entry on the grid, its default first, none twice."""
    yield entry.default
    # keras-tuner puts the ten values that stand for a range without a step in no order.
    values = sorted(entry.values) if getattr(entry, "step", 1) is None else entry.values
    for value in values:
        if isinstance(entry, Float):
            if not math.isclose(value, entry.default, rel_tol=1e-9):
                yield value
        elif value != entry.default:
            # keras-tuner's powers of an integer step are floats.
            yield int(value) if isinstance(entry, Int) else value


OWN_ORACLES: Mapping[type[Search], Any] = {
    RandomSearch: _RandomOracle,
    GridSearch: _GridOracle,
    BayesianOptimization: _BayesianOracle,
    Hyperband: _HyperbandOracle,
    NoSearch: _GridOracle,  # only its space is asked for
}
"""The oracles that propose no candidate twice."""

PLAIN_ORACLES: Mapping[type[Search], Any] = {
    RandomSearch: keras_tuner.oracles.RandomSearchOracle,
    GridSearch: _GridOracle,  # it draws nothing, and so needs none of keras-tuner's private names
    BayesianOptimization: keras_tuner.oracles.BayesianOptimizationOracle,
    Hyperband: keras_tuner.oracles.HyperbandOracle,
    NoSearch: _GridOracle,
}
"""The oracles for a version of keras-tuner that offers no way to exclude tried candidates."""


def _make(search: Search) -> Any:
    ours_first = KERAS_TUNER.why_not(Feature.PROPOSALS) is None
    kinds: Mapping[type[Search], Any] = OWN_ORACLES if ours_first else PLAIN_ORACLES
    ours = (
        "objective",
        "seed",
        "max_minutes",
        "max_retries_per_trial",
        "max_consecutive_failed_trials",
        "trial_minutes",
        "trial_gigabytes",
        "data_minutes",
        "window",
        "deterministic",
        "is_given",
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
    """Hide warnings of keras-tuner and its Gaussian process from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
