"""Judgement: measured scores are held to gates, and verdicts say why.

Here belong verdicts, the statistics behind them and advice on gates. It works on recorded
values alone: no model, no file, no text layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.judgement.advice import advise
    from modeltune.judgement.allowances import Allowance
    from modeltune.judgement.cautions import check_cautions
    from modeltune.judgement.data_checks import check_reads
    from modeltune.judgement.drops import with_parts_and_samples
    from modeltune.judgement.evidence import ENOUGH_SEEDS, Evidence, compare_evidence
    from modeltune.judgement.families import compared_specs, family_of, judge_family, open_gates
    from modeltune.judgement.gate_power import GatePower, PastRun, check_power, power_of_gates
    from modeltune.judgement.gate_verdicts import judge, not_measured
    from modeltune.judgement.measurements import Measurements
    from modeltune.judgement.run_status import Strictness, status_of
    from modeltune.judgement.search_checks import (
        check_bounds,
        check_refit,
        check_seeds,
        check_space,
    )
    from modeltune.judgement.significance import ALPHA, Comparison, McNemar
    from modeltune.judgement.silenced_checks import silence

__all__ = [
    "ALPHA",
    "ENOUGH_SEEDS",
    "Allowance",
    "Comparison",
    "Evidence",
    "GatePower",
    "McNemar",
    "Measurements",
    "PastRun",
    "Strictness",
    "advise",
    "check_bounds",
    "check_cautions",
    "check_power",
    "check_reads",
    "check_refit",
    "check_seeds",
    "check_space",
    "compare_evidence",
    "compared_specs",
    "family_of",
    "judge",
    "judge_family",
    "not_measured",
    "open_gates",
    "power_of_gates",
    "silence",
    "status_of",
    "with_parts_and_samples",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "advice": ("advise",),
        "allowances": ("Allowance",),
        "cautions": ("check_cautions",),
        "data_checks": ("check_reads",),
        "drops": ("with_parts_and_samples",),
        "evidence": (
            "ENOUGH_SEEDS",
            "Evidence",
            "compare_evidence",
        ),
        "families": (
            "compared_specs",
            "family_of",
            "judge_family",
            "open_gates",
        ),
        "gate_power": (
            "GatePower",
            "PastRun",
            "check_power",
            "power_of_gates",
        ),
        "gate_verdicts": (
            "judge",
            "not_measured",
        ),
        "measurements": ("Measurements",),
        "run_status": (
            "Strictness",
            "status_of",
        ),
        "search_checks": (
            "check_bounds",
            "check_refit",
            "check_seeds",
            "check_space",
        ),
        "silenced_checks": ("silence",),
        "significance": (
            "ALPHA",
            "Comparison",
            "McNemar",
        ),
    },
)
