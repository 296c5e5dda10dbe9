"""Rehearse a spec on one batch before the search: learn the space, check shapes, labels and names."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import backend
from modeltune.engine.data import (
    PAD,
    PREPARATION,
    Arrays,
    LoadedData,
    Part,
    RaggedArray,
    first_batches,
    leaves,
    map_arrays,
    preparation_leaks,
)
from modeltune.engine.fit import (
    Candidate,
    FitPlan,
    Model,
    OtherKindBuild,
    caution,
    data_for_model,
    fit,
    fixed_batch,
    for_model,
    frozen_prefix,
    input_tensors,
    keeps_state,
    lend_model,
    logged_numbers,
    overrides_fit,
    take_cautions,
)
from modeltune.engine.internals import Feature, keras_internals
from modeltune.engine.oracles import Oracle, ReadHyperParameters, explore
from modeltune.engine.probe import behaviour_problems
from modeltune.engine.score import (
    Output,
    OutputTask,
    PartPredictions,
    all_metrics,
    broadcast_cautions,
    evaluate,
    gate_problems,
    is_loss_of_keras,
    name_cautions,
    names_without_samples,
    point_problems,
    predict,
    report_names,
    threshold_problems_of,
    unfit_exports,
)
from modeltune.ground import DataError, SpecError, error_line, first_line, shorten
from modeltune.records import Failure, RehearsalResult, failure_of
from modeltune.specs import Behaviour, Kind, PerClass, Spec, Subject

BATCHES = 2
"""Batches of each part that a fit of the author's is rehearsed with."""

SAMPLES, TRAINED = 8, 2
"""Samples that the dry run predicts, and that it trains on: two show the shapes, more take time."""


NAMED_VALUES = 3
"""Values or columns that a message names."""

OTHERS = 2
"""How many values drawn at random are rehearsed when the spec seems wrong with its default ones."""


def dry_run(spec: Spec, loaded: LoadedData, oracle: Oracle) -> RehearsalResult:
    """Build every conditional branch, twice, and put one batch through the default candidate.

    Returns:
        The space that was learnt, what is to be warned of, and what a build, or other code of
        the spec's author, raised with the values it was tried with: other values may suit it,
        so the search goes on and learns the rest of the space from its trials.

    Raises:
        SpecError: with default values and with others the model does not fit the data, or the
            objective or a gate names a metric it does not log; every problem found is listed. Or
            the build function returns a model that trains what was made outside it.
    """
    take_cautions()  # of what ended before it could be told of
    failure = _build_and_rehearse(spec, loaded, oracle)
    return RehearsalResult(oracle.space.get_config(), failure, take_cautions())


def _build_and_rehearse(spec: Spec, loaded: LoadedData, oracle: Oracle) -> Failure | None:
    first = True
    for hp in explore(spec.model, oracle):
        try:
            with lend_model(spec, hp, spec.search.seed) as model:
                if first:
                    _warn_of_leaks(spec, loaded, model)
                    _rehearse(spec, loaded, hp, model)
            # What the first build has made and kept shows in the second.
            with lend_model(spec, hp, spec.search.seed):
                pass
        except SpecError as error:
            if not first or not any(_suits(spec, loaded, hp, draw) for draw in range(OTHERS)):
                raise
            # It is not the spec that is wrong, but its default values.
            oracle.learn(hp)
            return Failure(" ".join(str(error).split()), str(error))
        except OtherKindBuild:
            if first:
                raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a build raises is its failure
            oracle.learn(hp)
            return failure_of(error)
        finally:
            for one in hp.cautions(spec.search):
                caution(one.check, one.text)
        first = False
    return None


def rehearse_given(
    spec: Spec, loaded: LoadedData, model: Model, with_behaviours: bool = True
) -> None:
    """Put a batch of test through a model that is trained already, and try its behaviours if wanted.

    Raises:
        SpecError: the model does not fit the data, or a gate names a metric it does not give; every
            problem found is listed.
    """
    size = fixed_batch(model) or (spec.fit.batch_size if keeps_state(model) else SAMPLES)
    try:
        test = _first_batch(for_model(model, loaded.test), size)
    except (SpecError, DataError) as error:
        raise SpecError(f"{spec.file}:{spec.line}: {spec.name}: {error}") from error
    try:
        predicted = predict(model, test, test.size)
        outputs = predicted.outputs
        problems = [*_label_problems(loaded, predicted)]
        known = _with_first_labels(test) if problems else test
        evaluated = list(evaluate(model, known, test.size))
        _warn(spec, predicted, evaluated)
        names = [*evaluated, *report_names(outputs, spec.asked_metrics)]
        problems += [*threshold_problems_of(spec, outputs), *gate_problems(spec, names)]
        problems += [*point_problems(spec, outputs), *unfit_exports(spec, model, loaded)]
        rows = loaded.test.size
        problems += (
            _slice_problems(spec, model, outputs, rows)
            if test.has_targets and not test.has_ragged_targets
            else _target_problems(spec, test)
        )
        if with_behaviours and loaded.test.stream is None:
            train = test if loaded.train.size else loaded.train
            problems += behaviour_problems(spec, model, test, train)
    except SpecError as error:
        problems = [str(error)]
    except Exception as error:
        raise SpecError(_misfit(spec, model, test, error, "score")) from error
    if problems:
        raise SpecError(
            f"{spec.file}:{spec.line}: {spec.name}:" + "".join(f"\n  {p}" for p in problems)
        )


def _suits(spec: Spec, loaded: LoadedData, default: ReadHyperParameters, draw: int) -> bool:
    """Tell whether the spec can be rehearsed with values drawn at random in place of the default ones."""
    hp = ReadHyperParameters.of(default)
    hp.values = {}
    for number, entry in enumerate(hp.space):
        if hp.is_active(entry):
            hp.values[entry.name] = entry.random_sample(spec.search.seed + 100 * draw + number)
    if hp.values == default.values:
        return False
    try:
        with lend_model(spec, hp, spec.search.seed) as model:
            _rehearse(spec, loaded, hp, model)
    except (Exception, SystemExit):  # noqa: BLE001  the error of the default values is told
        return False
    return True


@dataclass(frozen=True, eq=False)
class _Rehearsal:
    """A model to rehearse: its values, the first batch of each part, and how many rows of it train."""

    spec: Spec
    loaded: LoadedData
    hp: ReadHyperParameters
    model: Model
    train: Part
    validation: Part
    few: int


def _rehearse(spec: Spec, loaded: LoadedData, hp: ReadHyperParameters, model: Model) -> None:
    most, few = min(spec.fit.batch_size, SAMPLES), TRAINED
    if fixed_batch(model) or keeps_state(model):
        # All its batches have one size.
        most = few = fixed_batch(model) or spec.fit.batch_size
    try:
        loaded = data_for_model(model, loaded)
    except (SpecError, DataError) as error:
        raise SpecError(f"{spec.file}:{spec.line}: {spec.name}: {error}") from error
    train, validation = (_first_batch(part, most) for part in (loaded.train, loaded.validation))
    rehearsal = _Rehearsal(spec, loaded, hp, model, train, validation, few)
    try:
        if overrides_fit(spec.model):
            problems = _problems_of_own_fit(rehearsal)
        else:
            problems = _problems(rehearsal)
    except SpecError as error:
        problems = [str(error)]
    except Exception as error:
        is_misfit = _is_raised_by_a_library(error) and not _is_of_its_size(error)
        if is_misfit and not overrides_fit(spec.model):
            raise SpecError(_misfit(spec, model, train, error)) from error
        # A fit of the author's may need more rows than a rehearsal has: the trials will show.
        raise
    if problems:
        raise SpecError(
            f"{spec.file}:{spec.line}: {spec.name}:" + "".join(f"\n  {p}" for p in problems)
        )


def _problems(rehearsal: _Rehearsal) -> list[str]:
    """Return what does not fit, once the model was trained on a few rows as ``model.fit`` does."""
    spec, loaded, few = rehearsal.spec, rehearsal.loaded, rehearsal.few
    rehearsed, batch, held_out = _behind_frozen_layers(rehearsal)
    # With TensorFlow an eager step costs a tenth of tracing it, and logs the same names.
    rehearsed.run_eagerly = backend().steps_eagerly
    predicted = predict(rehearsed, batch, batch.size)
    outputs = predicted.outputs
    problems = [*_label_problems(loaded, predicted)]
    if problems:
        # The names can be checked all the same, on labels every head knows.
        one = _few(_with_first_labels(batch), few)
        other = held_out = _few(_with_first_labels(held_out), few)
    else:
        one = _like_its_part(rehearsed, loaded.train, batch, few)
        other = _like_its_part(rehearsed, loaded.validation, held_out, few)
    plan = FitPlan(spec, rehearsal.hp, one, other, epochs=1, seed=spec.search.seed)
    curve, _ = fit(plan, Candidate(rehearsed))
    evaluated = _metric_names(spec, rehearsed, held_out)
    _warn(spec, predicted, evaluated)
    problems += _problems_of_names(spec, curve, evaluated, outputs)
    return problems + _problems_of_gates(rehearsal, rehearsed, outputs)


def _problems_of_own_fit(rehearsal: _Rehearsal) -> list[str]:
    """Return what does not fit, once a fit of the author's was called as in a trial, on fewer batches.

    It may adapt layers, so that nothing can be predicted before, and may count on the epochs and
    the batch size of the spec.
    """
    spec, loaded, model, train = rehearsal.spec, rehearsal.loaded, rehearsal.model, rehearsal.train
    epochs = getattr(spec.search, "max_epochs", spec.fit.epochs)
    one, other = _batches_of(loaded.train, spec), _batches_of(loaded.validation, spec)
    plan = FitPlan(spec, rehearsal.hp, one, other, epochs=epochs, seed=spec.search.seed)
    try:
        curve, _ = fit(plan, Candidate(model))
    except SpecError:
        raise
    except Exception:
        # Labels that the head does not know are a reason to fail that can be told better.
        with contextlib.suppress(Exception):
            if problems := [*_label_problems(loaded, predict(model, train, train.size))]:
                return problems
        raise
    predicted = predict(model, train, train.size)
    outputs = predicted.outputs
    problems = [*_label_problems(loaded, predicted)]
    evaluated = _metric_names(spec, model, rehearsal.validation)
    _warn(spec, predicted, evaluated)
    problems += _problems_of_names(spec, curve, evaluated, outputs)
    return problems + _problems_of_gates(rehearsal, model, outputs)


def _warn_of_leaks(spec: Spec, loaded: LoadedData, model: Model) -> None:
    """Warn of what was fitted on more than train before models are built, or while they are."""
    try:
        for text in preparation_leaks(loaded, (spec.prepared, model)):
            caution(PREPARATION, text)
    except Exception as error:  # noqa: BLE001  what is prepared is the author's
        caution(PREPARATION, f"the check raised {error_line(error)}")


def _warn(spec: Spec, predicted: PartPredictions, evaluated: list[str]) -> None:
    """Warn of what Keras trains on, and scores, without a word."""
    for one in (*broadcast_cautions(predicted), *name_cautions(spec, predicted, evaluated)):
        caution(one.check, one.text)


def _problems_of_names(
    spec: Spec, curve: Mapping[str, object], evaluated: list[str], outputs: list[Output]
) -> list[str]:
    """Return which metrics of the objective and the gates a fit did not log."""
    missing = spec.search.objective.missing_from(curve) if spec.is_searched else None
    gates = gate_problems(spec, [*evaluated, *report_names(outputs, spec.asked_metrics)])
    points = [*threshold_problems_of(spec, outputs), *point_problems(spec, outputs)]
    return [*([missing] if missing else []), *gates, *points]


def _problems_of_gates(rehearsal: _Rehearsal, rehearsed: Model, outputs: list[Output]) -> list[str]:
    """Return what slices and behaviours cannot be measured with this model, or with its head."""
    spec, train = rehearsal.spec, rehearsal.train
    exports = unfit_exports(spec, rehearsal.model, rehearsal.loaded)
    has_targets = train.has_targets and not train.has_ragged_targets
    problems = [
        *(
            _slice_problems(spec, rehearsed, outputs, rehearsal.loaded.test.size)
            if has_targets
            else _target_problems(spec, train)
        ),
        *exports,
    ]
    if rehearsal.loaded.train.stream is None:
        few = _few(train, rehearsal.few)
        problems += behaviour_problems(spec, rehearsal.model, few, few)
    return problems


def _batches_of(part: Part, spec: Spec) -> Part:
    """Return the first batches of a part, of the size that trials get, in the form of the part."""
    steps = None if part.steps is None else min(part.steps, BATCHES)
    if part.stream is None:
        few = part.take(np.arange(min(BATCHES * spec.fit.batch_size, part.size)))
        return replace(few, steps=steps)
    stream = first_batches(part.stream, BATCHES)
    return replace(part, stream=stream, steps=steps, is_endless=False)


def _behind_frozen_layers(rehearsal: _Rehearsal) -> tuple[Model, Part, Part]:
    """Return the head of a model and its features, or all as it is if user code could see a difference.

    Frozen layers at the start of the model then run once on each part, not in every step.
    """
    model, train, validation = rehearsal.model, rehearsal.train, rehearsal.validation
    loaded, is_seen = rehearsal.loaded, bool(rehearsal.spec.fit.callbacks)
    if is_seen or loaded.train.stream is not None or loaded.validation.stream is not None:
        return model, train, validation
    parts = frozen_prefix.split(model)
    if isinstance(parts, frozen_prefix.Whole):
        return model, train, validation

    def features(part: Part) -> Part:
        x = parts.prefix(part.x, training=False)
        return replace(part, x=map_arrays(np.asarray, x))

    return parts.head, features(train), features(_few(validation, rehearsal.few))


def _metric_names(spec: Spec, model: Model, validation: Part) -> list[str]:
    """Return the names of the metrics that an evaluation of the fitted model gives."""
    keras_evaluated = not overrides_fit(spec.model) and "test_step" not in vars(model)
    if keras_evaluated and type(model).__module__.startswith("keras."):
        return list(logged_numbers(model.get_metrics_result()))
    return list(evaluate(model, validation, validation.size))


def _with_first_labels(batch: Part) -> Part:
    return replace(batch, y=map_arrays(np.zeros_like, batch.y))


def _few(batch: Part, most: int) -> Part:
    return batch.take(np.arange(min(most, batch.size)))


def _first_batch(part: Part, most: int) -> Part:
    x, y, sample_weight = next(part.batches(most))
    x, y = (map_arrays(lambda array: array[:most], arrays) for arrays in (x, y))
    if sample_weight is not None:
        sample_weight = map_arrays(lambda array: array[:most], sample_weight)
    size = len(next(array for _, array in leaves(x)))
    arrays = {"x": x, "y": y, "sample_weight": sample_weight}
    return replace(part, size=size, stream=None, steps=None, is_endless=False, **arrays)


def _like_its_part(model: Model, part: Part, batch: Part, most: int) -> Part:
    """Return a batch in the form of its part: a few rows of arrays, a dataset or a PyDataset."""
    if part.stream is None:
        return _few(batch, most)
    is_py_dataset = isinstance(part.stream, keras.utils.PyDataset)
    return replace(batch, stream=_OneBatch(model, batch) if is_py_dataset else part.stream.take(1))


class _OneBatch(keras.utils.PyDataset):  # type: ignore[misc]
    """A PyDataset of one batch."""

    def __init__(self, model: Model, batch: Part):
        super().__init__()
        self._model, self._batch = model, batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Arrays, ...]:
        batch = self._batch
        x = input_tensors(self._model, batch.x)
        if batch.sample_weight is not None:
            return x, batch.y, batch.sample_weight
        return (x,) if batch.y is None else (x, batch.y)


def _is_raised_by_a_library(error: Exception) -> bool:
    """Tell whether a library raised the error, such as Keras for shapes that do not fit."""
    innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    libraries = (
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    )
    return any(Path(library) in innermost.parents for library in libraries)


def _is_of_its_size(error: Exception) -> bool:
    """Tell an error of a model that is too large or too deep, as one of other values may not be."""
    is_out_of_memory = type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's own
    return isinstance(error, MemoryError | RecursionError) or is_out_of_memory


def _label_problems(loaded: LoadedData, predicted: PartPredictions) -> Iterator[str]:
    losses = {use.place: use.function for use in predicted.pairing.losses}
    for output in predicted.outputs:
        path, loss = output.path, losses.get(output.place)
        if output.task is OutputTask.MULTICLASS and output.y.shape != output.predicted.shape:
            highest = output.predicted.shape[-1] - 1
        elif output.task is OutputTask.BINARY:
            highest = 1
        else:
            continue
        if loss is not None and not is_loss_of_keras(loss):
            continue  # what it makes of other labels, such as leaving them out, is its own affair
        ignored = getattr(loss, "ignore_class", None)
        for part in loaded.parts:
            low, high = _label_range(part, path, ignored)
            if low < 0 or high > highest:
                label = f"y.{path}" if path else "y"
                yield (
                    f"data: {part.name} {label} holds labels from {low} to {high}, but the model's "
                    f"head tells classes 0 to {highest} apart; relabel the data or widen the head"
                )


def _label_range(part: Part, path: str, ignored: int | None) -> tuple[int, int]:
    """Return the lowest and the highest label of a part that the loss does not ignore."""
    low, high = part.labels.get(path, (0, 0))
    if ignored is None or ignored not in (low, high):
        return low, high
    labels = dict(leaves(part.y)).get(path)
    if labels is None:  # a stream, whose other labels nobody has noted
        return (0 if low == ignored else low), (0 if high == ignored else high)
    counted = labels[labels != ignored]
    return (int(counted.min()), int(counted.max())) if counted.size else (0, 0)


def _target_problems(spec: Spec, part: Part) -> Iterator[str]:
    """Name the gates that compare predictions with targets, which there are none of, or ragged ones."""
    has = f"data: {part.name} has no targets (y)"
    remedy = "return (x, y), for an autoencoder (x, x)"
    if part.has_ragged_targets:
        has, remedy = f"data: {part.name} has ragged targets (y)", PAD
    for index, gate in enumerate(spec.gates):
        if isinstance(gate, Behaviour):
            if gate.kind is not Kind.METAMORPHIC:
                yield (
                    f"gates[{index}]: {gate!r}: {has}, by which predictions are known as classes or "
                    "numbers; write the relation itself, as mt.metamorphic"
                )
            continue
        what = ""
        if gate.measure.subject is Subject.GAIN_OVER_DUMMY:
            what = "a dummy learns"
        elif gate.measure.slices is not None:
            what = "single samples are judged by"
        if what:
            yield f"gates[{index}]: {gate!r}: {has}, which {what}; {remedy}, or leave the gate out"


def _slice_problems(spec: Spec, model: Model, outputs: list[Output], rows: int) -> Iterator[str]:
    """Name the gates on classes or slices whose metric the results on single samples do not give."""
    if keras_internals.KERAS.why_not(Feature.SAMPLE_VALUES) is not None:
        return
    reported = set(report_names(outputs, spec.asked_metrics))
    wide = {name for output in outputs for name in names_without_samples(output, rows)}
    prefixes = [output.prefix for output in outputs if _has_classes(output)]
    for index, gate in enumerate(spec.gates):
        if isinstance(gate, Behaviour) or gate.measure.slices is None:
            continue
        name, where = gate.measure.metric, f"gates[{index}]: {gate!r}"
        if isinstance(gate.measure.slices, PerClass):
            named = [prefix for prefix in prefixes if prefix and name.startswith(prefix)]
            if not prefixes:
                tasks = ", ".join(dict.fromkeys(output.task.value for output in outputs))
                yield (
                    f"{where}: the model has no output with a class or labels for each sample "
                    f"(its task: {tasks or 'not known'}); leave out .per_class()"
                )
                continue
            if len(named or prefixes) > 1:
                listed = ", ".join(f'"{prefix}{name}"' for prefix in prefixes)
                yield f"{where}: several outputs have classes; name the metric of one, as {listed}"
                continue
        if name in wide:
            yield (
                f'{where}: "{name}" is computed of all numbers of all samples together, and test has '
                "too many to be kept sample by sample, so it has no value on some of them; mae and mse "
                "have"
            )
        if name not in reported and name in _whole_metrics(model, outputs):
            yield (
                f'{where}: "{name}" is computed of all test samples together, and neither a mean '
                f"over samples nor part of the report ({', '.join(sorted(reported)) or 'none'}), so "
                "it has no value on some of them"
            )


def _has_classes(output: Output) -> bool:
    """Tell whether each sample has one class, or labels, rather than one for each of its steps."""
    width = output.predicted.shape[-1] if output.predicted.ndim > 1 else 1
    if output.task is OutputTask.BINARY:
        return output.predicted.size == len(output.predicted)
    if output.task is OutputTask.MULTICLASS:
        return output.predicted.size == len(output.predicted) * width
    return output.task is OutputTask.MULTILABEL and output.predicted.ndim == 2


def _whole_metrics(model: Model, outputs: list[Output]) -> set[str]:
    """Return the names of the compiled metrics that are no mean over samples, such as an AUC."""
    whole = {
        m.name
        for m in all_metrics(model)
        # A plain mean may be that of a loss.
        if keras_internals.function_of(m) is None and type(m) is not keras.metrics.Mean
    }
    return {f"{prefix}{name}" for name in whole for prefix in ("", *(o.prefix for o in outputs))}


def _misfit(spec: Spec, model: Any, train: Part, error: Exception, verb: str = "train on") -> str:
    shapes = ", ".join(
        f"{kind}{'.' + path if path else ''} {array.shape}"
        for kind, arrays in (("x", train.x), ("y", train.y))
        for path, array in leaves(arrays)
    )
    takes = ""
    if getattr(model, "inputs", None):
        takes = f"; it takes {', '.join(str(tuple(i.shape)) for i in model.inputs)}"
        takes += f" and gives {', '.join(str(tuple(o.shape)) for o in model.outputs)}"
    # A bare key says nothing without the name of its error.
    said = error_line(error) if isinstance(error, LookupError) else first_line(error)
    if any(isinstance(array, RaggedArray) for _, array in leaves(train.x)):
        # Keras prints the whole of a RaggedTensor.
        said = shorten(said.partition("<tf.RaggedTensor")[0], 200)
    return (
        f"{spec.file}:{spec.line}: {spec.name}: the model cannot {verb} the first batch of {train.name}: "
        f"{shapes}{takes}.\n  Keras says: {said}"
        + "".join(f"\n  {cause}" for cause in _likely_causes(spec, model, train))
    )


def _likely_causes(spec: Spec, model: Model, train: Part) -> Iterator[str]:
    """Yield what in the data Keras cannot train on, with the remedy, where its own words do not say it."""
    named = [
        (f"{kind}.{path}" if path else kind, array)
        for kind, arrays in (("x", train.x), ("y", train.y))
        for path, array in leaves(arrays)
    ]
    for name, array in named:
        if isinstance(array, RaggedArray):
            what = "loss compares" if name.startswith("y") else "layer takes"
            yield f"data: train {name} is ragged, and not every {what} rows of different lengths; {PAD}"
            continue
        if array.dtype.kind not in "OUSMm":
            continue
        columns = [str(column) for column in train.frames.get(name, ()) if column.number is None]
        which = f", for its columns {', '.join(columns[:NAMED_VALUES])}" if columns else ""
        first = array.reshape(-1)[:NAMED_VALUES].tolist()
        examples = ", ".join(dict.fromkeys(shorten(repr(value), 20) for value in first))
        held = f"data: train {name} is of {array.dtype}{which} ({examples})"
        if name.startswith("y"):
            yield (
                f"{held}; losses take numbers: return the places of the classes, as "
                "np.unique(y, return_inverse=True)[1] gives them, for all parts in one order"
            )
        else:
            yield (
                f"{held}; layers take numbers: encode these values in the data function, return "
                "numbers and texts as inputs of their own ({name: array}), or give the model a "
                "StringLookup or TextVectorization layer"
            )
    if not train.has_targets and getattr(model, "loss", None) is not None:
        yield (
            "data: train has no targets (y), but the model is compiled with a loss, which compares "
            "them with its output: return (x, y), for an autoencoder (x, x), or compile it without a "
            "loss and have the model add its own (add_loss, or a train_step)"
        )
    if isinstance(train.y, Mapping) and (outputs := getattr(model, "output_names", None)):
        lacking = [name for name in outputs if name not in train.y]
        others = [name for name in train.y if name not in outputs]
        if lacking or others:
            yield (
                f"data: y names {', '.join(train.y)}, but the model's outputs are "
                f"{', '.join(outputs)}: return a target for each output under its name, or leave "
                "the output out of the model"
            )
