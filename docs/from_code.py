"""What the guide takes from the code: a page names a table in a comment, ``<!-- from_code: commands -->``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import modeltune as mt
from modeltune import plugin
from modeltune.cli.parser import parser
from modeltune.ground import Config
from modeltune.records import CHECK_AREAS

ROOT = Path(__file__).parents[1]

MARK = re.compile(r"^<!-- from_code: (\w+) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """Return a page with its tables.

    Raises:
        KeyError: a page asks for a table that there is not.
    """
    return MARK.sub(lambda found: TABLES[found[1]](), text)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def commands() -> str:
    """Return a section for each command, with its arguments as ``--help`` has them."""
    (subparsers,) = (
        action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    helped = {action.dest: action.help for action in subparsers._choices_actions}
    sections = []
    for name, command in subparsers.choices.items():
        typed = " ".join(command.format_usage().removeprefix("usage: ").split())
        usage = textwrap.fill(typed, 88, subsequent_indent="    ", break_on_hyphens=False)
        rows = [
            (f"`{invocation(action)}`", (action.help or "") % {"default": action.default})
            for action in command._actions
            if not isinstance(action, argparse._HelpAction)
        ]
        said = f"{helped[name]}.".capitalize() if name else ""
        listed = f"\n\n{table(('argument', 'what it says'), rows)}" if rows else ""
        sections.append(f"## modeltune {name}\n\n{said}\n\n```\n{usage}\n```{listed}")
    return "\n\n".join(sections)


def invocation(action: argparse.Action) -> str:
    """Return an argument as one types it."""
    value = action.metavar if isinstance(action.metavar, str) else None
    if not action.option_strings:
        return value or action.dest
    if action.choices:
        value = "|".join(map(str, action.choices))
    return " ".join(filter(None, [action.option_strings[-1], value]))


def options() -> str:
    """Return the options of the pytest plugin, as its ``--help`` has them."""
    declared: list[tuple[str, dict[str, Any]]] = []
    group = SimpleNamespace(addoption=lambda name, **facts: declared.append((name, facts)))
    plugin.pytest_addoption(
        SimpleNamespace(getgroup=lambda *_: group, addini=lambda *_, **__: None)  # type: ignore[arg-type]
    )
    rows = [
        ("`" + "=".join(filter(None, [name, facts.get("metavar")])) + "`", facts["help"])
        for name, facts in declared
    ]
    return table(("option of pytest", "what it does"), rows)


def settings() -> str:
    """Return the keys of ``[tool.modeltune]``, from the docstring of Config."""
    text = inspect.getdoc(Config) or ""
    described = re.sub(r"\n {4,}(?! )", " ", re.sub(r"\n {4}(?=\w+: )", "\n\n", text))
    found = dict(re.findall(r"^ *(\w+): (.+)$", described, re.MULTILINE))
    rows = [(f"`{field.name}`", found[field.name].strip()) for field in dataclasses.fields(Config)]
    return table(("key in `[tool.modeltune]`", "what it says"), rows)


def packages() -> str:
    """Return the packages from top to bottom, as import-linter's configuration has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    rows = []
    for layer in layers:
        for name in layer.split(" | "):
            door = (ROOT / "modeltune" / name / "__init__.py").read_text("utf-8")
            said = door.partition('"""')[2].partition('"""')[0].partition("\n")[0]
            rows.append((f"`modeltune.{name}`", said))
    return table(("package", "what it is for"), rows)


def codes() -> str:
    """Return every check by its code, and what it looks at."""
    rows = [
        (f"[{code}](checks.md#{anchor(code)})", f"the {area.value}")
        for code, area in CHECK_AREAS.items()
    ]
    return table(("check", "looks at"), rows)


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in "_- ").replace(" ", "-")


def names() -> str:
    """Return a section for each name of ``modeltune``, in the words of its docstring."""
    sections = []
    for name in mt.__all__:
        value = getattr(mt, name)
        if isinstance(value, str):
            continue
        if inspect.isclass(value):
            entry = f".. autoclass:: modeltune.{name}"
        elif inspect.isfunction(value):
            entry = f".. autofunction:: modeltune.{name}"
        else:
            entry = f".. autodata:: modeltune.{name}\n   :no-value:"
        sections.append(f"## mt.{name}\n\n```{{eval-rst}}\n{entry}\n```")
    return "\n\n".join(sections)


TABLES = {table.__name__: table for table in (codes, commands, names, options, packages, settings)}
"""What a page can ask for."""
