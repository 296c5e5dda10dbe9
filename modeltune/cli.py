"""The ``modeltune`` command: look at the history without pytest."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune import config
from modeltune.errors import HistoryError, ModeltuneError

if TYPE_CHECKING:
    from modeltune.runs import Run
    from modeltune.summaries import Summary


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
        print(_encodable(text), flush=True)
    except BrokenPipeError:
        # As for ``modeltune history | head``; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _history(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import exists, open_store
    from modeltune.reports.tables import gated_metrics, history_table, trends
    from modeltune.runs import RunStatus

    url = arguments.store or config.default_store()
    if not exists(url):
        return _no_history()
    with open_store(url, create=False) as store:
        runs = store.runs(arguments.spec, arguments.limit)
        known = store.specs() if not runs else []
        judged = [run for run in runs if run.status in (RunStatus.PASSED, RunStatus.FAILED)]
        latest = store.run(judged[0].id) if arguments.spec and judged else None
    if runs:
        listed = history_table(runs, _marks(runs, latest))
        drawn = trends(runs, gated_metrics(latest), _bars()) if latest and len(runs) > 1 else ""
        return "\n\n".join(filter(None, (listed, drawn)))
    if not known:
        return _no_history()
    close = difflib.get_close_matches(arguments.spec, known, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise HistoryError(f'no run of "{arguments.spec}"; {hint}Recorded are {", ".join(known)}')


def _marks(runs: Sequence[Summary], latest: Run | None) -> dict[str, str]:
    """Return by id which runs are accepted, by the baseline files beside their specs, or were."""
    from modeltune.histories import baselines

    now, before = set(), {latest.baseline} if latest else set()
    for run in {(run.file, run.spec): run for run in runs}.values():
        # A spec that is gone has no baseline any more.
        with contextlib.suppress(HistoryError):
            found = baselines.read(baselines.path_of(_spec_file(run, None), run.spec))
            now.add(found.run)
            before.add(found.replaced)
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


def _compare(arguments: argparse.Namespace) -> str:
    from modeltune.contrasting import contrast
    from modeltune.histories.store import open_store
    from modeltune.reports.comparison import comparison

    with open_store(arguments.store or config.default_store(), create=False) as store:
        a, b = store.run(arguments.a), store.run(arguments.b)
        return comparison(a, b, contrast(a, b, store))


def _export(arguments: argparse.Namespace) -> str:
    from modeltune.histories.store import open_store
    from modeltune.replaying import check_target, export_kept

    target = Path(arguments.file)
    check_target(target)
    url = arguments.store or config.default_store()
    with open_store(url, create=False) as store:
        run = store.run(arguments.run)
        reason = export_kept(run, store, target)
    built_by = "its kept architecture"
    if reason is not None:
        try:
            file = _spec_file(run, arguments.specs)
        except HistoryError as error:
            raise HistoryError(f"{reason}, so its spec has to build the model: {error}") from error
        options = [f"--modeltune-export={target.absolute()}"]
        facts = _under_pytest(run, file, url, options)
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

    url = arguments.store or config.default_store()
    with open_store(url, create=False) as store:
        run = store.run(arguments.run)
        kept_weights(run, store)
    facts = _under_pytest(run, _spec_file(run, arguments.specs), url, [])
    replayed = from_json(facts["replayed"])
    print(_encodable(replay(run, replayed)))
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
            print(done.stdout + done.stderr, file=sys.stderr)
            said = f"pytest {node} ended with exit code {done.returncode}, see above"
            raise HistoryError(f"{run.spec} was not rebuilt: {said}")
        facts = json.loads(to.read_text(encoding="utf-8"))
    if "refused" in facts:
        raise HistoryError(facts["refused"])
    return facts


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


def _spec_file(run: Run | Summary, folder: str | None) -> Path:
    """Return the file a run's spec is in: of its name in a folder, else in this project.

    A run says where its file was; a copy of that project has one of its own.
    """
    file = Path(run.file) if folder is None else Path(folder, Path(run.file).name)
    root = config.project_root(Path.cwd())
    if folder is None and root not in file.parents:
        tails = (root.joinpath(*file.parts[start:]) for start in range(1, len(file.parts)))
        file = next((path for path in tails if path.is_file()), file)
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
