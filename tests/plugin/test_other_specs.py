"""A gate holds one spec against another's run, which comes first, and says why where it cannot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import modeltune as mt
from modeltune.plugin.other_specs import with_others_first
from tests.support.example import Example, scripted_source

# The one that compares stands above in another file: alone, pytest would run it first.
COMPARING = """
import modeltune as mt
from spec_b import mlp, on_nothing

@mt.spec(
    data=on_nothing.data, search=on_nothing.search, validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= mt.other(mlp) - 0.01],
)
def cnn(hp):
    raise NotImplementedError
"""
FILES = {"conftest.py": "", "spec_a.py": COMPARING, "spec_b.py": scripted_source("mlp")}


def verdict_on_cnn(session: Any) -> tuple[str, str, str]:
    (run,) = [run for run in session.reported if run["spec"] == "spec_a.py::cnn"]
    (verdict,) = run["verdicts"]
    return verdict["gate"], verdict["outcome"], verdict["reason"]


def test_the_other_spec_runs_first_or_its_recorded_run_is_taken(scripted: Example) -> None:
    project = scripted.with_files(FILES)
    alone = project.run_pytest("spec_a.py")
    alone.assert_outcomes(failed=1)
    assert verdict_on_cnn(alone) == (
        'mt.metric("accuracy") >= mt.other(mlp) - 0.01',
        "invalid",
        "spec_b.py::mlp has no finished run to compare with; run it: pytest spec_b.py::mlp",
    )
    both = project.run_pytest("spec_a.py", "spec_b.py")
    both.assert_outcomes(passed=2)
    floor = next(run for run in both.history if run.spec == "spec_b.py::mlp")
    _, outcome, reason = verdict_on_cnn(both)
    assert outcome == "passed"
    assert reason.startswith(f"as good as mlp (run {floor.id[:8]}) (0.75), 0.01 worse is allowed")
    (cnn,) = [run for run in both.reported if run["spec"] == "spec_a.py::cnn"]
    assert cnn["verdicts"][0]["facts"]["reference"] == {
        "source": "other",
        "runs": None,
        "factor": 1.0,
        "offset": -0.01,
        "other": "spec_b.py::mlp",
    }
    later = project.run_pytest("spec_a.py")
    later.assert_outcomes(passed=1)
    # Its code has changed since it ran.
    edited = FILES["spec_b.py"].replace("raise NotImplementedError", "raise NotImplementedError(1)")
    changed = project.with_files({"spec_b.py": edited}).run_pytest_forked("spec_a.py")
    changed.assert_outcomes(failed=1)
    _, outcome, reason = verdict_on_cnn(changed)
    assert outcome == "invalid"
    assert "is of other code: " in reason
    assert reason.endswith("changed since; run it: pytest spec_b.py::mlp")


def test_a_worker_of_xdist_waits_for_the_other_spec(scripted: Example) -> None:
    session = scripted.with_files(FILES).run_pytest_forked("-n2", "spec_a.py", "spec_b.py")
    session.assert_outcomes(passed=2)
    assert verdict_on_cnn(session)[1] == "passed"


def item(name: str, *others: str) -> Any:
    named = [SimpleNamespace(id=other) for other in others]
    return SimpleNamespace(spec=SimpleNamespace(id=name, others=named))


def test_only_what_is_compared_with_moves_and_a_circle_is_one_error() -> None:
    test = SimpleNamespace()
    a, b, c, d = item("a", "c"), item("b"), item("c", "d", "elsewhere"), item("d")
    items: list[Any] = [test, a, b, c, d]
    assert with_others_first(items, [a, b, c, d]) == [test, d, c, a, b]
    round_trip: list[Any] = [item("a", "b"), item("b", "c"), item("c", "b")]
    with pytest.raises(
        pytest.UsageError, match="b waits for c waits for b, so that none of them can"
    ):
        with_others_first(round_trip, round_trip)


def test_what_is_no_spec_is_refused_where_it_is_written() -> None:
    with pytest.raises(
        TypeError, match=r"mt.other\(\"mlp\"\): this is no spec but a str; give it what"
    ):
        mt.other("mlp")  # type: ignore[arg-type]
