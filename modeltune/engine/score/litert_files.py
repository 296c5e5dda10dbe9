"""Convert a Keras model to a ``.tflite`` file, and load such a file into LiteRT's interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.backends import tf
from modeltune.engine.data import Part
from modeltune.engine.fit import Model
from modeltune.engine.score.export_runtime import ExportRuntime, input_names, inputs_by_name
from modeltune.records import Array
from modeltune.specs import LiteRT


def write_litert(model: Model, path: Path, export: LiteRT, train: Part | None) -> None:
    """Convert a model by Keras's own exporter.

    Args:
        model: has been called.
        path: ends in ``.tflite``.
        export: how its numbers are kept.
        train: where the ranges of activations are measured, as the model takes it. Without it floats
            stay as they are.
    """
    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    options: dict[str, Any] = {"target_spec": target}
    if train is not None and export.quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if export.quantize == "float16":
        target["supported_types"] = [tf.float16]
    if train is not None and export.needs_train:
        options["representative_dataset"] = _rows_for_ranges(model, train, export.samples)
    model.export(path, format="litert", verbose=False, **options)


def _rows_for_ranges(model: Model, train: Part, count: int) -> Callable[[], Iterator[Any]]:
    """Return what yields rows of train one by one, evenly spaced; of a stream the first ones."""
    if train.stream is None:
        train = train.take(np.linspace(0, train.size - 1, min(count, train.size)).astype(int))
    rows: list[Mapping[str, Array]] = []
    for x, _, _ in train.batches(count):
        named = inputs_by_name(model, x, input_names(model) or ["x"])
        cast = {name: _cast(model, name, array) for name, array in named.items()}
        size = len(next(iter(cast.values())))
        rows += [{n: array[row : row + 1] for n, array in cast.items()} for row in range(size)]
        if len(rows) >= count:
            break

    def dataset() -> Iterator[Any]:
        for row in rows[:count]:
            yield list(row.values()) if len(row) == 1 else row

    return dataset


def _cast(model: Model, name: str, array: Array) -> Array:
    dtypes = {tensor.name: tensor.dtype for tensor in getattr(model, "inputs", None) or []}
    return np.ascontiguousarray(array, dtypes.get(name, "float32"))


def load_litert(path: Path, threads: int) -> ExportRuntime:
    """Load a file into the interpreter of ``ai_edge_litert``, else into that of TensorFlow.

    Raises:
        ValueError, RuntimeError: the interpreter does not take the file.
    """
    interpreter_class, name = _interpreter()
    interpreter = interpreter_class(model_path=str(path), num_threads=threads)
    call = interpreter.get_signature_runner()
    inputs = {n: np.dtype(one["dtype"]) for n, one in call.get_input_details().items()}

    def run(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs: Mapping[str, Array] = call(**arrays)
        return outputs

    return ExportRuntime(name, inputs, list(call.get_output_details()), run)


def _interpreter() -> tuple[Any, str]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return tf.lite.Interpreter, f"LiteRT of TensorFlow {tf.__version__}"
    return Interpreter, f"ai-edge-litert {metadata.version('ai-edge-litert')}"
