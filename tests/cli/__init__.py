"""Tests of ``modeltune.cli``."""
