"""Tests of ``modeltune.harness.executors``."""
