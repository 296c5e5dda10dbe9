"""A private name that a version of a library lacks costs speed, never a trial, and one note says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.internals.keras_internals import KERAS
from modeltune.engine.internals.keras_tuner_internals import KERAS_TUNER
from modeltune.engine.internals.names import Feature, Library, Name
from modeltune.engine.internals.tensorflow_internals import TENSORFLOW
from modeltune.engine.oracles import Oracle, ReadHyperParameters, explore
from modeltune.records.events import Event, Note
from modeltune.records.runs import Run
from modeltune.specs.searches import Search
from tests.support.missing_names import LIBRARIES, lacking
from tests.support.small_models import dense, digits, spec_of

PACKAGE = Path(mt.__file__).parent
NAMES = [(library, name) for library in LIBRARIES for name in library.names]


def ids(cases: list[tuple[Library, Name]]) -> list[str]:
    return [f"{library.package}: {name}" for library, name in cases]


def off() -> set[Feature]:
    return {f for f in Feature for library in LIBRARIES if library.why_not(f) is not None}


def test_the_versions_we_know_have_every_name() -> None:
    with lacking():
        assert not off()
        assert [library.note() for library in LIBRARIES] == [None, None, None]


@pytest.mark.parametrize(("library", "name"), NAMES, ids=ids(NAMES))
def test_a_name_that_is_missing_turns_off_what_needs_it_and_nothing_else(
    library: Library, name: Name
) -> None:
    with lacking(name):
        assert off() == set(name.features)
        for feature in name.features:
            reason = library.why_not(feature)
            assert reason is not None
            assert str(name) in reason
            assert f"{library.package} " in reason
        note = library.note()
        assert note is not None
        assert all(feature.value in note for feature in name.features)


def test_names_are_looked_up_once() -> None:
    made: list[str] = []
    library = replace(
        KERAS,
        names=(
            Name("example", "_one", (Feature.READS,)),
            Name("example", "_two", (Feature.READS,)),
        ),
        examples={"example": lambda: made.append("made")},
    )
    for _ in range(3):
        assert str(library.why_not(Feature.READS)).endswith(" has no example._one, example._two")
    assert made == ["made"]


def test_an_example_that_cannot_be_made_has_no_names() -> None:
    def raises() -> Any:
        raise ValueError("of a newer version")

    library = replace(
        KERAS, names=(Name("example", "_one", (Feature.READS,)),), examples={"example": raises}
    )
    assert library.why_not(Feature.READS) is not None


def test_a_look_up_gives_no_name_away() -> None:
    keras.utils.clear_session(free_memory=False)
    with lacking():
        off()
    assert (layers.Identity().name, keras.Sequential().name) == ("identity", "sequential")
    assert keras.metrics.MeanSquaredError().name == "mean_squared_error"


# Every name belongs to one group; what a group turns off is what each of its names does. So if
# the plain path trains without all names of a group, it does without each of them.


def of_same_features(*libraries: Library) -> list[tuple[Feature, ...]]:
    pairs = sorted({name.features for library in libraries for name in library.names}, key=str)
    return [features for features, _ in groupby(pairs)]


def two_by_two(groups: list[tuple[Feature, ...]]) -> list[list[tuple[Feature, ...]]]:
    """Return each group of the first half beside one of the second: one run for two of them."""
    half = -(-len(groups) // 2)
    return [[*pair] for pair in zip(groups[:half], groups[half:], strict=False)] + (
        [groups[half - 1 : half]] if len(groups) % 2 else []
    )


def group(features: tuple[Feature, ...]) -> list[Name]:
    return [name for _, name in NAMES if name.features == features]


def on_frozen(hp: Any) -> Any:
    start = keras.initializers.GlorotUniform(seed=1)
    return dense(
        layers.Dense(16, activation="relu", trainable=False, kernel_initializer=start),
        layers.Dense(hp.Choice("units", [6, 8]), activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    )


def run(folder: Path) -> tuple[Run, list[str]]:
    """Return a whole run of two trials and a refit, and its notes."""
    spec = spec_of(
        on_frozen,
        digits(64, 32, 32),
        fit=mt.Fit(batch_size=32),
        search=mt.RandomSearch(mt.minimize("val_loss"), max_trials=2),
        validation=mt.Holdout(epochs=2, seeds=1),
        gates=[mt.metric("accuracy") >= 0],
    )
    events: list[Event] = []
    store = f"sqlite:///{folder / 'history.db'}"
    result = mt.run(spec, store=store, listen=events.append)
    return result, [event.text for event in events if isinstance(event, Note)]


def numbers(result: Run) -> Any:
    trials = [(trial.status, dict(trial.values), trial.curve) for trial in result.trials]
    return trials, {name: scores.values for name, scores in result.scores.items()}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Run:
    result, notes = run(tmp_path_factory.mktemp("usual"))
    assert result.passed
    assert notes == []
    assert {trial.trained_by for trial in result.trials} == {"frozen prefix + graph"}
    return result


@pytest.mark.parametrize(
    "groups",
    two_by_two(of_same_features(KERAS, TENSORFLOW)),
    ids=lambda groups: " and ".join("+".join(f.name for f in group) for group in groups),
)
def test_the_plain_path_trains_the_same_numbers_and_says_so_once(
    usual: Run, groups: list[tuple[Feature, ...]], tmp_path: Path
) -> None:
    names = [name for features in groups for name in group(features)]
    features = {feature for features in groups for feature in features}
    with lacking(*names):
        result, notes = run(tmp_path)
    assert result.passed
    assert numbers(result) == numbers(usual)
    assert result.notes == tuple(notes)
    assert len(notes) == len({library for library, name in NAMES if name in names})
    for feature in features:
        assert any(feature.value in note for note in notes)
    for name in names:
        assert any(str(name) in note for note in notes)
    for trial in result.trials:
        assert ("frozen prefix + " in trial.trained_by) == (Feature.FROZEN_PREFIX not in features)
        assert Feature.EPOCH_GRAPH not in features or "fit: keras " in trial.trained_by


def proposed(search: Search, folder: Path) -> list[tuple[dict[str, Any], frozenset[str] | None]]:
    """Return what a search proposes for two hyperparameters, of which builds read one."""

    def build(hp: Any) -> None:
        hp.Choice("units", list(range(100)))
        if not hp.Boolean("wide"):
            return
        hp.Choice("more", [1, 2])

    oracle = Oracle(search, folder)
    for hp in explore(build, oracle):
        build(hp)
    proposals = []
    while (proposal := oracle.ask()) is not None:
        hp = ReadHyperParameters.of(proposal.hyperparameters)
        build(hp)
        score = float(proposal.values["units"])
        proposals.append(
            (dict(proposal.values), oracle.tell(proposal.id, score, hp.get_config(), hp.read))
        )
    return proposals


@pytest.mark.parametrize(
    "features", of_same_features(KERAS_TUNER), ids=lambda group: "+".join(f.name for f in group)
)
def test_keras_tuner_searches_by_itself_where_it_cannot_be_told(
    features: tuple[Feature, ...], tmp_path: Path
) -> None:
    searches: list[Search] = [
        mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=6, seed=3),
        mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3, seed=3),
        mt.GridSearch(mt.maximize("val_accuracy"), max_trials=6, seed=3),
        mt.BayesianOptimization(mt.maximize("val_accuracy"), max_trials=6, seed=3),
    ]
    for number, search in enumerate(searches):
        usual = proposed(search, tmp_path / f"usual-{number}")
        with lacking(*group(features)):
            plain = proposed(search, tmp_path / f"plain-{number}")
        assert len(plain) == len(usual)
        if isinstance(search, mt.RandomSearch):
            # Nothing repeats here by chance, so nobody needs to be told.
            assert [values for values, _ in plain] == [values for values, _ in usual]
        for _, continuable in plain:
            assert (continuable is not None) == isinstance(search, mt.Hyperband)


# where private names are; that no other module has any is a claim of test_architecture.py


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


DECLARED = {name.name for _, name in NAMES}


def test_all_we_look_at_in_private_is_declared_and_all_that_is_declared_is_looked_at() -> None:
    used: set[object] = set()
    for path, module in modules():
        if not path.startswith("engine/internals/"):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("private", "setattr"):
                name = node.args[1]
                used |= {name.value} if isinstance(name, ast.Constant) else set()
            if isinstance(node, ast.FunctionDef) and node.name in DECLARED:
                used.add(node.name)  # a method that is overridden
    assert used == DECLARED


def test_no_class_of_ours_names_an_attribute_as_the_library_it_extends_does() -> None:
    from modeltune.engine import oracles

    bases = (keras_tuner.HyperParameters, keras_tuner.oracles.HyperbandOracle)
    taken = {name for base in bases for name in dir(base) if is_private(name)}
    for kind in vars(oracles).values():
        if isinstance(kind, type) and kind.__module__ == oracles.__name__:
            assert not taken & vars(kind).keys()
