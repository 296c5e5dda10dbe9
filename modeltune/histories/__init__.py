"""What is kept: the store and its migrations, artifacts, baselines, ledgers, and their care.

Here belongs every file and row that outlives a process. What a run means is not known
here: nothing trains, judges or renders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.histories import baselines, pending
    from modeltune.histories.artifacts import (
        artifact_path,
        contents,
        copy_to,
        drop,
        export_files_in,
        foreign_files,
        keep,
        name_of_export,
        names_of,
        verify,
    )
    from modeltune.histories.baselines import BASELINE_FOLDER, Acceptance, unused_baselines
    from modeltune.histories.doctor import Mark, diagnose
    from modeltune.histories.find_references import (
        RECENT,
        TEST_PART,
        accepted_model,
        accepted_run,
        look_of,
        recent,
        references,
        samples_of,
        to_rescore,
        with_rescored,
    )
    from modeltune.histories.frames import history, runs_csv
    from modeltune.histories.garbage import is_shared, leftovers, remove_leftover, unreadable
    from modeltune.histories.ledgers import Ledger, Ledgers, left_runs
    from modeltune.histories.merging import merge
    from modeltune.histories.pending import flush, flush_command, waiting_for
    from modeltune.histories.places import place_of
    from modeltune.histories.spec_rows import todays_address
    from modeltune.histories.store import HEAD, Store, open_as_it_is, open_store

__all__ = [
    "BASELINE_FOLDER",
    "HEAD",
    "RECENT",
    "TEST_PART",
    "Acceptance",
    "Ledger",
    "Ledgers",
    "Mark",
    "Store",
    "accepted_model",
    "accepted_run",
    "artifact_path",
    "baselines",
    "contents",
    "copy_to",
    "diagnose",
    "drop",
    "export_files_in",
    "flush",
    "flush_command",
    "foreign_files",
    "history",
    "is_shared",
    "keep",
    "left_runs",
    "leftovers",
    "look_of",
    "merge",
    "name_of_export",
    "names_of",
    "open_as_it_is",
    "open_store",
    "pending",
    "place_of",
    "recent",
    "references",
    "remove_leftover",
    "runs_csv",
    "samples_of",
    "to_rescore",
    "todays_address",
    "unreadable",
    "unused_baselines",
    "verify",
    "waiting_for",
    "with_rescored",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".": (
            "baselines",
            "pending",
        ),
        "artifacts": (
            "contents",
            "copy_to",
            "drop",
            "export_files_in",
            "foreign_files",
            "keep",
            "name_of_export",
            "names_of",
            "artifact_path",
            "verify",
        ),
        "baselines": (
            "Acceptance",
            "BASELINE_FOLDER",
            "unused_baselines",
        ),
        "doctor": (
            "Mark",
            "diagnose",
        ),
        "find_references": (
            "RECENT",
            "TEST_PART",
            "accepted_model",
            "look_of",
            "accepted_run",
            "recent",
            "references",
            "samples_of",
            "to_rescore",
            "with_rescored",
        ),
        "frames": (
            "history",
            "runs_csv",
        ),
        "garbage": (
            "is_shared",
            "leftovers",
            "remove_leftover",
            "unreadable",
        ),
        "ledgers": (
            "Ledger",
            "Ledgers",
            "left_runs",
        ),
        "merging": ("merge",),
        "pending": (
            "flush",
            "flush_command",
            "waiting_for",
        ),
        "places": ("place_of",),
        "spec_rows": ("todays_address",),
        "store": (
            "HEAD",
            "Store",
            "open_as_it_is",
            "open_store",
        ),
    },
)
