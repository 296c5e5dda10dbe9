"""A run as strict JSON data and back: the form of report.json and of runs that wait to be recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from modeltune.records.documents import DOCUMENTS, document_from_json
from modeltune.records.old_forms import old_verdict
from modeltune.records.plain_data import Json, as_number, from_plain, plain
from modeltune.records.runs import Run, Values
from modeltune.records.verdicts import Outcome, Verdict

SCHEMA = 2
"""The number ``report.json`` carries; it changes when a key changes its meaning."""


def to_json(run: Run) -> dict[str, Json]:
    """Return the run as strict JSON data.

    Non-finite numbers become "nan", "inf" and "-inf"; a hyperparameter's become
    {"float": "inf"}, since "inf" may be another of its values.
    """
    data = {
        f.name: plain(getattr(run, f.name)) for f in dataclasses.fields(run) if f.name != "scores"
    }
    # Where a text "inf" may stand beside the number.
    if run.best:
        data["best"]["values"] = plain_values(run.best.values)
    for trial, recorded in zip(run.trials, data["trials"], strict=True):
        recorded["values"] = plain_values(trial.values)
    data["scores"] = {
        name: plain({"mean": scores.mean, "std": scores.std, "values": scores.values})
        for name, scores in run.scores.items()
    }
    return data


def from_json(data: Mapping[str, Json]) -> Run:
    """Return the run that ``to_json`` wrote, equal in every field; also one of schema 1.

    Raises:
        KeyError, TypeError, ValueError: it is no run.
    """
    run = from_plain(Run, {**data, "verdicts": [], "checks": []})
    for name in DOCUMENTS:
        document_from_json(name, getattr(run, name))
    return dataclasses.replace(
        run,
        verdicts=tuple(map(verdict_from_json, data["verdicts"])),
        # A report written before these were kept has none.
        checks=tuple(map(verdict_from_json, data.get("checks", ()))),
    )


def verdict_from_json(data: Mapping[str, Json]) -> Verdict:
    """Return the verdict that ``plain`` wrote; facts of a verdict of schema 1 are read from its text."""
    if "facts" in data:
        return from_plain(Verdict, data)
    measured, bound = (None if data[n] is None else as_number(data[n]) for n in _SIDES)
    outcome, details = Outcome(data["outcome"]), data.get("details")
    return old_verdict(data["gate"], outcome, measured, bound, data["reason"], details)


_SIDES = ("measured", "bound")


def values_from_json(data: Json) -> Values:
    """Return the hyperparameter values that ``plain_values`` wrote."""
    return from_plain(dict[str, bool | int | float | str], data)


def plain_values(values: Values) -> dict[str, Json]:
    """Return hyperparameter values as JSON data in which "inf" is a text and no number."""
    return {
        name: {"float": str(value)}
        if isinstance(value, float) and not math.isfinite(value)
        else plain(value)
        for name, value in values.items()
    }
