"""Make pytest items of specs: each is a Function item, so that every feature of pytest applies."""

from __future__ import annotations

import re
import sysconfig
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from modeltune.ground import (
    PACKAGE,
    Deadline,
    ModeltuneError,
    SpecError,
    failed_download,
    is_ours,
)
from modeltune.plugin.live_hooks import SMOKE, is_github
from modeltune.plugin.parameters import Parameters, argument_names
from modeltune.specs import DECLARATIONS, FIELDS, Spec, data_arguments

if TYPE_CHECKING:
    from modeltune.ground import MissingNameError
    from modeltune.records import Event, Family, Run

THEIR_WARNINGS = (
    # keras-tuner 1.4.8 asks for its thread's name the old way at every call of an oracle.
    (r"currentThread\(\) is deprecated", "keras_tuner"),
    (r"getName\(\) is deprecated", "keras_tuner"),
    # Keras turns a TensorFlow variable into an array when it saves weights; TensorFlow's
    # __array__ does not know NumPy 2's copy argument yet.
    (r"__array__ implementation doesn't accept a copy", "keras"),
)
"""Warnings of libraries that the author of a spec can do nothing about: (message, module)."""


@contextmanager
def their_warnings_ignored() -> Iterator[None]:
    """Ignore ``THEIR_WARNINGS`` within."""
    with warnings.catch_warnings():
        for message, module in THEIR_WARNINGS:
            warnings.filterwarnings("ignore", message, DeprecationWarning, module)
        yield


class GatesFailed(AssertionError):
    """A run whose gates or checks are red: they are named for whoever shows an error by its message."""

    def __init__(self, run: Run):
        red = [verdict.gate for verdict in run.verdicts if verdict.outcome.is_red(run.strict)]
        red += [check.gate for check in run.checks if check.outcome.is_red()]
        super().__init__(f"{run.spec} is {run.status.value}{': ' if red else ''}{', '.join(red)}")
        self.run = run


NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, and control characters that some readers of XML refuse."""


PROPERTIES = "properties for junit.xml"
"""What cannot be rendered when one of ``properties`` raises."""


def properties(run: Run, item: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the properties of a run for ``--junitxml``: names and values, as text.

    The names begin with ``item``, a node id, if there is one: ``spec_a.py::mlp: modeltune.run``.
    What XML cannot hold is escaped as Python does: pytest does that in values, not in names, and
    no lone surrogate travels between processes of pytest-xdist.
    """
    facts = [("run", run.id), ("status", run.status.value)]
    facts += [("cached", "true")] if run.cached else []
    facts += [] if run.baseline is None else [("baseline", run.baseline)]
    facts += [(name, f"{scores.mean:.6g}") for name, scores in run.scores.items()]
    facts += [
        (f"gate[{verdict.gate}]", f"{verdict.outcome.value}: {verdict.reason}")
        for verdict in run.verdicts
    ]
    prefix = "modeltune." if item is None else f"{item}: modeltune."
    for name, value in facts:
        yield _as_xml(f"{prefix}{name}"), _as_xml(value)


def _as_xml(text: str) -> str:
    return NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


@dataclass(frozen=True)
class ItemContext:
    """What all items of a session share.

    Args:
        root: pytest's, where the addresses of specs start in a project without pyproject.toml.
        options: keyword arguments of ``harness.run``.
        deadline: called when an item begins to run; returns when it has to be done.
        family: called then too; returns the specs that share one error rate with the item's.
        listen: called with an item's node id and every event while it runs.
        note: called where pytest lacks a name, with what is done instead.
        render: calls a function that renders something, and survives what it raises.
        is_smoke: whether specs are only exercised: nothing is recorded, and no gate is enforced.
        is_testcase_told: whether a run is told in the properties of its item's testcase.
    """

    root: Path
    options: Mapping[str, Any]
    deadline: Callable[[], Deadline]
    listen: Callable[[str, Event], None]
    note: Callable[[MissingNameError, str], None]
    render: Callable[[str, Callable[[], Any], Any], Any]
    is_testcase_told: bool
    family: Callable[[], Family | None]
    is_smoke: bool = False


class SpecItem(pytest.Function):
    """A spec as a test: it passes when its model was searched and validated, and holds its gates.

    ``obj`` is a function whose arguments are the fixtures that the spec asks for; its place is that
    of the build function. ``run`` is the recorded run, None before its end; ``is_green`` whether
    pytest has reported everything about the item as passed so far. ``unbound`` are the
    parametrized fields whose values are known only when the item is set up.
    """

    spec: Spec
    context: ItemContext
    run: Run | None = None
    is_green: bool = True
    unbound: Collection[str] = ()

    def setup(self) -> None:
        """Set up the fixtures, and give the spec its parametrized fields if it has not got them yet."""
        super().setup()
        if self.unbound:
            values: dict[str, Any] = {name: self._fixture(name) for name in self.unbound}
            self.spec = self.spec.with_fields(**values)

    def runtest(self) -> None:
        """Run the spec; raise GatesFailed if it is red."""
        from modeltune.harness import run as run_spec

        with their_warnings_ignored():
            try:
                fixtures = {name: self._fixture(name) for name in data_arguments(self.spec.data)}
                if self.context.is_smoke:
                    self._smoke(fixtures)
                    return
                run = run_spec(
                    self.spec,
                    fixtures=fixtures,
                    deadline=self.context.deadline(),
                    family=self.context.family(),
                    listen=self._listen,
                    **self.context.options,
                )
            except KeyboardInterrupt as interrupt:
                # One that arrives inside a library may have frames without a line number, and
                # pytest 9.2 crashes when it shows those.
                raise KeyboardInterrupt(*interrupt.args) from None
        if not run.passed:
            raise GatesFailed(run)

    def _smoke(self, fixtures: Mapping[str, object]) -> None:
        from modeltune.harness import smoke
        from modeltune.records import SmokeEnded

        run = smoke(
            self.spec,
            fixtures=fixtures,
            workers=self.context.options["workers"],
            deadline=self.context.deadline(),
            listen=self._listen,
        )
        self.user_properties.append(SMOKE)
        self._listen(SmokeEnded(run))

    def _fixture(self, name: str) -> object:
        try:
            return self.funcargs[name]
        except KeyError:
            raise SpecError(
                f"{self.spec.file}:{self.spec.line}: {self.name}: nothing gives {name} a value: pytest was "
                "not asked for it, since data came from a fixture, or another plugin made this item"
            ) from None

    def _listen(self, event: Event) -> None:
        from modeltune.records import RunRecorded

        if isinstance(event, RunRecorded):
            self.run = run = event.run
            told = []
            if self.context.is_testcase_told:
                told = self.context.render(PROPERTIES, lambda: [*properties(run)], [])
            # Another plugin may run the item again: its last run counts.
            others = [fact for fact in self.user_properties if not fact[0].startswith("modeltune.")]
            self.user_properties[:] = [*others, *told]
        self.context.listen(self.nodeid, event)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the gate table of a red run, the message of an error of ours, or the user's traceback."""
        if isinstance(excinfo.value, GatesFailed):
            from modeltune.reports import failure

            run = excinfo.value.run
            otherwise = f"{excinfo.value}: modeltune show {run.id}"
            table = self.context.render("table of a red spec", lambda: failure(run), otherwise)
            return self.failure_shown(table)
        if isinstance(excinfo.value, ModeltuneError):
            from modeltune.records import number_of_error, outcome_section

            notes = getattr(excinfo.value, "__notes__", ())
            number = number_of_error(excinfo.type)
            code = [] if number is None else [f"{number}: {outcome_section(number)}"]
            return self.failure_shown("\n".join([str(excinfo.value), *notes, *code]))
        if not self.config.getoption("fulltrace", False):
            if _is_not_the_user_s(excinfo):
                where = "Raised inside modeltune: --full-trace shows where."
                return self.failure_shown(f"{excinfo.exconly()}\n{where}")
            excinfo = pytest.ExceptionInfo.from_exception(_without_our_frames(excinfo.value))
        return super().repr_failure(excinfo)

    def failure_shown(self, text: str) -> Any:
        """Return what a report of the item holds so that pytest, and other plugins, show this text."""
        from modeltune.ground import MissingNameError
        from modeltune.plugin.pytest_internals import failure_shown

        if is_github():
            from modeltune.reports import inert

            text = inert(text)
        try:
            return failure_shown(text, self.spec.file, self.spec.line)
        except MissingNameError as missing:
            self.context.note(missing, "other plugins find no message of a red spec")
            return text

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return the place of the build function, for failures and links in editors."""
        return self.spec.file, self.spec.line - 1, self.name


@dataclass(frozen=True)
class DeclaredFunction:
    """What the items of a spec are made of.

    Args:
        parameters: what its function is parametrized with, also by other plugins.
        fields: the fields of the spec that are parametrized.
    """

    spec: Spec
    parameters: Parameters
    fields: Collection[str]
    context: ItemContext


FUNCTIONS: WeakKeyDictionary[Any, DeclaredFunction] = WeakKeyDictionary()
"""The functions that pytest was given in place of specs."""


def is_spec_function(function: object) -> bool:
    """Tell the function that pytest was given in place of a spec."""
    return isinstance(function, FunctionType) and function in FUNCTIONS


def parameters_recorded(metafunc: pytest.Metafunc) -> AbstractContextManager[None]:
    """Return a context in which the parameters of a spec's items are noted."""
    function = metafunc.function
    if not is_spec_function(function):
        return nullcontext()
    return FUNCTIONS[function].parameters.recorded(metafunc)


def spec_items(
    collector: pytest.Module | pytest.Class,
    name: str,
    spec: Spec,
    context: ItemContext,
) -> Iterator[SpecItem]:
    """Yield the items of one module attribute, several when it is parametrized.

    Raises:
        pytest.Collector.CollectError: two specs of one name, one inside a class, or a broken
            parametrized field.
    """
    if not isinstance(collector, pytest.Module):
        raise collector.CollectError(
            f"{spec.file}:{spec.line}: {name} is declared inside {collector.name}; "
            "a spec is addressed by file and name: move it out of the class"
        )
    module = collector.obj
    # One build function may be held to other rules under another name.
    elsewhere = {
        value.line
        for other, value in vars(module).items()
        if isinstance(value, Spec) and other != name
    }
    declared = {line for called, line in getattr(module, DECLARATIONS, ()) if called == name}
    lines = sorted(declared - elsewhere)
    if len(lines) > 1 and spec.module == module.__name__:
        raise collector.CollectError(
            f"{collector.path}: two specs are named {name}, in lines "
            f"{' and '.join(map(str, lines))}; the first would never run: rename one"
        )
    marks = _parametrize_marks(collector, spec)
    function = _function(name, spec, marks)
    fields = {argument for mark in marks for argument in _arguments(mark)} & {*FIELDS}
    parameters = Parameters()
    FUNCTIONS[function] = DeclaredFunction(spec, parameters, fields, context)
    # pytest makes functions by looking their name up in the module.
    setattr(module, name, function)
    try:
        made = collector.ihook.pytest_pycollect_makeitem(
            collector=collector, name=name, obj=function
        )
    finally:
        setattr(module, name, spec)
    del function.__test__  # -k would match it
    for item in made or ():
        yield make_spec_item(item)
    if parameters.missing is not None:
        note = "a spec that another plugin repeats has a history for each repetition"
        context.note(parameters.missing, note)


def refuse_wrapped(collector: pytest.Module | pytest.Class, name: str, function: object) -> None:
    """Refuse a function that another decorator has made of a spec: it would never run.

    Raises:
        pytest.Collector.CollectError: it is one.
    """
    wrapped = function
    while isinstance(wrapped, FunctionType):
        wrapped = vars(wrapped).get("__wrapped__")
    if isinstance(wrapped, Spec):
        raise collector.CollectError(
            f"{wrapped.file}:{wrapped.line}: {name}: a decorator above mt.spec has made a plain "
            "function of the spec, which would never run: write it below, next to the build function"
        )


def collect_error(
    collector: pytest.Collector,
    excinfo: pytest.ExceptionInfo[BaseException],
    report: pytest.CollectReport | pytest.TestReport,
) -> Any:
    """Return what to show when a file with specs cannot be collected; None: what pytest shows."""
    if isinstance(excinfo.value, ModeltuneError):
        return str(excinfo.value)
    if lacking := failed_download(excinfo.value):
        return f"{collector.path}: {lacking}"
    if "attempted relative import with no known parent package" in str(excinfo.value):
        hint = f"relative imports need a package; add an empty {collector.path.parent}/__init__.py"
        return f"{report.longrepr}\nHint: {hint}"
    if isinstance(excinfo.value.__cause__, SyntaxError):
        return "".join(traceback.format_exception_only(excinfo.value.__cause__)).rstrip()
    if isinstance(excinfo.value, collector.CollectError):
        return None
    return collector.repr_failure(
        pytest.ExceptionInfo.from_exception(_without_our_frames(excinfo.value))
    )


def _is_not_the_user_s(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    """Tell whether a traceback has frames of modeltune and none of the user's files."""
    paths = [Path(entry.path) for entry in excinfo.traceback]
    theirs = (Path(pytest.__file__).parent.parent, Path(sysconfig.get_path("stdlib")))
    return any(PACKAGE in path.parents for path in paths) and not any(
        path.is_file() and not {PACKAGE, *theirs} & {*path.parents} for path in paths
    )


def _without_our_frames(error: BaseException) -> BaseException:
    """Remove our frames from the tracebacks of an error and of the errors that led to it."""
    chain: dict[int, BaseException] = {}
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None or id(link) in chain:
            continue
        chain[id(link)] = link
        links += [link.__cause__, link.__context__]
        entries, entry = [], link.__traceback__
        while entry is not None:
            entries.append(entry)
            entry = entry.tb_next
        theirs = None
        for entry in reversed(entries):
            if not is_ours(entry.tb_frame.f_code.co_filename):
                theirs = TracebackType(theirs, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        link.__traceback__ = theirs
    return error


def parameter_id(value: object) -> str | None:
    """Return the id of a declaration in ``parametrize``, None for any other value."""
    if not type(value).__module__.startswith("modeltune."):
        return None
    return _longer_ids.get(id(value)) or _label(value)


_longer_ids: dict[int, str] = {}
"""Ids of declarations that have others of their kind beside them, by the object's id: pytest asks
for the id of one value at a time."""


def _tell_apart(declarations: Sequence[object]) -> None:
    """Give longer ids to declarations with the same label in one parametrize: ``random-max_trials=8``."""
    labels = Counter(_label(value) for value in declarations)
    for value in declarations:
        label = _label(value)
        if label and label != "fit" and labels[label] > 1:
            arguments = repr(value).partition("(")[2].removesuffix(")").split(", ")
            keywords = [argument for argument in arguments if "=" in argument]
            _longer_ids[id(value)] = "-".join([label, *keywords])


def _label(value: object) -> str | None:
    label = getattr(value, "label", None)
    if label == "fit":
        return repr(value).removeprefix("mt.Fit(").removesuffix(")").replace(", ", "-") or "fit"
    return label


def _parametrize_marks(collector: pytest.Module, spec: Spec) -> list[pytest.Mark]:
    marks = [mark for mark in spec.pytestmark if mark.name == "parametrize"]
    return marks + list(collector.iter_markers("parametrize"))


def _arguments(mark: pytest.Mark) -> list[str]:
    """Return the names that a parametrize mark gives values to."""
    return argument_names(mark.args[0] if mark.args else mark.kwargs["argnames"])


def _values(mark: pytest.Mark, argument: str) -> Iterator[object]:
    """Yield the values that a parametrize mark gives to one of its names."""
    names = _arguments(mark)
    for row in mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"]:
        # pytest.param(...) is a tuple whose values are a tuple; a dict's are a method.
        values = getattr(row, "values", None)
        if isinstance(values, tuple):
            yield values[names.index(argument)]
        else:
            yield row if len(names) == 1 else row[names.index(argument)]


def _function(name: str, spec: Spec, marks: list[pytest.Mark]) -> Any:
    """Return a function whose arguments are the fixtures and parameters that the spec asks for."""
    arguments = dict.fromkeys(data_arguments(spec.data))
    for mark in marks:
        parametrized = _arguments(mark)
        fields = [argument for argument in parametrized if argument in FIELDS]
        arguments |= dict.fromkeys(fields)
        for field in fields:
            _tell_apart(list(_values(mark, field)))
        if "data" in parametrized:
            for data in _values(mark, "data"):
                arguments |= dict.fromkeys(data_arguments(data))
    assert name.isidentifier()  # it is an attribute of the module
    namespace: dict[str, Any] = {"__name__": spec.module}
    # Only an item of ours runs a spec: its function must not pass for a test.
    body = "raise RuntimeError('a spec was called as a plain test function')"
    exec(f"def {name}({', '.join(arguments)}): {body}", namespace)
    function = namespace[name]
    vars(function).update(spec.attributes)
    function.__doc__ = spec.__doc__
    function.__code__ = function.__code__.replace(co_filename=spec.file, co_firstlineno=spec.line)
    function.pytestmark = spec.pytestmark
    function.__test__ = True
    return function


def make_spec_item(item: pytest.Function) -> SpecItem:
    """Turn the plain function item that pytest has made into the item of its spec, unless it is one.

    Raises:
        pytest.Collector.CollectError: a parametrized field is broken.
    """
    if isinstance(item, SpecItem) and hasattr(item, "spec"):
        return item
    declared = FUNCTIONS[item.function]
    spec, parameters, context = declared.spec, declared.parameters, declared.context
    values: Mapping[str, object] = {}
    # A fixture of that name makes the value out of the parameter.
    unbound: Collection[str] = {*declared.fields} & parameters.indirect
    fields = {*declared.fields} - {*unbound}
    if fields:
        from modeltune.ground import MissingNameError
        from modeltune.plugin.pytest_internals import parameters_of

        try:
            values = parameters_of(item)
        except MissingNameError as missing:
            context.note(missing, "parametrized specs get their fields when they begin to run")
            unbound = {*unbound, *fields}
    try:
        bound = spec.with_fields(
            name=parameters.name(item, item.obj.__name__),
            **{field: values[field] for field in fields if field in values},
        ).in_project(context.root)
    except ModeltuneError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    # Everything that pytest has put into the item stays. A new item would need private parts of it.
    item.__class__ = SpecItem
    assert isinstance(item, SpecItem)
    item.spec, item.context, item.unbound = bound, context, unbound
    return item
