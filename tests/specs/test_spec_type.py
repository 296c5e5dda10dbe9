"""A spec prints as typed, is frozen, builds its model, and names everything wrong with it at once."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.specs.spec_type import DECLARATIONS, data_arguments

BEST = mt.maximize("val_accuracy")


def digits() -> mt.Data:
    return mt.Data(((), ()))


def protocol(**fields: Any) -> Any:
    return mt.spec(**{"data": digits, "search": mt.RandomSearch(BEST), **fields})


def mlp(hp: Any) -> tuple[str, int]:
    """Two dense layers."""
    return "mlp", hp


class Cnn:
    """A HyperModel by its looks."""

    def __init__(self, depth: int = 2):
        self.depth = depth

    def build(self, hp: Any) -> tuple[str, int, Any]:
        return "cnn", self.depth, hp


def refused(declare: Callable[[], object]) -> str:
    with pytest.raises(mt.SpecError) as caught:
        declare()
    return str(caught.value)


# What was typed


@pytest.mark.parametrize(
    "typed",
    [
        'mt.spec(data=digits, search=mt.RandomSearch(mt.maximize("val_accuracy")), '
        "fit=mt.Fit(), validation=mt.Holdout())",
        'mt.spec(data=digits, search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=10), '
        "fit=mt.Fit(batch_size=16, class_weight={0: 1.0, 1: 2.0}), "
        "validation=mt.KFold(k=3, seeds=2), "
        'gates=[mt.metric("accuracy") >= 0.95, mt.metric("accuracy") >= mt.baseline - 0.01])',
        'mt.spec(data=digits, search=mt.GridSearch(mt.minimize("val_loss")), '
        'fit=mt.Fit(callbacks=[functools.partial(dict, patience=3)], dtype_policy="mixed_float16", '
        "shuffle=False), validation=mt.Holdout(epochs=30, seeds=1))",
        "mt.spec(data=functools.partial(digits, size=8), "
        'search=mt.GridSearch(mt.minimize("val_loss")), fit=mt.Fit(), validation=mt.Holdout())',
    ],
)
def test_a_protocol_prints_as_typed(typed: str) -> None:
    declared = eval(typed)
    assert repr(declared) == typed
    assert repr(declared(mlp)) == f"{typed}(mlp)"


def test_what_has_no_text_of_its_own_prints_without_an_address() -> None:
    def declare() -> Any:
        return protocol(fit=mt.Fit(callbacks=[lambda: None]))(Cnn(3))

    assert repr(declare()) == repr(declare())
    assert repr(declare()).endswith("callbacks=[lambda: ...]), validation=mt.Holdout())(Cnn(...))")


# What a spec is


def test_a_spec_still_builds() -> None:
    assert protocol()(mlp)(7) == ("mlp", 7)


@pytest.mark.parametrize(
    ("model", "depth", "name"), [(Cnn, 2, "Cnn"), (Cnn(5), 5, "Cnn")], ids=["class", "instance"]
)
def test_a_hypermodel_class_or_instance_builds(model: Any, depth: int, name: str) -> None:
    spec = protocol()(model)
    assert spec(7) == ("cnn", depth, 7)
    assert spec.name == name
    assert spec.__doc__ == "A HyperModel by its looks."


def test_an_instance_goes_by_its_own_name() -> None:
    model = Cnn()
    model.name = "deep"  # type: ignore[attr-defined]
    assert protocol()(model).id == "tests/specs/test_spec_type.py::deep"


def test_a_spec_has_an_address_and_the_functions_docstring() -> None:
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    spec = protocol()(mlp)
    assert (spec.id, spec.name, spec.__name__) == (
        "tests/specs/test_spec_type.py::mlp",
        "mlp",
        "mlp",
    )
    assert (spec.file, spec.line, spec.module) == (__file__, line + 1, __name__)
    assert spec.__doc__ == "Two dense layers."


def test_a_spec_shows_the_fields_of_its_protocol() -> None:
    gate = mt.metric("accuracy") >= 0.9
    declared = protocol(gates=[gate], fit=mt.Fit(epochs=3), validation=mt.KFold())
    spec = declared(mlp)
    assert (spec.data, spec.search) == (digits, mt.RandomSearch(BEST))
    assert (spec.fit, spec.validation) == (mt.Fit(epochs=3), mt.KFold())
    assert len(spec.gates) == 1
    assert spec.gates[0] is gate


@pytest.mark.parametrize("field", ["search", "name", "gates", "new"])
def test_a_spec_is_frozen(field: str) -> None:
    spec = protocol()(mlp)
    with pytest.raises(FrozenInstanceError, match=field):
        setattr(spec, field, None)
    with pytest.raises(FrozenInstanceError, match="name"):
        del spec.name


def test_what_other_decorators_keep_on_a_function_is_kept_by_a_spec() -> None:
    def build(hp: Any) -> Any: ...

    build.__allure_display_name__ = "below"  # type: ignore[attr-defined]
    build.public = build.__wrapped__ = mlp  # type: ignore[attr-defined]
    spec: Any = protocol()(build)
    assert spec.__allure_display_name__ == "below"
    spec.__allure_display_name__ = "above"
    spec.__flaky_max_runs__ = 2
    renamed: Any = spec.with_fields(name="other")
    for kept in (spec, renamed):
        assert kept.attributes == {"__allure_display_name__": "above", "__flaky_max_runs__": 2}
        assert (kept.__allure_display_name__, kept.__flaky_max_runs__) == ("above", 2)
    with pytest.raises(FrozenInstanceError, match="_changed"):
        spec._changed = {}


@pytest.mark.parametrize("field", ["search", "gates"])
def test_a_protocol_is_frozen(field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(protocol(), field, None)


def test_two_models_share_one_protocol() -> None:
    rules = protocol()
    assert rules(mlp).protocol is rules(Cnn).protocol is rules


def test_marks_above_and_below_the_decorator_stay() -> None:
    @pytest.mark.xfail
    @protocol()
    @pytest.mark.skip
    def marked(hp: Any) -> None: ...

    assert {mark.name for mark in marked.pytestmark} == {"xfail", "skip"}
    renamed = marked.with_fields(name="other")
    assert {mark.name for mark in renamed.pytestmark} == {"xfail", "skip"}


@pytest.mark.parametrize("marks", [pytest.mark.skip, [pytest.mark.skip]], ids=["one", "list"])
def test_marks_in_a_class_body_stay(marks: Any) -> None:
    class Marked(Cnn):
        pytestmark = marks

    assert [mark.name for mark in protocol()(Marked).pytestmark] == ["skip"]


def test_every_declaration_in_a_module_is_listed_even_when_shadowed() -> None:
    space = {"mt": mt, "rules": protocol(), "__name__": "spec_twice"}
    exec(
        "@rules\ndef m(hp): ...\n@rules\ndef m(hp): ...\n@rules\nclass C:\n def build(self, hp): ...",
        space,
    )
    assert space[DECLARATIONS] == [("m", 1), ("m", 3), ("C", 5)]


# What is wrong with it


def test_all_that_is_wrong_is_named_at_once_with_file_and_line() -> None:
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    message = refused(
        lambda: mt.spec(
            data=3,  # type: ignore[arg-type]
            search=mt.Hyperband("acc", max_epochs=0),  # type: ignore[arg-type]
            fit=mt.Fit(epochs=0, callbacks=[3]),  # type: ignore[list-item]
            validation=mt.KFold(k=1, epochs=0),
            gates=[mt.metric("a"), mt.metric("b") >= "c", 4],  # type: ignore[list-item]
            gate=[],
        )
    )
    assert (
        message
        == f"""\
{__file__}:{line + 2}: mt.spec(...) has 11 problems:
  gate: unknown field; did you mean "gates"? A spec has data, search, fit, validation, gates, checks, escalate, aliases, examples, task, metrics, threshold, exports, sequential
  data: 3: write a function that returns mt.Data, or an mt.Data
  search.objective: "acc" has no direction; write mt.maximize("acc") or mt.minimize("acc")
  search.max_epochs: 0: write 1 or more
  fit.epochs: 0: write 1 or more
  fit.callbacks[0]: 3 would be shared by all trials; write a factory: lambda: int(...)
  validation.k: 1: write 2 or more
  validation.epochs: 0: write 1 or more, or None for as many as the search's longest trial
  gates[0]: mt.metric("a") has no bound; write mt.metric("a") >= ...
  gates[1]: mt.metric("b") >= "c": the bound is "c"; write a number, or mt.baseline, mt.previous or mt.median(n) with + - *
  gates[2]: 4 is not a gate; write mt.metric(name) >= bound"""
    )


def test_missing_fields_are_named() -> None:
    message = refused(lambda: mt.spec())
    assert message.endswith("has 1 problem:\n  data: missing; every spec needs it")


@pytest.mark.parametrize(
    ("gates", "objective"),
    [
        ([], mt.minimize("val_loss")),
        ([mt.metric("accuracy") >= 0.5, mt.metric("f1") >= 0.5], mt.maximize("val_accuracy")),
        (
            [
                mt.metric("parameters") <= 9,
                mt.gap("f1") <= 1,
                mt.metric("f1").std <= 1,
                mt.metric("mae") < 2,
            ],
            mt.minimize("val_mae"),
        ),
    ],
)
def test_a_spec_without_a_search_aims_at_what_its_first_gate_bounds(
    gates: list[Any], objective: Any
) -> None:
    @mt.spec(data=digits, gates=gates)
    def model(hp: Any) -> None: ...

    assert not model.is_searched
    assert model.search.objective == objective
    assert model.search.planned_trials == 0
    assert "search=None" in repr(model)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("gate", "gates"), ("serach", "search"), ("validate", "validation"), ("datas", "data")],
)
def test_an_unknown_field_comes_with_a_suggestion(typed: str, meant: str) -> None:
    assert f'\n  {typed}: unknown field; did you mean "{meant}"' in refused(
        lambda: protocol(**{typed: None})
    )


def test_an_unknown_field_like_no_other_comes_with_the_list() -> None:
    assert "\n  zzz: unknown field. A spec has data, search, " in refused(lambda: protocol(zzz=1))


accuracy = mt.metric("accuracy")

WRONG_FIELDS = [
    ({"data": 3}, "data", "write a function that returns mt.Data"),
    ({"data": None}, "data", "write a function that returns mt.Data"),
    ({"search": "random"}, "search", '"random": write mt.RandomSearch(...)'),
    ({"search": mt.RandomSearch}, "search", "RandomSearch: write mt.RandomSearch(...)"),
    ({"search": mt.RandomSearch("acc")}, "search.objective", 'write mt.maximize("acc")'),  # type: ignore[arg-type]
    ({"search": mt.RandomSearch(BEST, max_trials=0)}, "search.max_trials", "write 1 or more"),
    ({"fit": 10}, "fit", "10: write mt.Fit(...)"),
    ({"fit": mt.Fit(epochs=0)}, "fit.epochs", "write 1 or more"),
    ({"fit": mt.Fit(epochs=True)}, "fit.epochs", "write 1 or more"),
    ({"fit": mt.Fit(batch_size=0)}, "fit.batch_size", "write 1 or more"),
    ({"fit": mt.Fit(threads=0)}, "fit.threads", "write 1 or more"),
    ({"fit": mt.Fit(threads=1.0)}, "fit.threads", "write 1 or more"),  # type: ignore[arg-type]
    ({"fit": mt.Fit(class_weight=[1, 2])}, "fit.class_weight", "dict of class index"),  # type: ignore[arg-type]
    ({"fit": mt.Fit(callbacks=dict)}, "fit.callbacks", "dict: write a list of factories"),  # type: ignore[arg-type]
    ({"fit": mt.Fit(callbacks="ab")}, "fit.callbacks", "write a list of factories"),  # type: ignore[arg-type]
    ({"fit": mt.Fit(callbacks=[Cnn()])}, "fit.callbacks[0]", "lambda: Cnn(...)"),  # type: ignore[list-item]
    ({"fit": mt.Fit(dtype_policy=16)}, "fit.dtype_policy", '"mixed_float16"'),  # type: ignore[arg-type]
    ({"validation": 5}, "validation", "5: write mt.Holdout(...) or mt.KFold(...)"),
    ({"validation": mt.Holdout(seeds=0)}, "validation.seeds", "write 1 or more"),
    ({"validation": mt.Holdout(seeds=True)}, "validation.seeds", "write 1 or more"),
    ({"validation": mt.Holdout(epochs=0)}, "validation.epochs", "write 1 or more, or None"),
    ({"validation": mt.KFold(k=1)}, "validation.k", "write 2 or more"),
    ({"validation": mt.KFold(seeds=0)}, "validation.seeds", "write 1 or more"),
    ({"gates": accuracy >= 0.9}, "gates", 'mt.metric("accuracy") >= 0.9: write a list of gates'),
    ({"gates": accuracy}, "gates", "write a list of gates"),
    ({"gates": None}, "gates", "None: write a list of gates"),
    ({"gates": "accuracy >= 0.9"}, "gates", "write a list of gates"),
    ({"gates": [accuracy]}, "gates[0]", 'has no bound; write mt.metric("accuracy") >= ...'),
    ({"gates": [True]}, "gates[0]", "True is not a gate"),
    ({"gates": [accuracy >= 1, accuracy >= math.nan]}, "gates[1]", "no value can be judged"),
    ({"gates": [mt.metric("a", severity="bad") >= 1]}, "gates[0]", 'write "fail" or "warn"'),
]
wrong_fields = pytest.mark.parametrize(
    ("fields", "named", "advice"),
    WRONG_FIELDS,
    ids=[f"{number}-{named}" for number, (_, named, _) in enumerate(WRONG_FIELDS)],
)


@wrong_fields
def test_a_wrong_field_is_named(fields: dict[str, Any], named: str, advice: str) -> None:
    message = refused(lambda: protocol(**fields))
    assert (
        f"test_spec_type.py:{protocol.__code__.co_firstlineno + 1}: mt.spec(...) has 1 problem:"
        in message
    )
    assert f"\n  {named}: " in message
    assert advice in message


@wrong_fields
def test_a_wrong_field_put_in_later_is_named(
    fields: dict[str, Any], named: str, advice: str
) -> None:
    spec = protocol()(mlp)
    message = refused(lambda: spec.with_fields(name="mlp[x]", **fields))
    assert message.startswith(f"{spec.file}:{spec.line}: mlp[x] has 1 problem:\n  {named}: ")
    assert advice in message


def test_with_fields_gives_another_spec_of_the_same_model() -> None:
    spec = protocol()(mlp)
    gate = accuracy >= 0.9
    other = spec.with_fields(name="mlp[grid]", search=mt.GridSearch(BEST), gates=[gate])
    assert (other.name, other.id, other.line) == (
        "mlp[grid]",
        "tests/specs/test_spec_type.py::mlp[grid]",
        spec.line,
    )
    assert other.search == mt.GridSearch(BEST)
    assert other.gates[0] is gate
    assert other.model is spec.model
    assert (spec.name, spec.search, spec.gates) == ("mlp", mt.RandomSearch(BEST), ())


# As its address


NEAR = """
import modeltune as mt

def build(hp): ...

near = mt.spec(
    data=lambda: None,
    search=mt.RandomSearch(mt.maximize("val_accuracy")),
    fit=mt.Fit(callbacks=[lambda: None]),
)(build)
"""


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the spec of a module, under a name that is not its own."""
    (tmp_path / "spec_near.py").write_text(NEAR)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("spec_near").near
    del sys.modules["spec_near"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"search": mt.GridSearch(BEST, max_trials=3)},
        {"fit": mt.Fit(epochs=7), "validation": mt.KFold(k=3)},
        {"gates": [mt.metric("accuracy") >= 0.5]},
    ],
    ids=["as declared", "search", "fit and validation", "gates"],
)
def test_a_spec_travels_as_its_address_with_what_was_changed_since(
    near: Any, fields: dict[str, Any]
) -> None:
    sent = near.with_fields("build[changed]", **fields) if fields else near
    # Neither the lambdas nor the build function travel: they could not.
    came = pickle.loads(pickle.dumps(sent))
    assert (came.id, came.file, came.line) == (sent.id, sent.file, sent.line)
    assert repr(came) == repr(sent)
    assert came.model is near.model
    assert came.data is near.data
    # Also when it is changed and sent once more.
    again = pickle.loads(pickle.dumps(came.with_fields(validation=mt.Holdout(seeds=9))))
    assert repr(again) == repr(sent.with_fields(validation=mt.Holdout(seeds=9)))


def test_a_spec_no_name_of_its_module_stands_for_does_not_travel() -> None:
    spec = protocol()(mlp)
    for unnamed in (spec, spec.with_fields(fit=mt.Fit(epochs=9))):
        with pytest.raises(
            pickle.PicklingError, match=r" has no name for tests/specs/test_spec_type\.py::mlp$"
        ):
            pickle.dumps(unnamed)


FAR = """
import modeltune as mt

def data(): ...

@mt.spec(data=data, search=mt.RandomSearch(mt.maximize("val_accuracy")))
def far(hp): ...
"""


@pytest.mark.parametrize("other", [False, True], ids=["its file", "another of that name"])
def test_a_spec_arrives_where_its_file_has_not_been_imported(tmp_path: Path, other: bool) -> None:
    file = tmp_path / "here" / "spec_far.py"
    file.parent.mkdir()
    file.write_text(FAR)
    if other:
        (tmp_path / "spec_far.py").write_text(FAR)
    send = f"import sys, pickle; sys.path.insert(0, {str(file.parent)!r}); import spec_far; "
    send += "sys.stdout.buffer.write(pickle.dumps(spec_far.far))"
    receive = "import sys, pickle; print(pickle.load(sys.stdin.buffer).id)"
    sent = subprocess.run([sys.executable, "-c", send], capture_output=True, check=True)
    came = subprocess.run(
        [sys.executable, "-c", receive], input=sent.stdout, capture_output=True, cwd=tmp_path
    )
    if other:
        assert came.returncode
        message = f"module spec_far is {tmp_path}/spec_far.py in this process, not {file}"
        assert f"ImportError: {message}" in came.stderr.decode()
    else:
        assert came.stdout.decode() == "spec_far.py::far\n"


# What can be decorated


def takes_three(hp: Any, prepared: Any, other: Any) -> None: ...


def takes_more_with_defaults(hp: Any, units: int = 3, *args: Any, **kwargs: Any) -> int:
    return units


class WithoutBuild: ...


class BuildsFromNothing:
    def build(self) -> None: ...


class NeedsDepth(Cnn):
    def __init__(self, depth: int): ...


class Crashing(Cnn):
    def __init__(self) -> None:
        raise RuntimeError("no GPU")


class KerasLike:
    def build(self, input_shape: object) -> None: ...

    def compile(self) -> None: ...


WRONG_MODELS = [
    (takes_three, "takes_three(hp, prepared, other) must take one argument, build(hp), or two"),
    (BuildsFromNothing, "must take one argument, build(hp), or two"),
    (BuildsFromNothing(), "must take one argument, build(hp), or two"),
    (WithoutBuild, "WithoutBuild has no build(self, hp)"),
    (WithoutBuild(), "WithoutBuild(...): decorate a function build(hp) or a HyperModel"),
    (NeedsDepth, "NeedsDepth() raised TypeError: "),
    (Crashing, "Crashing() raised RuntimeError: no GPU; pass an instance instead"),
    (KerasLike, "KerasLike is a Keras model; decorate a function build(hp)"),
    (KerasLike(), "KerasLike(...) is a Keras model; decorate a function build(hp)"),
    (3, "3: decorate a function build(hp) or a HyperModel"),
    (functools.partial(mlp), "functools.partial(mlp): decorate a function build(hp)"),
]


@pytest.mark.parametrize(("model", "text"), WRONG_MODELS, ids=range(len(WRONG_MODELS)))
def test_what_cannot_build_is_refused(model: Any, text: str) -> None:
    rules = protocol()
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    message = refused(lambda: rules(model))
    assert message.startswith(f"{__file__}:{line + 1}: ")
    assert " has 1 problem:\n  model: " in message
    assert text in message


def test_a_spec_is_not_decorated_again() -> None:
    rules = protocol()
    assert "decorate a function build(hp)" in refused(lambda: rules(rules(mlp)))


def test_the_constructors_exception_is_kept() -> None:
    with pytest.raises(mt.SpecError) as caught:
        protocol()(Crashing)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_further_arguments_with_defaults_are_fine() -> None:
    assert protocol()(takes_more_with_defaults)(None) == 3


# Data


def test_data_may_be_given_itself() -> None:
    data = mt.Data(((), ()))
    assert protocol(data=data)(mlp).data is data


def wants_fixtures(tmp_path: Any, size: Any, *, seed: Any, cached: bool = True) -> None: ...


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (digits, []),
        (wants_fixtures, ["tmp_path", "size", "seed"]),
        (functools.partial(wants_fixtures, seed=3), ["tmp_path", "size"]),
        (lambda tmp_path: None, ["tmp_path"]),
        (mt.Data(((), ())), []),
    ],
    ids=["none", "some", "partial", "lambda", "data itself"],
)
def test_data_asks_for_fixtures_by_argument_name(data: object, names: list[str]) -> None:
    assert data_arguments(data) == names


@pytest.mark.parametrize("validation", [mt.Holdout(epochs=9), mt.KFold(epochs=9)])
def test_a_small_copy_fine_tunes_for_one_epoch(validation: Any) -> None:
    declared = mt.FineTune("mixed5", epochs=9)
    validation = replace(validation, fine_tune=declared)
    small = protocol(validation=validation)(mlp).small(rows=8).validation
    assert type(small) is type(validation)
    assert (small.epochs, small.fine_tune) == (1, mt.FineTune("mixed5", epochs=1))
    assert protocol(validation=mt.Holdout())(mlp).small(rows=8).validation.fine_tune is None


def test_an_ensemble_wants_a_search_and_a_small_copy_keeps_it() -> None:
    validation = mt.Holdout(epochs=9, ensemble=3)
    assert protocol(validation=validation)(mlp).small(rows=8).validation == mt.Holdout(
        epochs=1, seeds=1, ensemble=3
    )
    with pytest.raises(
        mt.SpecError, match=r"validation\.ensemble: without a search there is one model"
    ):
        protocol(validation=validation, search=None)(mlp)


# Gates that only look alike


def same(x: object, severity: float) -> object:
    return x


MIXED_UP = (
    "prints the same as gates[0], and their results would be mixed up; use named functions, or "
    "functools.partial of one, and one list for all cases"
)


@pytest.mark.parametrize(
    ("gates", "text"),
    [
        ([mt.invariant(lambda x, s: x), mt.invariant(lambda x, s: s)], MIXED_UP),
        ([mt.minimum_functionality([(1, 0)]), mt.minimum_functionality([(2, 0)])], MIXED_UP),
        (
            [
                mt.metric("a").on("s", lambda x: x > 0) >= 0,
                mt.metric("a").on("s", lambda x: x < 0) >= 0,
            ],
            'gates[0] gives the name "s" to another slice; rename one of them, or give both the '
            "same function",
        ),
        (
            [mt.metric("a").by("s") >= 0, mt.metric("a").by("s", lambda x: x[:, 0]).gap <= 0],
            'gates[0] gives the name "s" to another slice; rename one of them, or give both the '
            "same function",
        ),
        (
            [mt.metric("a").by("s", same) >= 0, mt.metric("a").on("s", same) >= 0],
            'gates[0] gives the name "s" to another slice; rename one of them, or give both the '
            "same function",
        ),
    ],
    ids=["lambdas", "cases", "slices", "groups", "a slice and groups"],
)
def test_gates_that_share_a_name_are_refused(gates: list[Any], text: str) -> None:
    search = mt.RandomSearch(mt.maximize("val_accuracy"))
    with pytest.raises(mt.SpecError, match=rf"gates\[1\]: .*{re.escape(text)}$"):
        mt.spec(data=lambda: None, search=search, gates=gates)  # type: ignore[arg-type,return-value]


def test_gates_told_apart_by_what_is_typed_are_not() -> None:
    slices = mt.metric("a").on("s", same) >= 0, mt.metric("b").on("s", same) >= 0
    behaviours = mt.invariant(same), mt.invariant(same, severity=(0, 2))
    search = mt.RandomSearch(mt.maximize("val_accuracy"))
    mt.spec(data=lambda: None, search=search, gates=[*slices, *behaviours])  # type: ignore[arg-type,return-value]
