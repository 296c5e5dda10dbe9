"""Load data and cut them into parts, share them between processes, check them before a search.

Here belongs what happens to data before a model sees them. Training and scoring do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeltune.ground import door

if TYPE_CHECKING:
    from modeltune.engine.data.checks import check_data, check_weights
    from modeltune.engine.data.cut_streams import first_batches
    from modeltune.engine.data.cuts import fold_rows
    from modeltune.engine.data.leak_suspects import check_suspects
    from modeltune.engine.data.leaks import PREPARATION, preparation_leaks
    from modeltune.engine.data.loading import (
        DECLARE,
        PAD,
        Arrays,
        Column,
        LoadedData,
        Part,
        class_labels,
        concatenate,
        label_ranges,
        leaves,
        load_data,
        map_arrays,
    )
    from modeltune.engine.data.metadata import columns_of_values, joined_metadata, text_codes
    from modeltune.engine.data.padding import padded
    from modeltune.engine.data.preparing import prepared_spec
    from modeltune.engine.data.ragged import RaggedArray
    from modeltune.engine.data.sharing import is_shareable, read_parts, write_parts
    from modeltune.engine.data.stream_sources import RANDOM_STATES
    from modeltune.engine.data.streams import is_batch_function, is_dataset, read_here

__all__ = [
    "DECLARE",
    "PAD",
    "PREPARATION",
    "RANDOM_STATES",
    "Arrays",
    "Column",
    "LoadedData",
    "Part",
    "RaggedArray",
    "check_data",
    "check_suspects",
    "check_weights",
    "class_labels",
    "columns_of_values",
    "concatenate",
    "first_batches",
    "fold_rows",
    "is_batch_function",
    "is_dataset",
    "is_shareable",
    "joined_metadata",
    "label_ranges",
    "leaves",
    "load_data",
    "map_arrays",
    "padded",
    "preparation_leaks",
    "prepared_spec",
    "read_here",
    "read_parts",
    "text_codes",
    "write_parts",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "checks": (
            "check_data",
            "check_weights",
        ),
        "cut_streams": ("first_batches",),
        "cuts": ("fold_rows",),
        "loading": (
            "DECLARE",
            "PAD",
            "Arrays",
            "Column",
            "LoadedData",
            "Part",
            "class_labels",
            "concatenate",
            "label_ranges",
            "leaves",
            "load_data",
            "map_arrays",
        ),
        "metadata": ("columns_of_values", "joined_metadata", "text_codes"),
        "leak_suspects": ("check_suspects",),
        "leaks": ("PREPARATION", "preparation_leaks"),
        "padding": ("padded",),
        "preparing": ("prepared_spec",),
        "ragged": ("RaggedArray",),
        "sharing": (
            "is_shareable",
            "read_parts",
            "write_parts",
        ),
        "stream_sources": ("RANDOM_STATES",),
        "streams": ("is_batch_function", "is_dataset", "read_here"),
    },
)
