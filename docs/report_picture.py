"""Run the README's spec, and photograph its report for the README: ``python docs/report_picture.py``."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import guide
from tests.support.browser import chromium

PICTURE = Path(__file__).parent / "images" / "report.png"

WIDTH = 1000

TOP = """
const title = [...document.querySelectorAll("h3")].find(each => each.textContent.trim() == arguments[0]);
return title.getBoundingClientRect().top + scrollY - 24;
"""
"""A script that returns where a section begins."""


def run(folder: Path) -> Path:
    """Run the README's project in a folder, and return its report."""
    for path, text in {"model_specs/__init__.py": "", **guide.files((guide.README,))}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(guide.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "model_specs/", "-p", "no:cacheprovider"]
    subprocess.run([*command, "--modeltune-accept-new"], cwd=folder, env=environ, check=True)
    subprocess.run(command, cwd=folder, env=environ, check=True)
    return folder / ".modeltune/report/report.html"


def photograph(report: Path, profile: Path) -> Image.Image:
    """Return the top of a report and its charts as Chromium shows them, one below the other."""
    with chromium(profile) as browser:
        browser.command("Emulation.setScrollbarsHidden", hidden=True)
        browser.open(report, width=WIDTH, height=5000)  # charts are drawn once they are seen
        browser.wait_for("document.querySelector('canvas')")
        checks, search = (int(browser.run(TOP, title)) for title in ("Checks", "Search"))
        parts = [(0, checks), (search, search + 470)]
        taken = [
            browser.command("Page.captureScreenshot", clip=clip)["data"]
            for top, bottom in parts
            for clip in [{"x": 0, "y": top, "width": WIDTH, "height": bottom - top, "scale": 1}]
        ]
    images = [Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in taken]
    whole = Image.new("RGB", (WIDTH, sum(image.height for image in images)))
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    return whole


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        report = Path(sys.argv[1]) if sys.argv[1:] else run(Path(folder))
        image = photograph(report, Path(folder, "profile"))
        # A few colours are enough, and a fifth of the size.
        image.quantize(64).save(PICTURE, optimize=True)
