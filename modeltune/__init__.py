"""modeltune: what a spec author types. Importing it loads no keras, numpy or pytest.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeltune.behaviours import (
        directional,
        invariant,
        metamorphic,
        minimum_functionality,
    )
    from modeltune.checks import Checks
    from modeltune.datasets import Data
    from modeltune.errors import DataError, HistoryError, ModeltuneError, SearchError, SpecError
    from modeltune.gates import baseline, gain_over_dummy, gap, median, metric, previous, seeds
    from modeltune.harness import run
    from modeltune.histories.frames import history
    from modeltune.objectives import maximize, minimize
    from modeltune.runs import Run
    from modeltune.searches import BayesianOptimization, GridSearch, Hyperband, RandomSearch
    from modeltune.specs import Fit, Spec, spec
    from modeltune.validations import Holdout, KFold

__all__ = [
    "BayesianOptimization",
    "Checks",
    "Data",
    "DataError",
    "Fit",
    "GridSearch",
    "HistoryError",
    "Holdout",
    "Hyperband",
    "KFold",
    "ModeltuneError",
    "RandomSearch",
    "Run",
    "SearchError",
    "Spec",
    "SpecError",
    "baseline",
    "directional",
    "gain_over_dummy",
    "gap",
    "history",
    "invariant",
    "maximize",
    "median",
    "metamorphic",
    "metric",
    "minimize",
    "minimum_functionality",
    "previous",
    "run",
    "seeds",
    "spec",
]

# The plugin is imported in every pytest run, so each name is loaded on first use (PEP 562).
_MODULES = {
    "behaviours": ("directional", "invariant", "metamorphic", "minimum_functionality"),
    "checks": ("Checks",),
    "datasets": ("Data",),
    "errors": ("DataError", "HistoryError", "ModeltuneError", "SearchError", "SpecError"),
    "gates": ("baseline", "gain_over_dummy", "gap", "median", "metric", "previous", "seeds"),
    "harness": ("run",),
    "histories.frames": ("history",),
    "objectives": ("maximize", "minimize"),
    "runs": ("Run",),
    "searches": ("BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch"),
    "specs": ("Fit", "Spec", "spec"),
    "validations": ("Holdout", "KFold"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
