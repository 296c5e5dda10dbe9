"""The ``modeltune`` command: look at the history without pytest."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from modeltune import config
from modeltune.counting import counted
from modeltune.errors import HistoryError, ModeltuneError, NoHistoryError

if TYPE_CHECKING:
    from modeltune.histories.store import Store
    from modeltune.runs import Run
    from modeltune.summaries import Summary


LISTED = 50
"""How many runs ``modeltune history`` lists, unless told otherwise."""

TRENDS = 10
"""Of how many specs it draws trends."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        if "store" in arguments:
            arguments.is_named = bool(arguments.store)
            arguments.store = arguments.store or config.default_store()
        said: str | int = arguments.command(arguments)
        if isinstance(said, int):
            return said
        _say(said)
    except ModeltuneError as error:
        from modeltune.reports.tables import clean

        _say(f"modeltune: {clean(str(error))}", sys.stderr)
        return 1
    return 0


def _say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, as far as the encoding allows; nothing more once the reader is gone.

    As of ``| head``: the command goes on all the same, and its exit code tells the whole.
    """
    stream = stream or sys.stdout
    try:
        print(_encodable(text), file=stream, flush=True)
    except BrokenPipeError:
        # Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _history(arguments: argparse.Namespace) -> str:
    from modeltune.histories.pending import command, waiting_for

    listed, waiting = _listed(arguments), waiting_for(arguments.store)
    if not waiting:
        return listed
    count = counted(len(waiting), "run waits", "runs wait")
    said = f"{count} in {waiting[0].parent} to be recorded: {command(arguments.store)}"
    return f"{listed}\n\n{said}"


def _listed(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.reports.tables import gated_metrics, history_table, trends

    limit = LISTED if arguments.limit is None else arguments.limit
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(open_store(arguments.store, create=False))
        except NoHistoryError:
            return _no_history()
        stack.enter_context(store.reading())
        runs = store.runs(arguments.spec, limit or None)
        known = store.specs() if not runs else []
        count = store.count(arguments.spec) if len(runs) == limit else len(runs)
        judged = _judged(runs) if arguments.spec else None
        latest = store.run(judged) if judged else None
        drawn = "" if arguments.spec else _trends(store, runs)
    if latest and len(runs) > 1:
        drawn = trends(runs, gated_metrics(latest), _bars())
    if runs:
        listed = history_table(runs, _marks(runs, latest))
        more = f"the last {len(runs)} of {count} runs; --limit 0 lists all" * (count > len(runs))
        return "\n\n".join(filter(None, (listed, more, drawn)))
    if not known:
        return _no_history()
    close = difflib.get_close_matches(arguments.spec, known, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise HistoryError(f'no run of "{arguments.spec}"; {hint}Recorded are {", ".join(known)}')


def _trends(store: Store, runs: Sequence[Summary]) -> str:
    """Return a line per gated metric of each of the specs listed first."""
    from modeltune.reports.tables import TREND, spec_trends

    specs = list(dict.fromkeys(run.spec for run in runs))[:TRENDS]
    past = store.latest(specs, TREND // 2)
    gates = store.gates(filter(None, map(_judged, past.values())))
    return spec_trends(past, gates, _bars())


def _judged(runs: Sequence[Summary]) -> str | None:
    """Return the id of the newest run that came to its gates."""
    from modeltune.runs import RunStatus

    judged = (RunStatus.PASSED, RunStatus.FAILED)
    return next((run.id for run in runs if run.status in judged), None)


def _marks(runs: Sequence[Summary], latest: Run | None) -> dict[str, str]:
    """Return by id which runs are accepted, by the baseline files beside their specs, or were."""
    from modeltune.histories import baselines

    now: set[str] = set()
    before = {latest.baseline} if latest else set()
    # All that lie there: a run may be accepted for a spec that has another name or file by now.
    for folder in {_place_of(run).parent for run in {run.file: run for run in runs}.values()}:
        accepted, replaced = baselines.named_in(folder)
        now |= accepted
        before |= replaced
    return {
        run.id: "accepted" if run.id in now else "was accepted"
        for run in runs
        if run.id in now | before
    }


def _bars() -> str:
    """Return the levels of a trend that stdout can print."""
    bars = "▁▂▃▄▅▆▇█"
    return bars if _encodable(bars) == bars else "_.-~=+*#"


def _encodable(text: str) -> str:
    """Return text that stdout can print: with ``+-`` for ±, and ``?`` for the rest it cannot."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    return text


def _show(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.reports.tables import show

    with open_store(arguments.store, create=False) as store:
        return show(store.run(arguments.run))


def _accept(arguments: argparse.Namespace) -> str:
    from modeltune.histories import baselines
    from modeltune.histories.store import open_store
    from modeltune.remembering import samples_of

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        samples = samples_of(run, store)
    file = _spec_file(run, arguments.specs)
    path = baselines.path_of(file, run.spec)
    before = path if path.exists() else None
    return "\n".join(baselines.accept(run, samples, file, why=arguments.reason, before=before))


def _check(arguments: argparse.Namespace) -> int:
    from modeltune.histories.store import open_store

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
    file = _spec_file(run, arguments.specs)
    node = f"{file}::{run.spec.partition('::')[2]}"
    options = ["--modeltune-rejudge", f"--modeltune-run={run.id}"]
    # A spec and its fixtures are only to be had from pytest. The URL may carry a password.
    environ = {**os.environ, config.STORE_VARIABLE: arguments.store}
    return subprocess.run(
        [sys.executable, "-m", "pytest", node, *options], check=False, env=environ
    ).returncode


def _compare(arguments: argparse.Namespace) -> str:
    from modeltune.contrasting import contrast
    from modeltune.histories.store import open_store
    from modeltune.reports.comparison import comparison

    with open_store(arguments.store, create=False) as store:
        a, b = store.run(arguments.a), store.run(arguments.b)
        return comparison(a, b, contrast(a, b, store))


def _report(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.reporting import gather, newest_of_each, write_pictures, write_reports

    if arguments.pictures:
        from modeltune.reports.pictures import require_matplotlib

        require_matplotlib()
    with open_store(arguments.store, create=False) as store, store.reading():
        ids = dict.fromkeys(arguments.runs or newest_of_each(store))
        found = [store.run(reference) for reference in ids]
    if not found:
        return _no_history()
    root = config.project_root(Path.cwd())
    folder = Path(root, config.load(root).report or config.DEFAULT_REPORT)
    if arguments.output:
        folder = Path(arguments.output)
    reported = gather(list({run.id: run for run in found}.values()), arguments.store)
    try:
        files = write_reports(folder, reported)
        if arguments.pictures:
            files += write_pictures(folder, reported, arguments.pictures)
    except OSError as error:
        raise HistoryError(f"the report cannot be written: {error}") from error
    return "\n".join(f"written: {os.path.relpath(file)}" for file in files)


def _export(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.replaying import check_target, export_kept

    target = Path(arguments.file)
    check_target(target)
    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        reason = export_kept(run, store, target)
    built_by = "its kept architecture"
    if reason is not None:
        try:
            file = _spec_file(run, arguments.specs)
        except HistoryError as error:
            raise HistoryError(f"{reason}, so its spec has to build the model: {error}") from error
        options = [f"--modeltune-export={target.absolute()}"]
        facts = _under_pytest(run, file, arguments.store, options)
        built_by = f"its spec {file}, for {reason}"
        if facts["code"]:
            built_by += f"; code changed since: {', '.join(facts['code'])}"
    return (
        f"written: {target} ({target.stat().st_size} bytes), run {run.id} of {run.spec}\n"
        f"built by {built_by}; the run's own weights, compiled, its optimizer as before training"
    )


def _replay(arguments: argparse.Namespace) -> int:
    from modeltune.histories.store import open_store
    from modeltune.replaying import from_json, kept_weights
    from modeltune.reports.replays import disagreeing, replay

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        kept_weights(run, store)
    facts = _under_pytest(run, _spec_file(run, arguments.specs), arguments.store, [])
    replayed = from_json(facts["replayed"])
    _say(replay(run, replayed))
    return 1 if disagreeing(run, replayed) or replayed.code else 0


def _under_pytest(run: Run, file: Path, url: str, options: Sequence[str]) -> Any:
    """Return what came of a run's spec under pytest, as the replay plugin has written it.

    A spec and its fixtures are only to be had from pytest.

    Raises:
        HistoryError: the run was refused, or pytest did not come to it and has said why.
    """
    node = f"{file}::{run.spec.partition('::')[2]}"
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder, "facts.json")
        command = [sys.executable, "-m", "pytest", node, "-p", "modeltune.replay_plugin"]
        command += [f"--modeltune-replay={run.id}", f"--modeltune-replay-to={to}", *options]
        done = subprocess.run(
            [*command, "--modeltune-workers=0", "-p", "no:cacheprovider"],
            check=False,
            # The URL may carry a password.
            env={**os.environ, config.STORE_VARIABLE: url},
            capture_output=True,
            text=True,
        )
        if not to.exists():
            _say(done.stdout + done.stderr, sys.stderr)
            said = f"pytest {node} ended with exit code {done.returncode}, see above"
            raise HistoryError(f"{run.spec} was not rebuilt: {said}")
        facts = json.loads(to.read_text(encoding="utf-8"))
    if "refused" in facts:
        raise HistoryError(facts["refused"])
    return facts


def _flush(arguments: argparse.Namespace) -> int:
    from modeltune.histories.pending import flush
    from modeltune.reports.tables import clean

    sent = []
    for is_sent, line in flush(arguments.store, is_named=arguments.is_named):
        _say(clean(line), sys.stdout if is_sent else sys.stderr)
        sent.append(is_sent)
    if not sent:
        _say("no run waits to be recorded")
    return 0 if all(sent) else 1


def _merge(arguments: argparse.Namespace) -> int:
    from modeltune.histories.merging import merge
    from modeltune.histories.store import HEAD, open_as_it_is, open_store
    from modeltune.reports.tables import clean

    source = _url(arguments.source)
    opened, revision = open_as_it_is(source)
    with opened as other:
        if revision != HEAD:
            upgrade = f"modeltune history --store {shlex.quote(other.identity)}"
            raise HistoryError(
                f"{other} has the schema of an older modeltune ({revision}, this one reads {HEAD});"
                f" to upgrade it, after which an older one reads it no more: {upgrade}"
            )
        with open_store(_url(arguments.into), keep=True) as into:
            merged = merge(into, other, without_files=arguments.without_files)
            present = counted(len(merged.present), "was there already", "were there already")
            had = f", {present}" if merged.present else ""
            runs = counted(len(merged.copied), "run")
            _say(clean(f"copied {runs} from {other} into {into}{had}"))
    for line in merged.lost:
        _say(clean(f"without a file: {line}"), sys.stderr)
    for line in merged.refused:
        _say(clean(f"not copied: {line}"), sys.stderr)
    if merged.refused:
        _say("what is gone for good is left out by --without-files", sys.stderr)
    if merged.stopped:
        raise merged.stopped
    return 1 if merged.refused else 0


def _url(text: str) -> str:
    """Return the URL of a history that is named by its URL or, of SQLite, by its path."""
    return text if "://" in text else f"sqlite:///{Path(text).absolute()}"


def _doctor(arguments: argparse.Namespace) -> int:
    from modeltune.reports.tables import clean
    from modeltune.soundness import Mark, examine

    wrong = 0
    for finding in examine(arguments.store, arguments.also, now=time.time()):
        wrong += finding.mark is Mark.WRONG
        _say(f"{finding.mark.value:<5}  {clean(finding.text)}")
    if wrong:
        _say(counted(wrong, "thing is wrong", "things are wrong"))
    return 1 if wrong else 0


def _gc(arguments: argparse.Namespace) -> str:
    from modeltune.leftovers import leftovers, remove
    from modeltune.reports.tables import clean

    now = time.time()
    found = leftovers(arguments.store, arguments.also, now=now)
    if not arguments.dry_run:
        found = [each for each in found if remove(each, now=now)]
    size = sum(each.bytes for each in found)
    done = "would be removed" if arguments.dry_run else "removed"
    files = counted(len(found), "file or folder", "files or folders")
    lines = [clean(f"{each.path} ({each.bytes} bytes): {each.why}") for each in found]
    return "\n".join([*lines, f"{done}: {files}, {size / 1e6:.1f} MB"])


def _selftest(arguments: argparse.Namespace) -> int:
    from modeltune.selftest import PLANTS, selftest, table

    _say("planting defects into a spec; each has to turn pytest red")
    keep = Path(arguments.keep) if arguments.keep else None
    try:
        report = selftest(PLANTS, keep=keep, say=lambda line: _say(f"  {line}"))
    except KeyboardInterrupt:
        _say("modeltune: selftest interrupted, nothing is shown by it", sys.stderr)
        return 130
    _say(f"\n{table(report)}\n\n{report}")
    if keep:
        _say(f"the projects, with what pytest printed in output.txt: {keep}")
    elif report.missed:
        _say("to look at the projects: modeltune selftest --keep DIR")
    return 1 if report.missed else 0


def _spec_file(run: Run | Summary, folder: str | None) -> Path:
    """Return the file a run's spec is in: of its name in a folder, else in this project."""
    file = _place_of(run) if folder is None else Path(folder, Path(run.file).name)
    if not file.is_file():
        raise HistoryError(
            f"{file}, the file of {run.spec}, is not there; name the folder it is in: --specs DIR"
        )
    return file


def _place_of(run: Run | Summary) -> Path:
    """Return where a run's spec file is: a run says where it was, a copied project has its own."""
    file = Path(run.file)
    root = config.project_root(Path.cwd())
    if root in file.parents:
        return file
    tails = (root.joinpath(*file.parts[start:]) for start in range(1, len(file.parts)))
    return next((path for path in tails if path.is_file()), file)


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
    history.add_argument(
        "--limit", type=_count, metavar="N", help=f"the last N (default: {LISTED}; 0: all)"
    )
    history.set_defaults(command=_history)
    shown = commands.add_parser(
        "show", parents=[store], allow_abbrev=False, help="show everything about a run"
    )
    shown.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    shown.set_defaults(command=_show)
    specs = argparse.ArgumentParser(add_help=False)
    specs.add_argument(
        "--specs", metavar="DIR", help="where the spec file is (default: its place in this project)"
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
    compared = commands.add_parser(
        "compare",
        parents=[store],
        allow_abbrev=False,
        help="show what differs between two runs: metrics with their noise, values, data, code",
    )
    compared.add_argument("a", metavar="A", help="id, start of an id, or -2 for the last but one")
    compared.add_argument("b", metavar="B", help="the other, -1 for the newest")
    compared.set_defaults(command=_compare)
    reported = commands.add_parser(
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
    reported.set_defaults(command=_report)
    exported = commands.add_parser(
        "export",
        parents=[store, specs],
        allow_abbrev=False,
        help="write the tuned model, compiled, with the run's own weights",
    )
    exported.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    exported.add_argument("file", metavar="model.keras", help="a new file")
    exported.set_defaults(command=_export)
    replayed = commands.add_parser(
        "replay",
        parents=[store, specs],
        allow_abbrev=False,
        help="evaluate the run's own weights again: exit 0 when its numbers come back",
    )
    replayed.add_argument("run", metavar="RUN", help="id, start of an id, or -1 for the newest")
    replayed.set_defaults(command=_replay)
    flushed = commands.add_parser(
        "flush",
        parents=[store],
        allow_abbrev=False,
        help="record the runs that wait in .modeltune/pending, each once",
    )
    flushed.set_defaults(command=_flush)
    merged = commands.add_parser(
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
    merged.set_defaults(command=_merge)
    beside = argparse.ArgumentParser(add_help=False)
    beside.add_argument(
        "--also",
        metavar="URL",
        action="append",
        default=[],
        help="a history on a server that has files in the same folder",
    )
    examined = commands.add_parser(
        "doctor",
        parents=[store, beside],
        allow_abbrev=False,
        help="check the history and every file its runs name, by digest; changes nothing",
    )
    examined.set_defaults(command=_doctor)
    collected = commands.add_parser(
        "gc",
        parents=[store, beside],
        allow_abbrev=False,
        help="remove what killed processes left beside the history, nothing a run names",
    )
    collected.add_argument("--dry-run", action="store_true", help="only tell what it would remove")
    collected.set_defaults(command=_gc)
    tested = commands.add_parser(
        "selftest",
        allow_abbrev=False,
        help="plant defects into a copy of a spec and show that each turns pytest red",
    )
    tested.add_argument("--keep", metavar="DIR", help="keep the planted projects in a new folder")
    tested.set_defaults(command=_selftest)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write 0 or more")
    # More than a database can count is all there are.
    return min(int(text), sys.maxsize)
