"""A search's identity changes with what the search is made of, and with nothing else."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.ground.declarations import typed
from modeltune.ground.tracebacks import PACKAGE
from modeltune.specs.identity.contents import HELD, UNCOMPARABLE
from modeltune.specs.identity.parts import (
    changed_parts,
    edited_parts,
    fingerprints,
    identity_assumptions,
    recorded_identity,
    run_identity,
    search_identity,
)
from modeltune.specs.spec_type import Spec
from modeltune.specs.validations import Holdout

SPEC = '''
"""Digits."""
import keras
import modeltune as mt

from . import shapes
from .datasets import digits
from .layers import block as dense_block

WIDTH = 3
UNRELATED = 1
RATES = [0.1]
GATES = [mt.metric("a") >= 0.5]


def stop(patience=2):
    return keras.callbacks.EarlyStopping(patience=patience)


def scaled(units):
    return units * factor()


def factor():
    return WIDTH


on_digits = mt.spec(
    data=digits,
    search=mt.RandomSearch(mt.maximize("a")),
    fit=mt.Fit(callbacks=[stop, lambda: rate(RATES[0])]),
    validation=mt.Holdout(epochs=3),
    gates=[mt.metric("accuracy") >= 0.9, *GATES],
)


@on_digits
def mlp(hp):
    """A floor."""
    cnn = dense_block(scaled(hp))  # as another spec is called
    return keras.Sequential([cnn])


def rate(start):
    return keras.callbacks.LearningRateScheduler(lambda epoch: start)


@on_digits
def cnn(hp):
    return dense_block(hp, shapes.square)
'''
DATASETS = """
import numpy as np
import modeltune as mt
from .reading import read

def digits():
    return mt.Data(train=read("digits"))

def wine():
    return mt.Data(train=read("wine"))
"""
READING = "def read(name):\n    return name\n"
LAYERS = """
import keras
from mine_elsewhere import deep

class Block:
    size = deep()

def block(*inputs):
    return Block()

def unused():
    return 1
"""
SHAPES = "square = 1\n"
ELSEWHERE = "def deep():\n    return 1\n"


@dataclass
class Project:
    """A folder of files that is imported anew for each identity."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, (old, text)
        (self.folder / name).write_text(text.replace(old, new))

    def spec(self, name: str = "mlp", module: str = "mine_specs.spec_mine") -> Spec:
        self.forget()
        importlib.invalidate_caches()
        from modeltune.plugin.lazy_imports import lazily

        with lazily():
            spec: Spec = getattr(importlib.import_module(module), name)
        return spec

    def identity(self, name: str = "mlp", module: str = "mine_specs.spec_mine") -> dict[str, str]:
        return search_identity(self.spec(name, module))

    def forget(self) -> None:
        for name, module in list(sys.modules.items()):
            if str(self.folder) in str(vars(module).get("__file__")):
                del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    made = Project(tmp_path)
    for name, text in {
        "pyproject.toml": "",
        "mine_specs/__init__.py": "",
        "mine_specs/spec_mine.py": SPEC,
        "mine_specs/datasets.py": DATASETS,
        "mine_specs/reading.py": READING,
        "mine_specs/layers.py": LAYERS,
        "mine_specs/shapes.py": SHAPES,
        "src/mine_elsewhere.py": ELSEWHERE,
    }.items():
        made.write(name, text)
    yield made
    made.forget()


SPEC_FILE = "mine_specs/spec_mine.py"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accuracy\") >= 0.9,", "accuracy\") >= 0.8,"),
        ('"a") >= 0.5]', '"a") >= 0.6]'),
        (", *GATES]", "]"),
        ("epochs=3", "epochs=4"),
        ('"""A floor."""', '"""Another floor."""'),
        ('"""Digits."""', ""),
        ("# as another spec is called", "# said otherwise"),
        ("return units * factor()", "return (\n        units\n        * factor()  # wide\n    )"),
        ("def stop(", "\n\n\n\ndef stop("),
        ("return dense_block(hp, shapes.square)", "return shapes.square"),
        ("UNRELATED = 1", "UNRELATED = 2"),
        ("UNRELATED = 1", 'if __name__ == "__main__":\n    print(mlp)'),
        ("@on_digits\ndef cnn", "@on_digits\ndef third(hp): ...\n\n@on_digits\ndef cnn"),
    ],
)  # fmt: skip
def test_what_a_search_does_not_depend_on_leaves_it_the_same(
    project: Project, old: str, new: str
) -> None:
    before = project.identity()
    project.edit(SPEC_FILE, old, new)
    assert changed_parts(before, project.identity()) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "parts"),
    [
        ("spec_mine.py", "return keras.Sequential([cnn])", "return cnn", "the build function"),
        ("spec_mine.py", "units * factor()", "units + factor()", "code in spec_mine.py"),
        ("spec_mine.py", "WIDTH = 3", "WIDTH = 4", "code in spec_mine.py"),
        ("spec_mine.py", "RATES = [0.1]", "RATES = [0.2]", "code in spec_mine.py"),
        ("spec_mine.py", "lambda epoch: start)", "lambda epoch: 0)", "code in spec_mine.py"),
        ("spec_mine.py", "rate(RATES[0])", "rate(RATES[-1])", "the callbacks"),
        ("spec_mine.py", "patience=2", "patience=3", "the callbacks"),
        ("spec_mine.py", '"a"))', '"a"), seed=1)', "search"),
        ("spec_mine.py", "mt.Fit(", "mt.Fit(epochs=2, ", "fit"),
        ("spec_mine.py", "block as dense", "unused as dense", "code in spec_mine.py"),
        ("spec_mine.py", "RATES = [0.1]", "RATES = [0.1]\nRATES.append(2)", "code in spec_mine.py"),
        ("datasets.py", 'read("digits")', 'read("wines")', "the data function"),
        ("reading.py", "return name", "return 1", "imported code (reading.py)"),
        ("layers.py", "return Block()", "return 2", "imported code (layers.py)"),
        ("layers.py", "size = deep()", "size = 2", "imported code (layers.py)"),
        ("shapes.py", "square = 1", "print()", "imported code (shapes.py)"),
        ("__init__.py", "", "import json\njson.dumps(1)", "imported code (__init__.py)"),
        ("../src/mine_elsewhere.py", "1", "2", "imported code (../src/mine_elsewhere.py)"),
    ],
)
def test_a_search_is_another_one_when_what_it_is_made_of_changes(
    project: Project, file: str, old: str, new: str, parts: str
) -> None:
    before = project.identity()
    if old:
        project.edit(f"mine_specs/{file}", old, new)
    else:
        project.write(f"mine_specs/{file}", new)
    assert parts in changed_parts(before, project.identity())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("datasets.py", 'read("wine")', 'read("wines")'),
        ("layers.py", "return 1", "return 2"),
        ("shapes.py", "square = 1", "square = 2"),
        ("layers.py", "def block(", '"""Blocks."""\n\n\ndef  block( # comment\n'),
    ],
)
def test_of_an_imported_file_only_what_is_used_counts(
    project: Project, file: str, old: str, new: str
) -> None:
    before = project.identity()
    project.edit(f"mine_specs/{file}", old, new)
    assert changed_parts(before, project.identity()) == []


def test_a_star_leads_on(project: Project) -> None:
    project.edit("mine_specs/layers.py", "from mine_elsewhere import deep", "from .stars import *")
    project.write("mine_specs/stars.py", "from .more import *\nfrom json import *")
    project.write("mine_specs/more.py", ELSEWHERE)
    before = project.identity()
    project.edit("mine_specs/more.py", "return 1", "return 2")
    assert changed_parts(before, project.identity()) == ["imported code (more.py)"]


@pytest.mark.parametrize("line", ["import json, outer.inner.nets", "from outer.inner import nets"])
@pytest.mark.parametrize("file", ["__init__.py", "inner/__init__.py", "inner/nets.py"])
def test_what_any_package_around_an_import_does_counts(
    project: Project, line: str, file: str
) -> None:
    for name in ("__init__.py", "inner/__init__.py", "inner/nets.py"):
        project.write(f"src/outer/{name}", "print(1)")
    project.edit("mine_specs/reading.py", "def read", f"{line}\n\n\ndef read")
    before = project.identity()
    project.edit(f"src/outer/{file}", "print(1)", "print(2)")
    parts = [f"imported code (../src/outer/{file})"]
    assert changed_parts(before, project.identity()) == parts


def test_files_that_import_each_other_and_long_chains_end(project: Project) -> None:
    chain = "".join(f"def f{n}(): return f{n + 1}()\n" for n in range(2000))
    project.write("mine_specs/more.py", f"{chain}def f2000(): return 1\n")
    project.edit("mine_specs/layers.py", "import keras", "from . import spec_mine")
    project.edit("mine_specs/layers.py", "    return Block()", "    from .more import f0\n    f0()")
    project.edit("mine_specs/layers.py", "def unused", "def again():\n    block\n\n\ndef unused")
    before = project.identity()
    project.edit("mine_specs/more.py", "return 1", "return 2")
    assert changed_parts(before, project.identity()) == ["imported code (more.py)"]


def test_another_spec_file_beside_it_is_another_matter(project: Project) -> None:
    before = project.identity()
    project.write("mine_specs/spec_other.py", SPEC)
    project.write("mine_specs/notes.txt", "1")
    assert changed_parts(before, project.identity()) == []


def test_a_module_used_by_attribute_counts_whole(project: Project) -> None:
    before = project.identity("cnn")
    project.edit("mine_specs/shapes.py", "square = 1", "square = 2")
    after = project.identity("cnn")
    assert (
        changed_parts(before, after) == edited_parts(before, after) == ["imported code (shapes.py)"]
    )


BARE = "import modeltune as mt\nSEARCH = mt.RandomSearch(mt.maximize('a'))\n"
WRAPPED = """
    import functools
    def wider(build):
        @functools.wraps(build)
        def wrapped(hp): return build(hp), 1
        return wrapped
    @mt.spec(data=lambda: None, search=SEARCH)
    @wider
    def mlp(hp): return 2
"""
EDITS = {
    "a value the build function is made with": (
        """
        def make(units):
            @mt.spec(data=lambda: None, search=SEARCH)
            def mlp(hp): return units
            return mlp
        mlp = make(8)
        """, "make(8)", "make(9)", [HELD + "the build function"],
    ),
    "a value deep inside what it is made with": (
        """
        class Width:
            def __init__(self, n): self.sizes = {"n": [n]}
        def make(units):
            @mt.spec(data=lambda: None, search=SEARCH)
            def mlp(hp): return units
            return mlp
        mlp = make(Width(8))
        """, "Width(8)", "Width(9)", [HELD + "the build function"],
    ),
    "the class of what it is made with": (
        """
        class Width:
            def size(self): return 1
        def make(units):
            @mt.spec(data=lambda: None, search=SEARCH)
            def mlp(hp): return units.size()
            return mlp
        mlp = make(Width())
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "a default": (
        """
        def made(n): return lambda hp, width=n: width
        mlp = mt.spec(data=lambda: None, search=SEARCH)(made(8))
        """, "made(8)", "made(9)", [HELD + "the build function"],
    ),
    "what wraps the build function": (
        WRAPPED, "build(hp), 1", "build(hp), 3", ["code in spec_bare.py", "the build function"],
    ),
    "what is wrapped": (
        WRAPPED, "return 2", "return 3", ["the build function"],
    ),
    "a cached data function": (
        """
        import functools
        @functools.cache
        def data(): return 1
        @mt.spec(data=data, search=SEARCH)
        def mlp(hp): ...
        """, "return 1", "return 2", ["the data function"],
    ),
    "a hypermodel's method": (
        """
        class Net:
            def build(self, hp): return self.inner()
            def inner(self): return 1
        mlp = mt.spec(data=lambda: None, search=SEARCH)(Net())
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "a decorated hypermodel's method": (
        """
        @mt.spec(data=lambda: None, search=SEARCH)
        class mlp:
            def build(self, hp): return 1
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "a hypermodel's argument": (
        """
        class Net:
            def __init__(self, n): self.n, self.again = n, self.build
            def build(self, hp): return self.n
        mlp = mt.spec(data=lambda: None, search=SEARCH)(Net(1))
        """, "Net(1)", "Net(2)", [HELD + "the build function"],
    ),
    "a partial callback": (
        """
        import functools
        def stop(n): ...
        fit = mt.Fit(callbacks=[functools.partial(stop, {3})])
        mlp = mt.spec(data=lambda: None, search=SEARCH, fit=fit)(lambda hp: None)
        """, "{3}", "{4}", ["fit", HELD + "the callbacks"],
    ),
    "a stream made in the file": (
        """
        def stream(): return 1
        mlp = mt.spec(data=mt.Data(train=stream()), search=SEARCH)(lambda hp: None)
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "what a file does when it is imported": (
        """
        import keras_settings as settings
        settings.use("float16")
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): ...
        """, '"float16"', '"float32"', ["code in spec_bare.py"],
    ),
    "what is registered": (
        """
        def register(kind): return kind
        @register
        class Swish: size = 1
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): return "Swish"
        """, "size = 1", "size = 2", ["code in spec_bare.py"],
    ),
    "what a function imports": (
        """
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp):
            from keras_settings import used
            return used()
        """, "return used()", "return used", ["the build function"],
    ),
    "a condition around a constant": (
        """
        import sys
        if sys.maxsize > 1:
            SIZE = 1
        else:
            SIZE = 2
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): return SIZE
        """, "maxsize > 1", "maxsize > 2", ["code in spec_bare.py"],
    ),
    "a global set by a function": (
        """
        SIZE = 1
        def choose():
            global SIZE
            SIZE = 5
        chosen = choose()
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): return SIZE
        """, "SIZE = 5", "SIZE = 6", ["code in spec_bare.py"],
    ),
    "what is fitted on train": (
        """
        def fit(train): return 1
        @mt.spec(data=lambda: mt.Data(1, prepare=fit), search=SEARCH)
        def mlp(hp, prepared): return 2
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "what is fitted on train of data that are declared": (
        """
        def fit(train): return 1
        @mt.spec(data=mt.Data(1, prepare=fit), search=SEARCH)
        def mlp(hp, prepared): return 2
        """, "return 1", "return 2", ["code in spec_bare.py"],
    ),
    "a column of a table": (
        """
        @mt.spec(data=mt.table("a.csv", target="y"), search=SEARCH)
        def mlp(hp, prepared): return 2
        """, 'target="y"', 'target="y", groups="z"', [HELD + "the data function"],
    ),
    "anything, where anything may be run": (
        """
        OTHER = 1
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): return eval("OTHER")
        """, "OTHER = 1", "OTHER = 2", ["code in spec_bare.py"],
    ),
}  # fmt: skip


@pytest.fixture
def bare(project: Project) -> Callable[[str], Project]:
    def write(text: str) -> Project:
        project.write("spec_bare.py", BARE + textwrap.dedent(text))
        project.write("keras_settings.py", "def use(name): ...\ndef used(): return 1\n")
        return project

    return write


@pytest.mark.parametrize("what", EDITS)
def test_a_change_is_seen_in(bare: Callable[[str], Project], what: str) -> None:
    text, old, new, parts = EDITS[what]
    project = bare(text)
    before = project.identity(module="spec_bare")
    assert changed_parts(before, project.identity(module="spec_bare")) == []
    project.edit("spec_bare.py", old, new)
    assert set(changed_parts(before, project.identity(module="spec_bare"))) >= {*parts}


def test_a_file_imported_inside_a_function_counts(bare: Callable[[str], Project]) -> None:
    project = bare(EDITS["what a function imports"][0])
    before = project.identity(module="spec_bare")
    project.edit("keras_settings.py", "return 1", "return 2")
    after = project.identity(module="spec_bare")
    assert changed_parts(before, after) == ["imported code (keras_settings.py)"]
    project.edit("keras_settings.py", "def use(name): ...", "def use(name): return 1")
    assert changed_parts(after, project.identity(module="spec_bare")) == []


@pytest.mark.parametrize(
    "line", ["@rules(gates=[1])", "@rules(gates=[2])\n@pytest.mark.skipif('False')"]
)
def test_gates_and_marks_in_any_decorator_of_a_spec_do_not_count(
    bare: Callable[[str], Project], line: str
) -> None:
    project = bare("""
        import pytest
        def rules(gates): return mt.spec(data=lambda: None, search=SEARCH)
        @rules(gates=[])
        def mlp(hp): return 1
    """)
    before = project.identity(module="spec_bare")
    project.edit("spec_bare.py", "@rules(gates=[])", line)
    assert changed_parts(before, project.identity(module="spec_bare")) == []


def test_a_fixture_the_data_asks_for_counts_wherever_it_is(project: Project) -> None:
    project.edit("mine_specs/datasets.py", "def digits():", "def digits(corpus):")
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(name="corpus")
        def _corpus(folder): return 1

        @pytest.fixture
        def folder(): return 2

        @pytest.fixture
        def unrelated(): return 3
        """,
    )
    before = project.identity()
    project.edit("conftest.py", "return 3", "return 4")
    assert changed_parts(before, project.identity()) == []
    for old in ("return 1", "return 2"):
        project.edit("conftest.py", old, "return 0")
        after = project.identity()
        assert changed_parts(before, after) == ["imported code (../conftest.py)"]
        before = after


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\n@pytest.fixture(autouse=True)\ndef policy(): return 1",
        "def pytest_configure(): return 1",
    ],
)
def test_what_a_conftest_does_to_every_test_counts(project: Project, text: str) -> None:
    project.write("conftest.py", text)
    before = project.identity()
    project.edit("conftest.py", "return 1", "return 2")
    assert changed_parts(before, project.identity()) == ["imported code (../conftest.py)"]


def test_fields_given_later_count(project: Project) -> None:
    spec = project.spec()
    fit = type(spec.fit)
    other = spec.with_fields("mlp[other]", fit=fit(callbacks=[lambda: None]))
    assert set(changed_parts(search_identity(spec), search_identity(other))) >= {
        "fit",
        "the callbacks",
    }
    assert (
        changed_parts(search_identity(spec), search_identity(spec.with_fields("renamed", gates=[])))
        == []
    )


def made(text: str, name: str = "mlp") -> Spec:
    names: dict[str, Spec] = {}
    exec(compile(BARE + textwrap.dedent(text), "<cell 1>", "exec"), names)
    return names[name]


CELL = """
    WIDTH, OTHER = 1, 1
    def inner(): return WIDTH
    @mt.spec(data=lambda: None, search=SEARCH, gates=[])
    def mlp(hp): return inner()
"""


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("return WIDTH", "return WIDTH + 1", ["the build function"]),
        ("WIDTH, OTHER = 1, 1", "WIDTH, OTHER = 2, 1", [f"{HELD}the build function"]),
        ("WIDTH, OTHER = 1, 1", "WIDTH, OTHER = 1, 2", []),
        ("gates=[]", 'gates=[mt.metric("a") > 1]', []),
    ],
)
def test_without_a_file_what_the_code_finds_counts(old: str, new: str, parts: list[str]) -> None:
    before, after = search_identity(made(CELL)), search_identity(made(CELL.replace(old, new)))
    assert changed_parts(before, after) == parts


HOLDING = """
    import threading
    def make(held):
        @mt.spec(data=lambda: None, search=SEARCH)
        def mlp(hp): return held
        return mlp
    mlp = make({})
"""


def test_what_has_no_content_is_never_the_same_elsewhere(project: Project) -> None:
    project.write("spec_bare.py", BARE + textwrap.dedent(HOLDING.format("threading.Lock()")))
    here = project.identity(module="spec_bare")
    assert here[f"{HELD}the build function"].startswith(UNCOMPARABLE)
    assert changed_parts(here, project.identity(module="spec_bare")) == []
    there = elsewhere(project, "spec_bare")
    assert changed_parts(here, there) == [f"{HELD}the build function"]
    assert edited_parts(here, there) == []


@pytest.mark.parametrize(
    "held",
    ["{*'abcdefgh'}", "mt.metric('a')", "[{1: (2.5, None, b'x')}]", "threading", "mt.spec"],
)
def test_what_has_content_is_the_same_in_every_process(project: Project, held: str) -> None:
    project.write("spec_bare.py", BARE + textwrap.dedent(HOLDING.format(held)))
    here = project.identity(module="spec_bare")
    assert not here[f"{HELD}the build function"].startswith(UNCOMPARABLE)
    assert changed_parts(here, elsewhere(project, "spec_bare")) == []


def elsewhere(project: Project, module: str) -> dict[str, str]:
    """Return the identity another process comes to, which must not load anything heavy."""
    program = f"""
import json, sys
from modeltune.plugin.lazy_imports import lazily
with lazily():
    from {module} import mlp
from modeltune.specs.identity.parts import search_identity
found = search_identity(mlp)
heavy = {{*"tensorflow keras keras_tuner numpy pandas sklearn".split()}} & {{*sys.modules}}
assert not heavy, heavy
json.dump(found, sys.stdout)
"""
    paths = [str(project.folder), str(project.folder / "src"), str(PACKAGE.parent)]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts: dict[str, str] = json.loads(done.stdout)
    return parts


def holding(held: object) -> dict[str, str]:
    def mlp(hp: object) -> object:
        return held

    names: dict[str, Any] = {}
    exec(compile(f"{BARE}protocol = mt.spec(data=print, search=SEARCH)", "<cell 1>", "exec"), names)
    return search_identity(names["protocol"](mlp))


@pytest.mark.parametrize(
    "held",
    [
        mt.Data(train=([1], [2])),
        mt.Hyperband(mt.maximize("a"), max_epochs=3),
        mt.Fit(batch_size=8),
        mt.KFold(k=3),
        mt.Checks(overlap="fail"),
        mt.metric("a").per_class() >= mt.baseline - 0.01,
        mt.directional(3, "up", by=1.0),
        [mt.Data, mt.spec, mt.metric, mt.maximize],
    ],
    ids=typed,
)
def test_no_identity_changes_when_modules_of_ours_move(
    held: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = holding(held)
    assert not before[f"{HELD}the build function"].startswith(UNCOMPARABLE)
    moved = types.ModuleType("modeltune.moved")
    moved.__file__ = str(PACKAGE / "moved.py")
    monkeypatch.setitem(sys.modules, moved.__name__, moved)
    ours = [m for name, m in sys.modules.items() if name.startswith("modeltune.specs.")]
    for definition in [value for module in ours for value in vars(module).values()]:
        is_ours = str(getattr(definition, "__module__", "")).startswith("modeltune.specs.")
        if is_ours and (inspect.isclass(definition) or inspect.isfunction(definition)):
            monkeypatch.setattr(definition, "__module__", moved.__name__)
    assert mt.Data.__module__ == mt.spec.__module__ == moved.__name__
    assert changed_parts(before, holding(held)) == []


def test_no_fingerprint_changes_when_the_text_of_our_classes_does(project: Project) -> None:
    spec = project.spec().with_fields(data=mt.Data(train=([1], [2])))
    assert fingerprints(spec)["data_source"] == hashlib.sha256(b"mt.Data").hexdigest()


def test_a_keras_object_is_what_its_config_and_weights_are() -> None:
    import keras

    adam = keras.optimizers.Adam
    assert holding(adam(0.1, name="a")) == holding(adam(0.1, name="a"))
    assert holding(adam(0.1, name="a")) != holding(adam(0.2, name="a"))
    layer = keras.layers.Dense(1, name="a")
    layer.build((None, 1))
    before = holding(layer)
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    assert before != holding(layer)

    class Own(keras.layers.Layer):
        pass

    assert holding(Own())[f"{HELD}the build function"].startswith(UNCOMPARABLE)


def test_every_process_comes_to_the_same_and_loads_nothing_heavy(project: Project) -> None:
    assert changed_parts(project.identity(), elsewhere(project, "mine_specs.spec_mine")) == []


def test_versions_are_told_of_what_keras_is_made_of_and_what_is_imported(project: Project) -> None:
    project.edit("mine_specs/reading.py", "def read", "import sklearn\n\n\ndef read")
    project.edit("mine_specs/reading.py", "return name", "return sklearn.show_versions()")
    names = {name for name in project.identity() if name.startswith("the version of ")}
    assert {name.removeprefix("the version of ") for name in names} == {
        "python", "keras", "tensorflow", "keras-tuner", "numpy", "modeltune", "scikit-learn",
    }  # fmt: skip


def test_a_file_edited_after_its_import_is_not_what_runs(project: Project) -> None:
    spec = project.spec()
    before = search_identity(spec)
    project.edit(SPEC_FILE, "return keras.Sequential([cnn])", "return cnn")
    assert search_identity(spec) == before
    assert project.identity() != before


def test_validation_belongs_to_a_run_and_not_to_its_search(project: Project) -> None:
    spec = project.spec()
    other = spec.with_fields(validation=Holdout(epochs=9))
    assert changed_parts(search_identity(spec), search_identity(other)) == []
    assert changed_parts(run_identity(spec), run_identity(other)) == ["validation"]


@pytest.mark.parametrize("field", ["from_layer", "epochs", "learning_rate"])
def test_the_code_that_fine_tuning_follows_from_belongs_to_a_run(field: str) -> None:
    def build(hp: Any) -> None: ...

    def one(hp: Any) -> Any:
        return hp.get("one")

    def other(hp: Any) -> Any:
        return hp.get("other")

    other.__name__ = other.__qualname__ = one.__name__

    def identity(value: Any) -> dict[str, str]:
        fine_tune = mt.FineTune(**{field: value})
        validation = Holdout(fine_tune=fine_tune)
        return run_identity(mt.spec(data=mt.Data(None), validation=validation)(build))

    assert identity(one) == identity(one)
    assert changed_parts(identity(one), identity(other)) == ["code of fine_tune"]


def test_a_run_s_fingerprints_hold_its_identity(project: Project) -> None:
    spec = project.spec()
    prints = fingerprints(spec)
    assert recorded_identity(prints | {"data/train": "1"}) == run_identity(spec)
    assert {"spec", "source", "data_source"} < {*prints}
    assert recorded_identity({"spec": "1"}) == {}


LOADED = """
import importlib
{global_code}
@mt.spec(data=lambda: None, search=SEARCH)
def mlp(hp):
    return {call}
"""

NETS = ("nets/small.py", "nets/large.py", "nets/other.py", "spec_sibling.py", "sibling.py")

REACHES: dict[str, tuple[str, str, set[str]]] = {
    "a constant": ("", "importlib.import_module('nets.small')", {"nets/small.py"}),
    "a name": ("NET = 'small'", "importlib.import_module(f'nets.{NET}')", {"nets/small.py"}),
    "a choice": (
        "",
        "importlib.import_module('nets.' + hp.Choice('net', ['small', 'large']))",
        {"nets/small.py", "nets/large.py"},
    ),
    "a loop": (
        "",
        "[importlib.import_module('nets.{}'.format(n)) if 0 else __import__(f'nets.{n}') "
        "for n in ('small', 'large')]",
        {"nets/small.py", "nets/large.py", "nets/other.py"},
    ),
    "a list": (
        "NETS = ['small', 'other']",
        "[importlib.import_module(f'nets.{n}') for n in NETS]",
        {"nets/small.py", "nets/other.py"},
    ),
    "an alias": (
        "from importlib import import_module as load",
        "load('nets.large')",
        {"nets/large.py"},
    ),
    "a path": (
        "import runpy, pathlib",
        "runpy.run_path(str(pathlib.Path(__file__).parent / 'nets' / 'small.py'))",
        {"nets/small.py"},
    ),
    "an unknown path": (
        "import runpy, pathlib",
        "runpy.run_path(pathlib.Path(hp) / f'nets/{hp}.py')",
        {"nets/small.py", "nets/large.py", "nets/other.py"},
    ),
    "a text in capitals": ("", "importlib.import_module('NETS.SMALL '.lower().strip())", {"nets/small.py"}),
    "a stripped text": (
        "",
        "importlib.import_module('_nets.small_'.strip('_'))",
        {"nets/small.py", "nets/large.py", "nets/other.py", "sibling.py"},
    ),
    "a function by its name": ("", "getattr(importlib, 'import_module')('nets.small')", {"nets/small.py"}),
    "a function of a namespace": (
        "import builtins",
        "[vars(importlib)['import_module']('nets.small'), builtins.__dict__['exec']('import sibling')]",
        {"nets/small.py", "sibling.py"},
    ),
    "an unknown function": (
        "import importlib as loaders",
        "getattr(loaders, hp)('nets.small')",
        {"nets/small.py", "nets/large.py", "nets/other.py", "sibling.py"},
    ),
    "a function that imports nothing": ("", "getattr(importlib, 'invalidate_caches')()", set()),
    "an attribute of another module": ("import math", "getattr(math, hp)('nets.small')", set()),
    "an installed package": ("", "importlib.import_module(f'keras.applications.{hp}')", set()),
    "metadata": ("from importlib import metadata", "metadata.version('keras')", set()),
    "a method": ("class Model: ...", "Model.eval(hp)", set()),
    "an unknown net": (
        "",
        "importlib.import_module(f'nets.{hp}')",
        {"nets/small.py", "nets/large.py", "nets/other.py"},
    ),
    "anything": (
        "",
        "importlib.import_module(f'{hp}')",
        {"nets/small.py", "nets/large.py", "nets/other.py", "sibling.py"},
    ),
    "code": ("", "exec('import nets.small')", {"nets/small.py"}),
}  # fmt: skip


@pytest.fixture
def nets(project: Project) -> Callable[[str, str], Project]:
    def write(global_code: str, call: str) -> Project:
        text = LOADED.format(global_code=global_code, call=call)
        project.write("specs/spec_bare.py", BARE + text)
        project.write("specs/keras_settings.py", "def use(name): ...\ndef used(): return 1\n")
        for name in NETS:
            project.write(f"specs/{name}", "SIZE = 1\n")
        return project

    return write


@pytest.mark.parametrize("how", REACHES)
def test_of_what_a_text_imports_only_what_is_reached_counts(
    nets: Callable[[str, str], Project], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    global_code, call, files = REACHES[how]
    project = nets(global_code, call)
    monkeypatch.syspath_prepend(project.folder / "specs")
    parts = project.identity(module="spec_bare")
    reached = {name for name in NETS if f"imported code ({name})" in parts}
    assert reached == files
    project.edit("specs/spec_sibling.py", "SIZE = 1", "SIZE = 2")
    assert changed_parts(parts, project.identity(module="spec_bare")) == []


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("importlib.import_module('nets.small')", None),
        (
            "importlib.import_module(f'nets.{hp}')",
            "importlib.import_module(f'nets.{hp}') names what it imports only when it runs; assumed: "
            "each of large.py, other.py, small.py",
        ),
        (
            "getattr(importlib, hp)('nets.small')",
            "getattr(importlib, hp)('nets.small') names what it imports only when it runs; assumed: "
            "each of keras_settings.py, large.py, other.py and 2 more",
        ),
        (
            "exec(hp)",
            "exec(hp) may run anything; assumed: all of spec_bare.py, and nothing else",
        ),
    ],
)
def test_what_is_assumed_of_code_that_does_not_tell_is_said(
    nets: Callable[[str, str], Project],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    sentence: str | None,
) -> None:
    project = nets("", call)
    monkeypatch.syspath_prepend(project.folder / "specs")
    said = identity_assumptions(project.spec(module="spec_bare"))
    assert [text.partition(": ")[2] for text in said] == ([sentence] if sentence else [])
