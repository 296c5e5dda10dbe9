"""Examine the tuned model: its behaviour, its speed, its exports, and accepted models on today's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import keras

from modeltune.engine.data import Arrays, LoadedData, Part, map_arrays
from modeltune.engine.fit import (
    Model,
    data_for_model,
    for_model,
    input_tensors,
    lend_model,
    model_of,
    predict_batch,
)
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.probe import probe, what_hypothesis_lacks, without_inputs
from modeltune.engine.score import (
    at_points,
    decided_scores,
    evaluate,
    foreign_names,
    kept_points,
    make_export,
    predict,
    ratio_of_seconds,
    refit_samples,
    report,
    restore,
    targets,
    task_scores,
    with_weights,
)
from modeltune.ground import error_line, monotonic, read_bounded
from modeltune.records import (
    LARGEST_ARCHITECTURE,
    Examination,
    ExamineTask,
    KeptModel,
    Probe,
    RescoreResult,
    pack_samples,
)
from modeltune.specs import Behaviour, Spec

LATENCY_BATCH = 32


def examine_model(spec: Spec, loaded: LoadedData, task: ExamineTask) -> Examination:
    """Probe the tuned model, score accepted models on today's data, compare latencies, make exports."""
    hp = ReadHyperParameters.of(task.hyperparameters)
    seed = spec.search.seed
    with lend_model(spec, hp, seed) as today:
        model = restore(spec, hp, task.weights, loaded.test)
        own = data_for_model(model, loaded)
        probed: dict[str, Probe] = {}
        for gate in spec.gates:
            if isinstance(gate, Behaviour) and gate.demand in task.behaviours:
                known = task.known.get(gate.key, ())
                points = kept_points(task.thresholds)
                probed[gate.demand] = probe(gate, model, own.test, own.train, seed, known, points)
                if not spec.examples:
                    probed[gate.demand] = without_inputs(probed[gate.demand])
        rescored = {
            name: _rescore(spec, today, kept, loaded) for name, kept in task.rescore.items()
        }
        ratio: tuple[float, float, float] | str | None = None
        if task.faster_than is not None:
            ratio = _latency_ratio(model, task.faster_than, loaded.test)
        points = kept_points(task.thresholds)
        exports = {
            name: make_export(spec, name, model, own, points, path)
            for name, path in task.exports.items()
        }
    lacking = what_hypothesis_lacks() if probed else None
    return Examination(probed, rescored, ratio, exports, () if lacking is None else (lacking,))


def _restore_kept(kept: KeptModel, part: Part) -> Model:
    """Return the model of an earlier run as it was, even if its build function has changed.

    Keras refuses what is not data in it, such as lambdas, which would be run.

    Raises:
        ValueError: it has layers or functions of the user's, which may not be what they were.
    """
    config = read_bounded(kept.architecture, LARGEST_ARCHITECTURE)
    if foreign := sorted(set(foreign_names(json.loads(config)))):
        raise ValueError(
            f"{', '.join(foreign)} of it may not be what it was, for it is no code of Keras's"
        )
    return with_weights(model_of(config.decode()), kept.weights, part)


def _rescore(spec: Spec, today: Model, kept: KeptModel, loaded: LoadedData) -> RescoreResult:
    """Score a kept model on today's test part, with the loss and metrics of today's model."""
    try:
        model = _restore_kept(kept, loaded.test)
        loaded = data_for_model(model, loaded)
        compiled = keras.saving.deserialize_keras_object(today.get_compile_config())
        model.compile(**{**compiled, "optimizer": None})
        size = spec.fit.batch_size
        on_test = predict(model, loaded.test, size, spec.slices)
        points = kept_points(kept.thresholds)
        on_test = replace(on_test, outputs=at_points(on_test.outputs, points))
        asked = spec.asked_metrics
        own = task_scores(on_test.outputs, asked, loaded.test.metadata)
        evaluated = evaluate(model, loaded.test, size)
        decided = decided_scores(model, on_test, evaluated)
        scores = {**report(on_test.outputs)[0], **own.numbers, **evaluated, **decided}
        in_train = targets(model, loaded.train, on_test)
        samples = refit_samples(model, on_test, scores, in_train, own, asked)
    except Exception as error:  # noqa: BLE001  what was kept may not fit today's data
        return RescoreResult(problem=error_line(error))
    parameters = float(model.count_params())
    return RescoreResult(
        {**scores, "parameters": parameters}, None if samples is None else pack_samples(samples)
    )


def _latency_ratio(model: Model, kept: KeptModel, test: Part) -> tuple[float, float, float] | str:
    """Return the median of this model's time over the kept one's, with its 90 % interval.

    Both predict the same batch in turns, in this process and on this machine.
    """
    try:
        other = _restore_kept(kept, test)
        pair = [
            _timer(one, next(for_model(one, test).batches(LATENCY_BATCH))[0])
            for one in (model, other)
        ]
    except Exception as error:  # noqa: BLE001
        return error_line(error)
    return ratio_of_seconds(pair)


def _timer(model: Model, x: Arrays) -> Callable[[], float]:
    tensors = map_arrays(keras.ops.convert_to_tensor, input_tensors(model, x))

    def seconds() -> float:
        started = monotonic()
        predict_batch(model, tensors)
        return monotonic() - started

    return seconds
