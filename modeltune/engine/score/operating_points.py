"""Choose the thresholds from which on outputs say yes, and refuse points that they do not have. No Keras is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from modeltune.engine.data import Part
from modeltune.engine.score.task_report import Output, answers_of, task_name
from modeltune.engine.score.task_samples import of_counted
from modeltune.ground import SpecError, error_line, typed
from modeltune.records import (
    DECIDED,
    Answers,
    Array,
    DecisionCurve,
    OperatingPoint,
    UndefinedMetricError,
    call_metric,
    decision_curve,
    names_of_output,
)
from modeltune.specs import (
    DECISION_METRICS,
    DecidedMetric,
    Gate,
    PerClass,
    Predictions,
    Spec,
    Threshold,
)

Points: TypeAlias = Mapping[str, OperatingPoint]
"""By an output's name from where on it says yes."""

MOST_TRIED = 1000
"""The most thresholds that a function of the author's is called at."""

DRAWS, MOST_DRAWN = 200, 100_000
"""Resamples that show how stable a threshold is, and the most samples of which they are drawn."""

FEW_POSITIVES = 30
"""With fewer samples of either class, how unstable a threshold is is noted."""

TIE = 1e-12
"""Scores that are so near are equal: their sums are rounded."""

UNDECIDED = 0.5
"""The threshold of a label of which validation has only one kind."""


@dataclass(frozen=True)
class Choice:
    """A threshold of one class or label: what it came to on n samples, and its spread over resamples."""

    threshold: float
    score: float | None
    positives: int
    low: float | None = None
    high: float | None = None


def at_points(outputs: Sequence[Output], points: Points) -> list[Output]:
    """Return the outputs, those that have a point at it."""
    return [replace(o, point=points[o.name]) if o.name in points else o for o in outputs]


def kept_points(thresholds: Mapping[str, tuple[float, ...]]) -> Points:
    """Return the points of recorded thresholds, which are kept by output, that of a single one as ``output``."""
    return {
        "" if name == "output" else name: OperatingPoint(values, "")
        for name, values in thresholds.items()
    }


def points_of(
    spec: Spec, part: Part, on_part: Callable[[], Sequence[Output]], on_test: Sequence[Output]
) -> Points:
    """Return from where on the outputs of a model say yes, nothing where its spec does not tell.

    Args:
        spec: says how a threshold is chosen, or which it is.
        part: what it is chosen on.
        on_part: returns the outputs on this part.
        on_test: the outputs on test.

    Raises:
        SpecError: as ``chosen_points``.
    """
    if spec.threshold is None:
        return {}
    if isinstance(spec.threshold, Threshold):
        return chosen_points(spec.threshold, on_part(), part.name, part.metadata)
    return declared_points(spec.threshold, on_test)


def declared_points(rule: float, outputs: Sequence[Output]) -> dict[str, OperatingPoint]:
    """Return the points of a number that a spec declares.

    Raises:
        SpecError: the predictions are no probabilities.
    """
    points = {}
    for output, answers in _decided(outputs):
        _require_probabilities(rule, answers)
        labels = 1 if answers.task == "binary" else answers.truth.shape[1]
        points[output.name] = OperatingPoint((float(rule),) * labels, typed(rule))
    return points


def chosen_points(
    rule: Threshold, outputs: Sequence[Output], part: str, metadata: Any = None
) -> dict[str, OperatingPoint]:
    """Choose the threshold of each output that says yes or no, of labels each for itself.

    Args:
        rule: what is largest or smallest at it.
        outputs: the model's on a part that it was not trained on.
        part: the name of that part.
        metadata: what is known of its samples, for a function that takes them.

    Raises:
        SpecError: the part has one class only, the predictions are no probabilities, or the author's
            function raised or returned no number.
    """
    points = {}
    known = of_counted(outputs, metadata)
    for output, answers in _decided(outputs):
        _require_probabilities(rule, answers)
        one_by_one = [answers]
        if answers.task == "multilabel":
            one_by_one = [answers.of_class(label) for label in range(answers.truth.shape[1])]
        choices = []
        for one in one_by_one:
            try:
                choices.append(choose(rule, one, known))
            except UndefinedMetricError as error:
                if answers.task == "binary":
                    raise _refusal(rule, f"{part} does not tell: {error}") from error
                choices.append(Choice(UNDECIDED, None, int(np.sum(one.truth == 1))))
        if all(choice.score is None for choice in choices):
            raise _refusal(rule, f"{part} does not tell: every label is all there or all missing")
        points[output.name] = OperatingPoint(
            thresholds=tuple(choice.threshold for choice in choices),
            rule=repr(rule),
            part=part,
            samples=len(answers.truth),
            positives=tuple(choice.positives for choice in choices),
            scores=tuple(choice.score for choice in choices),
            low=tuple(choice.low for choice in choices),
            high=tuple(choice.high for choice in choices),
        )
    return points


def choose(rule: Threshold, one: Answers, metadata: Any = None) -> Choice:
    """Choose a threshold among the different scores of binary answers; of equally good ones the highest.

    A function is called at each, of more than ``MOST_TRIED`` at so many that are evenly spread over them.

    Raises:
        UndefinedMetricError: the answers are of one class.
        SpecError: the function raised, or returned no number.
    """
    one = replace(one, outputs=one.scores)
    curve = decision_curve(one)
    if rule.function is None:
        assert isinstance(rule.maximize, str)
        place = _best(curve.scores(rule.maximize))
        score = float(curve.scores(rule.maximize)[place])
        low, high = _spread(curve, one, rule.maximize)
        return Choice(float(curve.thresholds[place]), score, curve.positives, low, high)
    tried = curve.thresholds
    if len(tried) > MOST_TRIED:
        tried = tried[np.unique(np.linspace(0, len(tried) - 1, MOST_TRIED).round().astype(int))]
    scores = np.array(
        [own_score(rule, rule.function, one, float(threshold), metadata) for threshold in tried]
    )
    if not np.isfinite(scores).any():
        raise _refusal(rule, "the function returned no finite number at any threshold")
    place = _best(-scores if rule.cost is not None else scores)
    return Choice(float(tried[place]), float(scores[place]), curve.positives)


def own_score(
    rule: Threshold,
    function: Callable[..., Any],
    one: Answers,
    threshold: float,
    metadata: Any = None,
) -> float:
    """Return what a function of the author's gives at a threshold.

    Raises:
        SpecError: it raised, or returned no number.
    """
    try:
        return float(np.mean(call_metric(DecidedMetric(function, threshold), {"": one}, metadata)))
    except (Exception, SystemExit) as error:
        raise _refusal(
            rule, f"the function raised at a threshold of {threshold:.4g}: {error_line(error)}"
        ) from error


def _best(scores: Array) -> int:
    """Return the first of the largest, those of falling thresholds; numbers that are not finite are none."""
    known = np.where(np.isfinite(scores), scores, -np.inf)
    return int(np.argmax(known >= known.max() - TIE * max(1.0, abs(float(known.max())))))


def _spread(curve: DecisionCurve, one: Answers, metric: str) -> tuple[float | None, float | None]:
    """Return between which 90 % of the thresholds lie that resamples of each class choose."""
    truth = one.truth == 1
    if len(truth) > MOST_DRAWN:
        return None, None
    random = np.random.default_rng(0)
    steps = np.searchsorted(-curve.thresholds, -one.scores)  # of each sample, by falling thresholds
    drawn = []
    for _ in range(DRAWS):
        taken = []
        for of_class in (steps[truth], steps[~truth]):
            picked = of_class[random.integers(0, len(of_class), len(of_class))]
            taken.append(np.cumsum(np.bincount(picked, minlength=len(curve.thresholds))))
        again = replace(curve, right=taken[0], wrong=taken[1])
        drawn.append(curve.thresholds[_best(again.scores(metric))])
    low, high = np.quantile(np.array(drawn, np.float64), [0.05, 0.95], method="nearest")
    return float(low), float(high)


def notes_on_points(points: Points, outputs: Sequence[Output]) -> Iterator[str]:
    """Yield how unstable a threshold is that few samples chose, and labels that have none."""
    names = {output.name: output.class_names for output in outputs}
    for name, point in points.items():
        of = f" of output {name}" if name else ""
        for label, threshold in enumerate(point.thresholds if point.part else ()):
            which = f" of label {names[name].label(label)}" if len(point.thresholds) > 1 else ""
            positives = point.positives[label]
            fewest = min(positives, point.samples - positives)
            if point.scores[label] is None:
                yield (
                    f"the threshold{which}{of} stays at {UNDECIDED}: {positives} of the "
                    f"{point.samples} samples of {point.part} have it"
                )
            elif fewest < FEW_POSITIVES:
                kind = "with" if fewest == positives else "without"
                low, high = point.low[label], point.high[label]
                spread = ""
                if low is not None and high is not None:
                    spread = f"; resamples of it choose one from {low:.4g} to {high:.4g}, nine times of ten"
                yield (
                    f"the threshold {threshold:.4g}{which}{of} is chosen on {fewest} samples {kind} a "
                    f"yes in {point.part}, and is unstable{spread}"
                )


def threshold_problems_of(
    spec: Spec, outputs: Sequence[Output], model: object = None
) -> Iterator[str]:
    """Say why none of these outputs has a threshold to choose.

    Args:
        model: what is given, if predictions: they are of test alone.
    """
    rule = spec.threshold
    if rule is None:
        return
    where = f"threshold: {typed(rule)}"
    tasks = [task_name(output) for output in outputs]
    if not any(task in DECIDED for task in tasks):
        listed = ", ".join(dict.fromkeys(tasks)) or "not known"
        yield (
            f"{where}: the task is {listed}, and only answers of yes or no, of two classes or of labels, "
            "have a threshold; leave it out"
        )
    elif all(o.is_hard for o, task in zip(outputs, tasks, strict=True) if task in DECIDED):
        yield (
            f"{where}: the model predicts classes, and no probabilities, so that there is no threshold to "
            "choose; leave it out"
        )
    elif isinstance(rule, Threshold) and isinstance(model, Predictions):
        yield (
            f"{where}: it is chosen on validation, and the predictions are those of test; write the "
            "threshold as a number, threshold=0.3, or return what made them, an object with predict(x)"
        )


def check_threshold(spec: Spec, validation: Part) -> None:
    """Refuse a threshold that validation cannot choose, and a function that fails on its targets.

    Raises:
        SpecError: says what, before anything is trained.
    """
    rule = spec.threshold
    if not isinstance(rule, Threshold):
        return
    if not validation.size:
        raise _refusal(
            rule,
            "it is chosen on validation, and there is none; return mt.Data(validation=(x, y), test=...), "
            "or write the threshold as a number, threshold=0.3",
        )
    labels = validation.classes
    y = validation.y
    if isinstance(y, np.ndarray) and y.size == len(y) and y.dtype.kind in "biuf":
        labels = frozenset(np.unique(y).tolist())
    if labels is not None and len(labels) == 1:
        names = names_of_output(validation.class_names, "")
        raise _refusal(
            rule,
            f"validation has the class {names.label(next(iter(labels)))} only, and a threshold is between two; "
            "return samples of both",
        )
    if rule.function is not None and isinstance(y, np.ndarray) and labels == frozenset((0, 1)):
        # What the function does with decisions that are all right shows early whether it works.
        truth = y.reshape(-1).astype(int)
        one = Answers("binary", truth, truth.astype(np.float64), truth)
        own_score(rule, rule.function, one, 0.5, validation.metadata)


def _decided(outputs: Sequence[Output]) -> Iterator[tuple[Output, Answers]]:
    for output in outputs:
        answers = answers_of(output) if task_name(output) in DECIDED else None
        if answers is not None and np.isfinite(output.predicted).all():
            yield output, answers


def _require_probabilities(rule: Threshold | float, answers: Answers) -> None:
    try:
        _ = answers.probabilities
    except UndefinedMetricError as error:
        raise _refusal(
            rule,
            f"{error}; end the model in a sigmoid or softmax, or give its loss from_logits=True",
        ) from error


def _refusal(rule: Threshold | float, text: str) -> SpecError:
    return SpecError(f"threshold: {typed(rule)}: {text}")


def point_problems(spec: Spec, outputs: Sequence[Output]) -> Iterator[str]:
    """Name the gates on a point of a curve that these outputs do not have."""
    for index, gate in enumerate(spec.gates):
        if not isinstance(gate, Gate) or gate.measure.point is None:
            continue
        measure, where = gate.measure, f"gates[{index}]: {gate!r}"
        prefixes = [o.prefix for o in outputs if o.prefix and measure.metric.startswith(o.prefix)]
        prefix = max(prefixes, key=len, default="")
        is_own, base = measure.function is not None, measure.metric.removesuffix(str(measure.point))
        if is_own and base in DECISION_METRICS:
            yield f"{where}: a metric of this name is measured without it; give the function another name"
            continue
        meant = [output for output in outputs if is_own or output.prefix == prefix]
        tasks = [task_name(output) for output in meant]
        if not is_own and base.removeprefix(prefix) not in DECISION_METRICS:
            names = [f"{o.prefix}{name}" for o in outputs for name in DECISION_METRICS]
            yield f'{where}: no metric "{measure.metric}" in {spec.id}; .at takes {", ".join(names)}'
        elif not any(task in DECIDED for task in tasks):
            listed = ", ".join(dict.fromkeys(tasks)) or "not known"
            yield (
                f"{where}: the task is {listed}, and only answers of yes or no, of two classes or of "
                "labels, have a threshold; leave out .at(...)"
            )
        elif all(output.is_hard for output in meant):
            yield (
                f"{where}: the model predicts classes, and no probabilities, so that there is no "
                "threshold to choose; leave out .at(...)"
            )
        elif isinstance(measure.slices, PerClass) and "multilabel" not in tasks:
            yield f"{where}: of two classes it is of class 1; leave out .per_class()"
