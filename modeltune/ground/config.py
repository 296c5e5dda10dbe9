"""The settings in ``[tool.modeltune]`` of pyproject.toml, and where the history is by default."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground.deadlines import seconds_of
from modeltune.ground.declarations import Problem, is_integer
from modeltune.ground.errors import SpecError
from modeltune.ground.text import count_of

DEFAULT_STORE = "sqlite:///.modeltune/history.db"
STORE_VARIABLE = "MODELTUNE_STORE"
DEFAULT_REPORT = ".modeltune/report"


@dataclass(frozen=True)
class Config:
    """The settings of one project; a setting that pyproject.toml does not have is None.

    Args:
        workers: number of trial processes; "auto": as many as keep the cores busy; 0: train in
            the pytest process.
        store: URL of the history.
        keep_trials: whether the scratch folder of a search stays after its run is recorded.
        report: folder of the reports.
        strict: whether no_baseline and inconclusive are red.
        budget: time for a whole session, such as "30m".
        reuse: whether the runs of unchanged specs are taken from the history.
        mlflow: the MLflow tracking server that every recorded run is logged to.
    """

    workers: int | str | None = None
    store: str | None = None
    keep_trials: bool | None = None
    report: str | None = None
    strict: bool | None = None
    budget: str | None = None
    reuse: bool | None = None
    mlflow: str | None = None


def load_config(root: Path) -> Config:
    """Return the settings in ``root/pyproject.toml``, all None when there are none.

    Raises:
        SpecError: a key is unknown or a value wrong; names the file and all of them.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}") from error
    # Most projects' files lack this word, and then there is nothing to parse.
    if "modeltune" not in text:
        return Config()
    table = _table(path, text)
    problems = list(_problems(table))
    if problems:
        listed = "".join(f"\n  {key}: {problem}" for key, problem in problems)
        raise SpecError(
            f"{path}: [tool.modeltune] has {count_of(len(problems), 'problem')}:{listed}"
        )
    return Config(**table)  # type: ignore[arg-type]  # _problems checked every value


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward that has a pyproject.toml, or ``folder`` itself."""
    folder = folder.absolute()
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    return folder


def default_store(folder: Path | None = None) -> str:
    """Return the URL of the history where no option names one.

    It is that of MODELTUNE_STORE, else of pyproject.toml, else built in. A relative SQLite path in
    pyproject.toml, and the built-in one, start at the project's root, so that every folder of a
    project (``folder``, by default the working directory) has the same history.
    """
    if url := os.environ.get(STORE_VARIABLE):
        return url
    root = project_root(folder or Path.cwd())
    url = load_config(root).store or DEFAULT_STORE
    scheme, _, path = url.partition(":///")
    if scheme.startswith("sqlite") and path and path[0] not in "/:":
        return f"{scheme}:///{root / path}"
    return url


def _table(path: Path, text: str) -> Mapping[str, object]:
    import tomllib

    try:
        tool: object = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error
    table = tool.get("modeltune", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise SpecError(f"{path}: tool.modeltune is {_kind(table)}; write a [tool.modeltune] table")
    return table


def _problems(table: Mapping[str, object]) -> Iterator[Problem]:
    known = [field.name for field in dataclasses.fields(Config)]
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key.replace("-", "_"), known, 1)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            yield key, f"unknown key; {hint}The keys are {', '.join(known)}"
        elif not _EXPECTED[key][0](value):
            # Show the kind, never the value: a store URL may carry a password.
            yield key, f"{_kind(value)}; write {_EXPECTED[key][1]}"


def _kind(value: object) -> str:
    return {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "a string",
        list: "an array",
        dict: "a table",
    }.get(type(value), "a date or time")


def _is_workers(value: object) -> bool:
    return value == "auto" or (is_integer(value) and value >= 0)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_budget(value: object) -> bool:
    try:
        return isinstance(value, str) and seconds_of(value) > 0
    except ValueError:
        return False


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


_EXPECTED: dict[str, tuple[Callable[[object], bool], str]] = {
    "workers": (_is_workers, '"auto", or 0 or more'),
    "store": (_is_text, 'a URL such as "sqlite:///.modeltune/history.db"'),
    "keep_trials": (_is_boolean, "true or false"),
    "report": (_is_text, 'a folder such as ".modeltune/report"'),
    "strict": (_is_boolean, "true or false"),
    "budget": (_is_budget, 'a time such as "90s", "30m" or "1h30m"'),
    "reuse": (_is_boolean, "true or false"),
    "mlflow": (_is_text, 'a tracking server such as "http://127.0.0.1:5000"'),
}
