"""Where multiprocessing puts its sockets: the path of one may have about a hundred bytes only."""

from __future__ import annotations

import os
import tempfile
from multiprocessing import util

LONGEST_PATH = 103
"""Bytes of the path of a socket: macOS allows these, Linux four more; see unix(7)."""

NAMES = len("/modeltune-tmp12345678/pymp-12345678/listener-12345678")
"""What a process of ours, and multiprocessing in it, add to the folder for temporary files."""

SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def choose_socket_folder() -> None:
    """Have multiprocessing make its folder for sockets where their paths are short enough.

    With a TMPDIR of 50 characters and more, as Slurm, Bazel and macOS have them, no socket can be
    made there. Other temporary files stay in TMPDIR. Newer versions of Python do the same.
    """
    if len(os.fsencode(tempfile.gettempdir())) + NAMES <= LONGEST_PATH:
        return
    before = tempfile.tempdir
    for folder in SHORT_FOLDERS:
        if os.access(folder, os.W_OK | os.X_OK):
            tempfile.tempdir = folder
            try:
                # Made once; processes that are started get to know it.
                util.get_temp_dir()
            finally:
                tempfile.tempdir = before
            return
