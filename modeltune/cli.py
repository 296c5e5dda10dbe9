"""The ``modeltune`` command: look at the history without pytest."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from modeltune import config
from modeltune.errors import HistoryError, ModeltuneError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        text: str = arguments.command(arguments)
    except ModeltuneError as error:
        print(f"modeltune: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # As for ``modeltune history | head``; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _history(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import exists, open_store
    from modeltune.reports.tables import history_table

    url = arguments.store or config.default_store()
    if not exists(url):
        return _no_history()
    with open_store(url, create=False) as store:
        runs = store.runs(arguments.spec, arguments.limit)
        known = store.specs() if not runs else []
    if runs:
        return history_table(runs)
    if not known:
        return _no_history()
    close = difflib.get_close_matches(arguments.spec, known, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise HistoryError(f'no run of "{arguments.spec}"; {hint}Recorded are {", ".join(known)}')


def _show(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.reports.tables import show

    with open_store(arguments.store or config.default_store(), create=False) as store:
        return show(store.run(arguments.run))


def _no_history() -> str:
    return "No history yet. Write a spec, model_specs/spec_*.py, and run: pytest model_specs/"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modeltune", description="Look at recorded runs.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--store",
        metavar="URL",
        help="the history (default: MODELTUNE_STORE, [tool.modeltune] store, "
        "or .modeltune/history.db beside pyproject.toml)",
    )
    history = commands.add_parser(
        "history", parents=[store], allow_abbrev=False, help="list runs, newest first"
    )
    history.add_argument("spec", nargs="?", metavar="SPEC", help="only of spec_digits.py::mlp")
    history.add_argument("--limit", type=_count, metavar="N", help="only the last N")
    history.set_defaults(command=_history)
    shown = commands.add_parser(
        "show", parents=[store], allow_abbrev=False, help="show everything about a run"
    )
    shown.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    shown.set_defaults(command=_show)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write 1 or more")
    return int(text)
