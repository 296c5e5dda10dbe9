"""Tests of ``modeltune.ground``."""
