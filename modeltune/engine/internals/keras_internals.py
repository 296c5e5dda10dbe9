"""Every private name of Keras that we use."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from modeltune.engine.internals.names import Feature, Library, Name, private

FUNCTIONAL = "keras.src.models.functional"
ARRAY_ADAPTER = "keras.src.trainers.data_adapters.array_data_adapter"
ARRAY_SLICING = "keras.src.trainers.data_adapters.array_slicing"
BACKEND = "keras.src.backend"
PYTHON_UTILS = "keras.src.utils.python_utils"
RNG_UTILS = "keras.src.utils.rng_utils"
SERIALIZATION = "keras.src.saving.serialization_lib"
JSON = "keras.src.legacy.saving.json_utils"
LOSS = "keras.src.losses.loss"
REDUCTION = "keras.src.metrics.reduction_metrics"

_GRAPH = (Feature.EPOCH_GRAPH,)
_CUT = (Feature.FROZEN_PREFIX,)
_VALUES = (Feature.INTEGRITY, Feature.SAMPLE_VALUES)


# All examples are named: Keras counts up the names that it gives itself.


def _metric() -> Any:
    return keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error, name="example")


def _tensor() -> Any:
    return keras.Input((1,), name="example_input")


def _layer() -> Any:
    return keras.layers.Identity(name="example")


def _model(metrics: Sequence[Any] = ()) -> Any:
    tensor = _tensor()
    model = keras.Model(tensor, _layer()(tensor), name="example")
    model.compile(None, loss="mse", metrics=list(metrics))
    return model


def _built_metrics() -> Any:
    model = _model([_metric()])
    metrics = private(model, "_compile_metrics")
    metrics.build(model.output, model.output)
    return metrics


KERAS = Library(
    "keras",
    (
        Name(ARRAY_ADAPTER, "ArrayDataAdapter", _GRAPH),
        Name("adapter", "_inputs", _GRAPH),
        Name("adapter", "_num_samples", _GRAPH),
        Name(ARRAY_SLICING, "convert_to_sliceable", _GRAPH),
        Name(PYTHON_UTILS, "pythonify_logs", _GRAPH),
        Name("model", "_get_metrics_result_or_logs", _GRAPH),
        Name("model", "_initial_epoch", _GRAPH),
        Name("model", "_symbolic_build", _GRAPH),
        Name("model", "_compile_loss", (*_GRAPH, *_VALUES)),
        Name("model", "_compile_metrics", (*_GRAPH, *_VALUES)),
        Name("hook", "_is_default", _GRAPH),
        Name(FUNCTIONAL, "Functional", (Feature.COMPILED_POOL, Feature.FROZEN_PREFIX)),
        Name("model", "_compile_config", (Feature.COMPILED_POOL, Feature.FROZEN_PREFIX)),
        Name(
            "layer",
            "_flatten_layers",
            (Feature.COMPILED_POOL, Feature.FROZEN_PREFIX, Feature.INTEGRITY, Feature.ASSETS),
        ),
        Name("sequential", "_functional", _CUT),
        Name("model", "_nodes_by_depth", _CUT),
        Name("model", "_inputs_struct", _CUT),
        Name("model", "_outputs_struct", _CUT),
        Name("tensor", "_keras_history", _CUT),
        Name("layer", "_outbound_nodes", _CUT),
        Name("layer", "_inbound_nodes", (Feature.FROZEN_PREFIX, Feature.LAYER_SHAPES)),
        Name("layer", "_seed_generators", _CUT),
        Name("layer", "_trainable_variables", _CUT),
        Name("layer", "_non_trainable_variables", _CUT),
        Name("layer", "_build_shapes_dict", (Feature.LAYER_SHAPES,)),
        Name("metrics", "_flat_metrics", _VALUES),
        Name("metrics", "_flat_weighted_metrics", _VALUES),
        Name("loss", "_flat_losses", _VALUES),
        Name(BACKEND, "get_keras_mask", _VALUES),
        Name(BACKEND, "set_keras_mask", _VALUES),
        Name(LOSS, "apply_mask", _VALUES),
        Name(LOSS, "squeeze_or_expand_to_same_rank", _VALUES),
        Name(REDUCTION, "reduce_to_samplewise_values", _VALUES),
        Name(RNG_UTILS, "tf", (Feature.ALONE,)),
        Name(SERIALIZATION, "tf", (Feature.ALONE,)),
        Name(JSON, "tf", (Feature.ALONE,)),
        Name("metric", "_fn", _VALUES),
        Name("metric", "_fn_kwargs", _VALUES),
    ),
    {
        "adapter": lambda: private(ARRAY_ADAPTER, "ArrayDataAdapter")(np.zeros((1, 1))),
        "model": _model,
        "sequential": lambda: keras.Sequential([_tensor()], name="example"),
        "layer": _layer,
        "tensor": _tensor,
        "hook": lambda: keras.callbacks.Callback.on_train_batch_begin,
        "metrics": _built_metrics,
        "loss": lambda: private(_model(), "_compile_loss"),
        "metric": _metric,
    },
)

VOLATILE_ATTRIBUTES = frozenset(
    {
        "built",
        "_called",
        "_dropout_mask",  # of a recurrent cell, while it is called
        "_recurrent_dropout_mask",
        "_inbound_nodes",  # the configuration tells how layers are connected
        "_outbound_nodes",
        "_nodes",  # of a nested model, by address
        "_tracker",
        "_trainable_variables_indices",  # of an optimizer, set when it creates its variables
        "_exclude_from_weight_decay_cache",
        "_self_unconditional_checkpoint_dependencies",
        "_self_unconditional_dependency_names",
    }
)
"""Attributes of layers and optimizers that change without changing what a step computes.

One that a version of Keras does not have is simply never met.
"""

OWN_STEPS = ("train_step", "test_step", "compute_metrics", "get_metrics_result", "_make_function")
"""Methods of a model that decide what a step does; replaced on an instance, it is no longer plain."""


# ALONE


class _IfLoaded:
    """TensorFlow as a module of Keras holds it, available only once something else has loaded it."""

    def __init__(self, module: Any):
        self._module = module

    @property
    def available(self) -> bool:
        return "tensorflow" in sys.modules and bool(self._module.available)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def leave_tensorflow_out() -> None:
    """Have Keras load TensorFlow neither to seed it nor to know its objects: there are none before."""
    for name in (RNG_UTILS, SERIALIZATION, JSON):
        module = private(name, "tf")
        if not isinstance(module, _IfLoaded):
            setattr(importlib.import_module(name), "tf", _IfLoaded(module))  # noqa: B010  a name of the table


# EPOCH_GRAPH


def packed_rows(
    arrays: tuple[Any, ...], batch_size: int, class_weight: Mapping[int, float] | None
) -> tuple[Any, int]:
    """Return (x, y, sample_weight) packed and converted as ``fit`` does, and the number of samples."""
    adapter = private(ARRAY_ADAPTER, "ArrayDataAdapter")(
        *arrays, batch_size=batch_size, class_weight=class_weight
    )
    convert = private(ARRAY_SLICING, "convert_to_sliceable")
    rows = convert(private(adapter, "_inputs"), target_backend="tensorflow")
    return keras.tree.lists_to_tuples(rows), private(adapter, "_num_samples")


def python_logs(logs: Any) -> dict[str, Any]:
    """Return logs as numbers of Python, sorted by name, as ``fit`` hands them to callbacks."""
    return dict(private(PYTHON_UTILS, "pythonify_logs")(logs))


def epoch_logs(model: Any, last: Any) -> Any:
    """Return a model's metrics after an epoch, or the logs of its last step if those are others."""
    return private(model, "_get_metrics_result_or_logs")(last)


def resumed_epoch(model: Any) -> int | None:
    """Return the epoch at which a callback has the model resume, such as BackupAndRestore."""
    epoch: int | None = private(model, "_initial_epoch")
    return epoch


def compiled_loss_and_metrics(model: Any) -> tuple[Any, Any]:
    """Return the containers of what a model is compiled with; None where there is nothing."""
    return private(model, "_compile_loss"), private(model, "_compile_metrics")


def build_state(model: Any, batch: Any) -> None:
    """Create the variables of optimizer, loss and metrics from a symbolic batch."""
    private(model, "_symbolic_build")(data_batch=batch)


def does_nothing(hook: Any) -> bool:
    """Tell whether a callback's hook is the one of Keras that does nothing."""
    try:
        return bool(private(hook, "_is_default"))
    except AttributeError:  # a hook of the user's
        return False


# COMPILED_POOL and FROZEN_PREFIX


def is_functional(model: Any) -> bool:
    """Tell whether a model is of Keras's own functional class, not of one derived from it."""
    return type(model) is private(FUNCTIONAL, "Functional")


def compile_arguments(model: Any) -> dict[str, Any]:
    """Return the very arguments a model was compiled with."""
    return dict(private(model, "_compile_config").config)


def inner_layers(layer: Any) -> list[Any]:
    """Return a layer and every layer inside it, at any depth."""
    return list(private(layer, "_flatten_layers")())


# FROZEN_PREFIX


def child_layers(layer: Any) -> list[Any]:
    """Return the layers right inside a layer, those of a functional model from its inputs on."""
    return list(private(layer, "_flatten_layers")(include_self=False, recursive=False))


def freezable_variables(layer: Any) -> list[Any]:
    """Return the variables of a layer itself that are trained unless it is frozen."""
    return list(private(layer, "_trainable_variables"))


def functional_of(sequential: Any) -> Any:
    """Return the functional model in a sequential one; None before it is built."""
    return private(sequential, "_functional")


def nodes(graph: Any) -> list[Any]:
    """Return the nodes of a functional model from its inputs to its outputs."""
    by_depth = private(graph, "_nodes_by_depth")
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def ends(graph: Any) -> tuple[Any, Any]:
    """Return a functional model's inputs and outputs in the structures it was built with."""
    return private(graph, "_inputs_struct"), private(graph, "_outputs_struct")


def maker(tensor: Any) -> Any:
    """Return the operation that gives a symbolic tensor."""
    return private(tensor, "_keras_history").operation


@contextlib.contextmanager
def connections_kept(graph: Any) -> Iterator[None]:
    """Have a graph's layers and inputs forget the nodes that are made of them meanwhile."""
    operations = [node.operation for node in nodes(graph)]
    kept = [
        (connections, len(connections))
        for operation in operations
        for connections in (
            private(operation, "_inbound_nodes"),
            private(operation, "_outbound_nodes"),
        )
    ]
    histories = [(tensor, private(tensor, "_keras_history")) for tensor in graph.inputs]
    try:
        yield
    finally:
        for connections, count in kept:
            del connections[count:]
        for tensor, history in histories:
            setattr(tensor, "_keras_history", history)  # noqa: B010  a name of the table


def draws(layer: Any) -> bool:
    """Tell whether a layer itself draws random numbers."""
    return bool(private(layer, "_seed_generators"))


def own_variables(layer: Any) -> list[Any]:
    """Return the variables of a layer itself, without those of layers inside it."""
    return [
        *private(layer, "_trainable_variables"),
        *private(layer, "_non_trainable_variables"),
    ]


# LAYER_SHAPES, INTEGRITY, SAMPLE_VALUES


def output_shapes(layer: Any) -> list[list[tuple[int | None, ...]]]:
    """Return the shapes of a layer's outputs for each time it was called, or would be when built."""
    # There is no public name for the calls of a shared layer, of which ``output`` is the first.
    shapes = [
        [tuple(tensor.shape) for tensor in keras.tree.flatten(node.output_tensors)]
        for node in private(layer, "_inbound_nodes")
    ]
    if shapes:
        return shapes
    return [[tuple(layer.compute_output_shape(**private(layer, "_build_shapes_dict")))]]


def mask_of(tensor: Any) -> Any:
    """Return the mask that a tensor carries beside its numbers, None when it has none."""
    return private(BACKEND, "get_keras_mask")(tensor)


def attach_mask(tensor: Any, mask: Any) -> Any:
    """Return the tensor with a mask beside its numbers, as a layer that masks returns it."""
    if mask is not None:
        private(BACKEND, "set_keras_mask")(tensor, mask)
    return tensor


@dataclass(frozen=True, eq=False)
class Call:
    """What a compiled loss or metric is called with: leaves of targets, predictions and weights.

    ``name`` is the loss's output, or the metric's name in the logs. ``share`` is the weight of a
    loss in the sum of all losses, None for 1.
    """

    name: str
    function: Any
    y: Any
    predicted: Any
    sample_weight: Any
    share: float | None = None


def build_compiled(model: Any, y: Any, predicted: Any, sample_weight: Any) -> None:
    """Resolve the losses and metrics a model was compiled with, by a few rows of tensors."""
    loss, metrics = compiled_loss_and_metrics(model)
    if loss is not None and not loss.built:
        loss(y, predicted, sample_weight)
        _reset(loss)
    if metrics is not None and not metrics.built:
        metrics.build(y, predicted)


def loss_calls(model: Any, y: Any, predicted: Any, sample_weight: Any) -> list[Call]:
    """Return which leaves of these structures each compiled loss gets; Keras does the pairing.

    The leaves can be any objects that have a shape: no loss is called.
    """
    compiled, _ = compiled_loss_and_metrics(model)
    calls: list[Call] = []
    if compiled is None or not compiled.built:
        return calls

    def recorder(one: Any) -> Callable[..., float]:
        def record(y: Any, predicted: Any, sample_weight: Any = None) -> float:
            _, loss, share, name = one
            calls.append(Call(name, loss, y, predicted, sample_weight, share))
            return 0.0

        return record

    losses = private(compiled, "_flat_losses")
    recorders = [one._replace(loss=recorder(one)) for one in losses]
    try:
        setattr(compiled, "_flat_losses", recorders)  # noqa: B010  a name of the table
        compiled.call(y, predicted, sample_weight)
    finally:
        setattr(compiled, "_flat_losses", losses)  # noqa: B010
        _reset(compiled)
    return calls


def metric_calls(model: Any, y: Any, predicted: Any, sample_weight: Any) -> list[Call]:
    """Return which leaves of these structures each compiled metric gets, in the order of the logs.

    The leaves can be any objects that have a shape: no metric is called.
    """
    _, compiled = compiled_loss_and_metrics(model)
    calls: list[Call] = []
    if compiled is None or not compiled.built:
        return calls
    names: dict[str, int] = {}
    metrics = private(compiled, "_flat_metrics")
    weighted = private(compiled, "_flat_weighted_metrics")
    recorders, weighted_recorders = (
        [None if one is None else _Recorder(one, names, calls) for one in lists]
        for lists in (metrics, weighted)
    )
    try:
        setattr(compiled, "_flat_metrics", recorders)  # noqa: B010  a name of the table
        setattr(compiled, "_flat_weighted_metrics", weighted_recorders)  # noqa: B010
        compiled.update_state(y, predicted, sample_weight)
    finally:
        setattr(compiled, "_flat_metrics", metrics)  # noqa: B010
        setattr(compiled, "_flat_weighted_metrics", weighted)  # noqa: B010
    return calls


class _Recorder:
    """Takes the place of one output's metrics, and notes what they would be updated with."""

    def __init__(self, metrics: Any, names: dict[str, int], calls: list[Call]):
        self._metrics, self._names, self._calls = metrics, names, calls

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        output = self._metrics.output_name
        for metric in self._metrics.metrics:
            name = f"{output}_{metric.name}" if output else metric.name
            # Keras numbers metrics of the same name from the second on.
            number = self._names.get(name, 0)
            self._names[name] = number + 1
            logged = f"{name}_{number}" if number else name
            self._calls.append(Call(logged, metric, y, predicted, sample_weight))


def _reset(compiled: Any) -> None:
    for tracker in compiled.metrics:
        tracker.reset_state()


def metric_values(
    metric: Any, y: Any, predicted: Any, sample_weight: Any
) -> tuple[Any, Any] | None:
    """Return the sums that a metric's mean is made of, per sample: of values and of their weights.

    The metric is the sum of all values over the sum of all weights; None for other metrics.
    """
    function = function_of(metric)
    if function is None:
        return None
    dtype = metric.dtype
    values = function(y, predicted)
    weight = private(LOSS, "apply_mask")(
        sample_weight, mask_of(predicted), dtype=dtype, reduction="sum"
    )
    return tuple(
        private(REDUCTION, "reduce_to_samplewise_values")(
            values, weight, reduce_fn=keras.ops.mean, dtype=dtype
        )
    )


@dataclass(frozen=True, eq=False)
class LossValues:
    """A loss at every place, weighed, before it is reduced; ``weights`` is None without any."""

    values: Any
    weights: Any
    mask: Any


def loss_values(loss: Any, y: Any, predicted: Any, sample_weight: Any) -> LossValues | None:
    """Return a loss before it is reduced, None of a loss that reduces in a way of its own."""
    if type(loss).__call__ is not keras.losses.Loss.__call__:
        return None
    y = keras.ops.convert_to_tensor(y, dtype=loss.dtype)
    given = mask_of(predicted)
    predicted = attach_mask(keras.ops.convert_to_tensor(predicted, dtype=loss.dtype), given)
    values = loss.call(y, predicted)
    masks = [mask for mask in (given, mask_of(values)) if mask is not None]
    values = keras.ops.convert_to_tensor(values, dtype=loss.dtype)
    mask = None
    if masks:
        mask = keras.ops.cast(masks[0], "bool")
        for other in masks[1:]:
            mask = keras.ops.logical_and(mask, keras.ops.cast(other, "bool"))
    weights = private(LOSS, "apply_mask")(
        None if sample_weight is None else keras.ops.convert_to_tensor(sample_weight, loss.dtype),
        mask,
        dtype=loss.dtype,
        reduction="sum",
    )
    if weights is not None:
        weights = keras.ops.cast(weights, values.dtype)
        values, weights = private(LOSS, "squeeze_or_expand_to_same_rank")(values, weights)
        values = values * weights
    return LossValues(values, weights, mask)


def function_of(metric: Any) -> Callable[..., Any] | None:
    """Return the function of targets and predictions that a metric averages; None of other metrics."""
    wrapper = keras.metrics.MeanMetricWrapper
    if (
        not isinstance(metric, wrapper)
        or type(metric).update_state is not wrapper.update_state
        or type(metric).result is not wrapper.result
    ):
        return None
    function = private(metric, "_fn")
    return None if function is None else partial(function, **private(metric, "_fn_kwargs"))


# The last layer


def activation_of(tensor: Any) -> str | None:
    """Return the name of the activation that makes a symbolic tensor; None when it is not known.

    Layers that only change shapes are looked through, as are models, wrappers around a layer, and
    averages of what has all the same activation.
    """
    if KERAS.why_not(Feature.FROZEN_PREFIX):
        return None
    while True:
        history = private(tensor, "_keras_history")
        operation = history.operation
        while isinstance(operation, keras.layers.Wrapper):
            operation = operation.layer
        if isinstance(operation, keras.Model):
            if not operation.outputs:
                return None
            tensor = operation.outputs[history.tensor_index]
            continue
        if isinstance(operation, keras.layers.Average):
            averaged = private(operation, "_inbound_nodes")[history.node_index].input_tensors
            activations = {activation_of(one) for one in averaged}
            return activations.pop() if len(activations) == 1 else None
        name = getattr(getattr(operation, "activation", None), "__name__", None)
        is_shape = isinstance(operation, SHAPES) or (
            isinstance(operation, keras.layers.Activation) and name == "linear"
        )
        if not is_shape:
            return name or type(operation).__name__.lower()
        (tensor, *_) = private(operation, "_inbound_nodes")[history.node_index].input_tensors


SHAPES = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Identity,
    keras.layers.Dropout,
)
"""Layers that change no value of a prediction."""
