"""Tests of ``modeltune.engine``."""
