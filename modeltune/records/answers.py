"""What a model answered on samples beside the truth, and the usual metrics of these answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modeltune.records.class_names import ClassNames
from modeltune.records.decision_curves import DecisionCurve, decision_scores
from modeltune.specs import CONDITIONS, DECISION_METRICS

Array: TypeAlias = NDArray[Any]

BINS = 15
"""Bins of equal width by which ``ece`` compares confidence with accuracy."""

TOP = (3, 5)
"""The k of the ``top_k`` that every report has, where there are more classes."""

MOST_RANKED = 1 << 22
"""Probabilities that are put in order for a report that no gate asked for."""


class UndefinedMetricError(ValueError):
    """A metric has no value on these samples; the message says what is missing.

    ``traceback`` is that of what a function of the author's raised, None of ours.
    """

    def __init__(self, reason: str, traceback: str | None = None):
        super().__init__(reason)
        self.traceback = traceback


@dataclass(frozen=True, eq=False)
class Answers:
    """The truth and what was predicted of n samples, or of places in them, for one output.

    Args:
        task: "binary", "multiclass", "multilabel", "regression", or "quantiles" where several
            numbers are predicted for one.
        truth: the class, int of shape (n,); which labels there are, bool of shape (n, k); or
            numbers, (n,) or (n, k).
        outputs: as predicted: probabilities of shape (n,) for class 1, or (n, k); or numbers, of the
            shape of the truth. None where they are not kept.
        labels: the predicted classes or labels, as the truth; of numbers the numbers.
    """

    task: str
    truth: Array
    outputs: Array | None
    labels: Array
    class_names: ClassNames = field(default_factory=ClassNames)

    def take(self, rows: Array) -> Answers:
        """Return the answers on some samples."""
        outputs = None if self.outputs is None else self.outputs[rows]
        return replace(self, truth=self.truth[rows], outputs=outputs, labels=self.labels[rows])

    def of_class(self, label: int) -> Answers:
        """Return the binary answers to whether a sample has a class, or a label."""
        columns = self.outputs
        if self.task == "multilabel":
            truth, labels = self.truth[:, label], self.labels[:, label]
        else:
            truth, labels = self.truth == label, self.labels == label
        column = columns
        if columns is not None:
            if columns.ndim == 2:
                column = columns[:, label]
            elif label != 1:
                column = 1 - columns
        return Answers("binary", truth.astype(int), column, labels.astype(int))

    @property
    def scores(self) -> Array:
        """The probabilities: of class 1 where there are two classes, else (n, k).

        Raises:
            UndefinedMetricError: only classes were predicted.
        """
        if self.outputs is None:
            raise UndefinedMetricError("classes are predicted, and no probabilities")
        if self.task == "binary" and self.outputs.ndim == 2:
            return self.outputs[:, 1]
        return self.outputs

    @property
    def probabilities(self) -> Array:
        """As ``scores``.

        Raises:
            UndefinedMetricError: some are below 0 or above 1, or those of a sample do not add up to 1.
        """
        shares = self.scores
        low, high = float(shares.min(initial=0)), float(shares.max(initial=0))
        if low < 0 or high > 1 + 1e-6:
            raise UndefinedMetricError(
                f"the predictions are no probabilities: they go from {low:.4g} to {high:.4g}"
            )
        if self.task == "multiclass" and len(shares):
            sums = shares.sum(axis=1, dtype=np.float64)
            if np.abs(sums - 1).max() > 1e-3:
                raise UndefinedMetricError(
                    "the predictions are no probabilities: those of a sample add up to "
                    f"{sums[np.abs(sums - 1).argmax()]:.4g}"
                )
        return shares


Metric: TypeAlias = Callable[[Answers], float]


@dataclass(frozen=True)
class UsualMetric:
    """A metric of a task's answers that is measured whatever a model was compiled with.

    Args:
        compute: raises ``UndefinedMetricError`` where the samples give no value.
        values: its value on each sample where it is their mean, (n,).
        needs_outputs: whether it takes more than the predicted classes.
        is_ranked: whether it puts the samples in order, which takes time for many classes.
    """

    compute: Metric
    values: Callable[[Answers], Array] | None = None
    needs_outputs: bool = True
    is_ranked: bool = False


def usual_metric(task: str, name: str) -> UsualMetric | None:
    """Return the metric that a task has under a name, None where it has none."""
    if (known := METRICS.get(task, {}).get(name)) is not None:
        return known
    if task in DECIDED and (match := _AT_A_POINT.fullmatch(name)):
        return _at_a_point(task, *match.groups())
    if task == "multiclass" and (match := re.fullmatch(r"top_([1-9]\d{0,5})", name)):
        return _top(int(match[1]))
    if task == "regression" and (match := re.fullmatch(r"(ae|error)_q(\d\d)", name)):
        return _quantile(match[1], int(match[2]) / 100)
    return None


def is_usual(metric: str) -> bool:
    """Tell whether some task has a metric of this name, of an output whose name it begins with."""
    parts = metric.split("_")
    ends = ["_".join(parts[place:]) for place in range(len(parts))]
    return any(usual_metric(task, name) for task in METRICS for name in ends)


def usual_names(task: str, classes: int = 0) -> tuple[str, ...]:
    """Return the metrics that every report of a task has, of so many classes."""
    names = tuple(name for name in METRICS.get(task, {}) if name != "coverage")
    if task == "multiclass":
        names += tuple(f"top_{k}" for k in TOP if k < classes)
    return names + (("error_q05", "error_q95", "ae_q90") if task == "regression" else ())


def usual_scores(
    answers: Answers, asked: Iterator[str] | tuple[str, ...] = ()
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics that every report of these answers has and those asked for, by name.

    The second is by name why there is none.
    """
    outputs = answers.outputs
    classes = outputs.shape[1] if outputs is not None and outputs.ndim == 2 else 2
    asked = tuple(asked)
    is_large = outputs is not None and outputs.size > MOST_RANKED and outputs.ndim == 2
    numbers: dict[str, float] = {}
    undefined: dict[str, str] = {}
    for name in dict.fromkeys((*usual_names(answers.task, classes), *asked)):
        metric = usual_metric(answers.task, name)
        if metric is None or (metric.is_ranked and is_large and name not in asked):
            continue
        try:
            numbers[name] = float(metric.compute(answers))
        except UndefinedMetricError as error:
            undefined[name] = str(error)
    return numbers, undefined


# Ranks


def roc_auc(answers: Answers) -> float:
    """Return the area under the ROC curve; of several classes the mean of each against the rest.

    By ranks, those of equal scores shared (Mann & Whitney): as scikit-learn's ``roc_auc_score``
    with ``multi_class="ovr"``, of labels with ``average="macro"``.
    """
    return _mean_of_classes(answers, _area)


def average_precision(answers: Answers) -> float:
    """Return the average precision, the mean over classes or labels, as scikit-learn's."""
    return _mean_of_classes(answers, _average_precision)


def structural_components(truth: Array, scores: Array) -> tuple[Array, Array]:
    """Return for each sample of class 1 the share of the others below it, and for each other sample
    the share of class 1 above it; equal scores count half. The mean of either is the area.

    By midranks, as Sun & Xu (IEEE Signal Processing Letters 21, 2014, 1389-1393) compute the
    components of DeLong, DeLong & Clarke-Pearson (Biometrics 44, 1988, 837-845).
    """
    from scipy.stats import rankdata

    of_all = rankdata(scores)
    positive, negative = scores[truth], scores[~truth]
    above = (of_all[truth] - rankdata(positive)) / len(negative)
    below = 1 - (of_all[~truth] - rankdata(negative)) / len(positive)
    return above, below


def require_both(truth: Array, names: ClassNames | None = None) -> None:
    """Refuse samples of one class, of which neither an area nor a precision is defined.

    Raises:
        UndefinedMetricError: all samples are of a class, or none is.
    """
    if not truth.any() or truth.all():
        raise UndefinedMetricError(_one_class(truth, names or ClassNames()))


def _one_class(truth: Array, names: ClassNames) -> str:
    if not len(truth):
        return "no samples"
    return f"all {len(truth)} samples are of class {names.label(int(truth.all()))}"


def _mean_of_classes(answers: Answers, of_class: Callable[[Array, Array], float]) -> float:
    scores = answers.scores
    if answers.task == "binary":
        require_both(answers.truth == 1, answers.class_names)
        return of_class(answers.truth == 1, scores)
    areas = []
    for label in range(scores.shape[1]):
        one = answers.of_class(label)
        truth = one.truth == 1
        if not truth.any() or truth.all():
            lack = "no" if not truth.any() else "only"
            what = "label" if answers.task == "multilabel" else "class"
            raise UndefinedMetricError(
                f"there are {lack} samples of {what} {answers.class_names.label(label)}"
            )
        areas.append(of_class(truth, scores[:, label]))
    return float(np.mean(areas))


def _area(truth: Array, scores: Array) -> float:
    return float(structural_components(truth, scores)[0].mean())


def _average_precision(truth: Array, scores: Array) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], truth[order]
    # Equal scores are drawn together: the last of each decides.
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = np.cumsum(hit)[last]
    precision = found / (last + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])


def _micro(metric: Metric) -> Metric:
    """Return a metric of all labels of all samples together."""

    def pooled(answers: Answers) -> float:
        outputs = None if answers.outputs is None else answers.outputs.reshape(-1)
        flat = (
            answers.truth.reshape(-1).astype(int),
            outputs,
            answers.labels.reshape(-1).astype(int),
        )
        return metric(Answers("binary", *flat))

    return pooled


# Probabilities


def log_loss(answers: Answers) -> float:
    """Return scikit-learn's ``log_loss``: of float32, probabilities are kept above 1.2e-7."""
    from sklearn import metrics

    _require_samples(answers)
    return float(metrics.log_loss(answers.truth, answers.probabilities, labels=_labels(answers)))


def brier(answers: Answers) -> float:
    """Return the mean squared distance of probabilities from the truth; of several classes their sum.

    As scikit-learn's ``brier_score_loss``.
    """
    _require_samples(answers)
    if answers.task == "binary":
        from sklearn import metrics

        return float(metrics.brier_score_loss(answers.truth, answers.probabilities, pos_label=1))
    return float(np.mean(_brier_values(answers)))


def ece(answers: Answers) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, in bins.

    15 bins of equal width, weighted by their samples (Guo et al., ICML 2017). The confidence is
    that in the predicted class; of two classes it is the probability of class 1.
    """
    _require_samples(answers)
    shares = answers.probabilities.astype(np.float64)
    if answers.task == "binary":
        sure, right = shares, answers.truth == 1
    else:
        sure, right = shares.max(axis=1), shares.argmax(axis=1) == answers.truth
    bins = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    apart = np.bincount(bins, sure, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(apart).sum() / len(sure))


def _log_loss_values(answers: Answers) -> Array:
    shares = answers.probabilities
    if answers.task == "binary":
        of_truth = np.where(answers.truth == 1, shares, 1 - shares)
    else:
        of_truth = shares[np.arange(len(shares)), answers.truth]
    tiny = np.finfo(shares.dtype).eps
    return np.asarray(-np.log(np.clip(of_truth, tiny, 1 - tiny), dtype=np.float64))


def _brier_values(answers: Answers) -> Array:
    shares = answers.probabilities.astype(np.float64)
    if answers.task == "binary":
        return np.asarray(np.square(shares - answers.truth))
    return np.asarray(np.square(shares - np.eye(shares.shape[1])[answers.truth]).sum(axis=1))


def _labels(answers: Answers) -> list[int]:
    shares = answers.scores
    return list(range(2 if shares.ndim == 1 else shares.shape[1]))


def _top(k: int) -> UsualMetric:
    def values(answers: Answers) -> Array:
        scores = answers.scores
        if k >= scores.shape[1]:
            raise UndefinedMetricError(
                f"there are {scores.shape[1]} classes, all of them in the top {k}"
            )
        # Of equal scores the last class counts first, as in scikit-learn's top_k_accuracy_score.
        best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
        return np.asarray((best == answers.truth[:, None]).any(axis=1))

    def compute(answers: Answers) -> float:
        _require_samples(answers)
        return float(np.mean(values(answers)))

    return UsualMetric(compute, values)


# Classes


def balanced_accuracy(answers: Answers) -> float:
    """Return the mean recall over the classes there are, as scikit-learn's."""
    right, true, _ = _counts(answers)
    return float((right[true > 0] / true[true > 0]).mean())


def mcc(answers: Answers) -> float:
    """Return Matthews's correlation coefficient, 0 where truth or predictions are all of one class.

    As scikit-learn's ``matthews_corrcoef``.
    """
    right, true, named = (counts.astype(np.float64) for counts in _counts(answers))
    n = true.sum()
    covariance = right.sum() * n - true @ named
    spread = (n * n - true @ true) * (n * n - named @ named)
    return float(covariance / math.sqrt(spread)) if spread > 0 else 0.0


def false_positive_rate(answers: Answers) -> float:
    """Return 1 minus the specificity: the share of the others that are taken for class 1."""
    return 1 - specificity(answers)


def specificity(answers: Answers) -> float:
    """Return the share of the samples not of class 1 that are not taken for it.

    Of several classes it is the mean over those that there are samples of, each against the rest.
    """
    right, true, named = _counts(answers)
    n = true.sum()
    others = n - true
    if answers.task == "binary":
        if not others[1]:
            raise UndefinedMetricError(_one_class(answers.truth == 1, answers.class_names))
        return float((others - (named - right))[1] / others[1])
    if not others.all():
        raise UndefinedMetricError("all samples are of one class")
    return float(((others - (named - right)) / others)[true > 0].mean())


def _counts(answers: Answers) -> tuple[Array, Array, Array]:
    """Return by class how many are predicted right, how many are true and how many predicted."""
    _require_samples(answers)
    truth, labels = answers.truth, answers.labels
    classes = max(int(truth.max()), int(labels.max()), 1) + 1
    right = np.bincount(truth[truth == labels], minlength=classes)
    return right, np.bincount(truth, minlength=classes), np.bincount(labels, minlength=classes)


def _require_samples(answers: Answers) -> None:
    if not len(answers.truth):
        raise UndefinedMetricError("no samples")


def _micro_share(over: str) -> Metric:
    def share(answers: Answers) -> float:
        right = np.count_nonzero(answers.truth & answers.labels)
        true, named = np.count_nonzero(answers.truth), np.count_nonzero(answers.labels)
        whole = {"precision": named, "recall": true, "f1": (true + named) / 2}[over]
        return right / whole if whole else 0.0

    return share


# Operating points


DECIDED = ("binary", "multilabel")
"""The tasks whose answers are yes or no, decided at a threshold."""

_AT_A_POINT = re.compile(
    rf"({'|'.join(DECISION_METRICS)})\.at\(({'|'.join(CONDITIONS)})=([0-9.e+-]+)\)"
)
"""The names of metrics at a point of their curve: ``recall.at(precision=0.9)``."""


def at_threshold(answers: Answers, threshold: float) -> Answers:
    """Return binary answers, or labels, that are decided at a threshold: yes where the score is at least it.

    Raises:
        UndefinedMetricError: the task knows no threshold, or the predictions are no probabilities.
    """
    if answers.task not in DECIDED:
        raise UndefinedMetricError(f"the task is {answers.task}, which has no threshold")
    return replace(
        answers, labels=(answers.probabilities >= threshold).astype(answers.labels.dtype)
    )


def decision_curve(answers: Answers) -> DecisionCurve:
    """Return the curve of binary answers.

    Raises:
        UndefinedMetricError: there is no sample of class 1, or no other.
    """
    truth = answers.truth == 1
    require_both(truth)
    return DecisionCurve.of(truth, answers.scores)


def _at_a_point(task: str, metric: str, condition: str, number: str) -> UsualMetric:
    """Return a metric of class 1 at a point; of labels the mean over them, each at its own."""
    value, is_decided = float(number), condition == "threshold"

    def of_class(one: Answers) -> float:
        if is_decided:
            return _decided_score(metric, at_threshold(one, value))
        best = decision_curve(one).best(metric, condition, value)
        if best is None:
            raise UndefinedMetricError(f"no threshold has a {condition} of {value:g}")
        return best

    def compute(answers: Answers) -> float:
        _require_samples(answers)
        if answers.task == "binary":
            return of_class(replace(answers, outputs=answers.scores))
        scores = []
        for label in range(answers.scores.shape[1]):
            try:
                scores.append(of_class(answers.of_class(label)))
            except UndefinedMetricError as error:
                raise UndefinedMetricError(f"of label {label}: {error}") from error
        return float(np.mean(scores))

    def is_right(answers: Answers) -> Array:
        return np.asarray(at_threshold(answers, value).labels == answers.truth)

    is_per_sample = metric == "accuracy" and is_decided and task == "binary"
    return UsualMetric(compute, is_right if is_per_sample else None, is_ranked=not is_decided)


def _decided_score(metric: str, answers: Answers) -> float:
    truth, taken = answers.truth == 1, answers.labels == 1
    right, wrong = np.sum(truth & taken), np.sum(~truth & taken)
    positives = int(truth.sum())
    score = float(decision_scores(metric, right, wrong, positives, len(truth) - positives))
    if math.isnan(score):
        raise UndefinedMetricError(_one_class(truth, answers.class_names))
    return score


# Numbers


def median_ae(answers: Answers) -> float:
    """Return the median of absolute errors, the mean over target columns, as scikit-learn's."""
    _require_samples(answers)
    error = np.abs(answers.labels.astype(np.float64) - answers.truth)
    return float(np.median(error, axis=0).mean())


def coverage(answers: Answers) -> float:
    """Return the share of targets from the lowest to the highest of the quantiles predicted."""
    return float(np.mean(_covered(answers)))


def _covered(answers: Answers) -> Array:
    _require_samples(answers)
    low, high = answers.scores.min(axis=1), answers.scores.max(axis=1)
    return np.asarray((low <= answers.truth) & (answers.truth <= high))


def _quantile(kind: str, share: float) -> UsualMetric:
    def compute(answers: Answers) -> float:
        _require_samples(answers)
        truth = answers.truth.astype(np.float64)
        error = (answers.labels.astype(np.float64) - truth).reshape(len(truth), -1)
        error = np.abs(error) if kind == "ae" else error
        return float(np.quantile(error, share, axis=0).mean())

    return UsualMetric(compute, needs_outputs=False)


_RANKS = {
    "roc_auc": UsualMetric(roc_auc, is_ranked=True),
    "average_precision": UsualMetric(average_precision, is_ranked=True),
}
_OF_CLASSES = {
    **_RANKS,
    "log_loss": UsualMetric(log_loss, _log_loss_values),
    "brier": UsualMetric(brier, _brier_values),
    "ece": UsualMetric(ece),
    "balanced_accuracy": UsualMetric(balanced_accuracy, needs_outputs=False),
    "mcc": UsualMetric(mcc, needs_outputs=False),
    "false_positive_rate": UsualMetric(false_positive_rate, needs_outputs=False),
    "specificity": UsualMetric(specificity, needs_outputs=False),
}
METRICS: Mapping[str, Mapping[str, UsualMetric]] = {
    "binary": _OF_CLASSES,
    "multiclass": _OF_CLASSES,
    "multilabel": {
        **_RANKS,
        "roc_auc_micro": UsualMetric(_micro(roc_auc), is_ranked=True),
        "average_precision_micro": UsualMetric(_micro(average_precision), is_ranked=True),
        **{
            f"{name}_micro": UsualMetric(_micro_share(name), needs_outputs=False)
            for name in ("precision", "recall", "f1")
        },
    },
    "regression": {"median_ae": UsualMetric(median_ae, needs_outputs=False)},
    "quantiles": {"coverage": UsualMetric(coverage, _covered)},
}
"""The usual metrics by task and name; ``usual_metric`` has more whose name holds a number."""
