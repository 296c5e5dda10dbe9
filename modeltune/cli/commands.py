"""The commands: each takes the parsed arguments, and returns its text or its exit code."""

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeltune.cli.first_files import write_first_files
from modeltune.cli.output import encodable, room, say
from modeltune.cli.spec_files import node_of, spec_file, spec_folder
from modeltune.ground import (
    STORE_VARIABLE,
    HistoryError,
    InvalidRunError,
    MaskedUrl,
    NoHistoryError,
    StoreUrl,
    absolute_path,
    count_of,
    error_line,
    named_store,
    project_of,
    sqlite_url,
    text_of,
)

if TYPE_CHECKING:
    from modeltune.histories import Store
    from modeltune.records import Run, Summary

FORMATS = ("table", "json", "csv", "markdown", "latex")
"""What --format of history, show and compare takes."""

MODEL_FILES = (".keras", ".skops")
"""How the names of files end whose model is held to a spec."""

HISTORY_LIMIT = 50
"""How many runs ``modeltune history`` lists without --limit."""

TREND_SPECS = 10
"""For how many specs ``modeltune history`` draws trends."""


def begin_project(arguments: argparse.Namespace) -> str:
    """Write the first files of a project into the working directory."""
    return "\n".join(write_first_files(Path.cwd(), arguments.ci))


def list_runs(arguments: argparse.Namespace) -> int:
    """List the recorded runs, newest first, with their trends; say how many runs wait to be recorded.

    Return 1 if a run was left out because its rows are not as modeltune writes them, else 0.
    """
    from modeltune.histories import flush_command, waiting_for

    invalid: dict[str, str] = {}
    hints: list[str] = []
    text, waiting = _history(arguments, invalid, hints), waiting_for(arguments.store)
    if waiting:
        count = count_of(len(waiting), "run waits", "runs wait")
        hints.append(
            f"{count} in {waiting[0].parent} to be recorded: {flush_command(arguments.store)}"
        )
    if arguments.format == "table":
        say("\n\n".join(filter(None, (text, *hints))))
    else:
        # What programs read holds nothing else.
        say(text)
        for hint in hints:
            say(hint, sys.stderr)
    return _say_invalid(invalid.values())


def _say_invalid(lines: Iterable[str]) -> int:
    """Print a line for each run that was left out; return the exit code."""
    from modeltune.reports import clean

    left_out = list(lines)
    for line in left_out:
        say(f"modeltune: {clean(line)}", sys.stderr)
    return 1 if left_out else 0


def _history(arguments: argparse.Namespace, invalid: dict[str, str], hints: list[str]) -> str:
    """Return the runs in the format that is asked for, and what else is to be said in ``hints``."""
    from modeltune.histories import open_store
    from modeltune.reports import gated_metrics, history_table, trends
    from modeltune.specs import root_here

    is_table, columns = arguments.format == "table", room()
    limit = HISTORY_LIMIT if arguments.limit is None else arguments.limit
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(open_store(arguments.store, create=False))
        except NoHistoryError:
            hints.append(_no_history())
            return "" if is_table else _listed(arguments.format, [], {})
        stack.enter_context(store.reading())
        spec, root = arguments.spec, root_here()
        if spec and (known := store.specs(root)):
            spec = _named_spec(spec, store.find_spec(spec, root), known)
        runs = store.runs(spec, limit or None, root=root)
        count = store.count(spec, root) if len(runs) == limit else len(runs)
        judged = _newest_judged(runs) if spec else None
        latest = next(iter(store.whole([judged])), None) if judged else None
        drawn = "" if spec or not is_table else _trends(store, runs, root, columns)
        invalid |= store.invalid
    if not runs:
        hints.append(f"{store} holds no run that can be shown" if invalid else _no_history())
        return "" if is_table else _listed(arguments.format, [], {})
    more = f"the last {len(runs)} of {count} runs; --limit 0 lists all" * (count > len(runs))
    marks = _marks(runs, latest)
    if not is_table:
        hints += filter(None, [more])
        return _listed(arguments.format, runs, marks)
    if latest and len(runs) > 1:
        drawn = trends(runs, gated_metrics(latest), _bars(), columns)
    return "\n\n".join(filter(None, (history_table(runs, marks, columns), more, drawn)))


def _listed(form: str, runs: list[Summary], marks: Mapping[str, str]) -> str:
    """Return runs in a format for programs."""
    if form == "csv":
        from modeltune.histories import runs_csv

        return runs_csv(runs).rstrip("\n")
    from modeltune.reports import history_as

    return history_as(form, runs, marks)


def _named_spec(text: str, found: str | None, known: Sequence[str]) -> str:
    """Return the spec that was found under a name; HistoryError: there was none."""
    if found is not None:
        return found
    close = difflib.get_close_matches(text, known, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise HistoryError(f'no run of "{text}"; {hint}Recorded specs: {", ".join(known)}')


def _trends(store: Store, runs: Sequence[Summary], root: Path, columns: int | None) -> str:
    """Return a line for each gated metric of the specs that are listed first."""
    from modeltune.histories import todays_address
    from modeltune.reports import TREND, spec_trends

    called = (todays_address(run.spec, run.file, root) for run in runs)
    specs = list(dict.fromkeys(called))[:TREND_SPECS]
    past = store.latest(specs, TREND // 2, root)
    verdicts = store.verdicts(filter(None, map(_newest_judged, past.values())))
    return spec_trends(past, verdicts, _bars(), columns)


def _newest_judged(runs: Sequence[Summary]) -> str | None:
    """Return the id of the newest run that was judged by its gates."""
    from modeltune.records import RunStatus

    judged = (RunStatus.PASSED, RunStatus.FAILED)
    return next((run.id for run in runs if run.status in judged), None)


def _marks(runs: Sequence[Summary], latest: Run | None) -> dict[str, str]:
    """Return by id which runs the baseline files beside their specs name, and which they named before."""
    from modeltune.histories import baselines

    now: set[str] = set()
    before = {latest.baseline} if latest else set()
    # All baseline files there: a run may be the baseline of a spec that was renamed or moved since.
    for folder in set(filter(None, map(spec_folder, {run.file: run for run in runs}.values()))):
        accepted, replaced = baselines.run_ids_in(folder)
        now |= accepted
        before |= replaced
    return {
        run.id: "accepted" if run.id in now else "was accepted"
        for run in runs
        if run.id in now | before
    }


def _bars() -> str:
    """Return the characters for the levels of a trend, as stdout can print them."""
    bars = "▁▂▃▄▅▆▇█"
    return bars if encodable(bars) == bars else "_.-~=+*#"


def show_run(arguments: argparse.Namespace) -> str:
    """Show everything about one run, or about one of its trials."""
    from modeltune.histories import open_store
    from modeltune.records import without_samples
    from modeltune.reports import run_as, show, show_trial, trial_as

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
    if project_of(Path.cwd()).config.examples is False:
        run = replace(run, verdicts=tuple(map(without_samples, run.verdicts)))
    form, columns = arguments.format, room()
    if arguments.trial is None:
        return show(run, columns) if form == "table" else run_as(form, run)
    try:
        text = show_trial(run, arguments.trial, columns)
    except LookupError as error:
        raise HistoryError(str(error)) from error
    if form == "table":
        return text
    trial = next(trial for trial in run.trials if trial.id == arguments.trial)
    return trial_as(form, run, trial)


def accept_run(arguments: argparse.Namespace) -> str:
    """Accept a run that passed: make it the baseline of its spec."""
    from modeltune.histories import baselines, open_store, samples_of

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        samples = samples_of(run, store)
    file = spec_file(run, arguments.specs)
    path = baselines.path_of(file, run.spec)
    before = path if path.exists() else None
    return "\n".join(baselines.accept(run, samples, file, why=arguments.reason, before=before))


def check_run(arguments: argparse.Namespace) -> int:
    """Judge a run, or a model in a file, by today's gates under pytest; return pytest's exit code."""
    from modeltune.histories import open_store

    if arguments.run.endswith(MODEL_FILES) or arguments.spec is not None:
        return _check_file(arguments)
    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
    file = spec_file(run, arguments.specs)
    node = node_of(run, file)
    options = ["--modeltune-rejudge", f"--modeltune-run={run.id}"]
    # Only pytest can import a spec and set up its fixtures.
    return subprocess.run(
        [sys.executable, "-m", "pytest", node, *options],
        check=False,
        # The URL may carry a password.
        env={**os.environ, STORE_VARIABLE: arguments.store.reveal()},
    ).returncode


def _check_file(arguments: argparse.Namespace) -> int:
    """Hold the model in a file to the gates of a spec."""
    file = Path(arguments.run).absolute()
    if arguments.spec is None:
        raise HistoryError(
            f"{arguments.run}: say which spec it is held to: --spec model_specs/spec_x.py::net"
        )
    if not file.is_file() or file.suffix not in MODEL_FILES:
        what = "is no .keras and no .skops file" if file.exists() else "does not exist"
        raise HistoryError(
            f"{arguments.run} {what}; name a model that Keras has saved, or an estimator that skops has"
        )
    spec, separator, name = arguments.spec.partition("::")
    if not separator or not name or not Path(spec).is_file():
        raise HistoryError(
            f"--spec {arguments.spec}: there is no such spec; write FILE.py::NAME, as "
            "model_specs/spec_x.py::net"
        )
    options = ["-p", "modeltune.plugin.given_plugin", f"--modeltune-given={file}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", f"{Path(spec).absolute()}::{name}", *options],
        check=False,
        # The URL may carry a password.
        env={**os.environ, STORE_VARIABLE: arguments.store.reveal()},
    ).returncode


def judge_together(arguments: argparse.Namespace) -> int:
    """Judge the runs of several reports as one session; return the exit code pytest would have."""
    from modeltune.harness import judge_reports, write_reports
    from modeltune.reports import ReportedRun, family_table

    judged = judge_reports([Path(report) for report in arguments.reports])
    say(family_table(judged.runs, judged.family, room()))
    if arguments.output:
        reported = [ReportedRun(run) for run in judged.runs]
        files, problems = write_reports(Path(arguments.output), reported)
        for file in files:
            say(f"written: {os.path.relpath(file)}")
        for name, error in problems.items():
            raise HistoryError(f"{name} cannot be written: {error_line(error)}")
    if not judged.runs:
        return 5
    return 0 if all(run.passed for run in judged.runs) else 1


def compare_runs(arguments: argparse.Namespace) -> str:
    """Show what differs between two runs."""
    from modeltune.harness import contrast
    from modeltune.histories import open_store
    from modeltune.reports import comparison_as, comparison_report

    with open_store(arguments.store, create=False) as store:
        a, b = store.run(arguments.a), store.run(arguments.b)
        differences = contrast(a, b, store)
    if arguments.format == "table":
        return comparison_report(a, b, differences, room())
    return comparison_as(arguments.format, a, b, differences)


def write_report(arguments: argparse.Namespace) -> int:
    """Write the reports of runs, and print which files are written; an error of one costs no other.

    Return 1 if a run was left out because its rows are not as modeltune writes them, else 0.
    """
    from modeltune.harness import gather, newest_runs, write_pictures, write_reports
    from modeltune.histories import open_store

    if arguments.pictures:
        from modeltune.reports import require_matplotlib

        require_matplotlib()
    with open_store(arguments.store, create=False) as store, store.reading():
        ids = dict.fromkeys(arguments.runs or newest_runs(store))
        runs, refused = [], []
        for reference in ids:
            try:
                runs.append(store.run(reference))
            except InvalidRunError as error:
                refused.append(str(error))
        refused = list(dict.fromkeys([*refused, *store.invalid.values()]))
    if not runs:
        if not refused:
            say(_no_history())
        return _say_invalid(refused)
    project = project_of(Path.cwd())
    folder = Path(arguments.output) if arguments.output else project.report()
    several = list({run.id: run for run in runs}.values())
    reported = gather(several, arguments.store, examples=project.config.examples is not False)
    files, problems = write_reports(folder, reported)
    try:
        if arguments.pictures:
            files += write_pictures(folder, reported, arguments.pictures)
    except Exception as error:  # noqa: BLE001  said below, after what is written
        problems["pictures"] = error
    for file in files:
        say(f"written: {os.path.relpath(file)}")
    status = _say_invalid(refused)
    if problems:
        # Files of one folder are often missing for one reason.
        reasons = [
            str(error) if isinstance(error, OSError) else f"{name}: {error_line(error)}"
            for name, error in problems.items()
        ]
        listed = "; ".join(dict.fromkeys(reasons))
        raise HistoryError(f"the report cannot be written: {listed}")
    return status


def export_run(arguments: argparse.Namespace) -> str:
    """Write a run's tuned model, or its weights alone, to a new file."""
    from modeltune.harness import check_target, export_kept, is_of_estimator, is_of_weights
    from modeltune.histories import open_store

    target = Path(arguments.file)
    if getattr(arguments, "export", None) is not None:
        return _write_export(arguments, target)
    check_target(target)
    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        notes = export_kept(run, store, target)
    built_by = "its kept architecture"
    if isinstance(notes, str):
        reason = notes
        try:
            file = spec_file(run, arguments.specs)
        except HistoryError as error:
            raise HistoryError(f"{reason}, so its spec has to build the model: {error}") from error
        options = [f"--modeltune-export={target.absolute()}"]
        facts = _under_pytest(run, file, arguments.store, options)
        notes = tuple(facts["notes"])
        built_by = f"its spec {file}, because {reason}"
        if facts["code"]:
            built_by += f"; code changed since: {', '.join(facts['code'])}"
    what = f"built by {built_by}; compiled, with the run's own weights and an optimizer as before training"
    if is_of_weights(target):
        what = (
            "the run's own weights alone, for model.load_weights() of a model that is built alike"
        )
    if is_of_estimator(target):
        what = "the fitted estimator of the run's first refit, in a file of skops, which holds no pickle"
    written = f"written: {target} ({target.stat().st_size} bytes), run {run.id} of {run.spec}"
    return "\n".join((written, what, *notes))


def _write_export(arguments: argparse.Namespace, target: Path) -> str:
    """Write a kept export of a run, as it was judged, to a new file."""
    from modeltune.harness import copy_export
    from modeltune.histories import open_store

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        notes = copy_export(run, store, arguments.export, target)
    written = f"written: {target} ({target.stat().st_size} bytes), run {run.id} of {run.spec}"
    what = f'its export "{arguments.export}", the file that the run was judged by'
    return "\n".join((written, what, *notes))


def best_of_protocol(arguments: argparse.Namespace) -> str:
    """Rank the models of a protocol by the newest run of each, and export the best if asked to."""
    from modeltune.harness import check_target, ranking_of
    from modeltune.histories import open_store
    from modeltune.reports import ranking_text
    from modeltune.specs import root_here

    if arguments.file is not None:
        check_target(Path(arguments.file))
    with open_store(arguments.store, create=False) as store, store.reading():
        ranking = ranking_of(arguments.protocol, store, root_here())
    text = ranking_text(ranking, room())
    if arguments.file is None:
        return text
    if ranking.best is None:
        raise HistoryError(f"{ranking.protocol}: no run passed, so that there is no best to export")
    arguments.run = ranking.best.id
    return f"{text}\n\n{export_run(arguments)}"


def replay_weights(arguments: argparse.Namespace) -> int:
    """Evaluate a run's own weights again; return 0 if they give the recorded numbers, else 1."""
    from modeltune.harness import kept_weights, replay_from_json
    from modeltune.histories import open_store
    from modeltune.reports import disagreements, replay_report

    with open_store(arguments.store, create=False) as store:
        run = store.run(arguments.run)
        kept_weights(run, store)
    facts = _under_pytest(run, spec_file(run, arguments.specs), arguments.store, [])
    replayed = replay_from_json(facts["replayed"])
    say(replay_report(run, replayed))
    return 1 if disagreements(run, replayed) or replayed.code else 0


def _under_pytest(run: Run, file: Path, url: StoreUrl, options: Sequence[str]) -> Any:
    """Run a run's spec under pytest with the replay plugin; return what the plugin wrote.

    Only pytest can import a spec and set up its fixtures.

    Raises:
        HistoryError: the plugin refused the run, or pytest did not get to it and said why.
    """
    node = node_of(run, file)
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder, "facts.json")
        command = [sys.executable, "-m", "pytest", node, "-p", "modeltune.plugin.replay_plugin"]
        command += [f"--modeltune-replay={run.id}", f"--modeltune-replay-to={to}", *options]
        done = subprocess.run(
            [*command, "--modeltune-workers=0", "-p", "no:cacheprovider"],
            check=False,
            # The URL may carry a password.
            env={**os.environ, STORE_VARIABLE: url.reveal()},
            capture_output=True,
        )
        if not to.exists():
            say(text_of(done.stdout + done.stderr), sys.stderr)
            reason = f"pytest {node} ended with exit code {done.returncode}, see above"
            raise HistoryError(f"{run.spec} was not rebuilt: {reason}")
        facts = json.loads(to.read_text(encoding="utf-8"))
    if "refused" in facts:
        raise HistoryError(facts["refused"])
    return facts


def power_of_specs(arguments: argparse.Namespace) -> int:
    """Print which drops the regression gates of specs find; return 1 if data could not be loaded, else 0."""
    from modeltune.reports import power_table

    named = arguments.specs or ["model_specs"]
    for spec in named:
        if not Path(spec.partition("::")[0]).exists():
            raise HistoryError(
                f"{spec}: there is no such file; name a spec as model_specs/spec_x.py::net, its file, or "
                "a folder of specs"
            )
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder, "power.jsonl")
        places = [str(Path(spec.partition("::")[0]).absolute()) for spec in named]
        nodes = [
            place + "".join(spec.partition("::")[1:])
            for place, spec in zip(places, named, strict=True)
        ]
        command = [sys.executable, "-m", "pytest", *nodes, "-p", "modeltune.plugin.power_plugin"]
        done = subprocess.run(
            [*command, f"--modeltune-power-to={to}", "-p", "no:cacheprovider"],
            check=False,
            # The URL may carry a password.
            env={**os.environ, STORE_VARIABLE: arguments.store.reveal()},
            capture_output=True,
        )
        lines = to.read_text(encoding="utf-8").splitlines() if to.exists() else []
    specs = [json.loads(line) for line in lines]
    if not specs or done.returncode not in (0, 1):
        say(text_of(done.stdout + done.stderr), sys.stderr)
        raise HistoryError(
            f"{', '.join(named)}: pytest found no spec there, see above"
            if not specs
            else f"pytest ended with exit code {done.returncode}, see above"
        )
    say(json.dumps(specs, indent=2) if arguments.json else power_table(specs, room()))
    failed = [spec["error"] for spec in specs if spec["error"]]
    for error in failed:
        say(f"modeltune: {error}", sys.stderr)
    return 1 if failed or done.returncode else 0


def flush_runs(arguments: argparse.Namespace) -> int:
    """Record the runs that wait; return 1 if one still waits, else 0."""
    from modeltune.histories import flush
    from modeltune.reports import clean

    sent = []
    for is_sent, line in flush(arguments.store, is_named=arguments.is_named):
        say(clean(line), sys.stdout if is_sent else sys.stderr)
        sent.append(is_sent)
    if not sent:
        say("no run waits to be recorded")
    return 0 if all(sent) else 1


def merge_histories(arguments: argparse.Namespace) -> int:
    """Copy the runs of one history into another; return 1 if one was left out, else 0."""
    from modeltune.histories import HEAD, merge, open_as_it_is, open_store
    from modeltune.reports import clean

    source = _url(arguments.source)
    opened, revision = open_as_it_is(source)
    with opened as other:
        if revision != HEAD:
            upgrade = f"modeltune history --store {shlex.quote(other.identity)}"
            raise HistoryError(
                f"{other} has the schema of an older modeltune ({revision}, this one reads {HEAD});"
                f" upgrade it with: {upgrade} (after that no older modeltune can read it)"
            )
        with open_store(_url(arguments.into), keep=True) as into:
            merged = merge(into, other, without_files=arguments.without_files)
            present = count_of(len(merged.present), "was there already", "were there already")
            had = f", {present}" if merged.present else ""
            runs = count_of(len(merged.copied), "run")
            say(clean(f"copied {runs} from {other} into {into}{had}"))
    for line in merged.lost:
        say(clean(f"without a file: {line}"), sys.stderr)
    for line in merged.refused:
        say(clean(f"not copied: {line}"), sys.stderr)
    if merged.lacks_files:
        say("--without-files copies these runs without the files that are gone", sys.stderr)
    if merged.stopped:
        raise merged.stopped
    return 1 if merged.refused else 0


def _url(given: MaskedUrl) -> StoreUrl:
    """Return the URL of a history that is given as a URL, or as the path of an SQLite file."""
    if "://" in given.reveal():
        return named_store(given.reveal())
    return sqlite_url(absolute_path(given.reveal(), Path.cwd()))


def examine_history(arguments: argparse.Namespace) -> int:
    """Check the history and every file it names; return 1 if something is wrong, else 0."""
    from modeltune.histories import Mark, diagnose
    from modeltune.reports import clean

    wrong = 0
    for finding in diagnose(arguments.store, _also(arguments), now=time.time()):
        wrong += finding.mark is Mark.WRONG
        say(f"{finding.mark.value:<5}  {clean(finding.text)}")
    if wrong:
        say(count_of(wrong, "thing is wrong", "things are wrong"))
    return 1 if wrong else 0


def collect_garbage(arguments: argparse.Namespace) -> int:
    """Remove what killed processes left behind, and name it; return 1 if a run cannot be read, else 0."""
    from modeltune.histories import leftovers, remove_leftover, unreadable
    from modeltune.reports import clean

    now = time.time()
    invalid: list[str] = []
    rest = leftovers(arguments.store, _also(arguments), now=now, warn=invalid.append)
    if not arguments.dry_run:
        rest = [leftover for leftover in rest if remove_leftover(leftover, now=now)]
    size = sum(leftover.bytes for leftover in rest)
    done = "would be removed" if arguments.dry_run else "removed"
    files = count_of(len(rest), "file or folder", "files or folders")
    lines = [clean(f"{item.path} ({item.bytes} bytes): {item.why}") for item in rest]
    lines += [clean(f"left alone: {line}") for line in unreadable(arguments.store)]
    say("\n".join([*lines, f"{done}: {files}, {size / 1e6:.1f} MB"]))
    return _say_invalid(invalid)


def _also(arguments: argparse.Namespace) -> list[StoreUrl]:
    return [named_store(given.reveal()) for given in arguments.also]


def run_selftest(arguments: argparse.Namespace) -> int:
    """Plant defects into a spec; return 1 if one does not turn pytest red, else 0."""
    from modeltune.cli.selftest import PLANTS, selftest, selftest_table

    say("planting defects into a spec; each has to turn pytest red")
    keep = Path(arguments.keep) if arguments.keep else None
    try:
        report = selftest(PLANTS, keep=keep, say=lambda line: say(f"  {line}"))
    except KeyboardInterrupt:
        say("modeltune: selftest was interrupted and proves nothing", sys.stderr)
        return 130
    say(f"\n{selftest_table(report)}\n\n{report}")
    if keep:
        say(f"the projects, with what pytest printed in output.txt: {keep}")
    elif report.misses:
        say("to look at the projects: modeltune selftest --keep DIR")
    return 1 if report.misses else 0


def _no_history() -> str:
    return (
        "No history yet. Write a spec, model_specs/spec_*.py (modeltune init writes a first one), and "
        "run: pytest model_specs/"
    )
