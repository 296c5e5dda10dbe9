"""Spec files to pytest items: each spec is one Function item, so every pytest feature applies."""

from __future__ import annotations

import re
import sysconfig
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from modeltune.ground import PACKAGE, Deadline, MissingNameError, ModeltuneError, is_ours
from modeltune.plugin.pytest_internals import parameters_of
from modeltune.records import Event, Listener, Run, RunRecorded
from modeltune.specs import DECLARATIONS, FIELDS, Spec, data_arguments

THEIR_WARNINGS = (
    # keras-tuner 1.4.8 asks for its thread's name the old way at every call of an oracle.
    (r"currentThread\(\) is deprecated", "keras_tuner"),
    (r"getName\(\) is deprecated", "keras_tuner"),
    # Keras turns a TensorFlow variable into an array when it saves weights; TensorFlow's
    # __array__ does not know NumPy 2's copy argument yet.
    (r"__array__ implementation doesn't accept a copy", "keras"),
)
"""What nobody who declares a spec can do anything about: (message, module)."""


class GatesFailed(AssertionError):
    """A run that is not green."""

    def __init__(self, run: Run):
        super().__init__(f"{run.spec} is {run.status.value}")
        self.run = run


NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML can hold, and control characters that some readers of XML refuse."""


def properties(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what is told of a run to who reads ``--junitxml``: names and values, as text.

    What XML cannot hold is escaped as Python does: pytest does that in values, not in names, and
    no lone surrogate travels between processes of pytest-xdist.
    """
    told = [("run", run.id), ("status", run.status.value)]
    told += [("cached", "true")] if run.cached else []
    told += [] if run.baseline is None else [("baseline", run.baseline)]
    told += [(name, f"{scores.mean:.6g}") for name, scores in run.scores.items()]
    told += [
        (f"gate[{verdict.gate}]", f"{verdict.outcome.value}: {verdict.reason}")
        for verdict in run.verdicts
    ]
    for name, value in told:
        yield _as_xml(f"modeltune.{name}"), _as_xml(value)


def _as_xml(text: str) -> str:
    return NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


@dataclass(frozen=True)
class ItemContext:
    """What all items of a session share.

    Args:
        options: keyword arguments of ``harness.run``.
        deadline: called when an item begins to run; returns when it has to be done.
        listen: called with every event while an item runs.
        note: called where pytest lacks a name, with what is done instead.
    """

    options: Mapping[str, Any]
    deadline: Callable[[], Deadline]
    listen: Listener
    note: Callable[[MissingNameError, str], None]


class SpecItem(pytest.Function):
    """A spec as a test: passes when its model was searched, validated and holds its gates.

    ``obj`` is a function of the fixtures the spec asks for, placed where the build
    function is. ``run`` is the recorded run, None before it ended. ``unbound`` are fields of
    the spec that are parametrized, and known only once the item is set up.
    """

    spec: Spec
    context: ItemContext
    run: Run | None = None
    unbound: Collection[str] = ()

    def setup(self) -> None:
        """Set up the fixtures, and the fields of the spec that are parametrized."""
        super().setup()
        if self.unbound:
            values: dict[str, Any] = {name: self.funcargs[name] for name in self.unbound}
            self.spec = self.spec.with_fields(**values)

    def runtest(self) -> None:
        """Run the spec; raise GatesFailed when it is not green."""
        from modeltune.harness import run as run_spec

        with warnings.catch_warnings():
            for message, module in THEIR_WARNINGS:
                warnings.filterwarnings("ignore", message, DeprecationWarning, module)
            try:
                run = run_spec(
                    self.spec,
                    fixtures={name: self.funcargs[name] for name in data_arguments(self.spec.data)},
                    deadline=self.context.deadline(),
                    listen=self._listen,
                    **self.context.options,
                )
            except KeyboardInterrupt:
                # One that arrives inside a library may have frames without a line number, and
                # pytest 9.2 crashes when it shows those.
                raise KeyboardInterrupt from None
        if not run.passed:
            raise GatesFailed(run)

    def _listen(self, event: Event) -> None:
        if isinstance(event, RunRecorded):
            self.run = event.run
            self.user_properties += properties(event.run)
        self.context.listen(event)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the gate table of a red run, an error's own words, or the user's traceback."""
        if isinstance(excinfo.value, GatesFailed):
            from modeltune.reports import failure

            return failure(excinfo.value.run)
        if isinstance(excinfo.value, ModeltuneError):
            return "\n".join([str(excinfo.value), *getattr(excinfo.value, "__notes__", ())])
        if not self.config.getoption("fulltrace", False):
            if _is_not_the_user_s(excinfo):
                return f"{excinfo.exconly()}\nRaised inside modeltune: --full-trace shows where."
            excinfo = pytest.ExceptionInfo.from_exception(_without_our_frames(excinfo.value))
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return the place of the build function: failures and IDE links lead there."""
        return self.spec.file, self.spec.line - 1, self.name


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
    # pytest makes functions by looking their name up in the module.
    setattr(module, name, function)
    try:
        made = collector.ihook.pytest_pycollect_makeitem(
            collector=collector, name=name, obj=function
        )
    finally:
        setattr(module, name, spec)
    del function.__test__  # -k would match it
    fields = {argument for mark in marks for argument in _arguments(mark)} & {*FIELDS}
    for item in made or ():
        yield _spec_item(collector, item, spec, fields, context)


def collect_error(
    collector: pytest.Collector,
    excinfo: pytest.ExceptionInfo[BaseException],
    report: pytest.CollectReport | pytest.TestReport,
) -> Any:
    """Return what to show of a spec file that does not collect, or None: pytest's own words do."""
    if isinstance(excinfo.value, ModeltuneError):
        return str(excinfo.value)
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
    """Tell whether an error went through modeltune and through no file of the user's."""
    paths = [Path(entry.path) for entry in excinfo.traceback]
    theirs = (Path(pytest.__file__).parent.parent, Path(sysconfig.get_path("stdlib")))
    return any(PACKAGE in path.parents for path in paths) and not any(
        path.is_file() and not {PACKAGE, *theirs} & {*path.parents} for path in paths
    )


def _without_our_frames(error: BaseException) -> BaseException:
    """Leave in its traceback, and of what led to it, the user's frames and other libraries'."""
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
        shown = None
        for entry in reversed(entries):
            if not is_ours(entry.tb_frame.f_code.co_filename):
                shown = TracebackType(shown, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        link.__traceback__ = shown
    return error


def parameter_id(value: object) -> str | None:
    """Return the id of a declaration in ``parametrize``, or None for other values."""
    if not type(value).__module__.startswith("modeltune."):
        return None
    return _told_apart.get(id(value)) or _label(value)


_told_apart: dict[int, str] = {}
"""Ids of declarations that stand beside another of their kind, by the object's id: pytest asks
for the id of one value at a time."""


def _tell_apart(declarations: Sequence[object]) -> None:
    """Give declarations of one label in one parametrize longer ids: ``random-max_trials=8``."""
    labels = Counter(_label(value) for value in declarations)
    for value in declarations:
        label = _label(value)
        if label and label != "fit" and labels[label] > 1:
            arguments = repr(value).partition("(")[2].removesuffix(")").split(", ")
            typed = [argument for argument in arguments if "=" in argument]
            _told_apart[id(value)] = "-".join([label, *typed])


def _label(value: object) -> str | None:
    label = getattr(value, "label", None)
    if label == "fit":
        return repr(value).removeprefix("mt.Fit(").removesuffix(")").replace(", ", "-") or "fit"
    return label


def _parametrize_marks(collector: pytest.Module, spec: Spec) -> list[pytest.Mark]:
    marks = [mark for mark in spec.pytestmark if mark.name == "parametrize"]
    return marks + list(collector.iter_markers("parametrize"))


def _arguments(mark: pytest.Mark) -> list[str]:
    """Return the names a parametrize mark gives values to."""
    names = mark.args[0] if mark.args else mark.kwargs["argnames"]
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    return list(names)


def _values(mark: pytest.Mark, argument: str) -> Iterator[object]:
    """Yield the values a parametrize mark gives to one of its names."""
    names = _arguments(mark)
    for row in mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"]:
        # pytest.param(...) is a tuple whose values are a tuple; a dict's are a method.
        values = getattr(row, "values", None)
        if isinstance(values, tuple):
            yield values[names.index(argument)]
        else:
            yield row if len(names) == 1 else row[names.index(argument)]


def _function(name: str, spec: Spec, marks: list[pytest.Mark]) -> Any:
    """Return a function whose arguments are the fixtures and parameters this spec asks for."""
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
    exec(f"def {name}({', '.join(arguments)}): ...", namespace)
    function = namespace[name]
    function.__doc__ = spec.__doc__
    function.__code__ = function.__code__.replace(co_filename=spec.file, co_firstlineno=spec.line)
    function.pytestmark = spec.pytestmark
    function.__test__ = True
    return function


def _spec_item(
    collector: pytest.Module,
    item: pytest.Function,
    spec: Spec,
    fields: Collection[str],
    context: ItemContext,
) -> SpecItem:
    """Make the plain function item that pytest has made the spec's item.

    Args:
        fields: those of the spec's fields that are parametrized.
    """
    values: Mapping[str, object] = {}
    unbound: Collection[str] = ()
    if fields:
        try:
            values = parameters_of(item)
        except MissingNameError as missing:
            context.note(missing, "parametrized specs get their fields when they begin to run")
            unbound = fields
    try:
        bound = spec.with_fields(
            name=item.name, **{field: values[field] for field in fields if field in values}
        )
    except ModeltuneError as error:
        raise collector.CollectError(str(error)) from error
    # All that pytest has put into it stays. A new item would need of it what it keeps private.
    item.__class__ = SpecItem
    assert isinstance(item, SpecItem)
    item.spec, item.context, item.unbound = bound, context, unbound
    return item
