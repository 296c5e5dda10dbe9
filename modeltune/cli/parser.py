"""The arguments of the ``modeltune`` command, and which of the commands they call."""

from __future__ import annotations

import argparse
import sys

from modeltune.cli import commands


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command; ``command`` in what it parses is the function to call."""
    whole = argparse.ArgumentParser(
        prog="modeltune", description="Look at recorded runs.", allow_abbrev=False
    )
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--store",
        metavar="URL",
        help="the history (default: MODELTUNE_STORE, [tool.modeltune] store, "
        "or .modeltune/history.db beside pyproject.toml)",
    )
    history = subparsers.add_parser(
        "history", parents=[store], allow_abbrev=False, help="list runs, newest first"
    )
    history.add_argument("spec", nargs="?", metavar="SPEC", help="only of spec_digits.py::mlp")
    history.add_argument(
        "--limit", type=_count, metavar="N", help=f"the last N (default: {commands.LISTED}; 0: all)"
    )
    history.set_defaults(command=commands.list_runs)
    shown = subparsers.add_parser(
        "show", parents=[store], allow_abbrev=False, help="show everything about a run"
    )
    shown.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    shown.add_argument(
        "--trial", type=_count, metavar="N", help="only trial N: why it failed, how it was trained"
    )
    shown.set_defaults(command=commands.show_run)
    specs = argparse.ArgumentParser(add_help=False)
    specs.add_argument(
        "--specs", metavar="DIR", help="where the spec file is (default: its place in this project)"
    )
    accepted = subparsers.add_parser(
        "accept",
        parents=[store, specs],
        allow_abbrev=False,
        help="make a run that passed the baseline of its spec",
    )
    accepted.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    accepted.add_argument("--reason", metavar="TEXT", required=True, help="why, kept in the file")
    accepted.set_defaults(command=commands.accept_run)
    checked = subparsers.add_parser(
        "check",
        parents=[store, specs],
        allow_abbrev=False,
        help="judge a run by today's gates, without training",
    )
    checked.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    checked.set_defaults(command=commands.check_run)
    compared = subparsers.add_parser(
        "compare",
        parents=[store],
        allow_abbrev=False,
        help="show what differs between two runs: metrics with their noise, values, data, code",
    )
    compared.add_argument("a", metavar="A", help="id, start of an id, or -2 for the last but one")
    compared.add_argument("b", metavar="B", help="the other, -1 for the newest")
    compared.set_defaults(command=commands.compare_runs)
    reported = subparsers.add_parser(
        "report",
        parents=[store],
        allow_abbrev=False,
        help="write report.html, report.md and report.json of runs (default: the newest of each spec)",
    )
    reported.add_argument(
        "runs", nargs="*", metavar="RUN", help="id, start of an id, or -1 for the newest"
    )
    reported.add_argument(
        "--output", metavar="DIR", help="where to (default: where pytest writes its reports)"
    )
    reported.add_argument(
        "--pictures",
        choices=("svg", "png"),
        help="the charts as files too; drawn by matplotlib: pip install 'modeltune[pictures]'",
    )
    reported.set_defaults(command=commands.write_report)
    exported = subparsers.add_parser(
        "export",
        parents=[store, specs],
        allow_abbrev=False,
        help="write the tuned model, compiled, with the run's own weights",
    )
    exported.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    exported.add_argument("file", metavar="model.keras", help="a new file")
    exported.set_defaults(command=commands.export_run)
    replayed = subparsers.add_parser(
        "replay",
        parents=[store, specs],
        allow_abbrev=False,
        help="evaluate the run's own weights again: exit 0 when its numbers come back",
    )
    replayed.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    replayed.set_defaults(command=commands.replay_run)
    flushed = subparsers.add_parser(
        "flush",
        parents=[store],
        allow_abbrev=False,
        help="record the runs that wait in .modeltune/pending, each once",
    )
    flushed.set_defaults(command=commands.flush_runs)
    merged = subparsers.add_parser(
        "merge",
        allow_abbrev=False,
        help="copy the runs of one history into another, with their files",
        description="Copy every run of FROM that INTO does not have, in the order of their "
        "creation, with its files; FROM stays as it is. Once more changes nothing.",
    )
    place = "URL of a history, or path of its history.db"
    merged.add_argument("into", metavar="INTO", help=f"the one that grows: {place}")
    merged.add_argument("source", metavar="FROM", help="the one that is read")
    merged.add_argument(
        "--without-files",
        action="store_true",
        help="copy also runs whose files are gone or changed, without those",
    )
    merged.set_defaults(command=commands.merge_histories)
    beside = argparse.ArgumentParser(add_help=False)
    beside.add_argument(
        "--also",
        metavar="URL",
        action="append",
        default=[],
        help="a history on a server that has files in the same folder",
    )
    examined = subparsers.add_parser(
        "doctor",
        parents=[store, beside],
        allow_abbrev=False,
        help="check the history and every file its runs name, by digest; changes nothing",
    )
    examined.set_defaults(command=commands.examine_history)
    collected = subparsers.add_parser(
        "gc",
        parents=[store, beside],
        allow_abbrev=False,
        help="remove what killed processes left beside the history, nothing a run names",
    )
    collected.add_argument("--dry-run", action="store_true", help="only tell what it would remove")
    collected.set_defaults(command=commands.collect_garbage)
    tested = subparsers.add_parser(
        "selftest",
        allow_abbrev=False,
        help="plant defects into a copy of a spec and show that each turns pytest red",
    )
    tested.add_argument("--keep", metavar="DIR", help="keep the planted projects in a new folder")
    tested.set_defaults(command=commands.run_selftest)
    return whole


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write 0 or more")
    # More than a database can count is all there are.
    return min(int(text), sys.maxsize)
