"""Take compiled metrics and losses apart: one value per test sample whose mean is the metric."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from modeltune.engine.data import Arrays, leaves
from modeltune.engine.fit import Model
from modeltune.engine.internals import keras_internals
from modeltune.engine.score.outputs import Masks, Pairing, Use, are_broadcast, keras_tensor
from modeltune.records import Array


@dataclass(frozen=True, eq=False)
class SampleValues:
    """A metric's value on each sample, (n,); the metric is their mean, weighted by ``weights``.

    ``weights`` is None where all samples count alike.
    """

    values: Array
    weights: Array | None = None

    @property
    def mean(self) -> float:
        """The metric over all samples; 0 where none counts, as Keras has it."""
        if self.weights is None:
            return float(np.mean(self.values, dtype=np.float64))
        whole = float(self.weights.sum(dtype=np.float64))
        return float(self.values @ self.weights.astype(np.float64)) / whole if whole else 0.0


def sample_values(
    model: Model,
    pairing: Pairing,
    y: Arrays,
    predicted: Arrays,
    sample_weight: Arrays,
    masks: Masks,
    sizes: Sequence[int],
) -> Iterator[tuple[str, str, SampleValues | None]]:
    """Yield (name in the logs, definition, values per sample or None) of each metric and loss.

    None of a metric that is no mean over samples, such as AUC. The caller compares the mean of
    the values with the score, since a step of the user's may compute it in another way.

    Args:
        model: as compiled.
        pairing: what Keras pairs in ``y`` and ``predicted``.
        y, predicted, sample_weight: with a row per sample.
        masks: of the predictions, in the order of ``keras.tree.flatten``.
        sizes: the samples in each batch that was evaluated.
    """
    targets, weights = dict(leaves(y)), dict(leaves(sample_weight))
    flat = keras.tree.flatten(predicted)

    def given(use: Use) -> tuple[Any, Any, Any]:
        mask = masks[use.place] if use.place < len(masks) else None
        weight = None if use.weight is None else weights[use.weight]
        return (
            keras_tensor(targets[use.path]),
            keras_internals.attach_mask(
                keras_tensor(flat[use.place]), None if mask is None else keras_tensor(mask)
            ),
            None if weight is None else keras_tensor(weight),
        )

    names = {"loss"}
    for use in pairing.metrics:
        names.add(use.name)
        yield use.name, definition(use.function), _of_metric(use, *given(use), sizes)
    names |= {f"{use.name}_loss" for use in pairing.losses}
    for metric in all_metrics(model):
        if metric.name not in names:
            names.add(metric.name)
            yield metric.name, definition(metric), None
    if getattr(model, "loss", None) is None:
        return
    parts = [_of_loss(use, *given(use), sizes) for use in pairing.losses]
    if len(parts) > 1:
        for use, part in zip(pairing.losses, parts, strict=True):
            yield f"{use.name}_loss", definition(use.function), part
    known = [part for part in parts if part is not None]
    yield "loss", _definition_of_loss(model, pairing), _sum(model, pairing, known)


def _of_metric(
    use: Use, y: Any, predicted: Any, weight: Any, sizes: Sequence[int]
) -> SampleValues | None:
    batches = [slice(None)]
    if are_broadcast(y, predicted):
        ends = np.cumsum(sizes).tolist()
        batches = [slice(end - n, end) for n, end in zip(sizes, ends, strict=True)]
    parts: list[Array] = []
    weights: list[Array] = []
    for rows in batches:
        mask = keras_internals.mask_of(predicted)
        some = keras_internals.attach_mask(predicted[rows], None if mask is None else mask[rows])
        try:
            sums = keras_internals.metric_values(
                use.function, y[rows], some, None if weight is None else weight[rows]
            )
        except Exception:  # noqa: BLE001  a function of the user's, or one that needs its own state
            return None
        if sums is None:
            return None
        values, counts = (None if one is None else _numbers(one).astype(np.float64) for one in sums)
        if values is None or values.shape != (len(some),):
            return None
        parts.append(values)
        weights.append(np.ones(values.shape) if counts is None else counts)
    whole, counts = np.concatenate(parts), np.concatenate(weights)
    if (counts == 1).all():
        return SampleValues(whole)
    return SampleValues(_ratio(whole, counts), counts) if counts.shape == whole.shape else None


def _of_loss(
    use: Use, y: Any, predicted: Any, weight: Any, sizes: Sequence[int]
) -> SampleValues | None:
    """Return a loss on each sample: Keras reduces it in batches, and averages these by their size."""
    try:
        loss = keras_internals.loss_values(use.function, y, predicted, weight)
    except Exception:  # noqa: BLE001  a loss of the user's
        return None
    if loss is None:
        return None
    values, weights, mask = (
        None if one is None else _numbers(one) for one in (loss.values, loss.weights, loss.mask)
    )
    n = len(y)
    if values is None or values.ndim == 0 or len(values) != n or sum(sizes) != n:
        return None
    in_sample = values.reshape(n, -1).sum(axis=1, dtype=np.float64)
    starts = np.cumsum([0, *sizes[:-1]])
    in_batch = np.repeat(np.asarray(sizes), sizes)

    def of_batch(numbers: Array) -> Array:
        return np.repeat(np.add.reduceat(numbers, starts), sizes)

    reduction = use.function.reduction
    if reduction == "sum":
        return SampleValues(in_sample * in_batch)
    if reduction == "mean_with_sample_weight" and weights is not None:
        own = weights.reshape(n, -1).sum(axis=1, dtype=np.float64)
    elif mask is not None and reduction in ("sum_over_batch_size", "mean"):
        # Masked places do not count in the divisor, but those without weight do.
        per_sample = values.size / mask.size
        own = mask.reshape(n, -1).sum(axis=1, dtype=np.float64) * per_sample
    else:
        return SampleValues(in_sample / (values.size / n))
    whole = of_batch(own)
    share = np.where(whole > 0, in_batch * own / np.where(whole > 0, whole, 1), 1.0)
    return SampleValues(_ratio(in_sample, own), share)


def _numbers(tensor: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(tensor)
    return array


def _ratio(numerators: Array, denominators: Array) -> Array:
    some = denominators != 0
    return np.where(some, numerators / np.where(some, denominators, 1), 0.0)


def _sum(model: Model, pairing: Pairing, parts: list[SampleValues]) -> SampleValues | None:
    """Return the loss of all outputs together, with the penalties of the model's weights."""
    if not parts or len(parts) != len(pairing.losses):
        return None
    try:
        penalty = sum(float(one) for one in model.losses)
    except Exception:  # noqa: BLE001  one that depends on the batch, as of an activity
        return None
    shares = [use.share for use in pairing.losses]
    if all(one.weights is None for one in parts):
        sums = sum(share * one.values for share, one in zip(shares, parts, strict=True))
        return SampleValues(np.asarray(sums + penalty))
    if len(parts) == 1:
        return SampleValues(shares[0] * parts[0].values + penalty, parts[0].weights)
    # Each output counts other steps, so what a sample adds to each of their means is added up.
    added = sum(
        share * one.values * (1.0 if one.weights is None else one.weights)
        for share, one in zip(shares, parts, strict=True)
    )
    return SampleValues(np.asarray(added + penalty))


def definition(metric: Any) -> str:
    """Return how Keras computes a metric or loss, in words that can be compared."""
    kind = metric if inspect.isfunction(metric) else type(metric)
    try:
        config = metric.get_config() if hasattr(metric, "get_config") else {}
    except Exception:  # noqa: BLE001  Keras's own containers, and classes of the user's, have none
        config = {}
    facts = {name: config[name] for name in sorted(config) if name not in ("name", "dtype")}
    return f"{kind.__module__}.{kind.__qualname__} {json.dumps(facts, default=str)}"


def _definition_of_loss(model: Model, pairing: Pairing) -> str:
    loss = model.loss
    if isinstance(loss, Mapping | list | tuple):
        return "; ".join(f"{use.share} {definition(use.function)}" for use in pairing.losses)
    if isinstance(loss, str) or inspect.isclass(loss):
        try:
            loss = keras.losses.get(loss)
        except ValueError:  # "crossentropy", of which Keras chooses a kind by the labels
            loss = pairing.losses[0].function if pairing.losses else loss
    return definition(loss)


def all_metrics(model: Model) -> list[Any]:
    """Return each metric of a model, those of its layers and of code of the user's among them."""
    found: list[Any] = []
    for metric in model.metrics:
        # Keras keeps the compiled metrics in a container that is a metric too.
        found += metric.metrics if hasattr(metric, "metrics") else [metric]
    return found
