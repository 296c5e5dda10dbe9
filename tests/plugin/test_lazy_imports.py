"""Heavy imports in spec files cost nothing until used, and nobody can tell the difference then."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from modeltune.plugin.lazy_imports import StandIn, lazily

FAKES = {
    "heavy/__init__.py": """
        '''A heavy package.'''
        import light_numbers
        from heavy import layers, promoted
        from heavy.promoted import promoted
        __version__ = "3.0"
        class Model: ...
    """,
    "heavy/layers.py": "import heavy\nclass Dense: ...",
    "heavy/extras.py": "import light_numbers\nEXTRA = 1",
    "heavy/promoted.py": "def promoted(): return 'called'",
    "light_numbers.py": "real = 'a name numpy has'\npi = 3",
    "broken.py": "raise ImportError('no such driver')",
}
NAMES = ("heavy", "light_numbers", "broken", "absent")

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write importable modules; afterwards none of them is imported any more."""

    def write(name: str, source: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return file

    for name, source in FAKES.items():
        write(name, source)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def spec(write: Write) -> Callable[[str], ModuleType]:
    """Import a source as a spec file inside the context."""

    def spec(source: str) -> ModuleType:
        write("spec_a.py", source)
        with lazily(NAMES):
            return importlib.import_module("spec_a")

    return spec


Spec = Callable[[str], ModuleType]


def loaded() -> set[str]:
    return {name for name in sys.modules if name.partition(".")[0] in NAMES}


@pytest.mark.parametrize(
    "statement",
    [
        "import heavy",
        "import heavy as h",
        "import heavy, light_numbers as ln",
        "from heavy import layers",
        "from heavy import layers as l, extras",
        "def f():\n    import heavy\n    return heavy\nh = f()",
        "try:\n    import heavy\nexcept ImportError:\n    heavy = None",
    ],
)
def test_an_import_statement_loads_nothing(spec: Spec, statement: str) -> None:
    module = spec(statement)
    assert not loaded()
    assert any(isinstance(value, StandIn) for value in vars(module).values())


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import heavy.layers", "heavy.layers"),
        ("import heavy.extras as e", "heavy.extras"),
        ("from heavy import Model", "heavy"),
        ("from heavy import layers, Model", "heavy.layers"),
        ("from heavy.layers import Dense", "heavy.layers"),
        ("from heavy import *", "heavy"),
        ("import heavy\nclass Mine(heavy.Model): ...", "heavy"),
        ("import heavy\nimport heavy.extras", "heavy.extras"),
        ("import heavy as h\nfrom heavy import Model", "heavy"),
    ],
)
def test_statements_that_need_the_real_module_get_it(spec: Spec, statement: str, name: str) -> None:
    module = spec(statement)
    assert name in sys.modules
    assert "light_numbers" in sys.modules
    assert not [value for value in vars(module).values() if isinstance(value, StandIn)]


def test_first_use_loads_and_rebinds_every_module_that_holds_the_stand_in(
    write: Write, spec: Spec
) -> None:
    write("helper.py", "import heavy as h\nfrom heavy import layers")
    module = spec("import heavy, helper\nfrom helper import h as mine\nfrom heavy import layers")
    assert not loaded()
    assert module.heavy.__version__ == "3.0"
    real = sys.modules["heavy"]
    assert module.heavy is real
    assert module.mine is real
    assert module.helper.h is real
    assert module.layers is module.helper.layers is sys.modules["heavy.layers"] is real.layers


def test_a_submodule_is_the_real_one_even_if_its_package_does_not_import_it(spec: Spec) -> None:
    module = spec("from heavy import extras")
    assert module.extras.EXTRA == 1
    assert module.extras is sys.modules["heavy.extras"]


def test_a_name_the_package_put_over_its_submodule_wins_as_in_any_import(spec: Spec) -> None:
    module = spec("import heavy\nfrom heavy import promoted")
    assert module.heavy.Model
    assert module.promoted() == "called"


def test_a_held_stand_in_forwards(spec: Spec) -> None:
    module = spec("import heavy\nheld = [heavy]")
    (held,) = module.held
    held.answer = 42
    real = sys.modules["heavy"]
    assert real.answer == held.answer == 42
    assert "Dense" in dir(held.layers)
    assert dir(held) == dir(real)
    assert (held.__doc__, held.__file__, held.__spec__.name) == (
        "A heavy package.",
        real.__file__,
        "heavy",
    )
    del held.answer
    assert not hasattr(real, "answer")


def test_a_stand_in_keeps_no_name_of_its_own(spec: Spec) -> None:
    module = spec("import light_numbers\nheld = [light_numbers]")
    assert module.held[0].pi == 3
    assert module.held[0].real == "a name numpy has"


def test_probing_for_marks_and_wrappers_loads_nothing(spec: Spec) -> None:
    stand_in = spec("import heavy").heavy
    probes = ["__test__", "__wrapped__", "__bases__", "__code__", "__func__", "__signature__"]
    probes += [
        "pytestmark",
        "_pytestfixturefunction",
        "_mock_name",
        "patchings",
        "__dataclass_fields__",
    ]
    assert [name for name in probes if hasattr(stand_in, name)] == []
    assert inspect.unwrap(stand_in) is stand_in
    assert inspect.ismodule(stand_in)
    assert not inspect.isclass(stand_in)
    assert not callable(stand_in)
    assert repr(stand_in) == "<lazy module 'heavy'>"
    assert not loaded()


def test_a_package_that_is_not_installed_fails_at_the_statement(spec: Spec) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'absent'") as caught:
        spec("import absent")
    assert caught.value.name == "absent"


def test_a_folder_with_the_name_of_a_package_is_not_taken_for_it(write: Write, spec: Spec) -> None:
    write("absent/notes.txt", "")
    assert not isinstance(spec("import absent").absent, StandIn)


def test_a_package_that_cannot_load_says_so_at_each_use(spec: Spec) -> None:
    module = spec("import broken")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such driver"):
            module.broken.anything  # noqa: B018  the access is the point


def test_what_is_imported_already_is_used_as_it_is(write: Write, spec: Spec) -> None:
    real = importlib.import_module("heavy")
    assert spec("import heavy").heavy is real


def test_nothing_is_lazy_for_a_module_that_is_loading(write: Write) -> None:
    write("spec_a.py", "import heavy\nheavy.Model")
    write("spec_b.py", "from heavy import Model")
    for name in ("spec_a", "spec_b"):
        with lazily(NAMES):
            importlib.import_module(name)
        assert sys.modules["heavy"].light_numbers is sys.modules["light_numbers"]
        for heavy in loaded():
            del sys.modules[heavy]


@pytest.mark.parametrize("arguments", ["'heavy'", "'heavy', globals(), globals(), [], 0"])
def test_a_call_that_looks_into_sys_modules_afterwards_finds_the_module(
    spec: Spec, arguments: str
) -> None:
    module = spec(f"import sys\n__import__({arguments})\nheavy = sys.modules['heavy']")
    assert module.heavy is sys.modules["heavy"]


def test_an_installed_package_gets_the_real_thing(write: Write, tmp_path: Path) -> None:
    write("site-packages/installed.py", "import heavy")
    sys.path.insert(0, str(tmp_path / "site-packages"))
    with lazily(NAMES):
        installed = importlib.import_module("installed")
    assert installed.heavy is sys.modules["heavy"]


def test_the_import_system_is_restored_whatever_happens(write: Write) -> None:
    ordinary = builtins.__import__, list(sys.meta_path)
    write("spec_a.py", "import heavy\n1 / 0")
    with pytest.raises(ZeroDivisionError), lazily(NAMES):
        importlib.import_module("spec_a")
    assert (builtins.__import__, sys.meta_path) == ordinary


def test_contexts_nest(write: Write) -> None:
    write("spec_a.py", "import heavy, light_numbers")
    write("spec_b.py", "import light_numbers")
    with lazily(["heavy"]):
        with lazily(["light_numbers"]):
            inner = importlib.import_module("spec_a")
        outer = importlib.import_module("spec_b")
    assert isinstance(inner.heavy, StandIn)
    assert isinstance(inner.light_numbers, StandIn)
    assert not isinstance(outer.light_numbers, StandIn)
    assert inner.heavy.light_numbers is sys.modules["light_numbers"]


def test_a_stand_in_is_pickled_by_name(spec: Spec) -> None:
    module = spec("import heavy\nheld = [heavy]")
    assert pickle.loads(pickle.dumps(module.held[0])) is sys.modules["heavy"]


def run_python(source: str, cwd: Path) -> str:
    """Run a source in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pytest_collects_without_loading_a_heavy_module(write: Write, tmp_path: Path) -> None:
    write("test_lazy.py", "import heavy, keras\nfrom keras import layers\ndef test_it(): ...")
    write(
        "conftest.py",
        f"""
        import sys
        import pytest
        from modeltune.plugin.lazy_imports import HEAVY, lazily

        @pytest.hookimpl(wrapper=True)
        def pytest_make_collect_report(collector):
            with lazily([*HEAVY, *{NAMES!r}]):
                return (yield)

        def pytest_collection_finish(session):
            print("collected", len(session.items))
            print("heavy", sorted({{*HEAVY, *{NAMES!r}}} & set(sys.modules)))
        """,
    )
    printed = run_python(
        "import pytest; pytest.main(['-s', '-p', 'no:cacheprovider', 'test_lazy.py'])", tmp_path
    )
    assert "collected 1\nheavy []" in printed


def test_real_keras_is_one_module_after_a_lazy_import(write: Write, tmp_path: Path) -> None:
    write(
        "spec_real.py",
        "import keras\nimport numpy as np\nimport keras_tuner as kt\nfrom keras import layers\n",
    )
    printed = run_python(
        """
        import sys, time
        from modeltune.plugin.lazy_imports import HEAVY, lazily

        sys.path.insert(0, ".")
        with lazily():
            start = time.perf_counter()
            import spec_real
            seconds = time.perf_counter() - start
        assert not set(HEAVY) & set(sys.modules)
        held = spec_real.keras
        model = held.Sequential([held.Input((3,)), spec_real.layers.Dense(2)])
        assert spec_real.keras is sys.modules["keras"]
        assert spec_real.layers is sys.modules["keras.layers"] is spec_real.keras.layers
        assert spec_real.np is sys.modules["numpy"]
        assert held.layers is spec_real.layers
        assert "keras_tuner" not in sys.modules
        assert issubclass(spec_real.kt.HyperModel, object)
        assert spec_real.kt is sys.modules["keras_tuner"]
        import tensorflow
        assert isinstance(model, tensorflow.keras.Model)
        print("one keras", seconds < 0.1)
        """,
        tmp_path,
    )
    assert printed.strip() == "one keras True"


def test_a_stand_in_costs_less_than_a_millisecond(write: Write) -> None:
    write("spec_warm.py", "import light_numbers")
    with lazily(NAMES):
        importlib.import_module("spec_warm")
        start = time.perf_counter()
        exec("import heavy", {})
        assert time.perf_counter() - start < 0.001
