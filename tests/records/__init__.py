"""Tests of ``modeltune.records``."""
