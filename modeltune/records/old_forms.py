"""Verdicts of records written before schema 2: their gates' text and loose details, typed once.

Nothing else reads a gate's text. What an old record does not say stays None.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from modeltune.records.check_codes import LOSS_IS_FINITE
from modeltune.records.check_details import (
    ClassCounts,
    ConstantFeatures,
    Drift,
    Duplicates,
    MetricPairs,
    Overlap,
    RefitScores,
    WinnerAtBounds,
)
from modeltune.records.facts import (
    Area,
    BehaviourFacts,
    CheckFacts,
    Facts,
    MetricFacts,
    Quantity,
    ReferenceFacts,
    SliceRule,
)
from modeltune.records.plain_data import Json, from_plain
from modeltune.records.probes import Counterexample, Probe
from modeltune.records.verdicts import (
    BehaviourResult,
    Details,
    MeasuredInterval,
    Outcome,
    Regression,
    SliceResult,
    SliceResults,
    Verdict,
)
from modeltune.specs import RESOURCES, Kind, Operator, Severity, Source, Statistic, Waiver

_T = TypeVar("_T")

AREAS = {"checks": Area.DATA, "search": Area.SEARCH, "integrity": Area.MODEL}
"""By the first part of a check's name what it looks at."""

CHECK_DETAILS: Mapping[str, type[Any]] = {
    "checks.overlap": Overlap,
    "checks.duplicates": Duplicates,
    "checks.constant_features": ConstantFeatures,
    "checks.drift": Drift,
    "integrity.evaluate": MetricPairs,
    "search.refit": RefitScores,
    "search.bounds": WinnerAtBounds,
}
"""By a check's name the type of its details, whose keys were the fields' names even then."""

LONGEST_GATE = 10_000
"""Characters of a gate's text that is read."""


def old_verdict(
    gate: str, outcome: Outcome, measured: float | None, bound: float | None, reason: str,
    details: Json,
) -> Verdict:  # fmt: skip
    """Return the verdict of an old record, typed as far as its text and details tell."""
    loose = details if isinstance(details, Mapping) else {}
    verdict = Verdict(gate, outcome, measured, bound, reason, _facts(gate, loose))
    return replace(verdict, details=_details(verdict, loose))


# Facts, by the gate's text


class _Unreadable(Exception):
    """The text is no gate."""


def _facts(gate: str, details: Mapping[str, Json]) -> Facts | None:
    area = AREAS.get(gate.partition(".")[0])
    if gate == LOSS_IS_FINITE:
        return CheckFacts(Area.MODEL, gate)
    if area is not None:
        return CheckFacts(area, gate)
    if len(gate) > LONGEST_GATE:
        return None
    # A list of cases is printed by their number alone.
    text = re.sub(r"\[\d+ cases?\]", "[]", gate)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = ast.parse(text.strip(), mode="eval").body
        return _gate(parsed, None, details)
    except (_Unreadable, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _gate(node: ast.expr, waiver: Waiver | None, details: Mapping[str, Json]) -> Facts:
    """Return the facts of a comparison, or of a behaviour, with or without a waiver around it."""
    if isinstance(node, ast.Call) and _method(node) == "waive":
        return _gate(_owner(node), _waiver(node), details)
    if isinstance(node, ast.Call):
        return _behaviour(node, waiver, details)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise _Unreadable
    symbols = {ast.GtE: ">=", ast.LtE: "<=", ast.Gt: ">", ast.Lt: "<"}
    if type(node.ops[0]) not in symbols:
        raise _Unreadable
    statistic, slices, measure = Statistic.MEAN, None, node.left
    while not _is_ours(measure):
        if isinstance(measure, ast.Attribute):
            statistic, measure = Statistic(measure.attr), measure.value
        elif not isinstance(measure, ast.Call):
            raise _Unreadable
        elif _method(measure) == "waive":
            waiver, measure = waiver or _waiver(measure), _owner(measure)
        else:
            slices, measure = _slices(measure), _owner(measure)
    assert isinstance(measure, ast.Call)
    quantity, named = Quantity(_method(measure)), _keywords(measure)
    metric = _constant(measure.args[0]) if measure.args else None
    if not isinstance(metric, str):
        raise _Unreadable
    bound = node.comparators[0]
    number = _number(bound)
    return MetricFacts(
        quantity=Quantity.RESOURCE
        if quantity is Quantity.METRIC and metric in RESOURCES
        else quantity,
        metric=metric,
        comparison=Operator(symbols[type(node.ops[0])]),
        bound=number,
        reference=_reference(bound) if number is None else None,
        statistic=statistic,
        slices=slices,
        severity=Severity(named.get("severity", "fail")),
        waiver=waiver,
    )


def _is_ours(node: ast.expr) -> bool:
    """Tell ``mt.metric(...)`` and its like."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "mt"
    )


def _method(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _owner(node: ast.Call) -> ast.expr:
    if not isinstance(node.func, ast.Attribute):
        raise _Unreadable
    return node.func.value


def _constant(node: ast.expr | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _keywords(node: ast.Call) -> dict[str, Any]:
    return {keyword.arg or "": _constant(keyword.value) for keyword in node.keywords}


def _waiver(node: ast.Call) -> Waiver:
    named = _keywords(node)
    until, reason = named.get("until"), named.get("reason")
    if not isinstance(until, str) or not isinstance(reason, str):
        raise _Unreadable
    return Waiver(until, reason)


def _slices(node: ast.Call) -> SliceRule:
    least = _keywords(node).get("min_n", 30)
    name = _constant(node.args[0]) if _method(node) == "on" and node.args else None
    is_known = _method(node) == "per_class" or isinstance(name, str)
    if not is_known or not isinstance(least, int):
        raise _Unreadable
    return SliceRule(name, least)


def _number(node: ast.expr) -> float | None:
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    value = _constant(node.operand if isinstance(node, ast.UnaryOp) else node)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return sign * value if is_number else None


def _reference(node: ast.expr) -> ReferenceFacts:
    """Return the runs a bound names, and its margin where that is a factor and then an offset."""
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left), _number(node.right)
        number = left if right is None else right
        inner = _reference(node.right if right is None else node.left)
        if number is None:
            raise _Unreadable
        is_plain = (inner.factor, inner.offset) == (1.0, 0.0)
        has_no_offset = inner.factor is not None and inner.offset == 0.0
        if isinstance(node.op, ast.Mult) and is_plain:
            return ReferenceFacts(inner.source, inner.runs, number, 0.0)
        if isinstance(node.op, ast.Add | ast.Sub) and has_no_offset:
            offset = number if isinstance(node.op, ast.Add) else -number
            return ReferenceFacts(inner.source, inner.runs, inner.factor, offset)
        return ReferenceFacts(inner.source, inner.runs, None, None)
    if isinstance(node, ast.Call) and _is_ours(node) and _method(node) == "median":
        runs = _constant(node.args[0]) if node.args else None
        if isinstance(runs, int):
            return ReferenceFacts(Source.MEDIAN, runs)
    if isinstance(node, ast.Attribute) and node.attr in ("baseline", "previous"):
        return ReferenceFacts(Source(node.attr))
    raise _Unreadable


def _behaviour(
    node: ast.Call, waiver: Waiver | None, details: Mapping[str, Json]
) -> BehaviourFacts:
    if not _is_ours(node):
        raise _Unreadable
    named = _keywords(node)
    key, demand = details.get("key"), details.get("demand")
    action = named.get("severity") if isinstance(named.get("severity"), str) else None
    limit = named.get("max_violation")
    output = named.get("output")
    return BehaviourFacts(
        behaviour=Kind(_method(node)),
        key=key if isinstance(key, str) else "",
        demand=demand if isinstance(demand, str) else "",
        output=output if isinstance(output, str) else None,
        max_violation=limit if isinstance(limit, float) else None,
        severity=Severity(action or named.get("on_violation", "fail")),
        waiver=waiver,
    )


# Details, by their keys


def _details(verdict: Verdict, details: Mapping[str, Json]) -> Details | None:
    if isinstance(verdict.facts, CheckFacts):
        return _check_details(verdict.gate, details)
    if isinstance(details.get("slices"), list | tuple):
        slices = [_read(SliceResult, part) for part in details["slices"]]
        results = [_old_slice_result(result) for result in slices if result is not None]
        # The worst slice comes first, and its comparison is the gate's.
        worst = [replace(result, regression=_regression(details)) for result in results[:1]]
        return SliceResults((*worst, *results[1:]))
    if isinstance(name := details.get("slice"), str):
        n = details.get("slice_n", details.get("n"))
        numbers = (verdict.outcome, verdict.measured, verdict.bound, verdict.reason)
        if not isinstance(n, int):
            return None
        result = SliceResult(name, n, *numbers, regression=_regression(details))
        return SliceResults((_old_slice_result(result),))
    if "violations" in details or "counterexample" in details:
        return _behaviour_result(verdict, details)
    if "confidence" in details:
        low, high = _pair(details.get("interval"))
        named = {"low": low, "high": high, "confidence": details["confidence"]}
        return _read(MeasuredInterval, named)
    return _regression(details)


def _check_details(gate: str, details: Mapping[str, Json]) -> Details | None:
    if gate == "checks.labels":
        return _read(ClassCounts, {"outputs": details}) if details else None
    kind = CHECK_DETAILS.get(gate)
    typed_details: Details | None = _read(kind, details) if kind is not None else None
    return typed_details


def _old_slice_result(result: SliceResult) -> SliceResult:
    label = re.fullmatch(r"class (-?\d{1,18})", result.slice)
    return replace(result, label=int(label[1]) if label else None)


def _behaviour_result(verdict: Verdict, details: Mapping[str, Json]) -> BehaviourResult | None:
    probe = _read(Probe, {**details, "counterexample": None})
    if probe is None:
        return None
    example = _read(Counterexample, details.get("counterexample"))
    error = verdict.reason if verdict.outcome is Outcome.ERROR else None
    low, high = (_read(float, details.get(end)) for end in ("low", "high"))
    return BehaviourResult(replace(probe, counterexample=example, error=error), low, high)


def _regression(details: Mapping[str, Json]) -> Regression | None:
    return _read(Regression, {**details, "interval": [*_pair(details.get("interval"))]})


def _pair(ends: Json) -> tuple[Json, Json]:
    return tuple(ends) if isinstance(ends, list | tuple) and len(ends) == 2 else (None, None)


def _read(kind: type[_T], data: Json) -> _T | None:
    """Return a value of this type, None where an old record has no such thing."""
    try:
        return from_plain(kind, data)
    except (KeyError, TypeError, ValueError):
        return None
