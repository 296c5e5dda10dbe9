"""Say which gates ask for a point of a curve that the model's outputs do not have. No Keras is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modeltune.engine.score.task_report import Output, task_name
from modeltune.records import DECIDED
from modeltune.specs import DECISION_METRICS, Gate, PerClass, Spec


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
