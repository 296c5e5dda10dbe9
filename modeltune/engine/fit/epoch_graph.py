"""Train a Keras model, one graph call per epoch, to the same bits as ``model.fit``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import Arrays
from modeltune.engine.internals import Feature, keras_internals, tensorflow_internals

Model: TypeAlias = Any
"""A compiled ``keras.Model``."""

Order: TypeAlias = Callable[[int], np.ndarray]
"""The row numbers in the order an epoch visits them, by the epoch's number."""

BATCH_HOOKS = tuple(
    f"on_{what}batch_{when}" for what in ("", "train_", "test_") for when in ("begin", "end")
)

MEMORY_SHARE = 0.25
"""The share of available memory that the data may take as tensors."""


@dataclass(frozen=True)
class FitResult:
    """The fit history, and what trained: "graph" or "fit: <why not the graph>"."""

    curve: dict[str, list[float]]
    trained_by: str

    @classmethod
    def of(cls, history: Any, trained_by: str) -> FitResult:
        """Copy a ``keras.callbacks.History``, which a later fit may extend."""
        return cls({name: list(values) for name, values in history.history.items()}, trained_by)


def fit_graph(
    model: Model,
    x: Arrays,
    y: Arrays,
    sample_weight: Arrays = None,
    *,
    batch_size: int,
    epochs: int,
    initial_epoch: int = 0,
    validation_data: Any = None,
    callbacks: Sequence[Any] = (),
    class_weight: Mapping[int, float] | None = None,
    shuffle: bool = True,
    seed: int,
) -> FitResult:
    """Train a compiled model as ``model.fit`` does; fall back to it where the graph cannot go.

    The order of epoch ``e`` follows from ``seed`` and ``e`` alone, so a later call with
    ``initial_epoch`` continues as if never interrupted. ``model.fit`` is fed that same
    order unless ``trained_by`` says "in Keras's own order". Where another backend than TensorFlow
    computes, it always trains.

    Args:
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, evaluated after every
            epoch in batches of ``batch_size``.
        callbacks: Keras callbacks; one that watches single batches forces the fallback.
        seed: not negative.
    """
    train, validation = (x, y, sample_weight), None
    if validation_data is not None:
        validation = keras.utils.unpack_x_y_sample_weight(validation_data)

    if only_arrays := why_only_arrays(model, [train, validation]):
        trained_by = f"fit: {only_arrays}" + (", in Keras's own order" if shuffle else "")
        history = model.fit(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation_data=validation_data,
            callbacks=list(callbacks),
            class_weight=class_weight,
            shuffle=shuffle,
            verbose=0,
        )
        return FitResult.of(history, trained_by)

    missing = _why_no_graph()
    count = len(keras.tree.flatten(x)[0])

    def order(epoch: int) -> np.ndarray:
        if not shuffle:
            return np.arange(count)
        return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)

    def by_steps(dataset: Any, follow: Any) -> Any:
        return model.fit(
            dataset,
            class_weight=_of_every_class(class_weight, y) if missing and class_weight else None,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation_data=validation_data,
            validation_batch_size=batch_size,
            callbacks=[*callbacks, follow],
            shuffle=False,
            verbose=0,
        )

    if not is_tensorflow():
        batches = BatchesInOrder(train, batch_size, order)
        return FitResult.of(by_steps(batches, batches.follower()), f"fit: {missing}")
    rows = (
        _Rows.plainly(train, batch_size) if missing else _Rows.of(train, batch_size, class_weight)
    )
    if only_steps := missing or _why_only_steps(model, callbacks, [train, validation]):
        return FitResult.of(by_steps(*_in_order(rows, order)), f"fit: {only_steps}")

    held_out = None if validation is None else _Rows.of(validation, batch_size)
    history = _fit_by_graph(model, rows, order, epochs, initial_epoch, held_out, callbacks)
    return FitResult.of(history, "graph")


def first_steps(
    model: Model,
    x: Arrays,
    y: Arrays,
    sample_weight: Arrays = None,
    *,
    batch_size: int,
    validation_data: Any,
    class_weight: Mapping[int, float] | None = None,
) -> list[dict[str, float]]:
    """Take three steps and evaluate one batch by the graphs that ``fit_graph`` uses; return the logs."""
    rows = _Rows.of((x, y, sample_weight), batch_size, class_weight)
    held_out = _Rows.of(keras.utils.unpack_x_y_sample_weight(validation_data), batch_size)
    model.make_train_function()
    model.make_test_function()
    logs = []
    for kind, part, steps in (("train", rows, 3), ("test", held_out, 1)):
        model.reset_metrics()
        step = getattr(model, f"{kind}_function")
        natural = np.arange(part.count)
        last = _pass(model, step, part, natural, min(steps, part.batches), f"{kind}_step")
        logs.append(keras_internals.python_logs(last))
    return logs


@dataclass(frozen=True, eq=False)
class _Rows:
    """All samples as tensors, packed and converted by Keras's own array adapter."""

    tensors: Any
    count: int
    batch_size: int

    @classmethod
    def of(
        cls, arrays: Arrays, batch_size: int, class_weight: Mapping[int, float] | None = None
    ) -> _Rows:
        rows, count = keras_internals.packed_rows(arrays, batch_size, class_weight)
        return cls(_map(tf.convert_to_tensor, rows), count, batch_size)

    @classmethod
    def plainly(cls, arrays: Arrays, batch_size: int) -> _Rows:
        """Pack and convert them without that adapter, to the same tensors but for class weights."""
        x, y, sample_weight = _for_every_output(arrays)
        packed = keras.tree.lists_to_tuples(keras.utils.pack_x_y_sample_weight(x, y, sample_weight))
        return cls(_map(as_tensor, packed), len(keras.tree.flatten(x)[0]), batch_size)

    @property
    def batches(self) -> int:
        return -(-self.count // self.batch_size)

    @property
    def specs(self) -> Any:
        """The tensors' types and shapes, for any number of samples."""
        return _map(
            lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype), self.tensors
        )


class BatchesInOrder(keras.utils.PyDataset):  # type: ignore[misc]
    """The rows of arrays in batches, in the order of the epoch under way: what any backend trains on.

    Args:
        arrays: x, y and sample weights, of which the last two may be None.
        batch_size: rows of a batch; the last one holds the rest.
        order: see ``Order``.
    """

    def __init__(self, arrays: tuple[Arrays, Arrays, Arrays], batch_size: int, order: Order):
        super().__init__()
        given = [one for one in _for_every_output(arrays) if one is not None]
        self._arrays = keras.tree.lists_to_tuples(_map(_in_floatx, tuple(given)))
        self._batch_size = batch_size
        self._order = order
        self._rows = order(0)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, number: int) -> Any:
        start = number * self._batch_size
        rows = self._rows[start : start + self._batch_size]
        return _map(lambda array: array[rows], self._arrays)

    def follower(self) -> Any:
        """Return the callback that gives each epoch its order."""

        def begin(epoch: int, logs: Any) -> None:
            self._rows = self._order(epoch)

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def _for_every_output(arrays: tuple[Arrays, Arrays, Arrays]) -> tuple[Arrays, Arrays, Arrays]:
    """Return x, y and sample weights; weights that are one array count for every output."""
    x, y, sample_weight = arrays
    if isinstance(sample_weight, np.ndarray):
        return x, y, keras.tree.map_structure(lambda _: sample_weight, y)
    return arrays


def _fit_by_graph(
    model: Model,
    rows: _Rows,
    order: Order,
    epochs: int,
    initial_epoch: int,
    validation: _Rows | None,
    callbacks: Sequence[Any],
) -> Any:
    """Do what ``keras.src.backend.tensorflow.trainer.TensorFlowTrainer.fit`` does, in its order."""
    hooks = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=False,
        model=model,
        verbose=0,
        epochs=epochs,
        steps=rows.batches,
    )
    model.stop_training = False
    model.make_train_function()
    hooks.on_train_begin()
    logs: dict[str, Any] | None = None
    for epoch in range(keras_internals.resumed_epoch(model) or initial_epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        step = model.train_function
        # `fit` asks whether to stop after a batch: a model already told to still does one.
        steps = 1 if model.stop_training else rows.batches
        logs = dict(_pass(model, step, rows, order(epoch), steps, "train_step"))
        if validation is not None:
            measured = _evaluate(model, validation, hooks)
            logs.update({f"val_{name}": value for name, value in measured.items()})
        hooks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if isinstance(model.optimizer, keras.optimizers.Optimizer) and epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    hooks.on_train_end(logs)
    return model.history


def _evaluate(model: Model, rows: _Rows, hooks: Any) -> dict[str, Any]:
    """Do what ``TensorFlowTrainer.evaluate`` does inside ``fit``, in its order."""
    model.make_test_function()
    model.stop_evaluating = False
    hooks.on_test_begin()
    model.reset_metrics()
    natural = np.arange(rows.count)
    step = model.test_function
    steps = 1 if model.stop_evaluating else rows.batches
    logs = keras_internals.python_logs(_pass(model, step, rows, natural, steps, "test_step"))
    hooks.on_test_end(logs)
    return dict(logs)


def _pass(model: Model, step: Any, rows: _Rows, order: np.ndarray, steps: int, what: str) -> Any:
    """Run a step over the first batches in this order; return the metrics, or its own logs."""
    kept = _graphs(step)
    key = repr((rows.batch_size, _static_length(rows.count, rows.batch_size), rows.specs))
    if key not in kept:
        _create_variables(model, rows)
        plain = getattr(model, what) if _is_plain(model) else None
        kept[key] = _EpochGraph.of(step, plain, rows)
    last = kept[key].run(order, steps, rows.tensors)
    return keras_internals.epoch_logs(model, last)


def _graphs(step: Any) -> dict[str, _EpochGraph]:
    # The graphs are kept on Keras's own step function, and so live exactly as long: until
    # the model is compiled anew or dies. A later call for the same shapes traces nothing.
    kept: dict[str, _EpochGraph] = vars(step).setdefault("modeltune_epochs", {})
    return kept


def graphs(model: Model) -> list[Any]:
    """Return the concrete functions that have trained or evaluated this model."""
    steps = (model.train_function, model.test_function)
    kept = [getattr(step, "modeltune_epochs", {}) for step in steps]
    return [graph.function for graphs in kept for graph in graphs.values()]


def _is_plain(model: Model) -> bool:
    """Tell whether a model's steps are Keras's own, and not compiled by XLA one at a time."""
    is_keras_s = type(model).__module__.startswith("keras.")
    replaced = any(name in vars(model) for name in keras_internals.OWN_STEPS)
    return is_keras_s and not model.jit_compile and not replaced


def _create_variables(model: Model, rows: _Rows) -> None:
    """Create optimizer and metric variables now: a step that creates variables is traced twice.

    Only for models whose class is Keras's own; another's ``train_step`` need not call the
    model, its loss or its metrics in the way that a symbolic build (JAX's path) assumes.
    """
    if not (model.built and type(model).__module__.startswith("keras.")):
        return
    batch = _map(
        lambda spec: keras.KerasTensor((None, *spec.shape[1:]), spec.dtype.name), rows.specs
    )
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    loss, measured = keras_internals.compiled_loss_and_metrics(model)
    one_output = type(model) is keras.Sequential or isinstance(model.output, keras.KerasTensor)
    if one_output and isinstance(y, keras.KerasTensor):
        # What Keras does there for one output, without tracing model, metrics and loss first.
        output = model.outputs[0]
        if loss is not None and not loss.built:
            loss.build(y, output)
        if measured is not None and not measured.built:
            measured.build(y, output)
            # Others may create their variables when they see their first labels.
            measured.built = all(isinstance(m, keras.metrics.Mean) for m in measured.metrics)
    keras_internals.build_state(model, batch)


@dataclass(frozen=True, eq=False)
class _EpochGraph:
    """An epoch as one function of the data and their order; it holds no data itself."""

    function: Any
    logs: Any

    @classmethod
    def of(cls, step: Any, plain: Any, rows: _Rows) -> _EpochGraph:
        """Trace an epoch of Keras's step function, or of the model's own plain step, which is faster."""
        batch_size = rows.batch_size
        length = _static_length(rows.count, batch_size)
        batch = _map(lambda spec: tf.TensorSpec([length, *spec.shape[1:]], spec.dtype), rows.specs)
        # Keras's step function takes an iterator of batches; what it traces here it keeps, with
        # jit_compile, replica context and autograph as in fit. Either way the step stays a
        # function of its own, and its logs are used: without one of the two TensorFlow's
        # optimizer changes last bits, seen with CosineDecay.
        taken = (lambda batch: step(iter([batch]))) if plain is None else plain
        one_step = tf.function(
            tf.autograph.experimental.do_not_convert(taken), autograph=False
        ).get_concrete_function(batch)
        _unregister_gradients(one_step)
        shapes = [output.shape for output in one_step.outputs]

        def epoch(order: Any, steps: Any, tensors: Any) -> Any:
            def take(i: Any, _: Any) -> Any:
                batch = _batch(tensors, order, i, batch_size, length)
                return i + 1, _tensors(one_step(batch))

            before = [
                tf.zeros([size or 0 for size in shape] if shape.rank else [], output.dtype)
                for output, shape in zip(one_step.outputs, shapes, strict=True)
            ]
            _, last = tf.while_loop(
                lambda i, _: i < steps,
                take,
                (tf.constant(0, tf.int64), before),
                shape_invariants=(tf.TensorShape([]), shapes),
            )
            return last

        function = tf.function(epoch, autograph=False).get_concrete_function(
            tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64), rows.specs
        )
        return cls(function, one_step.structured_outputs)

    def run(self, order: np.ndarray, steps: int, tensors: Any) -> Any:
        """Run the steps and return what the last one logged."""
        order, steps = tf.constant(order, tf.int64), tf.constant(steps, tf.int64)
        last = iter(self.function(order, steps, tensors))
        leaves = tf.nest.flatten(self.logs, expand_composites=True)
        filled = [None if leaf is None else next(last) for leaf in leaves]
        return tf.nest.pack_sequence_as(self.logs, filled, expand_composites=True)


def _unregister_gradients(traced: Any) -> None:
    """Remove the custom gradients of a traced step from TensorFlow's registry: it needs them no more.

    TensorFlow registers them until the process ends. Each holds a graph, which holds the
    variables: 50 MB per trial for 4 million parameters trained on a cross-entropy.
    """
    if tensorflow_internals.TENSORFLOW.why_not(Feature.GRADIENTS):
        return
    for operation in traced.graph.get_operations():
        # An IdentityN of others, such as tf.identity_n, has no gradient of its own.
        if operation.type == "IdentityN" and "_gradient_op_type" in operation.node_def.attr:
            name = operation.get_attr("_gradient_op_type").decode()
            if name.startswith("CustomGradient-"):
                tensorflow_internals.forget_gradient(name)


def _batch(tensors: Any, order: Any, i: Any, batch_size: int, length: int | None) -> Any:
    chosen = order[i * batch_size : (i + 1) * batch_size]
    chosen = tf.ensure_shape(chosen, [length])
    return _map(lambda tensor: tf.gather(tensor, chosen, axis=0), tensors)


def _static_length(count: int, batch_size: int) -> int | None:
    """Return the batch dimension Keras traces with: None, for both lengths, with a remainder."""
    return None if count % batch_size else batch_size


def _of_every_class(class_weight: Mapping[int, float], y: Arrays) -> dict[int, float]:
    """Return the weight of every class in y: for a dataset, Keras wants them all."""
    last = max(class_weight)
    for leaf in keras.tree.flatten(y):
        last = max(last, int(leaf.max()), leaf.shape[-1] - 1 if leaf.ndim > 1 else 0)
    return {label: class_weight.get(label, 1.0) for label in range(last + 1)}


def _in_order(rows: _Rows, order: Order) -> tuple[Any, Any]:
    """Return the rows as a dataset of batches, and the callback that gives it each epoch's order."""
    current = tf.Variable(np.arange(rows.count), dtype=tf.int64, trainable=False)
    length = _static_length(rows.count, rows.batch_size)
    take = tf.autograph.experimental.do_not_convert(  # it has nothing to convert, and tries long
        lambda i: _batch(rows.tensors, current, i, rows.batch_size, length)
    )
    dataset = tf.data.Dataset.range(rows.batches).map(take, num_parallel_calls=tf.data.AUTOTUNE)
    follow = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: current.assign(order(epoch))
    )
    return dataset.prefetch(tf.data.AUTOTUNE), follow


def _why_no_graph() -> str | None:
    """Return why no model of this process is trained in a graph; None where Keras lets us."""
    if not is_tensorflow():
        return f"the backend is {keras.backend.backend()}"
    return keras_internals.KERAS.why_not(Feature.EPOCH_GRAPH)


def why_only_arrays(model: Model, parts: Sequence[Arrays]) -> str | None:
    """Return why ``model.fit`` must get the arrays themselves and batch them; None if it need not."""
    if not model.compiled:
        return "the model is not compiled"
    if distributed := _distribution(model):
        return f"a {type(distributed).__name__} distributes it"
    if keras.config.max_epochs() or keras.config.max_steps_per_epoch():
        return "keras.config limits epochs or steps"
    if overrides(model, "fit"):
        return f"{type(model).__name__} overrides fit"
    for leaf in keras.tree.flatten(parts):
        if leaf is None:
            continue
        if not isinstance(leaf, np.ndarray):
            return f"the data holds a {type(leaf).__name__}"
        if leaf.dtype.kind not in "biufc":
            return f"the data holds values of dtype {leaf.dtype}"
        if leaf.size == 0:
            return f"the data holds an empty array of shape {leaf.shape}"
    return None


def _why_only_steps(model: Model, callbacks: Sequence[Any], parts: Sequence[Arrays]) -> str | None:
    """Return why ``model.fit`` must run every step by itself; None if whole epochs will do."""
    for method in ("evaluate", "make_train_function", "make_test_function"):
        if overrides(model, method):
            return f"{type(model).__name__} overrides {method}"
    if model.run_eagerly or tf.config.functions_run_eagerly():
        return "the model runs eagerly"
    if model.steps_per_execution != 1:
        return f"steps_per_execution is {model.steps_per_execution}"
    for callback in keras.tree.flatten(list(callbacks)):
        for hook in BATCH_HOOKS:
            # LambdaCallback sets its own on the instance.
            if not keras_internals.does_nothing(getattr(callback, hook)):
                return f"{type(callback).__name__} overrides {hook}"
    size = sum(leaf.nbytes for leaf in keras.tree.flatten(parts) if leaf is not None)
    if size > MEMORY_SHARE * _available_memory():
        return f"the data takes {size / 2**20:.0f} MiB, more than a quarter of available memory"
    return None


def _distribution(model: Model) -> Any:
    """Return what spreads a model over devices; None where nothing does."""
    if not is_tensorflow():
        return keras.distribution.distribution()
    is_default = model.distribute_strategy is tf.distribute.get_strategy()
    is_spread = tf.distribute.has_strategy() or not is_default
    return model.distribute_strategy if is_spread else None


def overrides(model: Model, method: str) -> bool:
    """Tell whether a model has a method of ``keras.Model`` of its own."""
    return getattr(type(model), method) is not getattr(keras.Model, method)


def _available_memory() -> int:
    """Return the bytes a new allocation may take without swapping; all memory if unknown."""
    try:
        with open("/proc/meminfo") as lines:
            sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def as_tensor(array: np.ndarray) -> Any:
    """Return an array as a tensor, floats as floatx, as Keras's array adapter does."""
    return tf.convert_to_tensor(_in_floatx(array))


def _in_floatx(array: np.ndarray) -> np.ndarray:
    """Return an array with floats in Keras's default type; one of it, or of others, is not copied."""
    return array.astype(keras.config.floatx(), copy=False) if array.dtype.kind == "f" else array


def _map(function: Callable[[Any], Any], structure: Any) -> Any:
    return keras.tree.map_structure(function, structure, none_is_leaf=False)


def _tensors(structure: Any) -> list[Any]:
    leaves = tf.nest.flatten(structure, expand_composites=True)
    return [leaf for leaf in leaves if leaf is not None]
