"""Tests of ``modeltune.engine.score``."""
