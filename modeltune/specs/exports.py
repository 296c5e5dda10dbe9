"""Declare to which files the tuned model is converted, as it is shipped: ``mt.LiteRT()``, ``mt.Onnx()``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from modeltune.ground import Problem, as_typed, is_integer, typed

QUANTIZATIONS = ("int8", "float16", "dynamic")
"""How weights, or weights and activations, may be kept in a LiteRT file in place of float32."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Of an export: it is part of a file's name, and some file systems take "A" and "a" for one."""


@dataclass(frozen=True, repr=False)
class LiteRT:
    """A ``.tflite`` file, converted by ``model.export(format="litert")`` and run by LiteRT's interpreter.

    Its operations are LiteRT's own: those of TensorFlow besides need a library that interpreters for Python
    do not have.

    Args:
        quantize: None keeps float32. "int8" keeps weights and activations as 8-bit integers, whose ranges
            are measured on ``samples`` rows of train; what has no such form stays float32, as inputs and
            outputs do. "dynamic" keeps weights alone as 8-bit integers, "float16" as half precision. See
            https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization.
        samples: how many rows of train the ranges are measured on, of a stream the first ones.
    """

    quantize: str | None = None
    samples: int = 128

    FORMAT: ClassVar[str] = "litert"
    PACKAGES: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    SUFFIX: ClassVar[str] = ".tflite"

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if self.quantize is not None and self.quantize not in QUANTIZATIONS:
            listed = ", ".join(map(typed, QUANTIZATIONS))
            yield "quantize", f"{typed(self.quantize)}: write one of {listed}, or None for float32"
        if not is_integer(self.samples) or self.samples < 1:
            yield "samples", f"{typed(self.samples)}: write 1 or more"

    @property
    def needs_train(self) -> bool:
        """Whether something is measured on train to convert the model."""
        return self.quantize == "int8"

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False)
class Onnx:
    """An ``.onnx`` file, converted by ``model.export(format="onnx")`` and run by onnxruntime on the CPU.

    ``opset`` is the version of ONNX's operations, None that of the converter.
    """

    opset: int | None = None

    FORMAT: ClassVar[str] = "onnx"
    PACKAGES: ClassVar[tuple[str, ...]] = ("tf2onnx", "onnx", "onnxruntime")
    SUFFIX: ClassVar[str] = ".onnx"
    needs_train: ClassVar[bool] = False

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if self.opset is not None and (not is_integer(self.opset) or self.opset < 1):
            yield "opset", f"{typed(self.opset)}: write the version of ONNX's operations, or None"

    def __repr__(self) -> str:
        return as_typed(self)


Export: TypeAlias = LiteRT | Onnx
"""A file that the tuned model is converted to."""


def export_problems(exports: object) -> Iterator[Problem]:
    """Yield what is wrong with the exports of a spec, by field."""
    if not isinstance(exports, Mapping):
        yield "exports", f'{typed(exports)}: write a dict by name, {{"lite": mt.LiteRT()}}'
        return
    for name, export in exports.items():
        field = f"exports[{typed(name)}]"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield (
                field,
                "it is part of a file's name; write up to 32 of a-z, 0-9 and _, a letter first",
            )
        if not isinstance(export, LiteRT | Onnx):
            yield field, f"{typed(export)}: write mt.LiteRT(...) or mt.Onnx(...)"
            continue
        for part, text in export.problems():
            yield f"{field}.{part}", text
