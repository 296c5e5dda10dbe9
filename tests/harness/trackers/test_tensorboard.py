"""TensorBoard reads from the files of a run what its record says."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.ground.errors import SpecError
from modeltune.harness import pipeline
from modeltune.harness.trackers.tensorboard import run_folder, write_refits, write_trial
from modeltune.records.events import Event, Note, TrialFinished
from modeltune.records.runs import Run, Trial, TrialStatus
from modeltune.reports.filenames import file_name
from modeltune.reports.tables import clean
from modeltune.specs.identity.parts import search_identity
from tests.support import scripted_runs
from tests.support.hostile import HOSTILE
from tests.support.scripted_runs import scripting

# Bound in a dict: a spec that is a name of this module would be collected as a test.
SPECS = {
    "as it is": scripted_runs.scripted,
    "shown": scripted_runs.scripted.with_fields(fit=mt.Fit(tensorboard=True)),
    "longer": scripted_runs.scripted.with_fields(fit=mt.Fit(epochs=3)),
}


def ran(spec: mt.Spec, folder: Path, listen: Any = lambda event: None) -> Run:
    """Run a spec whose training is a script."""
    with scripting(folder / "log.txt"):
        return pipeline.run(spec, store=f"sqlite:///{folder}/history.db", listen=listen)


def scalars(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return what TensorBoard draws: by run and tag the steps and values."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    curves = {}
    for name, tags in multiplexer.Runs().items():
        points = {tag: multiplexer.Tensors(name, tag) for tag in tags["tensors"]}
        curves[name] = {
            tag: [(point.step, float(point.tensor_proto.float_val[0])) for point in drawn]
            for tag, drawn in points.items()
            if not tag.startswith("_hparams_/")
        }
    return curves


def hparams(folder: Path) -> dict[str, tuple[dict[str, object], dict[str, float], str]]:
    """Return the rows of the HParams page: by session its values, last metrics and status."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, list_session_groups
    from tensorboard.plugins.hparams.backend_context import Context

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider, logdir=str(folder)))
    columns = [api_pb2.ColParams(metric=api_pb2.MetricName(tag="objective"))]
    every = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_UNKNOWN]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=every, col_params=columns
    )
    asked = list_session_groups.Handler(RequestContext(), context, "", request)
    return {
        group.name: (
            {name: getattr(v, v.WhichOneof("kind")) for name, v in group.hparams.items()},
            {f"{m.name.group}/{m.name.tag}": m.value for m in group.metric_values},
            api_pb2.Status.Name(group.sessions[0].status),
        )
        for group in asked.run().session_groups
    }


def drawn(curve: Mapping[str, Any], inherited: int) -> dict[str, dict[str, Any]]:
    """Return by part of the data what of a recorded curve is to be drawn."""
    curves: dict[str, dict[str, Any]] = {}
    for metric, values in curve.items():
        part = "validation" if metric.startswith("val_") else "train"
        curves.setdefault(part, {})[metric.removeprefix("val_")] = [
            (epoch, float(np.float32(value)))
            for epoch, value in enumerate(values, start=inherited + 1)
        ]
    return curves


def test_charts_and_hparams_say_what_the_run_recorded(tmp_path: Path) -> None:
    run = ran(SPECS["shown"], tmp_path)
    folder = run_folder(tmp_path, run.spec, run.id)
    assert folder == tmp_path / "tensorboard" / file_name(run.spec) / run.id
    points, rows = scalars(folder), hparams(folder)
    assert any(trial.initial_epoch for trial in run.trials), "some trials continue others"
    for trial in run.trials:
        name = f"trial-{trial.id}"
        for part, expected in drawn(trial.curve, trial.initial_epoch).items():
            assert points[f"{name}/{part}"] == expected
        assert points[name] == {"objective": [(trial.best_epoch, np.float32(trial.score))]}
        values, metrics, status = rows[name]
        assert values == dict(trial.values)
        assert metrics["/objective"] == np.float32(trial.score)
        assert status == "STATUS_SUCCESS"
    assert len(rows) == len(run.trials)
    for refit in run.validation["refits"]:
        for part, expected in drawn(refit["curve"], 0).items():
            assert points[f"refit-seed-{refit['seed']}/{part}"] == expected


TRIAL = Trial(
    id=7,
    status=TrialStatus.COMPLETED,
    values={"units": 32, "rate": 0.5, "norm": True, "kind": "a", "most": math.inf},
    score=0.75,
    reason=None,
    epochs=3,
    initial_epoch=2,
    parent=3,
    best_epoch=4,
    seconds=6.0,
    seed=1,
    curve={"loss": (3.0, 2.0, math.nan), "val_loss": (1.5, 0.75, math.inf), "lr": (0.5,) * 3},
    trained_by="graph",
)


def test_a_continued_trial_is_drawn_at_its_own_epochs_train_beside_validation(
    tmp_path: Path,
) -> None:
    write_trial(tmp_path, TRIAL)
    points = scalars(tmp_path)
    assert points["trial-7/validation"]["loss"] == [(3, 1.5), (4, 0.75), (5, math.inf)]
    assert points["trial-7/train"]["lr"] == [(3, 0.5), (4, 0.5), (5, 0.5)]
    assert points["trial-7/train"]["loss"][:2] == [(3, 3.0), (4, 2.0)]
    assert math.isnan(points["trial-7/train"]["loss"][2][1])
    assert hparams(tmp_path)["trial-7"][0] == {**TRIAL.values, "most": "inf"}


def test_a_failed_trial_is_a_row_of_its_own(tmp_path: Path) -> None:
    failed = replace(TRIAL, status=TrialStatus.FAILED, score=None, best_epoch=None, curve={})
    write_trial(tmp_path, failed)
    assert hparams(tmp_path)["trial-7"][2] == "STATUS_FAILURE"
    assert scalars(tmp_path) == {"trial-7": {}}


def unheard(event: Event) -> None:
    pytest.fail(str(event))


def test_folds_are_runs_of_their_own(tmp_path: Path) -> None:
    refits = [
        {"seed": 0, "fold": fold, "curve": {"loss": (0.5,)}, "seconds": 1.0} for fold in (0, 1)
    ]
    write_refits(tmp_path, refits, unheard)
    assert {*scalars(tmp_path)} == {"refit-seed-0-fold-1/train", "refit-seed-0-fold-2/train"}


def test_trials_are_to_be_seen_while_the_search_goes_on(tmp_path: Path) -> None:
    folders = []

    def listen(event: Event) -> None:
        if isinstance(event, TrialFinished):
            folders.append(len(list(tmp_path.glob("tensorboard/*/*/trial-*"))))

    ran(SPECS["shown"], tmp_path, listen)
    assert folders == [0, 1, 2, 3, 4, 5]


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    ran(SPECS["as it is"], tmp_path)
    assert not (tmp_path / "tensorboard").exists()


def test_a_folder_that_cannot_be_written_costs_a_note_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    notes = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    run = ran(SPECS["shown"], tmp_path, listen)
    assert run.passed
    texts = [note for note in run.notes if "TensorBoard" in note]
    assert texts == [note for note in notes if "TensorBoard" in note]
    assert len(texts) == 2, "once for the trials, once for the refits"
    assert all(str(tmp_path / "tensorboard") in note for note in texts)


def test_where_curves_are_shown_is_no_part_of_what_a_run_is() -> None:
    assert search_identity(SPECS["shown"]) == search_identity(SPECS["as it is"])
    assert search_identity(SPECS["longer"]) != search_identity(SPECS["as it is"])


def test_tensorboard_is_true_or_false() -> None:
    with pytest.raises(SpecError, match=r'fit\.tensorboard: "logs": write True or False'):
        SPECS["shown"].with_fields(fit=mt.Fit(tensorboard="logs"))  # type: ignore[arg-type]


def test_writing_loads_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "from modeltune.harness.trackers.tensorboard import write_trial\n"
        f"write_trial(Path({str(tmp_path)!r}), pickle.loads({pickle.dumps(TRIAL)!r}))\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
    assert {*scalars(tmp_path)} == {"trial-7", "trial-7/train", "trial-7/validation"}


def test_hostile_names_are_shown_literally_and_lead_nowhere(tmp_path: Path) -> None:
    for number, text in enumerate(HOSTILE.values()):
        folder = run_folder(tmp_path / "store", text, text)
        assert folder.resolve().parent.parent == (tmp_path / "store/tensorboard").resolve()
        trial = replace(TRIAL, id=number, values={text: text}, curve={text: (0.5,)})
        write_trial(tmp_path / "events", trial)
    rows = hparams(tmp_path / "events")
    for number, text in enumerate(HOSTILE.values()):
        assert rows[f"trial-{number}"][0] == {clean(text): clean(text)}
    assert len(rows) == len(HOSTILE)


@example(".", "..")
@example(".hidden", "%2Ehidden")
@example("a/b", "a%2Fb")
@example("", "%")
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_names_of_files_are_safe_and_differ(one: str, other: str) -> None:
    name = file_name(one)
    assert name == Path(name).name
    assert name.isascii()
    assert name[:1] not in ("", ".")
    assert len(name) < 150
    assert (name == file_name(other)) == (one.replace("::", ".", 1) == other.replace("::", ".", 1))
