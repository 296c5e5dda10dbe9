"""A baseline is a text file that says what was accepted, and that nobody can edit unseen."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.ground.errors import HistoryError
from modeltune.histories import baselines
from modeltune.histories.baselines import (
    BASELINE_FOLDER,
    accept,
    path_of,
    read_baseline,
    refusal,
    unused_baselines,
)
from modeltune.histories.garbage import weights_of
from modeltune.records.plain_data import Json
from modeltune.records.runs import Run, RunStatus, Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.spec_type import Spec
from tests.support.histories import DATA, DIGITS
from tests.support.traced import TRACED, every_kill
from tests.support.verdicts import verdict_on

RIGHT = np.array([[True, True, True, False], [True, True, False, False]])
SAMPLES = Samples(size=4, refits=2, values={"accuracy": RIGHT})
GREEN = replace(
    DIGITS,
    status=RunStatus.PASSED,
    verdicts=(verdict_on(mt.metric("accuracy") >= 0.5, Outcome.PASSED, 0.625, 0.5, "above"),),
    scores={"accuracy": Scores((0.75, 0.5)), "loss": Scores((0.21, float("nan")))},
    validation={
        "kind": "Holdout",
        "refits": [{"seed": 0, "fold": None}, {"seed": 1, "fold": None}],
    },
)


FORGED = {"accuracy": {"mean": 0.2, "std": 0.0, "values": [0.2, 0.2]}}


def accepted(folder: Path, run: Run = GREEN, samples: Samples | None = SAMPLES) -> Path:
    """Accept a run into a folder and return the file."""
    file = folder / "spec_digits.py"
    path = path_of(file, run.spec)
    accept(run, samples, file, why="first", before=path if path.exists() else None)
    return path


def edited(path: Path, sign_again: bool, **fields: object) -> None:
    """Change fields of a baseline file, with or without a new digest."""
    data = json.loads(path.read_text()) | fields
    data.pop("sha256")
    digest = baselines.content_digest(data) if sign_again else "0" * 64
    path.write_text(json.dumps(data | {"sha256": digest}))


def mlp(name: str = "mlp", **fields: object) -> Spec:
    @mt.spec(
        data=lambda: None,  # type: ignore[arg-type,return-value]
        search=mt.RandomSearch(mt.maximize("val_accuracy")),
    )
    def mlp(hp: object) -> None: ...

    return mlp.with_fields(name, **fields)


def test_what_was_accepted_is_read_back_whole(tmp_path: Path) -> None:
    baseline = read_baseline(accepted(tmp_path))

    assert (baseline.run, baseline.spec, baseline.why) == (GREEN.id, "spec_digits.py::mlp", "first")
    assert baseline.scores["accuracy"] == GREEN.scores["accuracy"]
    assert np.isnan(baseline.scores["loss"].values[1])
    assert baseline.refits == ((0, None), (1, None))
    assert baseline.weights == GREEN.artifact
    assert baseline.samples is not None
    assert np.array_equal(baseline.samples.values["accuracy"], RIGHT)


def test_what_is_kept_for_charts_alone_is_in_no_baseline_file(tmp_path: Path) -> None:
    drawn = replace(SAMPLES, chart_outputs={"": np.linspace(0, 1, SAMPLES.size, dtype="f4")})
    path = accepted(tmp_path, samples=drawn)
    samples = read_baseline(path).samples
    assert samples is not None
    assert np.array_equal(samples.values["accuracy"], RIGHT)
    assert "chart_outputs" not in path.read_text(encoding="utf-8")


def test_the_file_is_sorted_text_that_ends_with_a_newline(tmp_path: Path) -> None:
    text = accepted(tmp_path).read_text()

    def is_sorted(value: object) -> bool:
        if isinstance(value, dict):
            return list(value) == sorted(value) and all(map(is_sorted, value.values()))
        return all(map(is_sorted, value)) if isinstance(value, list) else True

    assert is_sorted(json.loads(text))
    assert text.endswith("}\n")
    assert max(map(len, text.splitlines())) < 200
    json.loads(text, parse_constant=pytest.fail)  # no NaN token


def test_the_file_lies_beside_the_specs(tmp_path: Path) -> None:
    assert accepted(tmp_path) == tmp_path / BASELINE_FOLDER / "spec_digits.py.mlp.json"
    assert [path.name for path in (tmp_path / BASELINE_FOLDER).iterdir()] == [
        "spec_digits.py.mlp.json"
    ]


@given(st.text())
def test_law_no_name_leads_out_of_the_folder(name: str) -> None:
    path = path_of("/specs/spec_a.py", f"spec_a.py::{name}")
    assert path.parent == Path("/specs") / BASELINE_FOLDER
    assert path.suffix == ".json"
    assert len(path.name) < 255


def respelled(value: Json) -> Json:
    """Return JSON data as JavaScript writes them: whole numbers without a point; keys in another order."""
    if isinstance(value, dict):
        return {name: respelled(item) for name, item in reversed(value.items())}
    if isinstance(value, list):
        return [respelled(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


SPELLINGS = {
    "indented otherwise": lambda data: json.dumps(data, indent=4).encode(),
    "in one line": lambda data: json.dumps(data, ensure_ascii=False).encode(),
    "with CRLF": lambda data: json.dumps(data, indent=2).replace("\n", "\r\n").encode(),
    "with a byte order mark": lambda data: json.dumps(data).encode("utf-8-sig"),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("is_earlier", [False, True])
def test_a_baseline_that_a_tool_has_spelled_otherwise_is_no_edited_one(
    tmp_path: Path, spell: Callable[[Json], bytes], is_earlier: bool
) -> None:
    scores = {"accuracy": Scores((0.75, 0.5)), "parameters": Scores((14512.0, 14512.0))}
    path = accepted(tmp_path, replace(GREEN, scores=scores))
    before = read_baseline(path)
    data = json.loads(path.read_text())
    assert data["scores"]["parameters"]["std"] == 0.0
    if is_earlier:
        # As earlier versions signed: by the spelling of each number.
        data.pop("sha256")
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        data["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(data))
        assert read_baseline(path).scores == before.scores
    path.write_bytes(spell(respelled(data)))
    assert b"14512.0" not in path.read_bytes()
    after = read_baseline(path)
    assert after.scores == before.scores
    assert baselines.run_ids_in(tmp_path) == ({GREEN.id}, {"None"})
    assert weights_of(path)
    # What is edited is refused as before.
    path.write_bytes(path.read_bytes().replace(b"14512", b"14513", 1))
    with pytest.raises(HistoryError, match="was edited"):
        read_baseline(path)


JSON_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON_DATA), st.dictionaries(st.text(), JSON_DATA))
def test_law_a_digest_is_one_of_values(one: dict[str, Json], other: dict[str, Json]) -> None:
    digest = baselines.content_digest
    assert digest(one) == digest(respelled(one))
    assert (digest(one) == digest(other)) == (
        json.dumps(respelled(one), sort_keys=True) == json.dumps(respelled(other), sort_keys=True)
    )


@TRACED
def test_a_killed_acceptance_leaves_the_old_baseline_or_the_new(tmp_path: Path) -> None:
    path, contents = accepted(tmp_path), set()
    old, newer = path.read_bytes(), replace(GREEN, id="20261201-000000-ffffffff")

    def replace_it() -> str:
        accepted(tmp_path, newer)
        return "accepted"

    for acknowledged in every_kill(replace_it, "write", "fsync", "rename"):
        contents.add(run := read_baseline(path).run)
        assert run == newer.id or not acknowledged
        # What a kill leaves beside it is no baseline.
        assert list(path.parent.glob("*.json")) == [path]
        path.write_bytes(old)
    assert contents == {GREEN.id, newer.id}


def test_long_names_stay_apart() -> None:
    one, other = (path_of("spec_a.py", f"spec_a.py::{'x' * 300}{end}") for end in "ab")
    assert one != other


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: edited(p, False, why="another"), "was edited: its digest"),
        (lambda p: edited(p, True, scores=FORGED), "contradicts itself: accuracy"),
        (lambda p: edited(p, True, scores={}), "contradicts itself: accuracy"),
        (lambda p: edited(p, True, format=99), "newer modeltune .format 99"),
        (lambda p: edited(p, True, refits=3), "is no baseline"),
        (lambda p: edited(p, True, more="fields"), "is no baseline"),
        (lambda p: p.write_text("[]"), "is no baseline"),
        (lambda p: p.write_text('{"format": 1'), "cannot be read"),
        (lambda p: p.write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda p: p.write_text(""), "cannot be read"),
        (lambda p: (p.unlink(), p.mkdir()), "cannot be read"),
    ],
    ids=[
        "edited", "forged", "no scores", "newer", "other type", "more fields", "a list",
        "cut short", "no text", "empty", "a folder",
    ],
)  # fmt: skip
def test_a_file_that_was_changed_is_refused_by_name(
    tmp_path: Path, spoil: object, words: str
) -> None:
    path = accepted(tmp_path)
    spoil(path)  # type: ignore[operator]

    with pytest.raises(HistoryError, match=words) as caught:
        read_baseline(path)

    assert str(path) in str(caught.value)


def test_garbled_samples_are_refused(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    data = json.loads(path.read_text())
    data["samples"]["values"]["accuracy"]["zlib"] = ["AAAA"]

    edited(path, True, samples=data["samples"])

    with pytest.raises(HistoryError, match="is no baseline"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": RunStatus.ERROR}, "it is error"),
        ({"status": RunStatus.INTERRUPTED}, "it is interrupted"),
        ({"scores": {}}, "nothing was measured"),
        (
            {"verdicts": (Verdict("m >= 2", Outcome.FAILED, 1.0, 2.0, ""),)},
            "only runs that passed can be; m >= 2 failed",
        ),
        ({"verdicts": (Verdict("m >= 2", Outcome.ERROR, None, 2.0, ""),)}, "m >= 2 error"),
        (
            {"checks": (Verdict("integrity.evaluate", Outcome.FAILED, 1.0, 2.0, ""),)},
            "integrity.evaluate failed",
        ),
    ],
)
def test_only_a_run_that_passed_is_accepted(
    tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    run = replace(GREEN, **fields)  # type: ignore[arg-type]

    with pytest.raises(HistoryError, match=words):
        accepted(tmp_path, run)

    assert not (tmp_path / BASELINE_FOLDER).exists()


def test_a_run_that_only_strictness_made_red_may_become_the_baseline() -> None:
    run = replace(
        GREEN,
        status=RunStatus.FAILED,
        verdicts=(Verdict("m >= mt.baseline", Outcome.NO_BASELINE, 1.0, None, ""),),
    )
    assert refusal(run) is None


def test_a_run_that_could_not_be_compared_may_replace_what_it_could_not_be_compared_with() -> None:
    for bound in (mt.baseline, mt.previous):
        verdict = verdict_on(mt.metric("m") >= bound, Outcome.INVALID, 1.0, None, "other data")
        reason = refusal(replace(GREEN, status=RunStatus.FAILED, verdicts=(verdict,)))
        assert (reason is None) == (bound is mt.baseline)


def test_what_an_acceptance_changes_is_told_from_old_to_new(tmp_path: Path) -> None:
    accepted(tmp_path)
    better = replace(
        GREEN,
        id="ffff",
        scores={"accuracy": Scores((0.75, 0.75)), "f1": Scores((0.5, 0.5))},
        fingerprints={"spec": "cd34"},
    )
    file = tmp_path / "spec_digits.py"

    lines = accept(better, None, file, why="wider", before=path_of(file, GREEN.spec))

    assert lines[0] == f"accepted spec_digits.py::mlp: run ffff, was {GREEN.id}"
    assert "  accuracy: 0.625 ± 0.18 -> 0.75" in lines
    assert "  f1: - -> 0.5" in lines
    assert "  spec changed" in lines
    assert read_baseline(path_of(file, GREEN.spec)).replaced == GREEN.id


def test_samples_that_are_too_many_for_a_text_file_are_left_out_and_that_is_said(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).random((2, 200_000)).astype(np.float32)
    many = Samples(
        size=200_000,
        refits=2,
        values={"loss": noise},
        definitions={"loss": "mse"},
        weights={"loss": np.ones(200_000, np.float32)},
    )
    run = replace(GREEN, scores={"loss": Scores(tuple(noise.mean(axis=1).tolist()))})
    file = tmp_path / "spec_digits.py"

    lines = accept(run, many, file, why="large")

    assert "without its samples" in lines[-1]
    kept = read_baseline(path_of(file, run.spec)).samples
    assert kept is not None
    assert not kept.values
    assert not kept.weights
    assert kept.definitions == {"loss": "mse"}  # another definition is still noticed
    assert path_of(file, run.spec).stat().st_size < baselines.LARGEST


def test_who_accepts_is_whom_git_knows(tmp_path: Path) -> None:
    for name, value in {"user.name": "Ada", "user.email": "ada@example.org"}.items():
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        subprocess.run(["git", "config", name, value], cwd=tmp_path, check=True)

    assert read_baseline(accepted(tmp_path)).by == "Ada <ada@example.org>"


def test_a_renamed_spec_finds_its_baseline_by_its_aliases(tmp_path: Path) -> None:
    old = accepted(tmp_path)
    file = str(tmp_path / "spec_digits.py")

    def paths(**fields: object) -> list[Path]:
        spec = mlp("perceptron", **fields)
        vars(spec)["file"] = file
        return baselines.paths_of(spec)

    assert old not in paths()
    assert old in paths(aliases=["mlp"])
    assert old in paths(aliases=["spec_digits.py::mlp"])


def test_accepting_under_a_new_name_leaves_the_file_which_is_then_unused(tmp_path: Path) -> None:
    """A spec that is still there may have it too."""
    old = accepted(tmp_path)
    file = tmp_path / "spec_digits.py"
    renamed = replace(GREEN, spec="spec_digits.py::perceptron")
    spec, other = mlp("perceptron", aliases=["mlp"]), mlp()
    for one in (spec, other):
        vars(one)["file"] = str(file)
    assert list(unused_baselines(tmp_path, [spec], [file])) == []

    accept(renamed, None, file, why="renamed", before=old)

    assert baselines.find(spec) == tmp_path / BASELINE_FOLDER / "spec_digits.py.perceptron.json"
    assert list(unused_baselines(tmp_path, [spec], [file])) == [old]
    assert list(unused_baselines(tmp_path, [spec, other], [file])) == []


def test_a_baseline_under_the_name_of_another_spec_is_refused(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    swapped = path.rename(path.with_name("spec_digits.py.cnn.json"))

    with pytest.raises(HistoryError, match=r"is the baseline of .*mlp, under another"):
        read_baseline(swapped)


def test_a_baseline_that_no_spec_has_is_found_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "spec_digits.py"
    file.touch()
    kept = accepted(tmp_path)
    orphan = accepted(tmp_path, replace(GREEN, spec="spec_digits.py::gone"))
    lost_file = accepted(tmp_path, replace(GREEN, spec="spec_lost.py::mlp"))
    # pytest never sees the specs of a notebook, and this one has no known name.
    accepted(tmp_path, replace(GREEN, spec="notebook::mlp"))
    spec = mlp()
    vars(spec)["file"] = str(file)

    assert list(unused_baselines(tmp_path, [spec], [file])) == [orphan, lost_file]
    # Of a file that was not collected whole, nothing is known.
    assert list(unused_baselines(tmp_path, [], [])) == [lost_file]
    assert kept.exists()


def test_a_baseline_of_the_first_format_is_read() -> None:
    baseline = read_baseline(DATA / BASELINE_FOLDER / "spec_flowers.py.mlp.json")

    assert (baseline.run, baseline.by) == ("b3fa12baac55db80", "Anna <anna@example.com>")
    assert baseline.why == "the first that is good enough"
    assert baseline.refits == ((0, None), (1, None), (2, None))
    assert baseline.scores["accuracy"].mean == pytest.approx(0.575)
    assert baseline.samples is not None
    assert [baseline.samples.score("accuracy", refit) for refit in range(3)] == pytest.approx(
        baseline.scores["accuracy"].values
    )


def bomb(size: int, shape: list[int]) -> dict[str, object]:
    """Return samples in a few bytes that unpack to many more than they say, or say many."""
    text = base64.b64encode(zlib.compress(bytes(1 << 24), 9)).decode()
    array = {"type": "<f4", "shape": shape, "zlib": [text]}
    empty: dict[str, object] = {part: {} for part in ("truth", "predicted", "slices", "classes")}
    return {**empty, "size": size, "refits": 2, "values": {"accuracy": array}, "definitions": {}}


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (lambda path: replaced(path, os.mkfifo), "a pipe, a socket or a device"),
    "a device": (
        lambda path: replaced(path, lambda path: path.symlink_to("/dev/zero")),
        "a pipe, a socket or a device",
    ),
    "too large": (lambda path: os.truncate(path, 1 << 40), "more than the 16777216 allowed"),
    "deep": (
        lambda path: path.write_text('{"format": 1, "a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        "nested more than",
    ),
    "deep in a field": (
        lambda path: edited(path, True, why=json.loads("[" * 190 + "]" * 190)),
        "is no baseline",
    ),
    "not a number": (
        lambda path: path.write_text(path.read_text().replace('"nan"', "NaN")),
        "it has NaN",
    ),
    "infinite": (
        lambda path: path.write_text(path.read_text().replace('"nan"', "1e999")),
        "1e999, which is too large",
    ),
    "many digits": (
        lambda path: path.write_text(path.read_text().replace('"nan"', "1" * 5000)),
        "a number of 5000 digits",
    ),
    "a key twice": (
        lambda path: path.write_text(path.read_text().replace("{", '{"run": "other",', 1)),
        "it has the key 'run' twice",
    ),
    "a bomb": (
        lambda path: edited(path, True, samples=bomb(4, [2, 4])),
        "not the 32 bytes of 8 values",
    ),
    "a bomb that says so": (
        lambda path: edited(path, True, samples=bomb(1 << 33, [2, 1 << 33])),
        "its samples take more than 268435456 bytes",
    ),
    "many refits": (
        lambda path: edited(path, True, samples=bomb(0, [10**9, 0]) | {"refits": 10**9}),
        "samples of 1000000000 refits",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_one_error_that_names_it(tmp_path: Path, kind: str) -> None:
    path = accepted(tmp_path)
    harm, words = HOSTILE[kind]
    harm(path)

    with pytest.raises(HistoryError, match=words) as caught:
        read_baseline(path)

    assert str(caught.value).startswith(f"{path} ")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    # Whoever only looks at it goes on.
    assert baselines.read_or_none(path) is None
    assert baselines.run_ids_in(tmp_path)[0] in (set(), {GREEN.id})


NOT_OF_A_FIELD: list[object] = [
    None,
    True,
    0,
    -1,
    10**299,
    0.5,
    "x",
    "",
    [],
    [[]],
    {},
    {"": None},
    {"values": [1]},
]


@pytest.mark.parametrize(
    "field", sorted({*vars(baselines.Baseline)["__dataclass_fields__"], "format"})
)
def test_a_field_of_another_type_is_an_error_that_names_the_file(
    tmp_path: Path, field: str
) -> None:
    path = accepted(tmp_path)
    whole, refused = path.read_text(), list[str]()
    for value in NOT_OF_A_FIELD:
        edited(path, True, **{field: value})
        try:
            read_baseline(path)
        except HistoryError as error:
            refused.append(str(error))
        path.write_text(whole)
    assert all(error.startswith(f"{path} ") for error in refused)
    # No field may have more than four of them as its value.
    assert len(refused) >= len(NOT_OF_A_FIELD) - 4


def test_whole_numbers_as_scores_are_the_numbers(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    scores = json.loads(path.read_text())["scores"]
    edited(path, True, scores=scores | {"parameters": {"mean": 3, "std": None, "values": [3, 3]}})
    assert repr(read_baseline(path).scores["parameters"].values) == "(3.0, 3.0)"


def test_a_draft_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    """As one that came with the baselines of a pull request."""
    path = accepted(tmp_path)
    (tmp_path / "mine").write_text("mine")
    path.with_name(f".{path.name}.new").symlink_to(tmp_path / "mine")
    accepted(tmp_path, replace(GREEN, id="ffff"))
    assert (tmp_path / "mine").read_text() == "mine"
    assert read_baseline(path).run == "ffff"


def test_what_would_be_too_large_to_be_read_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted(tmp_path)
    monkeypatch.setattr(baselines, "LARGEST_READ", 1000)
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="cannot be accepted: its baseline would have more than"):
        accepted(tmp_path, replace(GREEN, id="ffff"))
    assert path.read_bytes() == before
