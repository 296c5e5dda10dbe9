"""The version of modeltune that is installed; it is written in pyproject.toml alone."""

from importlib import metadata

__version__ = metadata.version("modeltune")
