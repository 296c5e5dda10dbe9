"""modeltune: what a spec author types. Importing it loads no keras, numpy or pytest.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.ground import (
        DataError,
        HistoryError,
        ModeltuneError,
        SearchError,
        SpecError,
        __version__,
    )
    from modeltune.harness import compare, run
    from modeltune.histories import history
    from modeltune.records import Run
    from modeltune.specs import (
        BayesianOptimization,
        Checks,
        Data,
        FineTune,
        Fit,
        GridSearch,
        Holdout,
        Hyperband,
        KFold,
        LiteRT,
        Onnx,
        Predictions,
        RandomSearch,
        Spec,
        baseline,
        directional,
        gain_over,
        gain_over_dummy,
        gap,
        image_folder,
        invariant,
        keras_dataset,
        maximize,
        median,
        metamorphic,
        metric,
        minimize,
        minimum_functionality,
        other,
        previous,
        seeds,
        spec,
        table,
        texts,
        threshold,
        tuned,
        windows,
    )

__all__ = [
    "BayesianOptimization",
    "Checks",
    "Data",
    "DataError",
    "FineTune",
    "Fit",
    "GridSearch",
    "HistoryError",
    "Holdout",
    "Hyperband",
    "KFold",
    "LiteRT",
    "ModeltuneError",
    "Onnx",
    "Predictions",
    "RandomSearch",
    "Run",
    "SearchError",
    "Spec",
    "SpecError",
    "__version__",
    "baseline",
    "compare",
    "directional",
    "gain_over",
    "gain_over_dummy",
    "gap",
    "history",
    "image_folder",
    "invariant",
    "keras_dataset",
    "maximize",
    "median",
    "metamorphic",
    "metric",
    "minimize",
    "minimum_functionality",
    "other",
    "previous",
    "run",
    "seeds",
    "spec",
    "table",
    "texts",
    "threshold",
    "tuned",
    "windows",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "ground": (
            *("DataError", "HistoryError", "ModeltuneError", "SearchError", "SpecError"),
            "__version__",
        ),
        "harness": ("compare", "run"),
        "histories": ("history",),
        "records": ("Run",),
        "specs": (
            *("BayesianOptimization", "Checks", "Data", "FineTune", "Fit", "GridSearch", "Holdout"),
            *(
                "Hyperband",
                "KFold",
                "Predictions",
                "RandomSearch",
                "Spec",
                "baseline",
                "directional",
            ),
            *(
                "gain_over",
                "gain_over_dummy",
                "gap",
                "invariant",
                "keras_dataset",
                "maximize",
                "median",
            ),
            *("metamorphic", "other"),
            *("metric", "minimize", "minimum_functionality", "previous", "seeds", "spec", "table"),
            *("image_folder", "texts", "windows"),
            *("LiteRT", "Onnx", "threshold", "tuned"),
        ),
    },
)
