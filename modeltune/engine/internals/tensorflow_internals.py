"""Every private name of TensorFlow that we use."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from modeltune.engine.internals.names import Feature, Library, Name, private

CONTEXT = "tensorflow.python.eager.context"
OPS = "tensorflow.python.framework.ops"
RANDOM_SEED = "tensorflow.python.framework.random_seed"

TENSORFLOW = Library(
    "tensorflow",
    (
        Name(CONTEXT, "pywrap_tfe", (Feature.KERNELS,)),
        Name("pywrap_tfe", "TFE_ContextClearCaches", (Feature.KERNELS,)),
        Name(RANDOM_SEED, "get_seed", (Feature.KERNELS,)),
        Name(OPS, "gradient_registry", (Feature.GRADIENTS,)),
        Name("gradient_registry", "_registry", (Feature.GRADIENTS,)),
        Name("dataset", "_inputs", (Feature.SOURCES,)),
        Name("dataset", "_functions", (Feature.SOURCES,)),
    ),
    {
        "pywrap_tfe": lambda: private(CONTEXT, "pywrap_tfe"),
        "gradient_registry": lambda: private(OPS, "gradient_registry"),
        "dataset": lambda: importlib.import_module("tensorflow").data.Dataset.range(1),
    },
)


@contextlib.contextmanager
def kernels_kept() -> Iterator[None]:
    """Let TensorFlow keep its kernels when something clears its caches."""
    module = private(CONTEXT, "pywrap_tfe")
    clear = private(module, "TFE_ContextClearCaches")
    module.TFE_ContextClearCaches = lambda handle: None
    try:
        yield
    finally:
        module.TFE_ContextClearCaches = clear


class SeedWatch:
    """Call a function whenever an operation asks TensorFlow for its random seeds."""

    def __init__(self, on_seed: Callable[[], None]):
        self._on_seed = on_seed
        self._watching: Callable[..., Any] | None = None

    def begin(self) -> None:
        """Watch from now on; once is enough, unless somebody has replaced what watches."""
        get_seed = private(RANDOM_SEED, "get_seed")
        if get_seed is self._watching:
            return

        @functools.wraps(get_seed)
        def watching(*args: Any, **kwargs: Any) -> Any:
            self._on_seed()
            return get_seed(*args, **kwargs)

        self._watching = watching
        setattr(importlib.import_module(RANDOM_SEED), "get_seed", watching)  # noqa: B010


def forget_gradient(name: str) -> None:
    """Remove a gradient from TensorFlow's registry, with the graph it holds."""
    private(private(OPS, "gradient_registry"), "_registry").pop(name, None)


def datasets_of(dataset: Any) -> list[Any]:
    """Return a ``tf.data.Dataset`` and all that it is made of."""
    found = [dataset]
    for one in found:
        found += private(one, "_inputs")()
    return found


def is_root(dataset: Any) -> bool:
    """Tell whether a ``tf.data.Dataset`` is made of no other."""
    return not private(dataset, "_inputs")()


def called_functions(dataset: Any) -> list[Any]:
    """Return the concrete functions that a ``tf.data.Dataset`` itself calls."""
    return [wrapper.function for wrapper in private(dataset, "_functions")()]
