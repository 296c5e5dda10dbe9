"""The arguments of the ``modeltune`` command, and which of the commands they call."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from modeltune.cli import commands
from modeltune.cli.first_files import CI_FILES
from modeltune.ground import MaskedUrl, mask_urls


class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat what was typed without passwords."""

    def error(self, message: str) -> NoReturn:
        super().error(mask_urls(message))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command; ``command`` in its result is the function to call."""
    whole = _Parser(
        prog="modeltune",
        description="Begin a project, inspect recorded runs, and take care of their history.",
        allow_abbrev=False,
    )
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")
    store = _Parser(add_help=False)
    store.add_argument(
        "--store",
        type=MaskedUrl,
        metavar="URL",
        help="URL of the history (default: MODELTUNE_STORE, else store in [tool.modeltune], else "
        ".modeltune/history.db beside pyproject.toml)",
    )
    form = _Parser(add_help=False)
    form.add_argument(
        "--format",
        choices=commands.FORMATS,
        default="table",
        help="how to print it (default: table, as wide as the terminal or COLUMNS allow)",
    )
    begun = subparsers.add_parser(
        "init",
        allow_abbrev=False,
        help="write a first spec, its data and a CI file into this folder; overwrite nothing",
        description="Write model_specs/spec_first.py, a spec that passes at once, model_specs/datasets.py, "
        "whose data are to be replaced by yours, and the file that runs both in CI. Files that are "
        "there already stay as they are.",
    )
    begun.add_argument(
        "--ci",
        choices=tuple(CI_FILES),
        default="github",
        help="the CI service to write a file for (default: github, .github/workflows/models.yml; "
        "gitlab: .gitlab-ci.yml)",
    )
    begun.set_defaults(command=commands.begin_project)
    history = subparsers.add_parser(
        "history", parents=[store, form], allow_abbrev=False, help="list runs, newest first"
    )
    history.add_argument(
        "spec",
        nargs="?",
        metavar="SPEC",
        help="list only the runs of this spec, such as model_specs/spec_digits.py::mlp, or its end",
    )
    history.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help=f"list the last N runs (default: {commands.HISTORY_LIMIT}; 0: all)",
    )
    history.set_defaults(command=commands.list_runs)
    show = subparsers.add_parser(
        "show", parents=[store, form], allow_abbrev=False, help="show everything about a run"
    )
    show.add_argument(
        "run", metavar="RUN", help="id of the run, or the start of it; -1 is the newest run"
    )
    show.add_argument(
        "--trial", type=_count, metavar="N", help="only trial N: why it failed, how it was trained"
    )
    show.set_defaults(command=commands.show_run)
    specs = _Parser(add_help=False)
    specs.add_argument(
        "--specs",
        metavar="DIR",
        help="folder of the spec file (default: where it is in this project)",
    )
    accepted = subparsers.add_parser(
        "accept",
        parents=[store, specs],
        allow_abbrev=False,
        help="accept a run that passed: it becomes the baseline of its spec",
    )
    accepted.add_argument(
        "run", metavar="RUN", help="id of the run, or the start of it; -1 is the newest run"
    )
    accepted.add_argument(
        "--reason",
        metavar="TEXT",
        required=True,
        help="why the run is accepted; kept in the baseline file",
    )
    accepted.set_defaults(command=commands.accept_run)
    checked = subparsers.add_parser(
        "check",
        parents=[store, specs],
        allow_abbrev=False,
        help="judge a run, or a model in a file, by today's gates, without training",
    )
    checked.add_argument(
        "run",
        metavar="RUN|FILE",
        help="id of the run, or the start of it; -1 is the newest run; or a .keras or .skops file",
    )
    checked.add_argument(
        "--spec",
        metavar="FILE.py::NAME",
        help="with a file: the spec whose gates it is held to; the run is recorded as one of it",
    )
    checked.set_defaults(command=commands.check_run)
    judged = subparsers.add_parser(
        "judge",
        allow_abbrev=False,
        help="judge the runs of several report.json files as one session, without their histories",
        description="Judge the specs of jobs that a suite was split over as one session: with family = "
        '"session" or "fdr" in [tool.modeltune] their comparisons share one error rate. Exit with 0 '
        "if all specs are green then, 1 if one is red, 5 if there is none.",
    )
    judged.add_argument(
        "reports", nargs="+", metavar="REPORT", help="the report.json of a job; name them all"
    )
    judged.add_argument(
        "--output", metavar="DIR", help="write report.html, report.md and report.json of all, too"
    )
    judged.set_defaults(command=commands.judge_together)
    compared = subparsers.add_parser(
        "compare",
        parents=[store, form],
        allow_abbrev=False,
        help="show what differs between two runs: metrics with their noise, values, data, code",
    )
    compared.add_argument(
        "a", metavar="A", help="id of a run, or the start of it; -2 is the last run but one"
    )
    compared.add_argument("b", metavar="B", help="the other run; -1 is the newest")
    compared.set_defaults(command=commands.compare_runs)
    reported = subparsers.add_parser(
        "report",
        parents=[store],
        allow_abbrev=False,
        help="write report.html, report.md and report.json of runs (default: each spec's newest run)",
    )
    reported.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="id of the run, or the start of it; -1 is the newest run",
    )
    reported.add_argument(
        "--output",
        metavar="DIR",
        help="folder to write to (default: where pytest writes its reports)",
    )
    reported.add_argument(
        "--pictures",
        choices=("svg", "png"),
        help="write the charts as files too; needs matplotlib: pip install 'modeltune[pictures]'",
    )
    reported.set_defaults(command=commands.write_report)
    exported = subparsers.add_parser(
        "export",
        parents=[store, specs],
        allow_abbrev=False,
        help="write the tuned model, compiled, with the run's own weights, or one of its exports",
    )
    exported.add_argument(
        "--as",
        dest="export",
        metavar="NAME",
        help="write the export of this name, as the spec declares it: --as lite model.tflite",
    )
    exported.add_argument(
        "run", metavar="RUN", help="id of the run, or the start of it; -1 is the newest run"
    )
    exported.add_argument(
        "file",
        metavar="model.keras",
        help="the file to write, which must not exist yet; to x.weights.h5 go the weights alone, and with "
        "--as to x.tflite or x.onnx the export",
    )
    exported.set_defaults(command=commands.export_run)
    best = subparsers.add_parser(
        "best",
        parents=[store, specs],
        allow_abbrev=False,
        help="rank the models of a protocol, and say which are really different; export the best",
    )
    best.add_argument(
        "protocol",
        metavar="PROTOCOL",
        help="its name, such as on_digits, or address, model_specs/spec_digits.py::on_digits",
    )
    best.add_argument(
        "--export",
        dest="file",
        metavar="FILE",
        help="write the best model, as modeltune export does",
    )
    best.set_defaults(command=commands.best_of_protocol)
    replayed = subparsers.add_parser(
        "replay",
        parents=[store, specs],
        allow_abbrev=False,
        help="evaluate the run's own weights again; exit with 0 if they give the recorded numbers",
    )
    replayed.add_argument(
        "run", metavar="RUN", help="id of the run, or the start of it; -1 is the newest run"
    )
    replayed.set_defaults(command=commands.replay_weights)
    flushed = subparsers.add_parser(
        "flush",
        parents=[store],
        allow_abbrev=False,
        help="record the runs that wait in .modeltune/pending",
    )
    flushed.set_defaults(command=commands.flush_runs)
    powered = subparsers.add_parser(
        "power",
        parents=[store],
        allow_abbrev=False,
        help="say which drops regression gates can find with the data there are, without training",
        description="Load the data of specs, and print for each gate that is held against a recorded run the "
        "smallest drop that it finds with a probability of 80 %. Nothing is trained or recorded.",
    )
    powered.add_argument(
        "specs",
        nargs="*",
        metavar="SPEC",
        help="a spec, such as model_specs/spec_digits.py::mlp, a file or a folder (default: model_specs)",
    )
    powered.add_argument("--json", action="store_true", help="print JSON")
    powered.set_defaults(command=commands.power_of_specs)
    merged = subparsers.add_parser(
        "merge",
        allow_abbrev=False,
        help="copy the runs of one history into another, with their files",
        description="Copy every run that INTO lacks from FROM, oldest first, with its files. FROM "
        "stays as it is, and merging again changes nothing.",
    )
    place = "URL, or path of its history.db"
    merged.add_argument(
        "into", type=MaskedUrl, metavar="INTO", help=f"the history to copy into: {place}"
    )
    merged.add_argument("source", type=MaskedUrl, metavar="FROM", help="the history to copy from")
    merged.add_argument(
        "--without-files",
        action="store_true",
        help="also copy runs whose files are gone or changed, without those files",
    )
    merged.set_defaults(command=commands.merge_histories)
    beside = _Parser(add_help=False)
    beside.add_argument(
        "--also",
        type=MaskedUrl,
        metavar="URL",
        action="append",
        default=[],
        help="another history with files in the same folder, such as one on a server",
    )
    examined = subparsers.add_parser(
        "doctor",
        parents=[store, beside],
        allow_abbrev=False,
        help="check the history, and by digest every file its runs name; change nothing",
    )
    examined.set_defaults(command=commands.examine_history)
    collected = subparsers.add_parser(
        "gc",
        parents=[store, beside],
        allow_abbrev=False,
        help="remove what killed processes left beside the history; never what a run names",
    )
    collected.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    collected.set_defaults(command=commands.collect_garbage)
    tested = subparsers.add_parser(
        "selftest",
        allow_abbrev=False,
        help="plant defects into a copy of a spec and show that each turns pytest red",
    )
    tested.add_argument(
        "--keep",
        metavar="DIR",
        help="keep the planted projects in this folder, which must be new or empty",
    )
    tested.set_defaults(command=commands.run_selftest)
    return whole


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write 0 or more")
    # More than a database can count is all there are.
    return min(int(text), sys.maxsize)
