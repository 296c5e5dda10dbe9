"""The ``modeltune`` command: look at the history without pytest."""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modeltune import config
from modeltune.errors import HistoryError, ModeltuneError

if TYPE_CHECKING:
    from modeltune.runs import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        text: str | int = arguments.command(arguments)
    except ModeltuneError as error:
        print(f"modeltune: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if isinstance(text, int):
        return text
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


def _accept(arguments: argparse.Namespace) -> str:
    from modeltune.histories import baselines
    from modeltune.histories.store import open_store
    from modeltune.remembering import samples_of

    with open_store(arguments.store or config.default_store(), create=False) as store:
        run = store.run(arguments.run)
        samples = samples_of(run, store)
    file = _spec_file(run, arguments.specs)
    path = baselines.path_of(file, run.spec)
    before = path if path.exists() else None
    return "\n".join(baselines.accept(run, samples, file, why=arguments.reason, before=before))


def _check(arguments: argparse.Namespace) -> int:
    from modeltune.histories.store import open_store

    url = arguments.store or config.default_store()
    with open_store(url, create=False) as store:
        run = store.run(arguments.run)
    file = _spec_file(run, arguments.specs)
    node = f"{file}::{run.spec.partition('::')[2]}"
    options = ["--modeltune-rejudge", f"--modeltune-run={run.id}"]
    # A spec and its fixtures are only to be had from pytest. The URL may carry a password.
    environ = {**os.environ, config.STORE_VARIABLE: url}
    return subprocess.run(
        [sys.executable, "-m", "pytest", node, *options], check=False, env=environ
    ).returncode


def _selftest(arguments: argparse.Namespace) -> int:
    from modeltune.selftest import PLANTS, selftest, table

    print("planting defects into a spec; each has to turn pytest red", flush=True)
    keep = Path(arguments.keep) if arguments.keep else None
    try:
        report = selftest(PLANTS, keep=keep, say=lambda line: print(f"  {line}", flush=True))
    except KeyboardInterrupt:
        print("modeltune: selftest interrupted, nothing is shown by it", file=sys.stderr)
        return 130
    print(f"\n{table(report)}\n\n{report}")
    if keep:
        print(f"the projects, with what pytest printed in output.txt: {keep}")
    elif report.missed:
        print("to look at the projects: modeltune selftest --keep DIR")
    return 1 if report.missed else 0


def _spec_file(run: Run, folder: str | None) -> Path:
    """Return the file a run's spec is in: where it was recorded, or of its name in a folder."""
    file = Path(run.file) if folder is None else Path(folder, Path(run.file).name)
    if not file.is_file():
        raise HistoryError(
            f"{file}, the file of {run.spec}, is not there; name the folder it is in: --specs DIR"
        )
    return file


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
    specs = argparse.ArgumentParser(add_help=False)
    specs.add_argument(
        "--specs", metavar="DIR", help="where the spec file is (default: where the run found it)"
    )
    accepted = commands.add_parser(
        "accept",
        parents=[store, specs],
        allow_abbrev=False,
        help="make a run that passed the baseline of its spec",
    )
    accepted.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    accepted.add_argument("--reason", metavar="TEXT", required=True, help="why, kept in the file")
    accepted.set_defaults(command=_accept)
    checked = commands.add_parser(
        "check",
        parents=[store, specs],
        allow_abbrev=False,
        help="judge a run by today's gates, without training",
    )
    checked.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    checked.set_defaults(command=_check)
    tested = commands.add_parser(
        "selftest",
        allow_abbrev=False,
        help="plant defects into a copy of a spec and show that each turns pytest red",
    )
    tested.add_argument("--keep", metavar="DIR", help="keep the planted projects in a new folder")
    tested.set_defaults(command=_selftest)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write 1 or more")
    return int(text)
