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

WIDTH, HEIGHT = 1000, 1350


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


def photograph(report: Path, profile: Path) -> bytes:
    """Return the top of a report as Chromium shows it, in PNG."""
    with chromium(profile) as browser:
        browser.command("Emulation.setScrollbarsHidden", hidden=True)
        browser.open(report, width=WIDTH, height=HEIGHT)
        browser.wait_for("document.querySelector('canvas, svg')")
        taken = browser.command("Page.captureScreenshot", format="png")
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        report = Path(sys.argv[1]) if sys.argv[1:] else run(Path(folder))
        image = Image.open(io.BytesIO(photograph(report, Path(folder, "profile"))))
        # A few colours are enough, and a fifth of the size.
        image.convert("RGB").quantize(64).save(PICTURE, optimize=True)
