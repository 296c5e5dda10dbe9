"""Tests of ``modeltune.specs``."""
