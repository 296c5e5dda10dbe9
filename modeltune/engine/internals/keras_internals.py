"""Every private name of Keras that we use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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

_GRAPH = (Feature.EPOCH_GRAPH,)
_CUT = (Feature.FROZEN_PREFIX,)


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
        Name("model", "_compile_loss", _GRAPH),
        Name("model", "_compile_metrics", (Feature.EPOCH_GRAPH, Feature.INTEGRITY)),
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
        Name("metrics", "_flat_metrics", (Feature.INTEGRITY,)),
        Name(BACKEND, "get_keras_mask", (Feature.INTEGRITY,)),
        Name("metric", "_fn", (Feature.SAMPLE_VALUES,)),
        Name("metric", "_fn_kwargs", (Feature.SAMPLE_VALUES,)),
    ),
    {
        "adapter": lambda: private(ARRAY_ADAPTER, "ArrayDataAdapter")(np.zeros((1, 1))),
        "model": _model,
        "sequential": lambda: keras.Sequential([_tensor()], name="example"),
        "layer": _layer,
        "tensor": _tensor,
        "hook": lambda: keras.callbacks.Callback.on_train_batch_begin,
        "metrics": _built_metrics,
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


def metrics_by_output(model: Any) -> Iterator[tuple[str | None, list[Any]]]:
    """Yield the unweighted metrics a model was compiled with, with the name of their output."""
    compiled = private(model, "_compile_metrics")
    if compiled is None or not compiled.built:
        return
    for metrics in private(compiled, "_flat_metrics"):
        if metrics is not None:  # an output without unweighted metrics
            yield metrics.output_name, metrics.metrics


def has_mask(tensor: Any) -> bool:
    """Tell whether a tensor carries a mask beside its numbers."""
    return private(BACKEND, "get_keras_mask")(tensor) is not None


def function_of(metric: Any) -> Callable[..., Any] | None:
    """Return the function of targets and predictions that a metric averages; None of other metrics."""
    if not isinstance(metric, keras.metrics.MeanMetricWrapper):
        return None
    function = private(metric, "_fn")
    return None if function is None else partial(function, **private(metric, "_fn_kwargs"))
