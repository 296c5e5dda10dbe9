"""What a search and a run depend on besides their data, in named parts that can be compared."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from weakref import WeakKeyDictionary

from modeltune.ground import project_name, project_root, typed
from modeltune.specs.datasets import Data
from modeltune.specs.identity.backends import backend_packages, backend_parts
from modeltune.specs.identity.contents import HELD, UNCOMPARABLE, content, digest
from modeltune.specs.identity.dependencies import Dependencies
from modeltune.specs.operating_points import MetricFunction, Threshold
from modeltune.specs.spec_type import Spec, data_arguments

PREFIX = "identity/"
"""How the keys of a run's fingerprints begin that hold the parts of its identity."""

GATES = "gates/"
"""How the keys of a run's fingerprints begin that hold the functions in its gates."""

PROJECT = "project"
"""The key of a run's fingerprints that holds the name of its project in pyproject.toml."""

VERSIONS = ("keras", "keras-tuner", "numpy", "modeltune")
"""The packages whose versions are part of every search's identity, besides what Keras computes with."""


def fingerprints(spec: Spec) -> dict[str, str]:
    """Return what a run record keeps of a spec: its project, text and source, and the run's identity."""
    shared, project = spec.protocol_name, project_name(spec.root)
    sources = {"source": _source(spec.model), "data_source": _source(spec.data)}
    return {
        **({} if shared is None else {"protocol": shared}),
        **({} if project is None else {PROJECT: project}),
        **{name: digest(text) for name, text in {"spec": repr(spec), **sources}.items()},
        **{f"{PREFIX}{name}": part for name, part in run_identity(spec).items()},
        **{f"{GATES}{name}": part for name, part in gates_identity(spec).items()},
    }


def run_identity(spec: Spec) -> dict[str, str]:
    """Return what a run's scores and checks depend on besides its data; gates are not part of it."""
    return search_identity(spec) | {
        # How many models are given is told by their fingerprints.
        "validation": "given" if spec.is_given else typed(spec.validation),
        "checks": typed(replace(spec.checks, off=())),  # what is silenced is judged, not measured
        **({} if spec.task is None else {"task": _task(spec.task)}),
        **({"metrics": typed(spec.metrics)} if spec.metrics else {}),
        **_exports(spec),
        **_threshold(spec),
        **_fine_tune(spec),
    }


def _exports(spec: Spec) -> dict[str, str]:
    """Return what exports depend on besides the model: as which they are declared, and what makes and runs them."""
    packages = {name for export in spec.exports.values() for name in export.PACKAGES}
    versions = {f"the version of {name}": _version(name) for name in sorted(packages)}
    return {"exports": typed(dict(spec.exports)), **versions} if spec.exports else {}


def _task(task: str | Mapping[str, str]) -> str:
    return task if isinstance(task, str) else typed(dict(sorted(task.items())))


def _threshold(spec: Spec) -> dict[str, str]:
    """Return what a threshold depends on besides the model and the data: its rule, and a function in it."""
    if spec.threshold is None:
        return {}
    function = spec.threshold.function if isinstance(spec.threshold, Threshold) else None
    code = {} if function is None else {"code of the threshold": metric_identity(function)}
    return {"threshold": typed(spec.threshold), **code}


def _fine_tune(spec: Spec) -> dict[str, str]:
    """Return the code of the functions by which fine-tuning follows from the best values."""
    fine_tune = spec.validation.fine_tune
    functions = () if fine_tune is None else fine_tune.functions
    code = digest(repr([metric_identity(function) for function in functions]))
    return {"code of fine_tune": code} if functions else {}


def recorded_identity(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Return the ``run_identity`` among a run's fingerprints; nothing when none was recorded."""
    return {
        name.removeprefix(PREFIX): part
        for name, part in fingerprints.items()
        if name.startswith(PREFIX)
    }


def changed_parts(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ, sorted."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def edited_parts(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the parts of code that differ between two processes that import the same files.

    Parts made of values are left out: each process may have made its values at random.
    """
    return [name for name in changed_parts(here, there) if not name.startswith(HELD)]


def search_identity(spec: Spec) -> dict[str, str]:
    """Return what a search depends on besides its data, in parts named for users.

    A search takes over finished trials only when all parts are the same. They cover:

    - the search, the fit, the backend of Keras where it is not TensorFlow, and the versions of
      Python and of the packages that are imported;
    - the code in the user's own files that the build function, the data function and the
      callbacks lead to by name. It counts as Python reads it: comments, formatting and
      docstrings do not matter;
    - what a file does when it is imported, besides binding names, for each of these files;
    - what a function holds, in its closure or as an instance. A value that cannot be compared,
      such as a lock, makes a part that begins with ``UNCOMPARABLE`` and differs in each process.

    The parts are the same in every process, and computing them loads no module. They are
    computed once per spec: what was imported is what runs, even when its file is edited later.
    Of a spec in a notebook they are what its functions are made of now, whichever cells made it.
    """
    return dict(_read(spec)[0])


def identity_assumptions(spec: Spec) -> tuple[str, ...]:
    """Return what ``search_identity`` took as reached where code does not tell, a sentence each."""
    return _read(spec)[1]


def _read(spec: Spec) -> tuple[dict[str, str], tuple[str, ...]]:
    if spec.is_in_notebook:
        # Another cell may have changed what its functions use.
        return _identity(spec)
    if spec not in _identities:
        _identities[spec] = _identity(spec)
    return _identities[spec]


_identities: WeakKeyDictionary[Spec, tuple[dict[str, str], tuple[str, ...]]] = WeakKeyDictionary()


def gates_identity(spec: Spec) -> dict[str, str]:
    """Return the slices and behaviours in a spec's gates, in parts as in ``search_identity``.

    Nothing when the gates have none.
    """
    functions = [function for gate in spec.gates for function in gate.user_code]
    functions += [metric for metric in spec.metrics if callable(metric)]
    if not functions:
        return {}
    dependencies = Dependencies()
    parts = content("the gates", functions, dependencies)
    code = {f"code of the gates ({p.name})": d for p, d in dependencies.digests().items()}
    return parts | code


def uses_package(spec: Spec, names: Collection[str]) -> bool:
    """Tell whether the code of a spec's build function leads by name to one of these packages."""
    dependencies = Dependencies()
    content("the build function", spec.model, dependencies, model=spec.model)
    dependencies.digests()
    return not dependencies.packages.isdisjoint(names)


def metric_identity(function: MetricFunction) -> str:
    """Return a digest of a metric's code: what it does, what it holds, and the user's code it uses."""
    dependencies = Dependencies()
    parts = content("the metric", function, dependencies)
    code = {str(path.name): own for path, own in dependencies.digests().items()}
    return digest(repr(sorted((parts | code).items())))


def predictor_identity(predictor: object) -> str:
    """Return a digest of what a predictor holds, and of the user's code that it uses.

    One that cannot be compared, such as a session of another library, gives a text that begins with
    ``UNCOMPARABLE`` and says why.
    """
    dependencies = Dependencies()
    parts = content("the predictor", predictor, dependencies)
    for part in parts.values():
        if part.startswith(UNCOMPARABLE):
            return part
    code = {str(path.name): own for path, own in dependencies.digests().items()}
    return digest(repr(sorted((parts | code).items())))


def _source(code: object) -> str:
    """Return the source of a function or of an object's class."""
    if isinstance(code, Data):
        return "mt.Data"  # our own class, whose text says nothing about the user's data
    definition = code if inspect.isroutine(code) else type(code)
    try:
        return inspect.getsource(definition)
    except (OSError, TypeError):
        return repr(definition)


def _identity(spec: Spec) -> tuple[dict[str, str], tuple[str, ...]]:
    dependencies = Dependencies()
    home = Path(spec.file)
    parts = {
        # Without one, its objective is read off the gates, which change nothing that is trained.
        "search": typed(spec.search) if spec.is_searched else "none",
        # Where curves are shown changes no result.
        "fit": typed(replace(spec.fit, tensorboard=False)),
        # A given model is what it has learned, wherever it is read from.
        **(
            {}
            if spec.is_given
            else content("the build function", spec.model, dependencies, model=spec.model)
        ),
        **_data(spec, home, dependencies),
        **content("the callbacks", list(spec.fit.callbacks), dependencies),
    }
    if home.is_file() and not spec.is_in_notebook:
        dependencies.add_import(home)
        for conftest in _conftests(home):
            dependencies.add_import(conftest)
    for path, file_digest in dependencies.digests().items():
        name = os.path.relpath(path, home.parent)
        parts[f"code in {name}" if path == home else f"imported code ({name})"] = file_digest
    return parts | _versions(dependencies.packages), tuple(sorted(dependencies.assumptions))


def _data(spec: Spec, home: Path, dependencies: Dependencies) -> dict[str, str]:
    if isinstance(spec.data, Data):
        # Its arrays have fingerprints; a stream may be made anywhere in the file.
        if not spec.is_in_notebook:
            dependencies.add_file(home)
        return {}
    for name in data_arguments(spec.data):
        files = [] if spec.is_in_notebook else [home, *_conftests(home)]
        dependencies.add_fixture(name, files)
    return content("the data function", spec.data, dependencies)


def _conftests(home: Path) -> list[Path]:
    """Return the conftest.py files that pytest applies to a spec file, the nearest first."""
    folder, root = home.absolute().parent, project_root(home.parent)
    folders = [folder, *folder.parents]
    return [
        conftest
        for place in folders[: folders.index(root) + 1]
        if (conftest := place / "conftest.py").is_file()
    ]


def _versions(packages: set[str]) -> dict[str, str]:
    minor = ".".join(map(str, sys.version_info[:2]))
    imported = {_distribution(name) for name in packages - sys.stdlib_module_names} - {None}
    return {
        "the version of python": minor,
        **{
            f"the version of {name}": _version(name)
            for name in sorted({*VERSIONS, *backend_packages(), *filter(None, imported)})
        },
        **backend_parts(),
    }


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _distribution(package: str) -> str | None:
    """Return the name under which an imported package is installed: scikit-learn for sklearn."""
    known = {"sklearn": "scikit-learn", "keras_tuner": "keras-tuner", "PIL": "pillow"}
    name = known.get(package, package)
    if _version(name) != "not installed":
        return name
    return next(iter(metadata.packages_distributions().get(package, ())), None)
