"""Keep TensorFlow's messages off stderr while it loads: no setting turns them all off."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Discard what anything writes to file descriptor 2 meanwhile, C++ libraries included."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
