"""Spec files to pytest items: each spec is one Function item, so every pytest feature applies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modeltune.errors import ModeltuneError
from modeltune.events import Event, Listener, RunRecorded
from modeltune.runs import Run
from modeltune.specs import DECLARED, FIELDS, Spec, data_arguments


class GatesFailed(AssertionError):
    """A run that is not green."""

    def __init__(self, run: Run):
        super().__init__(f"{run.spec} is {run.status.value}")
        self.run = run


class SpecItem(pytest.Function):
    """A spec as a test: passes when its model was searched, validated and holds its gates.

    ``obj`` is a function of the fixtures the spec asks for, placed where the build
    function is. ``run`` is the recorded run, None before it ended.
    """

    spec: Spec
    options: Mapping[str, Any]
    listen: Listener
    run: Run | None = None

    def runtest(self) -> None:
        """Run the spec; raise GatesFailed when it is not green."""
        # Loads keras, so it is imported when the first item runs.
        from modeltune import harness

        run = harness.run(
            self.spec,
            fixtures={name: self.funcargs[name] for name in data_arguments(self.spec.data)},
            listen=self._listen,
            **self.options,
        )
        if not run.passed:
            raise GatesFailed(run)

    def _listen(self, event: Event) -> None:
        if isinstance(event, RunRecorded):
            self.run = event.run
            self.user_properties += [
                (f"modeltune.{name}", f"{scores.mean:.6g}")
                for name, scores in event.run.scores.items()
            ]
        self.listen(event)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the gate table of a red run, an error's own words, or the user's traceback."""
        if isinstance(excinfo.value, GatesFailed):
            from modeltune.reports.tables import failure

            return failure(excinfo.value.run)
        if isinstance(excinfo.value, ModeltuneError):
            return str(excinfo.value)
        ours = Path(__file__).parent
        theirs = excinfo.traceback.filter(lambda entry: ours not in Path(entry.path).parents)
        if theirs:
            excinfo.traceback = theirs
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return the place of the build function: failures and IDE links lead there."""
        return self.path, self.spec.line - 1, self.name


def spec_items(
    collector: pytest.Module,
    name: str,
    spec: Spec,
    options: Mapping[str, Any],
    listen: Listener,
) -> Iterator[SpecItem]:
    """Yield the items of one module attribute: none when the spec is declared elsewhere.

    Args:
        options: keyword arguments of ``harness.run``.
        listen: told of every event while an item runs.

    Raises:
        pytest.Collector.CollectError: two specs of one name, or a broken parametrized field.
    """
    module = collector.obj
    if spec.module != module.__name__:
        return
    lines_of_name = [line for declared, line in getattr(module, DECLARED, ()) if declared == name]
    if len(set(lines_of_name)) > 1:
        listed = " and ".join(str(line) for line in sorted(set(lines_of_name)))
        raise collector.CollectError(
            f"{collector.path}: two specs are named {name}, in lines {listed}; "
            "the first would never run: rename one"
        )
    function = _function(name, spec, _parametrized(collector, spec))
    # pytest makes functions by looking their name up in the module.
    setattr(module, name, function)
    try:
        made = collector.ihook.pytest_pycollect_makeitem(
            collector=collector, name=name, obj=function
        )
    finally:
        setattr(module, name, spec)
    del function.__test__  # -k would match it
    for made_item in made or ():
        item = _item(collector, made_item, spec)
        item.options, item.listen = options, listen
        yield item


def collect_error(report: pytest.CollectReport) -> str | None:
    """Return what to show instead of a traceback when a spec file does not collect, or None."""
    call: Any = getattr(report, "call", None)
    error = call.excinfo.value if call is not None and call.excinfo else None
    if isinstance(error, ModeltuneError):
        return str(error)
    if "attempted relative import with no known parent package" in str(error):
        folder = Path(report.fspath).parent
        return f"{report.longrepr}\nHint: relative imports need a package; add an empty {folder}/__init__.py"
    return None


def parameter_id(value: object) -> str | None:
    """Return the id of a declaration in ``parametrize``, or None for other values."""
    if not type(value).__module__.startswith("modeltune."):
        return None
    label = getattr(value, "label", None)
    if label == "fit":
        return repr(value).removeprefix("mt.Fit(").removesuffix(")").replace(", ", "-") or "fit"
    return label


def _parametrized(collector: pytest.Module, spec: Spec) -> list[pytest.Mark]:
    marks = [mark for mark in spec.pytestmark if mark.name == "parametrize"]
    return marks + list(collector.iter_markers("parametrize"))


def _function(name: str, spec: Spec, parametrized: list[pytest.Mark]) -> Any:
    """Return a function whose arguments are the fixtures and parameters this spec asks for."""
    arguments = dict.fromkeys(data_arguments(spec.data))
    for mark in parametrized:
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        arguments |= dict.fromkeys(n for n in names if n in FIELDS)
        if "data" in names:
            for data in _values(mark, names.index("data"), len(names)):
                arguments |= dict.fromkeys(data_arguments(data))
    assert name.isidentifier()  # it is an attribute of the module
    namespace: dict[str, Any] = {"__name__": spec.module}
    exec(f"def {name}({', '.join(arguments)}): ...", namespace)
    function = namespace[name]
    function.__doc__ = spec.__doc__
    function.__code__ = function.__code__.replace(co_filename=spec.file, co_firstlineno=spec.line)
    function.pytestmark = spec.pytestmark
    function.__test__ = True
    return function


def _values(mark: pytest.Mark, position: int, width: int) -> Iterator[object]:
    for row in mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"]:
        values = getattr(row, "values", None)
        row = values if isinstance(values, tuple) else row
        yield row[position] if width > 1 or isinstance(values, tuple) else row


def _item(collector: pytest.Module, made: pytest.Function, spec: Spec) -> SpecItem:
    """Return the spec's item in place of the plain function item pytest has made."""
    callspec = getattr(made, "callspec", None)
    params = callspec.params if callspec else {}
    fields = {name: value for name, value in params.items() if name in FIELDS}
    try:
        bound = spec.with_fields(name=made.name, **fields)
    except ModeltuneError as error:
        raise collector.CollectError(str(error)) from error
    item: SpecItem = SpecItem.from_parent(
        made.parent,
        name=made.name,
        callspec=callspec,
        callobj=made.obj,
        fixtureinfo=made._fixtureinfo,
        originalname=made.originalname,
    )
    item.spec = bound
    return item
