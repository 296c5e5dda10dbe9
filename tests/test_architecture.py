"""The shape of the house: doors, first lines, one home per name, what importing loads, where tests lie.

Which package may import which, and who imports a heavy library, is checked by import-linter:
see ``[tool.importlinter]`` in pyproject.toml.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modeltune"
TESTS = ROOT / "tests"

DOORS = sorted(
    ".".join(file.parent.relative_to(ROOT).parts)
    for file in PACKAGE.rglob("__init__.py")
    if "migrations" not in file.parts
)

NOT_LOADED = {
    "modeltune.harness.trackers.tensorboard": "tensorflow tensorboard numpy pytest",
    "modeltune.harness.trackers.mlflow": "mlflow numpy pandas pytest",
    "modeltune.reports.pictures": "matplotlib numpy pytest",
    "modeltune": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2 pytest",
    "modeltune.plugin": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2",
    # Trials run in other processes: pytest's needs none of these.
    "modeltune.plugin.session": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2",
    "modeltune.plugin.items": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn",
    "modeltune.harness.executors.processes": "tensorflow keras keras_tuner numpy pandas sklearn pytest",
    "modeltune.harness.pipeline": "tensorflow keras keras_tuner numpy scipy pandas sklearn jinja2 pytest "
    "tabulate sqlalchemy.dialects.postgresql",
    "modeltune.judgement.gate_verdicts": "tensorflow keras keras_tuner numpy scipy pandas sqlalchemy sklearn",
    # The distributions of scipy.stats take longer to import than all else of pytest's process.
    "modeltune.judgement.significance": "scipy.stats scipy.optimize pandas sqlalchemy sklearn",
    "modeltune.engine.score.estimator_files": "tensorflow keras keras_tuner skops",
    "modeltune.records.samples": "tensorflow keras keras_tuner scipy pandas sqlalchemy sklearn",
}
"""By module what importing it must not load."""


@pytest.mark.parametrize(
    "module", [*NOT_LOADED, *(door for door in DOORS if door not in NOT_LOADED)]
)
def test_importing_us_loads_nothing_heavy(module: str) -> None:
    unwanted = NOT_LOADED.get(module, NOT_LOADED["modeltune"]).split()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\nimport {module}\nprint(*{{*{unwanted}}} & {{*sys.modules}})",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), f"importing {module} loads {done.stdout.strip()}"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_names_what_is_public_and_finds_it(door: str) -> None:
    package = importlib.import_module(door)
    public = package.__all__
    assert len(public) == len(set(public))
    for name in public:
        assert getattr(package, name) is not None
    shown_to_type_checkers = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    if shown_to_type_checkers:
        assert {*public} - {"door"} == shown_to_type_checkers
        assert {*dir(package)} == shown_to_type_checkers
    with pytest.raises(AttributeError, match=f"module '{door}' has no attribute 'nothing'"):
        _ = package.nothing


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    """Yield the path of each of our modules inside the package, its code and its source."""
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        yield file.relative_to(PACKAGE).as_posix(), ast.parse(source), source


def test_line_one_says_what_a_module_is_for() -> None:
    missing = [
        path
        for path, code, source in modules()
        if not ast.get_docstring(code) or not source.partition("\n")[0].strip('r"')
    ]
    assert not missing, f"line 1 is no docstring in: {', '.join(missing)}"


INTERNALS = (
    *("_pytest", "xdist", "execnet", "hypothesis.configuration", "hypothesis.internal"),
    *("keras.src", "keras_tuner.src", "tensorflow.python"),
)
"""Modules that their libraries keep to themselves, as a whole or in what we need of them."""

DOCUMENTED = {
    *("_mapping", "_replace", "_getframe"),  # users are meant to use SQLAlchemy's, Python's
    "_gradient_op_type",  # no name of Python: what an operation in a graph of TensorFlow is marked by
}
"""Names with an underscore that are no library's private ones."""


@functools.cache
def names_defined_in(folder: Path) -> frozenset[str]:
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in folder.glob("*.py")]
    return frozenset(name for tree in trees for node in ast.walk(tree) for name in defined_by(node))


def test_private_names_of_libraries_are_used_by_one_module_each() -> None:
    reached = []
    for path, code, _ in modules():
        file = PACKAGE / path
        if file.stem.endswith("_internals"):
            continue
        reached += [
            f"{path}:{line}: {name}"
            for line, name in private_names(code)
            if name not in names_defined_in(file.parent) | DOCUMENTED
        ]
        reached += [
            f"{path}:{node.lineno}: {name}"
            for node in ast.walk(code)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            for name in [f"{getattr(node, 'module', '')}.{alias.name}".strip(".")]
            if f"{name}.".startswith(tuple(f"{module}." for module in INTERNALS))
        ]
    assert not reached, "\n".join(reached)


def test_files_are_kept_on_disk_by_one_module() -> None:
    homes = [
        path
        for path, code, _ in modules()
        if any(isinstance(node, ast.Attribute) and node.attr == "fsync" for node in ast.walk(code))
    ]
    assert homes == ["ground/durable_files.py"]


def public_names(code: ast.Module) -> Iterator[str]:
    """Yield the names without an underscore that a module defines at its top level."""
    for node in code.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_a_public_name_has_one_home() -> None:
    homes = defaultdict(list)
    for path, code, _ in modules():
        if "migrations" in path or path.endswith("__init__.py"):
            continue
        for name in public_names(code):
            if not name.startswith(("_", "pytest_")):
                homes[name].append(path)
    several = {name: paths for name, paths in homes.items() if len(paths) > 1}
    assert not several, "\n".join(f"{name}: {', '.join(paths)}" for name, paths in several.items())


# The tests themselves.

ACROSS = {"tests/end_to_end", "tests/support"}
"""Where tests lie that concern no single package, and what tests share."""


def python_files() -> list[Path]:
    return sorted(TESTS.rglob("*.py"))


def test_a_test_file_is_named_after_what_it_tests() -> None:
    astray = [
        file.relative_to(ROOT).as_posix()
        for file in TESTS.rglob("test_*.py")
        if file.relative_to(ROOT).parent.as_posix() not in {"tests", *ACROSS}
        and not modules_under_test(file)
    ]
    assert not astray, f"neither a module nor a name of a door there: {', '.join(astray)}"


def test_tests_import_no_tests() -> None:
    assert not [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in python_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if name.rpartition(".")[2].startswith("test_")
    ]


def modules_under_test(file: Path) -> list[Path]:
    """Return the modules that a test file is the test of: it lies where they do, in the same folder.

    It is called ``test_<module>.py`` or ``test_<module>_<aspect>.py``; what a door itself defines
    is tested under its name: ``main`` of ``cli`` by ``tests/cli/test_main.py``.
    """
    folder = PACKAGE.joinpath(*file.relative_to(TESTS).parent.parts)
    name = f"{file.stem.removeprefix('test_')}_"
    modules = [module for module in folder.glob("*.py") if name.startswith(f"{module.stem}_")]
    door = folder / "__init__.py"
    defined = ast.parse(door.read_text(encoding="utf-8")).body if door.is_file() else []
    return modules + [
        door
        for node in defined
        if isinstance(node, ast.FunctionDef) and name.startswith(f"{node.name}_")
    ]


PRIVATE = re.compile(r"_[A-Za-z]\w*")


def private_names(code: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of all that is private to another module or object.

    Texts are looked into: a text may name a module's attribute, or be a test's conftest.
    """
    for node in ast.walk(code):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            names = [] if owner in OWN else [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            # setattr(module, "_name", ...), monkeypatch.setattr("module._name", ...)
            texts = (word.value for word in node.args[:2] if isinstance(word, ast.Constant))
            names = [text.rpartition(".")[2] for text in texts if isinstance(text, str)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"modeltune(\.\w+)+", node.value):
                names = [node.value.rpartition(".")[2]]
            elif "import " in node.value:
                reached = re.findall(r"\b(\w+)\.(_\w+)", node.value)
                names = [name for owner, name in reached if owner not in OWN]
                names += re.findall(r"\bimport .*\b(_\w+)", node.value)
        for name in names:
            if PRIVATE.fullmatch(name):
                yield getattr(node, "lineno", 0), name


OWN = ("self", "cls", "os")
"""Whose private names are one's own; ``os._exit`` is public."""

OF_OTHERS = {
    "_config",  # of a process, in multiprocessing
    # The schedule of a Hyperband is told by keras-tuner nowhere else.
    *("_get_size", "_get_epochs", "_get_num_rounds", "_get_num_brackets"),
}
"""Private names of other libraries that ours are compared with."""


def test_private_names_are_only_used_by_the_tests_of_their_module() -> None:
    reached = []
    for file in python_files():
        source = file.read_text(encoding="utf-8")
        code = ast.parse(source)
        own = {name for node in ast.walk(code) for name in defined_by(node)}
        known = "".join(module.read_text(encoding="utf-8") for module in modules_under_test(file))
        reached += [
            f"{file.relative_to(ROOT)}:{line}: {name}"
            for line, name in private_names(code)
            if name not in own | OF_OTHERS and not re.search(rf"\b{name}\b", known)
        ]
    assert not reached, "\n".join(reached)


def defined_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement gives to something of its own module."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    ):
        yield node.attr
