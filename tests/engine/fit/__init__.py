"""Tests of ``modeltune.engine.fit``."""
