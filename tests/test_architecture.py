"""The shape of the house: who may import whom, and what stays outside until it is needed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "modeltune"


@dataclass(frozen=True)
class Floor:
    """Modules in rows from low to high, and the floors below; a row imports lower rows only.

    A package (``histories``) is one place: its own modules may import each other.
    """

    rows: tuple[str, ...]
    above: tuple[str, ...] = ()


FLOORS = {
    "values": Floor(
        (
            "errors counting declarations objectives datasets lazy_imports deadlines quiet following",
            "gates searches validations config",
            "behaviours checks",
            "specs runs",
            "events summaries trials samples",
            "references",
        )
    ),
    "code": Floor(("statements", "sources"), above=("values",)),
    "engine": Floor(
        (
            "loading oracles epochs environments",
            "frozen sharing data_checks",
            "reuse",
            "training",
            "scoring",
            "model_checks transforming layers examples",
            "predicting",
            "drawing",
            "probing",
            "dry_run refitting",
            "examining rebuilding",
            "engine",
            "executors",
        ),
        above=("values", "code"),
    ),
    "steps": Floor(("searching validating",), above=("engine",)),
    "judgement": Floor(
        ("statistics search_checks advising", "comparing behaving", "judging"),
        above=("values",),
    ),
    "memory": Floor(("histories", "ledgers", "leftovers", "soundness"), above=("values",)),
    "reports": Floor(("reports",), above=("values",)),
    "trackers": Floor(("trackers",), above=("values", "memory", "reports")),
    "harness": Floor(
        (
            "remembering",
            "concluding contrasting",
            "recording reusing resuming replaying reporting",
            "harness",
        ),
        above=("steps", "judgement", "memory", "reports", "trackers"),
    ),
    "collection": Floor(("collection",), above=("harness", "reports")),
    "plugin": Floor(
        ("hooks live", "watching", "session replay_plugin mlflow_plugin", "plugin"),
        above=("collection", "reports", "trackers"),
    ),
    "cli": Floor(("selftest", "cli", "__main__"), above=("harness", "reports")),
    # What a spec author types; its run and history load their modules on first use.
    "face": Floor(("__init__",), above=("harness",)),
}

DOORS = {
    "keras_tuner": "oracles",
    "tensorflow": "epochs frozen reuse training loading environments examples",
    "sqlalchemy": "histories",
    "alembic": "histories",
    "pandas": "histories.frames",
    "tabulate": "reports",
    "jinja2": "reports",
    "tensorboard": "trackers.event_files",
    "mlflow": "trackers.mlflow",
    "matplotlib": "reports.pictures",
    "psutil": "executors.processes",
    "ray": "executors.ray",
    "pytest": "plugin session watching live collection replay_plugin histories.contract hooks",
}
"""The only modules (or packages) that import a heavy library, inside functions included."""

OUTSIDE = {
    "import modeltune.trackers.tensorboard": "tensorflow tensorboard numpy pytest",
    "import modeltune.trackers.mlflow": "mlflow numpy pandas pytest",
    "import modeltune.reports.pictures": "matplotlib numpy pytest",
    "import modeltune": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2 pytest",
    "import modeltune.plugin": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2",
    # Trials run in other processes: pytest's needs none of these.
    "import modeltune.session": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn jinja2",
    "import modeltune.collection": "tensorflow keras keras_tuner numpy pandas sqlalchemy sklearn",
    "import modeltune.executors.processes": "tensorflow keras keras_tuner numpy pandas sklearn pytest",
    "import modeltune.harness": "tensorflow keras keras_tuner numpy scipy pandas sklearn jinja2 pytest",
    "import modeltune.judging": "tensorflow keras keras_tuner numpy scipy pandas sqlalchemy sklearn",
    "import modeltune.samples": "tensorflow keras keras_tuner scipy pandas sqlalchemy sklearn",
}
"""What each statement must not load."""


@dataclass(frozen=True)
class Import:
    """One import: ``Import("runs", "modeltune.gates", 12)`` or ``Import("runs", "math", 5)``."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def sources() -> dict[str, str]:
    """Return every module's source by its name inside the package: ``histories.store``."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = file.read_text(encoding="utf-8")
    return found


def imports(modules: Mapping[str, str]) -> list[Import]:
    """Return all imports, anywhere in a module, what is imported with its full name."""
    found = []
    for importer, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found += [Import(importer, n.name, node.lineno) for n in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = f"{node.module}"
                assert not node.level, f"{importer} (line {node.lineno}): write modeltune.{origin}"
                for alias in node.names:
                    name = f"{origin}.{alias.name}"
                    is_module = inside(name) in ROWS or inside(name) in modules
                    found.append(Import(importer, name if is_module else origin, node.lineno))
    return found


def inside(name: str) -> str | None:
    """Return the name inside our package, or None for somebody else's module."""
    package, _, module = name.partition(".")
    return (module or "__init__") if package == "modeltune" else None


def is_within(module: str, places: str) -> bool:
    """Tell whether a module is one of the places or inside one: histories.store in histories."""
    return any(module == place or module.startswith(f"{place}.") for place in places.split())


ROWS = {
    module: (floor, height)
    for floor, plan in FLOORS.items()
    for height, row in enumerate(plan.rows)
    for module in row.split()
}
"""The floor and the row of each place."""


def unplaced(modules: Mapping[str, str]) -> list[str]:
    """Return the modules the table does not know."""
    return [name for name in modules if name.partition(".")[0] not in ROWS]


def wrong_arrows(modules: Mapping[str, str]) -> list[str]:
    """Return every import of ours that does not point down, in words."""
    wrong = []
    for arrow in imports(modules):
        importer = arrow.importer.partition(".")[0]
        imported = (inside(arrow.imported) or "").partition(".")[0]
        if importer not in ROWS or imported not in ROWS or importer == imported:
            continue
        (floor, row), (other_floor, other_row) = ROWS[importer], ROWS[imported]
        if floor == other_floor and other_row >= row:
            wrong.append(f"{arrow}, which is not lower on the floor {floor}")
        elif floor != other_floor and other_floor not in _below(floor):
            below = ", ".join(sorted(_below(floor))) or "nothing"
            wrong.append(f"{arrow}: floor {floor} is built on {below}, not on {other_floor}")
    return wrong


def _below(floor: str) -> set[str]:
    above = FLOORS[floor].above
    return {*above}.union(*(_below(lower) for lower in above))


def cycle(modules: Mapping[str, str]) -> str | None:
    """Return one cycle of imports, or None."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for arrow in imports(modules):
        imported = inside(arrow.imported)
        if imported is not None and imported in modules and imported != arrow.importer:
            graph[arrow.importer].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " is imported by ".join(error.args[1])
    return None


def side_doors(modules: Mapping[str, str]) -> list[str]:
    """Return every import of a heavy library outside its door, in words."""
    wrong = []
    for arrow in imports(modules):
        door = DOORS.get(arrow.imported.partition(".")[0])
        if door is not None and not is_within(arrow.importer, door):
            wrong.append(f"{arrow}, which only {' and '.join(door.split())} may")
    return wrong


def without_purpose(modules: Mapping[str, str]) -> list[str]:
    """Return the modules whose first line is not the first line of a docstring."""
    return [
        name
        for name, source in modules.items()
        if not (ast.get_docstring(ast.parse(source)) and source.startswith(('"""', 'r"""')))
        or not source.partition("\n")[0].strip('r"')
    ]


def test_every_module_has_its_place() -> None:
    missing = unplaced(sources())
    assert not missing, f"place in FLOORS of {Path(__file__).name}: {', '.join(missing)}"


def test_arrows_point_down() -> None:
    assert not (wrong := wrong_arrows(sources())), "\n".join(wrong)


def test_imports_have_no_cycle() -> None:
    assert not (found := cycle(sources())), found


def test_heavy_libraries_have_one_door() -> None:
    assert not (wrong := side_doors(sources())), "\n".join(wrong)


def test_line_one_says_what_a_module_is_for() -> None:
    missing = without_purpose(sources())
    assert not missing, f"line 1 is no docstring in: {', '.join(missing)}"


@pytest.mark.parametrize("statement", OUTSIDE)
def test_importing_us_loads_nothing_heavy(statement: str) -> None:
    module = statement.removeprefix("import ")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
    unwanted = OUTSIDE[statement].split()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\n{statement}\nprint(*{{*{unwanted}}} & {{*sys.modules}})",
        ],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), f"{statement!r} loads {done.stdout.strip()}"


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (
            {"gates": '"""G."""\n\nfrom modeltune.runs import Run'},
            "gates (line 3) imports modeltune.runs, which is not lower on the floor values",
        ),
        (
            {"judging": "def f():\n    from modeltune import training"},
            "judging (line 2) imports modeltune.training: floor judgement is built on values, not on engine",
        ),
        (
            {"reports.html": "import modeltune.histories.store", "histories.store": ""},
            "reports.html (line 1) imports modeltune.histories.store: "
            "floor reports is built on values, not on memory",
        ),
        (
            {"oracles": "import statistics\nfrom modeltune import Spec"},
            "oracles (line 2) imports modeltune: floor engine is built on code, values, not on face",
        ),
    ],
)
def test_an_arrow_that_points_up_is_named(modules: dict[str, str], said: str) -> None:
    assert wrong_arrows(modules) == [said]


def test_a_cycle_inside_a_package_is_named() -> None:
    modules = {
        "histories.store": "from modeltune.histories import frames",
        "histories.frames": "import modeltune.histories.store",
    }
    assert wrong_arrows(modules) == []
    assert "histories.store is imported by histories.frames" in f"{cycle(modules)}"


def test_a_side_door_is_named() -> None:
    modules = {
        "histories.frames": "import pandas",
        "specs": "def f():\n    import keras_tuner.engine as kt\nfrom pandas import x",
    }
    assert side_doors(modules) == [
        "specs (line 3) imports pandas, which only histories.frames may",
        "specs (line 2) imports keras_tuner.engine, which only oracles may",
    ]


def test_a_module_without_place_or_purpose_is_named() -> None:
    modules = {"helpers": "# Bits.\n'Late.'", "histories.new": '"""\nLate."""', "gates": ""}
    assert unplaced(modules) == ["helpers"]
    assert without_purpose(modules) == ["helpers", "histories.new", "gates"]
