"""The ``modeltune`` command: inspect the history and take care of it, without pytest.

Here belongs what parses arguments and prints. What a command does is in the packages below.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 with one line on stderr."""
    from modeltune.cli.output import say
    from modeltune.cli.parser import parser
    from modeltune.ground import ModeltuneError, default_store, mask_urls, named_store

    arguments = parser().parse_args(argv)
    try:
        if "store" in arguments:
            arguments.is_named = bool(arguments.store)
            given = arguments.store
            arguments.store = named_store(given.reveal()) if given else default_store()
        result: str | int = arguments.command(arguments)
        if isinstance(result, int):
            return result
        say(result)
    except ModeltuneError as error:
        from modeltune.reports import clean

        say(f"modeltune: {clean(mask_urls(str(error)))}", sys.stderr)
        return 1
    return 0
