"""Tests of ``modeltune.engine.data``."""
