"""Tests of ``modeltune.engine.internals``."""
