"""Build a candidate's model under its seed and dtype policy, or take an equal one from the pool."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow
from modeltune.engine.data import Part
from modeltune.engine.fit import compiled_pool
from modeltune.engine.fit.compiled_pool import Candidate
from modeltune.engine.fit.ensembles import build, check_member
from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.estimators import OtherKindBuild, is_estimator
from modeltune.engine.fit.fitting import FitPlan, rehearse
from modeltune.engine.fit.fresh_start import start_anew
from modeltune.engine.fit.hypermodel_fit import overrides_fit
from modeltune.engine.fit.outside_layers import reserve_names
from modeltune.engine.fit.second_phase import fine_tuning
from modeltune.engine.fit.shared_state import SHARED, note_variables
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import SpecError, failed_download
from modeltune.records import TrialTask, members_of, own_values
from modeltune.specs import Spec


class _RetracingIsExpected(logging.Filter):
    """Drop TensorFlow's advice against retracing: every candidate is another model."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in str(record.msg)


logging.getLogger("tensorflow").addFilter(_RetracingIsExpected())


@contextlib.contextmanager
def lend_model(spec: Spec, hp: ReadHyperParameters, seed: int) -> Iterator[Model]:
    """Lend the model the spec builds of these values, under its dtype policy and this seed.

    Policy and random states are restored afterwards.

    Raises:
        SpecError: the build function returned something other than a compiled model, or one
            that trains what was made outside it, or cannot be fine-tuned as the validation says;
            or Keras knows no such dtype policy.
        OtherKindBuild: it returned an estimator.
    """
    with surroundings(spec, seed):
        candidate = Candidate(_build(spec, hp, seed))
        try:
            yield candidate.model
        finally:
            compiled_pool.POOL.leave(candidate)


@contextlib.contextmanager
def trainable(plan: FitPlan, task: TrialTask | None = None) -> Iterator[Candidate]:
    """Lend the candidate to train by this plan; restore policy and random states afterwards.

    If the pool has a model of the same shape, that one gets the fresh model's values and is
    lent in its place. A task that continues a state which this process has saved gets a
    model from the pool without another build; load the state into it.

    Raises:
        SpecError: as ``lend_model``.
    """
    spec, hp = plan.spec, plan.hp
    data = _step_signature(spec, (plan.train, plan.validation))
    candidate = None
    with surroundings(spec, plan.seed):
        try:
            candidate = None if task is None or data is None else _take_for_promotion(hp, task)
            if candidate is None:
                model = _build(spec, hp, plan.seed)
                key = None if data is None else compiled_pool.key_of(model, data)
                candidate = Candidate(model, key)
                candidate = compiled_pool.POOL.take(candidate, partial(rehearse, plan))
            if task is not None and task.keep_state is not None and candidate.key is not None:
                states = random.getstate(), np.random.get_state()
                values, read = own_values(hp.values), frozenset(hp.read)
                origin = compiled_pool.Origin(candidate.key, values, plan.seed, read, states)
                compiled_pool.POOL.remember(task.keep_state, origin)
            yield candidate
            trained, candidate = candidate, None
            key = None if data is None else compiled_pool.key_of(trained.model, data)
            compiled_pool.POOL.put(trained, key)
        finally:
            if candidate is not None:
                compiled_pool.POOL.leave(candidate)


@contextlib.contextmanager
def surroundings(spec: Spec, seed: int) -> Iterator[None]:
    """Set the dtype policy and the seed, start counting names again; restore policy and random states."""
    policy_before = keras.config.dtype_policy()
    random_before, numpy_before = random.getstate(), np.random.get_state()
    try:
        # Layer and metric names count up over a session; a candidate's must not depend on
        # those before it, nor be those of layers it may be built upon.
        start_anew(seed)
        reserve_names(spec.model)
        _set_dtype_policy(spec, policy_before)
        yield
    finally:
        keras.config.set_dtype_policy(policy_before)
        random.setstate(random_before)
        np.random.set_state(numpy_before)


def _set_dtype_policy(spec: Spec, current: Any) -> None:
    try:
        keras.config.set_dtype_policy(spec.fit.dtype_policy or current)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{spec.file}:{spec.line}: {spec.name}: fit.dtype_policy: {spec.fit.dtype_policy!r} is "
            'no dtype policy of Keras; write "float32", "mixed_float16", "mixed_bfloat16", ...'
        ) from error


def _build(spec: Spec, hp: ReadHyperParameters, seed: int) -> Model:
    SHARED.restore()
    with note_variables() as made:
        try:
            model = build(spec, hp)
        except Exception as error:
            if (lacking := failed_download(error)) is None:
                raise
            raise SpecError(f"{spec.file}:{spec.line}: {spec.name}: {lacking}") from error
    builder = getattr(spec.model, "__name__", type(spec.model).__name__)
    if not isinstance(model, keras.Model):
        if is_estimator(model):
            raise OtherKindBuild
        what = "None" if model is None else f"a {type(model).__name__}"
        raise SpecError(
            f"{spec.file}:{spec.line}: {builder} returned {what}; end it with `return model`, "
            "a compiled keras.Model, or an estimator with fit(x, y) and predict(x)"
        )
    if spec.is_given:
        # It trains nothing, so that it may share what it likes.
        return model
    if not model.compiled:
        raise SpecError(
            f"{spec.file}:{spec.line}: {builder} returned a model that is not compiled; "
            "call model.compile(...) before returning it"
        )
    if shared := SHARED.shared_name(model, made, seed):
        raise SpecError(
            f"{spec.file}:{spec.line}: {shared} is made once, outside {builder}, and every candidate "
            "trains it: each would start from what the one before it has learned. Make it inside "
            f"{builder}, or freeze it (trainable = False)"
        )
    if members_of(hp.values):
        return model  # of members that were trained, and are not trained on
    if spec.validation.ensemble:
        check_member(spec, model, made)
    if second := fine_tuning(spec, hp, model):
        SHARED.keep(variable for variable in second.variables if id(variable) not in made)
    return model


def _take_for_promotion(hp: ReadHyperParameters, task: TrialTask) -> Candidate | None:
    """Return a kept model for a promotion, with random states as after its build; None if there is none."""
    if task.continue_from is None:
        return None
    kept = compiled_pool.POOL.again(task.continue_from, own_values(hp.values), task.seed, hp.names)
    if kept is None:
        return None
    candidate, origin = kept
    hp.add_read(origin.read)
    random_state, numpy_state = origin.random_states
    random.setstate(random_state)
    np.random.set_state(numpy_state)
    return candidate


def _step_signature(spec: Spec, parts: tuple[Part, Part]) -> str | None:
    """Return the types and shapes that a compiled step depends on; None where none can be reused."""
    if not is_tensorflow() or overrides_fit(spec.model):
        return None
    if parts[0].steps is not None:
        return None
    described = [f"batches of {spec.fit.batch_size}, weighed {spec.fit.class_weight is not None}"]
    for part in parts:
        arrays = part.x, part.y, part.sample_weight
        if part.stream is not None or any(
            not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "OUS"
            for leaf in keras.tree.flatten(arrays)
            if leaf is not None
        ):
            return None
        shapes = keras.tree.map_structure(
            lambda leaf: f"{leaf.dtype}{leaf.shape[1:]}", arrays, none_is_leaf=False
        )
        frames = {name: [*map(str, columns)] for name, columns in part.frames.items()}
        described.append(f"{shapes!r} {frames}")
    return "; ".join(described)
