"""Tests of ``modeltune.harness.trackers``."""
