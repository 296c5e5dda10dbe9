"""The table of what gates find says what they allow, by which evidence, and what would help."""

from __future__ import annotations

from modeltune.reports.power_tables import power_table

GATE = {
    "gate": 'mt.metric("accuracy") >= mt.baseline - 0.01', "margin": 0.01, "n": 200, "unit": "samples",
    "refits": 1, "where": "", "drop": 0.0577, "by_chance": 0.0577, "basis": "assumed: ...",
    "remedy": "about 6000 test samples", "is_told": True, "is_blind": True,
}  # fmt: skip


def test_every_spec_has_its_gates_or_says_why_there_are_none() -> None:
    unknown = {
        **GATE,
        "gate": "loss",
        "drop": None,
        "is_told": False,
        "is_blind": False,
        "basis": "why",
    }
    text = power_table(
        [
            {"spec": "spec_a.py::net", "gates": [GATE, unknown], "error": None},
            {"spec": "spec_a.py::free", "gates": [], "error": None},
            {"spec": "spec_a.py::lost", "gates": [], "error": "no disk"},
        ]
    )
    assert (
        text
        == """\
spec_a.py::net
gate                                         allows    finds    by                noise
-------------------------------------------  --------  -------  ----------------  ------------
mt.metric("accuracy") >= mt.baseline - 0.01  0.01      0.058    200 test samples  assumed: ...
loss                                         0.01      -        200 test samples  why
mt.metric("accuracy") >= mt.baseline - 0.01 finds smaller drops with about 6000 test samples

spec_a.py::free
no gate is held against a recorded run, so that no drop is looked for

spec_a.py::lost
not known: no disk

finds: the smallest true drop that a gate fails with a probability of 80 %"""
    )
