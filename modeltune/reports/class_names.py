"""What reports call the classes of an output."""

from __future__ import annotations

from collections.abc import Mapping

from modeltune.records import ClassNames, Run, names_of_output

ONLY_OUTPUT = "output"
"""What a run's report calls the output of a model that has one."""


def class_names(run: Run, output: str) -> ClassNames:
    """Return the names of the classes of one output, by its name in the run's report."""
    declared = run.data.get("class_names")
    is_only = output == ONLY_OUTPUT and isinstance(declared, Mapping) and output not in declared
    return names_of_output(declared, "" if is_only else output)
