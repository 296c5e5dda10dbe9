"""Make the exports of a tuned model: convert it, run each file on test by its own runtime, score and time it."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow
from modeltune.engine.data import Arrays, LoadedData, Part, RaggedArray, leaves, map_arrays
from modeltune.engine.fit import (
    Model,
    can_predict,
    fixed_batch,
    input_tensors,
    is_of_keras,
    keeps_state,
)
from modeltune.engine.quiet import quietly
from modeltune.engine.score.export_runtime import ExportRuntime, caller_of
from modeltune.engine.score.latencies import ratio_of_seconds
from modeltune.engine.score.litert_files import load_litert, write_litert
from modeltune.engine.score.onnx_files import load_onnx, write_onnx
from modeltune.engine.score.operating_points import Points, at_points
from modeltune.engine.score.scoring import (
    decided_scores,
    evaluate,
    predict,
    refit_samples,
    score_predictions,
    targets,
)
from modeltune.engine.score.task_report import report
from modeltune.engine.score.task_samples import as_they_depend, task_scores
from modeltune.ground import CodeError, SpecError, error_line, monotonic, typed
from modeltune.records import (
    Array,
    ExportResult,
    Failure,
    Json,
    failure_of,
    of_export,
    pack_samples,
)
from modeltune.specs import Export, LiteRT, Onnx, Spec

FORMAT_NAMES = {LiteRT.FORMAT: "LiteRT", Onnx.FORMAT: "ONNX"}
"""What the formats are called."""

NO_OPERATION = re.compile(
    r"'tf\.(\w+)' op is neither a custom op nor a flex op"
    r'|error: loc\(callsite\(fused\["(\w+):"'
    r"|No Op registered for (\w+)"
)
"""How LiteRT's converter and onnxruntime say which operation they do not have, or not so."""

LAYERS_TRIED = 100
"""Layers of a model that are converted one by one to find the one that has no form in a file."""


def unfit_exports(spec: Spec, model: Model, loaded: LoadedData) -> Iterator[str]:
    """Yield why a model, or its data, cannot be exported as the spec declares, before it is trained.

    Whether each layer has a form in the files shows when the tuned model is converted.
    """
    for name, export in spec.exports.items():
        field = f"exports[{typed(name)}]"
        if not is_tensorflow():
            backend = keras.backend.backend()
            yield (
                f"{field}: Keras computes with {backend}, and exports are made with TensorFlow alone; set "
                "KERAS_BACKEND=tensorflow, or leave exports out"
            )
            return
        if export.needs_train and not loaded.train.size:
            yield (
                f'{field}.quantize: "int8" needs rows of train to measure ranges on, and the data have '
                "none; give mt.Data(train=...), or write quantize=None"
            )
        if not can_predict(model):
            yield (
                f"{field}: {type(model).__name__} has no call(), so that it predicts nothing; leave exports out"
            )
        elif keeps_state(model):
            yield f"{field}: a layer keeps its state from batch to batch, which a file does not; build it with stateful=False"
        elif fixed_batch(model):
            yield (
                f"{field}: the model takes batches of {fixed_batch(model)} alone; build it with "
                "keras.Input(shape=...) in place of batch_shape"
            )
        yield from (f"{field}: {text}" for text in _unfit_inputs(loaded.test))


def _unfit_inputs(test: Part) -> Iterator[str]:
    batch = next(test.batches(1))[0] if test.stream is not None else test.x
    for path, array in leaves(batch):
        where = f"x.{path}" if path else "x"
        if isinstance(array, RaggedArray):
            yield f"test {where} holds rows of different lengths; pad them in the data function"
        elif array.dtype.kind in "OUS":
            yield (
                f"test {where} holds texts; make numbers of them in the data function, as by "
                "mt.Data(prepare=...), so that the model takes numbers"
            )


def make_export(
    spec: Spec, name: str, model: Model, loaded: LoadedData, points: Points, path: Path
) -> ExportResult:
    """Convert a tuned model, and score and time the file.

    Args:
        spec: declares the export.
        name: of the export.
        model: compiled, with its weights.
        loaded: the data, as the model takes them.
        points: from where on its outputs say yes.
        path: the file to write; one that is there is replaced.

    Returns:
        What the file scores; or why there is none, naming the layer that has no form in it.
    """
    export = spec.exports[name]
    try:
        row = _row(loaded.test)
        predicted = map_arrays(np.asarray, model.predict_on_batch(input_tensors(model, row)))
        runtime = _converted(model, export, loaded.train, spec.fit.threads, path)
        run = caller_of(runtime, model, predicted)
        with _silence():
            run(row)  # what a runtime says of its first call
        scores, samples, unmeasured = _scored(spec, model, loaded, points, run)
        ratio = ratio_of_seconds([_timer(lambda: run(row)), _timer(_called(model, row))])
    except CodeError as error:
        return ExportResult(failure=Failure(str(error)))
    except (Exception, SystemExit) as error:  # noqa: BLE001  of runtimes and the user's metrics
        return ExportResult(failure=failure_of(error))
    return ExportResult(path, runtime.name, scores, samples, ratio, unmeasured)


def scores_of_exports(
    spec: Spec, model: Model, loaded: LoadedData, points: Points, files: Mapping[str, Path]
) -> dict[str, float]:
    """Return what kept files of exports score today, as ``of_export`` names it.

    Args:
        spec, model, loaded, points: as of ``make_export``.
        files: by the name of each export its file.

    Raises:
        SpecError: a file cannot be run, or a metric raised.
    """
    scores: dict[str, float] = {}
    for name, path in files.items():
        try:
            runtime = _loaded(path, spec.fit.threads)
            row = input_tensors(model, _row(loaded.test))
            predicted = map_arrays(np.asarray, model.predict_on_batch(row))
            again = _scored(spec, model, loaded, points, caller_of(runtime, model, predicted))[0]
        except (Exception, SystemExit) as error:
            raise SpecError(
                f"{spec.id}: the export {name!r} cannot be run: {error_line(error)}"
            ) from error
        scores |= {of_export(metric, name): value for metric, value in again.items()}
    return scores


def _converted(
    model: Model, export: Export, train: Part, threads: int, path: Path
) -> ExportRuntime:
    """Convert a model and load the file.

    Raises:
        CodeError: that is not possible; names the layer where it can be told.
    """
    try:
        return _written(model, export, train, threads, path)
    except Exception as error:
        why = _first_reason(error, export)
        alone = path.with_name(f"layer-{path.name}")
        layer = _unconverted_layer(model, lambda one: _written(one, export, None, threads, alone))
        alone.unlink(missing_ok=True)
        what = "the model" if layer is None else f'layer "{layer.name}" ({type(layer).__name__})'
        raise CodeError(
            f"{what} cannot be converted to {FORMAT_NAMES[export.FORMAT]}: {why}"
        ) from error


def _written(
    model: Model, export: Export, train: Part | None, threads: int, path: Path
) -> ExportRuntime:
    path.unlink(missing_ok=True)
    with _silence():
        if isinstance(export, LiteRT):
            write_litert(model, path, export, train)
        else:
            write_onnx(model, path, export)
    return _loaded(path, threads)


def _loaded(path: Path, threads: int) -> ExportRuntime:
    """Load a file into the runtime that its name says."""
    load = load_onnx if path.suffix == Onnx.SUFFIX else load_litert
    with _silence():
        return load(path, threads)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what converters and runtimes print, and warn of, to themselves: what matters is raised."""
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_reason(error: BaseException, export: Export) -> str:
    """Return what an error of a converter or a runtime comes to, in a line: their own are long."""
    lacking = NO_OPERATION.search(str(error))
    if lacking is None:
        return error_line(error)
    operation = next(filter(None, lacking.groups()))
    return f"its operation {operation} has no form in {FORMAT_NAMES[export.FORMAT]}"


def _unconverted_layer(model: Model, convert: Callable[[Model], object]) -> Any | None:
    """Return a layer that has no form in the file, of a model inside too; None where it is not told.

    Each is converted alone: first those that are not Keras's own.
    """
    layers = _own_layers(model)
    for layer in sorted(layers, key=is_of_keras)[:LAYERS_TRIED]:
        inner = _unconverted_layer(layer, convert)
        if inner is not None:
            return inner
        try:
            inputs = keras.tree.map_structure(
                lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype),
                layer.input,
            )
            alone = keras.Model(inputs, layer(inputs))
            alone.predict_on_batch(keras.tree.map_structure(_zeros, inputs))
        except Exception:  # noqa: BLE001  called with more than its inputs, or by a call() of the user's
            continue
        try:
            convert(alone)
        except Exception:  # noqa: BLE001  which is what is looked for
            return layer
    return None


def _own_layers(model: Any) -> list[Any]:
    """Return the layers of a model that is built of them; none of any other."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return []
    return [one for one in model.layers if not isinstance(one, keras.layers.InputLayer)]


def _zeros(tensor: Any) -> Array:
    return np.zeros([length or 1 for length in tensor.shape], tensor.dtype)


def _scored(
    spec: Spec,
    model: Model,
    loaded: LoadedData,
    points: Points,
    run: Callable[[Arrays], Arrays],
) -> tuple[dict[str, float], Json, dict[str, Failure]]:
    """Return scores, packed samples and metrics without a value of what a file predicts for test."""
    size, test, asked = spec.fit.batch_size, loaded.test, spec.asked_metrics
    on_test = predict(model, test, size, spec.slices, run)
    on_test = replace(on_test, outputs=at_points(on_test.outputs, points))
    own = task_scores(on_test.outputs, asked, test.metadata)
    plain = [output.predicted for output in on_test.outputs]
    few = _few(test)
    if model.losses:
        # Penalties of activities are of the batch that was last seen, or symbols of a graph.
        model(input_tensors(model, next(test.batches(size))[0]), training=False)
    evaluated = {
        name: score_predictions(model, on_test, plain, name)
        for name in evaluate(model, few, few.size)
    }
    decided = decided_scores(model, on_test, evaluated)
    scores = {**report(on_test.outputs)[0], **own.numbers, **evaluated, **decided}
    in_train = targets(model, loaded.train, on_test)
    samples = refit_samples(model, on_test, scores, in_train, own, asked)
    if samples is not None and test.stream is not None and not samples.truth:
        samples = None  # only its targets show in which order a stream yielded its samples
    packed = (
        None if samples is None else pack_samples(as_they_depend(samples, test, on_test.groups))
    )
    undefined = {name: why for name, why in own.undefined.items() if name not in evaluated}
    return scores, packed, undefined


def _few(part: Part) -> Part:
    """Return a batch of a part."""
    if part.stream is None:
        return part.take(np.arange(min(2, part.size)))
    x, y, weight = next(part.batches(1))
    size = len(next(leaves(x))[1])
    return replace(part, size=size, x=x, y=y, sample_weight=weight, stream=None)


def _row(part: Part) -> Arrays:
    return map_arrays(lambda array: array[:1], next(part.batches(1))[0])


def _called(model: Model, row: Arrays) -> Callable[[], object]:
    tensors = map_arrays(keras.ops.convert_to_tensor, input_tensors(model, row))
    return lambda: model.predict_on_batch(tensors)


def _timer(call: Callable[[], object]) -> Callable[[], float]:
    def seconds() -> float:
        started = monotonic()
        call()
        return monotonic() - started

    return seconds
