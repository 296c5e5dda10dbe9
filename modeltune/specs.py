"""A spec: one model, the data, search, fit, validation and gates it is held to."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeltune.datasets import Data
from modeltune.declarations import Problem, as_typed, is_integer, typed
from modeltune.errors import SpecError
from modeltune.gates import Gate, Measure
from modeltune.searches import Search
from modeltune.validations import Holdout, KFold, Validation

DECLARED = "__modeltune_declared__"
"""The module global that lists (name, line) of every decorated model, shadowed ones included."""

FIELDS = ("data", "search", "fit", "validation", "gates")
"""What a spec declares, and what parametrize can vary."""


@dataclass(frozen=True, repr=False)
class Fit:
    """How every candidate is trained.

    Args:
        epochs: epochs per trial; Hyperband sets each trial's epochs itself.
        batch_size: samples per gradient step of array data; datasets bring their own.
        class_weight: weight of the loss per class index, as in ``model.fit``.
        callbacks: factories, called without arguments for a fresh callback per fit:
            ``lambda: keras.callbacks.EarlyStopping(patience=3)``.
        dtype_policy: Keras dtype policy during build and training (``"mixed_float16"``),
            restored afterwards; None leaves the policy as it is.
        shuffle: reshuffle array train data before each epoch.
    """

    epochs: int = 10
    batch_size: int = 32
    class_weight: Mapping[int, float] | None = None
    callbacks: Sequence[Callable[[], Any]] = ()
    dtype_policy: str | None = None
    shuffle: bool = True

    label = "fit"

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not is_integer(value) or value < 1:
                yield name, f"{value!r}: write 1 or more"
        if self.class_weight is not None and not isinstance(self.class_weight, Mapping):
            yield "class_weight", f"{self.class_weight!r}: write a dict of class index to weight"
        if not isinstance(self.callbacks, Sequence) or isinstance(self.callbacks, str):
            yield "callbacks", f"{self.callbacks!r}: write a list of factories"
        else:
            for index, factory in enumerate(self.callbacks):
                if not callable(factory):
                    yield (
                        f"callbacks[{index}]",
                        f"{factory!r} would be shared by all trials; write a factory: "
                        f"lambda: {type(factory).__name__}(...)",
                    )
        if self.dtype_policy is not None and not isinstance(self.dtype_policy, str):
            yield "dtype_policy", f'{self.dtype_policy!r}: write a name such as "mixed_float16"'

    def __repr__(self) -> str:
        return as_typed(self)


@dataclass(frozen=True, repr=False, eq=False)
class Protocol:
    """The rules models are compared under; decorating a build function makes a Spec."""

    data: Callable[..., Data] | Data
    search: Search
    fit: Fit
    validation: Validation
    gates: tuple[Gate, ...]

    def __call__(self, model: Any) -> Spec:
        frame = sys._getframe(1)
        return _declare(self, model, frame.f_globals)

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field, nested ones with their path: ("search.objective", ...)."""
        if not callable(self.data) and not isinstance(self.data, Data):
            yield (
                "data",
                f"{typed(self.data)}: write a function that returns mt.Data, or an mt.Data",
            )
        for name, kinds, advice in (
            (
                "search",
                Search,
                "write mt.RandomSearch(...), GridSearch, BayesianOptimization or Hyperband",
            ),
            ("fit", Fit, "write mt.Fit(...)"),
            ("validation", Holdout | KFold, "write mt.Holdout(...) or mt.KFold(...)"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kinds):
                yield name, f"{typed(value)}: {advice}"
            else:
                for field, text in value.problems():
                    yield f"{name}.{field}", text
        for index, gate in enumerate(self.gates):
            if isinstance(gate, Measure):
                yield f"gates[{index}]", f"{gate!r} has no bound; write {gate!r} >= ..."
            elif not isinstance(gate, Gate):
                yield f"gates[{index}]", f"{typed(gate)} is no gate; write mt.metric(name) >= bound"
            else:
                for _, text in gate.problems():
                    yield f"gates[{index}]", text

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{field.name}={typed(list(value) if field.name == 'gates' else value)}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != () or field.name != "gates"
        )
        return f"mt.spec({fields})"


class Spec:
    """A declared model under its protocol. Frozen; calling it builds the model.

    ``name`` and ``file`` are its address: ``spec_digits.py::mlp``.
    """

    def __init__(
        self, protocol: Protocol, model: Any, name: str, module: str, file: str, line: int
    ):
        fields = {
            "protocol": protocol,
            "model": model,
            "name": name,
            "module": module,
            "file": file,
            "line": line,
            "__name__": name,
            "__doc__": inspect.getdoc(model),
            "__module__": module,
            "pytestmark": list(getattr(model, "pytestmark", [])),
        }
        vars(self).update(fields)

    protocol: Protocol
    model: Any
    name: str
    module: str
    file: str
    line: int
    pytestmark: list[Any]

    @property
    def data(self) -> Callable[..., Data] | Data:
        return self.protocol.data

    @property
    def search(self) -> Search:
        return self.protocol.search

    @property
    def fit(self) -> Fit:
        return self.protocol.fit

    @property
    def validation(self) -> Validation:
        return self.protocol.validation

    @property
    def gates(self) -> tuple[Gate, ...]:
        return self.protocol.gates

    @property
    def id(self) -> str:
        """The spec's address: file name and name."""
        return f"{Path(self.file).name}::{self.name}"

    def with_fields(self, name: str | None = None, **fields: Any) -> Spec:
        """Return this spec with other fields; raises SpecError when one is broken."""
        if "gates" in fields:
            fields["gates"] = tuple(fields["gates"])
        protocol = dataclasses.replace(self.protocol, **fields)
        _refuse(list(protocol.problems()), self.file, self.line, name or self.name)
        return Spec(protocol, self.model, name or self.name, self.module, self.file, self.line)

    def __call__(self, hp: Any) -> Any:
        """Build the model for a ``keras_tuner.HyperParameters``."""
        return self.model.build(hp) if hasattr(self.model, "build") else self.model(hp)

    def __setattr__(self, name: str, value: object) -> None:
        # pytest stores the marks typed above the decorator in this one attribute.
        if name != "pytestmark":
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        return f"{self.protocol!r}({typed(self.model)})"


def data_arguments(data: object) -> list[str]:
    """Return the names of the fixtures a data function asks for."""
    if not inspect.isroutine(data):
        return []
    return [
        name
        for name, parameter in inspect.signature(data).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


_REQUIRED: Any = object()


def spec(
    *,
    data: Callable[..., Data] | Data = _REQUIRED,
    search: Search = _REQUIRED,
    fit: Fit = Fit(),
    validation: Validation = Holdout(),
    gates: Sequence[Gate] = (),
    **unknown: object,
) -> Protocol:
    """Declare the protocol models are searched, validated and judged under.

    Use it as a decorator on a build function ``(hp) -> compiled keras.Model``, or on
    a ``keras_tuner.HyperModel`` subclass or instance; keep it to decorate several.

    Args:
        data: a function returning ``mt.Data``; its arguments are pytest fixtures.
        search: which oracle proposes candidates, and for what objective.
        fit: how each candidate is trained.
        validation: how the winner is refitted and scored on the test part.
        gates: what its scores must satisfy.

    Raises:
        SpecError: naming every broken field, the file and the line.
    """
    problems: list[Problem] = []
    for name in unknown:
        close = difflib.get_close_matches(name, FIELDS, 1)
        hint = f'; did you mean "{close[0]}"' if close else ""
        problems.append((name, f"unknown field{hint}; a spec has {', '.join(FIELDS)}"))
    if isinstance(gates, Gate | Measure) or not isinstance(gates, Sequence):
        problems.append(("gates", f"{typed(gates)}: write a list of gates"))
        gates = ()
    protocol = Protocol(data, search, fit, validation, tuple(gates))
    missing = [name for name in ("data", "search") if getattr(protocol, name) is _REQUIRED]
    problems += [(name, "missing; every spec needs it") for name in missing]
    problems += [(field, text) for field, text in protocol.problems() if field not in missing]
    caller = sys._getframe(1)
    _refuse(problems, caller.f_code.co_filename, caller.f_lineno, "mt.spec(...)")
    return protocol


def _declare(protocol: Protocol, model: Any, module_globals: dict[str, Any]) -> Spec:
    caller = sys._getframe(2)
    name = getattr(model, "__name__", None) or getattr(model, "name", None) or type(model).__name__
    if isinstance(model, type):
        line = caller.f_lineno
        model_problem = None if hasattr(model, "build") else "a class without build(self, hp)"
        built: Any = model
    elif hasattr(model, "build"):
        line, model_problem, built = caller.f_lineno, None, model
    elif inspect.isfunction(model):
        line, model_problem, built = model.__code__.co_firstlineno, _signature_problem(model), model
    else:
        line, model_problem, built = caller.f_lineno, f"{typed(model)}", model
    file = caller.f_code.co_filename
    if model_problem:
        _refuse(
            [
                (
                    "model",
                    f"{model_problem}: decorate a function of one argument, build(hp), or a HyperModel",
                )
            ],
            file,
            line,
            str(name),
        )
    if isinstance(model, type):
        built = model()
        if hasattr(model, "pytestmark"):
            built.pytestmark = model.pytestmark
    if inspect.isfunction(model) or isinstance(model, type):
        module_globals.setdefault(DECLARED, []).append((name, line))
    return Spec(protocol, built, str(name), str(module_globals.get("__name__")), file, line)


def _signature_problem(build: Callable[..., Any]) -> str | None:
    try:
        inspect.signature(build).bind(object())
    except TypeError:
        return f"{build.__name__}{inspect.signature(build)}"
    return None


def _refuse(problems: Sequence[Problem], file: str, line: int, what: str) -> None:
    """Raise one SpecError that lists every problem, or return when there is none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "".join(f"\n  {field}: {text}" for field, text in problems)
        raise SpecError(f"{file}:{line}: {what} has {count}:{listed}")
