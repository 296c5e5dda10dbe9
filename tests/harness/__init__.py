"""Tests of ``modeltune.harness``."""
