"""Which drops the regression gates of specs find, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modeltune.reports.tables import MISSING, clean, text_table

POWER_HEADERS = ("gate", "allows", "finds", "by", "noise")


def power_table(specs: Sequence[Mapping[str, Any]], columns: int | None = None) -> str:
    """Return a table for each spec, with what would help where a gate's margin is too small.

    Args:
        specs: of each its ``spec``, its ``gates`` as ``GatePower.plain`` has them, and an ``error`` or None.
        columns: how many columns of a terminal there are, None for as many as it takes.
    """
    parts = []
    for spec in specs:
        lines = [clean(spec["spec"])]
        if spec["error"]:
            lines.append(f"not known: {clean(spec['error'])}")
        elif not spec["gates"]:
            lines.append("no gate is held against a recorded run, so that no drop is looked for")
        else:
            lines.append(text_table(POWER_HEADERS, [*map(_row, spec["gates"])], columns))
            lines += [
                clean(f"{gate['gate']} finds smaller drops with {gate['remedy']}")
                for gate in spec["gates"]
                if gate["is_blind"]
            ]
        parts.append("\n".join(lines))
    found = "the smallest true drop that a gate fails with a probability of 80 %"
    return "\n\n".join([*parts, f"finds: {found}"])


def _row(gate: Mapping[str, Any]) -> list[str]:
    evidence = f"{gate['n']} {'groups' if gate['unit'] == 'groups' else 'test samples'}"
    evidence += f" of {gate['where']}" if gate["where"] else ""
    evidence += f", {gate['refits']} refits a side" if gate["refits"] > 1 else ""
    finds = "nothing" if gate["drop"] is None else f"{gate['drop']:.2g}"
    if not gate["is_told"]:
        finds = MISSING
    allows = MISSING if gate["margin"] is None else f"{gate['margin']:.2g}"
    return [gate["gate"], allows, finds, evidence, gate["basis"]]
