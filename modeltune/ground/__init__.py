"""What every package stands on: errors, the settings of a project, deadlines, words.

Here belongs what no other package owns and all may use. Nothing here knows a spec, a run,
Keras or pytest, and nothing here imports another package of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground.doors import door

if TYPE_CHECKING:
    from modeltune.ground.bounded_files import (
        DEEPEST,
        MEBIBYTE,
        open_own,
        open_regular,
        parse_json,
        read_bounded,
        read_json,
        require_regular,
    )
    from modeltune.ground.clock import monotonic
    from modeltune.ground.config import (
        REPORT_VARIABLE,
        STORE_VARIABLE,
        Config,
        Project,
        default_store,
        named_store,
        project_of,
        project_root,
    )
    from modeltune.ground.deadlines import Deadline, seconds_of
    from modeltune.ground.declarations import (
        Problem,
        as_typed,
        is_finite_number,
        is_integer,
        is_positive_number,
        typed,
    )
    from modeltune.ground.disk_space import free_space, is_disk_full, says_disk_full
    from modeltune.ground.doors import later
    from modeltune.ground.downloads import failed_download
    from modeltune.ground.durable_files import (
        append_durably,
        flush_to_disk,
        make_folder,
        sync_file,
        sync_folder,
        write_durably,
        write_files_durably,
    )
    from modeltune.ground.endings import end_without_collecting
    from modeltune.ground.errors import (
        CodeError,
        DataError,
        HistoryError,
        InvalidRunError,
        ModeltuneError,
        NoHistoryError,
        NoTrialError,
        SearchError,
        SpecError,
        UnrecordableError,
    )
    from modeltune.ground.forks import copies_end_here, end_copy_of
    from modeltune.ground.internals import MissingNameError, private_name
    from modeltune.ground.locks import (
        is_supported_system,
        is_unlocked,
        require_supported_system,
        try_lock,
        wait_for_lock,
    )
    from modeltune.ground.machine import usable_cores, usable_memory
    from modeltune.ground.masked_urls import MASK, MaskedUrl, Secrets, mask_urls
    from modeltune.ground.multiple_tests import holm
    from modeltune.ground.notebooks import (
        UNKNOWN_NOTEBOOK,
        ipython,
        is_cell,
        kernel,
        notebook_file,
    )
    from modeltune.ground.own_folders import (
        MARK,
        irregular_in,
        is_marked,
        mark_folder,
        refuse_link,
        remove_file,
        remove_marked,
    )
    from modeltune.ground.signals import ending_signals_interrupt
    from modeltune.ground.store_urls import StoreUrl, absolute_path, sqlite_url, store_url
    from modeltune.ground.text import (
        count_of,
        error_line,
        error_text,
        first_line,
        first_names,
        message_of,
        shorten,
        text_of,
        without_escapes,
    )
    from modeltune.ground.tracebacks import PACKAGE, frames_of_others, is_ours, without_ours
    from modeltune.ground.version import __version__
    from modeltune.ground.words import Word, in_a_cell, in_a_line

__all__ = [
    "DEEPEST",
    "MARK",
    "MASK",
    "MEBIBYTE",
    "PACKAGE",
    "REPORT_VARIABLE",
    "STORE_VARIABLE",
    "UNKNOWN_NOTEBOOK",
    "CodeError",
    "Config",
    "DataError",
    "Deadline",
    "HistoryError",
    "InvalidRunError",
    "MaskedUrl",
    "MissingNameError",
    "ModeltuneError",
    "NoHistoryError",
    "NoTrialError",
    "Problem",
    "Project",
    "SearchError",
    "Secrets",
    "SpecError",
    "StoreUrl",
    "UnrecordableError",
    "Word",
    "__version__",
    "absolute_path",
    "append_durably",
    "as_typed",
    "copies_end_here",
    "count_of",
    "default_store",
    "door",
    "end_copy_of",
    "end_without_collecting",
    "ending_signals_interrupt",
    "error_line",
    "error_text",
    "failed_download",
    "first_line",
    "first_names",
    "flush_to_disk",
    "frames_of_others",
    "free_space",
    "holm",
    "in_a_cell",
    "in_a_line",
    "ipython",
    "irregular_in",
    "is_cell",
    "is_disk_full",
    "is_finite_number",
    "is_integer",
    "is_marked",
    "is_ours",
    "is_positive_number",
    "is_supported_system",
    "is_unlocked",
    "kernel",
    "later",
    "make_folder",
    "mark_folder",
    "mask_urls",
    "message_of",
    "monotonic",
    "named_store",
    "notebook_file",
    "open_own",
    "open_regular",
    "parse_json",
    "private_name",
    "project_of",
    "project_root",
    "read_bounded",
    "read_json",
    "refuse_link",
    "remove_file",
    "remove_marked",
    "require_regular",
    "require_supported_system",
    "says_disk_full",
    "seconds_of",
    "shorten",
    "sqlite_url",
    "store_url",
    "sync_file",
    "sync_folder",
    "text_of",
    "try_lock",
    "typed",
    "usable_cores",
    "usable_memory",
    "wait_for_lock",
    "without_escapes",
    "without_ours",
    "write_durably",
    "write_files_durably",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "bounded_files": (
            "DEEPEST",
            "MEBIBYTE",
            "open_own",
            "open_regular",
            "parse_json",
            "read_bounded",
            "read_json",
            "require_regular",
        ),
        "notebooks": (
            "UNKNOWN_NOTEBOOK",
            "ipython",
            "is_cell",
            "kernel",
            "notebook_file",
        ),
        "own_folders": (
            "MARK",
            "irregular_in",
            "is_marked",
            "mark_folder",
            "refuse_link",
            "remove_file",
            "remove_marked",
        ),
        "clock": ("monotonic",),
        "config": (
            "Config",
            "Project",
            "REPORT_VARIABLE",
            "STORE_VARIABLE",
            "default_store",
            "named_store",
            "project_of",
            "project_root",
        ),
        "deadlines": (
            "Deadline",
            "seconds_of",
        ),
        "declarations": (
            "Problem",
            "as_typed",
            "is_finite_number",
            "is_integer",
            "is_positive_number",
            "typed",
        ),
        "disk_space": ("free_space", "is_disk_full", "says_disk_full"),
        "downloads": ("failed_download",),
        "durable_files": (
            "append_durably",
            "flush_to_disk",
            "make_folder",
            "sync_file",
            "sync_folder",
            "write_durably",
            "write_files_durably",
        ),
        "doors": ("later",),
        "endings": ("end_without_collecting",),
        "errors": (
            "CodeError",
            "DataError",
            "HistoryError",
            "InvalidRunError",
            "ModeltuneError",
            "NoHistoryError",
            "NoTrialError",
            "SearchError",
            "SpecError",
            "UnrecordableError",
        ),
        "forks": ("copies_end_here", "end_copy_of"),
        "internals": (
            "MissingNameError",
            "private_name",
        ),
        "locks": (
            "is_supported_system",
            "is_unlocked",
            "require_supported_system",
            "try_lock",
            "wait_for_lock",
        ),
        "machine": ("usable_cores", "usable_memory"),
        "masked_urls": (
            "MASK",
            "MaskedUrl",
            "Secrets",
            "mask_urls",
        ),
        "multiple_tests": ("holm",),
        "signals": ("ending_signals_interrupt",),
        "store_urls": (
            "StoreUrl",
            "absolute_path",
            "sqlite_url",
            "store_url",
        ),
        "text": (
            "count_of",
            "error_line",
            "error_text",
            "first_line",
            "first_names",
            "message_of",
            "shorten",
            "text_of",
            "without_escapes",
        ),
        "tracebacks": (
            "PACKAGE",
            "frames_of_others",
            "is_ours",
            "without_ours",
        ),
        "version": ("__version__",),
        "words": (
            "Word",
            "in_a_cell",
            "in_a_line",
        ),
    },
)
