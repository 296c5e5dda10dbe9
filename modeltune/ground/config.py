"""The settings in ``[tool.modeltune]`` of pyproject.toml, and where the history is by default."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground.bounded_files import MEBIBYTE, read_bounded
from modeltune.ground.deadlines import seconds_of
from modeltune.ground.declarations import Problem, is_integer
from modeltune.ground.errors import ModeltuneError, SpecError
from modeltune.ground.masked_urls import MaskedUrl
from modeltune.ground.store_urls import StoreUrl, absolute_path, store_url
from modeltune.ground.text import count_of

DEFAULT_STORE = "sqlite:///.modeltune/history.db"
STORE_VARIABLE = "MODELTUNE_STORE"
DEFAULT_REPORT = ".modeltune/report"
REPORT_VARIABLE = "MODELTUNE_REPORT"

LARGEST_SETTINGS = 16 * MEBIBYTE
"""Bytes of a pyproject.toml."""


@dataclass(frozen=True)
class Config:
    """The settings of one project; a setting that pyproject.toml does not have is None.

    Args:
        workers: number of trial processes; "auto": as many as keep the cores busy; 0: train in
            the pytest process.
        store: URL of the history; a relative path begins at the folder of pyproject.toml.
        keep_trials: whether the scratch folder of a search stays after its run is recorded.
        report: folder of the reports, which begins there too.
        strict: whether no_baseline and inconclusive are red.
        budget: time for the specs of the project in a session, such as "30m".
        reuse: whether the runs of unchanged specs are taken from the history.
        mlflow: the MLflow tracking server that every recorded run is logged to.
        examples: False: no run keeps test samples to look at, whatever its spec says.
        junit_properties: False: nothing of a run goes into the properties of ``--junitxml``.
        family: which gates against recorded runs share the 5 % of false alarms: "spec", those of each
            spec; "session", those of all specs of a session; "fdr", the same for the share of false alarms among alarms.
        test_reads: how many runs may be judged on a test part before a run warns that it is used up.
        checks_off: names or numbers of checks that are silenced in every spec, such as ``["MT206"]``.
    """

    workers: int | str | None = None
    store: StoreUrl | None = None
    keep_trials: bool | None = None
    report: str | None = None
    strict: bool | None = None
    budget: str | None = None
    reuse: bool | None = None
    mlflow: MaskedUrl | None = None
    examples: bool | None = None
    junit_properties: bool | None = None
    family: str | None = None
    test_reads: int | None = None
    checks_off: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Project:
    """A folder and its settings, which every spec below it obeys; relative paths in them begin there.

    ``has_settings`` tells whether its pyproject.toml has a ``[tool.modeltune]`` table.
    """

    root: Path
    config: Config = Config()
    has_settings: bool = False

    def store(self, start: Path | None = None) -> StoreUrl:
        """Return the URL of the history where no option names one.

        It is that of MODELTUNE_STORE, else of pyproject.toml, else built in. A relative path in the
        variable begins at ``start``, by default the working directory; any other at the root.
        """
        # The URL may carry a password: no name is bound to it here.
        if os.environ.get(STORE_VARIABLE):
            return store_url(os.environ[STORE_VARIABLE], start=start, project=self.root)
        return self.config.store or store_url(DEFAULT_STORE, start=self.root)

    def report(self, start: Path | None = None) -> Path:
        """Return the folder of the reports where no option names one.

        It is that of MODELTUNE_REPORT, else of pyproject.toml, else built in; where a relative path
        begins is as with ``store``.
        """
        if folder := os.environ.get(REPORT_VARIABLE):
            return absolute_path(folder, start or Path.cwd())
        return absolute_path(self.config.report or DEFAULT_REPORT, self.root)


def project_of(folder: Path, otherwise: Path | None = None) -> Project:
    """Return the project that a folder belongs to.

    Its root is the nearest folder upward whose pyproject.toml has a ``[tool.modeltune]`` table,
    else the nearest one with a pyproject.toml, else ``otherwise``, else ``folder`` itself.

    Raises:
        SpecError: the settings are wrong, or a pyproject.toml cannot be read; names the file, and
            every key that is unknown or has a wrong value.
    """
    folder = folder.absolute()
    for candidate in (folder, *folder.parents):
        if (config := _settings(candidate)) is not None:
            return Project(candidate, config, has_settings=True)
    if (root := _folder_with_pyproject(folder)) is not None:
        return Project(root)
    return Project((otherwise or folder).absolute())


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward that has a pyproject.toml, or ``folder`` itself."""
    return _folder_with_pyproject(folder.absolute()) or folder.absolute()


def project_name(root: Path) -> str | None:
    """Return what the pyproject.toml in a folder calls its project; None where it does not."""
    import tomllib

    try:
        content = read_bounded(root / "pyproject.toml", LARGEST_SETTINGS)
        name = tomllib.loads(content.decode("utf-8-sig"))["project"]["name"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name else None


def default_store(folder: Path | None = None) -> StoreUrl:
    """Return the URL of the history of the project of a folder, by default the working directory.

    Raises:
        SpecError: the settings of the project are wrong.
    """
    folder = folder or Path.cwd()
    if os.environ.get(STORE_VARIABLE):
        return _despite_wrong_settings(folder).store()
    return project_of(folder).store()


def named_store(url: str | StoreUrl, start: Path | None = None) -> StoreUrl:
    """Return the URL of a history that the user has named; a StoreUrl is returned as it is.

    A relative path begins at ``start``, by default the working directory. A server's files lie in
    the project of that folder.
    """
    if isinstance(url, StoreUrl):
        return url
    hidden = MaskedUrl(url)
    del url
    start = start or Path.cwd()
    return store_url(hidden.reveal(), start=start, project=_despite_wrong_settings(start).root)


def _despite_wrong_settings(folder: Path) -> Project:
    """Return the project of a folder for who needs none of its settings."""
    try:
        return project_of(folder)
    except SpecError:
        return Project(project_root(folder))


def _folder_with_pyproject(folder: Path) -> Path | None:
    parents = (folder, *folder.parents)
    return next((parent for parent in parents if (parent / "pyproject.toml").is_file()), None)


def _settings(root: Path) -> Config | None:
    """Return the settings of one pyproject.toml, None when it has no table of them."""
    path = root / "pyproject.toml"
    # What the file holds may carry a password: it is in no frame that an error is raised in.
    read = _config_in(path, root)
    if isinstance(read, str):
        raise SpecError(f"{path}{read}")
    return read


def _config_in(path: Path, root: Path) -> Config | str | None:
    """Return the settings in a file, None when there are none, or what is wrong with it."""
    try:
        content = read_bounded(path, LARGEST_SETTINGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f" cannot be read: {error.strerror or type(error).__name__}"
    except ValueError as error:
        return f" cannot be read: {error}"
    # Most projects' files lack this word, in whatever encoding, and then there is nothing to parse.
    if b"modeltune" not in content.replace(b"\0", b""):
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte {content[error.start]:#04x} in line {line}"
        return f" is not UTF-8 ({found}), as TOML has to be; save it as UTF-8"
    import tomllib

    try:
        tool: object = tomllib.loads(text).get("tool", {})
    except RecursionError:
        return " cannot be read: it is nested too deeply"
    except ValueError as error:
        # Also of a number with too many digits.
        return f" is not valid TOML: {error}"
    if not isinstance(tool, dict) or "modeltune" not in tool:
        return None
    table = tool["modeltune"]
    if not isinstance(table, dict):
        return f": tool.modeltune is {_kind(table)}; write a [tool.modeltune] table"
    if problems := list(_problems(table)):
        listed = "".join(f"\n  {key}: {problem}" for key, problem in problems)
        return f": [tool.modeltune] has {count_of(len(problems), 'problem')}:{listed}"
    if "store" in table:
        try:
            table["store"] = store_url(table["store"], start=root)
        except ModeltuneError as error:
            return f": store: {error}"
    if "mlflow" in table:
        table["mlflow"] = MaskedUrl(table["mlflow"])
    if "checks_off" in table:
        table["checks_off"] = tuple(
            table["checks_off"]
        )  # projects are told apart by their settings
    return Config(**table)


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


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_budget(value: object) -> bool:
    try:
        return isinstance(value, str) and seconds_of(value) > 0
    except ValueError:
        return False


def _is_family(value: object) -> bool:
    return value in ("spec", "session", "fdr")


def _is_count(value: object) -> bool:
    return is_integer(value) and value > 0


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
    "examples": (_is_boolean, "true or false"),
    "junit_properties": (_is_boolean, "true or false"),
    "family": (_is_family, '"spec", "session" or "fdr"'),
    "test_reads": (_is_count, "how many runs, 1 or more, such as 200"),
    "checks_off": (_is_texts, 'a list of checks such as ["MT206"]'),
    "mlflow": (_is_text, 'a tracking server such as "http://127.0.0.1:5000"'),
}
