"""Imports for the server that trial processes are forked from: everything heavy; nothing is run.

A fork copies one thread only, so the server must have no other: the libraries below start theirs
when they are first used (https://docs.python.org/3/library/os.html#os.fork).
"""

from __future__ import annotations

import gc
import signal

from modeltune.engine import quietly

# Ctrl-C in a terminal reaches the server too, while it still imports.
signal.signal(signal.SIGINT, signal.SIG_IGN)

with quietly():
    from modeltune.engine import Engine  # noqa: F401

# What is imported stays: trial processes need not search it for garbage, and its memory stays
# shared among them.
gc.collect()
gc.freeze()
