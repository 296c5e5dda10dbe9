"""What a spec's comparisons may spend of the 5 % of false alarms, of a session and over many commits."""

from __future__ import annotations

from dataclasses import dataclass

from modeltune.records import Family

DECAY = 1.6
"""How fast the shares of later looks fall: as look^-1.6, as is usual for such series."""

SUM_OF_ALL = 2.2857657
"""The sum of look^-1.6 over all looks: Riemann's zeta at 1.6."""


@dataclass(frozen=True)
class Allowance:
    """What a spec's failures may spend of an error rate.

    Args:
        family: the specs that share it, each to an equal part; None: it is the spec's own.
        look: how often the spec is judged against the same baseline, this time included; None: every
            time has an error rate of its own.
    """

    family: Family | None = None
    look: int | None = None

    def level(self, alpha: float) -> float:
        """Return what a p-value is held against, of an error rate of alpha."""
        specs = 1 if self.family is None else self.family.specs
        return alpha * share_of_look(self.look) / specs

    def __str__(self) -> str:
        facts = [] if self.family is None else [str(self.family)]
        if self.look is not None:
            facts.append(f"look {self.look} at this baseline")
        return ", ".join(facts)


def share_of_look(look: int | None) -> float:
    """Return which share of an error rate a look may spend; all shares together are 1.

    So the chance of any false alarm, at any of ever so many looks, is that rate, however the looks depend
    on each other: alpha spending (Foster & Stine, Journal of the Royal Statistical Society B 70,
    2008, 429-444; Tian & Ramdas, Statistical Methods in Medical Research 30, 2021, 976-993).
    """
    return 1.0 if look is None else look**-DECAY / SUM_OF_ALL
