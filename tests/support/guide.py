"""The code blocks of README.md and of the guide in docs/, and what becomes of each in tests.

A block of Python is one of three:

- its first line names a file, ``# model_specs/spec_digits.py``: the files of all pages are one
  project, which runs;
- its first line is ``# fragment: ...``, which says what else it takes: it is compiled;
- any other runs as it stands, after the blocks above it on its page, in the folder of that project.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modeltune as mt

ROOT = Path(__file__).parents[2]

README = ROOT / "README.md"

PAGES = (
    README,
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
)

FENCED = re.compile(r"^```([\w{}-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, as it stands there; ``language`` is empty where none is said."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The path of the file that the block is, None of any other."""
        named = re.match(r"(?:#|<!--) ([\w./-]+\.\w+)(?: -->)?\n", self.text)
        return named[1] if named else None

    @property
    def is_fragment(self) -> bool:
        return self.text.startswith("# fragment: ")


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """Return the blocks of a page in a language, or all of them."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in FENCED.finditer(text)
    ]
    return [block for block in found if language is None or block.language == language]


def files(pages: tuple[Path, ...] = PAGES) -> dict[str, str]:
    """Return the files of all pages by their paths.

    Raises:
        AssertionError: two blocks are the same file, and differ.
    """
    written: dict[str, Block] = {}
    for page in pages:
        for block in blocks(page):
            if block.file is not None:
                other = written.setdefault(block.file, block)
                assert other.text == block.text, f"{other.place} and {block.place} differ"
    return {path: block.text for path, block in written.items()}


def run_blocks() -> None:
    """Run the blocks of Python that are neither files nor fragments, page by page, in this folder.

    Every page begins with ``import modeltune as mt``. Each list of gates is declared in a spec.
    """
    sys.path.insert(0, os.getcwd())
    for page in PAGES:
        names: dict[str, Any] = {"__name__": "guide", "mt": mt}
        for block in blocks(page, "python"):
            if block.file or block.is_fragment:
                continue
            # Tracebacks name the line of the page.
            text = "\n" * block.line + block.text
            exec(compile(text, block.place, "exec"), names)
            if gates := names.pop("gates", None):
                search = mt.RandomSearch(mt.maximize("val_accuracy"))
                mt.spec(data=lambda: mt.Data(()), search=search, gates=gates)


def smoke() -> None:
    """Run the specs of the project in this folder under ``--modeltune-smoke``, all in this process.

    That of the README is left out: it is trained in full elsewhere.
    """
    from tests.support import forked, lean_graphs

    lean_graphs.leave_as_traced()
    lean_graphs.note_no_stacks()
    left_out = [f"--deselect={path}" for path in files((README,))]
    options = "--modeltune-smoke", "--modeltune-workers=0", "-pno:cacheprovider"
    forked.pytest("model_specs/", *options, *left_out)
