"""What a user declares: specs, searches, fits, validations, gates, checks, and their identity.

Here belong declarations, the errors in them, and what they are compared by. Nothing here
trains, judges or reads a history, and nothing imports NumPy, Keras or pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.specs.addresses import (
        address_by_name,
        root_here,
        split_address,
    )
    from modeltune.specs.behaviours import (
        Behaviour,
        Kind,
        Z,
        directional,
        invariant,
        metamorphic,
        minimum_functionality,
    )
    from modeltune.specs.checks import CHECKS, Checks
    from modeltune.specs.datasets import Data
    from modeltune.specs.fit import Fit
    from modeltune.specs.gates import (
        RESOURCES,
        Gate,
        Measure,
        On,
        Operator,
        PerClass,
        Reference,
        Severity,
        Source,
        Statistic,
        Subject,
        Waiver,
        baseline,
        gain_over_dummy,
        gap,
        median,
        metric,
        previous,
        seeds,
    )
    from modeltune.specs.identity import (
        GATES,
        HELD,
        UNCOMPARABLE,
        changed_parts,
        edited_parts,
        fingerprints,
        gates_identity,
        identity_assumptions,
        recorded_identity,
        run_identity,
        search_identity,
    )
    from modeltune.specs.objectives import Direction, Objective, maximize, minimize
    from modeltune.specs.searches import (
        BayesianOptimization,
        GridSearch,
        Hyperband,
        NoSearch,
        RandomSearch,
        Search,
    )
    from modeltune.specs.spec_type import DECLARATIONS, FIELDS, Spec, data_arguments, spec
    from modeltune.specs.validations import Holdout, KFold, Refit, Validation

__all__ = [
    "CHECKS",
    "DECLARATIONS",
    "FIELDS",
    "GATES",
    "HELD",
    "RESOURCES",
    "UNCOMPARABLE",
    "BayesianOptimization",
    "Behaviour",
    "Checks",
    "Data",
    "Direction",
    "Fit",
    "Gate",
    "GridSearch",
    "Holdout",
    "Hyperband",
    "KFold",
    "Kind",
    "Measure",
    "NoSearch",
    "Objective",
    "On",
    "Operator",
    "PerClass",
    "RandomSearch",
    "Reference",
    "Refit",
    "Search",
    "Severity",
    "Source",
    "Spec",
    "Statistic",
    "Subject",
    "Validation",
    "Waiver",
    "Z",
    "address_by_name",
    "baseline",
    "changed_parts",
    "data_arguments",
    "directional",
    "edited_parts",
    "fingerprints",
    "gain_over_dummy",
    "gap",
    "gates_identity",
    "identity_assumptions",
    "invariant",
    "maximize",
    "median",
    "metamorphic",
    "metric",
    "minimize",
    "minimum_functionality",
    "previous",
    "recorded_identity",
    "root_here",
    "run_identity",
    "search_identity",
    "seeds",
    "spec",
    "split_address",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "addresses": ("address_by_name", "root_here", "split_address"),
        "behaviours": (
            "Behaviour",
            "Kind",
            "Z",
            "directional",
            "invariant",
            "metamorphic",
            "minimum_functionality",
        ),
        "checks": (
            "CHECKS",
            "Checks",
        ),
        "datasets": ("Data",),
        "fit": ("Fit",),
        "gates": (
            "Source",
            "RESOURCES",
            "Operator",
            "Gate",
            "Measure",
            "On",
            "PerClass",
            "Reference",
            "Severity",
            "Statistic",
            "Subject",
            "Waiver",
            "baseline",
            "gain_over_dummy",
            "gap",
            "median",
            "metric",
            "previous",
            "seeds",
        ),
        "identity": (
            "GATES",
            "HELD",
            "UNCOMPARABLE",
            "changed_parts",
            "edited_parts",
            "fingerprints",
            "gates_identity",
            "identity_assumptions",
            "recorded_identity",
            "run_identity",
            "search_identity",
        ),
        "objectives": (
            "Direction",
            "Objective",
            "maximize",
            "minimize",
        ),
        "searches": (
            "BayesianOptimization",
            "GridSearch",
            "Hyperband",
            "NoSearch",
            "RandomSearch",
            "Search",
        ),
        "spec_type": (
            "DECLARATIONS",
            "FIELDS",
            "Spec",
            "data_arguments",
            "spec",
        ),
        "validations": (
            "Holdout",
            "KFold",
            "Refit",
            "Validation",
        ),
    },
)
