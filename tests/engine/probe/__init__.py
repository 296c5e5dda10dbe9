"""Tests of ``modeltune.engine.probe``."""
