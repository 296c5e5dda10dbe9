"""Cut a model behind its frozen leading layers and run those once: the head trains on their output."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from modeltune.loading import Array, Arrays, Part, leaves, map_arrays

Model: TypeAlias = Any
"""A ``keras.Model``."""

GROWTH, LARGE = 4, 2**30
"""Features this many times larger than their input, and larger than so many bytes, are not made."""

NOT_CONSTANT = (
    keras.layers.Lambda,
    keras.layers.Masking,  # a mask travels beside the numbers and would be lost on disk
    keras.layers.SpectralNormalization,  # updates its weights in training, frozen or not
    keras.layers.TFSMLayer,
    keras.layers.JaxLayer,
    keras.layers.TorchModuleWrapper,
)
"""Layers of Keras that run foreign code, or do more than return a function of their inputs."""


KEPT_BYTES = 2 * 2**30
"""How much a folder of features may hold; a base with new weights in every trial adds to it."""


@dataclass(frozen=True, eq=False)
class Split:
    """A frozen prefix and the compiled head on its outputs; they share the full model's variables."""

    prefix: Model
    head: Model


@dataclass(frozen=True, eq=False)
class Cut:
    """What to train in place of the full model: its head, on features of both parts."""

    head: Model
    train: Part
    validation: Part


@dataclass(frozen=True)
class Whole:
    """Why a model is trained whole; no reason when none of its layers is frozen."""

    reason: str | None = None


def cut(
    model: Model, train: Part, validation: Part, batch_size: int, folder: Path | None
) -> Cut | Whole:
    """Return the head of a model and its features, or why a cut could change a number.

    What the head trains, the full model has: they share variables and the optimizer.
    """
    parts = split(model)
    if isinstance(parts, Whole):
        return parts
    ready: list[Part] = []
    for part in (train, validation):
        found = features(parts.prefix, part, folder, batch_size)
        if isinstance(found, Whole):
            return found
        ready.append(found)
    first = np.arange(min(batch_size, train.size))
    x, features_of_x = train.take(first).x, ready[0].take(first).x
    in_one, in_two = _in_graph(model, x)(x), _in_graph(parts.head, features_of_x)(features_of_x)
    if not _are_equal(in_one, in_two):
        return Whole("cut in two it predicts other numbers")
    return Cut(parts.head, *ready)


def split(model: Model) -> Split | Whole:
    """Cut a compiled functional or sequential model where its frozen, deterministic layers end."""
    if not freezes(model):
        return Whole()
    graph = _graph(model)
    if isinstance(graph, Whole):
        return graph
    constant = {id(tensor) for tensor in graph.inputs}
    obstacles: list[str] = []
    weighs = False
    for node in _nodes(graph):
        if not all(id(tensor) in constant for tensor in node.input_tensors):
            continue
        if obstacle := _why_not_constant(node.operation):
            obstacles.append(obstacle)
            continue
        constant |= {id(tensor) for tensor in node.outputs}
        weighs = weighs or _weighs(node.operation)
    if not weighs:
        return Whole(obstacles[0] if obstacles else "no frozen layer leads")
    if any(id(tensor) in constant for tensor in graph.outputs):
        return Whole("an output hangs on frozen layers only")
    rest = [n for n in _nodes(graph) if not all(id(tensor) in constant for tensor in n.outputs)]
    frontier = list(
        {id(t): t for node in rest for t in node.input_tensors if id(t) in constant}.values()
    )
    if shared := {t._keras_history.operation.name for t in frontier} & {
        node.operation.name for node in rest
    }:
        return Whole(f"{min(shared)} is used on both sides of a cut")
    if any(t.sparse or not _survives(t.dtype) for t in frontier):
        return Whole(f"features of dtype {frontier[0].dtype} cannot be handed on")
    prefix = keras.Model(graph._inputs_struct, frontier)
    head = _head(model, graph, frontier)
    if prefix.losses:
        return Whole("a frozen layer adds a loss")
    if _ids(head.trainable_variables) != _ids(model.trainable_variables):
        return Whole("its head would train the variables in another order")
    return Split(prefix, head)


def features(prefix: Model, part: Part, folder: Path | None, batch_size: int) -> Part | Whole:
    """Return the part with the prefix's outputs as its x, in memory or mapped from ``folder``.

    Files are named by a hash of all that goes into them, appear whole or not at all, and
    are made again when they cannot be read. Concurrent writers write the same bytes.
    """
    key = None if folder is None else _key(prefix, part, batch_size)
    names = [f"{key}-{number}.npy" for number in range(len(prefix.outputs))]
    if folder is not None and key is not None:
        stored = [_mapped(folder / name, part.size) for name in names]
        if all(array is not None for array in stored):
            return replace(part, x=_unpacked(stored))
    run = _in_graph(prefix, part.x)
    if why := _why_not_once(run, part, batch_size):
        return Whole(why)
    batches = (run(part.take(rows).x) for rows in _windows(part.size, batch_size))
    if folder is None or key is None:
        return replace(part, x=_unpacked([np.concatenate(c) for c in zip(*batches, strict=True)]))
    try:
        _write(folder, names, batches, part.size)
    except OSError as error:
        return Whole(f"its features cannot be written: {error}")
    written = [_mapped(folder / name, part.size) for name in names]
    if any(array is None for array in written):
        return Whole(f"its features in {folder} cannot be read back")
    _prune(folder)
    return replace(part, x=_unpacked(written))


# the cut


def _graph(model: Model) -> Model | Whole:
    """Return the functional graph of a model of Keras's own class, or why there is none to cut."""
    functional = model._functional if type(model) is keras.Sequential else model
    name = type(model).__name__
    if type(functional) is not Functional:
        return Whole(f"{name} is no functional or sequential model")
    if changed := [n for n in ("train_step", "test_step", "call", "fit") if n in vars(model)]:
        return Whole(f"its {changed[0]} was replaced")
    if model.jit_compile:
        return Whole("it is compiled by XLA")
    return functional


def _nodes(graph: Model) -> list[Any]:
    """Return the graph's nodes from the inputs to the outputs."""
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _head(model: Model, graph: Model, frontier: list[Any]) -> Model:
    operations = [node.operation for node in _nodes(graph)]
    nodes = [(op, len(op._inbound_nodes), len(op._outbound_nodes)) for op in operations]
    histories = [(tensor, tensor._keras_history) for tensor in graph.inputs]
    head = keras.Model(_unpacked(frontier), graph._outputs_struct)
    # Keras tells the full model's layers and inputs of the nodes it made anew for the head,
    # which does not look there again, while `layer.output` of a layer with two is an error.
    for operation, inbound, outbound in nodes:
        del operation._inbound_nodes[inbound:], operation._outbound_nodes[outbound:]
    for tensor, history in histories:
        tensor._keras_history = history
    # The optimizer has been wrapped for mixed precision when the full model was compiled.
    compiled = {**model._compile_config.config, "optimizer": model.optimizer}
    head.compile(**compiled, auto_scale_loss=False)
    return head


def freezes(model: Model) -> bool:
    """Tell whether a model has frozen weights beside others to train."""
    return bool(model.trainable_variables) and any(
        _own_variables(layer) and not layer.trainable for layer in model._flatten_layers()
    )


def _weighs(operation: Any) -> bool:
    """Tell whether running an operation once could save anything worth a file."""
    return not isinstance(operation, keras.layers.Normalization) and bool(
        getattr(operation, "weights", ())
    )


def _why_not_constant(operation: Any) -> str | None:
    """Return why an operation may give another output for the same input later, or None."""
    if not isinstance(operation, keras.layers.Layer):
        return None if _is_of_keras(operation) else f"{operation.name} is not of Keras"
    for layer in operation._flatten_layers():
        named = layer.name if layer is operation else f"{layer.name} in {operation.name}"
        if not _is_of_keras(layer) or isinstance(layer, NOT_CONSTANT) or _calls_foreign(layer):
            return f"{named} ({type(layer).__name__}) is not known to be constant"
        if getattr(layer, "mask_zero", False):
            return f"{named} makes a mask"
        # Also below base(x, training=False): a functional model overrides that when it trains.
        if layer._seed_generators:
            return f"{named} draws random numbers"
        if getattr(layer, "stateful", False):
            return f"{named} keeps a state between batches"
        if layer.activity_regularizer is not None:
            return f"{named} adds a loss"
        adapted = isinstance(layer, keras.layers.Normalization)
        if _own_variables(layer) and layer.trainable and not adapted:
            return f"{named} is trainable"
    return None


def _is_of_keras(operation: Any) -> bool:
    return type(operation).__module__.startswith("keras.")


def _calls_foreign(layer: Any) -> bool:
    """Tell a layer that was given a function of the user's: its code is in no configuration."""
    return any(
        inspect.isfunction(value) and not value.__module__.startswith("keras.")
        for value in vars(layer).values()
    )


def _own_variables(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _survives(dtype: str) -> bool:
    """Tell a dtype that NumPy files hold and Keras's array adapter does not round to floatx."""
    return dtype in ("float16", keras.config.floatx()) or dtype.startswith(("int", "uint", "bool"))


def _ids(variables: list[Any]) -> list[int]:
    return [id(variable) for variable in variables]


# the features


def _in_graph(model: Model, x: Arrays) -> Callable[[Arrays], list[Array]]:
    """Return the model's inference as one graph for any number of samples like these."""

    def tensor(array: Array) -> Any:
        # As Keras's array adapter does: https://github.com/keras-team/keras, array_slicing.py
        return tf.convert_to_tensor(
            array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
        )

    one = map_arrays(lambda array: tensor(array[:1]), x)
    specs = map_arrays(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), one)
    graph = tf.function(
        lambda batch: keras.tree.flatten(model(batch, training=False)), autograph=False
    ).get_concrete_function(specs)
    return lambda batch: [output.numpy() for output in graph(map_arrays(tensor, batch))]


def _windows(size: int, batch_size: int) -> Iterator[Array]:
    for start in range(0, size, batch_size):
        yield np.arange(start, min(start + batch_size, size))


def _why_not_once(run: Callable[[Arrays], list[Array]], part: Part, batch_size: int) -> str | None:
    """Return why features of one pass may not stand for those of shuffled batches, or None."""
    remainder = part.size % batch_size
    rows = np.arange(min(part.size, batch_size + remainder))
    straight = _joined(run(part.take(rows[w]).x) for w in _windows(len(rows), batch_size))
    if any(array.dtype.kind not in "biuf" or len(array) != len(rows) for array in straight):
        return "its frozen layers do not give one row of numbers per sample"
    size = sum(array.nbytes for array in straight) // len(rows) * part.size
    given = sum(array.nbytes for _, array in leaves(part.x))
    if size > max(GROWTH * given, LARGE):
        return f"its features would take {size / 2**30:.1f} GiB, the data {given / 2**30:.1f} GiB"
    back = rows[::-1]
    shuffled = _joined(run(part.take(back[w]).x) for w in _windows(len(rows), batch_size))
    if not _are_equal(straight, [array[::-1] for array in shuffled]):
        return "the numbers of its frozen layers depend on a sample's place in its batch"
    return None


def _joined(batches: Iterator[list[Array]]) -> list[Array]:
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def _are_equal(one: list[Array], other: list[Array]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def _unpacked(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def _key(prefix: Model, part: Part, batch_size: int) -> str | None:
    """Return the hash of all that decides the features, or None if the prefix has no description."""
    try:
        architecture = json.dumps(_without_names(prefix.get_config(), {}), sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return None
    versions = f"keras {keras.version()}, tensorflow {tf.__version__}"
    policy = f"{keras.config.dtype_policy().name}, {keras.config.floatx()}"
    channels = keras.config.image_data_format()
    digest = hashlib.sha256(f"{architecture};{versions};{policy};{channels};{batch_size}".encode())
    # A part's fingerprint outlives take(): its rows are told apart by their own bytes.
    named = [*leaves(part.x), *((v.name, np.asarray(v)) for v in prefix.variables)]
    for name, array in named:
        digest.update(f";{name}:{array.dtype}:{array.shape}:".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _without_names(config: Any, seen: dict[str, str]) -> Any:
    """Return a configuration with layers numbered as they appear: Keras counts up generated names."""
    if isinstance(config, list | tuple):
        return [_without_names(item, seen) for item in config]
    if not isinstance(config, Mapping):
        return config
    is_named = not str(config.get("class_name", "")).endswith("DTypePolicy")
    plain: dict[str, Any] = {}
    for key, value in config.items():
        if key in ("keras_history", "input_layers", "output_layers"):
            plain[key] = _numbered(value, seen)
        elif key == "config" and isinstance(value, Mapping) and is_named and "name" in value:
            inner = {k: v for k, v in value.items() if k != "name"}
            plain[key] = {"name": _number(value["name"], seen), **_without_names(inner, seen)}
        elif key == "name" and ("inbound_nodes" in config or "layers" in config):
            plain[key] = _number(value, seen)
        else:
            plain[key] = _without_names(value, seen)
    return plain


def _numbered(reference: Any, seen: dict[str, str]) -> Any:
    if isinstance(reference, list | tuple):
        return [_numbered(item, seen) for item in reference]
    return _number(reference, seen) if isinstance(reference, str) else reference


def _number(name: str, seen: dict[str, str]) -> str:
    return seen.setdefault(name, f"#{len(seen)}")


def _mapped(path: Path, size: int) -> Array | None:
    """Return the array in a file without reading it, or None if it is missing or damaged."""
    try:
        array: Array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    if len(array) != size:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return array


def _prune(folder: Path) -> None:
    """Remove the features unused for longest, until at most KEPT_BYTES are kept.

    Whoever has one of them mapped keeps it until it is done with it.
    """
    files = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(FileNotFoundError):
            files.append((path.stat().st_mtime, path.stat().st_size, path))
    kept = 0
    for _, size, path in sorted(files, reverse=True):
        kept += size
        if kept > KEPT_BYTES:
            path.unlink(missing_ok=True)


def _write(folder: Path, names: list[str], batches: Iterator[list[Array]], size: int) -> None:
    """Write one array per name, batch by batch, each under its name only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    drafts = [folder / f"{name}.{uuid.uuid4().hex}.tmp" for name in names]
    files = [open(draft, "wb") for draft in drafts]  # noqa: SIM115  closed below, all or none
    try:
        for number, batch in enumerate(batches):
            for file, array in zip(files, batch, strict=True):
                if number == 0:
                    shape = (size, *array.shape[1:])
                    descr = np.lib.format.dtype_to_descr(array.dtype)
                    header = {"descr": descr, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(array).data)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        for draft, name in zip(drafts, names, strict=True):
            draft.rename(folder / name)
    finally:
        for file, draft in zip(files, drafts, strict=True):
            file.close()
            draft.unlink(missing_ok=True)
