"""Score a trained model on a part: Keras's metrics, and a report from aligned predictions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from modeltune.engine.data import Arrays, Part, RaggedArray, leaves, map_arrays, read_here
from modeltune.engine.fit import (
    Model,
    can_evaluate,
    can_predict,
    input_tensors,
    logged_numbers,
    predict_batch,
    reset_states,
    with_text_inputs,
)
from modeltune.engine.internals import keras_internals
from modeltune.engine.score.dummies import CERTAIN, dummy_predictions, gain, perfect_predictions
from modeltune.engine.score.outputs import (
    Masks,
    Pairing,
    are_broadcast,
    join_masks,
    keras_tensor,
    mask_reader,
    outputs_of,
    pairing_of,
    targets_of,
)
from modeltune.engine.score.sample_values import SampleValues, sample_values
from modeltune.engine.score.slice_masks import slice_masks
from modeltune.engine.score.task_report import (
    Output,
    OutputTask,
    Target,
    decisions,
    report,
)
from modeltune.engine.score.task_samples import TaskScores, as_kept, task_samples, task_scores
from modeltune.records import Array, Samples, names_of_output
from modeltune.specs import By, MetricFunction, On

MEANS = ("sum_over_batch_size", "mean")
"""Reductions whose value on all samples is the mean of those on batches, where none is masked."""

OF_BATCHES = ("circle", "dice", "tversky")
"""Losses of Keras that compare the samples of a batch, or divide by what all of them add up to."""

BY_LARGEST = (keras.metrics.CategoricalAccuracy, keras.metrics.SparseCategoricalAccuracy)
"""Metrics of Keras that look for the largest of several columns."""

BY_THRESHOLD = (
    keras.metrics.BinaryAccuracy,
    keras.metrics.F1Score,
    keras.metrics.FalseNegatives,
    keras.metrics.FalsePositives,
    keras.metrics.FBetaScore,
    keras.metrics.Precision,
    keras.metrics.Recall,
    keras.metrics.TrueNegatives,
    keras.metrics.TruePositives,
)
"""Metrics of Keras that decide by a threshold, 0.5 without another."""


@dataclass(frozen=True, eq=False)
class PartPredictions:
    """All outputs of a model on a part, with the sample weights and slices of the same rows.

    ``y`` and ``predicted`` are what Keras's losses and metrics get, ``sizes`` the samples of each
    batch; ``masks`` come with the predictions, in the order of ``keras.tree.flatten``. ``groups`` are the
    numbers of the groups of the same rows, (n,), None where there are none.
    """

    outputs: list[Output]
    sample_weight: Arrays
    slices: Mapping[str, Array] = field(default_factory=dict)
    y: Arrays = None
    predicted: Arrays = None
    masks: Masks = ()
    sizes: Sequence[int] = ()
    pairing: Pairing = field(default_factory=Pairing)
    groups: Array | None = None


def evaluate(model: Model, part: Part, batch_size: int) -> dict[str, float]:
    """Return the scores of ``model.evaluate`` on this part, by Keras's names.

    Layers that keep their state from batch to batch begin anew with the part. There are no scores
    of a model that is not compiled, or has neither a ``call`` nor a ``test_step`` of its own.
    """
    if not model.compiled or not can_evaluate(model):
        return {}
    reset_states(model)
    part = with_text_inputs(model, part)
    if part.stream is not None:
        steps = part.steps if part.is_endless else None
        with read_here([part.stream]), warnings.catch_warnings():
            # Keras warns so at the end of any dataset of unknown length, as of a function that yields.
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
            logs = model.evaluate(part.stream, steps=steps, verbose=0, return_dict=True)
    else:
        logs = model.evaluate(
            part.x,
            part.y,
            sample_weight=part.sample_weight,
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )
    return logged_numbers(logs)


def decided_metrics(predictions: PartPredictions) -> list[str]:
    """Return the compiled metrics that decide at Keras's threshold and have an output with another.

    One that its author gave a threshold of its own keeps it.
    """
    with_point = {o.place for o in predictions.outputs if o.point is not None}
    uses = [use for use in predictions.pairing.metrics if use.place in with_point]
    return [use.name for use in uses if _decides_as_usual(use.function)]


def _decides_as_usual(metric: Any) -> bool:
    """Tell whether a metric of Keras counts decisions, at a threshold that its author did not choose."""
    if type(metric) in BY_LARGEST:
        return True
    config = metric.get_config() if type(metric) in BY_THRESHOLD else {}
    if "thresholds" in config:
        return all(config.get(name) is None for name in ("thresholds", "top_k", "class_id"))
    return config.get("threshold") == 0.5


def decided_scores(
    model: Model, predictions: PartPredictions, evaluated: Mapping[str, float]
) -> dict[str, float]:
    """Return those of the evaluated metrics that depend on decisions, of decisions at the chosen point."""
    names = [name for name in decided_metrics(predictions) if name in evaluated]
    hard = [decided_predictions(output) for output in predictions.outputs]
    return {name: score_predictions(model, predictions, hard, name) for name in names}


def decided_predictions(output: Output) -> Array:
    """Return predictions that leave no doubt of what an output decides at its point; others as they are."""
    if output.point is None:
        return output.predicted
    decided = decisions(output, output.predicted)
    if output.task is OutputTask.MULTICLASS:
        decided = np.eye(output.predicted.shape[-1], dtype=bool)[decided]
    hard = decided.reshape(output.predicted.shape).astype(output.predicted.dtype)
    certain: Array = (2 * hard - 1) * CERTAIN if output.from_logits else hard
    return certain


def random_metrics(model: Model, part: Part, batch_size: int) -> dict[str, tuple[float, float]]:
    """Return the metrics that two evaluations of the first batch score differently, with both scores.

    Those of the report are among them. They draw random numbers, as the loss of a variational autoencoder does. Nothing is returned
    where the batch cannot be evaluated alone.
    """
    try:
        x, y, sample_weight = next(part.batches(min(batch_size, part.size)))
        size = len(next(leaves(x))[1])
        few = replace(part, size=size, x=x, y=y, sample_weight=sample_weight, stream=None)
        one, other = (
            {
                **report(predict(model, few, batch_size).outputs)[0],
                **evaluate(model, few, batch_size),
            }
            for _ in range(2)
        )
    except Exception:  # noqa: BLE001  a stream, a metric or a step of the user's
        return {}
    return {
        name: (one[name], other[name])
        for name in one
        if name in other
        and not (math.isnan(one[name]) and math.isnan(other[name]))
        and not math.isclose(one[name], other[name], rel_tol=1e-5, abs_tol=1e-7)
    }


def predict(
    model: Model,
    part: Part,
    batch_size: int,
    slices: Sequence[On | By] = (),
    run: Callable[[Arrays], Arrays] | None = None,
) -> PartPredictions:
    """Return aligned targets, predictions, weights and slices; read every batch exactly once.

    ``run`` predicts a batch in place of the model, as a file does that the model was converted to.
    A model without a ``call``, as a GAN, predicts nothing, so it has no outputs. Nor are there any
    that compare with targets of different lengths, sample by sample.
    """
    if not can_predict(model) or part.has_ragged_targets:
        return PartPredictions([], None, sizes=[part.size])
    targets: list[Arrays] = []
    predictions: list[Arrays] = []
    weights: list[Arrays] = []
    masks: list[Masks] = []
    sizes: list[int] = []
    chosen: list[dict[str, Array]] = []
    groups: list[Array] = []
    read: Callable[[Arrays], Masks] | None = None
    copies: set[str] = set()
    reset_states(model)
    for x, y, sample_weight in part.batches(batch_size):
        repeated = {path for path, array in leaves(y) if _repeats(array, x)}
        copies = copies & repeated if sizes else repeated
        if not sizes:
            read = mask_reader(model, x)
        targets.append(y)
        predicted = predict_batch(model, input_tensors(model, x)) if run is None else run(x)
        predictions.append(map_arrays(np.asarray, predicted))
        weights.append(sample_weight)
        sizes.append(len(next(leaves(x))[1]))
        if read is not None:
            masks.append(read(x))
        if part.stream is not None:
            chosen.append(slice_masks(slices, x, y))
        if part.groups_of is not None:
            groups.append(part.groups_of(x, y, sample_weight, sizes[-1]))
    if part.stream is None:
        chosen.append(slice_masks(slices, part.x, part.y, part))
    whole = _join(targets), _join(predictions), _join(weights)
    mask = join_masks(masks)
    pairing = pairing_of(model, *whole)
    outputs = [
        replace(one, class_names=names_of_output(part.class_names, one.path))
        for one in outputs_of(model, pairing, *whole, mask, copies)
    ]
    return PartPredictions(
        *(outputs, whole[2], _join(chosen), whole[0], whole[1], mask, sizes, pairing),
        groups=np.concatenate(groups) if groups else part.groups,
    )


def _repeats(target: Array, x: Arrays) -> bool:
    """Tell whether a target has the values of an input, as an autoencoder's has."""
    return any(
        array.shape == target.shape
        and not isinstance(array, RaggedArray)
        and np.array_equal(array, target)
        for _, array in leaves(x)
    )


def refit_samples(
    model: Model,
    test: PartPredictions,
    scores: Mapping[str, float],
    train: Mapping[str, Target],
    own: TaskScores = TaskScores(),
    asked: Mapping[str, MetricFunction | None] | None = None,
) -> Samples | None:
    """Return what this refit predicted on each test sample; None if its outputs have no rows.

    The values of a metric are kept only when their mean is the score that Keras reports.

    Args:
        model: its compiled metrics and loss define how values are computed.
        test: the model's predictions on test.
        scores: the scores of ``evaluate`` on test.
        train: the targets of the train part by path; none of a part that there is not.
        own, asked: as for ``task_samples``.
    """
    samples = task_samples(test.outputs, train, test.slices, own, asked)
    if samples is None:
        return None
    values: dict[str, Array] = {}
    weights: dict[str, Array] = {}
    definitions: dict[str, str] = {}
    for name, definition, kept in _sample_values(model, test):
        definitions[name] = definition
        if kept is None or name not in scores or len(kept.values) != samples.size:
            continue
        if math.isclose(kept.mean, scores[name], rel_tol=1e-4, abs_tol=1e-6):
            values[name] = as_kept(kept.values)
            if kept.weights is not None:
                weights[name] = kept.weights.astype(np.float32)
    # A compiled metric of the same name comes first.
    for name, of_report in samples.values.items():
        if name in definitions:
            continue
        mean = Samples(samples.size, 1, values={name: of_report}, weights=samples.weights)
        if math.isclose(
            mean.score(name, 0) or 0.0, scores.get(name, math.nan), rel_tol=1e-4, abs_tol=1e-6
        ):
            values[name] = of_report
            weights |= {n: w for n, w in samples.weights.items() if n == name}
    definitions = {**samples.definitions, **definitions}
    return replace(samples, values=values, weights=weights, definitions=definitions)


def _sample_values(
    model: Model, test: PartPredictions
) -> Iterator[tuple[str, str, SampleValues | None]]:
    """Yield as ``sample_values``, of decisions at the chosen point where a metric depends on these."""
    more = test.sample_weight, test.masks, test.sizes
    decided: dict[str, SampleValues | None] = {}
    if names := decided_metrics(test):
        flat = keras.tree.flatten(test.predicted)
        for output in test.outputs:
            flat[output.place] = decided_predictions(output)
        hard = keras.tree.pack_sequence_as(test.predicted, flat)
        values = sample_values(model, test.pairing, test.y, hard, *more)
        decided = {name: kept for name, _, kept in values if name in names}
    for name, definition, kept in sample_values(model, test.pairing, test.y, test.predicted, *more):
        yield name, definition, decided.get(name, kept)


def dummy_gain(
    model: Model, train: Part, test: PartPredictions, score: float, metric: str
) -> float:
    """Return (score - dummy) / (perfect - dummy), or NaN if dummy and perfect score the same.

    The dummy always predicts train's class shares, or the better of train's target mean and
    median. Perfect predictions are the targets themselves. The model's own loss and metrics
    score both on the test part.
    """
    # A dummy has no threshold to choose: its shares are those of the classes.
    test = replace(test, outputs=[replace(output, point=None) for output in test.outputs])
    if any(o.task is OutputTask.OTHER and o.y.size != o.predicted.size for o in test.outputs):
        return math.nan  # nobody but the loss knows what a prediction has to be
    if metric == "loss" and model.losses:
        # Penalties of activities are of the batch that was last seen, or symbols of a graph: with
        # one batch for all three scores they cancel.
        model(map_arrays(keras_tensor, next(train.batches(test.sizes[0]))[0]), training=False)
        score = score_predictions(model, test, [o.predicted for o in test.outputs], metric)
    perfect = score_predictions(model, test, [perfect_predictions(o) for o in test.outputs], metric)
    dummies = [
        score_predictions(model, test, constant, metric)
        for constant in dummy_predictions(test.outputs, targets(model, train, test))
    ]
    return gain(score, dummies, perfect)


def targets(model: Model, part: Part, predictions: PartPredictions) -> dict[str, Target]:
    """Return the targets of a part by their path in ``y``, and which of them count.

    ``predictions`` are the model's on another part: they tell what the outputs are. Nothing is
    returned of a part that there is not.
    """
    if not part.size:
        return {}
    read: Callable[[Arrays], Masks] | None = None
    whole_y: list[Arrays] = []
    weights: list[Arrays] = []
    masks: list[Masks] = []
    is_masked = any(mask is not None for mask in predictions.masks)
    for x, y, sample_weight in part.batches(max(predictions.sizes) if is_masked else 8192):
        if is_masked:
            read = read or mask_reader(model, x)
            masks += [] if read is None else [read(x)]
        whole_y.append(y)
        weights.append(sample_weight)
    by_path, weight, mask = dict(leaves(_join(whole_y))), _join(weights), join_masks(masks)
    return {
        output.path: targets_of(output, predictions.pairing, by_path[output.path], weight, mask)
        for output in predictions.outputs
    }


def score_predictions(
    model: Model, test: PartPredictions, predictions: list[Array], metric: str
) -> float:
    """Return the score of these predictions by the model's own loss and metrics.

    Batch by batch as ``evaluate`` where the loss of a batch is not the mean over its samples.
    """
    replaced = [replace(o, predicted=p) for o, p in zip(test.outputs, predictions, strict=True)]
    flat = keras.tree.flatten(test.predicted)
    for output in replaced:
        flat[output.place] = output.predicted
    if metric == "loss":
        total = 0.0
        for rows, share in _batches(test):
            y, y_pred, weight = _tensors(test, flat, rows)
            loss = model.compute_loss(y=y, y_pred=y_pred, sample_weight=weight, training=False)
            total += share * float(keras.ops.mean(loss))
        return total
    model.reset_metrics()
    logs: Mapping[str, Any] = {}
    for rows, _ in _batches(test):
        y, y_pred, weight = _tensors(test, flat, rows)
        logs = model.compute_metrics(x=None, y=y, y_pred=y_pred, sample_weight=weight)
    model.reset_metrics()
    numbers = logged_numbers(logs)
    if metric in numbers:
        return numbers[metric]
    reported = report(replaced)[0]
    if metric not in reported:
        reported |= task_scores(replaced, {metric: None}).numbers
    return reported.get(metric, math.nan)


def _batches(test: PartPredictions) -> list[tuple[slice, float]]:
    """Return the rows that Keras scores at a time, and their share in the mean of losses."""
    is_mean = all(_is_of_samples(use.function) for use in test.pairing.losses)
    is_masked = any(o.counted is not None for o in test.outputs)
    has_pairs = any(are_broadcast(output.y, output.predicted) for output in test.outputs)
    size = sum(test.sizes)
    if is_mean and not is_masked and not has_pairs:
        return [(slice(None), 1.0)]
    ends = np.cumsum(test.sizes).tolist()
    return [(slice(end - n, end), n / size) for n, end in zip(test.sizes, ends, strict=True)]


def _is_of_samples(loss: Any) -> bool:
    """Tell whether a loss on all samples is the mean of its values on batches."""
    name = getattr(getattr(loss, "fn", None), "__name__", "")
    return loss.reduction in MEANS and name not in OF_BATCHES


def _tensors(test: PartPredictions, flat: list[Array], rows: slice) -> tuple[Any, Any, Any]:
    """Return targets, predictions with their masks and weights of some rows as Keras gets them."""
    masks = test.masks or [None] * len(flat)
    tensors = [
        keras_internals.attach_mask(
            keras_tensor(array[rows]), None if m is None else keras_tensor(m[rows])
        )
        for array, m in zip(flat, masks, strict=True)
    ]
    y, weight = (
        keras.tree.lists_to_tuples(map_arrays(lambda a: keras_tensor(a[rows]), one))
        for one in (test.y, test.sample_weight)
    )
    return y, keras.tree.pack_sequence_as(test.predicted, tensors), weight


def _join(batches: list[Arrays]) -> Arrays:
    first = batches[0]
    if first is None:
        return None
    if isinstance(first, Mapping):
        return {key: _join([batch[key] for batch in batches]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(_join([batch[i] for batch in batches]) for i in range(len(first)))
    return np.concatenate(batches)
