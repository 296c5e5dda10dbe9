"""All that we use of pytest though it is not documented. PYTEST_DONT_REWRITE

Each of these functions raises MissingNameError where pytest has another name by now; whoever calls
it does something plainer then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TextIO

import pytest

from modeltune.ground import private_name

PYTEST_NAMES = {
    "terminal reporter": "TerminalReporter",  # of _pytest.terminal; of pytest only since 8.4
    "writer": "_tw",  # of a terminal reporter
    "file": "_file",  # of its writer
    "line": "_current_line",  # what its writer has written since the last line break
    "begin line": "ensure_newline",  # of a terminal reporter
    "disabled": "global_and_fixture_disabled",  # of the capture manager
    "suspend": "suspend_global_capture",
    "resume": "resume_global_capture",
    "call": "callspec",  # of a function item that is parametrized
    "parameters": "params",  # of its call
    "indices": "indices",  # of its call: of each parameter, the place of its value
    "ids": "_idlist",  # of its call: the ids in its name
    "calls": "_calls",  # of a metafunc: those of its items so far
    "fixtures": "_arg2fixturedefs",  # of a metafunc
    "failure": "ReprExceptionInfo",  # of _pytest._code.code: an error as it is shown
    "traceback": "ReprTracebackNative",  # its lines
    "place": "ReprFileLocation",  # and its file, line and message
    "junit": "xml_key",  # of _pytest.junitxml: where the configuration has what writes the file
    "property": "add_global_property",  # of what writes it
}
"""What pytest calls what we use, by our words for it."""


class Writer:
    """What a terminal reporter writes with: an open file, which can be exchanged for another."""

    def __init__(self, reporter: Any) -> None:
        self._writer = _find(reporter, "writer")
        self.file: TextIO = _find(self._writer, "file")
        self.line: str = _find(self._writer, "line")

    def write_to(self, file: Any) -> None:
        """Have everything go to this file from now on."""
        setattr(self._writer, PYTEST_NAMES["file"], file)


def is_pytests_own(reporter: object) -> bool:
    """Tell pytest's terminal reporter from that of another plugin, which may draw lines itself."""
    from _pytest import terminal

    return type(reporter) is _find(terminal, "terminal reporter")


def failure_shown(text: str, file: str, line: int) -> Any:
    """Return a failure in words as pytest keeps an exception in a report.

    It is shown as ``text``. What reads ``reprcrash`` of a report, as pytest's short summary,
    ``--tb=line`` and many plugins do, finds the text and the place: a file, and a line from 1.
    """
    from _pytest._code import code

    place = _find(code, "place")(file, line, text)
    lines = [f"{each}\n" for each in text.split("\n")]
    return _find(code, "failure")(_find(code, "traceback")(lines), place)


def is_junit_case_bare(config: pytest.Config) -> bool:
    """Tell whether a file is asked for by ``--junitxml`` in whose family a testcase has no properties."""
    if getattr(config.option, "xmlpath", None) is None:
        return False
    return config.getini("junit_family") not in ("xunit1", "legacy")


def add_junit_properties(config: pytest.Config, properties: Iterable[tuple[str, str]]) -> None:
    """Add properties to the testsuite of the file that this process writes for ``--junitxml``, if any."""
    from _pytest import junitxml

    written = config.stash.get(_find(junitxml, "junit"), None)
    if written is not None:
        add = _find(written, "property")
        for name, value in properties:
            add(name, value)


def begin_line(reporter: Any) -> None:
    """Have a terminal reporter write what comes next on a line of its own."""
    _find(reporter, "begin line")()


def capture_disabled(config: pytest.Config) -> AbstractContextManager[None]:
    """Return a context in which output goes to the terminal, also while a test runs."""
    manager = config.pluginmanager.getplugin("capturemanager")
    context = nullcontext() if manager is None else _find(manager, "disabled")()
    assert isinstance(context, AbstractContextManager)
    return context


def capture_watched(
    config: pytest.Config, suspended: Callable[[], None], resumed: Callable[[], None]
) -> AbstractContextManager[None]:
    """Return a context in which ``suspended`` is called before pytest stops capturing output.

    ``resumed`` is called once it captures again. Meanwhile a debugger, or a test, writes past
    the terminal reporter: ``pytest_enter_pdb`` comes when the debugger's header is on the screen,
    and not at all when one that has continued stops again.
    """
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        return nullcontext()
    suspend, resume = _find(manager, "suspend"), _find(manager, "resume")

    def suspend_it(in_: bool = False) -> None:
        suspended()
        suspend(in_)

    def resume_it() -> None:
        resume()
        resumed()

    @contextmanager
    def watched() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(manager, PYTEST_NAMES["suspend"], suspend_it)
            patched.setattr(manager, PYTEST_NAMES["resume"], resume_it)
            yield

    return watched()


def parameters_of(item: pytest.Function) -> Mapping[str, object]:
    """Return by name the values that ``parametrize`` gives to an item; it is parametrized."""
    values: Mapping[str, object] = _find(_find(item, "call"), "parameters")
    return values


def call_of(item: pytest.Function) -> object:
    """Return the object that holds the parameters of an item; it is parametrized."""
    call: object = _find(item, "call")
    return call


def calls_of(
    metafunc: pytest.Metafunc,
) -> Iterator[tuple[object, Mapping[str, int], Sequence[str]]]:
    """Yield what holds the parameters of each item so far, their places, and the ids in its name."""
    for call in _find(metafunc, "calls"):
        yield call, _find(call, "indices"), _find(call, "ids")


def fixtures_of(metafunc: pytest.Metafunc) -> Mapping[str, Sequence[pytest.FixtureDef[Any]]]:
    """Return by name the definitions of the fixtures that a function asks for, and of all they ask for."""
    fixtures: Mapping[str, Sequence[pytest.FixtureDef[Any]]] = _find(metafunc, "fixtures")
    return fixtures


def _find(owner: object, word: str) -> Any:
    return private_name("pytest", owner, PYTEST_NAMES[word])
