"""Tests of ``modeltune.plugin``."""
