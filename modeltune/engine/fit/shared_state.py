"""Find state made outside the build function: candidates would share it, and each train it further."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.model_structure import is_of_keras
from modeltune.records import Array

SEED_STATE = "seed_generator_state"
"""The last part of the path of a variable that holds the state of a layer's random numbers."""


@contextlib.contextmanager
def note_variables() -> Iterator[set[int]]:
    """Lend the set of the ids of all variables of Keras that are made meanwhile."""
    owner = next(kind for kind in keras.Variable.__mro__ if "__init__" in vars(kind))
    original = owner.__init__
    made: set[int] = set()

    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        made.add(id(self))
        original(self, *args, **kwargs)

    owner.__init__ = initialize
    try:
        yield made
    finally:
        owner.__init__ = original


class SharedState:
    """The variables from outside the build function that training changes, with their first values."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[weakref.ref[Any], Array]] = {}

    def restore(self) -> None:
        """Give the variables the values they had before the first candidate."""
        for reference, value in self._first.values():
            if (variable := reference()) is not None:
                variable.assign(value)

    def shared_name(self, model: Model, made: set[int], seed: int) -> str | None:
        """Return the name of what a model would train although its build did not make it, or None.

        Frozen layers from outside are the same for every candidate. Random states from outside
        are set from the seed, and other values that training may change, such as the moving mean
        of a layer that is not frozen, are kept for ``restore``.

        Args:
            model: just built.
            made: ids of the variables that its build made.
            seed: of the candidate.
        """
        trainable = {id(variable) for variable in model.trainable_variables}
        others = [v for v in model.variables if id(v) not in made]
        for variable in others:
            if id(variable) in trainable:
                return f"layer {_owner(model, variable).name}"
        optimizer = model.optimizer
        if any(id(variable) not in made for variable in getattr(optimizer, "variables", ())):
            return f"the optimizer {optimizer.name}"
        random = np.random.default_rng(seed)
        for variable in others:
            if variable.path.endswith(SEED_STATE):
                variable.assign(random.integers(0, 2**31, variable.shape, np.uint32))
            elif not self._knows(variable):
                layer = _owner(model, variable)
                if layer.trainable or not is_of_keras(layer):
                    self.keep([variable])
        return None

    def keep(self, variables: Iterable[Any]) -> None:
        """Keep the values of variables for ``restore``, unless those they had before are kept."""
        for variable in variables:
            if not self._knows(variable):
                value = np.asarray(variable).copy()
                self._first[id(variable)] = (weakref.ref(variable), value)

    def _knows(self, variable: Any) -> bool:
        reference, _ = self._first.get(id(variable), (None, None))
        return reference is not None and reference() is variable


SHARED = SharedState()
"""Of this process."""


def _owner(layer: Any, variable: Any) -> Any:
    """Return the innermost layer that has a variable."""
    for inner in getattr(layer, "layers", ()):
        if any(one is variable for one in inner.variables):
            return _owner(inner, variable)
    return layer
