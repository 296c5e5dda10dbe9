"""Cut a model behind its frozen leading layers and run those once: the head trains on their output."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import uuid
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from modeltune.engine.data import Arrays, Part, leaves, map_arrays
from modeltune.ground import wait_for_lock
from modeltune.records import Array

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


REFERENCES = ("keras_history", "input_layers", "output_layers")
"""The keys under which a configuration names tensors: layer, node and number of the output."""

KEPT_BYTES = 2 * 2**30
"""How much a folder of features may hold beside those of one trial; new weights of a base add to it."""

_hashes: dict[int, tuple[weakref.ref[Array], str]] = {}
"""The sha256 of each living array of data by its id."""

_verdicts: dict[tuple[object, ...], bool] = {}
"""Whether a cut predicted the same numbers, by the files of its features and its head's structure."""


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


@dataclass(frozen=True, eq=False)
class Prefix:
    """A frozen prefix as it is run, in batches of one size; what has no ``key`` is not kept."""

    run: Callable[[Arrays], list[Array]]
    outputs: int
    batch_size: int
    key: str | None


def cut(
    model: Model, train: Part, validation: Part, batch_size: int, folder: Path | None
) -> Cut | Whole:
    """Return the head of a model and its features, or why a cut could change a number.

    What the head trains, the full model has: they share variables and the optimizer.
    """
    parts = split(model)
    if isinstance(parts, Whole):
        return parts
    key = None if folder is None else _prefix_key(parts.prefix, batch_size)
    prefix = Prefix(_in_graph(parts.prefix), len(parts.prefix.outputs), batch_size, key)
    ready: list[Part] = []
    for part in (train, validation):
        found = features(prefix, part, folder)
        if isinstance(found, Whole):
            return found
        ready.append(found)
    if not _predicts_the_same(model, parts.head, train, ready[0], batch_size):
        return Whole("cut in two it predicts other numbers")
    if folder is not None:
        _prune(folder, {file[1:] for part in ready for file in _files(part.x) or ()})
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


def features(prefix: Prefix, part: Part, folder: Path | None) -> Part | Whole:
    """Return the part with the prefix's outputs as its x, in memory or mapped from ``folder``.

    Files are named by a hash of all that goes into them, appear whole or not at all, and
    are made again when they cannot be read. Of processes that need the same ones at the
    same time, one makes them and the others wait for it.
    """
    if folder is None or prefix.key is None:
        batches = _batches(prefix, part)
        if isinstance(batches, Whole):
            return batches
        return replace(part, x=_unpacked(_joined(batches)))
    key = _key(prefix.key, part)
    paths = [folder / f"{key}-{number}.npy" for number in range(prefix.outputs)]
    if stored := _all_mapped(paths, part.size):
        return replace(part, x=_unpacked(stored))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f"{key}.lock"):
            if stored := _all_mapped(paths, part.size):
                return replace(part, x=_unpacked(stored))
            batches = _batches(prefix, part)
            if isinstance(batches, Whole):
                return batches
            _write(paths, batches, part.size)
    except OSError as error:
        return Whole(f"its features cannot be written: {error}")
    if not (written := _all_mapped(paths, part.size)):
        return Whole(f"its features in {folder} cannot be read back")
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
    if model.run_eagerly or tf.config.functions_run_eagerly():
        return Whole("it runs eagerly")
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


def _in_graph(model: Model) -> Callable[[Arrays], list[Array]]:
    """Return the model's inference as one graph for any number of samples, traced when first run."""

    def tensor(array: Array) -> Any:
        # As Keras's array adapter does: https://github.com/keras-team/keras, array_slicing.py
        return tf.convert_to_tensor(
            array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
        )

    graph = tf.function(
        lambda batch: keras.tree.flatten(model(batch, training=False)), autograph=False
    )

    def run(batch: Arrays) -> list[Array]:
        tensors = map_arrays(tensor, batch)
        specs = map_arrays(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), tensors)
        return [output.numpy() for output in graph.get_concrete_function(specs)(tensors)]

    return run


def _windows(size: int, batch_size: int) -> Iterator[Array]:
    for start in range(0, size, batch_size):
        yield np.arange(start, min(start + batch_size, size))


def _batches(prefix: Prefix, part: Part) -> Iterator[list[Array]] | Whole:
    """Return the features in batches, or why those of one pass may not stand for shuffled ones."""
    run, batch_size = prefix.run, prefix.batch_size
    remainder = part.size % batch_size
    rows = np.arange(min(part.size, batch_size + remainder))
    first, *rest = [run(part.take(rows[w]).x) for w in _windows(len(rows), batch_size)]
    straight = _joined([first, *rest])
    if any(array.dtype.kind not in "biuf" or len(array) != len(rows) for array in straight):
        return Whole("its frozen layers do not give one row of numbers per sample")
    size = sum(array.nbytes for array in straight) // len(rows) * part.size
    given = sum(array.nbytes for _, array in leaves(part.x))
    if size > max(GROWTH * given, LARGE):
        return Whole(
            f"its features would take {size / 2**30:.1f} GiB, the data {given / 2**30:.1f} GiB"
        )
    back = rows[::-1]
    shuffled = _joined(run(part.take(back[w]).x) for w in _windows(len(rows), batch_size))
    if not _are_equal(straight, [array[::-1] for array in shuffled]):
        return Whole("the numbers of its frozen layers depend on a sample's place in its batch")
    others = list(_windows(part.size, batch_size))[1:]
    return chain([first], (run(part.take(rows).x) for rows in others))


def _joined(batches: Iterable[list[Array]]) -> list[Array]:
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def _are_equal(one: list[Array], other: list[Array]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def _unpacked(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def _predicts_the_same(model: Model, head: Model, part: Part, ready: Part, batch_size: int) -> bool:
    """Tell whether the head makes of a batch's features what the model makes of its x.

    The answer is kept while the features are in the same files, for heads that differ in
    sizes only: what TensorFlow rewrites in a graph, and might across a cut, follows from
    the kinds of its operations.
    """
    files, structure = _files(ready.x), _structure(head)
    known = None if files is None or structure is None else (*files, structure)
    if known is not None and known in _verdicts:
        return _verdicts[known]
    rows = np.arange(min(batch_size, part.size))
    in_one, in_two = _in_graph(model)(part.take(rows).x), _in_graph(head)(ready.take(rows).x)
    verdict = _are_equal(in_one, in_two)
    if known is not None:
        _verdicts[known] = verdict
    return verdict


def _files(x: Arrays) -> list[tuple[str, int, int]] | None:
    """Return what tells the files these arrays are mapped from, or None when one is in memory."""
    files = []
    for _, array in leaves(x):
        if not isinstance(array, np.memmap) or array.filename is None:
            return None
        try:
            status = os.stat(array.filename)
        except OSError:
            return None
        files.append((str(array.filename), status.st_dev, status.st_ino))
    return files


def _structure(head: Model) -> str | None:
    """Return the classes, settings and connections of a graph without its sizes.

    None when it runs code of the user's, which may do other things under the same name.
    """
    tensors: dict[int, str] = {}

    def kind(argument: Any) -> Any:
        if id(argument) in tensors:
            return tensors[id(argument)]
        is_plain = argument is None or isinstance(argument, bool | str)
        return argument if is_plain else type(argument).__qualname__

    names: dict[str, str] = {}
    described: list[Any] = []
    for node in _nodes(head):
        is_layer = isinstance(node.operation, keras.layers.Layer)
        layers = node.operation._flatten_layers() if is_layer else [node.operation]
        if not all(_is_of_keras(layer) and not _calls_foreign(layer) for layer in layers):
            return None
        try:
            config = node.operation.get_config()
        except (TypeError, ValueError, NotImplementedError):
            return None
        layer = {"class_name": str(type(node.operation)), "config": config}
        given = keras.tree.map_structure(kind, (node.arguments.args, node.arguments.kwargs))
        described.append([_without_sizes(_without_names(layer, names)), given])
        for tensor in node.outputs:
            tensors[id(tensor)] = f"tensor {len(tensors)}"
    ends = [[tensors[id(tensor)] for tensor in end] for end in (head.inputs, head.outputs)]
    try:
        return json.dumps([described, ends], sort_keys=True)
    except (TypeError, ValueError):
        return None


def _without_sizes(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return [_without_sizes(item) for item in config]
    if isinstance(config, Mapping):
        return {k: v if k in REFERENCES else _without_sizes(v) for k, v in config.items()}
    # What tells an axis, no stride or a 1 x 1 kernel stays: some are rewritten otherwise.
    return "size" if isinstance(config, int | float) and config not in (-1, 0, 1) else config


def _key(prefix_key: str, part: Part) -> str:
    """Return the hash of all that decides the features."""
    digest = hashlib.sha256(prefix_key.encode())
    # A part's fingerprint outlives take(): its rows are told apart by their own bytes.
    for name, array in leaves(part.x):
        digest.update(f";{name}:{array.dtype}:{array.shape}:{_hash(array)}".encode())
    return digest.hexdigest()


def _hash(array: Array) -> str:
    """Return the sha256 of an array's bytes, computed once: data do not change while a process runs."""
    number = id(array)
    known = _hashes.get(number)
    if known is not None and known[0]() is array:
        return known[1]

    def forget(dead: weakref.ref[Array]) -> None:
        # Another array may have got the id, and its own entry, before this one is told of.
        if number in _hashes and _hashes[number][0] is dead:
            del _hashes[number]

    found = hashlib.sha256(_bytes(array)).hexdigest()
    _hashes[number] = weakref.ref(array, forget), found
    return found


def _prefix_key(prefix: Model, batch_size: int) -> str | None:
    """Return the hash of a prefix and its weights, or None if it has no description."""
    try:
        architecture = json.dumps(_without_names(prefix.get_config(), {}), sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return None
    versions = f"keras {keras.version()}, tensorflow {tf.__version__}"
    policy = f"{keras.config.dtype_policy().name}, {keras.config.floatx()}"
    channels = keras.config.image_data_format()
    digest = hashlib.sha256(f"{architecture};{versions};{policy};{channels};{batch_size}".encode())
    for variable in prefix.variables:
        array = np.asarray(variable)
        digest.update(f";{variable.name}:{array.dtype}:{array.shape}:".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _without_names(config: Any, seen: dict[str, str]) -> Any:
    """Return a configuration with layers numbered as they appear: Keras counts up generated names."""
    if isinstance(config, list | tuple):
        return [_without_names(item, seen) for item in config]
    if not isinstance(config, Mapping):
        return config
    is_named = not str(config.get("class_name", "")).endswith("DTypePolicy")
    plain: dict[str, Any] = {}
    for key, value in config.items():
        if key in REFERENCES:
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


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait for whoever holds the lock of this file, and hold it; it goes with its process.

    A process takes one at a time, so none waits in a circle. Where the file system has no
    locks, nobody waits, and concurrent writers write the same bytes.
    """
    while True:
        with open(lock, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                wait_for_lock(file)
            if not _is_still(lock, file.fileno()):
                continue  # its holder has removed it, and another may lock a new one
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether an open file is the one that now has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _all_mapped(paths: list[Path], size: int) -> list[Array]:
    """Return the arrays in the files, none if one is missing or damaged."""
    found = [array for path in paths if (array := _mapped(path, size)) is not None]
    return found if len(found) == len(paths) else []


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


def _prune(folder: Path, needed: Collection[tuple[int, int]] = ()) -> None:
    """Remove the features unused for longest, until at most KEPT_BYTES are kept.

    Those needed, by device and inode, stay whatever they take: the next trial needs them
    too. Whoever has another one mapped keeps it until it is done with it.
    """
    found = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(OSError):
            found.append((path.stat(), path))
    kept = 0
    for status, path in sorted(found, key=lambda one: one[0].st_mtime, reverse=True):
        kept += status.st_size
        if kept > KEPT_BYTES and (status.st_dev, status.st_ino) not in needed:
            with contextlib.suppress(OSError):  # gone already, or another user's
                path.unlink()


def _write(paths: list[Path], batches: Iterator[list[Array]], size: int) -> None:
    """Write one array per file, batch by batch, each under its name only when it is whole."""
    for path in paths:
        for left in path.parent.glob(f"{path.name}.*.tmp"):  # by a process that was killed
            left.unlink(missing_ok=True)
    drafts = [path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp") for path in paths]
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
        for draft, path in zip(drafts, paths, strict=True):
            draft.rename(path)
    finally:
        for file, draft in zip(files, drafts, strict=True):
            file.close()
            draft.unlink(missing_ok=True)
