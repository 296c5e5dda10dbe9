"""What differs between two imports of one code was made at random, and is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import modeltune as mt
from modeltune.harness.run_differences import (
    differing_code,
    note_on_baseline_of_other_backend,
    note_on_random_values,
)
from modeltune.histories import baselines
from modeltune.specs.identity import fingerprints, run_identity, search_identity
from modeltune.specs.spec_type import Spec


class OnBase:
    """As a HyperModel whose constructor makes a base: its weights are others at each import."""

    def __init__(self, weights: object) -> None:
        self.base = weights

    def build(self, hp: Any) -> Any:
        raise NotImplementedError


def imported(weights: object, **fields: Any) -> Spec:
    standard: dict[str, Any] = {
        "data": lambda: None,
        "search": mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
    }
    return mt.spec(**(standard | fields))(OnBase(weights))


def history(*runs: Spec) -> Any:
    recorded = [SimpleNamespace(id="0a1b", fingerprints=fingerprints(spec)) for spec in runs]
    return SimpleNamespace(runs=lambda *_, **__: recorded)


def test_other_weights_in_a_process_that_trains_are_said_in_the_first_run() -> None:
    note = note_on_random_values(imported(1), search_identity(imported(2)), history())
    assert note is not None
    assert note.startswith(
        "what is held by the build function differs in each process although the code is the same"
    )
    assert "keras.utils.set_random_seed" in note


def test_other_weights_than_in_the_run_before_are_said() -> None:
    spec = imported(1)
    note = note_on_random_values(spec, search_identity(spec), history(imported(2)))
    assert note is not None
    assert "what is held by the build function differs since run 0a1b" in note


@pytest.mark.parametrize(
    "before",
    [
        (),
        (imported(1),),
        (imported(2, search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=3)),),
    ],
    ids=["no run", "same weights", "another search"],
)
def test_nothing_is_said_where_nothing_shows_that_a_base_is_random(
    before: tuple[Spec, ...],
) -> None:
    spec = imported(1)
    assert note_on_random_values(spec, search_identity(spec), history(*before)) is None


def test_values_that_no_process_can_compare_are_not_called_random() -> None:
    one, other = (imported(letter for letter in "ab") for _ in range(2))
    assert note_on_random_values(one, search_identity(other), history()) is None


def test_a_baseline_of_another_backend_is_compared_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def note(run: SimpleNamespace) -> str | None:
        return note_on_baseline_of_other_backend(imported(1), run)  # type: ignore[arg-type]

    accepted = SimpleNamespace(run="0a1b", versions={"backend": "tensorflow"})
    monkeypatch.setattr(baselines, "read_or_none", lambda path: accepted)
    on_jax, alike = ({"backend": name} for name in ("jax", "tensorflow"))
    said = note(SimpleNamespace(baseline="0a1b", environment=on_jax))
    assert said is not None
    assert said.startswith("the accepted run 0a1b was computed with tensorflow, this one with jax")
    assert note(SimpleNamespace(baseline="0a1b", environment=alike)) is None
    assert note(SimpleNamespace(baseline=None, environment=on_jax)) is None


def test_another_backend_is_no_other_code() -> None:
    today = run_identity(imported(1)) | {"the backend of Keras": "jax"}
    before: Any = SimpleNamespace(fingerprints=fingerprints(imported(1)))
    code, notes = differing_code(today, before)
    assert not code
    assert "the backend of Keras was tensorflow, is jax" in notes
