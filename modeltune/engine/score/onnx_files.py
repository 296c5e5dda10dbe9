"""Convert a Keras model to an ``.onnx`` file, and load such a file into onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modeltune.engine.fit import Model
from modeltune.engine.score.export_runtime import ExportRuntime
from modeltune.records import Array
from modeltune.specs import Onnx

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}
"""NumPy's names of the types that inputs of ONNX have."""


def write_onnx(model: Model, path: Path, export: Onnx) -> None:
    """Convert a model that has been called by Keras's own exporter, which has tf2onnx do it.

    An operation that ONNX does not have is written all the same: onnxruntime refuses such a file.
    """
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        model.export(path, format="onnx", verbose=False, opset_version=export.opset)
    finally:
        logger.setLevel(level)


def load_onnx(path: Path, threads: int) -> ExportRuntime:
    """Load a file into onnxruntime, on the CPU.

    Raises:
        Exception: of onnxruntime's own, where it does not take the file.
        ValueError: an input is of a type that no array has.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what it would print is raised, too
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = {one.name: one.type for one in session.get_inputs()}
    if unknown := [kind for kind in types.values() if kind not in DTYPES]:
        raise ValueError(f"an input is a {unknown[0]}, which no array is")
    outputs = [one.name for one in session.get_outputs()]

    def run(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(outputs, session.run(outputs, dict(arrays)), strict=True))

    inputs = {name: np.dtype(DTYPES[kind]) for name, kind in types.items()}
    return ExportRuntime(f"onnxruntime {onnxruntime.__version__}", inputs, outputs, run)
