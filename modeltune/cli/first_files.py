"""Write the first files of a project: a spec, its data, and what runs them in CI."""

from __future__ import annotations

from pathlib import Path

from modeltune.ground import ModeltuneError

SPECS = "model_specs"

CI_FILES = {
    "github": (".github/workflows/models.yml", "github.yml"),
    "gitlab": (".gitlab-ci.yml", "gitlab.yml"),
}
"""By service, where its file lies in a project, and which of our templates it is."""

TEMPLATES = Path(__file__).with_name("templates")


def first_files(ci: str) -> dict[str, str]:
    """Return by path what a new project gets; ``ci`` is a key of CI_FILES."""
    ci_file, template = CI_FILES[ci]
    return {
        f"{SPECS}/__init__.py": "",
        f"{SPECS}/datasets.py": _template("datasets.py.txt"),
        f"{SPECS}/spec_first.py": _template("spec_first.py.txt"),
        ci_file: _template(template),
    }


def write_first_files(folder: Path, ci: str) -> list[str]:
    """Write the first files into a folder, and return a line for each and what to do next.

    No file is overwritten. The spec needs the data function beside it: where either is there, both
    are left out.

    Raises:
        ModeltuneError: a file cannot be written; those before it are.
    """
    files = first_files(ci)
    there = {path for path in files if (folder / path).exists() or (folder / path).is_symlink()}
    pair = {path for path in files if path.startswith(SPECS) and files[path]}
    left_out = pair - there if there & pair else set()
    lines = []
    for path, text in files.items():
        if path in there:
            lines.append(f"exists, left as it is: {path}")
        elif path in left_out:
            (other,) = pair & there
            lines.append(f"not written: {path}, which belongs to another {other}")
        else:
            _write(folder / path, text, path)
            lines.append(f"written: {path}")
    repository = _repository(folder)
    if repository is not None and repository != folder.absolute():
        lines.append(
            f"{CI_FILES[ci][0]} is read at the root of the repository, {repository}: move it there"
        )
    lines.append(f"next: pytest {SPECS}/")
    return lines


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _write(file: Path, text: str, path: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Never into what has come there meanwhile.
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise ModeltuneError(
            f"{path} cannot be written: {error.strerror or error}; remove what is in its way, or "
            "write to another folder"
        ) from error


def _repository(folder: Path) -> Path | None:
    """Return the root of the git repository that a folder is in."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
