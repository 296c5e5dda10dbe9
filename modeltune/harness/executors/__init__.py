"""Where trials and refits run: in this process, or in processes forked from a warm server.

Here belongs one small interface and its implementations, so that a search knows no processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.harness.executors.data_process import LentData, can_be_copied, lend_data
    from modeltune.harness.executors.engine_copy import lend_engine_copy
    from modeltune.harness.executors.inline import Inline, Local
    from modeltune.harness.executors.interface import Executor, discard_event
    from modeltune.harness.executors.processes import (
        NotPortableError,
        auto,
        process_executor,
    )
    from modeltune.harness.executors.supervision import warm_up

__all__ = [
    "Executor",
    "Inline",
    "LentData",
    "Local",
    "NotPortableError",
    "auto",
    "can_be_copied",
    "discard_event",
    "lend_data",
    "lend_engine_copy",
    "process_executor",
    "warm_up",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "data_process": ("LentData", "can_be_copied", "lend_data"),
        "engine_copy": ("lend_engine_copy",),
        "inline": ("Inline", "Local"),
        "interface": ("Executor", "discard_event"),
        "processes": (
            "NotPortableError",
            "auto",
            "process_executor",
        ),
        "supervision": ("warm_up",),
    },
)
