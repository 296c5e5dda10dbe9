"""Keep trained models, so that the next candidate of the same shape reuses their compiled steps."""

from __future__ import annotations

import functools
import gc
import hashlib
import inspect
import json
import math
import re
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import tf
from modeltune.engine.data import Part
from modeltune.engine.fit import epoch_graph, fresh_start
from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.feature_files import are_as_written
from modeltune.engine.fit.frozen_prefix import Cut
from modeltune.engine.fit.model_structure import is_of_keras
from modeltune.engine.internals import Feature, keras_internals

KEPT_MODELS, KEPT_BYTES = 24, 512 * 2**20
"""How many models a process keeps for reuse, and how much their variables may take."""

KEPT_ORIGINS = 1000
"""How many candidates a process remembers, to continue them without another build."""

UNCOLLECTED_BYTES, GRAPH_BYTES = 128 * 2**20, 4 * 2**20
"""Bytes that released models may hold before ``gc.collect()`` is called, and an estimate for graphs.

Models are reference cycles. Python starts a collection by the number of objects, and knows
nothing of the bytes of their tensors.
"""

HIDDEN = (
    *keras_internals.OWN_STEPS,
    *("call", "predict_step", "compute_loss", "fit", "evaluate", "predict"),
)
"""Methods a step runs. No configuration shows that one was replaced on an instance."""


class Foreign(Exception):
    """A model holds an object that is not Keras's, so its configuration does not describe all of it."""


@dataclass(eq=False)
class Candidate:
    """A candidate's model and, when only its head is trained, the cut in front of that head.

    ``key`` identifies the models that can use its compiled steps; None: no other can.
    """

    model: Model
    key: str | None = None
    cut: Cut | None = None
    _cut_from: tuple[str, list[Any]] | None = None

    @property
    def compiled_model(self) -> Model:
        """The model whose steps are compiled: the head, or the whole."""
        return self.model if self.cut is None else self.cut.head

    @functools.cached_property
    def bytes(self) -> int:
        return sum(math.prod(v.shape) * dtype_bytes(v.dtype) for v in variables(self.model))

    def keep_cut(self, cut: Cut, *parts: Part) -> None:
        """Keep a cut of the model, made with its present weights for these parts of the data."""
        self.cut, self._cut_from = cut, (_digest(self.model, cut.head), [part.x for part in parts])

    def cut_of(self, *parts: Part) -> Cut | None:
        """Return the cut that was kept, if the frozen weights and the arrays are still the same."""
        if self.cut is None or self._cut_from is None:
            return None
        digest, arrays = self._cut_from
        same = all(part.x is array for part, array in zip(parts, arrays, strict=True))
        same = same and all(
            are_as_written(part.x) for part in (self.cut.train, self.cut.validation)
        )
        if not same or digest != _digest(self.model, self.cut.head):
            self.cut = self._cut_from = None
        return self.cut


@dataclass(frozen=True)
class Origin:
    """How a candidate was built whose state is in a file: its promotion needs no second build."""

    key: str
    values: Mapping[str, Any]
    seed: int
    read: frozenset[str]
    random_states: tuple[Any, Any]


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of one number of a dtype, which its name tells: "bfloat16", "float8_e4m3fn"."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits.group()) // 8) if bits else 1


class CompiledPool:
    """The models a process keeps; ``off`` says how one gave wrong numbers, after which it keeps none."""

    def __init__(self, models: int = KEPT_MODELS, size: int = KEPT_BYTES):
        self.off: str | None = None
        self._models, self._size = models, size
        # Both from the least to the most recently used.
        self._kept: OrderedDict[str, Candidate] = OrderedDict()
        self._origins: OrderedDict[Path, Origin] = OrderedDict()
        self._proven = False
        self._uncollected = 0

    def take(self, fresh: Candidate, rehearse: Callable[[Candidate, bool], Any]) -> Candidate:
        """Return a kept model of the fresh one's shape with its values, or the fresh one itself.

        Before the first reuse both models take a few steps, and must end with the same bits.

        Args:
            rehearse: trains a candidate for a few steps, its head if the second argument is
                true, and returns the logs.
        """
        kept = self._take(fresh.key)
        if kept is None:
            return fresh
        if not fresh.model.optimizer.built:
            fresh.model.optimizer.build(fresh.model.trainable_variables)
        if not self._proven:
            compiled = epoch_graph.graphs(kept.compiled_model)
            self.off = _difference(kept, fresh, rehearse)
            if self.off is not None:
                self.clear()
                return fresh
            self._proven = epoch_graph.graphs(kept.compiled_model) == compiled
        _copy(fresh.model, kept.model)
        self.leave(fresh)
        return kept

    def again(
        self, state: Path, values: Mapping[str, Any], seed: int, names: frozenset[str]
    ) -> tuple[Candidate, Origin] | None:
        """Return a kept model that can continue from the state in a file, and how that was built.

        Its values may be those of another candidate, so load the state into it.
        """
        origin = self._origins.get(state)
        if origin is None or not self._proven or (origin.values, origin.seed) != (values, seed):
            return None
        if not origin.read <= names:
            return None  # only a build adds its new names to the search space
        kept = self._take(origin.key)
        return None if kept is None else (kept, origin)

    def _take(self, key: str | None) -> Candidate | None:
        return None if key is None or self.off else self._kept.pop(key, None)

    def put(self, candidate: Candidate, key: str | None) -> None:
        """Keep a trained model, unless training changed its key."""
        if key is None or key != candidate.key or self.off or not _is_closed(candidate):
            self.leave(candidate)
            return
        self._kept[key] = candidate
        while len(self._kept) > self._models or self.bytes > self._size:
            self.leave(self._kept.popitem(last=False)[1])

    def remember(self, state: Path, origin: Origin) -> None:
        """Remember which candidate's state is in a file."""
        self._origins[state] = origin
        if len(self._origins) > KEPT_ORIGINS:
            self._origins.popitem(last=False)

    def leave(self, candidate: Candidate) -> None:
        """Release a model; collect garbage once the released ones hold too much memory."""
        self._uncollected += candidate.bytes + (
            GRAPH_BYTES if epoch_graph.graphs(candidate.compiled_model) else 0
        )
        if self._uncollected > UNCOLLECTED_BYTES:
            self._uncollected = 0
            gc.collect()
            fresh_start.KERNELS.may_be_random = True  # they hold on to what they were run with

    def clear(self) -> None:
        """Forget all models and all states."""
        self._kept.clear()
        self._origins.clear()

    @property
    def bytes(self) -> int:
        return sum(candidate.bytes for candidate in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)


POOL = CompiledPool()
"""The models of this process, whose trials and refits run one after another."""


def key_of(model: Model, like: str) -> str | None:
    """Return a hash of everything a model's compiled steps depend on except values; None if unknown.

    ``like`` describes the data. A learning rate is a value; a learning rate schedule is not.
    """
    if keras_internals.KERAS.why_not(Feature.COMPILED_POOL) or not model.built:
        return None
    if type(model) is not keras.Sequential and not keras_internals.is_functional(model):
        return None
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer) or model.run_eagerly:
        return None
    if model.distribute_strategy is not tf.distribute.get_strategy():
        return None
    if any(name in vars(model) for name in HIDDEN):
        return None
    layers = keras_internals.inner_layers(model)
    if any(hasattr(layer, "adapt") for layer in layers):
        return None  # its state is a constant in the trace
    try:
        # A loss or metric of the user's is in no configuration, so all is looked at first.
        _settings(keras_internals.compile_arguments(model).values())
        described = [
            _settings(layer for layer in layers if layer is not model),
            _settings([optimizer]),
            type(model).__name__,
            _json(model.get_config()),
            _json(_without_rate(model.get_compile_config())),
            [(v.path, tuple(v.shape), v.dtype, v.trainable) for v in model.variables],
            [v.path for v in model.trainable_variables],
            model.trainable,
            model.dtype_policy.name,
            model.jit_compile,
            model.steps_per_execution,
            _surroundings(),
            like,
        ]
    except (Foreign, TypeError, ValueError, NotImplementedError):
        return None
    return hashlib.sha256(repr(described).encode()).hexdigest()


def variables(model: Model) -> list[Any]:
    """Return the variables that training changes and that later epochs depend on."""
    return [*model.variables, *model.optimizer.variables]


def _copy(source: Model, target: Model) -> None:
    for one, other in zip(variables(source), variables(target), strict=True):
        other.value.assign(one.value)
    target.reset_metrics()
    target.stop_training = False


def _difference(
    kept: Candidate, fresh: Candidate, rehearse: Callable[[Candidate, bool], Any]
) -> str | None:
    """Train both from the fresh model's values and return how they differ; restore the fresh model."""
    before = _values(fresh.model)
    _copy(fresh.model, kept.model)
    heads = kept.cut is not None
    (one, one_after), (other, other_after) = (
        (repr(rehearse(candidate, heads)), _values(candidate.model)) for candidate in (fresh, kept)
    )
    for variable, value in zip(variables(fresh.model), before, strict=True):
        variable.value.assign(value)
    fresh.model.reset_metrics()
    if one != other:
        return f"they logged {other} where new ones log {one}"
    for variable, value, kept_value in zip(
        variables(fresh.model), one_after, other_after, strict=True
    ):
        if value.tobytes() != kept_value.tobytes():
            return f"they led to other values of {variable.path} than new ones"
    return None


def _values(model: Model) -> list[Any]:
    return [variable.value.numpy() for variable in variables(model)]


def _digest(model: Model, head: Model) -> str:
    """Return a hash of the variables of a model that are not in its head."""
    trained = {id(variable) for variable in head.variables}
    digest = hashlib.sha256()
    for variable in model.variables:
        if id(variable) not in trained:
            digest.update(np.ascontiguousarray(variable.value.numpy()).tobytes())
    return digest.hexdigest()


def _is_closed(candidate: Candidate) -> bool:
    """Tell whether there are compiled steps and these read no variables of other objects."""
    functions = epoch_graph.graphs(candidate.compiled_model)
    known = {
        id(variable.value.handle)
        for model in (candidate.model, candidate.compiled_model)
        for variable in (*variables(model), *model.metrics_variables)
    }
    outside = (tensor for function in functions for tensor in function.captured_inputs)
    return bool(functions) and all(id(tensor) in known for tensor in outside)


# what a trace may depend on


def _json(config: Any) -> str:
    def refuse(value: object) -> Any:
        raise Foreign(type(value).__name__)

    return json.dumps(config, sort_keys=True, default=refuse)


def _without_rate(compiled: Any) -> Any:
    """Return a compile configuration without learning rates that are plain numbers."""
    if isinstance(compiled, Mapping):
        return {
            name: _without_rate(value)
            for name, value in compiled.items()
            if not (name == "learning_rate" and isinstance(value, float))
        }
    return compiled


def _surroundings() -> list[Any]:
    return [
        keras.config.dtype_policy().name,
        keras.config.floatx(),
        keras.config.epsilon(),
        keras.config.image_data_format(),
        tf.config.optimizer.get_jit(),
        sorted(tf.config.optimizer.get_experimental_options().items()),
    ]


def _settings(things: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return every plain value inside these objects by its path; a shared object is listed once.

    Raises:
        Foreign: one holds an object that is neither plain nor Keras's.
    """
    values: list[tuple[str, Any]] = []
    paths: dict[int, tuple[str, Any]] = {}
    for number, thing in enumerate(things):
        _describe(thing, str(number), values, paths)
    return values


def _describe(
    thing: Any, path: str, values: list[tuple[str, Any]], paths: dict[int, tuple[str, Any]]
) -> None:
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes | np.generic):
        values.append((path, repr(thing)))
        return
    if isinstance(thing, keras.Variable | tf.Variable | keras.initializers.Initializer):
        return  # their values are assigned
    if id(thing) in paths:
        values.append((path, paths[id(thing)][0]))
        return
    paths[id(thing)] = path, thing  # kept alive, or its id could come again
    if isinstance(thing, list | tuple | set | frozenset):
        items = sorted(thing, key=repr) if isinstance(thing, set | frozenset) else thing
        for number, item in enumerate(items):
            _describe(item, f"{path}[{number}]", values, paths)
    elif isinstance(thing, Mapping):
        for name, item in thing.items():
            _describe(item, f"{path}[{name!r}]", values, paths)
    elif isinstance(thing, re.Pattern):
        values.append((path, thing.pattern))
    elif isinstance(thing, np.ndarray) and thing.dtype.kind in "biufc":
        digest = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
        values.append((path, (thing.dtype.str, thing.shape, digest)))
    elif isinstance(thing, types.MethodType):
        _describe(thing.__func__, path, values, paths)
        _describe(thing.__self__, f"{path}.self", values, paths)
    elif isinstance(thing, functools.partial):
        _describe((thing.func, thing.args, thing.keywords), path, values, paths)
    elif isinstance(thing, type | types.FunctionType):
        _require(f"{thing.__module__}".startswith("keras."), thing)
        values.append((path, f"{thing.__module__}.{thing.__qualname__}"))
        for number, cell in enumerate(getattr(thing, "__closure__", None) or ()):
            _describe(cell.cell_contents, f"{path}<{number}>", values, paths)
    else:
        _describe_object(thing, path, values, paths)


def _describe_object(
    thing: Any, path: str, values: list[tuple[str, Any]], paths: dict[int, tuple[str, Any]]
) -> None:
    module = type(thing).__module__
    values.append((path, f"{module}.{type(thing).__qualname__}"))
    if isinstance(thing, keras.KerasTensor):
        values.append((path, (thing.shape, thing.dtype)))
    elif isinstance(thing, keras.random.SeedGenerator):
        _require(type(thing) is keras.random.SeedGenerator, thing)
    elif is_of_keras(thing):
        for name, value in vars(thing).items():
            if name not in keras_internals.VOLATILE_ATTRIBUTES:
                _describe(value, f"{path}.{name}", values, paths)
    else:
        _require(_is_passive(thing), thing)


def _is_passive(thing: object) -> bool:
    """Tell an object of another library in layers and optimizers that changes nothing about a step."""
    kinds = types.ModuleType, inspect.Signature, tf.distribute.Strategy, tf.DType, tf.TensorShape
    return isinstance(thing, kinds)


def _require(holds: bool, thing: object) -> None:
    if not holds:
        raise Foreign(f"{type(thing).__module__}.{type(thing).__qualname__}")
