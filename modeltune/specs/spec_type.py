"""Declare specs: the protocol that ``mt.spec`` makes, and a model under that protocol."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from modeltune.ground import (
    Problem,
    SpecError,
    count_of,
    error_text,
    failed_download,
    is_cell,
    is_integer,
    notebook_file,
    typed,
)
from modeltune.specs.addresses import path_in_project, root_of_file
from modeltune.specs.behaviours import Behaviour
from modeltune.specs.checks import Checks, checks_of
from modeltune.specs.datasets import Data
from modeltune.specs.exports import Export, export_problems
from modeltune.specs.fit import Fit
from modeltune.specs.gates import (
    RESOURCES,
    By,
    Gate,
    Measure,
    On,
    Operator,
    Reference,
    Seeds,
    Source,
    Statistic,
    Subject,
    metric,
)
from modeltune.specs.objectives import Objective, maximize, minimize
from modeltune.specs.operating_points import (
    DecidedMetric,
    MetricFunction,
    Threshold,
    threshold_problems,
)
from modeltune.specs.searches import Hyperband, NoSearch, RandomSearch, Search
from modeltune.specs.validations import Holdout, KFold, Scoring, Validation

DECLARATIONS = "__modeltune_declared__"
"""The module global that lists (name, line) of every decorated model, overwritten ones included."""

FIELDS = (
    "data", "search", "fit", "validation", "gates", "checks", "escalate", "aliases", "examples",
    "task", "metrics", "threshold", "exports", "sequential",
)  # fmt: skip
"""The fields of a spec, each of which parametrize can vary."""

TASKS = ("binary", "multiclass", "multilabel", "regression")
"""What a predictor may predict: one of two classes or of several, labels, numbers."""

DEFAULT_CHECKS = Checks()


@dataclass(frozen=True, repr=False, eq=False)
class Protocol:
    """The rules under which models are compared; called with a build function, it returns a Spec."""

    data: Callable[..., Data] | Data
    search: Search | None
    fit: Fit
    validation: Validation
    gates: tuple[Gate | Behaviour, ...]
    checks: Checks = DEFAULT_CHECKS
    escalate: Seeds | None = None
    aliases: tuple[str, ...] = ()
    examples: bool = True
    task: str | Mapping[str, str] | None = None
    metrics: tuple[str | Callable[..., Any], ...] = ()
    threshold: Threshold | float | None = None
    exports: Mapping[str, Export] = dataclasses.field(default_factory=dict)
    place: tuple[str, int] = ("", 0)
    most_rows: int | None = None
    sequential: bool = False

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
                "write mt.RandomSearch(...), GridSearch, BayesianOptimization or Hyperband, or None",
            ),
            ("fit", Fit, "write mt.Fit(...)"),
            ("validation", Holdout | KFold, "write mt.Holdout(...) or mt.KFold(...)"),
        ):
            value = getattr(self, name)
            if name == "search" and value is None:
                continue
            if not isinstance(value, kinds):
                yield name, f"{typed(value)}: {advice}"
            else:
                for field, text in value.problems():
                    yield f"{name}.{field}", text
        if self.search is None and getattr(self.validation, "ensemble", None) is not None:
            yield (
                "validation.ensemble",
                "without a search there is one model and nothing to average; declare a search",
            )
        if not isinstance(self.checks, Checks):
            yield "checks", f'{typed(self.checks)}: write "fail", "warn" or mt.Checks(...)'
        else:
            for field, text in self.checks.problems():
                yield f"checks.{field}", text
        if isinstance(self.escalate, Seeds):
            for field, text in self.escalate.problems():
                yield f"escalate.{field}", text
            seeds = getattr(self.validation, "seeds", 0)
            if is_integer(self.escalate.max) and 2 <= self.escalate.max <= seeds:
                yield (
                    "escalate.max",
                    f"{self.escalate.max}: the validation has {seeds} seeds already; write more",
                )
        elif self.escalate is not None:
            yield "escalate", f"{typed(self.escalate)}: write mt.seeds(max=10)"
        if not isinstance(self.aliases, tuple) or not all(
            isinstance(name, str) and name for name in self.aliases
        ):
            yield (
                "aliases",
                f'{typed(self.aliases)}: write a list of earlier names, ["spec_old.py::mlp"]',
            )
        if not isinstance(self.sequential, bool):
            yield "sequential", f"{typed(self.sequential)}: write True or False"
        if not isinstance(self.examples, bool):
            yield "examples", f"{typed(self.examples)}: write True or False"
        if isinstance(self.task, Mapping):
            for name, task in self.task.items():
                if task not in TASKS:
                    yield (
                        f"task[{typed(name)}]",
                        f"{typed(task)}: write {', '.join(map(typed, TASKS))}",
                    )
        elif self.task is not None and self.task not in TASKS:
            listed = ", ".join(map(typed, TASKS))
            yield "task", f"{typed(self.task)}: write {listed}, or leave it out"
        if self.threshold is not None:
            yield from threshold_problems(self.threshold)
        yield from self._metric_problems()
        yield from export_problems(self.exports)
        if not isinstance(self.gates, tuple):
            yield "gates", f"{typed(self.gates)}: write a list of gates"
            return
        for index, gate in enumerate(self.gates):
            if isinstance(gate, Measure):
                yield f"gates[{index}]", f"{gate!r} has no bound; write {gate!r} >= ..."
            elif not isinstance(gate, Gate | Behaviour):
                yield (
                    f"gates[{index}]",
                    f"{typed(gate)} is not a gate; write mt.metric(name) >= bound",
                )
            else:
                for _, text in gate.problems():
                    yield f"gates[{index}]", text
        yield from self._gates_of_undeclared_exports()
        yield from self._ambiguous_gates()

    def _metric_problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the metrics that are measured whatever gates ask for."""
        if not isinstance(self.metrics, tuple):
            yield "metrics", f"{typed(self.metrics)}: write a list of names and functions"
            return
        for index, one in enumerate(self.metrics):
            # A gate on it, whatever its bound, has the same to say.
            for _, text in (metric(one) >= 0).problems():
                yield f"metrics[{index}]", text.partition(": ")[2]

    def _gates_of_undeclared_exports(self) -> Iterator[Problem]:
        """Yield gates on an export that the spec does not declare."""
        declared = self.exports if isinstance(self.exports, Mapping) else {}
        for index, gate in enumerate(self.gates):
            name = gate.measure.export if isinstance(gate, Gate) else None
            if not isinstance(name, str) or not name or name in declared:
                continue
            known = ", ".join(map(typed, declared)) or "none"
            yield (
                f"gates[{index}]",
                f"{gate!r}: the spec declares no export {typed(name)}; declared: {known}. Write "
                f"exports={{{typed(name)}: mt.LiteRT()}}, or mt.Onnx()",
            )

    def _ambiguous_gates(self) -> Iterator[Problem]:
        """Yield gates that share a name with an earlier one: measurements are stored by name."""
        demands: dict[str, int] = {}
        functions: dict[str, tuple[str, object]] = {}
        listed = self.metrics if isinstance(self.metrics, tuple) else ()
        for index, function in enumerate(listed):
            if callable(function):
                functions.setdefault(metric(function).metric, (f"metrics[{index}]", function))
        slices: dict[str, tuple[int, type, object]] = {}
        for index, gate in enumerate(self.gates):
            if isinstance(gate, Behaviour):
                first = demands.setdefault(gate.demand, index)
                if first != index:
                    yield (
                        f"gates[{index}]",
                        f"{gate!r} prints the same as gates[{first}], and their results would be mixed "
                        "up; use named functions, or functools.partial of one, and one list for all "
                        "cases",
                    )
                continue
            if not isinstance(gate, Gate):
                continue
            if gate.measure.function is not None:
                own, name = gate.measure.function, gate.measure.metric
                other, known = functions.setdefault(name, (f"gates[{index}]", own))
                if not _are_equal(known, own):
                    yield (
                        f"gates[{index}]",
                        f"{gate!r}: {other} records another function's values as {typed(name)}; "
                        "rename one of them",
                    )
            part = gate.measure.slices
            if isinstance(part, On | By):
                select = part.select if isinstance(part, On) else part.function
                first, kind, same = slices.setdefault(part.name, (index, type(part), select))
                if kind is not type(part) or same is not select:
                    yield (
                        f"gates[{index}]",
                        f"{gate!r}: gates[{first}] gives the name {typed(part.name)} to another slice; "
                        "rename one of them, or give both the same function",
                    )

    def __repr__(self) -> str:
        fields = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "place" or (field.name == "exports" and not value):
                continue
            if value != () and (field.name in ("fit", "validation") or value != field.default):
                fields.append(
                    f"{field.name}={typed(list(value) if type(value) is tuple else value)}"
                )
        return f"mt.spec({', '.join(fields)})"


class Spec:
    """A declared model under its protocol. A spec is frozen; calling it builds the model.

    ``file`` and ``name`` together are its address: ``model_specs/spec_digits.py::mlp``.
    ``project`` is the folder that the address starts from if no folder above the file has a
    pyproject.toml. ``is_in_notebook``: it was declared in a cell, the file is that of the notebook,
    which may not exist, and the line is that of the cell. ``has_own_protocol``: its protocol was declared
    for it alone. ``attributes`` are what decorators of other libraries keep on a function, such
    as a title for Allure; those above ``mt.spec`` set them here.
    """

    def __init__(
        self,
        protocol: Protocol,
        model: Any,
        name: str,
        module: str,
        file: str,
        line: int,
        project: Path | None = None,
        is_in_notebook: bool = False,
    ):
        fields = {
            "protocol": protocol,
            "model": model,
            "name": name,
            "module": module,
            "file": file,
            "line": line,
            "project": project,
            "is_in_notebook": is_in_notebook,
            "__name__": name,
            "__doc__": inspect.getdoc(model),
            "__module__": module,
            "pytestmark": _marks(model),
            "_declared": self,
            "_changed": {},
            "_models": 1,
            "_takes_nothing": _takes_nothing(model),
            "prepared": None,
            "attributes": _attributes(model),
            "given_file": None,
            "has_own_protocol": False,
        }
        vars(self).update({**_attributes(model), **fields})

    protocol: Protocol
    model: Any
    name: str
    module: str
    file: str
    line: int
    project: Path | None
    is_in_notebook: bool
    pytestmark: list[Any]
    attributes: Mapping[str, object]
    _declared: Spec
    _changed: Mapping[str, Any]
    _models: int
    _takes_nothing: bool
    prepared: Any
    given_file: Path | None
    has_own_protocol: bool

    @property
    def data(self) -> Callable[..., Data] | Data:
        return self.protocol.data

    @property
    def search(self) -> Search:
        """The declared search; where there is none, the objective is what the first gate bounds."""
        declared = self.protocol.search
        if declared is None:
            objective = _gated(self.gates) or minimize("val_loss")
            return NoSearch(objective, is_given=self.is_given)
        if not self.is_given:
            return declared
        # Its test part, its limits and the metric it is ranked by are those of the others.
        kept = ("objective", "seed", "trial_minutes", "trial_gigabytes", "data_minutes")
        return NoSearch(**{name: getattr(declared, name) for name in kept}, is_given=True)

    @property
    def is_searched(self) -> bool:
        """Whether there are values to search for."""
        return self.protocol.search is not None and not self.is_given

    @property
    def is_given(self) -> bool:
        """Whether the model is trained already: the build function takes no argument, or a file is given."""
        return self.given_file is not None or self._takes_nothing

    @property
    def takes_prepared(self) -> bool:
        """Whether the build function has a second argument, for what was prepared on train."""
        has_build = hasattr(self.model, "build")
        return _takes_prepared(_declared_build(self.model) if has_build else self.model)

    @property
    def fit(self) -> Fit:
        return self.protocol.fit

    @property
    def validation(self) -> Validation:
        return Scoring(self._models) if self.is_given else self.protocol.validation

    @property
    def gates(self) -> tuple[Gate | Behaviour, ...]:
        return self.protocol.gates

    @property
    def checks(self) -> Checks:
        return self.protocol.checks

    @property
    def escalate(self) -> Seeds | None:
        return None if self.is_given else self.protocol.escalate

    @property
    def aliases(self) -> tuple[str, ...]:
        return self.protocol.aliases

    @property
    def sequential(self) -> bool:
        """Whether the 5 % of false alarms hold over all runs that are judged against one baseline."""
        return self.protocol.sequential

    @property
    def examples(self) -> bool:
        return self.protocol.examples

    @property
    def task(self) -> str | Mapping[str, str] | None:
        """What a predictor predicts, where it is declared."""
        return self.protocol.task

    @property
    def metrics(self) -> tuple[str | Callable[..., Any], ...]:
        return self.protocol.metrics

    @property
    def most_rows(self) -> int | None:
        """How many samples of each part are used at most; None: all."""
        return self.protocol.most_rows

    @property
    def threshold(self) -> Threshold | float | None:
        """From which probability on a model's yes is a yes, or how that is chosen; None: as its kind has it."""
        return self.protocol.threshold

    @property
    def exports(self) -> Mapping[str, Export]:
        """The files that the tuned model is converted to, by name."""
        return self.protocol.exports

    @property
    def slices(self) -> list[On | By]:
        """The slices and groups of the test samples that gates name, in their order."""
        parts = [gate.measure.slices for gate in self.gates if isinstance(gate, Gate)]
        return [part for part in parts if isinstance(part, On | By)]

    @property
    def asked_metrics(self) -> dict[str, MetricFunction | None]:
        """The metrics that gates and the spec name, with the author's function of each that has one."""
        measures = [gate.measure for gate in self.gates if isinstance(gate, Gate)]
        measures += [metric(one) for one in self.metrics]
        return {
            m.metric: m.function
            for m in measures
            if m.metric not in RESOURCES and m.subject is not Subject.GAIN_OVER
        }

    @property
    def is_held_against_runs(self) -> bool:
        """Whether a gate compares with recorded runs, and so may fail by chance."""
        return any(
            isinstance(gate, Gate) and isinstance(gate.bound, Reference) for gate in self.gates
        )

    @property
    def others(self) -> tuple[Spec, ...]:
        """The specs whose runs its gates compare with, in the order of the gates."""
        bounds = [gate.bound for gate in self.gates if isinstance(gate, Gate)]
        named = [bound.other for bound in bounds if isinstance(bound, Reference)]
        found = {one.id: one for one in named if one is not None}
        return tuple(one.in_project(self.root) for one in found.values())

    @property
    def refit_epochs(self) -> int:
        """The epochs of each refit: those of the validation, or of the search's longest trial."""
        longest = self.search.max_epochs if isinstance(self.search, Hyperband) else self.fit.epochs
        return self.validation.epochs or longest

    @property
    def root(self) -> Path:
        """The folder that its address starts from: the root of the project it is in."""
        return root_of_file(self.file, self.project)

    @property
    def id(self) -> str:
        """The spec's address: the path of its file from the project's root, and its name."""
        return f"{path_in_project(self.file, self.root)}::{self.name}"

    @property
    def protocol_name(self) -> str | None:
        """The address of its protocol, ``model_specs/spec_digits.py::on_digits``; None of one without a name."""
        declared = self._declared.protocol
        module = sys.modules.get(self.module)
        names = vars(module).items() if module is not None else ()
        name = next((name for name, value in names if value is declared), None)
        if name is None:
            return None
        file = self.file if self.is_in_notebook else declared.place[0]
        return f"{path_in_project(file, self.root)}::{name}"

    @property
    def unused_fields(self) -> tuple[str, ...]:
        """The fields of its protocol that say how models are trained, which this one is already."""
        return _of_training(self.protocol) if self.is_given else ()

    @property
    def fields_of_epochs(self) -> tuple[str, ...]:
        """The declared fields that say how the epochs and batches of a Keras model are."""
        protocol = self._declared.protocol
        fit, default = protocol.fit, Fit()
        named = [n for n in EPOCHS_AND_BATCHES if getattr(fit, n) != getattr(default, n)]
        fields = [f"fit.{name}" for name in named]
        fields += [
            f"validation.{name}"
            for name in ("epochs", "fine_tune")
            if getattr(protocol.validation, name) is not None
        ]
        return tuple(fields)

    def with_models(self, models: int) -> Spec:
        """Return a copy of this spec whose build function is known to return so many trained models."""
        spec = self.with_fields()
        vars(spec)["_models"] = models
        return spec

    def with_prepared(self, prepared: Any) -> Spec:
        """Return a copy of this spec that builds its models with what was prepared on train."""
        spec = self.with_fields()
        vars(spec)["prepared"] = prepared
        return spec

    @property
    def is_of_estimator_file(self) -> bool:
        """Whether the given file is one of skops, which holds an estimator of scikit-learn's conventions."""
        return self.given_file is not None and self.given_file.suffix == ".skops"

    def with_file(self, file: Path | None) -> Spec:
        """Return a copy of this spec that judges the model in a file in place of its own; None: its own again.

        The file is a ``.keras`` file, or one of skops that ends in ``.skops``.
        """
        spec = self.with_fields()
        vars(spec)["given_file"] = file
        return spec

    def small(self, rows: int) -> Spec:
        """Return a copy of this spec that takes seconds: one trial of one epoch, one refit or two folds.

        Args:
            rows: how many samples of each part are used at most.
        """
        fields: dict[str, Any] = {"most_rows": rows, "examples": False}
        if not self.is_given:
            is_folded = isinstance(self.validation, KFold)
            tuned = self.validation.fine_tune
            tuned = tuned and dataclasses.replace(tuned, epochs=1)
            ensemble = self.validation.ensemble
            small = KFold(k=2, epochs=1) if is_folded else Holdout(epochs=1, seeds=1)
            fields |= {
                "fit": dataclasses.replace(self.fit, epochs=1, tensorboard=False),
                "validation": dataclasses.replace(small, fine_tune=tuned, ensemble=ensemble),
                "escalate": None,
            }
            if self.protocol.search is not None:
                kept = {f.name: getattr(self.search, f.name) for f in dataclasses.fields(Search)}
                fields["search"] = RandomSearch(**kept, max_trials=1)
        return self.with_fields(**fields)

    def in_project(self, project: Path) -> Spec:
        """Return a copy of this spec whose address starts from here if nothing marks a root."""
        spec = self.with_fields()
        vars(spec)["project"] = project
        return spec

    def with_fields(self, name: str | None = None, **fields: Any) -> Spec:
        """Return a copy of this spec with other fields.

        Raises:
            SpecError: a field is broken.
        """
        for field in ("gates", "aliases", "metrics"):
            if field in fields:
                fields[field] = _as_tuple(fields[field])
        if "checks" in fields:
            fields["checks"] = checks_of(fields["checks"])
        protocol = dataclasses.replace(self.protocol, **fields)
        problems = list(protocol.problems())
        if self.is_given:
            problems += [(field, OF_TRAINING) for field in fields if field in TRAINING]
        _refuse(problems, self.file, self.line, name or self.name)
        name, place = name or self.name, (self.module, self.file, self.line, self.project)
        spec = Spec(protocol, self.model, name, *place, self.is_in_notebook)
        spec.pytestmark = list(self.pytestmark)
        vars(spec).update({**self.attributes, "attributes": self.attributes})
        changed = {**self._changed, **{field: getattr(protocol, field) for field in fields}}
        vars(spec).update(
            _declared=self._declared,
            _changed=changed,
            _models=self._models,
            prepared=self.prepared,
            given_file=self.given_file,
            has_own_protocol=self.has_own_protocol,
        )
        return spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the spec as an address: the module that declares it, and the fields changed since.

        Raises:
            pickle.PicklingError: its module has no name for it, or is a notebook.
        """
        if self.is_in_notebook:
            raise pickle.PicklingError(
                f"{self.id} is declared in a notebook, which no other process can import; move it to "
                "a file to train in several"
            )
        module = sys.modules.get(self.module)
        for name, value in vars(module).items() if module else ():
            if value is self._declared:
                address = (self.module, self.file, name, self.name, self.root)
                return _imported_spec, (*address, self._changed, self.given_file)
        raise pickle.PicklingError(f"module {self.module} has no name for {self.id}")

    def __call__(self, hp: Any, prepared: Any = None) -> Any:
        """Build the model for a ``keras_tuner.HyperParameters``, and with what was prepared on train.

        A given model needs none. Of a list of them, this returns the first.
        """
        if self.is_given:
            models = self.given_models()
            return models[0] if models else None
        build = self.model.build if hasattr(self.model, "build") else self.model
        if not self.takes_prepared:
            return build(hp)
        return build(hp, self.prepared if prepared is None else prepared)

    def given_models(self) -> list[Any]:
        """Return the models that are given: in a file, or as the build function returns them.

        It names files from the project's root, wherever the process is.
        """
        if self.given_file is not None:
            import keras

            return [keras.saving.load_model(self.given_file, safe_mode=True)]
        with contextlib.chdir(self.root):
            returned = self.model()
        return list(returned) if isinstance(returned, list | tuple) else [returned]

    def __setattr__(self, name: str, value: object) -> None:
        # Except for the attribute in which pytest stores marks that stand above the decorator, and
        # private ones that other decorators have for themselves.
        if _is_foreign(name) and (name in self.attributes or not hasattr(self, name)):
            vars(self)["attributes"] = {**self.attributes, name: value}
        elif name != "pytestmark":
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        return f"{self.protocol!r}({typed(self.model)})"


def _imported_spec(
    module_name: str,
    file: str,
    attribute: str,
    name: str,
    project: Path | None,
    fields: dict[str, Any],
    given_file: Path | None,
) -> Spec:
    """Return the spec at an address, in a process that may not have imported its file yet."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError:
        # With pytest's import mode "importlib" the module's root is not on the path.
        sys.path.append(str(Path(file).parents[module_name.count(".")]))
        module = importlib.import_module(module_name)
    imported = getattr(module, "__file__", None)
    if module_name != "__main__" and (imported is None or not Path(imported).samefile(file)):
        raise ImportError(f"module {module_name} is {imported} in this process, not {file}")
    declared: Spec = getattr(module, attribute)
    spec = declared.with_fields(name, **fields)
    spec = spec if given_file is None else spec.with_file(given_file)
    return spec if project is None else spec.in_project(project)


def data_arguments(data: object) -> list[str]:
    """Return the names of the fixtures a data function asks for."""
    if not callable(data):
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
    search: Search | None = None,
    fit: Fit = Fit(),
    validation: Validation = Holdout(),
    gates: Sequence[Gate | Behaviour] = (),
    checks: Checks | str = "warn",
    escalate: Seeds | None = None,
    aliases: Sequence[str] = (),
    examples: bool = True,
    task: str | Mapping[str, str] | None = None,
    metrics: Sequence[str | Callable[..., Any]] = (),
    threshold: Threshold | float | None = None,
    exports: Mapping[str, Export] | None = None,
    sequential: bool = False,
    **unknown: object,
) -> Protocol:
    """Declare the protocol under which models are searched, validated and judged.

    Use it as a decorator on a build function ``(hp) -> compiled keras.Model``, or on a
    ``keras_tuner.HyperModel`` subclass or instance. A build function may return an estimator with
    scikit-learn's ``fit`` and ``predict`` instead. A build function without arguments returns a
    model that is trained already, or a list of them. Keep the protocol in a variable to decorate
    several.

    Args:
        data: a function returning ``mt.Data``; its arguments are pytest fixtures.
        search: which oracle proposes candidates, and which objective they are compared by; None
            trains the default values, by the validation alone.
        fit: how each candidate is trained.
        validation: how the best values are refitted and scored on the test part.
        gates: what the scores must satisfy.
        checks: how severe the checks of the data are: "warn" (default) or "fail" for all of them,
            ``mt.Checks(overlap="fail")`` for a single one.
        escalate: ``mt.seeds(max=10)``: while a gate is inconclusive, validate under more seeds.
        aliases: earlier names of this spec, under which its baseline may be stored:
            ``["perceptron"]``, or with the file it was in, ``["spec_old.py::perceptron"]``.
        examples: whether each run keeps a few test samples for its report, the most wrong first.
        task: "binary", "multiclass", "multilabel" or "regression": what a predictor that is no Keras
            model predicts, where that cannot be told.
        metrics: names and functions, as ``mt.metric`` takes them, that are measured in every run,
            whether gates ask for them or not.
        threshold: the probability from which on a model that says yes or no, of two classes or of labels,
            is taken to say yes: ``mt.threshold(maximize="f1")`` chooses it on validation, 0.3 is one. Without,
            a yes is above 0.5, and of two columns the larger one.
        exports: by a name of your own the files that the tuned model is converted to, ``{"lite":
            mt.LiteRT(quantize="int8"), "onnx": mt.Onnx()}``. Each is run on test by its own runtime, kept
            with the run, and judged by gates such as ``mt.metric("accuracy").of("lite") >= mt.tuned - 0.01``.
        sequential: hold the 5 % of false alarms of gates against earlier runs over all runs that are
            judged against one baseline, not for each run alone; the history counts them.

    Raises:
        SpecError: names every broken field, the file and the line.
    """
    caller = sys._getframe(1)
    problems: list[Problem] = []
    for name in unknown:
        close = difflib.get_close_matches(name, FIELDS, 1)
        hint = f'; did you mean "{close[0]}"?' if close else "."
        problems.append((name, f"unknown field{hint} A spec has {', '.join(FIELDS)}"))
    protocol = Protocol(
        data,
        search,
        fit,
        validation,
        _as_tuple(gates),
        checks_of(checks),  # type: ignore[arg-type]  # problems reports anything else
        escalate,
        _as_tuple(aliases),
        examples,
        task,
        _as_tuple(metrics),
        threshold,
        {} if exports is None else exports,
        (caller.f_code.co_filename, caller.f_lineno),
        sequential=sequential,
    )
    if data is _REQUIRED:
        problems.append(("data", "missing; every spec needs it"))
    problems += [
        (field, text)
        for field, text in protocol.problems()
        if field != "data" or data is not _REQUIRED
    ]
    _refuse(problems, _file_of(caller), caller.f_lineno, "mt.spec(...)")
    return protocol


def other(spec: Spec, parameters: str | None = None) -> Reference:
    """Return the other spec's value of the same metric, to be used as a bound: ``>= mt.other(mlp) - 0.01``.

    It is that of its run in this session, which runs first, or of its newest recorded run of today's code
    and data. The gate compares both on the same test samples, as it does with ``mt.baseline``.

    Args:
        spec: what ``mt.spec`` has made of another build function.
        parameters: of a parametrized spec, what stands in the brackets of its item's name.
    """
    if not isinstance(spec, Spec):
        raise TypeError(
            f"mt.other({typed(spec)}): this is no spec but a {type(spec).__name__}; give it what mt.spec has "
            "made of a build function, such as mt.other(mlp)"
        )
    more = "" if parameters is None else f", {typed(parameters)}"
    if parameters is not None:
        spec = spec.with_fields(f"{spec.name}[{parameters}]")
    text = f"mt.other({spec.name.partition('[')[0]}{more})"
    return Reference(Source.OTHER, text=text, other=spec)


def _gated(gates: Sequence[Gate | Behaviour]) -> Objective | None:
    """Return the first metric of the test part that a gate bounds, in the direction it bounds it."""
    for gate in gates:
        has_side = isinstance(gate, Gate) and gate.operator is not Operator.WITHIN
        if isinstance(gate, Gate) and has_side and _is_of_predictions(gate.measure):
            optimize = maximize if gate.wants_more else minimize
            return optimize(f"val_{gate.measure.metric}")
    return None


def _are_equal(one: object, other: object) -> bool:
    """Tell whether two functions are the same, or partials of one whose text says all they bind."""
    if isinstance(one, DecidedMetric) and isinstance(other, DecidedMetric):
        return _are_equal(one.function, other.function)  # at the same point, which is in the name
    return one is other or (
        isinstance(one, functools.partial)
        and isinstance(other, functools.partial)
        and (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)
    )


def _is_of_predictions(measure: Measure) -> bool:
    """Tell whether a measure is the size of a metric of predictions, such as an accuracy."""
    is_size = measure.subject is Subject.METRIC and measure.statistic is not Statistic.STD
    is_of_tuned = measure.export is None
    return is_size and is_of_tuned and measure.metric not in RESOURCES


def _as_tuple(listed: Any) -> Any:
    """Return a list as a tuple, and anything else unchanged for ``problems`` to report."""
    return tuple(listed) if isinstance(listed, list | tuple) else listed


def _declare(protocol: Protocol, model: Any, module_globals: dict[str, Any]) -> Spec:
    caller = sys._getframe(2)
    file, line = _file_of(caller), caller.f_lineno
    is_in_notebook = is_cell(caller.f_globals, caller.f_code.co_filename)
    name = getattr(model, "__name__", None) or getattr(model, "name", None) or type(model).__name__
    is_definition = inspect.isfunction(model) or isinstance(model, type)
    problem = _model_problem(model)
    if problem is None and isinstance(model, type):
        try:
            model = model()
        except Exception as error:
            raised = f"{name}() raised {error_text(error)}; pass an instance instead"
            text = failed_download(error) or raised
            raise SpecError(_problem_list([("model", text)], file, line, str(name))) from error
        problem = _model_problem(model)
    if problem is not None:
        _refuse([("model", problem)], file, line, str(name))
    is_alone = protocol.place == (caller.f_code.co_filename, line)
    if _takes_nothing(model) and is_alone:
        # A protocol for several models may have them, for others than this one.
        own = [(field, OF_TRAINING) for field in _of_training(protocol)]
        _refuse(own, file, line, str(name))
    if is_definition:
        module_globals.setdefault(DECLARATIONS, []).append((name, line))
    module = str(module_globals.get("__name__"))
    spec = Spec(protocol, model, str(name), module, file, line, is_in_notebook=is_in_notebook)
    vars(spec)["has_own_protocol"] = is_alone
    return spec


def _file_of(frame: FrameType) -> str:
    """Return the file that a frame's code is in; of a cell, that of its notebook."""
    file = frame.f_code.co_filename
    return str(notebook_file()) if is_cell(frame.f_globals, file) else file


EPOCHS_AND_BATCHES = (
    "epochs", "batch_size", "callbacks", "dtype_policy", "shuffle", "steps_per_epoch", "validation_steps",
)  # fmt: skip
"""The fields of a fit that a model without epochs and batches has no use for."""

TRAINING = ("search", "fit", "validation", "escalate")
"""The fields that say how models are trained."""

OF_TRAINING = (
    "the build function takes no argument, so that its model is trained already: leave this out, or "
    "write build(hp)"
)


def _of_training(protocol: Protocol) -> tuple[str, ...]:
    """Return the fields that say how models are trained and are declared."""
    defaults = {field.name: field.default for field in dataclasses.fields(Protocol)}
    defaults |= {"search": None, "fit": Fit(), "validation": Holdout()}
    return tuple(name for name in TRAINING if getattr(protocol, name) != defaults[name])


def _takes_nothing(model: Any) -> bool:
    return inspect.isfunction(model) and not inspect.signature(model).parameters


def _takes_prepared(build: Callable[..., Any]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(build).parameters.values()
    positional = [parameter for parameter in parameters if parameter.kind in kinds]
    return len(positional) == 2 and positional[1].default is inspect.Parameter.empty


def _declared_build(model: Any) -> Callable[..., Any]:
    # keras-tuner wraps an instance's build, which hides its signature.
    declared = inspect.getattr_static(type(model), "build", None)
    build: Callable[..., Any] = model.build if declared is None else declared.__get__(model)
    return build


def _marks(model: Any) -> list[Any]:
    marks = getattr(model, "pytestmark", [])
    return list(marks) if isinstance(marks, list | tuple) else [marks]


def _attributes(model: Any) -> dict[str, object]:
    """Return what decorators of other libraries keep on a build function."""
    kept = vars(model) if inspect.isfunction(model) else {}
    return {name: value for name, value in kept.items() if _is_foreign(name)}


def _is_foreign(name: str) -> bool:
    # A function that another one wraps keeps what inspect looks for, which is no decorator's.
    return name.startswith("_") and name not in ("__wrapped__", "__signature__", "__test__")


def _model_problem(model: Any) -> str | None:
    """Return why a model cannot be built from hyperparameters, or None."""
    if hasattr(model, "build") and hasattr(model, "compile"):
        return (
            f"{typed(model)} is a Keras model; decorate a function build(hp) that returns "
            "it compiled, or a HyperModel"
        )
    if isinstance(model, type):
        return None if hasattr(model, "build") else f"{typed(model)} has no build(self, hp)"
    if hasattr(model, "build"):
        return _signature_problem(_declared_build(model))
    if inspect.isfunction(model):
        return _signature_problem(model)
    return f"{typed(model)}: decorate a function build(hp) or a HyperModel"


def _signature_problem(build: Callable[..., Any]) -> str | None:
    signature = inspect.signature(build)
    if _takes_nothing(build):
        return None
    first = next(iter(signature.parameters.values()), None)
    if first is not None and first.default is not first.empty:
        return (
            f"{typed(build)} has a default for {first.name}: write {build.__name__}(hp) to have "
            f"hyperparameters, or {build.__name__}() to return a model that is trained already"
        )
    try:
        signature.bind(object(), *([object()] if _takes_prepared(build) else []))
    except TypeError:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        signature = signature.replace(parameters=bare, return_annotation=signature.empty)
        return (
            f"{typed(build)}{signature} must take one argument, build(hp), or two where the data "
            "prepare something, build(hp, prepared)"
        )
    return None


def _refuse(problems: Sequence[Problem], file: str, line: int, what: str) -> None:
    """Raise one SpecError that lists every problem, or return when there is none."""
    if problems:
        raise SpecError(_problem_list(problems, file, line, what))


def _problem_list(problems: Sequence[Problem], file: str, line: int, what: str) -> str:
    listed = "".join(f"\n  {field}: {text}" for field, text in problems)
    return f"{file}:{line}: {what} has {count_of(len(problems), 'problem')}:{listed}"
