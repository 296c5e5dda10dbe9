"""What ends at once loses nothing that was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import gc
from modeltune.ground.endings import end_without_collecting

class Owner:
    def __init__(self, name):
        self.file = open(name, "w")
        self.me = self  # so that only the collector would close its file
        self.file.write("all of it")

module_level = open("module", "w")
module_level.write("all of it")
closed = open("closed", "w")
closed.close()
Owner("garbage")
owner = Owner("kept")
full = open("/dev/full", "w")
full.write("more than fits")
end_without_collecting()
assert gc.collect() == 0
full = None
"""


def test_what_was_written_is_in_its_file_also_where_only_the_collector_would_close_it(
    tmp_path: Path,
) -> None:
    root = Path(__file__).parents[2]
    code = f"import sys\nsys.path.insert(0, {str(root)!r})\n{CODE}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    one = "all of it"
    assert written == {"module": one, "garbage": one, "kept": one, "closed": ""}
