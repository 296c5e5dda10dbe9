"""Name the gates whose metric is not measured, before anything is judged. No Keras is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modeltune.specs import NEGATIVE_FLIPS, RESOURCES, Behaviour, KFold, Spec, Subject, metric


def gate_problems(
    spec: Spec, measured: list[str], resources: Collection[str] = RESOURCES
) -> Iterator[str]:
    """Name the gates, and the metrics of the spec, that are none of what is measured.

    Gates on other resources than these are left to the caller.
    """
    names = {*measured, *resources}
    # Wherever a sample is right or wrong, it may have been right before.
    flips = {
        f"{name.removesuffix('recall')}{NEGATIVE_FLIPS}"
        for name in measured
        if name == "recall" or name.endswith("_recall")
    }
    if isinstance(spec.validation, KFold):
        names |= {f"fold_{name}" for name in measured}
    for index, one in enumerate(spec.metrics):
        if isinstance(one, str) and one not in names:
            listed = ", ".join(sorted(names))
            yield f'metrics[{index}]: no metric "{one}" in {spec.id}; measured: {listed}'
        elif not isinstance(one, str) and metric(one).metric in names:
            yield (
                f'metrics[{index}]: "{metric(one).metric}" is what {spec.id} measures without it too; '
                "give the function another name"
            )
    for index, gate in enumerate(spec.gates):
        if isinstance(gate, Behaviour) or (
            gate.measure.key in RESOURCES and gate.measure.key not in resources
        ):
            continue
        if gate.measure.subject is Subject.GAIN_OVER:
            continue  # it names no metric
        if gate.measure.point is not None:
            continue  # ``point_problems`` knows more of them
        available = names | flips if gate.measure.subject is Subject.METRIC else set(measured)
        if gate.measure.function is not None:
            if gate.measure.metric in available:
                yield (
                    f'gates[{index}]: {gate!r}: "{gate.measure.metric}" is what {spec.id} measures '
                    "without it too; give the function another name"
                )
        elif gate.measure.metric not in available:
            yield (
                f'gates[{index}]: {gate!r}: no metric "{gate.measure.metric}" in {spec.id}; '
                f"measured: {', '.join(sorted(available))}"
            )
