"""Baselines: accepted runs as small text files beside the specs, to be committed and reviewed."""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modeltune.ground import (
    MEBIBYTE,
    UNKNOWN_NOTEBOOK,
    HistoryError,
    first_line,
    is_integer,
    make_folder,
    project_root,
    read_json,
    text_of,
    write_durably,
)
from modeltune.records import (
    Artifact,
    Json,
    RefitId,
    Run,
    RunStatus,
    Scores,
    as_number,
    from_plain,
    plain,
)
from modeltune.specs import KFold, Validation, address_by_name

if TYPE_CHECKING:
    from modeltune.records import Samples
    from modeltune.specs import Spec

BASELINE_FORMAT = 1
BASELINE_FOLDER = "baselines"
LARGEST = MEBIBYTE
"""Bytes; a larger file is written without its samples."""

LARGEST_READ = 16 * MEBIBYTE
"""Bytes; a larger file is neither written nor read."""

LARGEST_SAMPLES = 256 * MEBIBYTE
"""Bytes that the samples of a file may take in memory."""

SCORE_TOLERANCE = 1e-4
"""How far a score may be from the one computed from samples: float32 sums differ by their order."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """An accepted run, complete enough to judge another by it on any machine.

    Args:
        run: the id of the accepted run; ``replaced`` that of the one accepted before, if any.
        spec: its address when it was accepted: ``model_specs/spec_digits.py::mlp``.
        created: when it ran; ``accepted`` when, ``by`` whom and ``why`` it was accepted.
        objective, values: what its search was for, and the best values.
        scores: every metric's values over refits; ``refits`` their seeds and folds.
        fingerprints: of the data and of the spec.
        versions: what its numbers depend on besides, the git commit among it.
        weights, architecture: files in the store's folder, by digest.
        samples: what happened on each test sample.
    """

    run: str
    spec: str
    created: str
    accepted: str
    by: str
    why: str
    objective: str
    values: Mapping[str, Json]
    scores: Mapping[str, Scores]
    refits: tuple[RefitId, ...]
    validation: str
    fingerprints: Mapping[str, str]
    versions: Mapping[str, Json]
    weights: Artifact | None = None
    architecture: Artifact | None = None
    replaced: str | None = None
    samples: Samples | None = None


@dataclass(frozen=True)
class Acceptance:
    """The user's wish that runs that pass become baselines: why, and only where there is none yet.

    ``later``: whoever wishes it accepts the run, once it is known how all around it ended.
    """

    why: str
    only_new: bool = False
    later: bool = field(default=False, compare=False)


def path_of(file: str | Path, spec_id: str) -> Path:
    """Return where the baseline of a spec lies: ``baselines/spec_digits.py.mlp.json`` beside it.

    Characters that no file name may hold are percent-encoded; a long name ends in a digest. The
    folder of the spec is not part of the name: the file lies beside it, and moves along with it.
    """
    # A file name that is no UTF-8 has lone surrogates in Python.
    raw = address_by_name(spec_id).encode("utf-8", "surrogatepass")
    name = ".".join(quote(part, safe=" []()=,+") for part in raw.split(b"::", 1))
    if len(name) > 180:
        name = f"{name[:140]}~{hashlib.sha256(raw).hexdigest()[:16]}"
    return Path(file).absolute().parent / BASELINE_FOLDER / f"{name}.json"


def paths_of(spec: Spec) -> list[Path]:
    """Return the paths a spec's baseline may have: by its own name, then by its aliases."""
    file = Path(spec.file).name
    names = [spec.id]
    names += [alias if "::" in alias else f"{file}::{alias}" for alias in spec.aliases]
    return [path_of(spec.file, name) for name in names]


def find(spec: Spec) -> Path | None:
    """Return the path of a spec's baseline, None when nothing is accepted yet."""
    return next((path for path in paths_of(spec) if os.path.lexists(path)), None)


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a file.

    Raises:
        HistoryError: the file is not as modeltune wrote it; the message says what to do.
    """
    advice = "restore it from version control, or accept a run again"
    try:
        data = read_json(path, LARGEST_READ)
    except (OSError, ValueError) as error:
        raise HistoryError(f"{path} cannot be read ({first_line(error)}); {advice}") from error
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise HistoryError(f"{path} is no baseline; {advice}")
    if data["format"] > BASELINE_FORMAT:
        raise HistoryError(
            f"{path} was written by a newer modeltune (format {data['format']}, this one knows "
            f"{BASELINE_FORMAT}); upgrade modeltune"
        )
    digest = data.pop("sha256", None)
    if digest != content_digest(data) and digest not in _earlier_digests(data):
        raise HistoryError(f"{path} was edited: its digest does not fit its content; {advice}")
    try:
        baseline = _from_json(data)
        contradicting = contradicting_metric(baseline)
    except KeyError as error:
        raise HistoryError(f"{path} is no baseline (it has no {error}); {advice}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise HistoryError(f"{path} is no baseline ({first_line(error)}); {advice}") from error
    if path_of(path, baseline.spec).name != path.name:
        raise HistoryError(
            f"{path} is the baseline of {baseline.spec:.200}, under another name; {advice}"
        )
    if contradicting is not None:
        raise HistoryError(
            f"{path} contradicts itself: {contradicting} is not what its samples give; {advice}"
        )
    return baseline


def accept(
    run: Run,
    samples: Samples | None,
    file: str | Path,
    *,
    why: str,
    before: Path | None = None,
) -> list[str]:
    """Make a run the baseline of its spec and return what that changed, as lines of text.

    Args:
        run: a finished run in which nothing is red, except by strictness.
        samples: what it did on each test sample.
        file: the spec file; the baseline goes to the folder beside it.
        why: the reason, kept in the file.
        before: the file of the present baseline, if there is one. A file of another name stays:
            another spec may still use it.

    Raises:
        HistoryError: the run may not be accepted, or the file cannot be written.
    """
    if reason := refusal(run):
        raise HistoryError(f"run {run.id} of {run.spec} cannot be accepted: {reason}")
    old = read_or_none(before)
    baseline = Baseline(
        run=run.id,
        spec=run.spec,
        created=run.created,
        accepted=datetime.now(UTC).isoformat(timespec="seconds"),
        by=_who(Path(file).absolute().parent),
        why=why,
        objective=run.objective,
        values=dict(run.best.values) if run.best else {},
        scores=run.scores,
        refits=refits_of(run),
        validation=validation_kind(run),
        fingerprints={
            name: value
            for name, value in sorted(run.fingerprints.items())
            if name.startswith("data/") or name in ("spec", "source", "data_source")
        },
        versions=dict(run.environment),
        weights=run.artifact,
        architecture=run.files.get("architecture"),
        replaced=old.run if old else None,
        # What is known of people stays in the store: the file is kept with the code.
        samples=None if samples is None else replace(samples, chart_outputs={}, metadata=None),
    )
    target = path_of(file, run.spec)
    root = project_root(Path(file).parent).resolve()
    if not target.parent.resolve().is_relative_to(root):
        raise HistoryError(
            f"{target.parent} leads out of the project {root}; baselines are kept beside the specs: "
            "replace the link by a folder"
        )
    text, is_complete = _text(baseline)
    if len(text.encode(errors="backslashreplace")) > LARGEST_READ:
        raise HistoryError(
            f"run {run.id} of {run.spec} cannot be accepted: its baseline would have more than "
            f"{LARGEST_READ // MEBIBYTE} MiB even without its samples; record fewer metrics"
        )
    try:
        make_folder(target.parent)
        write_durably(
            target,
            target.with_name(f".{target.name}.new"),
            # JSON's own escape of a lone surrogate is Python's.
            lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace"),
        )
    except OSError as error:
        raise HistoryError(f"{target} cannot be written: {error}") from error
    lines = [f"accepted {run.spec}: run {run.id}" + (f", was {old.run}" if old else "")]
    lines += _changes(old, baseline)
    lines.append(f"  written: {target}")
    if not is_complete:
        lines.append(
            "  without its samples, which are too many for a text file: later runs can be paired with "
            "it by seeds only"
        )
    return lines


def refusal(run: Run) -> str | None:
    """Return why a run may not become a baseline, or None."""
    if run.status not in (RunStatus.PASSED, RunStatus.FAILED):
        return f"it is {run.status.value}"
    red = [
        verdict
        for verdict in (*run.verdicts, *run.checks)
        # That a gate could not be compared with the present baseline is no reason to keep it.
        if verdict.outcome.is_red() and not verdict.is_incomparable
    ]
    if red:
        listed = ", ".join(f"{verdict.gate} {verdict.outcome.value}" for verdict in red)
        return (
            f"only runs that passed can be; {listed}. Mend the model, or change or waive the gate"
        )
    if not run.scores:
        return "nothing was measured"
    return None


def read_or_none(path: Path | None) -> Baseline | None:
    """Return the baseline in a file, None when there is none or it cannot be read."""
    if path is None:
        return None
    try:
        return read_baseline(path)
    except HistoryError:
        return None


def run_ids_in(folder: Path) -> tuple[set[str], set[str]]:
    """Return the ids of runs that the baselines beside specs name: accepted now, and before.

    Edited files count too: who judges by a baseline checks that.
    """
    now, before = set(), set()
    for path in (folder / BASELINE_FOLDER).glob("*.json"):
        try:
            content = read_json(path, LARGEST_READ)
            now.add(str(content["run"]))
            before.add(str(content["replaced"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return now, before


def refits_of(run: Run) -> tuple[RefitId, ...]:
    """Return seed and fold of each refit of a run."""
    return tuple((refit["seed"], refit["fold"]) for refit in run.validation.get("refits", ()))


def validation_kind(run: Run) -> str:
    """Return how a run was validated: scores of different kinds are not compared."""
    kind = str(run.validation.get("kind", ""))
    return f"{kind}(k={run.validation['k']})" if "k" in run.validation else kind


def declared_validation_kind(validation: Validation) -> str:
    """Return the ``validation_kind`` of the runs of a declaration."""
    kind = type(validation).__name__
    return f"{kind}(k={validation.k})" if isinstance(validation, KFold) else kind


def unused_baselines(folder: Path, specs: Sequence[Spec], files: Sequence[Path]) -> Iterator[Path]:
    """Yield the baselines in a folder of specs that no spec finds.

    Args:
        folder: the folder the spec files are in.
        specs: all specs of these files.
        files: the spec files whose specs are all known.
    """
    used = set(map(find, specs))
    known = {file.name for file in files}
    for path in sorted((folder / BASELINE_FOLDER).glob("*.json")):
        baseline = read_or_none(path)
        if path in used or baseline is None:
            continue
        file = address_by_name(baseline.spec).partition("::")[0]
        # Specs of a notebook are not pytest's; one without a known name is no file at all.
        is_elsewhere = file != UNKNOWN_NOTEBOOK and not (folder / file).is_file()
        if file in known or is_elsewhere:
            yield path


def unused_advice(path: Path) -> str:
    """Return what can be done about a baseline that no spec of its folder finds."""
    baseline = read_or_none(path)
    spec = baseline.spec if baseline else path.name
    file = address_by_name(spec).partition("::")[0]
    alias = "list its former spec in aliases=[...] of the spec that replaces it"
    if (path.parent.parent / file).is_file():
        return f"it belongs to no spec; remove it, or {alias}"
    # Its file may be in another folder, where nobody has looked.
    return (
        f"its spec {spec} is in no file of this folder; move it to that file's folder, or {alias}"
    )


def _changes(old: Baseline | None, new: Baseline) -> Iterator[str]:
    for metric, scores in new.scores.items():
        before = old.scores.get(metric) if old else None
        if old is None:
            yield f"  {metric}: {_mean_and_std(scores)}"
        elif before is None or before.values != scores.values:
            yield f"  {metric}: {_mean_and_std(before) if before else '-'} -> {_mean_and_std(scores)}"
    for name in sorted(set(new.values) | set(old.values if old else ())):
        was, now = (old.values.get(name) if old else None), new.values.get(name)
        if old is not None and was != now:
            yield f"  {name}: {was!r} -> {now!r}"
    if old is not None:
        for name in sorted(new.fingerprints.keys() | old.fingerprints.keys()):
            if new.fingerprints.get(name) != old.fingerprints.get(name):
                yield f"  {name} changed"


def _mean_and_std(scores: Scores) -> str:
    mean = f"{scores.mean:.6g}"
    return f"{mean} ± {scores.std:.2g}" if scores.std else mean


def _text(baseline: Baseline) -> tuple[str, bool]:
    """Return a file's text, and whether it holds the samples."""
    from modeltune.records import Samples

    text = ""
    if baseline.samples is None or baseline.samples.memory <= LARGEST_SAMPLES:
        text = _as_text(baseline)
        if len(text) <= LARGEST or baseline.samples is None:
            return text, True
    samples = baseline.samples
    size, refits, definitions = samples.size, samples.refits, samples.definitions
    bare = Samples(size, refits, definitions=definitions, thresholds=samples.thresholds)
    return _as_text(replace(baseline, samples=bare)), False


def _as_text(baseline: Baseline) -> str:
    from modeltune.records import pack_samples

    scores = {
        name: plain({"mean": s.mean, "std": s.std, "values": s.values})
        for name, s in baseline.scores.items()
    }
    data: dict[str, Json] = {
        **{name: plain(value) for name, value in vars(baseline).items() if name != "samples"},
        "format": BASELINE_FORMAT,
        "scores": scores,
        "samples": None if baseline.samples is None else pack_samples(baseline.samples),
    }
    data["sha256"] = content_digest(data)
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _from_json(data: Mapping[str, Json]) -> Baseline:
    from modeltune.records import unpack_samples

    texts: dict[str, Any] = {name: from_plain(str, data[name]) for name in _TEXTS}
    if unknown := sorted(data.keys() - {"format", "samples", *_TEXTS, *_KINDS}):
        raise ValueError(f"it has {unknown[0]!r:.100}, which no baseline has")
    fields: dict[str, Any] = {name: from_plain(kind, data[name]) for name, kind in _KINDS.items()}
    fields["scores"] = {
        # Whole numbers too: a tool may have written 1.0 as 1.
        name: Scores(tuple(float(as_number(value)) for value in scores["values"]))
        for name, scores in fields["scores"].items()
    }
    samples = data["samples"]
    return Baseline(
        **texts,
        **fields,
        samples=None if samples is None else unpack_samples(samples, LARGEST_SAMPLES),
    )


_TEXTS = ("run", "spec", "created", "accepted", "by", "why", "objective", "validation")

_KINDS: dict[str, Any] = {
    "values": dict[str, Any],
    "scores": dict[str, dict[str, Any]],
    "refits": tuple[tuple[int, int | None], ...],
    "fingerprints": dict[str, str],
    "versions": dict[str, Any],
    "weights": Artifact | None,
    "architecture": Artifact | None,
    "replaced": str | None,
}
"""What the other parts of a file are."""


def contradicting_metric(baseline: Baseline) -> str | None:
    """Return a metric whose scores do not follow from the samples, None when all do."""
    samples = baseline.samples
    if samples is None:
        return None
    reported = (name for name in baseline.scores if samples.reported(name) is not None)
    for metric in sorted({*samples.values, *reported}):
        recorded = baseline.scores[metric].values if metric in baseline.scores else ()
        computed = [samples.score(metric, refit) for refit in range(samples.refits)]
        if len(recorded) != len(computed) or any(
            not math.isclose(one, other, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE)
            and not (math.isnan(one) and math.isnan(other))
            for one, other in zip(recorded, computed, strict=True)
            if other is not None
        ):
            return metric
    return None


def content_digest(data: Mapping[str, Json]) -> str:
    """Return the digest that a baseline's file holds of the values in the rest of its content.

    How they are spelled does not count: 14512.0 and 14512 are one number, in any order of keys.

    Raises:
        ValueError: a number is not finite.
    """
    return _digest({name: _in_one_spelling(value) for name, value in data.items()})


def _in_one_spelling(value: Json) -> Json:
    """Return JSON data with whole numbers as integers: a tool may write 1.0 as 1, and -0.0 as 0."""
    if isinstance(value, dict):
        return {name: _in_one_spelling(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_one_spelling(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _earlier_digests(data: Mapping[str, Json]) -> Iterator[str]:
    """Yield the digests that earlier versions wrote, for which 1.0 and 1 were two numbers.

    Scores are always written as floats, so that a tool that has written 1 is told from another edit.
    """
    yield _digest(data)
    if isinstance(scores := data.get("scores"), dict):
        yield _digest({**data, "scores": _with_floats(scores)})


def _with_floats(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _with_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if is_integer(value) and abs(value) < 1 << 53 else value


def _digest(data: Mapping[str, Json]) -> str:
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _who(folder: Path) -> str:
    """Return the author that git names in this folder, else the user's login name."""
    answers = []
    for name in ("user.name", "user.email"):
        try:
            done = subprocess.run(
                ["git", "config", name], cwd=folder, capture_output=True, check=False
            )
        except OSError:
            break
        answers.append(text_of(done.stdout).strip())
    name, email = [*answers, "", ""][:2]
    if name or email:
        return f"{name} <{email}>" if email else name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
