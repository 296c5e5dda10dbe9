"""Tests of ``modeltune.engine.backends``."""
