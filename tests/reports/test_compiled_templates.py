"""Compiled page templates are kept as Python keeps compiled modules."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from modeltune.reports.compiled_templates import CompiledTemplates


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a template, in a Python that writes compiled files below another folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "compiled"))
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "page.html").write_text("hello {{ name }}")
    return folder


def environment(folder: Path, options: str = "plain") -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        bytecode_cache=CompiledTemplates(folder, options),
    )


def rendered(folder: Path, options: str = "plain") -> str:
    return environment(folder, options).get_template("page.html").render(name="you")


def compiled_files(folder: Path) -> list[Path]:
    return [path for path in (folder.parent / "compiled").rglob("*") if path.is_file()]


def test_a_template_is_compiled_once(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered(sources)

    def refuse(*arguments: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(jinja2.Environment, "compile", refuse)
    assert rendered(sources) == "hello you"


def test_a_changed_template_is_compiled_again(sources: Path) -> None:
    rendered(sources)
    (sources / "page.html").write_text("good bye {{ name }}")
    assert rendered(sources) == "good bye you"
    assert len(compiled_files(sources)) == 1


def test_other_options_of_the_environment_have_a_file_of_their_own(sources: Path) -> None:
    rendered(sources)
    rendered(sources, "trimmed")
    assert len(compiled_files(sources)) == 2


def test_half_a_file_is_written_anew(sources: Path) -> None:
    rendered(sources)
    (file,) = compiled_files(sources)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert rendered(sources) == "hello you"
    assert file.read_bytes() == whole


def test_nothing_is_written_where_python_writes_no_compiled_files(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered(sources) == "hello you"
    assert compiled_files(sources) == []


def test_a_page_is_shown_where_its_folder_cannot_be_written(sources: Path) -> None:
    (sources.parent / "compiled").write_text("a file is in the way")
    assert rendered(sources) == "hello you"
